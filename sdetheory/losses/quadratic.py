r"""The quadratic without normalisation: the control that is *not* scale-invariant.

.. math:: L(w) = \tfrac12 \sum_i a_i w_i^2
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from ..engine import BlockFunction, block_function
from ..validation import finite_array, integer
from .gradient_noise import GradientNoise
from .loss import Loss

__all__ = ["Quadratic"]


@block_function
def quadratic_gradient(W, G, S, a):
    """G ← a_i w_i."""
    d, lanes = W.shape
    for i in range(d):
        for lane in range(lanes):
            G[i, lane] = a[i] * W[i, lane]


@block_function
def quadratic_value(W, out, S, a):
    """out ← ½ Σ a_i w_i²."""
    d, lanes = W.shape
    for lane in range(lanes):
        out[lane] = 0.0
    for i in range(d):
        for lane in range(lanes):
            out[lane] += 0.5 * a[i] * (W[i, lane] * W[i, lane])


class Quadratic(Loss):
    """L(w) = ½ Σ a_i w_i².

    Parameters
    ----------
    curvatures : array_like (d,)
        a_i, of either sign.
    noise : GradientNoise, optional
        Of the stochastic gradient, e.g. `IsotropicNoise`.

    Examples
    --------
    >>> Quadratic([1.0, 4.0]).gradient([1.0, 1.0])
    array([1., 4.])
    """

    scale_invariant = False

    def __init__(self, curvatures: ArrayLike, noise: GradientNoise | None = None) -> None:
        self.curvatures = finite_array("curvatures", curvatures, ndim=1).copy()
        super().__init__(integer("len(curvatures)", self.curvatures.size, at_least=1), noise)

    def value(self, w: ArrayLike) -> NDArray[np.float64]:
        """L(w), shape (...,), for weights (..., d)."""
        return 0.5 * np.sum(self.curvatures * self._weights(w) ** 2, axis=-1)

    def gradient(self, w: ArrayLike) -> NDArray[np.float64]:
        """∇L(w) = a_i w_i, shape (..., d)."""
        return self.curvatures * self._weights(w)

    def hessian(self, w: ArrayLike) -> NDArray[np.float64]:
        """diag(a), shape (d, d)."""
        self._weights(w)
        return np.diag(self.curvatures)

    def symbolic(self, w: Sequence[sympy.Expr]) -> sympy.Expr:
        """½ Σ a_i w_i², with exact rational coefficients."""
        return sum(sympy.Rational(float(a)) * x**2 for a, x in zip(self.curvatures, self._symbols(w), strict=True)) / 2

    @property
    def gradient_kernel(self) -> BlockFunction:
        """f(W, G, S, a): G ← ∇L."""
        return BlockFunction(quadratic_gradient, (self.curvatures,))

    @property
    def value_kernel(self) -> BlockFunction:
        """f(W, out, S, a): out ← L."""
        return BlockFunction(quadratic_value, (self.curvatures,))

    def __repr__(self) -> str:
        inside = np.array2string(self.curvatures, separator=", ", threshold=8, edgeitems=2).replace("\n", "")
        return f"Quadratic({inside}{f', noise={self.noise!r}' if self.noise is not None else ''})"
