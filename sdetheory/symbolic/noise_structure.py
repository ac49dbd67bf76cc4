r"""Classes of noise: what a scheme may take for granted about b(x, t).

additive: no state in b. scalar: one Brownian motion. diagonal: b is diagonal and b_ii depends on x_i alone.
commutative: :math:`L^{j_1} b_{j_2} = L^{j_2} b_{j_1}` for all pairs of columns.
"""

from __future__ import annotations

from itertools import combinations

import sympy

from .coefficients import exact
from .ito import ItoProcess

__all__ = ["noise_types"]


def noise_types(process: ItoProcess) -> frozenset[str]:
    """The classes that the diffusion is in; a class is left out unless SymPy shows that it holds."""
    states, (d, m) = set(process.states), process.diffusion.shape
    b = exact(process.diffusion)
    b = b.applyfunc(sympy.simplify) if b.free_symbols & states else b
    if not b.free_symbols & states:
        found = {"additive", "commutative"}
    else:
        jacobians = [sympy.Matrix(b[:, j]).jacobian(list(process.states)) for j in range(m)]
        brackets = (jacobians[j] * b[:, i] - jacobians[i] * b[:, j] for i, j in combinations(range(m), 2))
        found = {"commutative"} if all(_vanishes(e) for bracket in brackets for e in bracket) else set()
    if m == 1:
        found.add("scalar")
    off = all(b[i, j] == 0 for i in range(d) for j in range(m) if i != j)
    if d == m and off and all(not b[i, i].free_symbols & (states - {x}) for i, x in enumerate(process.states)):
        found.add("diagonal")
    return frozenset(found)


def _vanishes(expr: sympy.Expr) -> bool:
    return bool(sympy.expand(expr) == 0 or sympy.simplify(expr) == 0)
