r"""Equal wells on the circle, of equal or of unequal curvature, and two wells on a sphere.

.. math:: L(w) = f(\theta), \quad f(\theta) = \tfrac12 D\,(1 - \cos m\theta)(1 + \beta\cos\theta), \qquad
          \hat w = (\cos\theta, \sin\theta)

f ≥ 0 vanishes at the m wells θ_j = 2πj/m, of curvature ½Dm²(1 + β cos θ_j). Powers of ŵ_1 + iŵ_2 give cos mθ and sin mθ
without an angle. Between neighbouring wells f' = 0 where m cot(mθ/2) = β sin θ/(1 + β cos θ); the left side's slope is
at most −m²/2, the right side's at least −|β|/(1 − |β|), so for |β| < m²/(m² + 2) there is just one top (ILR-12).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from ..engine import BlockFunction, block_function
from ..validation import integer, number
from .gradient_noise import GradientNoise
from .loss import Loss
from .rayleigh_quotient import RayleighQuotient

__all__ = ["MultiWell", "double_well"]


@block_function
def powers(W, S, m):
    """S ← 1/r, cos θ, sin θ, cos mθ, sin mθ."""
    _, lanes = W.shape
    for lane in range(lanes):
        inverse = 1.0 / np.sqrt(W[0, lane] * W[0, lane] + W[1, lane] * W[1, lane])
        S[0, lane] = inverse
        S[1, lane] = W[0, lane] * inverse
        S[2, lane] = W[1, lane] * inverse
        S[3, lane] = S[1, lane]
        S[4, lane] = S[2, lane]
    for _ in range(int(m) - 1):
        for lane in range(lanes):
            p, q = S[3, lane], S[4, lane]
            S[3, lane] = p * S[1, lane] - q * S[2, lane]
            S[4, lane] = p * S[2, lane] + q * S[1, lane]


@block_function
def wells_gradient(W, G, S, m, depth, asymmetry):
    """G ← f'(θ) (−sin θ, cos θ)/r."""
    _, lanes = W.shape
    powers(W, S, m)
    for lane in range(lanes):
        slope = m * S[4, lane] * (1.0 + asymmetry * S[1, lane]) - asymmetry * S[2, lane] * (1.0 - S[3, lane])
        slope *= 0.5 * depth * S[0, lane]
        G[0, lane] = -slope * S[2, lane]
        G[1, lane] = slope * S[1, lane]


@block_function
def wells_value(W, out, S, m, depth, asymmetry):
    """out ← f(θ)."""
    _, lanes = W.shape
    powers(W, S, m)
    for lane in range(lanes):
        out[lane] = 0.5 * depth * (1.0 - S[3, lane]) * (1.0 + asymmetry * S[1, lane])


class MultiWell(Loss):
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

    def __init__(self, wells: int, depth: float = 1.0, asymmetry: float = 0.0,
                 noise: GradientNoise | None = None) -> None:
        super().__init__(2, noise)
        self.wells, self.depth = integer("wells", wells, at_least=1), number("depth", depth, above=0)
        bound = self.wells**2 / (self.wells**2 + 2.0)
        self.asymmetry = number("asymmetry", asymmetry, above=-bound, below=bound,
                                remedy="beyond that there may be more tops than wells")
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
        return np.array([brentq(balance, a, a + width, xtol=1e-14) for a in self.angles])

    def value(self, w: ArrayLike) -> NDArray[np.float64]:
        """L(w), shape (...,), for weights (..., 2)."""
        return self.profile(self._angle(w)[0])

    def gradient(self, w: ArrayLike) -> NDArray[np.float64]:
        """∇L(w) = f'(θ) (−sin θ, cos θ)/r, shape (..., 2)."""
        theta, norm = self._angle(w)
        around = np.stack([-np.sin(theta), np.cos(theta)], axis=-1)
        return (self.profile(theta, 1) / norm)[..., None] * around

    def hessian(self, w: ArrayLike) -> NDArray[np.float64]:
        """∇²L(w) = [f'' t tᵀ − f' (r̂ tᵀ + t r̂ᵀ)]/r² with t = (−sin θ, cos θ), shape (2, 2)."""
        theta, norm = self._angle(w)
        out, around = np.array([np.cos(theta), np.sin(theta)]), np.array([-np.sin(theta), np.cos(theta)])
        cross = np.outer(out, around)
        slope, curvature = self.profile(theta, 1), self.profile(theta, 2)
        return (curvature * np.outer(around, around) - slope * (cross + cross.T)) / norm**2

    def symbolic(self, w: Sequence[sympy.Expr]) -> sympy.Expr:
        """½D(1 − T_m(c))(1 + βc) with c = w_1/‖w‖ and T_m the Chebyshev polynomial."""
        x = self._symbols(w)
        c = x[0] / sympy.sqrt(x.dot(x))
        depth, beta = sympy.Rational(self.depth), sympy.Rational(self.asymmetry)
        return depth / 2 * (1 - sympy.chebyshevt(self.wells, c)) * (1 + beta * c)

    @property
    def gradient_kernel(self) -> BlockFunction:
        """f(W, G, S, m, D, β): G ← ∇L."""
        return BlockFunction(wells_gradient, (float(self.wells), self.depth, self.asymmetry), scratch=5)

    @property
    def value_kernel(self) -> BlockFunction:
        """f(W, out, S, m, D, β): out ← L."""
        return BlockFunction(wells_value, (float(self.wells), self.depth, self.asymmetry), scratch=5)

    def _angle(self, w: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        weights = self._weights(w)
        return np.arctan2(weights[..., 1], weights[..., 0]), np.linalg.norm(weights, axis=-1)

    def __repr__(self) -> str:
        beta = f", asymmetry={self.asymmetry:g}" if self.asymmetry else ""
        noise = f", noise={self.noise!r}" if self.noise is not None else ""
        return f"MultiWell({self.wells}, depth={self.depth:g}{beta}{noise})"


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
