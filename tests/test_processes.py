"""The ready processes: their exact moments solve the moment equations, their laws have these moments, simulation agrees."""

from __future__ import annotations

import numpy as np
import pytest
import scipy
import sympy

import sdetheory as sdt
from sdetheory.processes import CIR, DoubleWell, GeometricBrownianMotion, OrnsteinUhlenbeck, SphereBrownianMotion

EPS = np.finfo(float).eps
LINE = {"ou": lambda: OrnsteinUhlenbeck(rate=1.5, mean=0.5, noise=0.75), "gbm": lambda: GeometricBrownianMotion(growth=0.25, noise=0.5),
        "cir": lambda: CIR(rate=1.5, mean=0.75, noise=0.5)}


def symbolic(name):
    a, b, c = sympy.symbols("a b c", positive=True)
    return {"ou": lambda: OrnsteinUhlenbeck(a, b, c), "gbm": lambda: GeometricBrownianMotion(a, c), "cir": lambda: CIR(a, b, c)}[name]()


@pytest.mark.parametrize("name", LINE)
def test_sympy_proves_that_the_exact_moments_solve_the_moment_equations(name):
    process = symbolic(name)
    x0, t = sympy.symbols("y t", positive=True)
    (x,) = process.states
    first = process.exact_mean(x0, t)
    second = process.exact_variance(x0, t) + first**2
    equations = process.moment_equations(order=2)
    right = dict(zip(equations.monomials, equations.right_sides, strict=True))
    for power, moment in ((1, first), (2, second)):
        expected = sum(c * {0: 1, 1: first, 2: second}[k] for (k,), c in sympy.Poly(right[x**power], x).terms())
        assert sympy.simplify(moment.diff(t) - expected) == 0
        assert sympy.simplify(moment.subs(t, 0) - x0**power) == 0


@pytest.mark.parametrize("name", LINE)
@pytest.mark.parametrize("t", [0.1, 1.0, 4.0])
def test_the_exact_law_has_the_exact_moments(name, t):
    process = LINE[name]()
    law = process.exact_law(1.25, t)
    assert law.mean() == pytest.approx(process.exact_mean(1.25, t), rel=1e-12)
    assert law.var() == pytest.approx(process.exact_variance(1.25, t), rel=1e-11)


@pytest.mark.parametrize("name", ["ou", "cir"])
def test_the_stationary_law_is_where_the_exact_law_goes_and_solves_the_fokker_planck_equation(name):
    process = LINE[name]()
    late, rest = process.exact_law(1.25, 60.0), process.stationary_law()
    np.testing.assert_allclose(late.cdf([0.25, 0.5, 1.0, 1.5]), rest.cdf([0.25, 0.5, 1.0, 1.5]), atol=1e-9)
    theory = symbolic(name)
    a, b, c = theory.rate, theory.mean, theory.noise
    x = sympy.Symbol("x", positive=True) if name == "cir" else theory.states[0]
    density = x ** (2 * a * b / c**2 - 1) * sympy.exp(-2 * a * x / c**2) if name == "cir" else sympy.exp(-a * (x - b) ** 2 / c**2)
    assert theory.subs({"x": x}).is_stationary(density)
    at = np.array([0.3, 0.6, 1.1])
    shape = sympy.lambdify([x], density.subs({a: 1.5, b: 0.5 if name == "ou" else 0.75, c: 0.75 if name == "ou" else 0.5}))
    np.testing.assert_allclose(shape(at) / shape(at[0]), rest.pdf(at) / rest.pdf(at[0]), rtol=1e-12)


@pytest.mark.parametrize("name", LINE)
def test_simulation_agrees_with_the_exact_law(name):
    process, n = LINE[name](), 20_000
    x = sdt.simulate(process, [1.25], t1=1.0, dt=2.0**-7, scheme="weak_order_2", n_paths=n, rng=1).x.values[:, -1]
    law = process.exact_law(1.25, 1.0)
    # weak order 2 at dt = 1/128: a bias far below the standard error; a family of 9 tests at 1e-5
    assert abs(x.mean() - law.mean()) < 4.6 * law.std() / np.sqrt(n)
    fourth = law.expect(lambda v: (v - law.mean()) ** 4) if name != "gbm" else np.mean((x - x.mean()) ** 4)
    assert abs(x.var() - law.var()) < 4.6 * np.sqrt((fourth - law.var() ** 2) / n)
    assert scipy.stats.kstest(x, law.cdf).pvalue > 1e-5


def test_a_wrong_rate_is_seen():
    x = sdt.simulate(OrnsteinUhlenbeck(1.6, 0.5, 0.75), [1.25], t1=1.0, dt=2.0**-7, n_paths=20_000, rng=1).x.values[:, -1]
    assert scipy.stats.kstest(x, LINE["ou"]().exact_law(1.25, 1.0).cdf).pvalue < 1e-5


def test_a_truncated_cir_comes_back_from_below_zero_where_the_plain_one_diverges():
    plain, truncated = (CIR(1, 0.1, 1, truncated=held) for held in (False, True))
    run = dict(t1=2.0, dt=2.0**-4, n_paths=300, rng=0)
    assert (sdt.simulate(plain, [0.1], **run).diverged_at.values >= 0).any()
    assert (sdt.simulate(truncated, [0.1], **run).diverged_at.values < 0).all()


def test_the_double_well_rests_in_its_gibbs_density():
    a, c = sympy.symbols("a c", positive=True)
    process = DoubleWell(a, c)
    assert process.is_stationary(process.stationary_density())
    deep = DoubleWell(depth=1.0, noise=1.0)
    assert deep.stationary_moment(0) == 1.0
    assert abs(deep.stationary_moment(1)) < 1e-12
    # E L x² = 0 at rest: 8D(E x⁴ − E x²) = σ²
    assert 8 * (deep.stationary_moment(4) - deep.stationary_moment(2)) == pytest.approx(1.0, rel=1e-8)


def test_brownian_motion_on_the_sphere_has_its_exact_mean_and_covariance():
    process, n = SphereBrownianMotion(3, noise=0.75), 20_000
    start = np.array([0.6, 0.0, 0.8])
    runs = sdt.simulate(process, start, t1=0.5, dt=2.0**-7, scheme="geodesic_sphere", n_paths=n, rng=2)
    points = np.stack([runs[f"x_{i}"].values[:, -1] for i in range(3)], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1.0, atol=64 * 8 * EPS)
    deviations = np.abs(points.mean(0) - process.exact_mean(start, 0.5)) * np.sqrt(n / process.exact_variance(start, 0.5))
    assert deviations.max() < 5.0  # a bias of 64 steps of weak order 1 is a third of a standard error
    assert np.abs(np.cov(points.T) - process.exact_covariance(start, 0.5)).max() < 5.0 / np.sqrt(n)


@pytest.mark.parametrize("d", [2, 3, 5])
def test_sympy_proves_the_decay_of_the_first_two_harmonics(d):
    s = sympy.Symbol("s", positive=True)
    process = SphereBrownianMotion(d, noise=s)
    x = process.states
    norm = sum(v**2 for v in x)
    assert sympy.expand(process.generator(x[0]) + s**2 * sympy.Rational(d - 1, 2) * x[0]) == 0
    residual = process.generator(x[0] * x[1]) + s**2 * d * x[0] * x[1]
    assert sympy.rem(sympy.expand(residual), norm - 1, x[0]) == 0  # on the sphere
    assert process.generator(norm - 1).subs({v: sympy.sqrt(sympy.Rational(1, d)) for v in x}).simplify() == 0


@pytest.mark.parametrize("make, message", [
    (lambda: OrnsteinUhlenbeck(rate=0), "rate: expected a number > 0"),
    (lambda: CIR(noise=-1.0), "noise: expected a number > 0"),
    (lambda: GeometricBrownianMotion().exact_law(-1.0, 1.0), "x0: expected a number > 0"),
    (lambda: OrnsteinUhlenbeck(sympy.Symbol("a")).stationary_law(), "stationary_law: expected parameters that are numbers"),
    (lambda: OrnsteinUhlenbeck().exact_mean(1.0, -1.0), "t: expected times >= 0"),
    (lambda: SphereBrownianMotion(3).exact_mean([1.0, 1.0, 0.0], 1.0), "x0: expected a point of the unit sphere"),
    (lambda: SphereBrownianMotion(1), "dim: expected an integer >= 2"),
])
def test_bad_input_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()
