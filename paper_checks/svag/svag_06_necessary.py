r"""SVAG-6: SGD is like its SDE only where the noise is strong.

.. math:: \frac rn\Bigl(1-\frac{\eta\lambda}2\Bigr) = 1 + \frac GN, \quad r = \frac{R}{R_{SDE}},\; n = \frac N{N_{SDE}}
          \qquad\Rightarrow\qquad 1 + \frac GN \le C^2\Bigl(1-\frac{\eta\lambda}2\Bigr) \quad\text{if } r, n\in[1/C, C]

at rest, G and N of SGD. Both are measured: the identity, and what is left of the inequality at the smallest C that R
and N allow (a C for G as well is no smaller, so the statement follows). On this loss r n ≈ 1: there is little to
spare. Clock: steps.
"""

from functools import partial

import numpy as np

from sdetheory import Between, Claim, Quantity
from sdetheory.stats import from_points, jackknife
from sdetheory.theory import svag

from .at_rest import LR, cases_at_rest, halved, label

CASES = ((2.0, 0.2), (2.5, 0.2), (3.0, 0.1))  # (curvature, weight decay)
HALF, SIGNAL = 1 - LR * np.transpose(CASES)[1] / 2, np.array([0.6, 0.8, 0.7])  # 1 - lr λ/2, and G/N, in each
LABELS = [label(*case) for case in CASES]
# The identity takes R/N of both and G/N of SGD, together 13 % a path: 6000 paths leave 0.9 %, twice that in quick
# mode. The SDE's steps leave 0.9 % in R and in N each, bounded by 1.25 times that, of which 0.5 % is noise. The
# inequality is a difference of numbers near 1.8 with the same relative errors.
PATHS, RHO_IDENTITY, RHO_SLACK = 6000, 0.05, 0.1


def identity(half, r, g, n, r_sde, g_sde, n_sde):
    """(r/n)(1 − lr λ/2)/(1 + G/N) from R, G, N of SGD and of the SDE."""
    return r / r_sde * n_sde / n * half / (1 + g / n)


def slack(half, r, g, n, r_sde, g_sde, n_sde, power=2):
    """C²(1 − lr λ/2) − (1 + G/N) at the smallest C."""
    ratios = np.array([r / r_sde, n / n_sde])
    return np.maximum(ratios, 1 / ratios).max(axis=0) ** power * half - (1 + g / n)


def with_sde_gradient(half, r, g, n, r_sde, g_sde, n_sde):
    """The identity with G/N of the SDE in place of SGD's."""
    return identity(half, r, g_sde * n / n_sde, n, r_sde, g_sde, n_sde)


def estimated(function, half, runs):
    return halved(partial(function, half), runs["coarse"], runs["SDE"], *runs["SGD"])


# C in place of C² is off by C² − C where nothing is to spare: C²(1 − lr λ/2) is 1 + G/N then.
QUANTITIES = {
    "identity": Quantity(1.0, RHO_IDENTITY, broken=True, points=LABELS),
    "slack": Quantity(Between(low=0.0), RHO_SLACK, effect=1 + SIGNAL - np.sqrt((1 + SIGNAL) * HALF), points=LABELS),
}


def judged(found, **functions):
    """Identity and inequality, one point a case."""
    return {name: from_points(estimated(function, half, runs) for runs, half in zip(found, HALF, strict=True))
            for name, function in functions.items()}


def measure(trial):
    found = trial.data["found"] = cases_at_rest(CASES, ("SGD", "SDE"), trial.paths(PATHS), trial.rng)
    return judged(found, identity=identity, slack=slack)


def broken(trial):
    found = cases_at_rest(CASES, ("SGD", "SDE"), trial.paths(PATHS // 2), trial.rng)
    return judged(found, identity=with_sde_gradient, slack=partial(slack, power=1))


def figure(trial, ax):
    """(1 + G/N)/(1 − lr λ/2) of SGD against C² of each case, bars with the bound on the SDE's steps."""
    grid = np.array([1.4, 2.1])
    ax.plot(grid, grid, color="0.45", lw=1.2, label="the bound, $C^2$")
    ax.fill_between(grid, grid, 2.1, color="0.5", alpha=0.15, lw=0)
    ax.text(1.5, 1.9, "impossible")
    for half, runs, marker, name in zip(HALF, trial.data["found"], "os^", LABELS, strict=True):
        rest = jackknife(lambda g, n, half=half: (1 + g / n) / half, runs["SGD"].sq_grad, runs["SGD"].noise_trace)
        apart = estimated(lambda half, *m: (slack(half, *m) + 1 + m[1] / m[2]) / half, half, runs)
        ax.errorbar(apart.value, rest.value, 3 * rest.stderr, apart.bias_bound + 3 * apart.stderr, fmt=marker, ms=6,
                    mfc="none", capsize=3, label=name)
    ax.plot(grid, grid**0.5, color="C3", lw=1.2, ls="--", label="wrong: $C$ without the square")
    ax.set(xlabel="$C^2$: $R$ and $N$ of SGD and of its SDE are within a factor $C$", ylim=(1.1, 2.1), xlim=(1.4, 2.1),
           ylabel=r"SGD: $(1+G/N)/(1-\eta\lambda/2)$",
           title="The stronger the gradient, the further SGD is from its SDE")
    ax.legend(loc="lower right", ncols=2)


claim = Claim(
    "SVAG-6", "A necessary condition for the SDE", paper="svag",
    where="the section on necessary conditions: the theorem that bounds noise over gradient where SGD is like its SDE",
    statement=r"If $R$ and $N$ of SGD at rest are within a factor $C$ of those of the SDE, then "
              r"$1+G/N\le C^2(1-\eta\lambda/2)$ with $G/N$ of SGD, so $N/G\ge1/(C^2-1)$; for $r=R/R_{SDE}$, "
              r"$n=N/N_{SDE}$ even $1+G/N=(r/n)(1-\eta\lambda/2)$.",
    setup=r"A Rayleigh quotient in $d=4$ with tangent noise, $\eta=0.5$, at three curvatures and decays; SGD and, by "
          r"Euler–Maruyama at $1/32$ of a step, the SDE: the second half of $16/(4\eta\lambda)$ steps",
    proof=svag.by_claim("SVAG-6"), quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"the identity holds with $G/N$ of the SDE; and $1+G/N\le C(1-\eta\lambda/2)$")
