r"""EXP-4: weight decay is an exponential learning rate (no momentum).

.. math:: w_{t+1} = (1-\eta\lambda)w_t - \eta\nabla L_{t+1}(w_t) \quad\text{and}\quad
          \tilde w_{t+1} = \tilde w_t - \eta\,(1-\eta\lambda)^{-2t-1}\,\nabla L_{t+1}(\tilde w_t), \quad \tilde w_0 = w_0:
          \qquad \tilde w_t = (1-\eta\lambda)^{-t}w_t

for scale-invariant losses L_t and ηλ < 1: the same functions at every step. Two pairs (η, λ) on minibatches of three
losses; in float64 the two runs part by rounding and no more. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from paper_checks.exp_lr.side_by_side import LOSSES, RESOLUTION, Gaps, Other, beside, worst
from sdetheory.claims import Claim, Control, Relative, Run
from sdetheory.theory import exp_lr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = 400
PAIRS = ((0.2, 0.05), (0.2, 0.1))  # (lr, weight decay): the rate grows by e^8 and e^16
NAMES = ("loss", "direction", "sq_norm")


def _pairs(run: Run, off: int = 0) -> list[Gaps]:
    """Every pair on every loss; the exponent of the rate is greater by `off`."""
    found = []
    steps = np.arange(STEPS + 1)
    for lr, decay in PAIRS:
        rates = exp_lr.exponential_lr_without_momentum(step=steps[:-1], lr=lr, weight_decay=decay)
        other = Other(rates * (1 - lr * decay) ** off, -steps * np.log1p(-lr * decay))
        found += [beside(run, name, other, lr=lr, weight_decay=decay, momentum=0.0, n_steps=STEPS) for name in LOSSES]
    return found


def simulation(run: Run) -> dict[str, Any]:
    """The two runs on the same minibatches."""
    run.data["gaps"] = _pairs(run)
    return worst(run.data["gaps"])


def off_by_one(run: Run) -> dict[str, Any]:
    """The control: η (1−ηλ)^(−2t), which differs by a constant factor."""
    return worst(_pairs(run, off=1))


def figure(run: Run) -> Figure:
    """Left: the two learning rates. Right: how far the functions part, with the right exponent and the wrong one."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.2, 3.8), layout="constrained")
    left, right = fig.subplots(1, 2)
    steps = np.arange(STEPS)
    colours = ("tab:blue", "tab:orange", "tab:green")
    for (lr, decay), style in zip(PAIRS, ("-", "--"), strict=True):
        rates = exp_lr.exponential_lr_without_momentum(step=steps, lr=lr, weight_decay=decay)
        left.semilogy(steps, rates, color="tab:purple", ls=style,
                      label=rf"$\tilde\eta_t$, $\eta\lambda={lr * decay:g}$, no decay")
        left.semilogy(steps, np.full(STEPS, lr), color="0.5", ls=style, label=rf"$\eta={lr:g}$, $\lambda={decay:g}$")
    left.set(xlabel=r"step $t$", ylabel="learning rate")
    left.set_title("The same training, two schedules", fontsize=11)
    wrong = _pairs(Run(run.rng, run.mode), off=1)
    for name, colour, gaps, apart in zip(LOSSES, colours, run.data["gaps"], wrong, strict=False):
        right.semilogy(gaps.steps[1:], np.maximum(gaps.direction[1:], 1e-17), color=colour, label=name)
        right.semilogy(apart.steps[1:], apart.direction[1:], color=colour, ls="--", lw=1)
        right.semilogy(gaps.steps[1:], gaps.bound[1:], color=colour, ls=":", lw=1)
    right.plot([], [], color="0.4", ls="--", label=r"control: $(1-\eta\lambda)^{-2t}$")
    right.plot([], [], color="0.4", ls=":", label="bound on rounding")
    right.set(xlabel=r"step $t$", ylabel=r"distance of directions $\|\tilde w_t/\|\tilde w_t\|-\hat w_t\|$", ylim=(1e-17, 1e4))
    right.set_title(r"Equal functions ($\eta\lambda=0.01$)", fontsize=11)
    left.legend(frameon=False, fontsize=8)
    right.legend(frameon=False, fontsize=7, loc="upper center", ncols=2)
    return fig


claim = Claim(
    "EXP-4",
    title="Weight decay is an exponential learning rate",
    paper="exp_lr",
    statement=r"For scale-invariant losses, SGD with constant $(\eta,\lambda)$, $\eta\lambda<1$, gives the same functions at "
              r"every step as SGD without decay at the rates $\tilde\eta_t=\eta(1-\eta\lambda)^{-2t-1}$; the weights obey "
              r"$\tilde w_t=(1-\eta\lambda)^{-t}w_t$.",
    derivation=lambda: exp_lr.exponential_lr_without_momentum.derivation,
    prediction={"loss": 0.0, "direction": 0.0, "sq_norm": 1.0},
    simulation=simulation,
    resolution={"loss": RESOLUTION, "direction": RESOLUTION, "sq_norm": Relative(RESOLUTION)},
    negative_control=Control(r"an exponent off by one: $\tilde\eta_t=\eta(1-\eta\lambda)^{-2t}$", simulation=off_by_one),
    figure=figure,
)
