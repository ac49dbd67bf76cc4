"""Coefficients as they come from a user: states, drift and diffusion, checked and in one form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy

from .notation import symbol

__all__ = ["as_diffusion", "as_drift", "as_states", "as_time", "exact", "expression"]


def expression(name: str, value: Any) -> sympy.Expr:
    """Return `value` as a commutative SymPy expression; text is refused (SymPy would evaluate it)."""
    if isinstance(value, str | bool) or value is None:
        raise TypeError(f"{name}: expected a SymPy expression or a number, got {value!r}; build it from sympy.symbols")
    try:
        value = sympy.sympify(value)
    except (sympy.SympifyError, TypeError, AttributeError):
        raise TypeError(f"{name}: expected a SymPy expression or a number, got {value!r}") from None
    if not isinstance(value, sympy.Expr) or not value.is_commutative:
        raise TypeError(f"{name}: expected a scalar SymPy expression or a number, got {value!r}")
    if value.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo):
        raise ValueError(f"{name}: expected a finite expression, got {value}")
    # SymPy holds 0.0 and 0 for different; a float that is a whole number is that number
    whole = {f: sympy.Integer(int(f)) for f in value.atoms(sympy.Float) if float(f).is_integer()}
    return value.xreplace(whole)


def exact(value: Any) -> Any:
    """The expression or matrix with the decimal fraction that a float prints as in its place: equality is decidable.

    >>> exact(0.1 * sympy.Symbol("x"))
    x/10
    """
    return value.xreplace({f: sympy.Rational(repr(float(f))) for f in value.atoms(sympy.Float)})


def as_states(states: Any) -> tuple[sympy.Symbol, ...]:
    given = (states,) if isinstance(states, sympy.Symbol) else states
    if isinstance(given, str) or not isinstance(given, Sequence | sympy.MatrixBase) or len(given) == 0:
        raise TypeError(f"states: expected a sequence of SymPy symbols, got {states!r}; use sympy.symbols('x y')")
    for s in given:
        if not isinstance(s, sympy.Symbol) or not s.is_commutative:
            raise TypeError(f"states: expected SymPy symbols, got {s!r}; use sympy.Symbol('x', real=True)")
    if len(set(given)) < len(given):
        raise ValueError(f"states: expected distinct symbols, got {tuple(given)}")
    return tuple(given)


def as_time(time: Any, states: Sequence[sympy.Symbol], free: set[sympy.Symbol]) -> sympy.Symbol:
    if time is None:
        named = [s for s in free if s.name == "t" and s not in states]
        return named[0] if named else symbol("t")
    if not isinstance(time, sympy.Symbol) or time in states:
        raise TypeError(f"time: expected a SymPy symbol that is no state, got {time!r}")
    return time


def as_drift(drift: Any, d: int) -> sympy.ImmutableMatrix:
    rows = _rows("drift", drift)
    entries = [e for row in rows for e in row]
    if len(entries) != d or (len(rows) > 1 and any(len(row) != 1 for row in rows)):
        raise ValueError(f"drift: expected {d} expression(s), one a state, got {len(entries)} in shape "
                         f"{(len(rows), len(rows[0]) if rows else 0)}")
    return sympy.ImmutableMatrix(d, 1, entries)


def as_diffusion(diffusion: Any, d: int) -> sympy.ImmutableMatrix:
    rows = _rows("diffusion", diffusion)
    widths = {len(row) for row in rows}
    if len(rows) != d or len(widths) != 1 or 0 in widths:
        flat = ("; write one column as [[b1], [b2], ...], independent noises as sympy.diag(b1, b2, ...)"
                if len(rows) == 1 and d > 1 else "; give one row a state, one column a Brownian motion")
        raise ValueError(f"diffusion: expected shape ({d}, m), got {len(rows)} row(s) of length {sorted(widths)}{flat}")
    return sympy.ImmutableMatrix(rows)


def _rows(name: str, value: Any) -> list[list[sympy.Expr]]:
    """Rows of expressions of a scalar, a flat sequence (one row) or a nested one."""
    if callable(value) and not isinstance(value, sympy.Basic | sympy.MatrixBase):
        raise TypeError(f"{name}: expected SymPy expressions, got a callable; use SDE.from_callables(...)")
    value = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(value, list | tuple | sympy.Tuple):
        return [[expression(name, value)]]
    if any(isinstance(row, list | tuple | sympy.Tuple) for row in value):
        if not all(isinstance(row, list | tuple | sympy.Tuple) for row in value):
            raise ValueError(f"{name}: expected rows of one kind, got {value!r}")
        return [[expression(f"{name}[{i}][{j}]", e) for j, e in enumerate(row)] for i, row in enumerate(value)]
    return [[expression(f"{name}[{i}]", e) for i, e in enumerate(value)]]
