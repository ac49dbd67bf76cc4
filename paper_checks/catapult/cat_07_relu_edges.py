r"""CAT-7: for ReLU nets the lazy/catapult edge stays at 2/λ_0; where training fails, and how, depends on the data.

.. math:: f(x) = \tfrac{1}{\sqrt n}\sum_i v_i\max(U_i\cdot x, 0), \qquad
          L = \tfrac1{2m}\sum_\alpha(f(x_\alpha)-y_\alpha)^2, \qquad \lambda_0 = \text{top eigenvalue of } \Theta/m

A measurement on toy nets, over initialisations, with no derivation. The published figure for deep ReLU nets on images
is a divergence edge of about 12/λ_0. Here, with one hidden layer, spread inputs give an edge of some 5.3/λ_0, and the
linear net on the same data one just below 4/λ_0. Inputs with a large common direction (as images have) do not diverge
at all: units that no sample switches on no longer move, and beyond some 10/λ_0 what is left learns nothing.
Clock: steps.
"""

import numpy as np

import sdetheory as sdt
from paper_checks.catapult.toy_nets import (
    ALIGNED,
    SPREAD,
    WIDTH,
    data,
    descent,
    log_edge,
    lost_laziness,
    starts,
    wide_relu_kernel,
)
from sdetheory import Between, Claim, Quantity
from sdetheory.stats import clopper_pearson, mean_estimate

# Pilots with 96 and 1024 nets of other seeds saw the edges 2.1, 5.35, 3.9 and 10 with spreads of 6, 8, 5 and 31 % from
# net to net; the intervals claimed are rounded outward. With 128 nets (32 in quick mode, Student's t) z·se of the lazy
# edge is 3 % (6 %), of the others, with 256 and 192 nets, 2 % (5 %), 1 % (3 %) and 12 % (26 %), to which half a cell of
# the grid is added: 2 % at FAILURE.
LAZY_NETS, NETS, ALIGNED_NETS = 128, 256, 192
STEPS = 80
GROWTH = np.geomspace(1.6, 3.0, 12)  # ηλ_0
FAILURE = np.geomspace(3.0, 9.0, 24)
FAR = np.geomspace(4.0, 60.0, 20)
RELU, LINEAR = sdt.losses.TwoLayerReLU, sdt.losses.TwoLayerLinear
CASES = {"ReLU, spread inputs": (RELU, SPREAD), "ReLU, aligned inputs": (RELU, ALIGNED),
         "linear, spread inputs": (LINEAR, SPREAD)}


def between(low, high):
    return Between(np.log(low), np.log(high))


def edge_by_mean_gradient(common):
    """ηλ_0 where 2 over the mean of ‖∇f(x_α)‖², the trace of Θ/m, would be; Θ of infinite width."""
    eigenvalues = np.linalg.eigvalsh(wide_relu_kernel(data(common)[0]))
    return 2 * eigenvalues[-1] / eigenvalues.sum()


# wrong: with one sample λ = ‖∇f‖², which is the trace of Θ/m as well as its top eigenvalue; the edges of the linear
# model, and of a quadratic loss for the linear net
QUANTITIES = {
    "ln of the lazy edge": Quantity(between(1.9, 2.2), 0.11, points=list(CASES)[:2],
                                    wrong=np.log([edge_by_mean_gradient(common) for common in (SPREAD, ALIGNED)])),
    "ln of the divergence edge, ReLU, spread inputs": Quantity(between(4.8, 6.0), 0.09, wrong=np.log(4.0)),
    "ln of the divergence edge, linear, spread inputs": Quantity(between(3.5, 4.1), 0.12, wrong=np.log(2.0)),
    "ln of the learning edge, ReLU, aligned inputs": Quantity(between(8.0, 13.0), 0.34, wrong=np.log(4.0)),
    "share diverged at 60, ReLU, aligned inputs": Quantity(0.0, 0.35, wrong=1.0),
}


def edge(before, grid):
    """The mean over nets of ln(ηλ_0) at the edge; half a cell is the error of the grid."""
    return mean_estimate(log_edge(before, grid), bias_bound=np.log(grid[1] / grid[0]) / 2)


def measure(trial):
    """Edges of each net, on three grids of learning rates."""
    seeds = iter(trial.rng.spawn(2 * len(CASES)))
    found, growth, trial.data["shares"] = {}, [], {}
    for name, (net, common) in CASES.items():
        aligned, seed = common == ALIGNED, next(seeds)
        loss = net(*data(common), WIDTH)
        w0 = starts(loss, trial.paths(ALIGNED_NETS if aligned else NETS), seed)
        if net is RELU:
            losses = descent(loss, w0[:trial.paths(LAZY_NETS)], GROWTH, "loss", STEPS, seed, 1)
            growth.append(log_edge(~lost_laziness(losses), GROWTH))
        grid = FAR if aligned else FAILURE
        last = descent(loss, w0, grid, "loss", STEPS, seed)[..., -1]
        learned = last < loss.value(np.zeros(loss.dim)) / 2  # half the loss of the net that outputs 0
        finite = np.isfinite(last)
        trial.data["shares"][name] = grid, learned.mean(1), finite.mean(1)
        if aligned:
            found[f"ln of the learning edge, {name}"] = edge(learned, grid)
            diverged = int(np.sum(~finite[-1]))
            share, (_, high) = diverged / len(w0), clopper_pearson(diverged, len(w0), 1e-6)
            found[f"share diverged at 60, {name}"] = sdt.Estimate(share, 0.0, high - share)
        else:
            found[f"ln of the divergence edge, {name}"] = edge(finite, grid)
    trial.data["growth"] = np.exp(growth)
    return found | {"ln of the lazy edge": mean_estimate(np.stack(growth, 1),
                                                         bias_bound=np.log(GROWTH[1] / GROWTH[0]) / 2)}


def figure(trial, ax):
    """Shares of nets that learn, and that stay finite, against ηλ_0."""
    for i, (name, (grid, learned, finite)) in enumerate(trial.data["shares"].items()):
        ax.plot(grid, learned, "o-", ms=4, mfc="none", color=f"C{i}", lw=1.2, label=f"{name}: learned")
        if not np.array_equal(learned, finite):
            ax.plot(grid, finite, color=f"C{i}", lw=1.2, ls="--", label=f"{name}: finite")
    ax.axvspan(*np.quantile(trial.data["growth"][0], [0.1, 0.9]), color="C0", alpha=0.2, lw=0,
               label="lazy/catapult edge (80 % of nets)")
    for x, label in ((2, r"$2/\lambda_0$"), (4, r"$4/\lambda_0$"), (12, r"$12/\lambda_0$")):
        ax.axvline(x, color="0.6", lw=0.8, ls=":", zorder=0)
        ax.text(x, 1.08, label, ha="center", color="0.5")
    ax.set_xscale("log")
    ax.set_xticks([2, 3, 4, 6, 10, 20, 40, 60], ["2", "3", "4", "6", "10", "20", "40", "60"])
    ax.set_xticks([], minor=True)
    ax.set(xlabel=r"scaled learning rate $\eta\lambda_0$", ylabel="share of initialisations", ylim=(-0.03, 1.07))
    ax.set_title("Lazy up to $2/\\lambda_0$; how far nets learn depends on the data\n")
    ax.legend(loc="center right", bbox_to_anchor=(1.0, 0.57))


claim = Claim(
    "CAT-7", "ReLU nets: the lazy edge stays, the divergence edge moves", paper="catapult", empirical=True,
    where="the experiments: nonlinear nets, where the divergence edge is reported at about 12/λ_0",
    statement=r"Measured on ReLU nets with one hidden layer of width 128 and MSE on 4 samples in 4 dimensions: the "
              r"lazy/catapult edge stays at $2/\lambda_0$ (within 10 %). The other edge moves with the data: spread inputs "
              r"diverge beyond some $5.3/\lambda_0$ (the linear net just below $4/\lambda_0$); with a large common "
              r"direction nets never diverge up to $60/\lambda_0$, but beyond some $10/\lambda_0$ units die and half of "
              r"the nets learn nothing. The published figure, $12/\lambda_0$, is for deeper nets on images, and is not "
              r"tested here.",
    setup=r"Gradient descent on two-layer nets of width 128, 4 samples in 4 dimensions, 128 to 256 initialisations scaled "
          r"to one $\lambda_0$, 80 steps at each learning rate of a geometric grid",
    bias_source="half a cell of the grid of learning rates, or the interval of a share",
    quantities=QUANTITIES, measure=measure, figure=figure,
    control=r"the lazy edge at 2 over the mean of $\|\nabla f(x_\alpha)\|^2$, which with one sample is $\lambda$; ReLU nets "
            r"diverge beyond $4/\lambda_0$ whatever the data, as the linear model does; the linear net beyond "
            r"$2/\lambda_0$, as on a quadratic loss")
