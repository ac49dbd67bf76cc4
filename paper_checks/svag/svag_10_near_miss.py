r"""SVAG-10: one minibatch times 1 ± √(l−1) has the right mean, and converges to another SDE than SVAG.

.. math:: \operatorname{Cov}\bigl[(1+\epsilon\sqrt{l-1})\nabla L_\gamma\bigr] = l\,\Sigma + (l-1)\nabla L\nabla L^\top, \qquad
          dX = -\nabla L\,dt + \bigl(\eta(\Sigma + \nabla L\nabla L^\top)\bigr)^{1/2}dW

Random linear gradients in two dimensions: the moments of both rules and of both SDEs are known to rounding, so the limit l → ∞
is extrapolated, not guessed. The control puts SVAG where the near miss was. Clock: gradient-flow time.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from sdetheory.evidence import Exact

import sdetheory as sdt
from sdetheory.claims import Claim, Control, Resolution, Run
from sdetheory.stats import Estimate, mean_estimate
from sdetheory.symbolic import Derivation
from sdetheory.theory import svag
from sdetheory.theory.formula import joint_derivation

from .orders_in_lr import limit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOSS = sdt.losses.RandomLinear(
    [0.25, 0.5, 0.25], [[[2.0, 0.5], [0.5, 1.0]], [[1.0, -0.25], [-0.25, 0.5]], [[0.5, 0.0], [0.0, 2.0]]],
    [[1.0, 0.5], [-0.5, 1.0], [0.25, -1.0]])
LR, END, START = 0.5, 1.0, np.array([1.5, -1.0])
ONE_STEP = (2, 5, 64)
AMPLIFICATIONS = (16, 32, 64, 128, 256)  # E xx' of l is that of the limit plus c/l: extrapolated twice, 1e-5 is left
SAMPLED = 8

# A square of a coordinate has standard deviation up to 1.5: 200 000 paths leave 5 · 1.5/447 = 0.017, twice that in quick mode.
PATHS = 200_000
RHO = 0.05

# 512 steps at most, each adds at most 12 eps (9 products a row) to values below 10; the covariance of one step is a difference
# of numbers up to (lr/l)^2 l |g|^2 + |x|^2 < 10, and is divided by (lr/l)^2
ROUNDING = 512 * 12 * 10 * np.finfo(float).eps
OF_ONE_STEP = np.array([24 * 10 * np.finfo(float).eps / (LR / l) ** 2 for l in ONE_STEP])[:, None, None]


def second_moments(kind: Any, amplification: int) -> np.ndarray:
    """E x_1², E x_1x_2, E x_2² at time END."""
    rule = kind(LOSS, lr=LR, amplification=amplification)
    found = sdt.exact.affine_moments(rule, START, [round(END / LR) * amplification])
    return np.array([found.moment(*powers)[0] for powers in ((2, 0), (1, 1), (0, 2))])


@functools.cache
def of_sde(gradient_noise: bool) -> np.ndarray:
    """The same of the SDE, with or without the gradient in its noise."""
    sde = sdt.dynamics.random_linear_sde(LOSS, lr=LR, gradient_noise=gradient_noise)
    found, (x, y) = sde.moment_equations(2).solve(START, END), sde.states
    return np.array([found[monomial] for monomial in (x**2, x * y, y**2)])


def prediction() -> dict[str, Any]:
    """The covariance of a step; the SDE with the gradient in its noise; the recursion at the l of the runs."""
    gradient, noise = LOSS.gradient(START), LOSS.noise.covariance(START)
    steps = [svag.near_miss_covariance(amplification=l, noise_covariance=noise, gradient=gradient[:, None],
                                       other_gradient=gradient) for l in ONE_STEP]
    return {"covariance of a step": np.stack(steps), "limit": of_sde(True),
            "runs": second_moments(sdt.dynamics.SingleBatchNearMiss, SAMPLED)}


def measured(kind: Any, run: Run) -> dict[str, Any]:
    """One step by recursion, the limit in l by extrapolation, and the rule itself."""
    steps = [sdt.exact.affine_moments(kind(LOSS, lr=LR, amplification=l), START, [1]).covariance[0] / (LR / l) ** 2
             for l in ONE_STEP]
    curve = np.stack([second_moments(kind, l) for l in AMPLIFICATIONS])
    ends = sdt.simulate(kind(LOSS, lr=LR, amplification=SAMPLED), START, n_steps=round(END / LR) * SAMPLED,
                        n_paths=run.paths(PATHS), rng=run.rng.spawn(1)[0]).w.values[:, -1]
    runs: Estimate = mean_estimate(np.stack([ends[:, 0] ** 2, ends[:, 0] * ends[:, 1], ends[:, 1] ** 2], axis=1))
    run.data[kind.__name__] = runs
    return {"covariance of a step": Exact(np.stack(steps), np.broadcast_to(OF_ONE_STEP, (len(ONE_STEP), 2, 2))),
            "limit": limit(curve, ROUNDING), "runs": runs}


def simulation(run: Run) -> dict[str, Any]:
    """The near miss."""
    return measured(sdt.dynamics.SingleBatchNearMiss, run)


def with_svag(run: Run) -> dict[str, Any]:
    """SVAG in its place."""
    return measured(sdt.dynamics.SVAG, run)


def effects() -> dict[str, float]:
    """By how much SVAG differs: by (l − 1) ∇L∇Lᵀ in a step, in the SDE, and in the runs at the moment that differs least."""
    gap = np.abs(second_moments(sdt.dynamics.SVAG, SAMPLED) - second_moments(sdt.dynamics.SingleBatchNearMiss, SAMPLED))
    return {"covariance of a step": (max(ONE_STEP) - 1) * float(np.max(LOSS.gradient(START) ** 2)),
            "limit": float(np.abs(of_sde(True) - of_sde(False)).max()), "runs": float(gap.min())}


def derivation() -> Derivation:
    """Two draws, one of them a fair sign; the limit of the covariance per unit of time."""
    return joint_derivation("A near miss", svag.near_miss_covariance, svag.near_miss_noise)


def figure(run: Run) -> Figure:
    """E|x|² against l for both rules, with the two limits."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(6.4, 3.8), layout="constrained")
    ax = fig.subplots()
    amplifications = 2 ** np.arange(9)
    for kind, extra, name, marker, colour in ((sdt.dynamics.SingleBatchNearMiss, True, "near miss", "s", "tab:red"),
                                              (sdt.dynamics.SVAG, False, "SVAG", "o", "tab:blue")):
        curve = np.array([second_moments(kind, int(l))[[0, 2]].sum() for l in amplifications])
        ax.plot(amplifications, curve, marker + "-", ms=5, mfc="none", lw=0.8, color=colour, label=f"{name}, moment recursion")
        ax.axhline(of_sde(extra)[[0, 2]].sum(), color=colour, ls="--", lw=1.2,
                   label=r"SDE with noise $\eta(\Sigma+\nabla L\nabla L^\top)$" if extra else r"SDE with noise $\eta\Sigma$")
        if kind.__name__ in run.data:
            runs = run.data[kind.__name__]
            value, error = (np.asarray(part)[[0, 2]].sum() for part in (runs.value, runs.stderr))
            ax.errorbar([SAMPLED], [value], [3 * error], fmt="D", ms=4, color="k", capsize=3, zorder=3,
                        label="runs" if extra else None)
    ax.set(xscale="log", xlabel="amplification $l$ ($l=1$: SGD)", ylabel=rf"$\mathbb{{E}}\|x\|^2$ at time {END:g}")
    ax.set_xticks(amplifications[::2], [str(l) for l in amplifications[::2]])
    ax.minorticks_off()
    ax.legend(frameon=False, fontsize=8)
    ax.set_title("The right mean is not enough: the near miss has another limit", fontsize=11)
    return fig


claim = Claim(
    "SVAG-10",
    title="A near miss",
    paper="svag",
    statement=r"$(1\pm\sqrt{l-1})\nabla L_\gamma$ with a fair sign has mean $\nabla L$, but covariance "
              r"$l\Sigma+(l-1)\nabla L\nabla L^\top$: with steps $\eta/l$ it converges to the SDE with noise "
              r"$\eta(\Sigma+\nabla L\nabla L^\top)$, where SVAG's has $\eta\Sigma$.",
    derivation=derivation,
    prediction=prediction,
    simulation=simulation,
    resolution={"covariance of a step": Resolution(1e-6), "limit": Resolution(1e-3), "runs": Resolution(RHO, points=3)},
    negative_control=Control("SVAG converges to the same SDE", simulation=with_svag, effect=effects),
    figure=figure,
)
