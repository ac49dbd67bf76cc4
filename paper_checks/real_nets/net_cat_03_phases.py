r"""NET-CAT-3: the phases of gradient descent on nonlinear nets: lazy, catapult, divergent.

.. math:: \eta\lambda_0 = 1:\ \lambda_\infty \approx \lambda_0, \qquad
          \eta\lambda_0 = 3:\ \max_t L_t > L_0,\ \eta\lambda_\infty < 2,\ L_\infty \to 0, \qquad
          \eta\lambda_0 = 12:\ L_t \to \infty

A measurement: tanh and ReLU nets of two and of three layers, width 128, in NTK parametrisation, squared error on 16 samples of
a teacher, over initialisations. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from paper_checks.real_nets.ensembles import once
from paper_checks.real_nets.full_batch import BY_DEPTH, DIVERGED, Descent, Nets, descend, few_samples
from paper_checks.real_nets.machine import on_device
from sdetheory.claims import Claim, Control, Run
from sdetheory.stats import mean_estimate, quantile_estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

requires = ("torch",)

WIDTHS, STEPS = {1: on_device(128, 2048), 2: on_device(128, 512)}, on_device(200, 1000)  # widths by hidden layers
MULTIPLES = (1.0, 3.0, 12.0)  # of 1/λ_0: inside each phase, away from the edges (which are NET-CAT-7)
# Spreads over initialisations are below 0.1 (curvatures), 0.7 (log of the peak) and 1.5 (log10 of the final loss): 64 of two layers
# (16 in quick mode) and 32 of three (24) tell their means within 0.1, 0.7 and 1.5 (0.2, 1.3 and 2.3).
SEEDS = {1: {"quick": 16, "default": 64, "thorough": 1024}, 2: {"quick": 24, "default": 32, "thorough": 512}}
STAYS, GROWS, FITS, ENDS, DIVERGES = MARKS = (
    "log of final over initial curvature at 1", "log of peak over initial loss at 3", "log10 of final over initial loss at 3",
    "curvature times lr after 3", "log10 of peak over initial loss at 12")
# In the wide limit ln(λ_∞/λ_0) = 0 at 1; width 128 moves it by O(1/√128), more in a deeper net.
LAZY = {1: 0.1, 2: 0.2}
PREDICTED = {GROWS: Between(0.1), FITS: Between(high=-1.0), ENDS: Between(0, 2), DIVERGES: float(np.log10(DIVERGED))}
RHO = {1: {STAYS: 0.3, GROWS: 1.5, FITS: 1.5, ENDS: 0.5, DIVERGES: 0.5}}
RHO[2] = RHO[1] | {FITS: 2.5}


@once
def _runs(run: Run) -> dict[str, Descent]:
    """A descent an activation: members in blocks of one multiple each."""
    data = few_samples()
    found: dict[str, Descent] = {}
    for name, (activation, depth) in BY_DEPTH.items():
        seeds = np.random.SeedSequence(run.rng.entropy, spawn_key=run.rng.spawn_key).spawn(SEEDS[depth][run.mode])
        nets = Nets(data.train_inputs, data.train_targets, seeds * len(MULTIPLES), activation=activation, width=WIDTHS[depth],
                    depth=depth)
        found[name] = descend(nets, np.repeat(MULTIPLES, len(seeds)), STEPS)
    return found


def _at(descent: Descent, multiple: float) -> Descent:
    rows = np.array_split(np.arange(len(descent.lr)), len(MULTIPLES))[MULTIPLES.index(multiple)]
    return Descent(*(part[rows] for part in descent))


def simulation(run: Run) -> dict[str, Any]:
    """What marks each phase, inside it."""
    run.data["runs"] = _runs(run)
    found: dict[str, Any] = {}
    for name, descent in run.data["runs"].items():
        lazy, catapult, divergent = (_at(descent, c) for c in MULTIPLES)
        values = {STAYS: np.log(lazy.end / lazy.start), GROWS: np.log(catapult.losses.max(1) / catapult.losses[:, 0]),
                  FITS: np.log10(catapult.losses[:, -1] / catapult.losses[:, 0]), ENDS: catapult.lr * catapult.end}
        peaks = np.log10(np.minimum(divergent.losses.max(1) / divergent.losses[:, 0], DIVERGED))
        found |= {f"{name}: {mark}": mean_estimate(value) for mark, value in values.items()}
        found[f"{name}: {DIVERGES}"] = quantile_estimate(peaks, 0.5)  # one in 100 three-layer ReLU nets has its edge beyond 12
    return found


def lazy_beyond(run: Run) -> dict[str, Any]:
    """The control: the marks of the lazy phase at ηλ_0 = 3."""
    return {f"{name}: {STAYS}": mean_estimate(np.log(_at(descent, 3.0).end / _at(descent, 3.0).start))
            for name, descent in _runs(run).items()}


def figure(run: Run) -> Figure:
    """Losses of a few initialisations in each phase."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.4, 6.4), layout="constrained")
    axes = fig.subplots(2, 2, sharex=True, sharey=True)
    for ax, (name, descent) in zip(axes.flat, run.data["runs"].items(), strict=True):
        for multiple, colour, phase in zip(MULTIPLES, ("tab:blue", "tab:orange", "tab:red"), ("lazy", "catapult", "divergent"),
                                           strict=True):
            some = _at(descent, multiple).losses[:8, :60]
            ax.semilogy((some / some[:, :1]).T, color=colour, lw=0.9, alpha=0.8)
            ax.plot([], [], color=colour, label=rf"$\eta\lambda_0={multiple:g}$: {phase}")
        ax.set_ylim(1e-4, 1e4)
        activation, depth = BY_DEPTH[name]
        ax.set_title(f"{'three' if depth == 2 else 'two'} layers, {activation.replace('relu', 'ReLU')}", fontsize=10.5)
    for row, column in zip(axes, axes.T, strict=True):
        row[0].set_ylabel(r"loss $L_t/L_0$")
        column[-1].set_xlabel(r"step $t$")
    axes[0, 0].legend(frameon=False, fontsize=8, loc="upper right")
    fig.suptitle("Three phases on nonlinear nets, eight initialisations each", fontsize=11)
    return fig


NAMES = {f"{name}: {mark}": (depth, mark) for name, (_, depth) in BY_DEPTH.items() for mark in MARKS}
claim = Claim(
    "NET-CAT-3",
    title="Lazy, catapult and divergent phases of nonlinear nets",
    paper="catapult",
    statement=rf"Tanh and ReLU nets of two layers (width {WIDTHS[1]}) and three (width {WIDTHS[2]}; NTK parametrisation, squared "
              r"error on 16 teacher samples, gradient descent), means over initialisations: at $\eta\lambda_0=1$ the curvature stays "
              r"within 10 % (20 % in three layers); at 3 the loss first grows, then falls at least tenfold, and ends where "
              r"$\eta\lambda<2$; at 12 it diverges (the median).",
    empirical=True,
    prediction={name: Between(-LAZY[depth], LAZY[depth]) if mark == STAYS else PREDICTED[mark]
                for name, (depth, mark) in NAMES.items()},
    simulation=simulation,
    resolution={name: RHO[depth][mark] for name, (depth, mark) in NAMES.items()},
    # a descent that fits ends below 2/η, so that ln(λ_∞/λ_0) is below −ln(3/2): this much outside of the statement
    negative_control=Control(r"at $\eta\lambda_0=3$ the curvature stays as it is in the lazy phase", simulation=lazy_beyond,
                             effect={name: np.log(1.5) - LAZY[depth] for name, (depth, mark) in NAMES.items() if mark == STAYS}),
    figure=figure,
)
