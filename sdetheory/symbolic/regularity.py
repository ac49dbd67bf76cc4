r"""Real symbols, real coefficients, and where a coefficient has kinks.

.. math:: \text{a formula with derivatives of } |x|,\ \max(x, 0),\ 1_{x>0} \dots \text{ promises nothing where } x = 0

States of an SDE are real, whatever SymPy assumes of the symbols; so are parameters.
"""

from __future__ import annotations

from collections.abc import Iterable

import sympy

__all__ = ["as_real", "is_rough", "refuse_complex"]

_ROUGH = (sympy.Abs, sympy.Max, sympy.Min, sympy.Piecewise, sympy.sign, sympy.Heaviside, sympy.floor, sympy.ceiling, sympy.frac,
          sympy.Mod, sympy.DiracDelta, sympy.KroneckerDelta)


def is_rough(expression: sympy.Expr) -> bool:
    """Whether an expression has kinks or jumps, so that it has no generator.

    >>> x = sympy.Symbol("x", real=True)
    >>> is_rough(sympy.Max(x, 0)), is_rough(x**2)
    (True, False)
    """
    return bool(expression.has(*_ROUGH))


def as_real(symbols: Iterable[sympy.Symbol]) -> dict[sympy.Symbol, sympy.Symbol]:
    """A real symbol of the same name for each that SymPy does not know to be real.

    Raises
    ------
    ValueError
        For a symbol that is assumed not to be real.
    """
    found = {}
    for symbol in symbols:
        if symbol.is_real is False:
            raise ValueError(f"sde: expected real states and parameters, got {symbol.name}, which is assumed not to be real; "
                             f"use sympy.Symbol({symbol.name!r}, real=True)")
        if symbol.is_real is None:
            found[symbol] = sympy.Symbol(symbol.name, real=True)
    return found


def refuse_complex(name: str, expression: sympy.Expr) -> None:
    """Raise ValueError for an expression with a complex number in it.

    >>> refuse_complex("drift", sympy.sqrt(-2) * sympy.Symbol("x"))
    Traceback (most recent call last):
    ValueError: drift: expected a real expression, got sqrt(2)*I*x with I; write it without complex numbers
    """
    for part in sympy.preorder_traversal(expression):
        if part is sympy.zoo:  # undefined, which is NaN in a kernel
            continue
        if part is sympy.I or (isinstance(part, sympy.Expr) and part.is_number and part.is_extended_real is False):
            raise ValueError(f"{name}: expected a real expression, got {expression} with {part}; write it without complex numbers")
