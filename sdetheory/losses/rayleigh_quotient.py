r"""The scale-invariant quadratic: half the Rayleigh quotient of a symmetric matrix.

.. math:: L(w) = \frac{w^\top A w}{2\,w^\top w}, \qquad
          \nabla L(w) = \frac{A w - \rho\,w}{\|w\|^2}, \qquad \rho = \frac{w^\top A w}{\|w\|^2}

The minima are the unit vectors of the lowest eigenspace. For a diagonal A everything is a sum over components, and
(a_i − ρ) w_i loses no digits near an eigenvector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from ..engine import BlockFunction, block_function, matrix_product
from ..validation import finite_array
from .gradient_noise import GradientNoise
from .homogeneous_ratio import HomogeneousRatio, project_block

__all__ = ["RayleighQuotient"]


@block_function
def diagonal_gradient(W, G, S, a):
    """G ← (a_i − ρ) w_i/‖w‖²."""
    d, lanes = W.shape
    for lane in range(lanes):
        S[0, lane] = 0.0
        S[1, lane] = 0.0
    for i in range(d):
        for lane in range(lanes):
            square = W[i, lane] * W[i, lane]
            S[0, lane] += square
            S[1, lane] += a[i] * square
    for lane in range(lanes):
        S[0, lane] = 1.0 / S[0, lane]
        S[1, lane] *= S[0, lane]
    for i in range(d):
        for lane in range(lanes):
            G[i, lane] = (a[i] - S[1, lane]) * (W[i, lane] * S[0, lane])


@block_function
def diagonal_value(W, out, S, a):
    """out ← Σ a_i w_i²/(2‖w‖²)."""
    d, lanes = W.shape
    for lane in range(lanes):
        S[0, lane] = 0.0
        out[lane] = 0.0
    for i in range(d):
        for lane in range(lanes):
            square = W[i, lane] * W[i, lane]
            S[0, lane] += square
            out[lane] += a[i] * square
    for lane in range(lanes):
        out[lane] = 0.5 * out[lane] / S[0, lane]


@block_function
def matrix_gradient(W, G, S, A):
    """G ← (A w − ρ w)/‖w‖²; the product of a block by BLAS."""
    matrix_product(A, W, G)
    project_block(W, G, S, 1)


@block_function
def matrix_value(W, out, S, A):
    """out ← w·Aw/(2‖w‖²); A w goes into rows 1 … d of the scratch."""
    d, lanes = W.shape
    product = S[1:d + 1]
    matrix_product(A, W, product)
    for lane in range(lanes):
        S[0, lane] = 0.0
        out[lane] = 0.0
    for i in range(d):
        for lane in range(lanes):
            S[0, lane] += W[i, lane] * W[i, lane]
            out[lane] += W[i, lane] * product[i, lane]
    for lane in range(lanes):
        out[lane] = 0.5 * out[lane] / S[0, lane]


@block_function
def minibatch_diagonal(W, U, G, S, a):
    """G ← (ā_i − ρ) w_i/‖w‖², ā the mean of the rows of `a` (n, d) that the uniforms U (batch, lanes) choose."""
    d, lanes = W.shape
    n, batch = a.shape[0], U.shape[0]
    for lane in range(lanes):
        S[0, lane] = 0.0
        S[1, lane] = 0.0
    for i in range(d):
        for lane in range(lanes):
            G[i, lane] = 0.0
        for b in range(batch):
            for lane in range(lanes):
                G[i, lane] += a[min(int(U[b, lane] * n), n - 1), i]
        for lane in range(lanes):
            G[i, lane] /= batch
            square = W[i, lane] * W[i, lane]
            S[0, lane] += square
            S[1, lane] += G[i, lane] * square
    for lane in range(lanes):
        S[0, lane] = 1.0 / S[0, lane]
        S[1, lane] *= S[0, lane]
    for i in range(d):
        for lane in range(lanes):
            G[i, lane] = (G[i, lane] - S[1, lane]) * (W[i, lane] * S[0, lane])


@block_function
def minibatch_matrix(W, U, G, S, A):
    """G ← (Ā w − ρ w)/‖w‖², Ā the mean of the matrices A (n, d, d) that the uniforms U (batch, lanes) choose."""
    d, lanes = W.shape
    n, batch = A.shape[0], U.shape[0]
    for i in range(d):
        for lane in range(lanes):
            G[i, lane] = 0.0
    for b in range(batch):
        for i in range(d):
            for lane in range(lanes):
                row = A[min(int(U[b, lane] * n), n - 1), i]
                total = 0.0
                for k in range(d):
                    total += row[k] * W[k, lane]
                G[i, lane] += total
    for i in range(d):
        for lane in range(lanes):
            G[i, lane] /= batch
    project_block(W, G, S, 1)


class RayleighQuotient(HomogeneousRatio):
    """L(w) = wᵀAw/(2 wᵀw).

    Parameters
    ----------
    matrix : array_like (d,) or (d, d)
        Eigenvalues of a diagonal A, which needs no matrix product; or a symmetric A, d ≥ 2.
    noise : GradientNoise, optional
        Of the stochastic gradient.

    Raises
    ------
    ValueError
        If A is not square, not symmetric or not finite, or the noise is for another dimension.

    Examples
    --------
    >>> loss = RayleighQuotient([2.0, 0.0])
    >>> float(loss.value([3.0, 4.0])), loss.gradient([0.0, 2.0])
    (0.36, array([0., 0.]))
    """

    degree = 2

    def __init__(self, matrix: ArrayLike, noise: GradientNoise | None = None) -> None:
        remedy = "give a 1-D list of eigenvalues or a symmetric matrix"
        array = finite_array("matrix", matrix, remedy=remedy)
        if array.ndim not in (1, 2) or array.shape[0] < 2 or array.shape[-1] != array.shape[0]:
            raise ValueError(f"matrix: expected shape (d,) or (d, d) with d >= 2, got {array.shape}; {remedy}")
        if array.ndim == 2 and not np.array_equal(array, array.T):
            raise ValueError("matrix: expected a symmetric matrix, got one that differs from its transpose by up to "
                             f"{np.abs(array - array.T).max():.3g}; use (A + A.T) / 2")
        super().__init__(array.shape[0], noise)
        self.array = np.ascontiguousarray(array).copy()

    @property
    def matrix(self) -> NDArray[np.float64]:
        """A, shape (d, d)."""
        return np.diag(self.array) if self.array.ndim == 1 else self.array

    def numerator(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """½ uᵀAu."""
        return 0.5 * np.sum(u * self.numerator_gradient(u), axis=-1)

    def numerator_gradient(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """A u."""
        return self.array * u if self.array.ndim == 1 else u @ self.array

    def numerator_hessian(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """A."""
        return self.matrix

    def symbolic(self, w: Sequence[sympy.Expr]) -> sympy.Expr:
        """wᵀAw/(2 wᵀw), with the numbers of A as exact rationals."""
        x = self._symbols(w)
        exact = sympy.Matrix(self.dim, self.dim, [sympy.Rational(float(a)) for a in self.matrix.flat])
        return (x.T * exact * x)[0] / (2 * x.dot(x))

    @property
    def gradient_kernel(self) -> BlockFunction:
        """f(W, G, S, A): G ← ∇L."""
        if self.array.ndim == 1:
            return BlockFunction(diagonal_gradient, (self.array,), scratch=2)
        return BlockFunction(matrix_gradient, (self.array,), scratch=2, fixed_lanes=True)

    @property
    def value_kernel(self) -> BlockFunction:
        """f(W, out, S, A): out ← L."""
        if self.array.ndim == 1:
            return BlockFunction(diagonal_value, (self.array,), scratch=1)
        return BlockFunction(matrix_value, (self.array,), scratch=self.dim + 1, fixed_lanes=True)

    @staticmethod
    def mean_of(losses: Sequence[Any]) -> RayleighQuotient:
        """The mean of Rayleigh quotients: that of the mean matrix."""
        return RayleighQuotient(np.mean(_stack(losses), axis=0))

    @staticmethod
    def minibatch_kernel(losses: Sequence[Any]) -> BlockFunction:
        """f(W, U, G, S, A): G ← the mean gradient of the losses that the uniforms U (batch, lanes) choose."""
        stack = _stack(losses)
        return BlockFunction(minibatch_diagonal if stack.ndim == 2 else minibatch_matrix, (stack,), scratch=2)

    def __repr__(self) -> str:
        inside = np.array2string(self.array, separator=", ", threshold=8, edgeitems=2).replace("\n", "")
        return f"RayleighQuotient({inside}{f', noise={self.noise!r}' if self.noise is not None else ''})"


def _stack(losses: Sequence[RayleighQuotient]) -> NDArray[np.float64]:
    diagonal = all(loss.array.ndim == 1 for loss in losses)
    return np.stack([loss.array if diagonal else loss.matrix for loss in losses])
