r"""ILR-6: the norm of SGD itself, step by step, when the stochastic gradient has one length at unit norm.

.. math:: r = \|w\|^2,\quad S = \|g(\hat w)\|^2:\qquad r' = (1-\eta\lambda)^2 r + \frac{\eta^2 S}{r}, \qquad
          r_*^2 = \frac{\eta S}{\lambda(2-\eta\lambda)}, \qquad
          \frac{dr'}{dr}\Big|_{r_*} = 1 - 4\eta\lambda + 2(\eta\lambda)^2

Random signs on a frame of the tangent space of S³ (`FixedLength`) make S one number in every draw: w is random and
its norm is not, so the law is exact to rounding, path by path. Clock: steps.
"""

import itertools

import numpy as np

import sdetheory as sdt
from sdetheory import Claim, Exact, Quantity, Relative
from sdetheory.stats.rounding import recursion_error, unit_roundoff
from sdetheory.theory import intrinsic_lr as ilr

DIM, SCALE = 4, 0.5
LOSS = sdt.losses.RayleighQuotient([0.0] * DIM, noise=sdt.noises.FixedLength(SCALE))
RULE = sdt.SGD(LOSS, lr=0.1, weight_decay=0.05)  # both are swept
S = SCALE**2 * (DIM - 1)
LRS, DECAYS = (0.1, 0.4), (0.05, 0.5, 3.0)  # lambda_e from 0.005, where the SDE is near, to 1.2, where nothing is small
CELLS = tuple(itertools.product(LRS, DECAYS))
LR, DECAY = np.transpose(CELLS)
RATE = LR * DECAY
STARTS = (4.0, 0.2)  # |w_0|^2, above and below
STEPS = 2000  # the slowest cell forgets its start by 0.98^2000 = 3e-18: below rounding
PATHS = 8  # a start; an exact statement is one a path, so there is no error to average away
NUDGE = 2.0**-17  # relative distance of the two starts between which the slope is taken

UNIT = unit_roundoff()
# Relative rounding of one step, in units of UNIT. The noise: 4 (a squared norm of 4 terms) + 1 (s/r) + 2·3^(1/2) (sums
# of three terms, against a length of 3^(1/2)) + 1 < 10; with 3 for adding it, times lr and subtracting: 13 |w'|. The
# decay: 3 λ_e |w|. In r twice that, 4 for its sum, and 8 for the arithmetic of the prediction.
RESOLUTION = Relative(1e-10)  # above what 2000 such steps can add up to (4e-11 at worst, without any contraction)
REST = ilr.discrete_sq_norm_fixed_point(lr=LR, weight_decay=DECAY, sq_gradient=S)
MULTIPLIER = ilr.discrete_multiplier(lr=LR, weight_decay=DECAY)


def rounding(decayed):
    """The bound above on a step's relative rounding of r, where the decay acts on weights `decayed` times as large."""
    return (2 * (13 + 3 * decayed) + 12) * UNIT


def trajectories():
    """Predicted r_k, shape (cells, starts, STEPS + 1), and the bound on the relative rounding of SGD up to there.

    A relative error of r is multiplied by d ln r'/d ln r, between -1 and 1 whatever r, η and λ.
    """
    lr, decay = LR[:, None], DECAY[:, None]
    r, slopes, added = [np.broadcast_to(STARTS, (len(CELLS), len(STARTS)))], [], []
    for _ in range(STEPS):
        new = ilr.discrete_sq_norm_step(sq_norm=r[-1], lr=lr, weight_decay=decay, sq_gradient=S)
        slopes.append(np.abs(2 * (1 - lr * decay) ** 2 * r[-1] / new - 1))
        added.append(rounding(lr * decay * np.sqrt(r[-1] / new)))
        r.append(new)
    start = np.full(r[0].shape, 4 * UNIT)
    return np.stack(r, -1), recursion_error(np.stack(added, -1), np.stack(slopes, -1), start=start)


def extremes(values):
    """The same number twice: for the smallest and the largest of all paths."""
    return np.stack([values, values])


def sde():
    """What the SDE says of the same steps."""
    return extremes(ilr.sq_norm(t=np.arange(STEPS + 1), sq_norm0=np.array(STARTS)[:, None], lr=LR[:, None, None],
                                weight_decay=DECAY[:, None, None], noise_trace=S))


QUANTITIES = {
    "sq_norm": Quantity(lambda: extremes(trajectories()[0]), RESOLUTION, wrong=sde),
    "fixed point": Quantity(extremes(REST), RESOLUTION,
                            wrong=extremes(ilr.equilibrium_sq_norm(lr=LR, weight_decay=DECAY, noise_trace=S))),
    "multiplier": Quantity(MULTIPLIER, 1e-6, wrong=np.exp(-4 * RATE),  # a difference quotient: rounding over NUDGE
                           bias_source="rounding, and the curvature of the map between the two starts"),
}


def measure(trial):
    """Every cell from both starts; smallest and largest of the paths. Then one step from either side of r_*."""
    seed, nudged = trial.rng.spawn(2)
    directions = np.random.default_rng(seed).normal(size=(2 * PATHS, DIM))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    runs = sdt.simulate(RULE, np.repeat(np.sqrt(STARTS), PATHS)[:, None] * directions, n_steps=STEPS, n_paths=2 * PATHS,
                        observe=["sq_norm"], save_every=1, sweep={"lr": LRS, "weight_decay": DECAYS}, rng=seed)
    r = runs.sq_norm.values.reshape(len(CELLS), len(STARTS), PATHS, STEPS + 1)
    predicted, bound = trajectories()
    trial.data.update(r=r, predicted=predicted, bound=bound)
    ends = np.moveaxis(r[..., -1], 0, -1).reshape(-1, len(CELLS))
    # there the map contracts by |multiplier|: errors of a step add up to at most 1/(1 - |multiplier|) of them
    at_rest = rounding(RATE) / (1 - np.abs(MULTIPLIER)) + 4 * UNIT
    return {"sq_norm": Exact(np.stack([r.min(2), r.max(2)]), bound * predicted),
            "fixed point": Exact(np.stack([ends.min(0), ends.max(0)]), at_rest * REST),
            "multiplier": slopes(nudged)}


def slopes(seed):
    """(r'(r₊) − r'(r₋))/(r₊ − r₋), which is multiplier + λ_e(2−λ_e)(1 − r_*²/(r₊r₋)) exactly."""
    values = []
    for lr, decay, rest in zip(LR, DECAY, REST, strict=True):
        start = np.sqrt(rest * np.array([1 + NUDGE, 1 - NUDGE]))[:, None] * np.eye(DIM)[:2]
        runs = sdt.simulate(RULE, start, n_steps=1, n_paths=2, observe=["sq_norm"], save_every=1,
                            sweep={"lr": [lr], "weight_decay": [decay]}, rng=seed)
        before, after = runs.sq_norm.values[0, 0].T
        values.append((after[0] - after[1]) / (before[0] - before[1]))
    # relative errors of r over the distance 2 NUDGE, and the second term
    return Exact(np.array(values), (rounding(RATE) + 4 * UNIT) / NUDGE + RATE * (2 - RATE) * NUDGE**2 * 1.01)


def figure(trial, left, right):
    """Left: the squared norm against the map and the SDE; right: what is left of the difference, against its bound."""
    steps, r, predicted, bound = np.arange(STEPS + 1), *(trial.data[name] for name in ("r", "predicted", "bound"))
    for (cell, count), colour in zip(((5, 20), (1, 40)), ("C0", "C1"), strict=True):
        (lr, decay), rest, only = CELLS[cell], REST[cell], cell == 5
        dense = np.linspace(0, count - 1, 300)
        for start, radius in enumerate(STARTS):
            last = start == 1
            left.plot(steps[:count], r[cell, start, 0, :count] / rest, "o", ms=4, mfc="none", color=colour,
                      label=rf"SGD, $\lambda_e={lr * decay:g}$" if last else None)
            left.plot(steps[:count], predicted[cell, start, :count] / rest, color=colour, lw=1,
                      label="the map" if last and only else None)
            curve = ilr.sq_norm(t=dense, sq_norm0=radius, lr=lr, weight_decay=decay, noise_trace=S)
            left.plot(dense, curve / rest, color="0.55", lw=1, ls="--", label="the SDE" if last and only else None)
        gap = np.abs(r[cell] / predicted[cell][:, None] - 1).max((0, 1))
        right.loglog(steps[1:], gap[1:], color=colour, lw=1, label=rf"measured, $\lambda_e={lr * decay:g}$")
        right.loglog(steps[1:], bound[cell].max(0)[1:], color=colour, ls=":", lw=1.5,
                     label="bound on rounding" if only else None)
    left.set(xlabel="step $k$", ylabel=r"squared norm $\|w_k\|^2/r_*$", yscale="log",
             title="One map gives the norm of every path")
    right.set(xlabel="step $k$", ylabel="largest relative difference from the map", ylim=(3e-17, 1e-12),
              title="What is left is rounding")
    for ax in (left, right):
        ax.legend(fontsize=8)


claim = Claim(
    "ILR-6", "The discrete law of the norm", paper="intrinsic_lr", extension=True,
    where="follows from the update of SGD; the paper has the SDE's version, in the section on the equilibrium of "
          "the norm",
    statement=r"If $S=\|g(\hat w)\|^2$ is constant, $r=\|w\|^2$ of SGD obeys $r'=(1-\eta\lambda)^2r+\eta^2S/r$ at "
              r"every step of every path; its fixed point is $r_*^2=\eta S/(\lambda(2-\eta\lambda))$, and a small "
              r"deviation is multiplied by $1-4\eta\lambda+2(\eta\lambda)^2$ a step.",
    setup=r"SGD without a loss in $d=4$, noise of fixed length, six pairs $(\eta,\lambda)$ with $\eta\lambda$ from "
          r"0.005 to 1.2, 2000 steps from above and from below",
    proof=ilr.by_claim("ILR-6"), quantities=QUANTITIES, measure=measure, figure=figure,
    control=r"the continuous-time law in place of the discrete one: $r_*^2=\eta S/(2\lambda)$, rate "
            r"$e^{-4\eta\lambda}$, and ILR-3 in between")
