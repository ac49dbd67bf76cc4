r"""Two runs of torch.optim.SGD on one net and the same minibatches, and how far rounding may part the functions they give.

In exact arithmetic the second run is the first on another scale,

.. math:: \tilde w_t = P_t w_t \quad\Rightarrow\quad f(x;\tilde w_t) = f(x; w_t) \text{ for every input } x,

for a net whose outputs see no scale of its trained weights. Compared are the outputs on a fixed batch of test samples at
every `EVERY` steps, relative to the largest, and ‖w̃‖²/(P²‖w‖²). Clock: steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from paper_checks.real_nets.machine import device, on_device
from sdetheory import Exact, Quantity, Relative
from sdetheory.claims import Trial
from sdetheory.stats.rounding import response_error
from sdetheory.translate import Translation

__all__ = ["EVERY", "NETS", "RESOLUTION", "STEPS", "Gaps", "Settings", "Trained", "beside", "constant", "draw",
           "evidence", "gap", "net_named", "paced", "played", "quantities", "saved_steps", "train"]

STEPS = on_device(240, 600)
EVERY = 20
BATCH, SHOWN = 16, 32  # samples of a minibatch; test samples on which outputs are compared
RESOLUTION = 1e-5  # of outputs relative to the largest: far above rounding, far below what a wrong schedule does
#: name -> (kind, normalisation): every normalisation, dense and convolutional, ReLU
NETS = {"MLP, batch norm": ("mlp", "batch"), "MLP, layer norm": ("mlp", "layer"), "MLP, weight norm": ("mlp", "weight"),
        "CNN, group norm": ("cnn", "group"), "CNN, instance norm": ("cnn", "instance")}
if on_device(False, True):
    NETS["PreResNet-32, batch norm"] = ("preresnet", "batch")

# The relative change of everything given by which the response to errors is measured. Now and then a ReLU changes sides within
# it (at 1e-10 in 1 of 100 runs of a net), and its jump is no response. Rounding is 1e-3 of what is seen at 1e-12.
PROBE = 1e-12
# Roundings in series that an entry of one step goes through: sums over at most 64 inputs and 16 samples of 64 positions,
# in forward and backward passes of 3 layers with their normalisations (3 sums each), and the update; in either run.
ROUNDINGS = 2 * (2 * 3 * (64 + 4 * BATCH * 64) + 40)


@dataclass(frozen=True)
class Settings:
    """One run: (n,) learning rates, decays and momenta; `tilt` β adds βw_0 to the first buffer, `scale` multiplies w_0 and
    divides v_0. With a `translation`, `TranslatedLR` sets all of them, and does what it asks of weights and buffers."""

    lr: NDArray[np.float64]
    weight_decay: NDArray[np.float64]
    momentum: NDArray[np.float64]
    tilt: float = 0.0
    scale: float = 1.0
    translation: Translation | None = None


def constant(lr: float, weight_decay: float, momentum: float = 0.0, **others: Any) -> Settings:
    """The same hyper-parameters at every step."""
    return Settings(*(np.full(STEPS, value) for value in (lr, weight_decay, momentum)), **others)


def played(translation: Translation) -> Settings:
    """The side of a translation without weight decay, as the library plays it on an optimizer of torch."""
    return Settings(translation.decay_free_lr, np.zeros(translation.n_steps), translation.momentum, translation=translation)


def paced(name: str, lr: Any, weight_decay: Any) -> tuple[Any, Any]:
    """What a net gets in place of an MLP's (lr, weight decay), so that rounding does not e-fold within the run.

    A convolutional net has fewer weights and turns further in a step: a tenth of the rate, so that the product, which sets the
    pace at equilibrium (ILR-4), is a tenth too.
    """
    return (lr, weight_decay) if NETS[name][0] == "mlp" else (lr / 10, weight_decay)


class Trained(NamedTuple):
    """Outputs (saves, samples, classes) and log ‖w‖² (saves,)."""

    outputs: NDArray[np.float64]
    log_sq_norm: NDArray[np.float64]


class Gaps(NamedTuple):
    """At each saved step: largest difference of outputs, ‖w̃‖²/(P²‖w‖²), and what rounding may do to either.

    `wrong` has the same two of the run that the control puts in the place of the second.
    """

    outputs: NDArray[np.float64]
    sq_norm: NDArray[np.float64]
    bound: NDArray[np.float64]
    wrong: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None


def saved_steps(n_steps: int = STEPS) -> NDArray[np.int64]:
    """The steps at which functions are compared."""
    return np.arange(0, n_steps + 1, EVERY)


def net_named(name: str, rng: Any, dtype: Any) -> Any:
    """A fresh net of that name for digits."""
    from sdetheory.torch.nets import cnn, mlp, preresnet

    kind, norm = NETS[name]
    if kind == "mlp":
        return mlp(64, width=32, norm=norm, dtype=dtype, device=device(), rng=rng)
    if kind == "cnn":
        return cnn(widths=(8, 16), norm=norm, dtype=dtype, device=device(), rng=rng)
    return preresnet(32, n_channels=1, norm=norm, dtype=dtype, device=device(), rng=rng)


def train(trial: Trial, name: str, settings: Settings, *, dtype: str = "float64", buffer: float = 0.0,
          change: float = 0.0) -> Trained:
    """Train the net of that name from the weights and on the minibatches that belong to (trial, name).

    Parameters
    ----------
    buffer : size of a random first buffer v_0 relative to that of w_0.
    change : the relative size by which every weight, buffer entry, pixel and learning rate is changed, with random signs.
    """
    import torch

    from sdetheory.torch.data import digits
    from sdetheory.torch.schedulers import TranslatedLR

    here, kind = device(), getattr(torch, dtype)
    for_net, for_batches, for_buffer = _streams(trial, name, 3)
    net = net_named(name, for_net, torch.float64)
    data = digits(dtype=torch.float64).to(here)
    signs = np.random.default_rng(0)

    def changed(x: Any) -> Any:
        return x * (1 + change * torch.from_numpy(signs.choice([-1.0, 1.0], tuple(x.shape))).to(here)) if change else x

    data = replace(data, train_inputs=changed(data.train_inputs), test_inputs=changed(data.test_inputs)).to(dtype=kind)
    weights = [p for p in net.parameters() if p.requires_grad]
    draw = np.random.default_rng(for_buffer)
    with torch.no_grad():
        starts = [changed(p.clone()) for p in weights]
        buffers = [changed(buffer * p.square().mean().sqrt() * torch.from_numpy(draw.standard_normal(tuple(p.shape))).to(here))
                   + settings.tilt * w for p, w in zip(weights, starts, strict=True)]
        for p, w in zip(weights, starts, strict=True):
            p.copy_(settings.scale * w)
    net = net.to(kind)
    weights = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD([{"params": weights, "scale_invariant": True}], lr=1.0)
    for p, v in zip(weights, buffers, strict=True):
        optimizer.state[p]["momentum_buffer"] = (v / settings.scale).to(kind)
    player = TranslatedLR(optimizer, settings.translation) if settings.translation is not None else None
    batches, (group,) = data.minibatches(BATCH, rng=for_batches), optimizer.param_groups
    n_steps, shown = len(settings.lr), data.test_inputs[:SHOWN]
    outputs, norms = [], []
    for k in range(n_steps + 1):
        if k % EVERY == 0:
            with torch.no_grad():
                outputs.append(net(shown).double().cpu().numpy())
                norms.append(np.log(sum(float(p.double().square().sum()) for p in weights)))
        if k == n_steps:
            break
        if player is None:
            group.update(lr=float(settings.lr[k]) * (1 + change), weight_decay=float(settings.weight_decay[k]),
                         momentum=float(settings.momentum[k]))
        inputs, targets = batches[k]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(inputs), targets).backward()
        optimizer.step()
        if player is not None:
            player.step()
    return Trained(np.array(outputs), np.array(norms))


def _streams(trial: Trial, name: str, n: int) -> list[np.random.SeedSequence]:
    """The same for every run that is to start alike: `SeedSequence.spawn` counts, so a new parent is made."""
    return np.random.SeedSequence(trial.rng.entropy, spawn_key=(*trial.rng.spawn_key, *name.encode())).spawn(n)


def gap(one: Trained, other: Trained) -> NDArray[np.float64]:
    """Largest difference of outputs at each saved step, relative to the largest output; infinite where there is none."""
    size = np.abs(one.outputs).max(axis=(1, 2))
    apart = np.abs(other.outputs - one.outputs).max(axis=(1, 2)) / size
    return np.where(np.isfinite(apart), apart, np.inf)


def beside(trial: Trial, name: str, one: Settings, other: Settings, log_scale: NDArray[np.float64], *,
           wrong: Settings | None = None, buffer: float = 0.0, leaning: float = 0.0) -> Gaps:
    """Run both, the first once more with everything given changed by ±PROBE, and what the control says of the second.

    Parameters
    ----------
    log_scale : (n + 1,) log P_t.
    wrong : in the place of `other`, for the control.
    leaning : max |η_t β_t|: how much of a step of the weights its buffer makes only to undo it.
    """
    first, second = (train(trial, name, settings, buffer=buffer) for settings in (one, other))
    near = train(trial, name, one, buffer=buffer, change=PROBE)
    steps = saved_steps(len(one.lr))
    moved = np.maximum(gap(first, near), np.abs(near.log_sq_norm - first.log_sq_norm))
    bound = response_error(moved, steps, probe=PROBE, roundings=ROUNDINGS, besides=4 * np.abs(log_scale[steps]),
                           linear=0.01, leverage=1 + leaning / (1 - one.momentum.max()))

    def apart(found: Trained) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return gap(first, found), np.exp(found.log_sq_norm - first.log_sq_norm - 2 * log_scale[steps])

    return Gaps(*apart(second), bound, None if wrong is None else apart(train(trial, name, wrong, buffer=buffer)))


def quantities(resolution: float = RESOLUTION, no_control: Mapping[str, str] | None = None) -> dict[str, Quantity]:
    """The table of a claim: no gap of the outputs of any net, a ratio 1 of all norms; `no_control` says why of a net."""
    reasons = no_control or {}
    shown = {name: Quantity(0.0, resolution, broken=name not in reasons, no_control=reasons.get(name, "")) for name in NETS}
    return shown | {"sq_norm": Quantity(1.0, Relative(resolution), broken=True)}


def evidence(found: Mapping[str, Gaps], *, wrong: bool = False) -> dict[str, Exact]:
    """A comparison of outputs a net, every saved step of it, and one of the norms of all; `wrong`: of the control's runs."""
    pairs = {name: (gaps.wrong if wrong else (gaps.outputs, gaps.sq_norm), gaps.bound) for name, gaps in found.items()}
    judged = {name: (*pair, bound) for name, (pair, bound) in pairs.items() if pair is not None}
    return {name: Exact(outputs, bound) for name, (outputs, _, bound) in judged.items()} | {
        "sq_norm": Exact(*(np.concatenate([parts[i] for parts in judged.values()]) for i in (1, 2)))}


def draw(ax: Any, found: Mapping[str, Gaps], control: str) -> None:
    """Gaps against steps: measured, of the control (dashed), and what rounding may do (dotted)."""
    for i, (name, gaps) in enumerate(found.items()):
        steps = EVERY * np.arange(len(gaps.outputs))[1:]
        ax.semilogy(steps, np.maximum(gaps.outputs[1:], 1e-17), color=f"C{i}", label=name)
        ax.semilogy(steps, gaps.bound[1:], color=f"C{i}", ls=":", lw=1)
        if gaps.wrong is not None:
            ax.semilogy(steps, gaps.wrong[0][1:], color=f"C{i}", ls="--", lw=1.2)
    ax.plot([], [], color="0.4", ls="--", label=f"control: {control}")
    ax.plot([], [], color="0.4", ls=":", label="bound on rounding")
    ax.set(xlabel=r"step $t$", ylabel=r"$\max_x|f(x;\tilde w_t)-f(x;w_t)|\,/\,\max|f|$", ylim=(1e-17, 1e6))
    ax.legend(ncols=2, loc="upper center")
