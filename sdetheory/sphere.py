r"""Geometry of the unit sphere :math:`S^{d-1} = \{x \in \mathbb R^d : \|x\| = 1\}`, in NumPy and on blocks.

.. math:: P_w = I - \hat w\hat w^\top, \qquad \exp_w(v) = \cos\|v\|\,w + \frac{\sin\|v\|}{\|v\|}\,v, \qquad
          -\Delta Y_\ell = \ell(\ell + d - 2)\,Y_\ell

Arrays hold points along the last axis, (..., d); blocks hold them in columns, (d, lanes).
"""

from __future__ import annotations

import math

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from .kernels import block_function
from .validation import integer, number

__all__ = ["area", "distance", "exponential", "exponential_block", "laplace_beltrami_eigenvalue", "normalise", "normalise_block",
           "project_tangent", "zonal_harmonic"]


def normalise(w: ArrayLike, radius: float = 1.0) -> NDArray[np.float64]:
    """The points radius · w/‖w‖, shape (..., d).

    >>> normalise([3.0, 4.0])
    array([0.6, 0.8])
    """
    points = np.asarray(w, dtype=np.float64)
    return points * (number("radius", radius, above=0) / np.linalg.norm(points, axis=-1, keepdims=True))


def project_tangent(w: ArrayLike, v: ArrayLike) -> NDArray[np.float64]:
    """P_w v = v − w ⟨w, v⟩/‖w‖², shape (..., d); w need not be a unit vector.

    >>> project_tangent([2.0, 0.0], [5.0, 7.0])
    array([0., 7.])
    """
    point, vector = np.asarray(w, dtype=np.float64), np.asarray(v, dtype=np.float64)
    return vector - point * (np.sum(point * vector, -1, keepdims=True) / np.sum(point * point, -1, keepdims=True))


def exponential(w: ArrayLike, v: ArrayLike) -> NDArray[np.float64]:
    """exp_w(v) = cos‖v‖ w + sin‖v‖ v/‖v‖, shape (..., d), for unit w and v tangent at w; exact also for v = 0.

    >>> exponential([1.0, 0.0], [0.0, np.pi / 6]).round(12)
    array([0.8660254, 0.5      ])
    """
    point, vector = np.asarray(w, dtype=np.float64), np.asarray(v, dtype=np.float64)
    angle = np.linalg.norm(vector, axis=-1, keepdims=True)
    return np.cos(angle) * point + np.sinc(angle / np.pi) * vector


def distance(x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """Angle between x and y, in [0, π], shape (...,): 2 atan2(‖x̂ − ŷ‖, ‖x̂ + ŷ‖), accurate for near and opposite points.

    >>> float(distance([1.0, 0.0], [1.0, 1e-20]))
    1e-20
    """
    u, v = normalise(x), normalise(y)
    return 2.0 * np.arctan2(np.linalg.norm(u - v, axis=-1), np.linalg.norm(u + v, axis=-1))


def laplace_beltrami_eigenvalue(degree: int, dim: int) -> int:
    """ℓ(ℓ + d − 2), the eigenvalue of −Δ on harmonics of degree ℓ on S^{d−1}, d ≥ 2 (ILR-11).

    >>> laplace_beltrami_eigenvalue(2, 3)
    6
    """
    degree, dim = integer("degree", degree, at_least=0), integer("dim", dim, at_least=2)
    return degree * (degree + dim - 2)


def zonal_harmonic(degree: int, dim: int, t: ArrayLike) -> NDArray[np.float64]:
    """The harmonic of degree ℓ that depends on t = ⟨x, e⟩ alone, 1 at t = 1: a normalised Gegenbauer polynomial.

    >>> zonal_harmonic(2, 3, [0.0, 1.0])               # the Legendre polynomial (3 t² − 1)/2
    array([-0.5,  1. ])
    """
    degree, dim = integer("degree", degree, at_least=0), integer("dim", dim, at_least=2)
    points = np.asarray(t, dtype=np.float64)
    if dim == 2:
        return np.asarray(scipy.special.eval_chebyt(degree, points))
    index = dim / 2 - 1
    return np.asarray(scipy.special.eval_gegenbauer(degree, index, points) / scipy.special.eval_gegenbauer(degree, index, 1.0))


def area(dim: int) -> float:
    """Area 2π^{d/2}/Γ(d/2) of S^{d−1}.

    >>> area(3) / math.pi
    4.0
    """
    half = integer("dim", dim, at_least=1) / 2
    return 2.0 * math.pi**half / math.gamma(half)


@block_function
def normalise_block(W, S):
    """w ← w/‖w‖ in every lane; takes 1 row of scratch."""
    d, lanes = W.shape
    for lane in range(lanes):
        S[0, lane] = 0.0
    for i in range(d):
        for lane in range(lanes):
            S[0, lane] += W[i, lane] * W[i, lane]
    for lane in range(lanes):
        S[0, lane] = math.sqrt(S[0, lane])
    for i in range(d):
        for lane in range(lanes):
            W[i, lane] /= S[0, lane]


@block_function
def exponential_block(W, V, S):
    """w ← exp_w(v) in every lane, for unit w and tangent v; takes 2 rows of scratch."""
    d, lanes = W.shape
    for lane in range(lanes):
        S[0, lane] = 0.0
    for i in range(d):
        for lane in range(lanes):
            S[0, lane] += V[i, lane] * V[i, lane]
    for lane in range(lanes):
        angle = math.sqrt(S[0, lane])
        S[0, lane] = math.cos(angle)
        S[1, lane] = math.sin(angle) / angle if angle > 0.0 else 1.0
    for i in range(d):
        for lane in range(lanes):
            W[i, lane] = S[0, lane] * W[i, lane] + S[1, lane] * V[i, lane]
