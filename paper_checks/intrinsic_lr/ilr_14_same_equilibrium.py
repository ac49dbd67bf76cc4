r"""ILR-14: whatever the past of learning rate and weight decay, the same present leads to the same equilibrium.

.. math:: (\eta_t, \lambda_t) = (\eta, \lambda) \text{ for } t \ge T \quad\Rightarrow\quad
          \mathcal L\bigl(\|w_t\|^2, L(w_t)\bigr) \text{ forgets the schedule before } T \text{ like } e^{-4\lambda_e(t-T)}

Four schedules, random before T, are run with SGD towards each of two pairs (η, λ). Two-sample tests of the squared norm
and of the loss see no difference 4/λ_e steps after T, at either λ_e. They do see one when the direction has long come to
rest in its valley, at the rate 2η_e a of the loss at curvature a: the memory is that of the norm. The effective learning
rate η/‖w‖² is a monotone function of the norm, so the distance of its laws is the same number. Clock: steps.
"""

import numpy as np

import sdetheory as sdt
from sdetheory import Claim, Quantity
from sdetheory.stats import ks_distance
from sdetheory.theory import intrinsic_lr as ilr

# the minima are one connected sphere: no barrier keeps the past (ILR-12)
CURVATURE, RANK, DIM, SCALE = 1.0, 3, 8, 0.5
LOSS = sdt.losses.RayleighQuotient([CURVATURE] * RANK + [0.0] * (DIM - RANK), noise=sdt.noises.Tangent(SCALE))
PAIRS = ((0.1, 0.2), (0.2, 0.05))  # (lr, weight decay) from T on: lambda_e = 0.02, 0.01

# In units of 1/lambda_e. The last phase before T has lambda_e times one of BANDS and lasts long enough (1.5/lambda_e
# of its own, exp(-6)) to rest there: any two schedules differ at T by a factor of 2 or more in the effective learning
# rate, hence in the mean loss, and by sqrt(2) or more in the squared norm, ~ (lr^2/lambda_e)^(1/2) with lr within
# 2^(±1/4) of its last.
BANDS = (1 / 8, 1 / 2, 2, 8)
SETTLE, CHANGE = 1.5, 15.0  # the longest of the last phases takes 12
PHASES = 4  # before the last one: lr and decay log-uniform over a factor of 16
WAIT, SAVE = 4.0, 0.1  # exp(-16) = 1e-7 of gamma's start is left

# Two samples of n see a distance of 3.6 sqrt(2/n) with power 0.9 at 1e-6 a test: 0.051 for 10 000 paths, 0.1 in quick
# mode.
PATHS, RHO = 10_000, 0.11
OBSERVED = ("sq_norm", "loss")

QUANTITIES = {
    f"lr = {lr:g}, {name}: schedule 1 and {other}": Quantity(0.0, RHO, broken=True)
    for lr, _ in PAIRS for name in OBSERVED for other in range(2, 1 + len(BANDS))}


def valley_time(lr, decay):
    """2/(η_e a) at rest, when the loss has forgotten its start to exp(-4), in steps and rounded to a save."""
    effective = ilr.equilibrium_effective_lr(lr=lr, weight_decay=decay, noise_trace=LOSS.noise_trace)
    every = round(SAVE / (lr * decay))
    return every * round(2 / (effective * CURVATURE) / every)


def random_schedule(rng, band, lr, decay):
    """Functions of the step: random phases, a last one in its band, then lr and decay."""
    change = round(CHANGE / (lr * decay))
    last = change - round(SETTLE / (band * lr * decay))
    cuts = np.sort(rng.integers(1, max(last, 2), size=PHASES - 1))
    ends = np.concatenate([cuts, [last, change]])
    lrs = np.concatenate([lr * 4.0 ** rng.uniform(-1, 1, PHASES), [lr * 2.0 ** rng.uniform(-0.25, 0.25), lr]])
    decays = np.concatenate([decay * 4.0 ** rng.uniform(-1, 1, PHASES), [band * lr * decay / lrs[-2], decay]])
    return tuple(lambda step, values=values: float(values[np.searchsorted(ends, step, side="right")])
                 for values in (lrs, decays))


def distances(trial, wait):
    """Kolmogorov-Smirnov distances of the first schedule from the others, wait(lr, decay) steps after T."""
    found, trial.data["means"] = {}, {}
    for (lr, decay), seed in zip(PAIRS, trial.rng.spawn(len(PAIRS)), strict=True):
        drawn, *seeds = seed.spawn(1 + len(BANDS))
        rng, end = np.random.default_rng(drawn), round(CHANGE / (lr * decay)) + wait(lr, decay)
        samples = {name: [] for name in OBSERVED}
        for band, one in zip(BANDS, seeds, strict=True):
            lrs, decays = random_schedule(rng, band, lr, decay)
            runs = sdt.simulate(sdt.SGD(LOSS, lr=lrs, weight_decay=decays), LOSS.sample_sphere(), n_steps=end,
                                n_paths=trial.paths(PATHS), observe=OBSERVED,
                                save_every=round(SAVE / (lr * decay)), rng=one)
            trial.data["means"][lr, band] = runs.step.values, [runs[name].values.mean(0) for name in OBSERVED]
            for name in OBSERVED:
                samples[name].append(runs[name].values[:, -1])
        for name, (first, *others) in samples.items():
            for i, other in enumerate(others, start=2):
                found[f"lr = {lr:g}, {name}: schedule 1 and {i}"] = ks_distance(first, other)
    return found


def measure(trial):
    """Long after the schedules agree."""
    return distances(trial, lambda lr, decay: round(WAIT / (lr * decay)))


def broken(trial):
    """The same runs, when the loss has had its time in the valley."""
    return distances(trial, valley_time)


def figure(trial, fig):
    """Mean squared norm and mean loss of the four schedules, before and after they agree, for the two pairs."""
    panels = fig.subplots(2, len(PAIRS), sharex=True, sharey="row")
    for (lr, decay), column in zip(PAIRS, panels.T, strict=True):
        rate = lr * decay
        for i, band in enumerate(BANDS):
            steps, means = trial.data["means"][lr, band]
            for ax, mean in zip(column, means, strict=True):
                ax.plot(steps * rate - CHANGE, mean, lw=1.5, label=f"schedule {i + 1}")
        rest = (ilr.equilibrium_sq_norm(lr=lr, weight_decay=decay, noise_trace=LOSS.noise_trace),
                ilr.equilibrium_mean_loss(eigenvalue=CURVATURE, rank=RANK, dim=DIM, noise_scale=SCALE,
                                          intrinsic_lr=rate))
        for ax, value in zip(column, rest, strict=True):
            ax.axhline(value, color="0.5", lw=1, ls="--", label="equilibrium of the SDE")
            ax.axvline(0, color="0.5", lw=0.8, ls=":")
            ax.axvline(valley_time(lr, decay) * rate, color="0.5", lw=0.8)
            ax.set(yscale="log", xlim=(-6, WAIT))
            ax.minorticks_off()
        column[0].set_title(rf"$\eta={lr:g}$, $\lambda_e={rate:g}$")
        column[1].set_xlabel(r"$\lambda_e(t-T)$ ($t$ in steps)")
    panels[0, 0].set(ylabel=r"$\mathbb{E}\|w_t\|^2$", yticks=(0.3, 1, 3), yticklabels=("0.3", "1", "3"))
    panels[1, 0].set_ylabel(r"$\mathbb{E}\,L(w_t)$")
    fig.legend(*panels[1, 1].get_legend_handles_labels(), fontsize=7, loc="outside lower center", ncols=5)
    fig.suptitle(r"Four pasts, one equilibrium: all that counts is $(\eta,\lambda)$ from $T$ on")


claim = Claim(
    "ILR-14", "The same equilibrium from any past", paper="intrinsic_lr",
    where="the section on the equilibrium being independent of the start and of the schedule",
    statement=r"Schedules of $(\eta,\lambda)$ that agree from step $T$ on give the same laws of norm, effective "
              r"learning rate and loss $O(1/\lambda_e)$ steps after $T$ (where no barrier separates wells), and "
              r"not in the $O(1/\eta_e)$ steps that the loss takes to relax at a given norm.",
    setup=r"SGD on a Rayleigh quotient in $d=8$ ($a=1$, $k=3$) with tangent noise: four random schedules of "
          r"$(\eta,\lambda)$ over $15/\lambda_e$ steps to $T$, then $\eta=0.1$, $\lambda=0.2$ or $\eta=0.2$, "
          r"$\lambda=0.05$ for $4/\lambda_e$",
    bias_source="SGD itself is simulated: there is no discretisation",
    proof=[ilr.gamma_memory, ilr.equilibrium_gamma, ilr.equilibrium_mean_loss],
    quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"the past is forgotten $2/(\eta_ea)$ steps after $T$, when the loss in its valley has forgotten its "
            r"start to $e^{-4}$")
