r"""What a gradient noise is: a random vector :math:`\xi(w, z)` of mean 0 and covariance :math:`\Sigma(w)`, z the draw.

.. math:: g(w) = \nabla L(w) + \xi(w, z), \qquad \mathbb E\,\xi = 0, \qquad \Sigma(w) = \mathbb E\,\xi\xi^\top

It is *scale-invariant* if :math:`\Sigma(w)w = 0` and :math:`\Sigma(cw) = c^{-2}\Sigma(w)` for c > 0 (ILR-1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..engine import BlockFunction, row_kernel
from ..validation import nonzero

__all__ = ["FormulaNoise", "GradientNoise"]


@runtime_checkable
class GradientNoise(Protocol):
    """The interface that a loss and an update rule expect of their noise, with the defaults of a subclass.

    `kind` names the variates of one draw ("normal", "uniform" or "two_point"), `components(dim)` their number. `kernel` is
    `f(W, Z, G, S, *constants)`, which *adds* ξ to G; it is None where a loss brings a `stochastic_gradient_kernel`.
    `trace_kernel` is `f(W, out, S, *constants)`, Tr Σ(w/‖w‖), or None where that is one constant.
    """

    kind: str = "normal"
    scale_invariant: bool = False

    def components(self, dim: int) -> int:
        """Random numbers that one gradient in `dim` dimensions takes; refuses a dimension that does not fit."""
        return dim

    def constant_trace(self, dim: int) -> float | None:
        """Tr Σ at unit norm where it is the same in every direction, else None."""
        return None

    def apply(self, w: ArrayLike, z: ArrayLike) -> NDArray[Any]:
        """ξ(w, z), shape (..., d), for w (..., d) and z (..., components)."""
        raise NotImplementedError

    def covariance(self, w: ArrayLike) -> NDArray[Any]:
        """Σ(w), shape (..., d, d)."""
        raise NotImplementedError

    def trace(self, w: ArrayLike) -> NDArray[Any]:
        """Tr Σ(w), shape (...,)."""
        return np.trace(self.covariance(w), axis1=-2, axis2=-1)

    @property
    def kernel(self) -> BlockFunction | None:
        """Adds ξ to a block of gradients."""
        return None

    @property
    def trace_kernel(self) -> BlockFunction | None:
        """Tr Σ at unit norm, one value per lane."""
        return None

    @property
    def gaussian(self) -> GradientNoise | None:
        """The Gaussian noise of the same covariance, where one is known."""
        return None


class FormulaNoise(GradientNoise):
    """A noise that is one formula on rows, ξ = formula(w, z, *constants); `apply` and the kernel are two readings of it.

    A subclass states `formula`, `constants`, `kind` and `scale_invariant`. Unless told otherwise z is normal, one number a
    component, and ξ is linear in it.

    Examples
    --------
    >>> class Multiplicative(FormulaNoise):
    ...     formula = staticmethod(lambda w, z: w * z)
    >>> Multiplicative().covariance([1.0, 2.0])
    array([[1., 0.],
           [0., 4.]])
    """

    formula: ClassVar[Callable[..., Any]]

    @property
    def constants(self) -> tuple[Any, ...]:
        """What the formula takes besides w and z: numbers and arrays."""
        return ()

    def apply(self, w: ArrayLike, z: ArrayLike) -> NDArray[np.float64]:
        """ξ(w, z), shape (..., d), for weights (..., d) and draws (..., components)."""
        weights = self._weights(w)
        found = self._formula(weights, np.asarray(z, dtype=np.float64), *self.constants)
        return np.broadcast_to(found, np.broadcast_shapes(found.shape, weights.shape))

    def covariance(self, w: ArrayLike) -> NDArray[np.float64]:
        """Σ(w) = A Aᵀ where ξ = A z, shape (..., d, d)."""
        weights = self._weights(w)
        root = self.apply(weights[..., None, :], np.eye(self.components(weights.shape[-1])))
        return np.swapaxes(root, -1, -2) @ root

    @property
    def kernel(self) -> BlockFunction:
        """f(W, Z, G, S, *constants): adds ξ to G."""
        return row_kernel(self._formula, self.constants, draws=True, add=True)

    @property
    def _formula(self) -> Callable[..., Any]:
        return self.formula

    def _weights(self, w: ArrayLike) -> NDArray[np.float64]:
        weights = np.asarray(w, dtype=np.float64)
        return nonzero("w", weights, type(self).__name__) if self.scale_invariant else weights
