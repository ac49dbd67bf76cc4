r"""SVAG-3: SVAG converges weakly to the SDE, with an error of order 1/l.

.. math:: \max_{kh\le T}\bigl|\mathbb E g(x_k) - \mathbb E g(X_{kh})\bigr| \le \frac Cl, \quad h=\tfrac\eta l, \qquad
          dX = -\nabla L\,dt + (\eta\Sigma)^{1/2}dW

With random linear gradients ∇L_γ = a_γ x − b_γ all moments of both close; on a loss with two wells, and noise that
depends on x, the law is a matrix on Fourier modes (`on_circle`): both errors are numbers without noise. Then the rule
itself is run on the two wells. Clock: gradient-flow time; T is four steps of SGD.
"""

from functools import cache

import numpy as np

import sdetheory as sdt
from sdetheory import Claim, Estimate, Quantity, Relative
from sdetheory.stats import fit_order, from_points, mean_estimate
from sdetheory.theory import svag

from . import on_circle
from .orders_in_lr import extrapolated

LR, CIRCLE_LR, SGD_STEPS = 0.25, 0.5, 4
# two-point gradients, skewed and with curvature and offset dependent: nothing cancels by symmetry
LINEAR = sdt.losses.RandomLinear.two_point(1.0, 0.5, curvature_std=0.75, offset_std=0.5, probability=0.2)
LINEAR_START, POWERS = 1.0, (1, 2, 3, 4)
FITTED = tuple(2**k for k in range(5, 10))  # 1/l and the next term 1/l^2 apart by more than the 0.05 of the slope
SIMULATED = (4, 32)
# An observable of a path varies by less than 0.6: 100 000 paths leave 5 · 0.6/316 = 0.01, in quick mode 0.02.
PATHS, RHO = 100_000, 0.03
MORE = 1.05  # the control: s^2 = 2.1 l - 1


def svag_rule(loss, lr, l, factor=1.0):
    """SVAG with the spread s² = 2 · factor · l − 1."""
    return sdt.dynamics.SVAG(loss, lr=lr, amplification=l, spread=(2 * factor * l - 1) ** 0.5)


def weights(l, factor=1.0):
    return svag_rule(LINEAR, LR, l, factor).weights


@cache
def moment_equations(factor=1.0):
    """Those of dX = −∇L dt + (factor · lr Σ)^{1/2}dW."""
    return sdt.dynamics.random_linear_sde(LINEAR, lr=factor * LR).moment_equations(max(POWERS))


def times(l):
    """Steps k at quarters of an SGD step: the errors are smooth in time, so these show the largest."""
    return np.arange(4 * SGD_STEPS + 1) * (l // 4)


def of_moments(rule, l):
    """E x_k^n − E X_{kh}^n of a rule on LINEAR with steps LR/l, shape (k, n)."""
    found = sdt.exact.affine_moments(rule, [LINEAR_START], times(l), order=max(POWERS))
    right, (x,) = moment_equations().solve([LINEAR_START], times(l) * LR / l), moment_equations().states
    return np.stack([found.moment(n) - right[x**n] for n in POWERS], 1)


@cache
def of_sde_on_circle():
    return on_circle.of_sde(CIRCLE_LR, SGD_STEPS * CIRCLE_LR, 4 * SGD_STEPS)


def on_two_wells(pair, l):
    """E g(x_k) − E g(X_{kh}) on the circle for steps CIRCLE_LR/l with this pair of weights, shape (k, observables)."""
    return on_circle.of_pairs(pair, CIRCLE_LR / l, times(l)) - of_sde_on_circle()


def orders(errors):
    """Slopes of the largest error (rows: FITTED) in 1/l; the drift over the range bounds what is left."""
    fits = [fit_order(1 / np.array(FITTED), column) for column in np.abs(errors).max(axis=1).T]
    return Estimate([f.order for f in fits], np.zeros(len(fits)), [abs(f.drift) for f in fits])


def shift_by_more_noise():
    """What 5 % more noise does to the SDE's moments."""
    right, more = (np.array(list(moment_equations(factor).solve([LINEAR_START], SGD_STEPS * LR).values()))
                   for factor in (1.0, MORE))
    return np.abs(more - right).max()


def shift_on_circle():
    return np.abs(on_circle.of_sde(MORE * CIRCLE_LR, SGD_STEPS * CIRCLE_LR)[-1] - of_sde_on_circle()[-1]).max()


DRIFT, LAST = "the drift of the order over the range of $l$", "what the last extrapolation in $1/l$ moved"
OF_MEAN = {"lr": LR, "eigenvalue": 1.0, "offset": 0.5, "w0": LINEAR_START}
# Wrong: E x, which no noise changes, has order 2 like the moments of one step, and the limit of SGD itself; its error
# knows of no offset; and SVAG, whatever its l, does what SGD does.
IN_THE_MEAN_SGD = svag.svag_mean(step=SGD_STEPS, amplification=1, **OF_MEAN) - svag.sde_mean(
    t=SGD_STEPS * LR, **{name: value for name, value in OF_MEAN.items() if name != "lr"})
QUANTITIES = {
    "order, x": Quantity(1.0, 0.05, wrong=2.0, bias_source=DRIFT),
    "order, x^2 to x^4": Quantity(1.0, 0.05, effect=1.0, points=["$x^2$", "$x^3$", "$x^4$"], bias_source=DRIFT),
    "limit, x": Quantity(0.0, 1e-7, wrong=IN_THE_MEAN_SGD, bias_source=LAST),
    "limit, x^2 to x^4": Quantity(np.zeros(3), 1e-6, effect=shift_by_more_noise, bias_source=LAST),
    "l times the error of x": Quantity(svag.mean_error(t=SGD_STEPS * LR, **OF_MEAN), Relative(1e-3), bias_source=LAST,
                                       wrong=svag.mean_error(t=SGD_STEPS * LR, **OF_MEAN | {"offset": 0.0})),
    "two wells, order": Quantity(1.0, 0.05, effect=1.0, points=list(on_circle.OBSERVED), bias_source=DRIFT),
    "two wells, limit": Quantity(np.zeros(3), 1e-6, effect=shift_on_circle, bias_source=LAST),
    **{f"two wells, runs at l = {l}": Quantity(
        lambda l=l: on_circle.of_pairs(weights(l), CIRCLE_LR / l, [SGD_STEPS * l])[0], RHO,
        wrong=lambda: on_circle.of_pairs((1.0, 0.0), CIRCLE_LR, [SGD_STEPS])[0], points=list(on_circle.OBSERVED),
        bias=lambda l=l: on_circle.truncation(weights(l), CIRCLE_LR / l, SGD_STEPS * l),
        bias_source="the modes that the exact law leaves out") for l in SIMULATED},
}


def without_runs(factor, unamplified=False):
    """The exact part, with too much noise by `factor`; the orders are those of noise not amplified, if so told."""
    linear = np.stack([of_moments(svag_rule(LINEAR, LR, l, factor), l) for l in FITTED])
    wells = np.stack([on_two_wells(weights(l, factor), l) for l in FITTED])
    of_orders = linear, wells
    if unamplified:
        of_orders = (np.stack([of_moments(sdt.dynamics.NoisyGD(LINEAR, lr=LR / l), l) for l in FITTED]),
                     np.stack([on_two_wells((1.0, 0.0), l) for l in FITTED]))
    # k products of 16 x 16 transfers with entries below 2 near the identity, moments below 4; of the modes what is
    # left out
    rounding = 16 * np.finfo(float).eps * 4 * max(FITTED) * SGD_STEPS
    of_modes = max(on_circle.truncation(weights(l, factor), CIRCLE_LR / l, SGD_STEPS * l) for l in FITTED[::4])
    return of_orders, {
        "order, x": next(orders(of_orders[0][..., :1]).points()), "order, x^2 to x^4": orders(of_orders[0][..., 1:]),
        "limit, x": extrapolated(linear[:, -1, 0], rounding),
        "limit, x^2 to x^4": extrapolated(linear[:, -1, 1:], rounding),
        "l times the error of x": extrapolated(linear[:, -1, 0] * FITTED, max(FITTED) * rounding),
        "two wells, order": orders(of_orders[1]), "two wells, limit": extrapolated(wells[:, -1], of_modes)}


def measure(trial):
    """The exact errors; then runs of the rule on the two wells."""
    (trial.data["linear"], _), found = without_runs(1.0)
    for l, seed in zip(SIMULATED, trial.rng.spawn(len(SIMULATED)), strict=True):
        x = sdt.simulate(svag_rule(on_circle.LOSS, CIRCLE_LR, l), [on_circle.START], n_steps=SGD_STEPS * l,
                         n_paths=trial.paths(PATHS), rng=seed).w.values[:, -1, 0]
        trial.data[l] = from_points(mean_estimate(g(x)) for g in on_circle.OBSERVED.values())
    return found | {f"two wells, runs at l = {l}": trial.data[l] for l in SIMULATED}


def broken(trial):
    """5 % too much noise: no limit at the SDE. And the l-fold smaller step with the noise as it was: no order."""
    _, found = without_runs(MORE, unamplified=True)
    return {name: found[name] for name, quantity in QUANTITIES.items() if quantity.in_broken_run}


def figure(trial, left, right):
    """Left: the exact errors with 1/l; right: the same on the two wells, with those of runs."""
    ladder, style = (4, 8, 16, *FITTED), {"ms": 5, "mfc": "none", "lw": 1}
    for n, errors in zip(POWERS, np.abs(trial.data["linear"]).max(axis=1).T, strict=True):
        left.plot(FITTED, errors, "o-", label=f"$x^{n}$" if n > 1 else "$x$", **style)
    more = [np.abs(of_moments(svag_rule(LINEAR, LR, l, MORE), l)[:, 3]).max() for l in FITTED]
    left.plot(FITTED, more, "+:", color="C5", label="$x^4$, 5 % more noise", **style)
    left.set(title="Linear gradients", ylim=(2e-5, 1e-1), ylabel=r"$\max_k|\mathbb{E}g(x_k)-\mathbb{E}g(X_{kh})|$")
    wells = np.stack([np.abs(on_two_wells(weights(l), l)).max(axis=0) for l in ladder])
    for i, (name, run) in enumerate(zip(on_circle.OBSERVED, trial.data[ladder[0]].points(), strict=True)):
        right.plot(ladder, wells[:, i], "os^"[i] + "-", label=name, **style)
        right.errorbar(ladder[0], abs(run.value - of_sde_on_circle()[-1, i]), 3 * run.stderr, fmt="D", ms=3, capsize=3,
                       color=f"C{i}", label="runs, at $T$" if i == 2 else None)
    plain = [np.abs(on_two_wells((1.0, 0.0), l)[:, 0]).max() for l in ladder]
    right.plot(ladder, plain, "x--", color="C5", label="$L$, noise not amplified", **style)
    right.set(title="Two wells", ylim=(2e-4, 30))
    for ax, ticks in ((left, FITTED), (right, ladder[::2])):
        ax.set(xscale="log", yscale="log", xlabel="amplification $l$")
        ax.set_xticks(ticks, [str(l) for l in ticks])
        ax.minorticks_off()
        ax.legend(ncols=2, columnspacing=1, handletextpad=0.4)
    left.figure.suptitle("SVAG tends to the SDE, and the weak error is of order $1/l$")


claim = Claim(
    "SVAG-3", "Weak order 1 in 1/l", paper="svag",
    where="the theorem that SVAG is a weak approximation of the SDE of order 1 in $1/l$",
    statement=r"At fixed $\eta$ and $T$, $\max_k|\mathbb E g(x_k)-\mathbb E g(X_{kh})|\le C/l$, $h=\eta/l$, for "
              r"SVAG(l) and the SDE $dX=-\nabla L\,dt+(\eta\Sigma)^{1/2}dW$, and the order is 1: for linear "
              r"gradients the error of $x$ is $-\frac{\eta a^2t}{2l}e^{-at}(x_0-b/a)$ to first order.",
    setup=r"Linear gradients in $d=1$ ($\eta=0.25$), and $L=-\cos x-\frac12\cos2x$ with skewed two-point noise that "
          r"depends on $x$ ($\eta=0.5$), over four SGD steps: exact laws for $l=32$ to $512$, and runs of the rule "
          "for $l=4,32$",
    proof=svag.by_claim("SVAG-3"), quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"$s=\sqrt{2.1l-1}$, 5 % too much noise, has the SDE as its limit; GD with the $l$-fold smaller step "
            r"and noise that is not amplified has order 1; $\mathbb Ex$ has order 2, as the moments of one step, or "
            "the limit of SGD; its error knows of no offset; and SVAG(l) does what SGD does")
