r"""ILR-10: at rest the direction has a Bingham law, so the mean loss is a function of the intrinsic learning rate.

.. math:: p(\hat w)\propto e^{-2L(\hat w)/(\eta_es^2)}, \qquad
          \mathbb E L = \frac a2\,\frac kd\,\frac{{}_1F_1(\frac k2+1;\frac d2+1;-b)}{{}_1F_1(\frac k2;\frac d2;-b)}, \quad
          b = \frac{a}{\eta_es^2}, \quad \eta_e = \Bigl(\frac{2\lambda_e}{s^2(d-1)}\Bigr)^{1/2}

for :math:`L = w^\top Aw/(2w^\top w)` with eigenvalue a on k coordinates and 0 on the others, and tangent noise of scale s.
SGD itself is away from it by its discretisation, to first order (derived here)

.. math:: \frac{\mathbb E L_{\mathrm{SGD}}}{\mathbb E L} = 1 + c\,\eta_e + O(\eta_e^2), \qquad
          c = \frac a2 - \frac{ak}{4(d-1)}

Clock: steps. An extension of the paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
import sympy

import sdetheory as sdt
from sdetheory.claims import Claim, Control, Relative, Resolution, Run
from sdetheory.stats import difference, from_points, mean_estimate, ratio, step_halving
from sdetheory.symbolic import Derivation
from sdetheory.theory import intrinsic_lr as ilr
from sdetheory.theory.formula import joint_derivation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EIGENVALUE, RANK, DIM, SCALE = 1.0, 3, 8, 0.5
LOSS = sdt.losses.RayleighQuotient([EIGENVALUE] * RANK + [0.0] * (DIM - RANK), noise=sdt.noises.Tangent(SCALE))
TRACE = SCALE**2 * (DIM - 1)
GIVEN = {"eigenvalue": EIGENVALUE, "rank": RANK, "dim": DIM}

# On the sphere: half the paths start at the top of the loss, half at the bottom. With tau = eta_e a t the top is left
# after about ln(b)/2 < 2 and the loss then relaxes like exp(-2 tau): at tau = 8 less than 1e-5 of the start is left. A mean
# over 24 times, tau = 8.5 … 20, has some 12 independent values a path: 12 000 paths leave z·se = 1.1 % of E L (2.2 % in
# quick mode), and steps of tau = 0.02 a bias near 1 %.
SPHERE = (0.3, 0.075)  # effective lr: b = 13, 53
QUARTILES = np.array([0.25, 0.5, 0.75])
TAU_STEP, TAU_SAVE, TAU_BURN, TAU_END = 0.02, 0.5, 8.0, 20.0
PATHS = 12_000

# SGD: from 2/lambda_e on, exp(-8) = 3e-4 of the start of |w|^4 is left, and 1e-5 in the mean over the next 6/lambda_e
# steps. They hold 90 relaxation times of the loss at the smaller rate: 4000 paths leave z·se < 0.9 % for the ratio.
EFFECTIVE = (0.15, 0.075)  # at rest without discretisation; the second is half of the first
PAIRS = ((0.1, 0.8), (0.4, 1.25))  # lr, and the start of |w|^2 over its rest value: one lambda_e, two histories
BURN, SPAN = 2, 8  # in units of 1/lambda_e
SGD_PATHS = 4000

FIRST_ORDER = EIGENVALUE / 2 - EIGENVALUE * RANK / (4 * (DIM - 1))


def loss_quantiles(effective_lr: float) -> np.ndarray:
    """Losses below which the quartiles of the stationary law lie, by integrating its density."""
    root = np.linspace(0.0, 1.0, 20_001)[1:]  # L = a u^2/2: smooth at 0 for odd rank
    density = ilr.stationary_loss_density(loss=EIGENVALUE * root**2 / 2 * (1 - 1e-12), **GIVEN,
                                          effective_lr=effective_lr, noise_scale=SCALE)
    mass = scipy.integrate.cumulative_simpson(density * EIGENVALUE * root, x=root, initial=0.0)
    return np.interp(QUARTILES, mass, EIGENVALUE * root**2 / 2)


def shares(effective_lr: float, noise_scale: float) -> np.ndarray:
    """Probability, under the law for `noise_scale`, of a loss below each quartile of the law for SCALE."""
    root = np.linspace(0.0, 1.0, 20_001)[1:]
    density = ilr.stationary_loss_density(loss=EIGENVALUE * root**2 / 2 * (1 - 1e-12), **GIVEN,
                                          effective_lr=effective_lr, noise_scale=noise_scale)
    mass = scipy.integrate.cumulative_simpson(density * EIGENVALUE * root, x=root, initial=0.0)
    return np.interp(loss_quantiles(effective_lr), EIGENVALUE * root**2 / 2, mass)


def mean_at(intrinsic_lr: float, noise_scale: float = SCALE) -> float:
    """E L at the rest of the norm."""
    rest = ilr.equilibrium_effective_lr(lr=intrinsic_lr, weight_decay=1.0, noise_trace=TRACE)
    return ilr.stationary_mean_loss(**GIVEN, effective_lr=rest, noise_scale=noise_scale)


def intrinsic(effective_lr: float) -> float:
    """lambda_e with this effective learning rate at rest."""
    return effective_lr**2 * TRACE / 2


def prediction() -> dict[str, Any]:
    """Means, quartiles, SGD over theory without its first-order gap, and one law for two pairs of one product."""
    return {"mean loss": ilr.stationary_mean_loss(**GIVEN, effective_lr=SPHERE, noise_scale=SCALE),
            "law of the loss": np.tile(QUARTILES, len(SPHERE)),
            "SGD / theory - c eta_e": np.ones(len(PAIRS)),
            "SGD at one lambda_e: other pair / pair": 1.0}


def wrong() -> dict[str, Any]:
    """The density exp(-L/(eta_e s^2)): without the half of Itô's formula."""
    hot = 2**0.5 * SCALE
    fine = intrinsic(EFFECTIVE[1])
    return {"mean loss": ilr.stationary_mean_loss(**GIVEN, effective_lr=SPHERE, noise_scale=hot),
            "law of the loss": np.concatenate([shares(e, hot) for e in SPHERE]),
            "SGD / theory - c eta_e": np.full(len(PAIRS), mean_at(fine, hot) / mean_at(fine))}


def simulation(run: Run) -> dict[str, Any]:
    """Means over times of each path, then over paths; step halving on the sphere, halved effective lr for SGD."""
    n = run.paths(PATHS)
    seeds = iter(run.rng.spawn(len(SPHERE) + len(PAIRS) * len(EFFECTIVE)))
    ends = np.eye(DIM)[[0, -1]][np.arange(n) % 2]
    means: dict[int, list[np.ndarray]] = {2: [], 1: []}
    below: dict[int, list[np.ndarray]] = {2: [], 1: []}
    run.data["losses"] = []
    for effective in SPHERE:
        h, seed, levels = TAU_STEP / (effective * EIGENVALUE), next(seeds), loss_quantiles(effective)
        for r in (2, 1):
            steps = round(TAU_END / TAU_STEP) // r
            runs = sdt.simulate(sdt.dynamics.SphereDiffusion(LOSS, effective_lr=effective), ends, n_steps=steps,
                                dt=r * h, brownian_dt=h, n_paths=n, observe=["loss"],
                                save_every=round(TAU_SAVE / TAU_STEP / r), rng=seed)
            late = runs.loss.values[:, runs.time.values * effective * EIGENVALUE > TAU_BURN + TAU_SAVE / 2]
            means[r].append(late.mean(1))
            below[r] += [(late <= level).mean(1) for level in levels]
        run.data["losses"].append(late.ravel())
    found = {"mean loss": step_halving(np.stack(means[2], 1), np.stack(means[1], 1), order=1, coupled=True),
             "law of the loss": step_halving(np.stack(below[2], 1), np.stack(below[1], 1), order=1, coupled=True)}

    n = run.paths(SGD_PATHS)
    ratios, corrected = [], []
    for lr, start in PAIRS:
        gaps = []
        for effective in EFFECTIVE:
            rate = intrinsic(effective)
            radius = (start * lr / effective) ** 0.5
            runs = sdt.simulate(sdt.SGD(LOSS, lr=lr, weight_decay=rate / lr), LOSS.sample_sphere(radius),
                                n_steps=round(SPAN / rate), n_paths=n, observe=["loss"],
                                save_every=max(1, round(1 / (2 * effective * EIGENVALUE))), rng=next(seeds))
            late = runs.loss.values[:, runs.step.values > BURN / rate]
            gaps.append(mean_estimate(late.mean(1) / mean_at(rate)))
        ratios.append(gaps)
        coarse, fine = (_less(x, FIRST_ORDER * e) for x, e in zip(gaps, EFFECTIVE, strict=True))
        corrected.append(step_halving(coarse, fine, order=2))
    run.data["ratios"] = ratios
    found["SGD / theory - c eta_e"] = from_points(corrected)
    found["SGD at one lambda_e: other pair / pair"] = ratio(ratios[1][1], ratios[0][1])
    return found


def _less(estimate: sdt.Estimate, known: float) -> sdt.Estimate:
    return difference(estimate, sdt.Estimate(known, 0.0))


def first_order_gap() -> Derivation:
    """What SGD's steps of finite size do to E L at fixed lambda_e, to first order in eta_e."""
    a, e, s, k, d = sympy.symbols("a eta_e s k d", positive=True)
    q = sympy.Symbol("q", positive=True)
    work = Derivation("The gap of SGD to first order")
    work.assume(r"Norm at rest, $\eta_e\to 0$: near the minima a stiff coordinate of $\hat w$ does "
                r"$x'=(1-\eta_ea)x-\eta_esz$ up to terms the SDE has as well; what they add jointly with the finite step is "
                r"$O(\eta_e^2)$ relative.")
    rest = sympy.solve(sympy.Eq(q, (1 - e * a) ** 2 * q + e**2 * s**2), q)[0]
    work.step(r"$q=\mathbb{E}x^2$ at rest.", sympy.factor(rest))
    limit = e * s**2 / (2 * a)
    work.residual("the SDE's value is its leading order", sympy.limit(rest / limit, e, 0) - 1)
    steps = sympy.diff(sympy.simplify(rest / limit), e).subs(e, 0)
    work.step(r"Relative gap per $\eta_e$ from the steps of the direction.", steps)
    signal = k * a**2 * limit
    power = 1 + signal / (s**2 * (d - 1))
    work.step(r"The norm feels signal and noise (ILR-6): $S=\sigma^2+\mathbb{E}\|\nabla L\|^2$, over $\sigma^2$:", power)
    norm = sympy.diff(power ** sympy.Rational(-1, 2), e).subs(e, 0)
    work.step(r"$\eta_e=(2\lambda_e/S)^{1/2}$ and $\mathbb{E}L\propto\eta_e$: relative gap per $\eta_e$ from the norm.", norm)
    return work.residual("sum", steps + norm - (a / 2 - a * k / (4 * (d - 1))))


def derivation() -> Derivation:
    """Detailed balance on the sphere for every d and k, the norm at rest, and the first-order gap of SGD."""
    whole = joint_derivation("The stationary law on the sphere", ilr.stationary_mean_loss, ilr.stationary_loss_density,
                             ilr.equilibrium_mean_loss)
    return whole.including(first_order_gap())


def figure(run: Run) -> Figure:
    """Histograms of the loss against the density; and the gap of SGD against its first order."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.2, 3.8), layout="constrained")
    left, right = fig.subplots(1, 2, width_ratios=(3, 2))
    for effective, losses, colour in zip(SPHERE, run.data["losses"], ("tab:orange", "tab:blue"), strict=True):
        top = np.quantile(losses, 0.999)
        left.hist(losses, bins=60, range=(0, top), density=True, color=colour, alpha=0.35)
        at = np.linspace(top / 400, top, 400)
        left.plot(at, ilr.stationary_loss_density(loss=at, **GIVEN, effective_lr=effective, noise_scale=SCALE),
                  color=colour, lw=1.5, label=rf"$\eta_e={effective:g}$")
    left.set_xlabel("loss $L$ on the sphere, at rest")
    left.set_ylabel("density (bars: simulated)")
    left.legend(frameon=False, fontsize=9)
    span = np.array([0, max(EFFECTIVE) * 1.1])
    right.plot(span, 1 + FIRST_ORDER * span, color="0.45", lw=1.2, label=r"$1+c\,\eta_e$")
    for (lr, _), levels, marker, colour in zip(PAIRS, run.data["ratios"], ("o", "s"), ("tab:green", "tab:red"), strict=True):
        aside = 1.01 if marker == "o" else 0.99
        right.errorbar(np.array(EFFECTIVE) * aside, [x.value for x in levels], [2 * x.stderr for x in levels],
                       fmt=marker, ms=5, mfc="none", color=colour, capsize=3, label=rf"SGD, $\eta={lr:g}$")
    right.set_xlim(0)
    right.set_ylim(0.99)
    right.set_xlabel(r"effective learning rate $\eta_e$")
    right.set_ylabel(r"$\mathbb{E}L$ of SGD / theory at $\lambda_e$")
    right.legend(frameon=False, fontsize=9)
    fig.suptitle(r"At rest the loss has the law of $e^{-2L/(\eta_es^2)}$ on the sphere", fontsize=11)
    return fig


claim = Claim(
    "ILR-10",
    title="The stationary law on the sphere in closed form",
    paper="intrinsic_lr",
    statement=r"For $L=w^TAw/(2w^Tw)$ and $\Sigma(\hat w)=s^2(I-\hat w\hat w^T)$ the density on the sphere at constant "
              r"effective learning rate is proportional to $e^{-2L/(\eta_es^2)}$, and at the rest of the norm "
              r"$\mathbb{E}L$ is a ratio of ${}_1F_1$ that depends on $\lambda_e=\eta\lambda$ alone. SGD's gap to it is "
              r"$(\frac a2-\frac{ak}{4(d-1)})\,\eta_e$ relative, to first order.",
    derivation=derivation,
    prediction=prediction,
    simulation=simulation,
    resolution={"mean loss": Resolution(Relative(0.06), points=len(SPHERE)),
                "law of the loss": Resolution(0.04, points=len(SPHERE) * len(QUARTILES)),
                "SGD / theory - c eta_e": Resolution(0.05, points=len(PAIRS)),
                "SGD at one lambda_e: other pair / pair": Resolution(0.05)},
    negative_control=Control(r"density $e^{-L/(\eta_es^2)}$: the temperature without the half of Itô's formula",
                             prediction=wrong),
    extension=True,
    figure=figure,
)
