r"""Equivalence, power and sample size: what a measurement with a given error can and cannot say.

    Equivalent within delta:  |theta_hat - theta| + c_alpha·se + b < delta    (two one-sided tests at level alpha)
    Smallest detectable:      z·se + 2 b + z_power·se                         (the bias may hide as much as it may show)
    Paths for a resolution:   n = (z·sigma / (rho - b))^2
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import scipy

from ..validation import number
from .estimates import Estimate, checked_estimate, critical_value

__all__ = ["Equivalence", "equivalence", "equivalence_power", "paths_needed", "smallest_detectable"]


@dataclass(frozen=True, repr=False)
class Equivalence:
    """Two one-sided tests: `p_value` is the larger of the two, `power` the one at a true difference of 0."""

    difference: float
    delta: float
    p_value: float
    alpha: float
    power: float

    def __bool__(self) -> bool:
        return self.p_value < self.alpha

    def __repr__(self) -> str:
        return (f"<{'equivalent' if self else 'not shown equivalent'} within {self.delta:.3g}: "
                f"difference {self.difference:.3g}, p = {self.p_value:.2g}, power {self.power:.3g}>")


def _one_sided(alpha: float, n: int | None) -> float:
    return float(critical_value(2 * alpha, n))


def equivalence(estimate: Estimate, target: float, delta: float, alpha: float = 0.05) -> Equivalence:
    """Test whether the estimated value lies within `delta` of `target`; only a small error can show that it does.

    Parameters
    ----------
    estimate : Estimate
        A number; its bias bound is taken off `delta`.
    delta : float
        The margin of equivalence, chosen before looking.
    alpha : float
        The probability to declare equivalent what is not, below 1/2.

    >>> equivalence(Estimate(1.001, 0.002), 1.0, delta=0.01)
    <equivalent within 0.01: difference 0.001, p = 3.4e-06, power 0.999>
    """
    delta = number("delta", delta, above=0)
    alpha = number("alpha", alpha, above=0, below=0.5)
    estimate = checked_estimate("estimate", estimate, scalar=True)
    difference = float(estimate.value) - number("target", target)
    stderr = number("stderr", estimate.stderr, above=0, remedy="an exact value needs no test")
    room = delta - float(estimate.bias_bound) - abs(difference)
    n = None if estimate.n is None else int(estimate.n)
    t = room / (stderr + float(estimate.bias_stderr))
    p_value = float(scipy.special.ndtr(-t)) if n is None else float(scipy.special.stdtr(n - 1, -t))
    power = equivalence_power(stderr + float(estimate.bias_stderr), delta - float(estimate.bias_bound), alpha, n=n)
    return Equivalence(difference, delta, p_value, alpha, power)


def equivalence_power(stderr: float, delta: float, alpha: float = 0.05, *, effect: float = 0.0,
                      n: int | None = None) -> float:
    """Return the probability to show equivalence within `delta` where the true difference is `effect`; alpha < 1/2, n >= 2.

    >>> round(equivalence_power(0.3, 1.0), 3)
    0.909
    """
    stderr, delta, effect = number("stderr", stderr, above=0), number("delta", delta), number("effect", effect)
    room = delta - _one_sided(number("alpha", alpha, above=0, below=0.5), n) * stderr
    if room <= 0:
        return 0.0
    return float(scipy.special.ndtr((room - effect) / stderr) - scipy.special.ndtr((-room - effect) / stderr))


def smallest_detectable(stderr: float, alpha: float, power: float = 0.9, *, bias_bound: float = 0.0,
                        n: int | None = None) -> float:
    """Return the true difference that the two-sided test at level alpha sees with at least this power.

    >>> round(smallest_detectable(0.01, 0.05), 4)
    0.0324
    """
    stderr = number("stderr", stderr, at_least=0)
    power = number("power", power, above=0, below=1)
    return (float(critical_value(alpha, n)) + float(scipy.special.ndtri(power))) * stderr + 2 * bias_bound


def paths_needed(std: float, resolution: float, alpha: float, *, bias_bound: float = 0.0) -> int:
    """Return how many independent paths bring z·std/sqrt(n) + b down to the resolution.

    >>> paths_needed(1.0, 0.01, 0.05)
    38415
    """
    bias_bound = number("bias_bound", bias_bound, at_least=0)
    room = number("resolution", resolution, above=0) - bias_bound
    if room <= 0:
        raise ValueError(f"resolution: expected more than the bias bound {bias_bound!r}, got {resolution!r}; "
                         "use a smaller step")
    factor = float(critical_value(alpha)) * number("std", std, at_least=0) / room
    if factor > 1e150:
        raise ValueError(f"resolution: expected one that some number of paths reaches, got {resolution!r} for a standard deviation of "
                         f"{std!r}")
    return max(2, math.ceil(factor**2))
