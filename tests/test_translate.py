"""Translations keep every function of every step: proved on states by exact arithmetic, and to rounding error on losses."""

import re
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdetheory.hypotheses import HypothesisError
from sdetheory.losses import RayleighQuotient, SphereQuartic
from sdetheory.schedules import TEXP, Constant, Cosine, Exponential, FromArray, StepDecay, Triangular, WarmUp
from sdetheory.translate import (
    certificate,
    remove_weight_decay,
    restore_weight_decay,
    run,
    tapered,
    weight_decay_of_exponential,
)
from sdetheory.translate.scaling import Scale

EPS = np.finfo(float).eps
D = 5


def minibatch_losses(n, seed=0, make=None):
    """One scale-invariant loss a step, drawn from 8 random Rayleigh quotients."""
    rng = np.random.default_rng(seed)
    make = make or (lambda m: RayleighQuotient((m + m.T) / 2))
    parts = [make(rng.normal(size=(D, D))) for _ in range(8)]
    return [parts[i] for i in rng.integers(8, size=n)]


def a_start(seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=D), rng.normal(size=D)


SCHEDULES = {
    "constant": lambda n: (0.1, 0.05, 0.7),
    "no momentum": lambda n: (0.1, 0.05, 0.0),
    "no decay": lambda n: (0.1, 0.0, 0.9),
    "step decay": lambda n: (StepDecay(0.2, (n // 3, n // 2), 0.2), 0.05, 0.5),
    "cosine": lambda n: (Cosine(0.2, n), 0.03, 0.7),
    "triangular": lambda n: (Triangular(0.05, 0.2, 40), 0.03, 0.6),
    "warm-up": lambda n: (WarmUp(20) * Constant(0.1), Triangular(0.0, 0.05, 30), 0.7),
    "momentum moves": lambda n: (0.1, 0.05, Triangular(0.0, 0.7, 50)),
    "random": lambda n: tuple(np.random.default_rng(7).uniform(low, high, n)
                              for low, high in ((0.05, 0.1), (0, 0.2), (0.3, 0.5))),
}


# ---- the equivalence


@pytest.mark.parametrize("start", [1.0, 0.9, "root"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_both_runs_give_the_same_functions_to_rounding_error(name, start):
    n = 200
    translation = remove_weight_decay(*SCHEDULES[name](n), n_steps=n, start=start)
    found = certificate(translation, minibatch_losses(n), *a_start())
    assert found.holds, found


def test_a_scale_invariant_loss_of_degree_four_does_as_well():
    n = 150
    losses = minibatch_losses(n, make=lambda m: SphereQuartic(m[0]))
    assert certificate(remove_weight_decay(Cosine(0.1, n), 0.05, 0.6, n_steps=n), losses, *a_start()).holds


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_states_correspond_exactly_whatever_the_gradients(data):
    """One step in rational arithmetic: (w, v) -> (P w, (v + tilt w)/P) commutes with the step, for any gradient."""
    def rational(low, high):
        return st.fractions(low, high, max_denominator=50)

    lr, decay, mu = (data.draw(rational(*b)) for b in ((Fraction(1, 50), 1), (0, 1), (0, Fraction(9, 10))))
    w, v, g, tilt = (data.draw(rational(-3, 3)) for _ in range(4))
    scale = data.draw(rational(Fraction(1, 10), 10))
    total = decay - mu * tilt
    alpha = 1 - lr * total
    if alpha <= 0:
        return
    after, tilt_after = scale / alpha, -total / alpha
    v1 = mu * v + g + decay * w
    w1 = w - lr * v1
    w_free, v_free = scale * w, (v + tilt * w) / scale
    v_free = mu * v_free + g / scale
    w_free = w_free - scale * after * lr * v_free
    assert (w_free, v_free) == (after * w1, (v1 + tilt_after * w1) / after)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_random_schedules_there_and_back(data):
    n = data.draw(st.integers(1, 40))

    def table(low, high):
        return np.array(data.draw(st.lists(st.floats(low, high), min_size=n, max_size=n)))

    lr, decay, mu = table(0.05, 0.1), table(0.0, 0.2), table(0.0, 0.5)
    there = remove_weight_decay(lr, decay, mu, n_steps=n)
    back = restore_weight_decay(there.decay_free_lr, lr, mu, n_steps=n)
    # n roundings of P, twice in alpha, over lr; at most doubled by the tilt (momentum/alpha^2 < 1)
    bound = 32 * (n + 1) * EPS / 0.05
    np.testing.assert_allclose(back.weight_decay, decay, rtol=0, atol=bound)
    np.testing.assert_allclose(back.tilt, there.tilt, rtol=0, atol=bound)
    np.testing.assert_allclose(back.log_scale, there.log_scale, rtol=0, atol=bound)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 40))
def test_random_schedules_are_certified(seed, n):
    rng = np.random.default_rng(seed)
    lr, decay, mu = rng.uniform(0.05, 0.1, n), rng.uniform(0, 0.2, n), rng.uniform(0, 0.5, n)
    translation = remove_weight_decay(lr, decay, mu, n_steps=n)
    w0, v0 = rng.normal(size=D), rng.normal(size=D)
    found = certificate(translation, minibatch_losses(n, seed), w0, v0)
    assert found.holds, found


@pytest.mark.parametrize("start", [1.0, "root"])
def test_the_states_of_the_two_runs_are_mapped_onto_each_other(start):
    n, (w, v) = 60, a_start()
    translation = remove_weight_decay(Cosine(0.2, 80), 0.05, 0.7, n_steps=n, start=start)
    free_w, free_v = translation.start(w, v)
    for k, loss in enumerate(minibatch_losses(n)):
        for found, expected in zip(translation.to_decay_free(w, v, k), (free_w, free_v), strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * np.abs(expected).max())
        for found, expected in zip(translation.from_decay_free(free_w, free_v, k), (w, v), strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * np.abs(w).max())
        v = 0.7 * v + loss.gradient(w) + 0.05 * w
        w = w - translation.lr[k] * v
        free_v = 0.7 * free_v + loss.gradient(free_w)
        free_w = free_w - translation.decay_free_lr[k] * free_v


# ---- the numbers of the theory


def test_the_recursion_is_the_one_of_the_statement():
    n, rng = 30, np.random.default_rng(0)
    lr, decay, mu = rng.uniform(0.05, 0.1, n), rng.uniform(0, 0.2, n), 0.5
    found = remove_weight_decay(lr, decay, mu, n_steps=n)
    alpha = [1.0]
    for k in range(n):
        before = 0.0 if k == 0 else lr[k] / lr[k - 1] * mu * (1 - 1 / alpha[k])
        alpha.append(1 - lr[k] * decay[k] + before)
    scale = np.cumprod([1.0, *[1 / a for a in alpha[1:]]])
    np.testing.assert_allclose(found.alpha, alpha, rtol=8 * EPS)
    np.testing.assert_allclose(found.decay_free_lr, scale[:-1] * scale[1:] * lr, rtol=4 * n * EPS)
    np.testing.assert_allclose(found.log_decay_free_lr, np.log(found.decay_free_lr), rtol=0, atol=4 * n * EPS)


def test_without_momentum_constant_hyper_parameters_give_the_exponential_of_exp_4():
    found = remove_weight_decay(0.5, 1.0, n_steps=20)
    np.testing.assert_array_equal(found.decay_free_lr, 0.5 * 2.0 ** (2 * np.arange(20) + 1))  # powers of 2: exact


def test_from_the_root_constant_hyper_parameters_give_the_exponential_of_exp_5():
    z1 = max(np.roots([1, -(1 + 0.7 - 0.1 * 0.2), 0.7]).real)
    found = remove_weight_decay(0.1, 0.2, 0.7, n_steps=40, start="root")
    np.testing.assert_allclose(found.alpha, z1, rtol=64 * EPS)
    np.testing.assert_allclose(found.decay_free_lr, 0.1 * z1 ** (-2 * np.arange(40) - 1.0), rtol=64 * 80 * EPS)
    assert found.tilt[0] == pytest.approx((z1 - 1) / (0.1 * z1), rel=1e-13)
    np.testing.assert_allclose(found.start(np.ones(2))[1], found.tilt[0] * np.ones(2))


def test_the_published_growth_an_epoch():
    # EXP-10: eta 0.1, lambda 5e-4, mu 0.9, 391 steps an epoch: 1.481
    found = remove_weight_decay(0.1, 5e-4, 0.9, n_steps=2 * 391, start="root")
    assert round(found.decay_free_lr[391] / found.decay_free_lr[0], 3) == 1.481


def test_a_start_from_two_points_is_a_start_from_a_buffer():
    translation = remove_weight_decay(0.1, 0.2, 0.7, n_steps=5, start=0.95)
    w0, w_before = np.array([1.0, 2.0]), np.array([1.5, 1.0])
    found = translation.start(w0, w_before=w_before, lr_before=0.1)
    np.testing.assert_array_equal(found, translation.start(w0, (w_before - w0) / 0.1))
    # EXP-5: w_{-1} is scaled by alpha_0, i.e. (alpha w_{-1} - w_0)/lr~_{-1} with lr~_{-1} = alpha lr
    np.testing.assert_allclose(found[1], (0.95 * w_before - w0) / (0.95 * 0.1), rtol=32 * EPS)


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_the_pair_of_an_exponential_is_equivalent_to_it(momentum):
    n, growth = 120, 1.02
    pair = weight_decay_of_exponential(0.1, growth, momentum)
    translation = remove_weight_decay(pair.lr, pair.weight_decay, momentum, n_steps=n, start=pair.alpha)
    np.testing.assert_allclose(translation.decay_free_lr, Exponential(0.1, growth).table(n), rtol=8 * n * EPS)
    assert translation.tilt[0] == pytest.approx(pair.tilt, rel=1e-12)
    assert certificate(translation, minibatch_losses(n), *a_start()).holds


def test_with_buffers_left_alone_only_the_first_decay_of_an_exponential_differs():
    momentum, growth, n = 0.6, 1.02, 50
    pair = weight_decay_of_exponential(0.1, growth, momentum)
    back = restore_weight_decay(Exponential(0.1, growth), pair.lr, momentum, n_steps=n)
    bound = 32 * n * EPS / pair.lr
    np.testing.assert_allclose(back.weight_decay[1:], pair.weight_decay, rtol=0, atol=bound)
    assert back.weight_decay[0] == pytest.approx(pair.weight_decay / (1 - momentum / pair.alpha), abs=bound)


def test_the_words_of_a_certificate_are_those_of_its_verdict():
    n, seen = 30, []
    right = remove_weight_decay(0.1, 0.1, 0.5, n_steps=n)
    wrong = replace(right, decay_free_lr=right.decay_free_lr * right.alpha[1:])
    for seed in range(40):
        for translation in (right, wrong):
            found = certificate(translation, minibatch_losses(n, seed), *a_start(seed))
            said = re.findall(r"float\d\d ([0-9.e+-]+) \(rounding explains ([0-9.e+-]+)\)", repr(found))
            assert len(said) == 2 and found.holds == all(float(gap) <= float(explained) for gap, explained in said)
            assert ("holds" if found else "FAILS") in repr(found)
            seen.append(bool(found))
    assert seen == [True, False] * 40


# ---- negative controls: each breaks one thing, and the certificate must refuse it


def altered(translation, losses, w0, v0):
    free = [w / np.linalg.norm(w) for w in run(translation, losses, w0, v0, decay_free=True)]
    with_decay = [w / np.linalg.norm(w) for w in run(translation, losses, w0, v0, decay_free=False)]
    return np.linalg.norm(np.subtract(free, with_decay), axis=1).max()


def test_leaving_the_initial_buffer_alone_breaks_the_root_start():
    n, (w0, v0) = 60, a_start()
    translation = remove_weight_decay(0.1, 0.1, 0.7, n_steps=n, start="root")
    assert altered(translation, minibatch_losses(n), w0, v0) < 1e-13
    broken = replace(translation, tilt=np.zeros(n + 1))
    assert altered(broken, minibatch_losses(n), w0, v0) > 1e-3
    assert not certificate(broken, minibatch_losses(n), w0, v0).holds


def test_an_exponent_off_by_one_is_refused():
    n = 60
    translation = remove_weight_decay(0.1, 0.1, n_steps=n)
    broken = replace(translation, decay_free_lr=translation.decay_free_lr * translation.alpha[1:])
    assert not certificate(broken, minibatch_losses(n), *a_start()).holds


def test_a_loss_that_is_not_scale_invariant_is_refused():
    quadratic = SimpleNamespace(value=lambda w: 0.5 * w @ w, gradient=lambda w: w * np.arange(1, D + 1, dtype=w.dtype))
    assert not certificate(remove_weight_decay(0.1, 0.1, n_steps=40), quadratic, a_start()[0]).holds


# ---- TEXP


STEPS = StepDecay(0.3, (60, 110), 0.2)


def test_texp_with_corrections_is_exact_and_without_is_not():
    n = 160
    translation = tapered(STEPS, 0.05, 0.6, n_steps=n)
    assert [c.step for c in translation.corrections] == [60, 110]
    assert certificate(translation, minibatch_losses(n), *a_start()).holds
    plain = translation.without_corrections()
    assert translation.exact and not plain.exact and "not exact" in repr(plain)
    assert not certificate(plain, minibatch_losses(n), *a_start()).holds


def test_texp_without_momentum_is_the_exact_translation():
    exact, texp = (f(STEPS, 0.05, 0.0, n_steps=160) for f in (remove_weight_decay, tapered))
    assert texp.corrections == ()
    np.testing.assert_allclose(texp.decay_free_lr, exact.decay_free_lr, rtol=64 * EPS)


def test_texp_as_a_schedule_and_as_a_translation_agree():
    schedule, translation = TEXP(STEPS, 0.05, 0.6), tapered(STEPS, 0.05, 0.6, n_steps=160)
    # the exponent of the schedule reaches 10, with a few roundings
    np.testing.assert_allclose(schedule.table(160), translation.decay_free_lr, rtol=64 * EPS)
    np.testing.assert_allclose([c.coefficient for c in schedule.corrections],
                               [translation.tilt[0], *(c.coefficient for c in translation.corrections)], rtol=1e-12)


def test_plain_texp_keeps_the_permanent_factor_of_exp_9():
    n, boundary, mu, decay = 200, 60, 0.6, 0.05
    rates = StepDecay(0.3, (boundary,), 0.2)
    exact = remove_weight_decay(rates, decay, mu, n_steps=n, start="root")
    plain = tapered(rates, decay, mu, n_steps=n)
    z1, z2 = sorted(np.roots([1, -(1 + mu - 0.06 * decay), mu]).real, reverse=True)
    factor = ((exact.alpha[boundary + 1] - z2) / (z1 - z2)) ** 2
    assert abs(factor - 1) > 1e-3  # of order intrinsic_lr mu/(1 - mu)^2
    # what is left of the transient is (z2/z1)^140 ~ 1e-30
    assert plain.decay_free_lr[-1] / exact.decay_free_lr[-1] == pytest.approx(factor, rel=1e-12)


def test_tapering_a_schedule_that_moves_all_the_time_is_exact_with_a_correction_a_step():
    n = 80
    translation = tapered(Cosine(0.2, 100), 0.05, 0.5, n_steps=n)
    assert len(translation.corrections) == n - 1
    assert certificate(translation, minibatch_losses(n), *a_start()).holds


# ---- range


@pytest.mark.parametrize(("dtype", "n"), [("float32", 400), ("float64", 2500)])
def test_rescalings_keep_everything_in_range_and_change_no_function(dtype, n):
    translation = remove_weight_decay(0.2, 0.4, 0.5, n_steps=n, dtype=dtype)
    bits = {"float32": 16, "float64": 128}[dtype]
    assert len(translation.rescalings) >= 2
    assert all(np.log2(c.factor) == np.round(np.log2(c.factor)) for c in translation.rescalings)
    assert np.abs(np.log2(translation.scale)).max() <= bits + 2
    assert np.finfo(dtype).tiny < translation.decay_free_lr.min() and translation.decay_free_lr.max() < np.finfo(dtype).max
    assert certificate(translation, minibatch_losses(n), *a_start()).holds


def test_a_rescaling_by_a_power_of_two_changes_no_bit_of_the_directions():
    n, losses = 400, minibatch_losses(400)
    translation = remove_weight_decay(0.2, 0.3, 0.5, n_steps=n, dtype="float32")
    plain = translation.rescaled(None)
    assert translation.rescalings and not plain.rescalings
    for a, b in zip(run(translation, losses, *a_start(), decay_free=True), run(plain, losses, *a_start(), decay_free=True),
                    strict=True):
        np.testing.assert_array_equal(np.frexp(a)[0], np.frexp(b)[0])


def test_rescaled_corrections_are_those_of_the_new_scale():
    n = 200
    translation = tapered(StepDecay(0.3, (150,), 0.2), 0.3, 0.4, n_steps=n, dtype="float32")
    assert translation.rescalings
    assert certificate(translation, minibatch_losses(n), *a_start()).holds
    assert certificate(translation.rescaled("float64"), minibatch_losses(n), *a_start()).holds


def test_the_scale_of_a_constant_growth_does_not_drift():
    # s = 1e-3 at every step: 1 + s rounded alone would drift by up to n eps/2 = 2e-12
    import mpmath

    n, s = 20_000, 1e-3
    scale = Scale(np.full(n, s), None)
    with mpmath.workdps(40):
        exact = (1 + mpmath.mpf(s)) ** n
    # n roundings of products of size s, and one of the sum
    assert abs(scale.value[-1] / float(exact) - 1) < (n * s + 4) * EPS
    assert scale.log[-1] == pytest.approx(float(mpmath.log(exact)), rel=1e-11)


def test_a_schedule_out_of_range_without_rescalings_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"expected values within float64 range.*at step 7\d\d; ask for rescalings"):
        remove_weight_decay(0.5, 0.75, n_steps=2000, dtype=None)


def test_a_schedule_is_given_out_only_where_the_state_is_left_alone():
    short = remove_weight_decay(0.1, 0.1, 0.5, n_steps=20)
    assert isinstance(short.schedule, FromArray)
    np.testing.assert_array_equal(short.schedule.table(20), short.decay_free_lr)
    with pytest.raises(ValueError, match=r"schedule: expected a translation that leaves the state alone, got 2 corrections"):
        _ = tapered(STEPS, 0.05, 0.6, n_steps=160).schedule


# ---- refusals


@pytest.mark.parametrize(("make", "message"), [
    (lambda: remove_weight_decay([0.1] * 37 + [9.0] * 5, 0.05, 0.7, n_steps=42),
     r"EXP-7: needs intrinsic lr <= \(1 - sqrt\(momentum\)\)\^2 at every step, got intrinsic lr 0.45, bound 0.026.*at step 37"),
    (lambda: remove_weight_decay(0.1, 1.0, 0.9, n_steps=400), r"EXP-7: .*first at step 0; alpha is -[\d.]+ at step \d+"),
    (lambda: remove_weight_decay(1.0, 1.0, n_steps=4), "EXP-7: .*first at step 0; alpha is 0 at step 0"),
    (lambda: remove_weight_decay([0.001] * 9 + [4.0], [0.1] * 9 + [0.0], 0.9, n_steps=10),
     r"EXP-6: needs alpha > 0 at every step, got alpha = -\S+ first at step 9"),
    (lambda: remove_weight_decay(0.1, 0.5, 0.9, n_steps=4, start="root"), "EXP-7: needs .* for a root to start from"),
    (lambda: tapered(StepDecay(0.001, (4,), 400.0), 0.1, 0.9, n_steps=9), "EXP-7: .*intrinsic lr 0.04.*first at step 4"),
    (lambda: restore_weight_decay([0.1, 0.1, 0.05], 0.1, n_steps=3),
     "EXP-6: needs a weight decay >= 0 at every step, got -10 first at step 2"),
    (lambda: weight_decay_of_exponential(0.1, 0.9), r"EXP-5: needs 1 <= growth <= momentum\^-2"),
    (lambda: weight_decay_of_exponential(0.1, 2.0, 0.9), r"EXP-5: needs 1 <= growth <= momentum\^-2"),
])
def test_a_translation_that_does_not_exist_names_the_claim_and_the_first_step(make, message):
    with pytest.raises(HypothesisError, match=message):
        make()


@pytest.mark.parametrize(("make", "message"), [
    (lambda: remove_weight_decay([0.1] * 3, 0.1, n_steps=4), "lr: expected one value for each of 4 steps, got 3"),
    (lambda: remove_weight_decay(0.1, -0.1, n_steps=4), "weight_decay: expected a number >= 0"),
    (lambda: remove_weight_decay(0.1, 0.1, [0.5, 1.0], n_steps=2), "momentum: expected values below 1, got 1 at step 1"),
    (lambda: remove_weight_decay(0.1, 0.1, n_steps=0), "n_steps: expected an integer >= 1"),
    (lambda: remove_weight_decay(0.1, 0.1, n_steps=4, start="top"), "start: expected a number > 0 or 'root'"),
    (lambda: remove_weight_decay(0.1, 0.1, n_steps=4).start([1.0], w_before=[1.0]),
     "w_before: expected w_before with lr_before"),
    (lambda: certificate(remove_weight_decay(0.1, 0.1, n_steps=4), minibatch_losses(3), np.ones(D)),
     "one for each of 4 steps"),
    (lambda: certificate(remove_weight_decay(0.1, 0.1, n_steps=4), minibatch_losses(4), np.zeros(D)),
     "weights other than 0"),
])
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_learning_rate_of_zero_is_a_step_that_only_fills_the_buffer():
    n = 40
    lr = np.where(np.arange(n) % 5 == 2, 0.0, 0.1)
    translation = remove_weight_decay(lr, 0.1, 0.6, n_steps=n)
    assert certificate(translation, minibatch_losses(n), *a_start()).holds
