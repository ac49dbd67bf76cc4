r"""What a schedule is: a function :math:`k \mapsto s_k \ge 0` of the step, for learning rate, weight decay or momentum.

Step k (0, 1, 2, …) is the update :math:`w_k \to w_{k+1}`; it uses :math:`\eta_k, \lambda_k, \mu_k`. Schedules are
values: frozen, evaluated on whole arrays of steps, and put together with `then`, `*` and `clip`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..validation import explain_construction, finite_array, integer, number

__all__ = ["Clipped", "Constant", "FromArray", "FromCallable", "Piecewise", "Product", "Schedule", "as_schedule"]


class Schedule(ABC):
    """A schedule; a subclass gives `values`, its formula on a float64 array of steps >= 0.

    Called with a step or an array of steps it returns a float or a float64 array of the same shape. Steps between
    integers are allowed: a rule with several updates to a unit of time (SVAG) asks for them.
    """

    vectorised: ClassVar[bool] = True

    @abstractmethod
    def values(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """The formula, on steps that were checked."""

    def __call__(self, step: ArrayLike) -> Any:
        steps = finite_array("step", step)
        if (steps < 0).any():
            raise ValueError(f"step: expected steps >= 0, got {steps[steps < 0].flat[0]:g}; the first update is step 0")
        with np.errstate(over="ignore", under="ignore"):
            found = np.broadcast_to(np.asarray(self.values(steps), dtype=np.float64), steps.shape)
        bad = ~(np.isfinite(found) & (found >= 0))
        if bad.any():
            at, value = steps[bad].flat[0], found[bad].flat[0]
            if np.isinf(value):
                raise ValueError(f"{self!r}: expected values within float64 range, got {value:g} at step {at:g}; run "
                                 "fewer steps, or take it from sdetheory.translate, which rescales the weights (EXP-3)")
            raise ValueError(f"{self!r}: expected values >= 0, got {value:g} at step {at:g}")
        return float(found) if steps.ndim == 0 else np.array(found)

    def table(self, n_steps: int) -> NDArray[np.float64]:
        """The values at the steps 0 … n_steps − 1, shape (n_steps,)."""
        return self(np.arange(integer("n_steps", n_steps, at_least=0)))

    def then(self, after: Any, at: int) -> Piecewise:
        """This schedule up to step `at`, then `after`, which starts from its own step 0.

        >>> from sdetheory.schedules import Constant, Cosine
        >>> Constant(0.1).then(Cosine(0.1, n_steps=100), at=50)([0, 50, 100])
        array([0.1 , 0.1 , 0.05])
        """
        if isinstance(self, Piecewise) and at > self.starts[-1]:
            return Piecewise((*self.pieces, as_schedule("after", after)), (*self.starts, at))
        return Piecewise((self, as_schedule("after", after)), (0, at))

    def __mul__(self, factor: Any) -> Product:
        return Product(self, as_schedule("factor", factor))

    __rmul__ = __mul__

    def clip(self, low: float = 0.0, high: float = np.inf) -> Clipped:
        """This schedule, held between `low` and `high`."""
        return Clipped(self, low, high)

    def plot(self, n_steps: int, *, ax: Any = None, **style: Any) -> Any:
        """Draw the values at the steps 0 … n_steps − 1 and return the line; `style` goes to `ax.step`."""
        if ax is None:
            import matplotlib.pyplot as plt
            ax = plt.gca()
        (line,) = ax.step(np.arange(n_steps), self.table(n_steps), where="post", **{"label": repr(self), **style})
        ax.set_xlabel("step")
        return line

    def _repr_html_(self) -> str:
        return f"<code>{escape(repr(self))}</code>"


def as_schedule(name: str, value: Any) -> Schedule:
    """Return a schedule for a schedule, a number >= 0, a sequence with one value a step, or a callable of the step."""
    if isinstance(value, Schedule):
        return value
    if callable(value):
        return FromCallable(value)
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str) and np.ndim(value) == 1:
        return FromArray(value)
    return Constant(number(name, value, at_least=0, remedy="or give a schedule, one value a step, or a callable"))


@explain_construction
@dataclass(frozen=True)
class Product(Schedule):
    """The product of two schedules, step by step; made by `*`."""

    first: Schedule
    second: Schedule

    def values(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(self.first(steps) * self.second(steps))

    def __repr__(self) -> str:
        return f"{self.first!r} * {self.second!r}"


@explain_construction
@dataclass(frozen=True)
class Clipped(Schedule):
    """A schedule held between two values; made by `clip`."""

    schedule: Schedule
    low: float = 0.0
    high: float = np.inf

    def __post_init__(self) -> None:
        number("low", self.low, at_least=0)
        if not self.high >= self.low:
            raise ValueError(f"high: expected a number >= low = {self.low:g}, got {self.high!r}")

    def values(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.clip(self.schedule(steps), self.low, self.high)

    def __repr__(self) -> str:
        return f"{self.schedule!r}.clip({self.low:g}, {self.high:g})"


@explain_construction
@dataclass(frozen=True)
class Piecewise(Schedule):
    """Pieces one after the other: piece i from step `starts[i]` on, counted from there.

    Parameters
    ----------
    pieces : schedules, or numbers for constants.
    starts : the steps at which they start, rising from 0.

    >>> Piecewise([0.1, 0.05], [0, 2]).table(4)
    array([0.1 , 0.1 , 0.05, 0.05])
    """

    pieces: tuple[Schedule, ...]
    starts: tuple[int, ...]

    def __post_init__(self) -> None:
        starts = tuple(integer("starts", s, at_least=0) for s in self.starts)
        if len(starts) != len(self.pieces) or not starts or starts[0] != 0 or list(starts) != sorted(set(starts)):
            raise ValueError(f"starts: expected {len(self.pieces)} steps that rise from 0, one a piece, "
                             f"got {self.starts!r}")
        object.__setattr__(self, "starts", starts)
        object.__setattr__(self, "pieces", tuple(as_schedule("pieces", p) for p in self.pieces))

    def values(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        which = np.searchsorted(self.starts, steps, side="right") - 1
        found = np.empty(steps.shape)
        for i, (piece, start) in enumerate(zip(self.pieces, self.starts, strict=True)):
            found[which == i] = piece(steps[which == i] - start)
        return found

    def __repr__(self) -> str:
        return "Piecewise(" + ", ".join(f"{s}: {p!r}" for s, p in zip(self.starts, self.pieces, strict=True)) + ")"


@explain_construction
@dataclass(frozen=True)
class Constant(Schedule):
    """The same value at every step.

    >>> Constant(0.1)(7)
    0.1
    """

    value: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", number("value", self.value, at_least=0))

    def values(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.full(steps.shape, self.value)


@explain_construction
@dataclass(frozen=True, eq=False, repr=False)
class FromArray(Schedule):
    """One value a step, shape (n,); between two integers the value of the step begun.

    >>> FromArray([0.1, 0.2])(2)
    Traceback (most recent call last):
    ValueError: step: expected steps < 2 of FromArray(2 values, 0.1 … 0.2), got 2; give one value for each step
    """

    array: ArrayLike

    def __post_init__(self) -> None:
        array = np.array(finite_array("array", self.array, ndim=1))
        if len(array) == 0 or (array < 0).any():
            received = f"{array[array < 0][0]:g} at step {int(np.argmax(array < 0))}" if len(array) else "none"
            raise ValueError(f"array: expected one value >= 0 a step, got {received}")
        array.setflags(write=False)
        object.__setattr__(self, "array", array)

    def values(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        array = np.asarray(self.array)
        if steps.size and steps.max() >= len(array):
            raise ValueError(f"step: expected steps < {len(array)} of {self!r}, got {steps.max():g}; "
                             "give one value for each step")
        return array[np.floor(steps).astype(np.intp)]

    def __len__(self) -> int:
        return len(np.asarray(self.array))

    def __repr__(self) -> str:
        array = np.asarray(self.array)
        return f"FromArray({len(array)} values, {array[0]:.6g} … {array[-1]:.6g})"


@explain_construction
@dataclass(frozen=True)
class FromCallable(Schedule):
    """A function of the step; with `takes_arrays=True` it is called once with an array of steps.

    >>> FromCallable(lambda k: 0.1 / (1 + k)).table(2)
    array([0.1 , 0.05])
    """

    function: Callable[[Any], Any]
    takes_arrays: bool = False

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(f"function: expected a callable of the step, got {self.function!r}")

    def values(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.takes_arrays:
            return np.asarray(self.function(steps), dtype=np.float64)
        # whole steps go in as int: a table is often indexed with them
        found = [self.function(int(k) if k == int(k) else float(k)) for k in steps.ravel()]
        return np.array(found, dtype=np.float64).reshape(steps.shape)

    def __repr__(self) -> str:
        return f"FromCallable({getattr(self.function, '__qualname__', None) or repr(self.function)})"
