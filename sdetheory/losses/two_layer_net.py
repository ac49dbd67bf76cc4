r"""Two-layer nets without biases on m samples with squared error: what the linear and the ReLU net share (CAT-6, CAT-7).

.. math:: f(x) = \frac{1}{\sqrt n}\sum_{i=1}^n v_i\,\sigma(U_i\cdot x), \quad \sigma(z) = \max(z, az), \qquad
          L = \frac1{2m}\sum_\alpha (f(x_\alpha) - y_\alpha)^2

with a = 1 (linear) or 0 (ReLU), U ∈ R^{n×d}. The weights are w = (U row by row, v), n(d + 1) of them. A minibatch of B
samples is drawn with replacement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from ..engine import BlockFunction
from ..noises.minibatch import Minibatch
from ..starts import NormalWeights
from ..validation import finite_array, integer
from .loss import Loss
from .two_layer_kernels import full_gradient, mean_loss, minibatch_gradient

__all__ = ["TwoLayerLinear", "TwoLayerNet", "TwoLayerReLU"]


class TwoLayerNet(Loss):
    """A two-layer net with squared error on m samples: `TwoLayerLinear` and `TwoLayerReLU`.

    Parameters
    ----------
    inputs : array_like (m, d)
        Samples x_α, one a row.
    targets : array_like (m,)
        y_α.
    width : int
        n ≥ 1; there are n(d + 1) weights, U row by row, then v.
    batch_size : int, optional
        B ≥ 1 samples a gradient, drawn with replacement; without it the gradient is exact.
    """

    scale_invariant = False
    leak: ClassVar[float]

    def __init__(self, inputs: ArrayLike, targets: ArrayLike, width: int, *, batch_size: int | None = None) -> None:
        self.inputs = finite_array("inputs", inputs, ndim=2, remedy="one row a sample").copy()
        m, self.n_inputs = self.inputs.shape
        if m < 1 or self.n_inputs < 1:
            raise ValueError(f"inputs: expected at least one sample of at least one number, got shape {self.inputs.shape}")
        self.targets = finite_array("targets", targets, shape=(m,), remedy="one number for each row of inputs").copy()
        self.width = integer("width", width, at_least=1)
        noise = None if batch_size is None else Minibatch(
            self.sample_gradients, m, integer("batch_size", batch_size, at_least=1), False)
        super().__init__(self.width * (self.n_inputs + 1), noise)

    def sample_weights(self, scale: float = 1.0) -> NormalWeights:
        """Independent normal weights, as a start for `simulate`; the paper's have scale 1."""
        return NormalWeights(self.dim, scale)

    def output(self, w: ArrayLike, inputs: ArrayLike | None = None) -> NDArray[np.float64]:
        """f(x), shape (..., m), for weights (..., dim) and inputs (m, d): the samples unless told."""
        x = self.inputs if inputs is None else finite_array("inputs", inputs, shape=(None, self.n_inputs))
        u, v = self._layers(w)
        z = np.einsum("...nk,mk->...mn", u, x)
        return np.einsum("...mn,...n->...m", np.where(z > 0, z, self.leak * z), v) / np.sqrt(self.width)

    def jacobian(self, w: ArrayLike) -> NDArray[np.float64]:
        """∂f(x_α)/∂w, shape (..., m, dim)."""
        u, v = self._layers(w)
        z = np.einsum("...nk,mk->...mn", u, self.inputs)
        gate = np.where(z > 0, 1.0, self.leak)
        first = (gate * v[..., None, :])[..., None] * self.inputs[:, None, :]
        return np.concatenate([first.reshape(*z.shape[:-1], -1), gate * z], axis=-1) / np.sqrt(self.width)

    def kernel(self, w: ArrayLike) -> NDArray[np.float64]:
        """The NTK Θ(x_α, x_β), shape (..., m, m)."""
        slopes = self.jacobian(w)
        return slopes @ np.swapaxes(slopes, -1, -2)

    def curvature(self, w: ArrayLike) -> NDArray[np.float64]:
        """The top eigenvalue of Θ/m, shape (...,): the top Hessian eigenvalue where every residual is 0."""
        return np.linalg.eigvalsh(self.kernel(w))[..., -1] / len(self.inputs)

    def value(self, w: ArrayLike) -> NDArray[np.float64]:
        """L(w), shape (...,), for weights (..., dim)."""
        return 0.5 * np.mean((self.output(w) - self.targets) ** 2, axis=-1)

    def gradient(self, w: ArrayLike) -> NDArray[np.float64]:
        """∇L(w), shape (..., dim)."""
        return self.sample_gradients(w).mean(axis=0)

    def sample_gradients(self, w: ArrayLike) -> NDArray[np.float64]:
        """The gradients of ½(f(x_α) − y_α)², shape (m, ..., dim)."""
        residuals = self.output(w) - self.targets
        return np.moveaxis(residuals[..., None] * self.jacobian(w), -2, 0)

    def hessian(self, w: ArrayLike) -> NDArray[np.float64]:
        """∇²L(w), shape (dim, dim), for weights (dim,) off the kinks of σ."""
        u, _ = self._layers(w)
        n, d, m = self.width, self.n_inputs, len(self.inputs)
        gate = np.where(self.inputs @ u.T > 0, 1.0, self.leak)
        slopes = self.jacobian(w)
        total = slopes.T @ slopes / m
        mixed = np.einsum("m,mn,mk->nk", self.output(w) - self.targets, gate, self.inputs) / (m * np.sqrt(n))
        for i in range(n):
            total[i * d:(i + 1) * d, n * d + i] += mixed[i]
            total[n * d + i, i * d:(i + 1) * d] += mixed[i]
        return total

    def symbolic(self, w: Sequence[sympy.Expr]) -> sympy.Expr:
        """L with exact rational data; σ as a Piecewise where it has a kink."""
        symbols, n, d = self._symbols(w), self.width, self.n_inputs
        total = sympy.S.Zero
        for x, y in zip(self.inputs, self.targets, strict=True):
            output = sympy.S.Zero
            for i in range(n):
                z = sum(sympy.Rational(float(x[k])) * symbols[i * d + k] for k in range(d))
                output += symbols[n * d + i] * (z if self.leak == 1.0 else sympy.Piecewise(
                    (z, z > 0), (sympy.Rational(self.leak) * z, True)))
            total += (output / sympy.sqrt(n) - sympy.Rational(float(y))) ** 2
        return total / (2 * len(self.inputs))

    @property
    def gradient_kernel(self) -> BlockFunction:
        """f(W, G, S, *constants): G ← ∇L over all samples."""
        return BlockFunction(full_gradient, self._constants, scratch=len(self.inputs) + 1)

    @property
    def value_kernel(self) -> BlockFunction:
        """f(W, out, S, *constants): out ← L over all samples."""
        return BlockFunction(mean_loss, self._constants, scratch=2)

    @property
    def stochastic_gradient_kernel(self) -> BlockFunction | None:
        """f(W, U, G, S, *constants): G ← the minibatch gradient for the uniforms U (B, lanes)."""
        return None if self.noise is None else BlockFunction(minibatch_gradient, self._constants, scratch=1)

    @property
    def _constants(self) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        return self.inputs, self.targets, self.leak

    def _layers(self, w: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        array, split = self._weights(w), self.width * self.n_inputs
        return array[..., :split].reshape(*array.shape[:-1], self.width, self.n_inputs), array[..., split:]

    def __repr__(self) -> str:
        m, d = self.inputs.shape
        batch = f", batch_size={self.noise.batch_size}" if isinstance(self.noise, Minibatch) else ""
        return f"{type(self).__name__}({m} samples of {d} inputs, width={self.width}{batch})"


class TwoLayerLinear(TwoLayerNet):
    """A two-layer linear net, a = 1 (CAT-6); parameters as for `TwoLayerNet`.

    Examples
    --------
    >>> loss = TwoLayerLinear([[1.0]], [0.0], width=4)
    >>> loss.output([1.0, 1.0, 1.0, 1.0, 3.0, 1.0, 0.0, 0.0])
    array([2.])
    """

    leak = 1.0


class TwoLayerReLU(TwoLayerNet):
    """A two-layer ReLU net, a = 0 (CAT-7), with slope 0 at the kink; parameters as for `TwoLayerNet`.

    Examples
    --------
    >>> loss = TwoLayerReLU([[1.0]], [0.0], width=4)
    >>> loss.output([1.0, -1.0, 1.0, -1.0, 3.0, 1.0, 1.0, 1.0])
    array([2.])
    """

    leak = 0.0
