r"""What the equation of gamma says about bounds, drops of the learning rate, and the past (ILR-5, 7, 14).

.. math:: \gamma_t = e^{-4\lambda_e t}\Bigl(\gamma_0
          + 2\int_0^t e^{4\lambda_e s}\operatorname{Tr}\Sigma(\hat W_s)\,ds\Bigr)
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from .norm import GAMMA, GAMMA0, KAPPA, RATE, TRACE, S, T, gamma_ode, gamma_solution


def _any_trace(d: Derivation) -> tuple[sympy.Expr, sympy.Function]:
    """Derive gamma_t for a noise power that varies as it likes, from the SDE; return it and the noise power."""
    ode, trace = gamma_ode(d), sympy.Function("trace", positive=True)
    solution = sympy.exp(-4 * RATE * T) * (GAMMA0 + sympy.Integral(2 * sympy.exp(4 * RATE * S) * trace(S), (S, 0, T)))
    d.step(r"Variation of constants with any $\mathrm{Tr}\,\Sigma(\hat W_s)$.", solution)
    moving = ode.subs(TRACE, trace(T)).subs(GAMMA, solution)
    d.residual("it solves the equation", sympy.diff(solution, T) - moving)
    d.residual("it starts at gamma_0", solution.subs(T, 0).doit() - GAMMA0)
    return solution, trace


def gamma_for_any_noise_power() -> Derivation:
    """Return the proof of γ_t for a noise power that varies as it likes along the path (ILR-3)."""
    d = Derivation("The norm variable for any course of the noise power")
    _any_trace(d)
    return d


def _derive_bound(name: str, sign: int):
    def derive(claimed: sympy.Expr) -> Derivation:
        d = Derivation(f"The {'lower' if sign > 0 else 'upper'} solution bounds gamma")
        solution, trace = _any_trace(d)
        bound = symbol(name)
        growth = 2 * sympy.exp(4 * RATE * S)
        apart = growth * (trace(S) - bound)
        with_bound = sympy.exp(-4 * RATE * T) * (GAMMA0 + sympy.integrate(growth * bound, (S, 0, T)))
        d.step(r"The same with the bound in place of $\mathrm{Tr}\,\Sigma$.", with_bound)
        d.step(r"The difference is $e^{-4\lambda_et}$ times an integral over an integrand of one sign: a positive "
               r"factor times "
               r"the distance of $\mathrm{Tr}\,\Sigma$ from its bound.", apart)
        integrand = solution.atoms(sympy.Integral).pop().function
        d.residual("the integrand of the difference", integrand - growth * bound - apart)
        return d.residual("the bound", with_bound - claimed)
    return derive


@closed_form("ILR-5", _derive_bound("noise_trace_min", +1), clock="step")
def gamma_lower(t, gamma0, intrinsic_lr, noise_trace_min):
    r"""The solution that stays below gamma while Tr Σ(Ŵ) stays above `noise_trace_min`."""
    gone = sympy.exp(-4 * intrinsic_lr * t)
    return gone * gamma0 + noise_trace_min / (2 * intrinsic_lr) * (1 - gone)


@closed_form("ILR-5", _derive_bound("noise_trace_max", -1), clock="step")
def gamma_upper(t, gamma0, intrinsic_lr, noise_trace_max):
    r"""The solution that stays above gamma while Tr Σ(Ŵ) stays below `noise_trace_max`."""
    gone = sympy.exp(-4 * intrinsic_lr * t)
    return gone * gamma0 + noise_trace_max / (2 * intrinsic_lr) * (1 - gone)


def _derive_drop(title: str, jump: sympy.Expr, text: str):
    def derive(claimed: sympy.Expr) -> Derivation:
        d = Derivation(title)
        rest = sympy.solve(gamma_ode(Derivation("rest point")), GAMMA)[0]
        d.step(r"Before the drop $\gamma$ rests (ILR-4).", rest)
        d.step(text, rest * jump)
        found = gamma_solution(d, start=rest * jump, rate=RATE / KAPPA)
        d.step(r"$\eta_e=\gamma^{-1/2}$, so the squared ratio is $\gamma_\infty/\gamma_t$.",
               sympy.simplify(rest / found))
        d.residual("squared ratio", rest / found - claimed**2)
        d.residual("final value", sympy.limit(claimed, T, sympy.oo) - 1 / sympy.sqrt(KAPPA))
        return d.residual("value at once", claimed.subs(T, 0) - 1 / sympy.sqrt(jump))
    return derive


@closed_form("ILR-7", _derive_drop("The learning rate is divided", KAPPA**2,
                                   r"$\eta\to\eta/\kappa$ at the same $W$: $\gamma=\|W\|^4/\eta^2$ jumps."),
             clock="step")
def effective_lr_after_lr_drop(t, drop_factor, intrinsic_lr):
    r"""The effective learning rate, over its equilibrium before, at time t after lr was divided by `drop_factor`.

    `intrinsic_lr` is the one before the drop. At once it is 1/drop_factor; in the end 1/sqrt(drop_factor).

    >>> round(effective_lr_after_lr_drop(t=0.0, drop_factor=10.0, intrinsic_lr=1e-3), 12)
    0.1
    """
    gone = sympy.exp(-4 * intrinsic_lr * t / drop_factor)
    return 1 / sympy.sqrt(drop_factor * (1 + (drop_factor - 1) * gone))


@closed_form("ILR-7", _derive_drop("The weight decay is divided", sympy.S.One,
                                   r"$\lambda\to\lambda/\kappa$ at the same $W$: $\gamma$ does not jump."),
             clock="step")
def effective_lr_after_decay_drop(t, drop_factor, intrinsic_lr):
    r"""The effective learning rate, over its equilibrium before, at time t after decay was divided by `drop_factor`.

    `intrinsic_lr` is the one before the drop. Nothing happens at once; the final value is that of the same drop of lr.
    """
    gone = sympy.exp(-4 * intrinsic_lr * t / drop_factor)
    return 1 / sympy.sqrt(drop_factor * (1 - (1 - 1 / drop_factor) * gone))


def _derive_gap(claimed: sympy.Expr) -> Derivation:
    d = Derivation("Two pasts, one future")
    ode, gap = gamma_ode(d), symbol("gamma_gap")
    other = sympy.Symbol("gamma_2", positive=True)
    rate = sympy.simplify(ode.subs(GAMMA, other) - ode) / (other - GAMMA)
    d.assume(r"Both runs see the same $\mathrm{Tr}\,\Sigma$, as they do where it is constant.")
    d.step("The difference of two solutions decays at the rate", sympy.cancel(rate))
    d.residual("it solves the equation of the difference", sympy.diff(claimed, T) - rate * claimed)
    return d.residual("it starts at the gap", claimed.subs(T, 0) - gap)


@closed_form("ILR-14", _derive_gap, clock="step")
def gamma_memory(t, gamma_gap, intrinsic_lr):
    r"""What is left at time t of a difference between two gammas once both runs have the same lr and decay."""
    return gamma_gap * sympy.exp(-4 * intrinsic_lr * t)
