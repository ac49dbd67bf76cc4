r"""Stationary densities: the Fokker–Planck equation, probability flux, in space and on the sphere.

.. math:: \partial_t p = -\sum_i \partial_i J_i,\qquad J_i = a_i p - \tfrac12\sum_j\partial_j\big((bb^\top)_{ij}\,p\big)

p is stationary where :math:`\nabla\cdot J = 0`, and in detailed balance where J = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import sympy

from .coefficients import exact, expression
from .derivation import simplified_residual
from .ito import ItoProcess, exact_process
from .on_sphere import on_sphere, relative_flux, stays_on_sphere, vanishes_on_sphere

__all__ = ["StationarityResult", "check_stationary", "probability_flux"]


@dataclass(frozen=True)
class StationarityResult:
    """`residual` = (∇·J)/p and `flux` = J/p, simplified; `stationary`, `detailed_balance`: whether they are exactly 0.

    True as a bool where p is stationary. Integrability of p and what happens at the boundary are not looked at. `on` says where p
    is a density: in the "space" R^d, with respect to dx, or on the unit "sphere", with respect to its surface measure. Of an SDE
    that stays on a surface the equation in space says nothing about densities on that surface.
    """

    residual: sympy.Expr
    flux: sympy.ImmutableMatrix
    on: Literal["space", "sphere"] = "space"

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
        d = len(self.flux)
        where, measure = (f"on S^{d - 1}", "the surface measure") if self.on == "sphere" else (f"in R^{d}", "dx")
        if not self.stationary:
            return f"<not stationary {where}: div J / p = {self.residual} as a density with respect to {measure}>"
        return f"<stationary {where}, {'detailed balance' if self.detailed_balance else 'with a steady current'}>"


def probability_flux(process: ItoProcess, density: sympy.Expr) -> sympy.ImmutableMatrix:
    """The flux J of the density, shape (d, 1)."""
    covariance = process.diffusion * process.diffusion.T
    spread = [sympy.Add(*(sympy.diff(covariance[i, j] * density, y) for j, y in enumerate(process.states)))
              for i in range(len(process.states))]
    return sympy.ImmutableMatrix([a * density - s / 2 for a, s in zip(process.drift, spread, strict=True)])


def check_stationary(process: ItoProcess, density: object, *, on: Literal["space", "sphere"] | None = None) -> StationarityResult:
    """Check that `density`, up to a constant, satisfies ∇·J = 0.

    Parameters
    ----------
    process : ItoProcess
        The SDE.
    density : expression in the states
        p. On the sphere only its values there count.
    on : "space" or "sphere", optional
        Where p is a density. Unless told: on the unit sphere, with respect to the surface measure (see `on_sphere`), where the SDE
        has noise and is shown to stay there; else in R^d, with respect to dx.

    Raises
    ------
    ValueError
        If the density is 0 or depends on time, or if `on` is the sphere, and the SDE is not shown to stay there.

    Examples
    --------
    >>> from sdetheory.sde import SDE
    >>> x, y = sympy.symbols("x y")
    >>> circle = SDE([x, y], [-x / 2, -y / 2], [[-y], [x]])
    >>> check_stationary(circle, 1), check_stationary(circle, sympy.exp(x)).residual
    (<stationary on S^1, detailed balance>, x/2 - y**2/2)
    >>> check_stationary(circle, sympy.exp(-x**2 - y**2), on="space")
    <stationary in R^2, detailed balance>
    """
    if on not in (None, "space", "sphere"):
        raise ValueError(f"on: expected 'space', 'sphere' or None, got {on!r}")
    p, process = exact(expression("density", density)), exact_process(process)
    if p == 0 or process.time in p.free_symbols:
        raise ValueError(f"density: expected a density of the states alone that is not 0, got {p}")
    if on == "sphere" and not stays_on_sphere(process):
        raise ValueError(f"on: expected an SDE that is shown to stay on the unit sphere, x·b_j = 0 and 2 x·a + Tr(b bᵀ) = 0 on "
                         f"|x| = 1, got drift {list(process.drift)} and diffusion {process.diffusion.tolist()}; use on='space'")
    if on == "sphere" or (on is None and not process.diffusion.is_zero_matrix and stays_on_sphere(process)):
        return _check_on_sphere(process, p)
    flux = probability_flux(process, p)
    divergence = sympy.Add(*(sympy.diff(flux[i], x) for i, x in enumerate(process.states)))
    return StationarityResult(simplified_residual(sympy.simplify(divergence / p)),
                              simplified_residual((flux / p).applyfunc(sympy.simplify)))


def _check_on_sphere(process: ItoProcess, p: sympy.Expr) -> StationarityResult:
    states = tuple(process.states)
    if vanishes_on_sphere(p, states):
        raise ValueError(f"density: expected one that is not 0 on the sphere, got {p}")
    flux, divergence = relative_flux(process, p)

    def shown(e: sympy.Expr) -> sympy.Expr:
        """0 where it is shown to vanish on the sphere."""
        return sympy.S.Zero if vanishes_on_sphere(e, states) else on_sphere(e, states)

    return StationarityResult(shown(divergence), flux.applyfunc(shown), "sphere")
