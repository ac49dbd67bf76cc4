r"""Gradient descent on all 2n weights of the uv model, fast (CAT-1): one pass over them a step, or two products.

.. math:: u' = u - cfv, \quad v' = v - cfu, \quad c = \eta/\sqrt n; \qquad
          u_t \pm v_t = \Bigl(\prod_{s<t}(1 \mp cf_s)\Bigr)(u_0 \pm v_0)

Clock: steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..engine import CompiledLater, Observable, Program, block_function, first_divergence, per_lane
from .uv_maps import SumDifferenceMap, UVMap

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
def load_nets(X, W, step):
    """The weights of a block as W (lanes, 2n), those of one net side by side: at step 0 they are taken from X (2n, lanes)."""
    rows, lanes = X.shape
    if step == 0:
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
    out[:] = 0.0
    for i in range(n):
        for lane in range(out.size):
            p, q = 0.5 * X[2, lane] * (W[i, lane] + W[n + i, lane]), 0.5 * X[3, lane] * (W[i, lane] - W[n + i, lane])
            u, v = p + q, p - q
            out[lane] += u * u + v * v if what == 1 else u * u - v * v if what == 2 else u * v
    for lane in range(out.size):
        total = out[lane]
        out[lane] = total / n if what == 1 else total if what == 2 else \
            total / np.sqrt(n) if what == 0 else 0.5 * total * total / n


_READABLE = {"f": 0, "curvature": 1, "balance": 2, "loss": 3}
_LOAD = "W = array_at(S_, (lanes, X.shape[0]))  # scratch that lives as long as the block\nload_nets(X, W, step)\n"
_NETS = f"{_LOAD}copy_transposed(W, OUT)"
_PRODUCTS = """
for i in range(width):
    for lane in range(lanes):
        p = 0.5 * X[2, lane] * (X[4 + i, lane] + X[4 + width + i, lane])
        q = 0.5 * X[3, lane] * (X[4 + i, lane] - X[4 + width + i, lane])
        OUT[{row} + i, lane] = p + q
        OUT[{row} + width + i, lane] = p - q
"""


def _weight_observables(observe: Any, width: int, weights: str, read: str) -> tuple[Observable, ...]:
    wanted = ["w"] if observe is None else [observe] if isinstance(observe, str) else list(observe)
    result = []
    for name in wanted:
        if name == "w":
            result.append(Observable("w", 2 * width, weights, "state"))
        elif name in _READABLE:
            result.append(Observable(name, 1, read.replace("{what}", str(_READABLE[name]))))
        else:
            raise ValueError(f"observe: expected names among w, {', '.join(_READABLE)}, got {name!r}")
    return tuple(result)


def _lanes(width: int) -> int:
    """Nets in a block: so many that their weights stay in the second cache."""
    return int(np.clip(2 ** int(np.log2(32768 / width)), 64, 512))


class UVDescent(UVMap):
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
    >>> run = sdt.simulate(rule, sdt.losses.NormalWeights(16), n_steps=50, n_paths=3, observe=["loss", "curvature"], rng=0)
    >>> bool((run.loss < 1e-6).all())
    True
    """

    sweepable = ("lr",)

    @property
    def dim(self) -> int:
        """2n weights, u first."""
        return 2 * self.width

    def program(self, observe: Any = None, swept: Sequence[str] = ()) -> Program:
        """Net by net inside a block."""
        lr = f"lr = P[{list(swept).index('lr')}]" if "lr" in swept else "lr = T[0, 0]"
        functions = {"load_nets": load_nets, "steps": descent_steps, "read": read_nets, "copy_transposed": copy_transposed}
        return Program(rows=self.dim, noise=(), advance=f"{lr}\n{_LOAD}steps(W, D, step, n_steps, lr)",
                       observables=_weight_observables(observe, self.width, _NETS, f"{_LOAD}read(W, OUT[{{row}}], {{what}})"),
                       functions=functions, scratch=self.dim, lanes=_lanes(self.width), marks_divergence=True,
                       hyperparameters=len(self.hyperparameters), swept=len(swept))


class UVProducts(UVMap):
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

    sweepable = ("lr",)

    @property
    def dim(self) -> int:
        """2n weights, u first."""
        return 2 * self.width

    def initial_state(self, x0: ArrayLike, swept: tuple[str, ...] = ()) -> NDArray[np.float64]:
        """States (n, 4 + 2n): the two norms, the two products, and the weights of the start."""
        w0 = np.asarray(x0, dtype=np.float64)
        return np.concatenate([SumDifferenceMap.reduce(w0), np.ones((len(w0), 2)), w0], axis=1)

    def program(self, observe: Any = None, swept: Sequence[str] = ()) -> Program:
        """Four rows are iterated; the weights come out where they are observed."""
        lr = f"lr = P[{list(swept).index('lr')}]" if "lr" in swept else "lr = T[0, 0]"
        functions = {"steps": product_steps, "read": read_products}
        return Program(rows=4 + self.dim, noise=(), advance=f"{lr}\nsteps(X, D, step, n_steps, lr, width)",
                       observables=_weight_observables(observe, self.width, _PRODUCTS, "read(X, OUT[{row}], {what})"),
                       functions=functions, constants={"width": self.width}, lanes=_lanes(self.width), marks_divergence=True,
                       hyperparameters=len(self.hyperparameters), swept=len(swept))
