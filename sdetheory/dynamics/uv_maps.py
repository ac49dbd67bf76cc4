r"""Gradient descent on the uv model by two numbers: exact reductions as processes of their own (CAT-1, CAT-2).

.. math:: (f, \lambda):\quad & f' = (1 - \eta\lambda + \eta^2f^2/n)\,f, \qquad
                              \lambda' = \lambda + \tfrac{\eta f^2}{n}(\eta\lambda - 4) \\
          (X, Y):\quad & X' = X + Y(X-4), \qquad Y' = Y(1-X+Y)^2 \\
          (\|p\|^2, \|q\|^2):\quad & p' = (1-cf)p, \quad q' = (1+cf)q, \quad
                                    cf = \tfrac{\eta}{4n}(\|p\|^2 - \|q\|^2), \quad p, q = u \pm v

Each is a process for `simulate`; a run that diverges is masked and counted there. All weights: `uv_weights`. Clock: steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..kernels import Observable, Program, block_function, first_divergence, per_lane
from ..validation import finite_array, integer, number

__all__ = ["OutputCurvatureMap", "ReducedStart", "SumDifferenceMap", "UVMap", "UniversalMap"]


TILE = 512  # lanes that are taken through all steps before the next ones: what they hold stays in the first cache


@block_function
def output_curvature_steps(X, S, D, step, n_steps, lr, width):
    """(f, λ) → (f', λ'), n_steps times."""
    for first in range(0, X.shape[1], TILE):
        f, curvature = X[0, first:first + TILE], X[1, first:first + TILE]
        eta, per_width, diverged = S[0, first:first + TILE], S[1, first:first + TILE], D[first:first + TILE]
        for lane in range(f.size):
            eta[lane] = per_lane(lr, first + lane)
            per_width[lane] = per_lane(lr, first + lane) / per_lane(width, first + lane)
        for k in range(n_steps):
            for lane in range(f.size):
                size = per_width[lane] * (f[lane] * f[lane])
                x = eta[lane] * curvature[lane]
                new_f, new_curvature = f[lane] * (1.0 - x + eta[lane] * size), curvature[lane] + size * (x - 4.0)
                f[lane], curvature[lane] = new_f, new_curvature
                diverged[lane] = first_divergence(diverged[lane], step + k + 1, new_f, new_curvature)


@block_function
def universal_steps(X, S, D, step, n_steps):
    """(X, Y) → (X', Y'), n_steps times."""
    for first in range(0, X.shape[1], TILE):
        x, y, diverged = X[0, first:first + TILE], X[1, first:first + TILE], D[first:first + TILE]
        for k in range(n_steps):
            for lane in range(x.size):
                factor = 1.0 - x[lane] + y[lane]
                new_x, new_y = x[lane] + y[lane] * (x[lane] - 4.0), y[lane] * (factor * factor)
                x[lane], y[lane] = new_x, new_y
                diverged[lane] = first_divergence(diverged[lane], step + k + 1, new_x, new_y)


@block_function
def sum_difference_steps(X, S, D, step, n_steps, lr, width):
    """(‖p‖², ‖q‖²) → ((1 − cf)²‖p‖², (1 + cf)²‖q‖²), n_steps times."""
    for first in range(0, X.shape[1], TILE):
        p, q = X[0, first:first + TILE], X[1, first:first + TILE]
        rate, diverged = S[0, first:first + TILE], D[first:first + TILE]
        for lane in range(p.size):
            rate[lane] = per_lane(lr, first + lane) / (4.0 * per_lane(width, first + lane))
        for k in range(n_steps):
            for lane in range(p.size):
                cf = rate[lane] * (p[lane] - q[lane])
                shrink, grow = 1.0 - cf, 1.0 + cf
                new_p, new_q = p[lane] * (shrink * shrink), q[lane] * (grow * grow)
                p[lane], q[lane] = new_p, new_q
                diverged[lane] = first_divergence(diverged[lane], step + k + 1, new_p, new_q)


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

    def program(self, observe: Any = None, swept: Sequence[str] = ()) -> Program:
        """The map, as many steps at once as the engine asks for."""
        bound = [f"{name} = P[{list(swept).index(name)}]" if name in swept else f"{name} = T[0, {column}]"
                 for column, name in enumerate(self.hyperparameters)]
        call = f"steps(X, S, D, step, n_steps{''.join(', ' + name for name in self.hyperparameters)})"
        return Program(rows=self.dim, noise=(), advance="\n".join([*bound, call]),
                       observables=self._observables(observe, bound), scratch=2, lanes=8 * TILE, marks_divergence=True,
                       functions={"steps": self.kernel, "per_lane": per_lane})

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
    derived: ClassVar = {"loss": "0.5 * (f * f)", "scaled_curvature": "lr_ * curvature",
                         "scaled_sq_output": "lr_ * lr_ * (f * f) / width_"}
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
    derived: ClassVar = {"f": "(sq_sum - sq_difference) / (4.0 * math.sqrt(width_))",
                         "curvature": "(sq_sum + sq_difference) / (2.0 * width_)",
                         "loss": "0.5 * ((sq_sum - sq_difference) * (sq_sum - sq_difference)) / (16.0 * width_)"}
    kernel = staticmethod(sum_difference_steps)

    @staticmethod
    def reduce(w: ArrayLike) -> NDArray[np.float64]:
        """(‖u + v‖², ‖u − v‖²), shape (..., 2), of the weights (u, v), shape (..., 2n)."""
        w = finite_array("w", w)
        n = _width_of(w)
        u, v = w[..., :n], w[..., n:]
        return np.stack([np.sum((u + v) ** 2, axis=-1), np.sum((u - v) ** 2, axis=-1)], axis=-1)


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
            raise ValueError(f"weights: expected a distribution on R^{2 * self.process.width}, got one on "
                             f"R^{self.weights.dim}")

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
