r"""Random linear gradients, where all moments of SVAG and of its SDE close (SVAG-3).

.. math:: \nabla L_\gamma(x) = a_\gamma x - b_\gamma, \qquad
          \mathbb E\,x_{k+1}^n = \mathbb E\,\bigl((1-h\hat a)x_k + h\hat b\bigr)^n,\; h = \eta/l, \qquad
          \frac{d}{dt}\mathbb E X^n = \mathbb E\,\mathcal A X^n

In one dimension, with mean curvature a, mean offset b and the covariance of (a_γ, b_γ).
"""

from __future__ import annotations

import sympy

from ...sde import SDE
from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from .amplified_gradient import svag_weights
from .independent_draws import Draw, expectation

L, LR, T, A = symbol("amplification"), symbol("lr"), symbol("t"), symbol("eigenvalue")
B, X0, STEP = symbol("offset"), symbol("w0"), symbol("step")
VA, CAB = symbol("curvature_variance", nonnegative=True), symbol("curvature_offset_covariance")
VB = symbol("offset_variance", nonnegative=True)
M1, M2 = symbol("mean"), symbol("second_moment", nonnegative=True)
X = sympy.Symbol("x", real=True)
H = sympy.Symbol("h", positive=True)
ASSUMPTIONS = {name: {"nonnegative": True} for name in ("curvature_variance", "offset_variance", "second_moment")}
MEANINGS = {"eigenvalue": "mean of the random curvature", "offset": "mean of the random offset b of a x - b",
            "w0": "start", "curvature_variance": "variance of the random curvature",
            "offset_variance": "variance of the random offset", "mean": "E x before the step",
            "curvature_offset_covariance": "covariance of curvature and offset",
            "second_moment": "E x^2 before the step"}


def svag_moment_step(d: Derivation, order: int) -> sympy.Expr:
    """Derive E[x'^order | x] of an SVAG step, order 1 or 2; it goes into `d` and is returned as a polynomial in x."""
    weights, draws = svag_weights(d), []
    a_hat, b_hat = A, B
    for n, weight in enumerate(weights, 1):
        a, b = sympy.symbols(f"alpha{n} beta{n}", real=True)
        draws.append(Draw([a, b], {a: 0, b: 0, a**2: VA, b**2: VB, a * b: CAB}))
        a_hat, b_hat = a_hat + weight * a, b_hat + weight * b
    new = ((1 - LR / L * a_hat) * X + LR / L * b_hat) ** order
    found = sympy.expand(sympy.simplify(expectation(new, *draws)))
    d.step(rf"$\mathbb E[x'^{order}\mid x]$ for $x'=(1-h\hat a)x+h\hat b$, $h=\eta/l$, the fluctuations of $(a,b)$ of the "
           r"two draws independent: a polynomial of the same degree.", sympy.collect(found, X))
    return found


def sgd_sde() -> SDE:
    """dX = −(aX − b)dt + (η Var(a_γ X − b_γ))^{1/2} dW."""
    return SDE(X, B - A * X, sympy.sqrt(LR * (VA * X**2 - 2 * CAB * X + VB)), time=T)


def _derive_svag_mean(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The mean of SVAG")
    step = svag_moment_step(d, 1)
    later = claimed.subs(STEP, STEP + 1)
    d.residual("one step more", sympy.powsimp(sympy.expand((later - step.subs(X, claimed)) / (1 - A * LR / L) ** STEP)))
    return d.residual("it starts at w0", claimed.subs(STEP, 0) - X0)


@closed_form("SVAG-3", _derive_svag_mean, clock="step", meanings=MEANINGS)
def svag_mean(step, amplification, lr, eigenvalue, offset, w0):
    r"""The mean of SVAG(l) after `step` of its steps, l of which take the time lr.

    >>> svag_mean(step=2, amplification=2, lr=1.0, eigenvalue=1.0, offset=0.0, w0=1.0)
    0.25
    """
    return offset / eigenvalue + (1 - lr * eigenvalue / amplification) ** step * (w0 - offset / eigenvalue)


def _derive_sde_mean(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The mean of the SDE")
    rate = sgd_sde().generator(X)
    d.step(r"The generator on $x$.", rate)
    d.residual("moment equation", claimed.diff(T) - rate.subs(X, claimed))
    return d.residual("it starts at w0", claimed.subs(T, 0) - X0)


@closed_form("SVAG-3", _derive_sde_mean, clock="flow", meanings=MEANINGS)
def sde_mean(t, eigenvalue, offset, w0):
    r"""The mean of the SDE at time t: linear gradients never see the noise in it.

    >>> sde_mean(t=0.0, eigenvalue=1.0, offset=3.0, w0=2.0)
    2.0
    """
    return offset / eigenvalue + sympy.exp(-eigenvalue * t) * (w0 - offset / eigenvalue)


def _derive_svag_second(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The second moment of SVAG")
    found = sympy.Poly(svag_moment_step(d, 2), X)
    value = found.coeff_monomial(X**2) * M2 + found.coeff_monomial(X) * M1 + found.coeff_monomial(1)
    d.residual("the recursion closes: degree 2", found.degree() - 2)
    return d.residual("step", value - claimed)


@closed_form("SVAG-3", _derive_svag_second, clock="step", meanings=MEANINGS, assumptions=ASSUMPTIONS)
def svag_second_moment_step(second_moment, mean, amplification, lr, eigenvalue, offset, curvature_variance,
                            curvature_offset_covariance, offset_variance):
    r"""The second moment after one SVAG step, from first and second moment before it."""
    h = lr / amplification
    return ((1 - h * eigenvalue) ** 2 + h * lr * curvature_variance) * second_moment \
        + 2 * h * ((1 - h * eigenvalue) * offset - lr * curvature_offset_covariance) * mean \
        + h**2 * offset**2 + h * lr * offset_variance


def _derive_sde_second(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The second moment of the SDE")
    rate = sympy.Poly(sgd_sde().generator(X**2), X)
    d.step(r"The generator on $x^2$ closes.", rate.as_expr())
    d.residual("degree 2", rate.degree() - 2)
    for n in (3, 4):
        d.residual(f"so it does on x^{n}", sympy.degree(sgd_sde().generator(X**n), X) - n)
    return d.residual("rate", rate.coeff_monomial(X**2) * M2 + rate.coeff_monomial(X) * M1 + rate.coeff_monomial(1)
                      - claimed)


@closed_form("SVAG-3", _derive_sde_second, clock="flow", meanings=MEANINGS, assumptions=ASSUMPTIONS)
def sde_second_moment_rate(second_moment, mean, lr, eigenvalue, offset, curvature_variance,
                           curvature_offset_covariance, offset_variance):
    r"""The time derivative of the second moment of the SDE, from first and second moment."""
    return (lr * curvature_variance - 2 * eigenvalue) * second_moment \
        + 2 * (offset - lr * curvature_offset_covariance) * mean + lr * offset_variance


def compounded(multiplier: sympy.Expr, step: sympy.Symbol, time: sympy.Expr, order: int) -> sympy.Expr:
    """`multiplier` (1 + O(step)) to the power time/step, expanded in `step` up to the power `order`."""
    exponent = sympy.series(sympy.log(multiplier), step, 0, order + 2).removeO()
    exponent = sympy.expand(time * exponent / step)
    constant = exponent.coeff(step, 0)
    rest = sympy.series(sympy.exp(exponent - constant), step, 0, order + 1).removeO()
    return sympy.exp(constant) * sympy.expand(rest)


def _derive_mean_error(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The weak error of x")
    multiplier = sympy.expand(svag_moment_step(d, 1)).coeff(X, 1).subs(L, LR / H)
    later = compounded(multiplier, H, T, 1)
    d.step(r"The distance of the mean from $b/a$ is multiplied by $1-ha$ a step, $t/h$ times ($h=\eta/l$).", later)
    rate = sgd_sde().generator(X).coeff(X, 1)
    d.residual("the SDE has the limit", sympy.simplify(later.subs(H, 0) - sympy.exp(rate * T)))
    return d.residual("l times the difference", sympy.expand(later).coeff(H, 1) * LR * (X0 - B / A) - claimed)


@closed_form("SVAG-3", _derive_mean_error, clock="flow", meanings=MEANINGS)
def mean_error(t, lr, eigenvalue, offset, w0):
    r"""l (E x_k - E X_t) at t = k lr/l in the limit of large l: SVAG is of weak order 1 in 1/l, and no better.

    >>> round(mean_error(t=1.0, lr=0.5, eigenvalue=1.0, offset=0.0, w0=4.0), 6)
    -0.367879
    """
    return -lr * eigenvalue**2 * t / 2 * sympy.exp(-eigenvalue * t) * (w0 - offset / eigenvalue)


def _derive_second_error(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The weak error of x^2 for random curvature alone")
    alone = {B: 0, CAB: 0, VB: 0}
    step = svag_moment_step(d, 2).subs(alone)
    multiplier = step.coeff(X, 2).subs(L, LR / H)
    d.assume("The offset is 0: the second moment is multiplied by a number.")
    d.residual("nothing but x^2", sympy.expand(step - step.coeff(X, 2) * X**2))
    later = sympy.expand(compounded(multiplier, H, T, 1))
    rate = sympy.expand(sgd_sde().generator(X**2).subs(alone)).coeff(X, 2)
    d.step(r"After $t/h$ steps, $h=\eta/l$.", later)
    d.residual("the SDE has the limit", sympy.simplify(later.subs(H, 0) - sympy.exp(rate * T)))
    return d.residual("l times the difference", later.coeff(H, 1) * LR * X0**2 - claimed)


@closed_form("SVAG-3", _derive_second_error, clock="flow", meanings=MEANINGS, assumptions=ASSUMPTIONS)
def second_moment_error(t, lr, eigenvalue, curvature_variance, w0):
    r"""l (E x_k² - E X_t²) at t = k lr/l in the limit of large l, for offset 0.

    >>> second_moment_error(t=1.0, lr=0.5, eigenvalue=1.0, curvature_variance=4.0, w0=1.0)
    0.5
    """
    return lr * t * w0**2 * (eigenvalue**2 - (2 * eigenvalue - lr * curvature_variance) ** 2 / 2) \
        * sympy.exp((lr * curvature_variance - 2 * eigenvalue) * t)
