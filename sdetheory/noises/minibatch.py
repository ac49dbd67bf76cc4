r"""The gradient noise of minibatches drawn with replacement from n samples.

.. math:: \xi(w, u) = \frac1B\sum_{b=1}^B \nabla L_{j_b}(w) - \nabla L(w), \quad j_b = \lfloor n u_b \rfloor, \qquad
          \Sigma(w) = \frac1B\Bigl(\frac1n\sum_j \nabla L_j\nabla L_j^\top - \nabla L\nabla L^\top\Bigr)

Each u_b is uniform on (0, 1). The noise is scale-invariant if every sample's loss is (ILR-1).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..validation import explain_construction, integer
from .gradient_noise import GradientNoise

__all__ = ["Minibatch"]


@explain_construction
class Minibatch(GradientNoise):
    """Minibatch noise; a loss over samples makes its own, with a kernel that needs no full gradient.

    Parameters
    ----------
    sample_gradients : callable
        From weights (..., d) to the gradients of the n samples, (n, ..., d).
    n_samples, batch_size : int
        n ≥ 1 and B ≥ 1.
    scale_invariant : bool
        Whether every sample's loss is.
    """

    kind = "uniform"

    def __init__(self, sample_gradients: Callable[[ArrayLike], NDArray[np.float64]], n_samples: int, batch_size: int,
                 scale_invariant: bool) -> None:
        self.sample_gradients = sample_gradients
        self.n_samples = integer("n_samples", n_samples, at_least=1)
        self.batch_size = integer("batch_size", batch_size, at_least=1)
        self.scale_invariant = bool(scale_invariant)

    def components(self, dim: int) -> int:
        """B uniforms, one a drawn sample."""
        return self.batch_size

    def indices(self, u: ArrayLike) -> NDArray[np.int64]:
        """The samples that the uniforms choose, of the shape of `u`."""
        return np.minimum((np.asarray(u) * self.n_samples).astype(np.int64), self.n_samples - 1)

    def minibatch_gradient(self, w: ArrayLike, u: ArrayLike) -> NDArray[np.float64]:
        """The stochastic gradient itself, shape (..., d), for weights (..., d) and uniforms (..., B)."""
        gradients = self.sample_gradients(w)
        chosen = self.indices(u)
        one_hot = (chosen[..., None] == np.arange(self.n_samples)).mean(axis=-2)
        return np.einsum("...n,n...d->...d", one_hot, gradients)

    def apply(self, w: ArrayLike, z: ArrayLike) -> NDArray[np.float64]:
        """ξ(w, z), shape (..., d), for weights (..., d) and uniforms (..., B)."""
        return self.minibatch_gradient(w, z) - self.sample_gradients(w).mean(axis=0)

    def covariance(self, w: ArrayLike) -> NDArray[np.float64]:
        """Σ(w), shape (..., d, d)."""
        gradients = self.sample_gradients(w)
        centred = gradients - gradients.mean(axis=0)
        return np.einsum("n...i,n...j->...ij", centred, centred) / (self.n_samples * self.batch_size)

    def __repr__(self) -> str:
        return f"Minibatch(n_samples={self.n_samples}, batch_size={self.batch_size})"
