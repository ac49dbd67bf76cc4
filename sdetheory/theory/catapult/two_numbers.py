r"""The uv model under gradient descent is a map of two numbers (CAT-1).

.. math:: f = \frac{v^Tu}{\sqrt n}, \quad L = \frac{f^2}{2}, \quad \lambda = \frac{\|u\|^2+\|v\|^2}{n}, \qquad
          u' = u - \frac{\eta}{\sqrt n}fv, \quad v' = v - \frac{\eta}{\sqrt n}fu, \quad u, v \in \mathbb R^n.

Only ⟨u,u⟩, ⟨v,v⟩ and ⟨u,v⟩ appear: the derivations are inner-product algebra and hold for every width n.
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from ..inner_products import InnerProducts

LR, N, F = symbol("lr"), symbol("width"), symbol("f")
CURVATURE = symbol("curvature", positive=True)
BALANCE = symbol("balance")
SQ_SUM, SQ_DIFFERENCE = symbol("sq_sum", nonnegative=True), symbol("sq_difference", nonnegative=True)
U, V, A, B = sympy.symbols("u v a b", real=True)

#: ⟨u,u⟩ + ⟨v,v⟩ = nλ, ⟨u,u⟩ − ⟨v,v⟩ = nΔ, ⟨u,v⟩ = √n f: with directions a, b that are left as they are
INNER = InnerProducts({
    (U, U): N * (CURVATURE + BALANCE) / 2, (V, V): N * (CURVATURE - BALANCE) / 2, (U, V): sympy.sqrt(N) * F,
    **{(p, q): sympy.Symbol(f"{p}_{q}", real=True) for p in (A, B) for q in (U, V)},
    (A, B): sympy.Symbol("a_b", real=True), (A, A): sympy.Symbol("a_a", positive=True),
    (B, B): sympy.Symbol("b_b", positive=True)})

CURVED = {"curvature": {"positive": True}}
NORMS = {"sq_sum": {"nonnegative": True}, "sq_difference": {"nonnegative": True}}
MEANINGS = {"f": "output of the net before the step", "curvature": "NTK (|u|^2 + |v|^2)/n before the step",
            "sq_sum": "|u + v|^2", "sq_difference": "|u - v|^2"}


def loss_along(shift: sympy.Expr) -> sympy.Expr:
    """The loss at (u + shift·a, v + shift·b)."""
    return INNER(U + shift * A, V + shift * B) ** 2 / N / 2


def descent_step(d: Derivation) -> tuple[sympy.Expr, sympy.Expr]:
    """Derive one step of gradient descent from the loss; it goes into `d`; return (u', v')."""
    shift = sympy.Symbol("epsilon", real=True)
    d.assume(r"$f=\langle u,v\rangle/\sqrt n$, $L=f^2/2$, $\lambda=(\|u\|^2+\|v\|^2)/n$. Any width: algebra of inner products.")
    slope = sympy.expand(sympy.diff(loss_along(shift), shift).subs(shift, 0))
    d.step(r"The slope of $L$ along $(a,b)$.", slope)
    gradient = F / sympy.sqrt(N) * V, F / sympy.sqrt(N) * U
    d.residual("it is the product with the gradient", slope - INNER(gradient[0], A) - INNER(gradient[1], B))
    new = U - LR * gradient[0], V - LR * gradient[1]
    d.step(r"So gradient descent takes $(u,v)$ to", sympy.Matrix(new))
    return new


def _derive_output(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The output after one step")
    u, v = descent_step(d)
    found = INNER(u, v) / sympy.sqrt(N)
    d.step(r"$f'=\langle u',v'\rangle/\sqrt n$; the norms enter through their sum $n\lambda$ alone.", sympy.factor(found))
    return d.residual("new output", found - claimed)


@closed_form("CAT-1", _derive_output, clock="step", assumptions=CURVED, meanings=MEANINGS)
def output_step(f, curvature, lr, width):
    r"""The output after one step of gradient descent on one sample.

    >>> output_step(f=1.0, curvature=2.0, lr=1.0, width=100)
    -0.99
    """
    return (1 - lr * curvature + lr**2 * f**2 / width) * f


def _derive_curvature(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The curvature after one step")
    u, v = descent_step(d)
    found = (INNER(u, u) + INNER(v, v)) / N
    d.step(r"$\lambda'=(\|u'\|^2+\|v'\|^2)/n$.", sympy.expand(found))
    return d.residual("new curvature", found - claimed)


@closed_form("CAT-1", _derive_curvature, clock="step", assumptions=CURVED, meanings=MEANINGS)
def curvature_step(f, curvature, lr, width):
    r"""The curvature (NTK) after one step of gradient descent on one sample.

    >>> curvature_step(f=10.0, curvature=2.0, lr=1.0, width=100)
    0.0
    """
    return curvature + lr * f**2 / width * (lr * curvature - 4)


def in_norms(expr: sympy.Expr) -> sympy.Expr:
    """Write f and λ by ‖u + v‖² and ‖u − v‖²: 4⟨u,v⟩ is their difference, 2nλ their sum."""
    return expr.subs({F: (SQ_SUM - SQ_DIFFERENCE) / (4 * sympy.sqrt(N)), CURVATURE: (SQ_SUM + SQ_DIFFERENCE) / (2 * N)},
                     simultaneous=True)


def _derive_norm(sign: int, name: str):
    def derive(claimed: sympy.Expr) -> Derivation:
        d = Derivation(f"The squared norm of the {name} of u and v")
        u, v = descent_step(d)
        d.residual("f in these norms",
                   in_norms(F) - in_norms((INNER(U + V, U + V) - INNER(U - V, U - V)) / (4 * sympy.sqrt(N))))
        d.residual("the curvature in these norms",
                   in_norms(CURVATURE) - in_norms((INNER(U + V, U + V) + INNER(U - V, U - V)) / (2 * N)))
        factor = 1 - sign * LR * F / sympy.sqrt(N)
        d.step(rf"$u'{'+' if sign > 0 else '-'}v'$ keeps its direction and is multiplied by", factor)
        d.residual("it keeps its direction", sympy.expand(u + sign * v - factor * (U + sign * V)))
        d.step(r"With $f=(\|u+v\|^2-\|u-v\|^2)/(4\sqrt n)$ the two norms close.", in_norms(factor))
        return d.residual("new squared norm", in_norms(INNER(u + sign * v, u + sign * v)) - claimed)
    return derive


@closed_form("CAT-1", _derive_norm(1, "sum"), clock="step", assumptions=NORMS, meanings=MEANINGS)
def sq_sum_step(sq_sum, sq_difference, lr, width):
    r"""|u + v|² after one step; u + v only changes its length, so two products bring back the full weights."""
    return (1 - lr * (sq_sum - sq_difference) / (4 * width)) ** 2 * sq_sum


@closed_form("CAT-1", _derive_norm(-1, "difference"), clock="step", assumptions=NORMS, meanings=MEANINGS)
def sq_difference_step(sq_sum, sq_difference, lr, width):
    r"""|u − v|² after one step; u − v only changes its length."""
    return (1 + lr * (sq_sum - sq_difference) / (4 * width)) ** 2 * sq_difference
