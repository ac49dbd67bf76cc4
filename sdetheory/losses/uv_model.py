r"""The uv model: a two-layer linear net on one sample x = 1, y = 0 (CAT-1).

.. math:: f(u, v) = \frac{v^\top u}{\sqrt n}, \qquad L = \frac{f^2}{2}, \qquad
          \nabla L = \frac{f}{\sqrt n}(v, u), \qquad \lambda = \frac{\|u\|^2 + \|v\|^2}{n}

The weights are w = (u, v), d = 2n. Its curvature λ is the NTK.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from ..engine import BlockFunction, block_function
from ..starts import NormalWeights
from ..validation import integer
from .gradient_noise import GradientNoise
from .loss import Loss

__all__ = ["UVModel"]


@block_function
def inner_product(W, out):
    """out ← v·u."""
    n, lanes = W.shape[0] // 2, W.shape[1]
    for lane in range(lanes):
        out[lane] = 0.0
    for i in range(n):
        for lane in range(lanes):
            out[lane] += W[i, lane] * W[n + i, lane]


@block_function
def uv_gradient(W, G, S):
    """G ← (v·u/n) (v, u)."""
    n, lanes = W.shape[0] // 2, W.shape[1]
    inner_product(W, S[0])
    for lane in range(lanes):
        S[0, lane] /= n
    for i in range(n):
        for lane in range(lanes):
            G[i, lane] = S[0, lane] * W[n + i, lane]
            G[n + i, lane] = S[0, lane] * W[i, lane]


@block_function
def uv_value(W, out, S):
    """out ← (v·u)²/(2n)."""
    inner_product(W, out)
    for lane in range(out.size):
        out[lane] = 0.5 * out[lane] * out[lane] / (W.shape[0] // 2)


class UVModel(Loss):
    """L(u, v) = (v·u)²/(2n).

    Parameters
    ----------
    width : int
        n ≥ 1; there are 2n weights, u first.
    noise : GradientNoise, optional
        Of the stochastic gradient.

    Examples
    --------
    >>> loss = UVModel(4)
    >>> w = [1.0, 1.0, 1.0, 1.0, 3.0, 1.0, 0.0, 0.0]
    >>> float(loss.value(w)), float(loss.curvature(w)), loss.gradient(w)
    (2.0, 3.5, array([3., 1., 0., 0., 1., 1., 1., 1.]))
    """

    scale_invariant = False

    def __init__(self, width: int, noise: GradientNoise | None = None) -> None:
        self.width = integer("width", width, at_least=1)
        super().__init__(2 * self.width, noise)

    def sample_weights(self, scale: float = 1.0) -> NormalWeights:
        """Independent normal weights, as a start for `simulate`; the paper's have scale 1."""
        return NormalWeights(self.dim, scale)

    def output(self, w: ArrayLike) -> NDArray[np.float64]:
        """f, shape (...,), for weights (..., 2n)."""
        u, v = self._layers(w)
        return np.sum(u * v, axis=-1) / np.sqrt(self.width)

    def curvature(self, w: ArrayLike) -> NDArray[np.float64]:
        """λ = (‖u‖² + ‖v‖²)/n, the NTK, shape (...,); the top Hessian eigenvalue where f = 0 (CAT-5)."""
        return np.sum(self._weights(w) ** 2, axis=-1) / self.width

    def value(self, w: ArrayLike) -> NDArray[np.float64]:
        """L(w), shape (...,), for weights (..., 2n)."""
        return 0.5 * self.output(w) ** 2

    def gradient(self, w: ArrayLike) -> NDArray[np.float64]:
        """∇L(w), shape (..., 2n)."""
        u, v = self._layers(w)
        return (self.output(w) / np.sqrt(self.width))[..., None] * np.concatenate([v, u], axis=-1)

    def hessian(self, w: ArrayLike) -> NDArray[np.float64]:
        """∇²L(w), shape (2n, 2n), for weights (2n,)."""
        n = self.width
        u, v = self._layers(w)
        slope = np.concatenate([v, u]) / np.sqrt(n)
        return np.outer(slope, slope) + self.output(w) / np.sqrt(n) * np.roll(np.eye(2 * n), n, axis=0)

    def symbolic(self, w: Sequence[sympy.Expr]) -> sympy.Expr:
        """(v·u)²/(2n)."""
        symbols, n = self._symbols(w), self.width
        return sum(symbols[i] * symbols[n + i] for i in range(n)) ** 2 / (2 * n)

    @property
    def gradient_kernel(self) -> BlockFunction:
        """f(W, G, S): G ← ∇L."""
        return BlockFunction(uv_gradient, scratch=1)

    @property
    def value_kernel(self) -> BlockFunction:
        """f(W, out, S): out ← L."""
        return BlockFunction(uv_value)

    def _layers(self, w: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        array = self._weights(w)
        return array[..., :self.width], array[..., self.width:]

    def __repr__(self) -> str:
        return f"UVModel({self.width}{f', noise={self.noise!r}' if self.noise is not None else ''})"
