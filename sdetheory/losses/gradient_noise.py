r"""What a gradient noise is: a random vector :math:`\xi(w, z)` of mean 0 and covariance :math:`\Sigma(w)`, z the draw.

.. math:: g(w) = \nabla L(w) + \xi(w, z), \qquad \mathbb E\,\xi = 0, \qquad \Sigma(w) = \mathbb E\,\xi\xi^\top

It is *scale-invariant* if :math:`\Sigma(w)w = 0` and :math:`\Sigma(cw) = c^{-2}\Sigma(w)` for c > 0 (ILR-1).
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from numpy.typing import ArrayLike, NDArray

from ..engine import BlockFunction

__all__ = ["GradientNoise"]


@runtime_checkable
class GradientNoise(Protocol):
    """The interface that a loss and an update rule expect of their noise.

    `kind` names the variates of one draw ("normal", "uniform" or "two_point"), `components(dim)` their number. `kernel` is
    `f(W, Z, G, S, *constants)`, which *adds* ξ to G; it is None where a loss brings a `stochastic_gradient_kernel`.
    `trace_kernel` is `f(W, out, S, *constants)`, Tr Σ(w/‖w‖), or None where that is one constant.
    """

    kind: str
    scale_invariant: bool

    def components(self, dim: int) -> int:
        """Random numbers that one gradient in `dim` dimensions takes; refuses a dimension that does not fit."""

    def constant_trace(self, dim: int) -> float | None:
        """Tr Σ at unit norm where it is the same in every direction, else None."""

    def apply(self, w: ArrayLike, z: ArrayLike) -> NDArray[Any]:
        """ξ(w, z), shape (..., d), for w (..., d) and z (..., components)."""

    def covariance(self, w: ArrayLike) -> NDArray[Any]:
        """Σ(w), shape (..., d, d)."""

    def trace(self, w: ArrayLike) -> NDArray[Any]:
        """Tr Σ(w), shape (...,)."""

    @property
    def kernel(self) -> BlockFunction | None:
        """Adds ξ to a block of gradients."""

    @property
    def trace_kernel(self) -> BlockFunction | None:
        """Tr Σ at unit norm, one value a lane."""
