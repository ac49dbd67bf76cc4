r"""Where the SDE fails: large-batch GD, and gradients of infinite variance (SVAG-9).

.. math:: \log\mathbb E\,e^{iu\xi} = -|cu|^\alpha \quad\Rightarrow\quad
          \sum_{j=1}^l \frac\eta l(p\,\xi_j + q\,\xi_j') \text{ has scale }
          \eta c\,l^{1/\alpha-1}\bigl(p^\alpha + |q|^\alpha\bigr)^{1/\alpha} \sim l^{1/\alpha-1/2}

for α-stable ξ and SVAG's weights p, q: for α < 2 the displacement over l steps, one step of SGD, grows without bound.
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from .amplified_gradient import svag_weights
from .independent_draws import Draw, expectation

L, LR, A, STEP, T = symbol("amplification"), symbol("lr"), symbol("eigenvalue"), symbol("step"), symbol("t")
ALPHA, SCALE = symbol("stability", positive=True), symbol("noise_scale")
RATIO = symbol("noise_to_signal", nonnegative=True)
ASSUMPTIONS = {"stability": {"positive": True}}
MEANINGS = {"stability": "stability index alpha of the gradient noise, 2 for Gaussian",
            "noise_scale": "scale c of the gradient noise, E exp(i u xi) = exp(-|c u|^alpha)",
            "eigenvalue": "curvature a of ½ a x²",
            "noise_to_signal": "N/G at the start: variance of the gradient noise over the squared gradient"}


def displacement(d: Derivation) -> sympy.Expr:
    """Derive the scale of the noise part of l SVAG steps; it goes into `d` and is returned."""
    first, second = svag_weights(d)
    u = sympy.Symbol("u", positive=True)
    d.assume(r"Symmetric $\alpha$-stable gradient noise, independent draws; $\nabla L$ left out (it adds no noise).")
    exponent = sum((SCALE * LR / L * sympy.Abs(weight) * u) ** ALPHA for weight in (first, -second))
    d.step(r"Independent terms: exponents of characteristic functions add. One step, at $u>0$ (up to the sign):", exponent)
    total = (L * exponent.subs(u, 1)) ** (1 / ALPHA)
    d.step(r"$l$ steps; the scale is the power $1/\alpha$ of the coefficient of $u^\alpha$.", total)
    return total


def _derive_scale(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The displacement over l steps")
    total = displacement(d)
    p = sympy.Symbol("p", positive=True)  # sqrt(2 l - 1) = 1 + p for l > 1
    above = {L: ((1 + p) ** 2 + 1) / 2}
    ratio = sympy.simplify(claimed.subs(above) ** ALPHA / sympy.simplify(total.subs(above)) ** ALPHA)
    d.residual("scale for l > 1 (its power alpha, as a ratio)", ratio - 1)
    d.residual("scale for l = 1", claimed.subs(L, 1) - LR * SCALE)
    squared = sympy.simplify(sympy.expand(sympy.simplify(total.subs(above)).subs(ALPHA, 2) ** 2))
    return d.residual("alpha = 2: the same for every l", squared - (LR * SCALE) ** 2)


@closed_form("SVAG-9", _derive_scale, clock="step", meanings=MEANINGS, assumptions=ASSUMPTIONS,
             needs=lambda stability: [stability <= 2])
def stable_displacement(amplification, lr, stability, noise_scale):
    r"""The scale of the noise in l steps of SVAG(l), one step of SGD, for α-stable gradients.

    >>> stable_displacement(amplification=1, lr=0.5, stability=1.5, noise_scale=2.0)
    1.0
    >>> round(stable_displacement(amplification=100, lr=0.5, stability=2.0, noise_scale=2.0), 12)
    1.0
    """
    root = sympy.sqrt(2 * amplification - 1)
    return lr * noise_scale / 2 * amplification ** (1 / stability - 1) \
        * ((root + 1) ** stability + (root - 1) ** stability) ** (1 / stability)


def _derive_exponent(claimed: sympy.Expr) -> Derivation:
    d = Derivation("How fast it grows")
    r = sympy.Symbol("r", positive=True)  # r = 1/sqrt(2 l - 1), which tends to 0
    displacement(d)
    scale = LR * SCALE / 2 * ((1 + r**2) / (2 * r**2)) ** (1 / ALPHA - 1) \
        * ((1 + r) ** ALPHA + (1 - r) ** ALPHA) ** (1 / ALPHA) / r
    d.step(r"With $\sqrt{2l-1}=1/r$, $l=(1+r^2)/(2r^2)$.", scale)
    elasticity = sympy.diff(sympy.expand_log(sympy.log(scale), force=True), r) \
        / sympy.diff(sympy.log((1 + r**2) / (2 * r**2)), r)
    limit = sympy.simplify(sympy.simplify(elasticity).subs(r, 0))
    d.step(r"$d\log(\text{scale})/d\log l$ as $r\to0$.", limit)
    d.residual("alpha = 2: no growth", claimed.subs(ALPHA, 2))
    return d.residual("exponent", limit - claimed)


@closed_form("SVAG-9", _derive_exponent, meanings=MEANINGS, assumptions=ASSUMPTIONS,
             needs=lambda stability: [stability <= 2])
def stable_growth_exponent(stability):
    r"""The power of l with which the displacement over l steps grows, for α-stable gradients; 0 for α = 2.

    >>> stable_growth_exponent(stability=1.0)
    0.5
    """
    return 1 / stability - sympy.Rational(1, 2)


def _derive_flow_ratio(claimed: sympy.Expr) -> Derivation:
    d = Derivation("Large batches: gradient descent is not gradient flow")
    d.assume(r"$L=\frac12ax^2$ and no noise ($N\ll G$).")
    x = sympy.Symbol("x", positive=True)
    step, flow = (1 - LR * A) * x, x * sympy.exp(-A * T)
    d.residual("gradient flow", flow.diff(T) + A * flow)
    one = sympy.simplify(step / flow.subs(T, LR))
    d.step(r"A step of GD over the flow during the time $\eta$; both are linear, so $k$ steps give the power $k$.", one)
    d.residual("one step more", sympy.simplify(claimed.subs(STEP, STEP + 1) / claimed - one))
    return d.residual("at the start", claimed.subs(STEP, 0) - 1)


@closed_form("SVAG-9", _derive_flow_ratio, clock="step", meanings=MEANINGS)
def descent_over_flow(step, lr, eigenvalue):
    r"""Gradient descent over gradient flow at the same time, lr · step, on ½ a x²: 1 only for small lr · eigenvalue.

    >>> descent_over_flow(step=3, lr=1.0, eigenvalue=1.0)
    0.0
    """
    return ((1 - lr * eigenvalue) * sympy.exp(lr * eigenvalue)) ** step


def _derive_second_moment_ratio(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The second moment of SGD over that of its SDE")
    d.assume(r"$L=\frac12ax^2$ and noise of variance $N=\nu a^2x_0^2$ everywhere, so that $\nu=N/G$ at the start. "
             r"Second moments are in units of $x_0^2$; $G=a^2\mathbb E\,x^2$.")
    x, xi, m = sympy.symbols("x xi m", real=True)
    noise = RATIO * A**2
    step = expectation(((1 - LR * A) * x - LR * xi) ** 2, Draw([x], {x: 0, x**2: m}), Draw([xi], {xi: 0, xi**2: noise}))
    decay = (1 - LR * A) ** (2 * STEP)
    discrete = decay + RATIO * LR * A * (1 - decay) / (2 - LR * A)
    d.step(r"SGD: $m'$ after a step, and $m$ after $k$.", sympy.Matrix([sympy.factor(step), discrete]))
    d.residual("one step more", sympy.simplify(sympy.expand(discrete.subs(STEP, STEP + 1) - step.subs(m, discrete))))
    rest = sympy.exp(-2 * A * T)
    flow = rest + RATIO * LR * A * (1 - rest) / 2
    d.step(r"The SDE: $\dot m=-2am+\eta N$, solved.", flow)
    d.residual("equation of the SDE", sympy.expand(flow.diff(T) - (-2 * A * flow + LR * noise)))
    d.residual("both start at 1", sympy.Matrix([discrete.subs(STEP, 0) - 1, flow.subs(T, 0) - 1]))
    flow = flow.subs(T, LR * STEP)
    d.residual("ratio", claimed * flow - discrete)
    d.residual("N << G: the square of that of the means", sympy.simplify(
        claimed.subs(RATIO, 0) - decay / sympy.exp(-2 * A * LR * STEP)))
    strong = sympy.expand(discrete).coeff(RATIO) / sympy.expand(flow).coeff(RATIO)
    d.step(r"$N\gg G$: the ratio of the coefficients of $\nu$. It is between its values at $k=1$ and as $k\to\infty$: with "
           r"$u=(1-\eta a)^2$, $v=e^{-2\eta a}$ it goes as $\sum_{j<k}u^j/\sum_{j<k}v^j$, which falls for $u<v$ and rises for "
           r"$u>v$ ($\eta a>1.28$).", sympy.simplify(strong))
    d.residual("N >> G, one step", sympy.simplify(strong.subs(STEP, 1) - 2 * LR * A / (1 - sympy.exp(-2 * LR * A))))
    u, v = sympy.exp(-2 * A * LR * STEP), decay
    return d.residual("N >> G, at rest", sympy.simplify(strong - (1 - v) / (1 - u) / (1 - LR * A / 2)))


@closed_form("SVAG-9", _derive_second_moment_ratio, clock="step", meanings=MEANINGS,
             assumptions={"noise_to_signal": {"nonnegative": True}}, needs=lambda lr, eigenvalue: [lr * eigenvalue < 2])
def second_moment_over_sde(step, lr, eigenvalue, noise_to_signal):
    r"""E x² of SGD over that of its SDE at the same time, lr · step, on ½ a x² with noise of constant variance.

    For N ≪ G it is `descent_over_flow` squared; for N ≫ G it goes from 2 lr a/(1 - exp(-2 lr a)) at the first step to
    1/(1 - lr a/2), without leaving what is between.

    >>> second_moment_over_sde(step=3, lr=1.0, eigenvalue=1.0, noise_to_signal=0.0)
    0.0
    """
    decay, flow = (1 - lr * eigenvalue) ** (2 * step), sympy.exp(-2 * lr * eigenvalue * step)
    return (decay + noise_to_signal * lr * eigenvalue * (1 - decay) / (2 - lr * eigenvalue)) \
        / (flow + noise_to_signal * lr * eigenvalue * (1 - flow) / 2)
