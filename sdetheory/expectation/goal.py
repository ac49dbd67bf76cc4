"""What is asked of an expectation, and what a method hands back: margin = z·stderr + bias bound ≤ max(atol, rtol |value|)."""

from __future__ import annotations

from dataclasses import dataclass

from ..stats import critical_value
from .result import Level
from .sampling import Moments

__all__ = ["Goal", "NotFinite", "Outcome", "Watch", "part", "refuse_not_finite"]


class NotFinite(ValueError):
    """The functional was not finite on some paths, at every step size that was tried."""


@dataclass(frozen=True)
class Goal:
    """Tolerances, confidence and limits; checked by whoever makes one."""

    rtol: float
    atol: float
    confidence: float
    max_path_steps: float
    max_steps: int

    @property
    def z(self) -> float:
        """Standard errors to either side that the confidence takes."""
        return float(critical_value(1.0 - self.confidence))

    def tolerance(self, value: float) -> float:
        """max(atol, rtol |value|)."""
        return max(self.atol, self.rtol * abs(value))


@dataclass(frozen=True)
class Outcome:
    """A method's answer, with the variance factor of its control."""

    value: float
    stderr: float
    bias_bound: float
    levels: tuple[Level, ...]
    message: str
    method: str


def part(n_steps: int, dt: float, weight: float, moments: Moments, coupled: bool = False) -> Level:
    """The `Level` of these moments."""
    return Level(n_steps, dt, float(weight), moments.n, moments.mean, moments.stderr, moments.var, coupled)


def refuse_not_finite(moments: Moments, n_steps: int) -> NotFinite:
    """The error for a functional without a finite mean."""
    return NotFinite(f"functional: expected finite values on every path, got {moments.bad} of {moments.n + moments.bad} paths "
                     f"where it is not, at {n_steps} steps; take more steps (max_steps), a scheme that stays where the "
                     "coefficients and the functional are defined, or a functional with a mean")


class Watch:
    """Refuses to go on where finer steps do not make a functional finite on more paths.

    Diverging steps grow rare with the step size, once they are fewer than all; a functional without a value (the logarithm of a
    negative state) does not.
    """

    def __init__(self, max_steps: int) -> None:
        self._max_steps = max_steps
        self._shares: list[float] = []

    def check(self, moments: Moments, n_steps: int) -> None:
        """Raise unless twice as many steps are allowed, and the share of such paths has fallen by 0.8 in three doublings."""
        share = moments.bad / (moments.n + moments.bad)
        self._shares += [share] if share < 1.0 else []
        stuck = len(self._shares) > 3 and self._shares[-1] > 0.8 * self._shares[-4]
        if 2 * n_steps > self._max_steps or stuck:
            raise refuse_not_finite(moments, n_steps)
