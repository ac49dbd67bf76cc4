r"""Euler–Maruyama: coefficients frozen over the step.

.. math:: Y_{n+1} = Y_n + a(Y_n, t_n)\,h + \sum_j b_j(Y_n, t_n)\,\Delta W^j

The first neglected term of the Itô–Taylor expansion is :math:`L^{j_1}b_{j_2}I_{(j_1,j_2)}`: of size h, mean 0.
Hence strong order 1/2, and 1 where it vanishes (additive noise); weak order 1. Kloeden & Platen, 10.2 and 14.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import sympy

from sdetheory.schemes.ito_taylor import at
from sdetheory.schemes.scheme import NOISE_TYPES, Scheme, register

if TYPE_CHECKING:
    from sdetheory.callable_sde import CallableSDE
    from sdetheory.sde import SDE

__all__ = ["EULER_MARUYAMA", "EulerMaruyama"]


class EulerMaruyama(Scheme):
    """Explicit Euler–Maruyama step; for every Itô SDE."""

    def check(self, sde: SDE | CallableSDE) -> None:
        """Every Itô SDE is accepted, by expressions or by callables."""

    def one_step(self, sde: SDE, x: Any, t: Any, dt: Any, increments: Mapping[str, tuple[Any, ...]]) -> sympy.Matrix:
        """Expression x + a(x, t) dt + b(x, t) dW, shape (d, 1)."""
        dW = sympy.Matrix(sde.noise_dim, 1, increments["dW"])
        return sympy.Matrix(x) + at(sde, sde.drift * dt + sde.diffusion * dW, x, t)


EULER_MARUYAMA = register(EulerMaruyama(
    name="euler_maruyama",
    strong_order={**dict.fromkeys(NOISE_TYPES, Fraction(1, 2)), "additive": Fraction(1)},
    weak_order=dict.fromkeys(NOISE_TYPES, Fraction(1)),
))
