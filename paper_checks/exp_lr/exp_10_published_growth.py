r"""EXP-10: the published growth of the learning rate, 1.481 an epoch.

PreResNet32 on CIFAR-10 with η = 0.1, λ = 5e-4, μ = 0.9 and batches of 128, 391 steps an epoch: the equivalent schedule
without decay grows in an epoch by

.. math:: \tilde\eta_{t+391}/\tilde\eta_t = \alpha^{-2\cdot391} = 1.4812, \qquad
          \alpha^2 - (1+\mu-\eta\lambda)\alpha + \mu = 0.

The number does not depend on the net. It is measured on three scale-invariant losses as the growth of ‖w̃‖²/‖w‖² between
a run with these hyperparameters and one without decay that gives the same functions. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sdetheory.evidence import Exact

from paper_checks.exp_lr.side_by_side import LOSSES, PATHS, RESOLUTION, UNIT, Gaps, Other, beside, sgd, start_of, worst
from paper_checks.exp_lr.side_by_side import loss_named as loss_of
from sdetheory.claims import Claim, Control, Run
from sdetheory.symbolic import Derivation
from sdetheory.theory import exp_lr
from sdetheory.translate import remove_weight_decay

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LR, DECAY, MOMENTUM, EPOCH = 0.1, 5e-4, 0.9, 391
PUBLISHED, LAST_DIGIT = 1.481, 1e-3
# The schedule starts with equal buffers (α_0 = 1) and forgets that at the rate z_2/z_1 = 0.901 a step: after the first
# epoch to 1e-18. The growth is that of the second.
EPOCHS = 2


def _growth(alpha: float) -> dict[str, Any]:
    growth = alpha ** (-2 * EPOCH)
    return {"published growth": growth, "growth of the squared norm": growth}


def prediction() -> dict[str, Any]:
    """The growth by the larger root."""
    return _growth(exp_lr.larger_root(lr=LR, weight_decay=DECAY, momentum=MOMENTUM)) | {"functions": 0.0}


def first_order() -> dict[str, Any]:
    """The control: α = 1 − ηλ/(1−μ), which gives 1.4786."""
    return _growth(1 - LR * DECAY / (1 - MOMENTUM))


def simulation(run: Run) -> dict[str, Any]:
    """The two runs on the same minibatches, on each loss."""
    n_steps = EPOCHS * EPOCH
    found = remove_weight_decay(LR, DECAY, MOMENTUM, n_steps=n_steps, dtype=None)
    other = Other(found.decay_free_lr, found.log_scale, leaning=float(LR * np.abs(found.tilt).max()))
    gaps: list[Gaps] = []
    growth = np.empty((2, len(LOSSES)))
    w0, v0 = start_of(run)
    for i, name in enumerate(LOSSES):
        gaps.append(beside(run, name, other, lr=LR, weight_decay=DECAY, momentum=MOMENTUM, n_steps=n_steps))
        both = [sgd(run, loss_of(name), w0, v0, lr=rate, weight_decay=decay, momentum=MOMENTUM, n_steps=n_steps, every=EPOCH)
                for rate, decay in ((LR, DECAY), (other.lr, 0.0))]
        ratio = both[1]["sq_norm"] / both[0]["sq_norm"]
        each = ratio[:, 2] / ratio[:, 1]
        growth[:, i] = each.min(), each.max()
    run.data.update(gaps=gaps, rates=other.lr, growth=growth)
    # two ratios of squared norms, each within its bound; the power 782 of the root adds 782 roundings
    bound = np.array([2 * g.bound[-1] for g in gaps]) + 2 * EPOCH * UNIT
    functions = worst(gaps)
    return {
        # the published number stands for all that round to it
        "published growth": Exact(PUBLISHED, LAST_DIGIT / 2),
        "growth of the squared norm": Exact(growth, np.broadcast_to(1.5 * bound, growth.shape)),
        "functions": Exact(functions["direction"].value, functions["direction"].rounding),
    }


def derivation() -> Derivation:
    """The rates and their root; the growth over an epoch."""
    whole = Derivation("The growth in an epoch")
    return whole.including(exp_lr.exponential_lr.derivation).including(exp_lr.larger_root.derivation)


def figure(run: Run) -> Figure:
    """The equivalent schedule over both epochs, on three losses, and the published growth."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(6.4, 3.8), layout="constrained")
    ax = fig.subplots()
    epochs = np.arange(EPOCHS * EPOCH) / EPOCH
    ax.semilogy(epochs, run.data["rates"], color="tab:blue", lw=2, label=r"$\tilde\eta_t$, no weight decay")
    ax.axhline(LR, color="0.5", ls="--", lw=1.2, label=rf"$\eta={LR:g}$, $\lambda={DECAY:g}$, $\mu={MOMENTUM:g}$")
    ends = run.data["rates"][0] * PUBLISHED ** np.arange(EPOCHS)
    ends *= run.data["rates"][EPOCH] / ends[1]
    ax.plot(np.arange(1, EPOCHS), ends[1:], "o", color="tab:red")
    ax.annotate("", xy=(EPOCHS, ends[1] * PUBLISHED), xytext=(EPOCHS, ends[1]),
                arrowprops={"arrowstyle": "->", "color": "tab:red"})
    ax.plot([1, EPOCHS], [ends[1]] * 2, color="tab:red", lw=0.8, ls=":")
    ax.text(EPOCHS - 0.03, 1.1 * ends[1], f"published: × {PUBLISHED}", ha="right", va="center", color="tab:red",
            fontsize=9)
    ax.set(xlabel="epoch of 391 steps", ylabel="learning rate", yticks=[0.1, 0.15, 0.2], yticklabels=["0.1", "0.15", "0.2"])
    ax.minorticks_off()
    growth = run.data["growth"].mean()
    ax.set_title(f"Measured on {len(LOSSES)} losses, {PATHS} paths each: × {growth:.4f} an epoch", fontsize=11)
    ax.legend(frameon=False, fontsize=9, loc="upper left")
    return fig


claim = Claim(
    "EXP-10",
    title="The published growth of the learning rate: 1.481 an epoch",
    paper="exp_lr",
    statement=r"With $\eta=0.1$, $\lambda=5\cdot10^{-4}$, $\mu=0.9$ and 391 steps an epoch the equivalent learning rate "
              r"without decay grows by $\alpha^{-2\cdot391}=1.4812$ an epoch; published: 1.481.",
    derivation=derivation,
    prediction=prediction,
    simulation=simulation,
    # two units of the published number's last digit tell the first order apart, 2.6 units away
    resolution={"published growth": LAST_DIGIT, "growth of the squared norm": RESOLUTION, "functions": RESOLUTION},
    negative_control=Control(r"to first order: $\alpha=1-\eta\lambda/(1-\mu)$, a growth of 1.4786", prediction=first_order),
    figure=figure,
)
