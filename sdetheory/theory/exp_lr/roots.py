r"""The growth rate of the exponential schedule: a root of a quadratic (EXP-4, 5, 7, 10).

.. math:: \alpha^2 - (1+\mu-\eta\lambda)\alpha + \mu = 0, \qquad \tilde\eta_t = \eta\,\alpha^{-2t-1},
          \quad \tilde w_t = \alpha^{-t}w_t.

The rescaling is derived from the update rule in every dimension (linear combinations of w, its predecessor and g).
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from .states import DECAY, DECAYS

LR, PREVIOUS, MU = symbol("lr"), symbol("previous_lr"), symbol("momentum")
STEP, ALPHA = symbol("step"), symbol("alpha")
W, BEFORE, G = sympy.symbols("w w_before g", real=True)
ROOT_MU = sympy.sqrt(MU)


def rescaled_step(d: Derivation) -> sympy.Expr:
    """Derive from the update rule which alpha_t turns decay into a growing learning rate; return it as a function of
    alpha_(t-1)."""
    new, here, p = sympy.Symbol("alpha_t", positive=True), ALPHA, sympy.Symbol("P", positive=True)
    d.assume(r"$\nabla L_t(cw)=c^{-1}\nabla L_t(w)$ for $c>0$: scale invariance. Any dimension.")
    after = W + LR * (MU * (W - BEFORE) / PREVIOUS - G - DECAY * W)
    d.step(r"The update with decay, $\eta=\eta_{t-1}$, $\eta_{prev}=\eta_{t-2}$: $w_t$ is", after)
    scales = {"after": p / new, "here": p, "before": p * here}
    lr_here, lr_before = scales["here"] * scales["after"] * LR, scales["before"] * scales["here"] * PREVIOUS
    d.step(r"$\tilde w_t=P_tw_t$, $P_t=P_{t-1}/\alpha_t$, $\tilde\eta_t=P_tP_{t+1}\eta_t$. Learning rates of this "
           r"step and "
           r"the one before:", sympy.Matrix([lr_here, lr_before]))
    gap = ((scales["after"] * after - scales["here"] * W) / lr_here
           - MU * (scales["here"] * W - scales["before"] * BEFORE) / lr_before + G / scales["here"])
    gap = sympy.expand(gap)
    d.residual("gradients agree", sympy.simplify(gap.coeff(G, 1)))
    d.residual("predecessors agree", sympy.simplify(gap.coeff(BEFORE, 1)))
    found = sympy.solve(gap.coeff(W, 1), new)[0]
    d.step(r"The update without decay holds for $\tilde w$ iff the coefficient of $w_{t-1}$ agrees: $\alpha_t$ is",
           sympy.expand(found))
    return found


def _derive_alpha(claimed: sympy.Expr) -> Derivation:
    d = Derivation("Decay as a growing learning rate, for every schedule")
    return d.residual("alpha", rescaled_step(d) - claimed)


@closed_form("EXP-6", _derive_alpha, assumptions=DECAYS, meanings={"lr": "learning rate of this step",
                                                 "weight_decay": "decay of this step"})
def alpha_step(alpha, lr, previous_lr, weight_decay, momentum):
    r"""The next alpha of a schedule: w̃_t = P_t w_t with P_t = P_(t-1)/alpha_t, and the new rate is P_t P_(t+1) lr_t.

    `alpha` is the one before; start with 1, and the momentum buffers of both runs are the same.
    """
    return 1 - lr * weight_decay + lr / previous_lr * momentum * (1 - 1 / alpha)


def root_steps(d: Derivation) -> tuple[sympy.Expr, sympy.Expr]:
    """Derive the two constant alphas as rest points of the recursion; return the larger and the smaller one."""
    rest = sympy.numer(sympy.together(rescaled_step(d).subs(PREVIOUS, LR) - ALPHA))
    d.step(r"Constant $\eta,\lambda$: $\alpha_t=\alpha_{t-1}$ is a root of", sympy.collect(sympy.expand(-rest), ALPHA))
    x = LR * DECAY
    spread = sympy.sqrt(((1 - ROOT_MU) ** 2 - x) * ((1 + ROOT_MU) ** 2 - x))
    large, small = (1 + MU - x + spread) / 2, (1 + MU - x - spread) / 2
    d.step(r"Its roots, real and positive for $\eta\lambda\le(1-\sqrt\mu)^2$.", sympy.Matrix([large, small]))
    d.residual("the larger root", sympy.expand(rest.subs(ALPHA, large)))
    d.residual("the smaller root", sympy.expand(rest.subs(ALPHA, small)))
    return large, small


def leading_slope(d: Derivation) -> sympy.Expr:
    """Derive the derivative of the larger root by the intrinsic learning rate at 0."""
    x = sympy.Symbol("x", positive=True)
    quadratic = sympy.numer(sympy.together(ALPHA - rescaled_step(Derivation("rest")).subs({PREVIOUS: LR, DECAY: x / LR})))
    there = {ALPHA: 1, x: 0}
    d.residual("at x = 0 a root is 1, the other one momentum", sympy.expand(quadratic.subs(x, 0) - (ALPHA - 1) * (ALPHA - MU)))
    slope = -(sympy.diff(quadratic, x) / sympy.diff(quadratic, ALPHA)).subs(there)
    d.step(r"Implicit differentiation by $x=\eta\lambda$ at $x=0$, $z_1=1$.", slope)
    return slope


def larger(lr: sympy.Expr, weight_decay: sympy.Expr, momentum: sympy.Expr) -> sympy.Expr:
    """z1 as an expression."""
    x, m = lr * weight_decay, sympy.sqrt(momentum)
    return (1 + momentum - x + sympy.sqrt(((1 - m) ** 2 - x) * ((1 + m) ** 2 - x))) / 2


def real_roots(lr: sympy.Expr, weight_decay: sympy.Expr, momentum: sympy.Expr) -> list[sympy.Basic]:
    """The hypothesis of EXP-7: a positive exponential schedule exists."""
    return [momentum < 1, lr * weight_decay <= (1 - sympy.sqrt(momentum)) ** 2, lr * weight_decay < 1]


def _derive_larger(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The larger root")
    return d.residual("root", root_steps(d)[0] - claimed)


@closed_form("EXP-7", _derive_larger, assumptions=DECAYS, needs=real_roots)
def larger_root(lr, weight_decay, momentum):
    r"""z1, the growth rate of choice: it lies in [√momentum, 1].

    >>> round(larger_root(lr=0.1, weight_decay=5e-4, momentum=0.9) ** (-2 * 391), 4)  # EXP-10: growth in an epoch
    1.4812
    """
    return larger(lr, weight_decay, momentum)


def _derive_smaller(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The smaller root")
    large, small = root_steps(d)
    d.residual("root times the larger one", sympy.expand(large * small) - sympy.simplify(claimed * large))
    return d


@closed_form("EXP-7", _derive_smaller, assumptions=DECAYS, needs=real_roots)
def smaller_root(lr, weight_decay, momentum):
    r"""z2 = momentum/z1, in [0, √momentum] (momentum 0: 0); written so that no digits cancel."""
    return momentum / larger(lr, weight_decay, momentum)


def _derive_expansion(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The larger root for small intrinsic learning rates")
    x = sympy.Symbol("x", positive=True)
    root_steps(d)
    stated = claimed.subs(LR, x / DECAY)
    quadratic = stated**2 - (1 + MU - x) * stated + MU
    d.residual("order 0: of the roots 1 and momentum the larger", stated.subs(x, 0) - 1)
    for n in range(3):
        d.residual(f"the quadratic, order {n}", sympy.simplify(sympy.diff(quadratic, x, n).subs(x, 0)))
    d.step(r"Taylor in $x=\eta\lambda$ ($\mu<1$).", claimed)
    return d


@closed_form("EXP-7", _derive_expansion, assumptions=DECAYS, needs=real_roots)
def larger_root_expansion(lr, weight_decay, momentum):
    r"""z1 up to, and without, terms of third order in the intrinsic learning rate."""
    x = lr * weight_decay
    return 1 - x / (1 - momentum) - momentum * x**2 / (1 - momentum) ** 3


def _derive_schedule(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The exponential schedule")
    large = root_steps(d)[0]
    scale = ALPHA**-STEP
    found = scale * scale.subs(STEP, STEP + 1) * LR
    d.step(r"$P_t=\alpha^{-t}$, so $\tilde\eta_t=P_tP_{t+1}\eta$.", sympy.powsimp(found))
    return d.residual("rate over the formula", sympy.powsimp(found.subs(ALPHA, large) / claimed) - 1)


@closed_form("EXP-5", _derive_schedule, assumptions=DECAYS, clock="step", needs=real_roots)
def exponential_lr(step, lr, weight_decay, momentum):
    r"""The learning rate of step k without decay that gives the same functions as constant lr and decay.

    Momentum 0 is EXP-4. The weights are w̃_k = z1^(-k) w_k; the start needs `start_buffer`.

    >>> round(exponential_lr(step=0, lr=0.1, weight_decay=0.5, momentum=0.0), 9)  # 0.1 / 0.95
    0.105263158
    """
    return lr * larger(lr, weight_decay, momentum) ** (-2 * step - 1)


def buffer_steps(d: Derivation) -> sympy.Expr:
    """Derive ṽ_t - v_t/P_t over w_t/P_t as a function of alpha_t; return it."""
    velocity, p = sympy.Symbol("v", real=True), sympy.Symbol("P", positive=True)
    before = W + PREVIOUS * velocity
    scaled = (p * ALPHA * before - p * W) / (p**2 * ALPHA * PREVIOUS)
    d.step(r"$\tilde v_t=(\tilde w_{t-1}-\tilde w_t)/\tilde\eta_{t-1}$ with $w_{t-1}=w_t+\eta_{t-1}v_t$.",
           sympy.expand(scaled))
    gap = sympy.expand(scaled - velocity / p)
    d.residual("the old buffer is in it as v/P", gap.coeff(velocity, 1))
    return sympy.simplify(gap.coeff(W, 1) * p)


def _derive_start(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The buffer at the start")
    large = root_steps(d)[0]
    found = buffer_steps(d).subs({PREVIOUS: LR, ALPHA: large})
    return d.residual("coefficient of w_0", found - claimed)


@closed_form("EXP-5", _derive_start, assumptions=DECAYS, needs=real_roots)
def start_buffer(lr, weight_decay, momentum):
    r"""The factor c in ṽ_0 = v_0 + c·w_0: left out, the exponential schedule is not exact (negative)."""
    return (1 - 1 / larger(lr, weight_decay, momentum)) / lr
