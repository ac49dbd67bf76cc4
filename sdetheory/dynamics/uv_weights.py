r"""Gradient descent on all 2n weights of the uv model, fast (CAT-1): one pass over them a step, or two products.

.. math:: u' = u - cfv, \quad v' = v - cfu, \quad c = \eta/\sqrt n; \qquad
          u_t \pm v_t = \Bigl(\prod_{s<t}(1 \mp cf_s)\Bigr)(u_0 \pm v_0)

Clock: steps.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import CompiledLater, Name, Observer, Program, Steps, Writer, block_function, first_divergence, per_lane
from ..process import Observed, about
from ..validation import Bounds
from .uv_maps import SumDifferenceMap, UVModelProcess

__all__ = ["UVDescent", "UVProducts"]


@block_function
def product_steps(X, D, step, n_steps, lr, width):
    """Rows ‖p‖², ‖q‖², ∏(1 − cf), ∏(1 + cf), n_steps times; the weights they multiply stay as they are."""
    p, q, shrunk, grown = X[0], X[1], X[2], X[3]
    for k in range(n_steps):
        for lane in range(p.size):
            cf = per_lane(lr, lane) * (p[lane] - q[lane]) / (4.0 * width)
            shrink, grow = 1.0 - cf, 1.0 + cf
            p[lane] *= shrink * shrink
            q[lane] *= grow * grow
            shrunk[lane] *= shrink
            grown[lane] *= grow
            known = first_divergence(D[lane], step + k + 1, p[lane], q[lane])
            D[lane] = first_divergence(known, step + k + 1, shrunk[lane], grown[lane])


def _sums(function: Any) -> CompiledLater:
    """Compile with sums that may run in vectors: u·v, and nothing else here, is a sum."""
    return CompiledLater(function, fastmath={"reassoc"})


@block_function
def load_nets(X, W, step, first_step):
    """The weights of a block as W (lanes, 2n), those of a net side by side: at the first step they are taken from X (2n, lanes)."""
    rows, lanes = X.shape
    if step == first_step:
        for first in range(0, rows, 8):  # a cache line of W at a time
            for lane in range(lanes):
                for row in range(first, min(first + 8, rows)):
                    W[lane, row] = X[row, lane]


@block_function
def copy_transposed(W, OUT):
    """OUT (2n, lanes) ← the nets W (lanes, 2n)."""
    for row in range(OUT.shape[0]):
        for lane in range(OUT.shape[1]):
            OUT[row, lane] = W[lane, row]


@_sums
def step_of_net(u, v, s):
    """u ← u − sv, v ← v − su; returns the new u·v. With s = 0 the weights stay as they are, to the bit."""
    dot = 0.0
    for i in range(u.size):
        new_u, new_v = u[i] - s * v[i], v[i] - s * u[i]
        u[i], v[i] = new_u, new_v
        dot += new_u * new_v
    return dot


@block_function
def all_finite(x):
    """Whether every number of x is finite."""
    bad = 0.0
    for i in range(x.size):
        bad += 0.0 if x[i] * 0.0 == 0.0 else 1.0
    return bad == 0.0


@block_function
def descent_steps(W, D, step, n_steps, lr):
    """u ← u − (η/√n) f v, v ← v − (η/√n) f u, n_steps times, net by net: the weights of one stay in the first cache."""
    n = W.shape[1] // 2
    for lane in range(W.shape[0]):
        u, v, rate = W[lane, :n], W[lane, n:], per_lane(lr, lane) / n
        dot, k = step_of_net(u, v, 0.0), 0
        while k < n_steps and D[lane] == math.inf:
            dot, k = step_of_net(u, v, rate * dot), k + 1
            if dot * 0.0 != 0.0 and not (all_finite(u) and all_finite(v)):  # u·v may overflow a step before them
                D[lane] = step + k


@_sums
def read_nets(W, out, what):
    """out ← f (what = 0), λ (1), ‖u‖² − ‖v‖² (2) or the loss (3) of the nets W (lanes, 2n)."""
    n = W.shape[1] // 2
    for lane in range(out.size):
        u, v, total = W[lane, :n], W[lane, n:], 0.0
        if what == 1:
            for i in range(n):
                total += u[i] * u[i] + v[i] * v[i]
        elif what == 2:
            for i in range(n):
                total += u[i] * u[i] - v[i] * v[i]
        else:
            for i in range(n):
                total += u[i] * v[i]
        out[lane] = total / n if what == 1 else total if what == 2 else \
            total / np.sqrt(n) if what == 0 else 0.5 * total * total / n


@block_function
def read_products(X, out, what):
    """The same of the weights X[4:] (2n, lanes) of the start and the two products in X[2] and X[3]."""
    W, n = X[4:], X.shape[0] // 2 - 2
    for lane in range(out.size):
        out[lane] = 0.0
    for i in range(n):
        for lane in range(out.size):
            p, q = 0.5 * X[2, lane] * (W[i, lane] + W[n + i, lane]), 0.5 * X[3, lane] * (W[i, lane] - W[n + i, lane])
            u, v = p + q, p - q
            out[lane] += u * u + v * v if what == 1 else u * u - v * v if what == 2 else u * v
    for lane in range(out.size):
        total = out[lane]
        out[lane] = total / n if what == 1 else total if what == 2 else \
            total / np.sqrt(n) if what == 0 else 0.5 * total * total / n


@block_function
def weights_of_products(X, OUT):
    """OUT (2n, lanes) ← the weights, of those at the start X[4:] and the two products in X[2] and X[3]."""
    W, n = X[4:], X.shape[0] // 2 - 2
    for i in range(n):
        for lane in range(X.shape[1]):
            p = 0.5 * X[2, lane] * (W[i, lane] + W[n + i, lane])
            q = 0.5 * X[3, lane] * (W[i, lane] - W[n + i, lane])
            OUT[i, lane] = p + q
            OUT[n + i, lane] = p - q


#: what is read of the weights, and the number by which the block functions know it
_READABLE = {"f": 0, "curvature": 1, "balance": 2, "loss": 3}


class _AllWeights(UVModelProcess):
    """A process of all 2n weights: a subclass writes how a block of weights comes out, and how a number is read from it."""

    observables = ("w", *_READABLE)

    @property
    def dim(self) -> int:
        """2n weights, u first."""
        return 2 * self.width

    @property
    def parameters(self) -> Mapping[str, Bounds]:
        """The learning rate may be swept."""
        return {"lr": self.bounds["lr"]}

    @property
    @abstractmethod
    def state(self) -> Mapping[str, int]:
        """Names and rows of the blocks of the state."""

    @abstractmethod
    def copy_weights(self, o: Observer, into: Name) -> None:
        """Write the weights (2n, lanes)."""

    @abstractmethod
    def read(self, o: Observer, what: int) -> None:
        """Write the number `what` of the weights, one a lane."""

    def _observers(self, observed: Mapping[str, Observed], swept: tuple[str, ...]) -> dict[str, Observer]:
        found = {}
        for name, what in observed.items():
            rows, dim = (self.dim, "state") if what == "w" else (1, None)
            o = found[name] = Observer(self.state, self.hyperparameters, swept, rows=rows, dim=dim)
            self.begin(o)
            if what == "w":
                self.copy_weights(o, o.out)
            elif isinstance(what, str):
                self.read(o, _READABLE[what])
            else:
                w = o.scratch(self.dim)
                self.copy_weights(o, w)
                o.call_per_lane(what, w, o.out)
        return found

    def begin(self, s: Writer) -> None:
        """Write what comes first, in a step and where something is read."""


def _lanes(width: int) -> int:
    """Nets in a block: so many that their weights stay in the second cache."""
    return int(np.clip(2 ** int(np.log2(32768 / width)), 64, 512))


class UVDescent(_AllWeights):
    """All 2n weights (u, v) of the uv model under gradient descent, stored path by path and updated one by one.

    What `SGD(losses.UVModel(width), lr=lr)` does, in one pass over the weights a step.

    Parameters
    ----------
    width : int
        n ≥ 1.
    lr : float
        η > 0; may be swept.

    Examples
    --------
    >>> import sdetheory as sdt
    >>> rule = UVDescent(width=8, lr=0.5)
    >>> run = sdt.simulate(rule, sdt.starts.NormalWeights(16), n_steps=50, n_paths=3, observe=["loss", "curvature"], rng=0)
    >>> bool((run.loss < 1e-6).all())
    True
    """

    @property
    def state(self) -> Mapping[str, int]:
        """The weights at the start; from the first step on they lie in scratch, net by net."""
        return {"w": self.dim}

    def begin(self, s: Writer) -> None:
        """Take the weights of the start where the run begins."""
        s.side_by_side("nets", self.dim)
        s.call(load_nets, s.whole, s.nets, s.step, s.first_step)

    def copy_weights(self, o: Observer, into: Name) -> None:
        """The nets, one a lane again."""
        o.call(copy_transposed, o.nets, into)

    def read(self, o: Observer, what: int) -> None:
        """A number of the nets."""
        o.call(read_nets, o.nets, o.out, what)

    def write(self, observed: Mapping[str, Observed], swept: tuple[str, ...]) -> Program:
        """Net by net inside a block."""
        s = Steps(self.state, self.hyperparameters, swept)
        self.begin(s)
        s.call(descent_steps, s.nets, s.diverged_at, s.step, s.n_steps, s.lr)
        return s.program(self._observers(observed, swept), about(observed), lanes=_lanes(self.width), marks_divergence=True)


class UVProducts(_AllWeights):
    """All 2n weights of the uv model by the two products ∏(1 − cf) and ∏(1 + cf): exact, and as fast as two numbers.

    u + v and u − v keep their directions, so the weights at the start and two numbers give the weights at every step.

    Parameters
    ----------
    width : int
        n ≥ 1.
    lr : float
        η > 0; may be swept.

    Examples
    --------
    >>> import sdetheory as sdt
    >>> run = sdt.simulate(UVProducts(width=1, lr=1.0), [1.0, 1.0], n_steps=1)
    >>> run.w[0, -1].values
    array([0., 0.])
    """

    def initial_state(self, x0: NDArray[np.float64], swept: tuple[str, ...] = ()) -> NDArray[np.float64]:
        """States (n, 4 + 2n): the two norms, the two products, and the weights of the start."""
        return np.concatenate([SumDifferenceMap.reduce(x0), np.ones((len(x0), 2)), x0], axis=1)

    @property
    def state(self) -> Mapping[str, int]:
        """The two norms, the two products, and the weights at the start."""
        return {"sq_sum": 1, "sq_difference": 1, "shrunk": 1, "grown": 1, "start": self.dim}

    def copy_weights(self, o: Observer, into: Name) -> None:
        """The weights at the start times the products."""
        o.call(weights_of_products, o.whole, into)

    def read(self, o: Observer, what: int) -> None:
        """A number of the weights, which need not come out for it."""
        o.call(read_products, o.whole, o.out, what)

    def write(self, observed: Mapping[str, Observed], swept: tuple[str, ...]) -> Program:
        """Four rows are iterated; the weights come out where they are observed."""
        s = Steps(self.state, self.hyperparameters, swept)
        s.call(product_steps, s.whole, s.diverged_at, s.step, s.n_steps, s.lr, s.constant(self.width))
        return s.program(self._observers(observed, swept), about(observed), lanes=_lanes(self.width), marks_divergence=True)
