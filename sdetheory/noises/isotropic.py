r"""Gaussian gradient noise of the same law everywhere: not scale-invariant, the negative control of ILR-1.

.. math:: \xi = s\,z, \quad z \sim N(0, I), \qquad \Sigma(w) = s^2 I
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..validation import explain_construction, number
from .gradient_noise import FormulaNoise

__all__ = ["Isotropic"]


def isotropic(w: Any, z: Any, scale: Any) -> Any:
    """s z."""
    return scale * z


@explain_construction
class Isotropic(FormulaNoise):
    """Gaussian noise s z that does not see where w is.

    Parameters
    ----------
    scale : float
        s ≥ 0.

    Examples
    --------
    >>> float(Isotropic(0.5).trace([0.0, 0.0, 2.0]))
    0.75
    """

    formula = staticmethod(isotropic)

    def __init__(self, scale: float) -> None:
        self.scale = number("scale", scale, at_least=0.0)

    @property
    def constants(self) -> tuple[float]:
        """(s,)."""
        return (self.scale,)

    def constant_trace(self, dim: int) -> float | None:
        """s² d."""
        return self.scale**2 * dim

    def covariance(self, w: ArrayLike) -> NDArray[np.float64]:
        """s² I, shape (..., d, d)."""
        shape = np.shape(w)
        return np.broadcast_to(self.scale**2 * np.eye(shape[-1]), (*shape, shape[-1])).copy()

    def trace(self, w: ArrayLike) -> NDArray[np.float64]:
        """s² d, shape (...,)."""
        return np.full(np.shape(w)[:-1], self.scale**2 * np.shape(w)[-1])

    def __repr__(self) -> str:
        return f"Isotropic({self.scale:g})"
