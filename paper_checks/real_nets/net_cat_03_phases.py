r"""NET-CAT-3: the phases of gradient descent on nonlinear nets: lazy, catapult, divergent.

.. math:: \eta\lambda_0 = 1:\ \lambda_\infty \approx \lambda_0, \qquad
          \eta\lambda_0 = 3:\ \max_t L_t > L_0,\ \eta\lambda_\infty < 2,\ L_\infty \to 0, \qquad
          \eta\lambda_0 = 12:\ L_t \to \infty

A measurement: tanh and ReLU nets of two and of three layers, width 128, in NTK parametrisation, squared error on 16 samples
of a teacher, over initialisations. Clock: steps.
"""

import numpy as np

from paper_checks.real_nets.ensembles import once
from paper_checks.real_nets.full_batch import BY_DEPTH, DIVERGED, Descent, Nets, descend, few_samples
from paper_checks.real_nets.machine import on_device
from sdetheory import Between, Claim, Quantity
from sdetheory.stats import mean_estimate, quantile_estimate

requires = ("torch",)

WIDTHS, STEPS = {1: on_device(128, 2048), 2: on_device(128, 512)}, on_device(200, 1000)  # widths by hidden layers
MULTIPLES = (1.0, 3.0, 12.0)  # of 1/λ_0: inside each phase, away from the edges (which are NET-CAT-7)
# Spreads over initialisations are below 0.1 (curvatures), 0.7 (log of the peak) and 1.5 (log10 of the final loss): 64 of
# two layers (16 in quick mode) and 32 of three (24) tell their means within 0.1, 0.7 and 1.5 (0.2, 1.3 and 2.3).
SEEDS = {1: {"quick": 16, "default": 64, "thorough": 1024}, 2: {"quick": 24, "default": 32, "thorough": 512}}
LAZY = {1: 0.1, 2: 0.2}  # in the wide limit ln(λ_∞/λ_0) = 0 at 1; width 128 moves it by O(1/√128), more in a deeper net


def _marks(depth):
    """What marks the phases; of the linear model beyond 2/λ_0: the curvature stays, so that ηλ is 3, and the loss diverges."""
    return {
        "log of final over initial curvature at 1": Quantity(
            # a descent that fits ends below 2/η, so that ln(λ_∞/λ_0) is below −ln(3/2): this much outside
            Between(-LAZY[depth], LAZY[depth]), 0.3, effect=np.log(1.5) - LAZY[depth]),
        "log of peak over initial loss at 3": Quantity(Between(0.1), 1.5, broken=True),
        "log10 of final over initial loss at 3": Quantity(Between(high=-1.0), {1: 1.5, 2: 2.5}[depth], broken=True),
        "curvature times lr after 3": Quantity(Between(0, 2), 0.5, wrong=3.0),
        "log10 of peak over initial loss at 12": Quantity(np.log10(DIVERGED), 0.5, broken=True)}


QUANTITIES = {f"{name}: {mark}": quantity for name, (_, depth) in BY_DEPTH.items()
              for mark, quantity in _marks(depth).items()}


@once
def _runs(trial):
    """By activation and depth, a descent of each multiple: members in blocks."""
    data, found = few_samples(), {}
    for name, (activation, depth) in BY_DEPTH.items():
        root = np.random.SeedSequence(trial.rng.entropy, spawn_key=trial.rng.spawn_key)
        seeds = root.spawn(SEEDS[depth][trial.mode])
        nets = Nets(data.train_inputs, data.train_targets, seeds * len(MULTIPLES), activation=activation,
                    width=WIDTHS[depth], depth=depth)
        descent = descend(nets, np.repeat(MULTIPLES, len(seeds)), STEPS)
        found[name] = [Descent(*(part[rows] for part in descent))
                       for rows in np.array_split(np.arange(len(descent.lr)), len(MULTIPLES))]
    return found


def _evidence(name, stays, grows, fits, diverges, ends=None):
    """What marks each phase, each taken from a descent; the median where one in 100 ReLU nets has its edge beyond 12."""
    peaks, final = (np.minimum(values / run.losses[:, 0], DIVERGED)
                    for run, values in ((diverges, diverges.losses.max(1)), (fits, fits.losses[:, -1])))
    found = [mean_estimate(np.log(stays.end / stays.start)), mean_estimate(np.log(grows.losses.max(1) / grows.losses[:, 0])),
             mean_estimate(np.log10(final)), None if ends is None else mean_estimate(ends.lr * ends.end),
             quantile_estimate(np.log10(peaks), 0.5)]
    return {f"{name}: {mark}": value for mark, value in zip(_marks(1), found, strict=True) if value is not None}


def measure(trial):
    """What marks each phase, inside it."""
    found = {}
    for name, (lazy, catapult, divergent) in _runs(trial).items():
        found |= _evidence(name, lazy, catapult, catapult, divergent, catapult)
    return found


def broken(trial):
    """The curvature and the divergence at 3 as the linear model says; the other marks of the catapult beside its phase."""
    found = {}
    for name, (lazy, catapult, divergent) in _runs(trial).items():
        found |= _evidence(name, catapult, lazy, divergent, catapult)
    return found


def figure(trial, fig):
    """Losses of a few initialisations in each phase."""
    axes = fig.subplots(2, 2, sharex=True, sharey=True)
    for ax, (name, runs) in zip(axes.flat, _runs(trial).items(), strict=True):
        for multiple, colour, phase, descent in zip(MULTIPLES, ("C0", "C1", "C3"), ("lazy", "catapult", "divergent"), runs,
                                                    strict=True):
            some = descent.losses[:8, :60]
            ax.semilogy((some / some[:, :1]).T, color=colour, lw=0.9, alpha=0.8)
            ax.plot([], [], color=colour, label=rf"$\eta\lambda_0={multiple:g}$: {phase}")
        activation, depth = BY_DEPTH[name]
        ax.set(ylim=(1e-4, 1e4), title=f"{depth} hidden, {activation.replace('relu', 'ReLU')}")
    fig.supxlabel(r"step $t$")
    fig.supylabel(r"loss $L_t/L_0$")
    axes[0, 0].legend(loc="upper right")
    fig.suptitle("Three phases on nonlinear nets, eight initialisations each")


claim = Claim(
    "NET-CAT-3", "Lazy, catapult and divergent phases of nonlinear nets", paper="catapult",
    where="the section on the three phases, and its experiments on nonlinear nets",
    statement=rf"Tanh and ReLU nets of two layers (width {WIDTHS[1]}) and three (width {WIDTHS[2]}; NTK parametrisation, "
              r"squared error on 16 teacher samples, gradient descent), means over initialisations: at $\eta\lambda_0=1$ "
              r"the curvature stays within 10 % (20 % in three layers); at 3 the loss first grows, then falls at least "
              r"tenfold, and ends where $\eta\lambda<2$; at 12 it diverges (the median).",
    setup=rf"full-batch gradient descent for {STEPS} steps at $\eta\lambda_0=1$, 3 and 12, squared error on 16 values of a "
          "random tanh net at Gaussian inputs of dimension 4, in float64",
    bias_source="gradient descent itself is simulated: there is no discretisation",
    empirical=True, quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"at $\eta\lambda_0=3$ a net is as a linear model: its curvature stays and its loss diverges; and the rise of "
            r"the loss is there at 1 too, its return at 12 too")
