"""Fixed-length noise is tangent, of one length in every draw, and has the covariance of isotropic tangent noise."""

import itertools

import numpy as np
import pytest

from sdetheory import losses, noises
from sdetheory.noises.fixed_length import imaginary_units

EPS = np.finfo(float).eps
DIMS = (2, 4, 8)


def case(dim):
    noise = noises.FixedLength(0.5)
    w = np.random.default_rng(dim).normal(size=dim)
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=dim - 1)))
    return noise, w, signs, noise.apply(w, signs)


@pytest.mark.parametrize("dim", DIMS)
def test_the_units_make_an_orthonormal_frame_of_every_tangent_space(dim):
    units = imaginary_units(dim)
    for a, b in itertools.product(range(dim - 1), repeat=2):
        assert np.array_equal(units[a].T @ units[b] + units[b].T @ units[a], 2.0 * (a == b) * np.eye(dim))
        assert np.array_equal(units[a], -units[a].T)  # so <e_a w, w> = 0


@pytest.mark.parametrize("dim", DIMS)
def test_every_draw_is_tangent_and_of_one_length(dim):
    noise, w, _, draws = case(dim)
    size = noise.scale * np.sqrt(dim - 1)
    bound = 4 * dim**2 * EPS  # d products and d sums in a component, d components in a norm
    assert np.abs(draws @ w).max() <= bound * size
    assert np.abs(np.linalg.norm(draws, axis=1) * np.linalg.norm(w) - size).max() <= bound * size


@pytest.mark.parametrize("dim", DIMS)
def test_mean_and_covariance_over_all_signs_are_those_of_tangent_noise(dim):
    noise, w, signs, draws = case(dim)
    covariance = noises.Tangent(noise.scale).covariance(w)
    bound = 4 * dim * len(signs) * EPS * np.trace(covariance)
    assert np.abs(draws.mean(axis=0)).max() <= 4 * dim * len(signs) * EPS * np.abs(draws).max()
    assert np.abs(draws.T @ draws / len(signs) - covariance).max() <= bound
    assert noise.trace(w) == pytest.approx(np.trace(covariance), rel=1e-14)


@pytest.mark.parametrize("dim", DIMS)
def test_the_kernel_adds_what_apply_returns(dim):
    noise, w, signs, draws = case(dim)
    kernel, lanes = noise.kernel, len(signs)
    block, into = np.repeat(w[:, None], lanes, axis=1), np.full((dim, lanes), 1.0)
    kernel.function(block, np.ascontiguousarray(signs.T), into, np.empty((kernel.scratch, lanes)), *kernel.constants)
    assert np.abs(into - 1.0 - draws.T).max() <= 4 * dim**2 * EPS * max(1.0, np.abs(draws).max())


@pytest.mark.parametrize("dim", [1, 3, 16])
def test_no_other_sphere_has_such_a_frame(dim):
    with pytest.raises(ValueError, match=r"dim: expected 2, 4 or 8 .* got"):
        noises.FixedLength(0.5).components(dim)


def test_an_sde_refuses_it_because_it_is_not_gaussian():
    from sdetheory.dynamics import SGDSDE

    with pytest.raises(ValueError, match="Gaussian gradient noise"):
        SGDSDE(losses.RayleighQuotient([0.0, 0.0], noises.FixedLength(0.5)), lr=0.1)
