r"""NET-CAT-7: where the phases of nonlinear nets meet.

.. math:: \eta\lambda_0 = 2: \text{ lazy | catapult}, \qquad \eta\lambda_0 = c_*: \text{ catapult | divergent}

A measurement of medians over initialisations of two-layer tanh and ReLU nets of width 128 on 16 teacher samples. The first edge is
where the final curvature leaves :math:`\lambda_0` (below 0.9 λ_0); c_* is the smallest multiple of 1/λ_0 that diverges, each on a grid.
Few initialisations have an edge far out (divergence at 8, say), which is why it is the median.
The published figure for deep ReLU nets, about 12, is not what these nets show, and is the negative control. Clock: none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from paper_checks.real_nets.ensembles import once
from paper_checks.real_nets.full_batch import ACTIVATIONS, Nets, descend, few_samples
from paper_checks.real_nets.machine import on_device
from sdetheory.claims import Claim, Control, Run
from sdetheory.stats import quantile_estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

requires = ("torch",)

WIDTH, STEPS = on_device(128, 2048), on_device(150, 1000)
LAZY_GRID = np.arange(1.2, 2.71, 0.1)
DIVERGENT_GRID = np.arange(3.0, 7.6, 0.5)
# Edges of single initialisations spread by 0.1 to 0.2 and 0.3 to 0.7: 32 of them (24 in quick mode) tell medians within 0.4 and 0.8.
SEEDS = {"quick": 24, "default": 32, "thorough": 384}
RHO = {"lazy edge": 0.7, "divergence edge": 1.5}
# Half a step of the grid; and just beyond 2 a catapult ends at 4/η − λ_0 (CAT-4), which is below 0.9 λ_0 from 4/1.9 on only, where
# the O(1/√width) by which the curvature of a finite net moves anyway moves the edge by as much.
BIAS = {"lazy edge": 0.05 + 4 / 1.9 - 2 + WIDTH**-0.5, "divergence edge": 0.25}
PUBLISHED = 12.0
SEEN = {"tanh": Between(3.5, 4.5), "relu": Between(4.0, 6.0)}


@once
def _edges(run: Run) -> dict[str, np.ndarray]:
    """(seeds,) of each edge: the middle of the step of the grid in which it is."""
    data, found = few_samples(), {}
    seeds = np.random.SeedSequence(run.rng.entropy, spawn_key=run.rng.spawn_key).spawn(SEEDS[run.mode])
    for activation in ACTIVATIONS:
        for name, grid in (("lazy edge", LAZY_GRID), ("divergence edge", DIVERGENT_GRID)):
            nets = Nets(data.train_inputs, data.train_targets, seeds * len(grid), activation=activation, width=WIDTH)
            descent = descend(nets, np.repeat(grid, len(seeds)), STEPS)
            past = descent.end < 0.9 * descent.start if name == "lazy edge" else ~np.isfinite(descent.losses[:, -1])
            past = past.reshape(len(grid), len(seeds)) | np.isinf(descent.end).reshape(len(grid), len(seeds))
            step = grid[1] - grid[0]
            # an edge outside of the grid counts as at its end, which moves no median that is inside
            found[f"{activation}: {name}"] = np.where(past.any(0), grid[past.argmax(0)], grid[-1] + step) - step / 2
    return found


def simulation(run: Run) -> dict[str, Any]:
    """Median edges."""
    run.data["edges"] = _edges(run)
    return {name: quantile_estimate(edges, 0.5).with_bias(BIAS[name.partition(": ")[2]]) for name, edges in run.data["edges"].items()}


def figure(run: Run) -> Figure:
    """The edges of every initialisation."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(6.6, 3.6), layout="constrained")
    ax = fig.subplots()
    for i, (name, edges) in enumerate(run.data["edges"].items()):
        spread = np.linspace(-0.18, 0.18, len(edges))
        ax.plot(edges, i + spread, "o", ms=4, mfc="none", color="tab:blue" if "lazy" in name else "tab:red")
        ax.plot([np.median(edges)] * 2, [i - 0.32, i + 0.32], color="k", lw=1.5)
    for edge, style, label in ((2, "--", "wide limit: 2"), (4, ":", "uv model: 4"),
                               (PUBLISHED, "-.", "published for deep ReLU nets: 12")):
        ax.axvline(edge, color="0.5", ls=style, lw=1, label=label)
    ax.set(yticks=range(len(run.data["edges"])), xlabel=r"multiple of $1/\lambda_0$ at the edge", xlim=(1, 13))
    ax.set_yticklabels(list(run.data["edges"]))
    ax.set_title("Edges of the phases, one initialisation a point", fontsize=11)
    ax.legend(frameon=False, fontsize=8, loc="center right")
    return fig


NAMES = [f"{activation}: {edge}" for activation in ACTIVATIONS for edge in RHO]
claim = Claim(
    "NET-CAT-7",
    title="The edges of the phases of nonlinear nets",
    paper="catapult",
    statement=rf"Two-layer tanh and ReLU nets of width {WIDTH} (NTK parametrisation, 16 teacher samples), medians over "
              r"initialisations: the curvature starts to fall at $\eta\lambda_0=2$; divergence begins between 3.5 and 4.5 for tanh, "
              r"between 4 and 6 for ReLU. Nothing is said of deeper nets.",
    empirical=True,
    prediction={name: 2.0 if "lazy" in name else SEEN[name.partition(":")[0]] for name in NAMES},
    simulation=simulation,
    resolution={name: RHO[name.partition(": ")[2]] for name in NAMES},
    negative_control=Control(r"these nets diverge from the published $12/\lambda_0$ on, and the curvature falls from $4/\lambda_0$ on",
                             prediction={name: 4.0 if "lazy" in name else PUBLISHED for name in NAMES}),
    figure=figure,
)
