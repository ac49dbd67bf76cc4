r"""Where normalisation and weight decay lose stability: the norm falls until the minimum repels (EXP-12).

.. math:: \frac{\delta}{r} \mapsto \Bigl(1 - \frac{h\,\eta/r^2}{1-\eta\lambda}\Bigr)\frac{\delta}{r},
          \qquad r^2 \mapsto (1-\eta\lambda)^2 r^2

near a minimum with top Hessian eigenvalue h on the unit sphere. A plain quadratic has no such threshold.
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form

LR, DECAY, R = symbol("lr"), symbol("weight_decay"), symbol("sq_norm")
TOP, RATE, STEP = symbol("top_curvature"), symbol("intrinsic_lr"), symbol("effective_lr")


def _multiplier(d: Derivation) -> sympy.Expr:
    """Derive the factor of a small deviation in a step, and of r², from any scale-invariant loss; return the former."""
    along, across, q = sympy.symbols("a b q", real=True)
    radius = sympy.Symbol("r", positive=True)
    rest = sympy.Function("rho")
    d.assume(r"Full batch, no momentum; $w$ near a minimum on the sphere with top Hessian eigenvalue $h$ there, along whose "
             r"eigenvector it deviates: the plane of both, with coordinates $a$, $b$. Any dimension.")
    profile = TOP * q**2 / 2 + q**3 * rest(q)
    loss = profile.subs(q, across / along)
    d.step(r"Scale invariance: $L=f(b/a)$; the minimum is $b=0$, and up to a constant (Taylor) $L$ is", loss)
    new = [(1 - LR * DECAY) * v - LR * sympy.diff(loss, v).doit() for v in (along, across)]
    d.step(r"A step, $w'=(1-\eta\lambda)w-\eta\nabla L$.", sympy.Matrix(new))
    slope = sympy.diff(new[1] / new[0], across).doit().subs(across, 0).doit() * along
    factor = sympy.simplify(slope.subs(along, radius))
    d.step(r"$b/a$ is multiplied by its derivative at $b=0$, where $a=r$:", factor)
    shrunk = sympy.simplify((new[0] ** 2 + new[1] ** 2).subs(across, 0).doit().subs(along, radius))
    d.residual("at the minimum only decay moves the norm", shrunk - (1 - LR * DECAY) ** 2 * radius**2)
    return factor


def _derive_factor(claimed: sympy.Expr) -> Derivation:
    d = Derivation("A small deviation from a minimum, in one step")
    factor = _multiplier(d).subs({DECAY: RATE / LR, sympy.Symbol("r", positive=True): sympy.sqrt(LR / STEP)})
    return d.residual("factor", factor - claimed)


@closed_form("EXP-12", _derive_factor, needs=lambda intrinsic_lr: [intrinsic_lr < 1])
def deviation_factor(effective_lr, intrinsic_lr, top_curvature):
    r"""The factor of a small deviation from a minimum on the sphere per step; the minimum repels where it is below -1.

    On x²/(x²+y²) the curvature is 2.
    """
    return 1 - top_curvature * effective_lr / (1 - intrinsic_lr)


def _derive_plain(claimed: sympy.Expr) -> Derivation:
    d = Derivation("Decay without normalisation")
    x, curvature = sympy.Symbol("x", real=True), symbol("eigenvalue")
    loss = curvature * x**2 / 2
    d.step("A quadratic without normalisation.", loss)
    new = (1 - LR * DECAY) * x - LR * sympy.diff(loss, x)
    d.step(r"A step is linear, with the same factor at every norm.", sympy.factor(new))
    d.residual("factor", sympy.cancel(new / x) - claimed)
    edge = sympy.solve(claimed + 1, LR)[0]
    return d.residual("it is -1 at lr (a + decay) = 2", edge * (curvature + DECAY) - 2)


@closed_form("EXP-12", _derive_plain)
def plain_deviation_factor(lr, weight_decay, eigenvalue):
    r"""The factor of w per step on a·w²/2 with decay: it converges if lr·(a + weight_decay) < 2, and stays converged."""
    return 1 - lr * (eigenvalue + weight_decay)


def _derive_threshold(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The effective learning rate at which a minimum repels")
    step = symbol("effective_lr")
    factor = _multiplier(d).subs({DECAY: RATE / LR, sympy.Symbol("r", positive=True): sympy.sqrt(LR / step)})
    found = sympy.solve(sympy.Eq(sympy.simplify(factor), -1), step)[0]
    d.step(r"It is $-1$ at", found)
    return d.residual("threshold", found - claimed)


@closed_form("EXP-12", _derive_threshold, needs=lambda intrinsic_lr: [intrinsic_lr < 1])
def instability_threshold(intrinsic_lr, top_curvature):
    r"""The effective learning rate lr/|w|² above which GD with decay leaves the minimum.

    >>> instability_threshold(intrinsic_lr=0.5, top_curvature=2.0)
    0.5
    """
    return 2 * (1 - intrinsic_lr) / top_curvature


def _derive_time(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The time until the minimum repels")
    factor = _multiplier(d)
    t = sympy.Symbol("n", positive=True)
    x, shrink = sympy.symbols("x rho", positive=True)
    there = sympy.solve(sympy.Eq(factor.subs(sympy.Symbol("r", positive=True), sympy.sqrt(x)), -1), x)[0]
    d.step(r"The multiplier is $-1$ at $r^2$ =", sympy.simplify(there))
    found = sympy.solve(sympy.Eq(shrink ** (2 * t) * R, x), t)[0]
    d.step(r"Near the minimum $r_n^2=\rho^{2n}r_0^2$ with $\rho=1-\eta\lambda$; it is $x$ after", found)
    waiting = claimed.replace(sympy.Max, lambda *terms: sympy.Add(*terms))  # Max(0, n) = n while there is time to wait
    gap = (found.subs(x, there) - waiting).subs(DECAY, (1 - shrink) / LR)
    return d.residual("time", sympy.expand_log(sympy.simplify(gap), force=True))


@closed_form("EXP-12", _derive_time, clock="step", needs=lambda lr, weight_decay: [lr * weight_decay < 1],
             meanings={"sq_norm": "|w|² after the initial growth of the norm"})
def time_to_instability(sq_norm, lr, weight_decay, top_curvature):
    r"""The number of steps until a minimum GD with decay has found repels it; the spike comes as long again after."""
    x = lr * weight_decay
    return sympy.Max(0, -sympy.log(2 * (1 - x) * sq_norm / (lr * top_curvature)) / (2 * sympy.log(1 - x)))
