r"""Scale-invariant losses from homogeneous functions: h of degree k over the k-th power of the norm.

.. math:: L(w) = c + h(w)/\|w\|^k, \qquad h(sw) = s^k h(w)

With Euler's identities :math:`w\cdot\nabla h = kh` and :math:`\nabla^2 h\,w = (k-1)\nabla h`, at r = ‖w‖ and ŵ = w/r:

.. math:: r\,\nabla L &= \nabla h(\hat w) - k\,h(\hat w)\,\hat w, \\
          r^2\nabla^2 L &= \nabla^2 h - k(\nabla h\,\hat w^\top + \hat w\nabla h^\top) - k h\,I
                          + k(k+2)\,h\,\hat w\hat w^\top.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..engine import block_function
from .loss import Loss

__all__ = ["HomogeneousRatio", "project_block"]


@block_function
def project_block(W, G, S, power):
    """G ← (G − w ⟨w, G⟩/‖w‖²)/‖w‖^(2 power): from ∇h to ∇L by Euler's identity; takes 2 rows of scratch."""
    d, lanes = W.shape
    for lane in range(lanes):
        S[0, lane] = 0.0
        S[1, lane] = 0.0
    for i in range(d):
        for lane in range(lanes):
            S[0, lane] += W[i, lane] * W[i, lane]
            S[1, lane] += W[i, lane] * G[i, lane]
    for lane in range(lanes):
        S[0, lane] = 1.0 / S[0, lane]
        S[1, lane] *= S[0, lane]
    for _ in range(power - 1):
        for i in range(d):
            for lane in range(lanes):
                G[i, lane] *= S[0, lane]
        for lane in range(lanes):
            S[1, lane] *= S[0, lane]
    for i in range(d):
        for lane in range(lanes):
            G[i, lane] = (G[i, lane] - S[1, lane] * W[i, lane]) * S[0, lane]


class HomogeneousRatio(Loss):
    """c + h(w)/‖w‖^k; a subclass gives h and its derivatives at unit vectors."""

    degree: ClassVar[int]
    offset: float = 0.0

    @abstractmethod
    def numerator(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """h(u), shape (...,), for u (..., d)."""

    @abstractmethod
    def numerator_gradient(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """∇h(u), shape (..., d)."""

    @abstractmethod
    def numerator_hessian(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """∇²h(u), shape (d, d), for u (d,)."""

    def value(self, w: ArrayLike) -> NDArray[np.float64]:
        """L(w), shape (...,), for weights (..., d)."""
        return self.offset + self.numerator(self._direction(w)[0])

    def gradient(self, w: ArrayLike) -> NDArray[np.float64]:
        """∇L(w), shape (..., d), for weights (..., d)."""
        u, norm = self._direction(w)
        return (self.numerator_gradient(u) - self.degree * self.numerator(u)[..., None] * u) / norm

    def hessian(self, w: ArrayLike) -> NDArray[np.float64]:
        """∇²L(w), shape (d, d), for weights (d,)."""
        u, norm = self._direction(w)
        k, h, slope = self.degree, self.numerator(u), self.numerator_gradient(u)
        cross = np.outer(slope, u)
        return (self.numerator_hessian(u) - k * (cross + cross.T) - k * h * np.eye(self.dim)
                + k * (k + 2) * h * np.outer(u, u)) / norm**2

    def _direction(self, w: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        weights = self._weights(w)
        norm = np.linalg.norm(weights, axis=-1, keepdims=True)
        return weights / norm, norm
