r"""The norm of the run without decay, and how it forgets an offset (EXP-9, EXP-11).

With :math:`\tilde\eta_t = \eta\,e^{gt}` and the squared norm growing by :math:`\tilde\eta^2\sigma^2/r` a step (EXP-2),

.. math:: \dot r = \tilde\eta_t^2\,\sigma^2/r, \qquad \gamma = r^2/\tilde\eta_t^2 \quad\Rightarrow\quad
          \dot\gamma = -2g\gamma + 2\sigma^2.
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from .roots import ALPHA, DECAYS, LR, MU, larger, leading_slope, real_roots, root_steps

T, TRACE, GAMMA = symbol("t"), symbol("noise_trace"), symbol("gamma")
GROWTH, START = sympy.symbols("g r_0", positive=True)


def _gamma(d: Derivation) -> sympy.Expr:
    """Derive the rate of decay of a deviation of gamma from the norm of the run without decay."""
    square = sympy.Function("y", positive=True)  # r²
    rate = LR * sympy.exp(GROWTH * T)
    d.assume(r"Small learning rate, so that steps are a continuous time, and $\mathbb{E}\|g\|^2=\sigma^2/r$ with constant "
             r"$\sigma^2$ (the setting of ILR-3). No decay.")
    speed = 2 * rate**2 * TRACE
    d.step(r"$d(r^2)/dt=2r\dot r$.", speed)
    gamma = square(T) / rate**2
    found = sympy.diff(gamma, T).subs(sympy.diff(square(T), T), speed)
    drift = sympy.simplify(found.subs(square(T), GAMMA * rate**2))
    d.step(r"$\dot\gamma$.", drift)
    return drift


def _derive_rate(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The slow clock of the norm")
    drift = _gamma(d)
    fading = -sympy.diff(drift, GAMMA)
    d.step(r"A deviation of $\gamma$ fades at the rate", fading)
    large = root_steps(d)[0]
    d.step(r"$\tilde\eta$ grows by $z_1^{-2}$ a step, so $g=-2\ln z_1$.", fading.subs(GROWTH, -2 * sympy.log(large)))
    d.residual("rate", fading.subs(GROWTH, -2 * sympy.log(large)) - claimed)
    leading = sympy.diff(fading.subs(GROWTH, -2 * sympy.log(ALPHA)), ALPHA).subs(ALPHA, 1) * leading_slope(d)
    return d.residual("to leading order 4 intrinsic_lr/(1 - momentum)", leading - 4 / (1 - MU))


@closed_form("EXP-9", _derive_rate, assumptions=DECAYS, clock="step", needs=real_roots)
def norm_forgetting_rate(lr, weight_decay, momentum):
    r"""The rate at which an offset of |w̃|⁴/lr̃² fades, such as that left by TEXP: 4·lr·decay/(1 - momentum) to leading order.

    >>> round(norm_forgetting_rate(lr=0.1, weight_decay=5e-4, momentum=0.9), 5)
    0.00201
    """
    return -4 * sympy.log(larger(lr, weight_decay, momentum))


def _derive_division(claimed: sympy.Expr) -> Derivation:
    d = Derivation("Dividing an exponential learning rate once")
    factor, rate = symbol("drop_factor"), symbol("intrinsic_lr")
    drift = _gamma(d).subs(GROWTH, 2 * rate)
    d.step(r"$g=2\lambda_e$ (EXP-4 for small $\eta\lambda$).", drift)
    rest = sympy.solve(drift, GAMMA)[0]
    f = sympy.Function("f")
    solved = sympy.dsolve(f(T).diff(T) - drift.subs(GAMMA, f(T)), f(T), ics={f(0): rest * factor**2}).rhs
    d.step(r"$\gamma=\eta_e^{-2}$ rests before; dividing $\tilde\eta$ by $C$ multiplies it by $C^2$. After that it is",
           sympy.simplify(solved))
    return d.residual("squared ratio", sympy.simplify(rest / solved) - claimed**2)


@closed_form("EXP-11", _derive_division, clock="step")
def effective_lr_after_division(t, drop_factor, intrinsic_lr):
    r"""The effective learning rate, over its equilibrium, t steps after the growing rate was divided once.

    Derived from the run without decay; `effective_lr_after_single_drop` is the same from the run with decay.
    """
    return 1 / sympy.sqrt(1 + (drop_factor**2 - 1) * sympy.exp(-4 * intrinsic_lr * t))
