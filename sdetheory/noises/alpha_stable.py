r"""Symmetric α-stable gradient noise: heavy tails, and no variance for α < 2 (SVAG-9).

.. math:: \xi_i = c\,\frac{\sin\alpha V}{(\cos V)^{1/\alpha}}\left(\frac{\cos((1-\alpha)V)}{E}\right)^{(1-\alpha)/\alpha},
          \quad V = \pi(u_1 - \tfrac12),\; E = -\log u_2, \qquad \mathbb E\,e^{is\xi_i} = e^{-|cs|^\alpha}

from two uniforms a component (Chambers, Mallows, Stuck 1976). α = 2 is Gaussian of variance 2c², α = 1 Cauchy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..engine.rows import cos, log, pairs, sin
from ..validation import explain_construction, number
from .gradient_noise import FormulaNoise

__all__ = ["AlphaStable"]


def stable(w: Any, u: Any, stability: Any, scale: Any) -> Any:
    """c X, X the α-stable variable of the uniforms u_{2i}, u_{2i+1}."""
    first, second = pairs(u)
    angle = math.pi * (first - 0.5)
    spread = cos((1.0 - stability) * angle) / -log(second)
    return scale * (sin(stability * angle) / cos(angle) ** (1.0 / stability) * spread ** ((1.0 - stability) / stability))


@explain_construction
class AlphaStable(FormulaNoise):
    """Independent symmetric α-stable components, the same law everywhere.

    Parameters
    ----------
    stability : float
        α in (0, 2].
    scale : float
        c ≥ 0, of E exp(isξ) = exp(−|cs|^α).

    Examples
    --------
    >>> AlphaStable(1.5, scale=0.1).components(3)
    6
    >>> AlphaStable(1.5).covariance([0.0])
    Traceback (most recent call last):
    ValueError: covariance: expected noise of finite variance (stability 2), got AlphaStable(1.5, scale=1); SVAG \
and its SDE need a covariance (SVAG-9)
    """

    kind = "uniform"
    formula = staticmethod(stable)

    def __init__(self, stability: float, scale: float = 1.0) -> None:
        self.stability = number("stability", stability, above=0.0, at_most=2.0)
        self.scale = number("scale", scale, at_least=0.0)

    @property
    def constants(self) -> tuple[float, float]:
        """(α, c)."""
        return self.stability, self.scale

    def components(self, dim: int) -> int:
        """Two uniforms a component."""
        return 2 * dim

    def constant_trace(self, dim: int) -> float | None:
        """2c²d for α = 2; refused for α < 2."""
        return 2.0 * self.scale**2 * dim if self._has_variance("constant_trace") else None

    def apply(self, w: ArrayLike, z: ArrayLike) -> NDArray[np.float64]:
        """ξ, shape (..., d), for weights (..., d) and uniforms (..., 2d)."""
        u = np.asarray(z, dtype=np.float64)
        if u.shape[-1] != 2 * np.shape(w)[-1]:
            raise ValueError(f"z: expected shape (..., {2 * np.shape(w)[-1]}), two uniforms a weight, got {u.shape}")
        return super().apply(w, u)

    def covariance(self, w: ArrayLike) -> NDArray[np.float64]:
        """2c² I for α = 2, shape (..., d, d); refused for α < 2."""
        self._has_variance("covariance")
        shape = np.shape(w)
        return np.broadcast_to(2 * self.scale**2 * np.eye(shape[-1]), (*shape, shape[-1])).copy()

    def trace(self, w: ArrayLike) -> NDArray[np.float64]:
        """2c²d for α = 2, shape (...,); refused for α < 2."""
        self._has_variance("trace")
        return np.full(np.shape(w)[:-1], 2 * self.scale**2 * np.shape(w)[-1])

    def _has_variance(self, what: str) -> bool:
        if self.stability < 2.0:
            raise ValueError(f"{what}: expected noise of finite variance (stability 2), got {self!r}; "
                             "SVAG and its SDE need a covariance (SVAG-9)")
        return True

    def __repr__(self) -> str:
        return f"AlphaStable({self.stability:g}, scale={self.scale:g})"
