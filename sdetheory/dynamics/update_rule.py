r"""What update rules share: :math:`w_{k+1} = U(w_k;\, \nabla L(w_k) + \xi_k,\, \eta_k, \lambda_k, \mu_k)`.

A rule names the blocks of its state and writes its step; the loop over steps, the hyperparameters of the step (from a
schedule, or one value a path in a sweep) and what can be observed are the same for all, and stand here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..engine import Program
from ..losses import Loss
from ..process import Observed, Process, about, shown
from ..schedules import as_schedule
from ..validation import Bounds
from .rule_step import RuleObserver, RuleStep
from .seen import Seen, of_function, of_weights

__all__ = ["UpdateRule"]


class UpdateRule(Process):
    """A rule with hyperparameters that are numbers or schedules; a subclass writes its `step`."""

    hyperparameters: ClassVar[tuple[str, ...]] = ("lr",)
    #: what hyperparameters may be
    bounds: ClassVar[Mapping[str, Bounds]] = {"lr": Bounds(above=0.0), "weight_decay": Bounds(at_least=0.0),
                                              "momentum": Bounds(at_least=0.0, below=1.0), "effective_lr": Bounds(above=0.0)}

    def __init__(self, loss: Loss, **hyperparameters: Any) -> None:
        if not isinstance(loss, Loss):
            raise TypeError(f"loss: expected a loss (see sdetheory.losses), got {loss!r}")
        self.loss = loss
        self.values = {name: self._number_or_schedule(name, value) for name, value in hyperparameters.items()}

    def state(self, swept: tuple[str, ...] = ()) -> dict[str, int]:
        """Names and rows of the blocks of the state; the first is w."""
        return {"w": self.dim}

    @abstractmethod
    def step(self, s: RuleStep) -> None:
        """Write one step: call block functions on s.w, s.lr, s.stochastic_gradient() and the like."""

    @property
    def seen(self) -> Mapping[str, Seen]:
        """What can be observed, by name."""
        return of_weights(self.dim)

    @property
    def observables(self) -> tuple[str, ...]:
        """Names that can be observed."""
        return tuple(self.seen)

    @property
    def dim(self) -> int:
        """Number of weights."""
        return int(self.loss.dim)

    @property
    def parameters(self) -> Mapping[str, Bounds]:
        """Hyperparameters that may differ from path to path: those that are no schedules."""
        return {name: self.bounds.get(name, Bounds()) for name in self.hyperparameters if not callable(self.values[name])}

    def write(self, observed: Mapping[str, Observed], swept: tuple[str, ...]) -> Program:
        """The program of the step."""
        state, seen = self.state(swept), self.seen
        step = RuleStep(self.loss, state, self.hyperparameters, swept)
        self.step(step)
        observers = {}
        for name, what in observed.items():
            one = seen[what] if isinstance(what, str) else of_function(what)
            observers[name] = RuleObserver(self.loss, state, self.hyperparameters, swept, rows=one.rows, dim=one.dim)
            one.write(observers[name])
        return step.program(observers, about(observed))

    def is_zero(self, name: str) -> bool:
        """Whether a hyperparameter is the number 0."""
        return not callable(self.values[name]) and self.values[name] == 0.0

    def initial_state(self, x0: NDArray[np.float64], swept: tuple[str, ...] = ()) -> NDArray[np.float64]:
        """States (n, rows) that start at the weights x0 (n, d); blocks beside w start at 0."""
        self.loss.check_start(x0)
        others = sum(self.state(swept).values()) - self.dim
        return np.concatenate([x0, np.zeros((len(x0), others))], axis=1) if others else x0

    def require_gaussian_noise(self) -> None:
        """Refuse a loss whose gradient noise is not a linear image of normal variables."""
        if self.loss.noise is not None and self.loss.noise.kind != "normal":
            raise ValueError(f"loss: {type(self).__name__} needs Gaussian gradient noise, got {self.loss.noise!r}; "
                             "use SGD for minibatch noise, or give the loss a Gaussian noise of the same covariance")

    def require_scale_invariance(self) -> None:
        """Refuse a loss that is not a function of the direction alone."""
        if not self.loss.scale_invariant or (self.loss.noise is not None and not self.loss.noise.scale_invariant):
            raise ValueError(f"loss: {type(self).__name__} needs a scale-invariant loss and noise (ILR-2), got {self.loss!r}")

    def schedule_table(self, n_steps: int, dt: float = 1.0, t0: float = 0.0) -> NDArray[np.float64]:
        """Hyperparameters of the steps from t0 + k dt, shape (n_steps, k), or (1, k) where all are constant."""
        scheduled = any(callable(value) for value in self.values.values())
        rows = max(1, n_steps) if scheduled else 1
        table = np.empty((rows, len(self.hyperparameters)))
        for column, name in enumerate(self.hyperparameters):
            value: Any = self.values[name]
            if getattr(value, "vectorised", False):
                table[:, column] = value(t0 + np.arange(rows) * dt)
            else:
                table[:, column] = [value(t0 + k * dt) for k in range(rows)] if callable(value) else value
            self.bounds.get(name, Bounds()).check_all(name, table[:, column], place="step")
        return table

    def _number_or_schedule(self, name: str, value: Any) -> Any:
        """A constant inside its bounds, or a function of the step: a schedule, a callable, or an array with one value a step."""
        if callable(value):
            return value
        return as_schedule(name, value) if np.ndim(value) == 1 else self.bounds.get(name, Bounds()).check(name, value)

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={shown(value)}" for name, value in self.values.items())
        return f"{type(self).__name__}({shown(self.loss)}, {values})"
