"""Gradient noises: the kernel adds a root of the stated covariance, which is scale-invariant where it says so (ILR-1).

Every noise of `noises.REGISTRY` is held to every statement here, and so is the minibatch noise of every loss that has it.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from loss_examples import SAMPLED, example, points, run_row, scratch

from sdetheory import losses, noises

EPS = np.finfo(float).eps


def noise_matrix(noise, w):
    """The linear map z → ξ of the kernel at w: its columns are the images of the unit vectors."""
    count = noise.components(w.size)
    block = np.repeat(w[:, None], count, axis=1)
    before = np.full((w.size, count), 1.0)
    into = before.copy()
    noise.kernel.function(block, np.eye(count), into, scratch(noise.kernel, count), *noise.kernel.constants)
    return into - before


@pytest.mark.parametrize("name", sorted(noises.REGISTRY))
def test_the_kernel_of_a_noise_adds_a_root_of_its_covariance(name):
    dim, make = noises.REGISTRY[name]
    noise = make()
    for w in points(dim):
        matrix, covariance = noise_matrix(noise, w), noise.covariance(w)
        size = max(1.0, np.abs(covariance).max(), np.abs(matrix).max() ** 2)
        bound = 16 * (dim + 8) * EPS * 4 * size
        assert np.abs(matrix @ matrix.T - covariance).max() <= bound
        assert np.abs(matrix - noise.apply(w, np.eye(noise.components(dim))).T).max() <= bound
        assert abs(np.trace(covariance) - noise.trace(w)) <= bound


def scale_invariance_of(noise, w, c):
    covariance = noise.covariance(w)
    size = np.abs(covariance).max() * np.linalg.norm(w)
    return (np.abs(covariance @ w).max() / size,
            np.abs(c**2 * noise.covariance(c * w) - covariance).max() / np.abs(covariance).max())


def all_noises():
    yield from ((name, dim, make()) for name, (dim, make) in noises.REGISTRY.items())
    yield from ((name, example(name).dim, example(name).noise) for name in SAMPLED)


@pytest.mark.parametrize("name, dim, noise", [pytest.param(*case, id=case[0]) for case in all_noises()])
def test_ilr_1_holds_exactly_where_a_noise_says_so(name, dim, noise):
    for w in points(dim):
        residuals = scale_invariance_of(noise, w, 1.75)
        if noise.scale_invariant:
            # Σ is a difference of second moments up to ‖∇L_j‖², or P C P with ‖C‖ up to its size over |w|²
            sizes = ((np.abs(noise.sample_gradients(w)).max() ** 2 if noise.kind == "uniform" else
                      np.abs(noise.covariance(points(dim, 40))).max() * 4 * np.exp(2)) / np.abs(noise.covariance(w)).max())
            assert max(residuals) <= 16 * (dim + 8) * EPS * 4 * max(1.0, sizes)
        else:
            assert min(residuals) > 0.1


@pytest.mark.parametrize("name", SAMPLED)
def test_minibatch_noise_has_mean_zero_and_the_stated_covariance_over_all_minibatches(name):
    loss, noise = example(name), example(name).noise
    chosen = np.array(list(itertools.product(range(noise.n_samples), repeat=noise.batch_size)))
    batches = (chosen + 0.5) / noise.n_samples
    w = points(loss.dim)[0]
    noises = np.stack([noise.apply(w, u) for u in batches])
    unit = np.abs(noise.sample_gradients(w)).max()
    assert np.abs(noises.mean(axis=0)).max() <= 16 * (loss.dim + len(batches)) * EPS * unit
    second = noises.T @ noises / len(batches)
    assert np.abs(second - noise.covariance(w)).max() <= 16 * (loss.dim + len(batches)) * EPS * unit**2
    assert noise.trace(w) == pytest.approx(np.trace(second), rel=1e-12)
    assert np.trace(second) > 0.01 * unit**2  # it is no noise-free example


@pytest.mark.parametrize("name", [n for n, (_, make) in noises.REGISTRY.items() if make().trace_kernel is not None])
def test_the_trace_kernel_gives_the_trace_at_unit_norm(name):
    dim, make = noises.REGISTRY[name]
    noise, w = make(), points(dim, 19)
    unit = w / np.linalg.norm(w, axis=1, keepdims=True)
    bound = 16 * (dim + 8) * EPS * np.trace(noise.covariance(unit)[0] + noise.covariance(unit)[1]) * 4
    assert np.abs(run_row(noise.trace_kernel, np.ascontiguousarray(w.T)) - noise.trace(unit)).max() <= bound


def test_the_trace_of_isotropic_tangent_noise_counts_the_tangent_dimensions():
    loss = losses.RayleighQuotient(np.arange(5.0), noises.Tangent(0.5))
    assert loss.noise_trace == 0.25 * 4
    assert losses.RayleighQuotient([1.0, 0.0]).noise_trace == 0.0
