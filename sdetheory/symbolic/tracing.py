"""Tracing: run a Python function on symbols and keep the expression it computes.

Arithmetic, NumPy's elementary functions, array products and SymPy functions are recorded. Anything that needs a value
(a comparison, a branch, `math.sin`, `float`) stops the tracing; so does an expression that does not give the
function's own numbers.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import sympy

from .coefficients import expression

__all__ = ["NotTraceable", "trace"]


class NotTraceable(TypeError):
    """The function asks for the value of a symbol."""


class _Traced:
    """A stand-in for a number: records arithmetic, and raises where a value is asked for.

    A SymPy symbol would not do: `x == 0` is False for it, and a branch of the function would be lost unseen.
    """

    __array_priority__ = 1000
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, expr: sympy.Expr) -> None:
        self.expr = expr

    def _sympy_(self) -> sympy.Expr:
        return self.expr

    def _value(self, *_: Any) -> Any:
        raise NotTraceable("the value of a symbol is asked for")

    __bool__ = __float__ = __int__ = __index__ = __complex__ = __len__ = __round__ = _value
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _value  # type: ignore[assignment]

    def __neg__(self) -> _Traced:
        return _Traced(-self.expr)

    def __pos__(self) -> _Traced:
        return self

    def __abs__(self) -> _Traced:
        return _Traced(sympy.Abs(self.expr))


def _record(name: str) -> None:
    apply = getattr(operator, name)

    def forward(self: _Traced, other: Any) -> Any:
        return NotImplemented if isinstance(other, np.ndarray) else _Traced(apply(self.expr, _exponent(name, other)))

    def backward(self: _Traced, other: Any) -> Any:
        return _Traced(apply(_plain(other), self.expr))

    setattr(_Traced, f"__{name}__", forward)
    setattr(_Traced, f"__r{name}__", backward)


def _plain(value: Any) -> sympy.Expr:
    if isinstance(value, _Traced):
        return value.expr
    whole = isinstance(value, np.generic | np.ndarray) and np.size(value) == 1
    return expression("value", value.item() if whole else value)


def _exponent(name: str, value: Any) -> sympy.Expr:
    """The operand; x**0.5 and x**2.0 are x**(1/2) and x**2, exactly."""
    plain = _plain(value)
    half = name == "pow" and plain.is_Float and float(2 * plain).is_integer()
    return sympy.Rational(int(2 * plain), 2) if half else plain


for _name in ("add", "sub", "mul", "truediv", "pow", "mod", "floordiv"):
    _record(_name)
# NumPy applies a ufunc to an object by calling the method of that name
for _name, _function in {
    "exp": sympy.exp, "log": sympy.log, "sqrt": sympy.sqrt, "sin": sympy.sin, "cos": sympy.cos, "tan": sympy.tan,
    "sinh": sympy.sinh, "cosh": sympy.cosh, "tanh": sympy.tanh, "arctan": sympy.atan, "arcsin": sympy.asin,
    "arccos": sympy.acos, "fabs": sympy.Abs, "square": lambda e: e**2, "cbrt": sympy.cbrt, "conjugate": lambda e: e,
}.items():
    setattr(_Traced, _name, lambda self, _f=_function: _Traced(_f(self.expr)))


def _entries(result: Any, shape: tuple[int, ...]) -> list[Any] | None:
    """The entries of a nested sequence, row by row; None where it does not have the shape."""
    if not shape:
        several = isinstance(result, list | tuple | np.ndarray | sympy.MatrixBase) and np.size(result) != 1
        return None if several else [result]
    if isinstance(result, sympy.MatrixBase):
        result = result.tolist() if len(shape) == 2 else list(result)
    if not isinstance(result, list | tuple | np.ndarray) or (isinstance(result, np.ndarray) and result.ndim == 0):
        return [result] if all(n == 1 for n in shape) else None
    rows = list(result)
    if len(rows) != shape[0]:
        return _entries(rows, shape[1:]) if shape[0] == 1 and len(shape) == 2 else None
    found = [_entries(row, shape[1:]) for row in rows]
    return None if any(f is None for f in found) else [e for f in found for e in f]  # type: ignore[union-attr]


def _argument(values: Sequence[Any]) -> list[Any]:
    """Ways to hand the state over: a number where d = 1, a tuple (kernels do so), an array."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return ([values[0]] if len(values) == 1 else []) + [tuple(values), array]


def trace(function: Callable[..., Any], states: Sequence[sympy.Symbol], time: sympy.Symbol,
          shape: tuple[int, ...]) -> list[sympy.Expr] | None:
    """Entries, row by row, of `function(x, t)` as expressions in `states` and `time`; None where it is not traceable.

    Raises
    ------
    ValueError
        If the function returns another shape than `shape` (sizes 1 may be left out).
    """
    wrong: Any = None
    for x in _argument([_Traced(s) for s in states]):
        try:
            result = function(x, _Traced(time))
            entries = _entries(result, shape)
            if entries is None:
                wrong = result
                continue
            found = [expression("entry", np.asarray(e, dtype=object).item() if isinstance(e, np.ndarray) else
                                e.expr if isinstance(e, _Traced) else e) for e in entries]
        except Exception:  # whatever a foreign function raises on symbols, it is not traceable this way
            continue
        if _same_numbers(function, found, states, time, shape):
            return found
    if wrong is None:
        wrong = _wrong_shape(function, len(states), shape)
    if wrong is not None:
        name = getattr(function, "__name__", "function")
        raise ValueError(f"{name}: expected values of shape {shape}, got {wrong!r}")
    return None


def _wrong_shape(function: Callable[..., Any], dim: int, shape: tuple[int, ...]) -> Any:
    """What the function returns at a point, as kernels call it, where that is not of the shape; else None."""
    point = 0.5 if dim == 1 else tuple(0.5 + 0.1 * i for i in range(dim))
    try:
        with np.errstate(all="ignore"):
            result = function(point, 0.25)
    except (TypeError, IndexError) as error:
        name, form = getattr(function, "__name__", "function"), "a number" if dim == 1 else f"a tuple of {dim} numbers"
        raise TypeError(f"{name}: expected a function of (x, t) with x {form}, got {error!r} at x = {point}") from None
    except Exception:  # the point is outside its domain
        return None
    return result if _entries(result, shape) is None else None


def _same_numbers(function: Callable[..., Any], found: Sequence[sympy.Expr], states: Sequence[sympy.Symbol],
                  time: sympy.Symbol, shape: tuple[int, ...]) -> bool:
    """Whether the expressions give the function's numbers at a few points (hidden state or a lost branch shows)."""
    for start in (0.0, 0.37, -0.61, 1.9):
        point, t = [start + 0.11 * i for i in range(len(states))], 0.23
        for x in ([point[0]] if len(point) == 1 else []) + [tuple(point), np.array(point)]:
            try:
                with np.errstate(all="ignore"):
                    entries = _entries(function(x, t), shape)
                values = [complex(e) for e in entries or ()]
            except Exception:  # out of the function's domain, or x is wanted in another form
                continue
            here = dict(zip([*states, time], [*point, t], strict=True))
            for e, value in zip(found, values, strict=True):
                if not np.isfinite(value):
                    continue
                mine = e.subs({s: here[s] for s in e.free_symbols}).evalf()
                # 1e-9: rounding of a few hundred operations; the smallest lost branch is far above it
                if not mine.is_number or mine.has(sympy.zoo) or not (
                        abs(complex(mine) - value) <= 1e-9 * (abs(value) + abs(complex(mine))) + 1e-12):
                    return False
            break
    return True
