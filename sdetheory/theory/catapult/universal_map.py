r"""The universal map of the uv model, its invariants, and chaos on the edge (CAT-2).

.. math:: X = \eta\lambda, \quad Y = \eta^2f^2/n: \qquad X' = X + Y(X-4), \quad Y' = Y(1-X+Y)^2

Width and learning rate enter only through the start. Derived from the recursion of two numbers, for every width.
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from .two_numbers import (
    BALANCE,
    CURVATURE,
    INNER,
    LR,
    NORMS,
    F,
    N,
    U,
    V,
    curvature_step,
    descent_step,
    in_norms,
    output_step,
)
from .two_numbers import MEANINGS as NORM_MEANINGS

X, Y = symbol("X", nonnegative=True), symbol("Y", nonnegative=True)
XY = {"X": {"nonnegative": True}, "Y": {"nonnegative": True}}
MEANINGS = {"X": "lr * curvature", "Y": "lr^2 f^2 / width"}


def scaled(expr: sympy.Expr) -> sympy.Expr:
    """Write an expression in λ and f by X and Y; what is odd in f must not be left."""
    return sympy.expand(sympy.expand(expr).subs(F, sympy.sqrt(Y * N) / LR).subs(CURVATURE, X / LR))


def universal_map(d: Derivation) -> tuple[sympy.Expr, sympy.Expr]:
    """Derive (X', Y') from the recursion of (f, λ); it goes into `d`."""
    u, v = descent_step(d)
    f, curvature = INNER(u, v) / sympy.sqrt(N), (INNER(u, u) + INNER(v, v)) / N
    d.residual("the step of f is CAT-1", f - output_step.expr)
    d.residual("the step of the curvature is CAT-1", curvature - curvature_step.expr)
    x, y = scaled(LR * curvature), scaled(LR**2 * f**2 / N)
    d.step(r"$X=\eta\lambda$ and $Y=\eta^2f^2/n$ after the step: neither $\eta$ nor $n$ is left.",
           sympy.Matrix([sympy.factor(x), sympy.factor(y)]))
    return x, y


def _derive_x(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The universal map: curvature")
    return d.residual("X'", universal_map(d)[0] - claimed)


@closed_form("CAT-2", _derive_x, clock="step", assumptions=XY, meanings=MEANINGS)
def scaled_curvature_step(X, Y):
    r"""lr·curvature after one step: it never rises while it is below 4.

    >>> scaled_curvature_step(X=3.0, Y=0.5)
    2.5
    """
    return X + Y * (X - 4)


def _derive_y(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The universal map: loss")
    return d.residual("Y'", universal_map(d)[1] - claimed)


@closed_form("CAT-2", _derive_y, clock="step", assumptions=XY, meanings=MEANINGS)
def scaled_sq_output_step(X, Y):
    r"""lr²f²/width after one step; the loss is width/(2 lr²) times it.

    >>> scaled_sq_output_step(X=3.0, Y=0.5)
    1.125
    """
    return Y * (1 - X + Y) ** 2


def _derive_distance(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The distance to the edge X = 4")
    x, _ = universal_map(d)
    d.step("The line X = 4 is mapped into itself.", sympy.expand(x.subs(X, 4)))
    return d.residual("4 - X'", 4 - x - claimed)


@closed_form("CAT-2", _derive_distance, clock="step", assumptions=XY, meanings=MEANINGS)
def distance_to_edge_step(X, Y):
    r"""4 − lr·curvature after one step: it keeps its sign and never comes nearer to 0."""
    return (4 - X) * (1 + Y)


def _derive_discriminant(claimed: sympy.Expr) -> Derivation:
    d = Derivation("What is left of X² - 4Y")
    x, y = universal_map(d)
    return d.residual("X'² - 4Y'", sympy.factor(x**2 - 4 * y) - claimed)


@closed_form("CAT-2", _derive_discriminant, clock="step", assumptions=XY, meanings=MEANINGS)
def discriminant_step(X, Y):
    r"""X² − 4Y after one step: it keeps its sign."""
    return (1 - Y) ** 2 * (X**2 - 4 * Y)


def _derive_norms(claimed: sympy.Expr) -> Derivation:
    d = Derivation("X² ≥ 4Y")
    d.assume(r"$X=\eta\lambda$, $Y=\eta^2f^2/n$. Any width.")
    d.step(r"By the norms of $u+v$ and $u-v$, $\lambda$ and $f$ are", sympy.Matrix([in_norms(CURVATURE), in_norms(F)]))
    d.residual("f", in_norms(F - (INNER(U + V, U + V) - INNER(U - V, U - V)) / (4 * sympy.sqrt(N))))
    found = in_norms((LR * CURVATURE) ** 2 - 4 * LR**2 * F**2 / N)
    d.step(r"$X^2-4Y$ is a product of two squared norms, so it is not negative.", sympy.factor(found))
    return d.residual("X² - 4Y", found - claimed)


@closed_form("CAT-2", _derive_norms, assumptions=NORMS, meanings=NORM_MEANINGS)
def discriminant_of_norms(sq_sum, sq_difference, lr, width):
    r"""X² − 4Y as a product of squared norms: it is ≥ 0 for all weights."""
    return lr**2 * sq_sum * sq_difference / width**2


def _derive_balance(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The balance of the two layers")
    u, v = descent_step(d)
    balance = (INNER(U, U) - INNER(V, V)) / N
    d.residual("the balance before the step", balance - BALANCE)
    found = scaled((INNER(u, u) - INNER(v, v)) / N / BALANCE)
    d.step(r"$(\|u'\|^2-\|v'\|^2)/(\|u\|^2-\|v\|^2)$.", found)
    return d.residual("factor", found - claimed)


@closed_form("CAT-2", _derive_balance, clock="step", assumptions={"Y": {"nonnegative": True}}, meanings=MEANINGS)
def balance_factor(Y):
    r"""The factor by which one step multiplies (|u|² − |v|²)/width; under gradient flow it is 1."""
    return 1 - Y


def _derive_edge(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The map on the edge X = 4")
    x, y = universal_map(d)
    d.residual("the edge is invariant", x.subs(X, 4) - 4)
    d.step(r"There $X^2\ge4Y$ says $Y\le4$.", sympy.factor(y.subs(X, 4)))
    return d.residual("Y'", y.subs(X, 4) - claimed)


@closed_form("CAT-2", _derive_edge, clock="step", assumptions={"Y": {"nonnegative": True}}, meanings=MEANINGS,
             needs=lambda Y: [Y <= 4])
def edge_step(Y):
    r"""lr²f²/width after one step where lr·curvature is 4."""
    return Y * (Y - 3) ** 2


PHI = symbol("phi")


def _derive_angle(claimed: sympy.Expr) -> Derivation:
    d = Derivation("Tripling of the angle")
    _, y = universal_map(d)
    new = y.subs(X, 4).subs(Y, 4 * sympy.cos(PHI) ** 2)
    d.step(r"$Y=4\cos^2\varphi$ on the edge.", sympy.factor(new))
    return d.residual("4 cos² of the new angle", sympy.expand(new) - sympy.expand(
        sympy.expand_trig(4 * sympy.cos(claimed) ** 2)))


@closed_form("CAT-2", _derive_angle, clock="step", meanings={"phi": "angle: Y = 4 cos²φ where X = 4"})
def edge_angle_step(phi):
    r"""The angle after one step on the edge."""
    return 3 * phi


def _derive_lyapunov(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The Lyapunov exponent on the edge")
    _, y = universal_map(d)
    mode = sympy.Symbol("k", integer=True, positive=True)
    place = 4 * sympy.cos(PHI) ** 2
    slope = sympy.diff(y.subs(X, 4), Y)
    d.step(r"The slope of the map.", sympy.factor(slope))
    lifted = sympy.diff(place, PHI)
    d.step(r"Chain rule for $T(h(\varphi))=h(3\varphi)$, $h=4\cos^2\varphi$: "
           r"$\ln|T'(h(\varphi))|=\ln3+\ln|h'(3\varphi)|-\ln|h'(\varphi)|$.", lifted)
    chain = slope.subs(Y, place) * lifted - sympy.exp(claimed) * lifted.subs(PHI, 3 * PHI)
    d.residual("the chain rule, with the factor exp(exponent)", sympy.expand(sympy.expand_trig(chain)).subs(
        sympy.sin(PHI) ** 2, 1 - sympy.cos(PHI) ** 2))
    wave = sympy.integrate(sympy.exp(2 * sympy.I * mode * 3 * PHI), (PHI, 0, sympy.pi))
    d.residual("the uniform law of the angle is invariant: mean of every mode after a step", sympy.simplify(wave))
    return d.step(r"$\ln|h'|$ has only logarithmic singularities, so it is integrable; the two last terms have the same mean "
                  r"and drop out (Birkhoff), and what is left is the exponent.", claimed)


@closed_form("CAT-2", _derive_lyapunov, clock="step")
def edge_lyapunov_exponent():
    r"""The mean rate at which neighbouring starts on the edge X = 4 part, for almost every start.

    >>> round(edge_lyapunov_exponent(), 6)
    1.098612
    """
    return sympy.log(3)
