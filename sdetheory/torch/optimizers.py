r"""Two relatives of SGD whose noise is known: SVAG, and gradient descent with normal noise.

SVAG with amplification l draws two independent minibatches a step and, with :math:`s = \sqrt{2l-1}`, takes the step lr/l along

.. math:: \tfrac{1+s}{2}\,\nabla L_{\gamma_1} + \tfrac{1-s}{2}\,\nabla L_{\gamma_2}

of mean ∇L and covariance lΣ: l steps stand for one of SGD, and l → ∞ is the SDE (SVAG-1 … 3).

Noisy GD has the noise of minibatches of B, drawn with replacement from n samples, but normal. With z standard normal,

.. math:: \sum_i a_i\nabla\ell_i, \qquad a_i = \frac1n + \frac{z_i - \bar z}{\sqrt{Bn}}

is one backward pass through weighted losses, with mean ∇L and covariance exactly that of the minibatches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from ..random import RNG, normals, stream_key
from ..validation import integer, number

__all__ = ["SVAG", "NoisyGD"]


class SVAG(Optimizer):
    """Make each step of an SGD optimizer a step of SVAG; lr, in every group, stays that of SGD.

    Parameters
    ----------
    optimizer : torch.optim.SGD without momentum; weight decay is allowed.
    amplification : l >= 1; 1 is SGD on the first of the two minibatches, to the bit.

    `step(closure)` calls the closure twice, with gradients cleared: each time it draws a minibatch of its own, computes the
    loss, calls `backward()` and returns the loss. The mean of the two is returned.

    A scheduler of torch's own goes one step every l steps. `ScheduleLR` goes one step a step, and reads its schedule at k/l;
    `TranslatedLR` too. Give the scheduler this optimizer, not the one inside.
    """

    draws_per_step = 2

    def __init__(self, optimizer: SGD, amplification: int) -> None:
        if not isinstance(optimizer, SGD):
            raise TypeError(f"optimizer: expected torch.optim.SGD, got {type(optimizer).__name__}; SVAG is about its noise")
        _refuse_momentum(optimizer)
        self.amplification = integer("amplification", amplification, at_least=1)
        self.optimizer = optimizer
        super().__init__(optimizer.param_groups, optimizer.defaults)
        self._share()

    def _share(self) -> None:
        """One set of groups and one state for the wrapper and the optimizer in it."""
        self.param_groups, self.state = self.optimizer.param_groups, self.optimizer.state

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor:  # type: ignore[override]
        """One step of size lr/l on two minibatches; momentum that came in since the last one is refused."""
        _refuse_momentum(self.optimizer)
        if not callable(closure):
            raise TypeError(f"closure: expected a function that draws a minibatch and calls backward(), got {closure!r}; SVAG "
                            "calls it twice a step")
        params = [p for group in self.param_groups for p in group["params"]]
        losses, gradients = [], []
        for _ in range(2):
            self.zero_grad()
            with torch.enable_grad():
                losses.append(torch.as_tensor(closure()).detach())
            gradients.append([None if p.grad is None else p.grad.clone() for p in params])
        s = (2 * self.amplification - 1) ** 0.5
        for p, first, second in zip(params, *gradients, strict=True):
            parts = [g * weight for g, weight in ((first, (1 + s) / 2), (second, (1 - s) / 2)) if g is not None and weight]
            p.grad = sum(parts[1:], parts[0]) if parts else None
        rates = [group["lr"] for group in self.param_groups]
        try:
            for group, lr in zip(self.param_groups, rates, strict=True):
                group.update(lr=lr / self.amplification, amplification=self.amplification)  # what a probe inside goes by
            self.optimizer.step()
        finally:
            for group, lr in zip(self.param_groups, rates, strict=True):
                group["lr"] = lr
                group.pop("amplification", None)
        return (losses[0] + losses[1]) / 2

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "optimizer": self.optimizer, "amplification": self.amplification}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._share()

    def state_dict(self) -> dict[str, Any]:
        """That of the optimizer inside, and the amplification."""
        return {**self.optimizer.state_dict(), "amplification": self.amplification}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state of the same amplification."""
        if state_dict.get("amplification") != self.amplification:
            raise ValueError(f"state_dict: expected amplification {self.amplification}, "
                             f"got {state_dict.get('amplification')!r}")
        self.optimizer.load_state_dict({k: v for k, v in state_dict.items() if k != "amplification"})
        self._share()


def _refuse_momentum(optimizer: SGD) -> None:
    """Refuse groups with momentum, whoever put it there: a scheduler, `add_param_group`, `load_state_dict`."""
    for i, group in enumerate(optimizer.param_groups):
        if group["momentum"]:
            raise ValueError(f"param group {group.get('name', i)!r}: expected momentum 0, got {group['momentum']}; the limit of SVAG "
                             "is the SDE of SGD without momentum (OneCycleLR and CyclicLR bring it: cycle_momentum=False)")


class NoisyGD(Optimizer):
    """Gradient descent with normal noise of the covariance of minibatches, w <- (1 − lr λ) w − lr (∇L + Σ^{1/2} z).

    Parameters
    ----------
    params : parameters or groups, as torch has them.
    lr : > 0.
    batch_size : B of the minibatches whose noise it is.
    weight_decay : λ >= 0.
    rng : the noise of step k is a function of (rng, k); the step is in the groups, and so in `state_dict`.

    `step(closure)` calls the closure once; it returns the loss of each of the n samples, (n,), and calls no `backward()`. The
    loss of a sample must not depend on the others: no batch normalisation. The mean loss is returned.
    """

    def __init__(self, params: Any, lr: float, *, batch_size: int, weight_decay: float = 0.0, rng: RNG) -> None:
        decay = number("weight_decay", weight_decay, at_least=0)
        defaults = {"lr": number("lr", lr, above=0), "weight_decay": decay, "step": 0}
        self.batch_size = integer("batch_size", batch_size, at_least=1)
        self._key = stream_key(rng, "gradient noise")
        super().__init__(params, defaults)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "batch_size": self.batch_size, "_key": self._key}

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor:  # type: ignore[override]
        """One step on the losses of all samples."""
        if not callable(closure):
            raise TypeError(f"closure: expected a function that returns the loss of each sample, got {closure!r}")
        self.zero_grad()
        with torch.enable_grad():
            losses = closure()
            if not isinstance(losses, Tensor) or losses.ndim != 1 or len(losses) < 2 or not losses.requires_grad:
                raise ValueError(f"closure: expected losses of shape (n,), n >= 2, with their graph, got "
                                 f"{tuple(getattr(losses, 'shape', ()))}; take reduction='none', and leave out backward()")
            n, step = len(losses), self.param_groups[0]["step"]
            z = normals(self._key, 0, step * n + np.arange(n))
            weights = 1 / n + (z - z.mean()) / (self.batch_size * n) ** 0.5
            (torch.as_tensor(weights, dtype=losses.dtype, device=losses.device) * losses).sum().backward()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.add_(p.grad.add(p, alpha=group["weight_decay"]), alpha=-group["lr"])
            group["step"] = step + 1
        return losses.detach().mean()
