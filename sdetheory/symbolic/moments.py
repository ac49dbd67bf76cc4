r"""Moment equations: :math:`\tfrac{d}{dt}E[X^\alpha] = E[L X^\alpha]` with L the generator.

They close where L maps the span of finitely many monomials into itself; then they are linear ODEs m' = A m + c, and the
stationary moments solve A m = -c. Where they don't close, the moments that are missing are named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import scipy
import sympy
from numpy.typing import NDArray

from sdetheory.validation import integer

from .coefficients import expression
from .ito import ItoProcess, exact_process, generator
from .linear_odes import solve_linear
from .notation import latex

__all__ = ["MomentEquations", "moment_equations"]


@dataclass(frozen=True, eq=False, repr=False)
class MomentEquations:
    """The linear ODEs of the moments of an SDE.

    Attributes
    ----------
    states, time, order : of the SDE, and the order asked for
    monomials : tuple of expressions x^α, |α| ≤ order, then those of higher order that are needed to close
    right_sides : tuple of expressions, L x^α
    unclosed : tuple of expressions g(x) whose expectation the equations need and have no equation for
    """

    states: tuple[sympy.Symbol, ...]
    time: sympy.Symbol
    order: int
    monomials: tuple[sympy.Expr, ...]
    right_sides: tuple[sympy.Expr, ...]
    unclosed: tuple[sympy.Expr, ...]
    _linear: tuple[sympy.ImmutableMatrix, sympy.ImmutableMatrix] | None = field(default=None)

    @property
    def closed(self) -> bool:
        """Whether the equations determine the moments."""
        return not self.unclosed

    @property
    def matrix(self) -> sympy.ImmutableMatrix:
        """A of m' = A m + c, shape (n, n) for the n monomials."""
        return self._system()[0]

    @property
    def constant(self) -> sympy.ImmutableMatrix:
        """c of m' = A m + c, shape (n, 1)."""
        return self._system()[1]

    @property
    def equations(self) -> tuple[sympy.Eq, ...]:
        """d/dt m_α(t) = …, with m_α(t) = E[X^α] (`m_2_1` is E[x²y]); expectations without an equation are E(g(x))."""
        return tuple(sympy.Eq(self._moment(mono).diff(self.time), self._expected(rhs))
                     for mono, rhs in zip(self.monomials, self.right_sides, strict=True))

    def solve(self, x0: Sequence[Any] | Mapping[Any, Any], t: Any) -> dict[sympy.Expr, Any]:
        """The moments at time t.

        Parameters
        ----------
        x0 : sequence of d numbers or expressions, or mapping of every monomial to its moment at time 0
            The start, a point or a law.
        t : symbol or expression, number or array of numbers
            An expression, or parameters without a value, give an exact solution; numbers give numbers.

        Returns
        -------
        dict of monomial to expression, float, or array of the shape of t

        Raises
        ------
        ValueError
            If the equations don't close, or there is no exact solution at hand.
        """
        A, c = self._system()
        start = self._start(x0)
        free = (A.free_symbols | c.free_symbols | set().union(*(e.free_symbols for e in start))) - {self.time}
        if free or isinstance(t, sympy.Basic):
            solution = None if self._time_dependent() else solve_linear(A, c, start, expression("t", t))
            if solution is None:
                names = sorted(map(str, free | getattr(t, "free_symbols", set())))
                raise ValueError("t: expected numbers for t, x0 and all parameters, as these equations have no exact "
                                 f"solution at hand; got free symbols {names}")
            return dict(zip(self.monomials, solution, strict=True))
        times = np.asarray(t, dtype=np.float64)
        if not np.all(np.isfinite(times)) or np.any(times < 0):
            raise ValueError(f"t: expected finite times >= 0, got {t!r}")
        values = self._numbers(A, c, np.array([float(e) for e in start]), times.ravel())
        return {mono: values[:, i].reshape(times.shape)[()] for i, mono in enumerate(self.monomials)}

    def stationary(self) -> dict[sympy.Expr, sympy.Expr]:
        """The moments that do not move, A m = -c; the limits of E[X^α] where A has eigenvalues Re < 0 only.

        Raises
        ------
        ValueError
            If the equations don't close, depend on time, have no unique such point, or it is seen to repel.
        """
        A, c = self._system()
        if self._time_dependent():
            raise ValueError("sde: expected coefficients without time, got a time-dependent SDE")
        if sympy.simplify(A.det(method="berkowitz")) == 0:
            raise ValueError("sde: expected moment equations with one stationary point, got a singular matrix; "
                             "some moment is conserved or grows without bound")
        if not A.free_symbols:
            rates = np.linalg.eigvals(np.array(A, dtype=np.float64)).real
            if rates.max() >= 0:
                raise ValueError("sde: expected moments that decay to a stationary point, got growth at rate "
                                 f"{rates.max():.3g}; there are no stationary moments of this order")
        elif any(A[i, i].is_nonnegative and all(A[i, j] == 0 for j in range(A.cols) if j != i) for i in range(A.rows)):
            raise ValueError("sde: expected moments that decay to a stationary point, got one that grows")
        solution = sympy.Matrix(A).LUsolve(-sympy.Matrix(c))
        return {mono: sympy.factor(sympy.simplify(e)) for mono, e in zip(self.monomials, solution, strict=True)}

    def _system(self) -> tuple[sympy.ImmutableMatrix, sympy.ImmutableMatrix]:
        if self._linear is None:
            needed = ", ".join(f"E[{g}]" for g in self.unclosed)
            raise ValueError(f"moment equations of order {self.order} don't close: they need {needed}; "
                             "simulate, or take coefficients for which they close (a affine, b bᵀ quadratic)")
        return self._linear

    def _time_dependent(self) -> bool:
        A, c = self._system()
        return self.time in A.free_symbols | c.free_symbols

    def _start(self, x0: Any) -> list[sympy.Expr]:
        if isinstance(x0, Mapping):
            given = {sympy.sympify(key): value for key, value in x0.items()}
            missing = [m for m in self.monomials if m not in given]
            if missing:
                raise ValueError(f"x0: expected a moment for each of {self.monomials}, got none for {missing}")
            return [expression(f"x0[{m}]", given[m]) for m in self.monomials]
        entries = x0 if isinstance(x0, Sequence | np.ndarray | sympy.MatrixBase) else [x0]
        point = [expression("x0", e) for e in entries]
        if len(point) != len(self.states):
            raise ValueError(f"x0: expected {len(self.states)} values, one a state, got {len(point)}")
        here = dict(zip(self.states, point, strict=True))
        return [m.subs(here, simultaneous=True) for m in self.monomials]

    def _numbers(self, A: Any, c: Any, start: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
        n = len(start)
        if not self._time_dependent():
            whole = np.zeros((n + 1, n + 1))
            whole[:n, :n], whole[:n, n] = np.array(A, dtype=np.float64), np.array(c, dtype=np.float64)[:, 0]
            return np.array([scipy.linalg.expm(whole * s)[:n] @ np.append(start, 1.0) for s in times]).reshape(-1, n)
        f = sympy.lambdify(self.time, [A, c], "numpy")

        def slope(s: float, m: NDArray[np.float64]) -> NDArray[np.float64]:
            a, b = f(s)
            return np.asarray(a, dtype=np.float64) @ m + np.asarray(b, dtype=np.float64)[:, 0]

        grid = np.unique(np.append(times, 0.0))
        if grid[-1] == 0:
            return np.tile(start, (len(times), 1))
        path = scipy.integrate.solve_ivp(slope, (0.0, grid[-1]), start, t_eval=grid, method="DOP853", rtol=1e-12, atol=1e-14)
        if not path.success:
            raise ValueError(f"t: expected times up to which the moments exist, got {grid[-1]}: {path.message}")
        return path.y.T[np.searchsorted(grid, times)]

    def _moment(self, mono: sympy.Expr) -> sympy.Expr:
        powers = sympy.Poly(mono, *self.states).monoms()[0]
        return sympy.Function("m_" + "_".join(map(str, powers)))(self.time)

    def _expected(self, rhs: sympy.Expr) -> sympy.Expr:
        known = set(self.monomials)
        return sympy.Add(*(c * (self._moment(g) if g in known else 1 if g == 1 else sympy.Function("E")(g))
                           for g, c in _split(rhs, self.states).items()))

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"not closed: needs {', '.join(f'E[{g}]' for g in self.unclosed)}"
        return f"<moment equations of ({', '.join(map(str, self.states))}), {len(self.monomials)} moment(s), {state}>"

    def _repr_latex_(self) -> str:
        def right(rhs: sympy.Expr) -> str:
            parts = _split(rhs, self.states).items()
            return " + ".join(latex(c) if g == 1 else f"({latex(c)})\\,E[{latex(g)}]" for g, c in parts) or "0"

        lines = [rf"\tfrac{{d}}{{d{latex(self.time)}}}\,E[{latex(m)}] &= {right(rhs)}"
                 for m, rhs in zip(self.monomials, self.right_sides, strict=True)]
        return "$$\\begin{aligned}" + r"\\".join(lines) + "\\end{aligned}$$"


def _split(rhs: sympy.Expr, states: Sequence[sympy.Symbol]) -> dict[sympy.Expr, sympy.Expr]:
    """rhs as Σ coefficient · g(states): g -> coefficient."""
    parts: dict[sympy.Expr, sympy.Expr] = {}
    for term in sympy.Add.make_args(sympy.expand(rhs)):
        coefficient, g = term.as_independent(*states, as_Add=False)
        parts[g] = parts.get(g, sympy.S.Zero) + coefficient
    return {g: sympy.factor_terms(c) for g, c in parts.items() if c != 0}


def _monomials(states: Sequence[sympy.Symbol], order: int) -> list[sympy.Expr]:
    powers = [a for a in product(range(order + 1), repeat=len(states)) if 1 <= sum(a) <= order]
    powers.sort(key=lambda a: (sum(a), tuple(-k for k in a)))
    return [sympy.Mul(*(x**k for x, k in zip(states, a, strict=True))) for a in powers]


def _degree(g: sympy.Expr, states: Sequence[sympy.Symbol]) -> int | None:
    """Total degree of a monomial in the states; None for any other function."""
    return sympy.Poly(g, *states).total_degree() if g.is_polynomial(*states) else None


def moment_equations(process: ItoProcess, order: int = 2) -> MomentEquations:
    """The ODEs of E[x^α], 1 ≤ |α| ≤ order, with the moments up to degree 2·order that they need to close.

    >>> from sdetheory import SDE
    >>> x, k, s = sympy.symbols("x k s", positive=True)
    >>> SDE(x, -k * x, s).moment_equations(2).stationary()
    {x: 0, x**2: s**2/(2*k)}
    >>> SDE(x, -x**3, s).moment_equations(2)
    <moment equations of (x), 2 moment(s), not closed: needs E[x**3], E[x**4]>
    """
    order, states, process = integer("order", order, at_least=1), tuple(process.states), exact_process(process)
    asked = _monomials(states, order)
    sides = {m: _split(sympy.simplify(generator(process, m)), states) for m in asked}
    missing = tuple(dict.fromkeys(g for side in sides.values() for g in side if g != 1 and g not in sides))
    wanted, stuck = list(missing), False
    while wanted and not stuck:
        g = wanted.pop(0)
        degree = _degree(g, states)
        if degree is None or degree > 2 * order:
            stuck = True
        elif g not in sides:
            sides[g] = _split(sympy.simplify(generator(process, g)), states)
            wanted += [h for h in sides[g] if h != 1 and h not in sides]
    if stuck:
        sides = {m: sides[m] for m in asked}
    monomials = tuple(sides)
    right = tuple(sympy.Add(*(c * g for g, c in side.items())) for side in sides.values())
    if stuck:
        return MomentEquations(states, process.time, order, monomials, right, missing)
    n = len(monomials)
    A = sympy.ImmutableMatrix(n, n, [side.get(g, sympy.S.Zero) for side in sides.values() for g in monomials])
    c = sympy.ImmutableMatrix(n, 1, [side.get(sympy.S.One, sympy.S.Zero) for side in sides.values()])
    return MomentEquations(states, process.time, order, monomials, right, (), (A, c))
