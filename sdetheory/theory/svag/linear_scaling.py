r"""How far the linear scaling rule can go: batch κB and learning rate κη (SVAG-7).

.. math:: (2-\eta\lambda)\lambda R = \eta(G + N), \qquad (2-\kappa\eta\lambda)\lambda R' = \kappa\eta(G' + N')

for the two runs at stationarity. If R'/R, G'/G and κN'/N are within [1/C, C], then κG + N ≤ C² ρ (G + N) with
ρ = (2−κηλ)/(2−ηλ).
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ..formula import closed_form
from .equilibrium import ASSUMPTIONS, DECAY, KAPPA, LR, MEANINGS, RATIO, C, G, L, N, R, svag_balance

RHO = (2 - KAPPA * LR * DECAY) / (2 - LR * DECAY)
_MEANINGS = MEANINGS | {"sq_grad": "E |grad L|^2 at batch B, G", "noise_trace": "E Tr Sigma at the weights and batch B, N",
                        "lr": "learning rate at batch B"}


def scaling_gap(d: Derivation) -> sympy.Expr:
    """Derive C²ρ(G + N) − (κG + N), which is not negative for runs matched within C; it goes into `d`."""
    r, g, n = RATIO
    balance = svag_balance(d).subs(L, 1)
    d.assume(r"$R'=rR$, $G'=gG$, $\kappa N'=nN$ with $r,g,n\in[1/C,C]$; $\kappa\eta\lambda<2$.")
    here = sympy.solve(balance, R)[0]
    there = balance.subs({LR: KAPPA * LR, R: r * R, G: g * G, N: n * N / KAPPA}, simultaneous=True)
    identity = sympy.simplify(there.subs(R, here) * (2 - LR * DECAY) / (KAPPA * LR**2 * (2 - KAPPA * LR * DECAY)))
    d.step(r"The balance of the second run, with $R$ from that of the first: this is 0.", sympy.factor(identity))
    d.residual("it says kappa g G + n N = rho r (G + N)",
               sympy.simplify(identity * RHO) - (KAPPA * g * G + n * N - RHO * r * (G + N)))
    gap = C**2 * RHO * (G + N) - (KAPPA * G + N)
    d.step(r"$C^2\rho(G+N)-(\kappa G+N)=C[\rho(C-r)(G+N)+\kappa(g-\frac1C)G+(n-\frac1C)N]$ where that is 0: not negative.",
           gap)
    d.residual("sum of terms >= 0", gap - C * (RHO * (C - r) * (G + N) + KAPPA * (g - 1 / C) * G + (n - 1 / C) * N)
               + C * (KAPPA * g * G + n * N - RHO * r * (G + N)))
    return gap


def _derive_largest(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The largest batch")
    gap = scaling_gap(d)
    d.step(r"It falls with $\kappa$.", sympy.factor(gap.diff(KAPPA)))
    d.residual("no bend", sympy.simplify(gap.diff(KAPPA, 2)))
    return d.residual("it is 0 at the claimed factor", gap.subs(KAPPA, claimed))


@closed_form("SVAG-7", _derive_largest, meanings=_MEANINGS, assumptions=ASSUMPTIONS,
             needs=lambda similarity, lr, weight_decay, sq_grad: [
                 similarity >= 1, lr * weight_decay < 2, sq_grad > 0])
def largest_batch_factor(similarity, lr, weight_decay, sq_grad, noise_trace):
    r"""The largest κ for which SGD at (B, lr) and (κB, κ lr) can have R, G and κN matched within C at stationarity.

    >>> round(largest_batch_factor(similarity=2.0, lr=0.1, weight_decay=1e-12, sq_grad=1.0, noise_trace=3.0), 9)
    13.0
    """
    total, decay = sq_grad + noise_trace, lr * weight_decay
    return (2 * similarity**2 * total - (2 - decay) * noise_trace) / (
        (2 - decay) * sq_grad + similarity**2 * decay * total)


def _derive_at(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The bound with the factor on both sides")
    gap = scaling_gap(d)
    return d.residual("solved for the kappa of kappa G", gap / G + KAPPA - claimed)


@closed_form("SVAG-7", _derive_at, meanings=_MEANINGS, assumptions=ASSUMPTIONS,
             needs=lambda similarity, lr, weight_decay, batch_factor, sq_grad: [
                 similarity >= 1, lr * weight_decay < 2, batch_factor * lr * weight_decay < 2, sq_grad > 0])
def batch_factor_bound(batch_factor, similarity, lr, weight_decay, sq_grad, noise_trace):
    r"""C²ρ + (C²ρ - 1)N/G, which κ must not exceed; ρ = (2 - κ lr decay)/(2 - lr decay) has κ in it."""
    rho = (2 - batch_factor * lr * weight_decay) / (2 - lr * weight_decay)
    return similarity**2 * rho + (similarity**2 * rho - 1) * noise_trace / sq_grad


def _derive_simple(claimed: sympy.Expr) -> Derivation:
    d = Derivation("A bound that needs neither decay nor learning rate")
    gap = scaling_gap(d)
    d.step(r"$\rho\le1$ for $\kappa\ge1$.", sympy.factor(1 - RHO))
    d.residual("1 - rho", 1 - RHO - (KAPPA - 1) * LR * DECAY / (2 - LR * DECAY))
    slack = C**2 * (1 - RHO) * (G + N) / G + N / G
    d.step(r"The claimed bound is the sharp one, plus what is not negative.", slack)
    return d.residual("bound", claimed - (gap / G + KAPPA) - slack)


@closed_form("SVAG-7", _derive_simple, meanings=_MEANINGS, assumptions=ASSUMPTIONS,
             needs=lambda similarity, sq_grad: [similarity >= 1, sq_grad > 0])
def simple_batch_factor_bound(similarity, sq_grad, noise_trace):
    r"""C²(1 + N/G): no batch factor κ ≥ 1 beyond it keeps R, G and κN within C.

    >>> simple_batch_factor_bound(similarity=2.0, sq_grad=1.0, noise_trace=3.0)
    16.0
    """
    return similarity**2 * (1 + noise_trace / sq_grad)


def _derive_least(claimed: sympy.Expr) -> Derivation:
    d = Derivation("How far two runs must be apart")
    gap = scaling_gap(d)
    d.step(r"Not negative, so $C^2\ge(\kappa G+N)/(\rho(G+N))$.", sympy.solve(gap, C**2)[0])
    return d.residual("C at equality", sympy.simplify(gap.subs(C, claimed)))


@closed_form("SVAG-7", _derive_least, meanings=_MEANINGS,
             needs=lambda lr, weight_decay, batch_factor, sq_grad: [batch_factor * lr * weight_decay < 2,
                                                                    lr * weight_decay < 2, sq_grad > 0])
def least_similarity(batch_factor, lr, weight_decay, sq_grad, noise_trace):
    r"""The least C within which R, G and κN of SGD at (B, lr) and (κB, κ lr) can agree at stationarity.

    It grows with κ ≥ 1, and is C where κ is `largest_batch_factor` of C.

    >>> round(least_similarity(batch_factor=13.0, lr=0.1, weight_decay=1e-12, sq_grad=1.0, noise_trace=3.0), 9)
    2.0
    """
    rho = (2 - batch_factor * lr * weight_decay) / (2 - lr * weight_decay)
    return sympy.sqrt((batch_factor * sq_grad + noise_trace) / (rho * (sq_grad + noise_trace)))
