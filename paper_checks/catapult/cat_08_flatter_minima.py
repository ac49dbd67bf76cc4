r"""CAT-8: the catapult ends in flatter minima, the flatter the larger the learning rate, up to ηλ_0 of about 3.

.. math:: \frac{\lambda_\infty}{\lambda_0} \approx 1 \;(\eta\lambda_0 < 2), \qquad
          \frac{\lambda_\infty}{\lambda_0} \text{ falls with } \eta \;(2 < \eta\lambda_0 \lesssim 3), \qquad
          \eta\lambda_\infty < 2 \text{ always}

λ is the top eigenvalue of Θ/m, the top Hessian eigenvalue where the loss is 0. The last part is stability: where ηλ_∞ > 2
gradient descent leaves the minimum again. The rest is measured over initialisations of toy nets, ReLU and linear; each net is
trained at every learning rate, so differences are paired. Nearer to divergence the curvature stays low but no longer falls with
η. Test accuracy is for real nets. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sdetheory.evidence import Between

import sdetheory as sdt
from paper_checks.catapult.toy_nets import CURVATURE, SPREAD, WIDTH, data, descent, starts
from sdetheory.claims import Claim, Control, Resolution, Run
from sdetheory.stats import mean_estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NETS = {"ReLU": sdt.losses.TwoLayerReLU, "linear": sdt.losses.TwoLayerLinear}
LAZY, FALLING, HIGH = 1.0, (2.0, 2.3, 2.6, 3.0), (3.2, 3.5)  # ηλ_0
SCALED = np.array([LAZY, *FALLING, *HIGH])
STEPS = 120
INSIDE = slice(3, 5)  # ηλ_0 = 2.6 and 3
# Pilots of other seeds saw the ratio and its paired falls vary by up to 0.12 from net to net, ηλ_∞ by 0.3: 256 nets leave z·se
# below 0.04 and 0.1 (64 in quick mode: 0.09 and 0.22). The intervals are what they saw, rounded outward. No net had diverged.
PATHS = 256

PREDICTION = {
    "change of curvature in the lazy phase": Between(-0.1, 0.1),
    "fall of curvature from 2 to 3": Between(0.35, 0.85),
    "fall of curvature from one η to the next": Between(0.02, 0.4),
    "curvature at 3.2 and 3.5": Between(0.15, 0.55),
    "scaled curvature at the end, at 2.6 and 3": Between(0.4, 1.5),
}
WRONG = {"fall of curvature from 2 to 3": 0.0, "curvature at 3.2 and 3.5": 1.0,
         "scaled curvature at the end, at 2.6 and 3": 2.0}


def simulation(run: Run) -> dict[str, Any]:
    """λ at the end over λ_0, of each net at each learning rate; a mean over nets a point."""
    n, change, total, falls, high, scaled = run.paths(PATHS), [], [], [], [], []
    run.data["ratios"] = {}
    for (name, net), seed in zip(NETS.items(), run.rng.spawn(len(NETS)), strict=True):
        loss = net(*data(SPREAD), WIDTH)
        w = descent(loss, starts(loss, n, seed), SCALED, "w", STEPS, seed)[..., -1, :]
        alive = np.isfinite(w).all(-1)
        ratio = np.where(alive, loss.curvature(np.where(alive[..., None], w, 0.0)) / CURVATURE, np.nan)  # nan is counted
        run.data["ratios"][name] = ratio
        change.append(ratio[0] - 1)
        total.append(ratio[1] - ratio[len(FALLING)])
        falls.append(-np.diff(ratio[1:1 + len(FALLING)], axis=0))
        high.append(ratio[-len(HIGH):])
        scaled.append(SCALED[INSIDE, None] * ratio[INSIDE])
    measured = {"change of curvature in the lazy phase": np.array(change), "fall of curvature from 2 to 3": np.array(total),
                "fall of curvature from one η to the next": np.concatenate(falls),
                "curvature at 3.2 and 3.5": np.concatenate(high),
                "scaled curvature at the end, at 2.6 and 3": np.concatenate(scaled)}
    return {name: mean_estimate(values.T) for name, values in measured.items()}


def figure(run: Run) -> Figure:
    """The curvature at the end against ηλ_0, net by net and on average, with the bound of stability."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(6.4, 3.8), layout="constrained")
    ax = fig.subplots()
    rng = np.random.default_rng(0)
    looks = (("tab:blue", -0.025), ("tab:orange", 0.025))
    for (name, ratio), (colour, shift) in zip(run.data["ratios"].items(), looks, strict=True):
        x = SCALED + shift
        spread = x[:, None] + rng.uniform(-0.015, 0.015, ratio.shape)
        ax.plot(spread.ravel(), ratio.ravel(), ".", ms=2, color=colour, alpha=0.35)
        ax.errorbar(x, np.nanmean(ratio, 1), 3 * np.nanstd(ratio, 1) / np.sqrt(ratio.shape[1]), fmt="o-", ms=4.5, mfc="white",
                    capsize=2, lw=1.2, color=colour, label=f"{name} net: mean ± 3 s.e., each net a dot")
    dense = np.linspace(1.6, 3.7, 100)
    ax.plot(dense, 2 / dense, color="0.45", lw=1.3, ls="--", label=r"stability: $\lambda_\infty=2/\eta$")
    ax.axvline(2, color="0.6", lw=0.8, ls=":")
    ax.text(1.96, 0.08, "lazy", ha="right", color="0.4")
    ax.text(2.04, 0.08, "catapult", color="0.4")
    ax.set(xlabel=r"scaled learning rate $\eta\lambda_0$", ylabel=r"curvature at the end, $\lambda_\infty/\lambda_0$",
           ylim=(0, 1.35))
    ax.set_title("The catapult ends in flatter minima, well inside stability", fontsize=11)
    ax.legend(frameon=False, fontsize=8, loc="upper right")
    return fig


claim = Claim(
    "CAT-8",
    title="Flatter minima beyond the lazy phase",
    paper="catapult",
    statement=r"Measured on two-layer nets of width 128, ReLU and linear: in the lazy phase the curvature at the end is that "
              r"of the start (within 10 %); from $\eta\lambda_0=2$ to $3$ it falls with every larger $\eta$; from there to "
              r"$3.5$ "
              r"it stays at half of $\lambda_0$ or below, but not monotone. Catapults do not stop where they become stable but "
              r"end inside, at $\eta\lambda_\infty<1.5$ on average for $\eta\lambda_0$ of 2.6 and 3.",
    empirical=True,
    prediction=PREDICTION,
    simulation=simulation,
    resolution={"change of curvature in the lazy phase": Resolution(0.05, points=2),
                "fall of curvature from 2 to 3": Resolution(0.15, points=2),
                "fall of curvature from one η to the next": Resolution(0.1, points=2 * (len(FALLING) - 1)),
                "curvature at 3.2 and 3.5": Resolution(0.2, points=2 * len(HIGH)),
                "scaled curvature at the end, at 2.6 and 3": Resolution(0.25, points=2 * 2)},
    negative_control=Control(r"the net finds the same minimum at every $\eta$, of the curvature it started with; or it stops "
                             r"as "
                             r"soon as it is stable, at $\eta\lambda_\infty=2$", prediction=WRONG),
    figure=figure,
)
