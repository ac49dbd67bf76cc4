"""The shape of the noise, stable noise and the modified equation (SVAG-8, SVAG-9, SVAG-11): each number has an independent oracle."""

import numpy as np
import pytest

from sdetheory.theory import svag

EPS = np.finfo(float).eps
SKEWED = (np.array([0.8, 0.2]), np.array([-0.5, 2.0]))  # variance 1, third moment 1.5
SIGNS = (np.array([0.5, 0.5]), np.array([-1.0, 1.0]))
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(40)
NORMAL = (WEIGHTS / WEIGHTS.sum(), NODES)


def mean_after_step(law, lr, f):
    return law[0] @ f(0.3 - lr * (0.7 + law[1]))


def test_skewed_noise_is_seen_in_third_order_and_symmetric_noise_in_fourth():
    lr = 1e-2  # the terms left out are lr times those kept, times derivatives and moments of order 1
    gap = mean_after_step(SKEWED, lr, np.sin) - mean_after_step(NORMAL, lr, np.sin)
    at = 0.3 - 0.7 * lr
    found = svag.skewed_step_gap(lr=lr, third_moment=1.5, third_derivative=-np.cos(at))
    assert gap == pytest.approx(found, rel=0.05)
    lr = 0.05
    gap = mean_after_step(SIGNS, lr, np.sin) - mean_after_step(NORMAL, lr, np.sin)
    found = svag.symmetric_step_gap(lr=lr, noise_variance=1.0, fourth_derivative=np.sin(0.3 - 0.7 * lr))
    assert gap == pytest.approx(found, rel=0.02)


@pytest.mark.parametrize(("law", "order", "formula", "noise"), [
    (SKEWED, 3, svag.third_moment_gap, {"third_moment": 1.5}), (SIGNS, 4, svag.fourth_moment_gap, {"noise_variance": 1.0})])
def test_the_gap_of_moments_after_some_steps_is_that_of_all_paths(law, order, formula, noise):
    lr, a, steps = 0.3, 0.8, 6
    x, p = np.array([0.4]), np.array([1.0])
    for _ in range(steps):
        x = ((1 - lr * a) * x[:, None] - lr * law[1]).ravel()
        p = (p[:, None] * law[0]).ravel()
    q = 1 - lr * a
    mean, variance = q**steps * 0.4, lr**2 * (1 - q ** (2 * steps)) / (1 - q**2)
    normal = {3: mean**3 + 3 * mean * variance, 4: mean**4 + 6 * mean**2 * variance + 3 * variance**2}[order]
    found = formula(step=steps, lr=lr, eigenvalue=a, **noise)
    assert p @ x**order - normal == pytest.approx(found, rel=1e-11)


def test_the_sde_is_first_order_away_from_both():
    lr, a, t, w0 = 1e-5, 0.8, 1.5, 2.0
    q, steps = 1 - lr * a, round(t / lr)
    here = q ** (2 * steps) * w0**2 + lr**2 * (1 - q ** (2 * steps)) / (1 - q**2)
    there = np.exp(-2 * a * t) * w0**2 + lr * (1 - np.exp(-2 * a * t)) / (2 * a)
    assert (here - there) / lr == pytest.approx(svag.sde_second_moment_gap(t=t, eigenvalue=a, w0=w0), rel=1e-4)


def test_cauchy_displacements_add_up_and_grow_with_half_a_power():
    for amplification in (1, 4, 50):
        s = np.sqrt(2 * amplification - 1)
        scale = amplification * 0.1 / amplification * (abs(1 + s) / 2 + abs(1 - s) / 2) * 3.0  # scales of Cauchy laws add
        found = svag.stable_displacement(amplification=amplification, lr=0.1, stability=1.0, noise_scale=3.0)
        assert found == pytest.approx(scale, rel=8 * EPS)
    for stability in (0.7, 1.0, 1.5, 2.0):
        ends = svag.stable_displacement(amplification=[10**10, 10**12], lr=0.1, stability=stability, noise_scale=3.0)
        growth = np.log(ends[1] / ends[0]) / np.log(100)
        assert growth == pytest.approx(svag.stable_growth_exponent(stability=stability), abs=1e-6)


def test_descent_departs_from_the_flow():
    x = 1.0
    for _ in range(6):
        x -= 0.3 * 0.9 * x
    assert svag.descent_over_flow(step=6, lr=0.3, eigenvalue=0.9) == pytest.approx(x / np.exp(-0.9 * 1.8), rel=16 * EPS)


def test_the_modified_drift_is_the_slope_of_the_modified_loss_and_gains_an_order():
    lr, x, h = 0.3, 0.7, 1e-5

    def modified(x):
        return svag.modified_loss(lr=lr, loss=np.sin(x), sq_grad=np.cos(x) ** 2)

    slope = (modified(x + h) - modified(x - h)) / (2 * h)
    assert svag.modified_drift(lr=lr, gradient=np.cos(x), hessian=-np.sin(x)) == pytest.approx(-slope, rel=1e-8)
    one = dict(t=2.0, eigenvalue=0.9, w0=1.5)
    for lr, rel in ((1e-3, 2e-3), (1e-4, 2e-4)):  # what is left out is lr times what is kept, times a² t of order 1
        sgd = 1.5 * (1 - lr * 0.9) ** round(2.0 / lr)
        assert (sgd - 1.5 * np.exp(-1.8)) / lr == pytest.approx(svag.first_order_mean_error(**one), rel=rel)
        better = (sgd - 1.5 * np.exp(-1.8 * (1 + lr * 0.45))) / lr**2
        assert better == pytest.approx(svag.second_order_mean_error(**one), rel=rel)


@pytest.mark.parametrize("noise_to_signal", [0.0, 2e-4, 1.0, 200.0])
def test_the_second_moment_over_that_of_the_sde_is_a_recursion_over_an_exponential(noise_to_signal):
    lr, a, x0 = 0.3, 0.9, 1.7
    variance = noise_to_signal * (a * x0) ** 2
    here = x0**2
    for _ in range(6):
        here = (1 - lr * a) ** 2 * here + lr**2 * variance
    rest = lr * variance / (2 * a)
    there = rest + (x0**2 - rest) * np.exp(-2 * a * 6 * lr)
    found = svag.second_moment_over_sde(step=6, lr=lr, eigenvalue=a, noise_to_signal=noise_to_signal)
    assert found == pytest.approx(here / there, rel=64 * EPS)


def test_with_much_noise_the_second_moment_stays_between_its_bounds():
    k = np.arange(1, 60)
    for u in (0.01, 0.3, 1.0, 1.6):  # falling up to 1.28, rising beyond
        found = svag.second_moment_over_sde(step=k, lr=u, eigenvalue=1.0, noise_to_signal=1e12)
        first, rest = 2 * u / (1 - np.exp(-2 * u)), 1 / (1 - u / 2)
        assert found[0] == pytest.approx(first, rel=1e-9)
        assert (found >= min(first, rest) * (1 - 1e-9)).all()
        assert (found <= max(first, rest) * (1 + 1e-9)).all()
