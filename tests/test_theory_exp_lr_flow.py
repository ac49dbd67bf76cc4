"""EXP-14 and EXP-15: each formula is proved, a wrong constant is not, and descent and the recursion themselves agree."""

import numpy as np
import pytest
import scipy
import sympy

from sdetheory.hypotheses import HypothesisError
from sdetheory.losses import RayleighQuotient, SphereQuartic
from sdetheory.schedules import Cosine, FromArray
from sdetheory.theory import exp_lr
from sdetheory.theory.exp_lr import gradient_flow, slow_schedules
from sdetheory.theory.exp_lr.slow_schedules import slow_texp_offset
from sdetheory.translate import remove_weight_decay, tapered

FORMULAS = (gradient_flow.flow_time, gradient_flow.flow_growth_rate, gradient_flow.norm_growth_of_steps,
            gradient_flow.log_ratio_shift_of_steps, slow_schedules.slow_texp_offset)
SPAN, TOTAL = 0.8, 2.0  # flow time, and growth of ln lr in all


@pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.name)
def test_the_derivation_closes_and_a_constant_off_by_one_per_cent_is_refuted(formula):
    assert formula.verify().status == "proved", formula.verify()
    assert formula.replaced(sympy.Rational(101, 100) * formula.expr).verify().status == "failed"


def test_the_growing_rate_reaches_the_flow_time_that_its_integral_says():
    at = {"lr": 0.3, "growth_rate": 0.7}
    area, _ = scipy.integrate.quad(lambda t: 0.3 * np.exp(0.7 * t), 0, 2.0)
    assert gradient_flow.flow_time(t=2.0, **at) == pytest.approx(area, rel=1e-12)


def test_the_growth_rate_of_flow_is_that_of_steps_up_to_the_second_order():
    decays = np.array([1e-3, 1e-4])
    steps = -2 * np.log1p(-0.1 * decays)
    apart = steps - gradient_flow.flow_growth_rate(lr=0.1, weight_decay=decays)
    assert apart == pytest.approx((0.1 * decays) ** 2, rel=1e-3)


def _flow(loss, w0):
    """Loss at the end of the flow and its integral, from a solver."""
    def field(_, state):
        return np.append(-loss.gradient(state[:-1]), loss.value(state[:-1]))

    end = scipy.integrate.solve_ivp(field, (0, SPAN), np.append(w0, 0.0), rtol=1e-11, atol=1e-12).y[:, -1]
    return loss.value(end[:-1]), end[-1], end[:-1]


def _descent(loss, w0, n):
    q = np.exp(TOTAL / n)
    lr = SPAN * (q - 1) / (q**n - 1)  # their sum is SPAN
    w = w0
    for k in range(n):
        w = w - lr * q**k * loss.gradient(w)
    return w


# with the bound of the Hessian on the sphere (EXP-13)
@pytest.mark.parametrize(("loss", "curvature"), [(SphereQuartic([2.0, 4.0, 10.0, 16.0]), 8 * (3 + 13**0.5)),
                                                 (RayleighQuotient([0.0, 0.7, 1.5, 3.0]), 1.5 * (1 + 2**0.5))],
                         ids=["quartic", "Rayleigh quotient"])
def test_steps_make_the_norm_grow_as_derived_on_every_scale_invariant_loss(loss, curvature):
    w0 = np.array([0.1, 0.3, 0.5, 0.65**0.5])
    end, integral, _ = _flow(loss, w0)
    rate = SPAN / gradient_flow.flow_time(t=1.0, lr=1.0, growth_rate=TOTAL)
    predicted = gradient_flow.norm_growth_of_steps(lr=rate, growth_rate=TOTAL, loss_drop=loss.value(w0) - end,
                                                   loss_excess=integral - SPAN * end)
    coarse, fine = ((np.sum(_descent(loss, w0, n) ** 2) - 1) * n for n in (800, 1600))
    # the rest is of first order in the longest step times the curvature; extrapolated once, of second order
    rest = predicted * (rate * np.exp(TOTAL) / 1600 * curvature) ** 2
    assert abs(2 * fine - coarse - predicted) < rest
    constant = gradient_flow.norm_growth_of_steps(lr=SPAN, growth_rate=0.0, loss_drop=loss.value(w0) - end,
                                                  loss_excess=integral - SPAN * end)
    assert abs(constant - predicted) > 2 * rest  # the constant rate's growth would be seen


def test_steps_shift_the_direction_as_derived():
    a = np.array([0.0, 0.7, 1.5, 3.0])
    loss, w0 = RayleighQuotient(a), np.array([0.5, 0.5, 0.5, 0.5])
    _, integral, end = _flow(loss, w0)
    rate = SPAN / gradient_flow.flow_time(t=1.0, lr=1.0, growth_rate=TOTAL)
    predicted = gradient_flow.log_ratio_shift_of_steps(
        flow_time=SPAN, lr=rate, growth_rate=TOTAL, loss0=loss.value(w0), loss_integral=integral, eigenvalue=3.0,
        other_eigenvalue=0.7)

    def shift(w):
        return np.log(w[3] / w[1]) - np.log(end[3] / end[1])

    coarse, fine = (shift(_descent(loss, w0, n)) * n for n in (800, 1600))
    assert abs(2 * fine - coarse - predicted) < 0.1 * abs(fine - coarse)


def _left(first, last, decay, momentum):
    z_first, z_last = (exp_lr.larger_root(lr=lr, weight_decay=decay, momentum=momentum) for lr in (first, last))
    return slow_texp_offset(alpha=z_last, previous_alpha=z_first, momentum=momentum)


@pytest.mark.parametrize("momentum", [0.3, 0.9])
def test_what_a_slow_schedule_leaves_does_not_depend_on_its_shape(momentum):
    first, last = 0.1, 0.02
    decay = 0.5 * exp_lr.critical_intrinsic_lr(momentum=momentum) / first
    predicted = _left(first, last, decay, momentum)

    def factor(schedule, n):
        plain = tapered(schedule, decay, momentum, n_steps=n)
        exact = remove_weight_decay(schedule, decay, momentum, n_steps=n, start="root")
        return np.exp(plain.log_decay_free_lr[-1] - exact.log_decay_free_lr[-1])

    for shape in (lambda n: Cosine(first, n, last), lambda n: FromArray(np.linspace(first, last, n))):
        coarse, fine = (factor(shape(n), n) for n in (2000, 4000))
        assert abs(2 * fine - coarse - predicted) < 0.05 * abs(fine - coarse)  # of order 1/n² < 1/n of what was taken away
        assert abs(1 - predicted) > 10 * abs(fine - predicted)


def test_a_slow_change_there_and_back_leaves_nothing_and_a_small_jump_what_a_jump_leaves():
    at = {"weight_decay": 0.01, "momentum": 0.9}
    assert _left(0.1, 0.05, 0.01, 0.9) * _left(0.05, 0.1, 0.01, 0.9) == pytest.approx(1.0, rel=1e-14)
    small = 0.1 * (1 - 1e-4)
    before = exp_lr.larger_root(lr=0.1, **at)
    alpha = exp_lr.alpha_step(alpha=before, lr=small, previous_lr=0.1, **at)
    jump = exp_lr.texp_offset(alpha=alpha, lr=small, **at)
    assert np.log(jump) == pytest.approx(np.log(_left(0.1, small, 0.01, 0.9)), rel=1e-2)


def test_the_leading_order_at_a_rate_that_falls_to_0():
    mu, x = 0.9, 5e-5
    first = exp_lr.larger_root(lr=0.1, weight_decay=x / 0.1, momentum=mu)
    found = 1 - slow_texp_offset(alpha=1.0, previous_alpha=first, momentum=mu)
    assert found == pytest.approx(mu * x**2 / (1 - mu) ** 4, rel=0.03)


def test_the_smaller_root_is_refused():
    with pytest.raises(HypothesisError, match="EXP-15"):
        slow_texp_offset(alpha=0.99, previous_alpha=0.9, momentum=0.9)
