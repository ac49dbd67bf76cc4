r"""ILR-4: the norm of a scale-invariant weight tends to an equilibrium that is set by lr and weight decay.

.. math:: \gamma = \|W\|^4/\eta^2 \to \frac{\sigma^2}{2\lambda_e}, \qquad
          \|W\|^4 \to \frac{\eta\sigma^2}{2\lambda}, \qquad
          \eta_e = \gamma^{-1/2} \to \Bigl(\frac{2\lambda_e}{\sigma^2}\Bigr)^{1/2}, \qquad
          t_\varepsilon = \frac{1}{4\lambda_e}\ln\frac{|\gamma_0/\gamma_\infty - 1|}{\varepsilon}

The ambient SDE of SGD is simulated for three pairs (lr, weight decay), two of one product, from a start above the
equilibrium and from one below it. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import sdetheory as sdt
from sdetheory.claims import Claim, Control, Relative, Resolution, Run
from sdetheory.stats import step_halving
from sdetheory.symbolic import Derivation
from sdetheory.theory import intrinsic_lr as ilr
from sdetheory.theory.formula import joint_derivation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIM, SCALE = 11, 0.5  # noise of 10 tangent directions: sigma^2 = s^2 (d - 1) is 10 % away from s^2 d
LOSS = sdt.losses.RayleighQuotient([1.0] * 5 + [0.0] * 6, noise=sdt.noises.Tangent(SCALE))
TRACE = SCALE**2 * (DIM - 1)
PAIRS = ((0.1, 0.1), (0.4, 0.025), (0.4, 0.1))  # (lr, weight decay): lambda_e = 0.01, 0.01, 0.04
STARTS = (1.75, 0.25)  # gamma_0 / gamma_inf: as far above as below
AWAY, TOLERANCE = 0.75, 0.1  # |gamma_0/gamma_inf - 1|, and the tolerance of t_eps
CASES = tuple((lr, decay, start) for lr, decay in PAIRS for start in STARTS)

# At 5 t_eps the start is forgotten up to 0.75 (0.1/0.75)^5 = 3e-5 of gamma_inf; this is added to the bias bound.
SPAN = 5
MEMORY = AWAY * (TOLERANCE / AWAY) ** SPAN
# lambda_e h = 0.0025 at lambda_e = 0.01 makes the bias of Euler-Maruyama about 1 %, half of what 4 % leaves. gamma
# varies over paths by less than 3 % (its noise is of order h): 1600 paths (400 in quick mode) leave z·se < 0.7 %.
STEPS = 200  # a t_eps
PATHS = 1600


def prediction(noise_trace: float = TRACE) -> dict[str, Any]:
    """The limits and the error left at t_eps, case by case; the control puts in another noise power."""
    lr, decay, start = np.transpose(CASES)
    return {
        "norm^4": ilr.equilibrium_sq_norm(lr=lr, weight_decay=decay, noise_trace=noise_trace) ** 2,
        "effective lr": ilr.equilibrium_effective_lr(lr=lr, weight_decay=decay, noise_trace=noise_trace),
        "error at t_eps": TOLERANCE * np.sign(start - 1),
    }


def wrong() -> dict[str, Any]:
    """Noise of all d directions, and the rate 2 lambda_e of the squared norm in place of 4 lambda_e."""
    error = AWAY * (TOLERANCE / AWAY) ** 0.5
    return prediction(noise_trace=SCALE**2 * DIM) | {"error at t_eps": error * np.sign(np.array(CASES)[:, 2] - 1)}


def simulation(run: Run) -> dict[str, Any]:
    """Each case at step h and, on the same Brownian paths, at 2h; one mean over paths a case and quantity."""
    n = run.paths(PATHS)
    found: dict[str, list[list[np.ndarray]]] = {"norm^4": [], "effective lr": [], "error at t_eps": []}
    curves = []
    for (lr, decay, start), seed in zip(CASES, run.rng.spawn(len(CASES)), strict=True):
        rest = ilr.equilibrium_gamma(intrinsic_lr=lr * decay, noise_trace=TRACE)
        wait = ilr.time_to_equilibrium(gamma0=start * rest, intrinsic_lr=lr * decay, noise_trace=TRACE,
                                       tolerance=TOLERANCE)
        h = wait / STEPS
        radius = (start * rest * lr**2) ** 0.25
        for refined in (2, 1):
            runs = sdt.simulate(sdt.dynamics.SGDSDE(LOSS, lr=lr, weight_decay=decay), LOSS.sample_sphere(radius),
                                n_steps=SPAN * STEPS // refined, dt=refined * h, brownian_dt=h, n_paths=n,
                                observe=["sq_norm", "effective_lr"], save_every=STEPS // refined // 10, rng=seed)
            fourth = runs.sq_norm.values ** 2
            found["norm^4"].append(fourth[:, -1])
            found["effective lr"].append(runs.effective_lr.values[:, -1])
            found["error at t_eps"].append(fourth[:, 10] / lr**2 / rest - 1)
        curves.append((runs.time.values, runs.effective_lr.values))
    run.data["curves"] = curves
    # weak order 1; the coarse runs stand at the even places, the fine ones at the odd
    estimates = {name: step_halving(np.stack(values[::2], 1), np.stack(values[1::2], 1), order=1, coupled=True)
                 for name, values in found.items()}
    right = prediction()
    for name in ("norm^4", "effective lr"):
        estimates[name] = estimates[name].with_bias(MEMORY * right[name])
    return estimates


def derivation() -> Derivation:
    """The limits and the time, from the SDE by Itô's formula, in every dimension."""
    return joint_derivation("The equilibrium of the norm", ilr.equilibrium_gamma, ilr.equilibrium_sq_norm,
                            ilr.equilibrium_effective_lr, ilr.time_to_equilibrium)


def figure(run: Run) -> Figure:
    """The effective learning rate from above and from below, against the closed form and its limit."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(6.4, 3.8), layout="constrained")
    ax = fig.subplots()
    # standard errors are smaller than the markers
    colours, markers = ("tab:blue", "tab:orange", "tab:green"), ("o", "^", "s")
    for i, ((lr, decay, start), (time, values)) in enumerate(zip(CASES, run.data["curves"], strict=True)):
        rate = lr * decay
        clock = 4 * rate * time
        limit = ilr.equilibrium_effective_lr(lr=lr, weight_decay=decay, noise_trace=TRACE)
        dense = np.linspace(0, time[-1], 400)
        theory = ilr.effective_lr(t=dense, effective_lr0=limit / start**0.5, intrinsic_lr=rate, noise_trace=TRACE)
        ax.plot(4 * rate * dense, theory, color="0.45", lw=1.2, zorder=1, label="closed form" if i == 0 else None)
        shown = slice(i // 2, None, 3)
        ax.plot(clock[shown], values.mean(0)[shown], markers[i // 2], ms=4.5, color=colours[i // 2], mfc="none",
                label=rf"$\eta={lr:g},\ \lambda={decay:g}$" if start > 1 else None)
        ax.axhline(limit, color="0.6", lw=0.8, ls=":", zorder=0)
    ax.set_xlabel(r"time on the clock of the equilibrium, $4\lambda_e t$ ($t$ in steps)")
    ax.set_ylabel(r"effective learning rate $\eta/\|W_t\|^2$")
    ax.set_title(r"From any start the effective learning rate tends to $(2\eta\lambda/\sigma^2)^{1/2}$", fontsize=11)
    ax.legend(frameon=False, fontsize=9)
    return fig


claim = Claim(
    "ILR-4",
    title="Equilibrium of the norm and of the effective learning rate",
    paper="intrinsic_lr",
    statement=r"For constant $\mathrm{Tr}\,\Sigma(\hat w)=\sigma^2$, $\|W\|^4\to\eta\sigma^2/(2\lambda)$ and the "
              r"effective learning rate tends to $(2\lambda_e/\sigma^2)^{1/2}$, whatever the start, through $\eta$ and "
              r"$\lambda$ only by $\lambda_e=\eta\lambda$; $\gamma=\|W\|^4/\eta^2$ is within $\varepsilon$ after "
              r"$\ln(|\gamma_0/\gamma_\infty-1|/\varepsilon)/(4\lambda_e)$ steps.",
    derivation=derivation,
    prediction=prediction,
    simulation=simulation,
    resolution={"norm^4": Resolution(Relative(0.04), points=len(CASES)),
                "effective lr": Resolution(Relative(0.02), points=len(CASES)),  # the power -1/2 of gamma
                "error at t_eps": Resolution(0.04, points=len(CASES))},
    negative_control=Control(r"$\sigma^2=s^2d$ (noise of all $d$ directions, not of the $d-1$ tangent ones), and the "
                             r"rate $2\lambda_e$, that of $\|W\|^2$ without noise, in place of $4\lambda_e$",
                             prediction=wrong),
    figure=figure,
)
