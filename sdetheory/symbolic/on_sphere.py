r"""SDEs that stay on the unit sphere :math:`S^{d-1}`, and their stationary densities with respect to its surface measure.

.. math:: dX = a\,dt + b\,dW,\quad |X| = 1 \iff b^\top x = 0,\ \ 2\,x\cdot a + \operatorname{Tr} bb^\top = 0 \ \text{ on } |x| = 1.

Then the columns b_j and :math:`a^\circ = a - \tfrac12\sum_j (Db_j)\,b_j`, the Stratonovich drift, are tangent, and for any extension
of f off the sphere :math:`Lf = a^\circ\cdot\nabla f + \tfrac12\sum_j b_j\cdot\nabla(b_j\cdot\nabla f)`. With the divergence of a
tangent field V on the sphere, :math:`\operatorname{div} V = \operatorname{Tr}(P\,DV)`, P = 1 − xxᵀ, and the flux J of a density p,

.. math:: J = p\,a^\circ - \tfrac12\sum_j b_j\operatorname{div}(p\,b_j), \qquad
          p\,Lf + f\operatorname{div}J = \operatorname{div}\big(\tfrac12\,p\,bb^\top\nabla f + fJ\big).

The integral of the right-hand side over the sphere is 0 (the field is tangent, and the sphere has no edge), so
:math:`\int Lf\,p\,d\sigma = -\int f\operatorname{div}J\,d\sigma`: p is stationary where div J = 0, and in detailed balance where
J = 0. All of it depends on what a, b and p are on the sphere alone.
"""

from __future__ import annotations

import sympy

from .ito import ItoProcess

__all__ = ["on_sphere", "radial_residuals", "relative_flux", "stays_on_sphere", "surface_divergence", "vanishes_on_sphere"]


def radial_residuals(process: ItoProcess) -> tuple[sympy.Expr, list[sympy.Expr]]:
    """Drift and noise coefficients of d|X|²: 2 x·a + Tr bbᵀ and all 2 x·b_j; 0 on |x| = 1 for an SDE there."""
    x = sympy.Matrix(process.states)
    drift = 2 * x.dot(process.drift) + (process.diffusion * process.diffusion.T).trace()
    return drift, [2 * x.dot(process.diffusion[:, j]) for j in range(process.diffusion.shape[1])]


def vanishes_on_sphere(expression: sympy.Expr, states: tuple[sympy.Symbol, ...]) -> bool:
    r"""Whether an expression is shown to vanish on |x| = 1.

    First modulo the ideal of :math:`|x|^2 - 1`, with functions and roots as free generators; then on the stereographic
    chart :math:`x = (2u, |u|^2 - 1)/(|u|^2 + 1)`, whose image is dense.
    """
    names: dict[sympy.Expr, sympy.Dummy] = {}

    def generator(function: sympy.Expr) -> sympy.Expr:
        there = function.func(*(on_sphere(argument, states) for argument in function.args))
        return names.setdefault(there, sympy.Dummy()) if there.free_symbols & {*states} else there

    rational = sympy.sympify(expression).replace(_is_no_rational_operation, generator)
    if sympy.expand(on_sphere(sympy.numer(sympy.together(rational)), states)) == 0:
        return True
    if len(states) == 1:
        return all(sympy.simplify(expression.subs(states[0], end)) == 0 for end in (-1, 1))
    if _is_something(expression, states):  # numbers serve to say no
        return False
    u = [sympy.Dummy(f"u{i}", real=True) for i in range(len(states) - 1)]
    square = sum(c**2 for c in u)
    chart = dict(zip(states, [*(2 * c / (square + 1) for c in u), (square - 1) / (square + 1)], strict=True))
    return bool(sympy.simplify(expression.subs(chart, simultaneous=True)) == 0)


def _is_something(expression: sympy.Expr, states: tuple[sympy.Symbol, ...]) -> bool:
    """Whether it has a number that is clearly not 0 at a point of the sphere, parameters being numbers between 1/2 and 1."""
    norm = sympy.sqrt(sum(k**2 for k in range(2, len(states) + 2)))
    at = {x: (-1) ** k * k / norm for k, x in enumerate(states, start=2)}
    others = sorted(expression.free_symbols - {*states}, key=str)
    at |= {s: 1 - sympy.Rational(k + 1, 2 * len(others) + 3) for k, s in enumerate(others)}
    value = expression.subs(at, simultaneous=True).evalf(20)
    return bool(value.is_number and value.is_finite and abs(value) > 1e-9)


def _is_no_rational_operation(e: sympy.Expr) -> bool:
    return bool(e.is_Function or (e.is_Pow and not e.exp.is_Integer))


def on_sphere(e: sympy.Expr, states: tuple[sympy.Symbol, ...]) -> sympy.Expr:
    """Remainder of a polynomial in the states modulo |x|² − 1; anything else is left as it is."""
    if not e.is_polynomial(*states) or not e.free_symbols & {*states}:
        return e
    return sympy.reduced(e, [sum(x**2 for x in states) - 1], *states)[1]


def stays_on_sphere(process: ItoProcess) -> bool:
    """Whether an SDE of d ≥ 2 states is shown to stay on the unit sphere, once it is there.

    >>> from sdetheory.sde import SDE
    >>> x, y = sympy.symbols("x y")
    >>> stays_on_sphere(SDE([x, y], [-x / 2, -y / 2], [[-y], [x]])), stays_on_sphere(SDE([x, y], [-x, -y], [[-y], [x]]))
    (True, False)
    """
    drift, noise = radial_residuals(process)
    return len(process.states) > 1 and all(vanishes_on_sphere(e, tuple(process.states)) for e in (*noise, drift))


def surface_divergence(field: sympy.MatrixBase, states: tuple[sympy.Symbol, ...]) -> sympy.Expr:
    """Tr(P DV) of a field V (d, 1) that is tangent on the unit sphere: its divergence there."""
    x = sympy.Matrix(states)
    jacobian = sympy.Matrix(field).jacobian(x)
    return jacobian.trace() - (x.T * jacobian * x)[0]


def relative_flux(process: ItoProcess, density: sympy.Expr) -> tuple[sympy.ImmutableMatrix, sympy.Expr]:
    """The flux J/p (d, 1) of a density p with respect to the surface measure, and div J / p, of an SDE that stays on the sphere.

    In units of p: div(p V) = p (div V + V·∇ log p), where an exponential density leaves polynomials.
    """
    states = tuple(process.states)
    slope = sympy.Matrix([sympy.diff(density, x) / density for x in states]).applyfunc(sympy.expand)
    flux = sympy.Matrix(process.drift)
    for j in range(process.diffusion.shape[1]):
        b = process.diffusion[:, j]
        flux -= (b.jacobian(states) * b + b * sympy.expand(surface_divergence(b, states) + b.dot(slope))) / 2
    flux = flux.applyfunc(lambda e: on_sphere(sympy.expand(e), states))
    return sympy.ImmutableMatrix(flux), sympy.expand(surface_divergence(flux, states) + flux.dot(slope))
