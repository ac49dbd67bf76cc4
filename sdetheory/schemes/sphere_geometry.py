r"""What the schemes on :math:`S^{d-1}` share: the tangent increment. (Which SDEs live there: `symbolic.on_sphere`.)

An SDE on the sphere is given in ambient coordinates, in Itô form, **with its Itô correction in the drift**:

.. math:: dX = a\,dt + b\,dW,\quad |X| = 1 \iff b^\top x = 0,\ \ 2\,x\cdot a + \operatorname{Tr} bb^\top = 0
          \ \text{ on } |x| = 1.

So the radial part of the drift is the correction :math:`-\tfrac12\operatorname{Tr}(bb^\top)\,x` and nothing else: for
isotropic tangent noise b = s P_x it is :math:`-\tfrac{d-1}2 s^2x`. The step takes the tangent increment

.. math:: v = P_x(a\,h + b\,\Delta W), \qquad P_x = 1 - xx^\top/|x|^2,

which drops that part, and the way back to the sphere restores it: both maps are
:math:`x + v - \tfrac12|v|^2x + O(|v|^3)`, of mean
:math:`x + P_xa\,h - \tfrac12\operatorname{Tr}(bb^\top)\,x\,h = x + a\,h` up to h².
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sympy

from sdetheory.schemes.ito_taylor import at

if TYPE_CHECKING:
    from sdetheory.sde import SDE

__all__ = ["tangent_increment"]


def tangent_increment(sde: SDE, x: Any, t: Any, dt: Any, dW: Any) -> sympy.Matrix:
    """Column v = P_x(a dt + b dW), shape (d, 1); P_x divides by |x|², so that a rounding error of |x| doesn't grow."""
    point = sympy.Matrix(x)
    ambient = at(sde, sde.drift * dt + sde.diffusion * sympy.Matrix(sde.noise_dim, 1, dW), x, t)
    return ambient - point * (point.dot(ambient) / point.dot(point))
