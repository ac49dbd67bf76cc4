r"""Itô's formula and the operators in it, for :math:`dX = a(X,t)\,dt + \sum_j b_j(X,t)\,dW^j`.

.. math:: df(X,t) = L^0 f\,dt + \sum_j L^j f\,dW^j,\qquad
          L^0 = \partial_t + \sum_k a^k\partial_k + \tfrac12\sum_{k,l}(bb^\top)^{kl}\partial_k\partial_l,\qquad
          L^j = \sum_k b^k_j\,\partial_k
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import sympy

from .coefficients import exact, expression

__all__ = ["ItoDifferential", "ItoProcess", "L", "L0", "exact_process", "generator", "ito_formula"]


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


class _Process(NamedTuple):
    states: tuple[sympy.Symbol, ...]
    time: sympy.Symbol
    drift: sympy.ImmutableMatrix
    diffusion: sympy.ImmutableMatrix


def exact_process(process: ItoProcess) -> ItoProcess:
    """The process with fractions for floats: what proofs and closed forms are made from."""
    return _Process(tuple(process.states), process.time, exact(process.drift), exact(process.diffusion))


class ItoDifferential(NamedTuple):
    """df = drift dt + Σ_j diffusion[j] dW^j; for k functions drift is (k, 1) and diffusion (k, m)."""

    drift: Any
    diffusion: Any


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
    """df as (drift, diffusion): an expression and m of them; for k functions matrices (k, 1) and (k, m)."""
    m = process.diffusion.shape[1]
    if isinstance(f, Sequence | sympy.MatrixBase) and not isinstance(f, str):
        if len(f) == 0:
            raise ValueError("f: expected at least one function of the states, got none")
        rows = [ito_formula(process, each) for each in f]
        return ItoDifferential(sympy.ImmutableMatrix([row.drift for row in rows]),
                               sympy.ImmutableMatrix(len(rows), m, [c for row in rows for c in row.diffusion]))
    return ItoDifferential(L0(process, f), tuple(L(process, j, f) for j in range(m)))
