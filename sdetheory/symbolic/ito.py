r"""Itô's formula and the operators in it, for :math:`dX = a(X,t)\,dt + \sum_j b_j(X,t)\,dW^j`.

.. math:: df(X,t) = L^0 f\,dt + \sum_j L^j f\,dW^j,\qquad
          L^0 = \partial_t + \sum_k a^k\partial_k + \tfrac12\sum_{k,l}(bb^\top)^{kl}\partial_k\partial_l,\qquad
          L^j = \sum_k b^k_j\,\partial_k
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import sympy

__all__ = ["ItoDifferential", "ItoProcess", "L", "L0", "expression", "generator", "ito_formula"]


class ItoProcess(Protocol):
    """What the calculus needs of an SDE: states (d), time, drift (d, 1) and diffusion (d, m)."""

    @property
    def states(self) -> tuple[sympy.Symbol, ...]: ...
    @property
    def time(self) -> sympy.Symbol: ...
    @property
    def drift(self) -> sympy.ImmutableMatrix: ...
    @property
    def diffusion(self) -> sympy.ImmutableMatrix: ...


class ItoDifferential(NamedTuple):
    """df = drift dt + Σ_j diffusion[j] dW^j; for k functions drift is (k, 1) and diffusion (k, m)."""

    drift: Any
    diffusion: Any


def expression(name: str, value: Any) -> sympy.Expr:
    """Return `value` as a commutative SymPy expression; text is refused (SymPy would evaluate it)."""
    if isinstance(value, str | bool) or value is None:
        raise TypeError(f"{name}: expected a SymPy expression or a number, got {value!r}; write it with sympy.symbols(...)")
    try:
        value = sympy.sympify(value)
    except (sympy.SympifyError, TypeError, AttributeError):
        raise TypeError(f"{name}: expected a SymPy expression or a number, got {value!r}") from None
    if not isinstance(value, sympy.Expr) or not value.is_commutative:
        raise TypeError(f"{name}: expected a scalar SymPy expression or a number, got {value!r}")
    if value.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo):
        raise ValueError(f"{name}: expected a finite expression, got {value}")
    return value


def _tidy(expr: sympy.Expr) -> sympy.Expr:
    return sympy.factor_terms(sympy.expand(expr))


def L0(process: ItoProcess, f: Any) -> sympy.Expr:
    """L⁰ f, the generator with the time derivative; f is an expression in the states and time."""
    f, covariance = expression("f", f), process.diffusion * process.diffusion.T
    total = sympy.diff(f, process.time)
    for k, x in enumerate(process.states):
        slope = sympy.diff(f, x)
        total += process.drift[k] * slope
        for l, y in enumerate(process.states):
            if covariance[k, l] != 0:
                total += covariance[k, l] * sympy.diff(slope, y) / 2
    return _tidy(total)


generator = L0


def L(process: ItoProcess, j: int, f: Any) -> sympy.Expr:
    """L^j f, the derivative of f along noise column j = 0 … m-1."""
    m = process.diffusion.shape[1]
    if isinstance(j, bool) or not isinstance(j, int) or not 0 <= j < m:
        raise ValueError(f"j: expected a noise index from 0 to {m - 1}, got {j!r}")
    f = expression("f", f)
    return _tidy(sympy.Add(*(process.diffusion[k, j] * sympy.diff(f, x) for k, x in enumerate(process.states))))


def ito_formula(process: ItoProcess, f: Any) -> ItoDifferential:
    """df as (drift, diffusion): an expression and m of them, or matrices (k, 1) and (k, m) for a sequence of k functions."""
    m = process.diffusion.shape[1]
    if isinstance(f, Sequence | sympy.MatrixBase) and not isinstance(f, str):
        if len(f) == 0:
            raise ValueError("f: expected at least one function of the states, got none")
        rows = [ito_formula(process, each) for each in f]
        return ItoDifferential(sympy.ImmutableMatrix([row.drift for row in rows]),
                               sympy.ImmutableMatrix(len(rows), m, [c for row in rows for c in row.diffusion]))
    return ItoDifferential(L0(process, f), tuple(L(process, j, f) for j in range(m)))
