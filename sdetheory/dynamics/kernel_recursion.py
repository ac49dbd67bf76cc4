r"""Gradient descent on the two-layer linear net by residuals, NTK and one norm: an exact reduction as a process (CAT-6).

.. math:: \tilde f' = \tilde f - \eta\Theta\mu + \tfrac{\eta^2}n\,f_\zeta\,g, \qquad \mu = \tilde f/m, \quad g = XX^\top\mu,
          \quad f_\zeta = \mu\cdot f \\
          \Theta' = \Theta - \tfrac\eta n\bigl[2f_\zeta XX^\top + fg^\top + gf^\top\bigr]
                    + \tfrac{\eta^2}{n^2}\bigl[s\,XX^\top + \|v\|^2gg^\top\bigr] \\
          \|v\|'^2 = \|v\|^2 - 2\eta f_\zeta + \tfrac{\eta^2}n s, \qquad s = n\,\mu\cdot\Theta\mu - \|v\|^2\,\mu\cdot g

m + m² + 1 numbers in the place of n(d + 1) weights. Clock: steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..engine import Observer, Program, Steps, block_function, copy_row, per_lane
from ..losses import TwoLayerLinear
from ..process import Observed, Process, about
from ..starts import Reduction
from ..validation import Bounds, finite_array, number

__all__ = ["KernelRecursion"]


@block_function
def recursion_steps(X, S, n_steps, lr, gram, targets, width):
    """(f̃, Θ, ‖v‖²) → (f̃', Θ', ‖v‖'²), n_steps times; S holds g, Θμ, then f_ζ and s."""
    m, lanes = targets.size, X.shape[1]
    residual, kernel, sq_readout = X[:m], X[m:m + m * m], X[m + m * m]
    g, kernel_mu, f_zeta, s = S[:m], S[m:2 * m], S[2 * m], S[2 * m + 1]
    for _ in range(n_steps):
        f_zeta[:] = 0.0
        s[:] = 0.0
        for a in range(m):
            g[a] = 0.0
            kernel_mu[a] = 0.0
            for b in range(m):
                for lane in range(lanes):
                    g[a, lane] += gram[a, b] * residual[b, lane] / m
                    kernel_mu[a, lane] += kernel[a * m + b, lane] * residual[b, lane] / m
            for lane in range(lanes):
                mu = residual[a, lane] / m
                f_zeta[lane] += mu * (residual[a, lane] + targets[a])
                s[lane] += mu * (width * kernel_mu[a, lane] - sq_readout[lane] * g[a, lane])
        for a in range(m):
            for b in range(m):
                for lane in range(lanes):
                    rate = per_lane(lr, lane) / width
                    cross = (residual[a, lane] + targets[a]) * g[b, lane] + g[a, lane] * (residual[b, lane] + targets[b])
                    kernel[a * m + b, lane] += (
                        rate * rate * (gram[a, b] * s[lane] + sq_readout[lane] * g[a, lane] * g[b, lane])
                        - rate * (2.0 * gram[a, b] * f_zeta[lane] + cross))
        for a in range(m):
            for lane in range(lanes):
                eta = per_lane(lr, lane)
                residual[a, lane] += eta * eta / width * f_zeta[lane] * g[a, lane] - eta * kernel_mu[a, lane]
        for lane in range(lanes):
            eta = per_lane(lr, lane)
            sq_readout[lane] += eta * eta / width * s[lane] - 2.0 * eta * f_zeta[lane]


@block_function
def loss_of_residual(residual, out):
    """out ← ‖f̃‖²/(2m)."""
    for lane in range(out.size):
        out[lane] = 0.0
    for a in range(residual.shape[0]):
        for lane in range(out.size):
            out[lane] += residual[a, lane] * residual[a, lane] / (2.0 * residual.shape[0])


class KernelRecursion(Process, Reduction):
    """The recursion of residuals f̃ (m), NTK Θ (m²) and ‖v‖² (1) that gradient descent on a two-layer linear net obeys exactly.

    Parameters
    ----------
    loss : losses.TwoLayerLinear
        Gives samples, targets and width; without minibatches.
    lr : float
        η > 0; may be swept.

    Observables: `residual` (dim `sample`), `kernel` (dim `pair`: Θ row by row), `sq_readout`, `loss`.

    Examples
    --------
    >>> import sdetheory as sdt
    >>> loss = sdt.losses.TwoLayerLinear([[1.0, 0.0], [0.0, 2.0]], [1.0, -1.0], width=64)
    >>> rule = KernelRecursion(loss, lr=0.5)
    >>> start = rule.reduce(loss.sample_weights().sample(3, rng=0))
    >>> run = sdt.simulate(rule, start, n_steps=200, n_paths=3, observe=["loss", "kernel"])
    >>> run.kernel.shape, bool((run.loss < 1e-9).all())
    ((3, 1, 4), True)
    """

    hyperparameters: ClassVar[tuple[str, ...]] = ("lr",)
    observables = ("residual", "kernel", "sq_readout", "loss")
    saved = ("residual", "kernel", "sq_readout")
    parameters: ClassVar = {"lr": Bounds(above=0.0)}

    def __init__(self, loss: TwoLayerLinear, *, lr: float) -> None:
        if not isinstance(loss, TwoLayerLinear):
            raise TypeError(f"loss: expected a TwoLayerLinear, got {loss!r}; no other net closes in its outputs and NTK")
        if loss.noise is not None:
            raise ValueError(f"loss: expected exact gradients, got {loss!r}; leave out batch_size")
        self.loss = loss
        self.lr = number("lr", lr, above=0)

    @property
    def dim(self) -> int:
        """Numbers in a state, m + m² + 1."""
        return sum(self._state.values())

    @property
    def n_weights(self) -> int:
        """Weights of the net, n(d + 1)."""
        return self.loss.dim

    def reduce(self, w: ArrayLike) -> NDArray[np.float64]:
        """(f̃, Θ row by row, ‖v‖²), shape (..., m + m² + 1), of the weights (..., n(d + 1))."""
        w = finite_array("w", w)
        if w.shape[-1:] != (self.loss.dim,):
            raise ValueError(f"w: expected weights of shape (..., {self.loss.dim}), got {w.shape}")
        v = w[..., -self.loss.width:]
        kernel = self.loss.kernel(w).reshape(*w.shape[:-1], -1)
        return np.concatenate([self.loss.output(w) - self.loss.targets, kernel, np.sum(v * v, axis=-1)[..., None]], axis=-1)

    def schedule_table(self, n_steps: int, dt: float = 1.0, t0: float = 0.0) -> NDArray[np.float64]:
        """The learning rate, shape (1, 1): it is constant."""
        return np.array([[self.lr]])

    def write(self, observed: Mapping[str, Observed], swept: tuple[str, ...]) -> Program:
        """One block function; nothing is drawn."""
        m, observers = self.loss.targets.size, {}
        s = Steps(self._state, self.hyperparameters, swept)
        gram, targets, width = map(s.constant, (self.loss.inputs @ self.loss.inputs.T, self.loss.targets, float(self.loss.width)))
        s.call(recursion_steps, s.whole, s.scratch(2 * m + 2), s.n_steps, s.lr, gram, targets, width)
        sizes = {"residual": (m, "sample"), "kernel": (m * m, "pair")}
        for name, what in observed.items():
            rows, dim = sizes.get(what, (1, None)) if isinstance(what, str) else (1, None)
            o = observers[name] = Observer(self._state, self.hyperparameters, swept, rows=rows, dim=dim)
            if what == "loss":
                o.call(loss_of_residual, o.residual, o.out)
            elif what == "sq_readout":
                o.call(copy_row, o.sq_readout[0], o.out)
            elif isinstance(what, str):
                o.copy(getattr(o, what), o.out)
            else:
                o.call_per_lane(what, o.whole_state, o.out)
        return s.program(observers, about(observed))

    @property
    def _state(self) -> dict[str, int]:
        m = self.loss.targets.size
        return {"residual": m, "kernel": m * m, "sq_readout": 1}

    def __repr__(self) -> str:
        return f"KernelRecursion({self.loss!r}, lr={self.lr!r})"
