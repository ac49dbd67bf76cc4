r"""The stationary law on the sphere at constant effective learning rate (ILR-10, an extension).

.. math:: d\hat W = -\eta_e\nabla L\,dt + \eta_e s (I-\hat W\hat W^T) dB - \tfrac12 (d-1)\eta_e^2 s^2\hat W dt,
          \qquad L = \tfrac a2 x,\quad x = \sum_{i\le k}\hat w_i^2, \qquad p \propto e^{-2L/(\eta_e s^2)}.

A Bingham distribution; with b = a/(η_e s²) the density of x is proportional to x^(k/2-1) (1-x)^((d-k)/2-1) e^(-bx). The
derivations hold for every dimension d and rank k.
"""

from __future__ import annotations

import functools

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from ..inner_products import InnerProducts, up_to_dt
from .norm import GAMMA, TRACE, gamma_ode

A, K, D = symbol("eigenvalue"), symbol("rank"), symbol("dim")
STEP, NOISE, RATE = symbol("effective_lr"), symbol("noise_scale"), symbol("intrinsic_lr")
X, B, Q = symbol("x", positive=True), symbol("b", positive=True), sympy.Symbol("q", real=True)
W, PW = sympy.symbols("what Pw", real=True)
_MEANINGS = {"eigenvalue": "eigenvalue of A on k coordinates, 0 on the others",
             "loss": "value of the loss, at most a/2"}


def projection_sde(d: Derivation) -> tuple[sympy.Expr, sympy.Expr]:
    """Derive drift and squared noise of x = |Pŵ|² from the SDE on the sphere; they go into `d` and are returned."""
    d.assume(r"$L=\frac a2x$ with $x=\|P\hat w\|^2$, $P$ a projection of rank $k$; noise $\Sigma(\hat w)=s^2(I-\hat "
             r"w\hat w^T)$; "
             r"constant $\eta_e$. Any $d$ and $k$: algebra of inner products.")
    inner = InnerProducts({(W, W): 1, (W, PW): X, (PW, PW): X})
    tangent = PW - inner(W, PW) * W
    d.step(r"On the sphere $\nabla L=a(P\hat w-x\hat w)$.", A * tangent)
    d.residual("it is tangent", inner(W, tangent))
    c = STEP**2 * NOISE**2
    change = Q**2 * (-STEP * A * tangent - (D - 1) * c / 2 * W)
    spread = c * (K - X)
    d.step(r"$d\hat W$ without its noise ($q^2=dt$); the noise adds $\mathrm{tr}(P(I-\hat w\hat w^T))=k-x$ times "
           r"$\eta_e^2s^2$ "
           r"to $\langle P\,d\hat W,P\,d\hat W\rangle$.", sympy.expand(change))
    drift = sympy.factor(up_to_dt(2 * inner(PW, change), Q)[1]) + spread
    square = 4 * c * inner(PW, tangent)
    d.step(r"Itô: $dx=2\langle P\hat W,d\hat W\rangle+\langle P\,d\hat W,P\,d\hat W\rangle$. Drift of $x$:",
           sympy.simplify(drift))
    d.step(r"Squared noise of $x$: $4\eta_e^2s^2\langle P\hat w,(I-\hat w\hat w^T)P\hat w\rangle$.",
           sympy.factor(square))
    return drift, square


def projection_density(d: Derivation) -> sympy.Expr:
    """Derive the stationary density of x up to its constant, by detailed balance; return it in terms of b."""
    drift, square = projection_sde(d)
    slope = sympy.cancel((2 * drift / square).subs(A, B * STEP * NOISE**2))
    at_0, at_1 = sympy.cancel(X * slope).subs(X, 0), sympy.cancel((X - 1) * slope).subs(X, 1)
    constant = sympy.cancel(slope - at_0 / X - at_1 / (X - 1))
    density = X ** (at_0 - 1) * (1 - X) ** (at_1 - 1) * sympy.exp(constant * X)
    d.step(r"No flux: $mp=\frac12(Dp)'$ for drift $m$ and squared noise $D$, so $(\ln Dp)'=2m/D$, a sum of partial "
           r"fractions. With $b=a/(\eta_es^2)$, $p$ up to a constant:", density)
    flux = (drift * density - sympy.diff(square * density, X) / 2).subs(A, B * STEP * NOISE**2)
    d.residual("no flux", sympy.simplify(sympy.powsimp(sympy.expand(flux / density))))
    return density


@functools.cache
def _law() -> tuple[Derivation, sympy.Expr, sympy.Expr]:
    """Derive density and partition function of x once for all formulas: the derivation so far, density, Z(b)."""
    d = Derivation("The stationary law of x")
    density = projection_density(d)
    bingham = X ** (K / sympy.S(2) - 1) * (1 - X) ** ((D - K) / sympy.S(2) - 1) * sympy.exp(-B * X)
    d.residual("the density", sympy.simplify(sympy.diff(sympy.log(density / bingham), X)))
    cosine, sine = sympy.symbols("cos sin", positive=True)
    area = cosine ** (K - 1) * sine ** (D - K - 1)
    uniform = bingham.subs(B, 0).subs(1 - X, sine**2).subs(X, cosine**2) * 2 * cosine * sine
    d.step(r"At $b=0$ this is the uniform law of the sphere: with $x=\cos^2\varphi$, "
           r"$|dx|=2\cos\varphi\sin\varphi\,d\varphi$ "
           r"it is the area element $\cos^{k-1}\varphi\,\sin^{d-k-1}\varphi\,d\varphi$, up to a constant.", area)
    d.residual("the uniform law", sympy.powsimp(sympy.expand(uniform / area)) - 2)
    n = sympy.Symbol("n", nonnegative=True, integer=True)
    half = sympy.Rational(1, 2)

    def beta(p: sympy.Expr, q: sympy.Expr) -> sympy.Expr:
        return sympy.gamma(p) * sympy.gamma(q) / sympy.gamma(p + q)

    moment = beta(K * half + n, (D - K) * half) / beta(K * half, (D - K) * half)
    rising = sympy.RisingFactorial(K * half, n) / sympy.RisingFactorial(D * half, n)
    d.step(r"Its moments are quotients of Beta functions, $\mathbb{E}x^n=(k/2)_n/(d/2)_n$.", rising)
    d.residual("moments", sympy.gammasimp((moment / rising).rewrite(sympy.gamma)) - 1)
    z = sympy.hyper([K * half], [D * half], -B)
    d.step(r"$Z(b)=\mathbb{E}e^{-bx}=\sum_n\frac{(-b)^n}{n!}\frac{(k/2)_n}{(d/2)_n}$.", z)
    return d, density, z


def stationary_law(d: Derivation) -> tuple[sympy.Expr, sympy.Expr]:
    """Write the derivation of the stationary law of x into `d`; return density and partition function."""
    law, density, z = _law()
    for assumption in law.assumptions:
        d.assume(assumption.text, assumption.expression)
    for step in law.steps:
        d.step(step.text, step.expression)
    for name, value in law.residuals.items():
        d.residual(name, value)
    return density, z


def _mean(d: Derivation) -> sympy.Expr:
    _, z = stationary_law(d)
    mean = (A / 2 * (-sympy.diff(z, B) / z)).subs(B, A / (STEP * NOISE**2))
    d.step(r"$\mathbb{E}L=\frac a2\mathbb{E}x=-\frac a2\frac{d}{db}\ln Z$.", mean)
    return mean


def _derive_mean(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The mean loss of a Bingham distribution")
    return d.residual("mean loss over the formula", sympy.cancel(_mean(d) / claimed) - 1)


def _ratio(eigenvalue, rank, dim, b):
    half = sympy.Rational(1, 2)
    return (eigenvalue / 2 * rank / dim * sympy.hyper([rank * half + 1], [dim * half + 1], -b)
            / sympy.hyper([rank * half], [dim * half], -b))


@closed_form("ILR-10", _derive_mean, needs=lambda rank, dim: [rank <= dim], meanings=_MEANINGS)
def stationary_mean_loss(eigenvalue, rank, dim, effective_lr, noise_scale):
    r"""E L at rest for L = wᵀAw/(2wᵀw) with isotropic tangent noise, at constant effective learning rate.

    An extension: it follows from the definitions. SGD itself is O(effective_lr) away, relatively.

    >>> e = stationary_mean_loss(eigenvalue=1.0, rank=3, dim=8, effective_lr=0.0755929, noise_scale=0.5)
    >>> round(e, 5)
    0.01376
    """
    return _ratio(eigenvalue, rank, dim, eigenvalue / (effective_lr * noise_scale**2))


def _derive_equilibrium_mean(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The mean loss as a function of the intrinsic learning rate")
    trace = NOISE**2 * (D - 1)
    rest = sympy.sqrt(2 * RATE / trace)
    stationary = gamma_ode(d).subs({TRACE: trace, GAMMA: rest**-2})
    d.residual("the effective learning rate rests", stationary)
    d.step(r"$\eta_e$ at rest (ILR-4) with $\sigma^2=s^2(d-1)$.", rest)
    return d.residual("mean loss over the formula", sympy.cancel(_mean(d).subs(STEP, rest) / claimed) - 1)


@closed_form("ILR-10", _derive_equilibrium_mean, meanings=_MEANINGS,
             needs=lambda rank, dim: [rank <= dim, dim >= 2])
def equilibrium_mean_loss(eigenvalue, rank, dim, noise_scale, intrinsic_lr):
    r"""E L at the equilibrium of the norm: a function of the intrinsic learning rate, not of lr or decay."""
    return _ratio(eigenvalue, rank, dim, eigenvalue / (noise_scale * sympy.sqrt(2 * intrinsic_lr / (dim - 1))))


def _derive_loss_density(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The stationary law of the loss")
    density, z = stationary_law(d)
    loss = symbol("loss")
    value = symbol("x", positive=True)
    slope = sympy.diff(sympy.log(density), X)
    stated = sympy.diff(sympy.expand_log(sympy.log(claimed.subs(loss, A * value / 2)), force=True), value)
    stated = stated.subs(A, B * STEP * NOISE**2)
    d.residual("the density up to its constant", sympy.simplify(stated - slope))
    half = sympy.Rational(1, 2)
    beta = sympy.gamma(K * half) * sympy.gamma((D - K) * half) / sympy.gamma(D * half)
    d.step(r"The constant is $\frac a2B(\frac k2,\frac{d-k}2)Z(b)$.", A / 2 * beta * z)
    at = sympy.Rational(1, 2)
    there = (claimed.subs(loss, A * at / 2) * A / 2 * beta).subs(A, B * STEP * NOISE**2)
    bingham = at ** (K * half - 1) * (1 - at) ** ((D - K) * half - 1) * sympy.exp(-B * at)
    return d.residual("the constant", sympy.gammasimp(sympy.powsimp(sympy.expand_power_base(there * z / bingham))) - 1)


@closed_form("ILR-10", _derive_loss_density, meanings=_MEANINGS,
             needs=lambda loss, eigenvalue, rank, dim: [rank < dim, loss <= eigenvalue / 2])
def stationary_loss_density(loss, eigenvalue, rank, dim, effective_lr, noise_scale):
    r"""The stationary density of the loss value: what a histogram of the loss converges to."""
    half, x, b = sympy.Rational(1, 2), 2 * loss / eigenvalue, eigenvalue / (effective_lr * noise_scale**2)
    return (2 / eigenvalue * sympy.gamma(dim * half) / (sympy.gamma(rank * half) * sympy.gamma((dim - rank) * half))
            * x ** (rank * half - 1) * (1 - x) ** ((dim - rank) * half - 1) * sympy.exp(-b * x)
            / sympy.hyper([rank * half], [dim * half], -b))


def _derive_gap(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The gap of SGD to first order")
    square = sympy.Symbol("q", positive=True)
    d.assume(r"Norm at rest, $\eta_e\to 0$: near the minima a stiff coordinate of $\hat w$ does "
             r"$x'=(1-\eta_ea)x-\eta_esz$ up to terms the SDE has as well; what they add jointly with the finite step is "
             r"$O(\eta_e^2)$ relative.")
    rest = sympy.solve(sympy.Eq(square, (1 - STEP * A) ** 2 * square + STEP**2 * NOISE**2), square)[0]
    d.step(r"$q=\mathbb{E}x^2$ at rest.", sympy.factor(rest))
    limit = STEP * NOISE**2 / (2 * A)
    d.residual("the SDE's value is its leading order", sympy.limit(rest / limit, STEP, 0) - 1)
    steps = sympy.diff(sympy.simplify(rest / limit), STEP).subs(STEP, 0)
    d.step(r"Relative gap per $\eta_e$ from the steps of the direction.", steps)
    power = 1 + K * A**2 * limit / (NOISE**2 * (D - 1))
    d.step(r"The norm feels signal and noise (ILR-6): $S=\sigma^2+\mathbb{E}\|\nabla L\|^2$, over $\sigma^2$:", power)
    norm = sympy.diff(power ** sympy.Rational(-1, 2), STEP).subs(STEP, 0)
    d.step(r"$\eta_e=(2\lambda_e/S)^{1/2}$ and $\mathbb{E}L\propto\eta_e$: relative gap per $\eta_e$ from the norm.", norm)
    return d.residual("sum", steps + norm - claimed)


@closed_form("ILR-10", _derive_gap, meanings=_MEANINGS, needs=lambda rank, dim: [rank <= dim, dim >= 2])
def sgd_mean_loss_gap(eigenvalue, rank, dim):
    r"""c in E L of SGD = `equilibrium_mean_loss` · (1 + c η_e + O(η_e²)), at one intrinsic learning rate."""
    return eigenvalue / 2 - eigenvalue * rank / (4 * (dim - 1))
