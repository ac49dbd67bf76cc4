r"""The state with its momentum buffer: scalings, the total decay, and the way back to weight decay (EXP-3, 4, 5, 6).

.. math:: (w, v, \eta)\mapsto(cw,\,v/c,\,c^2\eta), \qquad
          \kappa_t = \lambda_t + \mu\,\frac{\kappa_{t-1}}{1-\eta_{t-1}\kappa_{t-1}}, \qquad \alpha_{t+1} = 1-\eta_t\kappa_t

κ is the total decay: what weight decay and the buffer take from w. Every dimension.
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from .roots import ALPHA, DECAY, DECAYS, LR, MU, PREVIOUS, STEP, buffer_steps, rescaled_step

TOTAL, SCALE = symbol("total_decay"), symbol("scale")
W, V, G = sympy.symbols("w v g", real=True)


def _scaled_state(d: Derivation) -> dict[sympy.Symbol, sympy.Expr]:
    """Find b and k with which (cw, bv, k lr) -> … commutes with a step without decay."""
    b, k = sympy.symbols("b k", positive=True)
    d.assume(r"$\nabla L(cw)=c^{-1}\nabla L(w)$, $c>0$. Any dimension, any momentum.")

    def step(w: sympy.Expr, v: sympy.Expr, lr: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr]:
        after = MU * v + G / w.coeff(W, 1)
        return w - lr * after, after

    weights, buffer = step(W, V, LR)
    d.step(r"A step from $(w,v,\eta)$.", sympy.Matrix([weights, buffer]))
    other_weights, other_buffer = step(SCALE * W, b * V, k * LR)
    d.step(r"A step from $(cw,bv,k\eta)$.", sympy.Matrix([other_weights, other_buffer]))
    gaps = [sympy.expand(other_weights - SCALE * weights), sympy.expand(other_buffer - b * buffer)]
    found = sympy.solve([gap.coeff(e, 1) for gap in gaps for e in (W, V, G)], [b, k], dict=True)[0]
    d.step(r"It is the scaled step iff $(b,k)$ are", sympy.Matrix([found[b], found[k]]))
    for name, gap in zip(("weights", "buffer"), gaps, strict=True):
        d.residual(f"{name} scale", gap.subs(found))
    return {SCALE: found[b], LR: found[k]}


def _derive_buffer_factor(claimed: sympy.Expr) -> Derivation:
    d = Derivation("What the buffer does when the weights are rescaled")
    return d.residual("factor", _scaled_state(d)[SCALE] - claimed)


@closed_form("EXP-3", _derive_buffer_factor)
def buffer_factor(scale):
    r"""The factor on the momentum buffer that goes with `scale` on the weights."""
    return 1 / scale


def _derive_lr_factor(claimed: sympy.Expr) -> Derivation:
    d = Derivation("What the learning rate does when the weights are rescaled")
    return d.residual("factor", _scaled_state(d)[LR] - claimed)


@closed_form("EXP-3", _derive_lr_factor)
def lr_factor(scale):
    r"""The factor on the learning rate that goes with `scale` on the weights: Π1^c Π2^(c²) commutes with a step.

    >>> lr_factor(scale=0.5), buffer_factor(scale=0.5)
    (0.25, 2.0)
    """
    return scale**2


def _derive_without_momentum(claimed: sympy.Expr) -> Derivation:
    d = Derivation("Weight decay is an exponential learning rate")
    rho, lr = symbol("shrinkage", positive=True), sympy.Symbol("lr_t", positive=True)
    d.assume(r"$\nabla L_t(cw)=c^{-1}\nabla L_t(w)$, $\rho=1-\eta\lambda>0$. Any dimension, any minibatches.")
    scale = rho**-STEP
    after, other = rho * W - LR * G, scale * W - lr * G / scale
    d.step(r"If $\tilde w_t=\rho^{-t}w_t$, the two runs step to", sympy.Matrix([after, other]))
    gap = sympy.expand(sympy.powsimp(other - scale.subs(STEP, STEP + 1) * after))
    found = sympy.solve(gap.coeff(G, 1), lr)[0]
    d.step(r"The second is $\rho^{-t-1}w_{t+1}$ iff $\tilde\eta_t$ is", sympy.powsimp(found))
    d.residual("the weights agree", sympy.powsimp(gap.coeff(W, 1)))
    return d.residual("rate over the formula", sympy.powsimp(found.subs(rho, 1 - LR * DECAY) / claimed, force=True) - 1)


@closed_form("EXP-4", _derive_without_momentum, assumptions=DECAYS, clock="step",
             needs=lambda lr, weight_decay: [lr * weight_decay < 1])
def exponential_lr_without_momentum(step, lr, weight_decay):
    r"""The learning rate of step k that does without decay what constant lr and decay do; w̃_k = (1 - lr·decay)^(-k) w_k.

    >>> exponential_lr_without_momentum(step=[0, 1, 2], lr=0.5, weight_decay=1.0).tolist()
    [1.0, 4.0, 16.0]
    """
    return lr * (1 - lr * weight_decay) ** (-2 * step - 1)


def _derive_tilt(claimed: sympy.Expr) -> Derivation:
    d = Derivation("How the buffer of the run without decay leans")
    return d.residual("coefficient of w_t/P_t", buffer_steps(d) - claimed)


@closed_form("EXP-6", _derive_tilt, meanings={"alpha": "alpha of the step before"})
def buffer_tilt(alpha, previous_lr):
    r"""The factor β in ṽ_t = (v_t + β w_t)/P_t; 0 at alpha = 1, where both runs have the same buffer."""
    return (1 - 1 / alpha) / previous_lr


def _derive_total(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The recursion in terms of the total decay")
    after = rescaled_step(d)
    before = 1 - PREVIOUS * TOTAL
    found = sympy.solve(1 - LR * sympy.Symbol("k") - after.subs(ALPHA, before), sympy.Symbol("k"))[0]
    d.step(r"With $\alpha_t=1-\eta_{t-1}\kappa_{t-1}$ on both sides, $\kappa_t$ is", sympy.simplify(found))
    d.residual("lr of this step has gone", sympy.diff(sympy.simplify(found), LR))
    tilt = buffer_steps(d).subs(ALPHA, before)
    d.residual("the buffer leans by -kappa/alpha", tilt + TOTAL / before)
    return d.residual("total decay", found - claimed)


@closed_form("EXP-6", _derive_total, assumptions=DECAYS,
             needs=lambda total_decay, previous_lr: [previous_lr * total_decay < 1],
             meanings={"total_decay": "total decay of the step before", "weight_decay": "decay of this step",
                       "momentum": "momentum of this step"})
def total_decay_step(total_decay, previous_lr, weight_decay, momentum):
    r"""The total decay κ of a step: alpha = 1 - lr·κ; with the buffers left alone, the first κ is the weight decay.

    The same recursion as `alpha_step`, without its quotient of learning rates.
    """
    return weight_decay + momentum * total_decay / (1 - previous_lr * total_decay)


def _derive_way_back(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The weight decay of an exponential schedule")
    found = sympy.solve(rescaled_step(d).subs(PREVIOUS, LR) - ALPHA, DECAY)
    d.step(r"Constant $\alpha$ and $\eta$: the recursion rests iff $\lambda$ is", sympy.factor(found[0]))
    return d.residual("weight decay", found[0] - claimed)


@closed_form("EXP-5", _derive_way_back, needs=lambda alpha, momentum: [momentum <= alpha, alpha <= 1])
def equivalent_weight_decay(alpha, lr, momentum):
    r"""The constant weight decay that stands for the schedule lr·alpha^(-2k-1) without; 0 at alpha = 1 and = momentum.

    >>> equivalent_weight_decay(alpha=0.5, lr=0.5, momentum=0.0)
    1.0
    """
    return (1 - alpha) * (1 - momentum / alpha) / lr
