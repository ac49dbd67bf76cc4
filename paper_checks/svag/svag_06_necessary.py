r"""SVAG-6: SGD is like its SDE only where the noise is strong.

.. math:: \frac rn\Bigl(1-\frac{\eta\lambda}2\Bigr) = 1 + \frac GN, \quad r = \frac{R}{R_{SDE}},\; n = \frac N{N_{SDE}}
          \qquad\Rightarrow\qquad 1 + \frac GN \le C^2\Bigl(1-\frac{\eta\lambda}2\Bigr) \quad\text{if } r, n\in[1/C, C]

at rest, G and N of SGD. Both are measured: the identity, and what is left of the inequality at the smallest C that R and N
allow (a C for G as well is no smaller, so the statement follows). On this loss r n ≈ 1: there is little to spare. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sdetheory.evidence import Between

from sdetheory.claims import Claim, Control, Resolution, Run
from sdetheory.stats import Estimate, bias_from_difference, from_points, jackknife
from sdetheory.symbolic import Derivation
from sdetheory.theory import svag
from sdetheory.theory.formula import joint_derivation

from .at_rest import LR, Rest, at_rest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CASES = ((2.0, 0.2), (2.5, 0.2), (3.0, 0.1))  # (curvature, weight decay)
SIGNAL = (0.6, 0.8, 0.7)  # G/N in each
# The identity takes R/N of both and G/N of SGD, together 13 % a path: 6000 paths leave 0.9 %, twice that in quick mode. The SDE's
# steps leave 0.9 % in R and in N each, bounded by 1.25 times that, of which 0.5 % is noise. The inequality is a difference of
# numbers near 1.8 with the same relative errors.
PATHS, DT = 6000, 1 / 32
RHO_IDENTITY, RHO_SLACK = 0.05, 0.1


def identity(decay: float, means: Any) -> Any:
    """(r/n)(1 − lr λ/2)/(1 + G/N) from the means R, G, N of SGD and of the SDE."""
    r, g, n, r_sde, _, n_sde = means
    return r / r_sde * n_sde / n * (1 - LR * decay / 2) / (1 + g / n)


def slack(decay: float, means: Any, power: int = 2) -> Any:
    """C²(1 − lr λ/2) − (1 + G/N) at the smallest C."""
    r, g, n, r_sde, _, n_sde = means
    ratios = np.array([r / r_sde, n / n_sde])
    return np.maximum(ratios, 1 / ratios).max(axis=0) ** power * (1 - LR * decay / 2) - (1 + g / n)


def with_sde_gradient(decay: float, means: Any) -> Any:
    """The identity with G/N of the SDE in place of SGD's."""
    r, g, n, r_sde, g_sde, n_sde = means
    return identity(decay, (r, g_sde * n / n_sde, n, r_sde, g_sde, n_sde))


def without_square(decay: float, means: Any) -> Any:
    """C(1 − lr λ/2) − (1 + G/N)."""
    return slack(decay, means, power=1)


def of_means(runs: dict[str, Rest], decay: float, function: Any) -> Estimate:
    """`function` of the six means at the fine step; SGD and SDE are independent, the two steps share their Brownian paths."""
    sgd, fine, coarse = ([x.sq_norm, x.sq_grad, x.noise_trace] for x in (runs["SGD"], runs["SDE"], runs["coarse"]))
    value = jackknife(lambda *m: function(decay, m), *sgd, *fine)
    change = jackknife(lambda *m: function(decay, (*m[:3], *m[6:])) - function(decay, m[:6]), *sgd, *fine, *coarse)
    return bias_from_difference(value, change, order=1)


def measure(run: Run, paths: int = PATHS) -> list[dict[str, Rest]]:
    """SGD, and the SDE at two steps, in each case."""
    found = []
    for (curvature, decay), seed in zip(CASES, run.rng.spawn(len(CASES)), strict=True):
        given: dict[str, Any] = {"curvature": curvature, "weight_decay": decay, "n_paths": run.paths(paths)}
        sgd, sde = seed.spawn(2)
        found.append({"SGD": at_rest("SGD", rng=sgd, **given),
                      "SDE": at_rest("SDE", rng=sde, dt=DT, brownian_dt=DT, **given),
                      "coarse": at_rest("SDE", rng=sde, dt=2 * DT, brownian_dt=DT, **given)})
    return found


def judged(found: list[dict[str, Rest]], equal: Any, left: Any) -> dict[str, Any]:
    """Identity and inequality, one point a case."""
    result = {}
    for name, function in (("identity", equal), ("slack", left)):
        result[name] = from_points(of_means(runs, decay, function) for runs, (_, decay) in zip(found, CASES, strict=True))
    return result


def simulation(run: Run) -> dict[str, Any]:
    """As stated."""
    found = run.data["found"] = measure(run)
    return judged(found, identity, slack)


def wrong(run: Run) -> dict[str, Any]:
    """G/N of the SDE in the identity; C in place of C² in the inequality."""
    return judged(measure(run, PATHS // 2), with_sde_gradient, without_square)


def effects() -> dict[str, Any]:
    """How far C in place of C² is off where nothing is to spare: C²(1 − lr λ/2) is 1 + G/N then."""
    half = 1 - LR * np.array([decay for _, decay in CASES]) / 2
    ahead = 1 + np.array(SIGNAL)
    return {"slack": ahead - np.sqrt(ahead * half)}


def derivation() -> Derivation:
    """From the two identities at rest (SVAG-5), in every dimension, and the corner of the ratios."""
    return joint_derivation("SGD is like its SDE only where the noise is strong", svag.largest_signal_to_noise,
                            svag.least_noise_to_signal)


def figure(run: Run) -> Figure:
    """(1 + G/N)/(1 − lr λ/2) of SGD against C² of each case, bars with the bound on the SDE's steps."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(6.4, 3.8), layout="constrained")
    ax = fig.subplots()
    grid = np.array([1.4, 2.1])
    ax.plot(grid, grid, color="0.45", lw=1.2, label="the bound, $C^2$")
    ax.fill_between(grid, grid, 2.1, color="0.5", alpha=0.15, lw=0)
    ax.text(1.5, 1.9, "impossible")
    for (curvature, decay), runs, marker, colour in zip(CASES, run.data["found"], "os^", ("tab:blue", "tab:orange", "tab:green"),
                                                        strict=True):
        factor = 1 - LR * decay / 2
        rest = jackknife(lambda g, n, f=factor: (1 + g / n) / f, runs["SGD"].sq_grad, runs["SGD"].noise_trace)
        apart = of_means(runs, decay, lambda d, m, f=factor: (slack(d, m) + 1 + m[1] / m[2]) / f)
        ax.errorbar(apart.value, rest.value, 3 * rest.stderr, apart.bias_bound + 3 * apart.stderr, fmt=marker, ms=6,
                    mfc="none", capsize=3, color=colour, label=rf"$a={curvature:g},\ \eta\lambda={LR * decay:g}$")
    ax.plot(grid, grid**0.5, color="tab:red", lw=1.2, ls="--", label="wrong: $C$ without the square")
    ax.set(xlabel="$C^2$: $R$ and $N$ of SGD and of its SDE are within a factor $C$",
           ylabel=r"SGD: $(1+G/N)/(1-\eta\lambda/2)$", ylim=(1.1, 2.1), xlim=(1.4, 2.1))
    ax.legend(frameon=False, fontsize=8, loc="lower right", ncols=2)
    ax.set_title("The stronger the gradient beside the noise, the further SGD is from its SDE", fontsize=10.5)
    return fig


claim = Claim(
    "SVAG-6",
    title="A necessary condition for the SDE",
    paper="svag",
    statement=r"If $R$ and $N$ of SGD at rest are within a factor $C$ of those of the SDE, then $1+G/N\le C^2(1-\eta\lambda/2)$ with "
              r"$G/N$ of SGD, so $N/G\ge1/(C^2-1)$; for $r=R/R_{SDE}$, $n=N/N_{SDE}$ even $1+G/N=(r/n)(1-\eta\lambda/2)$.",
    derivation=derivation,
    prediction={"identity": np.ones(len(CASES)), "slack": Between(low=0.0)},
    simulation=simulation,
    resolution={"identity": Resolution(RHO_IDENTITY, points=len(CASES)), "slack": Resolution(RHO_SLACK, points=len(CASES))},
    negative_control=Control(r"the identity holds with $G/N$ of the SDE; and $1+G/N\le C(1-\eta\lambda/2)$", simulation=wrong,
                             effect=effects),
    figure=figure,
)
