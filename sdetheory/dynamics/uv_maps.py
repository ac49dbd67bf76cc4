r"""Gradient descent on the uv model by two numbers: exact reductions as processes of their own (CAT-1, CAT-2).

.. math:: (f, \lambda):\quad & f' = (1 - \eta\lambda + \eta^2f^2/n)\,f, \qquad
                              \lambda' = \lambda + \tfrac{\eta f^2}{n}(\eta\lambda - 4) \\
          (X, Y):\quad & X' = X + Y(X-4), \qquad Y' = Y(1-X+Y)^2 \\
          (\|p\|^2, \|q\|^2):\quad & p' = (1-cf)p, \quad q' = (1+cf)q, \quad
                                    cf = \tfrac{\eta}{4n}(\|p\|^2 - \|q\|^2), \quad p, q = u \pm v

Each is a process for `simulate`; a run that diverges is masked and counted there. All weights: `uv_weights`. Clock: steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..engine import Program, lane_function, lane_map_program
from ..process import Observed, Process, about
from ..starts import Reduction
from ..validation import Bounds, finite_array, integer, number

__all__ = ["OutputCurvatureMap", "SumDifferenceMap", "UVMap", "UVModelProcess", "UniversalMap"]


@lane_function
def output_curvature(f, curvature, lr, lr_per_width):
    """(f, λ) → (f', λ')."""
    size, x = lr_per_width * (f * f), lr * curvature
    return f * (1.0 - x + lr * size), curvature + size * (x - 4.0)


@lane_function
def universal(x, y):
    """(X, Y) → (X', Y')."""
    factor = 1.0 - x + y
    return x + y * (x - 4.0), y * (factor * factor)


@lane_function
def sum_difference(p, q, lr_per_4_widths):
    """(‖p‖², ‖q‖²) → ((1 − cf)²‖p‖², (1 + cf)²‖q‖²)."""
    cf = lr_per_4_widths * (p - q)
    shrink, grow = 1.0 - cf, 1.0 + cf
    return p * (shrink * shrink), q * (grow * grow)


@lane_function
def rates(lr, width):
    """(η, η/n)."""
    return lr, lr / width


@lane_function
def rate_per_4_widths(lr, width):
    """η/(4n)."""
    return lr / (4.0 * width)


@lane_function
def loss_of_output(f, curvature, lr, width):
    """f²/2."""
    return 0.5 * (f * f)


@lane_function
def scaled_curvature(f, curvature, lr, width):
    """ηλ."""
    return lr * curvature


@lane_function
def scaled_sq_output(f, curvature, lr, width):
    """η²f²/n."""
    return lr * lr * (f * f) / width


@lane_function
def output_of_norms(p, q, lr, width):
    """f = (‖p‖² − ‖q‖²)/(4√n)."""
    return (p - q) / (4.0 * math.sqrt(width))


@lane_function
def curvature_of_norms(p, q, lr, width):
    """λ = (‖p‖² + ‖q‖²)/(2n)."""
    return (p + q) / (2.0 * width)


@lane_function
def loss_of_norms(p, q, lr, width):
    """f²/2."""
    return 0.5 * ((p - q) * (p - q)) / (16.0 * width)


class UVModelProcess(Process):
    """What the processes of the uv model share: width and learning rate, which do not change from step to step."""

    clock: ClassVar = "step"
    hyperparameters: ClassVar[tuple[str, ...]] = ("lr", "width")
    bounds: ClassVar[Mapping[str, Bounds]] = {"lr": Bounds(above=0.0), "width": Bounds(at_least=1.0, whole=True)}

    def __init__(self, *, width: int, lr: float) -> None:
        self.width = integer("width", width, at_least=1)
        self.lr = number("lr", lr, above=0)

    @property
    def parameters(self) -> Mapping[str, Bounds]:
        """Learning rate and width may be swept."""
        return {name: self.bounds[name] for name in self.hyperparameters}

    def schedule_table(self, n_steps: int, dt: float = 1.0, t0: float = 0.0) -> NDArray[np.float64]:
        """The hyperparameters, shape (1, k): they are constant."""
        return np.array([[float(getattr(self, name)) for name in self.hyperparameters]]).reshape(1, -1)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.hyperparameters)})"


class UVMap(UVModelProcess):
    """A map of two numbers: a subclass names the lane functions of its step, its parameters, and what follows from its states."""

    states: ClassVar[tuple[str, ...]]
    #: the map of two states and the parameters of a lane
    one_step: ClassVar[Any]
    #: these parameters, as a lane function of the hyperparameters, and their number
    rates: ClassVar[Any] = None
    n_rates: ClassVar[int] = 0
    #: observables beside the states, as lane functions of states and hyperparameters
    derived: ClassVar[Mapping[str, Any]] = {}

    @property
    def dim(self) -> int:
        """Numbers in a state."""
        return len(self.states)

    @property
    def observables(self) -> tuple[str, ...]:
        """States, and what follows from them."""
        return (*self.states, *self.derived)

    @property
    def saved(self) -> tuple[str, ...]:
        """The states."""
        return self.states

    def write(self, observed: Mapping[str, Observed], swept: tuple[str, ...]) -> Program:
        """The map, as many steps at once as the engine asks for."""
        found = {name: self.derived.get(what, what) if isinstance(what, str) else what for name, what in observed.items()}
        return lane_map_program(self.one_step, self.states, found, parameters=self.rates, n_parameters=self.n_rates,
                                hyperparameters=self.hyperparameters, swept=swept, about=about(observed))


class _Reduction(UVMap, Reduction):
    """A map whose states are functions of the 2n weights (u, v)."""

    @property
    def n_weights(self) -> int:
        """2n weights, u first."""
        return 2 * self.width


class OutputCurvatureMap(_Reduction):
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
    derived: ClassVar = {"loss": loss_of_output, "scaled_curvature": scaled_curvature, "scaled_sq_output": scaled_sq_output}
    one_step, rates, n_rates = output_curvature, rates, 2

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
    one_step = universal

    def __init__(self) -> None:
        pass

    @staticmethod
    def reduce(w: ArrayLike, lr: ArrayLike) -> NDArray[np.float64]:
        """(X, Y), shape (..., 2), of the weights (u, v), shape (..., 2n), and the learning rate."""
        f, curvature = np.moveaxis(OutputCurvatureMap.reduce(w), -1, 0)
        lr = finite_array("lr", lr)
        return np.stack(np.broadcast_arrays(lr * curvature, lr**2 * f**2 / _width_of(np.asarray(w))), axis=-1)


class SumDifferenceMap(_Reduction):
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
    derived: ClassVar = {"f": output_of_norms, "curvature": curvature_of_norms, "loss": loss_of_norms}
    one_step, rates, n_rates = sum_difference, rate_per_4_widths, 1

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
