r"""Evidence: what a measurement returns, and the rule that holds it against a prediction theta.

    refuted       |theta_hat - theta| > z·se + b
    confirmed     not refuted, and z·se + b <= rho
    inconclusive  neither: the errors are too large to see an error of size rho in theta

For an inequality, theta in [low, high], the deviation is the distance from the interval. Two one-sided tests *show* it where
theta_hat -+ (z·se + b) lies inside. Where they do not, as at the edge, it is confirmed only in the sense that it is not
refuted and an error of rho would have been seen, and the comparison says so; `Between(…, shown=True)` is inconclusive there.

z comes from the family-wise budget, b bounds the discretisation error, rho is the resolution the claim promised
beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from ..stats.estimates import Estimate, critical_value
from ..stats.two_sample import Distance
from ..validation import explain_construction
from .quantity import Between, Prediction, distance

__all__ = ["Comparison", "Distance", "Estimate", "Exact", "compare", "power_to_refute"]

NOT_SHOWN = "not refuted; an error of the resolution would have been seen"
POWER = 0.9  # at which "smallest detectable" is stated


@explain_construction
@dataclass(frozen=True)
class Exact:
    """A value known up to rounding: |value - theta| <= rounding where the statement is exact.

    `rounding` is derived by the caller, with `sdetheory.stats.rounding`. Arrays are compared entry by entry and count as
    one comparison, at the entry that is worst relative to its bound. A value that is not finite is refuted.
    """

    value: float | NDArray[np.float64]
    rounding: float | NDArray[np.float64]

    def __post_init__(self) -> None:
        bound = np.asarray(self.rounding, dtype=float)
        fits = np.broadcast(bound, self.value).shape == np.shape(self.value)
        if not fits or not (bound >= 0).all() or np.isinf(bound).any():
            raise ValueError(f"rounding: expected finite bounds >= 0, one or as many as values {np.shape(self.value)}, "
                             f"got {self.rounding!r}")


@dataclass(frozen=True)
class Comparison:
    """A prediction against a measurement under the rule above.

    `name` is the quantity's, with the number of the point where there are several, `label` says in words which point
    that is. `z` is the critical value at the comparison's share of the budget: Student's where the paths are few. `bias_bound`
    includes z times its own error. For a `Distance`, `stderr` is its scale and z its coefficient, so that z·stderr is
    the critical distance. `smallest_detectable` is the error of the prediction that is seen with power 0.9. `bias_source`
    says where the bound comes from, "" where nobody said; `note` what a status does not.
    """

    name: str
    predicted: Prediction
    measured: float
    stderr: float
    bias_bound: float
    z: float
    resolution: float
    status: Literal["confirmed", "refuted", "inconclusive"]
    smallest_detectable: float
    remedy: str = ""
    label: str = ""
    bias_source: str = ""
    note: str = ""

    @property
    def margin(self) -> float:
        """z·stderr + bias_bound."""
        return self.z * self.stderr + self.bias_bound

    def __repr__(self) -> str:
        label = f" ({self.label})" if self.label else ""
        return (f"<{self.name}{label}: {self.status}, predicted {_number(self.predicted)}, measured {self.measured:.6g} ± "
                f"{self.stderr:.2g} (z = {self.z:.2f}), bias <= {self.bias_bound:.2g}, resolution {self.resolution:.2g}"
                f"{'; ' + self.remedy if self.remedy else ''}>")


def _number(value: Prediction) -> str:
    return str(value) if isinstance(value, Between) else f"{value:.6g}"


def _decide(deviation: float, margin: float, achieved: float, resolution: float) -> Any:
    if not deviation <= margin:  # nan counts as a deviation
        return "refuted"
    return "confirmed" if achieved <= resolution else "inconclusive"


@singledispatch
def compare(evidence: Any, name: str, predicted: Any, alpha: float, resolution: Any) -> list[Comparison]:
    """Hold a piece of evidence against a prediction at false-alarm probability `alpha` a comparison.

    An evidence kind of your own joins in by `compare.register(Kind)`. Returns one comparison a point.
    """
    remedy = "; make samples of shape (paths,) or (paths, points) an estimate by sdetheory.stats.mean_estimate" \
        if isinstance(evidence, np.ndarray | list | tuple) else ""
    raise TypeError(f"{name}: expected an Estimate, Exact or Distance from the measurement, "
                    f"got {type(evidence).__name__}{remedy}")


@compare.register
def _(evidence: Estimate, name: str, predicted: Any, alpha: float, resolution: Any) -> list[Comparison]:
    points = len(evidence)
    targets = _targets(name, predicted, points)
    rhos = _spread(name, "resolution", resolution, points)
    comparisons = []
    for i, (point, target, rho) in enumerate(zip(evidence.points(), targets, rhos, strict=True)):
        equivalence = isinstance(target, Between) and target.shown
        z = float(critical_value(2 * alpha if equivalence else alpha, point.n))  # one-sided at each end
        bias = float(point.bias_bound + z * point.bias_stderr)
        margin = z * float(point.stderr) + bias
        status = _decide(distance(float(point.value), target), margin, margin, rho)
        inside = _inside(float(point.value), margin, target)
        if equivalence and status != "refuted":
            status = "confirmed" if inside else "inconclusive"
        if point.excluded:
            status = "inconclusive"
            remedy = (f"{point.excluded} path(s) diverged, and a mean over the others is another quantity: remove the "
                      "cause, or state the condition in the claim and select paths by it")
        else:
            remedy = "" if status != "inconclusive" else f"{margin:.2g} to either side must lie inside: more paths" \
                if equivalence else _remedy(point, alpha, rho)
        of_point = name if np.ndim(evidence.value) == 0 else f"{name}[{i}]"
        seen = margin + bias + float(scipy.special.ndtri(POWER)) * float(point.stderr)
        comparisons.append(Comparison(of_point, target, float(point.value), float(point.stderr), bias, z, rho, status, seen,
                                      remedy, note=NOT_SHOWN if status == "confirmed" and not inside else ""))
    return comparisons


@compare.register
def _(evidence: Exact, name: str, predicted: Any, alpha: float, resolution: Any) -> list[Comparison]:
    value = np.atleast_1d(np.asarray(evidence.value, dtype=float)).ravel()
    bound = np.broadcast_to(np.asarray(evidence.rounding, dtype=float), np.shape(evidence.value)).ravel()
    bound = np.broadcast_to(bound, value.shape)
    targets = _targets(name, predicted if isinstance(predicted, Between) else np.ravel(predicted), value.size)
    rhos = np.array(_spread(name, "resolution", np.ravel(resolution), value.size))
    deviation = np.array([distance(v, t) if np.isfinite(v) else np.inf for v, t in zip(value, targets, strict=True)])
    # the entry furthest beyond its bound or, where all are within, the one whose bound is least able to see rho
    beyond = deviation > bound
    with np.errstate(divide="ignore", invalid="ignore"):
        worst = int(np.argmax(np.where(beyond, deviation / bound, 0) if beyond.any() else bound / rhos))
    status = _decide(deviation[worst], float(bound[worst]), float(bound[worst]), float(rhos[worst]))
    remedy = f"rounding may reach {bound[worst]:.2g}: fewer steps, a better conditioned case or a sharper bound" \
        if status == "inconclusive" else ""
    inside = _inside(float(value[worst]), float(bound[worst]), targets[worst])
    return [Comparison(name, targets[worst], float(value[worst]), 0.0, float(bound[worst]), 0.0,
                       float(rhos[worst]), status, 2 * float(bound[worst]), remedy,
                       note=NOT_SHOWN if status == "confirmed" and not inside else "")]


@compare.register
def _(evidence: Distance, name: str, predicted: Any, alpha: float, resolution: Any) -> list[Comparison]:
    if predicted != 0:
        raise ValueError(f"{name}: expected the prediction 0 for a distance between two laws, got {predicted!r}")
    (rho,) = _spread(name, "resolution", resolution, 1)
    seen = evidence.detectable(alpha, POWER)
    status = _decide(evidence.statistic, evidence.critical(alpha), seen, rho)
    remedy = f"a distance of {seen:.2g} can be seen: {(seen / rho) ** 2:.3g} times as many paths in each sample" \
        if status == "inconclusive" else ""
    return [Comparison(name, 0.0, evidence.statistic, evidence.scale, 0.0, evidence.coefficient(alpha), rho,
                       status, seen, remedy)]


def _inside(value: float, margin: float, target: Prediction) -> bool:
    """Whether two one-sided tests show the inequality; an equality has no inside, and counts as shown."""
    return not isinstance(target, Between) or (target.low <= value - margin and value + margin <= target.high)


def power_to_refute(comparison: Comparison, evidence: Any, wrong_by: float) -> float:
    """Return a lower bound on the probability that the rule refutes a prediction that is wrong by `wrong_by`."""
    if isinstance(evidence, Distance):  # its normal scale is half of 1/sqrt(n) + ...: see two_sample
        return float(scipy.special.ndtr((wrong_by - comparison.margin) / (comparison.stderr / 2)))
    room = wrong_by - comparison.bias_bound - comparison.margin  # the bias may hide as much as it may show
    if comparison.stderr == 0:
        return float(room > 0)
    return float(scipy.special.ndtr(room / comparison.stderr))


def _spread(name: str, what: str, value: Any, points: int) -> list[float]:
    array = np.asarray(value, dtype=float)
    if array.shape not in ((), (1,), (points,)) or not np.isfinite(array).all():
        raise ValueError(f"{name}: expected a finite {what}, one or {points}, got {value!r}")
    return [float(x) for x in np.broadcast_to(array, (points,))]


def _targets(name: str, predicted: Any, points: int) -> Sequence[Prediction]:
    return [predicted] * points if isinstance(predicted, Between) else _spread(name, "prediction", predicted, points)


def _remedy(point: Estimate, alpha: float, rho: float) -> str:
    """Say what would bring z·se + b down to rho: smaller steps where b alone takes it all, more paths otherwise."""
    noise, bias, parts = float(point.stderr) + float(point.bias_stderr), float(point.bias_bound), []
    room = rho - bias
    if bias >= rho / 2 and room < 0.25 * rho:
        order = point.order or 1.0
        halvings = max(1, math.ceil(math.log2(2 * bias / rho) / order))
        parts.append(f"the discretisation bound {bias:.2g} leaves no room in {rho:.2g}: "
                     f"halve the step {halvings} time(s)"
                     + ("" if point.order else " (at order 1)"))
        room = rho / 2
    if point.n is None:
        factor = (float(critical_value(alpha)) * noise / room) ** 2
        parts += [f"{factor:.3g} times as many paths"] if factor > 1 else []
    else:
        n = int(point.n)
        # sigma may be larger than it came out: its upper 99.9 % limit for normal samples, less for heavy tails
        sigma = noise * math.sqrt(n * (n - 1) / (2 * scipy.special.gammaincinv((n - 1) / 2, 1e-3)))
        paths = max(3.0, (float(critical_value(alpha)) * sigma / room) ** 2)
        while float(critical_value(alpha, paths)) * sigma / math.sqrt(paths) > room:  # Student's t at the new number
            paths *= 1.02
        if paths > n:
            parts.append(f"{paths / n:.3g} times as many paths ({math.ceil(paths)} in place of {n})")
    return ", and ".join(parts) or "as many paths again"
