r"""SVAG-9: where the SDE fails: large batches at finite η, and gradients of infinite variance.

.. math:: \frac{\mathbb E\,x_k^2}{\mathbb E\,X_{\eta k}^2} \to \bigl((1-\eta a)e^{\eta a}\bigr)^{2k}\ (N \ll G), \qquad
          \in \Bigl[\frac1{1-\eta a/2}, \frac{2\eta a}{1-e^{-2\eta a}}\Bigr]\ (N \gg G), \qquad
          \text{scale of } x_l - x_0 \sim l^{1/\alpha-1/2}\ (\alpha\text{-stable gradients})

The first: SGD on ½ax² with little and with much Gaussian noise against its SDE, by E x² = G/a² (E x knows nothing of
noise). The second: l steps of SVAG(l), the time of one step of SGD, on a flat loss; without a variance, scales are
measured by the median of |x_l − x_0|, which is the scale times that of the standard stable law. The simulated rule is
SVAG throughout; l = 1 is SGD. Clock: steps.
"""

import functools

import numpy as np
import scipy

import sdetheory as sdt
from sdetheory import Claim, Estimate, Quantity, Relative
from sdetheory.stats import from_points, mean_estimate, quantile_estimate
from sdetheory.theory import svag

ON_QUADRATIC = {"lr": 0.3, "eigenvalue": 1.0}
START, STEPS = 1.0, np.array([1, 2, 4, 8])
NOISE = {"N << G": 2e-4, "N >> G": 200.0}  # N/G at the start

STABILITIES, LR = (1.0, 1.5, 2.0), 0.5  # Cauchy, in between, Gaussian
AMPLIFICATIONS = np.array([1, 4, 16, 64])
FITTED = AMPLIFICATIONS[1:]  # the local slope is 1/alpha - 1/2 up to O(1/l)

# The median of |x| has relative standard error (pi/2)/n^(1/2) for a Cauchy law, less for the others: 40 000 paths
# leave 5 · 0.8 % = 4 %, twice that in quick mode. In the slope over log 16 that is 0.02, and 0.02 is its distance
# from the limit. The ratio of second moments is 1.3 at most, and varies by 1.4 times that where the noise is strong:
# 5 · 1.9/200 = 0.05; where it is weak, by 0.2 at most: 0.005. Twice that in quick mode.
PATHS, RHO, RHO_EXPONENT, RHO_RATIO = 40_000, 0.1, 0.08, {"N << G": 0.03, "N >> G": 0.1}


@functools.cache
def standard_median(stability):
    """The median of |X| for E exp(iuX) = exp(−|u|^α): P(X <= x) = 1/2 + (1/π)∫ sin(ux)/u exp(−u^α) du, over u > 0."""
    def above(x):
        return scipy.integrate.quad(lambda u: x * np.sinc(u * x / np.pi) * np.exp(-u**stability), 0, np.inf,
                                    limit=200)[0] / np.pi - 0.25

    return float(scipy.optimize.brentq(above, 0.5, 1.5, xtol=1e-10))


def median(stability, amplification):
    """The median of |x_l − x_0|."""
    return standard_median(stability) * svag.stable_displacement(
        amplification=amplification, lr=LR, stability=stability, noise_scale=1.0)


CENTRED = np.log(FITTED) - np.log(FITTED).mean()
WEIGHTS = CENTRED / (CENTRED @ CENTRED)  # of the least-squares slope of log median against log l


def bend(stability):
    """How far the slope of the closed form over FITTED is from its limit."""
    return WEIGHTS @ np.log(median(stability, FITTED)) - svag.stable_growth_exponent(stability=stability)


# Wrong: with little noise SGD is like its SDE, and with much noise it parts from it all the same, as its mean does.
# SVAG has a limit for α < 2, so that its displacement does not depend on l; for α = 2 the noise of l steps falls as
# l^{-1/2}, as it would without amplification.
FALLS = {1.0: 0.0, 1.5: 0.0, 2.0: -0.5}
WRONG_RATIO = {"N << G": 1.0, "N >> G": svag.descent_over_flow(step=STEPS, **ON_QUADRATIC) ** 2}
QUANTITIES = {
    **{f"E x^2 over the SDE's, {name}": Quantity(
        svag.second_moment_over_sde(step=STEPS, noise_to_signal=ratio, **ON_QUADRATIC), RHO_RATIO[name],
        wrong=WRONG_RATIO[name], points=[f"$k={k}$" for k in STEPS]) for name, ratio in NOISE.items()},
    "median, l = 1": Quantity(lambda: np.array([median(a, 1) for a in STABILITIES]), Relative(RHO),
                              points=[rf"$\alpha={a:g}$" for a in STABILITIES],
                              no_control="the law of the noise itself, on which every statement agrees"),
    **{f"median, alpha = {a:g}": Quantity(
        functools.partial(median, a, FITTED), Relative(RHO), points=[f"$l={l}$" for l in FITTED],
        wrong=lambda a=a: median(a, 1) * FITTED ** FALLS[a]) for a in STABILITIES},
    **{f"exponent, alpha = {a:g}": Quantity(
        svag.stable_growth_exponent(stability=a), RHO_EXPONENT, wrong=FALLS[a], bias=functools.partial(bend, a),
        bias_source="the closed form's own distance from a power of $l$") for a in STABILITIES},
}


def rule(curvature, lr, stability, scale, amplification):
    """SVAG on ½ curvature x² with stable gradient noise."""
    noise = sdt.noises.AlphaStable(stability, scale=scale)
    return sdt.dynamics.SVAG(sdt.losses.Quadratic([curvature], noise), lr=lr, amplification=amplification)


def ratio_to_sde(trial, noise_to_signal, seed):
    """x_k² of SGD over E X² of its SDE at STEPS, a row a path."""
    a, lr = ON_QUADRATIC["eigenvalue"], ON_QUADRATIC["lr"]
    variance = noise_to_signal * (a * START) ** 2  # of a stable law of index 2: twice the square of its scale
    runs = sdt.simulate(rule(a, lr, 2.0, (variance / 2) ** 0.5, 1), [START], n_steps=max(STEPS), save_every=1,
                        n_paths=trial.paths(PATHS), rng=seed)
    rest = svag.sde_stationary_variance(noise_variance=variance, **ON_QUADRATIC)
    return runs.w.values[:, STEPS, 0] ** 2 / (rest + (START**2 - rest) * np.exp(-2 * a * lr * STEPS))


def measure(trial):
    """SGD with little and with much noise; then the displacement of SVAG for each α and l."""
    little, *seeds, much = trial.rng.spawn(2 + len(STABILITIES) * len(AMPLIFICATIONS))
    found = {f"E x^2 over the SDE's, {name}": mean_estimate(ratio_to_sde(trial, NOISE[name], seed))
             for name, seed in zip(NOISE, (little, much), strict=True)}
    first = []
    for i, stability in enumerate(STABILITIES):
        medians = []
        for l, seed in zip(AMPLIFICATIONS.tolist(), seeds[i::len(STABILITIES)], strict=True):
            x = sdt.simulate(rule(0.0, LR, stability, 1.0, l), [0.0], n_steps=l, n_paths=trial.paths(PATHS), rng=seed)
            medians.append(quantile_estimate(np.abs(x.w.values[:, -1, 0]), 0.5))
        first.append(medians[0])
        fitted = found[f"median, alpha = {stability:g}"] = from_points(medians[1:])
        found[f"exponent, alpha = {stability:g}"] = Estimate(
            WEIGHTS @ np.log(fitted.value), np.sqrt(WEIGHTS**2 @ (fitted.stderr / fitted.value) ** 2), n=fitted.n)
    trial.data.update(found)
    return found | {"median, l = 1": from_points(first)}


def figure(trial, left, right):
    """Left: E x² of SGD over that of its SDE; right: the displacement over the time of one step against l."""
    steps = np.arange(max(STEPS) + 1)
    for i, (name, ratio) in enumerate(NOISE.items()):
        measured = trial.data[f"E x^2 over the SDE's, {name}"]
        exact = svag.second_moment_over_sde(step=steps, noise_to_signal=ratio, **ON_QUADRATIC)
        left.plot(steps, exact, color=f"C{i}", lw=1)
        left.errorbar(STEPS, measured.value, 3 * measured.stderr, fmt="os"[i], mfc="none", color=f"C{i}", capsize=3,
                      label=rf"SGD, $N/G={ratio:g}$ at the start")
    left.axhline(1, color="0.45", ls="--", lw=1.2, label="SDE")
    left.set(xlabel="step $k$", ylabel=r"$\mathbb{E}\,x_k^2$ over that of the SDE", ylim=(0, 1.9),
             title=rf"A finite step, $\eta a={ON_QUADRATIC['lr']:g}$")
    dense = np.arange(1, AMPLIFICATIONS[-1] + 1)
    for i, stability in enumerate(STABILITIES):
        medians = trial.data[f"median, alpha = {stability:g}"]
        right.errorbar(FITTED, medians.value, 3 * medians.stderr, fmt="^so"[i], mfc="none", color=f"C{i}", capsize=3,
                       label=rf"$\alpha={stability:g}$: $l^{{{svag.stable_growth_exponent(stability=stability):.2g}}}$")
        right.plot(dense, median(stability, dense), color=f"C{i}", lw=1)
    right.set(xscale="log", yscale="log", xlabel="amplification $l$", ylabel=r"median of $|x_l-x_0|$ after $l$ steps",
              title=r"$\alpha$-stable gradients: no limit for $\alpha<2$")
    right.set_xticks(AMPLIFICATIONS, [str(l) for l in AMPLIFICATIONS])
    right.set_yticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
    right.minorticks_off()
    for ax in (left, right):
        ax.legend()
    left.figure.suptitle("The SDE needs noise that outweighs the gradient, and noise with a variance")


claim = Claim(
    "SVAG-9", "Where the SDE fails", paper="svag",
    where="the section on when the SDE fails: a finite learning rate, and gradients with heavy tails",
    statement=r"(a) On $\frac12ax^2$, $\mathbb Ex^2=G/a^2$ of SGD over that of its SDE tends to $((1-\eta a)e^{\eta "
              r"a})^{2k}$ as $N/G\to0$, which with $k$ leaves every factor $C$; as $N/G\to\infty$ it stays between "
              r"$1/(1-\eta a/2)$ and $2\eta a/(1-e^{-2\eta a})$. (b) With $\alpha$-stable gradients the "
              r"displacement of SVAG over $l$ steps, one step of SGD, grows as $l^{1/\alpha-1/2}$: there is no Itô "
              r"limit for $\alpha<2$.",
    setup=r"SGD on $\frac12x^2$ at $\eta=0.3$ with Gaussian noise, $N/G=2\cdot10^{-4}$ and $200$ at the start, for "
          r"8 steps; SVAG(l) on a flat loss at $\eta=0.5$ with stable noise, $\alpha=1,1.5,2$, for $l=1,4,16,64$ "
          "steps",
    proof=svag.by_claim("SVAG-9"), quantities=QUANTITIES, measure=measure, figure=figure,
    bias_source="the rule itself is simulated",
    control="SGD with little noise is like its SDE, and with much noise it parts from it as its mean does; SVAG "
            r"has a limit for $\alpha<2$, and at $\alpha=2$ its noise falls as $l^{-1/2}$, as if it were not "
            "amplified")
