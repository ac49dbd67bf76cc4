r"""SVAG-1: the weighted gradient has the mean of one draw, l times its covariance, and a known third moment.

.. math:: \hat g = \tfrac{1+s}2\nabla L_{\gamma_1} + \tfrac{1-s}2\nabla L_{\gamma_2},\; s=\sqrt{2l-1}: \qquad
          \mathbb E\,\hat g = \nabla L, \quad \operatorname{Cov}\hat g = l\,\Sigma, \quad
          \kappa_3(\hat g) = \tfrac{3l-1}2\,\kappa_3(\nabla L_\gamma)

For a finite law the moments are sums over all pairs of draws: known to rounding, in two dimensions, with every entry of
the third moment. Then one step of the simulator is taken by many paths from one point, and measured.
"""

import numpy as np

import sdetheory as sdt
from sdetheory import Claim, Exact, Quantity, Relative
from sdetheory.stats import mean_estimate
from sdetheory.theory import svag

# three outcomes of unequal probability: skewed noise, random matrices and random offsets that depend on each other
LOSS = sdt.losses.RandomLinear([0.2, 0.5, 0.3], [[[2.0, 0.5], [0.5, 1.0]], [[1.0, -0.25], [-0.25, 0.5]],
                                                 [[0.5, 0.0], [0.0, 2.0]]], [[1.0, 0.5], [-0.5, 1.0], [0.25, -1.0]])
LR, POINT = 0.25, np.array([0.75, -0.5])
DRAWS = LOSS.matrices @ POINT - LOSS.offsets  # the gradients of the outcomes at POINT, shape (n, d)
AMPLIFICATIONS, SAMPLED = (1, 2, 5, 64), 5

# At l = 5 a square of the centred gradient varies by 1.2 to 1.5 times its mean: 320 000 paths leave 4.5 · 1.5/566 =
# 1.2 %, and twice that in quick mode.
PATHS, RHO = 320_000, 0.03


def moments(gradients, probabilities):
    """Mean (d,), covariance (d, d) and third central moments (d, d, d) of a finite law."""
    mean = probabilities @ gradients
    c = gradients - mean
    return (mean, np.einsum("n,ni,nj->ij", probabilities, c, c),
            np.einsum("n,ni,nj,nk->ijk", probabilities, c, c, c))


def at_each(value):
    return np.stack([value(l) for l in AMPLIFICATIONS])


def covariance_of(l):
    return svag.amplified_covariance(amplification=l, noise_covariance=COVARIANCE)


MEAN, COVARIANCE, THIRD = moments(DRAWS, LOSS.probabilities)
# Wrong: one draw times √l, which has the covariance l Σ but not the mean. Broken: s² = 2l makes the covariance
# (1 + s²)/2 Σ = (l + ½)Σ, and the third moment (1 + 3s²)/4 κ₃ = (6l + 1)/4 κ₃, ¾ κ₃ too large.
QUANTITIES = {
    "mean": Quantity(at_each(lambda l: MEAN), 1e-9, wrong=at_each(lambda l: l**0.5 * MEAN)),
    "covariance": Quantity(at_each(covariance_of), 1e-9, effect=np.abs(COVARIANCE).max() / 2),
    "third moment": Quantity(at_each(lambda l: svag.amplified_third_moment(amplification=l, third_moment=THIRD)), 1e-9,
                             effect=0.75 * np.abs(THIRD).max()),
    "sampled variance": Quantity(np.diag(covariance_of(SAMPLED)), Relative(RHO), effect=np.diag(COVARIANCE) / 2,
                                 points=["first component", "second component"],
                                 bias_source="steps of SVAG itself, about the mean that is known"),
}


def moments_and_steps(trial, spread):
    """Sums over all pairs of draws; and one step of the simulator from POINT, as weighted gradients (paths, d)."""
    def rule(l):
        return sdt.dynamics.SVAG(LOSS, lr=LR, amplification=l, spread=spread(l))

    p = LOSS.probabilities
    i, j = np.divmod(np.arange(p.size**2), p.size)
    pairs = [np.tensordot(rule(l).weights, [DRAWS[i], DRAWS[j]], 1) for l in AMPLIFICATIONS]
    found = {}
    for k, (name, *values) in enumerate(zip(("mean", "covariance", "third moment"),
                                            *(moments(pair, p[i] * p[j]) for pair in pairs), strict=True)):
        # each centred term has an error below 8 eps of the largest; then sums of n² products of k of them
        of_largest = np.array([2 * np.abs(pair).max() for pair in pairs]) ** (k + 1)
        bounds = (k + 1) * (8 + p.size**2) * np.finfo(float).eps * of_largest
        found[name] = Exact(np.stack(values), bounds.reshape(-1, *[1] * (k + 1)))
    runs = sdt.simulate(rule(SAMPLED), POINT, n_steps=1, n_paths=trial.paths(PATHS), rng=trial.rng)
    gradients = (POINT - runs.w.values[:, -1]) * SAMPLED / LR
    trial.data.update(found, gradients=gradients)
    return found | {"sampled variance": mean_estimate((gradients - LOSS.gradient(POINT)) ** 2)}


def measure(trial):
    return moments_and_steps(trial, lambda l: (2 * l - 1) ** 0.5)


def broken(trial):
    found = moments_and_steps(trial, lambda l: (2 * l) ** 0.5)
    return {name: found[name] for name in found if name != "mean"}


def figure(trial, left, right):
    """Left: the gradients of one draw and of SVAG's pairs; right: covariance and third moment against l."""
    points, counts = np.unique(trial.data["gradients"].round(6), axis=0, return_counts=True)
    left.scatter(*points.T, s=900 * counts / counts.sum(), color="C1", alpha=0.7, label=rf"SVAG, $l={SAMPLED}$")
    left.scatter(*DRAWS.T, s=900 * LOSS.probabilities, facecolor="none", edgecolor="C0", lw=1.5, label="one draw")
    left.plot(*MEAN, "+", ms=12, color="0.3", mew=2, label=r"$\nabla L$: the mean of both")
    left.set(xlabel="first component", ylabel="second component", title="Area: probability")
    dense = np.geomspace(1, 100, 100)
    right.plot(dense, dense, color="0.5", lw=1, label="$l$")
    right.plot(dense, (3 * dense - 1) / 2, color="0.5", lw=1, ls="--", label=r"$(3l-1)/2$")
    right.plot(AMPLIFICATIONS, trial.data["covariance"].value[:, 0, 0] / COVARIANCE[0, 0], "o", mfc="none", color="C0",
               label=r"$\mathrm{Var}\,\hat g_1/\Sigma_{11}$")
    right.plot(AMPLIFICATIONS, trial.data["third moment"].value[:, 0, 0, 1] / THIRD[0, 0, 1], "s", mfc="none",
               color="C1", label=r"$\kappa_{112}(\hat g)/\kappa_{112}$")
    right.set(xscale="log", yscale="log", xlabel="amplification $l$", ylabel="SVAG over one draw",
              title="All pairs enumerated")
    left.legend(loc="lower left", markerscale=0.5)
    right.legend()
    left.figure.suptitle(r"SVAG's gradient: the mean of one draw, and $l$ times its covariance")


claim = Claim(
    "SVAG-1", "Moments of the weighted gradient", paper="svag",
    where="the section that introduces SVAG, where the two weights are chosen",
    statement=r"$\hat g=\frac{1+s}2\nabla L_{\gamma_1}+\frac{1-s}2\nabla L_{\gamma_2}$ with $s=\sqrt{2l-1}$ has "
              r"mean $\nabla L$, covariance $l\Sigma$ and third central moment $\frac{3l-1}2$ times that of $\nabla "
              r"L_\gamma$; $l=1$ is SGD, and no other weights of sum 1 and sum of squares $l$ exist but these "
              "swapped.",
    setup="Random linear gradients with three outcomes in $d=2$: all pairs of draws at one point, for "
          r"$l=1,2,5,64$; and one step of the simulated rule at $l=5$, $\eta=0.25$",
    proof=svag.by_claim("SVAG-1"), quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"a single draw times $\sqrt l$, for the mean; and $s=\sqrt{2l}$, whose squares of weights add up to "
            r"$l+\frac12$")
