r"""CAT-1: gradient descent on 2n weights of the uv model is a map of two numbers.

.. math:: f = \frac{v^\top u}{\sqrt n},\quad L = \frac{f^2}{2},\quad
          \lambda = \frac{\|u\|^2+\|v\|^2}{n}: \qquad
          f' = \Bigl(1-\eta\lambda+\frac{\eta^2f^2}{n}\Bigr)f, \qquad
          \lambda' = \lambda + \frac{\eta f^2}{n}(\eta\lambda-4)

The weights are updated one by one, by the engine's gradient descent and by a pass of its own; f and λ are summed up
from them at every step and held against the iterated formulas, from the lazy phase to near the edge of divergence.
Clock: steps.
"""

import numpy as np

import sdetheory as sdt
from paper_checks.catapult.rounding import exact, iterated, rounding_along
from paper_checks.catapult.starts import OBSERVED, normal_weights
from sdetheory import Claim, Quantity
from sdetheory.dynamics.uv_maps import OutputCurvatureMap, SumDifferenceMap
from sdetheory.dynamics.uv_weights import UVDescent
from sdetheory.theory import catapult

CURVATURE = 2.0  # of every start: normal weights, scaled; what is random are the directions and f_0
WIDTHS, SHOWN, ENGINE_WIDTH = (1, 3, 64, 512), 64, 16
SCALED = (0.7, 1.9, 2.6, 3.4, 3.9)  # ηλ_0: lazy, near its edge, catapults, near divergence
LRS = np.array(SCALED) / CURVATURE
STEPS = 40  # every catapult here is over by then
NETS = 8  # a width; the statement is about each
# Rounding of n(1 + ηλ) 2e-16 a step grows by |1 − ηλ| < 3 a step while the loss grows, some 5 decades in f: below 1e-7.
RESOLUTION = 1e-6
WAYS = ("", ", by two norms")

QUANTITIES = {what + way: Quantity(0.0, RESOLUTION, broken=True) for way in WAYS for what in ("output", "curvature")}


def against_formulas(f, curvature, width):
    """Differences of (f/√n, λ) of runs (lr, net, step) from the iterated formulas, and the bounds on rounding."""
    lr = np.broadcast_to(LRS[:, None], f.shape[:2])
    right = iterated(f[..., 0], curvature[..., 0], lr, width, f.shape[-1] - 1)
    gap = np.stack([(f - right[0]) / np.sqrt(width), curvature - right[1]])
    return gap, np.stack(rounding_along(*right, lr, width))


def evidence(by_way):
    return {what + way: exact((gap[i], bound[i]) for gap, bound in pieces)
            for way, pieces in by_way.items() for i, what in enumerate(("output", "curvature"))}


def measure(trial):
    """All weights, and the two norms ‖u ± v‖²; every width, learning rate and net."""
    by_way = {way: [] for way in WAYS}
    options = {"n_steps": STEPS, "save_every": 1, "n_paths": NETS, "rng": trial.rng, "sweep": {"lr": LRS}}
    for width, seed in zip((*WIDTHS, ENGINE_WIDTH), trial.rng.spawn(len(WIDTHS) + 1), strict=True):
        w0 = normal_weights(width, NETS, seed, CURVATURE)
        runs = sdt.simulate(SumDifferenceMap(width=width, lr=1.0), SumDifferenceMap.reduce(w0),
                            observe=["f", "curvature"], **options)
        by_way[", by two norms"].append(against_formulas(runs.f.values, runs.curvature.values, width))
        if width == ENGINE_WIDTH:
            runs = sdt.simulate(sdt.SGD(sdt.losses.UVModel(width), lr=1.0), w0, observe=["w"], **options)
            f, curvature = np.moveaxis(OutputCurvatureMap.reduce(runs.w.values), -1, 0)
        else:
            runs = sdt.simulate(UVDescent(width=width, lr=1.0), w0, observe=OBSERVED, **options)
            f, curvature = runs.f.values, runs.curvature.values
        by_way[""].append(against_formulas(f, curvature, width))
        if width == SHOWN:
            trial.data["runs"], trial.data["compared"] = runs, by_way[""][-1]
    return evidence(by_way)


def broken(trial):
    """One step shows both: v follows the new u; the norms follow their steps to first order in η."""
    by_way = {way: [] for way in WAYS}
    for width, seed in zip(WIDTHS, trial.rng.spawn(len(WIDTHS) + 1), strict=False):
        w = normal_weights(width, NETS, seed, CURVATURE) + np.zeros((LRS.size, 1, 1))
        lr, (u, v) = LRS[:, None, None], np.split(w, 2, axis=-1)
        new_u = u - lr / width * np.sum(u * v, -1, keepdims=True) * v
        new_v = v - lr / width * np.sum(new_u * v, -1, keepdims=True) * new_u
        after = OutputCurvatureMap.reduce(np.stack([w, np.concatenate([new_u, new_v], -1)], -2))
        by_way[""].append(against_formulas(*np.moveaxis(after, -1, 0), width))
        f, norms = np.sum(u * v, -1) / np.sqrt(width), np.stack([np.sum((u + s * v) ** 2, -1) for s in (1, -1)])
        drift = 2 * lr[..., 0] * f / np.sqrt(width)
        norms = np.stack([norms, norms * np.stack([1 - drift, 1 + drift])], -1)
        by_way[", by two norms"].append(against_formulas(
            (norms[0] - norms[1]) / (4 * np.sqrt(width)), (norms[0] + norms[1]) / (2 * width), width))
    return evidence(by_way)


def figure(trial, left, right):
    """Left: λ of 128 weights on the lines of two numbers; right: what is left of the difference, under its bound."""
    runs, steps = trial.data["runs"], np.arange(STEPS + 1)
    gap, bound = (np.abs(part[1]) for part in trial.data["compared"])
    for i, (x, colour) in enumerate(zip(SCALED, ("C0", "C4", "C2", "C1", "C3"), strict=True)):
        f, curvature = runs.f.values[i, 0], runs.curvature.values[i, 0]
        theory = iterated(f[0], curvature[0], LRS[i], SHOWN, STEPS)[1]
        left.plot(steps[:21], LRS[i] * theory[:21], color="0.5", lw=1, zorder=1, label="two numbers" if i == 0 else None)
        left.plot(steps[:21], LRS[i] * curvature[:21], "o", ms=4, mfc="none", color=colour,
                  label=rf"$\eta\lambda_0={x:g}$")
        if i % 2 == 0:
            right.semilogy(steps, gap[i].max(0).clip(1e-17), color=colour, lw=1)
            right.semilogy(steps, bound[i].max(0), color=colour, ls=":", lw=1.5)
    right.plot([], [], color="0.5", lw=1, label="measured, largest of 8 nets")
    right.plot([], [], color="0.5", lw=1.5, ls=":", label="bound on rounding")
    left.set(xlabel=r"step $k$", ylabel=r"scaled curvature $\eta\lambda_k$", ylim=(0, 5.6),
             title="128 weights (circles), two numbers (lines)")
    right.set(xlabel=r"step $k$", ylabel=r"difference in $\lambda_k$", ylim=(1e-17, 1e-7),
              title="What is left is rounding")
    left.legend(ncols=2, loc="upper right")
    right.legend(loc="upper right")


claim = Claim(
    "CAT-1", "Two numbers are enough", paper="catapult", where="the warm-up model: one sample, two linear layers",
    statement=r"Gradient descent on the $2n$ weights of $f=v^\top u/\sqrt n$, $L=f^2/2$ closes in the output and the "
              r"curvature $\lambda=(\|u\|^2+\|v\|^2)/n$: $f'=(1-\eta\lambda+\eta^2f^2/n)f$ and $\lambda'=\lambda+"
              r"(\eta f^2/n)(\eta\lambda-4)$, exactly, at every width; and in $\|u+v\|^2$, $\|u-v\|^2$, each "
              r"multiplied by $(1\mp\eta f/\sqrt n)^2$.",
    setup=r"Gradient descent on all $2n$ weights, $n$ of 1, 3, 16, 64 and 512, $\eta\lambda_0$ from 0.7 to 3.9, 40 steps",
    proof=catapult.by_claim("CAT-1"), quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control="the two layers take their steps in turns, the second along the gradient at the new first; and the two "
            r"norms are multiplied by $1\mp2\eta f/\sqrt n$, to first order in $\eta$ as in a flow")
