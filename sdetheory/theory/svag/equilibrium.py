r"""Scale-invariant losses at rest: what R, G, N of SGD and SDE must obey, and the linear scaling rule (SVAG-5, 6, 7).

.. math:: (2-h\lambda)\lambda R = hG + \eta N,\quad h = \eta/l \quad(\text{SVAG}), \qquad 2\lambda R = \eta N
          \quad(\text{SDE}),
          \qquad R = \mathbb E\|w\|^2,\; G = \mathbb E\|\nabla L\|^2,\; N = \mathbb E\operatorname{Tr}\Sigma

at stationarity with decay λ; l = 1 is SGD and noisy GD. Any dimension (algebra of inner products), any loss with
⟨∇L_γ(w), w⟩ = 0.
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from ..inner_products import InnerProducts, up_to_dt
from .amplified_gradient import svag_weights

L, LR, DECAY, R = symbol("amplification"), symbol("lr"), symbol("weight_decay"), symbol("sq_norm")
G, N, KAPPA, C = symbol("sq_grad"), symbol("noise_trace"), symbol("batch_factor"), symbol("similarity", positive=True)
W, GRAD, XI1, XI2 = sympy.symbols("w g xi1 xi2", real=True)
RATIO = [symbol(f"{name}_ratio", positive=True) for name in "RGN"]
ASSUMPTIONS = {"similarity": {"positive": True}}
MEANINGS = {"noise_trace": "E Tr Sigma at the weights, N", "similarity": "factor C within which the quantities agree",
            "sq_norm": "E |w|^2, R"}
_AT_REST = (r"Stationarity, so that $R$ is the same before and after. $\langle\nabla L_\gamma(w),w\rangle=0$ for every "
            r"draw (scale invariance, ILR-1). Any dimension: algebra of inner products.")


def svag_balance(d: Derivation) -> sympy.Expr:
    """Derive (R after an SVAG step) − R; it goes into `d` and is returned."""
    first, second = svag_weights(d)
    d.assume(_AT_REST)
    h = LR / L
    table = {(a, b): 0 for a in (W, GRAD, XI1, XI2) for b in (W, GRAD, XI1, XI2)}
    table |= {(W, W): R, (GRAD, GRAD): G, (XI1, XI1): N, (XI2, XI2): N}
    inner = InnerProducts(table)
    update = (1 - h * DECAY) * W - h * (first * (GRAD + XI1) + second * (GRAD + XI2))
    d.step(r"A step; expectations of inner products: $\langle w,w\rangle=R$, $\langle g,g\rangle=G$, "
           r"$\langle\xi_i,\xi_i\rangle=N$, the others 0.", update)
    change = sympy.simplify(inner(update, update) - R)
    d.step(r"$R'-R$.", sympy.factor(change))
    return change


def sde_balance(d: Derivation) -> sympy.Expr:
    """Derive dR/dt of the SDE dW = −(∇L + λW)dt + (ηΣ)^{1/2}dB; it goes into `d` and is returned."""
    d.assume(_AT_REST)
    q = sympy.Symbol("q", real=True)
    inner = InnerProducts({(W, W): R, (W, GRAD): 0, (W, XI1): 0, (GRAD, GRAD): G, (GRAD, XI1): 0, (XI1, XI1): N})
    sde = -(GRAD + DECAY * W) * q**2 + sympy.sqrt(LR) * XI1 * q
    noise, drift = up_to_dt(2 * inner(W, sde) + inner(sde, sde), q)
    d.residual("the norm has no noise", noise)
    d.step(r"Itô: $d\|W\|^2=2\langle W,dW\rangle+\langle dW,dW\rangle$ with $dB=q\,\xi$, $q^2=dt$. The drift:", drift)
    return drift


def _derive_svag_rest(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The norm of SVAG at rest")
    change = svag_balance(d)
    d.residual("it is at rest", change.subs(R, claimed))
    d.residual("the identity", change - ((LR / L) * (G * LR / L + LR * N - (2 - LR / L * DECAY) * DECAY * R)))
    return d.residual("the only one", sympy.solve(change, R)[0] - claimed)


@closed_form("SVAG-5", _derive_svag_rest, meanings=MEANINGS,
             needs=lambda lr, weight_decay, amplification: [lr * weight_decay < 2 * amplification])
def svag_equilibrium_sq_norm(amplification, lr, weight_decay, sq_grad, noise_trace):
    r"""R of SVAG(l) at stationarity, from its G and N; l = 1 is SGD and noisy GD.

    >>> svag_equilibrium_sq_norm(amplification=1, lr=1.0, weight_decay=1.0, sq_grad=2.0, noise_trace=3.0)
    5.0
    """
    return lr * (sq_grad / amplification + noise_trace) / ((2 - lr / amplification * weight_decay) * weight_decay)


def _derive_sde_rest(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The norm of the SDE at rest")
    return d.residual("R", sympy.solve(sde_balance(d), R)[0] - claimed)


@closed_form("SVAG-5", _derive_sde_rest, meanings=MEANINGS)
def sde_equilibrium_sq_norm(lr, weight_decay, noise_trace):
    r"""R of the SDE at stationarity, from its N: the gradient has no say.

    >>> sde_equilibrium_sq_norm(lr=0.5, weight_decay=0.125, noise_trace=2.0)
    4.0
    """
    return lr * noise_trace / (2 * weight_decay)


def _corner(d: Derivation) -> None:
    """r/n ≤ C² for r, n in [1/C, C]: as a sum of two terms that are not negative."""
    r, _, n = RATIO
    d.step(r"For $r,n\in[1/C,C]$: $C^2-r/n=C(C-r)+\frac rn(Cn-1)\ge0$, with equality at $r=C$, $n=1/C$.")
    d.residual("C^2 - r/n as a sum of two terms >= 0", C**2 - r / n - (C * (C - r) + r / n * (C * n - 1)))


def _derive_signal_bound(claimed: sympy.Expr) -> Derivation:
    d = Derivation("SGD is like its SDE only where the noise is strong")
    r, _, n = RATIO
    of_sgd = sympy.solve(svag_balance(d).subs(L, 1), G)[0]
    of_sde = sympy.solve(sde_balance(d), N)[0]
    d.assume(r"$R$ and $N$ of SGD are $r$ and $n$ times those of the SDE, $r,n\in[1/C,C]$.")
    share = sympy.simplify((of_sgd / N).subs(N, n * of_sde.subs(R, R / r)))
    d.step(r"$G/N$ of SGD, where $N=n\,N_{SDE}$ and $N_{SDE}=2\lambda R_{SDE}/\eta$, $R=r\,R_{SDE}$.", share)
    _corner(d)
    d.residual("it grows with r/n", share - ((1 - LR * DECAY / 2) * r / n - 1))
    return d.residual("largest value", share.subs({r: C, n: 1 / C}) - claimed)


@closed_form("SVAG-6", _derive_signal_bound, meanings=MEANINGS, assumptions=ASSUMPTIONS,
             needs=lambda similarity, lr, weight_decay: [similarity >= 1, similarity**2 * (1 - lr * weight_decay / 2) > 1])
def largest_signal_to_noise(similarity, lr, weight_decay):
    r"""The largest G/N of SGD at stationarity whose R and N are within a factor C of those of its SDE.

    >>> largest_signal_to_noise(similarity=2.0, lr=0.5, weight_decay=1.0)
    2.0
    """
    return similarity**2 * (1 - lr * weight_decay / 2) - 1


def _derive_noise_bound(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The least noise").including(_derive_signal_bound(C**2 * (1 - LR * DECAY / 2) - 1))
    d.residual("N/G is the inverse", claimed * (C**2 * (1 - LR * DECAY / 2) - 1) - 1)
    weaker = 1 / (C**2 - 1)
    d.step(r"It is at least $1/(C^2-1)$; the difference is positive:", sympy.factor(sympy.together(claimed - weaker)))
    return d.residual("how much more", claimed - weaker - claimed * weaker * C**2 * LR * DECAY / 2)


@closed_form("SVAG-6", _derive_noise_bound, meanings=MEANINGS, assumptions=ASSUMPTIONS,
             needs=lambda similarity, lr, weight_decay: [similarity >= 1, similarity**2 * (1 - lr * weight_decay / 2) > 1])
def least_noise_to_signal(similarity, lr, weight_decay):
    r"""The least N/G of SGD at stationarity whose R and N are within a factor C of those of its SDE.

    >>> least_noise_to_signal(similarity=2.0, lr=0.5, weight_decay=1.0)
    0.5
    """
    return 1 / (similarity**2 * (1 - lr * weight_decay / 2) - 1)
