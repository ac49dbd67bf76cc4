r"""What a loss is: a function :math:`L : \mathbb R^d \to \mathbb R` with derivatives, kernels and gradient noise.

It is *scale-invariant* if :math:`L(cw) = L(w)` for c > 0; then (EXP-1)

.. math:: \langle\nabla L(w), w\rangle = 0, \qquad \nabla L(cw) = c^{-1}\nabla L(w), \qquad
          \nabla^2 L(w)\,w = -\nabla L(w).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from ..engine import BlockFunction
from ..noises.gradient_noise import GradientNoise
from ..starts import UniformSphere
from ..validation import explain_construction, explained, finite_array, integer, nonzero

__all__ = ["Loss"]


class Loss(ABC):
    """A loss on R^dim: its readings in NumPy (the oracle), in SymPy and as kernels; `FormulaLoss` makes them of one formula.

    Parameters
    ----------
    dim : int
        Number of weights.
    noise : GradientNoise, optional
        Of the stochastic gradient; without one the gradient is exact.
    """

    scale_invariant: ClassVar[bool] = True
    #: what makes a loss of a formula; `losses.own`, which knows how, puts it here
    _of_formula: ClassVar[Callable[..., Loss]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        explain_construction(cls)

    @explained
    def __init__(self, dim: int, noise: GradientNoise | None = None) -> None:
        self.dim = integer("dim", dim, at_least=1)
        if noise is not None:
            if not isinstance(noise, GradientNoise):
                raise TypeError(f"noise: expected a gradient noise or None, got {noise!r}; "
                                "pass e.g. noise=noises.Tangent(0.5)")
            noise.components(self.dim)
        self.noise = noise

    @classmethod
    @explained
    def of(cls, formula: Callable[..., Any] | sympy.Expr, symbols: Sequence[sympy.Symbol] | None = None, *, dim: int | None = None,
           noise: GradientNoise | None = None, scale_invariant: bool | None = None) -> Loss:
        """A loss of one's own, with all its readings: NumPy, SymPy, kernels, and the derived gradient and Hessian.

        Parameters
        ----------
        formula : callable (w) or SymPy expression
            L(w): a function of a row of weights, written with `total(x)` for a sum over components, arithmetic and NumPy's
            functions (see `engine.rows`), or an expression in `symbols`.
        symbols : sequence of symbols
            For an expression: one a weight, in order.
        dim : int
            For a function: d ≥ 1.
        noise : GradientNoise, optional
            Of the stochastic gradient.
        scale_invariant : bool, optional
            Whether L(cw) = L(w) for c > 0; found out unless told.

        Raises
        ------
        TypeError, ValueError
            For a formula that has something without a kernel, or `scale_invariant=True` for a loss that is not.

        Examples
        --------
        >>> from sdetheory.engine.rows import total
        >>> loss = Loss.of(lambda w: total(w**4) / total(w**2)**2, dim=2)
        >>> loss.scale_invariant, float(loss.value([1.0, 1.0])), loss.gradient([1.0, 0.0])
        (True, 0.5, array([0., 0.]))
        >>> x, y = sympy.symbols("x y")
        >>> Loss.of(x**2 * y + y**4, [x, y])
        Loss.of(x**2*y + y**4, dim=2)
        """
        return cls._of_formula(formula, symbols, dim=dim, noise=noise, scale_invariant=scale_invariant)

    @abstractmethod
    def value(self, w: ArrayLike) -> NDArray[np.float64]:
        """L(w), shape (...,), for weights (..., d)."""

    @abstractmethod
    def gradient(self, w: ArrayLike) -> NDArray[np.float64]:
        """∇L(w), shape (..., d), for weights (..., d)."""

    @abstractmethod
    def hessian(self, w: ArrayLike) -> NDArray[np.float64]:
        """∇²L(w), shape (d, d), for weights (d,)."""

    @abstractmethod
    def symbolic(self, w: Sequence[sympy.Expr]) -> sympy.Expr:
        """L as an expression in the d symbols `w`."""

    @property
    @abstractmethod
    def gradient_kernel(self) -> BlockFunction:
        """f(W, G, S, *constants): G ← ∇L, blocks (d, lanes)."""

    @property
    @abstractmethod
    def value_kernel(self) -> BlockFunction:
        """f(W, out, S, *constants): out ← L, one value a lane."""

    @property
    def stochastic_gradient_kernel(self) -> BlockFunction | None:
        """f(W, Z, G, S, *constants): G ← ∇L(w) + ξ from a draw Z, where that needs no exact gradient; else None."""
        return None

    @property
    def noise_trace(self) -> float:
        """σ² = Tr Σ(ŵ) at unit norm, 0 without noise.

        Raises
        ------
        ValueError
            If Tr Σ at unit norm depends on the direction, or the noise has no unit norm to speak of.
        """
        if self.noise is None:
            return 0.0
        if not self.noise.scale_invariant:
            raise ValueError(f"noise_trace: expected scale-invariant noise (ILR-1), got {self.noise!r}; "
                             "use noises.Tangent, or noise.trace(w) at a point")
        trace = self.noise.constant_trace(self.dim)
        if trace is None:
            raise ValueError(f"noise_trace: expected noise of one trace in every direction, got {self.noise!r}; "
                             "use noise.trace(w) at a point, or Tangent of one scale")
        return trace

    def sample_sphere(self, radius: float = 1.0) -> UniformSphere:
        """The uniform distribution on the sphere of this radius, as a start for `simulate`."""
        return UniformSphere(self.dim, radius)

    def check_start(self, w0: ArrayLike) -> None:
        """Refuse weights (..., d) that no process can start from: not finite, or 0 for a scale-invariant loss."""
        self._weights(finite_array("w0", w0), "w0")

    def _weights(self, w: ArrayLike, name: str = "w") -> NDArray[np.float64]:
        """The weights as an array (..., d); refuses the point 0 for a loss that is not defined there."""
        array = np.asarray(w, dtype=np.float64)
        if array.ndim == 0 or array.shape[-1] != self.dim:
            raise ValueError(f"{name}: expected shape (..., {self.dim}), got {array.shape}; weights go last")
        return nonzero(name, array, type(self).__name__) if self.scale_invariant else array

    def _symbols(self, w: Sequence[sympy.Expr]) -> sympy.Matrix:
        if len(w) != self.dim:
            raise ValueError(f"w: expected {self.dim} symbols, got {len(w)}; one for each weight")
        return sympy.Matrix(list(w))
