"""Schedules are functions of the step: right values, composed step by step, frozen, refused where senseless."""

import dataclasses
import pickle

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdetheory.hypotheses import HypothesisError
from sdetheory.schedules import (
    TEXP,
    Constant,
    Cosine,
    Exponential,
    FromArray,
    FromCallable,
    Piecewise,
    Schedule,
    StepDecay,
    Triangular,
    WarmUp,
    as_schedule,
    one_minus_larger_root,
)

EPS = np.finfo(float).eps
ONE_OF_EACH = [
    Constant(0.1), StepDecay(0.5, (3, 7), 0.1), Cosine(0.3, 9, 0.01), Triangular(0.1, 0.4, 6), WarmUp(4, 0.2),
    Exponential(0.1, 1.5), TEXP(StepDecay(0.5, (4,), 0.1), 0.02, 0.5), Piecewise([0.1, Cosine(0.2, 5)], [0, 4]),
    FromArray(np.linspace(0, 1, 12)), FromCallable(lambda k: 1 / (1 + k)),
    FromCallable(lambda k: 1 / (1 + k), takes_arrays=True),
    WarmUp(3) * Cosine(0.2, 8), 0.5 * Triangular(0.0, 1.0, 4), Cosine(1.0, 10).clip(0.2, 0.8),
    Constant(0.1).then(Exponential(0.1, 0.5), at=2).then(0.3, at=6),
]
ids = [repr(s) for s in ONE_OF_EACH]


@pytest.mark.parametrize("schedule", ONE_OF_EACH, ids=ids)
def test_an_array_of_steps_gives_what_the_steps_give_one_by_one(schedule):
    steps = np.array([[0, 1, 2], [5, 7, 10]])
    together = schedule(steps)
    assert together.shape == steps.shape and together.dtype == np.float64 and schedule.vectorised
    one_by_one = [schedule(int(k)) for k in steps.ravel()]
    assert all(type(value) is float for value in one_by_one)
    # SIMD and scalar loops of NumPy may round exp, cos and powers differently, by 1 ulp each
    np.testing.assert_allclose(together.ravel(), one_by_one, rtol=8 * EPS)
    np.testing.assert_array_equal(schedule.table(11), schedule(np.arange(11)))


@pytest.mark.parametrize("schedule", ONE_OF_EACH, ids=ids)
def test_a_schedule_is_a_value(schedule):
    field = dataclasses.fields(schedule)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(schedule, field, 0)
    assert isinstance(schedule, Schedule) and "\n" not in repr(schedule) and schedule._repr_html_().startswith("<code>")
    if "lambda" not in repr(schedule):
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(schedule)).table(11), schedule.table(11))


def test_values_of_the_shapes():
    k = np.arange(12)
    powers = (k >= 3).astype(float) + (k >= 7)
    np.testing.assert_allclose(StepDecay(0.5, (3, 7), 0.1)(k), 0.5 * 0.1**powers, rtol=4 * EPS)
    np.testing.assert_allclose(Cosine(0.3, 9, 0.01)([0, 4.5, 9, 100]), [0.3, 0.155, 0.01, 0.01], rtol=4 * EPS)
    np.testing.assert_allclose(Triangular(0.1, 0.4, 6)(k), [0.1, 0.2, 0.3, 0.4, 0.3, 0.2] * 2, rtol=8 * EPS)
    np.testing.assert_allclose(WarmUp(4, 0.2)(k[:6]), [0.4, 0.6, 0.8, 1, 1, 1], rtol=4 * EPS)
    np.testing.assert_allclose(Exponential(0.1, 1.5)(k), [0.1 * 1.5 ** int(j) for j in k], rtol=16 * EPS)
    assert Exponential(0.1, 1.5)(0) == 0.1


def test_an_exponential_reaches_as_far_as_its_values_do():
    # 2^1200 is no float64, 2^-200 · 2^1200 is
    assert Exponential(2.0**-200, 2.0)(1200) == pytest.approx(2.0**1000, rel=1e-12)


@given(a=st.floats(0, 1e3), b=st.floats(0, 1e3), low=st.floats(0, 1), width=st.floats(0, 1), at=st.integers(1, 20))
def test_compositions_act_step_by_step(a, b, low, width, at):
    first, second, k = Cosine(a, 10), Triangular(0.0, b, 7), np.arange(25)
    np.testing.assert_array_equal((first * second)(k), first(k) * second(k))
    np.testing.assert_array_equal(first.clip(low, low + width)(k), np.clip(first(k), low, low + width))
    np.testing.assert_array_equal(first.then(second, at)(k), np.concatenate([first(k[:at]), second(k[at:] - at)]))


@pytest.mark.parametrize("n", [3, 50, 500])
def test_numbers_arrays_and_callables_become_schedules(n):
    for value in (0.25, [0.25] * n, np.full(n, 0.25), lambda k: 0.25, Constant(0.25)):
        np.testing.assert_array_equal(as_schedule("lr", value).table(n), np.full(n, 0.25))


# ---- TEXP


@pytest.mark.parametrize("x", [0.0, 1e-12, 5e-5, 1e-3, 0.02])
@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.5, 0.7])
def test_the_gap_of_the_larger_root_to_1_keeps_its_digits(x, momentum):
    with mpmath.workdps(60):
        b = 1 + mpmath.mpf(momentum) - mpmath.mpf(x)
        exact = 1 - (b + mpmath.sqrt(b**2 - 4 * mpmath.mpf(momentum))) / 2
    # one minus sqrt(momentum) and the discriminant lose digits only where the roots meet, far from here
    assert float(one_minus_larger_root(x, momentum)) == pytest.approx(float(exact), rel=32 * EPS, abs=0)


def test_the_larger_root_is_nan_where_the_roots_are_complex_or_negative():
    assert np.isnan(one_minus_larger_root([0.1, 4.0], 0.5)).all()
    assert np.isnan(one_minus_larger_root(1.0, 0.0))  # the root is 0


@pytest.mark.parametrize(("x", "momentum", "message"), [
    (-0.1, 0.5, "intrinsic_lr: expected numbers >= 0, got -0.1"), ([0.1, np.nan], 0.5, "intrinsic_lr: expected finite numbers"),
    (0.0, 1.0, "momentum: expected numbers >= 0 and < 1, got 1.0"), (0.1, -0.5, "momentum: expected numbers >= 0 and < 1"),
    (0.001, 1.5, "momentum: expected numbers >= 0 and < 1"), ([0.1, 0.2], [0.1, 0.2, 0.3], "expected shapes that go together"),
    ("a", 0.5, "intrinsic_lr: expected an array of real numbers"),
])
def test_the_larger_root_is_refused_outside_its_domain(x, momentum, message):
    with pytest.raises((ValueError, TypeError), match=message):
        one_minus_larger_root(x, momentum)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_texp_multiplies_as_stated_inside_phases_and_at_boundaries(momentum):
    decay, step = StepDecay(0.4, (5, 9), 0.25), np.arange(14)
    texp = TEXP(decay, 0.05, momentum)
    a = [max(np.roots([1, -(1 + momentum - lr * 0.05), momentum]).real) for lr in (0.4, 0.1, 0.025)]
    np.testing.assert_allclose(texp.roots, a, rtol=16 * EPS)
    ratio = texp(step[1:]) / texp(step[:-1])
    expected = [a[0] ** -2] * 4 + [0.25 / (a[0] * a[1])] + [a[1] ** -2] * 3 + [0.25 / (a[1] * a[2])] + [a[2] ** -2] * 4
    np.testing.assert_allclose(ratio, expected, rtol=64 * EPS)
    assert texp(0) == pytest.approx(0.4 / a[0], rel=16 * EPS)


def test_texp_needs_no_correction_without_momentum_and_one_a_phase_with_it():
    decay = StepDecay(0.4, (5, 9), 0.25)
    assert TEXP(decay, 0.05).corrections == ()
    texp = TEXP(decay, 0.05, 0.5)
    assert [c.step for c in texp.corrections] == [0, 5, 9]
    tilt = (1 - 1 / texp.roots) / decay([0, 5, 9])
    scale = np.cumprod([1, texp.roots[0] ** -5, texp.roots[1] ** -4])
    expected = np.diff(tilt, prepend=0) / scale**2
    # a difference of two tilts of size |tilt|
    np.testing.assert_allclose([c.coefficient for c in texp.corrections], expected, atol=64 * EPS * np.abs(tilt).max())


def test_texp_refuses_phases_without_a_positive_root():
    with pytest.raises(HypothesisError, match=r"EXP-7: needs intrinsic lr <= \(1 - sqrt\(momentum\)\)\^2 in every "
                                              r"phase, got intrinsic lr 0.04 from step 4 on, momentum 0.9"):
        TEXP(StepDecay(0.001, (4,), 400.0), 0.1, 0.9)
    with pytest.raises(HypothesisError, match="EXP-7: needs intrinsic lr < 1 in every phase"):
        TEXP(StepDecay(1.0, ()), 1.0)


# ---- refusals


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Constant(-0.1), "value: expected a number >= 0, got -0.1"),
    (lambda: StepDecay(0.1, (5, 3)), "milestones: expected rising steps"),
    (lambda: StepDecay(0.0, (5,)), "initial: expected a number > 0"),
    (lambda: Triangular(0.3, 0.1, 4), "high: expected a number >= 0.3"),
    (lambda: WarmUp(0), "n_steps: expected an integer >= 1"),
    (lambda: Piecewise([0.1, 0.2], [0]), "starts: expected 2 steps that rise from 0"),
    (lambda: Piecewise([0.1, 0.2], [1, 2]), "starts: expected 2 steps that rise from 0"),
    (lambda: FromArray([0.1, -0.2]), "array: expected one value >= 0 a step, got -0.2 at step 1"),
    (lambda: FromArray([]), "array: expected one value >= 0 a step, got none"),
    (lambda: FromArray([0.1, 0.2]).table(3), r"step: expected steps < 2 of FromArray\(2 values.*got 2"),
    (lambda: FromCallable(lambda k: 3.0 - k).table(9), "expected values >= 0, got -1 at step 4"),
    (lambda: Constant(0.1)(-1), "step: expected steps >= 0, got -1"),
    (lambda: Exponential(0.1, 2.0)(2000),
     r"within float64 range, got inf at step 2000; run fewer steps, or take it from sdetheory.translate"),
    (lambda: Constant(0.1).clip(0.5, 0.2), "high: expected a number >= low"),
])
def test_schedules_of_wrong_length_or_sign_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [lambda: FromCallable(3.0), lambda: as_schedule("lr", "0.1"),
                                  lambda: TEXP(Constant(0.1), 0.1), lambda: Constant(0.1) * "two"])
def test_things_that_are_no_schedules_are_refused(make):
    with pytest.raises(TypeError, match="expected"):
        make()


def test_plot_draws_one_line_a_schedule():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    line = Cosine(0.1, 10).plot(12, ax=ax, color="k")
    np.testing.assert_array_equal(line.get_ydata(), Cosine(0.1, 10).table(12))
    assert line.get_label() == "Cosine(initial=0.1, n_steps=10, final=0.0)" and ax.get_xlabel() == "step"
    plt.close(figure)
