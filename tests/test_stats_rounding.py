"""What rounding explains: bounds hold on thousands of cases against fractions, and none is idle."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest

from sdetheory.stats.rounding import (
    SLACK,
    dot_error,
    explained_gap,
    gamma_n,
    propagated_error,
    recursion_error,
    response_error,
    spectrum_error,
    sum_error,
    unit_roundoff,
)

U = unit_roundoff()


def exact(values):
    """As fractions, entry by entry."""
    return np.array([Fraction(float(v)) for v in np.ravel(values)], dtype=object).reshape(
        np.shape(values)
    )


def wide_range(rng, *shape):
    """Numbers of both signs over six decades."""
    return rng.choice([-1.0, 1.0], shape) * 10 ** rng.uniform(-3, 3, shape)


# ---- a number, a sum, a scalar product


def test_gamma_bounds_a_product_of_roundings_in_series():
    rng = np.random.default_rng(1)
    largest = 0.0
    for _ in range(2000):
        factors = rng.uniform(0.5, 2.0, 30)
        computed, true = 1.0, Fraction(1)
        for i, f in enumerate(factors):
            computed = computed / f if i % 2 else computed * f
            true = true / Fraction(f) if i % 2 else true * Fraction(f)
        largest = max(largest, abs(float(Fraction(computed) / true - 1)) / gamma_n(30))
    assert 0.1 < largest <= 1  # signs mix: some 30**0.5 of 30


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [2, 7, 40])
def test_a_sum_is_within_its_bound(n, dtype):
    rng = np.random.default_rng(n)
    terms = wide_range(rng, 1000, n).astype(dtype)
    computed = np.cumsum(terms, axis=1, dtype=dtype)[
        :, -1
    ]  # one after the other: NumPy's `sum` adds in pairs
    error = np.abs(
        [
            float(Fraction(float(c)) - sum(exact(row)))
            for c, row in zip(computed, terms, strict=True)
        ]
    )
    assert (error <= sum_error(terms, dtype=dtype)).all()


def test_the_bound_of_a_sum_is_met_up_to_one_rounding():
    n = 1000
    terms = np.append(
        1.0, np.full(n - 1, U)
    )  # each is lost: half a unit in the last place, to even
    assert np.cumsum(terms)[-1] == 1.0
    assert (n - 2) / n < (n - 1) * U / sum_error(terms) < 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 5, 60])
def test_a_scalar_product_is_within_its_bound(n, dtype):
    rng = np.random.default_rng(n)
    x, y = wide_range(rng, 2, 1000, n).astype(dtype)
    computed = np.array([a @ b for a, b in zip(x, y, strict=True)])
    true = [sum(exact(a) * exact(b)) for a, b in zip(x, y, strict=True)]
    ratio = np.abs(
        [float(Fraction(float(c)) - t) for c, t in zip(computed, true, strict=True)]
    ) / dot_error(x, y, dtype=dtype)
    assert ratio.max() <= 1
    assert ratio.max() > 0.4 / n  # one product that outweighs the others is off by half an ulp


def test_sums_run_over_the_axis_that_is_asked_for():
    x = np.arange(24.0).reshape(2, 3, 4)
    assert np.array_equal(sum_error(x, axis=1), gamma_n(3) * x.sum(1))
    assert np.array_equal(dot_error(x, 2.0, axis=0), gamma_n(3) * 2 * x.sum(0))


def test_eigenvalues_are_within_their_bound():
    rng = np.random.default_rng(5)
    seen = []
    with mpmath.workdps(40):
        for n in (2, 3, 4, 6):
            for _ in range(100):
                a = wide_range(rng, n, n)
                a = a + a.T
                found = np.linalg.eigvalsh(a)
                true = sorted(mpmath.eigsy(mpmath.matrix(a.tolist()), eigvals_only=True))
                seen.append(
                    max(abs(float(mpmath.mpf(f) - t)) for f, t in zip(found, true, strict=True))
                    / spectrum_error(found)
                )
    assert 0.05 < max(seen) <= 1


# ---- recursions


def test_an_affine_recursion_is_within_its_bound():
    rng = np.random.default_rng(2)
    cases, n = 1000, 30
    a, b, x = rng.uniform(-1.2, 1.2, (cases, n)), wide_range(rng, cases, n), wide_range(rng, cases)
    true, errors, local = exact(x), [np.zeros(cases)], []
    fractions_a, fractions_b = exact(a), exact(b)
    for k in range(n):
        product = a[:, k] * x
        x = product + b[:, k]
        local.append(
            gamma_n(2) * (np.abs(product) + np.abs(x))
        )  # half of it would do: one rounding of each
        true = fractions_a[:, k] * true + fractions_b[:, k]
        errors.append(np.abs((exact(x) - true).astype(float)))
    bound = recursion_error(np.stack(local, -1), np.abs(a))
    ratio = np.stack(errors, -1)[:, 1:] / bound[:, 1:]
    assert bound.shape == (cases, n + 1) and ratio.max() <= 1
    assert (
        ratio[:, 0].max() > 0.25 and ratio[:, -1].max() > 0.02
    )  # n roundings of random signs: n**0.5 of n


def test_a_recursion_meets_its_bound_where_all_roundings_have_one_sign():
    n, x = 100, 1.0
    for _ in range(n):
        x = x + U  # exactly 1 + n U in the end
    assert x == 1.0
    assert n * U == recursion_error(np.full(n, U))[-1]


def test_a_rotation_is_within_the_error_that_its_jacobians_carry_along():
    rng = np.random.default_rng(3)
    n, worst, norms = 60, [], []
    for _ in range(100):
        shear = rng.uniform(0.5, 1.5)
        j = np.array(
            [[1.0, -0.5], [shear, 1 - 0.5 * shear]]
        )  # determinant 1: turns, while its norm is above 1
        x, local, errors = rng.normal(size=2), [], [np.zeros(2)]
        true, matrix = exact(x), exact(j)
        for _ in range(n):
            local.append(dot_error(j, x))
            products = j * x
            x = products[:, 0] + products[:, 1]
            true = np.array([sum(matrix[0] * true), sum(matrix[1] * true)])
            errors.append(np.abs((exact(x) - true).astype(float)))
        bound = propagated_error([j] * n, local, np.zeros(2))
        worst.append((np.array(errors)[1:] / bound[1:]).max())
        norms.append(
            recursion_error(np.array(local).sum(1), np.linalg.norm(j, 2))[-1] / bound[-1].sum()
        )
    assert 0.05 < max(worst) <= 1
    assert min(norms) > 10  # what a product of norms would say


def test_a_run_is_within_what_its_response_to_errors_says():
    rng = np.random.default_rng(4)
    n, probe, seen = 100, 1e-7, []
    for _ in range(100):
        lr, w0, target = rng.uniform(0.05, 0.2), rng.normal(), rng.uniform(-1, 1, n)

        def run(w, lr, target):
            path = [w]
            for t in target:
                w = w - lr * (w * w * w - t)  # a quartic loss of data that change
                path.append(w)
            return np.array(path)

        found = run(w0, lr, target)
        with mpmath.workdps(50):
            true = run(mpmath.mpf(w0), mpmath.mpf(lr), [mpmath.mpf(t) for t in target])
            error = np.array([float(abs(f - t)) for f, t in zip(found, true, strict=True)])
        near = run(w0 * (1 + probe), lr * (1 + probe), target * (1 - probe))
        bound = response_error(np.abs(near - found), np.arange(n + 1), probe=probe, roundings=5)
        seen.append((error / bound).max())
    assert (
        1e-4 < max(seen) <= 1
    )  # the response, of order 1, is taken for all steps, though this run forgets


def test_a_run_beyond_linear_response_says_nothing_and_one_that_is_lost_neither():
    bound = response_error([0.0, 0.2, 1e-8], [0, 1, 2], probe=1e-7, roundings=3)
    assert bound[0] == 3 * U and (bound[1:] > 1e100).all() and np.isfinite(bound).all()
    assert (response_error([np.inf], [1], probe=1e-7, roundings=3) > 1e100).all()


# ---- two formats


def two_orders(terms, dtype):
    """One sum in two orders, the arithmetic in `dtype`."""
    x = terms.astype(dtype)
    return np.cumsum(x, axis=1)[:, -1].astype(float), np.cumsum(x[:, ::-1], axis=1)[:, -1].astype(
        float
    )


def gaps_and_explained(cases, n, seed):
    terms = np.random.default_rng(seed).normal(size=(cases, n))
    (a, b), (c, d) = two_orders(terms, "float64"), two_orders(terms, "float32")
    return np.abs(a - b), np.abs(a - c) + np.abs(b - d)


def test_false_alarms_are_as_rare_as_derived():
    gap, parted = gaps_and_explained(20000, 500, seed=6)
    alarms = np.count_nonzero(gap > explained_gap(parted, size=0.0))
    allowed = len(gap) * (1 - (1 + 2 / SLACK**2) ** -0.5)
    assert (
        alarms <= allowed + 4 * allowed**0.5
    )  # four standard errors: 3e-5 for a rate just at the bound
    expected = parted * unit_roundoff() / unit_roundoff("float32")
    # not idle: the gap to expect is of the size of the gap
    assert 0.2 < np.median(gap) / np.median(expected) < 2


def test_the_floor_of_what_is_never_known_explains_a_last_bit():
    assert explained_gap(0.0, size=3.0) == SLACK * 2 * U * 3
    assert not np.nextafter(1.0, 2) - 1 > explained_gap(0.0)


def test_a_gap_of_no_rounding_is_refused():
    gap, parted = gaps_and_explained(1000, 500, seed=7)
    assert (gap + 1e-9 > explained_gap(parted, size=1.0)).all()


# ---- refusals


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: gamma_n(2.0**53),
            "n: expected at least 0 and fewer than 9.01e.15 roundings in float64",
        ),
        (lambda: gamma_n(-1), "n: expected at least 0"),
        (lambda: unit_roundoff("int64"), "dtype: expected a real floating-point format, got int64"),
        (lambda: recursion_error(1.0), "local, growth: expected bounds >= 0, one a step"),
        (lambda: recursion_error([1.0], [-1.0]), "local, growth: expected bounds >= 0"),
        (
            lambda: propagated_error(np.eye(2), [[1.0, 1.0]], [0.0, 0.0]),
            r"expected shapes \(…, n, d, d\)",
        ),
        (
            lambda: response_error([1.0], [0, 1], probe=1e-7, roundings=1),
            "moved, steps: expected a distance >= 0",
        ),
        (
            lambda: response_error([np.nan], [0], probe=1e-7, roundings=1),
            "moved, steps: expected a distance >= 0",
        ),
        (
            lambda: response_error([1.0], [0], probe=0.0, roundings=1),
            "probe: expected a number > 0",
        ),
        (lambda: explained_gap(-1.0), "parted: expected distances >= 0"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_runs_that_are_lost_explain_nothing():
    assert np.isnan(explained_gap(np.nan))
