r"""EXP-7: the growth rates of the exponential schedule are the roots of a quadratic, and they need not exist.

.. math:: z^2-(1+\mu-x)z+\mu = 0, \quad x=\eta\lambda: \qquad 0<z_2\le\sqrt{\mu}\le z_1\le1 \iff x\le(1-\sqrt{\mu})^2, \qquad
          z_1 = 1-\frac{x}{1-\mu}-\frac{\mu x^2}{(1-\mu)^3}+O(x^3), \qquad \frac{x}{1-\mu}\le 1-z_1 .

z^k are the weights of SGD with decay where the gradient is 0. So the roots are read off such runs: two starts give the
sum and the product of the roots. Beyond the bound weights change their sign, and no positive factor undoes that. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sdetheory.evidence import Between, Exact

import sdetheory as sdt
from sdetheory.claims import Claim, Control, Relative, Run
from sdetheory.hypotheses import HypothesisError
from sdetheory.symbolic import Derivation
from sdetheory.theory import exp_lr
from sdetheory.theory.formula import joint_derivation
from sdetheory.translate import remove_weight_decay

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLAT = sdt.losses.Quadratic([0.0, 0.0])  # gradient 0: only decay and momentum move the weights
LR = 0.5
MOMENTA = (0.1, 0.5, 0.9, 0.95)
SHARES = (1e-3, 1e-2, 0.1, 0.5, 0.9)  # of the largest x with positive roots
BEYOND = (1.001, 1.5, 3.5)  # there the roots are complex for all MOMENTA; (1+√μ)² is further away by a factor of 3.7 or more
CASES = tuple((share, mu) for mu in MOMENTA for share in SHARES)
UNIT = np.finfo(float).eps / 2
# Sum and product come from two steps of eight roundings each, of numbers below 2, and a quotient; a root feels an error of
# either over the distance of the roots.
ROUNDINGS = 64
SMALL = 0.01  # y = x/(1−μ)² for the third-order term


def _x(share: float, mu: float) -> float:
    return share * float(exp_lr.critical_intrinsic_lr(momentum=mu))


def _runs(x: float, mu: float, n_steps: int, start: tuple[float, float], kick: tuple[float, float]) -> np.ndarray:
    """Weights of two coordinates that do not know of each other, (n_steps + 1, 2)."""
    rule = sdt.SGD(FLAT, lr=LR, weight_decay=x / LR, momentum=mu, v0=kick)
    return sdt.simulate(rule, start, n_steps=n_steps, observe=["w"], save_every=1).w.values[0]


def _roots(x: float, mu: float) -> tuple[np.ndarray, float]:
    """Both roots, the larger first, of the recursion w_{k+1} = s w_k − p w_{k−1} that a run obeys, and a bound on rounding."""
    # one coordinate starts with a buffer alone: w_0 = 0, so s = w_2/w_1; the other has w_0 = 1: p = s w_1 − w_2
    w = _runs(x, mu, 2, (0.0, 1.0), (-1.0, 0.0))
    total = w[2, 0] / w[1, 0]
    product = total * w[1, 1] - w[2, 1]
    roots = np.roots([1.0, -total, product])
    return roots, ROUNDINGS * UNIT / max(abs(roots[0] - roots[1]), UNIT**0.5)


def _critical(mu: float) -> tuple[float, float]:
    """The largest x at which a weight that starts with no buffer keeps its sign, by bisection; and how far it may be off."""
    n_steps = int(700 / abs(np.log(mu**0.5)))  # further on the weights are below the smallest float
    low, high = 1e-5, 0.9
    while high / low > 1.0002:
        x = (low * high) ** 0.5
        w = _runs(x, mu, n_steps, (1.0, 1.0), (0.0, 0.0))[:, 0]
        low, high = (low, x) if (w < 0).any() else (x, high)
    # a turn by θ a step shows within π/θ steps, and θ² = (x − bound)/√μ near the bound
    return (low * high) ** 0.5, high - low + mu**0.5 * (np.pi / n_steps) ** 2


def _refused(x: float, mu: float) -> bool:
    """Whether the translator and the formula both refuse, by the name of this claim."""
    refusals = 0
    for attempt in (lambda: exp_lr.larger_root(lr=LR, weight_decay=x / LR, momentum=mu),
                    lambda: remove_weight_decay(LR, x / LR, mu, n_steps=5, start="root")):
        try:
            attempt()
        except HypothesisError as error:
            refusals += "EXP-7" in str(error)
    return refusals == 2


def prediction() -> dict[str, Any]:
    """The closed forms, case by case."""
    at = {"lr": LR, "weight_decay": np.array([_x(*case) for case in CASES]) / LR,
          "momentum": np.array([mu for _, mu in CASES])}
    return {"larger root": exp_lr.larger_root(**at), "smaller root": exp_lr.smaller_root(**at),
            "largest x": exp_lr.critical_intrinsic_lr(momentum=np.array(MOMENTA)),
            "third-order remainder": 1.0, "(1-z1)(1-mu)/x": Between(low=1.0), "beyond: |root|^2/mu": 1.0,
            "above: larger root": Between(high=0.0), "refused": np.repeat([0.0, 1.0], [len(CASES), 2 * len(MOMENTA)])}


def wrong() -> dict[str, Any]:
    """Leading orders taken for the truth: 1 − z1 = x/(1−μ), and the bound (1−μ)²/4."""
    mu = np.array([mu for _, mu in CASES])
    return {"larger root": 1 - np.array([_x(*case) for case in CASES]) / (1 - mu),
            "largest x": (1 - np.array(MOMENTA)) ** 2 / 4}


def _remainders() -> tuple[np.ndarray, np.ndarray]:
    """(expansion − z1) over μ(1+μ)x³/(1−μ)^5, freed of its first correction: 2 r(y/2) − r(y)."""
    values, bounds = [], []
    for mu in MOMENTA:
        r, loss = [], []
        for y in (SMALL, SMALL / 2):
            x = y * (1 - mu) ** 2
            roots, bound = _roots(x, mu)
            term = mu * (1 + mu) * x**3 / (1 - mu) ** 5
            r.append((exp_lr.larger_root_expansion(lr=LR, weight_decay=x / LR, momentum=mu) - roots[0].real) / term)
            loss.append(bound / term)
        values.append(2 * r[1] - r[0])
        # r = 1 + a y + b y² + …, b <= 7 and the next one <= 21 for μ <= 1 (Narayana numbers), so 2 r(y/2) − r(y) is off by
        # b y²/2 + … <= 4 y²
        bounds.append(4 * SMALL**2 + 2 * loss[1] + loss[0])
    return np.array(values), np.array(bounds)


def simulation(run: Run) -> dict[str, Any]:
    """Roots from runs of two steps, the bound from long ones."""
    found = [_roots(_x(*case), case[1]) for case in CASES]
    roots, bound = np.array([r.real for r, _ in found]), np.array([b for _, b in found])
    slope = np.array([(1 - mu) / _x(share, mu) for share, mu in CASES])
    beyond = [(_roots(_x(share, mu), mu), mu) for mu in MOMENTA for share in BEYOND]
    above = [_roots(1.1 * (1 + mu**0.5) ** 2, mu) for mu in MOMENTA]
    critical = [_critical(mu) for mu in MOMENTA]
    outside = [x for mu in MOMENTA for x in ((_x(1.001, mu), mu), (1.1 * (1 + mu**0.5) ** 2, mu))]
    refused = [_refused(_x(*case), case[1]) for case in CASES] + [_refused(*case) for case in outside]
    run.data.update(critical=np.array([c for c, _ in critical]), roots=roots)
    return {"larger root": Exact(roots[:, 0], bound), "smaller root": Exact(roots[:, 1], bound),
            "largest x": Exact(*(np.array(column) for column in zip(*critical, strict=True))),
            "third-order remainder": Exact(*_remainders()),
            "(1-z1)(1-mu)/x": Exact((1 - roots[:, 0]) * slope, bound * slope),
            "beyond: |root|^2/mu": Exact(np.array([abs(r[0][0]) ** 2 / mu for r, mu in beyond]),
                                         np.array([2 * r[1] / mu**0.5 for r, mu in beyond])),
            "above: larger root": Exact(np.array([r.real.max() for r, _ in above]), np.array([b for _, b in above])),
            "refused": Exact(np.array(refused, dtype=float), 0.0)}


def derivation() -> Derivation:
    """The quadratic from the update rule, its roots, where they meet, and what bounds them."""
    return joint_derivation("The roots", exp_lr.larger_root, exp_lr.smaller_root, exp_lr.larger_root_expansion,
                            exp_lr.critical_intrinsic_lr, exp_lr.decay_rate_lower_bound)


def figure(run: Run) -> Figure:
    """Left: both roots against x at μ = 0.9, and where they end. Right: the largest x against μ."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.4, 3.8), layout="constrained")
    left, right = fig.subplots(1, 2)
    mu = 0.9
    edge = float(exp_lr.critical_intrinsic_lr(momentum=mu))
    x = edge * (1 - np.linspace(1, 0, 300) ** 2)
    at = {"lr": 1.0, "weight_decay": x, "momentum": mu}
    left.plot(x / edge, exp_lr.larger_root(**at), color="tab:blue", label=r"$z_1$")
    left.plot(x / edge, exp_lr.smaller_root(**at), color="tab:orange", label=r"$z_2=\mu/z_1$")
    left.plot(x / edge, 1 - x / (1 - mu), color="0.5", lw=1, ls="--", label=r"$1-\eta\lambda/(1-\mu)$")
    mine = [i for i, case in enumerate(CASES) if case[1] == mu]
    left.plot(SHARES, run.data["roots"][mine], "o", ms=5, mfc="none", color="0.25")
    left.plot([], [], "o", ms=5, mfc="none", color="0.25", label="measured in runs")
    left.plot(1, mu**0.5, "s", color="tab:red", ms=5, label=r"both are $\sqrt{\mu}$")
    left.set(xlabel=r"$\eta\lambda/(1-\sqrt{\mu})^2$", ylabel=r"root $\alpha$", xlim=(-0.02, 1.25))
    left.axvspan(1, 1.25, color="0.5", alpha=0.2, lw=0)
    left.text(1.125, 0.975, "no positive\nschedule", ha="center", fontsize=8)
    left.set_title(r"Two growth rates $\alpha^{-2}$, up to a bound ($\mu=0.9$)", fontsize=10)
    left.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(0.0, 0.5))
    dense = np.linspace(0.05, 0.97, 200)
    right.semilogy(dense, exp_lr.critical_intrinsic_lr(momentum=dense), color="tab:blue", label=r"$(1-\sqrt{\mu})^2$")
    right.semilogy(dense, (1 - dense) ** 2 / 4, color="0.5", ls="--", lw=1, label=r"control: $(1-\mu)^2/4$")
    right.semilogy(MOMENTA, run.data["critical"], "o", ms=5, mfc="none", color="0.25", label="where weights change sign")
    right.set(xlabel=r"momentum $\mu$", ylabel=r"largest intrinsic learning rate $\eta\lambda$")
    right.set_title("The bound, found by bisection", fontsize=10)
    right.legend(frameon=False, fontsize=8)
    return fig


claim = Claim(
    "EXP-7",
    title="The roots, and where no exponential schedule exists",
    paper="exp_lr",
    statement=r"For $0<\mu<1$ and $x=\eta\lambda\ge0$ the roots of $z^2-(1+\mu-x)z+\mu$ are positive iff "
              r"$x\le(1-\sqrt{\mu})^2$; then $0<z_2\le\sqrt{\mu}\le z_1\le1$, $z_1=1-x/(1-\mu)-\mu x^2/(1-\mu)^3+O(x^3)$ "
              r"and $x/(1-\mu)\le1-z_1$. Between $(1\mp\sqrt{\mu})^2$ they are complex, above negative: no positive "
              r"exponential schedule exists, and the translator refuses by this name.",
    derivation=derivation,
    prediction=prediction,
    simulation=simulation,
    resolution={"larger root": 1e-8, "smaller root": 1e-8, "largest x": Relative(1e-3), "third-order remainder": 0.01,
                "(1-z1)(1-mu)/x": 1e-6, "beyond: |root|^2/mu": 1e-8, "above: larger root": 1e-8, "refused": 0.5},
    negative_control=Control(r"the leading order in $1-\mu$ and $x$ for the truth: the bound $(1-\mu)^2/4$ and "
                             r"$z_1=1-\eta\lambda/(1-\mu)$", prediction=wrong),
    figure=figure,
)
