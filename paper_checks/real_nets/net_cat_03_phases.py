r"""NET-CAT-3: the phases of gradient descent on nonlinear nets: lazy, catapult, divergent.

.. math:: \eta\lambda_0 = 1:\ \lambda_\infty \approx \lambda_0, \qquad
          \eta\lambda_0 = 3:\ \max_t L_t > L_0,\ \eta\lambda_\infty < 2,\ L_\infty \to 0, \qquad
          \eta\lambda_0 = 12:\ L_t \to \infty

A measurement: two-layer tanh and ReLU nets of width 128 in NTK parametrisation, squared error on 16 samples of a
teacher, over initialisations. Clock: steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from paper_checks.real_nets.ensembles import once
from paper_checks.real_nets.full_batch import ACTIVATIONS, DIVERGED, Descent, Nets, descend, few_samples
from paper_checks.real_nets.machine import on_device
from sdetheory.claims import Claim, Control, Run
from sdetheory.evidence import Between
from sdetheory.stats import mean_estimate

requires = ("torch",)

WIDTH, STEPS = on_device(128, 2048), on_device(200, 1000)
MULTIPLES = (1.0, 3.0, 12.0)  # of 1/λ_0: inside each phase, away from the edges (which are NET-CAT-7)
# spreads over initialisations are below 0.1 (curvatures) and 0.7 (log of the peak): 64 of them (16 in quick mode) tell their
# means within 0.07 and 0.5 (0.2 and 1.3)
SEEDS = 64
RHO = {"log of final over initial curvature at 1": 0.3, "log of peak over initial loss at 3": 1.5,
       "curvature times lr after 3": 0.5, "log10 of final over initial loss at 3": 1.5, "log10 of peak over initial loss at 12": 0.5}
# in the wide limit ln(λ_∞/λ_0) = 0 at 1; width 128 moves it by O(1/√128)
PREDICTED = {"log of final over initial curvature at 1": Between(-0.1, 0.1), "log of peak over initial loss at 3": Between(0.1),
             "curvature times lr after 3": Between(0, 2), "log10 of final over initial loss at 3": Between(high=-1.0),
             "log10 of peak over initial loss at 12": float(np.log10(DIVERGED))}


@once
def _runs(run: Run) -> dict[str, Descent]:
    """A descent an activation: members in blocks of one multiple each."""
    data = few_samples()
    found: dict[str, Descent] = {}
    for activation in ACTIVATIONS:
        seeds = np.random.SeedSequence(run.rng.entropy, spawn_key=run.rng.spawn_key).spawn(run.paths(SEEDS))
        nets = Nets(data.train_inputs, data.train_targets, seeds * len(MULTIPLES), activation=activation, width=WIDTH)
        found[activation] = descend(nets, np.repeat(MULTIPLES, len(seeds)), STEPS)
    return found


def _at(descent: Descent, multiple: float) -> Descent:
    rows = np.array_split(np.arange(len(descent.lr)), len(MULTIPLES))[MULTIPLES.index(multiple)]
    return Descent(*(part[rows] for part in descent))


def simulation(run: Run) -> dict[str, Any]:
    """What marks each phase, inside it."""
    run.data["runs"] = _runs(run)
    found: dict[str, Any] = {}
    for activation, descent in run.data["runs"].items():
        lazy, catapult, divergent = (_at(descent, c) for c in MULTIPLES)
        values = (np.log(lazy.end / lazy.start), np.log(catapult.losses.max(1) / catapult.losses[:, 0]),
                  catapult.lr * catapult.end, np.log10(catapult.losses[:, -1] / catapult.losses[:, 0]),
                  np.log10(np.minimum(divergent.losses.max(1) / divergent.losses[:, 0], DIVERGED)))
        found |= {f"{activation}: {name}": mean_estimate(value) for name, value in zip(RHO, values, strict=True)}
    return found


def lazy_beyond(run: Run) -> dict[str, Any]:
    """The control: the marks of the lazy phase at ηλ_0 = 3."""
    return {f"{activation}: log of final over initial curvature at 1":
            mean_estimate(np.log(_at(descent, 3.0).end / _at(descent, 3.0).start)) for activation, descent in _runs(run).items()}


def figure(run: Run) -> Figure:
    """Losses of a few initialisations in each phase."""
    fig = Figure(figsize=(7.2, 3.8), layout="constrained")
    axes = fig.subplots(1, 2, sharey=True)
    for ax, (activation, descent) in zip(axes, run.data["runs"].items(), strict=True):
        for multiple, colour, phase in zip(MULTIPLES, ("tab:blue", "tab:orange", "tab:red"), ("lazy", "catapult", "divergent"),
                                           strict=True):
            some = _at(descent, multiple).losses[:8, :60]
            ax.semilogy((some / some[:, :1]).T, color=colour, lw=0.9, alpha=0.8)
            ax.plot([], [], color=colour, label=rf"$\eta\lambda_0={multiple:g}$: {phase}")
        ax.set(xlabel=r"step $t$", ylim=(1e-4, 1e4))
        ax.set_title(f"two layers, {activation}", fontsize=10.5)
    axes[0].set_ylabel(r"loss $L_t/L_0$")
    axes[0].legend(frameon=False, fontsize=8, loc="lower right")
    fig.suptitle("Three phases on nonlinear nets, eight initialisations each", fontsize=11)
    return fig


NAMES = [f"{activation}: {name}" for activation in ACTIVATIONS for name in RHO]
claim = Claim(
    "NET-CAT-3",
    title="Lazy, catapult and divergent phases of nonlinear nets",
    paper="catapult",
    statement=rf"Two-layer tanh and ReLU nets of width {WIDTH} (NTK parametrisation, squared error on 16 teacher samples, gradient "
              r"descent), means over initialisations: at $\eta\lambda_0=1$ the curvature stays within 10 %; at 3 the loss first "
              r"grows, then falls at least tenfold, and ends where $\eta\lambda<2$; at 12 it diverges.",
    empirical=True,
    prediction={name: PREDICTED[name.partition(": ")[2]] for name in NAMES},
    simulation=simulation,
    resolution={name: RHO[name.partition(": ")[2]] for name in NAMES},
    negative_control=Control(r"at $\eta\lambda_0=3$ the curvature stays as it is in the lazy phase", simulation=lazy_beyond),
    figure=figure,
)
