r"""ILR-14: whatever the past of learning rate and weight decay, the same present leads to the same equilibrium.

.. math:: (\eta_t, \lambda_t) = (\eta, \lambda) \text{ for } t \ge T \quad\Rightarrow\quad
          \mathcal L\bigl(\|w_t\|^2, L(w_t)\bigr) \text{ forgets the schedule before } T \text{ like } e^{-4\lambda_e(t-T)}

Four schedules, random before T, are run with SGD. Two-sample tests of the squared norm and of the loss see no difference
4/λ_e steps after T, and a clear one at T. The effective learning rate η/‖w‖² is a monotone function of the norm, so the
distance of its laws is the same number. Clock: steps.
"""

import numpy as np

import sdetheory as sdt
from sdetheory import Claim, Quantity
from sdetheory.stats import ks_distance
from sdetheory.theory import intrinsic_lr as ilr

# the minima are one connected sphere: no barrier keeps the past (ILR-12)
LOSS = sdt.losses.RayleighQuotient([1.0] * 3 + [0.0] * 5, noise=sdt.noises.Tangent(0.5))
LR, DECAY = 0.1, 0.2  # from T on
RATE = LR * DECAY
CHANGE = 1000  # T
WAIT = round(4 / RATE)  # exp(-16) = 1e-7 of gamma's start is left
SAVE = 10

# The last phase before T has lambda_e = RATE times one of these and lasts long enough (1.5/lambda_e, exp(-6)) to rest
# there: any two schedules differ at T by a factor of 2 or more in the effective learning rate, hence in the mean loss, and
# by sqrt(2) or more in the squared norm, ~ (lr^2/lambda_e)^{1/2} with lr within 2^{±1/4} of LR. Two losses of one Gamma law
# with scales that differ by a factor of 2 are 0.3 apart (shape 3/2), two norms of spread 10 % by nearly 1.
BANDS = (1 / 8, 1 / 2, 2, 8)
SETTLE = 1.5
PHASES = 4  # before the last one: lr and decay log-uniform over a factor of 16

# Two samples of n see a distance of 3.6 sqrt(2/n) with power 0.9 at 1e-6 a test: 0.051 for 10 000 paths, 0.1 in quick mode.
PATHS = 10_000
RHO = 0.11
OTHERS = tuple(range(1, len(BANDS)))


NAMES = [f"{name}: schedule 1 and {i + 1}" for name in ("sq_norm", "loss") for i in OTHERS]

QUANTITIES = {name: Quantity(0.0, RHO, effect=0.9 if name.startswith("sq_norm") else 0.3) for name in NAMES}


def random_schedule(rng, band):
    """Learning rate and weight decay as functions of the step: random phases, a last one in its band, then LR and DECAY."""
    last = CHANGE - round(SETTLE / (band * RATE))
    cuts = np.sort(rng.integers(1, max(last, 2), size=PHASES - 1))
    ends = np.concatenate([cuts, [last, CHANGE]])
    lrs = np.concatenate([LR * 4.0 ** rng.uniform(-1, 1, PHASES), [LR * 2.0 ** rng.uniform(-0.25, 0.25), LR]])
    decays = np.concatenate([DECAY * 4.0 ** rng.uniform(-1, 1, PHASES), [band * RATE / lrs[-2], DECAY]])
    return tuple(lambda step, values=values: float(values[np.searchsorted(ends, step, side="right")])
                 for values in (lrs, decays))


def ensembles(trial):
    """One ensemble of SGD a schedule, saved at T and WAIT steps later among others."""
    n = trial.paths(PATHS)
    schedule_seed, *seeds = trial.rng.spawn(1 + len(BANDS))
    rng = np.random.default_rng(schedule_seed)
    results = []
    for band, seed in zip(BANDS, seeds, strict=True):
        lr, decay = random_schedule(rng, band)
        results.append(sdt.simulate(sdt.SGD(LOSS, lr=lr, weight_decay=decay), LOSS.sample_sphere(),
                                    n_steps=CHANGE + WAIT, n_paths=n, observe=["sq_norm", "loss"], save_every=SAVE,
                                    rng=seed))
    trial.data["ensembles"] = results
    return results


def distances(results, step):
    """Kolmogorov-Smirnov distances of the first schedule from the others, at a step."""
    at = {name: [runs[name].sel(step=step).values for runs in results] for name in ("sq_norm", "loss")}
    return {f"{name}: schedule 1 and {i + 1}": ks_distance(samples[0], samples[i])
            for name, samples in at.items() for i in OTHERS}


def measure(trial):
    """The distances long after the schedules agree."""
    return distances(ensembles(trial), CHANGE + WAIT)


def broken(trial):
    """The same paths at step T."""
    return distances(ensembles(trial), CHANGE)


def figure(trial, fig):
    """Mean effective learning rate and mean loss of the four schedules, before and after they agree."""
    top, bottom = fig.subplots(2, 1, sharex=True)
    for i, runs in enumerate(trial.data["ensembles"]):
        time = (runs.step.values - CHANGE) * RATE
        for ax, name in ((top, "sq_norm"), (bottom, "loss")):
            ax.plot(time, runs[name].mean("path"), lw=1.5, label=f"schedule {i + 1}")
    rest = ilr.equilibrium_sq_norm(lr=LR, weight_decay=DECAY, noise_trace=LOSS.noise_trace)
    top.axhline(rest, color="0.5", lw=1, ls="--")
    mean = ilr.equilibrium_mean_loss(eigenvalue=1.0, rank=3, dim=8, noise_scale=0.5, intrinsic_lr=RATE)
    bottom.axhline(mean, color="0.5", lw=1, ls="--", label="equilibrium of the SDE")
    for ax in (top, bottom):
        ax.axvline(0, color="0.5", lw=0.8, ls=":")
        ax.set_yscale("log")
    top.set_yticks([0.25, 0.5, 1, 2], ["0.25", "0.5", "1", "2"], minor=False)
    top.set_yticks([], minor=True)
    top.set(ylabel=r"$\mathbb{E}\|w_t\|^2$",
            title=r"Four pasts, one equilibrium: all that counts is $(\eta,\lambda)$ from $T$ on")
    bottom.set(ylabel=r"$\mathbb{E}\,L(w_t)$",
               xlabel=r"time since the schedules agree, $\lambda_e(t-T)$ ($t$ in steps)")
    bottom.legend(fontsize=8, ncol=3)


claim = Claim(
    "ILR-14", "The same equilibrium from any past", paper="intrinsic_lr",
    where="the section on the equilibrium being independent of the start and of the schedule",
    statement=r"Schedules of $(\eta,\lambda)$ that agree from step $T$ on give the same laws of norm, effective learning "
              r"rate and loss $O(1/\lambda_e)$ steps after $T$ (where no barrier separates wells), and not at $T$.",
    setup=r"SGD on a Rayleigh quotient in $d=8$ with tangent noise, four random schedules to $T$",
    bias_source="SGD itself is simulated: there is no discretisation",
    proof=[ilr.gamma_memory, ilr.equilibrium_gamma, ilr.equilibrium_mean_loss], quantities=QUANTITIES, measure=measure,
    broken=broken, figure=figure, control="at step $T$ itself, when the schedules have only just begun to agree")
