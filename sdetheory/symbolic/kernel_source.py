"""SymPy expressions → statements of a lane loop.

Common subexpressions are computed once; decimal numbers become data (`C[i]`), so that another value of a parameter is not
another kernel; integer powers become products. A polynomial in the states is evaluated by Horner's rule with fused
multiply-adds, so that a step waits for the state as briefly as it can: X(1 + a h + b ΔW), not X + aXh + bXΔW.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sympy
from sympy.printing.pycode import PythonCodePrinter

__all__ = ["horner", "lane_statements", "lift_numbers"]

fma = sympy.Function("fma")  # fma(x, y, z) = x y + z, rounded once


class _LanePrinter(PythonCodePrinter):
    """Python text that Numba vectorises: products for small powers, selects for Piecewise, floats for integers."""

    def _print_Integer(self, expr: sympy.Integer) -> str:
        return f"{int(expr)}.0"

    def _print_Rational(self, expr: sympy.Rational) -> str:
        return f"({expr.p}.0 / {expr.q}.0)"

    def _print_Pow(self, expr: sympy.Pow, **_: Any) -> str:
        base, exponent = expr.as_base_exp()
        if exponent.is_Rational and exponent.q in (1, 2) and abs(exponent.p) <= 16:
            text = f"({self._print(base)})"
            whole, half = divmod(abs(int(exponent.p)), exponent.q) if exponent.q == 2 else (abs(int(exponent.p)), 0)
            product = " * ".join([text] * whole + ([f"math.sqrt({self._print(base)})"] if half else []))
            return f"({product})" if exponent.p > 0 else f"(1.0 / ({product}))"
        return f"math.pow({self._print(base)}, {self._print(exponent)})"

    def _print_Pi(self, expr: Any) -> str:
        return "math.pi"

    def _print_Exp1(self, expr: Any) -> str:
        return "math.e"


def lift_numbers(expressions: Sequence[sympy.Expr]) -> tuple[list[sympy.Expr], list[float]]:
    """The expressions with every decimal number replaced by `C_i`, and the list of those numbers.

    >>> x = sympy.Symbol("x")
    >>> lift_numbers([0.5 * x + 2])
    ([C_0*x + 2], [0.5])
    """
    numbers: dict[sympy.Float, sympy.Symbol] = {}
    for expression in expressions:
        for number in sorted(expression.atoms(sympy.Float), key=lambda f: float(f)):
            numbers.setdefault(number, sympy.Symbol(f"C_{len(numbers)}", real=True))
    return [e.xreplace(numbers) for e in expressions], [float(f) for f in numbers]


def horner(expression: sympy.Expr, states: Sequence[sympy.Symbol]) -> sympy.Expr:
    """The expression as nested fused multiply-adds in those states in which it is a polynomial.

    >>> x, a, b = sympy.symbols("x a b")
    >>> horner(x + a * x**2 + b, [x])
    fma(x, fma(x, a, 1), b)
    """
    for i, x in enumerate(states):
        if expression.has(x) and expression.is_polynomial(x):
            first, *rest = (horner(c, states[i + 1:]) for c in sympy.Poly(expression, x).all_coeffs())
            for c in rest:
                first = x * first if c == 0 else sympy.Add(x, c) if first == 1 else fma(x, first, c)
            return first
    return expression


def lane_statements(targets: Mapping[str, sympy.Expr], names: Mapping[sympy.Symbol, str]) -> list[str]:
    """One statement a line that computes every target; `names` says what a symbol is called in the kernel."""
    printer = _LanePrinter({"fully_qualified_modules": True, "user_functions": {"fma": "fma"}})
    fresh = sympy.numbered_symbols("s_", cls=sympy.Symbol)
    shared, results = sympy.cse(list(targets.values()), symbols=fresh, order="canonical")
    rename = {symbol: sympy.Symbol(name) for symbol, name in names.items()}
    lines = [f"{symbol} = {printer.doprint(expression.xreplace(rename))}" for symbol, expression in shared]
    results = [printer.doprint(expression.xreplace(rename)) for expression in results]
    if len(results) == 1:
        return [*lines, f"{next(iter(targets))} = {results[0]}"]
    return [*lines, f"{', '.join(targets)} = {', '.join(results)}"]
