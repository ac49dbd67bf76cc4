r"""CAT-4: how high the loss goes in a catapult, when, and where the curvature lands.

.. math:: \max_t \frac{\eta^2f_t^2}{n} \to P\Bigl(X_0,\ \frac{\ln Y_0}{2\ln(X_0-1)} \bmod 1\Bigr), \qquad
          t_{\text{peak}} = \frac{\ln n + \ln 2(X_0-2)^2 - 2\ln(\eta|f_0|)}{2\ln(X_0-1)} \pm 0.6, \qquad
          \eta\lambda_\infty < 2

as n → ∞: the loss peaks at order n, in a band and not at a number, after a time that grows as ln n. Widths to 10⁸ by
the map of two numbers (CAT-1), 1024 by all weights. As X_0 → 2 from above the peak is (X_0−2)²/2 and ηλ_∞ = 4 − X_0.
Clock: steps.
"""

import numpy as np
import scipy
import sympy

import sdetheory as sdt
from paper_checks.catapult.rounding import read_error
from paper_checks.catapult.starts import OBSERVED, normal_weights
from sdetheory import Between, Claim, Exact, Quantity, Relative
from sdetheory.dynamics.uv_maps import OutputCurvatureMap
from sdetheory.dynamics.uv_weights import UVDescent
from sdetheory.stats import quantile_estimate, step_halving
from sdetheory.stats.estimates import Estimate
from sdetheory.symbolic import Derivation
from sdetheory.theory import catapult

CURVATURE = 2.0
SCALED = np.array([2.5, 3.0, 3.5])  # ηλ_0
LRS, LABELS = SCALED / CURVATURE, [rf"$\eta\lambda_0={x:g}$" for x in SCALED]
# f_0 is standard normal. Slopes in ln n: over four decades of width, the lower ends a factor of two apart tell the
# error of order 1/n. A path's step of the peak is a whole number, so its slope is off by up to 1/5 in the worst case
# (X_0 = 3.5): 40,000 paths bring 5 se of the mean, and of its error in n, to 0.6 %; the median of the widest band has
# 5 se of 1 %.
LOW, HIGH, PATHS = (5_000, 10_000), (50_000_000, 100_000_000), 40_000
STEPS = 80  # a start of |f_0| = 1e-5 at X_0 = 2.5 peaks 28 steps later than one of 1
MEDIAN_WIDTHS = (500_000, 1_000_000)
DELTAS = (0.04, 0.02)  # X_0 − 2, for the limit at the edge: errors of its order
WIDE, NETS = 1024, 64  # all weights

BANDS = np.array([catapult.wide_limit_peak_band(x) for x in SCALED]) / LRS[:, None] ** 2  # f²/n: least, median, greatest
PHASES = catapult.wide_limit_peak(SCALED[:, None], np.arange(4096) / 4096) / LRS[:, None] ** 2


def wide_limit(width, f0):
    """f²/n at the peak as the width goes to infinity, for the phases of ln Y_0 at this width, shape (X_0, path)."""
    return np.stack([catapult.wide_limit_peak(x, np.log(lr**2 * f0**2 / width) / (2 * np.log(x - 1))) / lr**2
                     for x, lr in zip(SCALED, LRS, strict=True)])


def median_of_the_limit():
    """Over standard normal f_0."""
    return np.median(wide_limit(MEDIAN_WIDTHS[1], scipy.special.ndtri((np.arange(20_000) + 0.5) / 20_000)), axis=1)


QUANTITIES = {
    # wrong: one number, the median of the band, whatever the phase
    "peak over its wide limit": Quantity(0.0, 1e-3, points=LABELS,
                                         wrong=np.abs(BANDS[:, 1:2] / PHASES - 1).mean(1)),
    "ends of the band": Quantity(1.0, 0.01, wrong=(BANDS[:, 1] / BANDS[:, ::2].T).ravel(),
                                 bias_source="the phases of 10,000 starts come within 0.001 of the extremes"),
    # wrong: the flow near X = 2 at every X_0, with its height and with its rate
    "median of peak f²/n": Quantity(median_of_the_limit, Relative(0.04), wrong=catapult.peak_near_edge(X=SCALED) / LRS**2,
                                    bias_source="at this width the 1/n of the limit is 1e-5", points=LABELS),
    "peak step in ln n": Quantity(1.0, 0.02, wrong=np.log(SCALED - 1) / (SCALED - 2), points=LABELS),
    "peak in n": Quantity(1.0, 0.02, wrong=0.5, points=LABELS),  # wrong: that of |f|
    "peak step": Quantity(Between(-0.6, 0.6), 0.1, broken=True, bias_source="whole steps are counted"),
    # wrong: lazy to the end
    "final curvature": Quantity(Between(high=2.0), 0.1, wrong=3.99),
    "rise of curvature": Quantity(Between(high=0.0), 1e-6,
                                  no_control="a sign in the recursion of CAT-1, whose control changes its terms"),
    # wrong: the loss grows until Y = X_0 − 2, the curvature as at the start; the fall ends where it becomes stable
    "peak near the edge": Quantity(1.0, 0.05, wrong=2 / DELTAS[1]),
    "fall near the edge": Quantity(1.0, 0.05, wrong=0.5),
}


def two_numbers(width, f0, lrs, steps, every=1):
    start = np.stack([f0, np.full(f0.size, CURVATURE)], axis=1)
    return sdt.simulate(OutputCurvatureMap(width=width, lr=1.0), start, n_steps=steps, save_every=every,
                        n_paths=f0.size, observe=["f", "curvature"], sweep={"lr": lrs}, rng=0)


def peaks(width, f0):
    """f²/n at the peak and its step, shape (X_0, path)."""
    sizes = [np.abs(two_numbers(width, f0, [lr], STEPS).f.values[0]) for lr in LRS]
    return np.stack([s.max(-1) ** 2 / width for s in sizes]), np.stack([s.argmax(-1) for s in sizes])


def late(width, f0, steps, offset=True):
    """Least and greatest difference of the steps of peaks from the formula, one a learning rate."""
    gap = [s - catapult.peak_step(curvature=CURVATURE, f=f0, lr=lr, width=width) for s, lr in zip(steps, LRS, strict=True)]
    gap = np.stack(gap)
    if not offset:
        gap += (np.log(2 * (SCALED - 2) ** 2) / (2 * np.log(SCALED - 1)))[:, None]
    return np.stack([gap.min(-1), gap.max(-1)])


def measure(trial):
    """Two numbers at widths up to 10⁸, all weights at one, and the limit at the edge."""
    of_f, of_weights = trial.rng.spawn(2)
    n = trial.paths(PATHS)
    f0 = np.random.default_rng(of_f).standard_normal(n)
    low, high = ([peaks(width, f0) for width in widths] for widths in (LOW, HIGH))
    middle = [peaks(width, f0)[0] for width in MEDIAN_WIDTHS]
    off = [np.abs(peak / wide_limit(width, f0) - 1).T for width, peak in zip(MEDIAN_WIDTHS, middle, strict=True)]
    decades = np.log(HIGH[0] / LOW[0])
    heights = [np.log(b[0] * wide / (a[0] * narrow)).T / decades
               for a, b, narrow, wide in zip(low, high, LOW, HIGH, strict=True)]
    rates = 2 * np.log(SCALED - 1) / decades
    delays = [(b[1] - a[1]).T * rates for a, b in zip(low, high, strict=True)]
    medians = [quantile_estimate(peak, 0.5) for peak in middle[1]]
    trial.data.update(f0=f0, peaks=middle[1])
    return landing(of_f, of_weights, trial) | {
        "peak over its wide limit": step_halving(off[0], off[1], order=1, coupled=True),
        "median of peak f²/n": Estimate(*(np.array([getattr(m, a) for m in medians]) for a in ("value", "stderr")), n=n),
        "ends of the band": Exact(np.concatenate([middle[1].min(1) / BANDS[:, 0], middle[1].max(1) / BANDS[:, 2]]), 0.003),
        "peak in n": step_halving(heights[0], heights[1], order=1, coupled=True),
        "peak step": Exact(np.concatenate([late(LOW[1], f0, low[1][1]), late(HIGH[1], f0, high[1][1])]), 0.0),
        "peak step in ln n": step_halving(delays[0], delays[1], order=1, coupled=True)}


def landing(of_f, of_weights, trial):
    """Where the curvature lands, over the whole phase and for all weights; the limit at the edge."""
    f0 = np.random.default_rng(of_f.spawn(1)[0]).standard_normal(200)
    lrs = np.linspace(2.01, 3.99, 100) / CURVATURE
    ends = lrs[:, None] * two_numbers(10_000, f0, lrs, 3000, None).curvature.values[..., -1]
    runs = sdt.simulate(UVDescent(width=WIDE, lr=1.0), normal_weights(WIDE, NETS, of_weights, CURVATURE), n_steps=STEPS,
                        save_every=1, n_paths=NETS, observe=OBSERVED, sweep={"lr": LRS}, rng=0)
    trial.data["weights"] = runs.f.values
    curvature = runs.curvature.values
    found = {"peak near the edge": [], "fall near the edge": []}
    for delta in DELTAS:
        x, lr = 2 + delta, (2 + delta) / CURVATURE
        pulse = two_numbers(100_000_000, f0, [lr], 3000)
        found["peak near the edge"].append(lr**2 * (pulse.f.values[0] ** 2).max(-1) / 1e8 / catapult.peak_near_edge(X=x))
        found["fall near the edge"].append((x - lr * pulse.curvature.values[0, :, -1]) / (x - catapult.final_near_edge(X=x)))
    at_the_edge = {name: step_halving(*pair, order=1, coupled=True) for name, pair in found.items()}
    return at_the_edge | {
        "final curvature": Exact(np.array([ends.max(), (LRS[:, None] * curvature[..., -1]).max()]), 1e-9),
        "rise of curvature": Exact(np.diff(curvature, axis=-1).max(), read_error(CURVATURE, WIDE)[1])}


def broken(trial):
    """The step of the peak without what is added to ln n."""
    f0 = np.random.default_rng(trial.rng.spawn(2)[0]).standard_normal(trial.paths(PATHS))
    return {"peak step": Exact(late(LOW[1], f0, peaks(LOW[1], f0)[1], offset=False), 0.0)}


def proof():
    """The pulse near the edge with its early rate; λ' ≤ λ below ηλ = 4 from CAT-1; where the curvature lands."""
    formulas = (*catapult.by_claim("CAT-4"), catapult.curvature_step, catapult.first_growth, catapult.lazy_factor)
    whole = Derivation("The catapult in numbers").including(*(f.derivation for f in formulas)).step(
        r"While $Y$ is small it is multiplied by $(X_0-1)^2$ a step, so starts whose $\ln Y_0$ differ by a multiple of "
        r"$2\ln(X_0-1)$ have the same orbit, some steps apart: the peak depends on $X_0$ and on that phase alone.")
    delta, y = sympy.symbols("delta Y", positive=True)
    x = catapult.scaled_curvature_step(X=2 + delta, Y=y)
    at_least = x.subs(y, delta)
    whole.step(r"$X_\infty<2$ where no $Y_t$ is exactly 0 (almost every start, CAT-3). If $X_\infty>2$, $Y$ would grow "
               r"again in the end and not go to 0 (CAT-3: $\sum Y<\infty$). If $X_t=2+\delta_t\downarrow2$, $Y$ cannot grow "
               r"for ever, so $Y\ge\delta$ at some step with $\delta<1$; but then $X'$, which falls with $Y$, is at most",
               sympy.factor(at_least))
    whole.residual("it falls with Y", sympy.diff(x, y) + (2 - delta))
    return whole.residual("it is below 2", at_least - 2 + delta * (1 - delta))


def figure(trial, left, right):
    """Left: the loss of all weights; right: the band of the peak, against the phase of the start."""
    dense = np.linspace(0, 1, 1000)
    for i, (x, colour) in enumerate(zip(SCALED, ("C2", "C1", "C3"), strict=True)):
        for j, f in enumerate(trial.data["weights"][i, :5, :31]):
            left.semilogy(f**2 / 2 / WIDE, color=colour, lw=0.7, alpha=0.7, label=LABELS[i] if j == 0 else None)
        left.axhspan(BANDS[i, 0] / 2, BANDS[i, 2] / 2, color=colour, alpha=0.3, lw=0)
        phase = np.mod(np.log(LRS[i] ** 2 * trial.data["f0"][:60] ** 2 / MEDIAN_WIDTHS[1]) / (2 * np.log(x - 1)), 1)
        right.plot(dense, catapult.wide_limit_peak(x, dense) / LRS[i] ** 2, color="0.5", lw=1,
                   label=r"limit $n\to\infty$" if i == 0 else None)
        right.plot(phase, trial.data["peaks"][i, :60], "o", ms=3.5, mfc="none", color=colour)
    left.set(xlabel=r"step $k$", ylabel=rf"loss over width, $f_k^2/(2n)$, $n={WIDE}$", ylim=(1e-7, 20),
             title="All weights: the peak is in a band")
    right.set(xlabel=r"phase $\ln Y_0/(2\ln(\eta\lambda_0-1))$ mod 1", ylabel=r"$f^2/n$ at the peak, $n=10^6$",
              ylim=(0, 0.8), title="The phase says where in the band")
    left.legend(ncols=3, loc="upper center")
    right.legend(loc="upper right")


claim = Claim(
    "CAT-4", "The catapult in numbers", paper="catapult",
    where="the warm-up model: the catapult phase, where the loss reaches order $n$ before it falls",
    statement=r"In the catapult phase the loss peaks at order $n$: as $n\to\infty$, $\eta^2f^2/n$ at the peak depends on "
              r"$X_0=\eta\lambda_0$ and on the phase of $\ln Y_0$ modulo $2\ln(X_0-1)$ alone. The peak comes at the step "
              r"$[\ln n+\ln2(X_0-2)^2-2\ln(\eta|f_0|)]/(2\ln(X_0-1))$, to 0.6 steps for $2.5\le X_0\le3.5$. $\lambda$ "
              r"never rises, and for almost every start $\eta\lambda_\infty<2$; as $X_0\to2$ from above the peak is "
              r"$(X_0-2)^2/2$ and $\eta\lambda_\infty=4-X_0$.",
    setup=r"The map of $(f,\lambda)$ from $\lambda_0=2$ and standard normal $f_0$ at $\eta\lambda_0$ of 2.5, 3 and 3.5 "
          r"and widths from 5000 to $10^8$; gradient descent on all weights at width 1024",
    proof=proof, quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"the peak is one number, the median of its band; it is that of the flow near $X_0=2$, of height "
            r"$(X_0-2)^2/2$ and rate $X_0-2$; the loss grows as $\sqrt n$, as the output does; its step is $\ln n$ over "
            r"$2\ln(X_0-1)$ without the offset; the curvature ends as it began or, near $X_0=2$, where it is stable")
