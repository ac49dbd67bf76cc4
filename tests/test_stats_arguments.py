"""What the functions of `stats` are not made for they refuse, by the argument's name; none answers NaN, none fails inside."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sdetheory import stats
from sdetheory.stats import Estimate

ONE, TWO = Estimate(1.0, 0.1, n=100), Estimate([1.0, 2.0], 0.1, n=100)
STEPS = [1.0, 0.5, 0.25, 0.125]
KS = stats.ks_distance(np.arange(100.0), np.arange(50.0))
NO_ESTIMATE = [1.0, None, "1.0", [1.0, 2.0]]


@pytest.mark.parametrize("given", NO_ESTIMATE)
@pytest.mark.parametrize("call", [
    lambda e: stats.equivalence(e, 1.0, 0.1), lambda e: stats.propagate(abs, e), lambda e: stats.propagate(max, ONE, e),
    lambda e: stats.bias_from_difference(e, ONE, 1), lambda e: stats.bias_from_difference(ONE, e, 1),
    lambda e: stats.from_points([ONE, e])])
def test_what_is_no_estimate_is_refused_with_a_way_to_make_one(call, given):
    with pytest.raises(TypeError, match=r"expected an Estimate, got .*mean_estimate\(samples\)"):
        call(given)


@pytest.mark.parametrize("given", [1.0, None, "ab", ONE])
@pytest.mark.parametrize("call", [stats.mean_estimate, lambda s: stats.jackknife(abs, s), lambda s: stats.ks_distance(s, [1.0, 2.0]),
                                  lambda s: stats.ks_distance([1.0, 2.0], s), lambda s: stats.quantile_estimate(s, 0.5)])
def test_what_are_no_samples_is_refused_by_name(call, given):
    with pytest.raises((TypeError, ValueError), match=r"^(samples|a|b): expected (samples|one number|an array)"):
        call(given)


@pytest.mark.parametrize("n", [0, 1, -3, math.nan, [1, 5], 1.5])
@pytest.mark.parametrize("call", [
    lambda n: stats.critical_value(0.05, n), lambda n: stats.equivalence_power(0.3, 1.0, n=n),
    lambda n: stats.smallest_detectable(0.3, 0.05, n=n), lambda n: Estimate([1.0, 2.0], 0.1, n=n),
    lambda n: stats.from_moments(1.0, 1.0, n)])
def test_fewer_than_two_paths_have_no_error(call, n):
    with pytest.raises(ValueError, match="^(n|count): expected (at least 2 paths|finite numbers)"):
        call(n)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: stats.critical_value("a"), "alpha: expected a probability"),
    (lambda: stats.critical_value([0.1, 0.2]), "alpha: expected a probability"),
    (lambda: stats.equivalence(TWO, 1.0, 0.1), "estimate: expected an estimate of one number"),
    (lambda: stats.equivalence_power(0.0, 1.0), "stderr: expected a number > 0"),
    (lambda: stats.equivalence_power(-0.3, 1.0), "stderr: expected a number > 0"),
    (lambda: stats.equivalence_power(0.3, 1.0, 0.7), "alpha: expected a number > 0 and < 0.5"),
    (lambda: stats.equivalence_power(0.3, math.nan), "delta: expected a finite number"),
    (lambda: stats.equivalence_power(0.3, 1.0, effect=math.nan), "effect: expected a finite number"),
    (lambda: stats.paths_needed(1.0, 0.1, 0.05, bias_bound=math.nan), "bias_bound: expected a number"),
    (lambda: stats.paths_needed(1e200, 1e-200, 0.05), "resolution: expected one that some number of paths reaches"),
    (lambda: stats.propagate(abs), "estimates: expected at least one Estimate"),
    (lambda: stats.propagate(3, ONE), "f: expected a function"),
    (lambda: stats.jackknife(abs), r"samples: expected arrays of shape \(paths,\)"),
    (lambda: stats.jackknife(max, [1.0, 2.0], [1.0, 2.0, 3.0]), r"samples: expected arrays of shape \(paths,\), all of one length"),
    (lambda: stats.jackknife(3, [1.0, 2.0]), "f: expected a function"),
    (lambda: stats.jackknife(lambda m: m * math.nan, [1.0, 2.0]), "f: expected finite values of the means"),
    (lambda: stats.bias_from_difference(TWO, ONE, 1), "fine, difference: expected the same points"),
    (lambda: stats.bias_from_difference(ONE, ONE, 1e-20), "order: expected a number"),
    (lambda: stats.bias_from_difference(ONE, ONE, 1e20), "order: expected a number"),
    (lambda: stats.step_halving(1.0, [1.0, 2.0], 1), "coarse: expected one number an independent path"),
    (lambda: stats.step_halving(TWO, ONE, 1), "coarse, fine: expected the same points"),
    (lambda: stats.difference(None, [1.0, 2.0]), "a: expected an array of real numbers"),
    (lambda: stats.difference(TWO, ONE), "a, b: expected the same points"),
    (lambda: stats.from_points(ONE), "estimates: expected estimates"),
    (lambda: stats.from_moments(1.0, -1.0, 10), "var: expected variances >= 0"),
    (lambda: stats.from_moments(1.0, math.nan, 10), "var: expected variances >= 0"),
    (lambda: stats.from_moments(1.0, 1.0, 2.5), "n: expected at least 2 paths for a standard error, in whole numbers"),
    (lambda: stats.from_moments(1.0, 1.0, 5, excluded=-3), "excluded: expected at least 0"),
    (lambda: stats.from_moments([], [], []), "n: expected one number"),
    (lambda: stats.mean_estimate([1.0, 2.0], axis=5), "axis: expected an integer"),
    (lambda: stats.mean_estimate(np.ones((5, 0))), "samples: expected shape"),
    (lambda: Estimate("a", 1.0), "value: expected an array of real numbers"),
    (lambda: Estimate([], []), "value: expected a number or an array"),
    (lambda: Estimate([1.0, 2.0], 0.1, n=[3, 4, 5]), "n: expected one number, or as many as values"),
    (lambda: Estimate(1.0, 0.1, excluded=-1), "excluded: expected at least 0"),
    (lambda: Estimate(1.0, 0.1, order="weak"), "order: expected a number > 0"),
    (lambda: KS.critical(0.0), "alpha: expected a number > 0"),
    (lambda: KS.detectable(0.05, 2.0), "power: expected a number > 0 and < 1"),
    (lambda: KS.power(0.05, math.nan), "distance: expected a number >= 0"),
    (lambda: stats.Distance(0.5, 0), "n: expected an integer >= 1"),
    (lambda: stats.quantile_estimate(np.arange(100.0), -1.0), "q: expected a number > 0 and < 1"),
    (lambda: stats.alpha_for(1e-3, 10**400), "n_comparisons: expected an integer"),
    (lambda: stats.fit_order(STEPS, STEPS, [0.01] * 4, n=1), "n: expected an integer >= 2"),
    (lambda: stats.fit_order(STEPS, STEPS, [-0.01] * 4), "expected standard errors >= 0"),
    (lambda: stats.fit_order(STEPS, STEPS, covariance=-np.eye(4)), "expected standard errors >= 0"),
    (lambda: stats.fit_order(STEPS, STEPS, [0.01] * 4, covariance=np.eye(4)), "stderr, covariance: expected one of them"),
    (lambda: stats.fit_order(STEPS, STEPS, tolerated_drift=math.nan), "tolerated_drift: expected a number"),
    (lambda: stats.order_from_samples(STEPS, np.ones((100, 4)), moment=0), "moment: expected a number > 0"),
])
def test_an_argument_that_does_not_fit_is_named(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
