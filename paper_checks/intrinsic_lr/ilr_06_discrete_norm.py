r"""ILR-6: the norm of SGD itself, step by step, when the stochastic gradient has one length at unit norm.

.. math:: r = \|w\|^2,\quad S = \|g(\hat w)\|^2:\qquad r' = (1-\eta\lambda)^2 r + \frac{\eta^2 S}{r}, \qquad
          r_*^2 = \frac{\eta S}{\lambda(2-\eta\lambda)}, \qquad
          \frac{dr'}{dr}\Big|_{r_*} = 1 - 4\eta\lambda + 2(\eta\lambda)^2

Random signs on a frame of the tangent space of S³ (`FixedLength`) make S one number in every draw: w is random and
its norm is not, so the law is exact to rounding, path by path. Clock: steps.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from sdetheory.evidence import Exact

import sdetheory as sdt
from sdetheory.claims import Claim, Control, Relative, Resolution, Run
from sdetheory.stats.rounding import recursion_error, unit_roundoff
from sdetheory.symbolic import Derivation
from sdetheory.theory import intrinsic_lr as ilr
from sdetheory.theory.formula import joint_derivation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIM, SCALE = 4, 0.5
LOSS = sdt.losses.RayleighQuotient([0.0] * DIM, noise=sdt.noises.FixedLength(SCALE))
RULE = sdt.SGD(LOSS, lr=0.1, weight_decay=0.05)  # both are swept
S = SCALE**2 * (DIM - 1)
LRS, DECAYS = (0.1, 0.4), (0.05, 0.5, 3.0)  # lambda_e from 0.005, where the SDE is near, to 1.2, where nothing is small
CELLS = tuple(itertools.product(LRS, DECAYS))
STARTS = (4.0, 0.2)  # |w_0|^2, above and below
STEPS = 2000  # the slowest cell forgets its start by 0.98^2000 = 3e-18: below rounding
PATHS = 8  # a start; an exact statement is one a path, so there is no error to average away
NUDGE = 2.0**-17  # relative distance of the two starts between which the slope is taken

UNIT = unit_roundoff()
# Relative rounding of one step, in units of UNIT. The noise: 4 (a squared norm of 4 terms) + 1 (s/r) + 2·3^(1/2) (sums
# of three terms, against a length of 3^(1/2)) + 1 < 10; with 3 for adding it, times lr and subtracting: 13 |w'|. The
# decay: 3 λ_e |w|. In r twice that, 4 for its sum, and 8 for the arithmetic of the prediction.
RESOLUTION = 1e-10  # above what 2000 such steps can add up to (4e-11 at worst, without any contraction)


def _trajectories() -> tuple[np.ndarray, np.ndarray]:
    """Predicted r_k, shape (cells, starts, STEPS + 1), and the bound on the relative rounding of SGD up to there.

    A relative error of r is multiplied by d ln r'/d ln r, between -1 and 1 whatever r, η and λ.
    """
    lr, decay = (np.array(x)[:, None] for x in zip(*CELLS, strict=True))
    r = [np.broadcast_to(STARTS, (len(CELLS), len(STARTS)))]
    slopes, added = [], []
    for _ in range(STEPS):
        new = ilr.discrete_sq_norm_step(sq_norm=r[-1], lr=lr, weight_decay=decay, sq_gradient=S)
        shrunk = (1 - lr * decay) ** 2 * r[-1]
        slopes.append(np.abs(2 * shrunk / new - 1))
        added.append(2 * (13 + 3 * lr * decay * np.sqrt(r[-1] / new)) + 12)
        r.append(new)
    bound = recursion_error(np.stack(added, -1), np.stack(slopes, -1), start=np.full(r[0].shape, 4.0))
    return np.stack(r, -1), bound * UNIT


def prediction() -> dict[str, Any]:
    """The iterated map, its fixed point and its slope there."""
    lr, decay = np.transpose(CELLS)
    return {"sq_norm": _extremes(_trajectories()[0]),
            "fixed point": _extremes(ilr.discrete_sq_norm_fixed_point(lr=lr, weight_decay=decay, sq_gradient=S)),
            "multiplier": ilr.discrete_multiplier(lr=lr, weight_decay=decay)}


def sde() -> dict[str, Any]:
    """What the SDE says of the same steps."""
    (lr, decay), steps = np.transpose(CELLS), np.arange(STEPS + 1)
    curve = ilr.sq_norm(t=steps, sq_norm0=np.array(STARTS)[:, None], lr=lr[:, None, None],
                        weight_decay=decay[:, None, None], noise_trace=S)
    return {"sq_norm": _extremes(curve),
            "fixed point": _extremes(ilr.equilibrium_sq_norm(lr=lr, weight_decay=decay, noise_trace=S)),
            "multiplier": np.exp(-4 * lr * decay)}


def _extremes(values: np.ndarray) -> np.ndarray:
    """The same number twice: for the smallest and the largest of all paths."""
    return np.stack([values, values])


def simulation(run: Run) -> dict[str, Any]:
    """Every cell from both starts; smallest and largest of the paths. Then one step from either side of r_*."""
    seed, nudged = run.rng.spawn(2)
    start = np.repeat(np.sqrt(STARTS), PATHS)[:, None] * _directions(seed)
    runs = sdt.simulate(RULE, start, n_steps=STEPS, n_paths=2 * PATHS, observe=["sq_norm"], save_every=1,
                        sweep={"lr": LRS, "weight_decay": DECAYS}, rng=seed)
    r = runs.sq_norm.values.reshape(len(CELLS), len(STARTS), PATHS, STEPS + 1)
    predicted, bound = _trajectories()
    run.data["r"], run.data["predicted"], run.data["bound"] = r, predicted, bound
    ends = np.moveaxis(r[..., -1], 0, -1).reshape(-1, len(CELLS))
    # there the map contracts by |multiplier|: errors of a step add up to at most 1/(1 - |multiplier|) of them
    lr, decay = np.transpose(CELLS)
    slope = np.abs(ilr.discrete_multiplier(lr=lr, weight_decay=decay))
    at_rest = (2 * (13 + 3 * lr * decay) + 12) * UNIT / (1 - slope) + 4 * UNIT
    rest = ilr.discrete_sq_norm_fixed_point(lr=lr, weight_decay=decay, sq_gradient=S)
    return {"sq_norm": Exact(np.stack([r.min(2), r.max(2)]), bound * predicted),
            "fixed point": Exact(np.stack([ends.min(0), ends.max(0)]), at_rest * rest),
            "multiplier": _slopes(nudged)}


def _directions(seed: np.random.SeedSequence) -> np.ndarray:
    draws = np.random.default_rng(seed).normal(size=(2 * PATHS, DIM))
    return draws / np.linalg.norm(draws, axis=1, keepdims=True)


def _slopes(seed: np.random.SeedSequence) -> Exact:
    """(r'(r₊) − r'(r₋))/(r₊ − r₋), which is multiplier + λ_e(2−λ_e)(1 − r_*²/(r₊r₋)) exactly."""
    values, bounds = [], []
    for lr, decay in CELLS:
        rest = ilr.discrete_sq_norm_fixed_point(lr=lr, weight_decay=decay, sq_gradient=S)
        start = np.sqrt(rest * np.array([1 + NUDGE, 1 - NUDGE]))[:, None] * np.eye(DIM)[:2]
        runs = sdt.simulate(RULE, start, n_steps=1, n_paths=2, observe=["sq_norm"], save_every=1,
                            sweep={"lr": [lr], "weight_decay": [decay]}, rng=seed)
        before, after = runs.sq_norm.values[0, 0].T
        values.append((after[0] - after[1]) / (before[0] - before[1]))
        rate = lr * decay
        rounding = (2 * (13 + 3 * rate) + 12 + 4) * UNIT / NUDGE  # relative errors of r over the distance 2 NUDGE
        bounds.append(rounding + rate * (2 - rate) * NUDGE**2 * 1.01)
    return Exact(np.array(values), np.array(bounds))


def derivation() -> Derivation:
    """From the update and orthogonality, in every dimension."""
    return joint_derivation("The discrete law of the norm", ilr.discrete_sq_norm_step, ilr.discrete_sq_norm_fixed_point,
                            ilr.discrete_multiplier)


def figure(run: Run) -> Figure:
    """Left: the squared norm against the map and the SDE; right: what is left of the difference, against its bound."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.2, 3.8), layout="constrained")
    left, right = fig.subplots(1, 2)
    steps = np.arange(STEPS + 1)
    for (cell, count), colour in zip(((5, 20), (1, 40)), ("tab:blue", "tab:orange"), strict=True):
        lr, decay = CELLS[cell]
        rest = ilr.discrete_sq_norm_fixed_point(lr=lr, weight_decay=decay, sq_gradient=S)
        for start, radius in enumerate(STARTS):
            last, first = start == 1, cell == 5
            left.plot(steps[:count], run.data["r"][cell, start, 0, :count] / rest, "o", ms=4, mfc="none", color=colour,
                      label=rf"SGD, $\lambda_e={lr * decay:g}$" if last else None)
            left.plot(steps[:count], run.data["predicted"][cell, start, :count] / rest, color=colour, lw=1,
                      label="the map" if last and first else None)
            dense = np.linspace(0, count - 1, 300)
            curve = ilr.sq_norm(t=dense, sq_norm0=radius, lr=lr, weight_decay=decay, noise_trace=S)
            left.plot(dense, curve / rest, color="0.55", lw=1, ls="--", label="the SDE" if last and first else None)
        gap = np.abs(run.data["r"][cell] / run.data["predicted"][cell][:, None] - 1).max((0, 1))
        right.loglog(steps[1:], gap[1:], color=colour, lw=1, label=rf"measured, $\lambda_e={lr * decay:g}$")
        right.loglog(steps[1:], run.data["bound"][cell].max(0)[1:], color=colour, ls=":", lw=1.5,
                     label="bound on rounding" if cell == 5 else None)
    left.set(xlabel=r"step $k$", ylabel=r"squared norm $\|w_k\|^2/r_*$", yscale="log")
    left.set_title("One map gives the norm of every path", fontsize=11)
    right.set(xlabel=r"step $k$", ylabel="largest relative difference from the map", ylim=(3e-17, 1e-12))
    right.set_title("What is left is rounding", fontsize=11)
    for ax in (left, right):
        ax.legend(frameon=False, fontsize=8)
    return fig


claim = Claim(
    "ILR-6",
    title="The discrete law of the norm",
    paper="intrinsic_lr",
    statement=r"If $S=\|g(\hat w)\|^2$ is constant, $r=\|w\|^2$ of SGD obeys $r'=(1-\eta\lambda)^2r+\eta^2S/r$ at every "
              r"step of every path; its fixed point is $r_*^2=\eta S/(\lambda(2-\eta\lambda))$, and a small deviation is "
              r"multiplied by $1-4\eta\lambda+2(\eta\lambda)^2$ a step.",
    derivation=derivation,
    prediction=prediction,
    simulation=simulation,
    resolution={"sq_norm": Relative(RESOLUTION), "fixed point": Relative(RESOLUTION),
                "multiplier": Resolution(1e-6)},  # a difference quotient: rounding over NUDGE
    negative_control=Control(r"the continuous-time law in place of the discrete one: $r_*^2=\eta S/(2\lambda)$, rate "
                             r"$e^{-4\eta\lambda}$, and ILR-3 in between", prediction=sde),
    figure=figure,
)
