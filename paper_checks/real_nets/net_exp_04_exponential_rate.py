r"""NET-EXP-4: on real nets, weight decay is an exponential learning rate (no momentum).

.. math:: \tilde\eta_t = \eta\,(1-\eta\lambda)^{-2t-1}, \ \tilde\lambda = 0: \qquad f(x;\tilde w_t) = f(x;w_t), \quad
          \tilde w_t = (1-\eta\lambda)^{-t}w_t

for a net whose trained weights are scale-invariant, in exact arithmetic. Two runs of torch.optim.SGD on the digits, by
normalisation: in float64 their outputs on test samples part by rounding. In float32 they part 2^29 times as far from the first
steps on; later a ReLU that meets 0 on different sides in the two runs makes a jump, which the figure shows. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from paper_checks.real_nets.side_by_side import (
    EVERY,
    NETS,
    RESOLUTION,
    STEPS,
    Gaps,
    Settings,
    beside,
    constant,
    draw,
    evidence,
    gap,
    paced,
    train,
)
from sdetheory.claims import Claim, Control, Relative, Run
from sdetheory.stats import mean_estimate
from sdetheory.theory import exp_lr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

requires = ("torch",)

WITH_DECAY = {name: paced(name, 0.1, 0.05) for name in NETS}  # (lr, weight decay)
BITS = 53 - 24  # of the significands
EARLY, ANOTHER = "MLP, layer norm", "CNN, group norm"
# log2 of a ratio of two sums of roundings scatters by less than 1: 32 initialisations (8 in quick mode, Student's
# t = 12 at 1e-5) tell it within 1 (4); a slip in the schedule would be as large in both formats, 29 less
STARTS, BITS_RESOLUTION = 32, 4.0


def _pair(lr: float, decay: float, n_steps: int = STEPS, off: int = 0) -> tuple[Settings, Settings]:
    one = constant(lr, decay)
    rates = exp_lr.exponential_lr_without_momentum(step=np.arange(n_steps), lr=lr, weight_decay=decay)
    rates = rates * (1 - lr * decay) ** off
    return (Settings(one.lr[:n_steps], one.weight_decay[:n_steps], one.momentum[:n_steps]),
            Settings(rates, np.zeros(n_steps), np.zeros(n_steps)))


def _gaps(run: Run, names: Any, off: int = 0) -> dict[str, Gaps]:
    found = {}
    for name in names:
        lr, decay = WITH_DECAY[name]
        found[name] = beside(run, name, *_pair(lr, decay, off=off), -np.arange(STEPS + 1) * np.log1p(-lr * decay))
    return found


def _bits(run: Run) -> np.ndarray:
    """log2 of the gap of outputs in float32 over that in float64 after EVERY steps, one initialisation a row."""
    found = []
    pair = _pair(*WITH_DECAY[EARLY], n_steps=EVERY)
    for seed in run.rng.spawn(run.paths(STARTS)):
        start = Run(seed, run.mode)
        gaps = [gap(*(train(start, EARLY, settings, dtype=dtype) for settings in pair))[-1]
                for dtype in ("float32", "float64")]
        found.append(np.log2(gaps[0] / gaps[1]))
    return np.array(found)


def simulation(run: Run) -> dict[str, Any]:
    """Both runs of each net from the same weights on the same minibatches; the pair once more in float32."""
    run.data["gaps"] = _gaps(run, NETS)
    run.data["float32"] = {name: gap(*(train(run, name, settings, dtype="float32") for settings in _pair(*WITH_DECAY[name])))
                           for name in (EARLY, ANOTHER)}
    return evidence(run.data["gaps"]) | {"bits that float32 lacks": mean_estimate(_bits(run))}


def off_by_one(run: Run) -> dict[str, Any]:
    """The control: η (1−ηλ)^(−2t), smaller by 0.5 % (MLP) or 0.05 % (CNN)."""
    return evidence(_gaps(run, (EARLY, ANOTHER), off=1), norms=False)


def figure(run: Run) -> Figure:
    """How far the functions part in float64, with the right exponent and the wrong one, and in float32."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.2, 4.4), layout="constrained")
    ax = fig.subplots()
    draw(ax, run.data["gaps"], _gaps(Run(run.rng, run.mode), (EARLY, ANOTHER), off=1), r"$\eta(1-\eta\lambda)^{-2t}$")
    for name, gaps in run.data["float32"].items():
        ax.semilogy(EVERY * np.arange(1, len(gaps)), gaps[1:], ".-", ms=4, lw=0.8, color=f"C{list(NETS).index(name)}",
                    label=f"{name}, float32")
    ax.set_title("Weight decay as an exponential learning rate: the nets part by rounding only", fontsize=10.5)
    ax.legend(frameon=False, fontsize=7.5, ncols=2, loc="upper center")
    return fig


claim = Claim(
    "NET-EXP-4",
    title="On real nets, weight decay is an exponential learning rate",
    paper="exp_lr",
    statement=r"MLPs and CNNs with batch, layer, group, instance and weight normalisation (last layer fixed, digits, batch 16): "
              r"torch.optim.SGD with constant $(\eta,\lambda)$ and without decay at $\tilde\eta_t=\eta(1-\eta\lambda)^{-2t-1}$ "
              r"give the same outputs on test samples at every step, in float64 up to rounding; $\tilde w_t="
              r"(1-\eta\lambda)^{-t}w_t$. In float32 they part $2^{29}$ times as far.",
    derivation=lambda: exp_lr.exponential_lr_without_momentum.derivation,
    prediction=dict.fromkeys(NETS, 0.0) | {"sq_norm": 1.0, "bits that float32 lacks": float(BITS)},
    simulation=simulation,
    resolution=dict.fromkeys(NETS, RESOLUTION) | {"sq_norm": Relative(RESOLUTION), "bits that float32 lacks": BITS_RESOLUTION},
    negative_control=Control(r"an exponent off by one: $\tilde\eta_t=\eta(1-\eta\lambda)^{-2t}$", simulation=off_by_one),
    figure=figure,
)
