r"""Stationary densities: the Fokker–Planck equation, probability flux, and the 1-D speed measure.

.. math:: \partial_t p = -\sum_i \partial_i J_i,\qquad J_i = a_i p - \tfrac12\sum_j\partial_j\big((bb^\top)_{ij}\,p\big)

p is stationary where :math:`\nabla\cdot J = 0`, and in detailed balance where J = 0. In one dimension J = 0 is
solved by the speed density :math:`m(x) = \tfrac{2}{b^2}\exp\int^x 2a/b^2`, up to a constant.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from .coefficients import exact, expression
from .derivation import simplified_residual
from .ito import ItoProcess, exact_process

__all__ = ["StationarityResult", "check_stationary", "probability_flux", "scale_density", "speed_density"]


@dataclass(frozen=True)
class StationarityResult:
    """`residual` = (∇·J)/p and `flux` = J/p, simplified; `stationary`, `detailed_balance`: whether they are exactly 0.

    True as a bool where p is stationary. Integrability of p and what happens at the boundary are not looked at. The equation
    is that of a density with respect to dx in all of R^d: of an SDE that stays on a sphere or another surface it says nothing
    about densities on that surface.
    """

    residual: sympy.Expr
    flux: sympy.ImmutableMatrix

    @property
    def stationary(self) -> bool:
        """Whether ∇·J = 0 is shown."""
        return bool(self.residual == 0)

    @property
    def detailed_balance(self) -> bool:
        """Whether J = 0 is shown."""
        return all(e == 0 for e in self.flux)

    def __bool__(self) -> bool:
        return self.stationary

    def __repr__(self) -> str:
        if not self.stationary:
            return f"<not stationary in R^{len(self.flux)}: div J / p = {self.residual} as a density with respect to dx>"
        return f"<stationary in R^{len(self.flux)}, {'detailed balance' if self.detailed_balance else 'with a steady current'}>"


def probability_flux(process: ItoProcess, density: sympy.Expr) -> sympy.ImmutableMatrix:
    """The flux J of the density, shape (d, 1)."""
    covariance = process.diffusion * process.diffusion.T
    spread = [sympy.Add(*(sympy.diff(covariance[i, j] * density, y) for j, y in enumerate(process.states)))
              for i in range(len(process.states))]
    return sympy.ImmutableMatrix([a * density - s / 2 for a, s in zip(process.drift, spread, strict=True)])


def check_stationary(process: ItoProcess, density: object) -> StationarityResult:
    """Check that `density`, up to a constant, satisfies ∇·J = 0.

    Raises
    ------
    ValueError
        If the density is 0 or depends on time.
    """
    p, process = exact(expression("density", density)), exact_process(process)
    if p == 0 or process.time in p.free_symbols:
        raise ValueError(f"density: expected a density of the states alone that is not 0, got {p}")
    flux = probability_flux(process, p)
    divergence = sympy.Add(*(sympy.diff(flux[i], x) for i, x in enumerate(process.states)))
    return StationarityResult(simplified_residual(sympy.simplify(divergence / p)),
                              simplified_residual((flux / p).applyfunc(sympy.simplify)))


def _one_dimensional(process: ItoProcess) -> tuple[sympy.Symbol, sympy.Expr, sympy.Expr]:
    if len(process.states) != 1:
        raise ValueError(f"sde: expected one state (scale and speed are one-dimensional), got {process.states}")
    process = exact_process(process)
    return process.states[0], process.drift[0], (process.diffusion * process.diffusion.T)[0]


def scale_density(process: ItoProcess) -> sympy.Expr:
    r"""The density of the scale function, exp(-∫ 2a/b²), up to a constant; its integral is the scale function."""
    x, a, variance = _one_dimensional(process)
    return sympy.simplify(sympy.exp(-sympy.integrate(sympy.expand(sympy.simplify(2 * a / variance)), x)))


def speed_density(process: ItoProcess) -> sympy.Expr:
    r"""The speed density 2/(b² s); where it can be normalised, the stationary density of a recurrent process."""
    _, _, variance = _one_dimensional(process)
    return sympy.simplify(2 / (variance * scale_density(process)))
