"""Checks at the boundary: every error names the argument, what it must be, what came, and what to do."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Bounds", "explain_construction", "explained", "finite_array", "integer", "nonzero", "number"]

_F = TypeVar("_F", bound=Callable[..., Any])
_C = TypeVar("_C", bound=type)

#: what the same argument is called elsewhere, in small letters
_ELSEWHERE = {"seed": "rng", "random_state": "rng", "learning_rate": "lr", "eta": "lr", "step_size": "dt", "h": "dt",
              "t_end": "t1", "t_final": "t1", "t_start": "t0", "observables": "observe", "initial": "x0", "y0": "x0",
              "num_paths": "n_paths", "n_samples": "n_paths", "num_steps": "n_steps", "steps": "n_steps", "ell": "amplification",
              "d": "dim", "n": "dim"}


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


def explained(function: _F) -> _F:
    """A function whose signature is kept, and named where a call does not fit it: a decorator of what users call.

    Also for `__init__` and, below `classmethod`, for class methods. A call that fits costs nothing more: the signature is looked
    at where a TypeError has been raised.

    >>> @explained
    ... def simulate(process, x0, *, t1=None, dt=None): ...
    >>> simulate("sde", 0.0, T=5)
    Traceback (most recent call last):
    TypeError: simulate: expected the arguments process, x0, t1, dt, got 'T'; did you mean 't1'?
    >>> simulate("sde")
    Traceback (most recent call last):
    TypeError: simulate: expected the arguments process, x0, t1, dt, got no 'x0', which has no default; give x0=...
    >>> simulate("sde", 0.0, 5.0)
    Traceback (most recent call last):
    TypeError: simulate: expected 2 arguments by position, process and x0, got 3; give the others by name, t1=...
    """
    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        try:
            return function(*args, **named)
        except TypeError:
            misfit = _misfit(function, args, named)
            if misfit is None:  # raised inside
                raise
        raise TypeError(misfit)
    return cast(_F, call)


def explain_construction(cls: _C) -> _C:
    """A class whose own `__init__`, where it has one, is `explained`: a decorator, or called by `__init_subclass__`."""
    if "__init__" in vars(cls):
        cls.__init__ = explained(vars(cls)["__init__"])  # type: ignore[misc]
    return cls


def _misfit(function: Callable[..., Any], args: Sequence[Any], named: Mapping[str, Any]) -> str | None:
    """Why the arguments do not fit the function's signature, or None where they do."""
    signature = inspect.signature(function)
    try:
        signature.bind(*args, **named)
    except TypeError:
        pass
    else:
        return None
    parameters, who, given = list(signature.parameters.values()), function.__qualname__.rpartition("<locals>.")[2], len(args)
    if parameters[0].name in ("self", "cls"):
        parameters, given = parameters[1:], given - 1
        who = type(args[0]).__name__ if function.__name__ == "__init__" else who
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    there = ", ".join(dict.fromkeys([*positional, *names]))
    expected = f"{who}: expected {'the arguments ' + there if there else 'no arguments'}"
    open_ended = any(p.kind == p.VAR_KEYWORD for p in parameters)
    for name in () if open_ended else (name for name in named if name not in names):
        return f"{expected}, got {name!r}{_meant(name, [n for n in names if n not in named and n not in positional[:given]])}"
    if given > len(positional):
        wanted = " and ".join(filter(None, [", ".join(positional[:-1]), *positional[-1:]])) or "none"
        left = next((n for n in names if n not in positional and n not in named), None)
        return (f"{who}: expected {len(positional)} argument{'' if len(positional) == 1 else 's'} by position, {wanted}, got {given}"
                + (f"; give the others by name, {left}=..." if left else ""))
    for name in positional[:given]:
        if name in named:
            return f"{expected}, got {name!r} twice, by position and by name"
    missing = next(p.name for p in parameters if p.default is p.empty and p.name not in named and p.name not in positional[:given]
                   and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
    return f"{expected}, got no {missing!r}, which has no default; give {missing}=..."


def _meant(given: str, names: Sequence[str]) -> str:
    """Which of the names was meant, as the end of a message."""
    low = {name.lower(): name for name in names}
    elsewhere = _ELSEWHERE.get(given.lower())
    near = [elsewhere] if elsewhere in names else [low[n] for n in difflib.get_close_matches(given.lower(), low, n=1)]
    return f"; did you mean {near[0]!r}?" if near else ""
