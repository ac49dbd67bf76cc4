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

from ..engine import Observable, Program, lane_function
from ..validation import finite_array, integer, number

__all__ = ["OutputCurvatureMap", "ReducedStart", "SumDifferenceMap", "UVMap", "UniversalMap"]


TILE = 512  # lanes that are taken through the steps of a call before the next ones: what they hold stays in the first cache

@lane_function
def output_curvature(f, curvature, lr, lr_per_width):
    """(f, λ) → (f', λ')."""
    size, x = lr_per_width * (f * f), lr * curvature
    return f * (1.0 - x + lr * size), curvature + size * (x - 4.0)


@lane_function
def universal(x, y, _, __):
    """(X, Y) → (X', Y')."""
    factor = 1.0 - x + y
    return x + y * (x - 4.0), y * (factor * factor)


@lane_function
def sum_difference(p, q, lr_per_4_widths, _):
    """(‖p‖², ‖q‖²) → ((1 − cf)²‖p‖², (1 + cf)²‖q‖²)."""
    cf = lr_per_4_widths * (p - q)
    shrink, grow = 1.0 - cf, 1.0 + cf
    return p * (shrink * shrink), q * (grow * grow)


# n_steps of a map of the rows X[0], X[1] with the parameters S[0], S[1], a tile of lanes after the other
_STEPS = f"""
for first in range(0, lanes, {TILE}):
    tile = slice(first, first + {TILE})
    a, b, p, q, diverged, a_before, b_before = X[0, tile], X[1, tile], S[0, tile], S[1, tile], D[tile], S[2, tile], S[3, tile]
    copy_row(a, a_before)
    copy_row(b, b_before)
    for _ in range(n_steps):
        for lane in range(a.size):
            a[lane], b[lane] = one_step(a[lane], b[lane], p[lane], q[lane])
    new = 0.0
    for lane in range(a.size):
        new = max(new, 1.0 if first_divergence(diverged[lane], 0.0, a[lane], b[lane]) == 0.0 else 0.0)
    if new > 0.0:  # the same steps again, and a look after each
        copy_row(a_before, a)
        copy_row(b_before, b)
        for k in range(n_steps):
            for lane in range(a.size):
                a[lane], b[lane] = one_step(a[lane], b[lane], p[lane], q[lane])
                diverged[lane] = first_divergence(diverged[lane], step + k + 1, a[lane], b[lane])
"""


class UVMap:
    """What the processes here share: parameters with one value a path in a sweep, observables by name."""

    clock: ClassVar[str] = "step"
    states: ClassVar[tuple[str, ...]]
    hyperparameters: ClassVar[tuple[str, ...]] = ("lr", "width")
    sweepable: ClassVar[tuple[str, ...]] = ("lr", "width")
    #: observables beside the states, as expressions of a lane's states and parameters
    derived: ClassVar[Mapping[str, str]] = {}
    #: the map of two states and two parameters of a lane, and these parameters
    one_step: ClassVar[Any]
    parameters: ClassVar[tuple[str, str]] = ("0.0", "0.0")

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
        values = [f"{name}_ = per_lane({name}, lane)" for name in self.hyperparameters]
        rows = [f"S[{row}, lane] = {value}" for row, value in enumerate(self.parameters)]
        lane_by_lane = [f"    {line}" for line in (*values, *rows)]
        advance = "\n".join([*bound, "for lane in range(lanes):", *lane_by_lane, _STEPS])
        return Program(rows=self.dim, noise=(), advance=advance, observables=self._observables(observe, bound), scratch=4,
                       lanes=8 * TILE, marks_divergence=True,
                       functions={"one_step": self.one_step}, hyperparameters=len(self.hyperparameters), swept=len(swept))

    def _observables(self, observe: Any, bound: list[str]) -> tuple[Observable, ...]:
        wanted = self.states if observe is None else [observe] if isinstance(observe, str) else list(observe)
        result = []
        for name in wanted:
            if name in self.states:
                text = f"copy_row(X[{self.states.index(name)}], OUT[0])"
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
    one_step = staticmethod(output_curvature)
    parameters = ("lr_", "lr_ / width_")

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
    one_step = staticmethod(universal)

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
    one_step = staticmethod(sum_difference)
    parameters = ("lr_ / (4.0 * width_)", "0.0")

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
