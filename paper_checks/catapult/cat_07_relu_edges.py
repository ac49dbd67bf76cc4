r"""CAT-7: for ReLU nets the lazy/catapult edge stays at 2/λ_0; where training fails, and how, depends on the data.

.. math:: f(x) = \tfrac{1}{\sqrt n}\sum_i v_i\max(U_i\cdot x, 0), \qquad L = \tfrac1{2m}\sum_\alpha(f(x_\alpha)-y_\alpha)^2,
          \qquad \lambda_0 = \text{top eigenvalue of } \Theta/m

A measurement on toy nets, over initialisations, with no derivation. The published figure for large ReLU nets is a divergence
edge of about 12/λ_0. Here spread inputs give an edge of some 5.3/λ_0, and the linear net on the same data one just below
4/λ_0. Inputs with a large common direction (as images have) do not diverge at all: units that no sample switches on no longer
move, and beyond some 10/λ_0 what is left learns nothing. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sdetheory.evidence import Between

import sdetheory as sdt
from paper_checks.catapult.toy_nets import ALIGNED, SPREAD, WIDTH, data, descent, log_edge, lost_laziness, starts
from sdetheory.claims import Claim, Control, Resolution, Run
from sdetheory.stats import clopper_pearson, mean_estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Pilots with 96 nets of other seeds saw the edges 2.1, 5.4, 3.8 and 10 with spreads of 6, 8, 5 and 31 % from net to net; the
# intervals claimed are rounded outward. With 128 nets (32 in quick mode, Student's t) z·se is 3 % (6 %), 4 % (9 %), 2 % (5 %)
# and, of 192 nets, 12 % (26 %), to which half a cell of the grid is added.
NETS, ALIGNED_NETS = 128, 192
STEPS = 80
GROWTH = np.geomspace(1.6, 3.0, 12)  # ηλ_0
FAILURE = np.geomspace(3.0, 9.0, 16)
FAR = np.geomspace(4.0, 60.0, 20)
CASES = {"ReLU, spread inputs": (sdt.losses.TwoLayerReLU, SPREAD), "ReLU, aligned inputs": (sdt.losses.TwoLayerReLU, ALIGNED),
         "linear, spread inputs": (sdt.losses.TwoLayerLinear, SPREAD)}

PREDICTION = {"ln of the lazy edge": Between(np.log(1.9), np.log(2.2)),
              "ln of the divergence edge, ReLU, spread inputs": Between(np.log(4.8), np.log(6.0)),
              "ln of the divergence edge, linear, spread inputs": Between(np.log(3.5), np.log(4.1)),
              "ln of the learning edge, ReLU, aligned inputs": Between(np.log(8.0), np.log(13.0)),
              "share diverged at 60, ReLU, aligned inputs": 0.0}
WRONG = {"ln of the lazy edge": np.log(2.75),
         "ln of the divergence edge, ReLU, spread inputs": np.log(12.0),
         "ln of the learning edge, ReLU, aligned inputs": np.log(4.0),
         "share diverged at 60, ReLU, aligned inputs": 1.0}


def _edge(before: np.ndarray, grid: np.ndarray) -> Any:
    """The mean over nets of ln(ηλ_0) at the edge; half a cell is the error of the grid."""
    return mean_estimate(log_edge(before, grid), bias_bound=np.log(grid[1] / grid[0]) / 2)


def simulation(run: Run) -> dict[str, Any]:
    """Edges of each net, on three grids of learning rates."""
    seeds = iter(run.rng.spawn(2 * len(CASES)))
    found, growth, run.data["shares"] = {}, [], {}
    for name, (net, common) in CASES.items():
        aligned, seed = common == ALIGNED, next(seeds)
        loss = net(*data(common), WIDTH)
        w0 = starts(loss, run.paths(ALIGNED_NETS if aligned else NETS), seed)
        if net is sdt.losses.TwoLayerReLU:
            few = w0[:run.paths(NETS)]
            growth.append(log_edge(~lost_laziness(descent(loss, few, GROWTH, "loss", STEPS, seed, 1)), GROWTH))
        grid = FAR if aligned else FAILURE
        last = descent(loss, w0, grid, "loss", STEPS, seed)[..., -1]
        learned = last < loss.value(np.zeros(loss.dim)) / 2  # half the loss of the net that outputs 0
        finite = np.isfinite(last)
        run.data["shares"][name] = grid, learned.mean(1), finite.mean(1)
        if aligned:
            found[f"ln of the learning edge, {name}"] = _edge(learned, grid)
            diverged = int(np.sum(~finite[-1]))
            interval = clopper_pearson(diverged, len(w0), 1e-6)
            found[f"share diverged at 60, {name}"] = sdt.Estimate(diverged / len(w0), 0.0, interval[1] - diverged / len(w0))
        else:
            found[f"ln of the divergence edge, {name}"] = _edge(finite, grid)
    run.data["growth"] = np.exp(growth)
    return found | {"ln of the lazy edge": mean_estimate(np.stack(growth, 1), bias_bound=np.log(GROWTH[1] / GROWTH[0]) / 2)}


def figure(run: Run) -> Figure:
    """Shares of nets that learn, and that stay finite, against ηλ_0."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(6.4, 3.8), layout="constrained")
    ax = fig.subplots()
    for (name, (grid, learned, finite)), colour in zip(run.data["shares"].items(), ("tab:blue", "tab:orange", "tab:green"),
                                                       strict=True):
        ax.plot(grid, learned, "o-", ms=4, mfc="none", color=colour, lw=1.2, label=f"{name}: learned")
        if not np.array_equal(learned, finite):
            ax.plot(grid, finite, color=colour, lw=1.2, ls="--", label=f"{name}: finite")
    edge = run.data["growth"][0]
    ax.axvspan(*np.quantile(edge, [0.1, 0.9]), color="tab:blue", alpha=0.2, lw=0, label="lazy/catapult edge (80 % of nets)")
    for x, label in ((2, r"$2/\lambda_0$"), (4, r"$4/\lambda_0$"), (12, r"$12/\lambda_0$")):
        ax.axvline(x, color="0.6", lw=0.8, ls=":", zorder=0)
        ax.text(x, 1.085, label, ha="center", color="0.4", fontsize=9)
    ax.set_xscale("log")
    ax.set_xticks([2, 3, 4, 6, 10, 20, 40, 60], ["2", "3", "4", "6", "10", "20", "40", "60"])
    ax.set_xticks([], minor=True)
    ax.set(xlabel=r"scaled learning rate $\eta\lambda_0$", ylabel="share of initialisations", ylim=(-0.03, 1.07))
    ax.set_title("Lazy up to $2/\\lambda_0$; how far nets learn depends on the data\n", fontsize=11)
    ax.legend(frameon=False, fontsize=7.5, loc="center right", bbox_to_anchor=(1.0, 0.57))
    return fig


claim = Claim(
    "CAT-7",
    title="ReLU nets: the lazy edge stays, the divergence edge moves",
    paper="catapult",
    statement=r"Measured on two-layer ReLU nets of width 128 with MSE on 4 samples: the lazy/catapult edge stays at "
              r"$2/\lambda_0$ (within 10 %). The other edge moves with the data: spread inputs diverge beyond some "
              r"$5.3/\lambda_0$ "
              r"(the linear net just below $4/\lambda_0$); with a large common direction nets never diverge up to "
              r"$60/\lambda_0$, but beyond some $10/\lambda_0$ units die and half of the nets learn nothing.",
    empirical=True,
    prediction=PREDICTION,
    simulation=simulation,
    resolution={"ln of the lazy edge": Resolution(0.11, points=2),
                "ln of the divergence edge, ReLU, spread inputs": Resolution(0.15),
                "ln of the divergence edge, linear, spread inputs": Resolution(0.12),
                "ln of the learning edge, ReLU, aligned inputs": Resolution(0.34),
                "share diverged at 60, ReLU, aligned inputs": Resolution(0.35)},
    negative_control=Control(r"the lazy edge moves in proportion to the other, to $2\cdot5.5/4$; ReLU nets diverge at "
                             r"$12/\lambda_0$ whatever the data, or at $4/\lambda_0$ as linear nets; all diverge in the end",
                             prediction=WRONG),
    figure=figure,
)
