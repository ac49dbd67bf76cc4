r"""The schedules people train with: constant, step decay, cosine, triangular, warm-up, exponential."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..validation import explain_construction, integer, number
from .schedule import Schedule

__all__ = ["Cosine", "Exponential", "StepDecay", "Triangular", "WarmUp"]


@explain_construction
@dataclass(frozen=True)
class StepDecay(Schedule):
    """`initial`, times `factor` from each milestone on.

    Parameters
    ----------
    initial : the value at first, > 0.
    milestones : rising steps >= 1; milestone m is the first step that has the new value.
    factor : > 0.

    >>> StepDecay(1.0, milestones=(2, 3), factor=0.5).table(5)
    array([1.  , 1.  , 0.5 , 0.25, 0.25])
    """

    initial: float
    milestones: tuple[int, ...]
    factor: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "initial", number("initial", self.initial, above=0))
        object.__setattr__(self, "factor", number("factor", self.factor, above=0))
        milestones = tuple(integer("milestones", m, at_least=1) for m in self.milestones)
        if list(milestones) != sorted(set(milestones)):
            raise ValueError(f"milestones: expected rising steps, got {self.milestones!r}")
        object.__setattr__(self, "milestones", milestones)

    def values(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        # powers by repeated products, so that equal phases have equal bits whoever asks
        levels = np.cumprod([self.initial, *[self.factor] * len(self.milestones)], dtype=np.float64)
        return levels[np.searchsorted(self.milestones, steps, side="right")]


@explain_construction
@dataclass(frozen=True)
class Cosine(Schedule):
    r"""Half a cosine from `initial` to `final` over `n_steps` steps, then `final`.

    .. math:: s_k = s_\infty + \tfrac12 (s_0 - s_\infty)\,(1 + \cos(\pi k/n))

    >>> Cosine(0.2, n_steps=4).table(5).round(3)
    array([0.2  , 0.171, 0.1  , 0.029, 0.   ])
    """

    initial: float
    n_steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "initial", number("initial", self.initial, at_least=0))
        object.__setattr__(self, "final", number("final", self.final, at_least=0))
        object.__setattr__(self, "n_steps", integer("n_steps", self.n_steps, at_least=1))

    def values(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        share = 0.5 * (1 + np.cos(np.pi * np.minimum(steps / self.n_steps, 1.0)))
        return self.final + (self.initial - self.final) * share


@explain_construction
@dataclass(frozen=True)
class Triangular(Schedule):
    """Cyclic: up from `low` to `high` in half a period, down in the other half, again and again.

    >>> Triangular(0.1, 0.3, period=4).table(6)
    array([0.1, 0.2, 0.3, 0.2, 0.1, 0.2])
    """

    low: float
    high: float
    period: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", number("low", self.low, at_least=0))
        object.__setattr__(self, "high", number("high", self.high, at_least=self.low, remedy="high is not below low"))
        object.__setattr__(self, "period", integer("period", self.period, at_least=2))

    def values(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        phase = np.mod(steps / self.period, 1.0)
        return self.low + (self.high - self.low) * (1 - np.abs(2 * phase - 1))


@explain_construction
@dataclass(frozen=True)
class WarmUp(Schedule):
    r"""A factor that rises linearly to 1, to multiply another schedule by; 1 from step n_steps − 1 on.

    .. math:: s_k = s + (1 - s)\min\{(k+1)/n, 1\}

    >>> (WarmUp(4) * Cosine(0.2, n_steps=100)).table(5).round(3)
    array([0.05 , 0.1  , 0.15 , 0.2  , 0.199])
    """

    n_steps: int
    start: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_steps", integer("n_steps", self.n_steps, at_least=1))
        object.__setattr__(self, "start", number("start", self.start, at_least=0, at_most=1))

    def values(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.start + (1 - self.start) * np.minimum((steps + 1) / self.n_steps, 1.0)


@explain_construction
@dataclass(frozen=True)
class Exponential(Schedule):
    r"""`initial` times `growth` to the power of the step, :math:`s_k = s_0\, q^k`.

    >>> Exponential(0.1, growth=2.0).table(3)
    array([0.1, 0.2, 0.4])
    """

    initial: float
    growth: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "initial", number("initial", self.initial, above=0))
        object.__setattr__(self, "growth", number("growth", self.growth, above=0))

    def values(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        # half the power each way: q^k may leave the range where s_0 q^k does not
        half = np.power(self.growth, steps / 2) * math.sqrt(self.initial)
        return np.where(steps == 0, self.initial, half * half)
