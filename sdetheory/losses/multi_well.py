r"""Equal wells on the circle, of equal or of unequal curvature, and two wells on a sphere.

.. math:: L(w) = f(\theta), \quad f(\theta) = \tfrac12 D\,(1 - \cos m\theta)(1 + \beta\cos\theta), \qquad
          \hat w = (\cos\theta, \sin\theta)

f ≥ 0 vanishes at the m wells θ_j = 2πj/m, of curvature ½Dm²(1 + β cos θ_j). Powers of ŵ_1 + iŵ_2 give cos mθ and sin mθ
without an angle. Between neighbouring wells f' = 0 where m cot(mθ/2) = β sin θ/(1 + β cos θ); the left side's slope is
at most −m²/2, the right side's at least −|β|/(1 − |β|), so for |β| < m²/(m² + 2) there is just one top (ILR-12).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ..engine.rows import component, joined, sqrt
from ..noises.gradient_noise import GradientNoise
from ..validation import explained, integer, number
from .formula_loss import FormulaLoss
from .rayleigh_quotient import RayleighQuotient

__all__ = ["MultiWell", "double_well"]


def circle(w: Any, m: int) -> tuple[Any, Any, Any, Any, Any]:
    """1/r, cos θ, sin θ, cos mθ, sin mθ."""
    x, y = component(w, 0), component(w, 1)
    inverse = 1.0 / sqrt(x * x + y * y)
    c, s = x * inverse, y * inverse
    p, q = c, s
    for _ in range(m - 1):
        p, q = p * c - q * s, p * s + q * c
    return inverse, c, s, p, q


def value(w: Any, m: int, depth: Any, asymmetry: Any) -> Any:
    """f(θ)."""
    _, c, _, p, _ = circle(w, m)
    return 0.5 * depth * (1.0 - p) * (1.0 + asymmetry * c)


def gradient(w: Any, m: int, depth: Any, asymmetry: Any) -> Any:
    """f'(θ) (−sin θ, cos θ)/r."""
    inverse, c, s, p, q = circle(w, m)
    slope = m * q * (1.0 + asymmetry * c) - asymmetry * s * (1.0 - p)
    slope = slope * (0.5 * depth * inverse)
    return joined(-slope * s, slope * c)


class MultiWell(FormulaLoss):
    """m wells of equal depth on the circle, in two dimensions.

    Parameters
    ----------
    wells : int
        m ≥ 1.
    depth : float
        D > 0: the height of every top if β = 0, and near it otherwise.
    asymmetry : float
        β, |β| < m²/(m² + 2): at equal depth, wells near θ = 0 are sharper by 1 + β and near π flatter by 1 − β.
    noise : GradientNoise, optional
        Of the stochastic gradient.

    Attributes
    ----------
    angles, curvatures : arrays (m,)
        Where the wells lie, and f'' there.

    Examples
    --------
    >>> loss = MultiWell(2, depth=0.1, asymmetry=0.5)
    >>> loss.curvatures
    array([0.3, 0.1])
    >>> loss.value([[2.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]).round(12)
    array([0. , 0. , 0.1])
    """

    value_formula, gradient_formula = staticmethod(value), staticmethod(gradient)

    def __init__(self, wells: int, depth: float = 1.0, asymmetry: float = 0.0,
                 noise: GradientNoise | None = None) -> None:
        super().__init__(2, noise)
        self.wells, self.depth = integer("wells", wells, at_least=1), number("depth", depth, above=0)
        bound = self.wells**2 / (self.wells**2 + 2.0)
        self.asymmetry = number("asymmetry", asymmetry, above=-bound, below=bound,
                                remedy="beyond that there may be more tops than wells")
        self.constants = (self.wells, self.depth, self.asymmetry)
        self.angles = 2.0 * np.pi * np.arange(self.wells) / self.wells
        self.curvatures = 0.5 * self.depth * self.wells**2 * (1.0 + self.asymmetry * np.cos(self.angles))

    def profile(self, theta: ArrayLike, derivative: int = 0) -> NDArray[np.float64]:
        """f, f' or f'' (`derivative` 0, 1, 2) at the angles `theta`, of their shape."""
        t, m, beta = np.asarray(theta, dtype=np.float64), self.wells, self.asymmetry
        order = integer("derivative", derivative, at_least=0, at_most=2)
        well = [2.0 * np.sin(m * t / 2) ** 2, m * np.sin(m * t), m**2 * np.cos(m * t)]
        tilt = [1.0 + beta * np.cos(t), -beta * np.sin(t), -beta * np.cos(t)]
        leibniz = {0: [(1, 0, 0)], 1: [(1, 1, 0), (1, 0, 1)], 2: [(1, 2, 0), (2, 1, 1), (1, 0, 2)]}
        return np.asarray(0.5 * self.depth * sum(n * well[i] * tilt[j] for n, i, j in leibniz[order]))

    def tops(self) -> NDArray[np.float64]:
        """Angles of the m maxima, top j between the wells j and j + 1, to rounding."""
        def balance(t: float) -> float:
            beta, half = self.asymmetry, self.wells * t / 2
            return self.wells * np.cos(half) * (1.0 + beta * np.cos(t)) - beta * np.sin(t) * np.sin(half)
        width = 2.0 * np.pi / self.wells
        return np.array([scipy.optimize.brentq(balance, a, a + width, xtol=1e-14) for a in self.angles])

    def _shown(self) -> list[str]:
        return [str(self.wells), f"depth={self.depth:g}", *([f"asymmetry={self.asymmetry:g}"] if self.asymmetry else [])]


@explained
def double_well(dim: int, depth: float = 1.0, noise: GradientNoise | None = None) -> RayleighQuotient:
    """Wells of value 0 at ±e_1 on S^{d−1}, and the equator at the height `depth`: L = D(1 − ŵ_1²), a Rayleigh quotient.

    Examples
    --------
    >>> double_well(3, depth=0.5).value([[-2.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    array([0. , 0.5])
    """
    depth = number("depth", depth, above=0)
    eigenvalues = np.full(integer("dim", dim, at_least=2), 2.0 * depth)
    eigenvalues[0] = 0.0
    return RayleighQuotient(eigenvalues, noise)
