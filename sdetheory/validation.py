"""Checks at the boundary: every error names the argument, what it must be, what came, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Bounds", "finite_array", "integer", "nonzero", "number"]


def _fail(kind: type[Exception], name: str, requirement: str, received: Any, remedy: str) -> Exception:
    return kind(f"{name}: expected {requirement}, got {received!r}{'; ' + remedy if remedy else ''}")


def number(name: str, value: Any, *, above: float | None = None, at_least: float | None = None,
           below: float | None = None, at_most: float | None = None, remedy: str = "") -> float:
    """Return `value` as a finite float inside the stated bounds; `above` and `below` are strict.

    >>> number("lr", -0.1, above=0)
    Traceback (most recent call last):
    ValueError: lr: expected a number > 0, got -0.1
    """
    bounds = [(f"> {above}", above, lambda x, b: x > b), (f">= {at_least}", at_least, lambda x, b: x >= b),
              (f"< {below}", below, lambda x, b: x < b), (f"<= {at_most}", at_most, lambda x, b: x <= b)]
    wanted = "a number " + " and ".join(text for text, bound, _ in bounds if bound is not None)
    wanted = "a finite number" if wanted == "a number " else wanted
    if isinstance(value, bool | str) or value is None:
        raise _fail(TypeError, name, wanted, value, remedy)
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise _fail(TypeError, name, wanted, value, remedy) from None
    if not np.isfinite(result) or any(bound is not None and not holds(result, bound) for _, bound, holds in bounds):
        raise _fail(ValueError, name, wanted, value, remedy)
    return result


def integer(name: str, value: Any, *, at_least: int | None = None, at_most: int | None = None, remedy: str = "") -> int:
    """Return `value` as an int inside the stated bounds; floats with a fractional part are refused."""
    wanted = "an integer" + (f" >= {at_least}" if at_least is not None else "")
    wanted += f"{' and' if at_least is not None else ''} <= {at_most}" if at_most is not None else ""
    if isinstance(value, bool) or not isinstance(value, int | np.integer | float) or value != value // 1:
        raise _fail(TypeError, name, wanted, value, remedy)
    if (at_least is not None and value < at_least) or (at_most is not None and value > at_most):
        raise _fail(ValueError, name, wanted, value, remedy)
    return int(value)


def finite_array(name: str, value: ArrayLike, *, ndim: int | None = None, shape: tuple[int | None, ...] | None = None,
                 remedy: str = "", finite: bool = True) -> NDArray[np.float64]:
    """Return `value` as a float64 array, finite unless told; `None` in `shape` stands for any length.

    >>> finite_array("w0", [1.0, float("nan")])
    Traceback (most recent call last):
    ValueError: w0: expected finite numbers, got 1 that are not (first at index (1,))
    """
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "fiu":
            raise TypeError
        array = np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError):
        raise _fail(TypeError, name, "an array of real numbers", value, remedy) from None
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name}: expected {ndim} dimension(s), got shape {array.shape}{'; ' + remedy if remedy else ''}")
    if shape is not None and (array.ndim != len(shape)
                              or any(s is not None and s != n for s, n in zip(shape, array.shape, strict=True))):
        wanted = "(" + ", ".join("any" if s is None else str(s) for s in shape) + ("," if len(shape) == 1 else "") + ")"
        raise ValueError(f"{name}: expected shape {wanted}, got {array.shape}{'; ' + remedy if remedy else ''}")
    bad = ~np.isfinite(array)
    if finite and bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(f"{name}: expected finite numbers, got {int(bad.sum())} that are not (first at index {where})"
                         f"{'; ' + remedy if remedy else ''}")
    return array


@dataclass(frozen=True)
class Bounds:
    """What a parameter may be: a finite number inside the bounds, of which `above` and `below` are strict; `whole` for counts.

    >>> Bounds(at_least=0.0, below=1.0).check("momentum", 0.9)
    0.9
    >>> Bounds(above=0.0).check_all("sweep['lr']", [0.1, -1.0])
    Traceback (most recent call last):
    ValueError: sweep['lr']: expected numbers > 0.0, got -1.0 at index 1
    """

    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None
    whole: bool = False

    def check(self, name: str, value: Any) -> float:
        """The value, or an error that names it."""
        checked = number(name, value, above=self.above, at_least=self.at_least, below=self.below, at_most=self.at_most)
        if self.whole and checked != round(checked):
            raise _fail(ValueError, name, "a whole number", value, "")
        return checked

    def check_all(self, name: str, values: ArrayLike, *, place: str = "index") -> NDArray[np.float64]:
        """The values, a vector of at least one number, or an error that names the first that does not fit, and its place."""
        array = finite_array(name, values, ndim=1)
        if array.size == 0:
            raise ValueError(f"{name}: expected at least one number, got none")
        bad = np.zeros(array.shape, dtype=bool)
        texts = []
        for text, bound, holds in ((">", self.above, np.greater), (">=", self.at_least, np.greater_equal),
                                   ("<", self.below, np.less), ("<=", self.at_most, np.less_equal)):
            if bound is not None:
                bad |= ~holds(array, bound)
                texts.append(f"{text} {bound}")
        if self.whole:
            bad |= array != np.round(array)
        if bad.any():
            first = int(np.argmax(bad))
            wanted = " ".join(["whole numbers" if self.whole else "numbers", " and ".join(texts)]).strip()
            raise ValueError(f"{name}: expected {wanted}, got {float(array[first])!r} at {place} {first}")
        return array


def nonzero(name: str, weights: NDArray[np.float64], who: str) -> NDArray[np.float64]:
    """Return the weights (..., d) where none of the vectors is 0, the point at which a scale-invariant `who` is not defined.

    >>> nonzero("w", np.zeros(2), "RayleighQuotient")
    Traceback (most recent call last):
    ValueError: w: expected weights other than 0, where RayleighQuotient is not defined, got a zero vector; start e.g. from \
loss.sample_sphere()
    """
    if not np.any(weights != 0.0, axis=-1).all():
        raise ValueError(f"{name}: expected weights other than 0, where {who} is not defined, got a zero vector; start e.g. from "
                         "loss.sample_sphere()")
    return weights
