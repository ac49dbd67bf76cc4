r"""Gradient descent with decay is not its gradient flow: L(x, y) = x²/(x²+y²) (ILR-13).

.. math:: q = x/y,\quad u = \eta/\|w\|^2:\qquad
          q' = q\,\frac{(1-\lambda_e)(1+q^2) - 2u}{(1-\lambda_e)(1+q^2)+2uq^2},\qquad
          u' = \frac{u}{(1-\lambda_e)^2 + 4u^2q^2/(1+q^2)^2}.

The learning rate and the decay are in it through their product alone, so Lyapunov exponents are functions of it.
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form

LR, DECAY, RATE, STEP = symbol("lr"), symbol("weight_decay"), symbol("intrinsic_lr"), symbol("effective_lr")
RATIO, T = symbol("ratio"), symbol("t")
_MEANINGS = {"ratio": "x/y; the loss is ratio²/(1 + ratio²)", "ratio0": "x/y at time 0"}


def _gradient(d: Derivation) -> tuple[sympy.Matrix, dict, tuple[sympy.Symbol, sympy.Symbol]]:
    x, y = sympy.symbols("x y", real=True)
    loss = x**2 / (x**2 + y**2)
    gradient = sympy.Matrix([sympy.factor(sympy.diff(loss, v)) for v in (x, y)])
    d.step("The gradient.", gradient)
    length = sympy.Symbol("r", positive=True)
    place = {x: length * RATIO / sympy.sqrt(1 + RATIO**2), y: length / sympy.sqrt(1 + RATIO**2)}
    d.step(r"Coordinates: $q=x/y$, $r=\|w\|$ (for $y>0$).", sympy.Matrix([place[x], place[y]]))
    return gradient, place, (x, y)


def _step(d: Derivation) -> tuple[sympy.Expr, sympy.Expr]:
    gradient, place, (x, y) = _gradient(d)
    new = (1 - LR * DECAY) * sympy.Matrix([x, y]) - LR * gradient
    d.step(r"A step, $w'=(1-\eta\lambda)w-\eta\nabla L$.", new)
    units = {DECAY: RATE / LR, sympy.Symbol("r", positive=True): sympy.sqrt(LR / STEP)}
    ratio = sympy.factor(sympy.simplify((new[0] / new[1]).subs(place).subs(units)))
    effective = sympy.factor(sympy.simplify((LR / (new[0]**2 + new[1]**2)).subs(place).subs(units)))
    d.step(r"With $\lambda=\lambda_e/\eta$ and $r^2=\eta/u$: the new $q$ and $u$.", sympy.Matrix([ratio, effective]))
    d.residual("lr has gone", sympy.Matrix([sympy.diff(ratio, LR), sympy.diff(effective, LR)]))
    return ratio, effective


def _derive_ratio(claimed: sympy.Expr) -> Derivation:
    d = Derivation("One step of the direction")
    return d.residual("ratio", _step(d)[0] - claimed)


@closed_form("ILR-13", _derive_ratio, meanings=_MEANINGS, needs=lambda intrinsic_lr: [intrinsic_lr < 1])
def toy_ratio_step(ratio, effective_lr, intrinsic_lr):
    r"""x/y after one step of GD with decay on x²/(x²+y²), from x/y = `ratio` and lr/|w|² = `effective_lr`."""
    shrink = (1 - intrinsic_lr) * (1 + ratio**2)
    return ratio * (shrink - 2 * effective_lr) / (shrink + 2 * effective_lr * ratio**2)


def _derive_effective(claimed: sympy.Expr) -> Derivation:
    d = Derivation("One step of the effective learning rate")
    return d.residual("effective learning rate", _step(d)[1] - claimed)


@closed_form("ILR-13", _derive_effective, meanings=_MEANINGS, needs=lambda intrinsic_lr: [intrinsic_lr < 1])
def toy_effective_lr_step(ratio, effective_lr, intrinsic_lr):
    r"""lr/|w|² after one step of GD with decay on x²/(x²+y²)."""
    return effective_lr / ((1 - intrinsic_lr) ** 2 + 4 * effective_lr**2 * ratio**2 / (1 + ratio**2) ** 2)


def _derive_multiplier(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The multiplier at the minimum")
    slope = sympy.diff(_step(d)[0], RATIO).subs(RATIO, 0)
    d.step("The slope of the map at $q=0$.", sympy.simplify(slope))
    return d.residual("multiplier", slope - claimed)


@closed_form("ILR-13", _derive_multiplier, meanings=_MEANINGS, needs=lambda intrinsic_lr: [intrinsic_lr < 1])
def toy_multiplier(effective_lr, intrinsic_lr):
    r"""The factor of a small x/y per step near the minimum x = 0: stable while it is above -1."""
    return 1 - 2 * effective_lr / (1 - intrinsic_lr)


def _derive_threshold(claimed: sympy.Expr) -> Derivation:
    d = Derivation("Where the minimum loses its stability")
    slope = sympy.diff(_step(d)[0], RATIO).subs(RATIO, 0)
    d.step(r"The slope at $q=0$ is $-1$, while without gradient $u$ grows by $(1-\lambda_e)^{-2}$ a step: it always "
           r"gets there.",
           sympy.simplify(slope))
    d.residual("multiplier -1", slope.subs(STEP, claimed) + 1)
    return d.residual("growth at the minimum", _step(Derivation("growth"))[1].subs(RATIO, 0) / STEP * (1 - RATE)**2 - 1)


@closed_form("ILR-13", _derive_threshold, needs=lambda intrinsic_lr: [intrinsic_lr < 1])
def toy_threshold(intrinsic_lr):
    r"""The effective learning rate above which the minimum of x²/(x²+y²) repels (see EXP-12)."""
    return 1 - intrinsic_lr


def _derive_cycle(claimed: sympy.Expr) -> Derivation:
    d = Derivation("At a constant effective learning rate the direction comes to rest or to a 2-cycle")
    step, rest = _step(d)[0], 1 - RATE
    square = (STEP - rest) / (STEP + rest)
    d.step(r"Above the threshold of the minimum $q'=-q$ where $q^2$ is", square)
    gap = sympy.numer(sympy.together(step / RATIO + 1))  # even in q: a polynomial in q^2
    d.residual("q' = -q", sympy.cancel(gap.subs(RATIO, sympy.sqrt(square))))
    slope = sympy.cancel(sympy.diff(step, RATIO).subs(RATIO, sympy.sqrt(square)))
    d.step(r"The slope there, the same at $-q$. It lies in $(-1,1)$ for $u>1-\lambda_e$, as that of the minimum does below: "
           r"at a constant $u$ both attract.", slope)
    return d.residual("slope", slope - claimed)


@closed_form("ILR-13", _derive_cycle, meanings=_MEANINGS,
             needs=lambda effective_lr, intrinsic_lr: [intrinsic_lr < 1, effective_lr > 1 - intrinsic_lr])
def toy_cycle_multiplier(effective_lr, intrinsic_lr):
    r"""The factor of a small deviation from the 2-cycle of x/y, per step, were the effective learning rate constant.

    It is between -1 and 1 wherever there is a 2-cycle: without the norm there is no chaos.

    >>> toy_cycle_multiplier(effective_lr=1.0, intrinsic_lr=0.5)
    0.5
    """
    return 1 - 2 * (1 - intrinsic_lr) ** 2 / effective_lr**2


def _derive_flow(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The gradient flow converges")
    gradient, place, (x, y) = _gradient(d)
    speed = -gradient - DECAY * sympy.Matrix([x, y])
    d.step(r"The flow $\dot w=-\nabla L-\lambda w$.", speed)
    square = sympy.Symbol("r", positive=True)**2
    ratio_speed = sympy.simplify(((speed[0] * y - x * speed[1]) / y**2).subs(place))
    norm_speed = sympy.simplify((2 * x * speed[0] + 2 * y * speed[1]).subs(place))
    d.step(r"The speeds of $q$ and of $r^2$.", sympy.Matrix([ratio_speed, norm_speed]))
    rate = sympy.simplify(norm_speed / square)
    norm = symbol("sq_norm0") * sympy.exp(rate * T)
    d.step(r"So $r^2$ is", norm)
    d.residual("speed of the ratio", sympy.diff(claimed, T) - claimed * (ratio_speed / RATIO).subs(
        sympy.Symbol("r", positive=True), sympy.sqrt(norm)))
    return d.residual("start", claimed.subs(T, 0) - symbol("ratio0"))


@closed_form("ILR-13", _derive_flow, clock="flow", meanings=_MEANINGS)
def toy_flow_ratio(t, ratio0, sq_norm0, weight_decay):
    r"""x/y under the gradient flow with decay of x²/(x²+y²): it goes to 0, from every start, and so does the loss."""
    return ratio0 * sympy.exp(-(sympy.exp(2 * weight_decay * t) - 1) / (weight_decay * sq_norm0))


def _derive_floor(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The loss of descent stays")
    gradient, place, (x, y) = _gradient(d)
    units = {DECAY: RATE / LR, sympy.Symbol("r", positive=True): sympy.sqrt(LR / STEP)}
    factor = sympy.simplify((((1 - LR * DECAY) * y - LR * gradient[1]) / y).subs(place).subs(units))
    loss = RATIO**2 / (1 + RATIO**2)
    d.step(r"$y'/y$, above 0 for $\lambda_e<1$.", factor)
    d.residual("y'/y = 1 - lambda_e + 2 u L", sympy.simplify(factor - (1 - RATE + 2 * STEP * loss)))
    d.step(r"$y$ stays bounded, so $\overline{\ln(y'/y)}=0$, and $\ln(1+z)\le z$ gives "
           r"$0\le 2\overline{uL}-\lambda_e$.")
    mean = sympy.Symbol("m", positive=True)  # of u L
    return d.residual("where the bound is 0", (2 * mean - RATE).subs(mean, claimed))


@closed_form("ILR-13", _derive_floor, needs=lambda intrinsic_lr: [intrinsic_lr < 1])
def toy_loss_floor(intrinsic_lr):
    r"""What the mean of lr/|w|² · L along descent with decay on x²/(x²+y²) stays above, where y does not go to 0."""
    return intrinsic_lr / 2
