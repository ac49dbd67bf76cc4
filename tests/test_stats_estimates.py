"""Estimates state errors that hold: intervals cover as often as they say, at small n and for functions of means."""

from __future__ import annotations

import numpy as np
import pytest

from sdetheory.stats import (
    Estimate,
    clopper_pearson,
    coverage,
    critical_value,
    from_moments,
    from_points,
    jackknife,
    mean_estimate,
    propagate,
    ratio,
)


def test_student_margins_cover_at_five_paths_and_normal_margins_do_not():
    x = np.random.default_rng(1).normal(size=(5, 20_000))
    e = mean_estimate(x)
    assert coverage(np.abs(e.value) <= e.margin(0.05)).consistent_with(0.95)
    assert not coverage(np.abs(e.value) <= critical_value(0.05) * e.stderr).consistent_with(0.95)


def test_streamed_moments_and_samples_give_the_same_estimate():
    x = np.random.default_rng(2).normal(size=(50, 3))
    a, b = mean_estimate(x), from_moments(x.mean(0), x.var(0, ddof=1), 50)
    np.testing.assert_allclose(a.value, b.value, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(a.stderr, b.stderr, rtol=1e-14)
    assert a.n == b.n == 50


def test_diverged_paths_are_left_out_and_counted_at_each_point():
    x = np.arange(12.0).reshape(4, 3)
    x[1, 1:] = np.nan
    x[2, 2] = np.inf
    e = mean_estimate(x)
    np.testing.assert_array_equal(e.excluded, [0, 1, 2])
    np.testing.assert_array_equal(e.n, [4, 3, 2])
    np.testing.assert_allclose(e.value, [4.5, (1 + 7 + 10) / 3, (2 + 11) / 2])
    assert [p.n for p in e.points()] == [4, 3, 2]
    with pytest.raises(ValueError, match="at least 2 finite paths, got 1 of 4"):
        mean_estimate([1.0, np.nan, np.nan, np.nan])


def test_jackknife_of_a_square_removes_its_bias_exactly():
    x = np.random.default_rng(3).normal(0.3, 1, 40)
    # the unbiased estimate of mu^2 is mean^2 - s^2/n, which the jackknife of a quadratic equals identically
    assert jackknife(lambda m: m**2, x).value == pytest.approx(x.mean() ** 2 - x.var(ddof=1) / 40, rel=1e-10)


def test_ratio_of_paired_means_covers_and_pairing_matters():
    rng = np.random.default_rng(4)
    paired, unpaired = [], []
    for _ in range(2000):
        b = rng.normal(2.0, 0.5, 60)
        a = 1.5 * b + rng.normal(0, 0.05, 60)
        low, high = ratio(a, b).interval(0.05)
        paired.append(low <= 1.5 <= high)
        low, high = ratio(mean_estimate(a), mean_estimate(b)).interval(0.05)
        unpaired.append(low <= 1.5 <= high)
    assert coverage(np.array(paired)).consistent_with(0.95)
    assert np.all(unpaired)  # errors taken as independent are far too wide


def test_propagated_errors_add_in_quadrature_and_bounds_linearly():
    a, b = Estimate(1.0, 0.03, 0.1, n=10), Estimate(2.0, 0.02, 0.2, n=20)
    e = propagate(lambda x, y: 2 * x - 2 * y, a, b)
    assert e.stderr == pytest.approx(2 * np.hypot(0.03, 0.02), rel=1e-12)
    assert e.bias_bound == pytest.approx(2 * 0.3, rel=1e-12)
    assert e.n == 10


def test_propagation_refuses_errors_that_reach_a_singularity():
    with pytest.raises(ValueError, match="use more paths"):
        propagate(np.log, Estimate(1.0, 2.0))


@pytest.mark.parametrize(("arguments", "match"), [
    ({"value": np.nan, "stderr": 1.0}, "value: expected finite"),
    ({"value": 1.0, "stderr": -1.0}, "stderr: expected finite numbers >= 0"),
    ({"value": 1.0, "stderr": 1.0, "bias_bound": np.inf}, "bias_bound: expected finite"),
    ({"value": [1.0, 2.0], "stderr": [1.0, 2.0, 3.0]}, "stderr: expected"),
    ({"value": 1.0, "stderr": 1.0, "n": 1}, "n: expected at least 2"),
    ({"value": np.ones((2, 2)), "stderr": 1.0}, "shape"),
])
def test_estimates_that_make_no_sense_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        Estimate(**arguments)


def test_clopper_pearson_covers_at_every_probability_by_exact_enumeration():
    n, alpha = 30, 0.05
    ends = np.array([clopper_pearson(k, n, alpha) for k in range(n + 1)])
    from scipy.stats import binom

    for p in np.linspace(0.005, 0.995, 100):
        inside = (ends[:, 0] <= p) & (p <= ends[:, 1])
        assert binom.pmf(np.arange(n + 1), n, p)[inside].sum() >= 1 - alpha


def test_points_and_from_points_are_inverse_and_lose_no_error():
    e = Estimate([1.0, 2.0, 3.0], [0.1, 0.2, 0.3], [0.0, 0.5, 0.6], [10, 20, 30], [0.01, 0.0, 0.02], [0, 1, 0], order=2)
    for parts in (e.points(), [Estimate(1.0, 0.1, 0.0, 10, 0.01, order=2),
                               Estimate([2.0, 3.0], [0.2, 0.3], [0.5, 0.6], [20, 30], [0.0, 0.02], [1, 0])]):
        joined = from_points(parts)
        for name in ("value", "stderr", "bias_bound", "n", "bias_stderr", "excluded", "order"):
            np.testing.assert_array_equal(getattr(joined, name), getattr(e, name))
    assert from_points([Estimate(1.0, 0.1), Estimate(2.0, 0.1)]).n is None
    assert len(from_points([Estimate(1.0, 0.1, n=5)])) == 1


@pytest.mark.parametrize(("parts", "match"), [
    ([], "estimates: expected at least one"), ([Estimate(1.0, 0.1), Estimate(1.0, 0.1, n=5)], "for all or for none")])
def test_points_that_share_no_margin_are_not_joined(parts, match):
    with pytest.raises(ValueError, match=match):
        from_points(parts)


def test_a_further_bias_adds_up_and_leaves_the_rest():
    e = Estimate([1.0, 2.0], 0.1, [0.0, 0.5], n=10, bias_stderr=0.01, excluded=1, order=2)
    more = e.with_bias([-0.25, 0.25])
    np.testing.assert_array_equal(more.bias_bound, [0.25, 0.75])
    for name in ("value", "stderr", "n", "bias_stderr", "excluded", "order"):
        np.testing.assert_array_equal(getattr(more, name), getattr(e, name))
    with pytest.raises(ValueError, match="bias_bound: expected finite numbers"):
        e.with_bias(np.inf)
