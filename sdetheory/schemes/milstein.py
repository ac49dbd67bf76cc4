r"""Milstein: the double Itô integrals of commuting noise, which need nothing but the increments.

.. math:: Y_{n+1} = Y_n + a\,h + \sum_j b_j\Delta W^j
          + \tfrac12\sum_{j_1,j_2} L^{j_1}b_{j_2}\,(\Delta W^{j_1}\Delta W^{j_2} - \delta_{j_1j_2}h)

By :math:`I_{(j_1,j_2)} + I_{(j_2,j_1)} = \Delta W^{j_1}\Delta W^{j_2}` (j1 ≠ j2) the sum is exact where
:math:`L^{j_1}b_{j_2} = L^{j_2}b_{j_1}`; elsewhere it would converge with order 1/2 only, so it is refused. Strong
order 1, weak order 1. Kloeden & Platen, section 10.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import sympy

from sdetheory.schemes.ito_taylor import Lj, at, columns
from sdetheory.schemes.scheme import Scheme, register

if TYPE_CHECKING:
    from sdetheory.callable_sde import CallableSDE
    from sdetheory.sde import SDE

__all__ = ["MILSTEIN", "Milstein"]

_COMMUTING = ("additive", "scalar", "diagonal", "commutative")


class Milstein(Scheme):
    """Milstein step; for noise whose columns commute."""

    differentiates = True

    def check(self, sde: SDE | CallableSDE) -> None:
        """Raise ValueError unless L^i b_j = L^j b_i for all pairs of noise columns."""
        super().check(sde)
        if not {*sde.noise_types} & {*_COMMUTING}:
            raise self._refuse("noise that commutes, L^i b_j = L^j b_i", "noise that doesn't",
                               "use 'euler_maruyama' (strong order 1/2) or 'weak_order_2'")

    def one_step(self, sde: SDE, x: Any, t: Any, dt: Any, increments: Mapping[str, tuple[Any, ...]]) -> sympy.Matrix:
        """Expression of the Milstein step, shape (d, 1)."""
        dW, b = increments["dW"], columns(sde)
        step = sde.drift * dt
        for j2, bj in enumerate(b):
            step += bj * dW[j2]
            for j1 in range(sde.noise_dim):
                step += Lj(sde, j1, bj) * (dW[j1] * dW[j2] - (dt if j1 == j2 else 0)) / 2
        return sympy.Matrix(x) + at(sde, step, x, t)


MILSTEIN = register(Milstein(
    name="milstein",
    strong_order=dict.fromkeys(_COMMUTING, Fraction(1)),
    weak_order=dict.fromkeys(_COMMUTING, Fraction(1)),
))
