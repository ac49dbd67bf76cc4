r"""One SVAG step against the SDE over the same time h = η/l: moments 1 to 3 agree up to O(l^{-2}) (SVAG-2).

.. math:: \mathbb E\,(x_1 - x)^k - \mathbb E\,(X_h - x)^k = \frac{c_k}{l^2} + O(l^{-3}), \qquad k = 1, 2, 3

in one dimension with the c_k below; in dimension d for the first and second moments, with the expansion done for generic L
and Σ in d = 2 and 3.
"""

from __future__ import annotations

import functools

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from .amplified_gradient import svag_weights
from .independent_draws import Draw, expectation
from .ito_taylor import LR, GenericProblem, H, expansion

L = symbol("amplification")
SLOPES = (symbol("gradient"), symbol("hessian"), symbol("third_derivative"))
NOISE = (symbol("noise_variance", nonnegative=True), symbol("noise_slope"), symbol("noise_curvature"))
K3 = symbol("third_moment")
MEANINGS = {"gradient": "L' at the start", "hessian": "L'' at the start", "third_derivative": "L''' at the start",
            "noise_variance": "Sigma at the start", "noise_slope": "Sigma' at the start",
            "noise_curvature": "Sigma'' at the start", "third_moment": "third central moment of the gradient of one draw"}
NONNEGATIVE = {"noise_variance": {"nonnegative": True}}


def by_value(problem: GenericProblem, expr: sympy.Expr) -> sympy.Expr:
    """Write the derivatives of L and Σ at the start as the parameters of the formulas (one dimension)."""
    (x,) = problem.x
    loss, noise = problem.at_start(problem.loss), problem.at_start(problem.covariance[0])
    put = {loss.diff(x, n + 1): value for n, value in enumerate(SLOPES)}
    put |= {noise.diff(x, n) if n else noise: value for n, value in enumerate(NOISE)}
    ordered = sorted(put.items(), key=lambda pair: -getattr(pair[0], "derivative_count", 0))
    return sympy.expand(expr.subs(ordered))


def svag_step_moment(d: Derivation, order: int) -> sympy.Expr:
    """Derive E (x_1 − x)^order of an SVAG step with h = η/l; it goes into `d` and is returned."""
    first, second = svag_weights(d)
    draws = []
    for n in (1, 2):
        xi = sympy.Symbol(f"xi{n}", real=True)
        draws.append(Draw([xi], {xi: 0, xi**2: NOISE[0], xi**3: K3}))
    weighted = first * (SLOPES[0] + draws[0].entries[0]) + second * (SLOPES[0] + draws[1].entries[0])
    moment = sympy.expand(sympy.simplify(expectation((-H * weighted) ** order, *draws).subs(L, LR / H)))
    d.step(rf"An SVAG step, $l=\eta/h$: $\mathbb E(x_1-x)^{order}$.", moment)
    return moment


@functools.cache
def agreement(dim: int) -> Derivation:
    """The derivation for dimension `dim`, generic L and Σ: first and second moments differ by O(h²) = O(l^{-2})."""
    d = Derivation(f"Moments 1 and 2 of one step in dimension {dim}")
    problem = GenericProblem(dim)
    d.assume("$L$ and $\\Sigma$ are smooth with bounded derivatives, and have no formula.")
    gaps = []
    gradient, covariance = problem.at_start, problem.covariance
    for i in range(dim):
        step = -H * gradient(problem.gradient[i])
        gaps.append(step - expansion(problem, problem.moved(i), 1))
        for j in range(i, dim):
            step = H**2 * (gradient(problem.gradient[i] * problem.gradient[j]) + LR / H * gradient(covariance[i, j]))
            gaps.append(step - expansion(problem, problem.moved(i, j), 1))
    gaps = [sympy.expand(gap) for gap in gaps]
    d.step(r"SVAG has mean $-h\nabla L$ and second moments $h^2(\nabla L\nabla L^T+l\Sigma)$ (SVAG-1), $l=\eta/h$; minus "
           r"the expansion of the SDE's, to first order in $h$. The first entry:", gaps[0])
    d.residual("no term without h", sympy.Matrix([gap.coeff(H, 0) for gap in gaps]))
    return d.residual("no term linear in h", sympy.Matrix([gap.coeff(H, 1) for gap in gaps]))


def _derive_gap(order: int):
    def derive(claimed: sympy.Expr) -> Derivation:
        d = Derivation(f"Moment {order} of one step")
        d.assume("$L$ and $\\Sigma$ are smooth with bounded derivatives, and have no formula. One dimension.")
        problem = GenericProblem(1)
        there = by_value(problem, expansion(problem, problem.moved(*[0] * order)))
        d.step(rf"The SDE: $\mathbb E(X_h-x)^{order}$ by Itô–Taylor, up to $O(h^3)$.", there)
        gap = sympy.expand(svag_step_moment(d, order) - there)
        d.residual("they agree without h and to first order in h", sympy.Matrix([gap.coeff(H, 0), gap.coeff(H, 1)]))
        d.step(r"The coefficient of $h^2$ in the difference.", gap.coeff(H, 2))
        d.residual("h^2 = lr^2/l^2 times it", LR**2 * gap.coeff(H, 2) - claimed)
        return d if order == 3 else d.including(agreement(2)).including(agreement(3))
    return derive


@closed_form("SVAG-2", _derive_gap(1), clock="flow", meanings=MEANINGS, assumptions=NONNEGATIVE)
def one_step_mean_gap(lr, gradient, hessian, third_derivative, noise_variance):
    r"""l² times (mean displacement of an SVAG step minus that of the SDE over lr/l), in the limit of large l.

    >>> one_step_mean_gap(lr=1.0, gradient=2.0, hessian=1.0, third_derivative=0.0, noise_variance=3.0)
    -1.0
    """
    return lr**2 * (lr * noise_variance * third_derivative / 4 - gradient * hessian / 2)


@closed_form("SVAG-2", _derive_gap(2), clock="flow", meanings=MEANINGS, assumptions=NONNEGATIVE)
def one_step_second_moment_gap(lr, gradient, hessian, noise_variance, noise_slope, noise_curvature):
    r"""l² times the difference of the mean squared displacements, SVAG minus SDE, in the limit of large l.

    >>> one_step_second_moment_gap(lr=1.0, gradient=0.0, hessian=1.0, noise_variance=3.0, noise_slope=0.0,
    ...                            noise_curvature=0.0)
    3.0
    """
    return lr**2 * (lr * gradient * noise_slope / 2 + lr * noise_variance * hessian
                    - lr**2 * noise_variance * noise_curvature / 4)


@closed_form("SVAG-2", _derive_gap(3), clock="flow", meanings=MEANINGS, assumptions=NONNEGATIVE)
def one_step_third_moment_gap(lr, noise_variance, noise_slope, third_moment):
    r"""l² times the difference of the mean cubed displacements, SVAG minus SDE, in the limit of large l.

    >>> one_step_third_moment_gap(lr=1.0, noise_variance=0.0, noise_slope=0.0, third_moment=2.0)
    -3.0
    """
    return -lr**2 * sympy.Rational(3, 2) * (lr * third_moment + lr**2 * noise_variance * noise_slope)
