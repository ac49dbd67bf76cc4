r"""ILR-12: wells keep the past for a time exponential in 1/η_e, while the loss is at its equilibrium in O(1/λ_e) steps.

.. math:: d\theta = -\eta_e L'(\theta)\,dt + \eta_e s\,dB, \qquad T = \tfrac12\eta_es^2, \qquad
          \frac1\tau = 2k\Bigl(1-\cos\frac{2\pi}{m}\Bigr), \quad
          k \sim \frac{\eta_e\sqrt{L''_{\min}|L''_{\max}|}}{2\pi}\,e^{-\Delta L/T}

on the circle, for m equal wells: ln(η_e τ) grows with slope 1 in ΔL/T. Direction and norm of SGD's SDE (ILR-2) are
simulated for two wells at four λ_e, from twice the equilibrium of γ, to which decay brings it: η_e = (2λ_e/σ²)^{1/2} is
a function of λ_e then, and so is all the rest. Kramers' rate is a leading order in T, here 10 to 15 % too high: measured
rates are held against the spectral gap of the Fokker–Planck operator, and the gap against Kramers as T → 0. A geodesic
step on the circle is θ − hL' + (2Th)^{1/2}z exactly, so the law of the scheme is known too, and with it what step and
start leave. Two wells of equal depth and unequal curvature have one law of the loss only to leading order in T: what
stays slow is the share of each. Clock: steps; flow time η_e t, with η_e at rest, in the functions below.
"""

from functools import lru_cache
from types import SimpleNamespace

import numpy as np

import sdetheory as sdt
from paper_checks.intrinsic_lr.circle_law import ANGLES, AT_ZERO, at_rest, gap, laws_at, mean_of, one_step
from sdetheory import Claim, Quantity, Relative
from sdetheory.stats import bias_from_difference, from_points, jackknife, mean_estimate, propagate
from sdetheory.theory import intrinsic_lr as ilr

WELLS, DEPTH, SCALE, LR = 2, 0.5, 1.0, 0.1  # curvature 1 at wells and tops, so the flow time 1 relaxes a well
LOSS = sdt.losses.MultiWell(WELLS, DEPTH, noise=sdt.noises.Tangent(SCALE))
UNEQUAL = sdt.losses.MultiWell(WELLS, DEPTH, 0.5, noise=sdt.noises.Tangent(SCALE))
BARRIERS = np.array([2.5, 3.5, 4.25, 5.0])  # Delta L / T
TEMPERATURES = DEPTH / BARRIERS
# sigma^2 = s^2 on the circle, so T = eta_e s^2/2 = lambda_e/eta_e: lambda_e t is T times the flow time
EFFECTIVE = 2 * TEMPERATURES / SCALE**2
INTRINSIC = EFFECTIVE * TEMPERATURES  # 0.08 to 0.02
START = 2.0  # of gamma over its rest value; at 1/lambda_e exp(-4) of the difference is left, part of the bias bound

# Steps of about 0.1 of the flow time, a whole number of them in a save and 6 saves in 1/lambda_e. The loss is a mean
# over 1/lambda_e … 2/lambda_e, some 5 independent values a path, each with relative spread 1.4: z·se = 2 % for 20 000
# paths; the step makes a bias of 5 %. The occupation is read from E cos theta at 1/lambda_e and some 0.6 mixing times
# later, 3/lambda_e at least. A two-state chain then gives the rate to (1/c^2 - 1)^(1/2)/(ln(b/c) n^(1/2)) at b and c:
# 2 % at worst, z·se = 10 % (20 % in quick mode), and 0.54 of the mean of that for the slope of four points.
FLOW_STEP, SAVES, PATHS = 0.1, 6, 20_000

LOSSES = LOSS.profile(ANGLES)
SHARP = np.abs((ANGLES + np.pi) % (2 * np.pi) - np.pi) < UNEQUAL.tops()[0]  # the arc of the sharper well, at theta = 0
# the unequal wells at the deepest barrier, over 1/lambda_e … 2/lambda_e, from theta = 0 with the norm at rest
WINDOW = (1 + (1 + np.arange(SAVES)) / SAVES) / TEMPERATURES[-1]


def slope_of(log_times):
    """Slope of a least-squares line over BARRIERS."""
    centred = BARRIERS - BARRIERS.mean()
    return float(centred @ log_times / (centred @ centred))


def kramers(temperature):
    """The leading order of the slowest rate, in flow time."""
    effective = 2 * temperature / SCALE**2
    return ilr.slowest_rate(effective_lr=effective, noise_scale=SCALE, barrier=DEPTH, n_wells=WELLS,
                            min_curvature=1.0, max_curvature=1.0) / effective


@lru_cache
def exact():
    """The Fokker-Planck operator's numbers, which take seconds: only who verifies the claim waits for them."""
    gaps = np.array([gap(LOSS, temperature) for temperature in TEMPERATURES])
    laws = laws_at(WINDOW, UNEQUAL, TEMPERATURES[-1])
    share, loss = (mean_of(f, laws).mean() for f in (SHARP, UNEQUAL.profile(ANGLES)))
    return SimpleNamespace(
        gaps=gaps, rest=np.array([at_rest(LOSSES, LOSS, temperature) for temperature in TEMPERATURES]),
        mixed=-np.expm1(-gaps / TEMPERATURES),  # how far the occupation has come at 1/lambda_e
        last=1 + np.maximum(3, np.ceil(0.6 / gaps * TEMPERATURES)).astype(int),  # the second reading, in 1/lambda_e
        unequal_laws=laws, unequal_share=share, unequal_loss=loss)


LABELS = tuple(rf"$\Delta L/T={b:g}$, $\lambda_e={rate:.2g}$" for b, rate in zip(BARRIERS, INTRINSIC, strict=True))
WHY = "the exact law of the scheme, from the start of the norm on"
QUANTITIES = {
    "mixing rate / eta_e": Quantity(lambda: exact().gaps, Relative(0.24), wrong=lambda: exact().gaps / 2, points=LABELS,
                                    bias_source=WHY),
    "slope of ln(eta_e tau)": Quantity(lambda: slope_of(-np.log(exact().gaps)), 0.13, bias_source=WHY,
                                       wrong=lambda: slope_of(-np.log(exact().gaps * BARRIERS))),
    "gap / Kramers as T -> 0": Quantity(1.0, 0.05, wrong=0.5, bias_source="halving $T$"),
    "mean loss after 1/lambda_e": Quantity(lambda: exact().rest, Relative(0.12), points=LABELS, bias_source=WHY,
                                           wrong=lambda: exact().rest * exact().mixed),
    "unequal wells: share of the first": Quantity(
        lambda: exact().unequal_share, 0.05, bias_source=WHY,
        wrong=ilr.well_share(min_curvature=UNEQUAL.curvatures[0], other_curvature=UNEQUAL.curvatures[1])),
    "unequal wells: mean loss": Quantity(lambda: exact().unequal_loss, Relative(0.12), bias_source=WHY,
                                         wrong=lambda: exact().unequal_loss * exact().mixed[-1]),
}


def steps_of(i):
    """Steps in a save, and the step in flow time."""
    width = 1 / (TEMPERATURES[i] * SAVES)
    every = round(width / FLOW_STEP)
    return every, width / every


@lru_cache
def scheme_laws(i, start, ends, loss=LOSS):
    """The laws of the scheme at every save to ends/lambda_e, shape (waves, saves), gamma on its way from `start`."""
    (every, h), temperature, law, found, last, step = steps_of(i), TEMPERATURES[i], AT_ZERO, [], np.inf, None
    for k in range(ends * SAVES * every):
        # eta_e over its rest value; a change of it by 1e-4 changes a rate by Delta L/T times that, 5e-4, in passing
        size = (1 + (start - 1) * np.exp(-4 * temperature * h * k)) ** -0.5
        if abs(size - last) > 1e-4:
            last, step = size, one_step(loss, temperature * size, h * size)
        law = step @ law
        if (k + 1) % every == 0:
            found.append(law)
    return np.stack(found, axis=1)


def simulated(loss, i, start, ends, n, seed):
    """cos(theta) and loss at every save to ends/lambda_e from theta = 0, gamma at `start` times its rest value."""
    every, h = steps_of(i)
    process = sdt.dynamics.EffectiveDynamics(loss, lr=LR, weight_decay=INTRINSIC[i] / LR)
    radius = (start * LR**2 / EFFECTIVE[i] ** 2) ** 0.25
    runs = sdt.simulate(process, [radius, 0.0], n_steps=ends * SAVES * every, dt=h / EFFECTIVE[i], n_paths=n,
                        observe=["direction", "loss"], save_every=every, rng=seed)
    return runs.direction.values[:, 1:, 0], runs.loss.values[:, 1:]


def measure(trial):
    """Occupation of the first well on its slow clock, the loss on that of the norm; then unequal wells on that."""
    n, seeds = trial.paths(PATHS), trial.rng.spawn(len(BARRIERS) + 1)
    window = slice(SAVES, 2 * SAVES)
    rates, losses, trial.data["curves"] = [], [], []
    for i, last in enumerate(exact().last.tolist()):
        cosine, loss = simulated(LOSS, i, START, last, n, seeds[i])
        laws = scheme_laws(i, START, last)
        of_scheme = mean_of(np.cos(ANGLES), laws)

        def rate(first, second, span=(last - 1) / TEMPERATURES[i]):
            return np.log(first / second) / span

        rates.append(jackknife(rate, cosine[:, SAVES - 1], cosine[:, -1]).with_bias(
            rate(of_scheme[SAVES - 1], of_scheme[-1]) - exact().gaps[i]))
        losses.append(mean_estimate(loss[:, window].mean(1)).with_bias(
            mean_of(LOSSES, laws[:, window]).mean() - exact().rest[i]))
        trial.data["curves"].append((cosine.mean(0), loss.mean(0) / exact().rest[i]))
    trial.data["rates"] = [float(rate.value) for rate in rates]
    cosine, loss = simulated(UNEQUAL, len(BARRIERS) - 1, 1.0, 2, n, seeds[-1])
    laws = scheme_laws(len(BARRIERS) - 1, 1.0, 2, UNEQUAL)[:, window]
    share = (cosine[:, window] > np.cos(UNEQUAL.tops()[0])).mean(1)
    # Gap over Kramers' rate at Delta L / T = 16; the correction of order T is bounded by halving T.
    warm, cold = (gap(LOSS, temperature) / kramers(temperature) for temperature in (DEPTH / 8, DEPTH / 16))
    halved = sdt.Estimate(cold, 0.0), sdt.Estimate(warm - cold, 0.0)
    return {"mixing rate / eta_e": from_points(rates),
            "slope of ln(eta_e tau)": propagate(lambda *r: slope_of(-np.log(np.array(r))), *rates),
            "gap / Kramers as T -> 0": bias_from_difference(*halved, order=1),
            "mean loss after 1/lambda_e": from_points(losses),
            "unequal wells: share of the first": mean_estimate(share).with_bias(
                mean_of(SHARP, laws).mean() - exact().unequal_share),
            "unequal wells: mean loss": mean_estimate(loss[:, window].mean(1)).with_bias(
                mean_of(UNEQUAL.profile(ANGLES), laws).mean() - exact().unequal_loss)}


def figure(trial, left, right):
    """Both clocks of one run; and the mixing time against the height of the barrier."""
    for i, (cosine, loss) in enumerate(trial.data["curves"]):
        clock = (1 + np.arange(cosine.size)) / SAVES
        if i in (1, 3):
            laws, colour = scheme_laws(i, START, int(exact().last[i])), "C0" if i == 3 else "C1"
            shown = np.unique(np.round(np.geomspace(1, cosine.size, 12)).astype(int)) - 1
            left.plot(clock, mean_of(LOSSES, laws) / exact().rest[i], color=colour, lw=1.2, ls="--")
            left.plot(clock, mean_of(np.cos(ANGLES), laws), color=colour, lw=1.2)
            left.plot(clock[shown], loss[shown], "s", ms=4.5, mfc="none", color=colour)
            left.plot(clock[shown], cosine[shown], "o", ms=5, mfc="none", color=colour, label=LABELS[i])
    left.plot([], [], "s--", color="0.5", ms=4.5, mfc="none", label=r"loss: $\mathbb{E}L$ / rest value")
    left.plot([], [], "o-", color="0.5", ms=5, mfc="none", label=r"occupation: $\mathbb{E}\cos\theta$")
    left.set(xscale="log", ylim=(0, 1.7), xlabel=r"time on the clock of the norm, $\lambda_et$ ($t$ in steps)",
             title="The loss rests long before the wells mix")
    u = np.linspace(BARRIERS[0] - 0.3, BARRIERS[-1] + 0.3, 60)
    right.plot(u, -np.log([gap(LOSS, DEPTH / x) for x in u]), color="0.5", lw=1.3, label="spectral gap")
    right.plot(u, -np.log(kramers(DEPTH / u)), color="0.5", lw=1, ls=":", label="Kramers, slope 1")
    right.plot(BARRIERS, -np.log(trial.data["rates"]), "o", ms=6, mfc="none", color="C2", label="simulated")
    right.set(xlabel=r"$\Delta L/T=2\Delta L/(\eta_es^2)$", ylabel=r"$\ln(\eta_e\tau)$")
    left.legend(fontsize=8, loc="upper left")
    right.legend(fontsize=9)


claim = Claim(
    "ILR-12", "Fast equilibrium against slow mixing", paper="intrinsic_lr", extension=True,
    where="the section on fast equilibrium in function space and slow mixing in weight space",
    statement=r"With equal wells the loss is at its equilibrium after $O(1/\lambda_e)$ steps, while the occupation "
              r"of the wells mixes at the rate $2k(1-\cos\frac{2\pi}m)$, "
              r"$k\sim\eta_e\sqrt{L''_{\min}|L''_{\max}|}\,e^{-\Delta L/T}/(2\pi)$ as $T=\eta_es^2/2\to0$: in a "
              r"time exponential in $1/\eta_e$. With equal depth and unequal curvature it is the shares of the "
              r"wells that stay slow. (The paper has the two clocks; the rates are an extension.)",
    setup=r"Direction and norm of SGD's SDE over two wells on the circle, $\eta=0.1$ and four $\lambda$ "
          r"($\lambda_e=0.02$ to 0.08), from one well and from twice the equilibrium $\gamma$, for up to "
          r"$15/\lambda_e$ steps",
    proof=[*ilr.by_claim("ILR-12"), ilr.equilibrium_effective_lr],
    quantities=QUANTITIES, measure=measure, figure=figure,
    control=r"a rate of $2k$ (what leaves a well, not what two wells exchange); $\tau\propto e^{\Delta L/T}$ "
            r"without the factor $1/\eta_e$; a loss on the clock of the occupation; and shares that are at "
            r"rest with the loss")
