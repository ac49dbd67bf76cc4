r"""A scale-invariant quartic on the sphere of any dimension.

.. math:: L(w) = c + \frac{\sum_i a_i w_i^4}{4\,\|w\|^4}

With all a_i = −8D and c = 2D (`axis_wells`) the 2d points ±e_i are minima of value 0 and of one curvature, and the
lowest way from one to a neighbour leads over (e_i ± e_j)/√2, of value D. With a_i > 0 the wells lie between the axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..engine import BlockFunction, row_kernel
from ..engine.rows import drawn_total, total
from ..noises.gradient_noise import GradientNoise
from ..validation import explained, finite_array, integer, number
from .formula_loss import FormulaLoss, shown_array
from .homogeneous_ratio import ratio_gradient

__all__ = ["SphereQuartic", "axis_wells"]


def value(w: Any, a: Any, offset: Any) -> Any:
    """c + Σ a_i w_i⁴/(4‖w‖⁴)."""
    square, norm = w * w, total(w * w)
    return offset + 0.25 * total(a * (square * square)) / (norm * norm)


def gradient(w: Any, a: Any, offset: Any) -> Any:
    """(a_i w_i³ − w_i Σ a_j w_j⁴/‖w‖²)/‖w‖⁴."""
    return ratio_gradient(w, a * (w * w * w), 2)


def minibatch(w: Any, u: Any, a: Any, size: Any) -> Any:
    """The gradient for the mean of the rows of a (n, d) that the uniforms choose."""
    return ratio_gradient(w, drawn_total(a, u) * (w * w * w / size), 2)


class SphereQuartic(FormulaLoss):
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

    value_formula, gradient_formula = staticmethod(value), staticmethod(gradient)

    def __init__(self, coefficients: ArrayLike, offset: float = 0.0, noise: GradientNoise | None = None) -> None:
        self.coefficients = finite_array("coefficients", coefficients, ndim=1).copy()
        super().__init__(integer("len(coefficients)", self.coefficients.size, at_least=2), noise)
        self.offset = number("offset", offset)
        self.constants = (self.coefficients, self.offset)

    @staticmethod
    def mean_of(losses: Sequence[Any]) -> SphereQuartic:
        """The mean of sphere quartics: that of the mean coefficients."""
        return SphereQuartic(np.mean([loss.coefficients for loss in losses], axis=0),
                             float(np.mean([loss.offset for loss in losses])))

    @staticmethod
    def minibatch_kernel(losses: Sequence[Any], batch_size: int) -> BlockFunction:
        """f(W, U, G, S, a, B): G ← the mean gradient of the losses that the uniforms U (batch, lanes) choose."""
        return row_kernel(minibatch, (np.stack([loss.coefficients for loss in losses]), float(batch_size)), draws=True)

    def _shown(self) -> list[str]:
        return [shown_array(self.coefficients), *([f"offset={self.offset:g}"] if self.offset else [])]


@explained
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
