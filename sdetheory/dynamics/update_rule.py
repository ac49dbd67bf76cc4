r"""What update rules share: :math:`w_{k+1} = U(w_k;\, \nabla L(w_k) + \xi_k,\, \eta_k, \lambda_k, \mu_k)`.

An update rule is a few statements on a block of weights; the stochastic gradient, the hyperparameters of the step (from a
schedule, or one value a path in a sweep) and the observables are the same for all, and are put around it here.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..schedules import as_schedule
from ..validation import number

__all__ = ["UpdateRule"]

_BOUNDS: dict[str, dict[str, Any]] = {"lr": {"above": 0.0}, "weight_decay": {"at_least": 0.0},
                                        "momentum": {"at_least": 0.0, "below": 1.0}}


class UpdateRule:
    """A rule with hyperparameters that are numbers or schedules; a subclass adds its statements."""

    clock: ClassVar[str] = "step"
    hyperparameters: ClassVar[tuple[str, ...]] = ("lr",)

    def __init__(self, loss: Any, **hyperparameters: Any) -> None:
        if not hasattr(loss, "gradient_kernel"):
            raise TypeError(f"loss: expected a loss (see sdetheory.losses), got {loss!r}")
        self.loss = loss
        self.values = {name: _number_or_schedule(name, value) for name, value in hyperparameters.items()}

    @property
    def dim(self) -> int:
        """Number of weights."""
        return int(self.loss.dim)

    @property
    def sweepable(self) -> tuple[str, ...]:
        """Hyperparameters that may differ from path to path."""
        return tuple(name for name in self.hyperparameters if not callable(self.values[name]))

    def is_zero(self, name: str) -> bool:
        """Whether a hyperparameter is the number 0."""
        return not callable(self.values[name]) and self.values[name] == 0.0

    def initial_state(self, w0: NDArray[np.float64], swept: tuple[str, ...] = ()) -> NDArray[np.float64]:
        """States (n, rows) that start at the weights w0 (n, d)."""
        self.loss.check_start(w0)
        return w0

    def require_gaussian_noise(self) -> None:
        """Refuse a loss whose gradient noise is not a linear image of normal variables."""
        if self.loss.noise is not None and self.loss.noise.kind != "normal":
            raise ValueError(f"loss: {type(self).__name__} needs Gaussian gradient noise, got {self.loss.noise!r}; "
                             "use SGD for minibatch noise, or give the loss a Gaussian noise of the same covariance")

    def require_scale_invariance(self) -> None:
        """Refuse a loss that is not a function of the direction alone."""
        if not self.loss.scale_invariant or (self.loss.noise is not None and not self.loss.noise.scale_invariant):
            raise ValueError(f"loss: {type(self).__name__} needs a scale-invariant loss and noise (ILR-2), got {self.loss!r}")

    def schedule_table(self, n_steps: int, dt: float = 1.0) -> NDArray[np.float64]:
        """Hyperparameters of every step of length `dt`, shape (n_steps, k), or (1, k) where all are constant."""
        scheduled = any(callable(value) for value in self.values.values())
        rows = max(1, n_steps) if scheduled else 1
        table = np.empty((rows, len(self.hyperparameters)))
        for column, name in enumerate(self.hyperparameters):
            value: Any = self.values[name]
            if getattr(value, "vectorised", False):
                table[:, column] = value(np.arange(rows) * dt)
            else:
                table[:, column] = [value(k * dt) for k in range(rows)] if callable(value) else value
            for bound, holds in (("above", np.greater), ("at_least", np.greater_equal), ("below", np.less)):
                limit = _BOUNDS.get(name, {}).get(bound)
                if limit is not None and not holds(table[:, column], limit).all():
                    step = int(np.argmin(holds(table[:, column], limit)))
                    raise ValueError(f"{name}: expected values {bound.replace('_', ' ')} {limit:g} at every step, "
                                     f"got {table[step, column]:g} at step {step}")
        return table

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.values.items())
        return f"{type(self).__name__}({self.loss!r}, {values})"


def _number_or_schedule(name: str, value: Any) -> Any:
    """A constant inside its bounds, or a function of the step: a schedule, a callable, or an array with one value a step."""
    if callable(value):
        return value
    return as_schedule(name, value) if np.ndim(value) == 1 else number(name, value, **_BOUNDS.get(name, {}))
