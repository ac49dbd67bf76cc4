"""Orders of every registered scheme: weak rates exactly on affine SDEs, then both rates through `simulate`."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from affine_moments import exact_moments, is_affine, scheme_moments
from scheme_problems import PROBLEMS, problems_of

from sdetheory import schemes, simulate
from sdetheory.stats.estimates import critical_value
from sdetheory.stats.orders import OrderFit, fit_order, order_from_samples

ALPHA = 1e-3 / 100  # family-wise: below one false alarm in a thousand for all intervals here
AFFINE = [(s, p) for s, scheme in schemes.REGISTRY.items() for p in problems_of(scheme) if is_affine(PROBLEMS[p])]
# one problem a scheme for the compiled kernels: the widest noise that it accepts
ORDERED = ("shear", "linear, two noises", "pendulum", "circle, one noise")
WIDEST = {s: next(p for p in ORDERED if p in problems_of(scheme))
          for s, scheme in schemes.REGISTRY.items()}
COUPLED = [s for s, scheme in schemes.REGISTRY.items() if scheme.strong_order]


def weak_errors(name: str, problem: str, levels: range) -> np.ndarray:
    scheme, exact = schemes.get(name), exact_moments(PROBLEMS[problem])
    return np.array([np.linalg.norm(scheme_moments(scheme, PROBLEMS[problem], 2.0**-k) - exact) for k in levels])


@pytest.mark.parametrize(("name", "problem"), AFFINE)
def test_moments_converge_to_the_sde_at_the_declared_weak_order(name, problem):
    """Rate and limit at once: the errors are exact, so the local slope itself tends to the order."""
    order = float(schemes.get(name).promised(PROBLEMS[problem].sde, "weak"))
    errors = weak_errors(name, problem, range(4, 10))
    slopes = np.log2(errors[:-1] / errors[1:])
    extrapolated = 2 * slopes[1:] - slopes[:-1]  # slopes are p + O(h)
    if errors.max() < 1e-13:  # the moments of this problem are met exactly
        return
    assert fit_order(2.0 ** -np.arange(4.0, 10.0), errors).order == pytest.approx(order, abs=0.25)
    assert extrapolated[-1] == pytest.approx(order, abs=0.02)


def test_a_scheme_that_drops_the_pair_signs_loses_its_weak_order():
    class Unsigned(schemes.weak_order_2.WeakOrder2):
        def one_step(self, sde, x, t, dt, increments):
            return super().one_step(sde, x, t, dt, {**increments, "dV": tuple(0 for _ in increments["dV"])})

    mutant = Unsigned("unsigned", {}, {}, schemes.get("weak_order_2").noise)
    exact, h = exact_moments(PROBLEMS["shear"]), 2.0 ** -np.arange(4.0, 10.0)
    errors = [np.linalg.norm(scheme_moments(mutant, PROBLEMS["shear"], dt) - exact) for dt in h]
    assert fit_order(h, errors).order == pytest.approx(1, abs=0.25)


# --- through the engine -----------------------------------------------------------------------------------------------

@cache
def end_points(name: str, n_paths: int, levels: range) -> np.ndarray:
    """Y_h(1) of the same Brownian paths by level, shape (levels, d, n_paths)."""
    problem = PROBLEMS[WIDEST[name]]
    names = [str(x) for x in problem.sde.states]
    runs = [simulate(problem.sde, problem.x0, t1=1.0, dt=2.0**-k, scheme=name, n_paths=n_paths, rng=11,
                     brownian_dt=2.0 ** -levels[-1] if name in COUPLED else None) for k in levels]
    assert all(run.attrs["n_diverged"] == 0 for run in runs)
    return np.stack([[run[x].values[:, -1] for x in names] for run in runs])


def within_a_quarter(fit: OrderFit, order: float) -> bool:
    low, high = fit.interval(ALPHA)
    return order - 0.25 < low and high < order + 0.25


@pytest.mark.parametrize("name", COUPLED)
def test_simulated_paths_have_the_declared_strong_order(name):
    order = float(schemes.get(name).promised(PROBLEMS[WIDEST[name]].sde, "strong"))
    levels = range(3, 9)
    ends = end_points(name, 5000, levels)
    gaps = np.linalg.norm(ends[:-1] - ends[1:], axis=1).T
    fit = order_from_samples(2.0 ** -np.array(levels[:-1]), gaps, moment=2)
    assert within_a_quarter(fit, order), fit
    assert not within_a_quarter(fit, order + 0.5)
    assert not within_a_quarter(fit, order - 0.5)


@pytest.mark.parametrize("name", [s for s in COUPLED if PROBLEMS[WIDEST[s]].on_sphere])
def test_simulated_means_on_the_sphere_have_the_declared_weak_order(name):
    """E x of the circle problem; the paths of successive steps are coupled, so their mean difference is sharp."""
    order = float(schemes.get(name).promised(PROBLEMS[WIDEST[name]].sde, "weak"))
    levels, n = range(4, 9), 200_000
    x = end_points(name, n, levels)[:, 0]
    gaps = x[:-1] - x[1:]
    mean = gaps.mean(axis=1)
    fit = fit_order(2.0 ** -np.array(levels[:-1]), abs(mean), covariance=np.cov(gaps) / n, n=n)
    assert within_a_quarter(fit, order), fit
    assert not within_a_quarter(fit, order + 0.5)
    assert not within_a_quarter(fit, order - 0.5)


LEVEL, N_PATHS = 2, 200_000


def moments_agree(name: str, expected: np.ndarray) -> bool:
    """Whether the simulated first and second moments at a coarse step are `expected`, shape (1 + d, 1 + d)."""
    y = np.concatenate([np.ones((1, N_PATHS)), end_points(name, N_PATHS, range(LEVEL, LEVEL + 1))[0]])
    upper = np.triu_indices(len(y))
    products = (y[:, None] * y[None])[upper]
    resolution = critical_value(ALPHA, N_PATHS) * products.std(axis=1) / math.sqrt(N_PATHS) + 1e-12
    return bool((abs(products.mean(axis=1) - expected[upper]) <= resolution).all())


@pytest.mark.parametrize("name", [s for s in schemes.REGISTRY if is_affine(PROBLEMS[WIDEST[s]])])
def test_simulated_moments_are_those_of_the_scheme(name):
    """The kernel's noise has the law that the scheme asks for: the moments of the step taken are known exactly."""
    assert moments_agree(name, scheme_moments(schemes.get(name), PROBLEMS[WIDEST[name]], 2.0**-LEVEL))


def test_the_bias_of_a_first_order_scheme_is_seen_in_its_simulated_moments():
    """Control: the same rule refutes that Euler-Maruyama has the moments of the SDE itself."""
    assert not moments_agree("euler_maruyama", exact_moments(PROBLEMS[WIDEST["euler_maruyama"]]))
