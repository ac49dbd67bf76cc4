r"""The gradient of a homogeneous function over a power of the norm, which is scale-invariant.

.. math:: L(w) = c + h(w)/\|w\|^{2k}, \qquad h(sw) = s^{2k} h(w)

With Euler's identity :math:`w\cdot\nabla h = 2k\,h`

.. math:: \nabla L = \Bigl(\nabla h - w\,\frac{w\cdot\nabla h}{\|w\|^2}\Bigr)\Big/\|w\|^{2k}.
"""

from __future__ import annotations

from typing import Any

from ..engine.rows import total

__all__ = ["ratio_gradient"]


def ratio_gradient(w: Any, slope: Any, half_degree: int) -> Any:
    """∇L from the slope ∇h, a formula on rows."""
    inverse = 1.0 / total(w * w)
    radial = total(w * slope) * inverse
    for _ in range(half_degree - 1):
        slope, radial = slope * inverse, radial * inverse
    return (slope - radial * w) * inverse
