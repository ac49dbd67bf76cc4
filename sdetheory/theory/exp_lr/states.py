r"""Scale invariance and the algebra of updates; where normalisation and decay lose stability (EXP-1, 2, 3, 12).

.. math:: GD^\rho(w,\eta) = (\rho w-\eta\nabla L(w),\eta), \quad \Pi_1^c(w,\eta)=(cw,\eta),
          \quad \Pi_2^c(w,\eta)=(w,c\eta).

Every dimension: linear combinations of w and g, or the plane of w and one other direction.
"""

from __future__ import annotations

from collections.abc import Callable

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from ..inner_products import InnerProducts

LR, DECAY, R, GRAD = symbol("lr"), symbol("weight_decay"), symbol("sq_norm"), symbol("sq_grad")
TOP, RATE = symbol("top_curvature"), symbol("intrinsic_lr")
W, G = sympy.symbols("w g", real=True)


def _derive_curvature(claimed: sympy.Expr) -> Derivation:
    d = Derivation("Gradient and Hessian of a scale-invariant loss")
    along, across, c = sympy.symbols("alpha beta c", positive=True)
    loss = sympy.Function("f")(across / along)
    d.assume(r"$L(cw)=L(w)$ for $c>0$; on the plane $\alpha w+\beta u$ of any two directions $L=f(\beta/\alpha)$ "
             r"($c=1/\alpha$). Any dimension.", loss)
    grow = {along: c * along, across: c * across}

    def at_scale(e: sympy.Expr) -> sympy.Expr:
        return e.subs(grow, simultaneous=True).doit()

    first = [sympy.diff(loss, v).doit() for v in (along, across)]
    second = sympy.hessian(loss, (along, across)).doit()
    point = sympy.Matrix([along, across])
    d.residual("<gradient, w> = 0", sympy.simplify(along * first[0] + across * first[1]))
    d.residual("the gradient has degree -1", sympy.simplify(at_scale(first[1]) - first[1] / c))
    d.residual("the Hessian has degree -2", sympy.simplify(at_scale(second[1, 1]) - second[1, 1] / c**2))
    d.residual("Hessian times w is minus the gradient", sympy.simplify(second * point + sympy.Matrix(first)))
    factor = sympy.simplify(at_scale(second[1, 1]) / second[1, 1]).subs(c, sympy.sqrt(R))
    d.step(r"From the sphere to norm $\|w\|=R^{1/2}$ the Hessian is multiplied by", factor)
    return d.residual("curvature", TOP * factor - claimed)


@closed_form("EXP-1", _derive_curvature)
def curvature_at_norm(sq_norm, top_curvature):
    r"""A curvature of a scale-invariant loss at squared norm `sq_norm`, from that on the unit sphere."""
    return top_curvature / sq_norm


def _derive_growth(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The norm after a step")
    d.assume(r"$\langle\nabla L(w),w\rangle=0$ (EXP-1). Any dimension.")
    update = (1 - LR * DECAY) * W - LR * G
    d.step("The update without momentum.", update)
    inner = InnerProducts({(W, W): R, (W, G): 0, (G, G): GRAD})
    return d.residual("squared norm", inner(update, update) - claimed)


@closed_form("EXP-2", _derive_growth, meanings={"sq_grad": "|∇L(w)|² of this step", "sq_norm": "|w|² before the step"})
def sq_norm_step(sq_norm, lr, weight_decay, sq_grad):
    r"""|w|² after a step without momentum; without decay it never falls (weight_decay > 0 here)."""
    return (1 - lr * weight_decay) ** 2 * sq_norm + lr**2 * sq_grad


State = tuple[sympy.Expr, sympy.Expr]


def _descent(shrink: sympy.Expr) -> Callable[[State], State]:
    """GD^shrink on (w, lr), w a multiple c of the vector w: there the gradient is g/c."""
    def step(state: State) -> State:
        w, lr = state
        return shrink * w - lr * G / w.coeff(W, 1), lr
    return step


def _derive_states(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The algebra of updates")
    rho, c = symbol("shrinkage"), sympy.Symbol("c", positive=True)
    d.assume(r"$\nabla L(cw)=c^{-1}\nabla L(w)$, $c,\rho>0$. Any dimension.")

    def scale_w(k: sympy.Expr, s: State) -> State:
        return sympy.expand(k * s[0]), s[1]

    def scale_lr(k: sympy.Expr, s: State) -> State:
        return s[0], k * s[1]

    start: State = (W, LR)
    left = scale_w(c, scale_lr(c**2, _descent(sympy.S.One)(start)))
    right = _descent(sympy.S.One)(scale_w(c, scale_lr(c**2, start)))
    d.step(r"$\Pi_1^c\Pi_2^{c^2}GD^1$ and $GD^1\Pi_1^c\Pi_2^{c^2}$.", sympy.Matrix([left, right]))
    d.residual("they commute", sympy.Matrix([left]) - sympy.Matrix([sympy.expand(e) for e in right]).T)
    inside = claimed / LR
    whole = scale_lr(1 / inside, scale_w(rho, _descent(sympy.S.One)(scale_lr(inside, start))))
    direct = _descent(rho)(start)
    d.step(r"$GD^\rho$ and $\Pi_2^{1/k}\Pi_1^\rho GD^1\Pi_2^k$ with $k$ to be found.", sympy.Matrix([direct, whole]))
    d.residual("decay is a scaling before and after", sympy.expand(sympy.Matrix([direct]) - sympy.Matrix([whole])))
    return d


@closed_form("EXP-3", _derive_states, assumptions={"shrinkage": {"positive": True}},
             meanings={"shrinkage": "factor 1 - lr·decay on w"})
def decay_free_lr(lr, shrinkage):
    r"""The learning rate of the step without decay that, then scaled by `shrinkage`, is a step with decay."""
    return lr / shrinkage


def _multiplier(d: Derivation) -> sympy.Expr:
    deviation = sympy.Symbol("delta", real=True)
    d.assume(r"Full batch, no momentum; $w$ near a minimum on the sphere with top Hessian eigenvalue $h$ there.")
    length = sympy.Symbol("r", positive=True)
    new = (1 - LR * DECAY) * deviation - LR * TOP / length**2 * deviation
    d.step(r"A deviation $\delta$ along the top eigenvector, Hessian $h/r^2$ (EXP-1):", new)
    shrunk = (1 - LR * DECAY) * length
    factor = sympy.simplify(new / shrunk / (deviation / length))
    d.step(r"$\delta/r$ is multiplied by", factor)
    return factor


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
