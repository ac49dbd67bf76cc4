r"""Gaussian gradient noise in the tangent space, with the scaling of a scale-invariant loss.

.. math:: \xi = \frac{P_w C^{1/2} z}{\|w\|}, \quad z \sim N(0, I), \quad P_w = I - \hat w\hat w^\top, \qquad
          \Sigma(w) = \frac{P_w C P_w}{\|w\|^2}, \quad
          \operatorname{Tr}\Sigma(\hat w) = \operatorname{Tr} C - \hat w^\top C\hat w

So Σ(w) w = 0 and Σ(cw) = c⁻²Σ(w) (ILR-1). For C = s² I the trace at unit norm is s²(d − 1) in every direction, and
the law of the noise is invariant under rotations that fix w.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..engine import BlockFunction, row_kernel
from ..engine.rows import product, sqrt, times, total
from ..stats.rounding import spectrum_error
from ..validation import explain_construction, finite_array, number
from .gradient_noise import FormulaNoise

__all__ = ["Tangent"]


def isotropic_tangent(w: Any, z: Any, scale: Any) -> Any:
    """s (z − ŵ⟨ŵ, z⟩)/‖w‖."""
    square = total(w * w)
    return (z - total(w * z) / square * w) * (scale / sqrt(square))


def tangent(w: Any, z: Any, root: Any) -> Any:
    """The same of C^{1/2} z, the root a matrix or the diagonal of one."""
    return isotropic_tangent(w, times(root, z), 1.0)


def tangent_trace(w: Any, covariance: Any, whole: Any) -> Any:
    """Tr C − ŵᵀCŵ."""
    return whole - total(w * product(covariance, w)) / total(w * w)


@explain_construction
class Tangent(FormulaNoise):
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
    >>> noise = Tangent(0.5)
    >>> float(noise.trace([0.0, 0.0, 2.0]))            # s² (d − 1)/‖w‖²
    0.125
    >>> noise.apply([0.0, 0.0, 2.0], [1.0, 2.0, 3.0])
    array([0.25, 0.5 , 0.  ])
    """

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
        if values[0] < -spectrum_error(values):
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

    @property
    def constants(self) -> tuple[Any]:
        """(s,) for C = s² I, else (C^{1/2},)."""
        return (self._scale if self._root is None else self._root,)

    @property
    def _formula(self) -> Callable[..., Any]:
        return isotropic_tangent if self._root is None else tangent

    def covariance(self, w: ArrayLike) -> NDArray[np.float64]:
        """Σ(w) = P C P/‖w‖², shape (..., d, d)."""
        weights = self._weights(w)
        norm = np.linalg.norm(weights, axis=-1, keepdims=True)
        u = weights / norm
        projection = np.eye(weights.shape[-1]) - u[..., :, None] * u[..., None, :]
        return projection @ self._matrix(weights.shape[-1]) @ projection / norm[..., None] ** 2

    def trace(self, w: ArrayLike) -> NDArray[np.float64]:
        """Tr Σ(w) = (Tr C − ŵᵀCŵ)/‖w‖², shape (...,)."""
        weights = self._weights(w)
        return (tangent_trace(weights, *self._trace_constants(weights.shape[-1])) / np.sum(weights**2, axis=-1, keepdims=True))[..., 0]

    @property
    def trace_kernel(self) -> BlockFunction | None:
        """f(W, out, S, C): Tr Σ(w/‖w‖); None where it is constant."""
        return None if self._covariance is None else row_kernel(tangent_trace, self._trace_constants(0), into="out")

    def _trace_constants(self, dim: int) -> tuple[NDArray[np.float64], float]:
        matrix = self._matrix(dim)
        return matrix, float(sum(np.diag(matrix)))

    def _matrix(self, dim: int) -> NDArray[np.float64]:
        if self._covariance is None:
            return self._scale**2 * np.eye(dim)
        return np.diag(self._covariance) if self._covariance.ndim == 1 else self._covariance

    def __repr__(self) -> str:
        if self._covariance is None:
            return f"Tangent({self._scale:g})"
        inside = np.array2string(self._covariance, separator=", ", threshold=8, edgeitems=2)
        return f"Tangent({inside})".replace("\n", "")
