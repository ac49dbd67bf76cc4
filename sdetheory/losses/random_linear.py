r"""Random linear gradients: a quadratic whose curvature and offset are drawn anew at every step.

.. math:: \nabla L_\gamma(w) = A_\gamma w - b_\gamma, \quad \gamma \sim p \text{ on } 1 \dots n, \qquad
          L(w) = \tfrac12 w^\top\bar A w - \bar b^\top w

The law is finite and known, and a step maps polynomials to polynomials of the same degree: all moments of SGD, SVAG, noisy
GD and their SDE follow closed recursions (SVAG-3, `dynamics.affine_moments`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import noises
from ..engine import BlockFunction, block_function
from ..engine.rows import product, total
from ..validation import finite_array, number
from .formula_loss import FormulaLoss, shown_array

__all__ = ["RandomLinear"]


def value(w: Any, A: Any, b: Any) -> Any:
    """½ w·Aw − b·w."""
    return total(w * (0.5 * product(A, w) - b))


def gradient(w: Any, A: Any, b: Any) -> Any:
    """A w − b."""
    return product(A, w, -b)


@block_function
def affine_value(W, out, S, A, b):
    """out ← ½ w·Aw − b·w; by hand, for one running sum over both indices."""
    d, lanes = W.shape
    for lane in range(lanes):
        out[lane] = 0.0
    for i in range(d):
        for lane in range(lanes):
            out[lane] -= b[i] * W[i, lane]
        for k in range(d):
            for lane in range(lanes):
                out[lane] += 0.5 * A[i, k] * (W[i, lane] * W[k, lane])


class RandomLinear(FormulaLoss):
    """The quadratic of mean curvature and offset, with gradients A_γ w − b_γ of a finite law.

    Parameters
    ----------
    probabilities : array_like (n,)
        p_γ > 0, of sum 1; n ≥ 2.
    curvatures : array_like (n,) for one dimension, else (n, d, d)
        A_γ, symmetric.
    offsets : array_like (n,) for one dimension, else (n, d); optional
        b_γ; 0 unless told.

    Examples
    --------
    >>> loss = RandomLinear([0.5, 0.5], curvatures=[1.0, 3.0], offsets=[0.0, 1.0])
    >>> loss.gradient([1.0]), loss.noise.trace([1.0])
    (array([1.5]), np.float64(0.25))
    """

    scale_invariant = False
    noise: noises.RandomLinear
    value_formula, gradient_formula = staticmethod(value), staticmethod(gradient)

    def __init__(self, probabilities: ArrayLike, curvatures: ArrayLike, offsets: ArrayLike | None = None) -> None:
        p = finite_array("probabilities", probabilities, ndim=1)
        n = p.size
        if n < 2 or (p <= 0).any() or abs(p.sum() - 1.0) > 1e-12:
            raise ValueError(f"probabilities: expected two or more numbers > 0 of sum 1, got {p.tolist()}; divide by the "
                             "sum, and leave outcomes of probability 0 out")
        matrices = finite_array("curvatures", curvatures)
        if matrices.ndim == 1:
            matrices = matrices.reshape(-1, 1, 1)
        if matrices.ndim != 3 or len(matrices) != n or matrices.shape[1] != matrices.shape[2]:
            raise ValueError(f"curvatures: expected shape ({n},) or ({n}, d, d), one for each probability, "
                             f"got {matrices.shape}")
        if not np.array_equal(matrices, matrices.transpose(0, 2, 1)):
            raise ValueError("curvatures: expected symmetric matrices, got one that differs from its transpose; "
                             "a linear field A w is a gradient only for symmetric A")
        d = matrices.shape[1]
        given = np.zeros((n, d)) if offsets is None else finite_array("offsets", offsets)
        given = given.reshape(-1, 1) if given.ndim == 1 and d == 1 else given
        if given.shape != (n, d):
            raise ValueError(f"offsets: expected shape {(n,) if d == 1 else (n, d)}, got {given.shape}")
        self.probabilities, self.matrices, self.offsets = p / p.sum(), matrices.copy(), given.copy()
        self.mean_matrix = np.einsum("n,nij->ij", self.probabilities, self.matrices)
        self.mean_offset = self.probabilities @ self.offsets
        super().__init__(d, noises.RandomLinear(self.probabilities, self.matrices - self.mean_matrix,
                                                self.offsets - self.mean_offset))
        self.constants = (self.mean_matrix, self.mean_offset)

    @classmethod
    def two_point(cls, curvature: float, offset: float = 0.0, *, curvature_std: float = 0.0, offset_std: float = 0.0,
                  probability: float = 0.5) -> RandomLinear:
        """In one dimension: a + s_a ζ and b + s_b ζ with one two-point ζ of mean 0 and variance 1.

        ζ is √(q/p) with `probability` p, else −√(p/q), q = 1 − p: symmetric for p = 1/2, and else of third moment
        (q − p)/√(pq).

        Parameters
        ----------
        curvature, offset : float
            Means a and b.
        curvature_std, offset_std : float
            s_a and s_b, of either sign; not both 0.
        probability : float
            p in (0, 1).

        >>> RandomLinear.two_point(2.0, curvature_std=1.0, probability=0.2).matrices.ravel().tolist()
        [4.0, 1.5]
        """
        p = number("probability", probability, above=0.0, below=1.0)
        a, b = number("curvature", curvature), number("offset", offset)
        spreads = number("curvature_std", curvature_std), number("offset_std", offset_std)
        if spreads == (0.0, 0.0):
            raise ValueError("curvature_std, offset_std: expected one of them other than 0, got 0 and 0; without noise "
                             "use Quadratic")
        zeta = np.array([np.sqrt((1 - p) / p), -np.sqrt(p / (1 - p))])
        return cls([p, 1 - p], a + spreads[0] * zeta, b + spreads[1] * zeta)

    @property
    def value_kernel(self) -> BlockFunction:
        """f(W, out, S, A, b): out ← L."""
        return BlockFunction(affine_value, (self.mean_matrix, self.mean_offset))

    def __repr__(self) -> str:
        values = (self.probabilities, self.matrices, self.offsets)
        return f"RandomLinear({', '.join(shown_array(x.ravel() if self.dim == 1 else x) for x in values)})"
