r"""Geodesic (exponential-map) Euler–Maruyama on the sphere :math:`S^{d-1}`.

.. math:: Y_{n+1} = \exp_{Y_n}(v) = \cos|v|\;Y_n + \frac{\sin|v|}{|v|}\,v, \qquad v = P_{Y_n}(a\,h + b\,\Delta W)

Strong order 1/2, weak order 1; steps of any size stay on the sphere.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import sympy

from sdetheory.schemes.projected_sphere import SphereScheme
from sdetheory.schemes.scheme import register
from sdetheory.schemes.sphere_geometry import tangent_increment

if TYPE_CHECKING:
    from sdetheory.sde import SDE

__all__ = ["GEODESIC_SPHERE", "GeodesicSphere"]


class GeodesicSphere(SphereScheme):
    """Step along the great circle of the tangent increment; for an Itô SDE on the unit sphere."""

    def one_step(self, sde: SDE, x: Any, t: Any, dt: Any, increments: Mapping[str, tuple[Any, ...]]) -> sympy.Matrix:
        """Expression cos|v| x + sin|v|/|v| v, shape (d, 1)."""
        v = tangent_increment(sde, x, t, dt, increments["dW"])
        angle = sympy.sqrt(v.dot(v))
        return sympy.cos(angle) * sympy.Matrix(x) + sympy.sinc(angle) * v


GEODESIC_SPHERE = register(GeodesicSphere(
    name="geodesic_sphere",
    strong_order=dict.fromkeys(("scalar", "commutative", "general"), Fraction(1, 2)),
    weak_order=dict.fromkeys(("scalar", "commutative", "general"), Fraction(1)),
))
