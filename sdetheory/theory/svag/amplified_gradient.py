r"""The weighted gradient of SVAG, and a near miss (SVAG-1, SVAG-10).

.. math:: \hat g = \frac{1+s}2\nabla L_{\gamma_1} + \frac{1-s}2\nabla L_{\gamma_2}, \quad s = \sqrt{2l-1},
          \qquad \mathbb E\,\hat g = \nabla L, \quad \operatorname{Cov}\hat g = l\,\Sigma

Components along three directions u, v, w stand for the vectors, so the derivations hold for every dimension.
"""

from __future__ import annotations

from collections.abc import Callable

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from .independent_draws import Draw, expectation

L, LR, COV, K3 = symbol("amplification"), symbol("lr"), symbol("noise_covariance"), symbol("third_moment")
SPREAD = symbol("spread")
GU, GV, GW = symbol("gradient"), symbol("other_gradient"), symbol("g_w")
MEANINGS = {"noise_covariance": "an entry of the covariance of the gradient of one draw",
            "third_moment": "an entry of the third central moments of the gradient of one draw",
            "spread": "s of the weights (1 + s)/2 and (1 - s)/2",
            "gradient": "a component of the gradient of L",
            "other_gradient": "another component of the gradient of L (or the same)"}


def draw(number: int) -> tuple[tuple[sympy.Symbol, ...], Draw]:
    """Noise of one draw along u, v, w: mean 0, covariance Σ_uv, third moment κ_uvw; the rest are names of their own."""
    u, v, w = entries = sympy.symbols(f"xi{number}_u xi{number}_v xi{number}_w", real=True)
    suw, svw, suu = sympy.symbols("Sigma_uw Sigma_vw Sigma_uu", real=True)
    return entries, Draw(entries, {u: 0, v: 0, w: 0, u * v: COV, u * w: suw, v * w: svw, u**2: suu, u * v * w: K3})


def amplified(first: sympy.Expr, second: sympy.Expr) -> tuple[sympy.Matrix, Callable[[sympy.Expr], sympy.Expr]]:
    """The weighted gradient along u, v, w, and the expectation over its two draws."""
    (one, law), (two, other) = draw(1), draw(2)
    mean = sympy.Matrix([GU, GV, GW])
    weighted = first * (mean + sympy.Matrix(one)) + second * (mean + sympy.Matrix(two))
    return weighted, lambda expr: expectation(expr, law, other)


def svag_weights(d: Derivation) -> tuple[sympy.Expr, sympy.Expr]:
    """Derive the pair of weights from sum 1 and sum of squares l; it goes into `d`; the larger one comes first."""
    first, second = sympy.symbols("p q", real=True)
    pairs = sympy.solve([first + second - 1, first**2 + second**2 - L], [first, second])
    larger = max(pairs, key=lambda pair: sympy.N(pair[0].subs(L, 3)))
    other = next(pair for pair in pairs if pair != larger)
    d.assume(r"Two independent draws. Any dimension: $u,v,w$ are any directions.")
    d.step(r"The mean asks for $p+q=1$, the covariance $(p^2+q^2)\Sigma=l\Sigma$ for $p^2+q^2=l$. The pair:",
           sympy.Matrix(larger))
    d.residual("there is no pair but this and the same swapped",
               sympy.Matrix([len(pairs) - 2, larger[0] - other[1], larger[1] - other[0]]))
    return larger


def _derive_weight(index: int):
    def derive(claimed: sympy.Expr) -> Derivation:
        d = Derivation("The weights of SVAG")
        return d.residual("weight", svag_weights(d)[index] - claimed)
    return derive


@closed_form("SVAG-1", _derive_weight(0))
def first_weight(amplification):
    r"""The weight of the first gradient of an SVAG step.

    >>> first_weight(amplification=1), first_weight(amplification=5)
    (1.0, 2.0)
    """
    return (1 + sympy.sqrt(2 * amplification - 1)) / 2


@closed_form("SVAG-1", _derive_weight(1))
def second_weight(amplification):
    r"""The weight of the second gradient of an SVAG step: 0 for l = 1 (SGD), else negative.

    >>> second_weight(amplification=1), second_weight(amplification=5)
    (0.0, -1.0)
    """
    return (1 - sympy.sqrt(2 * amplification - 1)) / 2


def _derive_moment(third: bool):
    def derive(claimed: sympy.Expr) -> Derivation:
        d = Derivation("Moments of the weighted gradient")
        weighted, mean_of = amplified(*svag_weights(d))
        d.residual("mean", weighted.applyfunc(mean_of) - sympy.Matrix([GU, GV, GW]))
        centred = weighted - sympy.Matrix([GU, GV, GW])
        found = mean_of(centred[0] * centred[1] * (centred[2] if third else 1))
        d.step(r"$\mathbb E$ of the product of the centred components along "
               + ("$u$, $v$, $w$." if third else "$u$ and $v$."), sympy.simplify(found))
        d.residual("l = 1 is SGD", sympy.simplify(found.subs(L, 1)) - (K3 if third else COV))
        return d.residual("moment", found - claimed)
    return derive


@closed_form("SVAG-1", _derive_moment(False), meanings=MEANINGS)
def amplified_covariance(amplification, noise_covariance):
    r"""An entry of the covariance of the weighted gradient; its mean is that of one draw.

    >>> amplified_covariance(amplification=4, noise_covariance=0.5)
    2.0
    """
    return amplification * noise_covariance


@closed_form("SVAG-1", _derive_moment(True), meanings=MEANINGS)
def amplified_third_moment(amplification, third_moment):
    r"""An entry of the third central moments of the weighted gradient.

    >>> amplified_third_moment(amplification=3, third_moment=0.5)
    2.0
    """
    return (3 * amplification - 1) * third_moment / 2


def _derive_spread(claimed: sympy.Expr) -> Derivation:
    d = Derivation("Weights (1 + s)/2 and (1 - s)/2 with any s")
    d.assume(r"Two independent draws. Any dimension: $u,v,w$ are any directions.")
    weighted, mean_of = amplified((1 + SPREAD) / 2, (1 - SPREAD) / 2)
    d.residual("mean", weighted.applyfunc(mean_of) - sympy.Matrix([GU, GV, GW]))
    found = mean_of((weighted[0] - GU) * (weighted[1] - GV))
    d.step("Covariance of the components along $u$ and $v$.", sympy.factor(found))
    d.residual("s of SVAG: l", found.subs(SPREAD, sympy.sqrt(2 * L - 1)) - L * COV)
    d.residual("s = sqrt(2 l): l + 1/2", found.subs(SPREAD, sympy.sqrt(2 * L)) - (L + sympy.Rational(1, 2)) * COV)
    return d.residual("covariance", found - claimed)


@closed_form("SVAG-1", _derive_spread, meanings=MEANINGS)
def spread_covariance(spread, noise_covariance):
    r"""An entry of the covariance for any spread s: s² = 2.1 l - 1 has 5 % too much, s² = 2 l the same SDE as SVAG.

    >>> spread_covariance(spread=3.0, noise_covariance=1.0)
    5.0
    """
    return (1 + spread**2) / 2 * noise_covariance


def near_miss(d: Derivation) -> sympy.Expr:
    """Derive the covariance of (1 ± √(l−1)) g along u and v, g one draw; it goes into `d` and is returned."""
    d.assume(r"One draw $g=\nabla L+\xi$ and a fair sign $\epsilon$, independent. Any dimension.")
    (u, v, _), law = draw(1)
    sign = sympy.Symbol("epsilon", real=True)
    fair = Draw([sign], {sign: 0, sign**2: 1})
    factor = 1 + sign * sympy.sqrt(L - 1)
    first, second = (expectation(factor * (g + xi), law, fair) for g, xi in ((GU, u), (GV, v)))
    d.step(r"The gradient used is $(1+\epsilon\sqrt{l-1})\,g$.", factor * (GU + u))
    d.residual("its mean is the gradient", sympy.Matrix([first - GU, second - GV]))
    found = expectation(factor**2 * (GU + u) * (GV + v), law, fair) - first * second
    d.step("Covariance of the components along $u$ and $v$.", sympy.factor(found))
    return found


def _derive_near_miss(claimed: sympy.Expr) -> Derivation:
    d = Derivation("One minibatch with a random factor")
    return d.residual("covariance", near_miss(d) - claimed)


@closed_form("SVAG-10", _derive_near_miss, meanings=MEANINGS)
def near_miss_covariance(amplification, noise_covariance, gradient, other_gradient):
    r"""An entry of the covariance of (1 ± √(l-1)) ∇L_γ: not l Σ, but a gradient's share more.

    >>> near_miss_covariance(amplification=3, noise_covariance=1.0, gradient=2.0, other_gradient=2.0)
    11.0
    """
    return amplification * noise_covariance + (amplification - 1) * gradient * other_gradient


def _derive_near_miss_limit(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The SDE of the near miss")
    rate = (LR / L) ** 2 * near_miss(d) / (LR / L)
    d.step(r"A step has size $\eta/l$ and takes the time $\eta/l$: covariance per unit of time.", sympy.expand(rate))
    limit = sympy.limit(rate, L, sympy.oo)
    d.step(r"$l\to\infty$.", sympy.factor(limit))
    d.residual("noise of the limit", limit - claimed)
    return d.residual("that of SVAG has no share of the gradient", sympy.limit(LR / L * L * COV, L, sympy.oo)
                      - claimed.subs({GU: 0}))


@closed_form("SVAG-10", _derive_near_miss_limit, clock="flow", meanings=MEANINGS)
def near_miss_noise(lr, noise_covariance, gradient, other_gradient):
    r"""The noise of the SDE that the near miss converges to, covariance per unit of time; SVAG's is lr Σ.

    >>> near_miss_noise(lr=0.5, noise_covariance=1.0, gradient=2.0, other_gradient=2.0)
    2.5
    """
    return lr * (noise_covariance + gradient * other_gradient)
