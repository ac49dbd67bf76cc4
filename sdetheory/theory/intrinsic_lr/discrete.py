r"""SGD itself, step by step: the law of the norm, momentum, and the exact equivalence (ILR-6, 8, 9).

.. math:: w' = (1-\eta\lambda)w - \eta g, \quad \langle g, w\rangle = 0, \quad \|g\|^2 = S/\|w\|^2
          \quad\Rightarrow\quad r' = (1-\eta\lambda)^2 r + \eta^2 S/r, \quad r = \|w\|^2.

All derivations hold for every dimension (algebra of inner products).
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from ..inner_products import InnerProducts

LR, DECAY, MU = symbol("lr"), symbol("weight_decay"), symbol("momentum")
R = symbol("sq_norm")
W, V, G = sympy.symbols("w v g", real=True)
_SQ = {"sq_gradient": {"positive": True}}
SQ = symbol("sq_gradient", positive=True)


def _norm_step(d: Derivation) -> sympy.Expr:
    d.assume(r"$\langle g,w\rangle=0$ and $\|g\|^2=S/\|w\|^2$ (scale invariance, ILR-1). Any dimension.")
    inner = InnerProducts({(W, W): R, (W, G): 0, (G, G): SQ / R})
    update = (1 - LR * DECAY) * W - LR * G
    d.step("The update.", update)
    new = inner(update, update)
    d.step(r"$r'=\|w'\|^2$.", new)
    return new


def _derive_step(claimed: sympy.Expr) -> Derivation:
    d = Derivation("One step of the norm")
    return d.residual("new squared norm", _norm_step(d) - claimed)


@closed_form("ILR-6", _derive_step, assumptions=_SQ)
def discrete_sq_norm_step(sq_norm, lr, weight_decay, sq_gradient):
    r"""The squared norm after one step of SGD, `sq_gradient` being the squared norm of g at unit norm."""
    return (1 - lr * weight_decay) ** 2 * sq_norm + lr**2 * sq_gradient / sq_norm


def _derive_fixed_point(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The norm at rest")
    new = _norm_step(d)
    squared = sympy.solve(sympy.expand((new - R) * R).subs(R, sympy.sqrt(symbol("x", positive=True))),
                          symbol("x", positive=True))[0]
    d.step(r"$r'=r$, solved for $r^2$.", sympy.factor(squared))
    d.residual("fixed point of the map", (new - R).subs(R, claimed))
    return d.residual("the only one", squared - claimed**2)



@closed_form("ILR-6", _derive_fixed_point, assumptions=_SQ,
             needs=lambda lr, weight_decay: [lr * weight_decay < 2])
def discrete_sq_norm_fixed_point(lr, weight_decay, sq_gradient):
    r"""The squared norm that one step of SGD leaves as it is.

    >>> r = discrete_sq_norm_fixed_point(lr=0.1, weight_decay=0.05, sq_gradient=1.75)
    >>> abs(discrete_sq_norm_step(sq_norm=r, lr=0.1, weight_decay=0.05, sq_gradient=1.75) - r) < 1e-15
    True
    """
    return sympy.sqrt(lr * sq_gradient / (weight_decay * (2 - lr * weight_decay)))


def _derive_multiplier(claimed: sympy.Expr) -> Derivation:
    d = Derivation("How fast the norm comes to rest")
    new = _norm_step(d)
    slope = sympy.diff(new, R)
    d.step("The slope of the map.", slope)
    rest = sympy.sqrt(LR * SQ / (DECAY * (2 - LR * DECAY)))
    at_rest = slope.subs(R, rest)
    d.residual("that is where it rests", sympy.simplify((new - R).subs(R, rest)))
    d.step("There it is", sympy.simplify(at_rest))
    return d.residual("multiplier", at_rest - claimed)


@closed_form("ILR-6", _derive_multiplier, needs=lambda lr, weight_decay: [lr * weight_decay < 2])
def discrete_multiplier(lr, weight_decay):
    r"""The factor of a small deviation of |w|² from its fixed point, per step.

    It is 1 - 4 lr decay + 2 (lr decay)², in (-1, 1) for lr·weight_decay in (0, 2) except at 1, where it is -1.
    """
    return 1 - 4 * lr * weight_decay + 2 * (lr * weight_decay) ** 2


# ---- ILR-8: one parameter of four is idle


def _derive_equivalence(which: str):
    def derive(claimed: sympy.Expr) -> Derivation:
        d = Derivation("Learning rate, decay and norm: a change that no output sees")
        c = symbol("scale")
        lr, decay, buffer = sympy.symbols("lr_2 decay_2 b", positive=True)
        v_new = MU * V + G + DECAY * W
        w_new = W - LR * v_new
        d.assume(r"$\nabla L_t(cw)=c^{-1}\nabla L_t(w)$ for each minibatch. Any dimension, any schedule, any "
                 r"minibatch; "
                 r"induction over the steps on the state $(w, v)$.")
        d.step(r"A step: $v'=\mu v+g+\lambda w$, $w'=w-\eta v'$.", sympy.Matrix([v_new, w_new]))
        v_other = MU * buffer * V + G / c + decay * c * W
        w_other = c * W - lr * v_other
        d.step(r"The other run is at $(cw, bv)$ with $\tilde\eta,\tilde\lambda$ to be found.",
               sympy.Matrix([v_other, w_other]))
        gap = sympy.expand(v_other - buffer * v_new), sympy.expand(w_other - c * w_new)
        equations = [part.coeff(vector, 1) for part in gap for vector in (W, V, G)]
        found = sympy.solve(equations, [lr, decay, buffer], dict=True)[0]
        d.step(r"It is at $(cw', bv')$ after the step iff $(\tilde\eta,\tilde\lambda,b)$ are",
               sympy.Matrix([found[lr], found[decay], found[buffer]]))
        stated = {**found, {"lr": lr, "decay": decay}[which]: claimed}
        d.residual("after the step: buffers", gap[0].subs(stated))
        d.residual("after the step: weights", gap[1].subs(stated))
        noise = sympy.Symbol("xi", real=True)
        sde = (-LR * G - LR * DECAY * W, LR * noise)
        other = (-lr * G / c - lr * decay * c * W, lr * noise / c)
        d.step(r"The same for the SDE: $d(cW)$ is $c$ times drift and noise.", sympy.Matrix(other).subs(found))
        d.residual("drift of the SDE", sympy.expand(other[0] - c * sde[0]).subs(stated))
        d.residual("noise of the SDE", sympy.expand(other[1] - c * sde[1]).subs(stated))
        return d.residual("value", stated[{"lr": lr, "decay": decay}[which]] - found[{"lr": lr, "decay": decay}[which]])
    return derive


@closed_form("ILR-8", _derive_equivalence("lr"))
def equivalent_lr(lr, scale):
    r"""The learning rate with which SGD from scale·w_0 gives the same functions as with `lr` from w_0.

    The decay must be `equivalent_weight_decay` and the momentum buffer v_0/scale. Then it is exact at every step.
    """
    return scale**2 * lr


@closed_form("ILR-8", _derive_equivalence("decay"))
def equivalent_weight_decay(weight_decay, scale):
    r"""The decay that goes with `equivalent_lr`: the intrinsic learning rate stays as it is."""
    return weight_decay / scale**2


# ---- ILR-9: momentum


def _momentum_rest(d: Derivation) -> dict[str, sympy.Expr]:
    """Derive |w|^4 and <w, w'> at rest from the update with momentum."""
    a, b, q = sympy.symbols("a b q", real=True)
    d.assume(r"Isotropic noise: $\langle g,w\rangle=0$, $\mathbb{E}\langle g,v\rangle=0$, "
             r"$\mathbb{E}\|g\|^2=S/\|w\|^2$, and "
             r"$\|w\|$ does not fluctuate (high dimension; the gap is of order $1/d$). Any dimension.")
    inner = InnerProducts({(W, W): a, (W, V): b, (V, V): q, (W, G): 0, (V, G): 0, (G, G): SQ / a})
    v_new = MU * V + G + DECAY * W
    w_new = W - LR * v_new
    d.step(r"A step: $v'=\mu v+g+\lambda w$, $w'=w-\eta v'$.", sympy.Matrix([v_new, w_new]))
    moments = sympy.Matrix([inner(w_new, w_new), inner(w_new, v_new), inner(v_new, v_new)])
    d.step(r"$a=\|w\|^2$, $b=\langle w,v\rangle$, $q=\|v\|^2$ after the step.", moments)
    rest = sympy.solve([(moments[1] - b) - 0, (moments[0] - a)], [b, q], dict=True)[0]
    equation = sympy.factor(sympy.cancel((moments[2] - q).subs(rest) * a))
    squared = sympy.solve(equation.subs(a, sympy.sqrt(symbol("x", positive=True))), symbol("x", positive=True))
    d.step(r"At rest, $b$ and $q$ from the first two, then $a^2=\|w\|^4$ from the third.", sympy.factor(squared[0]))
    overlap = sympy.cancel(inner(W, w_new).subs(rest) / a)
    d.step(r"The cosine of the angle between $w$ and $w'$.", overlap)
    return {"fourth": squared[0], "cos": overlap}


def _momentum_needs(lr, weight_decay, momentum):
    return [momentum < 1, lr * weight_decay < 2 * (1 + momentum)]


def _derive_momentum_norm(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The equilibrium norm with momentum")
    found = _momentum_rest(d)["fourth"]
    d.residual("|w|^4", found - claimed**2)
    small = sympy.Symbol("x", positive=True)
    plain = (claimed**2).subs(MU, 0).subs(LR, small / DECAY)
    ratio = sympy.limit(sympy.cancel((claimed**2).subs(LR, small / DECAY) / plain), small, 0)
    return d.residual("to leading order momentum acts as lr / (1 - momentum)", ratio - 1 / (1 - MU))


@closed_form("ILR-9", _derive_momentum_norm, needs=_momentum_needs, assumptions=_SQ)
def momentum_equilibrium_sq_norm(lr, weight_decay, momentum, sq_gradient):
    r"""|w|² at rest under SGD with momentum: exact for isotropic noise where |w| does not fluctuate.

    An extension, due to R. Wan et al., arXiv:2006.08419; momentum 0 gives `discrete_sq_norm_fixed_point`.
    """
    return sympy.sqrt(lr * sq_gradient / (weight_decay * (1 - momentum) * (2 - lr * weight_decay / (1 + momentum))))


def _derive_angle(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The angle of a step with momentum")
    cosine = _momentum_rest(d)["cos"]
    d.residual("cosine", cosine - sympy.expand_trig(sympy.cos(claimed)))
    small = sympy.Symbol("x", positive=True)
    scaled = claimed.subs(LR, small**2 / DECAY)
    d.residual("leading order", sympy.limit(scaled / small, small, 0) - sympy.sqrt(2 / (1 + MU)))
    return d


@closed_form("ILR-9", _derive_angle, needs=_momentum_needs)
def momentum_angle(lr, weight_decay, momentum):
    r"""The angle between successive iterates at rest, in radians; its cosine is 1 - lr·decay/(1 + momentum).

    To leading order it is (2 lr decay/(1 + momentum))^(1/2).

    >>> round(momentum_angle(lr=0.1, weight_decay=0.005, momentum=0.9), 6)
    0.022942
    """
    return 2 * sympy.asin(sympy.sqrt(lr * weight_decay / (2 * (1 + momentum))))


def _derive_sq_step(claimed: sympy.Expr) -> Derivation:
    d = Derivation("Balance of second moments with momentum, in every dimension")
    a, h = sympy.symbols("a h", positive=True)
    b, q = sympy.symbols("b q", real=True)
    d.assume(r"Given $w$: $\langle g,w\rangle=0$, $\mathbb{E}\langle g,v\rangle=0$, $\mathbb{E}\|g\|^2=S/\|w\|^2$. "
             r"Expectations of inner products, at rest.")
    d.step(r"$a=\mathbb{E}\|w\|^2$, $b=\mathbb{E}\langle w,v\rangle$, $q=\mathbb{E}\|v\|^2$, "
           r"$h=\mathbb{E}\|w\|^{-2}$.")
    mean = InnerProducts({(W, W): a, (W, V): b, (V, V): q, (W, G): 0, (V, G): 0, (G, G): SQ * h})
    v_new = MU * V + G + DECAY * W
    w_new = W - LR * v_new
    moments = [mean(w_new, w_new) - a, mean(w_new, v_new) - b, mean(v_new, v_new) - q]
    d.step(r"The changes of $a$, $b$, $q$ in a step, linear in these; at rest they are 0.", sympy.Matrix(moments))
    rest = sympy.solve(moments, [a, b, q], dict=True)[0]
    d.step(r"The solution is proportional to $h$: $a$ is", sympy.factor(rest[a]))
    fourth = momentum_equilibrium_sq_norm.expr ** 2
    d.residual("E|w|^2 = F^2 E|w|^-2", rest[a] - fourth * h)
    step = mean(w_new - W, w_new - W).subs(rest)
    d.step(r"$\mathbb{E}\|w'-w\|^2$.", sympy.factor(step))
    return d.residual("E|w' - w|^2", sympy.cancel(step / rest[a]) - claimed)


@closed_form("ILR-9", _derive_sq_step, needs=_momentum_needs)
def momentum_sq_step(lr, weight_decay, momentum):
    r"""E‖w' − w‖²/E‖w‖² at rest under SGD with momentum and isotropic noise: exact in every dimension.

    So is E‖w‖² E‖w‖⁻² against its value where the norm does not fluctuate, E‖w‖² = F² E‖w‖⁻², F that norm squared.
    """
    return 2 * lr * weight_decay / (1 + momentum)
