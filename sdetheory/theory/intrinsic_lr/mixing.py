r"""Two clocks: the sphere without barriers mixes with the norm, wells of a loss do not (ILR-11, 12).

.. math:: d\hat W = -\eta_e\nabla L\,dt + \eta_e s(I-\hat W\hat W^T)dB - \tfrac12(d-1)\eta_e^2s^2\hat W dt,
          \qquad T = \tfrac12\eta_e s^2.

Pure noise: degree l decays at the rate l(l+d-2)η_e²s²/2, in every dimension. Wells on the circle (d = 2): the rate of a
barrier is exponentially small in 1/T; its prefactor is the leading order of Laplace's method.
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from .norm import GAMMA, TRACE, gamma_ode

D, STEP, NOISE, RATE = symbol("dim"), symbol("effective_lr"), symbol("noise_scale"), symbol("intrinsic_lr")
DEGREE, LAG = symbol("degree"), symbol("lag")


def harmonic_decay(d: Derivation) -> sympy.Expr:
    """Derive the decay rate of a harmonic polynomial of degree l from the SDE on the sphere; return it."""
    r = sympy.Symbol("r", positive=True)
    d.assume(r"$L=0$, noise $s^2(I-\hat w\hat w^T)$, constant $\eta_e$. $H$ is any homogeneous harmonic polynomial of "
             r"degree "
             r"$\ell$, in any dimension.")
    first = sympy.diff(r**DEGREE, r).subs(r, 1)
    second = sympy.diff(r**DEGREE, r, 2).subs(r, 1)
    d.step(r"$H(rw)=r^\ell H(w)$: $\langle w,\nabla H\rangle$ and $w^T\nabla^2H\,w$ are $H$ times",
           sympy.Matrix([first, second]))
    c, laplacian = STEP**2 * NOISE**2, sympy.S.Zero
    drift = -(D - 1) * c / 2 * first + c / 2 * (laplacian - second)
    d.step(r"Itô: the drift of $H(\hat W)$ is $-\frac12(d-1)\eta_e^2s^2\langle\hat w,\nabla H\rangle+\frac12\eta_e^2s^2"
           r"(\Delta H-\hat w^T\nabla^2H\,\hat w)$ with $\Delta H=0$: $H$ times", sympy.factor(sympy.simplify(drift)))
    return -drift


def _derive_harmonic(claimed: sympy.Expr) -> Derivation:
    d = Derivation("Spherical harmonics under pure noise")
    return d.residual("rate", harmonic_decay(d) - claimed)


@closed_form("ILR-11", _derive_harmonic, clock="step")
def harmonic_rate(degree, dim, effective_lr, noise_scale):
    r"""The rate at which E H(Ŵ) decays without a loss, H a spherical harmonic of that degree.

    >>> round(harmonic_rate(degree=1, dim=3, effective_lr=0.1, noise_scale=1.0), 12)
    0.01
    """
    return degree * (degree + dim - 2) * effective_lr**2 * noise_scale**2 / 2


def _derive_equilibrium_harmonic(claimed: sympy.Expr) -> Derivation:
    d = Derivation("Spherical harmonics on the clock of the norm")
    found = harmonic_decay(d)
    rest = sympy.solve(gamma_ode(d).subs(TRACE, NOISE**2 * (D - 1)), GAMMA)[0]
    d.step(r"At rest $\eta_e^{-2}=\gamma$ with $\sigma^2=s^2(d-1)$ is", rest)
    return d.residual("rate", found.subs(STEP, rest ** sympy.Rational(-1, 2)) - claimed)


@closed_form("ILR-11", _derive_equilibrium_harmonic, clock="step",
             needs=lambda dim: [dim >= 2])
def equilibrium_harmonic_rate(degree, dim, intrinsic_lr):
    r"""`harmonic_rate` at the equilibrium of the norm: a multiple of the intrinsic learning rate alone."""
    return intrinsic_lr * degree * (degree + dim - 2) / (dim - 1)


def _correlation(d: Derivation) -> sympy.Expr:
    rate = harmonic_decay(d).subs(DEGREE, 1)
    found = sympy.exp(-rate * LAG)
    d.step(r"Coordinates are harmonic of degree 1: $\mathbb{E}[\hat W_{t+\Delta}|\hat W_t]=e^{-k_1\Delta}\hat W_t$ "
           r"with "
           r"$\|\hat W_t\|=1$.", found)
    return found


def _derive_autocorrelation(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The direction forgets itself")
    return d.residual("autocorrelation", _correlation(d) - claimed)


@closed_form("ILR-11", _derive_autocorrelation, clock="step")
def direction_autocorrelation(lag, dim, effective_lr, noise_scale):
    r"""E⟨Ŵ_t, Ŵ_{t+lag}⟩ without a loss."""
    return sympy.exp(-(dim - 1) * effective_lr**2 * noise_scale**2 * lag / 2)


def _derive_displacement(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The distance from an earlier weight keeps growing")
    radius = symbol("sq_norm")
    found = radius + radius - 2 * radius * _correlation(d)
    d.step(r"At a norm at rest, $\|W_t\|^2=\|W_{t+\Delta}\|^2=R$: the distance squared is", found)
    return d.residual("mean squared displacement", found - claimed)


@closed_form("ILR-11", _derive_displacement, clock="step", meanings={"sq_norm": "|W|^2 at rest"})
def mean_sq_displacement(lag, sq_norm, dim, effective_lr, noise_scale):
    r"""E|W_t - W_{t+lag}|² without a loss, the norm at rest: it grows over the whole mixing time."""
    return 2 * sq_norm * (1 - sympy.exp(-(dim - 1) * effective_lr**2 * noise_scale**2 * lag / 2))


# ---- ILR-12: wells on the circle


def _gauss(curvature: sympy.Expr, temperature: sympy.Expr) -> sympy.Expr:
    y = sympy.Symbol("y", real=True)
    return sympy.integrate(sympy.exp(-curvature * y**2 / (2 * temperature)), (y, -sympy.oo, sympy.oo))


def barrier_rate(d: Derivation) -> sympy.Expr:
    """Derive the rate over one barrier on the circle from the Fokker-Planck equation; return it."""
    low, high = symbol("min_curvature"), symbol("max_curvature")
    barrier, temperature = symbol("barrier"), symbol("temperature")
    x = sympy.Symbol("theta", real=True)
    loss, height = sympy.Function("L")(x), sympy.Function("h")(x)
    d.assume(r"The circle ($d=2$), constant $\eta_e$, $T=\eta_es^2/2\ll\Delta L$; leading order of Laplace's method, "
             r"relative "
             r"corrections $O(T)$.")
    density = height * sympy.exp(-loss / temperature)
    square = STEP**2 * NOISE**2
    flux = -STEP * sympy.diff(loss, x) * density - sympy.diff(square * density, x) / 2
    flux = flux.subs(NOISE, sympy.sqrt(2 * temperature / STEP))
    d.step(r"$d\theta=-\eta_eL'dt+\eta_es\,dB$; with $p=h\,e^{-L/T}$ the flux $-\eta_eL'p-\frac12(\eta_e^2s^2p)'$ is",
           sympy.simplify(flux))
    d.residual("flux", flux + STEP * temperature * sympy.diff(height, x) * sympy.exp(-loss / temperature))
    over = sympy.exp(barrier / temperature) * _gauss(high, temperature)
    inside = _gauss(low, temperature)
    d.step(r"A constant flux $J$ from a full well ($h$) into an empty one: $h=\frac{J}{\eta_eT}\int e^{L/T}$; Laplace "
           r"at the "
           r"barrier, $L=0$ in the well:", over)
    d.step(r"The well holds $n=h\int e^{-L/T}$; Laplace in the well:", inside)
    rate = sympy.simplify(STEP * temperature / (over * inside))
    d.step(r"$k=J/n$.", rate)
    return rate.subs(temperature, STEP * NOISE**2 / 2)


def _derive_kramers(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The rate over a barrier")
    return d.residual("rate over the formula", sympy.simplify(barrier_rate(d) / claimed) - 1)


@closed_form("ILR-12", _derive_kramers, clock="step")
def kramers_rate(effective_lr, noise_scale, barrier, min_curvature, max_curvature):
    r"""The rate from a well over one barrier of the circle, to leading order in T = effective_lr·noise_scale²/2.

    Test the slope of ln(effective_lr·time) against barrier/T, which is 1; for SGD itself the prefactor differs.
    """
    return (effective_lr * sympy.sqrt(min_curvature * max_curvature) / (2 * sympy.pi)
            * sympy.exp(-2 * barrier / (effective_lr * noise_scale**2)))


def _derive_slowest(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The slowest rate of the occupation of wells")
    rate = barrier_rate(d)
    m, j, q = symbol("n_wells"), sympy.Symbol("j", integer=True), sympy.Symbol("q", integer=True)
    wave = sympy.exp(2 * sympy.pi * sympy.I * q * j / m)
    d.step(r"Wells exchange with both neighbours: $\dot n_j=k(n_{j-1}+n_{j+1}-2n_j)$. A wave $n_j$ is an "
           r"eigenvector.", wave)
    d.residual("the circle closes", wave.subs(j, j + m) / wave - 1)
    exchange = wave.subs(j, j - 1) + wave.subs(j, j + 1) - 2 * wave
    eigenvalue = sympy.simplify((exchange / wave).expand().rewrite(sympy.cos))
    d.step(r"Its eigenvalue over $k$; $q=0$ is the stationary one, $q=1$ the slowest.", eigenvalue)
    d.residual("eigenvalue at q = 0", eigenvalue.subs(q, 0))
    return d.residual("rate over the formula", sympy.simplify(-rate * eigenvalue.subs(q, 1) / claimed) - 1)


@closed_form("ILR-12", _derive_slowest, clock="step",
             needs=lambda n_wells: [n_wells >= 2])
def slowest_rate(effective_lr, noise_scale, barrier, min_curvature, max_curvature, n_wells):
    r"""The slowest rate at which the occupation of n equal wells on the circle mixes."""
    return (effective_lr * sympy.sqrt(min_curvature * max_curvature) / (2 * sympy.pi)
            * sympy.exp(-2 * barrier / (effective_lr * noise_scale**2)) * 2 * (1 - sympy.cos(2 * sympy.pi / n_wells)))


def _derive_share(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The occupation of two wells of equal depth")
    temperature = symbol("temperature")
    one = _gauss(symbol("min_curvature"), temperature)
    other = _gauss(symbol("other_curvature"), temperature)
    d.assume(r"Leading order of Laplace's method in $T$.")
    d.step(r"At rest $p\propto e^{-L/T}$ (detailed balance): a well holds", one)
    return d.residual("share", sympy.simplify(one / (one + other)) - claimed)


@closed_form("ILR-12", _derive_share,
             meanings={"min_curvature": "second derivative of the loss in this well"})
def well_share(min_curvature, other_curvature):
    r"""The share of one of two wells of equal depth at rest, to leading order in T: the wider well holds more."""
    return sympy.sqrt(other_curvature) / (sympy.sqrt(min_curvature) + sympy.sqrt(other_curvature))
