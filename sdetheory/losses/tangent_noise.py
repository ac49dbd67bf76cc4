r"""Gaussian gradient noise in the tangent space, with the scaling of a scale-invariant loss.

.. math:: \xi = \frac{P_w C^{1/2} z}{\|w\|}, \quad z \sim N(0, I), \quad P_w = I - \hat w\hat w^\top, \qquad
          \Sigma(w) = \frac{P_w C P_w}{\|w\|^2}, \quad
          \operatorname{Tr}\Sigma(\hat w) = \operatorname{Tr} C - \hat w^\top C\hat w

So Σ(w) w = 0 and Σ(cw) = c⁻²Σ(w) (ILR-1). For C = s² I the trace at unit norm is s²(d − 1) in every direction, and
the law of the noise is invariant under rotations that fix w.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..engine import BlockFunction, block_function, matrix_product
from ..validation import finite_array, number

__all__ = ["TangentNoise"]


@block_function
def add_tangent(W, Z, G, S, scale):
    """G ← G + s (z − ŵ⟨ŵ, z⟩)/‖w‖, on blocks; takes 2 rows of scratch."""
    d, lanes = W.shape
    for lane in range(lanes):
        S[0, lane] = 0.0
        S[1, lane] = 0.0
    for i in range(d):
        for lane in range(lanes):
            S[0, lane] += W[i, lane] * W[i, lane]
            S[1, lane] += W[i, lane] * Z[i, lane]
    for lane in range(lanes):
        S[1, lane] /= S[0, lane]
        S[0, lane] = scale / np.sqrt(S[0, lane])
    for i in range(d):
        for lane in range(lanes):
            G[i, lane] += S[0, lane] * (Z[i, lane] - S[1, lane] * W[i, lane])


@block_function
def add_tangent_diagonal(W, Z, G, S, root):
    """The same with C^{1/2} = diag(root); C^{1/2}z goes into rows 2 … of the scratch."""
    d, lanes = W.shape
    for i in range(d):
        for lane in range(lanes):
            S[2 + i, lane] = root[i] * Z[i, lane]
    add_tangent(W, S[2:2 + d], G, S, 1.0)


@block_function
def add_tangent_matrix(W, Z, G, S, root):
    """The same with a full C^{1/2}, by BLAS."""
    product = S[2:2 + W.shape[0]]
    matrix_product(root, Z, product)
    add_tangent(W, product, G, S, 1.0)


@block_function
def tangent_trace(W, out, S, covariance):
    """out ← Tr C − ŵᵀCŵ, summed by rows of C; takes 2 rows of scratch."""
    d, lanes = W.shape
    total = 0.0
    for i in range(d):
        total += covariance[i, i]
    for lane in range(lanes):
        out[lane] = 0.0
        S[0, lane] = 0.0
    for i in range(d):
        for lane in range(lanes):
            S[1, lane] = 0.0
        for k in range(d):
            for lane in range(lanes):
                S[1, lane] += covariance[i, k] * W[k, lane]
        for lane in range(lanes):
            out[lane] += W[i, lane] * S[1, lane]
            S[0, lane] += W[i, lane] * W[i, lane]
    for lane in range(lanes):
        out[lane] = total - out[lane] / S[0, lane]


class TangentNoise:
    """Gaussian noise P_w C^{1/2} z/‖w‖ with z ~ N(0, I).

    Parameters
    ----------
    scale_or_covariance : float, array_like (d,) or array_like (d, d)
        A number s ≥ 0 for C = s² I; variances c_i ≥ 0 for C = diag(c); or a symmetric positive semidefinite C.

    Raises
    ------
    ValueError
        If s or a variance is negative, or C is not symmetric positive semidefinite.

    Examples
    --------
    >>> noise = TangentNoise(0.5)
    >>> float(noise.trace([0.0, 0.0, 2.0]))            # s² (d − 1)/‖w‖²
    0.125
    >>> noise.apply([0.0, 0.0, 2.0], [1.0, 2.0, 3.0])
    array([0.25, 0.5 , 0.  ])
    """

    kind = "normal"
    scale_invariant = True

    def __init__(self, scale_or_covariance: ArrayLike) -> None:
        if np.ndim(scale_or_covariance) == 0:
            self._scale = number("scale", scale_or_covariance, at_least=0.0)
            self._covariance: NDArray[np.float64] | None = None
            self._root: NDArray[np.float64] | None = None
            return
        self._covariance = covariance = finite_array("covariance", scale_or_covariance).copy()
        remedy = "give a number, a list of variances or a covariance matrix"
        if covariance.ndim > 2 or covariance.shape[0] != covariance.shape[-1]:
            raise ValueError(f"covariance: expected shape (d,) or (d, d), got {covariance.shape}; {remedy}")
        if covariance.ndim == 1:
            if (covariance < 0).any():
                raise ValueError(f"covariance: expected variances >= 0, got {covariance.min():g}; {remedy}")
            self._root = np.sqrt(covariance)
            return
        if not np.array_equal(covariance, covariance.T):
            raise ValueError("covariance: expected a symmetric matrix, got one that differs from its transpose by "
                             f"{np.abs(covariance - covariance.T).max():.3g}; use (C + C.T) / 2")
        values, vectors = np.linalg.eigh(covariance)
        rounding = len(values) * np.finfo(float).eps * np.abs(values).max()
        if values[0] < -rounding:
            raise ValueError(f"covariance: expected a positive semidefinite matrix, got the eigenvalue {values[0]:.3g}"
                             f"; {remedy}")
        root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
        self._root = np.ascontiguousarray((root + root.T) / 2)

    @property
    def scale(self) -> float | None:
        """s where C = s² I, else None."""
        return self._scale if self._covariance is None else None

    def components(self, dim: int) -> int:
        """`dim` normals; refuses a dimension other than that of the covariance."""
        if self._covariance is not None and len(self._covariance) != dim:
            raise ValueError(f"noise: expected a covariance in {dim} dimensions, got one in {len(self._covariance)}; "
                             "it must fit the loss")
        return dim

    def constant_trace(self, dim: int) -> float | None:
        """s²(d − 1) for C = s² I, else None."""
        return None if self._covariance is not None else self._scale**2 * (dim - 1)

    def apply(self, w: ArrayLike, z: ArrayLike) -> NDArray[np.float64]:
        """ξ(w, z) for weights and normals (..., d)."""
        weights, normals = np.asarray(w, dtype=np.float64), np.asarray(z, dtype=np.float64)
        norm = np.linalg.norm(weights, axis=-1, keepdims=True)
        u = weights / norm
        if self._root is None:
            colored = self._scale * normals
        else:
            colored = normals @ self._root if self._root.ndim == 2 else self._root * normals
        return (colored - u * np.sum(u * colored, axis=-1, keepdims=True)) / norm

    def covariance(self, w: ArrayLike) -> NDArray[np.float64]:
        """Σ(w) = P C P/‖w‖², shape (..., d, d)."""
        weights = np.asarray(w, dtype=np.float64)
        norm = np.linalg.norm(weights, axis=-1, keepdims=True)
        u = weights / norm
        projection = np.eye(weights.shape[-1]) - u[..., :, None] * u[..., None, :]
        return projection @ self._matrix(weights.shape[-1]) @ projection / norm[..., None] ** 2

    def trace(self, w: ArrayLike) -> NDArray[np.float64]:
        """Tr Σ(w) = (Tr C − ŵᵀCŵ)/‖w‖², shape (...,)."""
        weights = np.asarray(w, dtype=np.float64)
        square = np.sum(weights**2, axis=-1)
        matrix = self._matrix(weights.shape[-1])
        return (np.trace(matrix) - np.sum(weights * (weights @ matrix), axis=-1) / square) / square

    @property
    def kernel(self) -> BlockFunction:
        """f(W, Z, G, S, constant): adds ξ to G."""
        if self._root is None:
            return BlockFunction(add_tangent, (self._scale,), scratch=2)
        full = self._root.ndim == 2
        return BlockFunction(add_tangent_matrix if full else add_tangent_diagonal, (self._root,),
                             scratch=2 + len(self._root), fixed_lanes=full)

    @property
    def trace_kernel(self) -> BlockFunction | None:
        """f(W, out, S, C): Tr Σ(w/‖w‖); None where it is constant."""
        return None if self._covariance is None else BlockFunction(tangent_trace, (self._matrix(0),), scratch=2)

    def _matrix(self, dim: int) -> NDArray[np.float64]:
        if self._covariance is None:
            return self._scale**2 * np.eye(dim)
        return np.diag(self._covariance) if self._covariance.ndim == 1 else self._covariance

    def __repr__(self) -> str:
        if self._covariance is None:
            return f"TangentNoise({self._scale:g})"
        inside = np.array2string(self._covariance, separator=", ", threshold=8, edgeitems=2)
        return f"TangentNoise({inside})".replace("\n", "")
