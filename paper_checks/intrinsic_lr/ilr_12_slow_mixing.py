r"""ILR-12: wells keep the past for a time exponential in 1/η_e, while the loss is at its equilibrium in O(1/λ_e) steps.

.. math:: d\theta = -\eta_e L'(\theta)\,dt + \eta_e s\,dB, \qquad T = \tfrac12\eta_es^2, \qquad
          \frac1\tau = 2k\Bigl(1-\cos\frac{2\pi}{m}\Bigr), \quad
          k \sim \frac{\eta_e\sqrt{L''_{\min}|L''_{\max}|}}{2\pi}\,e^{-\Delta L/T}

on the circle, for m equal wells: ln(η_e τ) grows with slope 1 in ΔL/T. Two wells at η_e = (2λ_e/σ²)^{1/2}, the rest value
of ILR-4, so that all is a function of λ_e. Kramers' rate is a leading order in T: the measured rates are held against the
spectral gap of the Fokker–Planck operator, and the gap against Kramers as T → 0. A geodesic step on the circle is
θ − hL' + (2Th)^{1/2}z exactly, so the law of the scheme is known too, and with it the discretisation error. Two wells of
equal depth and unequal curvature have one law of the loss to leading order: what stays slow is the share of each. Clock:
steps; flow time η_e t in the functions below.
"""

import numpy as np

import sdetheory as sdt
from sdetheory import Claim, Quantity, Relative
from sdetheory.stats import bias_from_difference, from_points, jackknife, mean_estimate, propagate
from sdetheory.theory import intrinsic_lr as ilr

WELLS, DEPTH, SCALE = 2, 0.5, 1.0  # curvature 1 at wells and tops, so the flow time 1 relaxes a well
LOSS = sdt.losses.MultiWell(WELLS, DEPTH, noise=sdt.noises.Tangent(SCALE))
ASYMMETRY = 0.5
UNEQUAL = sdt.losses.MultiWell(WELLS, DEPTH, ASYMMETRY, noise=sdt.noises.Tangent(SCALE))
BARRIERS = np.array([2.5, 3.5, 4.25, 5.0])  # Delta L / T
RATES_STEP, LOSS_STEP = 0.1, 0.05  # of the flow time

# The occupation is read from E cos theta at the flow times 6 (wells at rest up to exp(-6)) and some 0.6 mixing times later,
# at a multiple of 6. A two-state chain then gives the rate to 2.5/sqrt(n), 1.7 % for 22 000 paths: z·se = 8 % (17 % in quick
# mode), and 0.54 of that for the slope of four points.
PATHS = 22_000
FIRST = 6.0
# The loss is a mean over 1/lambda_e … 2/lambda_e, that is over the flow times u/D … 2u/D with some 10 independent values a
# path, each with relative spread 1.4: z·se = 2.5 %; steps of 0.05 make a bias of 2.5 %.
LOSS_PATHS = 12_000
SAVES = 12  # in that window

MODES = 48  # waves beyond are damped by exp(-k^2 T h) < 1e-9 in a step
WAVES = np.arange(-MODES, MODES + 1)
ANGLES = 2 * np.pi * np.arange(256) / 256


def generator(barrier, loss=LOSS):
    """Matrix of d/dtau E exp(-ik theta) in flow time, rows and columns k = -MODES … MODES."""
    slope = np.fft.fft(loss.profile(ANGLES, 1)) / ANGLES.size
    return 1j * WAVES[:, None] * slope[(WAVES[:, None] - WAVES) % ANGLES.size] - DEPTH / barrier * np.diag(WAVES**2)


def one_step(barrier, h, loss=LOSS):
    """Matrix of a step of the scheme: E exp(-ik(theta - h L' + (2Th)^(1/2) z)), expanded in exp(-ij theta)."""
    turned = np.exp(1j * WAVES[:, None] * h * loss.profile(ANGLES, 1))
    coefficients = np.fft.fft(turned, axis=1) / ANGLES.size
    moved = np.take_along_axis(coefficients, (WAVES[:, None] - WAVES) % ANGLES.size, axis=1)
    return np.exp(-DEPTH / barrier * h * WAVES[:, None] ** 2) * moved


def gap(barrier, h=None):
    """The slowest rate at Delta L / T in flow time, of the SDE or of the scheme with step h."""
    if h is None:
        return float(np.sort(-np.linalg.eigvals(generator(barrier)).real)[1])
    return float(-np.log(np.sort(np.abs(np.linalg.eigvals(one_step(barrier, h))))[-2]) / h)


def expectation(values, barrier, time, loss=LOSS, h=None):
    """E f(theta) at flow times from theta = 0, for the SDE or the scheme; `values` are the f at ANGLES."""
    if h is None:
        rates, vectors = np.linalg.eig(generator(barrier, loss))
        factors = np.exp(rates[:, None] * time)
    else:
        multipliers, vectors = np.linalg.eig(one_step(barrier, h, loss))
        factors = multipliers[:, None] ** np.round(time / h)
    start = np.linalg.solve(vectors, np.ones(WAVES.size))
    return ((np.fft.fft(values) / ANGLES.size)[-WAVES % ANGLES.size] @ vectors @ (start[:, None] * factors)).real


def at_rest(values, barrier, loss=LOSS):
    """E f under exp(-L/T) (the rule of equal weights converges faster than any power on a circle)."""
    weights = np.exp(-loss.profile(ANGLES) * barrier / DEPTH)
    return float(values @ weights / weights.sum())


SHARP = np.abs((ANGLES + np.pi) % (2 * np.pi) - np.pi) < UNEQUAL.tops()[0]  # the arc of the sharper well, at theta = 0
DEEPEST = BARRIERS[-1]
GAPS = np.array([gap(b) for b in BARRIERS])
# flow time of the second reading
SECOND = FIRST * (1 + np.ceil(0.6 / GAPS / FIRST))


def window(barrier):
    """The flow times between 1/lambda_e and 2/lambda_e steps, where eta_e t = eta_e/lambda_e = 1/T at sigma^2 = s^2."""
    return barrier / DEPTH * (1 + (1 + np.arange(SAVES)) / SAVES)


def slope_of(log_times):
    """Slope of a least-squares line over BARRIERS."""
    centred = BARRIERS - BARRIERS.mean()
    return float(centred @ log_times / (centred @ centred))


def kramers(barrier):
    """The leading order of the slowest rate, in flow time."""
    effective = 2 * DEPTH / (barrier * SCALE**2)
    return ilr.slowest_rate(effective_lr=effective, noise_scale=SCALE, barrier=DEPTH, min_curvature=1.0, max_curvature=1.0,
                            n_wells=WELLS) / effective


def prefactor_in_the_limit():
    """Gap over Kramers' rate at Delta L / T = 16; the correction of order T is bounded by halving T."""
    warm, cold = (gap(b) / kramers(np.array(b)) for b in (8.0, 16.0))
    return bias_from_difference(sdt.Estimate(cold, 0.0), sdt.Estimate(warm - cold, 0.0), order=1)


def unequal(values, h=None):
    """Mean over the window of E f in the unequal wells, started in the sharper one."""
    return float(expectation(values, DEEPEST, window(DEEPEST), UNEQUAL, h).mean())


REST = np.array([at_rest(LOSS.profile(ANGLES), b) for b in BARRIERS])
MIXED = -np.expm1(-GAPS * BARRIERS / DEPTH)  # how far the occupation has come at 1/lambda_e
LABELS = tuple(rf"$\Delta L/T={b:g}$" for b in BARRIERS)
SCHEME = "the law of the scheme, exactly"

QUANTITIES = {
    "mixing rate / eta_e": Quantity(GAPS, Relative(0.24), wrong=GAPS / 2, points=LABELS, bias_source=SCHEME),
    "slope of ln(eta_e tau)": Quantity(slope_of(-np.log(GAPS)), 0.13, wrong=slope_of(-np.log(GAPS * BARRIERS)),
                                       bias_source=SCHEME),
    "gap / Kramers as T -> 0": Quantity(1.0, 0.05, wrong=0.5, bias_source="halving $T$"),
    "mean loss after 1/lambda_e": Quantity(REST, Relative(0.12), wrong=REST * MIXED, points=LABELS, bias_source=SCHEME),
    "unequal wells: share of the first": Quantity(
        unequal(SHARP.astype(float)), 0.05, bias_source=SCHEME,
        wrong=ilr.well_share(min_curvature=UNEQUAL.curvatures[0], other_curvature=UNEQUAL.curvatures[1])),
    "unequal wells: mean loss": Quantity(unequal(UNEQUAL.profile(ANGLES)), Relative(0.12),
                                         wrong=unequal(UNEQUAL.profile(ANGLES)) * MIXED[-1], bias_source=SCHEME),
}


def step_of(barrier):
    """The flow-time step that LOSS_STEP becomes so that the window's times are whole numbers of steps."""
    width = barrier / DEPTH / SAVES
    return width / round(width / LOSS_STEP)


def runs_of(loss, effective, end, h, saves, n, seed):
    """An ensemble from theta = 0 to the flow time `end`, in steps h of flow time."""
    steps = round(end / h)
    return sdt.simulate(sdt.dynamics.SphereDiffusion(loss, effective_lr=effective), [1.0, 0.0], n_steps=steps,
                        dt=h / effective, n_paths=n, observe=["direction", "loss"], save_every=steps // saves, rng=seed)


def measure(trial):
    """Occupation of the first well on its slow clock; the loss on the clock of the norm; unequal wells on the latter."""
    n = trial.paths(PATHS)
    seeds = iter(trial.rng.spawn(2 * len(BARRIERS) + 1))
    rates, losses, trial.data["slow"], trial.data["fast"] = [], [], [], []
    for barrier, exact, second in zip(BARRIERS, GAPS, SECOND, strict=True):
        effective = 2 * DEPTH / (barrier * SCALE**2)
        runs = runs_of(LOSS, effective, second, RATES_STEP, round(second / FIRST), n, next(seeds))
        cosine = runs.direction.values[:, :, 0]
        rate = jackknife(lambda a, b, span=second - FIRST: np.log(a / b) / span, cosine[:, 1], cosine[:, -1])
        rates.append(rate.with_bias(gap(barrier, RATES_STEP) - exact))
        trial.data["slow"].append((runs.time.values * effective, cosine.mean(0)))

    n = trial.paths(LOSS_PATHS)
    values = LOSS.profile(ANGLES)
    for barrier in BARRIERS:
        effective, h = 2 * DEPTH / (barrier * SCALE**2), step_of(barrier)
        runs = runs_of(LOSS, effective, 2 * barrier / DEPTH, h, 2 * SAVES, n, next(seeds))
        scheme = expectation(values, barrier, window(barrier), h=h).mean()
        losses.append(mean_estimate(runs.loss.values[:, -SAVES:].mean(1)).with_bias(scheme - at_rest(values, barrier)))
        trial.data["fast"].append((runs.time.values * effective, runs.loss.values.mean(0)))
    effective, h = 2 * DEPTH / (DEEPEST * SCALE**2), step_of(DEEPEST)
    runs = runs_of(UNEQUAL, effective, 2 * DEEPEST / DEPTH, h, 2 * SAVES, n, next(seeds))
    in_first = (runs.direction.values[:, -SAVES:, 0] > np.cos(UNEQUAL.tops()[0])).mean(1)
    found = {"share of the first": (in_first, SHARP.astype(float)),
             "mean loss": (runs.loss.values[:, -SAVES:].mean(1), UNEQUAL.profile(ANGLES))}
    return {"mixing rate / eta_e": from_points(rates),
            "slope of ln(eta_e tau)": propagate(lambda *r: slope_of(-np.log(np.array(r))), *rates),
            "gap / Kramers as T -> 0": prefactor_in_the_limit(),
            "mean loss after 1/lambda_e": from_points(losses),
            **{f"unequal wells: {name}": mean_estimate(samples).with_bias(unequal(f, h) - unequal(f))
               for name, (samples, f) in found.items()}}


def figure(trial, left, right):
    """Both clocks of one run; and the mixing time against the height of the barrier."""
    for i, colour in ((1, "C1"), (3, "C0")):
        barrier = BARRIERS[i]
        (slow, cosine), (fast, loss) = trial.data["slow"][i], trial.data["fast"][i]
        unit = DEPTH / barrier  # lambda_e t is the flow time times T
        time = np.geomspace(0.1, 3 / GAPS[-1], 200)
        left.plot(time * unit, expectation(LOSS.profile(ANGLES), barrier, time) / REST[i], color=colour, lw=1.2, ls="--")
        left.plot(time * unit, expectation(np.cos(ANGLES), barrier, time), color=colour, lw=1.2)
        shown = np.unique(np.round(np.geomspace(1, len(slow) - 1, 6)).astype(int))
        left.plot(fast[1::3] * unit, loss[1::3] / REST[i], "s", ms=4.5, mfc="none", color=colour)
        left.plot(slow[shown] * unit, cosine[shown], "o", ms=5, mfc="none", color=colour, label=LABELS[i])
    left.plot([], [], "s--", color="0.5", ms=4.5, mfc="none", label=r"loss: $\mathbb{E}L$ / rest value")
    left.plot([], [], "o-", color="0.5", ms=5, mfc="none", label=r"occupation: $\mathbb{E}\cos\theta$")
    left.set(xscale="log", ylim=(0, 1.6), xlabel=r"time on the clock of the norm, $\lambda_et$ ($t$ in steps)",
             title="The loss is at rest long before the wells are mixed")
    u = np.linspace(BARRIERS[0] - 0.3, BARRIERS[-1] + 0.3, 60)
    right.plot(u, -np.log([gap(b) for b in u]), color="0.5", lw=1.3, label="spectral gap")
    right.plot(u, -np.log(kramers(u)), color="0.5", lw=1, ls=":", label="Kramers, slope 1")
    times = [-np.log(cosine[-1] / cosine[1]) / (time[-1] - time[1]) for time, cosine in trial.data["slow"]]
    right.plot(BARRIERS, -np.log(times), "o", ms=6, mfc="none", color="C2", label="simulated")
    right.set(xlabel=r"$\Delta L/T=2\Delta L/(\eta_es^2)$", ylabel=r"$\ln(\eta_e\tau)$")
    left.legend(fontsize=8, ncol=2, loc="upper left")
    right.legend(fontsize=9)


claim = Claim(
    "ILR-12", "Fast equilibrium against slow mixing", paper="intrinsic_lr", extension=True,
    where="the section on fast equilibrium in function space and slow mixing in weight space",
    statement=r"With equal wells the loss is at its equilibrium after $O(1/\lambda_e)$ steps, while the occupation of the "
              r"wells mixes at the rate $2k(1-\cos\frac{2\pi}m)$, $k\sim\eta_e\sqrt{L''_{\min}|L''_{\max}|}\,"
              r"e^{-\Delta L/T}/(2\pi)$ with $T=\eta_es^2/2$: in a time exponential in $1/\eta_e$. With equal depth and "
              r"unequal curvature it is the shares of the wells that stay slow.",
    setup=r"The diffusion on the circle over two wells at four $\eta_e$, from one of them",
    proof=[*ilr.by_claim("ILR-12"), ilr.equilibrium_effective_lr], quantities=QUANTITIES, measure=measure, figure=figure,
    control=r"a rate of $2k$ (what leaves a well, not what two wells exchange); $\tau\propto e^{\Delta L/T}$ "
            r"without the factor $1/\eta_e$; a loss on the clock of the occupation; and shares that are at "
            r"rest with the loss")
