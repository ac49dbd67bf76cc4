r"""Expectations over independent draws, of which only moments are known: proofs hold for every law with these moments.

.. math:: \mathbb E\,\prod_k p_k(\xi_k) = \prod_k \mathbb E\,p_k(\xi_k), \qquad \xi_1, \xi_2, \dots \text{ independent}

The entries of a draw may be a noise vector's components along any directions, :math:`\langle\xi,u\rangle`: then nothing
refers to the dimension.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sympy

__all__ = ["Draw", "expectation"]


class Draw:
    """A random vector: its entries, and the moments that are known of it, by monomial."""

    def __init__(self, entries: Sequence[sympy.Symbol], moments: Mapping[sympy.Expr, sympy.Expr | int]) -> None:
        self.entries = tuple(entries)
        self.moments = {sympy.sympify(mono): sympy.sympify(value) for mono, value in moments.items()}

    def moment(self, powers: Sequence[int]) -> sympy.Expr:
        """The expectation of the monomial with these powers."""
        mono = sympy.Mul(*(x**k for x, k in zip(self.entries, powers, strict=True)))
        if mono == 1:
            return sympy.S.One
        if mono not in self.moments:
            raise KeyError(f"moments: E[{mono}] is needed and not known")
        return self.moments[mono]


def expectation(expr: sympy.Expr, *draws: Draw) -> sympy.Expr:
    """The expectation of a polynomial in the entries of independent draws.

    >>> x, y, s = sympy.symbols("x y s")
    >>> expectation((x + 2*y)**2, *(Draw([z], {z: 0, z**2: s}) for z in (x, y)))
    5*s
    """
    entries = [x for draw in draws for x in draw.entries]
    total = sympy.S.Zero
    for powers, coefficient in sympy.Poly(sympy.expand(expr), *entries).terms():
        rest = list(powers)
        for draw in draws:
            mine, rest = rest[:len(draw.entries)], rest[len(draw.entries):]
            coefficient *= draw.moment(mine)
        total += coefficient
    return sympy.expand(total)
