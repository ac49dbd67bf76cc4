r"""ILR-11: without a loss the direction forgets harmonic by harmonic, on the clock of the norm.

.. math:: \mathbb E\,Y_\ell(\hat W_t) = e^{-k_\ell t}\,Y_\ell(\hat W_0),\qquad
          k_\ell = \tfrac12\ell(\ell+d-2)\,\eta_e^2s^2 = \frac{\ell(\ell+d-2)}{d-1}\lambda_e, \qquad
          \mathbb E\|W_{T+\Delta}-W_T\|^2 = 2\|W\|^2(1-e^{-\lambda_e\Delta})

The second form of k and the displacement are for the norm at rest (ILR-4). Measured on the sphere at constant effective
learning rate, and on the ambient SDE of SGD from its rest norm for two intrinsic learning rates. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import sdetheory as sdt
from sdetheory.claims import Claim, Control, Relative, Resolution, Run
from sdetheory.sphere import zonal_harmonic
from sdetheory.stats import from_points, propagate, step_halving
from sdetheory.symbolic import Derivation
from sdetheory.theory import intrinsic_lr as ilr
from sdetheory.theory.formula import joint_derivation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIM, SCALE = 5, 0.5
LOSS = sdt.losses.RayleighQuotient([0.0] * DIM, noise=sdt.noises.Tangent(SCALE))
TRACE = SCALE**2 * (DIM - 1)
DEGREES = np.array([1, 2, 3])
EFFECTIVE = 0.1
PAIRS = ((0.1, 0.1), (0.2, 0.0125))  # (lr, weight decay): lambda_e = 0.01, 0.0025
LAGS = np.array([0.5, 1.0])  # of the displacement, in units of 1/lambda_e

# Degree l is read at t = 1/k_l, where -ln(mean)/t is sharpest: there the relative error of the rate is e·sd(Y_l)/sqrt(n),
# at most e·0.4/sqrt(n) in 5 dimensions: 0.45 % for 60 000 paths, 0.9 % in quick mode. With k_1 h = 0.01 the bias is 1 %.
STEPS = 120  # from 0 to 1/k_1
PATHS = 60_000
SAVE = 4  # steps of h
READ = {1: 120, 2: 48, 3: 28}  # the saved steps nearest to 1/k_l: k_l/k_1 = 1, 2.5, 4.5


def prediction(shift: int = 0, forgetting: float = 1.0) -> dict[str, Any]:
    """Rates on the sphere and at rest, and the displacement; the control shifts d, and the clock of W."""
    dim = DIM + shift
    rates = ilr.harmonic_rate(degree=DEGREES, dim=dim, effective_lr=EFFECTIVE, noise_scale=SCALE)
    at_rest = DEGREES * (DEGREES + dim - 2) / (DIM - 1) if shift else ilr.equilibrium_harmonic_rate(
        degree=DEGREES, dim=DIM, intrinsic_lr=1.0)
    return {"rate on the sphere": rates, "rate at rest / intrinsic lr": np.tile(at_rest, len(PAIRS)),
            "displacement / squared norm": np.tile(2 * -np.expm1(-forgetting * LAGS), len(PAIRS))}


def wrong() -> dict[str, Any]:
    """The eigenvalues of the sphere of one dimension more, and the norm's rate 4 lambda_e for the weights."""
    return prediction(shift=1, forgetting=4.0)


def _rates(cosines: dict[int, np.ndarray], steps: np.ndarray, h: float) -> tuple[list[Any], np.ndarray]:
    """Rates of the degrees from <W_t, W_0> at steps 2h and h on the same Brownian paths, shape (paths, saves)."""
    found = []
    for degree in DEGREES:
        at = int(np.flatnonzero(steps == READ[degree])[0])
        coarse, fine = (zonal_harmonic(degree, DIM, cosines[r][:, at]) for r in (2, 1))
        mean = step_halving(coarse, fine, order=1, coupled=True)
        found.append(propagate(lambda m, t=READ[degree] * h: -np.log(m) / t, mean))
    curve = np.stack([zonal_harmonic(degree, DIM, cosines[1]).mean(0) for degree in DEGREES])
    return found, curve


def simulation(run: Run) -> dict[str, Any]:
    """Both processes from one direction, each at step h and, on the same Brownian paths, at 2h."""
    n = run.paths(PATHS)
    seeds = run.rng.spawn(1 + len(PAIRS))
    start = np.eye(DIM)[0]
    curves = []

    h = 1 / (STEPS * ilr.harmonic_rate(degree=1, dim=DIM, effective_lr=EFFECTIVE, noise_scale=SCALE))
    cosines = {}
    for r in (2, 1):
        runs = sdt.simulate(sdt.dynamics.SphereDiffusion(LOSS, effective_lr=EFFECTIVE), start, n_steps=STEPS // r,
                            dt=r * h, brownian_dt=h, n_paths=n, observe=["direction"], save_every=SAVE // r, rng=seeds[0])
        cosines[r] = runs.direction.values[:, :, 0]
    steps = np.arange(0, STEPS + 1, SAVE)
    rates, curve = _rates(cosines, steps, h)
    curves.append((steps / STEPS, curve, r"sphere, $\eta_e$ constant"))

    at_rest, moved = [], []
    for (lr, decay), seed in zip(PAIRS, seeds[1:], strict=True):
        intrinsic = lr * decay
        radius = ilr.equilibrium_sq_norm(lr=lr, weight_decay=decay, noise_trace=TRACE) ** 0.5
        h = 1 / (STEPS * intrinsic)
        cosines, apart = {}, {}
        for r in (2, 1):
            runs = sdt.simulate(sdt.dynamics.SGDSDE(LOSS, lr=lr, weight_decay=decay), radius * start,
                                n_steps=STEPS // r, dt=r * h, brownian_dt=h, n_paths=n, observe=["w"],
                                save_every=SAVE // r, rng=seed)
            w = runs.w.values
            cosines[r] = w[:, :, 0] / np.linalg.norm(w, axis=-1)
            at = np.searchsorted(steps, LAGS * STEPS)
            apart[r] = ((w[:, at] - radius * start) ** 2).sum(-1) / radius**2
        found, curve = _rates(cosines, steps, h)
        at_rest += [propagate(lambda x, e=intrinsic: x / e, rate) for rate in found]
        moved += list(step_halving(apart[2], apart[1], order=1, coupled=True).points())
        curves.append((steps / STEPS, curve, rf"SGD's SDE at rest, $\lambda_e={intrinsic:g}$"))
    run.data["curves"] = curves
    return {"rate on the sphere": from_points(rates), "rate at rest / intrinsic lr": from_points(at_rest),
            "displacement / squared norm": from_points(moved)}


def derivation() -> Derivation:
    """Rates by Itô's formula for any harmonic polynomial, in every dimension; then the norm at rest."""
    return joint_derivation("The direction without a loss", ilr.harmonic_rate, ilr.equilibrium_harmonic_rate,
                            ilr.mean_sq_displacement)


def figure(run: Run) -> Figure:
    """The three harmonics of all runs on one clock, against their exponentials."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(6.4, 3.8), layout="constrained")
    ax = fig.subplots()
    t = np.linspace(0, 1, 200)
    for degree, colour in zip(DEGREES, ("tab:blue", "tab:orange", "tab:green"), strict=True):
        rate = ilr.equilibrium_harmonic_rate(degree=degree, dim=DIM, intrinsic_lr=1.0)
        ax.plot(t, np.exp(-rate * t), color=colour, lw=1.3, label=rf"$\ell={degree}$: rate ${rate:g}\,\lambda_e$")
    for (time, curve, label), marker in zip(run.data["curves"], ("o", "s", "^"), strict=True):
        for i, colour in enumerate(("tab:blue", "tab:orange", "tab:green")):
            shown = slice(2 + ("o", "s", "^").index(marker), None, 4)
            ax.plot(time[shown], curve[i, shown], marker, ms=5, mfc="none", color=colour)
        ax.plot([], [], marker, ms=5, mfc="none", color="0.5", label=label)
    ax.set_xlabel(r"time on the clock of the norm, $\lambda_e t$ ($t$ in steps)")
    ax.set_ylabel(r"$\mathbb{E}\,Y_\ell(\hat W_t)\,/\,Y_\ell(\hat W_0)$")
    ax.set_title(r"Without a loss the direction mixes as fast as the norm comes to rest", fontsize=11)
    ax.legend(frameon=False, fontsize=9)
    return fig


claim = Claim(
    "ILR-11",
    title="Pure noise on the sphere",
    paper="intrinsic_lr",
    statement=r"For $L=0$ a spherical harmonic of degree $\ell$ decays at the rate $\frac12\ell(\ell+d-2)\eta_e^2s^2$; at "
              r"the rest of the norm this is $\lambda_e\,\ell(\ell+d-2)/(d-1)$, so that without barriers the sphere mixes "
              r"in $O(1/\lambda_e)$ steps, and $\mathbb{E}\|W_{T+\Delta}-W_T\|^2=2\|W\|^2(1-e^{-\lambda_e\Delta})$ grows "
              r"all that time.",
    derivation=derivation,
    prediction=prediction,
    simulation=simulation,
    resolution={"rate on the sphere": Resolution(Relative(0.07), points=3),
                "rate at rest / intrinsic lr": Resolution(Relative(0.07), points=3 * len(PAIRS)),
                "displacement / squared norm": Resolution(0.06, points=len(LAGS) * len(PAIRS))},
    negative_control=Control(r"$\ell(\ell+d-1)$, the eigenvalues of the sphere of one dimension more; and weights that "
                             r"forget at the rate $4\lambda_e$ of $\|W\|^4$", prediction=wrong),
    figure=figure,
)
