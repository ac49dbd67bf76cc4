r"""Weak order 2 for general noise: the Itô–Taylor step of length two, with integrals replaced by cheap variates.

.. math:: Y_{n+1} = Y_n + a\,h + \tfrac12 L^0a\,h^2
          + \sum_j\big(b_j + \tfrac h2(L^0b_j + L^ja)\big)\Delta W^j
          + \tfrac12\sum_{j_1,j_2} L^{j_1}b_{j_2}(\Delta W^{j_1}\Delta W^{j_2} + V_{j_1j_2})

:math:`V_{jj} = -h`, and for j1 < j2 :math:`V_{j_1j_2} = -V_{j_2j_1} = \pm h` with equal probability. The moments of the
variates agree with those of the Itô integrals up to h², so the mean of a smooth function errs by O(h³) in a step; a
three-point law (±√(3h), 0) agrees as far as the normal does. Kloeden & Platen, section 14.2.

Path by path (normal increments only): :math:`V` drops out for commuting noise, and what is missing has mean 0 and size
:math:`h^{3/2}`: strong order 1. For other noise the signs stand for Lévy areas they know nothing of: order 1/2.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import combinations
from typing import TYPE_CHECKING, Any

import sympy

from sdetheory.schemes.ito_taylor import L0, Lj, at, columns
from sdetheory.schemes.scheme import NOISE_TYPES, Increment, Scheme, register

if TYPE_CHECKING:
    from sdetheory.callable_sde import CallableSDE
    from sdetheory.sde import SDE

__all__ = ["WEAK_ORDER_2", "WEAK_ORDER_2_THREE_POINT", "WeakOrder2"]


class WeakOrder2(Scheme):
    """Itô–Taylor step of weak order 2; for every Itô SDE with smooth coefficients."""

    differentiates = True

    def increments_shape(self, sde: SDE | CallableSDE) -> dict[str, int]:
        """Rows of noise; no signs where the noises commute."""
        rows = super().increments_shape(sde)
        return {**rows, "dV": 0} if "commutative" in sde.noise_types else rows

    def one_step(self, sde: SDE, x: Any, t: Any, dt: Any, increments: Mapping[str, tuple[Any, ...]]) -> sympy.Matrix:
        """Expression of the step, shape (d, 1)."""
        a, dW = sympy.Matrix(sde.drift), increments["dW"]
        step = a * dt + L0(sde, a) * dt**2 / 2
        b = columns(sde)
        for j, bj in enumerate(b):
            step += (bj + (L0(sde, bj) + Lj(sde, j, a)) * dt / 2) * dW[j]
            step += Lj(sde, j, bj) * (dW[j] ** 2 - dt) / 2
        for pair, (i, j) in enumerate(combinations(range(sde.noise_dim), 2)):
            forward, backward = Lj(sde, i, b[j]), Lj(sde, j, b[i])
            step += (forward + backward) * dW[i] * dW[j] / 2
            if increments["dV"]:
                step += (forward - backward) * sympy.sqrt(dt) * increments["dV"][pair] / 2
        return sympy.Matrix(x) + at(sde, step, x, t)


WEAK_ORDER_2 = register(WeakOrder2(
    name="weak_order_2",
    strong_order={**dict.fromkeys(NOISE_TYPES, Fraction(1)), "general": Fraction(1, 2)},
    weak_order=dict.fromkeys(NOISE_TYPES, Fraction(2)),
    noise=(Increment("dW", "normal"), Increment("dV", "two_point", per="pair")),
))
WEAK_ORDER_2_THREE_POINT = register(WeakOrder2(
    name="weak_order_2_three_point",
    strong_order={},
    weak_order=dict.fromkeys(NOISE_TYPES, Fraction(2)),
    noise=(Increment("dW", "three_point"), Increment("dV", "two_point", per="pair")),
))
