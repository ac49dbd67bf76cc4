"""Every statement of SVAG-7 and SVAG-8 has a control of its own, and it is refuted."""

import importlib

import pytest


@pytest.mark.parametrize("name", ["svag_07_linear_scaling", "svag_08_noise_shape"])
def test_each_comparison_is_refuted_for_a_statement_that_is_wrong_in_it(name):
    claim = importlib.import_module(f"paper_checks.svag.{name}").claim
    verdict = claim.verify(mode="quick")
    assert verdict.status == "confirmed", verdict
    assert len(verdict.control.comparisons) == len(verdict.comparisons)
    assert {c.status for c in verdict.control.comparisons} == {"refuted"}
    assert (verdict.control.unstated, verdict.control.power > 0.99) == ((), True)
