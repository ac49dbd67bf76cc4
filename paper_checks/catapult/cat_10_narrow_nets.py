r"""CAT-10: in a narrow net chance decides the phase, by an exact law over initialisations.

.. math:: \lambda_0 = \frac Sn, \quad \frac{f_0^2}n = \frac{\lambda_0^2D^2}4, \quad S\sim\chi^2_{2n},\;
          D^2\sim\mathrm{Beta}(\tfrac12,\tfrac n2) \text{ independent}; \qquad
          P(\text{divergent}) = P\bigl(\chi^2_{2n} > 4n/\eta\bigr), \qquad
          P(\text{catapult}) = P\bigl(X - \tfrac14X^2D^2 > 2,\; X < 4\bigr), \quad X = \eta\lambda_0

Standard normal u, v of the uv model are drawn and trained with all their weights; a run that is not finite at the end was
divergent, one whose loss grew at the first step a catapult, the rest lazy. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

import sdetheory as sdt
from sdetheory.claims import Claim, Control, Resolution, Run
from sdetheory.dynamics.uv_weights import UVDescent
from sdetheory.stats import ks_distance, mean_estimate
from sdetheory.studies.phases import Phase, phases_of_losses
from sdetheory.symbolic import Derivation
from sdetheory.theory import catapult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTHS = (3, 64)
LRS = np.array([0.9, 1.0, 1.2, 1.6, 2.0])
PHASES = {"lazy": catapult.probability_lazy, "catapult": catapult.probability_catapult,
          "divergent": catapult.probability_divergent}
# A share of 40 000 starts has a standard error below 0.0025: z·se < 0.013 (0.026 in quick mode).
PATHS = 40_000
# |X_0 − 4| is below 1e-6 with probability 1e-6 a start, and is multiplied by 1 + Y a step, Y being of order 1: by 60 steps all
# that diverge have overflowed, up to a share far below the resolution.
STEPS = 60
# The normal law of a share needs some 200 runs on either side: only shares within these limits are compared.
RARE = 0.02
COMPARED = {f"{name}, n = {n}": LRS[np.abs(law(lr=LRS, width=n) - 0.5) < 0.5 - RARE]
            for n in WIDTHS for name, law in PHASES.items()}


def prediction() -> dict[str, Any]:
    """The closed forms, at each learning rate compared, and the laws of the start."""
    shares = {f"{name}, n = {n}": law(lr=COMPARED[f"{name}, n = {n}"], width=n) for n in WIDTHS for name, law in PHASES.items()}
    return shares | {f"law of {what}, n = {n}": 0.0 for n in WIDTHS for what in ("λ_0", "D²")}


def by_curvature_alone() -> dict[str, Any]:
    """The control: the shares if f_0 did not matter, lazy below ηλ_0 = 2 as in wide nets."""
    below, above = (scipy.stats.chi2.cdf(edge * 3 / LRS, 6) for edge in (2, 4))
    return {"lazy, n = 3": below, "catapult, n = 3": above - below}


def simulation(run: Run) -> dict[str, Any]:
    """Shares of the phases at each learning rate, the same starts at all of them."""
    found: dict[str, Any] = {}
    n_paths, run.data["shares"] = run.paths(PATHS), {}
    for n, seed in zip(WIDTHS, run.rng.spawn(len(WIDTHS)), strict=True):
        options = dict(n_paths=n_paths, observe=["f", "curvature"], sweep={"lr": LRS}, rng=seed)
        start = sdt.starts.NormalWeights(2 * n)
        first = sdt.simulate(UVDescent(width=n, lr=1.0), start, n_steps=1, save_every=1, **options)
        end = sdt.simulate(UVDescent(width=n, lr=1.0), start, n_steps=STEPS, **options)  # the same weights: same seed
        phases = phases_of_losses(first.f.values**2 / 2, end.diverged_at.values)
        shares = {name: phases == Phase[name.upper()] for name in PHASES}
        for name, share in shares.items():
            chosen = np.isin(LRS, COMPARED[f"{name}, n = {n}"])
            found[f"{name}, n = {n}"] = mean_estimate(share[chosen].astype(float), axis=1)
        f, curvature = (first[name].values[0, :, 0] for name in ("f", "curvature"))
        found[f"law of λ_0, n = {n}"] = ks_distance(n * curvature, scipy.stats.chi2(2 * n).cdf)
        found[f"law of D², n = {n}"] = ks_distance(4 * f**2 / n / curvature**2, scipy.stats.beta(0.5, n / 2).cdf)
        run.data["shares"][n] = {name: share.mean(1) for name, share in shares.items()}
    return found


def derivation() -> Derivation:
    """From the rotation (u ± v)/√2 of normal vectors; the edges are those of CAT-3."""
    whole = Derivation("The law of the phase")
    for formula in (catapult.divergence_edge, catapult.first_growth, *catapult.by_claim("CAT-10")):
        whole.including(formula.derivation)
    return whole


def figure(run: Run) -> Figure:
    """The three probabilities against the learning rate, for a narrow net and a wide one."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.2, 3.8), layout="constrained")
    grid = np.linspace(0.55, 2.6, 120)
    for n, ax in zip(WIDTHS, fig.subplots(1, 2, sharey=True), strict=True):
        for (name, law), colour in zip(PHASES.items(), ("tab:blue", "tab:orange", "tab:red"), strict=True):
            ax.plot(grid, law(lr=grid, width=n), color=colour, lw=1.3)
            ax.plot(LRS, run.data["shares"][n][name], "o", ms=5.5, mfc="none", color=colour, label=name)
        for edge in (1, 2):
            ax.axvline(edge, color="0.6", lw=0.8, ls=":", zorder=0)
        ax.set(xlabel=r"learning rate $\eta$ (wide nets: edges at 1 and 2)")
        ax.set_title(f"width $n={n}$", fontsize=10)
    fig.axes[0].set_ylabel("probability over initialisations")
    fig.axes[0].legend(frameon=False, fontsize=9, loc="upper right", title="simulated (lines: exact)", title_fontsize=8)
    fig.suptitle("In a narrow net chance decides the phase", fontsize=11)
    return fig


claim = Claim(
    "CAT-10",
    title="Narrow nets: the law of the phase",
    paper="catapult",
    statement=r"With standard normal weights $\lambda_0=S/n$ and $f_0^2/n=\lambda_0^2D^2/4$ with independent "
              r"$S\sim\chi^2_{2n}$, $D^2\sim\mathrm{Beta}(\frac12,\frac n2)$. Hence training diverges with probability "
              r"$P(\chi^2_{2n}>4n/\eta)$ and catapults (the loss grows at the first step) with "
              r"$P(\eta\lambda_0-\frac14\eta^2\lambda_0^2D^2>2,\ "
              r"\eta\lambda_0<4)$, at every width.",
    derivation=derivation,
    prediction=prediction,
    simulation=simulation,
    resolution={name: Resolution(0.03, points=len(lrs)) for name, lrs in COMPARED.items()} | {
        f"law of {what}, n = {n}": Resolution(0.04) for n in WIDTHS for what in ("λ_0", "D²")},
    negative_control=Control(r"in narrow nets too, the loss grows where $\eta\lambda_0>2$, whatever $f_0$",
                             prediction=by_curvature_alone),
    figure=figure,
)
