r"""Itô–Taylor coefficients of a step: columns :math:`a,\ b_j,\ L^0a,\ L^ja,\ L^0b_j,\ L^{j_1}b_{j_2}` of expressions.

L⁰ and L^j are the SDE's own (`symbolic.ito`), applied to each entry; `at` puts the start of the step into the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sympy

if TYPE_CHECKING:
    from sdetheory.sde import SDE

__all__ = ["L0", "Lj", "at", "columns"]


def columns(sde: SDE) -> list[sympy.Matrix]:
    """The noise columns b_j, each of shape (d, 1)."""
    return [sympy.Matrix(sde.diffusion[:, j]) for j in range(sde.noise_dim)]


def L0(sde: SDE, f: sympy.Matrix) -> sympy.Matrix:
    """The column L⁰ f: generator with the time derivative, applied to each entry."""
    return f.applyfunc(sde.L0)


def Lj(sde: SDE, j: int, f: sympy.Matrix) -> sympy.Matrix:
    """The column L^j f: derivative of each entry along noise column j."""
    return f.applyfunc(lambda entry: sde.L(j, entry))


def at(sde: SDE, f: Any, x: Any, t: Any) -> sympy.Matrix:
    """The column (or matrix) f with the state x and the time t put in."""
    here = {**dict(zip(sde.states, x, strict=True)), sde.time: t}
    return sympy.Matrix(f).subs(here, simultaneous=True)
