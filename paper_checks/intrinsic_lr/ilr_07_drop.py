r"""ILR-7: what a drop of the learning rate, or of the weight decay, does to the effective learning rate.

.. math:: \frac{\eta_e(t)}{\eta_e(0)} = \bigl[\kappa(1+(\kappa-1)E)\bigr]^{-1/2}\ (\eta\to\eta/\kappa), \qquad
          \frac{\eta_e(t)}{\eta_e(0)} = \bigl[\kappa(1-(1-1/\kappa)E)\bigr]^{-1/2}\ (\lambda\to\lambda/\kappa), \qquad
          E = e^{-4\lambda_e t/\kappa}

SGD itself, with noise of a scale-invariant loss, in equilibrium before the drop. Its law differs from that of the SDE by
O(λ_e): it is run at λ_e and at λ_e/2 on the same time 4λ_e t, and the difference bounds what is left. Clock: steps.
"""

import numpy as np

import sdetheory as sdt
from sdetheory import Claim, Quantity, Relative
from sdetheory.stats import from_points, jackknife, mean_estimate, ratio, step_halving
from sdetheory.theory import intrinsic_lr as ilr

KAPPA, LR, DIM, SCALE = 10.0, 0.1, 16, 0.5
LOSS = sdt.losses.RayleighQuotient([0.0] * DIM, noise=sdt.noises.Tangent(SCALE))
TRACE = SCALE**2 * (DIM - 1)
RATE = 0.002  # lambda_e of the fine run; 2 RATE in the coarse one. A relative bias of order lambda_e, about 0.5 %

# Time in units of κ/(4λ_e), the relaxation after the drop: u = 4λ_e t/κ. The last point is the limit up to
# (κ−1) e^{−10}/2 = 2e-4, part of the bias bound there.
LATER, LAST = np.array([0.25, 0.5, 1.0, 2.0, 3.0]), 10.0
LABELS = tuple(rf"$4\lambda_et/\kappa={u:g}$" for u in LATER)
GRID = 0.125  # saved every GRID of u
BURN = 0.5  # u before the drop: at the rate there, κ times as fast, the rest of the start's O(λ_e) is e^{−5} of it
# The norm fluctuates by (λ_e/(d−1))^{1/2} = 1.2 %, a ratio of two by 1.7 %, and the measured bias by 1.25·3^{1/2} of
# that besides: 2000 paths (500 in quick mode) leave z·se = 0.5 % (1 %) of all, next to the bias of 0.5 %.
PATHS, RESOLUTION = 2000, Relative(0.02)

WHAT = {"lr": "lr", "decay": "weight_decay"}  # is divided by κ
DROPPED = {"lr": ilr.effective_lr_after_lr_drop, "decay": ilr.effective_lr_after_decay_drop}
AT_ONCE = {"lr": 1 / KAPPA, "decay": 1.0}
END, REST = KAPPA**-0.5, (KAPPA - 1) * np.exp(-LAST)
WHY_REST = r"halving $\lambda_e$, and what is left at $4\lambda_et/\kappa=10$"


def curve(dropped, u):
    return DROPPED[dropped](t=u * KAPPA / 4, drop_factor=KAPPA, intrinsic_lr=1.0)


QUANTITIES = {
    **{f"{dropped}: at once": Quantity(AT_ONCE[dropped], RESOLUTION, wrong=END) for dropped in WHAT},
    **{f"{dropped}: later": Quantity(curve(dropped, LATER), RESOLUTION, wrong=curve(dropped, LATER / 2), points=LABELS)
       for dropped in WHAT},
    **{f"{dropped}: in the end": Quantity(END, RESOLUTION, wrong=AT_ONCE[dropped], bias=END * REST / 2,
                                          bias_source=WHY_REST) for dropped in WHAT},
    "ratio of |w|^2 in the end": Quantity(KAPPA, RESOLUTION, wrong=1.0, bias=KAPPA * REST, bias_source=WHY_REST),
}


def drop(trial, seed, rate, dropped):
    """One ensemble at every GRID of u, the last point before the drop first."""
    every = round(GRID * KAPPA / (4 * rate))
    before, after = round(BURN / GRID) * every, round(LAST / GRID) * every
    given = {"lr": LR, "weight_decay": rate / LR}
    radius = ilr.equilibrium_sq_norm(**given, noise_trace=TRACE) ** 0.5
    what = WHAT[dropped]
    given[what] = sdt.schedules.StepDecay(given[what], (before,), 1 / KAPPA)
    return sdt.simulate(sdt.SGD(LOSS, **given), LOSS.sample_sphere(radius), n_steps=before + after,
                        n_paths=trial.paths(PATHS), observe=["effective_lr", "sq_norm"], save_every=every,
                        rng=seed).isel(step=slice(before // every - 1, None))


def measure(trial):
    """Both drops at 2 RATE and RATE; bias of order 1 in λ_e."""
    found, norms = {}, {}
    for dropped, seed in zip(WHAT, trial.rng.spawn(2), strict=True):
        pair = [drop(trial, s, rate, dropped) for s, rate in zip(seed.spawn(2), (2 * RATE, RATE), strict=True)]
        trial.data[dropped] = pair[1].effective_lr.mean("path").values
        for when, u in (("at once", [0.0]), ("later", LATER), ("in the end", [LAST])):
            at = [1 + round(x / GRID) for x in u]
            found[f"{dropped}: {when}"] = step_halving(*(
                from_points(jackknife(lambda a, b: a / b, rate[:, i], rate[:, 0]) for i in at)
                for rate in (runs.effective_lr.values for runs in pair)), order=1)
        norms[dropped] = [mean_estimate(runs.sq_norm.values[:, -1:]) for runs in pair]
    coarse, fine = map(ratio, norms["decay"], norms["lr"])
    return found | {"ratio of |w|^2 in the end": step_halving(coarse, fine, order=1)}


def figure(trial, ax):
    """Two drops, two ways, one end."""
    dense = np.linspace(0, 6, 400)
    for (dropped, marker), label in zip((("lr", "o"), ("decay", "s")), (r"\eta", r"\lambda"), strict=True):
        value = trial.data[dropped] / trial.data[dropped][0]
        u = np.arange(value.size - 1) * GRID
        (line,) = ax.plot(np.r_[-0.6, 0, dense], np.r_[1, 1, curve(dropped, dense)], lw=1.2)
        ax.plot(u[::2], value[1::2], marker, ms=4.5, mfc="none", color=line.get_color(),
                label=rf"SGD, ${label}\to{label}/10$")
    ax.axhline(END, color="0.5", lw=1, ls=":", label=r"$1/\sqrt{10}$")
    ax.axhline(1 / KAPPA, color="0.7", lw=1, ls="--", label=r"$1/10$")
    ax.set(yscale="log", xlim=(-0.6, 6), xlabel=r"time after the drop, $4\lambda_e t/\kappa$ ($t$ in steps)",
           ylabel=r"effective learning rate $\eta_e(t)/\eta_e(0)$",
           title=r"Divide either by 10: the effective learning rate ends $\sqrt{10}$ times lower")
    ax.legend(loc="upper right")


claim = Claim(
    "ILR-7", "What a learning-rate drop does to the effective learning rate", paper="intrinsic_lr",
    where="the section on learning-rate drops and the two phases after them",
    statement=r"At equilibrium, $\eta\to\eta/\kappa$ divides the effective learning rate by $\kappa$ at once; it "
              r"then relaxes at rate $4\lambda_e/\kappa$ to $1/\sqrt\kappa$ of where it was, as "
              r"$[\kappa(1+(\kappa-1)E)]^{-1/2}$, $E=e^{-4\lambda_et/\kappa}$. $\lambda\to\lambda/\kappa$ makes no "
              r"jump and goes as $[\kappa(1-(1-1/\kappa)E)]^{-1/2}$ to the same value, with $\|w\|^2$ larger by "
              r"the factor $\kappa$.",
    setup=r"SGD without a loss in $d=16$ with tangent noise, in equilibrium at $\eta=0.1$, $\lambda_e=0.004$ and "
          r"$0.002$; then $\eta$ or $\lambda$ is divided by 10, until $4\lambda_et=10\kappa$",
    proof=ilr.by_claim("ILR-7"), quantities=QUANTITIES, measure=measure, figure=figure,
    control=r"the effective learning rate is at its new equilibrium $1/\sqrt\kappa$ at once; in between it relaxes "
            r"at $2\lambda_e/\kappa$, as $\|w\|^2$ without noise does; in the end the drop of $\eta$ lasts "
            r"($1/\kappa$), that of $\lambda$ has done nothing, and the norms are the same")
