"""The rule of evidence: refuted beyond z·se + b, confirmed within where that is at most the resolution, else undecided."""

import numpy as np
import pytest

from sdetheory.claims import Between, Exact, compare
from sdetheory.stats import Estimate, mean_estimate


def test_inequalities_are_confirmed_inside_and_refuted_beyond_the_margin():
    at = [compare(Estimate(v, 0.01), "x", Between(0, 1), 0.01, 0.05)[0].status for v in (-0.1, -0.01, 0.5, 1.01, 1.1)]
    assert at == ["refuted", "confirmed", "confirmed", "confirmed", "refuted"]
    assert compare(Estimate(0.5, 0.1), "x", Between(low=0), 0.01, 0.05)[0].status == "inconclusive"


def test_the_rule_uses_student_margins_and_the_error_of_the_bound():
    few = compare(Estimate(1.0, 0.1, 0.05, n=5, bias_stderr=0.02), "x", 1.0, 0.05, 1.0)[0]
    assert few.z == pytest.approx(2.776, abs=1e-3)
    assert few.margin == pytest.approx(2.7764 * 0.12 + 0.05, abs=1e-3)


def test_diverged_paths_leave_a_comparison_undecided_whatever_the_others_say():
    x = np.concatenate([np.full(3, np.nan), np.random.default_rng(0).normal(size=1000)])
    for predicted in (0.0, 5.0):
        comparison = compare(mean_estimate(x), "x", predicted, 0.01, 1.0)[0]
        assert comparison.status == "inconclusive"
        assert "3 path(s) diverged" in comparison.remedy


def test_an_exact_array_is_held_against_its_prediction_entry_by_entry():
    square = Exact(np.eye(2), 1e-15)
    assert compare(square, "x", np.eye(2), 0.01, 1e-9)[0].status == "confirmed"
    assert compare(square, "x", 2 * np.eye(2), 0.01, 1e-9)[0].status == "refuted"
    assert compare(Exact(np.nan, 1.0), "x", 0.0, 0.01, 1.0)[0].status == "refuted"
