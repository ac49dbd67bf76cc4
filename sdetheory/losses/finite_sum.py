r"""The mean of n per-sample losses, with gradients from minibatches drawn with replacement.

.. math:: L(w) = \frac1n\sum_{j=1}^n L_j(w), \qquad
          g(w) = \frac1B\sum_{b=1}^B \nabla L_{j_b}(w), \quad j_b \text{ uniform}

The losses are of one class, which knows the mean of its kind and a kernel that reads the chosen samples from one array.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from ..engine import BlockFunction
from ..noises.minibatch import Minibatch
from ..validation import integer
from .loss import Loss

__all__ = ["FiniteSum"]


class FiniteSum(Loss):
    """The mean of per-sample losses, with minibatch noise.

    Parameters
    ----------
    losses : sequence of Loss
        n ≥ 2 losses without noise, of one class and one dimension; the class has `mean_of` and `minibatch_kernel`
        (`RayleighQuotient`, `SphereQuartic`).
    batch_size : int
        B ≥ 1 samples a gradient.

    Raises
    ------
    TypeError, ValueError
        If the losses are not of one such class or differ in dimension.

    Examples
    --------
    >>> from sdetheory.losses import RayleighQuotient
    >>> loss = FiniteSum([RayleighQuotient([2.0, 0.0]), RayleighQuotient([0.0, 1.0])])
    >>> float(loss.value([1.0, 0.0]))
    0.5
    >>> float(loss.noise.trace([1.0, 1.0]).round(12))
    0.28125
    """

    noise: Minibatch

    def __init__(self, losses: Sequence[Any], batch_size: int = 1) -> None:
        self.losses = tuple(losses)
        remedy = "give two or more losses such as RayleighQuotient"
        if len(self.losses) < 2:
            raise ValueError(f"losses: expected two or more, got {len(self.losses)}; {remedy}")
        kind = type(self.losses[0])
        if not (hasattr(kind, "mean_of") and hasattr(kind, "minibatch_kernel")):
            raise TypeError(f"losses: expected a class with mean_of and minibatch_kernel, got {kind.__name__}; "
                            f"{remedy}")
        for loss in self.losses:
            if type(loss) is not kind or loss.dim != self.losses[0].dim:
                raise ValueError(f"losses: expected losses of one class and dimension, got {self.losses[0]!r} "
                                 f"and {loss!r}; {remedy}")
            if loss.noise is not None:
                raise ValueError(f"losses: expected losses without noise, got {loss!r}; the minibatch is the noise")
        batch = integer("batch_size", batch_size, at_least=1)
        self.scale_invariant = self.losses[0].scale_invariant  # type: ignore[misc]
        super().__init__(self.losses[0].dim,
                         Minibatch(self.sample_gradients, len(self.losses), batch, self.scale_invariant))
        self.mean = kind.mean_of(self.losses)

    def sample_gradients(self, w: ArrayLike) -> NDArray[np.float64]:
        """∇L_j(w) for every j, shape (n, ..., d)."""
        return np.stack([loss.gradient(w) for loss in self.losses])

    def value(self, w: ArrayLike) -> NDArray[np.float64]:
        """L(w), shape (...,), for weights (..., d)."""
        return self.mean.value(w)

    def gradient(self, w: ArrayLike) -> NDArray[np.float64]:
        """∇L(w), the mean over all samples, shape (..., d)."""
        return self.mean.gradient(w)

    def hessian(self, w: ArrayLike) -> NDArray[np.float64]:
        """∇²L(w), shape (d, d)."""
        return self.mean.hessian(w)

    def symbolic(self, w: Sequence[sympy.Expr]) -> sympy.Expr:
        """The mean of the losses' expressions."""
        return sum(loss.symbolic(w) for loss in self.losses) / len(self.losses)

    @property
    def gradient_kernel(self) -> BlockFunction:
        """f(W, G, S, *constants): G ← ∇L over all samples."""
        return self.mean.gradient_kernel

    @property
    def value_kernel(self) -> BlockFunction:
        """f(W, out, S, *constants): out ← L over all samples."""
        return self.mean.value_kernel

    @property
    def stochastic_gradient_kernel(self) -> BlockFunction:
        """f(W, U, G, S, *constants): G ← the minibatch gradient for the uniforms U (B, lanes)."""
        return type(self.losses[0]).minibatch_kernel(self.losses, self.noise.batch_size)

    def __repr__(self) -> str:
        return f"FiniteSum({len(self.losses)} x {type(self.losses[0]).__name__}, batch_size={self.noise.batch_size})"
