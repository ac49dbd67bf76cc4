r"""Projected Euler–Maruyama on the sphere :math:`S^{d-1}`: a tangent step, then back along the radius.

.. math:: Y_{n+1} = \frac{Y_n + v}{|Y_n + v|}, \qquad v = P_{Y_n}(a\,h + b\,\Delta W)

Strong order 1/2, weak order 1. The convention for SDEs on the sphere is in `sphere_geometry`.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import sympy

from sdetheory.schemes.scheme import Scheme, register
from sdetheory.schemes.sphere_geometry import tangent_increment
from sdetheory.symbolic.on_sphere import radial_residuals, vanishes_on_sphere

if TYPE_CHECKING:
    from sdetheory.callable_sde import CallableSDE
    from sdetheory.sde import SDE

__all__ = ["PROJECTED_SPHERE", "ProjectedSphere", "SphereScheme"]


class SphereScheme(Scheme):
    """A scheme whose state stays on the unit sphere of its ambient space."""

    def check(self, sde: SDE | CallableSDE) -> None:
        """Raise ValueError unless the SDE is shown to conserve |x|² on the unit sphere."""
        super().check(sde)
        drift, noise = radial_residuals(cast("SDE", sde))
        for j, residual in enumerate(noise):
            if not vanishes_on_sphere(residual, sde.states):
                raise self._refuse("tangent noise, x·b_j = 0 on |x| = 1", f"2 x·b_{j} = {residual}",
                                   "project the diffusion with P = I - x xᵀ/|x|²")
        if not vanishes_on_sphere(drift, sde.states):
            raise self._refuse("an Itô SDE that conserves |x|², 2 x·a + Tr(b bᵀ) = 0 on |x| = 1",
                               f"2 x·a + Tr(b bᵀ) = {drift}",
                               "the radial part of the drift must be the Itô correction -½ Tr(b bᵀ) x and nothing else")


class ProjectedSphere(SphereScheme):
    """Tangent Euler–Maruyama step, normalised; for an Itô SDE on the unit sphere."""

    def one_step(self, sde: SDE, x: Any, t: Any, dt: Any, increments: Mapping[str, tuple[Any, ...]]) -> sympy.Matrix:
        """Expression (x + v)/|x + v|, shape (d, 1)."""
        ambient = sympy.Matrix(x) + tangent_increment(sde, x, t, dt, increments["dW"])
        return ambient / sympy.sqrt(ambient.dot(ambient))


PROJECTED_SPHERE = register(ProjectedSphere(
    name="projected_sphere",
    strong_order=dict.fromkeys(("scalar", "commutative", "general"), Fraction(1, 2)),
    weak_order=dict.fromkeys(("scalar", "commutative", "general"), Fraction(1)),
))
