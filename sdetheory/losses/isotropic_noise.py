r"""Gaussian gradient noise of the same law everywhere: not scale-invariant, the negative control of ILR-1.

.. math:: \xi = s\,z, \quad z \sim N(0, I), \qquad \Sigma(w) = s^2 I
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..engine import BlockFunction, block_function
from ..validation import number

__all__ = ["IsotropicNoise"]


@block_function
def add_isotropic(W, Z, G, S, scale):
    """G ← G + s z."""
    d, lanes = W.shape
    for i in range(d):
        for lane in range(lanes):
            G[i, lane] += scale * Z[i, lane]


class IsotropicNoise:
    """Gaussian noise s z that does not see where w is.

    Parameters
    ----------
    scale : float
        s ≥ 0.

    Examples
    --------
    >>> float(IsotropicNoise(0.5).trace([0.0, 0.0, 2.0]))
    0.75
    """

    kind = "normal"
    scale_invariant = False

    def __init__(self, scale: float) -> None:
        self.scale = number("scale", scale, at_least=0.0)

    def components(self, dim: int) -> int:
        """`dim` normals."""
        return dim

    def constant_trace(self, dim: int) -> float | None:
        """s² d."""
        return self.scale**2 * dim

    def apply(self, w: ArrayLike, z: ArrayLike) -> NDArray[np.float64]:
        """ξ = s z, for weights and normals (..., d)."""
        return self.scale * np.broadcast_arrays(np.asarray(z, dtype=np.float64), w)[0]

    def covariance(self, w: ArrayLike) -> NDArray[np.float64]:
        """s² I, shape (..., d, d)."""
        shape = np.shape(w)
        return np.broadcast_to(self.scale**2 * np.eye(shape[-1]), (*shape, shape[-1])).copy()

    def trace(self, w: ArrayLike) -> NDArray[np.float64]:
        """s² d, shape (...,)."""
        return np.full(np.shape(w)[:-1], self.scale**2 * np.shape(w)[-1])

    @property
    def kernel(self) -> BlockFunction:
        """f(W, Z, G, S, s): adds ξ to G."""
        return BlockFunction(add_isotropic, (self.scale,))

    @property
    def trace_kernel(self) -> BlockFunction | None:
        """None: the trace is constant."""
        return None

    def __repr__(self) -> str:
        return f"IsotropicNoise({self.scale:g})"
