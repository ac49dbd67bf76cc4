r"""Gradient descent on all 2n weights of the uv model, fast (CAT-1): one pass over them a step, or two products.

.. math:: u' = u - cfv, \quad v' = v - cfu, \quad c = \eta/\sqrt n; \qquad
          u_t \pm v_t = \Bigl(\prod_{s<t}(1 \mp cf_s)\Bigr)(u_0 \pm v_0)

Clock: steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..kernels import Observable, Program, block_function, per_lane
from .uv_maps import SumDifferenceMap, UVMap

__all__ = ["UVDescent", "UVProducts"]


@block_function
def product_steps(X, n_steps, lr, width):
    """Rows ‖p‖², ‖q‖², ∏(1 − cf), ∏(1 + cf), n_steps times; the weights they multiply stay as they are."""
    p, q, shrunk, grown = X[0], X[1], X[2], X[3]
    for _ in range(n_steps):
        for lane in range(p.size):
            cf = per_lane(lr, lane) * (p[lane] - q[lane]) / (4.0 * width)
            shrink, grow = 1.0 - cf, 1.0 + cf
            p[lane] *= shrink * shrink
            q[lane] *= grow * grow
            shrunk[lane] *= shrink
            grown[lane] *= grow


@block_function
def overlap(U, V, W, dot):
    """dot ← u·v: four quarters at a time, U and V of shape (4, h, lanes), then the rows that are left over, in W."""
    h, lanes, left = U.shape[1], U.shape[2], W.shape[0] // 2
    for lane in range(lanes):
        dot[lane] = 0.0
    for i in range(h):
        for lane in range(lanes):
            dot[lane] += ((U[0, i, lane] * V[0, i, lane] + U[1, i, lane] * V[1, i, lane])
                          + (U[2, i, lane] * V[2, i, lane] + U[3, i, lane] * V[3, i, lane]))
    for i in range(left):
        for lane in range(lanes):
            dot[lane] += W[i, lane] * W[left + i, lane]


@block_function
def descent_steps(X, S, n_steps, lr, width):
    """u ← u − (η/√n) f v, v ← v − (η/√n) f u, n_steps times; the pass over the weights also sums u'·v', as `overlap` does."""
    lanes, h = X.shape[1], width // 4
    U, V = X[:4 * h].reshape(4, h, lanes), X[width:width + 4 * h].reshape(4, h, lanes)
    left = width - 4 * h
    dot, step, W = S[0], S[1], S[2:2 + 2 * left]  # W holds the rows that are left over while it steps
    W[:left], W[left:] = X[4 * h:width], X[width + 4 * h:]
    overlap(U, V, W, dot)
    for _ in range(n_steps):
        for lane in range(lanes):
            step[lane] = per_lane(lr, lane) * dot[lane] / width
            dot[lane] = 0.0
        for i in range(h):
            for lane in range(lanes):
                s = step[lane]
                u0, u1, u2, u3 = U[0, i, lane], U[1, i, lane], U[2, i, lane], U[3, i, lane]
                v0, v1, v2, v3 = V[0, i, lane], V[1, i, lane], V[2, i, lane], V[3, i, lane]
                x0, x1, x2, x3 = u0 - s * v0, u1 - s * v1, u2 - s * v2, u3 - s * v3
                y0, y1, y2, y3 = v0 - s * u0, v1 - s * u1, v2 - s * u2, v3 - s * u3
                U[0, i, lane], U[1, i, lane], U[2, i, lane], U[3, i, lane] = x0, x1, x2, x3
                V[0, i, lane], V[1, i, lane], V[2, i, lane], V[3, i, lane] = y0, y1, y2, y3
                dot[lane] += (x0 * y0 + x1 * y1) + (x2 * y2 + x3 * y3)
        for i in range(left):
            for lane in range(lanes):
                u, v = W[i, lane], W[left + i, lane]
                x, y = u - step[lane] * v, v - step[lane] * u
                W[i, lane], W[left + i, lane] = x, y
                dot[lane] += x * y
    X[4 * h:width], X[width + 4 * h:] = W[:left], W[left:]


@block_function
def read_weights(W, out, what, shrunk, grown, by_products):
    """out ← f (what = 0), λ (1), ‖u‖² − ‖v‖² (2) or the loss (3) of weights, times the two products where told."""
    n = W.shape[0] // 2
    for lane in range(out.size):
        out[lane] = 0.0
    for i in range(n):
        for lane in range(out.size):
            u, v = W[i, lane], W[n + i, lane]
            if by_products:
                p, q = 0.5 * shrunk[lane] * (u + v), 0.5 * grown[lane] * (u - v)
                u, v = p + q, p - q
            out[lane] += u * u + v * v if what == 1 else u * u - v * v if what == 2 else u * v
    for lane in range(out.size):
        total = out[lane]
        out[lane] = total / n if what == 1 else total if what == 2 else \
            total / np.sqrt(n) if what == 0 else 0.5 * total * total / n


_READABLE = {"f": 0, "curvature": 1, "balance": 2, "loss": 3}
_ALL_WEIGHTS = {True: """
for i in range(width):
    for lane in range(lanes):
        p = 0.5 * X[2, lane] * (X[4 + i, lane] + X[4 + width + i, lane])
        q = 0.5 * X[3, lane] * (X[4 + i, lane] - X[4 + width + i, lane])
        OUT[{row} + i, lane] = p + q
        OUT[{row} + width + i, lane] = p - q
""", False: "OUT[{row}:{end}] = X"}


def _weight_observables(observe: Any, width: int, read: str) -> tuple[Observable, ...]:
    wanted = ["w"] if observe is None else [observe] if isinstance(observe, str) else list(observe)
    result = []
    for name in wanted:
        if name == "w":
            result.append(Observable("w", 2 * width, _ALL_WEIGHTS["X[4:]" in read], "state"))
        elif name in _READABLE:
            result.append(Observable(name, 1, read.replace("{what}", str(_READABLE[name]))))
        else:
            raise ValueError(f"observe: expected names among w, {', '.join(_READABLE)}, got {name!r}")
    return tuple(result)


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
        """Blocks of few paths, so that their weights stay in the cache."""
        lr = f"lr = P[{list(swept).index('lr')}]" if "lr" in swept else "lr = T[0, 0]"
        functions = {"steps": descent_steps, "read": read_weights, "per_lane": per_lane}
        return Program(rows=self.dim, noise=(), advance=f"{lr}\nsteps(X, S, n_steps, lr, width)",
                       observables=_weight_observables(observe, self.width, "read(X, OUT[{row}], {what}, X[0], X[1], False)"),
                       functions=functions, constants={"width": self.width}, scratch=8,
                       lanes=int(np.clip(2 ** int(np.log2(65536 / self.dim)), 64, 512)))


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
        functions = {"steps": product_steps, "read": read_weights, "per_lane": per_lane}
        return Program(rows=4 + self.dim, noise=(), advance=f"{lr}\nsteps(X[:4], n_steps, lr, width)",
                       observables=_weight_observables(observe, self.width,
                                                       "read(X[4:], OUT[{row}], {what}, X[2], X[3], True)"),
                       functions=functions, constants={"width": self.width}, lanes=32)
