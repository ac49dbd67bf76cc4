"""Random linear gradients and stable noise: the laws that are drawn are the stated ones."""

from __future__ import annotations

import numpy as np
import pytest

from sdetheory.losses import RandomLinear
from sdetheory.noises import AlphaStable

EPS = np.finfo(float).eps
LINEAR = RandomLinear([0.25, 0.5, 0.25], [1.0, 2.0, 0.5], [0.3, -0.4, 0.1])
PLANE = RandomLinear([0.2, 0.5, 0.3], [[[2.0, 0.5], [0.5, 1.0]], [[1.0, -0.5], [-0.5, 0.5]], [[0.5, 0.0], [0.0, 3.0]]],
                     [[1.0, 0.0], [-0.5, 0.25], [0.0, -1.0]])


def gradients(loss, w, z):
    return loss.gradient(w) + loss.noise.apply(w, z)


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
    noise = AlphaStable(stability, scale)
    x = noise.apply(np.zeros((n, 1)), np.random.default_rng(0).uniform(size=(n, 2)))[:, 0]
    for s in (0.5, 2.0, 5.0):
        values = np.cos(s * x)
        assert abs(values.mean() - np.exp(-((scale * s) ** stability))) < 4.5 * values.std() / np.sqrt(n)


def test_stable_noise_of_stability_two_and_one_are_gaussian_and_cauchy():
    u = np.random.default_rng(1).uniform(size=(50, 4))
    angle, radius = np.pi * (u[:, 0::2] - 0.5), np.sqrt(-np.log(u[:, 1::2]))
    w = np.zeros((50, 2))
    np.testing.assert_allclose(AlphaStable(1.0, 3.0).apply(w, u), 3 * np.tan(angle), rtol=16 * EPS)
    np.testing.assert_allclose(AlphaStable(2.0, 3.0).apply(w, u), 6 * np.sin(angle) * radius, rtol=64 * EPS)
    assert AlphaStable(2.0, 3.0).trace(np.zeros(2)) == 36.0
    np.testing.assert_array_equal(AlphaStable(2.0, 3.0).covariance(np.zeros(2)), 18 * np.eye(2))


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: AlphaStable(0.0), ValueError, "stability: expected a number > 0"),
    (lambda: AlphaStable(2.1), ValueError, "stability: expected a number > 0.* <= 2"),
    (lambda: AlphaStable(1.5).covariance([0.0]), ValueError, "covariance: expected noise of finite variance"),
    (lambda: AlphaStable(1.5).trace([0.0]), ValueError, "trace: expected noise of finite variance"),
    (lambda: AlphaStable(1.5).constant_trace(2), ValueError, "constant_trace: expected noise of finite variance"),
    (lambda: RandomLinear([1.0], [1.0]), ValueError, "probabilities: expected two or more"),
    (lambda: RandomLinear([0.5, 0.6], [1.0, 2.0]), ValueError, "probabilities: expected two or more numbers > 0 of sum 1"),
    (lambda: RandomLinear([0.5, 0.5], [1.0, 2.0, 3.0]), ValueError, "curvatures: expected shape"),
    (lambda: RandomLinear([0.5, 0.5], [[[1.0, 2.0], [0.0, 1.0]]] * 2), ValueError, "curvatures: expected symmetric"),
    (lambda: RandomLinear([0.5, 0.5], [1.0, 2.0], [1.0]), ValueError, "offsets: expected shape"),
    (lambda: RandomLinear.two_point(1.0), ValueError, "curvature_std, offset_std: expected one of them other than 0"),
])
def test_laws_that_are_none_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
