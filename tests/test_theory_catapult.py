"""The closed forms of the catapult paper: proved by their derivations, refuted when changed, right on real weights."""

import doctest

import numpy as np
import pytest
import sympy

from sdetheory.hypotheses import HypothesisError
from sdetheory.theory import catapult
from sdetheory.theory.catapult import FORMULAS
from sdetheory.theory.catapult.settling import fall_below_two_near_edge, remaining_fall

EPS = np.finfo(np.float64).eps


@pytest.mark.parametrize("name", FORMULAS)
def test_the_derivation_proves_the_formula(name):
    result = FORMULAS[name].verify()
    assert result.status == "proved", result


@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_that_is_off_by_one_per_cent_is_not_proved(name):
    formula = FORMULAS[name]
    assert formula.replaced(formula.expr * sympy.Rational(101, 100)).verify().status == "failed"


@pytest.mark.parametrize("name", [name for name, formula in FORMULAS.items() if ">>>" in formula.__doc__])
def test_the_examples_in_the_documentation_hold(name):
    test = doctest.DocTestParser().get_doctest(FORMULAS[name].__doc__, {**FORMULAS}, name, None, 0)
    assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


def weights(width, seed=0):
    u, v = np.random.default_rng(seed).standard_normal((2, width))
    return u, v


def two_numbers(u, v):
    return u @ v / np.sqrt(u.size), (u @ u + v @ v) / u.size


def descend(u, v, lr):
    f, c = u @ v / np.sqrt(u.size), lr / np.sqrt(u.size)
    return u - c * f * v, v - c * f * u


@pytest.mark.parametrize("width", [1, 2, 7, 100])
def test_two_numbers_of_the_weights_follow_the_recursion(width):
    u, v = weights(width)
    f, curvature = two_numbers(u, v)
    lr = 2.5 / curvature
    f1, curvature1 = two_numbers(*descend(u, v, lr))
    # a dot product of n terms rounds by at most n eps of Σ|u_i v_i| <= n curvature / 2; the step multiplies this by (1 + X + Y)
    bound = 8 * (width + 8) * EPS * curvature * np.sqrt(width)
    assert abs(catapult.output_step(f=f, curvature=curvature, lr=lr, width=width) - f1) <= bound
    assert abs(catapult.curvature_step(f=f, curvature=curvature, lr=lr, width=width) - curvature1) <= bound


def test_the_first_growth_edge_separates_falling_from_growing_first_steps():
    rng = np.random.default_rng(1)
    width = 16
    for _ in range(200):
        u, v = rng.standard_normal((2, width))
        f, curvature = two_numbers(u, v)
        if 8 * f**2 > width * curvature**2:
            continue
        edge = catapult.first_growth_edge(curvature=curvature, f=f, width=width)
        for lr in (0.999 * edge, 1.001 * edge):
            grown = abs(two_numbers(*descend(u, v, lr))[0]) > abs(f)
            assert grown == (lr > edge)


def iterate(x, y, n_steps):
    xs, ys = [x], [y]
    for _ in range(n_steps):
        x, y = x + y * (x - 4), y * (1 - x + y) ** 2
        xs.append(x)
        ys.append(y)
    return np.array(xs), np.array(ys)


def exact_descent(u, v, n_steps):
    """(f, curvature) at each step of a net of width 1 at learning rate 1, in rational arithmetic."""
    u, v = sympy.Rational(u), sympy.Rational(v)
    numbers = [(u * v, u**2 + v**2)]
    for _ in range(n_steps):
        u, v = u - u * v * v, v - u * v * u
        numbers.append((u * v, u**2 + v**2))
    return numbers


def test_a_start_above_the_divergence_edge_can_land_on_zero_output_and_stay_there():
    assert exact_descent(2, 1, 3) == [(2, 5), (0, 9), (0, 9), (0, 9)]  # lr * curvature > 4


def test_a_start_below_the_divergence_edge_can_end_with_a_curvature_above_two():
    u = sympy.Rational(8, 5)
    end = sympy.Rational(1521, 625)  # 2.4336, and no step follows that could leave the minimum
    assert exact_descent(u, 1, 2) == [(u, sympy.Rational(89, 25)), (0, end), (0, end)]


@pytest.mark.parametrize(("u", "v", "factor"), [
    (sympy.sqrt(2), sympy.sqrt(2), 1), (sympy.sqrt(2 + sympy.sqrt(2)), sympy.sqrt(2 - sympy.sqrt(2)), -1)])
def test_on_the_divergence_edge_the_loss_can_stay_as_it_is(u, v, factor):
    f = sympy.sqrtdenest(sympy.sqrt(sympy.expand(u**2 * v**2)))
    new_u, new_v = u - f * v, v - f * u
    assert sympy.simplify(u**2 + v**2 - 4) == 0 == sympy.simplify(new_u**2 + new_v**2 - 4)
    assert sympy.simplify(sympy.expand(new_u * new_v) - factor * f) == 0


def test_below_the_edge_every_start_converges_and_above_almost_every_start_diverges():
    x = np.array([3.8, 3.9, 3.95, 4.05, 4.1, 4.5])
    share = np.linspace(0.01, 0.99, 25)[:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        _, y = iterate(x + 0 * share, share * x**2 / 4, 4000)
    assert np.all(y[-1][:, x < 4] < 1e-15)
    assert not np.any(np.isfinite(y[-1][:, x > 4]))


def test_curvature_never_rises_below_the_edge_and_ends_below_two():
    start, share = np.meshgrid(np.linspace(0.1, 3.9, 39), np.linspace(0.001, 0.999, 37))
    x, y = iterate(start, share * start**2 / 4, 4000)
    assert np.all(np.diff(x, axis=0) <= 0)
    assert np.all(x[-1] < 2)  # and from there the loss only falls; slowly where X is near 0 or 2
    assert np.all(np.diff(y[-2:], axis=0) <= 0) and np.all(y[-1] < 1e-6)


def test_the_loss_can_fall_first_and_grow_later():
    _, y = iterate(3.8, 2.7, 60)  # X - Y = 1.1 < 2, and Y near X - 1
    growth = np.diff(y)
    assert growth[0] < 0 < growth.max()
    assert y[-1] < 1e-15


def test_the_product_of_the_steps_is_the_curvature_that_is_lost():
    x, y = iterate(3.0, 1e-6, 200)
    total = np.sum(np.log1p(y[:-1]))
    assert total == pytest.approx(catapult.output_budget(X=3.0, X_end=x[-1]), abs=200 * 4 * EPS)
    assert np.prod(1 + y) <= catapult.loss_budget(X=3.0)


def test_neighbours_on_the_edge_part_at_ln_three_on_average():
    # exact average over the invariant law by midpoints in the angle, off the three logarithmic singularities: error O(ln n / n)
    n = 300_001
    phi = (np.arange(n) + 0.5) * np.pi / n
    y = 4 * np.cos(phi) ** 2
    mean = np.log(np.abs(3 * (y - 3) * (y - 1))).mean()
    assert abs(mean - catapult.edge_lyapunov_exponent()) < 4 * np.log(n) / n


@pytest.mark.parametrize("formula", [remaining_fall, fall_below_two_near_edge], ids=lambda formula: formula.name)
def test_what_comes_after_the_catapult_is_proved_and_not_proved_where_it_is_off_by_one_per_cent(formula):
    assert formula.verify().status == "proved"
    assert formula.replaced(formula.expr * sympy.Rational(101, 100)).verify().status == "failed"


@pytest.mark.parametrize("x", [0.3, 0.9, 1.5, 1.8])
def test_once_the_loss_is_small_the_curvature_falls_by_what_remains_up_to_second_order(x):
    gaps = []
    for y in (1e-3, 5e-4, 2.5e-4):
        xs, _ = iterate(x, y, 400)
        gaps.append((x - xs[-1]) / remaining_fall(X=x, Y=y) - 1)
    # each halving of Y halves the relative error, up to its next order
    np.testing.assert_allclose(np.divide(gaps[1:], gaps[:-1]), 0.5, atol=0.02)


def test_near_the_growth_edge_half_of_the_fall_comes_after_the_curvature_has_passed_two():
    gaps = []
    for delta in (0.08, 0.04, 0.02):
        xs, _ = iterate(2 + delta, 1e-14, int(80 / delta))
        k = np.argmax(xs < 2)  # between two steps: where the line through them is at 2
        gaps.append((2 - xs[-1]) / fall_below_two_near_edge(X=2 + delta) - 1)
        assert xs[k - 1] - xs[k] < 1.1 * delta**2  # so the step that passes it is of second order
    assert np.all(np.abs(gaps[1:]) < 0.6 * np.abs(gaps[:-1])) and abs(gaps[-1]) < 0.05


@pytest.mark.parametrize(("x", "least", "median", "greatest"), [
    (2.5, 0.102, 0.107, 0.109), (3.0, 0.293, 0.348, 0.369), (3.5, 0.434, 0.606, 0.681)])
def test_the_band_of_peaks_has_the_stated_values(x, least, median, greatest):
    band = np.array(catapult.wide_limit_peak_band(x)) / (x / 2) ** 2  # f²/n for curvature 2
    # stated to three decimals; 4096 phases resolve the extremes of a smooth band far better
    np.testing.assert_allclose(band, [least, median, greatest], atol=0.5e-3 + 1e-12)


@pytest.mark.parametrize("phase", [0.1, 0.7])
@pytest.mark.parametrize("x", [2.5, 3.0, 3.5])
def test_the_peak_depends_on_width_and_output_through_one_phase_alone(x, phase):
    width = 10**12
    y0 = (x - 1) ** (2 * phase) * (x - 1.0) ** (-2 * round(np.log(width) / (2 * np.log(x - 1))))
    _, y = iterate(x, y0, 400)
    # the start moves X by O(Y0) in all and so the peak by O(Y0 · steps)
    assert y.max() == pytest.approx(catapult.wide_limit_peak(x, phase), rel=1e-9)


@pytest.mark.parametrize("x", [2.5, 2.7, 2.9, 3.1, 3.3, 3.5, 3.7, 3.8])
def test_the_peak_step_of_wide_nets_is_right_to_rounding_and_an_offset(x):
    # the nearest integer is ½ away at most; what the asymptotic offset leaves over is measured: below 0.1 from width 1e4 on
    phases = np.linspace(0, 1, 401)
    for width in (10**4, 10**6, 10**9):
        f = (x - 1) ** (phases - 0.5)  # |f| from one step earlier to half a step later: every phase once
        lr = x / 2
        _, y = iterate(x + 0 * f, lr**2 * f**2 / width, 300)
        gap = np.argmax(y, axis=0) - catapult.peak_step(curvature=2.0, f=f, lr=lr, width=width)
        assert np.all(np.abs(gap) <= 0.6)


def test_near_the_divergence_edge_the_peak_can_come_more_than_a_step_late():
    f = 2.9 ** (np.linspace(0, 1, 401) - 0.5)
    _, y = iterate(3.9 + 0 * f, 1.95**2 * f**2 / 10**6, 300)
    gap = np.argmax(y, axis=0) - catapult.peak_step(curvature=2.0, f=f, lr=1.95, width=10**6)
    assert gap.max() > 1.5 and 0.05 < np.mean(np.abs(gap) > 0.6) < 0.2


@pytest.mark.parametrize("formula", ["peak_near_edge", "final_near_edge"])
def test_near_the_edge_the_catapult_is_a_pulse_with_a_first_order_error(formula):
    gaps = []
    for delta in (0.08, 0.04, 0.02):
        x, y = iterate(2 + delta, 1e-14, int(80 / delta))
        if formula == "peak_near_edge":
            gaps.append(y.max() / catapult.peak_near_edge(X=2 + delta) - 1)
        else:
            gaps.append((2 - x[-1]) / (2 - catapult.final_near_edge(X=2 + delta)) - 1)
    # each halving of delta halves the relative error, up to its next order
    assert np.all(np.abs(gaps[1:]) < 0.6 * np.abs(gaps[:-1]))
    assert abs(gaps[-1]) < 0.05


def full_hessian(u, v):
    n = u.size
    f, gradient = u @ v / np.sqrt(n), np.concatenate([v, u]) / np.sqrt(n)
    swap = np.block([[np.zeros((n, n)), np.eye(n)], [np.eye(n), np.zeros((n, n))]])
    return np.outer(gradient, gradient) + f / np.sqrt(n) * swap


@pytest.mark.parametrize("width", [1, 2, 3, 10])
def test_the_whole_spectrum_of_the_hessian_is_as_derived(width):
    u, v = weights(width, seed=3)
    f, curvature = two_numbers(u, v)
    bulk = catapult.hessian_bulk(f=f, width=width)
    expected = [catapult.top_hessian_eigenvalue(f=f, curvature=curvature, width=width),
                catapult.lowest_hessian_eigenvalue(f=f, curvature=curvature, width=width),
                *[bulk] * (width - 1), *[-bulk] * (width - 1)]
    found = np.linalg.eigvalsh(full_hessian(u, v))
    np.testing.assert_allclose(found, np.sort(expected), atol=100 * width * EPS * curvature)


def many(width=20, n_inputs=3, n_samples=4, seed=4):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n_samples, n_inputs)) / np.sqrt(n_inputs), rng.standard_normal(n_samples)
    return x, y, rng.standard_normal((width, n_inputs)), rng.standard_normal(width)


def state(x, y, u, v):
    n = v.size
    return x @ u.T @ v / np.sqrt(n) - y, (x @ x.T * (v @ v) + x @ u.T @ u @ x.T) / n, v @ v


@pytest.mark.parametrize("share", [0.5, 1.5])
def test_outputs_and_kernel_of_many_samples_follow_their_recursion(share):
    x, y, u, v = many()
    n, m = v.size, y.size
    lr = share * 2 * m / np.linalg.eigvalsh(state(x, y, u, v)[1]).max()
    run = catapult.kernel_recursion(x, y, *state(x, y, u, v), lr=lr, width=n, n_steps=30)
    assert lr == pytest.approx(share * catapult.wide_growth_edge_many(top_kernel_eigenvalue=np.linalg.eigvalsh(
        state(x, y, u, v)[1]).max(), n_samples=m))
    for k in range(31):
        residual, kernel, readout = state(x, y, u, v)
        # a step rounds by c eps of the size of kernel and residual, and while the loss grows it doubles an error at most:
        # for some 10 steps
        bound = 64 * (k + 1) * n * EPS * max(1.0, np.abs(kernel).max()) * max(1.0, np.abs(residual).max()) * 2.0**min(k, 10)
        np.testing.assert_allclose(run["residual"][k], residual, atol=bound, rtol=0)
        np.testing.assert_allclose(run["kernel"][k], kernel, atol=bound, rtol=0)
        assert abs(run["sq_readout"][k] - readout) <= n * bound
        zeta = x.T @ residual / m
        u, v = u - lr / np.sqrt(n) * np.outer(v, zeta), v - lr / np.sqrt(n) * u @ zeta


@pytest.mark.parametrize("m", [1, 2])
def test_the_recursion_of_matrices_is_the_formulas_for_any_width(m):
    # symbolic kernel_step for m samples with any Gram matrix, against the element formulas
    names = {name: sympy.Symbol(name, positive=True) for name in ("lr", "width", "q")}
    lr, n, q = names.values()
    def matrix(letter):
        return np.array([[sympy.Symbol(f"{letter}{min(i, j)}{max(i, j)}") for j in range(m)] for i in range(m)], dtype=object)
    r, y = (np.array([sympy.Symbol(f"{letter}{i}") for i in range(m)], dtype=object) for letter in "ry")
    kernel, gram = matrix("k"), matrix("g")
    new_r, new_k, new_q = catapult.kernel_step(r, kernel, q, gram, y, lr, n)
    mean = r / sympy.Integer(m)
    over = gram @ mean
    terms = {"kernel_zeta_zeta": mean @ kernel @ mean, "sq_readout": q, "sq_zeta": mean @ over, "f_zeta": mean @ (r + y),
             "lr": lr, "width": n}
    i, j = 0, m - 1
    element = catapult.kernel_element_step(kernel=kernel[i, j], x_x2=gram[i, j], x_zeta=over[i], x2_zeta=over[j],
                                           f_x=(r + y)[i], f_x2=(r + y)[j], **terms)
    assert sympy.expand(new_k[i, j] - element) == 0
    assert sympy.expand(new_r[i] - catapult.residual_step(residual=r[i], kernel_zeta=(kernel @ mean)[i], x_zeta=over[i],
                                                           f_zeta=terms["f_zeta"], lr=lr, width=n)) == 0
    terms.pop("f_zeta")
    assert sympy.expand(new_q - catapult.sq_readout_step(f_zeta=mean @ (r + y), **{k: terms[k] for k in (
        "sq_readout", "kernel_zeta_zeta", "sq_zeta", "lr", "width")})) == 0


@pytest.mark.parametrize(("width", "lr"), [(1, 1.0), (4, 1.3), (16, 1.5), (64, 1.02)])
def test_the_phase_of_a_random_start_has_the_predicted_probabilities(width, lr):
    n_paths = 20_000
    u, v = np.random.default_rng(5).standard_normal((2, n_paths, width))
    x = lr * (np.sum(u * u, axis=1) + np.sum(v * v, axis=1)) / width
    y = lr**2 * np.sum(u * v, axis=1) ** 2 / width**2
    found = np.array([np.mean((x <= 4) & (x - y <= 2)), np.mean((x <= 4) & (x - y > 2)), np.mean(x > 4)])
    expected = np.array([f(lr=lr, width=width) for f in (catapult.probability_lazy, catapult.probability_catapult,
                                                         catapult.probability_divergent)])
    # 12 comparisons under a false-alarm budget of 1e-3: |z| < 4
    assert np.all(np.abs(found - expected) <= 4 * np.sqrt(expected * (1 - expected) / n_paths))
    assert expected.sum() == pytest.approx(1.0, abs=1e-15)


def test_the_probability_of_a_catapult_is_the_integral_it_shows():
    formula = catapult.probability_catapult.expr.integral()
    lr, width = catapult.probability_catapult.parameters
    exact = sympy.Integral(formula.function.subs({lr: sympy.Rational(13, 10), width: 6}), *formula.limits).evalf(12)
    assert catapult.probability_catapult(lr=1.3, width=6) == pytest.approx(float(exact), abs=1e-11)


def test_probabilities_have_their_digits_at_large_width():
    # wide nets: X - 2 lr is normal on the scale 2 lr / sqrt(n); at lr = 1 half of the starts lie on either side
    assert catapult.probability_catapult(lr=1.0, width=10**6) == pytest.approx(0.5, abs=2e-3)
    assert catapult.probability_catapult(lr=1.5, width=10**6) == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: catapult.peak_step(curvature=2.0, f=1.0, lr=2.5, width=100), "CAT-4: needs"),
    (lambda: catapult.first_growth_edge(curvature=1.0, f=5.0, width=10), "CAT-3: needs"),
    (lambda: catapult.output_step(f=1.0, curvature=1.0, lr=1.0, width=0), "CAT-1: needs width > 0"),
    (lambda: catapult.loss_budget(X=4.0), "CAT-3: needs X < 4"),
])
def test_outside_its_hypotheses_a_formula_names_the_claim(call, message):
    with pytest.raises(HypothesisError, match=message):
        call()


def test_bad_arguments_of_the_recursions_are_refused():
    with pytest.raises(ValueError, match="X: expected lr \\* curvature in"):
        catapult.wide_limit_peak(4.5, 0.0)
    with pytest.raises(ValueError, match="targets: expected shape"):
        catapult.kernel_recursion(np.ones((2, 1)), [1.0], [1.0, 1.0], np.eye(2), 1.0, lr=0.1, width=3, n_steps=1)
