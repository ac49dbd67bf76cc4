r"""Itô–Taylor expansion of moments over a short time, for generic loss and noise.

.. math:: dX = -\nabla L(X)dt + (\eta\Sigma(X))^{1/2}dW, \qquad
          \mathbb E\,f(X_h) = f + h\,\mathcal A f + \tfrac{h^2}2\mathcal A^2 f + O(h^3) \text{ at } X_0 = x, \qquad
          \mathcal A f = -\nabla L\cdot\nabla f + \tfrac\eta2\,\Sigma : \nabla^2 f

L and Σ are functions without a formula; they and the derivatives needed are smooth and bounded.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from ...symbolic.notation import symbol

__all__ = ["H", "GenericProblem", "applied_generator", "expansion", "expansion_over_a_step"]

LR = symbol("lr")
H = sympy.Symbol("h", positive=True)


class GenericProblem:
    """A loss L(y) and a covariance Σ(y) on R^d without a formula; x is the start."""

    def __init__(self, dim: int) -> None:
        self.y = sympy.symbols(f"y:{dim}", real=True)
        self.x = sympy.symbols(f"x:{dim}", real=True)
        self.loss = sympy.Function("L")(*self.y)
        self.gradient = sympy.Matrix([self.loss.diff(y) for y in self.y])
        self.covariance = sympy.Matrix(dim, dim, lambda i, j: sympy.Function(
            f"Sigma{min(i, j)}{max(i, j)}" if dim > 1 else "Sigma")(*self.y))

    def at_start(self, expr: sympy.Expr) -> sympy.Expr:
        """The expression at y = x."""
        return sympy.expand(expr.subs(dict(zip(self.y, self.x, strict=True)), simultaneous=True).doit())

    def moved(self, *components: int) -> sympy.Expr:
        """The product of y_i − x_i over these components."""
        return sympy.Mul(*(self.y[i] - self.x[i] for i in components))


def applied_generator(drift: Sequence[sympy.Expr], noise: sympy.Matrix, y: Sequence[sympy.Symbol],
                      f: sympy.Expr) -> sympy.Expr:
    """a·∇f + ½ tr(noise ∇²f), `noise` the covariance per unit of time."""
    first = sum(a * f.diff(z) for a, z in zip(drift, y, strict=True))
    second = sum(noise[i, j] * f.diff(y[i], y[j]) for i in range(len(y)) for j in range(len(y)))
    return sympy.expand((first + second / 2).doit())


def expansion(problem: GenericProblem, f: sympy.Expr, order: int = 2) -> sympy.Expr:
    """E f(X_h) from X_0 = x up to the given order in h."""
    total, term = problem.at_start(f), f
    for n in range(1, order + 1):
        term = applied_generator(list(-problem.gradient), LR * problem.covariance, problem.y, term)
        total += H**n / sympy.factorial(n) * problem.at_start(term)
    return sympy.expand(total)


def expansion_over_a_step(problem: GenericProblem, drift: Sequence[sympy.Expr], f: sympy.Expr) -> sympy.Expr:
    """E f(X_η) up to O(η³) for a drift that may depend on η: in the second-order term η → 0 leaves no noise."""
    noise = sympy.zeros(len(problem.y), len(problem.y))
    first = applied_generator(drift, LR * problem.covariance, problem.y, f)
    leading = [sympy.sympify(a).subs(LR, 0) for a in drift]
    second = applied_generator(leading, noise, problem.y, applied_generator(leading, noise, problem.y, f))
    return sympy.expand(problem.at_start(f) + LR * problem.at_start(first) + LR**2 / 2 * problem.at_start(second))
