r"""A linear classifier with batch normalisation, scale-invariant in its weights.

.. math:: z_i = x_i\cdot w, \quad u_i = \frac{z_i - \bar z}{s}, \quad s^2 = \overline{(z - \bar z)^2}, \qquad
          L_b(w) = \frac1B\sum_{i \in b}\varphi(y_i\,\kappa\,u_i), \quad L = \text{mean of } L_b

with the statistics of the batch b itself, no ε, a fixed gain κ and no bias. With a_i = ∂L_b/∂u_i and J = ∂u/∂z

.. math:: g = \partial L_b/\partial z &= Ja = (a - \bar a - u\,\overline{au})/s, \\
          \partial^2 L_b/\partial z^2 &= J\,\mathrm{diag}(\partial a_i/\partial u_i)\,J
                                          - (g u^\top + u g^\top + (u\cdot a)J)/(Bs).

The data are cut into batches once. A stochastic gradient is that of one batch, drawn uniformly: so its mean is ∇L
exactly, and every L_b is scale-invariant (the setting of EXP; EXP-12 b).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from ..engine import BlockFunction
from ..noises.minibatch import Minibatch
from ..validation import finite_array, integer, number
from .bn_linear_kernels import batch_gradient, drawn_batch_gradient, mean_value
from .loss import Loss

__all__ = ["BatchNormLinear"]

LINKS = ("logistic", "squared_hinge")


class BatchNormLinear(Loss):
    """Batch-normalised linear classifier on a data set.

    Parameters
    ----------
    inputs : array_like (n, d)
        Samples x_i.
    labels : array_like (n,)
        y_i = ±1.
    batch_size : int, optional
        B ≥ 3 that divides n: consecutive samples make a batch, and the gradient is that of a random one. Without it
        one batch holds all the data and the gradient is exact. (For B = 2 every u_i is ±1: the gradient is 0.)
    link : {"logistic", "squared_hinge"}
        φ(t) = log(1 + e^{−t}), or ½ max(0, margin − t)².
    margin : float
        Of the squared hinge.
    gain : float
        κ > 0, the fixed scale after normalisation.

    Raises
    ------
    ValueError
        For labels other than ±1, a batch size that does not divide n, or inputs all equal within a batch.

    Notes
    -----
    Where z is constant within a batch the loss is not defined, and the gradient is NaN or infinite.

    Examples
    --------
    >>> loss = BatchNormLinear([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.0]], [-1, -1, 1, 1], link="squared_hinge")
    >>> float(loss.value([1.0, 0.0])) == float(loss.value([4.0, 0.0]))
    True
    """

    def __init__(self, inputs: ArrayLike, labels: ArrayLike, *, batch_size: int | None = None, link: str = "logistic",
                 margin: float = 1.0, gain: float = 1.0) -> None:
        data = finite_array("inputs", inputs, ndim=2)
        n, dim = data.shape
        signs = finite_array("labels", labels, shape=(n,))
        if not np.isin(signs, (-1.0, 1.0)).all():
            raise ValueError(f"labels: expected -1 or +1, got {np.unique(signs)[:4]}; for 0 and 1 use 2 * labels - 1")
        if link not in LINKS:
            raise ValueError(f"link: expected one of {', '.join(LINKS)}, got {link!r}")
        size = integer("batch_size", n if batch_size is None else batch_size, at_least=3,
                       remedy="of fewer samples batch normalisation keeps only signs")
        if n % size:
            raise ValueError(f"batch_size: expected a divisor of the {n} samples, got {size}; drop {n % size} samples")
        self.inputs, self.labels = data.reshape(n // size, size, dim).copy(), signs.reshape(n // size, size).copy()
        if (np.ptp(self.inputs, axis=1).max(axis=-1) == 0.0).any():
            raise ValueError("inputs: expected samples that differ within each batch, got equal ones; reorder them")
        self.link, self.margin, self.gain = link, number("margin", margin), number("gain", gain, above=0)
        noise = None if batch_size is None else Minibatch(self.sample_gradients, n // size, 1, True)
        super().__init__(dim, noise)

    def value(self, w: ArrayLike) -> NDArray[np.float64]:
        """L(w), shape (...,), for weights (..., d)."""
        u, _ = self._normalised(w)
        return self._link(self.labels * self.gain * u, 0).mean(axis=(-2, -1))

    def gradient(self, w: ArrayLike) -> NDArray[np.float64]:
        """∇L(w), shape (..., d), for weights (..., d)."""
        return self.sample_gradients(w).mean(axis=0)

    def sample_gradients(self, w: ArrayLike) -> NDArray[np.float64]:
        """∇L_b(w) for every batch, shape (n_batches, ..., d)."""
        u, std = self._normalised(w)
        a = self._outer_slope(u)
        slopes = (a - a.mean(axis=-1, keepdims=True) - u * (a * u).mean(axis=-1, keepdims=True)) / std
        return np.moveaxis(np.einsum("...bi,bik->...bk", slopes, self.inputs), -2, 0)

    def hessian(self, w: ArrayLike) -> NDArray[np.float64]:
        """∇²L(w), shape (d, d), for weights (d,)."""
        normalised, std = self._normalised(w)
        size = normalised.shape[-1]
        total = np.zeros((self.dim, self.dim))
        for x, y, u, s in zip(self.inputs, self.labels, normalised, std[:, 0], strict=True):
            a = self.gain * y * self._link(self.gain * y * u, 1) / size
            curvature = np.diag(self.gain**2 * self._link(self.gain * y * u, 2) / size)
            jacobian = (np.eye(size) - 1.0 / size - np.outer(u, u) / size) / s
            cross = np.outer(jacobian @ a, u)
            total += x.T @ (jacobian @ curvature @ jacobian - (cross + cross.T + (u @ a) * jacobian) / (size * s)) @ x
        return total / len(self.inputs)

    def symbolic(self, w: Sequence[sympy.Expr]) -> sympy.Expr:
        """L with exact rational data; the squared hinge as a Piecewise."""
        weights, batches = self._symbols(w), []
        for x, y in zip(self.inputs, self.labels, strict=True):
            z = sympy.Matrix(*x.shape, [sympy.Rational(float(v)) for v in x.flat]) * weights
            size = len(y)
            mean = sum(z) / size
            std = sympy.sqrt(sum((zi - mean) ** 2 for zi in z) / size)
            ts = [int(yi) * sympy.Rational(self.gain) * (zi - mean) / std for zi, yi in zip(z, y, strict=True)]
            gap = sympy.Rational(self.margin)
            batches.append(sum(sympy.log(1 + sympy.exp(-t)) if self.link == "logistic" else
                               sympy.Piecewise(((gap - t) ** 2 / 2, t < gap), (0, True)) for t in ts) / size)
        return sum(batches) / len(batches)

    @property
    def gradient_kernel(self) -> BlockFunction:
        """f(W, G, S, *constants): G ← ∇L over all batches."""
        return self._kernel(batch_gradient)

    @property
    def value_kernel(self) -> BlockFunction:
        """f(W, out, S, *constants): out ← L over all batches."""
        return self._kernel(mean_value)

    @property
    def stochastic_gradient_kernel(self) -> BlockFunction | None:
        """f(W, U, G, S, *constants): G ← ∇L_b of a drawn batch; None where there is but one."""
        return None if self.noise is None else self._kernel(drawn_batch_gradient)

    def _kernel(self, function: object) -> BlockFunction:
        constants = (self.inputs, self.labels, self.gain, float(LINKS.index(self.link)), self.margin)
        return BlockFunction(function, constants, scratch=2 * self.labels.shape[1] + 3)

    def _normalised(self, w: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """u (..., n_batches, B) and s (..., n_batches, 1)."""
        z = np.einsum("bik,...k->...bi", self.inputs, self._weights(w))
        centred = z - z.mean(axis=-1, keepdims=True)
        std = np.sqrt((centred**2).mean(axis=-1, keepdims=True))
        return centred / std, std

    def _outer_slope(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.labels * self.gain * self._link(self.labels * self.gain * u, 1) / self.labels.shape[1]

    def _link(self, t: NDArray[np.float64], derivative: int) -> NDArray[np.float64]:
        """φ, φ' or φ'' at t."""
        if self.link == "logistic":
            sigma = 1.0 / (1.0 + np.exp(t))
            return (np.logaddexp(0.0, -t), -sigma, sigma * (1.0 - sigma))[derivative]
        short = np.maximum(0.0, self.margin - t)
        return (0.5 * short**2, -short, (short > 0.0).astype(np.float64))[derivative]

    def __repr__(self) -> str:
        batches, size = self.labels.shape
        hinge = f", margin={self.margin:g}" if self.link == "squared_hinge" else ""
        return (f"BatchNormLinear({batches} x {size} samples, dim={self.dim}, link={self.link!r}{hinge}, "
                f"gain={self.gain:g})")
