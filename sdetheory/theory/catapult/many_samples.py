r"""Many samples, many inputs: output and NTK after one step, for every width (CAT-6).

.. math:: f(x) = \frac{v^TUx}{\sqrt n}, \quad L = \frac1{2m}\sum_\alpha \tilde f_\alpha^2, \quad \tilde f = f-y, \quad
          \zeta = \frac1m\sum_\alpha\tilde f_\alpha x_\alpha, \quad \Theta(x,x') = \frac{x^Tx'\|v\|^2 + x^TU^TUx'}{n}

U ∈ R^{n×d}. Vectors of R^n appear as v, Ux, Uζ and through their inner products alone, those of R^d through xᵀx', xᵀζ, ζᵀζ: the
formulas hold for every n, d and m. Θ alone is not enough to go on with: the step of Θ asks for ‖v‖² besides, whose own
step closes the system (`kernel_step`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ...validation import finite_array, integer, number
from ..formula import closed_form
from ..inner_products import InnerProducts

LR, N = symbol("lr"), symbol("width")
V, UX, UX2, UZ = sympy.symbols("v Ux Ux' Uzeta", real=True)
READOUT, XX, XZ, X2Z, ZZ = (symbol("sq_readout", nonnegative=True), symbol("x_x2"), symbol("x_zeta"), symbol("x2_zeta"),
                            symbol("sq_zeta", nonnegative=True))
FX, FX2, FZ = symbol("f_x"), symbol("f_x2"), symbol("f_zeta")
KXX, KXZ, KZZ = symbol("kernel"), symbol("kernel_zeta"), symbol("kernel_zeta_zeta")

#: ⟨v, Ux⟩ = √n f(x) and ⟨Ux, Ux'⟩ = nΘ(x,x') − xᵀx'‖v‖²
INNER = InnerProducts({
    (V, V): READOUT, (V, UX): sympy.sqrt(N) * FX, (V, UX2): sympy.sqrt(N) * FX2, (V, UZ): sympy.sqrt(N) * FZ,
    (UX, UX2): N * KXX - XX * READOUT, (UX, UZ): N * KXZ - XZ * READOUT, (UX2, UZ): sympy.Symbol("Ux'_Uzeta", real=True),
    (UZ, UZ): N * KZZ - ZZ * READOUT})

_ASSUMED = {"sq_readout": {"nonnegative": True}, "sq_zeta": {"nonnegative": True}}
MEANINGS = {"residual": "f(x) - y before the step", "kernel": "Theta(x, x')",
            "kernel_zeta": "Theta(x, zeta), the mean over samples of Theta(x, x_b) (f_b - y_b)",
            "kernel_zeta_zeta": "Theta(zeta, zeta)", "sq_readout": "|v|^2", "x_x2": "x . x'",
            "x_zeta": "x . zeta", "x2_zeta": "x' . zeta", "sq_zeta": "|zeta|^2", "f_x": "f(x)", "f_x2": "f(x')",
            "f_zeta": "f(zeta), the mean over samples of (f_b - y_b) f_b"}


def _descent_step(d: Derivation) -> dict[str, sympy.Expr]:
    """Derive one step of gradient descent: v', and U'x, U'x' for inputs x, x' that need not be samples."""
    shift, along_v, along_u = sympy.symbols("epsilon, b, A\\ zeta", real=True)
    d.assume(r"$f(x)=\langle v,Ux\rangle/\sqrt n$, $L=\frac1{2m}\sum_\alpha\tilde f_\alpha^2$, "
             r"$\zeta=\frac1m\sum\tilde f_\alpha x_\alpha$. "
             r"Any width, number of inputs and of samples: inner products, and linearity in $x$.")
    probe = InnerProducts({(V, UZ): sympy.sqrt(N) * FZ, (V, along_u): sympy.Symbol("c1", real=True),
                           (along_v, UZ): sympy.Symbol("c2", real=True), (along_v, along_u): sympy.Symbol("c3", real=True)})
    slope = sympy.diff(probe(V + shift * along_v, UZ + shift * along_u), shift).subs(shift, 0) / sympy.sqrt(N)
    d.step(r"The slope of $L$ along $(A,b)$ is $\frac1m\sum\tilde f_\alpha\,\partial f(x_\alpha)$, linear in $x_\alpha$: "
           r"that of $f$ at $\zeta$.", slope)
    gradient_v, gradient_u = UZ / sympy.sqrt(N), V / sympy.sqrt(N)
    d.residual("the gradient is (vζᵀ, Uζ)/√n", slope - probe(gradient_v, along_v) - probe(gradient_u, along_u))
    step = {"v": V - LR * gradient_v, "Ux": UX - LR * gradient_u * XZ, "Ux'": UX2 - LR * gradient_u * X2Z}
    d.step(r"So $v'=v-\eta U\zeta/\sqrt n$ and $U'x=Ux-\eta\,(x^T\zeta)\,v/\sqrt n$.", sympy.Matrix(list(step.values())))
    return step


def _derive_residual(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The output after one step")
    step = _descent_step(d)
    found = INNER(step["v"], step["Ux"]) / sympy.sqrt(N) - FX + symbol("residual")
    d.step(r"$\tilde f'(x)=\langle v',U'x\rangle/\sqrt n-y$.", found)
    return d.residual("new residual", found - claimed)


@closed_form("CAT-6", _derive_residual, clock="step", meanings=MEANINGS)
def residual_step(residual, kernel_zeta, x_zeta, f_zeta, lr, width):
    r"""f(x) − y after one step of gradient descent, at any input x."""
    return residual - lr * kernel_zeta + lr**2 / width * x_zeta * f_zeta


def _derive_kernel(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The NTK after one step")
    step = _descent_step(d)
    found = (XX * INNER(step["v"], step["v"]) + INNER(step["Ux"], step["Ux'"])) / N
    d.step(r"$\Theta'(x,x')=(x^Tx'\|v'\|^2+\langle U'x,U'x'\rangle)/n$.", sympy.collect(found, LR))
    return d.residual("new kernel", found - claimed)


@closed_form("CAT-6", _derive_kernel, clock="step", assumptions=_ASSUMED, meanings=MEANINGS)
def kernel_element_step(kernel, kernel_zeta_zeta, sq_readout, x_x2, x_zeta, x2_zeta, sq_zeta, f_x, f_x2, f_zeta, lr, width):
    r"""Theta(x, x') after one step of gradient descent, at any two inputs."""
    sq_u_zeta = width * kernel_zeta_zeta - sq_zeta * sq_readout
    return (kernel - lr / width * (2 * x_x2 * f_zeta + f_x * x2_zeta + x_zeta * f_x2)
            + lr**2 / width**2 * (x_x2 * sq_u_zeta + sq_readout * x_zeta * x2_zeta))


def _derive_readout(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The norm of v after one step")
    found = INNER(_descent_step(d)["v"], _descent_step(Derivation("again"))["v"])
    d.step(r"$\|v'\|^2$; with it the step of $\Theta$ and $\tilde f$ closes.", found)
    return d.residual("new squared norm", found - claimed)


@closed_form("CAT-6", _derive_readout, clock="step", assumptions=_ASSUMED, meanings=MEANINGS)
def sq_readout_step(sq_readout, kernel_zeta_zeta, sq_zeta, f_zeta, lr, width):
    r"""|v|² after one step of gradient descent: the one number that the recursion needs besides Theta and the outputs."""
    return sq_readout - 2 * lr * f_zeta + lr**2 / width * (width * kernel_zeta_zeta - sq_zeta * sq_readout)


def _derive_edge(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The lazy/catapult edge of wide nets with many samples")
    top, mode, over = symbol("top_kernel_eigenvalue", positive=True), symbol("a"), symbol("m", positive=True, integer=True)
    new = residual_step.expr.subs({symbol("kernel_zeta"): top / over * mode, symbol("residual"): mode})
    wide = sympy.limit(new, N, sympy.oo)
    d.residual("the step of the residual is CAT-6", residual_step.derivation.residuals["new residual"])
    d.step(r"$n\to\infty$: along an eigenvector of $\Theta$ with eigenvalue $\theta$, $\Theta(x,\zeta)=\theta\tilde f/m$, so "
           r"$\tilde f'$ is", sympy.factor(wide))
    edge = sympy.solve(wide / mode + 1, LR)[0]
    d.step(r"It grows if $\eta\theta/m>2$: first along the top eigenvector.", edge)
    return d.residual("edge", edge.subs(over, symbol("n_samples", positive=True, integer=True)) - claimed)


@closed_form("CAT-6", _derive_edge, assumptions={"top_kernel_eigenvalue": {"positive": True},
                                                 "n_samples": {"positive": True, "integer": True}},
             meanings={"top_kernel_eigenvalue": "largest eigenvalue of the matrix Theta of the samples",
                       "n_samples": "number m of samples"})
def wide_growth_edge_many(top_kernel_eigenvalue, n_samples):
    r"""The learning rate of the lazy/catapult edge with many samples, as the width goes to infinity."""
    return 2 * n_samples / top_kernel_eigenvalue


def kernel_step(residual: Any, kernel: Any, sq_readout: Any, gram: Any, targets: Any, lr: Any,
                width: Any) -> tuple[Any, Any, Any]:
    """One step of (residuals f̃, matrix Θ, ‖v‖²) of all m samples; arrays of numbers, or of SymPy expressions."""
    m = len(residual)
    outputs, mean = residual + targets, residual / m
    overlap, kernel_zeta = gram @ mean, kernel @ mean
    f_zeta, sq_zeta, kernel_zz = mean @ outputs, mean @ overlap, mean @ kernel_zeta
    sq_u_zeta = width * kernel_zz - sq_zeta * sq_readout
    cross = np.multiply.outer(outputs, overlap)
    new_kernel = (kernel - lr / width * (2 * gram * f_zeta + cross + cross.T)
                  + lr**2 / width**2 * (gram * sq_u_zeta + sq_readout * np.multiply.outer(overlap, overlap)))
    new_residual = residual - lr * kernel_zeta + lr**2 / width * overlap * f_zeta
    return new_residual, new_kernel, sq_readout - 2 * lr * f_zeta + lr**2 / width * sq_u_zeta


def kernel_recursion(inputs: Any, targets: Any, residual: Any, kernel: Any, sq_readout: float, *, lr: float, width: int,
                     n_steps: int) -> dict[str, np.ndarray]:
    """Iterate CAT-6: what the two-layer linear net does to its m samples, without its n(d + 1) weights.

    Parameters
    ----------
    inputs : array_like (m, d)
    targets : array_like (m,)
    residual : array_like (m,), f(x_a) − y_a at the start
    kernel : array_like (m, m), Theta at the start
    sq_readout : |v|² at the start
    lr : learning rate > 0
    width : n ≥ 1
    n_steps : number of steps; clock: steps

    Returns
    -------
    dict of `residual` (n_steps + 1, m), `kernel` (n_steps + 1, m, m), `sq_readout` (n_steps + 1,); inf or NaN once it diverges.

    Examples
    --------
    >>> run = kernel_recursion([[1.0]], [0.0], [1.0], [[2.0]], 50.0, lr=1.0, width=100, n_steps=1)
    >>> run["residual"][1], run["kernel"][1]
    (array([-0.99]), array([[1.98]]))
    """
    x = finite_array("inputs", inputs, ndim=2)
    m = len(x)
    y, r = finite_array("targets", targets, shape=(m,)), finite_array("residual", residual, shape=(m,))
    k = finite_array("kernel", kernel, shape=(m, m))
    q, lr, width = number("sq_readout", sq_readout, at_least=0), number("lr", lr, above=0), integer("width", width, at_least=1)
    states = [(r, k, q)]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(integer("n_steps", n_steps, at_least=0)):
            states.append(kernel_step(*states[-1], x @ x.T, y, lr, width))
    return {name: np.array([state[i] for state in states]) for i, name in enumerate(("residual", "kernel", "sq_readout"))}
