r"""EXP-10: the published growth of the learning rate, 1.481 an epoch.

PreResNet32 on CIFAR-10 with η = 0.1, λ = 5e-4, μ = 0.9 and batches of 128, 391 steps an epoch: the equivalent
schedule without decay grows in an epoch by

.. math:: \tilde\eta_{t+391}/\tilde\eta_t = \alpha^{-2\cdot391} = 1.4812, \qquad
          \alpha^2 - (1+\mu-\eta\lambda)\alpha + \mu = 0.

The number does not depend on the net. It is measured on three scale-invariant losses as the growth of ‖w̃‖²/‖w‖²
between a run with these hyperparameters and one without decay that gives the same functions. Clock: steps.
"""

import numpy as np

from paper_checks.exp_lr import side_by_side as pair
from paper_checks.exp_lr.side_by_side import LOSSES, PATHS, RESOLUTION, SETUP, UNIT, Other
from sdetheory import Claim, Exact, Quantity
from sdetheory.theory import exp_lr
from sdetheory.translate import remove_weight_decay

LR, DECAY, MOMENTUM, EPOCH = 0.1, 5e-4, 0.9, 391
PUBLISHED, LAST_DIGIT = 1.481, 1e-3
# The schedule starts with equal buffers (α_0 = 1) and forgets that at the rate z_2/z_1 = 0.901 a step: after the
# first epoch to 1e-18. The growth is that of the second.
EPOCHS = 2

GROWTH = exp_lr.larger_root(lr=LR, weight_decay=DECAY, momentum=MOMENTUM) ** (-2 * EPOCH)
FIRST_ORDER = (1 - LR * DECAY / (1 - MOMENTUM)) ** (-2 * EPOCH)

QUANTITIES = {
    # two units of the published number's last digit tell the first order apart, 2.6 units away
    "published growth": Quantity(GROWTH, LAST_DIGIT, wrong=FIRST_ORDER, bias_source="half of the last digit published"),
    "growth of the squared norm": Quantity(GROWTH, RESOLUTION, wrong=FIRST_ORDER),
    "functions": Quantity(0.0, RESOLUTION, broken=True),
}


def pairs(trial, growth=GROWTH):
    """The equivalent run, its growth an epoch changed to `growth`, beside that with decay, on each loss."""
    found = remove_weight_decay(LR, DECAY, MOMENTUM, n_steps=EPOCHS * EPOCH, dtype=None)
    epochs = np.arange(EPOCHS * EPOCH + 1) / EPOCH
    other = Other(found.decay_free_lr * (growth / GROWTH) ** epochs[:-1], found.log_scale,
                  leaning=float(LR * np.abs(found.tilt).max()))
    return other, [pair.beside(trial, name, other, lr=LR, weight_decay=DECAY, momentum=MOMENTUM, n_steps=EPOCHS * EPOCH)
                   for name in LOSSES]


def measure(trial):
    """The two runs on the same minibatches, on each loss."""
    n_steps, (w0, v0), (other, gaps) = EPOCHS * EPOCH, pair.start_of(trial), pairs(trial)
    growth = []
    for name in LOSSES:
        decaying, growing = (
            pair.sgd(trial, pair.loss_named(name), w0, v0, lr=rate, weight_decay=decay, momentum=MOMENTUM, n_steps=n_steps,
                     every=EPOCH)["sq_norm"] for rate, decay in ((LR, DECAY), (other.lr, 0.0)))
        ratio = growing / decaying
        each = ratio[:, 2] / ratio[:, 1]
        growth.append((each.min(), each.max()))
    growth, functions = np.transpose(growth), pair.worst(gaps)["direction"]
    trial.data.update(rates=other.lr, growth=growth)
    # two ratios of squared norms, each within its bound; the power 782 of the root adds 782 roundings
    bound = np.array([2 * g.bound[-1] for g in gaps]) + 2 * EPOCH * UNIT
    return {"published growth": Exact(PUBLISHED, LAST_DIGIT / 2),  # it stands for all that round to it
            "growth of the squared norm": Exact(growth, np.broadcast_to(1.5 * bound, growth.shape)),
            "functions": functions}


def broken(trial):
    return {"functions": pair.worst(pairs(trial, FIRST_ORDER)[1])["direction"]}


def figure(trial, ax):
    """The equivalent schedule over both epochs, on three losses, and the published growth."""
    rates = trial.data["rates"]
    end = rates[EPOCH]
    epochs = np.arange(EPOCHS * EPOCH) / EPOCH
    ax.semilogy(epochs, rates, color="tab:blue", lw=2, label=r"$\tilde\eta_t$, no weight decay")
    ax.axhline(LR, color="0.5", ls="--", lw=1.2, label=rf"$\eta={LR:g}$, $\lambda={DECAY:g}$, $\mu={MOMENTUM:g}$")
    ax.plot(1, end, "o", color="tab:red")
    ax.annotate("", (EPOCHS, end * PUBLISHED), (EPOCHS, end), arrowprops={"arrowstyle": "->", "color": "tab:red"})
    ax.plot([1, EPOCHS], [end] * 2, color="tab:red", lw=0.8, ls=":")
    ax.text(EPOCHS - 0.03, 1.1 * end, f"published: × {PUBLISHED}", ha="right", va="center", color="tab:red")
    ticks = [0.1, 0.15, 0.2]
    ax.set(xlabel="epoch of 391 steps", ylabel="learning rate", yticks=ticks, yticklabels=map(str, ticks),
           title=f"Measured on {len(LOSSES)} losses, {PATHS} paths each: × {trial.data['growth'].mean():.4f} an epoch")
    ax.minorticks_off()
    ax.legend(loc="upper left")


claim = Claim(
    "EXP-10", "The published growth of the learning rate: 1.481 an epoch", paper="exp_lr",
    where="the experiment with PreResNet32 on CIFAR-10 and an exponential schedule in place of weight decay",
    statement=r"With $\eta=0.1$, $\lambda=5\cdot10^{-4}$, $\mu=0.9$ and 391 steps an epoch the equivalent "
              r"learning rate without decay grows by $\alpha^{-2\cdot391}=1.4812$ an epoch; published: 1.481.",
    setup=f"{EPOCHS} epochs of {EPOCH} steps of SGD on {SETUP}, with these hyperparameters and without decay, on "
          "the same minibatches",
    proof=[exp_lr.exponential_lr, exp_lr.larger_root], quantities=QUANTITIES, measure=measure, broken=broken,
    figure=figure, control=r"to first order: $\alpha=1-\eta\lambda/(1-\mu)$, a growth of 1.4786")
