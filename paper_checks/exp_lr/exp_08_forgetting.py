r"""EXP-8: the growth factor of the equivalent schedule forgets how it was started.

.. math:: \alpha\mapsto 1+\mu-\eta\lambda-\frac{\mu}{\alpha}: \qquad
          \frac{\alpha_t-z_1}{\alpha_t-z_2} = \Bigl(\frac{z_2}{z_1}\Bigr)^{t}\frac{\alpha_0-z_1}{\alpha_0-z_2}, \qquad
          z_1=z_2: \ \frac{1}{\alpha_t-\sqrt{\mu}} = \frac{1}{\alpha_0-\sqrt{\mu}}+\frac{t}{\sqrt{\mu}} .

A start below z2 runs to α ≤ 0, and complex roots, √μ e^{±iθ}, turn α by θ a step for ever. Where the gradient is 0, α_t is
w_t/w_{t−1}: so it is seen in a run. And the schedule made of the closed form must do on minibatches what decay does.
Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sdetheory.evidence import Exact

import sdetheory as sdt
from paper_checks.exp_lr.side_by_side import RESOLUTION, Other, beside, worst
from sdetheory.claims import Claim, Control, Relative, Run
from sdetheory.hypotheses import HypothesisError
from sdetheory.stats.rounding import recursion_error, unit_roundoff
from sdetheory.symbolic import Derivation
from sdetheory.theory import exp_lr
from sdetheory.theory.formula import joint_derivation
from sdetheory.translate import remove_weight_decay

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLAT = sdt.losses.Quadratic([0.0, 0.0])  # gradient 0: only decay and momentum move the weights
UNIT = unit_roundoff()
STEPS, LONGEST = 120, 250  # of the runs that stay above 0, and of those that do not
LRS = {0.9: 0.02, 0.5: 0.1}  # by momentum: effective steps lr/(1 − μ) of 0.2
# (share of the largest ηλ with real roots, momentum, start): share 1 is the double root; "low" lies between the roots
CASES: tuple[tuple[float, float, float | str], ...] = (
    (0.5, 0.9, 1.0), (0.5, 0.9, 1.2), (0.5, 0.9, "low"), (0.5, 0.5, 1.0), (0.9, 0.9, 1.0), (1.0, 0.9, 1.0), (1.0, 0.5, 1.0))
# (share, momentum, start): the first two have complex roots, the others start below z2
RUNAWAYS = ((1.5, 0.9, 1.0), (1.1, 0.5, 1.0), (0.5, 0.9, 0.9), (0.3, 0.5, 0.5))
# A step computes v and w with eight roundings, of terms no larger than 1 + 1/α times a weight.
ROUNDINGS = 16


def _values(share: float, mu: float) -> dict[str, float]:
    """lr, decay and momentum of a case; at share 1 the decay is that of the double root, to rounding."""
    lr = LRS[mu]
    return {"lr": lr, "weight_decay": share * float(exp_lr.critical_intrinsic_lr(momentum=mu)) / lr, "momentum": mu}


def _roots(share: float, mu: float) -> tuple[float, float]:
    at = _values(share, mu)
    return float(exp_lr.larger_root(**at)), float(exp_lr.smaller_root(**at))


def _start(share: float, mu: float, start: float | str) -> float:
    if not isinstance(start, str):
        return start
    large, small = _roots(share, mu)
    return small + 0.1 * (large - small)


def _closed_form(share: float, mu: float, start: float | str) -> np.ndarray:
    """α_0 … α_STEPS."""
    steps, first = np.arange(STEPS + 1), _start(share, mu, start)
    if share == 1:
        return np.asarray(exp_lr.double_root_alpha(step=steps, alpha=first, momentum=mu))
    return np.asarray(exp_lr.alpha_after(step=steps, alpha=first, **_values(share, mu)))


def _turning(share: float, mu: float, start: float) -> int:
    """The first t with α_t <= 0, from the closed forms."""
    if share > 1:  # α_t = √μ sin((t+1)θ + φ)/sin(tθ + φ), and α_0 says what φ is
        theta, root = float(exp_lr.rotation_angle(**_values(share, mu))), mu**0.5
        phase = np.arctan2(root * np.sin(theta), start - root * np.cos(theta))
        return int(np.ceil((np.pi - phase) / theta)) - 1
    large, small = _roots(share, mu)  # α_t <= 0 once (z2/z1)^t (α_0−z1)/(α_0−z2) is below z1/z2
    return int(np.log((start - large) / (start - small)) / np.log(large / small))


def prediction() -> dict[str, Any]:
    """Closed forms; gaps of functions are 0."""
    apart = [case for case in CASES if case[0] < 1]
    return {"alpha": np.concatenate([_closed_form(*case)[1:] for case in CASES]),
            "contraction a step": np.array([float(exp_lr.forgetting_factor(**_values(s, mu))) for s, mu, _ in apart]),
            "steps until alpha <= 0": np.array([_turning(*case) for case in RUNAWAYS], dtype=float),
            "refused": 1.0, "loss": 0.0, "direction": 0.0, "sq_norm": 1.0}


def wrong() -> dict[str, Any]:
    """The leading order in ηλ, z2/z1 = μ, taken for the truth."""
    return {"contraction a step": np.array([mu for s, mu, _ in CASES if s < 1])}


def _alphas(share: float, mu: float, first: float, n_steps: int) -> np.ndarray:
    """α_1 … α_n as ratios of weights of a run without gradient; its buffer makes the ratio before it α_0."""
    at = _values(share, mu)
    rule = sdt.SGD(FLAT, v0=np.full(2, (1 / first - 1) / at["lr"]), **at)
    w = sdt.simulate(rule, [1.0, 1.0], n_steps=n_steps, observe=["w"], save_every=1).w.values[0, :, 0]
    return w[1:] / w[:-1]


def _bounds(alpha: np.ndarray, first: float, mu: float) -> np.ndarray:
    """Rounding of α_1 …: each step adds its own, and multiplies what was there by dα'/dα = μ/α²."""
    before = np.append(first, alpha[:-1])
    bounds = recursion_error(ROUNDINGS * UNIT * (1 + 1 / before), mu / before**2, start=2 * ROUNDINGS * UNIT)
    return 2 * bounds[1:]  # the closed form is rounded too


def _contraction(alpha: np.ndarray, bound: np.ndarray, share: float, mu: float) -> tuple[float, float]:
    """The factor on (α−z1)/(α−z2) a step, over the steps before α is within 1e-3 of z1, and its rounding."""
    large, small = _roots(share, mu)
    last = int(np.argmax(abs(alpha - large) < 1e-3))
    ends = alpha[[0, last]]
    before, after = (ends - large) / (ends - small)
    factor = (after / before) ** (1 / last)
    # relative errors of α − z1 and α − z2 at both ends; z1 and z2 are rounded over their distance
    rounded = bound[[0, last]] + 8 * UNIT / (large - small)
    relative = rounded / abs(ends - large) + rounded / abs(ends - small)
    return float(factor), float(factor * relative.sum() / last)


def _refuses(share: float, mu: float, start: float) -> bool:
    try:
        at = _values(share, mu)
        remove_weight_decay(at["lr"], at["weight_decay"], mu, n_steps=LONGEST, start=start)
    except HypothesisError:
        return True
    return False


def simulation(run: Run) -> dict[str, Any]:
    """Ratios of weights without gradient; then the schedule of the closed form on minibatches beside decay."""
    alphas = [_alphas(s, mu, _start(s, mu, start), STEPS) for s, mu, start in CASES]
    bounds = [_bounds(a, _start(s, mu, start), mu) for a, (s, mu, start) in zip(alphas, CASES, strict=True)]
    # where the roots meet, a rounding of the discriminant moves them by its root; it is felt as a relative change of η λ,
    # 8 roundings a step, and sums up undiminished
    bounds = [b + (STEPS * 8 * UNIT if case[0] == 1 else 0.0) for b, case in zip(bounds, CASES, strict=True)]
    apart = [_contraction(a, b, s, mu) for a, b, (s, mu, _) in zip(alphas, bounds, CASES, strict=True) if s < 1]
    turns = [int(np.argmax(_alphas(*case, LONGEST) <= 0)) + 1 for case in RUNAWAYS]
    gaps = []
    for case in CASES:
        alpha, at = _closed_form(*case), _values(case[0], case[1])
        log_scale = np.concatenate([[0.0], np.cumsum(-np.log(alpha[1:]))])
        tilt = (1 - 1 / alpha[0]) / at["lr"]
        other = Other(at["lr"] * np.exp(log_scale[:-1] + log_scale[1:]), log_scale, tilt, np.abs(1 / alpha - 1).max())
        gaps.append(beside(run, "Rayleigh quotients", other, n_steps=STEPS, **at))
    run.data.update(alphas=alphas)
    return {"alpha": Exact(np.concatenate(alphas), np.concatenate(bounds)),
            "contraction a step": Exact(*(np.array(column) for column in zip(*apart, strict=True))),
            "steps until alpha <= 0": Exact(np.array(turns, dtype=float), 0.0),
            "refused": Exact(np.array([_refuses(*case) for case in RUNAWAYS], dtype=float), 0.0), **worst(gaps)}


def derivation() -> Derivation:
    """The Möbius map, its contraction, the double root and the turning."""
    return joint_derivation("The recursion forgets its start", exp_lr.forgetting_factor, exp_lr.alpha_after,
                            exp_lr.double_root_alpha, exp_lr.rotation_angle)


def figure(run: Run) -> Figure:
    """Left: α from several starts, closed form and run. Right: the distance from its limit, and the double root."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.4, 3.8), layout="constrained")
    left, right = fig.subplots(1, 2)
    large, small = _roots(0.5, 0.9)
    steps = np.arange(STEPS + 1)
    colours = ("tab:blue", "tab:cyan", "tab:green")
    for i, colour in enumerate(colours):
        left.plot(steps, _closed_form(*CASES[i]), color=colour, lw=1.2)
        left.plot(steps[1::3], run.data["alphas"][i][::3], "o", ms=3.5, mfc="none", color=colour,
                  label=rf"$\alpha_0={_start(*CASES[i]):.3g}$")
    for case, colour in ((RUNAWAYS[2], "tab:red"), (RUNAWAYS[0], "tab:orange")):
        found = np.concatenate([[case[2]], _alphas(*case, _turning(*case))])
        label = r"$\alpha_0<z_2$" if case[0] < 1 else "complex roots"
        left.plot(np.arange(len(found)), found, ".-", lw=1, ms=4, color=colour, label=label)
    for value, name in ((large, "$z_1$"), (small, "$z_2$")):
        left.axhline(value, color="0.5", lw=0.8, ls=":")
        left.annotate(name, (1.01, value), xycoords=("axes fraction", "data"), va="center", fontsize=9)
    left.set(xlabel=r"step $t$", ylabel=r"$\alpha_t$", ylim=(0.8, 1.05), xlim=(-1, 80))
    left.set_title(r"Every start above $z_2$ ends at $z_1$ ($\mu=0.9$)", fontsize=10)
    left.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0.22, 0.0))
    rows = ((0, "tab:blue", r"$\eta\lambda=0.5\,(1-\sqrt{\mu})^2$"), (4, "tab:purple", r"$\eta\lambda=0.9\,(1-\sqrt{\mu})^2$"),
            (5, "tab:orange", r"double root: $\sqrt{\mu}/t$"))
    for i, colour, label in rows:
        share, mu, _ = CASES[i]
        limit = _roots(share, mu)[0] if share < 1 else mu**0.5
        right.semilogy(steps, _closed_form(*CASES[i]) - limit, color=colour, lw=1.2)
        right.semilogy(steps[1::4], run.data["alphas"][i][::4] - limit, "o", ms=3.5, mfc="none", color=colour, label=label)
    right.set(xlabel=r"step $t$", ylabel=r"$\alpha_t-z_1$", ylim=(1e-7, 0.3))
    right.set_title(r"by $z_2/z_1$ a step, or like $1/t$", fontsize=10)
    right.legend(frameon=False, fontsize=8)
    return fig


claim = Claim(
    "EXP-8",
    title="The recursion forgets its start",
    paper="exp_lr",
    statement=r"For constant $\eta,\lambda$ the recursion of EXP-6 is a Möbius map: $(\alpha_t-z_1)/(\alpha_t-z_2)$ shrinks by "
              r"$z_2/z_1$ a step. At the double root forgetting is algebraic, "
              r"$1/(\alpha_t-\sqrt{\mu})=1/(\alpha_0-\sqrt{\mu})+t/\sqrt{\mu}$; a start below $z_2$ runs to $\alpha\le0$; "
              r"complex roots never forget.",
    derivation=derivation,
    prediction=prediction,
    simulation=simulation,
    resolution={"alpha": 1e-9, "contraction a step": 1e-6, "steps until alpha <= 0": 0.5, "refused": 0.5,
                "loss": RESOLUTION, "direction": RESOLUTION, "sq_norm": Relative(RESOLUTION)},
    negative_control=Control(r"the rate is $\mu$, which $z_2/z_1$ is to leading order in $\eta\lambda$", prediction=wrong),
    figure=figure,
)
