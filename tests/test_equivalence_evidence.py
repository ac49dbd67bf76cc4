"""Equivalence as evidence of a claim: confirmed only where both one-sided tests reject, refuted only beyond the margin."""

from __future__ import annotations

import numpy as np
import pytest

from paper_checks.real_nets.two_one_sided import Equivalent
from sdetheory import Between
from sdetheory.claims import compare
from sdetheory.stats import Estimate, mean_estimate

WITHIN = Between(-1.0, 1.0)


@pytest.mark.parametrize("value, stderr, status", [
    (0.0, 0.1, "confirmed"), (-0.5, 0.1, "confirmed"), (0.0, 0.5, "inconclusive"), (0.9, 0.1, "inconclusive"),
    (1.1, 0.1, "inconclusive"), (-2.0, 0.1, "refuted"), (2.0, 0.1, "refuted")])
def test_an_equivalence_needs_an_error_that_is_small_beside_the_margin(value, stderr, status):
    (found,) = compare(Equivalent(Estimate(value, stderr)), "x", WITHIN, 1e-3, 1.0)
    assert found.status == status
    assert bool(found.remedy) == (status == "inconclusive")


def test_what_is_not_equivalent_is_confirmed_no_more_often_than_stated():
    rng, alpha = np.random.default_rng(7), 0.05
    samples = rng.normal(1.0, 2.0, (4000, 25))  # at the edge of the margin, where the level is reached
    confirmed = np.mean([compare(Equivalent(mean_estimate(x)), "x", WITHIN, alpha, 1.0)[0].status == "confirmed" for x in samples])
    assert confirmed < alpha + 4 * np.sqrt(alpha / len(samples))


def test_paths_that_diverged_leave_an_equivalence_open():
    (found,) = compare(Equivalent(mean_estimate([0.0, 0.01, -0.01, 0.0, np.nan])), "x", WITHIN, 1e-3, 1.0)
    assert found.status == "inconclusive"


def test_a_margin_that_is_not_symmetric_is_refused():
    with pytest.raises(ValueError, match="Between"):
        compare(Equivalent(Estimate(0.0, 0.1)), "x", 0.0, 1e-3, 1.0)
