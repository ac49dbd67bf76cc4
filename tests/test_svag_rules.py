"""SVAG, noisy GD and the near miss: the kernels are plain NumPy loops on the same random numbers.

Tolerances: a step has at most 400 roundings of numbers of size at most `size`, and k steps add them up: 400 k eps size.
"""

from __future__ import annotations

import numpy as np
import pytest

import sdetheory as sdt
from sdetheory import random
from sdetheory.dynamics import SVAG, NoisyGD, SingleBatchNearMiss
from sdetheory.losses import BatchNormLinear, FiniteSum, Quadratic, RandomLinear, RayleighQuotient
from sdetheory.noises import AlphaStable, Isotropic, Tangent

EPS = np.finfo(float).eps
LINEAR = RandomLinear([0.25, 0.5, 0.25], [1.0, 2.0, 0.5], [0.3, -0.4, 0.1])
PLANE = RandomLinear([0.2, 0.5, 0.3], [[[2.0, 0.5], [0.5, 1.0]], [[1.0, -0.5], [-0.5, 0.5]], [[0.5, 0.0], [0.0, 3.0]]],
                     [[1.0, 0.0], [-0.5, 0.25], [0.0, -1.0]])
SUM = FiniteSum([RayleighQuotient(a) for a in ([1.0, 0.0, 2.0], [0.0, 3.0, 1.0], [1.0, 1.0, -1.0])], batch_size=2)
GAUSSIAN = RayleighQuotient([1.0, 0.5, 0.0], Tangent([0.5, 1.0, 0.0]))
BATCHES = sdt.losses.REGISTRY["bn_linear_minibatch"]()
STABLE = Quadratic([1.0, 0.5], AlphaStable(1.6, scale=0.3))
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


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: SVAG(LINEAR, lr=0.1, amplification=0), ValueError, "amplification: expected an integer >= 1 .*, got 0; l = 1 is SGD"),
    (lambda: SVAG(LINEAR, lr=0.1, amplification=1.5), TypeError, "amplification: expected an integer"),
    (lambda: SVAG(LINEAR, lr=-0.1, amplification=2), ValueError, "lr: expected a number > 0"),
    (lambda: SVAG(LINEAR, lr=0.1, amplification=2, spread=-1.0), ValueError, "spread: expected a number >= 0"),
    (lambda: SVAG("loss", lr=0.1, amplification=2), TypeError, "loss: expected a loss"),
    (lambda: SingleBatchNearMiss(LINEAR, lr=0.1, amplification=0), ValueError, "amplification: expected an integer >= 1"),
    (lambda: NoisyGD(STABLE, lr=0.1), ValueError, "loss: NoisyGD needs gradient noise with a known Gaussian twin"),
])
def test_bad_input_is_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_isotropic_noise_needs_no_twin():
    assert NoisyGD(Quadratic([1.0], Isotropic(0.5)), lr=0.1).program().noise[0].kind == "normal"
    assert isinstance(BATCHES, BatchNormLinear)
