r"""Gradient flow at an exponential learning rate, and what steps of finite length change (EXP-14).

.. math:: \dot w = -\eta\,e^{gt}\,\nabla L(w): \quad w(t) = \omega(s),\ \ \omega' = -\nabla L(\omega),\ \
          s = \eta\,\frac{e^{gt}-1}{g}; \qquad
          \dot W = -\eta\,(\nabla L(W)+\lambda W): \quad W(t) = e^{-\eta\lambda t}\,\omega(s),\ \ g = 2\eta\lambda .

In the limit of small steps a growing rate is a clock, and weight decay a clock and a scale. Steps of length h(s) = η + gs (the
rate in terms of the flow time that it has reached) do more. To first order in η and g together

.. math:: \|w\|^2-\|w_0\|^2 = \int_0^S h\,\|\nabla L\|^2\,ds = \eta\,(L_0-L_S) + g\int_0^S(L-L_S)\,ds,

and on the Rayleigh quotient, from unit norm, ln(w_a/w_b) of the components along two eigenvectors is shifted by

.. math:: (a-b)\Bigl[\eta S L_0 + (\eta+gS)\int_0^S L\,ds\Bigr] - \tfrac12(a^2-b^2)\Bigl(\eta S+\tfrac12gS^2\Bigr).

Any dimension.
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from ..inner_products import InnerProducts
from .states import DECAY, DECAYS, GRAD, LR, G, R, W

_GROWING = {"growth_rate": {"positive": True}}
_EIGENVALUE = {"eigenvalue": {"nonnegative": True}}
_MEANINGS = {"lr": "learning rate at step 0", "eigenvalue": "a of the matrix A, L = w·Aw/(2|w|²)"}
T, GROWTH = symbol("t"), symbol("growth_rate", **_GROWING["growth_rate"])
SLOW_GROWTH, SPAN, FLOW = symbol("growth_rate"), symbol("flow_time"), sympy.Symbol("s", nonnegative=True)
LOSS = sympy.Function("L")


def _derive_time(claimed: sympy.Expr) -> Derivation:
    d = Derivation("Gradient flow at an exponential learning rate: that of a constant one, on another clock")
    s, field = sympy.Function("s")(T), sympy.Function("F")
    d.assume(r"$\omega'(s)=-\nabla L(\omega(s))=F(s)$. Any loss, any dimension.")
    velocity = field(s) * sympy.diff(s, T)
    d.step(r"$w(t)=\omega(s(t))$ moves with the velocity", velocity)
    rate = LR * sympy.exp(GROWTH * T)
    speed = sympy.solve(velocity - rate * field(s), sympy.diff(s, T))[0]
    d.step(r"It is $\eta e^{gt}F$, the flow at the growing rate, iff $\dot s$ is", speed)
    u = sympy.Symbol("u", nonnegative=True)
    found = sympy.integrate(speed.subs(T, u), (u, 0, T))
    d.step(r"so that, from $s(0)=0$, $s$ is", found)
    d.residual("flow time", sympy.simplify(found - claimed))
    return d.residual("the rate in terms of the flow time", sympy.simplify(rate - (LR + GROWTH * claimed)))


@closed_form("EXP-14", _derive_time, clock="step", assumptions=_GROWING, meanings=_MEANINGS)
def flow_time(t, lr, growth_rate):
    r"""The gradient-flow time that a learning rate growing like exp(growth_rate·t) has reached at step t.

    >>> round(flow_time(t=2.0, lr=0.1, growth_rate=1e-6), 6)  # lr·t where it hardly grows
    0.2
    """
    return lr * (sympy.exp(growth_rate * t) - 1) / growth_rate


def _derive_growth(claimed: sympy.Expr) -> Derivation:
    d = Derivation("Gradient flow with weight decay is that of a growing learning rate, scaled")
    c = sympy.Symbol("c", real=True)
    rate = sympy.Function("r", positive=True)(T)
    d.assume(r"$\nabla L(cw)=c^{-1}\nabla L(w)$, $c>0$ (EXP-1). Any dimension.")
    shrunk = sympy.exp(-c * T)
    # w̃ = W/shrunk, so ∇L(w̃) = shrunk ∇L(W); W is written w and ∇L(W) g
    velocity = sympy.expand(sympy.diff(shrunk, T) / shrunk * W - shrunk * rate * shrunk * G)
    d.step(r"$W=e^{-ct}\tilde w$ with $\dot{\tilde w}=-r(t)\nabla L(\tilde w)$ has $\dot W$ =", velocity)
    wanted = -LR * (G + DECAY * W)
    gap = sympy.expand(velocity - wanted)
    found_c = sympy.solve(gap.coeff(W, 1), c)[0]
    found = sympy.solve(gap.coeff(G, 1), rate)[0].subs(c, found_c)
    d.step(r"It is $-\eta(\nabla L+\lambda W)$ iff $c=\eta\lambda$ and $r(t)$ is", found)
    growth = sympy.diff(sympy.expand_log(sympy.log(found), force=True), T)
    d.residual("growth rate", growth - claimed)
    step = -2 * sympy.log(1 - LR * DECAY)
    return d.residual("to leading order that of EXP-4", sympy.diff(step - claimed, LR).subs(LR, 0))


@closed_form("EXP-14", _derive_growth, assumptions=DECAYS)
def flow_growth_rate(lr, weight_decay):
    r"""The growth rate of the learning rate with which gradient flow does without decay what it does with it."""
    return 2 * lr * weight_decay


def _derive_norm(claimed: sympy.Expr) -> Derivation:
    d = Derivation("What steps of finite length do to the norm")
    d.assume(r"$\langle\nabla L(w),w\rangle=0$ (EXP-1), so that flow keeps the norm. First order in $\eta$ and $g$ together, "
             r"at fixed flow time $S$. Any scale-invariant loss, any dimension.")
    inner, h = InnerProducts({(W, W): R, (W, G): 0, (G, G): GRAD}), sympy.Symbol("h", positive=True)
    gained = inner(W - h * G, W - h * G) - R
    d.step(r"A step of length $h$ adds to $\|w\|^2$", gained)
    length = LR + SLOW_GROWTH * FLOW
    d.step(r"It takes $h$ of flow time, and $h(s)=\eta+gs$ (from `flow_time`). The sum over steps becomes the integral of "
           r"$\|\nabla L\|^2=-dL/ds$ times", sympy.expand(gained / h / GRAD).subs(h, length))
    whole = claimed.subs({symbol("loss_drop"): LOSS(0) - LOSS(SPAN),
                          symbol("loss_excess"): sympy.Integral(LOSS(FLOW), (FLOW, 0, SPAN)) - SPAN * LOSS(SPAN)})
    slope = sympy.diff(whole, SPAN) + length.subs(FLOW, SPAN) * sympy.diff(LOSS(SPAN), SPAN)
    d.residual("derivative by S", sympy.simplify(slope))
    return d.residual("nothing at S = 0", whole.subs(SPAN, 0).doit())


@closed_form("EXP-14", _derive_norm, meanings=_MEANINGS)
def norm_growth_of_steps(lr, growth_rate, loss_drop, loss_excess):
    r"""By how much steps of finite length make |w|² grow where gradient flow keeps it, to first order in lr and growth_rate.

    At a constant rate it is lr times the fall of the loss, whatever the loss.
    """
    return lr * loss_drop + growth_rate * loss_excess


def _derive_shift(claimed: sympy.Expr) -> Derivation:
    d = Derivation("What steps of finite length do to the direction")
    a, b = symbol("eigenvalue", **_EIGENVALUE["eigenvalue"]), symbol("other_eigenvalue")
    u, rho = sympy.Symbol("u", positive=True), sympy.Symbol("rho", real=True)
    d.assume(r"$L=w^\top Aw/(2\|w\|^2)$ from $\|w_0\|=1$, eigenvalues $a$, $b$ of $A$, $\rho=2L$. First order in $\eta$ and $g$ "
             r"together, at fixed flow time $S$. Any dimension.")
    d.step(r"A step multiplies the component along an eigenvector by this, $u=h/\|w\|^2$.", 1 - u * (a - rho))
    log = sympy.series(sympy.log(1 - u * (a - rho)) - sympy.log(1 - u * (b - rho)), u, 0, 3).removeO()
    d.step(r"so it adds to $\ln(w_a/w_b)$", sympy.factor(log))
    first, second = (log.expand().coeff(u, k) for k in (1, 2))
    total = sympy.Integral(LOSS(FLOW), (FLOW, 0, SPAN))
    grown = norm_growth_of_steps.expr.subs({symbol("loss_drop"): LOSS(0) - LOSS(SPAN),
                                            symbol("loss_excess"): total - SPAN * LOSS(SPAN)})
    d.step(r"$\sum u=S-\int(\|w\|^2-1)\,ds$ and $\sum u^2=\int h\,ds$ to this order; $\|w\|^2-1$ is "
           r"(`norm_growth_of_steps`)", grown)
    per_time = (-first * grown + second * (LR + SLOW_GROWTH * SPAN)).subs(rho, 2 * LOSS(SPAN))
    whole = claimed.subs({symbol("loss0"): LOSS(0), symbol("loss_integral"): total})
    d.residual("derivative by S", sympy.expand(sympy.diff(whole, SPAN) - per_time))
    return d.residual("nothing at S = 0", whole.subs(SPAN, 0).doit())


@closed_form("EXP-14", _derive_shift, assumptions=_EIGENVALUE, meanings=_MEANINGS)
def log_ratio_shift_of_steps(flow_time, lr, growth_rate, loss0, loss_integral, eigenvalue, other_eigenvalue):
    r"""The shift of ln(w_a/w_b) by steps of finite length, on the Rayleigh quotient from unit norm, at equal flow time.

    Gradient flow has ln(w_a/w_b) = const - (a - b)·flow_time. First order in lr and growth_rate.
    """
    a, b = eigenvalue, other_eigenvalue
    end = lr + growth_rate * flow_time
    return ((a - b) * (lr * flow_time * loss0 + end * loss_integral)
            - (a**2 - b**2) * (lr * flow_time + growth_rate * flow_time**2 / 2) / 2)
