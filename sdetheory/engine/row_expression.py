"""A SymPy expression in a few symbols as the graph of a formula, each symbol a component of the weights.

    x**2 + sin(y)    is    component(w, 0)**2 + sin(component(w, 1))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import sympy

from . import rows
from .rows import Node, as_node, block, component
from .undefined import defined, nan_where_nan, nan_where_zero

__all__ = ["graph_of"]

_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    sympy.exp: rows.exp, sympy.log: rows.log, sympy.sin: rows.sin, sympy.cos: rows.cos, sympy.tanh: rows.tanh, sympy.sinh: rows.sinh,
    sympy.cosh: rows.cosh, sympy.Abs: rows.absolute, sympy.Max: rows.maximum, sympy.Min: rows.minimum,
    sympy.tan: lambda x: rows.sin(x) / rows.cos(x),
    sympy.sign: lambda x: rows.where(x > 0.0, 1.0, rows.where(x < 0.0, -1.0, x)),
    sympy.Heaviside: lambda x, middle: rows.where(x > 0.0, 1.0, rows.where(x < 0.0, 0.0, middle)),
    nan_where_zero: lambda x, zero: rows.where(zero > 0.0, x, rows.where(zero < 0.0, x, float("nan"))),
    nan_where_nan: lambda x, side: rows.where(side > 0.0, x, rows.where(side <= 0.0, x, float("nan"))),
}
_COMPARED = {sympy.StrictLessThan: Node.__lt__, sympy.LessThan: Node.__le__, sympy.StrictGreaterThan: Node.__gt__,
             sympy.GreaterThan: Node.__ge__}


def graph_of(expression: sympy.Expr, symbols: Sequence[sympy.Symbol]) -> Node:
    """The operations of an expression.

    Raises
    ------
    ValueError
        For a symbol that is not among `symbols`, or a function without a kernel.

    Examples
    --------
    >>> x, y = sympy.symbols("x y")
    >>> graph_of(x * y, [x, y]).op
    '*'
    """
    places = {symbol: component(block("W"), i) for i, symbol in enumerate(symbols)}
    known: dict[Any, Node] = {}

    def read(x: Any) -> Node:
        if x not in known:
            known[x] = as_node(_read(x, places, read))
        return known[x]
    return read(defined(sympy.sympify(expression)))


def _read(x: Any, places: dict[sympy.Symbol, Node], read: Callable[[Any], Node]) -> Any:
    if x in places:
        return places[x]
    if x.is_Symbol:
        raise ValueError(f"formula: expected an expression in {', '.join(s.name for s in places)} alone, got the symbol {x}; put a "
                         "number in with subs, or name it among the symbols")
    if x.is_number:
        value = sympy.N(x, 30)
        if not value.is_real or not value.is_finite:
            raise ValueError(f"formula: expected real numbers, got {x}")
        return as_node(float(value))
    if x.is_Add or x.is_Mul:
        return reduce(lambda a, b: a + b if x.is_Add else a * b, map(read, x.args))
    if x.is_Pow:
        base, exponent = x.args
        if exponent == sympy.S.Half or exponent == -sympy.S.Half:
            return rows.sqrt(read(base)) if exponent > 0 else 1.0 / rows.sqrt(read(base))
        return read(base) ** (float(exponent) if exponent.is_number else read(exponent))
    if isinstance(x, sympy.Piecewise):
        found: Any = float("nan")  # outside all pieces
        for then, condition in reversed(x.args):
            found = read(then) if condition == True else rows.where(read(condition), read(then), found)  # noqa: E712
        return found
    function = _FUNCTIONS.get(x.func) or _COMPARED.get(x.func)
    if function is not None:
        arguments = [read(a) for a in x.args]
        return reduce(function, arguments) if x.func in (sympy.Max, sympy.Min) else function(*arguments)
    there = sorted(f.__name__ for f in _FUNCTIONS if f not in (nan_where_zero, nan_where_nan))
    raise ValueError(f"formula: expected sums, products, powers, Piecewise and {', '.join(there)}, "
                     f"got {x.func.__name__} in {x}")
