r"""How schedules forget: the Möbius map of alpha, tapering, and a single drop (EXP-8, 9, 11).

.. math:: \alpha\mapsto 1+\mu-\eta\lambda-\mu/\alpha, \qquad
          \frac{\alpha_t-z_1}{\alpha_t-z_2} = \Bigl(\frac{z_2}{z_1}\Bigr)^{t-s}\frac{\alpha_s-z_1}{\alpha_s-z_2}.
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from ..intrinsic_lr.norm import GAMMA, RATE, T, gamma_ode, gamma_solution
from .roots import ALPHA, DECAY, DECAYS, LR, MU, PREVIOUS, STEP, buffer_steps, larger, real_roots, rescaled_step, root_steps

Z1, Z2 = sympy.symbols("z1 z2", positive=True)


def _apart(lr, weight_decay, momentum):
    return [momentum < 1, lr * weight_decay < (1 - sympy.sqrt(momentum)) ** 2]


def _mobius(d: Derivation) -> tuple[sympy.Expr, dict]:
    """Derive the map from the recursion; return it in terms of its fixed points, and their values."""
    large, small = root_steps(d)
    step = rescaled_step(Derivation("map")).subs(PREVIOUS, LR)
    d.residual("sum of the roots", large + small - (1 + MU - LR * DECAY))
    d.residual("product of the roots", sympy.expand(large * small) - MU)
    mobius = Z1 + Z2 - Z1 * Z2 / ALPHA
    d.step(r"In terms of its fixed points, $z_1+z_2=1+\mu-\eta\lambda$ and $z_1z_2=\mu$, the map is", mobius)
    values = {Z1: large, Z2: small}
    d.residual("the map", sympy.simplify(step - mobius.subs({Z1 + Z2: 1 + MU - LR * DECAY, Z1 * Z2: MU})))
    return mobius, values


def _derive_contraction(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The recursion forgets its start")
    mobius, values = _mobius(d)

    def cross(a: sympy.Expr) -> sympy.Expr:
        return (a - Z1) / (a - Z2)

    factor = sympy.simplify(cross(mobius) / cross(ALPHA))
    d.step(r"One step multiplies $(\alpha-z_1)/(\alpha-z_2)$ by", factor)
    return d.residual("factor", sympy.simplify(factor.subs(values) - claimed))


@closed_form("EXP-8", _derive_contraction, assumptions=DECAYS, needs=real_roots)
def forgetting_factor(lr, weight_decay, momentum):
    r"""z2/z1: the factor by which (alpha - z1)/(alpha - z2) shrinks in a step."""
    return momentum / larger(lr, weight_decay, momentum) ** 2


def _derive_alpha_after(claimed: sympy.Expr) -> Derivation:
    d = Derivation("alpha after n steps")
    mobius, values = _mobius(d)
    gone = sympy.Symbol("u", positive=True)
    ratio = (ALPHA - Z1) / (ALPHA - Z2)
    after = (Z1 - Z2 * gone * ratio) / (1 - gone * ratio)
    d.step(r"$(\alpha_t-z_1)/(\alpha_t-z_2)=u\,(\alpha_0-z_1)/(\alpha_0-z_2)$ with $u=(z_2/z_1)^t$, solved for "
           r"$\alpha_t$.",
           sympy.simplify(after))
    d.residual("start", after.subs(gone, 1) - ALPHA)
    d.residual("step", sympy.simplify(mobius.subs(ALPHA, after) - after.subs(gone, gone * Z2 / Z1)))
    found = after.subs(gone, (Z2 / Z1) ** STEP).subs(Z2, MU / Z1)
    return d.residual("over the formula", sympy.cancel(found.subs(Z1, values[Z1]) / claimed) - 1)


@closed_form("EXP-8", _derive_alpha_after, assumptions=DECAYS, clock="step", needs=_apart,
             meanings={"alpha": "alpha at step 0"})
def alpha_after(step, alpha, lr, weight_decay, momentum):
    r"""alpha after `step` steps of constant lr and decay: it tends to z1 unless it starts at z2."""
    z1 = larger(lr, weight_decay, momentum)
    z2 = momentum / z1
    gone = (momentum / z1**2) ** step * (alpha - z1) / (alpha - z2)
    return (z1 - z2 * gone) / (1 - gone)


def _derive_offset(claimed: sympy.Expr) -> Derivation:
    d = Derivation("What tapering leaves for good")
    mobius, values = _mobius(d)
    n = sympy.Symbol("n", nonnegative=True, integer=True)
    a, b = sympy.symbols("A B", positive=True)
    term = a * Z1**n + b * Z2**n
    d.step(r"$\alpha_n=q_{n+1}/q_n$ turns the map into $q_{n+1}=(z_1+z_2)q_n-z_1z_2q_{n-1}$, solved by",
           term)
    quotient = term.subs(n, n + 1) / term
    d.residual("the quotients follow the map", sympy.simplify(quotient.subs(n, n + 1) - mobius.subs(ALPHA, quotient)))
    limit = a * Z1 / term.subs(n, 1)
    d.step(r"$\prod_{j\le n}\alpha_j/z_1=q_{n+1}/(q_1z_1^n)\to Az_1/q_1$; $\tilde\eta$ holds the product twice "
           r"($P_tP_{t+1}$). The limit in terms of $\alpha_1=q_2/q_1$:", ((ALPHA - Z2) / (Z1 - Z2)) ** 2)
    first = quotient.subs(n, 1)
    d.residual("limit", sympy.simplify(limit - (first - Z2) / (Z1 - Z2)))
    found = ((ALPHA - Z2) / (Z1 - Z2)) ** 2
    return d.residual("over the formula", sympy.cancel(found.subs(Z2, MU / Z1).subs(Z1, values[Z1]) / claimed) - 1)


@closed_form("EXP-9", _derive_offset, assumptions=DECAYS, needs=_apart,
             meanings={"alpha": "first alpha that uses the new learning rate"})
def texp_offset(alpha, lr, weight_decay, momentum):
    r"""The factor TEXP over exact schedule left long after a boundary: it fades from w only on the slow clock."""
    z1 = larger(lr, weight_decay, momentum)
    z2 = momentum / z1
    return ((alpha - z2) / (z1 - z2)) ** 2


def _derive_boundary(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The factor of TEXP at a boundary")
    rescaled_step(d)
    p, old = sympy.Symbol("P", positive=True), symbol("previous_alpha")
    before, after = p * old * p * PREVIOUS, p * (p / ALPHA) * LR
    d.step(r"$\tilde\eta_T/\tilde\eta_{T-1}=P_TP_{T+1}\eta_I/(P_{T-1}P_T\eta_{I-1})$, the old root before and the new "
           r"after.",
           after / before)
    return d.residual("factor", after / before - claimed)


@closed_form("EXP-9", _derive_boundary, meanings={"alpha": "root of the new phase"})
def texp_boundary_factor(lr, previous_lr, alpha, previous_alpha):
    r"""The factor on the exponential learning rate at the first step of a new phase."""
    return lr / previous_lr / (alpha * previous_alpha)


def _derive_correction(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The buffer that makes TEXP exact")
    step = rescaled_step(d)
    shift = buffer_steps(d)
    old, virtual = symbol("previous_alpha"), sympy.Symbol("beta", positive=True)
    decay = sympy.solve(step.subs(PREVIOUS, LR) - ALPHA, DECAY)[0]
    virtual_alpha = sympy.solve((step.subs(ALPHA, virtual) - ALPHA).subs(DECAY, decay), virtual)[0]
    d.step(r"The $\alpha_T$ from which the recursion gives the new root $\alpha_I$ at once.",
           sympy.simplify(virtual_alpha))
    found = shift.subs(ALPHA, virtual_alpha) - shift.subs(ALPHA, old)
    d.step(r"The buffer has to change by this times $w_T/P_T=\tilde w_T/P_T^2$.", sympy.expand(sympy.simplify(found)))
    return d.residual("correction", sympy.simplify(found - claimed))


@closed_form("EXP-9", _derive_correction, meanings={"alpha": "root of the new phase"})
def texp_buffer_correction(lr, previous_lr, alpha, previous_alpha):
    r"""The factor c in ṽ_T += c·w̃_T/P_T²: with it at the boundary TEXP is exact."""
    return (1 - 1 / alpha) / lr - (1 - 1 / previous_alpha) / previous_lr


def _derive_single_drop(claimed: sympy.Expr) -> Derivation:
    d = Derivation("A drop without a change of growth rate is forgotten")
    rest = sympy.solve(gamma_ode(Derivation("rest point")), GAMMA)[0]
    factor = symbol("drop_factor")
    d.step(r"$\gamma=\eta_e^{-2}$ rests before; the drop multiplies it by $C^2$ and leaves $\lambda_e$.",
           rest * factor**2)
    found = gamma_solution(d, start=rest * factor**2, rate=RATE)
    d.residual("squared ratio", rest / found - claimed**2)
    return d.residual("in the end nothing is left", sympy.limit(claimed, T, sympy.oo) - 1)


@closed_form("EXP-11", _derive_single_drop, clock="step")
def effective_lr_after_single_drop(t, drop_factor, intrinsic_lr):
    r"""The effective learning rate, over its equilibrium, after the exponential rate was divided once by `drop_factor`.

    With momentum the intrinsic learning rate is lr·decay/(1 - momentum), to leading order.
    """
    return 1 / sympy.sqrt(1 + (drop_factor**2 - 1) * sympy.exp(-4 * intrinsic_lr * t))
