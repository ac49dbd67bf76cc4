r"""Linear ODEs m' = A m + c with constant coefficients, solved exactly.

Where A is triangular in some order of the unknowns, the solution is a sum of terms :math:`C\,t^k e^{rt}`, found one
unknown after the other: :math:`m_i = e^{a_{ii}t}m_i(0) + \int_0^t e^{a_{ii}(t-s)}(\dots)ds`. Else it is a matrix
exponential.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy

__all__ = ["solve_linear"]

_Terms = dict[tuple[sympy.Expr, int], sympy.Expr]  # (rate, power) -> coefficient


def solve_linear(A: sympy.MatrixBase, c: sympy.MatrixBase, start: Sequence[sympy.Expr],
                 t: sympy.Expr) -> list[sympy.Expr] | None:
    """m(t) of m' = A m + c, m(0) = start; None where no exact form is at hand (more than 4 coupled unknowns).

    Rates whose difference SymPy cannot show to be 0 are taken for different.
    """
    order = _triangular_order(A)
    if order is None:
        return _by_exponential(A, c, start, t) if A.rows <= 4 else None
    solved: dict[int, _Terms] = {}
    for i in order:
        rate, forcing = sympy.expand(A[i, i]), {(sympy.S.Zero, 0): c[i]} if c[i] != 0 else {}
        for j in solved:
            if A[i, j] != 0:
                for key, coefficient in solved[j].items():
                    forcing[key] = forcing.get(key, 0) + A[i, j] * coefficient
        solved[i] = _convolved(rate, sympy.sympify(start[i]), forcing)
    return [sympy.Add(*(sympy.factor(C) * t**k * sympy.exp(r * t) for (r, k), C in solved[i].items()))
            for i in range(A.rows)]


def _convolved(rate: sympy.Expr, start: sympy.Expr, forcing: _Terms) -> _Terms:
    """Terms of e^{rate t} start + ∫_0^t e^{rate (t-s)} forcing(s) ds."""
    total: _Terms = {(rate, 0): start}

    def add(key: tuple[sympy.Expr, int], value: sympy.Expr) -> None:
        total[key] = total.get(key, sympy.S.Zero) + value

    for (r, k), C in forcing.items():
        gap = sympy.expand(r - rate)
        if gap == 0 or sympy.simplify(gap) == 0:
            add((rate, k + 1), C / (k + 1))
            continue
        # ∫_0^t s^k e^{gap s} ds = Σ_j (-1)^j k!/(k-j)! t^{k-j} e^{gap t} / gap^{j+1}  -  (-1)^k k! / gap^{k+1}
        for j in range(k + 1):
            add((r, k - j), C * (-1)**j * sympy.ff(k, j) / gap**(j + 1))
        add((rate, 0), -C * (-1)**k * sympy.factorial(k) / gap**(k + 1))
    return {key: value for key, value in total.items() if value != 0}


def _triangular_order(A: sympy.MatrixBase) -> list[int] | None:
    """An order in which each unknown needs only earlier ones; None where unknowns are coupled both ways."""
    needs = {i: {j for j in range(A.cols) if j != i and A[i, j] != 0} for i in range(A.rows)}
    order: list[int] = []
    while needs:
        ready = [i for i, others in needs.items() if others <= set(order)]
        if not ready:
            return None
        order += ready
        for i in ready:
            del needs[i]
    return order


def _by_exponential(A: sympy.MatrixBase, c: sympy.MatrixBase, start: Sequence[sympy.Expr],
                    t: sympy.Expr) -> list[sympy.Expr]:
    n = A.rows
    whole = sympy.zeros(n + 1, n + 1)
    whole[:n, :n], whole[:n, n] = A, c
    state = (whole * t).exp() * sympy.Matrix([*start, 1])
    return [sympy.simplify(e) for e in state[:n]]
