"""Stationary densities on the sphere: with respect to the surface measure, by the adjoint of the tangent generator."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

import sdetheory as sdt
from sdetheory.symbolic import generator
from sdetheory.symbolic.on_sphere import relative_flux, surface_divergence, vanishes_on_sphere

C, SIGMA = sp.symbols("c sigma", positive=True)


def states(d):
    return sp.Matrix(sp.symbols(f"u:{d}", real=True))


def potentials(x):
    return {"height": C * x[-1], "quadratic": C * x[0] ** 2 + x[0] * x[1], "exponential": sp.exp(x[0]) / 2}


def langevin(x, potential):
    """Brownian motion on the sphere, and the tangent gradient of −V."""
    d, projector = len(x), sp.eye(len(x)) - x * x.T
    slope = sp.Matrix([sp.diff(potential, s) for s in x])
    return sdt.SDE(list(x), list(-sp.Rational(d - 1, 2) * x - projector * slope), projector.tolist())


@pytest.mark.parametrize("d", [2, 3, 4])
def test_brownian_motion_on_the_sphere_rests_in_the_constant_density_alone(d):
    process = sdt.processes.SphereBrownianMotion(d, noise=SIGMA)
    x = process.states
    found = process.is_stationary(1)
    assert found.stationary and found.detailed_balance and found.on == "sphere"
    assert process.is_stationary(sp.exp(-sum(s**2 for s in x)))  # constant on the sphere
    assert not process.is_stationary(sp.exp(x[0]))
    assert not process.is_stationary(1 + x[0] * x[1] / 2)
    assert not process.is_stationary(1, on="space")  # another equation, of a process in R^d


@pytest.mark.parametrize("name", potentials(states(3)))
@pytest.mark.parametrize("d", [2, 3])
def test_a_gradient_drift_rests_in_exp_of_minus_two_v_and_in_no_other_power(d, name):
    x = states(d)
    potential = potentials(x)[name]
    process = langevin(x, potential)
    found = process.is_stationary(sp.exp(-2 * potential))
    assert found.stationary and found.detailed_balance
    assert not process.is_stationary(sp.exp(-potential))
    assert not process.is_stationary(sp.exp(2 * potential))


def test_a_rotation_keeps_the_density_and_carries_a_current():
    x = states(3)
    turning = sdt.processes.SphereBrownianMotion(3, states=list(x))
    around = sdt.SDE(list(x), list(turning.drift + sp.Matrix([-x[1], x[0], 0])), turning.diffusion)
    found = around.is_stationary(1)
    assert found.stationary and not found.detailed_balance and "steady current" in repr(found)


@pytest.mark.parametrize("d", [2, 3])
def test_the_flux_is_the_adjoint_of_the_generator(d):
    """p Lf + f div J = div(½ p b bᵀ ∇f + f J), for a drift and a noise that is neither isotropic nor a gradient."""
    x = states(d)
    projector = sp.eye(d) - x * x.T
    columns = [projector * sp.Matrix([x[-1], *([1] * (d - 1))]), projector * sp.Matrix([x[0] ** 2, *([x[1]] * (d - 1))])]
    free = projector * sp.Matrix([x[1] ** 2, -x[0], *([x[0] * x[1]] * (d - 2))])
    process = sdt.SDE.from_stratonovich(list(x), list(free), sp.Matrix.hstack(*columns))
    f, p = x[0] ** 2 * x[1] + C * x[-1], 2 + x[0] - x[1] ** 2
    per_density, divergence = relative_flux(process, p)
    flux = p * sp.Matrix(per_density)
    assert vanishes_on_sphere(x.dot(flux), tuple(x))  # it is tangent
    assert vanishes_on_sphere(surface_divergence(flux, tuple(x)) - p * divergence, tuple(x))
    gradient = sp.Matrix([sp.diff(f, s) for s in x])
    field = process.diffusion * process.diffusion.T * gradient * p / 2 + f * flux
    identity = p * generator(process, f) + f * surface_divergence(flux, tuple(x)) - surface_divergence(field, tuple(x))
    assert vanishes_on_sphere(sp.expand(identity), tuple(x))


def test_at_rest_the_generator_has_mean_zero_under_quadrature():
    """An oracle without the flux: ∫ Lf p dσ over S², by Gauss–Legendre in the height and equal angles, exact for these degrees."""
    x = states(3)
    potential = x[0] ** 2 - x[2] / 2
    process = langevin(x, potential)
    heights, weights = np.polynomial.legendre.leggauss(40)
    angles = np.arange(80) * (2 * np.pi / 80)
    z, angle = np.meshgrid(heights, angles, indexing="ij")
    points = [np.sqrt(1 - z**2) * np.cos(angle), np.sqrt(1 - z**2) * np.sin(angle), z]
    for f in (x[0] ** 2, x[2], x[0] ** 2 * x[2] + x[1] ** 3):
        rest, other = (np.sum(weights[:, None] * sp.lambdify(list(x), generator(process, f) * sp.exp(-k * potential))(*points))
                       for k in (2, 1))
        assert abs(rest) < 1e-11 < 1e-2 < abs(other)


def test_only_an_sde_that_stays_on_the_sphere_is_asked_there():
    x = states(2)
    plane = sdt.SDE(list(x), list(-x), sp.eye(2))
    assert plane.is_stationary(sp.exp(-x.dot(x))).on == "space"
    with pytest.raises(ValueError, match="on: expected an SDE that is shown to stay on the unit sphere"):
        plane.is_stationary(1, on="sphere")
    with pytest.raises(ValueError, match="on: expected 'space', 'sphere' or None, got 'circle'"):
        plane.is_stationary(1, on="circle")
    with pytest.raises(ValueError, match="not 0 on the sphere"):
        sdt.processes.SphereBrownianMotion(2, states=list(x)).is_stationary(1 - x.dot(x))
