r"""Where the phases of the uv model meet (CAT-3): lazy, catapult, divergent.

.. math:: 4-X' = (4-X)(1+Y), \qquad \frac{Y'}{Y}-1 = (X-Y)(X-Y-2), \qquad X^2 \ge 4Y

with :math:`X=\eta\lambda`, :math:`Y=\eta^2f^2/n`. Below X = 4 the distance 4 − X only grows and stays below 4, so
ΣY is finite and the loss goes to 0, from every start; above, X grows without bound for almost every start, namely
unless the output is exactly 0 at some step and stays there. The exact edges below hold for every width.
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from .two_numbers import CURVATURE, CURVED, LR, F, N
from .universal_map import MEANINGS, XY, X, Y, universal_map

START = {"f": "output at the start", "curvature": "NTK at the start", **MEANINGS}


def _derive_divergence(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The edge of divergence is exact")
    x, y = universal_map(d)
    d.residual("the distance to 4 keeps its sign", 4 - x - (4 - X) * (1 + Y))
    d.step(r"$X_0<4$: $4-X_t$ grows to a limit $\le4$, so $\prod(1+Y_t)\le4/(4-X_0)$, $\sum Y_t<\infty$ and $Y_t\to0$.",
           4 / (4 - X))
    above = sympy.expand(sympy.factor(y / Y).subs(Y, 0).subs(X, 4))
    d.step(r"$X_0>4$: $X_t-4$ grows by $1+Y_t$. Near $Y=0$ the loss grows by more than $(1-4)^2$ a step, so $Y_t\not\to0$ "
           r"unless some $Y_t$ is exactly 0, and $X_t\to\infty$. The factor at $X=4$, $Y=0$:", above)
    jacobian = sympy.Matrix([x, y]).jacobian([X, Y]).det()
    d.step(r"Almost every start: $Y_t=0$ only on $Y_0=0$, on the curve $Y=X-1$, and on what the map takes there. The map "
           r"takes no set of measure above 0 into one of measure 0: its Jacobian vanishes on three curves alone.",
           sympy.factor(jacobian))
    d.residual("the Jacobian", sympy.expand(jacobian - (1 - X + Y) * (1 - Y) * (1 - X - 3 * Y)))
    d.residual("Y' = 0 only where Y = 0 or Y = X - 1", y - Y * (1 - X + Y) ** 2)
    d.step(r"So the edge is $\eta\lambda_0=4$.", sympy.Eq(LR * CURVATURE, 4))
    return d.residual("learning rate on the edge", sympy.solve(LR * CURVATURE - 4, LR)[0] - claimed)


@closed_form("CAT-3", _derive_divergence, assumptions=CURVED, meanings=START)
def divergence_edge(curvature):
    r"""The learning rate above which gradient descent diverges, below which it converges, at every width.

    Below it converges from every start, above it diverges from almost every one: a start whose output is exactly 0 at
    some step stays there (u = 2, v = 1 at width 1 and lr = 1: lr·curvature is 5, and f = 2, 0, 0, …). On the edge it
    does neither.

    >>> divergence_edge(curvature=2.0)
    2.0
    """
    return 4 / curvature


def _derive_budget(claimed: sympy.Expr) -> Derivation:
    d = Derivation("How much the loss can do before it ends")
    x, _ = universal_map(d)
    step = (4 - x) / (4 - X)
    d.step(r"$1+Y=(4-X')/(4-X)$, so $\prod_{s<t}(1+Y_s)=(4-X_t)/(4-X_0)$.", sympy.factor(step))
    d.residual("the factor of one step", step - 1 - Y)
    last = sympy.Symbol("X_t", nonnegative=True)
    d.step(r"$X_t\ge0$ makes it largest at $X_t=0$.", (4 - last) / (4 - X))
    return d.residual("the bound", ((4 - last) / (4 - X)).subs(last, 0) - claimed)


@closed_form("CAT-3", _derive_budget, assumptions=XY, meanings=START, needs=lambda X: [X < 4])
def loss_budget(X):
    r"""An upper bound of the product of (1 + lr²f²/width) over all steps, for every start below the edge."""
    return 4 / (4 - X)


def _derive_output_budget(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The sum of squared outputs is the curvature that is lost")
    x, _ = universal_map(d)
    new = symbol("X_end", nonnegative=True)
    d.step(r"$\ln(1+Y)=\ln(4-X')-\ln(4-X)$ telescopes.", sympy.log((4 - new) / (4 - X)))
    one = sympy.exp(claimed.subs(new, x)) - 1
    return d.residual("one step", sympy.simplify(one) - Y)


@closed_form("CAT-3", _derive_output_budget, clock="step", meanings={"X": MEANINGS["X"], "X_end": "the same at the end"},
             assumptions={"X": {"nonnegative": True}, "X_end": {"nonnegative": True}},
             needs=lambda X, X_end: [X < 4, X_end < 4])
def output_budget(X, X_end):
    r"""The sum of ln(1 + lr²f²/width) over the steps from X to X_end, exactly: fallen curvature counts all loss on the way."""
    return sympy.log((4 - X_end) / (4 - X))


def _derive_first_growth(claimed: sympy.Expr) -> Derivation:
    d = Derivation("When the loss grows")
    _, y = universal_map(d)
    d.step(r"The relative growth of the loss over one step.", sympy.factor(y / Y - 1))
    slack = (X**2 - 4 * Y) / 4 + X * (4 - X) / 4
    d.residual("X - Y is the sum of two terms, neither negative for X ≤ 4", X - Y - slack)
    d.step(r"For $X<4$ therefore $X-Y>0$ (or $Y=X=0$), and the loss grows if and only if $X-Y>2$.", X - Y - 2)
    return d.residual("growth", y / Y - 1 - claimed)


@closed_form("CAT-3", _derive_first_growth, clock="step", assumptions=XY, meanings=START)
def first_growth(X, Y):
    r"""The relative growth of the loss over one step: for X < 4 it is positive if and only if X − Y > 2.

    >>> first_growth(X=3.0, Y=0.5)
    1.25
    """
    return (X - Y) * (X - Y - 2)


def _growth_equation(d: Derivation) -> sympy.Expr:
    _, y = universal_map(d)
    edge = sympy.expand((LR * CURVATURE - LR**2 * F**2 / N) - 2)
    d.residual("the other factor of the growth is X - Y", (y / Y - 1) - (X - Y) * (X - Y - 2))
    d.step(r"The loss stays as it is where $X_0-Y_0=2$.", edge)
    return edge


def _derive_growth_edge(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The learning rate from which the loss grows at the first step")
    edge = _growth_equation(d)
    d.residual("it lies on the edge", edge.subs(LR, claimed))
    roots = sympy.solve(edge, LR)
    product = sympy.simplify(roots[0] * roots[1])
    d.step(r"The two roots have the product $2n/f^2$ and the sum $n\lambda/f^2$; the larger is beyond $\eta\lambda=4$.",
           sympy.Matrix(roots))
    other = 2 * N / F**2 / claimed
    d.residual("product of the roots", product - 2 * N / F**2)
    spread = sympy.Symbol("q", nonnegative=True)  # q² = λ² − 8f²/n ≥ 0, q ≤ λ
    with_q = {F: sympy.sqrt(N * (CURVATURE**2 - spread**2) / 8)}
    rest = sympy.simplify((other * CURVATURE).subs(with_q) - 4)
    d.step(r"The larger root, $q=\sqrt{\lambda^2-8f^2/n}$: $\eta\lambda-4$ is", sympy.factor(rest))
    return d.residual("it is not below 4", sympy.simplify(rest - 4 * spread / (CURVATURE - spread)))


@closed_form("CAT-3", _derive_growth_edge, assumptions=CURVED, meanings=START,
             needs=lambda curvature, f, width: [8 * f**2 <= width * curvature**2])
def first_growth_edge(curvature, f, width):
    r"""The learning rate above which the loss grows at the first step (up to `divergence_edge`), at every width.

    Where 8 f² > width·curvature² the first step never raises the loss below the divergence edge. The loss may also fall
    first and grow later.

    >>> round(first_growth_edge(curvature=2.0, f=0.0, width=100), 12)
    1.0
    """
    return 4 / (curvature + sympy.sqrt(curvature**2 - 8 * f**2 / width))


def _derive_wide_edge(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The lazy/catapult edge of wide nets")
    _growth_equation(d)
    wide = sympy.limit(first_growth_edge.expr, N, sympy.oo)
    d.step(r"$n\to\infty$ at fixed $f_0$.", wide)
    correction = sympy.limit(N * (first_growth_edge.expr - wide), N, sympy.oo)
    d.step(r"To first order in $1/n$ the edge lies higher by", sympy.simplify(correction) / N)
    return d.residual("limit", wide - claimed)


@closed_form("CAT-3", _derive_wide_edge, assumptions=CURVED, meanings=START)
def wide_growth_edge(curvature):
    r"""The learning rate of the lazy/catapult edge as the width goes to infinity: lr·curvature = 2.

    >>> wide_growth_edge(curvature=2.0)
    1.0
    """
    return 2 / curvature


def _derive_lazy(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The lazy phase")
    x, y = universal_map(d)
    scale = sympy.Symbol("y", positive=True)
    wide = {Y: scale / N}
    d.step(r"$n\to\infty$ at fixed $f$: $Y=y/n$; the curvature moves by $O(1/n)$.",
           sympy.limit(N * (x - X).subs(wide), N, sympy.oo) / N)
    factor = sympy.limit(sympy.cancel(y.subs(wide) / (scale / N)), N, sympy.oo)
    d.step(r"and the loss is multiplied by", sympy.factor(factor))
    return d.residual("squared factor", factor - claimed**2)


@closed_form("CAT-3", _derive_lazy, clock="step", assumptions=XY, meanings=START)
def lazy_factor(X):
    r"""The factor of |f| over one step as the width goes to infinity: below 1 for lr·curvature < 2."""
    return sympy.Abs(1 - X)
