"""Moment equations against closed forms: closed, not closed, symbolic, numeric, stationary."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
from sympy import Function, Rational, exp, sin, sqrt, symbols

from sdetheory.sde import SDE

t = sympy.Symbol("t", real=True)
x, y = symbols("x y", real=True)
v = sympy.Symbol("v", positive=True)
mu, sigma, k, theta, x0 = symbols("mu sigma k theta x0", positive=True)
OU = SDE(x, k * (theta - x), sigma)
GBM = SDE(x, mu * x, sigma * x)
CIR = SDE(v, k * (theta - v), sigma * sqrt(v))


def test_gbm_moments_are_exponentials():
    solution = GBM.moment_equations(4).solve([x0], t)
    for n in range(1, 5):
        assert sympy.simplify(solution[x**n] - x0**n * exp((n * mu + n * (n - 1) * sigma**2 / 2) * t)) == 0


def test_ou_mean_and_variance():
    solution = OU.moment_equations(2).solve([x0], t)
    assert sympy.simplify(solution[x] - theta - (x0 - theta) * exp(-k * t)) == 0
    variance = solution[x**2] - solution[x]**2
    assert sympy.simplify(variance - sigma**2 * (1 - exp(-2 * k * t)) / (2 * k)) == 0


def test_cir_mean_variance_and_stationary_gamma_law():
    equations = CIR.moment_equations(3)
    solution = equations.solve([x0], t)
    e = exp(-k * t)
    variance = x0 * sigma**2 / k * (e - e**2) + theta * sigma**2 / (2 * k) * (1 - e)**2
    assert sympy.simplify(sympy.expand(solution[v**2] - solution[v]**2 - variance)) == 0
    shape, scale = 2 * k * theta / sigma**2, sigma**2 / (2 * k)
    stationary = equations.stationary()
    for n in (1, 2, 3):
        assert sympy.simplify(stationary[v**n] - scale**n * sympy.expand_func(sympy.rf(shape, n))) == 0


@pytest.mark.parametrize("sde", [OU, CIR, SDE([x, y], [y - x, -y], [[x * sigma, 0], [0, 1]])], ids=str)
def test_solutions_satisfy_their_equations(sde):
    equations = sde.moment_equations(2)
    start = symbols(f"s_0:{sde.dim}")
    solution = equations.solve(list(start), sde.time)
    m = sympy.Matrix([solution[mono] for mono in equations.monomials])
    residual = m.diff(sde.time) - equations.matrix * m - equations.constant
    assert residual.applyfunc(lambda e: sympy.simplify(sympy.expand(e))) == sympy.zeros(*m.shape)
    here = dict(zip(sde.states, start, strict=True))
    at_zero = {mono: mono.subs(here, simultaneous=True) for mono in equations.monomials}
    assert all(sympy.simplify(solution[mono].subs(sde.time, 0) - at_zero[mono]) == 0 for mono in equations.monomials)


def test_equal_rates_give_powers_of_time():
    chain = SDE([x, y], [-x + y, -y], [[0], [1]]).moment_equations(1)
    assert sympy.simplify(chain.solve([0, 1], t)[x] - t * exp(-t)) == 0


def test_coupled_unknowns_are_solved_by_the_exponential():
    oscillator = SDE([x, y], [y, -x], [[0], [sigma]]).moment_equations(1)
    solution = oscillator.solve([1, 0], t)
    assert sympy.simplify(solution[x].rewrite(exp) - sympy.cos(t).rewrite(exp)) == 0


def test_equations_read_as_equations():
    m1, m2 = Function("m_1"), Function("m_2")
    sde = SDE(x, mu * x, sigma * x, time=t)
    assert sde.moment_equations(2).equations == (
        sympy.Eq(m1(t).diff(t), mu * m1(t)), sympy.Eq(m2(t).diff(t), (2 * mu + sigma**2) * m2(t)))


def test_higher_moments_are_added_where_they_close():
    equations = SDE([x, y], [y**2, -y], [[0], [1]]).moment_equations(1)
    assert equations.closed
    assert y**2 in equations.monomials
    assert equations.solve([0, 0], 1.0)[x] == pytest.approx(0.5 - 0.25 * (1 - np.exp(-2)), rel=1e-12)


@pytest.mark.parametrize("sde, order, needed", [
    (SDE(x, x - x**3, sigma), 2, {x**3, x**4}),
    (SDE(x, sin(x), 1), 1, {sin(x)}),
    (SDE(v, 1 / v, 1), 1, {1 / v}),
    (SDE([x, y], [x * y, -y], sympy.eye(2)), 1, {x * y}),
], ids=["double well", "pendulum", "bessel", "product"])
def test_unclosed_equations_name_the_moments_they_need(sde, order, needed):
    equations = sde.moment_equations(order)
    assert not equations.closed
    assert set(equations.unclosed) == needed
    assert len(equations.equations) == len(equations.monomials)
    for question in (lambda: equations.solve([1] * sde.dim, 1.0), equations.stationary, lambda: equations.matrix):
        with pytest.raises(ValueError, match="don't close: they need E"):
            question()


def test_bessel_square_closes():
    assert SDE(v, 1 / v, 1).moment_equations(2).closed is False
    assert SDE(v, 3, 2 * sqrt(v)).moment_equations(2).solve([1], t)[v] == 3 * t + 1


def test_numbers_agree_with_the_exact_solution_on_a_grid():
    times = np.linspace(0, 2, 5)
    numeric = OU.subs({k: 0.7, theta: 0.3, sigma: 0.5}).moment_equations(2).solve([1.2], times)
    exact = OU.moment_equations(2).solve([x0], t)
    here = {k: Rational(7, 10), theta: Rational(3, 10), sigma: Rational(1, 2), x0: Rational(6, 5)}
    for mono, values in numeric.items():
        expected = [float(exact[mono].subs(here).subs(t, s)) for s in times]
        np.testing.assert_allclose(values, expected, rtol=1e-13)  # expm of a 3 x 3 matrix of norm 3: some tens of eps


def test_time_dependent_coefficients_are_integrated():
    sde = SDE(x, -x * t, 1, time=t)
    times = np.array([0.5, 0.0, 1.5])
    found = sde.moment_equations(1).solve([2.0], times)[x]
    np.testing.assert_allclose(found, 2 * np.exp(-times**2 / 2), rtol=1e-10)  # solver tolerance 1e-12 a step
    with pytest.raises(ValueError, match="time-dependent"):
        sde.moment_equations(1).stationary()


def test_a_random_start_is_given_by_its_moments():
    solution = GBM.moment_equations(2).solve({x: 0, x**2: 1}, t)
    assert solution[x] == 0
    assert sympy.simplify(solution[x**2] - exp((2 * mu + sigma**2) * t)) == 0
    with pytest.raises(ValueError, match="expected a moment for each"):
        GBM.moment_equations(2).solve({x: 0}, t)


@pytest.mark.parametrize("sde", [SDE(x, mu * x, 1), SDE(x, 0, 1), SDE(x, -0.1 * x, x)],
                         ids=["growth", "walk", "heavy tail"])
def test_moments_without_a_stationary_value_are_refused(sde):
    with pytest.raises(ValueError, match=r"singular|decay to a stationary"):
        sde.moment_equations(2).stationary()


def test_stationary_covariance_solves_the_lyapunov_equation():
    A, b = sympy.Matrix([[2, 1], [0, 3]]), sympy.Matrix([[1, 0], [1, 2]])
    stationary = SDE([x, y], -A * sympy.Matrix([x, y]), b).moment_equations(2).stationary()
    S = sympy.Matrix([[stationary[x**2], stationary[x * y]], [stationary[x * y], stationary[y**2]]])
    assert A * S + S * A.T == b * b.T
