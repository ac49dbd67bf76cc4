r"""An ensemble of small nets on the digits, and the size of a gradient at the weights where the nets are.

For a scale-invariant loss and SGD without momentum, r = ‖w‖² obeys exactly (EXP-2)

.. math:: r' = (1-\eta\lambda)^2\,r + \eta^2\,\|g\|^2

A minibatch that the run has not seen gives ‖g‖² the law that the next step's has, so what it says of r is a prediction. A step
of SVAG(l) has :math:`g = \frac{1+s}2\nabla L_{\gamma_1} + \frac{1-s}2\nabla L_{\gamma_2}`, s = √(2l − 1).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, TypeVar

import numpy as np

from paper_checks.real_nets.machine import device, on_device
from sdetheory.claims import Trial

__all__ = ["BATCH", "NET", "Gradients", "dataset", "nets", "once", "per_member"]

T = TypeVar("T")

BATCH = 16
NET = on_device("MLP 64–16–10 with batch normalisation", "PreResNet-32 with batch normalisation")


def once(measure: Callable[[Trial], T]) -> Callable[[Trial], T]:
    """Make a measurement remember its last trial: a control that judges the same nets does not train them again."""
    @lru_cache(maxsize=1)
    def made(entropy: Any, spawn_key: tuple[int, ...], mode: Any) -> T:
        return measure(Trial(np.random.SeedSequence(entropy, spawn_key=spawn_key), mode))

    @wraps(measure)
    def remembered(trial: Trial) -> T:
        return made(trial.rng.entropy, tuple(trial.rng.spawn_key), trial.mode)

    return remembered


def dataset() -> Any:
    """The digits, where the nets are."""
    from sdetheory.torch.data import digits

    return digits().to(device())


def nets(n_members: int, rng: np.random.SeedSequence, scales: Any = 1.0) -> Any:
    """Fresh nets with their last layer fixed; all trained weights of member p are multiplied by scales[p]."""
    import torch

    from sdetheory.torch.ensembles import Ensemble
    from sdetheory.torch.nets import mlp, preresnet

    def build(seed: Any) -> Any:
        if on_device(True, False):
            return mlp(64, width=16, depth=1, norm="batch", device=device(), rng=seed)
        return preresnet(32, n_channels=1, norm="batch", device=device(), rng=seed)

    found = Ensemble(build, n_members, rng=rng)
    factors = torch.from_numpy(np.broadcast_to(np.asarray(scales, dtype=np.float32), (n_members,)).copy()).to(device())
    for name, p in found.params.items():
        found.params[name] = p * factors.reshape(-1, *[1] * (p.ndim - 1))
    return found


def per_member(values: Any, n_each: int, n_steps: int) -> np.ndarray:
    """(K, n_steps): one value a setting, n_each members each."""
    return np.broadcast_to(np.repeat(np.asarray(values, dtype=float), n_each)[:, None], (len(values) * n_each, n_steps)).copy()


class Gradients:
    """‖g‖² of every member on minibatches of their own, drawn from `rng`; call it with an ensemble."""

    def __init__(self, data: Any, loss: Callable[..., Any], rng: np.random.SeedSequence, batch_size: int = BATCH) -> None:
        self.batches, self.loss = data.minibatches(batch_size, rng=rng), loss

    def of(self, ensemble: Any, draw: int = 0, draws: int = 1) -> dict[str, Any]:
        """Name -> (K, …) gradients on one more minibatch each; one of `draws` a step."""
        return self._weighted(ensemble, [draws * ensemble.step + draw], [1.0])

    def amplified(self, ensemble: Any, amplification: int) -> dict[str, Any]:
        """Name -> (K, …) gradients of SVAG on minibatches 2k and 2k + 1 of each member, in one pass."""
        s = (2 * amplification - 1) ** 0.5
        return self._weighted(ensemble, [2 * ensemble.step, 2 * ensemble.step + 1], [(1 + s) / 2, (1 - s) / 2])

    def _weighted(self, ensemble: Any, steps: list[int], weights: list[float]) -> dict[str, Any]:
        """Gradients of a weighted sum of the losses on the minibatches of some steps."""
        from torch.func import grad, vmap

        def loss_of(params: Any, fixed: Any, drawn: Any) -> Any:
            return sum(weight * self.loss(ensemble._call(params, fixed, x), y) for weight, (x, y) in zip(weights, drawn, strict=True))

        drawn = [self.batches.at(step, np.arange(ensemble.n_members)) for step in steps]
        return vmap(grad(loss_of))(ensemble.params, ensemble.fixed, drawn)

    def __call__(self, ensemble: Any) -> Any:
        return sum(g.double().flatten(1).square().sum(1) for g in self.of(ensemble).values())
