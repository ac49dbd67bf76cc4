r"""CAT-4: how high the loss goes in a catapult, when, and where the curvature lands.

.. math:: \max_t \frac{\eta^2f_t^2}{n} \to P\Bigl(X_0,\ \frac{\ln Y_0}{2\ln(X_0-1)} \bmod 1\Bigr), \qquad
          t_{\text{peak}} = \frac{\ln n + \ln 2(X_0-2)^2 - 2\ln(\eta|f_0|)}{2\ln(X_0-1)} \pm 0.6, \qquad \eta\lambda_\infty < 2

as n → ∞: the loss peaks at order n, in a band and not at a number, after a time that grows as ln n. Widths to 10⁸ by the map of
two numbers (CAT-1), 1024 by all weights. As X_0 → 2 from above the peak is (X_0−2)²/2 and ηλ_∞ = 4 − X_0. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from sdetheory.evidence import Between, Exact

import sdetheory as sdt
from paper_checks.catapult.rounding import read_error
from paper_checks.catapult.starts import OBSERVED, normal_weights
from sdetheory.claims import Claim, Control, Relative, Resolution, Run
from sdetheory.dynamics.uv_maps import OutputCurvatureMap
from sdetheory.dynamics.uv_weights import UVDescent
from sdetheory.stats import quantile_estimate, step_halving
from sdetheory.stats.estimates import Estimate
from sdetheory.symbolic import Derivation
from sdetheory.theory import catapult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVATURE = 2.0
SCALED = (2.5, 3.0, 3.5)  # ηλ_0
LRS = np.array(SCALED) / CURVATURE
# f_0 is standard normal. Slopes in ln n: over four decades of width, the lower ends a factor of two apart tell the error of
# order 1/n. A path's step of the peak is a whole number, so its slope is off by up to 1/5 in the worst case (X_0 = 3.5):
# 40,000 paths bring 5 se of the mean, and of its error in n, to 0.6 %; the median of the widest band has 5 se of 1 %.
LOW, HIGH, PATHS = (5_000, 10_000), (50_000_000, 100_000_000), 40_000
STEPS = 80  # a start of |f_0| = 1e-5 at X_0 = 2.5 peaks 28 steps later than one of 1
MEDIAN_WIDTH = 1_000_000
NEAR = (0.04, 0.02)  # X_0 − 2, for the limit at the edge: errors of its order
WIDE, NETS = 1024, 64  # all weights


def _two_numbers(width: int, f0: np.ndarray, lrs: Any, steps: int, every: int | None = 1) -> Any:
    start = np.stack([f0, np.full(f0.size, CURVATURE)], axis=1)
    return sdt.simulate(OutputCurvatureMap(width=width, lr=1.0), start, n_steps=steps, save_every=every, n_paths=f0.size,
                        observe=["f", "curvature"], sweep={"lr": lrs}, rng=0)


def _peaks(width: int, f0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f²/n at the peak and its step, shape (X_0, path)."""
    sizes = [np.abs(_two_numbers(width, f0, [lr], STEPS).f.values[0]) for lr in LRS]
    return np.stack([s.max(-1) ** 2 / width for s in sizes]), np.stack([s.argmax(-1) for s in sizes])


def _wide_limit(width: int, f0: np.ndarray) -> np.ndarray:
    """f²/n at the peak as the width goes to infinity, for the phases that ln Y_0 has at this width, shape (X_0, path)."""
    return np.stack([catapult.wide_limit_peak(x, np.log(lr**2 * f0**2 / width) / (2 * np.log(x - 1))) / lr**2
                     for x, lr in zip(SCALED, LRS, strict=True)])


def _bands() -> np.ndarray:
    return np.array([catapult.wide_limit_peak_band(x) for x in SCALED]) / LRS[:, None] ** 2


def prediction() -> dict[str, Any]:
    """Ratios to theory are 1; the median is that of the wide limit over standard normal f_0."""
    normal = scipy.special.ndtri((np.arange(20_000) + 0.5) / 20_000)
    return {"peak over its wide limit": 0.0, "median of peak f²/n": np.median(_wide_limit(MEDIAN_WIDTH, normal), axis=1),
            "ends of the band": 1.0, "peak in n": 1.0, "peak step": Between(-0.6, 0.6), "peak step in ln n": 1.0,
            "final curvature": Between(high=2.0), "rise of curvature": Between(high=0.0),
            "peak near the edge": 1.0, "fall near the edge": 1.0}


def near_edge_everywhere() -> dict[str, Any]:
    """The control: the pulse of X_0 → 2 at every X_0, with its height (X_0−2)²/2 and its rate X_0 − 2."""
    x = np.array(SCALED)
    return {"median of peak f²/n": catapult.peak_near_edge(X=x) / LRS**2, "peak step in ln n": np.log(x - 1) / (x - 2)}


def simulation(run: Run) -> dict[str, Any]:
    """Two numbers at five widths, all weights at one, and the limit at the edge."""
    of_f, of_weights = run.rng.spawn(2)
    n = run.paths(PATHS)
    f0 = np.random.default_rng(of_f).standard_normal(n)
    low, high = [_peaks(width, f0) for width in LOW], [_peaks(width, f0) for width in HIGH]
    middle = [_peaks(width, f0)[0] for width in (MEDIAN_WIDTH // 2, MEDIAN_WIDTH)]
    limits = [_wide_limit(width, f0) for width in (MEDIAN_WIDTH // 2, MEDIAN_WIDTH)]
    run.data.update(f0=f0, peaks=middle[1], limits=limits[1])
    off = [np.abs(peak / limit - 1).T for peak, limit in zip(middle, limits, strict=True)]
    decades = np.log(HIGH[0] / LOW[0])
    heights = [np.log(b[0] * wide / (a[0] * narrow)).T / decades
               for a, b, narrow, wide in zip(low, high, LOW, HIGH, strict=True)]
    rates = 2 * np.log(np.array(SCALED) - 1) / decades
    delays = [(b[1] - a[1]).T * rates for a, b in zip(low, high, strict=True)]
    steps = np.stack([catapult.peak_step(curvature=CURVATURE, f=f0, lr=lr, width=LOW[1]) for lr in LRS])
    wide_steps = np.stack([catapult.peak_step(curvature=CURVATURE, f=f0, lr=lr, width=HIGH[1]) for lr in LRS])
    gaps = np.stack([low[1][1] - steps, high[1][1] - wide_steps])
    medians = [quantile_estimate(peak, 0.5) for peak in middle[1]]
    bands = _bands()
    # near its extremes the peak is flat in the phase, or has a kink: with 10,000 phases a path is as near as 0.001 of it
    ends = np.stack([middle[1].min(1) / bands[:, 0], middle[1].max(1) / bands[:, 2]])
    return {"peak over its wide limit": step_halving(off[0], off[1], order=1, coupled=True),
            "median of peak f²/n": Estimate(np.array([m.value for m in medians]), np.array([m.stderr for m in medians]), n=n),
            "ends of the band": Exact(ends, 0.003),
            "peak in n": step_halving(heights[0], heights[1], order=1, coupled=True),
            "peak step": Exact(np.stack([gaps.min(-1), gaps.max(-1)]).ravel(), 0.0),
            "peak step in ln n": step_halving(delays[0], delays[1], order=1, coupled=True)} | _landing(of_f, of_weights, run)


def _landing(of_f: np.random.SeedSequence, of_weights: np.random.SeedSequence, run: Run) -> dict[str, Any]:
    """Where the curvature lands, over the whole phase and for all weights; the limit at the edge."""
    f0 = np.random.default_rng(of_f.spawn(1)[0]).standard_normal(200)
    lrs = np.linspace(2.01, 3.99, 100) / CURVATURE
    ends = lrs[:, None] * _two_numbers(10_000, f0, lrs, 3000, None).curvature.values[..., -1]
    runs = sdt.simulate(UVDescent(width=WIDE, lr=1.0), normal_weights(WIDE, NETS, of_weights, CURVATURE), n_steps=STEPS,
                        save_every=1, n_paths=NETS, observe=OBSERVED, sweep={"lr": LRS}, rng=0)
    run.data["weights"] = runs
    curvature = runs.curvature.values
    of_all = LRS[:, None] * curvature[..., -1]
    near = [_two_numbers(100_000_000, f0, [(2 + delta) / CURVATURE], 3000) for delta in NEAR]
    found: dict[str, list[np.ndarray]] = {"peak near the edge": [], "fall near the edge": []}
    for delta, pulse in zip(NEAR, near, strict=True):
        lr = (2 + delta) / CURVATURE
        found["peak near the edge"].append(lr**2 * (pulse.f.values[0] ** 2).max(-1) / 1e8
                                           / catapult.peak_near_edge(X=2 + delta))
        fall = (2 + delta - lr * pulse.curvature.values[0, :, -1]) / (2 + delta - catapult.final_near_edge(X=2 + delta))
        found["fall near the edge"].append(fall)
    at_the_edge = {name: step_halving(coarse, fine, order=1, coupled=True) for name, (coarse, fine) in found.items()}
    return at_the_edge | {"final curvature": Exact(np.array([ends.max(), of_all.max()]), 1e-9),
                          "rise of curvature": Exact(np.diff(curvature, axis=-1).max(), read_error(CURVATURE, WIDE)[1])}


def derivation() -> Derivation:
    """The pulse near the edge with its early rate; λ' ≤ λ below ηλ = 4 from CAT-1; the loss below 2 from CAT-3."""
    whole = Derivation("The catapult in numbers")
    for formula in (*catapult.by_claim("CAT-4"), catapult.curvature_step, catapult.first_growth, catapult.lazy_factor):
        whole.including(formula.derivation)
    return whole.step(
        r"While $Y$ is small it is multiplied by $(X_0-1)^2$ a step, so starts whose $\ln Y_0$ differ by a multiple of "
        r"$2\ln(X_0-1)$ have the same orbit, some steps apart: the peak depends on $X_0$ and on that phase alone. If "
        r"$X_\infty>2$, $Y$ would grow again and not go to 0 (CAT-3: $\sum Y<\infty$); $X_\infty=2$ has probability 0.")


def figure(run: Run) -> Figure:
    """Left: the loss of all weights; right: the band of the peak, against the phase of the start."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.2, 3.8), layout="constrained")
    left, right = fig.subplots(1, 2)
    f0, runs = run.data["f0"], run.data["weights"]
    for i, (x, colour) in enumerate(zip(SCALED, ("tab:green", "tab:orange", "tab:red"), strict=True)):
        for j in range(5):
            f = runs.f.values[i, j]
            left.semilogy(f[:31] ** 2 / 2 / WIDE, color=colour, lw=0.7, alpha=0.7,
                          label=rf"$\eta\lambda_0={x:g}$" if j == 0 else None)
        low, _, high = _bands()[i]
        left.axhspan(low / 2, high / 2, color=colour, alpha=0.3, lw=0)
        phase = np.mod(np.log(LRS[i] ** 2 * f0**2 / MEDIAN_WIDTH) / (2 * np.log(x - 1)), 1)
        dense = np.linspace(0, 1, 1000)
        right.plot(dense, catapult.wide_limit_peak(x, dense) / LRS[i] ** 2, color="0.35", lw=1,
                   label=r"limit $n\to\infty$" if i == 0 else None)
        right.plot(phase[:60], run.data["peaks"][i, :60], "o", ms=3.5, mfc="none", color=colour)
    left.set(xlabel=r"step $k$", ylabel=rf"loss over width, $f_k^2/(2n)$, $n={WIDE}$", ylim=(1e-7, 20))
    left.set_title("All weights: the peak is in a band", fontsize=11)
    right.set(xlabel=r"phase $\ln Y_0/(2\ln(\eta\lambda_0-1))$ mod 1", ylabel=r"$f^2/n$ at the peak, $n=10^6$",
              ylim=(0, 0.8))
    right.set_title("The phase says where in the band", fontsize=11)
    left.legend(frameon=False, fontsize=8, ncols=3, loc="upper center")
    right.legend(frameon=False, fontsize=8, loc="upper right")
    return fig


claim = Claim(
    "CAT-4",
    title="The catapult in numbers",
    paper="catapult",
    statement=r"In the catapult phase the loss peaks at order $n$: as $n\to\infty$, $\eta^2f^2/n$ at the peak depends on "
              r"$X_0=\eta\lambda_0$ and on the phase of $\ln Y_0$ modulo $2\ln(X_0-1)$ alone. The peak comes at the step "
              r"$[\ln n+\ln2(X_0-2)^2-2\ln(\eta|f_0|)]/(2\ln(X_0-1))$, to 0.6 steps for $2.5\le X_0\le3.5$. $\lambda$ never "
              r"rises, and $\eta\lambda_\infty<2$; as $X_0\to2$ from above the peak is $(X_0-2)^2/2$ and "
              r"$\eta\lambda_\infty=4-X_0$.",
    derivation=derivation,
    prediction=prediction,
    simulation=simulation,
    resolution={"peak over its wide limit": Resolution(1e-3, points=3),
                "median of peak f²/n": Resolution(Relative(0.04), points=3),
                "ends of the band": 0.01, "peak in n": Resolution(0.02, points=3), "peak step": 0.1,
                "peak step in ln n": Resolution(0.02, points=3), "final curvature": 0.1, "rise of curvature": 1e-6,
                "peak near the edge": 0.05, "fall near the edge": 0.05},
    negative_control=Control(r"the pulse of $X_0\to2$ at every $X_0$: height $(X_0-2)^2/2$, growth at the rate $X_0-2$",
                             prediction=near_edge_everywhere),
    figure=figure,
)
