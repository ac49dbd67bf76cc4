"""Itô calculus against known results, by exact symbolic equality; wrong formulas must not pass."""

from __future__ import annotations

import pytest
import sympy
from sympy import Matrix, Rational, cos, exp, log, sin, sqrt, symbols

from sdetheory.sde import SDE
from sdetheory.symbolic import Derivation, ito_correction

t = sympy.Symbol("t", real=True)
x, y, z = symbols("x y z", real=True)
r, v = symbols("r v", positive=True)
mu, sigma, k, theta, rho = symbols("mu sigma k theta rho", positive=True)
GBM = SDE(x, mu * x, sigma * x)
CIR = SDE(v, k * (theta - v), sigma * sqrt(v))
HESTON = SDE([r, v], [mu * r, k * (theta - v)],
             [[r * sqrt(v), 0], [rho * sigma * sqrt(v), sqrt(1 - rho**2) * sigma * sqrt(v)]])


def same(a, b):
    return sympy.simplify(a - b) == (sympy.zeros(*a.shape) if isinstance(a, sympy.MatrixBase) else 0)


@pytest.mark.parametrize("sde, f, expected", [
    (GBM, x**2, (2 * mu + sigma**2) * x**2),
    (GBM, exp(-mu * t) * x, -mu * exp(-mu * t) * x + mu * x * exp(-mu * t)),
    (CIR, log(v), k * (theta - v) / v - sigma**2 / (2 * v)),
    (SDE([x, y], [-y, x], [[1, 0], [0, 1]]), x**2 * y, -2 * x * y**2 + x**3 + y),
    (HESTON, r * v, mu * r * v + k * (theta - v) * r + rho * sigma * r * v),
    (SDE([x, y, z], [0, 0, 0], sympy.eye(3)), 1 / sqrt(x**2 + y**2 + z**2), sympy.S.Zero),
], ids=["gbm", "discounted gbm", "cir", "rotation", "heston", "newton potential"])
def test_generator(sde, f, expected):
    assert same(SDE(sde.states, sde.drift, sde.diffusion, time=t).generator(f), expected)


def test_ito_formula_of_log_of_geometric_brownian_motion():
    drift, diffusion = SDE(r, mu * r, sigma * r).ito_formula(log(r))
    assert drift == mu - sigma**2 / 2
    assert diffusion == (sigma,)


def test_ito_formula_of_several_functions_gives_matrices():
    drift, diffusion = HESTON.ito_formula([log(r), r * v, v])
    assert drift.shape == (3, 1)
    assert diffusion.shape == (3, 2)
    assert same(drift[0], mu - v / 2)
    assert same(diffusion[1, 0], r * v * sqrt(v) + rho * sigma * r * sqrt(v))


@pytest.mark.parametrize("n", [2, 3])
def test_radius_of_brownian_motion_is_a_bessel_process(n):
    w = symbols(f"w_0:{n}", real=True)
    radius = sqrt(sum(wi**2 for wi in w))
    drift, diffusion = SDE(list(w), [0] * n, sympy.eye(n)).ito_formula(radius)
    assert same(drift, Rational(n - 1, 2) / radius)
    assert same(sum(c**2 for c in diffusion), sympy.S.One)


def test_transformed_sde_of_cir_square_root():
    u = sympy.Symbol("u", positive=True)
    root = CIR.transform({u: sqrt(v)}, {v: u**2})
    assert same(root.drift[0], (k * theta / 2 - sigma**2 / 8) / u - k * u / 2)
    assert same(root.diffusion[0], sigma / 2)
    with pytest.raises(ValueError, match="inverse"):
        CIR.transform({u: sqrt(v)}, {v: u})


def test_circle_ito_from_angle_and_from_stratonovich_agree():
    phi = sympy.Symbol("phi", real=True)
    drift, diffusion = SDE(phi, 0, sigma).ito_formula([cos(phi), sin(phi)])
    circle = SDE.from_stratonovich([x, y], [0, 0], [[-sigma * y], [sigma * x]])
    on_circle = {x: cos(phi), y: sin(phi)}
    assert same(circle.drift.subs(on_circle), drift)
    assert same(circle.diffusion.subs(on_circle), diffusion)


@pytest.mark.parametrize("n", [2, 3])
def test_brownian_motion_on_the_sphere_has_correction_minus_half_n_minus_1(n):
    w = Matrix(symbols(f"w_0:{n}", real=True))
    square = (w.T * w)[0]
    projector = sympy.eye(n) - w * w.T / square
    sphere = SDE.from_stratonovich(list(w), [0] * n, projector)
    assert same(sphere.drift, -Rational(n - 1, 2) * w / square)
    assert same(sphere.generator(square), sympy.S.Zero)
    assert not same(SDE(list(w), -Rational(n, 2) * w / square, projector).generator(square), sympy.S.Zero)


@pytest.mark.parametrize("sde", [GBM, CIR, HESTON, SDE([x, y], [y, 0], [[x * y, 1], [sin(x), y**2]])], ids=str)
def test_stratonovich_and_back_is_the_identity(sde):
    there = sde.to_stratonovich()
    back = SDE.from_stratonovich(there.states, there.drift, there.diffusion, time=there.time)
    assert same(back.drift, sde.drift)
    assert back.diffusion == sde.diffusion
    assert same(sde.drift - there.drift, ito_correction(sde.states, sde.diffusion))


def test_stratonovich_drift_of_geometric_brownian_motion():
    assert same(GBM.to_stratonovich().drift[0], (mu - sigma**2 / 2) * x)


def test_ito_taylor_operators():
    assert HESTON.L(0, r) == r * sqrt(v)
    assert HESTON.L(1, r) == 0
    assert not same(HESTON.L(0, HESTON.diffusion[0, 1]), HESTON.L(1, HESTON.diffusion[0, 0]))
    assert GBM.L0(x) == mu * x
    with pytest.raises(ValueError, match="from 0 to 1"):
        HESTON.L(2, r)


@pytest.mark.parametrize("correction, status", [(sigma**2 / 2, "proved"), (sigma**2, "failed"), (0, "failed"),
                                                (sigma**2 * Rational(51, 100), "failed")])
def test_only_the_right_ito_correction_is_proved(correction, status):
    gbm = SDE(r, mu * r, sigma * r)
    d = Derivation("log of GBM").residual("drift", gbm.generator(log(r)) - (mu - correction))
    assert d.verify().status == status


@pytest.mark.parametrize("n", [2, 3])
def test_squared_norm_under_scale_invariance_has_no_noise(n):
    """ILR-2 with a generic scale-invariant loss: d|W|^2 = (-2 lr wd |W|^2 + lr^2 Tr Sigma) dt, no dB term."""
    lr, wd, s = symbols("lr weight_decay s", positive=True)
    w = Matrix(symbols(f"w_0:{n}", real=True))
    square = (w.T * w)[0]
    loss = sympy.Function("L")(*(w[i] / w[0] for i in range(1, n)))  # a generic function of the ratios
    gradient = Matrix([sympy.diff(loss, wi).doit() for wi in w])
    root = s * (sympy.eye(n) - w * w.T / square) / sqrt(square)
    sgd = SDE(list(w), -lr * gradient - lr * wd * w, lr * root)
    drift, diffusion = sgd.ito_formula(square)
    trace = s**2 * (n - 1) / square
    d = Derivation("ILR-2").residual("no noise", Matrix(diffusion)).residual(
        "drift", drift + 2 * lr * wd * square - lr**2 * trace)
    assert d.verify().status == "proved"
    gamma_drift, _ = sgd.ito_formula(square**2 / lr**2)
    assert same(gamma_drift, -4 * lr * wd * square**2 / lr**2 + 2 * s**2 * (n - 1))


DOUBLE_WELL = SDE(x, x - x**3, sigma)
SPIRAL = SDE([x, y], [-k * x - theta * y, theta * x - k * y], sigma * sympy.eye(2))


@pytest.mark.parametrize("sde, density, detailed_balance", [
    (SDE(x, -k * x, sigma), exp(-k * x**2 / sigma**2), True),
    (SDE(x, -0.5 * x, 0.3), exp(-x**2 * Rational(50, 9)), True),
    (CIR, v**(2 * k * theta / sigma**2 - 1) * exp(-2 * k * v / sigma**2), True),
    (DOUBLE_WELL, exp((x**2 - x**4 / 2) / sigma**2), True),
    (SPIRAL, exp(-k * (x**2 + y**2) / sigma**2), False),
    (SDE([x, y], [y, -x - k * y], [[0], [sigma]]), exp(-k * (x**2 + y**2) / sigma**2), False),
], ids=["ou", "ou in floats", "cir", "double well", "spiral", "langevin"])
def test_stationary_densities_are_known_and_currents_are_seen(sde, density, detailed_balance):
    found = sde.is_stationary(density)
    assert found
    assert found.residual == 0
    assert found.detailed_balance is detailed_balance


@pytest.mark.parametrize("sde, density", [
    (SDE(x, -k * x, sigma), exp(-Rational(51, 50) * k * x**2 / sigma**2)),
    (CIR, v**(2 * k * theta / sigma**2) * exp(-2 * k * v / sigma**2)),
    (DOUBLE_WELL, exp((x**2 - x**4) / sigma**2)),
    (SPIRAL, exp(-k * (x**2 + Rational(11, 10) * y**2) / sigma**2)),
], ids=["ou", "cir", "double well", "spiral"])
def test_a_wrong_stationary_density_is_refused(sde, density):
    found = sde.is_stationary(density)
    assert not found
    assert found.residual != 0
    assert "not stationary" in repr(found)


def test_density_must_not_vanish_or_move():
    with pytest.raises(ValueError, match="density"):
        GBM.is_stationary(0)
    with pytest.raises(ValueError, match="density"):
        GBM.is_stationary(GBM.time * x)
