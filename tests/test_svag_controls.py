"""Every statement of SVAG-3, 7, 8 and 9 has a control of its own, and it is refuted; the others leave no quantity out."""

import importlib
import pkgutil

import pytest

from paper_checks import svag

CLAIMS = {name: importlib.import_module(f"paper_checks.svag.{name}").claim
          for _, name, _ in pkgutil.iter_modules(svag.__path__) if name.startswith("svag_")}


@pytest.mark.parametrize("name", ["svag_03_weak_order", "svag_07_linear_scaling", "svag_08_noise_shape", "svag_09_without_limit"])
def test_each_comparison_is_refuted_for_a_statement_that_is_wrong_in_it(name):
    claim = CLAIMS[name]
    verdict = claim.verify(mode="quick")
    assert verdict.status == "confirmed", verdict
    without = sum(claim.quantities[quantity].n_points for quantity in claim.without_control)
    assert len(verdict.control.comparisons) == len(verdict.comparisons) - without
    assert {c.status for c in verdict.control.comparisons} == {"refuted"}
    assert (verdict.control.unstated, verdict.control.power > 0.99) == ((), True)


def test_one_quantity_of_the_paper_has_no_control_and_says_why():
    assert {(claim.id, quantity) for claim in CLAIMS.values() for quantity in claim.without_control} \
        == {("SVAG-9", "median, l = 1")}
