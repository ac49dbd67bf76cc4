r"""Signal and noise of a gradient, without bias, from minibatches at the same weights that leave no trace in the model.

.. math:: \hat N = \frac1{M-1}\sum_j\|g_j-\bar g\|^2, \qquad \hat G = \|\bar g\|^2 - \frac{\hat N}M, \qquad
          \mathbb E\hat N = \operatorname{Tr}\Sigma, \quad \mathbb E\hat G = \|\nabla L\|^2

for the gradients g_1 … g_M of M independent minibatches and their mean ḡ. (Ĝ can be negative.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .data import checked_batch
from .devices import own_random_state

__all__ = ["gradient_moments", "undisturbed"]


@contextmanager
def undisturbed(model: nn.Module) -> Any:
    """Leave buffers (running statistics) and torch's random state as they were; gradients are on, whoever calls."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        with own_random_state(model), torch.enable_grad():
            yield
    finally:
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])


def gradient_moments(model: nn.Module, loss: Callable[..., Tensor], batches: Sequence[tuple[Tensor, Tensor]],
                     groups: Mapping[str, Sequence[Tensor]]) -> tuple[float, dict[str, tuple[float, float]]]:
    """Mean loss, and (Ĝ, N̂) of each group of parameters, from two or more independent minibatches.

    Parameters
    ----------
    groups : name -> parameters of the model (with requires_grad).
    """
    if len(batches) < 2:
        raise ValueError(f"batches: expected at least 2 minibatches for an unbiased estimate, got {len(batches)}")
    every = list({id(p): p for params in groups.values() for p in params}.values())
    mean: list[Tensor] = [torch.zeros_like(p, dtype=torch.float64) for p in every]
    spread, losses = [0.0] * len(every), []
    with undisturbed(model):
        for j, (inputs, targets) in enumerate(batches, start=1):
            checked_batch(inputs, targets)
            value = loss(model(inputs), targets)
            losses.append(float(value.detach()))
            for i, g in enumerate(torch.autograd.grad(value, every, allow_unused=True)):
                # Welford: the spread is summed from differences, however large the mean
                fresh = torch.zeros_like(mean[i]) if g is None else g.detach().double()
                before = fresh - mean[i]
                mean[i] += before / j
                spread[i] += float((before * (fresh - mean[i])).sum())
    at = {id(p): i for i, p in enumerate(every)}
    found = {}
    for name, params in groups.items():
        noise = sum(spread[at[id(p)]] for p in params) / (len(batches) - 1)
        found[name] = (sum(float(mean[at[id(p)]].square().sum()) for p in params) - noise / len(batches), noise)
    return float(np.mean(losses)), found
