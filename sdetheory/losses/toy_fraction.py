r"""The smallest scale-invariant loss (EXP-12, ILR-13).

.. math:: L(x, y) = \frac{x^2}{x^2 + y^2}

It is the Rayleigh quotient of diag(2, 0), so it has its kernels; this file only gives it a name.
"""

from __future__ import annotations

from ..noises.gradient_noise import GradientNoise
from ..validation import explained
from .rayleigh_quotient import RayleighQuotient

__all__ = ["toy_fraction"]


@explained
def toy_fraction(noise: GradientNoise | None = None) -> RayleighQuotient:
    """The loss x²/(x² + y²) of w = (x, y), with minima at x = 0.

    Examples
    --------
    >>> float(toy_fraction().value([3.0, 4.0]))
    0.36
    """
    return RayleighQuotient([2.0, 0.0], noise)
