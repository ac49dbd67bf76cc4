r"""The algebra of inner products: a proof in it holds in every dimension.

A vector is a linear combination of named vectors, :math:`u = \sum_i a_i e_i` (SymPy symbols stand for the
:math:`e_i`), and all that is known of them is their table :math:`\langle e_i, e_j\rangle`, in which rules like
:math:`\langle \nabla L(w), w\rangle = 0` stand. Nothing refers to coordinates, so nothing depends on the dimension.
"""

from __future__ import annotations

from collections.abc import Mapping

import sympy

__all__ = ["InnerProducts", "up_to_dt"]


class InnerProducts:
    r"""The bilinear form given by a table over named vectors; pairs may stand in either order.

    >>> w, g, r = sympy.symbols("w g r")
    >>> inner = InnerProducts({(w, w): r, (w, g): 0})
    >>> inner(w, 2*w + 3*g)
    2*r
    >>> inner(g, g)
    Traceback (most recent call last):
    KeyError: 'inner products: <g, g> is needed and not in the table'
    """

    def __init__(self, table: Mapping[tuple[sympy.Symbol, sympy.Symbol], sympy.Expr | int]) -> None:
        self._table = {frozenset(pair): sympy.sympify(value) for pair, value in table.items()}
        self.vectors = tuple(sorted({v for pair in table for v in pair}, key=str))

    def coefficients(self, vector: sympy.Expr) -> dict[sympy.Symbol, sympy.Expr]:
        """The coefficients of a linear combination; a remainder that is no multiple of a named vector is an error."""
        vector = sympy.expand(vector)
        found = {e: vector.coeff(e, 1) for e in self.vectors}
        if sympy.expand(vector - sum(c * e for e, c in found.items())) != 0:
            raise ValueError(f"vector: expected a linear combination of {self.vectors}, got {vector}")
        return {e: c for e, c in found.items() if c != 0}

    def __call__(self, u: sympy.Expr, v: sympy.Expr) -> sympy.Expr:
        """The inner product of two linear combinations."""
        total = sympy.S.Zero
        for e, a in self.coefficients(u).items():
            for f, b in self.coefficients(v).items():
                if frozenset((e, f)) not in self._table:
                    raise KeyError(f"inner products: <{e}, {f}> is needed and not in the table")
                total += a * b * self._table[frozenset((e, f))]
        return sympy.expand(total)


def up_to_dt(expr: sympy.Expr, root_dt: sympy.Symbol) -> tuple[sympy.Expr, sympy.Expr]:
    r"""Return the coefficients of :math:`\sqrt{dt}` and :math:`dt`: what Itô's calculus keeps, with dB written √dt ξ.

    >>> q, b = sympy.symbols("q b")
    >>> up_to_dt((1 + b*q)**2, q)
    (2*b, b**2)
    """
    expr = sympy.expand(expr)
    return expr.coeff(root_dt, 1), expr.coeff(root_dt, 2)
