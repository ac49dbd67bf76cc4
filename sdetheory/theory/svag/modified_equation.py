r"""The classical theory of small learning rates: a modified loss is of second order (SVAG-11, extension).

.. math:: dX = -\nabla\Bigl(L + \frac\eta4\|\nabla L\|^2\Bigr)dt + (\eta\Sigma)^{1/2}dW

One step of SGD and this SDE over the time η have moments 1 and 2 that agree up to O(η³), and third moments of O(η³): weak
order 2 at a fixed time, where the SDE without the modification has order 1. Source: Q. Li, C. Tai, W. E,
arXiv:1511.06251 and arXiv:1811.01558.
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from .ito_taylor import LR, GenericProblem, expansion_over_a_step
from .linear_gradients import compounded

A, T, X0 = symbol("eigenvalue"), symbol("t"), symbol("w0")
GRADIENT, HESSIAN = symbol("gradient"), symbol("hessian")
LOSS, SQ = symbol("loss", real=True), symbol("sq_grad")
MEANINGS = {"gradient": "L' at the point", "hessian": "L'' at the point", "loss": "L at the point",
            "sq_grad": "|grad L|^2 at the point", "eigenvalue": "curvature a of ½ a x²", "w0": "start"}


def second_order(d: Derivation, problem: GenericProblem, drift: list[sympy.Expr]) -> Derivation:
    """Show that moments 1 and 2 of a step of SGD and of the SDE with this drift agree up to O(η³)."""
    dim, at = len(problem.y), problem.at_start
    d.assume(r"$L$ and $\Sigma$ are smooth with bounded derivatives, and have no formula.")
    gaps = []
    for i in range(dim):
        gaps.append(-LR * at(problem.gradient[i]) - expansion_over_a_step(problem, drift, problem.moved(i)))
        for j in range(i, dim):
            step = LR**2 * at(problem.gradient[i] * problem.gradient[j] + problem.covariance[i, j])
            gaps.append(step - expansion_over_a_step(problem, drift, problem.moved(i, j)))
    # L and Σ are generic in every rotated frame too: the first direction stands for all, and they give the tensor
    third = expansion_over_a_step(problem, drift, problem.moved(0, 0, 0))
    d.step(rf"Dimension {dim}: SGD has mean $-\eta\nabla L$ and second moments $\eta^2(\nabla L\nabla L^T+\Sigma)$; minus "
           r"those of the SDE over the time $\eta$ by Itô–Taylor. The first entry:", sympy.expand(gaps[0]))
    d.residual(f"no terms below eta^3, dimension {dim}",
               sympy.Matrix([[sympy.expand(gap).coeff(LR, k) for k in (0, 1, 2)] for gap in gaps]))
    return d.residual(f"third moments have none, as in SGD, dimension {dim}",
                      sympy.Matrix([sympy.expand(third).coeff(LR, k) for k in (0, 1, 2)]))


def _derive_drift(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The modified drift")
    problem = GenericProblem(1)
    (y,) = problem.y
    drift = claimed.subs({HESSIAN: problem.loss.diff(y, 2), GRADIENT: problem.gradient[0]})
    d.step(r"The drift.", drift)
    return second_order(d, problem, [drift])


@closed_form("SVAG-11", _derive_drift, clock="flow", meanings=MEANINGS)
def modified_drift(lr, gradient, hessian):
    r"""The drift of the modified SDE in one dimension, -(L + (lr/4) L'²)'.

    >>> modified_drift(lr=0.5, gradient=2.0, hessian=4.0)
    -4.0
    """
    return -gradient - lr / 2 * hessian * gradient


def _derive_loss(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The modified loss")
    for dim in (1, 2):
        problem = GenericProblem(dim)
        modified = claimed.subs({LOSS: problem.loss, SQ: problem.gradient.dot(problem.gradient)})
        second_order(d, problem, [-modified.diff(y) for y in problem.y])
    return d


@closed_form("SVAG-11", _derive_loss, clock="flow", meanings=MEANINGS, assumptions={"loss": {"real": True}})
def modified_loss(lr, loss, sq_grad):
    r"""The loss whose gradient is the drift of the SDE of weak order 2; shown for generic L and Σ in d = 1 and 2.

    >>> modified_loss(lr=0.5, loss=1.0, sq_grad=4.0)
    1.5
    """
    return loss + lr / 4 * sq_grad


def _derive_error(modified: bool):
    def derive(claimed: sympy.Expr) -> Derivation:
        d = Derivation("The error of the mean at a fixed time")
        order = 2 if modified else 1
        drift = modified_drift.expr.subs({GRADIENT: A * X0, HESSIAN: A}) if modified else -A * X0
        rate = sympy.expand(drift / X0)
        d.assume(r"$L=\frac12ax^2$, noise of mean 0.")
        d.step(r"The mean of the SDE is $e^{ct}x_0$ with $c$", rate)
        sgd = compounded(1 - LR * A, LR, T, order)
        sde = sympy.exp(rate.coeff(LR, 0) * T) * sympy.series(sympy.exp(rate.coeff(LR, 1) * LR * T), LR, 0,
                                                              order + 1).removeO()
        d.step(r"SGD: $(1-\eta a)^{t/\eta}x_0$, expanded in $\eta$.", sgd)
        gap = sympy.expand((sgd - sde) * X0)
        d.residual("no lower order", sympy.Matrix([sympy.simplify(gap.coeff(LR, k)) for k in range(order)]))
        return d.residual("leading coefficient", sympy.simplify(gap.coeff(LR, order)) - claimed)
    return derive


@closed_form("SVAG-11", _derive_error(False), clock="flow", meanings=MEANINGS)
def first_order_mean_error(t, eigenvalue, w0):
    r"""(E x of SGD minus that of the SDE at time t) / lr for small lr, on ½ a x².

    >>> round(first_order_mean_error(t=1.0, eigenvalue=1.0, w0=2.0), 6)
    -0.367879
    """
    return -eigenvalue**2 * t / 2 * sympy.exp(-eigenvalue * t) * w0


@closed_form("SVAG-11", _derive_error(True), clock="flow", meanings=MEANINGS)
def second_order_mean_error(t, eigenvalue, w0):
    r"""(E x of SGD minus that of the modified SDE at time t) / lr² for small lr, on ½ a x².

    >>> round(second_order_mean_error(t=1.0, eigenvalue=1.0, w0=3.0), 6)
    -0.367879
    """
    return -eigenvalue**3 * t / 3 * sympy.exp(-eigenvalue * t) * w0
