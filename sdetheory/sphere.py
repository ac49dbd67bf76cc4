r"""Geometry of the unit sphere :math:`S^{d-1} = \{x \in \mathbb R^d : \|x\| = 1\}`, in NumPy and on blocks.

.. math:: P_w = I - \hat w\hat w^\top, \qquad \exp_w(v) = \cos\|v\|\,w + \frac{\sin\|v\|}{\|v\|}\,v, \qquad
          -\Delta Y_\ell = \ell(\ell + d - 2)\,Y_\ell

Arrays hold points along the last axis, (..., d); blocks hold them in columns, (d, lanes). The functions on arrays refuse what
has no direction, the zero vector among it; a path of which a block function takes one has diverged.
"""

from __future__ import annotations

import math

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from .kernels import block_function
from .validation import finite_array, integer, number

__all__ = ["area", "distance", "exponential", "exponential_block", "laplace_beltrami_eigenvalue", "normalise", "normalise_block",
           "project_tangent", "zonal_harmonic"]


UNIT = 1e-6  # how far from unit length, and from a right angle, what is said to be so may be: single precision

_FROM_ORIGIN = "it has no direction; start e.g. from starts.UniformSphere(d)"


def _vectors(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """Finite vectors (..., d)."""
    array = finite_array(name, value)
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(f"{name}: expected shape (..., d) with d >= 1, got {array.shape}; components go last")
    return array


def _directions(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """Vectors (..., d) that are not 0, times a power of 2 each: their squares neither overflow nor vanish, and keep their bits."""
    array = _vectors(name, value)
    largest = np.abs(array).max(axis=-1, keepdims=True)
    if not (largest > 0.0).all():
        where = tuple(int(i) for i in np.argwhere(largest[..., 0] == 0.0)[0])
        at = f" (first at index {where})" if where else ""
        raise ValueError(f"{name}: expected vectors other than 0, got a zero vector{at}; {_FROM_ORIGIN}")
    return np.ldexp(array, -np.frexp(largest)[1])


def _fitting(**vectors: NDArray[np.float64]) -> None:
    """Refuse two arrays of vectors that do not go together."""
    (first, a), (second, b) = vectors.items()
    try:
        fit = a.shape[-1] == b.shape[-1] and np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        fit = ()
    if not fit:
        raise ValueError(f"{first}, {second}: expected vectors of one length in shapes that go together, got {a.shape} and "
                         f"{b.shape}; components go last")


def normalise(w: ArrayLike, radius: float = 1.0) -> NDArray[np.float64]:
    """The points radius · w/‖w‖, shape (..., d), for w ≠ 0 of any length that a float has.

    Raises
    ------
    ValueError
        For a zero vector, which has no direction, and what is not finite.

    >>> normalise([3.0, 4.0])
    array([0.6, 0.8])
    """
    points = _directions("w", w)
    return points * (number("radius", radius, above=0) / np.linalg.norm(points, axis=-1, keepdims=True))


def project_tangent(w: ArrayLike, v: ArrayLike) -> NDArray[np.float64]:
    """P_w v = v − w ⟨w, v⟩/‖w‖², shape (..., d); w need not be a unit vector, but not 0.

    >>> project_tangent([2.0, 0.0], [5.0, 7.0])
    array([0., 7.])
    """
    point, vector = _directions("w", w), _vectors("v", v)
    _fitting(w=point, v=vector)
    return vector - point * (np.sum(point * vector, -1, keepdims=True) / np.sum(point * point, -1, keepdims=True))


def exponential(w: ArrayLike, v: ArrayLike) -> NDArray[np.float64]:
    """exp_w(v) = cos‖v‖ w + sin‖v‖ v/‖v‖, shape (..., d), for unit w and v tangent at w; exact also for v = 0.

    Raises
    ------
    ValueError
        For w that is no unit vector, or v that is not tangent there, by more than `UNIT`.

    >>> exponential([1.0, 0.0], [0.0, np.pi / 6]).round(12)
    array([0.8660254, 0.5      ])
    """
    point, vector = _vectors("w", w), _vectors("v", v)
    _fitting(w=point, v=vector)
    angle = np.linalg.norm(vector, axis=-1, keepdims=True)
    length = np.linalg.norm(point, axis=-1)
    off = np.abs(length - 1.0)
    if (off > UNIT).any():
        raise ValueError(f"w: expected unit vectors, got one of length {length.ravel()[np.argmax(off)]:g}; sphere.normalise(w)")
    longest = np.sqrt(vector.shape[-1]) * np.abs(vector).max(axis=-1)  # at least ‖v‖, whose square may vanish
    if not (np.abs(np.sum(point * vector, axis=-1)) <= UNIT * longest).all():
        raise ValueError("v: expected vectors tangent at w, got one that is not; sphere.project_tangent(w, v)")
    return np.cos(angle) * point + np.sinc(angle / np.pi) * vector


def distance(x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """Angle between x and y, in [0, π], shape (...,): 2 atan2(‖x̂ − ŷ‖, ‖x̂ + ŷ‖), accurate for near and opposite points.

    >>> float(distance([1.0, 0.0], [1.0, 1e-20]))
    1e-20
    """
    u, v = _directions("x", x), _directions("y", y)
    _fitting(x=u, y=v)
    u, v = normalise(u), normalise(v)
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
    degree, dim = integer("degree", degree, at_least=0, at_most=10**6), integer("dim", dim, at_least=2)
    points = finite_array("t", t)
    if (np.abs(points) > 1.0 + UNIT).any():
        raise ValueError(f"t: expected inner products of unit vectors, in [-1, 1], got {points.ravel()[np.abs(points).argmax()]:g}; "
                         "sphere.normalise(x)")
    if dim == 2:
        return np.asarray(scipy.special.eval_chebyt(degree, points))
    index = dim / 2 - 1
    at_one = scipy.special.eval_gegenbauer(degree, index, 1.0)
    if np.isfinite(at_one):
        return np.asarray(scipy.special.eval_gegenbauer(degree, index, points) / at_one)
    before, here = np.ones_like(points), points
    for k in range(1, degree):  # the recurrence of the polynomials, each divided by its value at 1
        before, here = here, ((2 * k + dim - 2) * points * here - k * before) / (k + dim - 2)
    return here


def area(dim: int) -> float:
    """Area 2π^{d/2}/Γ(d/2) of S^{d−1}; 0 where that is less than a float can be.

    >>> area(3) / math.pi
    4.0
    """
    half = integer("dim", dim, at_least=1, at_most=2**53) / 2
    if half < 170:
        return 2.0 * math.pi**half / math.gamma(half)
    return 2.0 * math.exp(half * math.log(math.pi) - math.lgamma(half))


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
