"""Measured orders are the declared ones, bias and sampling error stand apart, and what has no order is not given one."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
import pytest
import sympy

import sdetheory as sdt
from sdetheory.studies import strong_error_study, weak_error_study, work_precision

matplotlib.use("Agg")
x = sympy.Symbol("x", real=True)
MU = SIGMA = 0.5
GBM = sdt.SDE([x], [MU * x], [[SIGMA * x]])
OU = sdt.SDE([x], [-1.0 * x], [[1.0]])
SQUARE = math.exp(2 * MU + SIGMA**2)


def euler_square(n: int) -> float:
    """E Y² of Euler–Maruyama with n steps, exactly."""
    return ((1 + MU / n) ** 2 + SIGMA**2 / n) ** n


def test_the_weak_errors_of_euler_maruyama_are_the_exact_ones_within_their_sampling_error():
    steps = (2, 4, 8, 16)
    study = weak_error_study(GBM, x**2, [1.0], 1.0, steps=steps, exact=SQUARE, n_paths=1_000_000, rng=0)
    exact = np.array([abs(euler_square(n) - SQUARE) for n in steps])
    assert (np.abs(study.errors - exact) < 4.5 * study.stderr).all()
    wrong = exact * 1.1  # ten percent off is seen
    assert (np.abs(study.errors - wrong) > 4.5 * study.stderr).any()


@pytest.mark.parametrize("scheme, order, steps", [("euler_maruyama", 1, (8, 16, 32, 64)), ("weak_order_2", 2, (4, 8, 16, 32))])
def test_without_the_exact_value_the_weak_order_is_the_promised_one(scheme, order, steps):
    study = weak_error_study(GBM, x**2, [1.0], 1.0, steps=steps, scheme=scheme, n_paths=1_000_000, rng=1)
    low, high = study.interval()
    assert study.promised == order and study.against == "from h to h/2"
    assert order - 0.5 < low and high < order + 0.5 and study.fit.order == pytest.approx(order, abs=0.25)


def test_a_scheme_with_three_point_increments_is_studied_on_independent_runs():
    study = weak_error_study(GBM, x**2, [1.0], 1.0, steps=(1, 2, 3, 4), scheme="weak_order_2_three_point",
                             n_paths=1_000_000, rng=2)
    assert study.fit is not None and 1 < study.fit.order < 2.5


@pytest.mark.parametrize("scheme, order", [("euler_maruyama", 0.5), ("milstein", 1.0)])
def test_the_strong_order_is_the_promised_one_and_the_other_is_refuted(scheme, order):
    study = strong_error_study(GBM, [1.0], 1.0, scheme=scheme, steps=(16, 32, 64, 128), rng=3)
    low, high = study.interval()
    assert study.promised == order and order - 0.25 < low <= high < order + 0.25
    assert study.fit.order == pytest.approx(order, abs=0.1)


def test_against_a_reference_the_error_falls_to_the_limit_of_that_scheme():
    """Euler–Maruyama tends to where Milstein does, with its own order."""
    study = strong_error_study(GBM, [1.0], 1.0, reference="milstein", steps=(16, 32, 64, 128), rng=4)
    assert study.fit.order == pytest.approx(0.5, abs=0.1) and "milstein at 1024 steps" in study.against


def test_errors_within_the_sampling_error_get_no_order_and_it_is_said():
    study = weak_error_study(GBM, x**2, [1.0], 1.0, steps=(256, 512, 1024, 2048), exact=SQUARE, n_paths=1000, rng=0)
    assert study.fit is None and not study.asymptotic
    assert "standard errors" in study.message and "no order" in repr(study)
    with pytest.raises(ValueError, match="study: expected a fitted order"):
        study.interval()


def test_a_slope_that_depends_on_the_range_is_called_not_yet_asymptotic():
    """dx = −4x dt, no noise to speak of: the error of 1 − 4/n steps is far from its order at n = 3 to 24."""
    sde = sdt.SDE([x], [-4.0 * x], [[1e-3]])
    study = weak_error_study(sde, x, [1.0], 1.0, steps=(3, 6, 12, 24), exact=math.exp(-4), n_paths=1000, rng=0)
    assert not study.asymptotic and "not yet asymptotic" in repr(study)


def test_a_study_draws_itself_and_prints_a_table():
    study = strong_error_study(GBM, [1.0], 1.0, steps=(4, 8, 16, 32), n_paths=200, rng=0)
    ax = study.plot()
    assert ax.get_xscale() == "log" and len(study.table().splitlines()) == 5 and "\n" not in repr(study)
    matplotlib.pyplot.close(ax.figure)


def test_work_and_precision_shows_what_was_asked_what_came_and_the_cost():
    ways = {"weak2": {"method": "weak2"}, "multilevel": {"method": "multilevel", "control": False}}
    found = work_precision(GBM, x**2, [1.0], 1.0, rtols=(3e-2, 1e-1), methods=ways, exact=SQUARE, rng=0)
    for name in ways:
        loose, tight = found.runs[name]
        assert tight.tolerance < loose.tolerance and tight.converged
        assert (found.errors(name) == [abs(e.value - SQUARE) for e in (loose, tight)]).all()
    ax = found.plot()
    assert len(ax.lines) == 4
    matplotlib.pyplot.close(ax.figure)


@pytest.mark.parametrize("call, match", [
    (lambda: weak_error_study(GBM, x, [1.0], 1.0, steps=(1, 2, 4)), "steps: expected at least 4"),
    (lambda: weak_error_study(GBM, sympy.Symbol("q"), [1.0], 1.0), "functional: q has the symbol q, which the SDE has not"),
    (lambda: weak_error_study(GBM, x, [1.0], -1.0), "t1: expected a number > 0"),
    (lambda: strong_error_study(GBM, [1.0], 1.0, steps=(3, 4, 5, 6)), "steps: expected the coarsest times powers of 2"),
    (lambda: strong_error_study(OU, [1.0], 1.0, reference="strong_order_1_5"), "reference: expected a scheme that draws"),
    (lambda: strong_error_study(GBM, [1.0], 1.0, scheme="weak_order_2_three_point"), "scheme: expected one whose increments"),
])
def test_bad_input_is_refused_with_a_remedy(call, match):
    with pytest.raises(ValueError, match=match):
        call()
