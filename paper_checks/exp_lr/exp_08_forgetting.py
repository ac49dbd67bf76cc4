r"""EXP-8: the growth factor of the equivalent schedule forgets how it was started.

.. math:: \alpha\mapsto 1+\mu-\eta\lambda-\frac{\mu}{\alpha}: \qquad
          \frac{\alpha_t-z_1}{\alpha_t-z_2} = \Bigl(\frac{z_2}{z_1}\Bigr)^{t}\frac{\alpha_0-z_1}{\alpha_0-z_2}, \qquad
          z_1=z_2: \ \frac{1}{\alpha_t-\sqrt{\mu}} = \frac{1}{\alpha_0-\sqrt{\mu}}+\frac{t}{\sqrt{\mu}} .

A start below z2 runs to α ≤ 0, and complex roots, √μ e^{±iθ}, turn α by θ a step for ever. Where the gradient is 0,
α_t is w_t/w_{t−1}: so it is seen in a run. And the schedule made of the closed form must do on minibatches what
decay does. An extension: it follows from the recursion of EXP-6. Clock: steps.
"""

import numpy as np

import sdetheory as sdt
from paper_checks.exp_lr.side_by_side import EQUAL, Other, beside, worst
from sdetheory import Claim, Exact, Quantity
from sdetheory.hypotheses import HypothesisError
from sdetheory.stats.rounding import recursion_error, unit_roundoff
from sdetheory.theory import exp_lr
from sdetheory.translate import remove_weight_decay

FLAT = sdt.losses.Quadratic([0.0, 0.0])  # gradient 0: only decay and momentum move the weights
UNIT = unit_roundoff()
STEPS, LONGEST = 120, 250  # of the runs that stay above 0, and of those that do not
LRS = {0.9: 0.02, 0.5: 0.1}  # by momentum: effective steps lr/(1 − μ) of 0.2
# A step computes v and w with eight roundings, of terms no larger than 1 + 1/α times a weight.
ROUNDINGS = 16


def given(share, mu):
    """lr, decay and momentum where ηλ is a share of the largest with real roots; 1 is the double root, to rounding."""
    lr = LRS[mu]
    return {"lr": lr, "weight_decay": share * exp_lr.critical_intrinsic_lr(momentum=mu) / lr, "momentum": mu}


def roots(share, mu):
    return exp_lr.larger_root(**given(share, mu)), exp_lr.smaller_root(**given(share, mu))


def between(share, mu):
    large, small = roots(share, mu)
    return small + 0.1 * (large - small)


# (share, momentum, start)
CASES = ((0.5, 0.9, 1.0), (0.5, 0.9, 1.2), (0.5, 0.9, between(0.5, 0.9)), (0.5, 0.5, 1.0), (0.9, 0.9, 1.0),
         (1.0, 0.9, 1.0), (1.0, 0.5, 1.0))
APART = [case for case in CASES if case[0] < 1]
# the first two have complex roots, the others start below z2
RUNAWAYS = ((1.5, 0.9, 1.0), (1.1, 0.5, 1.0), (0.5, 0.9, 0.9), (0.3, 0.5, 0.5))


def closed_form(share, mu, start):
    """α_0 … α_STEPS."""
    steps = np.arange(STEPS + 1)
    if share == 1:
        return exp_lr.double_root_alpha(step=steps, alpha=start, momentum=mu)
    return exp_lr.alpha_after(step=steps, alpha=start, **given(share, mu))


def linearised(share, mu, start):
    """The control's α_1 … α_STEPS: α − z1 itself shrinks by z2/z1 a step, and as √μ/t at the double root."""
    steps = np.arange(1, STEPS + 1)
    if share == 1:
        return mu**0.5 * (1 + 1 / steps)
    large, small = roots(share, mu)
    return large + (start - large) * (small / large) ** steps


def turning(share, mu, start):
    """The first t with α_t <= 0, from the closed forms."""
    if share > 1:  # α_t = √μ sin((t+1)θ + φ)/sin(tθ + φ), and α_0 says what φ is
        theta, root = exp_lr.rotation_angle(**given(share, mu)), mu**0.5
        phase = np.arctan2(root * np.sin(theta), start - root * np.cos(theta))
        return int(np.ceil((np.pi - phase) / theta)) - 1
    large, small = roots(share, mu)  # α_t <= 0 once (z2/z1)^t (α_0−z1)/(α_0−z2) is below z1/z2
    return int(np.log((start - large) / (start - small)) / np.log(large / small))


def turning_linearised(share, mu, start):
    """The control's: a turn by π, wherever it starts; α − z2 itself grows by z1/z2 a step."""
    if share > 1:
        return int(np.ceil(np.pi / exp_lr.rotation_angle(**given(share, mu))))
    large, small = roots(share, mu)
    return int(np.ceil(np.log(small / (small - start)) / np.log(large / small)))


QUANTITIES = {
    "alpha": Quantity(np.concatenate([closed_form(*case)[1:] for case in CASES]), 1e-9,
                      wrong=np.concatenate([linearised(*case) for case in CASES])),
    "contraction a step": Quantity([exp_lr.forgetting_factor(**given(s, mu)) for s, mu, _ in APART], 1e-6,
                                   wrong=[mu for _, mu, _ in APART]),
    "steps until alpha <= 0": Quantity([turning(*case) for case in RUNAWAYS], 0.5, bias_source="a count",
                                       wrong=[turning_linearised(*case) for case in RUNAWAYS]),
    "refused": Quantity(1.0, 0.5, wrong=[float(share > 1) for share, _, _ in RUNAWAYS], bias_source="a count"),
    **EQUAL,
}


def alphas(share, mu, first, n_steps=STEPS):
    """α_1 … α_n as ratios of weights of a run without gradient; its buffer makes the ratio before it α_0."""
    at = given(share, mu)
    rule = sdt.SGD(FLAT, v0=np.full(2, (1 / first - 1) / at["lr"]), **at)
    w = sdt.simulate(rule, [1.0, 1.0], n_steps=n_steps, observe=["w"], save_every=1).w.values[0, :, 0]
    return w[1:] / w[:-1]


def rounding(alpha, share, mu, first):
    """Rounding of α_1 …: each step adds its own, and multiplies what was there by dα'/dα = μ/α²."""
    before = np.append(first, alpha[:-1])
    bounds = recursion_error(ROUNDINGS * UNIT * (1 + 1 / before), mu / before**2, start=2 * ROUNDINGS * UNIT)
    # where the roots meet, a rounding of the discriminant moves them by its root; it is felt as a relative change
    # of η λ, 8 roundings a step, and sums up undiminished
    return 2 * bounds[1:] + (STEPS * 8 * UNIT if share == 1 else 0.0)  # the closed form is rounded too


def contraction(alpha, bound, share, mu):
    """The factor on (α−z1)/(α−z2) a step, over the steps before α is within 1e-3 of z1, and its rounding."""
    large, small = roots(share, mu)
    last = int(np.argmax(abs(alpha - large) < 1e-3))
    ends = alpha[[0, last]]
    before, after = (ends - large) / (ends - small)
    factor = (after / before) ** (1 / last)
    # relative errors of α − z1 and α − z2 at both ends; z1 and z2 are rounded over their distance
    rounded = bound[[0, last]] + 8 * UNIT / (large - small)
    return factor, factor * (rounded / abs(ends - large) + rounded / abs(ends - small)).sum() / last


def refuses(share, mu, start):
    try:
        at = given(share, mu)
        remove_weight_decay(at["lr"], at["weight_decay"], mu, n_steps=LONGEST, start=start)
    except HypothesisError:
        return True
    return False


def on_minibatches(trial, at_once=False):
    """The schedule of the closed form beside decay; with `at_once`, the exponential one from the first step on."""
    gaps = []
    for case in CASES:
        alpha, at = closed_form(*case), given(*case[:2])
        if at_once:
            alpha[1:] = roots(*case[:2])[0]
        log_scale = np.concatenate([[0.0], np.cumsum(-np.log(alpha[1:]))])
        other = Other(at["lr"] * np.exp(log_scale[:-1] + log_scale[1:]), log_scale, (1 - 1 / alpha[0]) / at["lr"],
                      np.abs(1 / alpha - 1).max())
        gaps.append(beside(trial, "Rayleigh quotients", other, n_steps=STEPS, **at))
    return worst(gaps)


def measure(trial):
    found = [alphas(*case) for case in CASES]
    bounds = [rounding(alpha, *case) for alpha, case in zip(found, CASES, strict=True)]
    factors = [contraction(a, b, s, mu) for a, b, (s, mu, _) in zip(found, bounds, CASES, strict=True) if s < 1]
    turns = [np.argmax(alphas(*case, LONGEST) <= 0) + 1.0 for case in RUNAWAYS]
    trial.data["alphas"] = found
    return {"alpha": Exact(np.concatenate(found), np.concatenate(bounds)),
            "contraction a step": Exact(*np.array(factors).T), "steps until alpha <= 0": Exact(np.array(turns), 0.0),
            "refused": Exact(np.array([refuses(*case) for case in RUNAWAYS], dtype=float), 0.0), **on_minibatches(trial)}


def broken(trial):
    return on_minibatches(trial, at_once=True)


def figure(trial, left, right):
    """Left: α from several starts, closed form and run. Right: the distance from its limit, and the double root."""
    large, small = roots(0.5, 0.9)
    steps, found = np.arange(STEPS + 1), trial.data["alphas"]
    for case, alpha, color in zip(CASES, found, ("tab:blue", "tab:cyan", "tab:green"), strict=False):
        left.plot(steps, closed_form(*case), color=color, lw=1.2)
        left.plot(steps[1::3], alpha[::3], "o", ms=3.5, mfc="none", color=color, label=rf"$\alpha_0={case[2]:.3g}$")
    for case, color, label in ((RUNAWAYS[2], "tab:red", r"$\alpha_0<z_2$"), (RUNAWAYS[0], "tab:orange", "complex roots")):
        left.plot([case[2], *alphas(*case, turning(*case))], ".-", lw=1, ms=4, color=color, label=label)
    for value, name in ((large, "$z_1$"), (small, "$z_2$")):
        left.axhline(value, color="0.5", lw=0.8, ls=":")
        left.annotate(name, (1.01, value), xycoords=("axes fraction", "data"), va="center")
    left.set(xlabel=r"step $t$", ylabel=r"$\alpha_t$", ylim=(0.8, 1.05), xlim=(-1, 80),
             title=r"Starts above $z_2$ end at $z_1$ ($\mu=0.9$)")
    left.legend(loc="lower left", bbox_to_anchor=(0.22, 0.0))
    for i, color, label in ((0, "tab:blue", r"$\eta\lambda=0.5\,(1-\sqrt{\mu})^2$"),
                            (4, "tab:purple", r"$\eta\lambda=0.9\,(1-\sqrt{\mu})^2$"),
                            (5, "tab:orange", r"double root: $\sqrt{\mu}/t$")):
        share, mu, _ = CASES[i]
        limit = roots(share, mu)[0] if share < 1 else mu**0.5
        right.semilogy(steps, closed_form(*CASES[i]) - limit, color=color, lw=1.2)
        right.semilogy(steps[1::4], found[i][::4] - limit, "o", ms=3.5, mfc="none", color=color, label=label)
    right.set(xlabel=r"step $t$", ylabel=r"$\alpha_t-z_1$", ylim=(1e-7, 0.3), title=r"… by $z_2/z_1$ a step, or like $1/t$")
    right.legend()


claim = Claim(
    "EXP-8", "The recursion forgets its start", paper="exp_lr", extension=True,
    where="the recursion of the equivalence for every schedule, at constant learning rate and decay",
    statement=r"For constant $\eta,\lambda$ the recursion of EXP-6 is a Möbius map: "
              r"$(\alpha_t-z_1)/(\alpha_t-z_2)$ shrinks by $z_2/z_1$ a step. At the double root forgetting is "
              r"algebraic, $1/(\alpha_t-\sqrt{\mu})=1/(\alpha_0-\sqrt{\mu})+t/\sqrt{\mu}$; a start below $z_2$ "
              r"runs to $\alpha\le0$; complex roots never forget.",
    setup=rf"SGD with decay and momentum where the gradient is 0 for {STEPS} or {LONGEST} steps, $\mu$ = 0.9 and "
          "0.5; then on minibatches of Rayleigh quotients beside the schedule without decay",
    proof=exp_lr.by_claim("EXP-8"), quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"the map linearised: $\alpha_t-z_1$ itself shrinks by $z_2/z_1$ a step, below $z_2$ it grows by "
            r"$z_1/z_2$, and complex roots turn by $\pi$; to leading order in $\eta\lambda$ the rate is $\mu$; "
            "only complex roots are refused; the exponential schedule will do from the first step on")
