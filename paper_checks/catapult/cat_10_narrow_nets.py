r"""CAT-10: in a narrow net chance decides the phase, by an exact law over initialisations.

.. math:: \lambda_0 = \frac Sn, \quad \frac{f_0^2}n = \frac{\lambda_0^2D^2}4, \quad S\sim\chi^2_{2n},\;
          D^2\sim\mathrm{Beta}(\tfrac12,\tfrac n2) \text{ independent}; \qquad
          P(\text{divergent}) = P\bigl(\chi^2_{2n} > 4n/\eta\bigr), \qquad
          P(\text{catapult}) = P\bigl(X - \tfrac14X^2D^2 > 2,\; X < 4\bigr), \quad X = \eta\lambda_0

Standard normal u, v of the uv model are drawn and trained with all their weights; a run that is not finite at the end
was divergent, one whose loss grew at the first step a catapult, the rest lazy. Clock: steps.
"""

import numpy as np
import scipy

import sdetheory as sdt
from sdetheory import Claim, Quantity
from sdetheory.dynamics.uv_maps import OutputCurvatureMap
from sdetheory.dynamics.uv_weights import UVDescent
from sdetheory.stats import ks_distance, mean_estimate
from sdetheory.studies.phases import Phase, phases_of_losses
from sdetheory.theory import catapult

NARROW, WIDE = 3, 64
LRS = np.array([0.9, 1.0, 1.2, 1.6, 2.0])
PHASES = {"lazy": catapult.probability_lazy, "catapult": catapult.probability_catapult,
          "divergent": catapult.probability_divergent}
PATHS = 40_000
# |X_0 − 4| is below 1e-6 with probability 1e-6 a start, and is multiplied by 1 + Y a step, Y being of order 1: by 60
# steps all that diverge have overflowed, up to a share far below the resolution.
STEPS = 60
# The normal law of a share needs some 200 runs on either side: only shares within these limits are compared.
RARE = 0.02
COMPARED = {(phase, n): LRS[np.abs(law(lr=LRS, width=n) - 0.5) < 0.5 - RARE]
            for n in (NARROW, WIDE) for phase, law in PHASES.items()}


def wrong_share(phase):
    """At width 3, the shares if f_0 did not matter, lazy below ηλ_0 = 2; and if λ_0 were its mean, 2, as in wide nets."""
    lr = COMPARED[phase, NARROW]
    if phase == "divergent":
        return np.heaviside(lr - 2, 0.5)
    below, above = (scipy.stats.chi2.cdf(edge * NARROW / lr, 2 * NARROW) for edge in (2, 4))
    return {"lazy": below, "catapult": above - below}[phase]


def share(phase, n):
    # a share p of 40 000 is known to z·se = 0.024 (p(1−p))^{1/2}, in quick mode to twice that
    lr = COMPARED[phase, n]
    p = PHASES[phase](lr=lr, width=n)
    return Quantity(p, 0.06 * np.sqrt(p * (1 - p)), points=[rf"$\eta={x:g}$" for x in lr],
                    **({"wrong": wrong_share(phase)} if n == NARROW else {"no_control": NEARLY_WIDE}))


NEARLY_WIDE = "the statement is that of n = 3, which has a control; at n = 64 the wrong values lie too near to the right ones"
QUANTITIES = {f"{phase}, n = {n}": share(phase, n) for phase, n in COMPARED} | {
    f"law of {what}, n = {n}": Quantity(0.0, 0.04, **({"broken": True} if n == NARROW else {"no_control": NEARLY_WIDE}))
    for n in (NARROW, WIDE) for what in ("λ_0", "D²")}


def measure(trial):
    """Shares of the phases at each learning rate, the same starts at all of them."""
    found, n_paths, trial.data["shares"] = {}, trial.paths(PATHS), {}
    for n, seed in zip((NARROW, WIDE), trial.rng.spawn(2), strict=True):
        options = {"n_paths": n_paths, "observe": ["f", "curvature"], "sweep": {"lr": LRS}, "rng": seed}
        start = sdt.starts.NormalWeights(2 * n)
        first = sdt.simulate(UVDescent(width=n, lr=1.0), start, n_steps=1, save_every=1, **options)
        end = sdt.simulate(UVDescent(width=n, lr=1.0), start, n_steps=STEPS, **options)  # the same weights: same seed
        phases = phases_of_losses(first.f.values**2 / 2, end.diverged_at.values)
        shares = {phase: (phases == Phase[phase.upper()]).astype(float) for phase in PHASES}
        for phase, of_runs in shares.items():
            found[f"{phase}, n = {n}"] = mean_estimate(of_runs[np.isin(LRS, COMPARED[phase, n])], axis=1)
        f, curvature = (first[name].values[0, :, 0] for name in ("f", "curvature"))
        found[f"law of λ_0, n = {n}"] = ks_distance(n * curvature, scipy.stats.chi2(2 * n).cdf)
        found[f"law of D², n = {n}"] = ks_distance(4 * f**2 / n / curvature**2, scipy.stats.beta(0.5, n / 2).cdf)
        trial.data["shares"][n] = {phase: of_runs.mean(1) for phase, of_runs in shares.items()}
    return found


def broken(trial):
    """λ_0 by the central limit theorem; D as the cosine of the angle between u and v."""
    w = sdt.starts.NormalWeights(2 * NARROW).sample(trial.paths(PATHS), rng=trial.rng.spawn(1)[0])
    f, curvature = OutputCurvatureMap.reduce(w).T
    n = NARROW
    return {f"law of λ_0, n = {n}": ks_distance(n * curvature, scipy.stats.norm(2 * n, (4 * n) ** 0.5).cdf),
            f"law of D², n = {n}": ks_distance(4 * f**2 / n / curvature**2, scipy.stats.beta(0.5, (n - 1) / 2).cdf)}


def figure(trial, left, right):
    """The three probabilities against the learning rate, for a narrow net and a wide one."""
    grid = np.linspace(0.55, 2.6, 120)
    for (n, shares), ax in zip(trial.data["shares"].items(), (left, right), strict=True):
        for (phase, law), colour in zip(PHASES.items(), ("C0", "C1", "C3"), strict=True):
            ax.plot(grid, law(lr=grid, width=n), color=colour, lw=1.3)
            ax.plot(LRS, shares[phase], "o", ms=5.5, mfc="none", color=colour, label=phase)
        for edge in (1, 2):
            ax.axvline(edge, color="0.6", lw=0.8, ls=":", zorder=0)
        ax.set(xlabel=r"learning rate $\eta$ (wide nets: edges at 1 and 2)", ylim=(-0.03, 1.03), title=f"width $n={n}$")
    left.set_ylabel("probability over initialisations")
    left.legend(loc="upper right", title="simulated (lines: exact)")


claim = Claim(
    "CAT-10", "Narrow nets: the law of the phase", paper="catapult", extension=True,
    where="the warm-up model at finite width, of which the paper takes the limit of wide nets",
    statement=r"With standard normal weights $\lambda_0=S/n$ and $f_0^2/n=\lambda_0^2D^2/4$ with independent "
              r"$S\sim\chi^2_{2n}$, $D^2\sim\mathrm{Beta}(\frac12,\frac n2)$. Hence training diverges with probability "
              r"$P(\chi^2_{2n}>4n/\eta)$ and catapults (the loss grows at the first step) with "
              r"$P(\eta\lambda_0-\frac14\eta^2\lambda_0^2D^2>2,\ \eta\lambda_0<4)$, at every width.",
    setup=r"Gradient descent on all weights from 40 000 standard normal starts at widths 3 and 64, five learning rates "
          r"from 0.9 to 2, 60 steps",
    bias_source="gradient descent itself is run: there is no discretisation",
    proof=(catapult.divergence_edge, catapult.first_growth, *catapult.by_claim("CAT-10")),
    quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"in narrow nets too, the loss grows where $\eta\lambda_0>2$, whatever $f_0$, and $\lambda_0$ is its mean or normal "
            r"about it; $D^2$ has the law of a squared cosine between $u$ and $v$, $\mathrm{Beta}(\frac12,\frac{n-1}2)$")
