r"""The operators of the Itô–Taylor expansion, and coefficients at the start of a step.

.. math:: L^0 f = \partial_t f + \sum_k a^k\partial_k f + \tfrac12\sum_{k,l}(bb^\top)^{kl}\partial_k\partial_l f,
          \qquad L^j f = \sum_k b^{k}_j\,\partial_k f

Schemes take them column-wise: f is a column of expressions in the SDE's own symbols.
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
    covariance = sde.diffusion * sde.diffusion.T
    total = f.diff(sde.time)
    for k, xk in enumerate(sde.states):
        total += sde.drift[k] * f.diff(xk)
        for i, xi in enumerate(sde.states):
            if covariance[k, i] != 0:
                total += covariance[k, i] * f.diff(xk, xi) / 2
    return total


def Lj(sde: SDE, j: int, f: sympy.Matrix) -> sympy.Matrix:
    """The column L^j f: derivative of each entry along noise column j."""
    total = sympy.zeros(*f.shape)
    for k, xk in enumerate(sde.states):
        total += sde.diffusion[k, j] * f.diff(xk)
    return total


def at(sde: SDE, f: Any, x: Any, t: Any) -> sympy.Matrix:
    """The column (or matrix) f with the state x and the time t put in."""
    here = {**dict(zip(sde.states, x, strict=True)), sde.time: t}
    return sympy.Matrix(f).subs(here, simultaneous=True)
