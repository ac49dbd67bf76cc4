r"""The noise of random linear gradients: drawn from a finite law, or Gaussian with the same covariance.

.. math:: \xi(w, \gamma) = (A_\gamma - \bar A)w - (b_\gamma - \bar b),\; \gamma \sim p, \qquad
          \xi(w, \zeta) = \sum_\gamma \sqrt{p_\gamma}\,\zeta_\gamma\,\bigl((A_\gamma - \bar A)w - (b_\gamma - \bar b)\bigr),
          \; \zeta \sim N(0, I)

The kernels are written by hand: a formula on rows has no sums over outcomes, and no row that each lane chooses.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..engine import BlockFunction, block_function
from ..validation import explain_construction
from .gradient_noise import GradientNoise

__all__ = ["RandomLinear", "GaussianLinear"]


@block_function
def add_drawn(W, U, G, S, thresholds, matrices, offsets):
    """G ← G + D_γ w − e_γ, γ the number of thresholds that the uniform U[0] reaches."""
    d, lanes = W.shape
    for lane in range(lanes):
        S[0, lane] = 0.0
    for n in range(thresholds.size):
        for lane in range(lanes):
            S[0, lane] += 1.0 if U[0, lane] >= thresholds[n] else 0.0
    for i in range(d):
        for lane in range(lanes):
            G[i, lane] -= offsets[int(S[0, lane]), i]
        for k in range(d):
            for lane in range(lanes):
                G[i, lane] += matrices[int(S[0, lane]), i, k] * W[k, lane]


@block_function
def add_gaussian(W, Z, G, S, matrices, offsets):
    """G ← G + Σ_γ z_γ (D_γ w − e_γ); √p is in D and e."""
    d, lanes = W.shape
    for n in range(offsets.shape[0]):
        for i in range(d):
            for lane in range(lanes):
                S[0, lane] = -offsets[n, i]
            for k in range(d):
                for lane in range(lanes):
                    S[0, lane] += matrices[n, i, k] * W[k, lane]
            for lane in range(lanes):
                G[i, lane] += Z[n, lane] * S[0, lane]


@explain_construction
class _LinearNoise(GradientNoise):
    """What the two laws share: n outcomes of probability p with centred matrices (n, d, d) and offsets (n, d)."""

    def __init__(self, probabilities: NDArray[np.float64], matrices: NDArray[np.float64],
                 offsets: NDArray[np.float64]) -> None:
        self.probabilities, self.matrices, self.offsets = probabilities, matrices, offsets

    def deviations(self, w: ArrayLike) -> NDArray[np.float64]:
        """(A_γ − Ā)w − (b_γ − b̄) for every γ, shape (n, ..., d)."""
        offsets = self.offsets.reshape(len(self.offsets), *(1,) * (np.ndim(w) - 1), -1)
        return np.einsum("nik,...k->n...i", self.matrices, np.asarray(w, dtype=np.float64)) - offsets

    def covariance(self, w: ArrayLike) -> NDArray[np.float64]:
        """Σ(w), shape (..., d, d)."""
        deviations = self.deviations(w)
        return np.einsum("n,n...i,n...j->...ij", self.probabilities, deviations, deviations)

    def _check(self, dim: int) -> None:
        if dim != self.offsets.shape[1]:
            raise ValueError(f"noise: expected a loss in {self.offsets.shape[1]} dimensions, got {dim}; "
                             "it belongs to the RandomLinear loss that made it")


class RandomLinear(_LinearNoise):
    """The noise of one draw γ, from one uniform; `RandomLinear` makes it."""

    kind = "uniform"

    def components(self, dim: int) -> int:
        """One uniform."""
        self._check(dim)
        return 1

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """p_1, p_1 + p_2, …, without the last, shape (n − 1,)."""
        return np.cumsum(self.probabilities)[:-1]

    def indices(self, u: ArrayLike) -> NDArray[np.int64]:
        """The outcomes that the uniforms choose, of the shape of `u`."""
        return np.searchsorted(self.thresholds, np.asarray(u), side="right").astype(np.int64)

    def apply(self, w: ArrayLike, z: ArrayLike) -> NDArray[np.float64]:
        """ξ(w, u), shape (..., d), for weights (..., d) and uniforms (..., 1)."""
        chosen = self.indices(np.asarray(z)[..., 0])
        one_hot = (chosen[..., None] == np.arange(len(self.probabilities))).astype(np.float64)
        return np.einsum("...n,n...i->...i", one_hot, self.deviations(w))

    @property
    def gaussian(self) -> GaussianLinear:
        """Gaussian noise of the same covariance, from n normals."""
        return GaussianLinear(self.probabilities, self.matrices, self.offsets)

    @property
    def kernel(self) -> BlockFunction:
        """f(W, U, G, S, thresholds, matrices, offsets): adds ξ to G."""
        return BlockFunction(add_drawn, (self.thresholds, self.matrices, self.offsets), scratch=1)

    def __repr__(self) -> str:
        return f"RandomLinear({len(self.probabilities)} outcomes)"


class GaussianLinear(_LinearNoise):
    """Gaussian noise with the covariance of a finite law of linear gradients, from n normals."""

    kind = "normal"

    def components(self, dim: int) -> int:
        """One normal an outcome."""
        self._check(dim)
        return len(self.probabilities)

    def apply(self, w: ArrayLike, z: ArrayLike) -> NDArray[np.float64]:
        """ξ(w, ζ), shape (..., d), for weights (..., d) and normals (..., n)."""
        weighted = np.sqrt(self.probabilities) * np.asarray(z, dtype=np.float64)
        return np.einsum("...n,n...i->...i", weighted, self.deviations(w))

    @property
    def kernel(self) -> BlockFunction:
        """f(W, Z, G, S, matrices, offsets): adds ξ to G."""
        root = np.sqrt(self.probabilities)
        return BlockFunction(add_gaussian, (root[:, None, None] * self.matrices, root[:, None] * self.offsets), scratch=1)

    def __repr__(self) -> str:
        return f"GaussianLinear({len(self.probabilities)} outcomes)"
