r"""CAT-1: gradient descent on 2n weights of the uv model is a map of two numbers.

.. math:: f = \frac{v^\top u}{\sqrt n},\quad L = \frac{f^2}{2},\quad \lambda = \frac{\|u\|^2+\|v\|^2}{n}: \qquad
          f' = \Bigl(1-\eta\lambda+\frac{\eta^2f^2}{n}\Bigr)f, \qquad \lambda' = \lambda + \frac{\eta f^2}{n}(\eta\lambda-4)

The weights are updated one by one, by the engine's gradient descent and by a pass of its own; f and λ are summed up from them
at every step and held against the iterated formulas, from the lazy phase to near the edge of divergence. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sdetheory.evidence import Exact

import sdetheory as sdt
from paper_checks.catapult.rounding import iterated, rounding_along
from paper_checks.catapult.starts import OBSERVED, normal_weights
from sdetheory.claims import Claim, Control, Run
from sdetheory.dynamics.uv_maps import OutputCurvatureMap, SumDifferenceMap
from sdetheory.dynamics.uv_weights import UVDescent
from sdetheory.symbolic import Derivation
from sdetheory.theory import catapult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVATURE = 2.0  # of every start: normal weights, scaled; what is random are the directions and f_0
WIDTHS, ENGINE_WIDTH = (1, 3, 64, 512), 16
SCALED = (0.7, 1.9, 2.6, 3.4, 3.9)  # ηλ_0: lazy, near its edge, catapults, near divergence
LRS = np.array(SCALED) / CURVATURE
STEPS = 40  # every catapult here is over by then
NETS = 8  # a width; the statement is about each
# Rounding of n(1 + ηλ) 2e-16 a step grows by |1 − ηλ| < 3 a step while the loss grows, some 5 decades in f: below 1e-7.
RESOLUTION = 1e-6
Gaps = tuple[np.ndarray, np.ndarray]  # of (f/√n, λ), and their bounds


def _against_formulas(f: np.ndarray, curvature: np.ndarray, width: int) -> Gaps:
    """Differences of (f/√n, λ) of runs (lr, net, step) from the iterated formulas, and the bounds on rounding."""
    lr = np.broadcast_to(LRS[:, None], f.shape[:2])
    right = iterated(f[..., 0], curvature[..., 0], lr, width, f.shape[-1] - 1)
    gap = np.stack([(f - right[0]) / np.sqrt(width), curvature - right[1]])
    return gap.reshape(2, -1), np.stack(rounding_along(*right, lr, width)).reshape(2, -1)


def _joined(pieces: list[Gaps]) -> dict[str, Exact]:
    gap, bound = (np.concatenate(parts, axis=1) for parts in zip(*pieces, strict=True))
    return {"output": Exact(gap[0], bound[0]), "curvature": Exact(gap[1], bound[1])}


def simulation(run: Run) -> dict[str, Any]:
    """All weights, and the two norms ‖u ± v‖²; every width, learning rate and net."""
    pieces: list[Gaps] = []
    by_norms: list[Gaps] = []
    options = dict(n_steps=STEPS, save_every=1, n_paths=NETS, rng=run.rng, sweep={"lr": LRS})
    for width, seed in zip((*WIDTHS, ENGINE_WIDTH), run.rng.spawn(len(WIDTHS) + 1), strict=True):
        w0 = normal_weights(width, NETS, seed, CURVATURE)
        ways: list[tuple[Any, Any, list, list[str]]] = [
            (SumDifferenceMap(width=width, lr=1.0), SumDifferenceMap.reduce(w0), by_norms, ["f", "curvature"])]
        if width != ENGINE_WIDTH:
            ways.append((UVDescent(width=width, lr=1.0), w0, pieces, OBSERVED))
        for process, start, where, observe in ways:
            runs = sdt.simulate(process, start, observe=observe, **options)
            where.append(_against_formulas(runs.f.values, runs.curvature.values, width))
            if width == 64 and where is pieces:
                run.data["runs"], run.data["bound"], run.data["gap"] = runs, where[-1][1], where[-1][0]
    w = sdt.simulate(sdt.SGD(sdt.losses.UVModel(ENGINE_WIDTH), lr=1.0), w0, observe=["w"], **options).w.values
    reduced = OutputCurvatureMap.reduce(w)
    pieces.append(_against_formulas(reduced[..., 0], reduced[..., 1], ENGINE_WIDTH))
    norms = _joined(by_norms)
    return _joined(pieces) | {f"{name}, by two norms": evidence for name, evidence in norms.items()}


def in_turns(run: Run) -> dict[str, Any]:
    """The control: v takes its step after u, along the gradient at the new u; one step shows it."""
    pieces = []
    for width, seed in zip(WIDTHS, run.rng.spawn(len(WIDTHS) + 1), strict=False):
        w = normal_weights(width, NETS, seed, CURVATURE) + np.zeros((LRS.size, 1, 1))
        u, v = w[..., :width], w[..., width:]
        new_u = u - LRS[:, None, None] / width * np.sum(u * v, -1, keepdims=True) * v
        new_v = v - LRS[:, None, None] / width * np.sum(new_u * v, -1, keepdims=True) * new_u
        reduced = OutputCurvatureMap.reduce(np.stack([w, np.concatenate([new_u, new_v], -1)], -2))
        pieces.append(_against_formulas(reduced[..., 0], reduced[..., 1], width))
    return _joined(pieces)


def derivation() -> Derivation:
    """From the loss, by the algebra of inner products: every width."""
    whole = Derivation("Two numbers are enough")
    for formula in catapult.by_claim("CAT-1"):
        whole.including(formula.derivation)
    return whole


def figure(run: Run) -> Figure:
    """Left: λ of 128 weights on the lines of two numbers; right: what is left of the difference, under its bound."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.2, 3.8), layout="constrained")
    left, right = fig.subplots(1, 2)
    runs, steps = run.data["runs"], np.arange(STEPS + 1)
    gap, bound = (np.abs(run.data[name][1]).reshape(len(LRS), NETS, -1) for name in ("gap", "bound"))
    for i, (x, colour) in enumerate(zip(SCALED, ("tab:blue", "tab:cyan", "tab:green", "tab:orange", "tab:red"), strict=True)):
        f, curvature = runs.f.values[i, 0], runs.curvature.values[i, 0]
        theory = iterated(f[0], curvature[0], LRS[i], 64, STEPS)[1]
        left.plot(steps[:21], LRS[i] * theory[:21], color="0.5", lw=1, zorder=1, label="two numbers" if i == 0 else None)
        left.plot(steps[:21], LRS[i] * curvature[:21], "o", ms=4, mfc="none", color=colour, label=rf"$\eta\lambda_0={x:g}$")
        if i % 2 == 0:
            right.semilogy(steps, gap[i].max(0).clip(1e-17), color=colour, lw=1)
            right.semilogy(steps, bound[i].max(0), color=colour, ls=":", lw=1.5)
    right.plot([], [], color="0.5", lw=1, label="measured, largest of 8 nets")
    right.plot([], [], color="0.5", lw=1.5, ls=":", label="bound on rounding")
    left.set(xlabel=r"step $k$", ylabel=r"scaled curvature $\eta\lambda_k$", ylim=(0, 5.6))
    left.set_title("128 weights (circles), two numbers (lines)", fontsize=11)
    right.set(xlabel=r"step $k$", ylabel=r"difference in $\lambda_k$", ylim=(1e-17, 1e-7))
    right.set_title("What is left is rounding", fontsize=11)
    left.legend(frameon=False, fontsize=8, ncols=2, loc="upper right")
    right.legend(frameon=False, fontsize=8, loc="upper right")
    return fig


claim = Claim(
    "CAT-1",
    title="Two numbers are enough",
    paper="catapult",
    statement=r"Gradient descent on the $2n$ weights of $f=v^\top u/\sqrt n$, $L=f^2/2$ closes in the output and the curvature "
              r"$\lambda=(\|u\|^2+\|v\|^2)/n$: $f'=(1-\eta\lambda+\eta^2f^2/n)f$ and $\lambda'=\lambda+(\eta f^2/n)"
              r"(\eta\lambda-4)$, exactly, at every width; and in $\|u+v\|^2$, $\|u-v\|^2$, each multiplied by "
              r"$(1\mp\eta f/\sqrt n)^2$.",
    derivation=derivation,
    prediction={"output": 0.0, "curvature": 0.0, "output, by two norms": 0.0, "curvature, by two norms": 0.0},
    simulation=simulation,
    resolution=dict.fromkeys(("output", "curvature", "output, by two norms", "curvature, by two norms"), RESOLUTION),
    negative_control=Control("the two layers take their steps in turns, the second along the gradient at the new first",
                             simulation=in_turns),
    figure=figure,
)
