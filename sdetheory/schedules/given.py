"""Schedules somebody else wrote: an array with one value a step, or any callable of the step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..validation import finite_array
from .schedule import Schedule

__all__ = ["FromArray", "FromCallable"]


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
