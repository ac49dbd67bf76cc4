"""Step halving bounds the discretisation error; orders are measured with an interval that holds."""

from __future__ import annotations

import numpy as np
import pytest

from sdetheory.stats import (
    Estimate,
    bias_from_difference,
    coverage,
    fit_order,
    mean_estimate,
    order_from_samples,
    step_halving,
)


@pytest.mark.parametrize("decay", [0.25, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("steps", [20, 40, 160])
def test_bound_covers_the_exact_bias_of_euler_for_an_ornstein_uhlenbeck_mean(decay, steps):
    def euler(n):  # E X_1 for dX = -decay X dt + dW from 1
        return (1 - decay / n) ** n

    e = bias_from_difference(Estimate(euler(steps), 0.0), Estimate(euler(steps // 2) - euler(steps), 0.0), order=1)
    bias = abs(euler(steps) - np.exp(-decay))
    assert bias <= e.bias_bound <= 2 * bias


def test_without_the_safety_factor_the_bound_can_be_too_small():
    fine, coarse = (1 - 4 / 40) ** 40, (1 - 4 / 20) ** 20
    e = bias_from_difference(Estimate(fine, 0.0), Estimate(coarse - fine, 0.0), order=1, safety=1)
    assert e.bias_bound < abs(fine - np.exp(-4))


def euler_ornstein_uhlenbeck(rng, n_paths, steps):
    """X_1 at steps and 2 steps on the same Brownian paths: dX = -2 X dt + dW/2 from 1."""
    noise = rng.normal(0, np.sqrt(1 / steps), (steps, n_paths))
    fine = np.ones(n_paths)
    coarse = np.ones(n_paths)
    for k in range(steps):
        fine = fine - 2 * fine / steps + 0.5 * noise[k]
        if k % 2:
            coarse = coarse - 4 * coarse / steps + 0.5 * (noise[k - 1] + noise[k])
    return coarse, fine


@pytest.mark.parametrize("coupled", [True, False])
def test_margins_with_the_measured_bound_hold_the_continuous_mean_and_without_it_do_not(coupled):
    rng = np.random.default_rng(5)
    with_bound, without = [], []
    for _ in range(100):
        coarse, fine = euler_ornstein_uhlenbeck(rng, 4000, 16)
        if not coupled:
            coarse, _ = euler_ornstein_uhlenbeck(rng, 4000, 16)
        e = step_halving(coarse, fine, order=1, coupled=coupled)
        with_bound.append(abs(e.value - np.exp(-2)) <= e.margin(0.05))
        without.append(abs(e.value - np.exp(-2)) <= mean_estimate(fine).margin(0.05))
    assert coverage(np.array(with_bound)).high >= 0.95
    assert coverage(np.array(without)).high < 0.5


def test_coupling_makes_the_bound_far_sharper():
    coarse, fine = euler_ornstein_uhlenbeck(np.random.default_rng(6), 4000, 16)
    paired, apart = step_halving(coarse, fine, order=1, coupled=True), step_halving(coarse, fine, order=1)
    assert paired.bias_bound == pytest.approx(apart.bias_bound)
    assert paired.bias_stderr < apart.bias_stderr / 5
    with pytest.raises(TypeError, match="paired samples"):
        step_halving(mean_estimate(coarse), mean_estimate(fine), order=1, coupled=True)


STEPS = 2.0 ** -np.arange(3, 9)


@pytest.mark.parametrize("order", [0.5, 1.0, 1.5, 2.0])
def test_order_intervals_cover_and_curvature_is_not_seen_where_there_is_none(order):
    rng = np.random.default_rng(7)
    stderr = STEPS**order * np.linspace(0.02, 0.1, STEPS.size)
    fits = [fit_order(STEPS, STEPS**order + stderr * rng.normal(size=STEPS.size), stderr, alpha=0.01, tolerated_drift=0)
            for _ in range(1000)]
    # the logarithm of a 10 % error is skewed by about 5 %, less than what 1000 trials resolve
    assert coverage(np.array([f.interval(0.05)[0] <= order <= f.interval(0.05)[1] for f in fits])).consistent_with(0.95)
    assert coverage(np.array([not f.asymptotic for f in fits])).consistent_with(0.01)
    assert coverage(np.array([f.p_value < 0.05 for f in fits])).consistent_with(0.05)


def test_a_second_term_in_the_error_is_called_not_yet_asymptotic():
    errors = STEPS + 20 * STEPS**2
    for fit in (fit_order(STEPS, errors, 0.01 * errors), fit_order(STEPS, errors)):
        assert not fit.asymptotic
        assert "not yet asymptotic" in repr(fit)
        assert fit.drift < -0.3 < 0  # the slope falls from about 2 to 1 as the step does
    assert fit_order(STEPS, STEPS + 0.01 * STEPS**2, 0.01 * STEPS).asymptotic


def gbm_strong_errors(rng, n_paths):
    """|Euler - exact| at time 1 on nested Brownian paths: dX = X dW/2 from 1."""
    finest = rng.normal(0, np.sqrt(STEPS[-1]), (int(1 / STEPS[-1]), n_paths))
    exact = np.exp(0.5 * finest.sum(0) - 0.125)
    errors = []
    for h in STEPS:
        increments = finest.reshape(int(1 / h), -1, n_paths).sum(1)
        errors.append(np.prod(1 + 0.5 * increments, axis=0) - exact)
    return np.array(errors).T


def test_strong_order_of_euler_on_nested_paths_is_one_half_and_not_one():
    fit = order_from_samples(STEPS, gbm_strong_errors(np.random.default_rng(8), 4000), moment=2)
    measured = fit.as_estimate()
    assert fit.asymptotic
    assert abs(measured.value - 0.5) <= measured.margin(1e-4) < 0.25
    assert abs(measured.value - 1.0) > measured.margin(1e-4)


def test_the_covariance_of_nested_errors_gives_the_scatter_of_the_fitted_order():
    rng = np.random.default_rng(9)
    fits = [order_from_samples(STEPS, gbm_strong_errors(rng, 400), moment=2) for _ in range(60)]
    observed, stated = np.std([f.order for f in fits], ddof=1), np.sqrt(np.mean([f.stderr**2 for f in fits]))
    # a standard deviation from 60 trials is within 1 +- 3.3/sqrt(2 * 59) of its value; heavy tails widen that
    assert 0.6 < observed / stated < 1.5


@pytest.mark.parametrize(("steps", "errors", "stderr", "match"), [
    ([0.1, 0.2, 0.4], [1, 2, 3], None, "at least 4 distinct steps"),
    ([0.1, 0.2, 0.4, 0.8], [1, 2, 3, -1], None, "error > 0"),
    ([0.1, 0.2, 0.4, 0.8], [1, 2, 4, 8], [0.5, 0.1, 0.1, 0.1],
     "at least 3 standard errors above 0, got 1 ± 0.5 at step 0.1"),
])
def test_fits_that_say_nothing_are_refused(steps, errors, stderr, match):
    with pytest.raises(ValueError, match=match):
        fit_order(steps, errors, stderr)
