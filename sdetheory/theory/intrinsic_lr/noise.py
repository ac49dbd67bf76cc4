r"""The geometry of gradient noise of a scale-invariant loss, and its units (ILR-1, 15).

.. math:: \Sigma(w)w = 0, \qquad \Sigma(cw) = c^{-2}\Sigma(w), \qquad \operatorname{Tr}\Sigma(w) = \sigma^2/\|w\|^2.

Every dimension: a loss is looked at on the plane of w and one other direction u, both arbitrary.
"""

from __future__ import annotations

import sympy
from sympy.stats import Covariance
from sympy.stats.rv import RandomSymbol

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form

R, TRACE, LR, KAPPA = symbol("sq_norm"), symbol("noise_trace"), symbol("lr"), symbol("batch_factor")
DECAY = symbol("weight_decay")


def _derive_trace(claimed: sympy.Expr) -> Derivation:
    d = Derivation("Noise of a scale-invariant loss is tangent and falls with the squared norm")
    along, across, c = sympy.symbols("alpha beta c", positive=True)
    f = sympy.Function("f")
    d.assume(r"Each sample's loss obeys $\ell(cw)=\ell(w)$ for $c>0$. Any dimension: $w$ and $u$ are any two "
             r"directions.")
    loss = f(across / along)
    d.step(r"On the plane $\alpha w+\beta u$ the choice $c=1/\alpha$ makes it a function of $\beta/\alpha$.", loss)
    d.residual("a function of the ratio is what invariance says", loss.subs({along: c * along, across: c * across},
                                                                            simultaneous=True) - loss)
    radial = (along * sympy.diff(loss, along) + across * sympy.diff(loss, across)).doit()
    d.residual("<gradient, w> = 0", sympy.simplify(radial))
    side = sympy.diff(loss, across)
    scaled = side.subs({along: c * along, across: c * across}, simultaneous=True).doit()
    d.step(r"$\langle\nabla\ell,u\rangle$ at $\alpha w+\beta u$.", side.doit())
    d.residual("the gradient has degree -1", scaled - side.doit() / c)
    degree = sympy.cancel(scaled / side.doit())
    x, y = RandomSymbol("X"), RandomSymbol("Y")
    entry = Covariance(degree * x, degree * y).expand()
    d.step(r"$X=\langle\nabla\ell_i(w),u\rangle$, $Y=\langle\nabla\ell_i(w),u'\rangle$ for a random sample $i$: "
           r"$u^T\Sigma(cw)u'$ is", entry)
    factor = entry / Covariance(x, y)
    d.residual("Sigma w = 0: no covariance with <gradient, w> = 0", Covariance(x, sympy.S.Zero).expand())
    trace = TRACE * factor.subs(c, sympy.sqrt(R))
    d.step(r"Sum over an orthonormal basis $u=u'$ and put $c=\|w\|$, $w=c\hat w$.", trace)
    return d.residual("trace", trace - claimed)


@closed_form("ILR-1", _derive_trace)
def noise_trace_at_norm(sq_norm, noise_trace):
    r"""Tr Σ(w) at squared norm `sq_norm`, from the noise power at unit norm in the same direction.

    >>> noise_trace_at_norm(sq_norm=4.0, noise_trace=1.0)
    0.25
    """
    return noise_trace / sq_norm


def _derive_flow_noise(claimed: sympy.Expr) -> Derivation:
    d = Derivation("Linear scaling")
    batch = symbol("batch_size")
    d.assume("Samples are drawn with replacement: they are independent. Any dimension.")
    per_step = LR**2 * (batch * TRACE) / batch**2
    d.step(r"$B$ independent samples: the covariance of their sum is $B\Sigma$, of their mean $B\Sigma/B^2$. "
           r"Noise of a step $\eta g$:", per_step)
    d.step(r"A unit of the time $\eta k$ holds $1/\eta$ steps.", per_step / LR)
    drift = sympy.Matrix([-LR, -LR * DECAY]) / LR
    d.step(r"The drift per unit of that time: coefficients of $\nabla L$ and of $W$.", drift)
    scaled = {LR: KAPPA * LR, batch: KAPPA * batch}
    d.residual("noise in the time lr k", per_step / LR - claimed)
    d.residual("batch and lr times the factor: the same noise", claimed.subs(scaled, simultaneous=True) - claimed)
    return d.residual("the same drift", drift.subs(LR, KAPPA * LR) - drift)


@closed_form("ILR-15", _derive_flow_noise, clock="flow", meanings={
    "batch_size": "samples a step, drawn with replacement", "noise_trace": "noise power of one sample"})
def flow_noise(lr, batch_size, noise_trace):
    r"""The noise power Tr of the SDE of SGD in the time lr·k: unchanged when lr and batch size grow by one factor."""
    return lr * noise_trace / batch_size
