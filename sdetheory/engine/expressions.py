"""SymPy expressions → statements for the numbers of one lane.

Common subexpressions are computed once; decimal numbers become data (`C[i]`), so that another value of a parameter is not
another kernel; integer powers become products. A polynomial in the states is evaluated by Horner's rule with fused
multiply-adds, so that a step waits for the state as briefly as it can: X(1 + a h + b ΔW), not X + aXh + bXΔW.

What SymPy leaves undefined is NaN (see `undefined`). What has no real number, or no function in a kernel, is refused before
anything compiles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import sympy
from sympy.printing.codeprinter import PrintMethodNotImplementedError
from sympy.printing.pycode import PythonCodePrinter

from .lane_program import LaneCode
from .undefined import defined, nan_where_nan, nan_where_zero

__all__ = ["expression_code", "horner", "lane_statements", "lift_numbers", "refuse_without_kernel", "unused_name"]

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

    def _print_Piecewise(self, expr: sympy.Piecewise) -> str:
        covered = expr.args[-1].cond == sympy.true
        return super()._print_Piecewise(expr if covered else sympy.Piecewise(*expr.args, (sympy.nan, True), evaluate=False))

    def _print_Max(self, expr: sympy.Max) -> str:
        return self._of_two("larger", expr.args)

    def _print_Min(self, expr: sympy.Min) -> str:
        return self._of_two("smaller", expr.args)

    def _of_two(self, name: str, arguments: Sequence[sympy.Expr]) -> str:
        """f(f(a, b), c), which is NaN where one of them is."""
        text = self._print(arguments[0])
        for argument in arguments[1:]:
            text = f"{name}({text}, {self._print(argument)})"
        return text

    def _print_sign(self, expr: sympy.sign) -> str:
        return f"sign_of({self._print(expr.args[0])})"

    def _print_Heaviside(self, expr: sympy.Heaviside) -> str:
        return f"unit_step({self._print(expr.args[0])}, {self._print(expr.args[1])})"

    def _print_floor(self, expr: sympy.floor) -> str:
        return f"np.floor({self._print(expr.args[0])})"

    def _print_ceiling(self, expr: sympy.ceiling) -> str:
        return f"np.ceil({self._print(expr.args[0])})"

    def _print_NegativeInfinity(self, expr: Any) -> str:
        return "(-math.inf)"

    # SymPy would write them with exp, and x**2 inside them as exp(2 log x), which is NaN for x < 0
    def _print_coth(self, expr: sympy.coth) -> str:
        return f"(1.0 / math.tanh({self._print(expr.args[0])}))"

    def _print_sech(self, expr: sympy.sech) -> str:
        return f"(1.0 / math.cosh({self._print(expr.args[0])}))"

    def _print_csch(self, expr: sympy.csch) -> str:
        return f"(1.0 / math.sinh({self._print(expr.args[0])}))"

    def _print_KroneckerDelta(self, expr: sympy.KroneckerDelta) -> str:
        first, second = map(self._print, expr.args[:2])
        return f"(1.0 if {first} == {second} else 0.0)"

    def _print_nan_where_zero(self, expr: nan_where_zero) -> str:
        value, denominator = map(self._print, expr.args)
        return f"({value} if {denominator} != 0.0 else math.nan)"

    def _print_nan_where_nan(self, expr: nan_where_nan) -> str:
        value, side = map(self._print, expr.args)
        return f"({value} if {side} == {side} else math.nan)"

    def _print_Pi(self, expr: Any) -> str:
        return "math.pi"

    def _print_Exp1(self, expr: Any) -> str:
        return "math.e"


def _printer() -> _LanePrinter:
    return _LanePrinter({"fully_qualified_modules": True, "user_functions": {"fma": "fma"}})


def refuse_without_kernel(where: str, expression: sympy.Expr) -> None:
    """Raise ValueError for an expression that has something in it that kernels don't know.

    >>> refuse_without_kernel("observe", 1 + sympy.besselj(0, sympy.Symbol("x")))
    Traceback (most recent call last):
    ValueError: observe: expected elementary functions, got besselj in besselj(0, x) + 1; give a Python function that computes it
    """
    for part in sympy.postorder_traversal(expression):
        if isinstance(part, sympy.Sum | sympy.Product | sympy.factorial):
            remedy = "write it out, with .doit() where its limits are numbers, factorials as sympy.gamma"
        elif isinstance(part, sympy.Expr) and not _prints(part):
            remedy = "give a Python function that computes it"
        else:
            continue
        raise ValueError(f"{where}: expected elementary functions, got {type(part).__name__} in {expression}; {remedy}")


@lru_cache(maxsize=4096)
def _prints(part: sympy.Expr) -> bool:
    try:
        _printer().doprint(part)
    except PrintMethodNotImplementedError:
        return False
    return True


def unused_name(name: str, taken: Iterable[str]) -> str:
    """The name, with so many underscores behind it that no name in `taken` begins with it."""
    names = list(taken)
    while any(other.startswith(name) for other in names):
        name += "_"
    return name


def lift_numbers(expressions: Sequence[sympy.Expr], prefix: str = "C_") -> tuple[list[sympy.Expr], list[float]]:
    """The expressions with every decimal number replaced by `C_i`, and the list of those numbers.

    >>> x = sympy.Symbol("x")
    >>> lift_numbers([0.5 * x + 2])
    ([C_0*x + 2], [0.5])
    """
    numbers: dict[sympy.Float, sympy.Symbol] = {}
    for expression in expressions:
        for number in sorted(expression.atoms(sympy.Float), key=lambda f: float(f)):
            numbers.setdefault(number, sympy.Symbol(f"{prefix}{len(numbers)}", real=True))
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


def lane_statements(targets: Mapping[str, sympy.Expr], names: Mapping[sympy.Symbol, str], prefix: str = "s_") -> list[str]:
    """One statement a line that computes every target; `names` says what a symbol is called in the kernel."""
    printer = _printer()
    fresh = sympy.numbered_symbols(prefix, cls=sympy.Symbol)
    shared, results = sympy.cse(list(targets.values()), symbols=fresh, order="canonical")
    rename = {symbol: sympy.Symbol(name) for symbol, name in names.items()}
    lines = [f"{symbol} = {printer.doprint(expression.xreplace(rename))}" for symbol, expression in shared]
    results = [printer.doprint(expression.xreplace(rename)) for expression in results]
    if len(results) == 1:
        return [*lines, f"{next(iter(targets))} = {results[0]}"]
    return [*lines, f"{', '.join(targets)} = {', '.join(results)}"]


def expression_code(targets: Mapping[str, sympy.Expr], names: Mapping[sympy.Symbol, str],
                    states: Sequence[sympy.Symbol] = ()) -> LaneCode:
    """Code that computes the targets; polynomials in `states` by Horner's rule. No symbol collides with what is generated."""
    taken = [symbol.name for symbol in names]
    prefix = unused_name("C_", taken)
    lifted, numbers = lift_numbers([defined(e) for e in targets.values()], prefix)
    lifted = [horner(e, states) for e in lifted]
    lines = lane_statements(dict(zip(targets, lifted, strict=True)), names, unused_name("s_", taken))
    return LaneCode(tuple(lines), tuple(f"{prefix}{i}" for i in range(len(numbers))), tuple(numbers))
