"""Geometry of the sphere: maps and their inverses, harmonics against the Laplace–Beltrami equation, the uniform law."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy

from sdetheory import sphere, starts
from sdetheory.random import normals, stream_key

EPS = np.finfo(float).eps


def tangent_vectors(dim: int, length: float, n: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(dim)
    w = sphere.normalise(rng.standard_normal((n, dim)))
    return w, sphere.normalise(sphere.project_tangent(w, rng.standard_normal((n, dim))), length)


@pytest.mark.parametrize("length", [1e-300, 1e-9, 0.3, 2.0, 3.1])
@pytest.mark.parametrize("dim", [2, 3, 17])
def test_the_exponential_map_goes_its_length_along_the_sphere(dim, length):
    w, v = tangent_vectors(dim, length)
    end = sphere.exponential(w, v)
    assert np.abs(np.linalg.norm(end, axis=-1) - 1).max() <= 4 * (dim + 4) * EPS
    if length > 1e-8:  # below, the end is w but for rounding
        np.testing.assert_allclose(sphere.distance(w, end), length, rtol=4 * (dim + 4) * EPS / min(length, math.pi - length))
    np.testing.assert_array_equal(sphere.exponential(w, 0 * v), w)


@pytest.mark.parametrize("angle", [1e-12, 1e-4, 1.0, np.pi - 1e-4, np.pi])
def test_distance_keeps_its_digits_for_near_and_opposite_points(angle):
    end = np.array([np.cos(angle), np.sin(angle), 0.0])
    assert sphere.distance([3.0, 0.0, 0.0], 0.1 * end) == pytest.approx(angle, rel=8 * EPS, abs=0)
    assert abs(np.arccos(np.cos(1e-12)) - 1e-12) > 1e-13  # the plain formula fails there


@pytest.mark.parametrize("dim", [2, 3, 4, 7])
@pytest.mark.parametrize("degree", [0, 1, 2, 5])
def test_zonal_harmonics_solve_the_laplace_beltrami_equation(degree, dim):
    """(1 − t²) f'' − (d − 1) t f' + ℓ(ℓ + d − 2) f = 0 with f(1) = 1 has one regular solution: a polynomial."""
    t = sympy.Symbol("t")
    a = sympy.symbols(f"a:{degree + 1}")
    f = sum(c * t**k for k, c in enumerate(a))
    equation = ((1 - t**2) * f.diff(t, 2) - (dim - 1) * t * f.diff(t)
                + sphere.laplace_beltrami_eigenvalue(degree, dim) * f)
    solution = sympy.solve([*sympy.Poly(sympy.expand(equation), t).coeffs(), f.subs(t, 1) - 1], a, dict=True)
    at = np.linspace(-1.0, 1.0, 23)
    exact = np.array([float(f.subs(solution[0]).subs(t, sympy.Rational(float(x)))) for x in at])
    assert np.abs(sphere.zonal_harmonic(degree, dim, at) - exact).max() <= 2.0**degree * 16 * EPS


def test_the_areas_of_the_circle_and_the_sphere():
    assert sphere.area(2) == pytest.approx(2 * np.pi, rel=4 * EPS)
    assert sphere.area(3) == pytest.approx(4 * np.pi, rel=4 * EPS)


def test_large_degrees_and_dimensions_neither_overflow_nor_raise():
    """The area falls by 2π/(d − 2) from d − 2 to d; a harmonic of degree 2 is (d t² − 1)/(d − 1), and all are even or odd."""
    for dim in (340, 341, 400):
        assert sphere.area(dim) == pytest.approx(sphere.area(dim - 2) * 2 * math.pi / (dim - 2), rel=1000 * EPS)
    assert sphere.area(10_000) == 0.0
    assert sphere.zonal_harmonic(2, 10**6, 0.5) == pytest.approx((10**6 * 0.25 - 1) / (10**6 - 1), rel=8 * EPS)
    high = sphere.zonal_harmonic(400, 2000, [-1.0, 0.3, 1.0])  # the Gegenbauer polynomial at 1 is above 1e308
    assert high[[0, 2]].tolist() == [1.0, 1.0] and abs(high[1]) < 1.0


@pytest.mark.parametrize("scale", [2.0**-1000, 2.0**-530, 2.0**600, 2.0**1000])
def test_vectors_of_any_length_have_a_direction(scale):
    """Scaling by a power of 2 is exact, so the numbers are those of the vector itself, though its square is no float."""
    w, v = np.array([3.0, -4.0, 0.5]), np.array([1.0, 2.0, -1.0])
    np.testing.assert_array_equal(sphere.normalise(scale * w), sphere.normalise(w))
    np.testing.assert_array_equal(sphere.project_tangent(scale * w, v), sphere.project_tangent(w, v))
    assert sphere.distance(scale * w, v) == sphere.distance(w, v)


def test_a_path_whose_weights_are_zero_has_diverged():
    block = np.zeros((3, 8))
    block[0, 1:] = 2.0
    sphere.normalise_block(block, np.empty((1, 8)))
    assert np.isnan(block[:, 0]).all() and (block[0, 1:] == 1.0).all()


def block_cases():
    w, v = tangent_vectors(5, 0.7, 19)
    v[0], v[1] = 0.0, v[1] * 1e-200
    return {
        "normalise": (sphere.normalise_block, [3.0 * w], 0, sphere.normalise(3.0 * w), 1),
        "exponential": (sphere.exponential_block, [w, v], 0, sphere.exponential(w, v), 2),
    }


@pytest.mark.parametrize("name", ["normalise", "exponential"])
def test_block_functions_agree_with_numpy_in_any_number_of_lanes(name):
    function, arrays, result, expected, rows = block_cases()[name]
    blocks = [np.ascontiguousarray(a.T) for a in arrays]
    whole = [b.copy() for b in blocks]
    function(*whole, np.full((rows, 19), np.nan))
    assert np.abs(whole[result].T - expected).max() <= 4 * (5 + 4) * EPS
    for lanes in (slice(0, 1), slice(2, 5), slice(3, 19)):
        part = [np.ascontiguousarray(b[:, lanes]) for b in blocks]
        function(*part, np.full((rows, part[0].shape[1]), np.nan))
        np.testing.assert_array_equal(part[result], whole[result][:, lanes])


def test_a_long_walk_by_the_exponential_map_stays_on_the_sphere():
    """A radial error δ shrinks by cos²‖v‖ a step, so rounding of a few eps a step never adds up."""
    rng = np.random.default_rng(0)
    w = np.ascontiguousarray(sphere.normalise(rng.standard_normal((16, 4))).T)
    scratch = np.empty((2, 16))
    for _ in range(5000):
        v = np.ascontiguousarray(sphere.project_tangent(w.T, 0.3 * rng.standard_normal(w.T.shape)).T)
        sphere.exponential_block(w, v, scratch)
    # mean of cos² at angle² = 0.27 is below 0.8: at most 1/(1 − 0.8) steps' worth of rounding is alive
    assert np.abs(np.sum(w * w, axis=0) - 1).max() <= 8 * (4 + 4) * EPS / (1 - 0.8)


def test_a_point_of_the_uniform_law_is_a_function_of_key_and_path():
    key, law = stream_key(7, "initial"), starts.UniformSphere(9, radius=2.0)
    whole = np.empty((9, 40))
    law.sample_block(whole, 5, key)
    for first, lanes in ((5, 1), (8, 3), (20, 25)):
        part = np.empty((9, lanes))
        law.sample_block(part, first, key)
        np.testing.assert_array_equal(part, whole[:, first - 5:first - 5 + lanes])
    expected = sphere.normalise(normals(key, np.arange(5, 45)[:, None], np.arange(9)), 2.0)
    np.testing.assert_allclose(whole.T, expected, atol=64 * EPS)


def fourth_moment_z(points: np.ndarray) -> float:
    """z of the mean over paths of Σ x_i⁴ against 3/(d + 2), its mean under the uniform law."""
    n, dim = points.shape
    sums = np.sum(points**4, axis=1)
    return float((sums.mean() - 3 / (dim + 2)) / (sums.std(ddof=1) / np.sqrt(n)))


def test_points_are_uniform_and_normalised_cube_points_are_refuted():
    """Two-sided test at z = 4.5 (false alarm 7e-6), n fixed beforehand."""
    n, dim = 20_000, 5
    block = np.empty((dim, n))
    law = starts.UniformSphere(dim)
    law.sample_block(block, 0, stream_key(11, "initial"))
    second = block @ block.T / n - np.eye(dim) / dim
    spread = np.sqrt(3 / (dim * (dim + 2)) / n)  # no entry of x xᵀ varies more than x_i², and E x_i⁴ = 3/(d(d+2))
    assert np.abs(second).max() < 4.5 * spread
    assert abs(fourth_moment_z(block.T)) < 4.5
    assert abs(fourth_moment_z(law.sample(n, rng=3))) < 4.5
    cube = sphere.normalise(np.random.default_rng(3).uniform(-1, 1, (n, dim)))
    assert abs(fourth_moment_z(cube)) > 4.5 + 3  # seen with power above 99.8 %


@pytest.mark.parametrize("make, message", [
    (lambda: starts.UniformSphere(1), "dim: expected an integer >= 2"),
    (lambda: starts.UniformSphere(3, radius=0.0), "radius: expected a number > 0"),
    (lambda: sphere.zonal_harmonic(-1, 3, 0.0), "degree: expected an integer >= 0"),
    (lambda: sphere.zonal_harmonic(2, 3, 1.1), r"t: expected inner products of unit vectors"),
    (lambda: sphere.normalise([[1.0, 2.0], [0.0, 0.0]]), r"w: expected vectors other than 0, got a zero vector \(first at index"),
    (lambda: sphere.normalise(3.0), r"w: expected shape \(..., d\)"),
    (lambda: sphere.normalise([math.nan, 1.0]), "w: expected finite numbers"),
    (lambda: sphere.project_tangent([0.0, 0.0], [1.0, 0.0]), "w: expected vectors other than 0"),
    (lambda: sphere.project_tangent([1.0, 0.0], [1.0, 0.0, 0.0]), "w, v: expected vectors of one length"),
    (lambda: sphere.exponential([0.0, 0.0], [1.0, 0.0]), "w: expected unit vectors, got one of length 0"),
    (lambda: sphere.exponential([1.0, 0.0], [1.0, 0.0]), "v: expected vectors tangent at w"),
    (lambda: sphere.distance([1.0, 0.0], [0.0, 0.0]), "y: expected vectors other than 0"),
    (lambda: sphere.area(10**30), "dim: expected an integer >= 1 and <= "),
])
def test_bad_input_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()
