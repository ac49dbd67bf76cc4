r"""The uv model: a two-layer linear net on one sample x = 1, y = 0 (CAT-1).

.. math:: f(u, v) = \frac{v^\top u}{\sqrt n}, \qquad L = \frac{f^2}{2}, \qquad
          \nabla L = \frac{f}{\sqrt n}(v, u), \qquad \lambda = \frac{\|u\|^2 + \|v\|^2}{n}

The weights are w = (u, v), d = 2n. Its curvature λ is the NTK.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..engine.rows import halves, joined, total
from ..noises.gradient_noise import GradientNoise
from ..starts import NormalWeights
from ..validation import integer
from .formula_loss import FormulaLoss

__all__ = ["UVModel"]


def value(w: Any, width: Any) -> Any:
    """(v·u)²/(2n)."""
    u, v = halves(w)
    product = total(u * v)
    return 0.5 * product * product / width


def gradient(w: Any, width: Any) -> Any:
    """(v·u/n) (v, u)."""
    u, v = halves(w)
    slope = total(u * v) / width
    return joined(slope * v, slope * u)


class UVModel(FormulaLoss):
    """L(u, v) = (v·u)²/(2n).

    Parameters
    ----------
    width : int
        n ≥ 1; there are 2n weights, u first.
    noise : GradientNoise, optional
        Of the stochastic gradient.

    Examples
    --------
    >>> loss = UVModel(4)
    >>> w = [1.0, 1.0, 1.0, 1.0, 3.0, 1.0, 0.0, 0.0]
    >>> float(loss.value(w)), float(loss.curvature(w)), loss.gradient(w)
    (2.0, 3.5, array([3., 1., 0., 0., 1., 1., 1., 1.]))
    """

    scale_invariant = False
    value_formula, gradient_formula = staticmethod(value), staticmethod(gradient)

    def __init__(self, width: int, noise: GradientNoise | None = None) -> None:
        self.width = integer("width", width, at_least=1)
        super().__init__(2 * self.width, noise)
        self.constants = (float(self.width),)

    def sample_weights(self, scale: float = 1.0) -> NormalWeights:
        """Independent normal weights, as a start for `simulate`; the paper's have scale 1."""
        return NormalWeights(self.dim, scale)

    def output(self, w: ArrayLike) -> NDArray[np.float64]:
        """f, shape (...,), for weights (..., 2n)."""
        u, v = self._layers(w)
        return np.sum(u * v, axis=-1) / np.sqrt(self.width)

    def curvature(self, w: ArrayLike) -> NDArray[np.float64]:
        """λ = (‖u‖² + ‖v‖²)/n, the NTK, shape (...,); the top Hessian eigenvalue where f = 0 (CAT-5)."""
        return np.sum(self._weights(w) ** 2, axis=-1) / self.width

    def _layers(self, w: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        array = self._weights(w)
        return array[..., :self.width], array[..., self.width:]

    def _shown(self) -> list[str]:
        return [str(self.width)]
