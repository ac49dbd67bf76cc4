"""Strong orders of every registered scheme on nested Brownian paths, in NumPy: the rate, and apart from it the limit.

Rate: the distance of Y_h and Y_{h/2} on the same path falls as h^p, whatever they tend to. Limit: so does the distance
of Y_h and the solution. Orders are multiples of 1/2, so an order is measured when its interval lies within 1/4 of it.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from scheme_problems import PROBLEMS, problems_of

from sdetheory import schemes
from sdetheory.stats.orders import OrderFit, order_from_samples

PATHS, FINEST, COARSEST = 2000, 8, 3
SPREAD = 3 / 2000 / 200  # family-wise: below one false alarm in a thousand for all intervals here
CASES = [(s, p) for s, scheme in schemes.REGISTRY.items() if scheme.strong_order for p in problems_of(scheme)]
SHARP = [case for case in CASES if PROBLEMS[case[1]].sharp]
SOLVED = [case for case in CASES if PROBLEMS[case[1]].solution]


@cache
def nested_paths(m: int) -> dict[int, dict[str, np.ndarray]]:
    """Rows dW, dU (n, m, paths) of the same paths with n = 2^level steps."""
    rng = np.random.default_rng(20240 + m)
    shape = (2**FINEST, m, PATHS)
    levels = {FINEST: {role: rng.normal(scale=2.0 ** (-FINEST / 2), size=shape) for role in ("dW", "dU")}}
    weights = {role: schemes.Increment(role, "normal").nested_weights(2) for role in ("dW", "dU")}
    for level in reversed(range(COARSEST, FINEST)):
        fine = levels[level + 1]
        levels[level] = {role: sum(w * fine[r][j::2] for r, ws in weights[role].items() for j, w in enumerate(ws))
                         for role in ("dW", "dU")}
    return levels


@cache
def end_points(name: str, problem: str) -> dict[int, np.ndarray]:
    """Y_h(1), shape (d, paths), by level."""
    scheme, sde = schemes.get(name), PROBLEMS[problem].sde
    step, rows = schemes.numpy_step(scheme, sde), scheme.increments_shape(sde)
    rng = np.random.default_rng(7)
    ends = {}
    for level, path in nested_paths(sde.noise_dim).items():
        n, h = 2**level, 2.0**-level
        signs = np.sqrt(h) * rng.choice([-1.0, 1.0], size=(n, rows.get("dV", 0), PATHS))
        increments = {**path, "dV": signs}
        state = np.repeat(np.array(PROBLEMS[problem].x0)[:, None], PATHS, axis=1)
        for k in range(n):
            state = step(state, k * h, h, {role: increments[role][k] for role in rows})
        ends[level] = state
    return ends


def rate(name: str, problem: str) -> OrderFit:
    """Order of |Y_h − Y_{h/2}| in the mean square."""
    ends = end_points(name, problem)
    levels = range(COARSEST, FINEST)
    gaps = np.stack([np.linalg.norm(ends[k] - ends[k + 1], axis=0) for k in levels], axis=1)
    return order_from_samples([2.0**-k for k in levels], gaps, moment=2)


def approach(name: str, problem: str, error: float = 0.0) -> OrderFit:
    """Order of |Y_h − solution| in the mean square, on steps well above the grid on which the solution is known."""
    ends, path = end_points(name, problem), nested_paths(PROBLEMS[problem].sde.noise_dim)[FINEST]
    solution = PROBLEMS[problem].solution(path["dW"], path["dU"], 2.0**-FINEST, error)
    levels = range(COARSEST, FINEST - 1)
    gaps = np.stack([np.linalg.norm(ends[k] - solution, axis=0) for k in levels], axis=1)
    return order_from_samples([2.0**-k for k in levels], gaps, moment=2)


def declared(name: str, problem: str) -> float:
    order = schemes.get(name).promised(PROBLEMS[problem].sde, "strong")
    assert order is not None
    return float(order)


def within_a_quarter(fit: OrderFit, order: float) -> bool:
    low, high = fit.interval(SPREAD)
    return order - 0.25 < low and high < order + 0.25


@pytest.mark.parametrize("name", [s for s, scheme in schemes.REGISTRY.items() if scheme.strong_order])
def test_every_declared_noise_class_is_measured(name):
    measured = {PROBLEMS[p].noise for p in problems_of(schemes.get(name)) if PROBLEMS[p].sharp}
    assert {*schemes.get(name).strong_order} == measured


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_problem_is_of_its_class(problem):
    noise, types = PROBLEMS[problem].noise, PROBLEMS[problem].sde.noise_types
    assert "commutative" not in types if noise == "general" else noise in types


@pytest.mark.parametrize(("name", "problem"), SHARP)
def test_paths_approach_each_other_at_the_declared_strong_order(name, problem):
    fit = rate(name, problem)
    assert within_a_quarter(fit, declared(name, problem)), fit


@pytest.mark.parametrize(("name", "problem"), SHARP)
def test_a_strong_order_one_half_off_is_refuted(name, problem):
    fit, order = rate(name, problem), declared(name, problem)
    assert not within_a_quarter(fit, order + 0.5)
    assert not within_a_quarter(fit, order - 0.5)


@pytest.mark.parametrize(("name", "problem"), SOLVED)
def test_paths_approach_the_solution(name, problem):
    fit = approach(name, problem)
    assert fit.interval(SPREAD)[0] > declared(name, problem) - 0.25, fit


@pytest.mark.parametrize(("name", "problem"), SOLVED)
def test_the_solution_of_another_sde_is_not_approached(name, problem):
    fit = approach(name, problem, error=1.0)
    assert not fit.interval(SPREAD)[0] > declared(name, problem) - 0.25, fit


def test_the_sphere_is_kept():
    """Rounding errors of |x| are contracted by the step's projection, so they stay at a few eps."""
    kept = [ends for (name, p) in CASES if PROBLEMS[p].on_sphere for ends in end_points(name, p).values()]
    assert kept
    assert max(abs(np.linalg.norm(end, axis=0) - 1).max() for end in kept) < 32 * np.finfo(float).eps


def test_weights_of_the_declared_orders_are_fractions():
    assert all(isinstance(order, Fraction) for scheme in schemes.REGISTRY.values()
               for order in [*scheme.strong_order.values(), *scheme.weak_order.values()])
