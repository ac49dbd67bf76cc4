r"""A scale-invariant quartic on the sphere of any dimension.

.. math:: L(w) = c + \frac{\sum_i a_i w_i^4}{4\,\|w\|^4}

With all a_i = −8D and c = 2D (`axis_wells`) the 2d points ±e_i are minima of value 0 and of one curvature, and the
lowest way from one to a neighbour leads over (e_i ± e_j)/√2, of value D. With a_i > 0 the wells lie between the axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from ..engine import BlockFunction, block_function
from ..validation import finite_array, integer, number
from .gradient_noise import GradientNoise
from .homogeneous_ratio import HomogeneousRatio, project_block

__all__ = ["SphereQuartic", "axis_wells"]


@block_function
def quartic_gradient(W, G, S, a):
    """G ← (a_i w_i³ − w Σ a_j w_j⁴/‖w‖²)/‖w‖⁴."""
    d, lanes = W.shape
    for i in range(d):
        for lane in range(lanes):
            w = W[i, lane]
            G[i, lane] = a[i] * (w * w * w)
    project_block(W, G, S, 2)


@block_function
def quartic_value(W, out, S, a, offset):
    """out ← c + Σ a_i w_i⁴/(4‖w‖⁴)."""
    d, lanes = W.shape
    for lane in range(lanes):
        S[0, lane] = 0.0
        out[lane] = 0.0
    for i in range(d):
        for lane in range(lanes):
            square = W[i, lane] * W[i, lane]
            S[0, lane] += square
            out[lane] += a[i] * (square * square)
    for lane in range(lanes):
        out[lane] = offset + 0.25 * out[lane] / (S[0, lane] * S[0, lane])


@block_function
def minibatch_quartic(W, U, G, S, a):
    """The gradient for the mean of the rows of `a` (n, d) that the uniforms U (batch, lanes) choose."""
    d, lanes = W.shape
    n, batch = a.shape[0], U.shape[0]
    for i in range(d):
        for lane in range(lanes):
            G[i, lane] = 0.0
        for b in range(batch):
            for lane in range(lanes):
                G[i, lane] += a[min(int(U[b, lane] * n), n - 1), i]
        for lane in range(lanes):
            w = W[i, lane]
            G[i, lane] *= (w * w * w) / batch
    project_block(W, G, S, 2)


class SphereQuartic(HomogeneousRatio):
    """L(w) = c + ¼ Σ a_i ŵ_i⁴.

    Parameters
    ----------
    coefficients : array_like (d,)
        a_i of either sign, d ≥ 2.
    offset : float
        The constant c.
    noise : GradientNoise, optional
        Of the stochastic gradient.

    Examples
    --------
    >>> SphereQuartic([4.0, 8.0]).value([[3.0, 0.0], [0.0, 2.0]])
    array([1., 2.])
    """

    degree = 4

    def __init__(self, coefficients: ArrayLike, offset: float = 0.0, noise: GradientNoise | None = None) -> None:
        self.coefficients = finite_array("coefficients", coefficients, ndim=1).copy()
        super().__init__(integer("len(coefficients)", self.coefficients.size, at_least=2), noise)
        self.offset = number("offset", offset)

    def numerator(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """¼ Σ a_i u_i⁴."""
        return 0.25 * np.sum(self.coefficients * u**4, axis=-1)

    def numerator_gradient(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """a_i u_i³."""
        return self.coefficients * u**3

    def numerator_hessian(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """diag(3 a_i u_i²)."""
        return np.diag(3.0 * self.coefficients * u**2)

    def symbolic(self, w: Sequence[sympy.Expr]) -> sympy.Expr:
        """c + Σ a_i w_i⁴/(4 (w·w)²), with exact rational coefficients."""
        x = self._symbols(w)
        total = sum(sympy.Rational(float(a)) * xi**4 for a, xi in zip(self.coefficients, x, strict=True))
        return sympy.Rational(self.offset) + total / (4 * x.dot(x) ** 2)

    @property
    def gradient_kernel(self) -> BlockFunction:
        """f(W, G, S, a): G ← ∇L."""
        return BlockFunction(quartic_gradient, (self.coefficients,), scratch=2)

    @property
    def value_kernel(self) -> BlockFunction:
        """f(W, out, S, a, c): out ← L."""
        return BlockFunction(quartic_value, (self.coefficients, self.offset), scratch=1)

    @staticmethod
    def mean_of(losses: Sequence[Any]) -> SphereQuartic:
        """The mean of sphere quartics: that of the mean coefficients."""
        return SphereQuartic(np.mean([loss.coefficients for loss in losses], axis=0),
                             float(np.mean([loss.offset for loss in losses])))

    @staticmethod
    def minibatch_kernel(losses: Sequence[Any]) -> BlockFunction:
        """f(W, U, G, S, a): G ← the mean gradient of the losses that the uniforms U (batch, lanes) choose."""
        return BlockFunction(minibatch_quartic, (np.stack([loss.coefficients for loss in losses]),), scratch=2)

    def __repr__(self) -> str:
        inside = np.array2string(self.coefficients, separator=", ", threshold=8, edgeitems=2).replace("\n", "")
        offset = f", offset={self.offset:g}" if self.offset else ""
        return f"SphereQuartic({inside}{offset}{f', noise={self.noise!r}' if self.noise is not None else ''})"


def axis_wells(dim: int, depth: float = 1.0, noise: GradientNoise | None = None) -> SphereQuartic:
    """2 `dim` wells of value 0 at ±e_i, with saddles of value `depth` between neighbours: L = 2D(1 − Σ ŵ_i⁴).

    Parameters
    ----------
    dim : int
        d ≥ 2.
    depth : float
        D > 0, the height of the saddle; every curvature at a well is 8D.
    noise : GradientNoise, optional
        Of the stochastic gradient.

    Examples
    --------
    >>> axis_wells(3, depth=0.5).value([[0, -2, 0], [1, 1, 0]])
    array([0. , 0.5])
    """
    depth = number("depth", depth, above=0)
    return SphereQuartic(np.full(integer("dim", dim, at_least=2), -8.0 * depth), 2.0 * depth, noise)
