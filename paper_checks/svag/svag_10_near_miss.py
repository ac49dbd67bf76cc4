r"""SVAG-10: one minibatch times 1 ± √(l−1) has the right mean, and converges to another SDE than SVAG.

.. math:: \operatorname{Cov}\bigl[(1+\epsilon\sqrt{l-1})\nabla L_\gamma\bigr] = l\,\Sigma + (l-1)\nabla L\nabla L^\top,
          \qquad dX = -\nabla L\,dt + \bigl(\eta(\Sigma + \nabla L\nabla L^\top)\bigr)^{1/2}dW

Random linear gradients in two dimensions: the moments of both rules and of both SDEs are known to rounding, so the
limit l → ∞ is extrapolated, not guessed. Clock: gradient-flow time.
"""

import functools

import numpy as np

import sdetheory as sdt
from sdetheory import Claim, Exact, Quantity
from sdetheory.stats import mean_estimate
from sdetheory.theory import svag

from .orders_in_lr import limit

LOSS = sdt.losses.RandomLinear(
    [0.25, 0.5, 0.25], [[[2.0, 0.5], [0.5, 1.0]], [[1.0, -0.25], [-0.25, 0.5]], [[0.5, 0.0], [0.0, 2.0]]],
    [[1.0, 0.5], [-0.5, 1.0], [0.25, -1.0]])
LR, END, START = 0.5, 1.0, np.array([1.5, -1.0])
ONE_STEP = np.array([2, 5, 64])
AMPLIFICATIONS = (16, 32, 64, 128, 256)  # E xx' of l is that of the limit plus c/l: extrapolated twice, 1e-5 is left
SAMPLED = 8
NEAR_MISS, SVAG = sdt.dynamics.SingleBatchNearMiss, sdt.dynamics.SVAG

# A square of a coordinate has standard deviation up to 1.5: 200 000 paths leave 5 · 1.5/447 = 0.017, twice that in
# quick mode.
PATHS, RHO = 200_000, 0.05

# 512 steps at most, each adds at most 12 eps (9 products a row) to values below 10; the covariance of one step is a
# difference of numbers up to (lr/l)^2 l |g|^2 + |x|^2 < 10, and is divided by (lr/l)^2
ROUNDING = 512 * 12 * 10 * np.finfo(float).eps
OF_ONE_STEP = (24 * 10 * np.finfo(float).eps / (LR / ONE_STEP) ** 2)[:, None, None]


def second_moments(kind, amplification):
    """E x_1², E x_1x_2, E x_2² at time END."""
    rule = kind(LOSS, lr=LR, amplification=amplification)
    found = sdt.exact.affine_moments(rule, START, [round(END / LR) * amplification])
    return np.array([found.moment(*powers)[0] for powers in ((2, 0), (1, 1), (0, 2))])


@functools.cache
def of_sde(gradient_noise):
    """The same of the SDE, with or without the gradient in its noise."""
    sde = sdt.dynamics.random_linear_sde(LOSS, lr=LR, gradient_noise=gradient_noise)
    found, (x, y) = sde.moment_equations(2).solve(START, END), sde.states
    return np.array([found[monomial] for monomial in (x**2, x * y, y**2)])


def covariance(formula, **given):
    """The covariance of the gradient used in a step, for each l of ONE_STEP."""
    noise = LOSS.noise.covariance(START)
    return np.stack([formula(amplification=l, noise_covariance=noise, **given) for l in ONE_STEP])


GRADIENT = LOSS.gradient(START)
# Wrong: with the right mean the rule does what SVAG does.
QUANTITIES = {
    "covariance of a step": Quantity(
        covariance(svag.near_miss_covariance, gradient=GRADIENT[:, None], other_gradient=GRADIENT), 1e-6,
        wrong=covariance(svag.amplified_covariance)),
    "limit": Quantity(lambda: of_sde(True), 1e-3, wrong=lambda: of_sde(False),
                      bias_source="what the last extrapolation in $1/l$ moved"),
    "runs": Quantity(lambda: second_moments(NEAR_MISS, SAMPLED), RHO, wrong=lambda: second_moments(SVAG, SAMPLED),
                     points=[rf"$\mathbb{{E}}\,{xx}$" for xx in ("x_1^2", "x_1x_2", "x_2^2")],
                     bias_source="the rule itself is simulated"),
}


def measure(trial):
    """One step by recursion, the limit in l by extrapolation, and the rule itself."""
    steps = [sdt.exact.affine_moments(NEAR_MISS(LOSS, lr=LR, amplification=l), START, [1]).covariance[0] / (LR / l) ** 2
             for l in ONE_STEP]
    ends = sdt.simulate(NEAR_MISS(LOSS, lr=LR, amplification=SAMPLED), START, n_steps=round(END / LR) * SAMPLED,
                        n_paths=trial.paths(PATHS), rng=trial.rng.spawn(1)[0]).w.values[:, -1]
    x, y = ends.T
    runs = trial.data["runs"] = mean_estimate(np.stack([x**2, x * y, y**2], axis=1))
    return {"covariance of a step": Exact(np.stack(steps), np.broadcast_to(OF_ONE_STEP, (len(ONE_STEP), 2, 2))),
            "limit": limit(np.stack([second_moments(NEAR_MISS, l) for l in AMPLIFICATIONS]), ROUNDING), "runs": runs}


def figure(trial, ax):
    """E|x|² against l for both rules, with the two limits."""
    amplifications = 2 ** np.arange(9)
    for kind, extra, name, marker in ((SVAG, False, "SVAG", "o"), (NEAR_MISS, True, "near miss", "s")):
        curve = [second_moments(kind, int(l))[[0, 2]].sum() for l in amplifications]
        ax.plot(amplifications, curve, marker + "-", mfc="none", lw=0.8, color=f"C{extra:d}", label=name)
        noise = r"\eta(\Sigma+\nabla L\nabla L^\top)" if extra else r"\eta\Sigma"
        ax.axhline(of_sde(extra)[[0, 2]].sum(), color=f"C{extra:d}", ls="--", lw=1.2, label=f"SDE with noise ${noise}$")
    value, error = (np.asarray(part)[[0, 2]].sum() for part in (trial.data["runs"].value, trial.data["runs"].stderr))
    ax.errorbar([SAMPLED], [value], [3 * error], fmt="D", ms=4, color="0.3", capsize=3, zorder=3, label="runs")
    ax.set(xscale="log", xlabel="amplification $l$ ($l=1$: SGD)", ylabel=rf"$\mathbb{{E}}\|x\|^2$ at time {END:g}",
           title="The right mean is not enough: the near miss has another limit")
    ax.set_xticks(amplifications[::2], [str(l) for l in amplifications[::2]])
    ax.minorticks_off()
    ax.legend()


claim = Claim(
    "SVAG-10", "A near miss", paper="svag", extension=True,
    where="not in the paper: a rule that looks like its SVAG and is not",
    statement=r"$(1\pm\sqrt{l-1})\nabla L_\gamma$ with a fair sign has mean $\nabla L$, but covariance "
              r"$l\Sigma+(l-1)\nabla L\nabla L^\top$: with steps $\eta/l$ it converges to the SDE with noise "
              r"$\eta(\Sigma+\nabla L\nabla L^\top)$, where SVAG's has $\eta\Sigma$.",
    setup=r"Random linear gradients with three outcomes in $d=2$, $\eta=0.5$, to the time $1$: moment recursions for "
          r"$l=16$ to $256$, and runs of the rule at $l=8$",
    proof=svag.by_claim("SVAG-10"), quantities=QUANTITIES, measure=measure, figure=figure,
    control=r"the right mean is enough: its gradient has the covariance $l\Sigma$, and it does what SVAG does")
