r"""Stationary covariances on a quadratic with noise of constant covariance, by Lyapunov equations (SVAG-4).

.. math:: S = (I-hA)S(I-hA)^\top + h\eta\,\Sigma, \quad h = \eta/l \qquad\text{(SVAG(l); SGD and NGD for } l = 1),
          \qquad AS + SA^\top = \eta\,\Sigma \qquad\text{(SDE)}
"""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ..validation import explained, finite_array, integer, number

__all__ = ["sde_stationary_covariance", "svag_stationary_covariance"]


@explained
def svag_stationary_covariance(hessian: ArrayLike, noise_covariance: ArrayLike, *, lr: float,
                               amplification: int = 1) -> NDArray[np.float64]:
    """The stationary covariance of SVAG(l), of SGD and noisy GD for l = 1.

    Parameters
    ----------
    hessian, noise_covariance : array_like (d, d)
        A and Σ; Σ symmetric and positive semidefinite.
    lr : float
        η > 0.
    amplification : int
        l ≥ 1.

    Returns
    -------
    array (d, d)

    Raises
    ------
    ValueError
        If there is no stationary law: an eigenvalue of I − (η/l)A is not inside the unit circle.

    Examples
    --------
    >>> svag_stationary_covariance([[1.0]], [[2.0]], lr=1.0)
    array([[2.]])
    """
    A, Sigma = _matrices(hessian, noise_covariance)
    step = number("lr", lr, above=0.0) / integer("amplification", amplification, at_least=1, at_most=2**53, remedy="l = 1 is SGD")
    M = np.eye(len(A)) - step * A
    radius = np.abs(np.linalg.eigvals(M)).max()
    if radius >= 1.0:
        raise ValueError(f"lr: expected a step that contracts, got {lr:g} with growth by {radius:.6g} a step along an "
                         "eigenvector; every eigenvalue of the Hessian must be in (0, 2 amplification/lr) (SVAG-4)")
    return _symmetric(scipy.linalg.solve_discrete_lyapunov(M, step * lr * Sigma))


@explained
def sde_stationary_covariance(hessian: ArrayLike, noise_covariance: ArrayLike, *, lr: float) -> NDArray[np.float64]:
    """The stationary covariance of the SDE dX = −AX dt + (ηΣ)^{1/2}dW.

    Parameters
    ----------
    hessian, noise_covariance : array_like (d, d)
        A and Σ.
    lr : float
        η > 0.

    Returns
    -------
    array (d, d)

    Raises
    ------
    ValueError
        If there is no stationary law: an eigenvalue of A without positive real part.

    Examples
    --------
    >>> sde_stationary_covariance([[1.0]], [[2.0]], lr=1.0)
    array([[1.]])
    """
    A, Sigma = _matrices(hessian, noise_covariance)
    rate = np.linalg.eigvals(A).real.min()
    if rate <= 0.0:
        raise ValueError(f"hessian: expected eigenvalues with positive real parts, got one with {rate:.6g}; the SDE has no "
                         "stationary law (SVAG-4)")
    return _symmetric(scipy.linalg.solve_continuous_lyapunov(A, number("lr", lr, above=0.0) * Sigma))


def _matrices(hessian: ArrayLike, noise_covariance: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    A = finite_array("hessian", hessian, ndim=2)
    if A.shape[0] != A.shape[1]:
        raise ValueError(f"hessian: expected a square matrix, got shape {A.shape}")
    Sigma = finite_array("noise_covariance", noise_covariance, shape=A.shape)
    scale = np.abs(Sigma).max(initial=0.0)
    if not np.allclose(Sigma, Sigma.T, rtol=0, atol=1e-12 * scale) \
            or np.linalg.eigvalsh(_symmetric(Sigma)).min() < -1e-12 * scale * len(A):
        raise ValueError("noise_covariance: expected a symmetric positive semidefinite matrix, got "
                         f"{Sigma.tolist()}; a covariance is B @ B.T")
    return A, Sigma


def _symmetric(S: NDArray[np.float64]) -> NDArray[np.float64]:
    return (S + S.T) / 2
