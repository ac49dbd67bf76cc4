r"""SVAG-9: where the SDE fails: large batches at finite η, and gradients of infinite variance.

.. math:: \frac{\mathbb E\,x_k}{x(\eta k)} = \bigl((1-\eta a)e^{\eta a}\bigr)^k \quad (N \ll G), \qquad
          \text{scale of } x_l - x_0 \sim l^{1/\alpha-1/2} \quad (\alpha\text{-stable gradients})

The first: SGD with hardly any noise on ½ax² against gradient flow, the mean of its SDE. The second: l steps of SVAG(l), the
time of one step of SGD, on a flat loss; without a variance, scales are measured by the median of |x_l − x_0|, which is the
scale times that of the standard stable law. The simulated rule is SVAG throughout; l = 1 is SGD.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

import sdetheory as sdt
from sdetheory.claims import Claim, Control, Relative, Resolution, Run
from sdetheory.stats import Estimate, mean_estimate, quantile_estimate
from sdetheory.symbolic import Derivation
from sdetheory.theory import svag
from sdetheory.theory.formula import joint_derivation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVATURE, LR, START = 1.0, 0.5, 1.0
SMALL = 0.01  # scale of the Gaussian noise: N/G = 2e-4 at the start
STEPS = (1, 2, 4, 8)

STABILITIES = (1.0, 1.5, 2.0)  # Cauchy, in between, Gaussian
AMPLIFICATIONS = (1, 4, 16, 64)
FITTED = slice(1, None)  # the local slope is 1/alpha - 1/2 up to O(1/l)

# The median of |x| has relative standard error (pi/2)/n^(1/2) for a Cauchy law, less for the others: 40 000 paths leave
# 5 · 0.8 % = 4 %, twice that in quick mode. In the slope over log 16 that is 0.02, and 0.02 is its distance from the limit.
# The ratio to gradient flow varies by 0.4 at step 8: 40 000 paths leave 0.01.
PATHS = 40_000
RHO, RHO_EXPONENT, RHO_FLOW = 0.1, 0.08, 0.05


@functools.cache
def standard_median(stability: float) -> float:
    """The median of |X| for E exp(iuX) = exp(−|u|^α): P(X <= x) = 1/2 + (1/π)∫ sin(ux)/u exp(−u^α) du, over u > 0."""
    def above(x: float) -> float:
        integral, _ = scipy.integrate.quad(lambda u: x * np.sinc(u * x / np.pi) * np.exp(-u**stability), 0, np.inf, limit=200)
        return integral / np.pi - 0.25

    return float(scipy.optimize.brentq(above, 0.5, 1.5, xtol=1e-10))


def rule(curvature: float, stability: float, scale: float, amplification: int) -> Any:
    """SVAG on ½ curvature x² with stable gradient noise."""
    noise = sdt.noises.AlphaStable(stability, scale=scale)
    return sdt.dynamics.SVAG(sdt.losses.Quadratic([curvature], noise), lr=LR, amplification=amplification)


def prediction() -> dict[str, Any]:
    """The ratio to the flow; scales in closed form, and the power of l."""
    scales = {f"median, alpha = {a:g}": standard_median(a) * svag.stable_displacement(
        amplification=np.array(AMPLIFICATIONS), lr=LR, stability=a, noise_scale=1.0) for a in STABILITIES}
    return {"SGD / gradient flow": svag.descent_over_flow(step=np.array(STEPS), lr=LR, eigenvalue=CURVATURE), **scales,
            **{f"exponent, alpha = {a:g}": svag.stable_growth_exponent(stability=a) for a in STABILITIES}}


def simulation(run: Run) -> dict[str, Any]:
    """SGD with small Gaussian noise; then the displacement of SVAG for each α and l."""
    n = run.paths(PATHS)
    first, *seeds = run.rng.spawn(1 + len(STABILITIES) * len(AMPLIFICATIONS))
    flow = START * np.exp(-CURVATURE * LR * np.arange(max(STEPS) + 1))
    runs = sdt.simulate(rule(CURVATURE, 2.0, SMALL, 1), [START], n_steps=max(STEPS), save_every=1, n_paths=n, rng=first)
    ratios = mean_estimate(runs.w.values[:, STEPS, 0] / flow[list(STEPS)])
    found: dict[str, Any] = {"SGD / gradient flow": ratios}
    for i, stability in enumerate(STABILITIES):
        medians = []
        for l, seed in zip(AMPLIFICATIONS, seeds[i::len(STABILITIES)], strict=True):
            x = sdt.simulate(rule(0.0, stability, 1.0, l), [0.0], n_steps=l, n_paths=n, rng=seed).w.values[:, -1, 0]
            medians.append(quantile_estimate(np.abs(x), 0.5))
        values, errors = (np.array([getattr(m, part) for m in medians]) for part in ("value", "stderr"))
        found[f"median, alpha = {stability:g}"] = Estimate(values, errors, n=n)
        found[f"exponent, alpha = {stability:g}"] = _slope(stability, values, errors, n)
    run.data.update(found)
    return found


def _slope(stability: float, values: np.ndarray, errors: np.ndarray, n: int) -> Estimate:
    """The least-squares slope of log median against log l, bounded by the closed form's own distance from a power law."""
    centred = np.log(AMPLIFICATIONS[FITTED]) - np.log(AMPLIFICATIONS[FITTED]).mean()
    weights = centred / (centred @ centred)
    exact = svag.stable_displacement(amplification=np.array(AMPLIFICATIONS)[FITTED], lr=LR, stability=stability,
                                     noise_scale=1.0)
    bend = abs(weights @ np.log(exact) - svag.stable_growth_exponent(stability=stability))
    relative = (errors / values)[FITTED]
    return Estimate(float(weights @ np.log(values[FITTED])), float(np.sqrt(weights**2 @ relative**2)), float(bend), n)


def as_if_there_were_a_limit() -> dict[str, Any]:
    """The flow for SGD; a displacement that does not depend on l."""
    return {"SGD / gradient flow": np.ones(len(STEPS)), "exponent, alpha = 1": 0.0, "exponent, alpha = 1.5": 0.0}


def derivation() -> Derivation:
    """A step against the flow; exponents of characteristic functions add."""
    return joint_derivation("Where the SDE fails", svag.descent_over_flow, svag.stable_displacement,
                            svag.stable_growth_exponent)


def figure(run: Run) -> Figure:
    """Left: SGD without noise against the flow; right: the displacement over the time of one step against l."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.2, 3.8), layout="constrained")
    left, right = fig.subplots(1, 2)
    steps = np.arange(max(STEPS) + 1)
    left.plot(steps, svag.descent_over_flow(step=steps, lr=LR, eigenvalue=CURVATURE), color="0.45", lw=1.3,
              label=r"$((1-\eta a)e^{\eta a})^k$")
    ratios = run.data["SGD / gradient flow"]
    left.errorbar(STEPS, ratios.value, 3 * ratios.stderr, fmt="o", ms=5, mfc="none", color="tab:blue", capsize=3,
                  label=rf"SGD, $\eta a={LR * CURVATURE:g}$, $N\ll G$")
    left.axhline(1, color="tab:red", ls="--", lw=1.2, label="SDE (gradient flow)")
    left.set(xlabel="step $k$", ylabel=r"$\mathbb{E}\,x_k$ over gradient flow at $\eta k$", ylim=(0, 1.1))
    left.set_title("Large batch, finite step", fontsize=10)
    dense = np.arange(1, AMPLIFICATIONS[-1] + 1)
    for stability, marker, colour in zip(STABILITIES, ("^", "s", "o"), ("tab:red", "tab:orange", "tab:blue"), strict=True):
        medians = run.data[f"median, alpha = {stability:g}"]
        right.errorbar(AMPLIFICATIONS, medians.value, 3 * medians.stderr, fmt=marker, ms=5, mfc="none", color=colour, capsize=3,
                       label=rf"$\alpha={stability:g}$: $l^{{{svag.stable_growth_exponent(stability=stability):.2g}}}$")
        right.plot(dense, standard_median(stability) * svag.stable_displacement(
            amplification=dense, lr=LR, stability=stability, noise_scale=1.0), color=colour, lw=1)
    right.set(xscale="log", yscale="log", xlabel="amplification $l$", ylabel=r"median of $|x_l-x_0|$ after $l$ steps")
    right.set_xticks(AMPLIFICATIONS, [str(l) for l in AMPLIFICATIONS])
    right.set_yticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
    right.minorticks_off()
    right.set_title(r"$\alpha$-stable gradients: no limit for $\alpha<2$", fontsize=10)
    for ax in (left, right):
        ax.legend(frameon=False, fontsize=8)
    fig.suptitle("The SDE needs noise that outweighs the finite step, and noise with a variance", fontsize=11)
    return fig


claim = Claim(
    "SVAG-9",
    title="Where the SDE fails",
    paper="svag",
    statement=r"(a) With $N\ll G$, SGD at finite $\eta$ parts from gradient flow: on $\frac12ax^2$ by "
              r"$((1-\eta a)e^{\eta a})^k$. "
              r"(b) With $\alpha$-stable gradients the displacement of SVAG over $l$ steps, one step of SGD, grows as "
              r"$l^{1/\alpha-1/2}$: there is no Itô limit for $\alpha<2$.",
    derivation=derivation,
    prediction=prediction,
    simulation=simulation,
    resolution={"SGD / gradient flow": Resolution(RHO_FLOW, points=len(STEPS)),
                **{f"median, alpha = {a:g}": Resolution(Relative(RHO), points=len(AMPLIFICATIONS)) for a in STABILITIES},
                **{f"exponent, alpha = {a:g}": Resolution(RHO_EXPONENT) for a in STABILITIES}},
    negative_control=Control("SGD with little noise follows gradient flow, and SVAG has a limit whatever the tails: its "
                             "displacement over one step of SGD does not depend on $l$", prediction=as_if_there_were_a_limit),
    figure=figure,
)
