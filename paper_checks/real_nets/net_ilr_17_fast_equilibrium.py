r"""NET-ILR-17: the Fast Equilibrium conjecture in its own metric: in function space small real nets forget where they started.

.. math:: \text{any } w_0, w_0': \qquad \sum_y |P(F(w_t;x)=y) - P(F(w'_t;x)=y)| \to 0 \text{ in } O(1/\lambda_e) \text{ steps}

F(w; x) is the label that the net gives to x, P is over the minibatches. A measurement: three fixed starts with one fixed
last layer, at two λ_e; the mean over test inputs of the squared ℓ2 distance q bounds that of the ℓ1 distance by (4q)^{1/2}.
With the three last layers of the three starts the laws never meet. (NET-ILR-14 draws starts and last layers anew for each
run: it sees no memory of a start.) Clock: steps.
"""

import numpy as np

from paper_checks.real_nets.ensembles import once
from paper_checks.real_nets.label_laws import N_LABELS, dataset, labels, nets_from, sq_distance, sum_distance
from sdetheory import Between, Claim, Quantity

requires = ("torch",)

DECAY, LRS, STARTS = 0.05, (0.4, 0.2), 3  # lambda_e = 0.02 and 0.01
EARLY, LATE, EVERY = 0.24, 4.08, 0.24  # lambda_e t: 1/4 and 4 in whole steps of both
POINTS = [rf"$\lambda_e={DECAY * lr:g}$" for lr in LRS]
# q varies by about 0.17/n over n runs a start (each half of them has errors of order n^{-1/2}, and q is a product of
# two): 400 runs tell it within 0.0025, an ℓ1 distance of 0.1, at z = 5; 400 in quick mode too. Heads that differ part the
# laws by q > 0.05, which 100 runs tell.
RUNS, RUNS_OF_CONTROL = {"quick": 400, "default": 400, "thorough": 1600}, 100
Q = 0.1**2 / N_LABELS

QUANTITIES = {
    "q at 4/lambda_e": Quantity(0.0, Q, broken=True, points=POINTS),
    # |P − P'| <= 1: the ℓ1 distance is no less than q
    "q at 1/(4 lambda_e)": Quantity(Between(0.05), 0.025, wrong=0.0, points=POINTS)}


@once
def _laws(trial):
    """{λ_e: [(λ_e t, labels of one head, labels of three heads), …]}, each list of labels with an entry a start."""
    import torch

    from sdetheory.torch.ensembles import train_ensemble

    n, data, found = RUNS[trial.mode], dataset(), {}
    for_nets, *seeds = trial.rng.spawn(1 + len(LRS))
    sizes = [n] * STARTS + [RUNS_OF_CONTROL] * STARTS
    starts = np.repeat([*range(STARTS)] * 2, sizes)
    heads = np.repeat([0] * STARTS + [*range(STARTS)], sizes)
    for lr, rng in zip(LRS, seeds, strict=True):
        nets = nets_from(starts, heads, np.random.SeedSequence(for_nets.entropy, spawn_key=for_nets.spawn_key))
        batches, rows = data.minibatches(8, rng=rng), []
        for _ in range(round(LATE / EVERY)):
            every = round(EVERY / (lr * DECAY))
            train_ensemble(nets, torch.nn.functional.cross_entropy, batches, every, lr=lr, weight_decay=DECAY, save_every=every)
            parts = np.split(labels(nets, data.test_inputs), np.cumsum(sizes)[:-1])
            rows.append((lr * DECAY * nets.step, parts[:STARTS], parts[STARTS:]))
        found[lr * DECAY] = rows
    return found


def _distances(trial, when, kind):
    """q at λ_e t = `when`, a point a λ_e; `kind` 1: one head, 2: three."""
    from sdetheory.stats import from_points

    return from_points(sq_distance(*rows[round(when / EVERY) - 1][kind]) for rows in _laws(trial).values())


def measure(trial):
    return {"q at 4/lambda_e": _distances(trial, LATE, 1), "q at 1/(4 lambda_e)": _distances(trial, EARLY, 1)}


def broken(trial):
    """Every start with a last layer of its own."""
    return {"q at 4/lambda_e": _distances(trial, LATE, 2)}


def figure(trial, ax):
    """The ℓ1 distance of the laws of labels, a mean over inputs and pairs of starts, against time."""
    pairs = [(i, j) for i in range(STARTS) for j in range(i)]
    for colour, (rate, rows) in enumerate(_laws(trial).items()):
        for kind, marker, label in ((1, "o-", "one last layer"), (2, "s--", "three last layers")):
            ax.semilogy([t for t, *_ in rows], [np.mean([sum_distance(row[kind][i], row[kind][j]) for i, j in pairs])
                                                for row in rows],
                        marker, ms=4, color=f"C{colour}", label=rf"$\lambda_e={rate:g}$, {label}")
        law = rows[-1][1][0]
        floor = sum_distance(law[::2], law[1::2]) / 2**0.5  # of two samples of n, from two of n/2 of one law
        ax.axhline(floor, color=f"C{colour}", lw=0.8, ls=":", label="two samples of one law" if colour else None)
    ax.set(xlabel=r"$\lambda_et$", ylabel=r"$\ell_1$ distance of the laws of labels",
           title="Starts are forgotten in function space, and the last layer is not")
    ax.legend()


claim = Claim(
    "NET-ILR-17", "Fast equilibrium in function space, in its own metric", paper="intrinsic_lr",
    where="the section that states the Fast Equilibrium conjecture",
    statement=r"MLPs 8–8–4 with layer normalisation and one fixed last layer, teacher–student classes, SGD with batch 8: "
              r"from three fixed starts the laws of labels over minibatches agree after $4/\lambda_e$ steps, at "
              r"$\lambda_e=0.02$ and $0.01$ alike (an $\ell_1$ distance of $0.1$, a mean over test inputs, would be seen), "
              r"and are still apart after $1/(4\lambda_e)$. The law depends on the last layer for ever.",
    setup=rf"SGD at $\lambda={DECAY:g}$ and $\eta={LRS[0]:g}$, ${LRS[1]:g}$ from {STARTS} fixed starts, many runs each; "
          rf"labels of 64 test inputs",
    bias_source="the two factors of q are of runs that share nothing: it has no bias; SGD itself is simulated",
    empirical=True, quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"the laws agree too where each start has a last layer of its own, and the start is forgotten at once")
