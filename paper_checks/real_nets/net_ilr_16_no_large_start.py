r"""NET-ILR-16: no large learning rate is needed at the start, if the smaller one is given its time.

.. math:: (\eta \text{ for } T \text{ steps}) \text{ and } (\eta/8 \text{ for } 8T \text{ steps}), \text{ then both } \eta_f:
          \qquad |\text{difference of test accuracies}| < \delta = 0.02

A measurement over initialisations: an MLP with batch normalisation on the digits, weight decay the same throughout, last phase the
same, ensembles of nets from the same initialisations. Shown is equivalence within δ (two one-sided tests), and nothing more.
Clock: steps.
"""

import numpy as np

from paper_checks.real_nets.ensembles import BATCH, NET, dataset, nets, once
from paper_checks.real_nets.machine import on_device
from paper_checks.real_nets.two_one_sided import Equivalent
from sdetheory import Between, Claim, Quantity
from sdetheory.stats import mean_estimate

requires = ("torch",)

DECAY, LR, SMALLER, LAST = 0.05, 0.4, 8, 0.01
# λ_e = 0.02, 0.0025 and 0.0005: 4 and 4 of 1/λ_e at the start, 2 of 1/(4λ_e) at the end
PHASE, LONGER, FINAL = on_device(200, 2000), 8, on_device(1000, 10000)
SAVE = 50
DELTA = 0.02
# accuracies of two runs from one initialisation differ by 0.015: 72 pairs (56 in quick mode) tell the mean within 0.010 (0.012)
MEMBERS = {"quick": 56, "default": 72, "thorough": 512}

QUANTITIES = {"accuracy: small start less usual": Quantity(Between(-DELTA, DELTA), DELTA, broken=True)}


@once
def _runs(trial):
    """Steps, and test accuracies (members, saves), of both runs."""
    import torch

    from sdetheory.torch.ensembles import train_ensemble

    data, loss, found = dataset(), torch.nn.functional.cross_entropy, {}
    for_nets, *seeds = trial.rng.spawn(3)

    def accuracy(ensemble):
        return (ensemble.outputs(data.test_inputs).argmax(-1) == data.test_targets).double().mean(1)

    for (name, lr, phase), seed in zip((("usual", LR, PHASE), ("small", LR / SMALLER, LONGER * PHASE)), seeds, strict=True):
        members = nets(MEMBERS[trial.mode], np.random.SeedSequence(for_nets.entropy, spawn_key=for_nets.spawn_key))
        runs = train_ensemble(members, loss, data.minibatches(BATCH, rng=seed), phase + FINAL, weight_decay=DECAY,
                              save_every=SAVE, lr=lambda k, lr=lr, phase=phase: lr if k < phase else LAST,
                              observe={"accuracy": accuracy})
        found[name] = runs.step.values, runs.accuracy.values
    return found


def measure(trial):
    """At the end of both."""
    (_, usual), (_, small) = _runs(trial).values()
    return {"accuracy: small start less usual": Equivalent(mean_estimate(small[:, -1] - usual[:, -1]))}


def broken(trial):
    """The usual run before its drop, against the other at its end."""
    (_, usual), (_, small) = _runs(trial).values()
    return {"accuracy: small start less usual": Equivalent(mean_estimate(small[:, -1] - usual[:, PHASE // SAVE]))}


def figure(trial, ax):
    """Accuracy of both runs."""
    labels = (rf"$\eta={LR:g}$, {PHASE} steps", rf"$\eta={LR / SMALLER:g}$, {LONGER * PHASE} steps")
    for (steps, accuracy), label, colour in zip(_runs(trial).values(), labels, ("C0", "C1"), strict=True):
        mean, error = accuracy.mean(0), 2 * accuracy.std(0) / np.sqrt(len(accuracy))
        ax.fill_between(steps, mean - error, mean + error, color=colour, alpha=0.25, lw=0)
        ax.plot(steps, mean, color=colour, label=f"{label}, then {FINAL} at {LAST:g}")
    end = float(np.mean([accuracy[:, -1].mean() for _, accuracy in _runs(trial).values()]))
    ax.axhspan(end - DELTA / 2, end + DELTA / 2, color="0.5", alpha=0.15, lw=0, label=f"a band of width {DELTA:g}")
    ax.set(xlabel=r"step $t$", ylabel="test accuracy", ylim=(0.6, 1.0),
           title="A small start, given its time, ends where the usual schedule does")
    ax.legend(loc="lower right")


claim = Claim(
    "NET-ILR-16", "No large learning rate is needed at the start", paper="intrinsic_lr",
    where="the section on the initial learning rate, its experiments",
    statement=rf"{NET}, digits, weight decay {DECAY:g}: starting at $\eta={LR:g}$ for {PHASE} steps or at an eighth of it "
              rf"for {LONGER} times as many, and ending with the same {FINAL} steps at ${LAST:g}$, gives mean test "
              rf"accuracies that differ by less than {DELTA:g} (two one-sided tests over initialisations).",
    setup=f"SGD with batch {BATCH} on an ensemble of nets, twice from the same initialisations",
    bias_source="SGD itself is simulated: there is no discretisation",
    empirical=True, quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control="the usual schedule needs no final drop to be within that margin")
