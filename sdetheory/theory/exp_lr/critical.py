r"""Where the roots meet and beyond: the bound on the intrinsic learning rate, and how alpha moves there (EXP-7, 8, 10).

.. math:: z^2-(1+\mu-\eta\lambda)z+\mu = 0: \qquad \eta\lambda = (1-\sqrt\mu)^2 \Rightarrow z_1=z_2=\sqrt\mu; \qquad
          \text{beyond, } z = \sqrt\mu\,e^{\pm i\theta}.
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from .roots import ALPHA, DECAY, DECAYS, LR, MU, PREVIOUS, STEP, larger, leading_slope, real_roots, rescaled_step, root_steps

_SOME = {"momentum": {"positive": True}}
N, SOME_MU = symbol("n_steps"), symbol("momentum", **_SOME["momentum"])


def _quadratic(d: Derivation) -> sympy.Expr:
    rest = sympy.numer(sympy.together(ALPHA - rescaled_step(d).subs(PREVIOUS, LR)))
    rest = sympy.expand(rest)
    d.step(r"At rest $\alpha$ is a root of", sympy.collect(rest, ALPHA))
    return rest


def _derive_critical(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The largest intrinsic learning rate with positive roots")
    x = sympy.Symbol("x", positive=True)
    discriminant = sympy.discriminant(_quadratic(d).subs(DECAY, x / LR), ALPHA)
    d.step(r"Its discriminant, $x=\eta\lambda$.", sympy.factor(discriminant))
    ends = [sympy.expand(e) for e in sympy.solve(discriminant, x)]
    d.step(r"It is 0 at two $x$; between them the roots are complex, above them negative.", sympy.Matrix(ends))
    d.residual("a zero of the discriminant", discriminant.subs(x, claimed))
    d.residual("the smaller of two zeros that are this far apart", sum(ends) - 2 * claimed - 4 * sympy.sqrt(MU))
    return d.residual("the roots meet at a positive number", _quadratic(Derivation("there")).subs(
        {DECAY: claimed / LR, ALPHA: sympy.sqrt(MU)}))


@closed_form("EXP-7", _derive_critical, needs=lambda momentum: [momentum < 1])
def critical_intrinsic_lr(momentum):
    r"""The largest lr·decay with which a positive exponential schedule exists.

    >>> round(critical_intrinsic_lr(momentum=0.9), 6)
    0.002633
    """
    return (1 - sympy.sqrt(momentum)) ** 2


def _derive_gap(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The exponential schedule grows at least like that without the curvature of the root")
    z1, z2 = sympy.symbols("z1 z2", positive=True)
    quadratic = _quadratic(d)
    given = sympy.solve([sympy.Poly(quadratic - (ALPHA - z1) * (ALPHA - z2), ALPHA).coeff_monomial(ALPHA**k)
                         for k in (0, 1)], [MU, DECAY], dict=True)[0]
    d.step(r"Momentum and decay in terms of the roots.", sympy.Matrix([given[MU], sympy.factor(given[DECAY])]))
    stated = sympy.cancel(claimed.subs(given))
    above = sympy.factor(1 - z1 - stated)
    d.step(r"$1-z_1$ is above the formula by this, which is $\ge0$ for $z_1,z_2\in[0,1]$.", above)
    d.residual("a square times a positive factor", above - (1 - z1) ** 2 * z2 / (1 - z1 * z2))
    x = sympy.Symbol("x", positive=True)
    slope = leading_slope(d)
    return d.residual("sharp for small intrinsic rates", sympy.diff(claimed.subs(DECAY, x / LR), x).subs(x, 0) + slope)


@closed_form("EXP-7", _derive_gap, assumptions=DECAYS, needs=real_roots)
def decay_rate_lower_bound(lr, weight_decay, momentum):
    r"""A lower bound of 1 - z1, sharp to leading order: the effective learning rate lr/(1 - momentum) times the decay."""
    return lr * weight_decay / (1 - momentum)


def _derive_double(claimed: sympy.Expr) -> Derivation:
    d = Derivation("At the double root forgetting is algebraic")
    step = rescaled_step(d).subs(PREVIOUS, LR).subs(DECAY, (1 - sympy.sqrt(MU)) ** 2 / LR)
    d.step(r"The map at $\eta\lambda=(1-\sqrt\mu)^2$.", sympy.simplify(step))
    gain = sympy.simplify(1 / (step - sympy.sqrt(MU)) - 1 / (ALPHA - sympy.sqrt(MU)))
    d.step(r"$1/(\alpha-\sqrt\mu)$ grows in each step by", gain)
    found = sympy.sqrt(MU) + 1 / (1 / (ALPHA - sympy.sqrt(MU)) + STEP * gain)
    d.step(r"After $k$ steps", sympy.simplify(found))
    return d.residual("alpha", found.subs(MU, SOME_MU) - claimed)


@closed_form("EXP-8", _derive_double, assumptions=_SOME, meanings={"alpha": "alpha at step 0"},
             needs=lambda momentum, alpha: [momentum < 1, alpha > sympy.sqrt(momentum)])
def double_root_alpha(step, alpha, momentum):
    r"""alpha after `step` steps of lr·decay = (1 - √momentum)²: it nears √momentum like √momentum/step."""
    root = sympy.sqrt(momentum)
    return root + root * (alpha - root) / (root + step * (alpha - root))


def _derive_rotation(claimed: sympy.Expr) -> Derivation:
    d = Derivation("Complex roots never forget")
    theta, phi = sympy.symbols("theta phi", real=True)
    step = rescaled_step(d).subs(PREVIOUS, LR)

    def alpha(k: sympy.Expr) -> sympy.Expr:
        return sympy.sqrt(MU) * sympy.sin((k + 1) * theta + phi) / sympy.sin(k * theta + phi)

    decay = sympy.solve(sympy.cos(theta) * 2 * sympy.sqrt(MU) - (1 + MU - LR * sympy.Symbol("l")), sympy.Symbol("l"))[0]
    d.step(r"With $2\sqrt\mu\cos\theta=1+\mu-\eta\lambda$ the recursion is solved by", alpha(STEP))
    shifted = sympy.Symbol("s", real=True)
    after = step.subs(DECAY, decay).subs(ALPHA, alpha(0).subs(phi, shifted))
    d.residual("it follows the recursion", sympy.expand_trig(after - alpha(1).subs(phi, shifted)))
    d.step(r"Its sign turns within $\pi/\theta$ steps: then $\alpha\le0$.", sympy.pi / theta)
    return d.residual("cosine", sympy.cos(claimed) * 2 * sympy.sqrt(SOME_MU) - (1 + SOME_MU - LR * DECAY))


@closed_form("EXP-8", _derive_rotation, assumptions={**DECAYS, **_SOME},
             needs=lambda lr, weight_decay, momentum: [momentum < 1, lr * weight_decay > (1 - sympy.sqrt(momentum)) ** 2,
                                                       lr * weight_decay < (1 + sympy.sqrt(momentum)) ** 2])
def rotation_angle(lr, weight_decay, momentum):
    r"""The angle θ of the complex roots √momentum·exp(±iθ): alpha turns by θ a step and is negative within π/θ steps."""
    return sympy.acos((1 + momentum - lr * weight_decay) / (2 * sympy.sqrt(momentum)))


def _derive_growth(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The growth of the learning rate in many steps")
    large = root_steps(d)[0]
    rate = LR * ALPHA ** (-2 * STEP - 1)
    d.step(r"$\tilde\eta_t=\eta\,\alpha^{-2t-1}$ (EXP-5). In $n$ steps it grows by", ALPHA ** (-2 * N))
    growth = sympy.powsimp(rate.subs(STEP, STEP + N) / rate)
    d.residual("growth at the root over the formula", sympy.powsimp(growth.subs(ALPHA, large) / claimed) - 1)
    return d.residual("from any step on the same", sympy.diff(sympy.simplify(growth), STEP))


@closed_form("EXP-10", _derive_growth, needs=real_roots, assumptions=DECAYS)
def growth_in_steps(n_steps, lr, weight_decay, momentum):
    r"""The factor by which the exponential learning rate grows in `n_steps` steps.

    >>> round(growth_in_steps(n_steps=391, lr=0.1, weight_decay=5e-4, momentum=0.9), 4)  # the published 1.481
    1.4812
    """
    return larger(lr, weight_decay, momentum) ** (-2 * n_steps)
