r"""ILR-3: the norm variable is an exponentially weighted integral of the noise power along the path.

.. math:: \gamma_t = e^{-4\lambda_e t}\gamma_0 + 2\int_0^t e^{-4\lambda_e(t-s)}\,\mathrm{Tr}\,\Sigma(\hat W_s)\,ds;
          \qquad \mathrm{Tr}\,\Sigma\equiv\sigma^2:\quad
          \gamma_t = e^{-4\lambda_e t}\gamma_0 + \frac{\sigma^2}{2\lambda_e}\bigl(1 - e^{-4\lambda_e t}\bigr)

Both are held against the ambient SDE of SGD, the second also in mean square: gamma is deterministic although W is not.
The first is evaluated path by path along the simulated directions. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from numpy.typing import NDArray

import sdetheory as sdt
from sdetheory.claims import Claim, Control, Relative, Resolution, Run
from sdetheory.stats import step_halving
from sdetheory.symbolic import Derivation
from sdetheory.theory import intrinsic_lr as ilr
from sdetheory.theory.intrinsic_lr.norm import GAMMA, GAMMA0, TRACE, S, gamma_ode
from sdetheory.theory.intrinsic_lr.norm import RATE as INTRINSIC
from sdetheory.theory.intrinsic_lr.norm import T as TIME

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LR, DECAY = 0.2, 0.05
RATE = LR * DECAY
UNEQUAL = np.array([0.3, 0.1, 0.1])  # variances: Tr Sigma runs from 0.2 at the first axis to 0.4 across
AVERAGE = UNEQUAL.sum() * (1 - 1 / 3)  # of Tr Sigma over the sphere
EQUAL = np.full(3, AVERAGE / 2)  # the same average, in every direction
VALLEY = [0.0, 0.1, 0.1]  # the loss is lowest where the unequal noise is weakest, so the path stays off the average
GAMMA_0 = 0.25 * AVERAGE / (2 * RATE)  # a quarter of the equilibrium
START = np.array([(LR**2 * GAMMA_0) ** 0.25, 0.0, 0.0])

# The five points lie where the curve bends. Euler-Maruyama gives gamma noise of order h: a relative variance of
# 4 lambda_e h/(d-1) = 1.2e-4 at rest, some twice that before, and a bias of order lambda_e h = 6e-5; both far below
# what is promised. The standard deviation of 1.6 % over 800 paths leaves z·se = 0.3 % (0.6 % in quick mode).
TIMES = np.array([0.25, 0.5, 1.0, 2.0, 3.0]) / (4 * RATE)
T, STEPS, EVERY, PATHS = TIMES[-1], 12288, 32, 800
NAMES = ("gamma, constant power: mean", "gamma, constant power: mean square",
         "integral formula: mean", "integral formula: mean square")
MEAN, SQUARE = 0.02, 0.05**2  # promised: 2 % in the mean of gamma, 5 % in its root mean square over paths


def ambient(seed: Any, variances: NDArray[np.float64], n: int, coarsened: int) -> tuple[NDArray[np.float64], ...]:
    """Times (saves,), gamma (paths, saves) and Tr Σ(Ŵ) (paths, saves) of the ambient SDE at step h or a multiple."""
    loss = sdt.losses.RayleighQuotient(VALLEY, noise=sdt.noises.Tangent(variances))
    h = T / STEPS
    runs = sdt.simulate(sdt.dynamics.SGDSDE(loss, lr=LR, weight_decay=DECAY), START, n_steps=STEPS // coarsened,
                        dt=coarsened * h, brownian_dt=h, n_paths=n, observe=["sq_norm", "direction"],
                        save_every=EVERY // coarsened, rng=seed)
    trace = variances.sum() - (runs.direction.values**2 @ variances)
    return runs.time.values, runs.sq_norm.values**2 / LR**2, trace


def closed_form() -> NDArray[np.float64]:
    """The second equation at the points."""
    return np.asarray(ilr.gamma(t=TIMES, gamma0=GAMMA_0, intrinsic_lr=RATE, noise_trace=AVERAGE))


def integral_formula(time: NDArray[np.float64], trace: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first equation along each path, the integral by the trapezoidal rule on the saves."""
    step = time[1] - time[0]
    shrink = np.exp(-4 * RATE * step)
    gamma = np.empty_like(trace)
    gamma[:, 0] = GAMMA_0
    for k in range(1, len(time)):
        gamma[:, k] = shrink * gamma[:, k - 1] + step * (shrink * trace[:, k - 1] + trace[:, k])
    return gamma


def judged(run: Run, variances: NDArray[np.float64], averaged: bool) -> dict[str, Any]:
    """Gamma against both equations at the points, at step h and on the same Brownian paths at 2h."""
    n, (first, second) = run.paths(PATHS), run.rng.spawn(2)
    curve = closed_form()
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in NAMES}
    for coarsened in (2, 1):
        time, gamma, _ = ambient(first, variances, n, coarsened)
        at = np.searchsorted(time, TIMES * (1 - 1e-9))
        time, moving, trace = ambient(second, UNEQUAL, n, coarsened)
        along = integral_formula(time, np.full_like(trace, AVERAGE) if averaged else trace)
        residual = (moving / along - 1)[:, at]
        measured = (gamma[:, at], (gamma[:, at] / curve - 1) ** 2, residual, residual**2)
        for name, values in zip(NAMES, measured, strict=True):
            found[name].append(values)
    run.data.update(time=time, gamma=gamma, moving=moving[:3], along=along[:3])
    # the bias of the mean and the mean square itself are of order h
    return {name: step_halving(coarse, fine, order=1, coupled=True) for name, (coarse, fine) in found.items()}


def simulation(run: Run) -> dict[str, Any]:
    """Equal variances for the closed form; unequal ones for the integral formula."""
    return judged(run, EQUAL, averaged=False)


def averaged_power(run: Run) -> dict[str, Any]:
    """Unequal variances everywhere, and only the average of Tr Σ over the sphere in the formulas."""
    return judged(run, UNEQUAL, averaged=True)


def derivation() -> Derivation:
    """Variation of constants for any noise power, then for a constant one; for gamma, ‖W‖² and the effective lr."""
    whole = Derivation("The norm variable in closed form")
    drift, power = gamma_ode(whole), sympy.Function("trace", positive=True)  # the drift: from the SDE, by Itô's formula
    decay = sympy.exp(-4 * INTRINSIC * (TIME - S))
    claimed = decay.subs(S, 0) * GAMMA0 + 2 * sympy.Integral(decay * power(S), (S, 0, TIME))
    whole.step(r"Claimed for any course of $\mathrm{Tr}\,\Sigma(\hat W_s)$.", claimed)
    whole.residual("the integral solves the equation of gamma",
                   sympy.diff(claimed, TIME) - drift.subs(TRACE, power(TIME)).subs(GAMMA, claimed))
    whole.residual("the integral starts at gamma_0", claimed.subs(TIME, 0).doit() - GAMMA0)
    for formula in (ilr.gamma, ilr.sq_norm, ilr.effective_lr):
        whole.including(formula.derivation)
    return whole


def figure(run: Run) -> Figure:
    """Left: gamma of all paths lies on one curve. Right: with unequal noise each path has its own, and follows it."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(6.4, 3.8), layout="constrained")
    left, right = fig.subplots(1, 2, sharey=True)
    clock = 4 * RATE * run.data["time"]
    rest = ilr.equilibrium_gamma(intrinsic_lr=RATE, noise_trace=AVERAGE)
    low, high = np.quantile(run.data["gamma"], (0.025, 0.975), axis=0) / rest
    left.fill_between(clock, low, high, color="tab:blue", alpha=0.3, lw=0, label=r"95 % of the paths (step $h$)")
    curve = ilr.gamma(t=run.data["time"], gamma0=GAMMA_0, intrinsic_lr=RATE, noise_trace=AVERAGE) / rest
    left.plot(clock, curve, color="0.25", lw=1.2, label="closed form")
    for axes in (left, right):
        axes.set_xlabel(r"$4\lambda_e t$ ($t$ in steps)")
    left.set_ylabel(r"$\gamma_t\,/\,(\sigma^2/2\lambda_e)$")
    left.set_title(r"equal noise: one curve for all", fontsize=10)
    colours = ("tab:orange", "tab:green", "tab:purple")
    for path, along, colour in zip(run.data["moving"], run.data["along"], colours, strict=True):
        right.plot(clock, path / rest, color=colour, lw=2.4, alpha=0.45)
        right.plot(clock[::16], along[::16] / rest, ".", color=colour, ms=4)
    right.plot(clock, curve, color="0.25", lw=1, ls="--", label="constant noise power")
    right.plot([], [], color="0.5", lw=2.4, alpha=0.6, label="simulated path")
    right.plot([], [], ".", color="0.5", ms=4, label="integral formula")
    right.set_title("unequal noise: each path its own", fontsize=10)
    left.legend(frameon=False, fontsize=8, loc="lower right")
    right.legend(frameon=False, fontsize=8, loc="lower right")
    return fig


claim = Claim(
    "ILR-3",
    title="The norm variable in closed form",
    paper="intrinsic_lr",
    statement=r"$\gamma_t=e^{-4\lambda_et}\gamma_0+2\int_0^te^{-4\lambda_e(t-s)}\mathrm{Tr}\,\Sigma(\hat W_s)\,ds$ on "
              r"every path; for $\mathrm{Tr}\,\Sigma(\hat w)\equiv\sigma^2$ it is "
              r"$e^{-4\lambda_et}\gamma_0+\frac{\sigma^2}{2\lambda_e}(1-e^{-4\lambda_et})$, "
              r"deterministic although $W$ is not.",
    derivation=derivation,
    prediction=lambda: {NAMES[0]: closed_form(), NAMES[1]: 0.0, NAMES[2]: 0.0, NAMES[3]: 0.0},
    simulation=simulation,
    resolution={NAMES[0]: Resolution(Relative(MEAN), points=len(TIMES)),
                NAMES[1]: Resolution(SQUARE, points=len(TIMES)),
                NAMES[2]: Resolution(MEAN, points=len(TIMES)), NAMES[3]: Resolution(SQUARE, points=len(TIMES))},
    negative_control=Control(r"noise whose power varies over the sphere, with only its average put into both formulas",
                             simulation=averaged_power),
    figure=figure,
)
