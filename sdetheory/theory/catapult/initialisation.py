r"""Which phase a narrow net falls into is random: the exact law over initialisations (CAT-10).

.. math:: \lambda_0 = S/n, \qquad f_0^2/n = \lambda_0^2D^2/4, \qquad
          S \sim \chi^2_{2n},\; D^2 \sim \mathrm{Beta}(\tfrac12, \tfrac n2)

independent, for u, v with standard normal entries. With X = ηλ_0 and Y = X²D²/4 the first-step phases are: divergent X > 4;
catapult X ≤ 4 and X − Y > 2, that is X > 2 and D² < 4(X−2)/X²; lazy the rest. A lazy start, in this sense, may still let the
loss grow at a later step.
"""

from __future__ import annotations

import numpy as np
import scipy
import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from .two_numbers import LR, N

X, D2 = symbol("X", positive=True), symbol("squared_cosine", positive=True)
_X, _D2 = {"X": {"positive": True}}, {"squared_cosine": {"positive": True}}
MEANINGS = {"X": "lr * curvature at the start", "squared_cosine": "D^2 = (2 u.v / (|u|^2 + |v|^2))^2"}


class GammaTail(sympy.Function):
    """Q(s, z) = Γ(s, z)/Γ(s), which has its digits where both of these overflow."""

    nargs = 2
    _imp_ = staticmethod(lambda s, z: scipy.special.gammaincc(s, z))

    def _eval_rewrite_as_uppergamma(self, s: sympy.Expr, z: sympy.Expr, **_: object) -> sympy.Expr:
        return sympy.uppergamma(s, z) / sympy.gamma(s)

    def _latex(self, printer: object) -> str:
        return printer._print(self.rewrite(sympy.uppergamma))  # type: ignore[attr-defined]


def _chi_squared(x: sympy.Expr, degrees: sympy.Expr) -> sympy.Expr:
    half = degrees / 2
    return x ** (half - 1) * sympy.exp(-x / 2) / (2**half * sympy.gamma(half))


def joint_law(d: Derivation) -> sympy.Expr:
    """Derive the joint density of S = nλ_0 and D = 2⟨u,v⟩/S; it goes into `d`; return it."""
    s, cosine = sympy.Symbol("S", positive=True), sympy.Symbol("D", real=True)
    a, b = s * (1 + cosine) / 2, s * (1 - cosine) / 2
    d.assume(r"$u,v\in\mathbb R^n$ with independent standard normal entries.")
    rotation = sympy.Matrix([[1, 1], [1, -1]]) / sympy.sqrt(2)
    d.step(r"$(u+v)/\sqrt2$ and $(u-v)/\sqrt2$ are a rotation of $(u,v)$: independent and standard normal, so "
           r"$a=\|u+v\|^2/2$ and $b=\|u-v\|^2/2$ are independent $\chi^2_n$.", rotation)
    d.residual("it is a rotation", rotation * rotation.T - sympy.eye(2))
    d.residual("a + b = S", a + b - s)
    d.residual("a − b = 2⟨u,v⟩ = SD", a - b - s * cosine)
    jacobian = sympy.simplify(sympy.Abs(sympy.Matrix([a, b]).jacobian([s, cosine]).det()))
    d.step(r"$a=S(1+D)/2$, $b=S(1-D)/2$, with the Jacobian", jacobian)
    return jacobian * _chi_squared(a, N) * _chi_squared(b, N)


def _powers_joined(expr: sympy.Expr) -> sympy.Expr:
    return sympy.powsimp(sympy.expand_power_base(sympy.powsimp(expr, force=True), force=True), force=True)


def _stated_law(d: Derivation, of_d2: sympy.Expr) -> None:
    """Hold the joint law against χ²_{2n}(S) times the law of D that goes with a stated density of D²."""
    s, cosine = sympy.Symbol("S", positive=True), sympy.Symbol("D", real=True)
    joint = joint_law(d)
    side = symbol("D_abs", positive=True)  # the law of D is even; |D| has twice its density, D² that over 2|D|
    of_d = of_d2.subs(D2, side**2) * side
    ratio = (joint.subs(cosine, side) / (_chi_squared(s, 2 * N) * of_d)).subs(side, sympy.Rational(1, 2))
    slope = sympy.diff(sympy.expand_log(sympy.log(joint.subs(cosine, side)), force=True)
                       - sympy.expand_log(sympy.log(of_d), force=True), side)
    d.step(r"It splits: $S\sim\chi^2_{2n}$, independent of $D^2$, whose density is", of_d2)
    d.residual("S and D are independent, and D has this law up to a constant", sympy.simplify(slope))
    d.residual("the constant", sympy.gammasimp(_powers_joined(ratio)) - 1)


def _derive_cosine(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The law of the start: output")
    _stated_law(d, claimed)
    n_lambda, cosine = sympy.Symbol("S", positive=True), sympy.Symbol("D", real=True)
    f0 = n_lambda * cosine / 2 / sympy.sqrt(N)
    d.step(r"$f_0=\langle u,v\rangle/\sqrt n=SD/(2\sqrt n)$.", f0)
    return d.residual("f_0²/n is λ_0² D²/4", f0**2 / N - (n_lambda / N) ** 2 * cosine**2 / 4)


@closed_form("CAT-10", _derive_cosine, assumptions=_D2, meanings=MEANINGS,
             needs=lambda squared_cosine, width: [squared_cosine < 1])
def squared_cosine_density(squared_cosine, width):
    r"""The density of D² at the start, Beta(½, n/2): f_0²/width is curvature² D²/4, and D² is independent of the curvature."""
    beta = sympy.gamma(sympy.S.Half) * sympy.gamma(width / sympy.S(2)) / sympy.gamma((width + 1) / sympy.S(2))
    return squared_cosine ** (-sympy.S.Half) * (1 - squared_cosine) ** (width / sympy.S(2) - 1) / beta


def _derive_curvature(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The law of the start: curvature")
    _stated_law(d, squared_cosine_density.expr)
    found = _chi_squared(N * X / LR, 2 * N) * N / LR
    d.step(r"$X=\eta S/n$.", found)
    stated = sympy.expand_power_exp(claimed.replace(sympy.loggamma, lambda z: sympy.log(sympy.gamma(z))))
    return d.residual("density", _powers_joined(found / stated) - 1)


@closed_form("CAT-10", _derive_curvature, assumptions=_X, meanings=MEANINGS)
def curvature_density(X, lr, width):
    r"""The density of X = lr·curvature at the start: lr/width times a chi-squared variable of 2 width degrees."""
    s = width * X / (2 * lr)
    return sympy.exp(width * sympy.log(s) - s - sympy.loggamma(width)) / X


def _derive_divergent(claimed: sympy.Expr) -> Derivation:
    d = Derivation("How likely it is that training diverges")
    _stated_law(d, squared_cosine_density.expr)
    d.step(r"It diverges if and only if $X>4$ (CAT-3): $S>4n/\eta$.", 4 * N / LR)
    tail = symbol("z", positive=True)
    stated = claimed.rewrite(sympy.uppergamma).subs(LR, 4 * N / tail)
    d.residual("minus its slope in the threshold is the density of S", sympy.powsimp(sympy.simplify(
        -sympy.diff(stated, tail) / _chi_squared(tail, 2 * N))) - 1)
    return d.residual("no threshold: probability 1", sympy.limit(stated.subs(N, 3), tail, 0) - 1)


@closed_form("CAT-10", _derive_divergent, meanings=MEANINGS)
def probability_divergent(lr, width):
    r"""The probability over initialisations that gradient descent diverges: P(χ²_{2 width} > 4 width/lr), exactly.

    >>> round(probability_divergent(lr=1.8, width=16), 4)
    0.3044
    """
    return GammaTail(width, 2 * width / lr)


def _derive_share(claimed: sympy.Expr) -> Derivation:
    d = Derivation("How likely a catapult is, given the curvature")
    _stated_law(d, squared_cosine_density.expr)
    edge = 4 * (X - 2) / X**2
    d.step(r"$X-Y>2$ with $Y=X^2D^2/4$: $D^2<4(X-2)/X^2$.", edge)
    d.residual("the edge", (X - X**2 * D2 / 4 - 2).subs(D2, edge))
    slope = sympy.diff(claimed, X)
    density = squared_cosine_density.expr.subs(D2, edge) * sympy.diff(edge, X)
    ratio = sympy.simplify(sympy.gammasimp((slope.doit() / density).rewrite(sympy.gamma)))
    d.step(r"$I_{4(X-2)/X^2}(\frac12,\frac n2)$; its slope in $X$ is the density at the edge times the slope of the edge.",
           density)
    d.residual("slope", ratio - 1)
    return d.residual("at X = 2", claimed.rewrite(sympy.Integral).subs(X, 2).doit())


@closed_form("CAT-10", _derive_share, assumptions=_X, meanings=MEANINGS, needs=lambda X, width: [X >= 2, X <= 4])
def catapult_share(X, width):
    r"""The share of initialisations with lr·curvature = X in [2, 4] whose loss grows at the first step."""
    return sympy.betainc_regularized(sympy.S.Half, width / sympy.S(2), 0, 4 * (X - 2) / X**2)


def _stirling_remainder(n: float) -> float:
    """ln Γ(n) − (n − ½) ln n + n − ½ ln 2π."""
    if n < 30:
        return float(scipy.special.gammaln(n) - (n - 0.5) * np.log(n) + n - 0.5 * np.log(2 * np.pi))
    return 1 / (12 * n) - 1 / (360 * n**3) + 1 / (1260 * n**5)  # the next term is below 6e-4 / n⁷ < 3e-14


def _catapult_integral(lr: float, width: float) -> float:
    # X = 2 + 2s²: the share is smooth in s, on the scale width^{-1/2}; so is the density, around X = 2 lr
    def integrand(s: float) -> float:
        away = (1 + s * s - lr) / lr  # S/(2n) − 1; written by it, exp keeps its digits for large n
        log_density = width * (np.log1p(away) - away) + constant
        return 2 * s / (1 + s * s) * np.exp(log_density) * scipy.special.betainc(0.5, width / 2, 2 * s * s / (1 + s * s) ** 2)

    constant = 0.5 * np.log(width / (2 * np.pi)) - _stirling_remainder(width)
    scale = width**-0.5
    around = lr * (1 + scale * np.array([-8.0, -4.0, -2.0, 0.0, 2.0, 4.0, 8.0])) - 1
    breaks = np.concatenate([scale * np.array([1.0, 4.0, 8.0]), np.sqrt(np.maximum(around, 0.0))])
    inside = np.unique(breaks[(breaks > 0) & (breaks < 1)])
    return float(scipy.integrate.quad(integrand, 0.0, 1.0, points=inside, epsabs=1e-13, epsrel=1e-11, limit=200)[0])


class CatapultShare(sympy.Function):
    """The share of catapults averaged over the start: an integral, evaluated by adaptive quadrature."""

    nargs = 2
    _imp_ = staticmethod(np.vectorize(_catapult_integral, otypes=[np.float64]))

    def integral(self) -> sympy.Integral:
        """The integral that this stands for."""
        density = (curvature_density.expr * catapult_share.expr).subs({LR: self.args[0], N: self.args[1]}, simultaneous=True)
        return sympy.Integral(density, (X, 2, 4))

    def _latex(self, printer: object) -> str:
        return printer._print(self.integral())  # type: ignore[attr-defined]


def _mean_share(d: Derivation) -> sympy.Integral:
    """Derive the integral over the curvature; it goes into `d`."""
    edge = (X - 2) * 4 / X**2
    d.step(r"Given $X$ in $(2,4)$ a catapult has the probability (CAT-3: $X-Y>2$)", catapult_share.expr)
    d.residual("its edge", (X - X**2 * edge / 4) - 2)
    s = sympy.Symbol("S", positive=True)
    density = _chi_squared(s, 2 * N).subs(s, N * X / LR) * N / LR
    found = sympy.Integral(density * sympy.betainc_regularized(sympy.S.Half, N / 2, 0, edge), (X, 2, 4))
    d.step(r"Averaged over $X=\eta S/n$, $S\sim\chi^2_{2n}$ independent of $D^2$; growth needs $X>2$, "
           r"convergence $X<4$.", found)
    return found


def _derive_catapult(claimed: sympy.Expr) -> Derivation:
    d = Derivation("How likely a catapult is")
    _stated_law(d, squared_cosine_density.expr)
    found = _mean_share(d)
    factor = claimed / claimed.atoms(CatapultShare).pop()
    stated = claimed.atoms(CatapultShare).pop().integral()
    ratio = factor * stated.function / found.function
    d.residual("limits", sympy.Matrix(stated.limits[0][1:]) - sympy.Matrix(found.limits[0][1:]))
    return d.residual("integrand", _powers_joined(sympy.expand_power_exp(ratio.replace(
        sympy.loggamma, lambda z: sympy.log(sympy.gamma(z))))) - 1)


@closed_form("CAT-10", _derive_catapult, meanings=MEANINGS)
def probability_catapult(lr, width):
    r"""The probability over initialisations that the loss grows at the first step and training converges, exactly.

    >>> round(probability_catapult(lr=1.5, width=1000), 3)
    1.0
    """
    return CatapultShare(lr, width)


def _derive_lazy(claimed: sympy.Expr) -> Derivation:
    d = Derivation("How likely it is to start lazily")
    _stated_law(d, squared_cosine_density.expr)
    _mean_share(d)
    return d.residual("the three phases exclude each other and are all",
                      claimed + probability_divergent.expr + probability_catapult.expr - 1)


@closed_form("CAT-10", _derive_lazy, meanings=MEANINGS)
def probability_lazy(lr, width):
    r"""The probability over initialisations that training converges and its first step does not raise the loss, exactly.

    >>> round(probability_lazy(lr=1.0, width=16), 4)
    0.5851
    """
    return 1 - GammaTail(width, 2 * width / lr) - CatapultShare(lr, width)
