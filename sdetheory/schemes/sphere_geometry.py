r"""What the schemes on :math:`S^{d-1}` share: which SDEs live there, and the tangent increment.

An SDE on the sphere is given in ambient coordinates, in Itô form, **with its Itô correction in the drift**:

.. math:: dX = a\,dt + b\,dW,\quad |X| = 1 \iff b^\top x = 0,\ \ 2\,x\cdot a + \operatorname{Tr} bb^\top = 0
          \ \text{ on } |x| = 1.

So the radial part of the drift is the correction :math:`-\tfrac12\operatorname{Tr}(bb^\top)\,x` and nothing else: for
isotropic tangent noise b = s P_x it is :math:`-\tfrac{d-1}2 s^2x`. The step takes the tangent increment

.. math:: v = P_x(a\,h + b\,\Delta W), \qquad P_x = 1 - xx^\top/|x|^2,

which drops that part, and the way back to the sphere restores it: both maps are
:math:`x + v - \tfrac12|v|^2x + O(|v|^3)`, of mean
:math:`x + P_xa\,h - \tfrac12\operatorname{Tr}(bb^\top)\,x\,h = x + a\,h` up to h².
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sympy

from sdetheory.schemes.ito_taylor import at

if TYPE_CHECKING:
    from sdetheory.sde import SDE

__all__ = ["radial_residuals", "tangent_increment", "vanishes_on_sphere"]


def tangent_increment(sde: SDE, x: Any, t: Any, dt: Any, dW: Any) -> sympy.Matrix:
    """Column v = P_x(a dt + b dW), shape (d, 1); P_x divides by |x|², so that a rounding error of |x| doesn't grow."""
    point = sympy.Matrix(x)
    ambient = at(sde, sde.drift * dt + sde.diffusion * sympy.Matrix(sde.noise_dim, 1, dW), x, t)
    return ambient - point * (point.dot(ambient) / point.dot(point))


def radial_residuals(sde: SDE) -> tuple[sympy.Expr, list[sympy.Expr]]:
    """Drift and noise coefficients of d|X|²: 2 x·a + Tr bbᵀ and all 2 x·b_j; 0 on |x| = 1 for an SDE there."""
    x = sympy.Matrix(sde.states)
    drift = 2 * x.dot(sde.drift) + (sde.diffusion * sde.diffusion.T).trace()
    return drift, [2 * x.dot(sde.diffusion[:, j]) for j in range(sde.noise_dim)]


def vanishes_on_sphere(expression: sympy.Expr, states: tuple[sympy.Symbol, ...]) -> bool:
    r"""Whether an expression is shown to vanish on |x| = 1.

    First modulo the ideal of :math:`|x|^2 - 1`, with functions and roots as free generators; then on the stereographic
    chart :math:`x = (2u, |u|^2 - 1)/(|u|^2 + 1)`, whose image is dense.
    """
    names: dict[sympy.Expr, sympy.Dummy] = {}

    def generator(function: sympy.Expr) -> sympy.Expr:
        on_sphere = function.func(*(_modulo_sphere(argument, states) for argument in function.args))
        return names.setdefault(on_sphere, sympy.Dummy()) if on_sphere.free_symbols & {*states} else on_sphere

    rational = sympy.sympify(expression).replace(_is_no_rational_operation, generator)
    if sympy.expand(_modulo_sphere(sympy.numer(sympy.together(rational)), states)) == 0:
        return True
    if len(states) == 1:
        return all(sympy.simplify(expression.subs(states[0], end)) == 0 for end in (-1, 1))
    u = [sympy.Dummy(f"u{i}", real=True) for i in range(len(states) - 1)]
    square = sum(c**2 for c in u)
    chart = dict(zip(states, [*(2 * c / (square + 1) for c in u), (square - 1) / (square + 1)], strict=True))
    return bool(sympy.simplify(expression.subs(chart, simultaneous=True)) == 0)


def _is_no_rational_operation(e: sympy.Expr) -> bool:
    return bool(e.is_Function or (e.is_Pow and not e.exp.is_Integer))


def _modulo_sphere(e: sympy.Expr, states: tuple[sympy.Symbol, ...]) -> sympy.Expr:
    """Remainder of a polynomial in the states modulo |x|² − 1; anything else is left as it is."""
    if not e.is_polynomial(*states) or not e.free_symbols & {*states}:
        return e
    return sympy.reduced(e, [sum(x**2 for x in states) - 1], *states)[1]
