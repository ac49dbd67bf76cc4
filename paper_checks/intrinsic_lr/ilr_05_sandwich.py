r"""ILR-5: bounds on the noise power are bounds on the norm variable.

.. math:: \sigma_{\min}^2 \le \mathrm{Tr}\,\Sigma(\hat w) \le \sigma_{\max}^2 \ \Rightarrow\
          e^{-4\lambda_e t}\gamma_0 + \frac{\sigma_{\min}^2}{2\lambda_e}(1 - e^{-4\lambda_e t}) \le \gamma_t \le
          e^{-4\lambda_e t}\gamma_0 + \frac{\sigma_{\max}^2}{2\lambda_e}(1 - e^{-4\lambda_e t})

In noise of covariance :math:`P_wCP_w/\|w\|^2` the power :math:`\mathrm{Tr}\,C - \hat w^\top C\hat w` lies between
:math:`\mathrm{Tr}\,C - c_{\max}` and :math:`\mathrm{Tr}\,C - c_{\min}`. A loss that holds the direction where the noise
is weakest keeps gamma at the lower bound, one where it is strongest at the upper: the bounds are sharp. Clock: steps.
"""

import numpy as np

import sdetheory as sdt
from sdetheory import Claim, Exact, Quantity
from sdetheory.stats import step_halving
from sdetheory.theory import intrinsic_lr as ilr

LR, DECAY = 0.2, 0.05
RATE = LR * DECAY
VARIANCES = np.array([0.3, 0.1, 0.1])
LOWEST, HIGHEST = VARIANCES.sum() - VARIANCES.max(), VARIANCES.sum() - VARIANCES.min()  # of Tr Sigma: 0.2, 0.4
# eigenvalues of the loss, and a start in its valley: where the noise is weakest, where it is strongest, and no loss
CASES = {"weakest noise": ([0.0, 2.0, 2.0], [1.0, 0.0, 0.0]), "strongest noise": ([2.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
         "no loss": ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0])}
VALLEYS = ("weakest noise", "strongest noise")  # without a loss gamma is not near a bound
GAMMA_0 = 0.5 * LOWEST / (2 * RATE)

# Where gamma lies in the band: 0 is the lower bound, 1 the upper. To first order a stiff direction of curvature a
# varies by eta_e c/(2a), and Tr Sigma is off its bound by the sum of these, in units of the gap: less than 3.4 % at
# the largest eta_e, that of the start. The bias of gamma is h E|grad L|^2/Tr Sigma, 30 % of h: h = 1/64 keeps it
# below 2 % of the gap. The noise of gamma (of order h) is 5 % of the gap or less: 2400 paths leave z·se = 0.4 %,
# twice that in quick mode.
CLOCK = np.array([1.0, 1.5, 2.5, 4.0])
TIMES = CLOCK / (4 * RATE)
STEPS, EVERY, PATHS = 6400, 100, 2400
AT_START = GAMMA_0**-0.5
OFF = {"weakest noise": AT_START * (0.1 / 4 + 0.1 / 4), "strongest noise": AT_START * 0.3 / 4}
AVERAGE = VARIANCES.sum() * (1 - 1 / 3)  # of Tr Sigma over the sphere: gamma for it is linear in the noise power

QUANTITIES = {
    "mean position, ambient": Quantity(
        np.repeat([0.0, 1.0], len(CLOCK)), 0.1, wrong=(AVERAGE - LOWEST) / (HIGHEST - LOWEST),
        bias=np.repeat([OFF[case] for case in VALLEYS], len(CLOCK)), bias_source="noise over curvature, to first order",
        points=[rf"{case}, $4\lambda_et={u:g}$" for case in VALLEYS for u in CLOCK]),
    "furthest outside, on the sphere": Quantity(np.zeros(len(CASES)), 1e-6, broken=True),
}


def bounds(time, lowest=LOWEST, highest=HIGHEST):
    """The two solutions of ILR-3 at the times."""
    known = {"t": time, "gamma0": GAMMA_0, "intrinsic_lr": RATE}
    return (ilr.gamma_lower(**known, noise_trace_min=lowest), ilr.gamma_upper(**known, noise_trace_max=highest))


def paths(case, dynamics, observe, seed, n, coarsened=1):
    """Times (saves,) and the observable (paths, saves) at step h or a multiple of it."""
    eigenvalues, direction = CASES[case]
    loss = sdt.losses.RayleighQuotient(eigenvalues, noise=sdt.noises.Tangent(VARIANCES))
    start = np.array(direction) * (LR**2 * GAMMA_0) ** 0.25
    h = TIMES[-1] / STEPS
    runs = sdt.simulate(dynamics(loss, lr=LR, weight_decay=DECAY), start, n_steps=STEPS // coarsened, dt=coarsened * h,
                        brownian_dt=h, n_paths=n, observe=[observe], save_every=EVERY // coarsened, rng=seed)
    return runs.time.values, runs[observe].values


def furthest_outside(trial, n, seeds, lowest=LOWEST, highest=HIGHEST):
    """The largest distance of any path from the band at any save, over gamma, for each case."""
    outside = []
    for case, seed in zip(CASES, seeds, strict=False):
        time, gamma = paths(case, sdt.dynamics.EffectiveDynamics, "gamma", seed, max(2, n // 4))
        low, high = bounds(time, lowest, highest)
        outside.append(np.max(np.maximum(low - gamma, gamma - high) / gamma, initial=0.0))
        trial.data[case] = time, gamma[:40]
    # On the sphere gamma follows its equation exactly while Tr Sigma is held over the step, so each path must stay
    # between the bounds up to rounding. A step: exp, expm1, 2 products, a quotient and a sum, 8 eps at most, all terms
    # positive; Tr C - w·Cw: 2 d + 3 operations on terms up to Tr C, relative to its least value. Errors add over the
    # steps.
    rounding = STEPS * (8 + (2 * 3 + 3) * VARIANCES.sum() / LOWEST) * np.finfo(float).eps
    return {"furthest outside, on the sphere": Exact(np.array(outside), rounding)}


def measure(trial):
    """Positions in the band in both valleys, at h and on the same Brownian paths at 2h; and all paths on the sphere."""
    n, seeds = trial.paths(PATHS), trial.rng.spawn(2 * len(CASES))
    positions = [], []
    for case, seed in zip(VALLEYS, seeds, strict=False):
        for coarsened, into in zip((2, 1), positions, strict=True):
            time, sq_norm = paths(case, sdt.dynamics.SGDSDE, "sq_norm", seed, n, coarsened)
            at = np.searchsorted(time, TIMES * (1 - 1e-9))
            low, high = bounds(time[at])
            into.append((sq_norm[:, at] ** 2 / LR**2 - low) / (high - low))
    coarse, fine = (np.concatenate(part, axis=1) for part in positions)
    return {"mean position, ambient": step_halving(coarse, fine, order=1, coupled=True)} \
        | furthest_outside(trial, n, seeds[2:])


def broken(trial):
    """One curve for both bounds, that of the average noise power."""
    return furthest_outside(trial, trial.paths(PATHS), trial.rng.spawn(2 * len(CASES))[2:], AVERAGE, AVERAGE)


def figure(trial, ax):
    """Paths of gamma in the three losses, in the band between the bounds."""
    time = trial.data["no loss"][0]
    scale, clock = 2 * RATE, 4 * RATE * time
    low, high = bounds(time)
    ax.fill_between(clock, scale * low, scale * high, color="0.6", alpha=0.25, lw=0, label="between the bounds")
    for bound in (low, high):
        ax.plot(clock, scale * bound, color="0.5", lw=1.2)
    for i, (case, name) in enumerate((("strongest noise", "held where the noise is strongest"), ("no loss", "free"),
                                      ("weakest noise", "held where it is weakest"))):
        ax.plot(clock, scale * trial.data[case][1][:6].T, color=f"C{i}", lw=0.8, alpha=0.8,
                label=[name] + [None] * 5)
    ax.set(xlabel=r"$4\lambda_e t$ ($t$ in steps)", ylabel=r"$2\lambda_e\,\gamma_t$, a noise power",
           title=r"Bounds on $\mathrm{Tr}\,\Sigma(\hat w)$ confine every path of $\gamma$, and both are reached")
    ax.legend(loc="lower right")


claim = Claim(
    "ILR-5", "Bounds on the noise power confine the norm", paper="intrinsic_lr",
    where="the section on the equilibrium of the effective learning rate, for noise whose power varies",
    statement=r"If $\sigma_{\min}^2\le\mathrm{Tr}\,\Sigma(\hat w)\le\sigma_{\max}^2$, then $\gamma_t$ stays "
              r"between the solutions of $\dot\gamma=-4\lambda_e\gamma+2\sigma^2$ for the two powers, and in the "
              r"limit between $\sigma_{\min}^2/(2\lambda_e)$ and $\sigma_{\max}^2/(2\lambda_e)$. Both bounds are "
              r"reached, where a loss holds the direction at the weakest and at the strongest noise.",
    setup=r"The SDE of SGD in $d=3$ with tangent noise of variances $(0.3,0.1,0.1)$: in a valley where it is "
          r"weakest, in one where it is strongest, and without a loss; $\eta=0.2$, $\lambda=0.05$, to "
          r"$4\lambda_et=4$",
    proof=ilr.by_claim("ILR-5"), quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"the average of $\mathrm{Tr}\,\Sigma$ over the sphere sets $\gamma$, wherever a loss holds the direction")
