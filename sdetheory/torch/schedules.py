r"""Schedules of `sdetheory.schedules` on an optimizer of torch, and on the clock of SVAG.

SVAG with amplification l makes l steps of size η/l for one of SGD. Step k is at the effective step k/l, and reads there

.. math:: \eta_k = \eta(k/l), \qquad \sum_{k<ln} \frac{\eta(k/l)}{l} \to \int_0^n \eta(t)\,dt,

the rule of `sdetheory.dynamics.SVAG`: runs of different l are at the same point of the schedule after equal k/l (SVAG-12). A
scheduler of torch's own knows whole effective steps only: it goes one step every l of the optimizer, and holds η in between.
"""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..schedules import FromCallable, Schedule, as_schedule
from ..validation import integer

__all__ = ["ScheduleLR", "small_steps"]


def small_steps(schedule: Any, amplification: int) -> Schedule:
    """The step sizes of SVAG under a schedule of SGD: η(k/l)/l at step k, what a `Translation` for SVAG starts from.

    >>> from sdetheory.schedules import Triangular
    >>> small_steps(Triangular(0.1, 0.3, period=4), 2).table(5)
    array([0.05 , 0.075, 0.1  , 0.125, 0.15 ])
    """
    lr, l = as_schedule("schedule", schedule), integer("amplification", amplification, at_least=1)
    return FromCallable(lambda step: lr(step / l) / l, takes_arrays=True)


class ScheduleLR(LRScheduler):
    """Play a schedule; call `step()` after each `optimizer.step()`, with SVAG too.

    Parameters
    ----------
    optimizer : any of torch's, or `SVAG`, which reads the schedule at k/l.
    lr : the learning rate of SGD: a schedule, a number, one value a step, or a callable of the (effective) step. It is that of
        every group, and takes the place of what was there.
    weight_decay : the same for weight decay; None leaves it alone.

    `state_dict` holds the step; the schedules are given again.

    >>> import torch
    >>> from sdetheory.schedules import Cosine
    >>> from sdetheory.torch.optimizers import SVAG
    >>> optimizer = SVAG(torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=1.0), amplification=2)
    >>> scheduler = ScheduleLR(optimizer, Cosine(0.2, n_steps=2))
    >>> for _ in range(4):
    ...     print(f"effective step {scheduler.effective_step}: lr {scheduler.get_last_lr()[0]:.3f}")
    ...     loss = optimizer.step(lambda: torch.tensor(0.0)); scheduler.step()
    effective step 0.0: lr 0.200
    effective step 0.5: lr 0.171
    effective step 1.0: lr 0.100
    effective step 1.5: lr 0.029
    """

    #: stepped after each step of SVAG, not after l of them
    every_step = True

    def __init__(self, optimizer: Optimizer, lr: Any, *, weight_decay: Any = None) -> None:
        self.lr = as_schedule("lr", lr)
        self.weight_decay = None if weight_decay is None else as_schedule("weight_decay", weight_decay)
        super().__init__(optimizer)

    @property
    def effective_step(self) -> float:
        """Steps of SGD that the steps so far stand for: k, or k/l with SVAG."""
        return self.last_epoch / getattr(self.optimizer, "amplification", 1)

    def get_lr(self) -> list[Any]:
        """The learning rate at the present step, for each group."""
        return [self.lr(self.effective_step)] * len(self.optimizer.param_groups)

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next step of the optimizer."""
        if epoch is not None:
            raise ValueError(f"epoch: expected none, got {epoch!r}; load a state to go to another step")
        super().step()
        self._set_decay()

    def _set_decay(self) -> None:
        if self.weight_decay is not None:
            for group in self.optimizer.param_groups:
                group["weight_decay"] = self.weight_decay(self.effective_step)

    def state_dict(self) -> dict[str, Any]:
        """The step, as plain values."""
        return {"last_epoch": self.last_epoch, "_step_count": self._step_count, "_last_lr": list(self._last_lr)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved step; the optimizer's own state has its learning rates."""
        self.last_epoch, self._step_count = state_dict["last_epoch"], state_dict["_step_count"]
        self._last_lr = list(state_dict["_last_lr"])
        for group, lr in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = lr
        self._set_decay()
