r"""Tapering a learning rate that changes slowly, such as a cosine schedule: a factor that its shape does not change (EXP-15).

The growth factors of the exact schedule (EXP-6) lag behind the roots z = z1(η_tλ), which a tapered schedule takes for them, by

.. math:: \alpha_{t+1}-z = \frac{\mu\,\Delta\eta}{1-\mu/z^2}\Bigl[\frac{\lambda}{z^2-\mu}-\frac{1-z}{\eta z}\Bigr]
          + O(\Delta\eta^2),

and the sum of twice their logarithms is an integral over z alone,

.. math:: \ln\frac{\tilde\eta_{\text{tapered}}}{\tilde\eta_{\text{exact}}}
          \to -\int_{z_{\text{first}}}^{z_{\text{last}}}\Bigl[\frac{2z}{z^2-\mu}-\frac{2}{z-\mu}\Bigr]dz .

Constant weight decay and momentum.
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from .roots import ALPHA, DECAY, LR, MU, PREVIOUS, rescaled_step


def _larger_roots(alpha, previous_alpha, momentum):
    return [momentum < alpha**2, alpha <= 1, momentum < previous_alpha**2, previous_alpha <= 1]


def _derive_slow_offset(claimed: sympy.Expr) -> Derivation:
    d = Derivation("What tapering a slow schedule leaves for good")
    z, lag, small = sympy.Symbol("z", positive=True), sympy.Symbol("d", real=True), sympy.Symbol("delta", real=True)
    d.assume(r"Constant $\lambda$, $\mu$; $\eta$ changes by $\Delta\eta=\delta$ a step, and all is of first order in $\delta$. "
             "Any scale-invariant losses.")
    step = rescaled_step(d)
    rest = sympy.solve(step.subs(PREVIOUS, LR).subs(ALPHA, z) - z, DECAY)[0]
    d.step(r"At rest $\alpha=z$; that needs $\lambda$ =", sympy.factor(rest))
    intrinsic = sympy.cancel(LR * rest)
    slope = 1 / sympy.diff(intrinsic, z)  # dz/dx, x = ηλ
    former = z - rest * small * slope
    d.step(r"One step before, with $\eta-\delta$, the root was", sympy.simplify(former))
    after = step.subs(DECAY, rest).subs({PREVIOUS: LR - small, ALPHA: former + lag})
    balance = after - z - lag
    at_rest = {lag: 0, small: 0}
    linear = sympy.diff(balance, lag).subs(at_rest) * lag + sympy.diff(balance, small).subs(at_rest) * small
    found = sympy.simplify(sympy.solve(linear, lag)[0])
    d.step(r"An $\alpha$ that follows its root at a distance has the lag", sympy.factor(found))
    d.residual("at rest the step is at rest", sympy.simplify(balance.subs(at_rest)))
    per_z = sympy.simplify(2 * found / z / (rest * small * slope))
    d.step(r"$\tilde\eta$ holds each $\alpha$ twice ($P_tP_{t+1}$): $\ln(\tilde\eta_{tapered}/\tilde\eta_{exact})$ gains "
           r"$2d/z$ a step, while $z$ moves by $\lambda\delta\,dz/dx$; per unit of $z$ that is", sympy.factor(per_z))
    first, last = symbol("previous_alpha"), ALPHA
    factor = (first**2 - MU) / (first - MU) ** 2 * (last - MU) ** 2 / (last**2 - MU)
    d.step(r"It is the logarithmic derivative of", factor)
    d.residual("derivative by the last root", sympy.simplify(sympy.diff(factor, last) / factor - per_z.subs(z, last)))
    d.residual("1 where nothing has changed", sympy.simplify(factor.subs(last, first) - 1))
    return d.residual("over the formula", sympy.cancel(factor / claimed) - 1)


@closed_form("EXP-15", _derive_slow_offset, needs=_larger_roots,
             meanings={"alpha": "larger root at the last learning rate", "previous_alpha": "larger root at the first one"})
def slow_texp_offset(alpha, previous_alpha, momentum):
    r"""The factor tapered over exact schedule left after a slow change of the learning rate, whatever lies between.

    `texp_offset` is that of a jump. Without momentum it is 1. From lr to 0 it is 1 - momentum·(lr·decay)²/(1 - momentum)⁴ to
    leading order.

    >>> from sdetheory.theory.exp_lr import larger_root
    >>> first = larger_root(lr=0.1, weight_decay=5e-4, momentum=0.9)
    >>> round(1 - slow_texp_offset(alpha=1.0, previous_alpha=first, momentum=0.9), 7)
    2.29e-05
    """
    return ((previous_alpha**2 - momentum) / (previous_alpha - momentum) ** 2
            * (alpha - momentum) ** 2 / (alpha**2 - momentum))
