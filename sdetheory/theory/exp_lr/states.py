r"""Scale invariance, the norm after a step, and the algebra of updates (EXP-1, 2, 3).

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

#: EXP holds for weight_decay = 0 too
DECAYS = {"weight_decay": {"nonnegative": True}}
LR, R, GRAD = symbol("lr"), symbol("sq_norm"), symbol("sq_grad")
DECAY = symbol("weight_decay", **DECAYS["weight_decay"])
TOP = symbol("top_curvature")
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


@closed_form("EXP-2", _derive_growth, assumptions=DECAYS,
             meanings={"sq_grad": "|∇L(w)|² of this step", "sq_norm": "|w|² before the step"})
def sq_norm_step(sq_norm, lr, weight_decay, sq_grad):
    r"""|w|² after a step without momentum; without decay it never falls."""
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
