r"""Strong order 1.5 for additive noise: every Itô–Taylor term of mean-square size up to h³.

.. math:: Y_{n+1} = Y_n + a\,h + \tfrac12 L^0a\,h^2
          + \sum_j \big(b_j\Delta W^j + L^ja\,\Delta Z^j + \partial_t b_j\,(h\,\Delta W^j - \Delta Z^j)\big),
          \qquad
          \Delta Z^j = \int_0^h (W^j_s - W^j_0)\,ds = \tfrac h2(\Delta W^j + \Delta U^j/\sqrt3)

With b = b(t) the double integrals of the noise vanish, and
:math:`I_{(0,j)} = \int_0^h s\,dW^j_s = h\Delta W^j - \Delta Z^j`. All integrals of length two are there, so the weak
order is 2. Kloeden & Platen, sections 10.4 and 14.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import sympy

from sdetheory.schemes.ito_taylor import L0, Lj, at, columns
from sdetheory.schemes.scheme import Increment, Scheme, register

if TYPE_CHECKING:
    from sdetheory.callable_sde import CallableSDE
    from sdetheory.sde import SDE

__all__ = ["STRONG_ORDER_1_5", "StrongOrder15"]


class StrongOrder15(Scheme):
    """Itô–Taylor step of strong order 1.5; for noise that does not depend on the state."""

    differentiates = True

    def check(self, sde: SDE | CallableSDE) -> None:
        """Raise ValueError unless the diffusion is free of the state."""
        super().check(sde)
        if "additive" not in sde.noise_types:
            raise self._refuse("additive noise, b = b(t)", f"diffusion {sympy.Matrix(sde.diffusion).tolist()}",
                               "use 'milstein' (commuting noise) or 'euler_maruyama', or make the noise additive")

    def one_step(self, sde: SDE, x: Any, t: Any, dt: Any, increments: Mapping[str, tuple[Any, ...]]) -> sympy.Matrix:
        """Expression of the step, shape (d, 1)."""
        a = sympy.Matrix(sde.drift)
        step = a * dt + L0(sde, a) * dt**2 / 2
        for j, bj in enumerate(columns(sde)):
            dW, dU = increments["dW"][j], increments["dU"][j]
            dZ = dt / 2 * (dW + dU / sympy.sqrt(3))
            step += bj * dW + Lj(sde, j, a) * dZ + bj.diff(sde.time) * (dt * dW - dZ)
        return sympy.Matrix(x) + at(sde, step, x, t)


STRONG_ORDER_1_5 = register(StrongOrder15(
    name="strong_order_1_5",
    strong_order={"additive": Fraction(3, 2)},
    weak_order={"additive": Fraction(2)},
    noise=(Increment("dW", "normal"), Increment("dU", "normal")),
))
