r"""The quadratic without normalisation: the control that is *not* scale-invariant.

.. math:: L(w) = \tfrac12 \sum_i a_i w_i^2
"""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from ..engine.rows import total
from ..noises.gradient_noise import GradientNoise
from ..validation import finite_array, integer
from .formula_loss import FormulaLoss, shown_array

__all__ = ["Quadratic"]


def value(w: Any, a: Any) -> Any:
    """½ Σ a_i w_i²."""
    return total(0.5 * a * (w * w))


def gradient(w: Any, a: Any) -> Any:
    """a_i w_i."""
    return a * w


class Quadratic(FormulaLoss):
    """L(w) = ½ Σ a_i w_i².

    Parameters
    ----------
    curvatures : array_like (d,)
        a_i, of either sign.
    noise : GradientNoise, optional
        Of the stochastic gradient, e.g. `noises.Isotropic`.

    Examples
    --------
    >>> Quadratic([1.0, 4.0]).gradient([1.0, 1.0])
    array([1., 4.])
    """

    scale_invariant = False
    value_formula, gradient_formula = staticmethod(value), staticmethod(gradient)

    def __init__(self, curvatures: ArrayLike, noise: GradientNoise | None = None) -> None:
        self.curvatures = finite_array("curvatures", curvatures, ndim=1).copy()
        super().__init__(integer("len(curvatures)", self.curvatures.size, at_least=1), noise)
        self.constants = (self.curvatures,)

    def _shown(self) -> list[str]:
        return [shown_array(self.curvatures)]
