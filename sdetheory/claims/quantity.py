"""A quantity of a claim: one number, or one per point, and everything that is said of it before any run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..validation import explain_construction

__all__ = ["Between", "ClaimError", "Prediction", "Quantity", "Relative", "distance"]

FEWEST_RESOLUTIONS = 2  # between a prediction and what the control puts in its place


class ClaimError(ValueError):
    """A claim that is not well posed: names that do not match, or a control too near to the statement it breaks."""


@explain_construction
@dataclass(frozen=True)
class Between:
    """A predicted inequality: the value lies in [low, high]; either end may be infinite.

    With `shown`, an equivalence: it is confirmed only where two one-sided tests show it, never where it is merely not
    refuted (see `evidence`).
    """

    low: float = -math.inf
    high: float = math.inf
    shown: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"Between: expected low < high, got {self.low!r}, {self.high!r}")

    def __str__(self) -> str:
        """As a reader writes it.

        >>> print(Between(low=0.5), Between(high=3), Between(0, 1), sep=", ")
        ≥ 0.5, ≤ 3, in [0, 1]
        """
        if math.isinf(self.high):
            return f"≥ {self.low:.6g}"
        return f"≤ {self.high:.6g}" if math.isinf(self.low) else f"in [{self.low:.6g}, {self.high:.6g}]"


Prediction = float | Between


@explain_construction
@dataclass(frozen=True)
class Relative:
    """A resolution as a fraction of |predicted|."""

    fraction: float


def distance(a: Prediction, b: Prediction) -> float:
    """Return the distance between two predictions (0 where they overlap)."""
    (low_a, high_a), (low_b, high_b) = ((p.low, p.high) if isinstance(p, Between) else (p, p) for p in (a, b))
    return max(low_b - high_a, low_a - high_b, 0.0)


@explain_construction
@dataclass(frozen=True, eq=False)
class Quantity:
    """A number that theory predicts and a trial measures.

    Parameters
    ----------
    predicted : float, array of shape (points,), Between, or a function without arguments that returns one
        It sees nothing of the measurement. A function is called once, when the claim is verified.
    resolution : float, array of shape (points,) or Relative
        The smallest error of the prediction that is sure to be seen, in the units of the prediction.
    wrong : like `predicted`, optional
        What the control says in its place, at least two resolutions away; it is held against the claim's own
        measurement and must be refuted.
    effect : float, array of shape (points,), or a function without arguments that returns one; optional
        By how much this quantity is off in the claim's `broken` run, where theory says so; the power of the control
        follows from it.
    broken : bool
        True where the `broken` run measures this quantity although no theory says by how much it is off; implied by
        `effect`. The power is then stated for a shift of two resolutions.
    no_control : str
        Why no control touches this quantity; expected where neither `wrong`, `effect` nor `broken` is given.
    bias : float, array of shape (points,), or a function without arguments that returns one
        A bound on a known systematic error, added to the bound that the measurement brings.
    bias_source : str
        Where the bound on the systematic error comes from ("SGD itself is simulated", "the tail beyond 5 t_ε").
        A bound measured by step halving says so itself. Default: the `bias_source` of the claim.
    points : int or sequence of str
        How many points are compared, each of them a comparison of its own; or their labels, one per point.

    Raises
    ------
    ClaimError
        Where these do not fit together.

    Examples
    --------
    >>> q = Quantity([1.0, 2.0], Relative(0.02), wrong=[1.1, 2.2], points=["a = 1", "a = 2"])
    >>> q.n_points, q.label(1), q.rho.tolist()
    (2, 'a = 2', [0.02, 0.04])
    """

    predicted: Any
    resolution: Any
    _: KW_ONLY
    wrong: Any = None
    effect: Any = None
    broken: bool = False
    no_control: str = ""
    bias: Any = 0.0
    bias_source: str = ""
    points: int | Sequence[str] = 1

    def __post_init__(self) -> None:
        if isinstance(self.points, str) or self.n_points < 1:
            raise ClaimError(f"points: expected a number >= 1 or a sequence of labels, got {self.points!r}")
        if self.wrong is not None and (self.effect is not None or self.broken):
            raise ClaimError("expected either a wrong value or a broken run that measures the quantity, got both")
        if self.has_control == bool(self.no_control):
            raise ClaimError("expected a control (wrong=, effect= or broken=True), or no_control= with the reason why "
                             f"there is none, got {'both' if self.no_control else 'neither'}")
        if not any(callable(part) for part in (self.predicted, self.wrong, self.bias, self.effect)):
            self.check()

    @property
    def has_control(self) -> bool:
        """Whether the control of the claim says something of this quantity."""
        return self.wrong is not None or self.in_broken_run

    @property
    def in_broken_run(self) -> bool:
        """Whether the claim's `broken` run measures it."""
        return self.broken or self.effect is not None

    @property
    def n_points(self) -> int:
        """How many comparisons it takes out of the family-wise budget."""
        return self.points if isinstance(self.points, int) else len(self.points)

    def label(self, point: int) -> str:
        """The label of a point, "" where none was given."""
        return "" if isinstance(self.points, int) else self.points[point]

    @cached_property
    def right(self) -> Any:
        """The prediction as a number, an array or a `Between`."""
        return self._value(self.predicted, "prediction")

    @cached_property
    def wrong_value(self) -> Any:
        """What the control puts in the place of the prediction."""
        wrong = self._value(self.wrong, "wrong value")
        # every point is a comparison; an array that counts as one (Exact) is refuted by one entry
        nearest = np.min if self.n_points > 1 else np.max
        apart = nearest(distances(wrong, self.right) / np.asarray(self.rho))
        if apart < FEWEST_RESOLUTIONS * (1 - 1e-9):  # a ratio of products of floats
            raise ClaimError(f"expected a control at least {FEWEST_RESOLUTIONS} resolutions away from the statement, "
                             f"got {apart:.3g}; state a coarser wrong value, or a finer resolution")
        return wrong

    @cached_property
    def rho(self) -> Any:
        """The resolution as a number, or one per predicted point."""
        rho = self.resolution
        if isinstance(rho, Relative):
            if isinstance(self.right, Between):
                raise ClaimError(f"expected an absolute resolution for an inequality, got {rho}")
            rho = rho.fraction * np.abs(np.asarray(self.right, dtype=float))
        if not np.all(np.asarray(rho) > 0):
            raise ClaimError(f"expected a resolution > 0, got {rho!r}; give an absolute one where the prediction is 0")
        return rho

    @cached_property
    def bias_bound(self) -> Any:
        """The known systematic error, >= 0, one or one per point."""
        return np.abs(self._per_point(self.bias, "bias"))

    def effects(self, points: int) -> list[float]:
        """By how much the broken run is off, for each of the points that were compared."""
        effect = np.abs(self._per_point(self.effect, "effect"))
        if effect.size not in (1, points):
            raise ClaimError(f"expected one effect, or one for each of {points} point(s), got {effect.size}")
        return [float(e) for e in np.broadcast_to(effect.ravel(), (points,))]

    def check(self) -> None:
        """Evaluate everything that is said beforehand; a `ClaimError` says what does not fit."""
        _ = self.right, self.rho, self.bias_bound
        if self.wrong is not None:
            _ = self.wrong_value
        if self.effect is not None:
            self._per_point(self.effect, "effect")

    def _value(self, given: Any, what: str) -> Any:
        value = _called(given)
        if isinstance(value, Between):
            return value
        array = _finite(value, what)
        if self.n_points > 1 and array.shape not in ((), (self.n_points,)):
            raise ClaimError(f"expected a finite {what}, one or one for each of {self.n_points} points, got {value!r}")
        return value if np.ndim(value) == 0 else array

    def _per_point(self, given: Any, what: str) -> np.ndarray:
        array = _finite(_called(given), what)
        if array.shape not in ((), (1,), (self.n_points,)) and self.n_points > 1:
            raise ClaimError(f"expected a finite {what}, one or one for each of {self.n_points} points, got {given!r}")
        return array


def distances(a: Any, b: Any) -> np.ndarray:
    """The distances between predictions, entry by entry; a `Between` stands beside each entry of an array.

    >>> distances(Between(low=0.0), [-1.0, 2.0]).tolist()
    [1.0, 0.0]
    """
    (low_a, high_a), (low_b, high_b) = (
        (p.low, p.high) if isinstance(p, Between) else (np.asarray(p, dtype=float),) * 2 for p in (a, b))
    return np.maximum(np.maximum(low_b - high_a, low_a - high_b), 0.0)


def _called(given: Any | Callable[[], Any]) -> Any:
    return given() if callable(given) else given


def _finite(value: Any, what: str) -> np.ndarray:
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    if not np.isfinite(array).all():
        raise ClaimError(f"expected a finite {what}, a number or an array of them, got {value!r}")
    return array
