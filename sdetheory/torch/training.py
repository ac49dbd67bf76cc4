"""A training loop that keeps a run that diverges: w_{k+1} = step(w_k, batch k), the loss of every step, and where it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..validation import integer
from .data import Minibatches

__all__ = ["Run", "accuracy", "train"]


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """Losses (n_steps,) of the minibatches before each step, nan after `diverged_at`, the first whose loss was not finite."""

    losses: NDArray[np.float64]
    diverged_at: int | None = None

    def __repr__(self) -> str:
        if self.diverged_at is not None:
            return f"<Run of {len(self.losses)} steps, diverged at step {self.diverged_at}>"
        return f"<Run of {len(self.losses)} steps, loss {self.losses[0]:.4g} → {self.losses[-1]:.4g}>"


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Share of the samples whose largest output is at their class.

    >>> accuracy(torch.eye(3), torch.tensor([0, 1, 0]))
    0.6666666666666666
    """
    return int((outputs.argmax(-1) == targets).sum()) / len(targets)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, loss: Callable[..., Tensor], batches: Minibatches,
          n_steps: int, *, scheduler: Any = None, start: int = 0, on_step: Callable[[int], None] | None = None) -> Run:
    """Train for n_steps steps, from step `start` of the minibatches on.

    Parameters
    ----------
    loss : `loss(outputs, targets)`, a scalar.
    batches : step k takes batch k; an optimizer with `draws_per_step` = 2 (SVAG) takes 2k and 2k + 1.
    scheduler : stepped after each step; one of torch's own, with SVAG, after every `amplification` steps, one unit of its clock.
    on_step : called with k before step k.

    Returns
    -------
    Run
        Training stops at a loss that is not finite; the weights are then of no use, the losses up to it are.
    """
    n_steps, start = integer("n_steps", n_steps, at_least=1), integer("start", start, at_least=0)
    draws = getattr(optimizer, "draws_per_step", 1)
    per_unit = 1 if getattr(scheduler, "every_step", False) else getattr(optimizer, "amplification", 1)
    losses = np.full(n_steps, np.nan)
    for k in range(start, start + n_steps):
        if on_step is not None:
            on_step(k)
        upcoming = iter(range(k * draws, (k + 1) * draws))

        def closure(upcoming: Any = upcoming) -> Tensor:
            inputs, targets = batches[next(upcoming)]
            optimizer.zero_grad()
            value = loss(model(inputs), targets)
            value.backward()
            return value

        losses[k - start] = float(torch.as_tensor(optimizer.step(closure)).detach())  # type: ignore[arg-type]
        if not np.isfinite(losses[k - start]):
            return Run(losses, k)
        if scheduler is not None and (k + 1) % per_unit == 0:
            scheduler.step()
    return Run(losses)
