"""Moments on random linear gradients are exact: they are those of all paths, and SVAG's tend to those of its SDE with order 1."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import sdetheory as sdt
from sdetheory.dynamics import SVAG, NoisyGD, SingleBatchNearMiss, random_linear_sde
from sdetheory.exact import affine_law, affine_moments, sde_stationary_covariance, stationary_moments, svag_stationary_covariance
from sdetheory.losses import FiniteSum, RandomLinear, RayleighQuotient
from sdetheory.theory import svag as theory

EPS = np.finfo(float).eps
LINEAR = RandomLinear([0.25, 0.5, 0.25], [1.0, 2.0, 0.5], [0.3, -0.4, 0.1])
PLANE = RandomLinear([0.2, 0.5, 0.3], [[[2.0, 0.5], [0.5, 1.0]], [[1.0, -0.5], [-0.5, 0.5]], [[0.5, 0.0], [0.0, 3.0]]],
                     [[1.0, 0.0], [-0.5, 0.25], [0.0, -1.0]])
SUM = FiniteSum([RayleighQuotient(a) for a in ([1.0, 0.0, 2.0], [0.0, 3.0, 1.0], [1.0, 1.0, -1.0])], batch_size=2)
START = {1: [1.5], 2: [1.0, -0.5], 3: [1.0, -0.5, 0.75]}


def tree(rule, w0, steps, outcomes):
    """Every path of a rule: probabilities and weights; `outcomes(w)` gives the (probability, new weights) of a step."""
    paths = [(1.0, np.array(w0))]
    for _ in range(steps):
        paths = [(p * q, new) for p, w in paths for q, new in outcomes(w)]
    return np.array([p for p, _ in paths]), np.array([w for _, w in paths])


def sgd_outcomes(loss, lr, decay):
    return lambda w: [(p, w - lr * (A @ w - b + decay * w))
                      for p, A, b in zip(loss.probabilities, loss.matrices, loss.offsets, strict=True)]


def svag_outcomes(loss, lr, decay, rule):
    both = list(zip(loss.probabilities, loss.matrices, loss.offsets, strict=True))
    f, s = rule.weights
    return lambda w: [(p * q, w - lr / rule.amplification * (f * (A @ w - b) + s * (C @ w - c) + decay * w))
                      for (p, A, b), (q, C, c) in itertools.product(both, both)]


def near_miss_outcomes(loss, lr, decay, rule):
    return lambda w: [(p / 2, w - lr / rule.amplification * (factor * (A @ w - b) + decay * w)) for factor in rule.weights
                      for p, A, b in zip(loss.probabilities, loss.matrices, loss.offsets, strict=True)]


@pytest.mark.parametrize("loss", [LINEAR, PLANE], ids=["line", "plane"])
@pytest.mark.parametrize("kind", ["SGD", "SVAG", "near miss"])
def test_moments_are_those_of_all_paths(kind, loss):
    lr, decay, order = 0.3, 0.1, 4
    rule, outcomes = {
        "SGD": lambda: (sdt.SGD(loss, lr=lr, weight_decay=decay), sgd_outcomes(loss, lr, decay)),
        "SVAG": lambda: (r := SVAG(loss, lr=lr, amplification=3, weight_decay=decay), svag_outcomes(loss, lr, decay, r)),
        "near miss": lambda: (r := SingleBatchNearMiss(loss, lr=lr, amplification=3, weight_decay=decay),
                              near_miss_outcomes(loss, lr, decay, r)),
    }[kind]()
    p, w = tree(rule, START[loss.dim], 3, outcomes)
    # numbers of order 1, summed in blocks over a few thousand outcomes: some hundred eps; a covariance also cancels squares
    moments = affine_moments(rule, START[loss.dim], [0, 3], order=order)
    for powers in itertools.product(range(order + 1), repeat=loss.dim):
        if sum(powers) <= order:
            expected = p @ np.prod(w ** np.array(powers), axis=1)
            assert moments.moment(*powers)[1] == pytest.approx(expected, rel=1e-12, abs=1e-13)
    np.testing.assert_allclose(moments.mean[1], p @ w, atol=1e-13)
    np.testing.assert_allclose(moments.covariance[1], np.cov(w.T, aweights=p, ddof=0).reshape(loss.dim, loss.dim), atol=1e-12)


@pytest.mark.parametrize("loss", [LINEAR, PLANE], ids=["line", "plane"])
def test_moments_of_noisy_gd_are_those_of_gaussian_noise(loss):
    lr, w0 = 0.3, np.array(START[loss.dim])
    moments = affine_moments(NoisyGD(loss, lr=lr), w0, 1, order=4)
    mean, covariance = w0 - lr * loss.gradient(w0), lr**2 * loss.noise.covariance(w0)
    # some hundred eps of E w², from which the square of the mean is taken away: up to 100 times as much of a covariance
    np.testing.assert_allclose(moments.mean[0], mean, rtol=1e-13)
    np.testing.assert_allclose(moments.covariance[0], covariance, rtol=1e-11, atol=1e-14)
    variance, power = covariance[0, 0], (4,) + (0,) * (loss.dim - 1)
    fourth = mean[0] ** 4 + 6 * mean[0] ** 2 * variance + 3 * variance**2
    assert moments.moment(*power)[0] == pytest.approx(fourth, rel=1e-12)
    order_3 = affine_moments(NoisyGD(loss, lr=lr), w0, 4, order=3).covariance
    np.testing.assert_allclose(order_3, affine_moments(NoisyGD(loss, lr=lr), w0, 4).covariance, rtol=1e-10, atol=1e-14)


def test_many_steps_at_once_are_the_same_as_one_by_one():
    rule = sdt.SGD(PLANE, lr=0.2)
    jump = affine_moments(rule, [1.0, -0.5], 200)
    walk = affine_moments(rule, [1.0, -0.5], np.arange(201))
    # 200 contracting steps keep the last few roundings; what is left of the start is 0.8 to the 200
    np.testing.assert_allclose(jump.tensors[0], walk.tensors[-1], rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(walk.tensors[-1], stationary_moments(rule).tensors[0], rtol=1e-10, atol=1e-12)


def test_the_simulation_has_the_exact_moments():
    for rule in (SVAG(LINEAR, lr=0.4, amplification=2), NoisyGD(LINEAR, lr=0.4),
                 SingleBatchNearMiss(LINEAR, lr=0.4, amplification=2)):
        w = sdt.simulate(rule, [1.5], n_steps=6, n_paths=40_000, rng=1).w.values[:, -1, 0]
        exact = affine_moments(rule, [1.5], 6, order=2)
        for n in (1, 2):
            values = w**n
            assert abs(values.mean() - exact.moment(n)[0]) < 4.5 * values.std() / 200


def test_the_random_linear_sde_has_the_generator_of_the_law():
    sde = random_linear_sde(PLANE, lr=0.25)
    at = dict(zip(sde.states, [1.0, -0.5], strict=True))
    noise = np.array(sde.diffusion.subs(at), dtype=float)
    np.testing.assert_allclose(noise @ noise.T, 0.25 * PLANE.noise.covariance([1.0, -0.5]), atol=32 * EPS)
    np.testing.assert_allclose(np.array(sde.drift.subs(at), dtype=float).ravel(), -PLANE.gradient([1.0, -0.5]), atol=16 * EPS)
    near = random_linear_sde(PLANE, lr=0.25, gradient_noise=True)
    noise, g = np.array(near.diffusion.subs(at), dtype=float), PLANE.gradient([1.0, -0.5])
    np.testing.assert_allclose(noise @ noise.T, 0.25 * (PLANE.noise.covariance([1.0, -0.5]) + np.outer(g, g)), atol=32 * EPS)
    modified = random_linear_sde(PLANE, lr=0.25, modified=True)
    np.testing.assert_allclose(np.array(modified.drift.subs(at), dtype=float).ravel(),
                               -g - 0.125 * PLANE.mean_matrix @ g, atol=32 * EPS)
    assert random_linear_sde(RandomLinear.two_point(1.0, curvature_std=0.5), lr=0.25).noise_dim == 1


TWO_POINT = RandomLinear.two_point(1.0, 0.5, curvature_std=0.75, offset_std=0.5, probability=0.2)
LR, SGD_STEPS = 0.25, 4


def sde_moments(loss, order=4, **options):
    sde = random_linear_sde(loss, lr=LR, **options)
    solution = sde.moment_equations(order).solve([1.5], LR * SGD_STEPS)
    return np.array([solution[sde.states[0] ** n] for n in range(1, order + 1)])


def weak_errors(make, target, amplifications=(32, 64, 128), order=4):
    """Errors of E x … E x⁴ after the time of SGD_STEPS steps of SGD, shape (l, order)."""
    found = []
    for n in amplifications:
        moments = affine_moments(make(n), [1.5], SGD_STEPS * n, order=order)
        found.append([moments.moment(k)[0] for k in range(1, order + 1)])
    return np.array(found) - target


def test_svag_converges_weakly_with_order_one():
    errors = weak_errors(lambda n: SVAG(TWO_POINT, lr=LR, amplification=n), sde_moments(TWO_POINT))
    slopes = np.log2(errors[:-1] / errors[1:])
    # error c/l + c₂/l²: the slope is 1 + (c₂/c)/(2 l log 2), and one doubling halves what is missing
    np.testing.assert_allclose(slopes[-1], 1.0, atol=0.05)
    assert np.all(np.abs(slopes[1] - 1) < 0.6 * np.abs(slopes[0] - 1))
    mean = theory.mean_error(t=1.0, lr=LR, eigenvalue=1.0, offset=0.5, w0=1.5)
    assert 128 * errors[-1, 0] == pytest.approx(mean, rel=0.01)


def limits(errors):
    """The errors for l → ∞: Richardson from the last two; what is left is of order l^{-2}."""
    return 2 * errors[-1] - errors[-2]


@pytest.mark.parametrize("wrong", [
    lambda n: SVAG(TWO_POINT, lr=LR, amplification=n, spread=np.sqrt(2.1 * n - 1)), lambda n: NoisyGD(TWO_POINT, lr=LR / n),
    lambda n: SingleBatchNearMiss(TWO_POINT, lr=LR, amplification=n)],
    ids=["5 % too much noise", "noise not amplified", "near miss"])
def test_the_wrong_variants_do_not_converge_but_in_the_mean_which_is_blind_to_noise(wrong):
    target = sde_moments(TWO_POINT)
    right = limits(weak_errors(lambda n: SVAG(TWO_POINT, lr=LR, amplification=n), target))
    found = limits(weak_errors(wrong, target))
    assert np.all(np.abs(right) < 2e-5)  # (1/64)^2 times coefficients below 0.1
    assert np.all(np.abs(found[1:]) > 10 * 2e-5)
    assert abs(found[0]) < 2e-5


def test_the_wrong_variants_converge_to_the_sdes_they_belong_to():
    def with_spread(factor, shift):
        return lambda n: SVAG(TWO_POINT, lr=LR, amplification=n, spread=np.sqrt(factor * n - shift))

    for make, options in ((with_spread(2.1, 1), {"covariance_factor": 1.05}), (with_spread(2, 0), {}),
                          (lambda n: SingleBatchNearMiss(TWO_POINT, lr=LR, amplification=n), {"gradient_noise": True})):
        errors = weak_errors(make, sde_moments(TWO_POINT, **options))
        np.testing.assert_allclose(np.log2(errors[1] / errors[2]), 1.0, atol=0.1)


def test_stationary_covariances_agree_with_exact_moments_and_closed_forms():
    loss = RandomLinear([0.2, 0.5, 0.3], [PLANE.mean_matrix] * 3, PLANE.offsets)  # additive noise
    sigma = loss.noise.covariance([0.0, 0.0])
    for amplification in (1, 4):
        found = svag_stationary_covariance(PLANE.mean_matrix, sigma, lr=0.3, amplification=amplification)
        rule = SVAG(loss, lr=0.3, amplification=amplification)
        # linear systems whose condition is 1 over the contraction of a step, l/η at most: some hundred eps times 1e2
        np.testing.assert_allclose(stationary_moments(rule).covariance[0], found, rtol=1e-11, atol=1e-14)
        values, vectors = np.linalg.eigh(PLANE.mean_matrix)
        entries = theory.svag_stationary_covariance(
            amplification=amplification, lr=0.3, eigenvalue=values[:, None], other_eigenvalue=values,
            noise_covariance=vectors.T @ sigma @ vectors)
        np.testing.assert_allclose(vectors @ entries @ vectors.T, found, rtol=1e-11, atol=1e-14)
    limit = sde_stationary_covariance(PLANE.mean_matrix, sigma, lr=0.3)
    np.testing.assert_allclose(limit, svag_stationary_covariance(PLANE.mean_matrix, sigma, lr=0.3, amplification=10**8),
                               rtol=1e-6)
    sde = random_linear_sde(loss, lr=0.3)
    stationary = sde.moment_equations(2).stationary()
    x, y = sde.states
    np.testing.assert_allclose(float(stationary[x * y] - stationary[x] * stationary[y]), limit[0, 1], rtol=1e-10)


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: affine_moments(sdt.SGD(SUM, lr=0.1), [1.0] * 3, 1), ValueError, "rule: expected a RandomLinear loss"),
    (lambda: affine_moments(sdt.SGD(LINEAR, lr=0.1, momentum=0.5), [1.0], 1), ValueError, "expected SGD without momentum"),
    (lambda: affine_moments(SVAG(LINEAR, lr=lambda k: 0.1, amplification=2), [1.0], 1), ValueError, "lr: expected a constant"),
    (lambda: affine_law("rule"), TypeError, "rule: expected SGD, SVAG, NoisyGD"),
    (lambda: affine_moments(sdt.SGD(LINEAR, lr=0.1), [1.0], -1), ValueError, "steps: expected integers >= 0"),
    (lambda: affine_moments(sdt.SGD(LINEAR, lr=0.1), [1.0], 1).moment(3), ValueError, "powers: expected 1 integers"),
    (lambda: affine_moments(sdt.SGD(LINEAR, lr=0.1), [1.0], 1, order=1).covariance, ValueError, "covariance: expected moments"),
    (lambda: affine_moments(sdt.SGD(PLANE, lr=0.1), [1.0, 1.0], 1, order=9), ValueError, "order: expected"),
    (lambda: stationary_moments(sdt.SGD(LINEAR, lr=1.5)), ValueError, "expected moments of order 2 that converge"),
    (lambda: svag_stationary_covariance([[3.0]], [[1.0]], lr=1.0), ValueError, "lr: expected a step that contracts"),
    (lambda: sde_stationary_covariance([[-1.0]], [[1.0]], lr=1.0), ValueError, "hessian: expected eigenvalues"),
    (lambda: sde_stationary_covariance([[1.0]], [[-1.0]], lr=1.0), ValueError, "noise_covariance: expected a symmetric"),
    (lambda: random_linear_sde(SUM, lr=0.1), TypeError, "loss: expected a RandomLinear loss"),
])
def test_moments_that_do_not_exist_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
