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
from numpy.typing import ArrayLike, NDArray

from ..engine import BlockFunction, row_kernel
from ..engine.rows import drawn_mean, times, total
from ..noises.gradient_noise import GradientNoise
from ..validation import finite_array
from .formula_loss import FormulaLoss, shown_array
from .homogeneous_ratio import ratio_gradient

__all__ = ["RayleighQuotient"]


def diagonal_value(w: Any, a: Any) -> Any:
    """Σ a_i w_i²/(2‖w‖²)."""
    return 0.5 * total(a * (w * w)) / total(w * w)


def diagonal_gradient(w: Any, a: Any) -> Any:
    """(a_i − ρ) w_i/‖w‖²."""
    inverse = 1.0 / total(w * w)
    rho = total(a * (w * w)) * inverse
    return (a - rho) * (w * inverse)


def matrix_value(w: Any, A: Any) -> Any:
    """w·Aw/(2‖w‖²)."""
    return 0.5 * total(w * times(A, w)) / total(w * w)


def matrix_gradient(w: Any, A: Any) -> Any:
    """(A w − ρ w)/‖w‖²."""
    return ratio_gradient(w, times(A, w), 1)


def minibatch_diagonal(w: Any, u: Any, a: Any) -> Any:
    """The gradient for the mean of the rows of a (n, d) that the uniforms choose."""
    return diagonal_gradient(w, drawn_mean(a, u))


def minibatch_matrix(w: Any, u: Any, A: Any) -> Any:
    """The gradient for the mean of the matrices A (n, d, d) that the uniforms choose."""
    return ratio_gradient(w, drawn_mean(A, u, w), 1)


class RayleighQuotient(FormulaLoss):
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
        self.constants = (self.array,)
        self.value_formula, self.gradient_formula = ((diagonal_value, diagonal_gradient) if array.ndim == 1 else
                                                     (matrix_value, matrix_gradient))

    @property
    def matrix(self) -> NDArray[np.float64]:
        """A, shape (d, d)."""
        return np.diag(self.array) if self.array.ndim == 1 else self.array

    @staticmethod
    def mean_of(losses: Sequence[Any]) -> RayleighQuotient:
        """The mean of Rayleigh quotients: that of the mean matrix."""
        return RayleighQuotient(np.mean(_stack(losses), axis=0))

    @staticmethod
    def minibatch_kernel(losses: Sequence[Any], batch_size: int) -> BlockFunction:
        """f(W, U, G, S, A): G ← the mean gradient of the losses that the uniforms U (batch, lanes) choose."""
        stack = _stack(losses)
        return row_kernel(minibatch_diagonal if stack.ndim == 2 else minibatch_matrix, (stack,), draws=True)

    def _shown(self) -> list[str]:
        return [shown_array(self.array)]


def _stack(losses: Sequence[RayleighQuotient]) -> NDArray[np.float64]:
    diagonal = all(loss.array.ndim == 1 for loss in losses)
    return np.stack([loss.array if diagonal else loss.matrix for loss in losses])
