r"""Gradient descent on the uv model as processes of their own: two numbers instead of 2n weights, or all weights, fast (CAT-1, CAT-2).

.. math:: (f, \lambda):\quad & f' = (1 - \eta\lambda + \eta^2f^2/n)\,f, \qquad \lambda' = \lambda + \tfrac{\eta f^2}{n}(\eta\lambda - 4) \\
          (X, Y):\quad & X' = X + Y(X-4), \qquad Y' = Y(1-X+Y)^2 \\
          (\|p\|^2, \|q\|^2):\quad & p' = (1-cf)p, \quad q' = (1+cf)q, \quad cf = \tfrac{\eta}{4n}(\|p\|^2 - \|q\|^2), \quad p, q = u \pm v

All are exact. Each is a process for `simulate`; a run that diverges is masked and counted there. Clock: steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..kernels import Observable, Program, block_function, per_lane
from ..validation import finite_array, integer, number

__all__ = ["OutputCurvatureMap", "ReducedStart", "SumDifferenceMap", "UVDescent", "UVProducts", "UniversalMap"]


@block_function
def output_curvature_steps(X, n_steps, lr, width):
    """(f, λ) → (f', λ'), n_steps times."""
    f, curvature = X[0], X[1]
    for _ in range(n_steps):
        for lane in range(f.size):
            eta = per_lane(lr, lane)
            size = eta * (f[lane] * f[lane]) / per_lane(width, lane)
            x = eta * curvature[lane]
            f[lane] *= 1.0 - x + eta * size
            curvature[lane] += size * (x - 4.0)


@block_function
def universal_steps(X, n_steps):
    """(X, Y) → (X', Y'), n_steps times."""
    first, second = X[0], X[1]
    for _ in range(n_steps):
        for lane in range(first.size):
            x, y = first[lane], second[lane]
            factor = 1.0 - x + y
            first[lane] = x + y * (x - 4.0)
            second[lane] = y * (factor * factor)


@block_function
def sum_difference_steps(X, n_steps, lr, width):
    """(‖p‖², ‖q‖²) → ((1 − cf)²‖p‖², (1 + cf)²‖q‖²), n_steps times."""
    p, q = X[0], X[1]
    for _ in range(n_steps):
        for lane in range(p.size):
            cf = per_lane(lr, lane) * (p[lane] - q[lane]) / (4.0 * per_lane(width, lane))
            shrink, grow = 1.0 - cf, 1.0 + cf
            p[lane] *= shrink * shrink
            q[lane] *= grow * grow


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
    """u ← u − (η/√n) f v, v ← v − (η/√n) f u, n_steps times; one pass over the weights a step, which sums u'·v' as `overlap` does."""
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


class UVMap:
    """What the processes here share: parameters with one value a path in a sweep, observables by name."""

    clock: ClassVar[str] = "step"
    states: ClassVar[tuple[str, ...]]
    hyperparameters: ClassVar[tuple[str, ...]] = ("lr", "width")
    sweepable: ClassVar[tuple[str, ...]] = ("lr", "width")
    #: observables beside the states, as expressions of a lane's states and parameters
    derived: ClassVar[Mapping[str, str]] = {}
    kernel: ClassVar[Any]

    def __init__(self, *, width: int, lr: float) -> None:
        self.width = integer("width", width, at_least=1)
        self.lr = number("lr", lr, above=0)

    @property
    def dim(self) -> int:
        """Numbers in a state."""
        return len(self.states)

    def schedule_table(self, n_steps: int, dt: float = 1.0) -> NDArray[np.float64]:
        """The parameters, shape (1, k): they are constant."""
        return np.array([[float(getattr(self, name)) for name in self.hyperparameters]]).reshape(1, -1)

    def initial_state(self, x0: ArrayLike, swept: tuple[str, ...] = ()) -> NDArray[np.float64]:
        """States (n, rows) that start at x0 (n, dim)."""
        return np.asarray(x0, dtype=np.float64)

    def program(self, observe: Any = None, swept: Sequence[str] = ()) -> Program:
        """The map, as many steps at once as the engine asks for."""
        bound = [f"{name} = P[{list(swept).index(name)}]" if name in swept else f"{name} = T[0, {column}]"
                 for column, name in enumerate(self.hyperparameters)]
        call = f"steps(X, n_steps{''.join(', ' + name for name in self.hyperparameters)})"
        return Program(rows=self.dim, noise=(), advance="\n".join([*bound, call]), observables=self._observables(observe, bound),
                       functions={"steps": self.kernel, "per_lane": per_lane}, lanes=1024)

    def _observables(self, observe: Any, bound: list[str]) -> tuple[Observable, ...]:
        wanted = self.states if observe is None else [observe] if isinstance(observe, str) else list(observe)
        result = []
        for name in wanted:
            if name in self.states:
                text = f"OUT[{{row}}] = X[{self.states.index(name)}]"
            elif name in self.derived:
                states = [f"    {state} = X[{row}, lane]" for row, state in enumerate(self.states)]
                lane = [f"    {p}_ = per_lane({p}, lane)" for p in self.hyperparameters]
                text = "\n".join([*bound, "for lane in range(lanes):", *states, *lane,
                                  f"    OUT[{{row}}, lane] = {self.derived[name]}"])
            else:
                raise ValueError(f"observe: expected names among {', '.join([*self.states, *self.derived])}, got {name!r}")
            result.append(Observable(name, 1, text))
        return tuple(result)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.hyperparameters)})"


class OutputCurvatureMap(UVMap):
    """The map of output f and curvature λ (CAT-1).

    Parameters
    ----------
    width : int
        n ≥ 1.
    lr : float
        η > 0. Both may be swept.

    Examples
    --------
    >>> import sdetheory as sdt
    >>> run = sdt.simulate(OutputCurvatureMap(width=100, lr=1.0), [1.0, 2.0], n_steps=1)
    >>> float(run.f[0, -1]), float(run.curvature[0, -1])
    (-0.99, 1.98)
    """

    states = ("f", "curvature")
    derived: ClassVar = {"loss": "0.5 * (f * f)", "scaled_curvature": "lr_ * curvature", "scaled_sq_output": "lr_ * lr_ * (f * f) / width_"}
    kernel = staticmethod(output_curvature_steps)

    @staticmethod
    def reduce(w: ArrayLike) -> NDArray[np.float64]:
        """(f, λ), shape (..., 2), of the weights (u, v), shape (..., 2n)."""
        w = finite_array("w", w)
        n = _width_of(w)
        return np.stack([np.sum(w[..., :n] * w[..., n:], axis=-1) / np.sqrt(n), np.sum(w * w, axis=-1) / n], axis=-1)


class UniversalMap(UVMap):
    """The universal map of X = ηλ and Y = η²f²/n (CAT-2); it has no parameters, the start holds them.

    Examples
    --------
    >>> import sdetheory as sdt
    >>> run = sdt.simulate(UniversalMap(), [3.0, 0.5], n_steps=1)
    >>> float(run.X[0, -1]), float(run.Y[0, -1])
    (2.5, 1.125)
    """

    states = ("X", "Y")
    hyperparameters = ()
    sweepable = ()
    kernel = staticmethod(universal_steps)

    def __init__(self) -> None:
        pass

    @staticmethod
    def reduce(w: ArrayLike, lr: ArrayLike) -> NDArray[np.float64]:
        """(X, Y), shape (..., 2), of the weights (u, v), shape (..., 2n), and the learning rate."""
        f, curvature = np.moveaxis(OutputCurvatureMap.reduce(w), -1, 0)
        lr = finite_array("lr", lr)
        return np.stack(np.broadcast_arrays(lr * curvature, lr**2 * f**2 / _width_of(np.asarray(w))), axis=-1)


class SumDifferenceMap(UVMap):
    """The map of ‖u + v‖² and ‖u − v‖² (CAT-1).

    Parameters
    ----------
    width : int
        n ≥ 1.
    lr : float
        η > 0. Both may be swept.

    Examples
    --------
    >>> import sdetheory as sdt
    >>> run = sdt.simulate(SumDifferenceMap(width=1, lr=1.0), [4.0, 0.0], n_steps=1, observe=["sq_sum", "f"])
    >>> float(run.sq_sum[0, -1]), float(run.f[0, -1])
    (0.0, 0.0)
    """

    states = ("sq_sum", "sq_difference")
    derived: ClassVar = {"f": "(sq_sum - sq_difference) / (4.0 * math.sqrt(width_))", "curvature": "(sq_sum + sq_difference) / (2.0 * width_)",
                         "loss": "0.5 * ((sq_sum - sq_difference) * (sq_sum - sq_difference)) / (16.0 * width_)"}
    kernel = staticmethod(sum_difference_steps)

    @staticmethod
    def reduce(w: ArrayLike) -> NDArray[np.float64]:
        """(‖u + v‖², ‖u − v‖²), shape (..., 2), of the weights (u, v), shape (..., 2n)."""
        w = finite_array("w", w)
        n = _width_of(w)
        u, v = w[..., :n], w[..., n:]
        return np.stack([np.sum((u + v) ** 2, axis=-1), np.sum((u - v) ** 2, axis=-1)], axis=-1)


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
                       observables=_weight_observables(observe, self.width, "read(X[4:], OUT[{row}], {what}, X[2], X[3], True)"),
                       functions=functions, constants={"width": self.width}, lanes=32)


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


def _width_of(w: NDArray[np.float64]) -> int:
    if w.ndim < 1 or w.shape[-1] < 2 or w.shape[-1] % 2:
        raise ValueError(f"w: expected the weights (u, v), shape (..., 2n) with n >= 1, got {w.shape}")
    return w.shape[-1] // 2


@dataclass(frozen=True)
class ReducedStart:
    """The start of a reduced map that weights drawn from a distribution have: same seed and path, same net.

    Parameters
    ----------
    process : OutputCurvatureMap or SumDifferenceMap
        The map that starts there.
    weights : distribution on R^{2n}
        Of the weights (u, v), such as `losses.NormalWeights(2 * width)`.

    Examples
    --------
    >>> import sdetheory as sdt
    >>> rule = OutputCurvatureMap(width=64, lr=1.0)
    >>> start = ReducedStart(rule, sdt.losses.NormalWeights(128))
    >>> sdt.simulate(rule, start, n_steps=10, n_paths=4, rng=0).f.shape
    (4, 1)
    """

    process: Any
    weights: Any

    def __post_init__(self) -> None:
        if not isinstance(self.process, OutputCurvatureMap | SumDifferenceMap):
            raise TypeError(f"process: expected an OutputCurvatureMap or a SumDifferenceMap, got {self.process!r}; "
                            "UniversalMap.reduce(w, lr) gives starts of the universal map")
        if self.weights.dim != 2 * self.process.width:
            raise ValueError(f"weights: expected a distribution on R^{2 * self.process.width}, got one on R^{self.weights.dim}")

    @property
    def dim(self) -> int:
        """Two numbers."""
        return 2

    def sample_block(self, out: NDArray[np.float64], first_path: int, key: np.uint64) -> None:
        """Fill out (2, lanes) with the reduced starts of paths first_path, first_path + 1, …"""
        block = np.empty((self.weights.dim, out.shape[1]))
        self.weights.sample_block(block, first_path, key)
        out[:] = self.process.reduce(block.T).T

    def sample(self, n: int, rng: Any = None) -> NDArray[np.float64]:
        """Reduced starts of paths 0 … n − 1, shape (n, 2)."""
        return self.process.reduce(self.weights.sample(n, rng))
