r"""EXP-7: the growth rates of the exponential schedule are the roots of a quadratic, and they need not exist.

.. math:: z^2-(1+\mu-x)z+\mu = 0, \quad x=\eta\lambda: \qquad 0<z_2\le\sqrt{\mu}\le z_1\le1 \iff x\le(1-\sqrt{\mu})^2, \qquad
          z_1 = 1-\frac{x}{1-\mu}-\frac{\mu x^2}{(1-\mu)^3}+O(x^3), \qquad \frac{x}{1-\mu}\le 1-z_1 .

z^k are the weights of SGD with decay where the gradient is 0. So the roots are read off such runs: two starts give
the sum and the product of the roots. Beyond the bound weights change their sign, and no positive factor undoes
that. Clock: steps.
"""

import numpy as np

import sdetheory as sdt
from sdetheory import Between, Claim, Exact, Quantity, Relative
from sdetheory.hypotheses import HypothesisError
from sdetheory.stats.rounding import unit_roundoff
from sdetheory.theory import exp_lr
from sdetheory.translate import remove_weight_decay

FLAT = sdt.losses.Quadratic([0.0, 0.0])  # gradient 0: only decay and momentum move the weights
LR = 0.5
MOMENTA = np.array([0.1, 0.5, 0.9, 0.95])
SHARES = (1e-3, 1e-2, 0.1, 0.5, 0.9)  # of the largest x with positive roots
BEYOND = (1.001, 1.5, 3.5)  # there the roots are complex for all MOMENTA: (1+√μ)² is 3.7 times as far or more
SMALL = 0.01  # y = x/(1−μ)² for the third-order term
UNIT = unit_roundoff()
# Sum and product come from two steps of eight roundings each, of numbers below 2, and a quotient; a root feels an
# error of either over the distance of the roots.
ROUNDINGS = 64

EDGE = exp_lr.critical_intrinsic_lr(momentum=MOMENTA)
X, MU = np.array([(share * edge, mu) for mu, edge in zip(MOMENTA, EDGE, strict=True) for share in SHARES]).T
COMPLEX = [(share * edge, mu) for mu, edge in zip(MOMENTA, EDGE, strict=True) for share in BEYOND]
ABOVE = [(1.1 * (1 + mu**0.5) ** 2, mu) for mu in MOMENTA]
OUTSIDE = [case for pair in zip(COMPLEX[::len(BEYOND)], ABOVE, strict=True) for case in pair]
AT = {"lr": LR, "weight_decay": X / LR, "momentum": MU}

# What leading orders, and habits from quadratics with one sign, would say: the third-order term as the next one of
# a geometric series, μ²x³/(1−μ)^5; 1 − z1 below its tangent; complex roots by their real part; any real roots for
# good ones.
QUANTITIES = {
    "larger root": Quantity(exp_lr.larger_root(**AT), 1e-8, wrong=1 - X / (1 - MU)),
    "smaller root": Quantity(exp_lr.smaller_root(**AT), 1e-8, wrong=MU),
    "largest x": Quantity(EDGE, Relative(1e-3), wrong=(1 - MOMENTA) ** 2 / 4,
                          bias_source="the interval of the bisection, and sign changes after the last step of a run"),
    "third-order remainder": Quantity(1.0, 0.01, wrong=MOMENTA / (1 + MOMENTA),
                                      bias_source="the next order, by the Narayana numbers, and rounding"),
    "(1-z1)(1-mu)/x": Quantity(Between(low=1.0), 1e-6, wrong=Between(high=1 - 1e-5)),
    "beyond: |root|^2/mu": Quantity(1.0, 1e-8, wrong=[(1 + mu - x) ** 2 / (4 * mu) for x, mu in COMPLEX]),
    "above: larger root": Quantity(Between(high=0.0), 1e-8, wrong=Between(low=1e-3)),
    "refused": Quantity(np.repeat([0.0, 1.0], [X.size, len(OUTSIDE)]), 0.5, bias_source="a count",
                        wrong=[0.0] * X.size + [1.0, 0.0] * len(MOMENTA)),
}


def weights(x, mu, n_steps, start, kick):
    """Weights of two coordinates that do not know of each other, (n_steps + 1, 2)."""
    rule = sdt.SGD(FLAT, lr=LR, weight_decay=x / LR, momentum=mu, v0=kick)
    return sdt.simulate(rule, start, n_steps=n_steps, observe=["w"], save_every=1).w.values[0]


def roots_of(x, mu):
    """Both roots, the larger first, of the recursion w_{k+1} = s w_k − p w_{k−1} of a run; a bound on rounding."""
    # one coordinate starts with a buffer alone: w_0 = 0, so s = w_2/w_1; the other has w_0 = 1: p = s w_1 − w_2
    w = weights(x, mu, 2, (0.0, 1.0), (-1.0, 0.0))
    total = w[2, 0] / w[1, 0]
    roots = np.roots([1.0, -total, total * w[1, 1] - w[2, 1]])
    return roots, ROUNDINGS * UNIT / max(abs(roots[0] - roots[1]), UNIT**0.5)


def critical(mu):
    """The largest x at which a weight without a first buffer keeps its sign, by bisection; how far it may be off."""
    n_steps = int(700 / abs(np.log(mu**0.5)))  # further on the weights are below the smallest float
    low, high = 1e-5, 0.9
    while high / low > 1.0002:
        x = (low * high) ** 0.5
        w = weights(x, mu, n_steps, (1.0, 1.0), (0.0, 0.0))[:, 0]
        low, high = (low, x) if (w < 0).any() else (x, high)
    # a turn by θ a step shows within π/θ steps, and θ² = (x − bound)/√μ near the bound
    return (low * high) ** 0.5, high - low + mu**0.5 * (np.pi / n_steps) ** 2


def remainder(mu):
    """(expansion − z1) over μ(1+μ)x³/(1−μ)^5, extrapolated: 2 r(y/2) − r(y); and how far it may be off."""
    r, loss = [], []
    for y in (SMALL, SMALL / 2):
        x = y * (1 - mu) ** 2
        roots, bound = roots_of(x, mu)
        term = mu * (1 + mu) * x**3 / (1 - mu) ** 5
        r.append((exp_lr.larger_root_expansion(lr=LR, weight_decay=x / LR, momentum=mu) - roots[0].real) / term)
        loss.append(bound / term)
    # r = 1 + a y + b y² + …, b <= 7 and the next one <= 21 for μ <= 1 (Narayana numbers), so 2 r(y/2) − r(y) is off
    # by b y²/2 + … <= 4 y²
    return 2 * r[1] - r[0], 4 * SMALL**2 + 2 * loss[1] + loss[0]


def refused(x, mu):
    """Whether the translator and the formula both refuse, by the name of this claim."""
    refusals = 0
    for attempt in (lambda: exp_lr.larger_root(lr=LR, weight_decay=x / LR, momentum=mu),
                    lambda: remove_weight_decay(LR, x / LR, mu, n_steps=5, start="root")):
        try:
            attempt()
        except HypothesisError as error:
            refusals += "EXP-7" in str(error)
    return refusals == 2


def columns(pairs):
    return (np.array(column) for column in zip(*pairs, strict=True))


def measure(trial):
    """Roots from runs of two steps, the bound from long ones."""
    roots, bound = columns(roots_of(*case) for case in zip(X, MU, strict=True))
    roots, slope = roots.real, (1 - MU) / X
    beyond, beyond_bound = columns(roots_of(*case) for case in COMPLEX)
    above, above_bound = columns(roots_of(*case) for case in ABOVE)
    mu_beyond = np.array([mu for _, mu in COMPLEX])
    edge, edge_bound = columns(map(critical, MOMENTA))
    trial.data.update(edge=edge, roots=roots)
    return {"larger root": Exact(roots[:, 0], bound), "smaller root": Exact(roots[:, 1], bound),
            "largest x": Exact(edge, edge_bound), "third-order remainder": Exact(*columns(map(remainder, MOMENTA))),
            "(1-z1)(1-mu)/x": Exact((1 - roots[:, 0]) * slope, bound * slope),
            "beyond: |root|^2/mu": Exact(abs(beyond[:, 0]) ** 2 / mu_beyond, 2 * beyond_bound / mu_beyond**0.5),
            "above: larger root": Exact(above.real.max(1), above_bound),
            "refused": Exact(np.array([refused(*case) for case in (*zip(X, MU, strict=True), *OUTSIDE)], dtype=float), 0.0)}


def figure(trial, left, right):
    """Left: both roots against x at μ = 0.9, and where they end. Right: the largest x against μ."""
    mu = 0.9
    x = exp_lr.critical_intrinsic_lr(momentum=mu) * (1 - np.linspace(1, 0, 300) ** 2)
    at = {"lr": 1.0, "weight_decay": x, "momentum": mu}
    left.plot(x / x[-1], exp_lr.larger_root(**at), color="tab:blue", label=r"$z_1$")
    left.plot(x / x[-1], exp_lr.smaller_root(**at), color="tab:orange", label=r"$z_2=\mu/z_1$")
    left.plot(x / x[-1], 1 - x / (1 - mu), color="0.5", lw=1, ls="--", label=r"$1-\eta\lambda/(1-\mu)$")
    left.plot(SHARES, trial.data["roots"][mu == MU], "o", ms=5, mfc="none", color="0.25")
    left.plot([], [], "o", ms=5, mfc="none", color="0.25", label="measured in runs")
    left.plot(1, mu**0.5, "s", color="tab:red", ms=5, label=r"both are $\sqrt{\mu}$")
    left.axvspan(1, 1.25, color="0.5", alpha=0.2, lw=0)
    left.text(1.125, 0.975, "no positive\nschedule", ha="center")
    left.set(xlabel=r"$\eta\lambda/(1-\sqrt{\mu})^2$", ylabel=r"root $\alpha$", xlim=(-0.02, 1.25),
             title=r"Two growth rates $\alpha^{-2}$ ($\mu=0.9$)")
    left.legend(loc="center left", bbox_to_anchor=(0.0, 0.5))
    dense = np.linspace(0.05, 0.97, 200)
    right.semilogy(dense, exp_lr.critical_intrinsic_lr(momentum=dense), color="tab:blue", label=r"$(1-\sqrt{\mu})^2$")
    right.semilogy(dense, (1 - dense) ** 2 / 4, color="0.5", ls="--", lw=1, label=r"control: $(1-\mu)^2/4$")
    right.semilogy(MOMENTA, trial.data["edge"], "o", ms=5, mfc="none", color="0.25", label="where weights change sign")
    right.set(xlabel=r"momentum $\mu$", ylabel=r"largest intrinsic learning rate $\eta\lambda$",
              title="The bound, found by bisection")
    right.legend()


claim = Claim(
    "EXP-7", "The roots, and where no exponential schedule exists", paper="exp_lr",
    where="the quadratic of the theorem with momentum: its roots, and the condition for them to be real",
    statement=r"For $0<\mu<1$ and $x=\eta\lambda\ge0$ the roots of $z^2-(1+\mu-x)z+\mu$ are positive iff "
              r"$x\le(1-\sqrt{\mu})^2$; then $0<z_2\le\sqrt{\mu}\le z_1\le1$, $z_1=1-x/(1-\mu)-\mu "
              r"x^2/(1-\mu)^3+O(x^3)$ and $x/(1-\mu)\le1-z_1$. Between $(1\mp\sqrt{\mu})^2$ they are complex, "
              "above negative: no positive exponential schedule exists, and the translator refuses by this name.",
    setup="SGD with decay and momentum where the gradient is 0, two steps for the roots and thousands for the "
          rf"bound on $x$; $\mu$ = {', '.join(map(str, MOMENTA))}, $x$ from {min(SHARES):g} to {max(SHARES)} of "
          "the bound, and beyond",
    proof=exp_lr.by_claim("EXP-7"), quantities=QUANTITIES, measure=measure, figure=figure,
    control=r"the leading order in $1-\mu$ and $x$ for the truth: the bound $(1-\mu)^2/4$, "
            r"$z_1=1-\eta\lambda/(1-\mu)$, $z_2=\mu$, a geometric series for the rest, so that $1-z_1$ is below "
            "its tangent; and a schedule exists wherever the roots are real, those beyond the bound being as "
            "large as their real part")
