r"""Tangent gradient noise whose length never varies: random signs on an orthonormal frame of the tangent space.

.. math:: \xi = \frac{s}{\|w\|}\sum_{a=1}^{d-1} z_a\, e_a\hat w, \quad z_a = \pm1, \qquad
          \langle e_a\hat w, \hat w\rangle = 0, \quad \langle e_a\hat w, e_b\hat w\rangle = \delta_{ab}

Here e_a are the imaginary units of the complex numbers (d = 2), the quaternions (4) or the octonions (8), acting from the
left: the only spheres with such a frame are S¹, S³ and S⁷. So ‖ξ‖² = s²(d − 1)/‖w‖² in every draw, and
Σ(w) = s²(I − ŵŵᵀ)/‖w‖², the covariance of `Tangent(s)`: both have the same SDE. The norm of SGD has no
randomness left, and its discrete law is exact (ILR-6).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..engine import BlockFunction, block_function
from ..validation import explain_construction, integer, number
from .gradient_noise import GradientNoise
from .tangent import Tangent

__all__ = ["FixedLength", "imaginary_units"]


@block_function
def add_fixed_length(W, Z, G, S, scale, place, sign):
    """G ← G + s Σ_a z_a e_a w/‖w‖², with (e_a w)_i = sign[a, i] w[place[a, i]]; takes 2 rows of scratch.

    By hand: a formula on rows has no components in another order.
    """
    d, lanes = W.shape
    for lane in range(lanes):
        S[0, lane] = 0.0
    for i in range(d):
        for lane in range(lanes):
            S[0, lane] += W[i, lane] * W[i, lane]
    for lane in range(lanes):
        S[0, lane] = scale / S[0, lane]
    for i in range(d):
        for lane in range(lanes):
            S[1, lane] = 0.0
        for a in range(d - 1):
            source, factor = place[a, i], sign[a, i]
            for lane in range(lanes):
                S[1, lane] += factor * Z[a, lane] * W[source, lane]
        for lane in range(lanes):
            G[i, lane] += S[0, lane] * S[1, lane]


def imaginary_units(dim: int) -> NDArray[np.float64]:
    """The matrices of x ↦ e_a x, shape (d − 1, d, d), for the d-dimensional algebra; by Cayley–Dickson doubling.

    With (p, q)(x, y) = (p x − ȳ q, y p + q x̄).

    Raises
    ------
    ValueError
        If `dim` is not 2, 4 or 8: no other sphere S^{d−1} has such a frame.

    >>> imaginary_units(2)[0] @ [3.0, 4.0]
    array([-4.,  3.])
    """
    if integer("dim", dim) not in (2, 4, 8):
        raise ValueError(f"dim: expected 2, 4 or 8 (no other sphere has a frame of this kind), got {dim}; "
                         "use Tangent, whose length is fixed in the mean")
    basis = np.eye(dim)
    return np.array([[_times(basis[a], basis[i]) for i in range(dim)] for a in range(1, dim)]).transpose(0, 2, 1)


def _times(p: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    if p.size == 1:
        return p * x
    half = p.size // 2
    flip = np.r_[1.0, -np.ones(half - 1)]
    (a, b), (c, d) = (p[:half], p[half:]), (x[:half], x[half:])
    return np.r_[_times(a, c) - _times(flip * d, b), _times(d, a) + _times(b, flip * c)]


# Octonions hold the quaternions in their first four components, and these the complex numbers in their first two: one
# table serves all. Each row of a unit has one entry, ±1.
_UNITS = imaginary_units(8)
_PLACE, _SIGN = np.abs(_UNITS).argmax(axis=2), _UNITS.sum(axis=2)


@explain_construction
class FixedLength(GradientNoise):
    """Noise of length s√(d − 1)/‖w‖ in every draw, of the covariance of `Tangent(s)`.

    Parameters
    ----------
    scale : float
        s ≥ 0, the standard deviation in each tangent direction at unit norm.

    Raises
    ------
    ValueError
        With a loss in a dimension other than 2, 4 or 8.

    Examples
    --------
    >>> noise = FixedLength(0.5)
    >>> xi = noise.apply([0.0, 0.0, 2.0, 0.0], [1.0, -1.0, 1.0])
    >>> float(xi @ xi), float(noise.trace([0.0, 0.0, 2.0, 0.0]))
    (0.1875, 0.1875)
    """

    kind = "two_point"
    scale_invariant = True

    def __init__(self, scale: float) -> None:
        self.scale = number("scale", scale, at_least=0.0)

    def components(self, dim: int) -> int:
        """d − 1 signs; refuses a dimension other than 2, 4 or 8."""
        return len(imaginary_units(dim))

    def constant_trace(self, dim: int) -> float | None:
        """s²(d − 1)."""
        return self.scale**2 * (dim - 1)

    def apply(self, w: ArrayLike, z: ArrayLike) -> NDArray[np.float64]:
        """ξ(w, z) for weights (..., d) and signs (..., d − 1)."""
        weights, signs = np.asarray(w, dtype=np.float64), np.asarray(z, dtype=np.float64)
        frame = np.einsum("aij,...j->...ai", imaginary_units(weights.shape[-1]), weights)
        square = np.sum(weights**2, axis=-1, keepdims=True)
        return self.scale / square * np.einsum("...a,...ai->...i", signs, frame)

    def covariance(self, w: ArrayLike) -> NDArray[np.float64]:
        """Σ(w) = s²(I − ŵŵᵀ)/‖w‖², shape (..., d, d)."""
        return Tangent(self.scale).covariance(w)

    def trace(self, w: ArrayLike) -> NDArray[np.float64]:
        """Tr Σ(w) = s²(d − 1)/‖w‖², shape (...,)."""
        return Tangent(self.scale).trace(w)

    @property
    def kernel(self) -> BlockFunction:
        """f(W, Z, G, S, s, place, sign): adds ξ to G."""
        return BlockFunction(add_fixed_length, (self.scale, _PLACE, _SIGN), scratch=2)

    def __repr__(self) -> str:
        return f"FixedLength({self.scale:g})"
