"""SVAG, noisy GD and the near miss: the kernels are plain NumPy loops on the same random numbers; their moments are exact.

Tolerances: a step has at most 400 roundings of numbers of size at most `size`, and k steps add them up: 400 k eps size.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import sdetheory as sdt
from sdetheory import random
from sdetheory.dynamics import (
    SVAG,
    NoisyGD,
    SingleBatchNearMiss,
    affine_law,
    affine_moments,
    random_linear_sde,
    sde_stationary_covariance,
    stationary_moments,
    svag_stationary_covariance,
)
from sdetheory.losses import (
    AlphaStableNoise,
    BatchNormLinear,
    FiniteSum,
    IsotropicNoise,
    Quadratic,
    RandomLinear,
    RayleighQuotient,
    TangentNoise,
)
from sdetheory.theory import svag as theory

EPS = np.finfo(float).eps
LINEAR = RandomLinear([0.25, 0.5, 0.25], [1.0, 2.0, 0.5], [0.3, -0.4, 0.1])
PLANE = RandomLinear([0.2, 0.5, 0.3], [[[2.0, 0.5], [0.5, 1.0]], [[1.0, -0.5], [-0.5, 0.5]], [[0.5, 0.0], [0.0, 3.0]]],
                     [[1.0, 0.0], [-0.5, 0.25], [0.0, -1.0]])
SUM = FiniteSum([RayleighQuotient(a) for a in ([1.0, 0.0, 2.0], [0.0, 3.0, 1.0], [1.0, 1.0, -1.0])], batch_size=2)
GAUSSIAN = RayleighQuotient([1.0, 0.5, 0.0], TangentNoise([0.5, 1.0, 0.0]))
BATCHES = sdt.losses.REGISTRY["bn_linear_minibatch"]()
STABLE = Quadratic([1.0, 0.5], AlphaStableNoise(1.6, scale=0.3))
START = {1: [1.5], 2: [1.0, -0.5], 3: [1.0, -0.5, 0.75]}
STEPS, PATHS, SEED = 5, 12, 7


def variates(kind, key, step, rows):
    """The random numbers of one step, shape (paths, rows)."""
    twin = {"normal": random.normals, "uniform": random.uniforms}[kind]
    return twin(random.stream_key(SEED, key), np.arange(PATHS)[:, None], step * rows + np.arange(rows)[None, :])


def gradients(loss, w, z):
    return loss.gradient(w) + loss.noise.apply(w, z)


def simulated(rule, **options):
    return sdt.simulate(rule, START[rule.dim], n_steps=STEPS, n_paths=PATHS, rng=SEED, **options).w.values[:, -1]


def close(found, expected, scale=1.0):
    """Equal up to the roundings of STEPS steps; noise of α-stable gradients amplifies by its largest value."""
    np.testing.assert_allclose(found, expected, rtol=STEPS * 400 * EPS * scale, atol=STEPS * 400 * EPS * scale)


@pytest.mark.parametrize("loss", [LINEAR, PLANE, SUM, GAUSSIAN, BATCHES, STABLE], ids=lambda loss: type(loss.noise).__name__)
@pytest.mark.parametrize("amplification", [1, 3])
def test_svag_is_its_formula_on_two_draws_a_step(loss, amplification):
    lr, decay, s = 0.2, 0.1, np.sqrt(2 * amplification - 1)
    w = np.tile(np.array(START[loss.dim]), (PATHS, 1))
    m, size = loss.noise.components(loss.dim), 1.0
    for k in range(STEPS):
        z = variates(loss.noise.kind, "path", k, 2 * m)
        one, two = gradients(loss, w, z[:, :m]), gradients(loss, w, z[:, m:])
        size = max(size, np.abs(one).max(), np.abs(two).max())
        w = w - lr / amplification * ((1 + s) / 2 * one + (1 - s) / 2 * two + decay * w)
    close(simulated(SVAG(loss, lr=lr, amplification=amplification, weight_decay=decay)), w, size)


@pytest.mark.parametrize("loss", [LINEAR, SUM, GAUSSIAN], ids=lambda loss: type(loss.noise).__name__)
def test_the_near_miss_is_one_draw_times_one_plus_or_minus_a_root(loss):
    lr, decay, amplification = 0.2, 0.1, 5
    w, m = np.tile(np.array(START[loss.dim]), (PATHS, 1)), loss.noise.components(loss.dim)
    for k in range(STEPS):
        sign = random.two_point(random.stream_key(SEED, "sign"), np.arange(PATHS)[:, None], k)
        g = gradients(loss, w, variates(loss.noise.kind, "path", k, m))
        w = w - lr / amplification * ((1 + sign * 2.0) * g + decay * w)
    close(simulated(SingleBatchNearMiss(loss, lr=lr, amplification=amplification, weight_decay=decay)), w)


def sample_noise(loss, w, z):
    """(nB)^{-1/2} Σ (g_i − ∇L)ζ_i for w (paths, d) and ζ (paths, n)."""
    g = loss.noise.sample_gradients(w)
    return np.einsum("pn,npd->pd", z, g - g.mean(axis=0)) / np.sqrt(loss.noise.n_samples * loss.noise.batch_size)


@pytest.mark.parametrize("loss", [SUM, BATCHES], ids=["FiniteSum", "BatchNormLinear"])
def test_noisy_gd_on_samples_is_the_full_gradient_and_one_normal_a_sample(loss):
    lr, decay, n = 0.2, 0.1, loss.noise.n_samples
    start = np.resize([1.0, -0.5, 0.75], loss.dim)
    w = np.tile(start, (PATHS, 1))
    for k in range(STEPS):
        w = w - lr * (loss.gradient(w) + sample_noise(loss, w, variates("normal", "path", k, n)) + decay * w)
    runs = sdt.simulate(NoisyGD(loss, lr=lr, weight_decay=decay), start, n_steps=STEPS, n_paths=PATHS, rng=SEED)
    close(runs.w.values[:, -1], w)


@pytest.mark.parametrize("loss", [SUM, BATCHES], ids=["FiniteSum", "BatchNormLinear"])
def test_the_noise_of_noisy_gd_has_the_covariance_of_the_minibatches(loss):
    w = np.array(START[3])
    matrix = sample_noise(loss, np.tile(w, (loss.noise.n_samples, 1)), np.eye(loss.noise.n_samples))
    covariance = loss.noise.covariance(w)
    np.testing.assert_allclose(matrix.T @ matrix, covariance, atol=50 * EPS * np.abs(loss.noise.sample_gradients(w)).max() ** 2)
    assert np.abs(covariance).max() > 1e-3


@pytest.mark.parametrize("loss", [LINEAR, PLANE], ids=["line", "plane"])
def test_noisy_gd_on_random_linear_gradients_uses_their_gaussian_twin(loss):
    lr, w, twin = 0.2, np.tile(np.array(START[loss.dim]), (PATHS, 1)), loss.noise.gaussian
    matrix = twin.apply(w[0], np.eye(twin.components(loss.dim)))
    np.testing.assert_allclose(matrix.T @ matrix, loss.noise.covariance(w[0]), atol=50 * EPS)
    for k in range(STEPS):
        w = w - lr * (loss.gradient(w) + twin.apply(w, variates("normal", "path", k, twin.components(loss.dim))))
    close(simulated(NoisyGD(loss, lr=lr)), w)


def test_noisy_gd_with_gaussian_noise_is_sgd_to_the_bit():
    np.testing.assert_array_equal(simulated(NoisyGD(GAUSSIAN, lr=0.2)), simulated(sdt.SGD(GAUSSIAN, lr=0.2)))


def test_schedules_are_read_at_the_effective_step():
    seen = SVAG(LINEAR, lr=lambda k: 0.1 + k, amplification=49).schedule_table(99)[:, 0]
    np.testing.assert_array_equal(seen, 0.1 + np.arange(99) / 49)
    assert seen[49] == 1.1  # an SGD step begins exactly there
    table = SVAG(LINEAR, lr=0.3, amplification=2, weight_decay=lambda k: k).schedule_table(3)
    np.testing.assert_array_equal(table, [[0.3, 0.0], [0.3, 0.5], [0.3, 1.0]])


def test_a_sweep_of_the_learning_rate_is_one_run_for_each():
    rule = SVAG(LINEAR, lr=0.1, amplification=2)
    swept = sdt.simulate(rule, [1.5], n_steps=STEPS, n_paths=PATHS, sweep={"lr": [0.1, 0.3]}, rng=SEED).w.values[:, :, -1]
    for cell, lr in enumerate([0.1, 0.3]):
        w = np.full((PATHS, 1), 1.5)
        for k in range(STEPS):
            z = random.uniforms(random.stream_key(SEED, "path"), cell * PATHS + np.arange(PATHS)[:, None], 2 * k + np.arange(2))
            one, two = gradients(LINEAR, w, z[:, :1]), gradients(LINEAR, w, z[:, 1:])
            w = w - lr / 2 * (rule.weights[0] * one + rule.weights[1] * two)
        close(swept[cell], w)


# ---- random linear gradients and stable noise


def test_outcomes_are_drawn_with_their_probabilities():
    edges = np.array([0.0, 0.25 - 1e-12, 0.25, 0.75 - 1e-12, 0.75, 1 - 1e-12])
    np.testing.assert_array_equal(LINEAR.noise.indices(edges), [0, 0, 1, 1, 2, 2])
    u = ((np.arange(400) + 0.5) / 400)[:, None]
    mean = gradients(PLANE, np.array([1.0, -0.5]), u).mean(axis=0)
    np.testing.assert_allclose(mean, PLANE.gradient([1.0, -0.5]), atol=400 * EPS)
    noise = PLANE.noise.apply(np.array([1.0, -0.5]), u)
    np.testing.assert_allclose(noise.T @ noise / 400, PLANE.noise.covariance([1.0, -0.5]), atol=400 * EPS)


@pytest.mark.parametrize("probability", [0.5, 0.2])
def test_two_point_laws_have_the_stated_moments(probability):
    loss = RandomLinear.two_point(1.5, 0.25, curvature_std=0.5, offset_std=-0.75, probability=probability)
    p, a, b = loss.probabilities, loss.matrices.ravel() - 1.5, loss.offsets.ravel() - 0.25
    skew = (1 - 2 * probability) / np.sqrt(probability * (1 - probability))
    np.testing.assert_allclose([p @ a, p @ b, p @ a**2, p @ b**2, p @ (a * b), p @ a**3],
                               [0.0, 0.0, 0.25, 0.5625, -0.375, 0.125 * skew], atol=32 * EPS)


@pytest.mark.parametrize("stability", [0.8, 1.0, 1.5, 2.0])
def test_stable_noise_has_its_characteristic_function(stability):
    n, scale = 200_000, 0.5
    noise = AlphaStableNoise(stability, scale)
    x = noise.apply(np.zeros((n, 1)), np.random.default_rng(0).uniform(size=(n, 2)))[:, 0]
    for s in (0.5, 2.0, 5.0):
        values = np.cos(s * x)
        assert abs(values.mean() - np.exp(-((scale * s) ** stability))) < 4.5 * values.std() / np.sqrt(n)


def test_stable_noise_of_stability_two_and_one_are_gaussian_and_cauchy():
    u = np.random.default_rng(1).uniform(size=(50, 4))
    angle, radius = np.pi * (u[:, 0::2] - 0.5), np.sqrt(-np.log(u[:, 1::2]))
    w = np.zeros((50, 2))
    np.testing.assert_allclose(AlphaStableNoise(1.0, 3.0).apply(w, u), 3 * np.tan(angle), rtol=16 * EPS)
    np.testing.assert_allclose(AlphaStableNoise(2.0, 3.0).apply(w, u), 6 * np.sin(angle) * radius, rtol=64 * EPS)
    assert AlphaStableNoise(2.0, 3.0).trace(np.zeros(2)) == 36.0
    np.testing.assert_array_equal(AlphaStableNoise(2.0, 3.0).covariance(np.zeros(2)), 18 * np.eye(2))


# ---- exact moments


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
    (lambda: SVAG(LINEAR, lr=0.1, amplification=0), ValueError, "amplification: expected an integer >= 1, got 0; l = 1 is SGD"),
    (lambda: SVAG(LINEAR, lr=0.1, amplification=1.5), TypeError, "amplification: expected an integer"),
    (lambda: SVAG(LINEAR, lr=-0.1, amplification=2), ValueError, "lr: expected a number > 0"),
    (lambda: SVAG(LINEAR, lr=0.1, amplification=2, spread=-1.0), ValueError, "spread: expected a number >= 0"),
    (lambda: SVAG("loss", lr=0.1, amplification=2), TypeError, "loss: expected a loss"),
    (lambda: SingleBatchNearMiss(LINEAR, lr=0.1, amplification=0), ValueError, "amplification: expected an integer >= 1"),
    (lambda: NoisyGD(STABLE, lr=0.1), ValueError, "loss: NoisyGD needs gradient noise with a known Gaussian twin"),
    (lambda: AlphaStableNoise(0.0), ValueError, "stability: expected a number > 0"),
    (lambda: AlphaStableNoise(2.1), ValueError, "stability: expected a number > 0.* <= 2"),
    (lambda: AlphaStableNoise(1.5).covariance([0.0]), ValueError, "covariance: expected noise of finite variance"),
    (lambda: AlphaStableNoise(1.5).trace([0.0]), ValueError, "trace: expected noise of finite variance"),
    (lambda: AlphaStableNoise(1.5).constant_trace(2), ValueError, "constant_trace: expected noise of finite variance"),
    (lambda: RandomLinear([1.0], [1.0]), ValueError, "probabilities: expected two or more"),
    (lambda: RandomLinear([0.5, 0.6], [1.0, 2.0]), ValueError, "probabilities: expected two or more numbers > 0 of sum 1"),
    (lambda: RandomLinear([0.5, 0.5], [1.0, 2.0, 3.0]), ValueError, "curvatures: expected shape"),
    (lambda: RandomLinear([0.5, 0.5], [[[1.0, 2.0], [0.0, 1.0]]] * 2), ValueError, "curvatures: expected symmetric"),
    (lambda: RandomLinear([0.5, 0.5], [1.0, 2.0], [1.0]), ValueError, "offsets: expected shape"),
    (lambda: RandomLinear.two_point(1.0), ValueError, "curvature_std, offset_std: expected one of them other than 0"),
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
def test_bad_input_is_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_isotropic_noise_needs_no_twin():
    assert NoisyGD(Quadratic([1.0], IsotropicNoise(0.5)), lr=0.1).program().noise[0].kind == "normal"
    assert isinstance(BATCHES, BatchNormLinear)
