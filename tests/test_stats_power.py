"""Stated power is the power: equivalence tests, two-sample distances, sample sizes, the family-wise budget."""

from __future__ import annotations

import numpy as np
import pytest

from sdetheory.stats import (
    Estimate,
    alpha_for,
    coverage,
    critical_value,
    difference,
    equivalence,
    equivalence_power,
    ks_distance,
    paths_needed,
    quantile_estimate,
    smallest_detectable,
    z_for,
)


@pytest.mark.parametrize(
    ("effect", "power"),
    [(0.0, equivalence_power(0.3, 1.0)), (0.4, equivalence_power(0.3, 1.0, effect=0.4)), (1.0, 0.05)],
)
def test_equivalence_is_shown_as_often_as_stated_and_at_most_alpha_at_the_margin(effect, power):
    values = effect + 0.3 * np.random.default_rng(10).normal(size=3000)
    shown = coverage(np.array([bool(equivalence(Estimate(v, 0.3), 0.0, delta=1.0)) for v in values]))
    assert shown.consistent_with(power)


def test_a_large_error_never_shows_equivalence():
    assert not equivalence(Estimate(0.0, 1.0), 0.0, delta=1.0)
    assert equivalence_power(1.0, 1.0) == 0.0


def test_smallest_detectable_effect_is_seen_with_its_power():
    effect = smallest_detectable(0.1, alpha=0.01, power=0.9)
    values = effect + 0.1 * np.random.default_rng(11).normal(size=3000)
    assert coverage(np.abs(values) > critical_value(0.01) * 0.1).consistent_with(0.9)


def test_paths_needed_reach_the_resolution_and_one_path_in_ten_fewer_does_not():
    n = paths_needed(2.0, 0.05, alpha=1e-3, bias_bound=0.01)
    margin = Estimate(0.0, 2.0 / np.sqrt(n), 0.01).margin(1e-3)
    assert margin <= 0.05 < Estimate(0.0, 2.0 / np.sqrt(0.9 * n), 0.01).margin(1e-3)
    with pytest.raises(ValueError, match="smaller step"):
        paths_needed(1.0, 0.01, 0.05, bias_bound=0.02)


def test_laws_that_agree_are_told_apart_at_most_as_often_as_alpha():
    rng = np.random.default_rng(12)
    two = [ks_distance(rng.normal(size=300), rng.normal(size=500)) for _ in range(1000)]
    one = [ks_distance(rng.uniform(size=300), lambda x: x) for _ in range(1000)]
    for distances in (two, one):
        assert coverage(np.array([d.statistic > d.critical(0.05) for d in distances])).low <= 0.05


def test_detectable_distance_has_its_power_and_is_not_stated_too_large():
    rng = np.random.default_rng(13)
    n, m = 1000, 1500
    at = ks_distance(np.arange(n), np.arange(m))
    delta = at.detectable(0.01, power=0.9)

    def seen(gap, shape):
        result = []
        for _ in range(600):
            if shape == "shift":  # uniform laws shifted by gap: distance gap, attained over an interval
                d = ks_distance(rng.uniform(size=n), gap + rng.uniform(size=m))
            else:  # two-point laws: the distance is attained at one place only, the hardest case
                d = ks_distance(rng.binomial(1, 0.5, n), rng.binomial(1, 0.5 + gap, m))
            result.append(d.statistic > d.critical(0.01))
        return coverage(np.array(result))

    assert seen(delta, "shift").high >= 0.9
    hardest = seen(delta, "two points")
    assert hardest.high >= 0.9
    assert hardest.low <= 0.92
    assert seen(delta / 2, "two points").high < 0.5
    assert at.power(0.01, delta) == pytest.approx(0.9)


def test_distance_statistics_agree_with_scipy():
    from scipy import stats

    rng = np.random.default_rng(14)
    x, y = rng.normal(size=200), rng.normal(0.2, 1, 330)
    assert ks_distance(x, y).statistic == pytest.approx(stats.ks_2samp(x, y).statistic, abs=1e-12)
    assert ks_distance(x, stats.norm.cdf).statistic == pytest.approx(stats.kstest(x, "norm").statistic, abs=1e-12)


def test_a_diverged_path_is_not_silently_dropped_from_a_distribution():
    with pytest.raises(ValueError, match="1 not finite"):
        ks_distance([1.0, 2.0, np.nan], [1.0, 2.0])


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_quantile_margins_cover(q):
    rng = np.random.default_rng(15)
    truth = -np.log(1 - q)
    hits = []
    for _ in range(1500):
        low, high = quantile_estimate(rng.exponential(size=800), q).interval(0.05)
        hits.append(low <= truth <= high)
    # the order-statistic error is right to O(n^{-1/2}): three points of coverage at 800 paths
    assert 0.92 <= coverage(np.array(hits)).high
    assert coverage(np.array(hits)).low <= 0.98


def test_difference_of_independent_means_covers():
    x = np.random.default_rng(16).normal(size=(2000, 2, 40))
    hits = [abs(d.value) <= d.margin(0.05) for d in (difference(a, b) for a, b in x)]
    assert coverage(np.array(hits)).low >= 0.9


def test_the_family_wise_budget_holds_over_twenty_comparisons():
    z = np.abs(np.random.default_rng(17).normal(size=(4000, 20))).max(axis=1)
    assert coverage(z > z_for(0.05, 20, "sidak")).consistent_with(0.05)
    assert coverage(z > z_for(0.05, 20)).low <= 0.05
    assert alpha_for(0.05, 20) < alpha_for(0.05, 20, "sidak")
    assert not coverage(z > z_for(0.05, 1)).consistent_with(0.05)


def test_a_budget_outside_of_its_range_is_refused():
    with pytest.raises(ValueError, match="budget"):
        z_for(0.0, 3)
