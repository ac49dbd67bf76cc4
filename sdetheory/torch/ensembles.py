r"""Many small nets trained at once: SGD on K copies of the weights, by `torch.func.vmap`, each with minibatches of its own.

.. math:: v^{(p)}_{k+1} = \mu v^{(p)}_k + \nabla L_{\gamma(p,k)}(w^{(p)}_k) + \lambda w^{(p)}_k, \qquad
          w^{(p)}_{k+1} = w^{(p)}_k - \eta v^{(p)}_{k+1}, \qquad p = 0, \dots, K-1

Member p starts from its own seed and draws the batches of path p: it is the run that it would be alone, to rounding. A member
whose loss is not finite is held from that step on and counted; the others go on.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from .. import __version__
from ..random import RNG, seed_sequence
from ..schedules import as_schedule
from ..validation import finite_array, integer
from .data import Minibatches, checked_batch

__all__ = ["Ensemble", "train_ensemble"]


class Ensemble:
    """K nets of one kind, their weights stacked along a first axis.

    Parameters
    ----------
    build : function of a SeedSequence that makes a net, `lambda rng: mlp(64, rng=rng)`; leave its argument out of account for
        members that start alike. Fixed parameters may differ from member to member like the others.
    n_members : K >= 1.
    rng : its K children seed the members.

    Attributes
    ----------
    params, fixed : name -> (K, …) of trained and of fixed parameters.
    velocity : name -> (K, …) momentum buffers.
    step : how many steps were made; the next takes minibatch `step`.
    diverged_at : (K,) first step with a loss that was not finite, −1 for none.

    >>> from sdetheory.torch.nets import mlp
    >>> Ensemble(lambda rng: mlp(4, 3, width=8, rng=rng), 5, rng=0).outputs(torch.ones(2, 4)).shape
    torch.Size([5, 2, 3])
    """

    def __init__(self, build: Callable[[np.random.SeedSequence], nn.Module], n_members: int, *, rng: RNG) -> None:
        self.n_members, self.seed = integer("n_members", n_members, at_least=1), seed_sequence(rng)
        nets = [build(child) for child in self.seed.spawn(self.n_members)]
        for name, module in nets[0].named_modules():
            if getattr(module, "track_running_stats", False):
                raise ValueError(f"build: expected nets without running statistics, got {name}; they are no function of the "
                                 "weights: pass track_running_stats=False, or take the nets of sdetheory.torch.nets")
        self.model = copy.deepcopy(nets[0])
        states = [dict(net.named_parameters()) for net in nets]
        stacked = {name: torch.stack([state[name].detach() for state in states]) for name in states[0]}
        self.params = {name: p for name, p in stacked.items() if states[0][name].requires_grad}
        self.fixed = {name: p for name, p in stacked.items() if name not in self.params}
        if not self.params:
            raise ValueError("build: expected nets with trained parameters, got none with requires_grad")
        self.velocity = {name: torch.zeros_like(p) for name, p in self.params.items()}
        self.step = 0
        self.diverged_at = np.full(self.n_members, -1)

    def _call(self, params: Mapping[str, Tensor], fixed: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        return functional_call(self.model, {**params, **fixed}, (inputs,))

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        """Outputs of every member on the same inputs, (K, n, outputs)."""
        checked_batch(inputs)
        return vmap(self._call, in_dims=(0, 0, None))(self.params, self.fixed, inputs)

    def sq_norm(self) -> Tensor:
        """‖w‖² of the trained weights of every member, (K,), in float64."""
        return sum((p.double().square().flatten(1).sum(1) for p in self.params.values()),
                   torch.zeros(self.n_members, dtype=torch.float64, device=self.device))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(iter(self.params.values())).device

    def __repr__(self) -> str:
        size = sum(p[0].numel() for p in self.params.values())
        lost = int((self.diverged_at >= 0).sum())
        return (f"<Ensemble of {self.n_members} nets with {size} trained weights, after {self.step} steps"
                f"{f', {lost} diverged' if lost else ''}>")


def _table(name: str, value: Any, n_members: int, steps: np.ndarray) -> np.ndarray:
    """(n_steps, K) values of a number, a schedule of the ensemble's step, or an array (K, n_steps)."""
    if isinstance(value, np.ndarray) and value.ndim == 2:
        return finite_array(name, value, shape=(n_members, len(steps)), remedy="one row a member, one column a step").T
    table = np.asarray(as_schedule(name, value)(steps))
    return np.broadcast_to(table[:, None], (len(steps), n_members))


def train_ensemble(ensemble: Ensemble, loss: Callable[[Tensor, Tensor], Tensor], batches: Minibatches, n_steps: int, *,
                   lr: Any, weight_decay: Any = 0.0, momentum: Any = 0.0, save_every: int = 1, chunk_size: int | None = None,
                   observe: Mapping[str, Callable[[Ensemble], Tensor]] | None = None) -> xr.Dataset:
    """Train every member for n_steps more steps of SGD, and record it.

    Parameters
    ----------
    loss : `loss(outputs, targets)` of one member's minibatch, a scalar.
    batches : with replacement; member p draws those of path p.
    lr, weight_decay, momentum : numbers, schedules of the ensemble's step, or arrays (K, n_steps), one row a member.
    save_every : steps between records; of the weights before steps that it divides, and at the end if it divides that.
    chunk_size : members at a time, where memory is short.
    observe : name -> function of the ensemble that gives (K,): a test loss, an accuracy, a distance to other functions.

    Returns
    -------
    xarray.Dataset
        `loss` (of the minibatch), `sq_norm`, `effective_lr` and what is observed, with dims (path, step); nan where diverged.
        Call again to go on, with other rates if you like.

    >>> from sdetheory.torch.data import teacher_student
    >>> from sdetheory.torch.nets import mlp
    >>> data, nets = teacher_student(64, 8), Ensemble(lambda rng: mlp(16, 4, width=8, rng=rng), 5, rng=0)
    >>> runs = train_ensemble(nets, nn.functional.cross_entropy, data.minibatches(8, rng=1), 10, lr=0.1, save_every=5)
    >>> dict(runs.sizes)
    {'path': 5, 'step': 3}
    """
    n_steps, save_every = integer("n_steps", n_steps, at_least=1), integer("save_every", save_every, at_least=1)
    if not batches.replacement:
        raise ValueError("batches: expected minibatches with replacement, one path a member, got none; leave out replacement")
    first, paths = ensemble.step, np.arange(ensemble.n_members)
    steps = np.arange(first, first + n_steps)
    rates = {name: _table(name, value, ensemble.n_members, steps)
             for name, value in (("lr", lr), ("weight_decay", weight_decay), ("momentum", momentum))}

    def loss_of(params: Any, fixed: Any, inputs: Tensor, targets: Tensor) -> Tensor:
        return loss(ensemble._call(params, fixed, inputs), targets)

    graded = vmap(grad_and_value(loss_of), chunk_size=chunk_size)
    records: dict[str, list[np.ndarray]] = {name: [] for name in ("loss", "sq_norm", "effective_lr", *(observe or {}))}
    saved: list[int] = []

    def record(values: Tensor, rate: np.ndarray) -> None:
        sq_norm = ensemble.sq_norm().cpu().numpy()
        found = {"loss": values, "sq_norm": sq_norm, "effective_lr": rate / sq_norm,
                 **{name: function(ensemble) for name, function in (observe or {}).items()}}
        saved.append(ensemble.step)
        for name, value in found.items():
            row = np.array(value.detach().cpu().numpy() if isinstance(value, Tensor) else value, dtype=np.float64)
            if row.shape != (ensemble.n_members,):
                raise ValueError(f"observe[{name!r}]: expected shape ({ensemble.n_members},), one value a member, "
                                 f"got {row.shape}")
            records[name].append(np.where(ensemble.diverged_at >= 0, np.nan, row))

    for i in range(n_steps):
        gradients, values = graded(ensemble.params, ensemble.fixed, *batches.at(ensemble.step, paths))
        lost = ~torch.isfinite(values.detach()).cpu().numpy() & (ensemble.diverged_at < 0)
        ensemble.diverged_at[lost] = ensemble.step
        if ensemble.step % save_every == 0:
            record(values, rates["lr"][i])
        _update(ensemble, gradients, {name: table[i] for name, table in rates.items()})
        ensemble.step += 1
    if ensemble.step % save_every == 0:
        with torch.no_grad():
            last = vmap(loss_of, chunk_size=chunk_size)(
                ensemble.params, ensemble.fixed, *batches.at(ensemble.step, paths))
        record(last, rates["lr"][-1])
    attrs = {"seed": str(ensemble.seed.entropy), "batch_seed": str(batches.seed.entropy), "batch_size": batches.batch_size,
             "clock": "step", "torch": str(torch.__version__), "sdetheory": __version__}
    return xr.Dataset({name: (("path", "step"), np.stack(rows, axis=1) if rows else np.empty((ensemble.n_members, 0)))
                       for name, rows in records.items()} | {"diverged_at": ("path", ensemble.diverged_at.copy())},
                      {"path": paths, "step": saved}, attrs)


@torch.no_grad()
def _update(ensemble: Ensemble, gradients: Mapping[str, Tensor], rates: Mapping[str, np.ndarray]) -> None:
    """One step of SGD of every member that has not diverged."""
    running = torch.from_numpy(ensemble.diverged_at < 0).to(ensemble.device)
    for name, w in ensemble.params.items():
        wide = (-1, *[1] * (w.ndim - 1))
        lr, decay, momentum = (torch.tensor(rates[key], dtype=w.dtype, device=w.device).reshape(wide)
                               for key in ("lr", "weight_decay", "momentum"))
        v = momentum * ensemble.velocity[name] + gradients[name] + decay * w
        alive = running.reshape(wide)
        ensemble.velocity[name] = torch.where(alive, v, ensemble.velocity[name])
        ensemble.params[name] = torch.where(alive, w - lr * v, w)
