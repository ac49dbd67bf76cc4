"""The closed forms SVAG-1 … SVAG-11: each is proved, a wrong constant is not, each number has an independent oracle."""

import doctest
import itertools

import numpy as np
import pytest
import sympy
from scipy.linalg import expm, solve_continuous_lyapunov, solve_discrete_lyapunov

from sdetheory.hypotheses import HypothesisError
from sdetheory.theory import svag

EPS = np.finfo(float).eps


@pytest.mark.parametrize("formula", svag.FORMULAS.values(), ids=svag.FORMULAS)
def test_the_derivation_closes(formula):
    assert formula.verify().status == "proved", formula.verify()


@pytest.mark.parametrize("formula", svag.FORMULAS.values(), ids=svag.FORMULAS)
def test_a_constant_off_by_one_per_cent_is_refuted(formula):
    assert formula.replaced(sympy.Rational(101, 100) * formula.expr).verify().status == "failed"


@pytest.mark.parametrize(("formula", "old", "new"), [
    (svag.amplified_third_moment, "amplification", "amplification + 1"),
    (svag.one_step_second_moment_gap, "noise_slope", "2*noise_slope"),
    (svag.svag_second_moment_step, "curvature_variance", "curvature_variance/amplification"),
    (svag.second_moment_error, "curvature_variance", "2*curvature_variance"),
    (svag.svag_stationary_covariance, "amplification", "1"),
    (svag.svag_equilibrium_sq_norm, "sq_grad", "0"), (svag.sde_equilibrium_sq_norm, "noise_trace", "noise_trace + lr"),
    (svag.least_noise_to_signal, "weight_decay", "0"), (svag.largest_batch_factor, "weight_decay", "0"),
    (svag.third_moment_gap, "step", "2*step"), (svag.fourth_moment_gap, "eigenvalue", "2*eigenvalue"),
    (svag.stable_growth_exponent, "stability", "stability**2"), (svag.modified_drift, "hessian", "-hessian"),
    (svag.near_miss_covariance, "amplification", "amplification + 1"),
], ids=lambda value: getattr(value, "name", value))
def test_a_parameter_that_enters_wrongly_is_refuted(formula, old, new):
    names = {s.name: s for s in formula.parameters}
    changed = formula.expr.subs(names[old], sympy.sympify(new, locals=names))
    assert formula.replaced(changed).verify().status == "failed"


@pytest.mark.parametrize("formula", svag.FORMULAS.values(), ids=svag.FORMULAS)
def test_the_examples_in_the_documentation_run(formula):
    test = doctest.DocTestParser().get_doctest(formula.__doc__, dict(svag.FORMULAS), formula.name, None, 0)
    assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


def test_every_claim_with_a_closed_form_has_formulas():
    assert {f.claim for f in svag.FORMULAS.values()} == {f"SVAG-{n}" for n in range(1, 12)}
    assert set(svag.FORMULAS) <= set(svag.__all__)
    assert [f.name for f in svag.by_claim("SVAG-10")] == ["near_miss_covariance", "near_miss_noise"]
    with pytest.raises(ValueError, match="claim: expected one of"):
        svag.by_claim("SVAG-13")


# ---- numbers. A law on three points in R^2 is enumerated; its gradients are a x - b in one dimension.

P = np.array([0.5, 0.25, 0.25])
XI = np.array([[1.0, -0.5], [-3.0, 0.0], [1.0, 1.0]])  # mean 0 under P
GRADIENT = np.array([0.75, -1.25])
PAIRS = list(itertools.product(range(3), repeat=2))


def enumerated(weights, gradients):
    """Probabilities and values of the weighted gradient over all pairs of draws."""
    return (np.array([P[i] * P[j] for i, j in PAIRS]),
            np.array([weights[0] * gradients[i] + weights[1] * gradients[j] for i, j in PAIRS]))


@pytest.mark.parametrize("amplification", [1, 2, 7])
def test_the_moments_of_the_weighted_gradient_are_those_of_the_enumerated_pairs(amplification):
    weights = svag.first_weight(amplification=amplification), svag.second_weight(amplification=amplification)
    p, g = enumerated(weights, GRADIENT + XI)
    centred = g - GRADIENT
    covariance = np.einsum("k,ki,kj->ij", P, XI, XI)
    third = np.einsum("k,ki,kj,kl->ijl", P, XI, XI, XI)
    tolerance = 100 * EPS * np.abs(g).max() ** 3
    np.testing.assert_allclose(p @ g, GRADIENT, atol=tolerance)
    np.testing.assert_allclose(np.einsum("k,ki,kj->ij", p, centred, centred), atol=tolerance, desired=
                               svag.amplified_covariance(amplification=amplification, noise_covariance=covariance))
    np.testing.assert_allclose(np.einsum("k,ki,kj,kl->ijl", p, centred, centred, centred), atol=tolerance, desired=
                               svag.amplified_third_moment(amplification=amplification, third_moment=third))


def test_a_spread_of_one_s_own_has_the_stated_covariance():
    spread = np.sqrt(2.1 * 4 - 1)
    p, g = enumerated(((1 + spread) / 2, (1 - spread) / 2), XI)
    found = svag.spread_covariance(spread=spread, noise_covariance=np.einsum("k,ki,kj->ij", P, XI, XI))
    np.testing.assert_allclose(np.einsum("k,ki,kj->ij", p, g, g), found, atol=100 * EPS)
    np.testing.assert_allclose(found, 1.05 * 4 * np.einsum("k,ki,kj->ij", P, XI, XI), rtol=8 * EPS)


def test_the_near_miss_has_the_stated_covariance_and_limit():
    amplification, lr = 5, 0.3
    factors = 1 + np.array([1, -1]) * np.sqrt(amplification - 1)
    p = np.repeat(P, 2) / 2
    g = np.array([factor * (GRADIENT + xi) for xi in XI for factor in factors])
    covariance = np.einsum("k,ki,kj->ij", P, XI, XI)
    entries = dict(noise_covariance=covariance, gradient=GRADIENT[:, None], other_gradient=GRADIENT[None, :])
    np.testing.assert_allclose(np.einsum("k,ki,kj->ij", p, g, g) - np.outer(GRADIENT, GRADIENT), atol=1000 * EPS,
                               desired=svag.near_miss_covariance(amplification=amplification, **entries))
    large = 10**9
    np.testing.assert_allclose(lr / large * svag.near_miss_covariance(amplification=large, **entries), rtol=1e-8,
                               desired=svag.near_miss_noise(lr=lr, **entries))


A_LAW, B_LAW = np.array([1.0, 2.0, 0.5]), np.array([0.3, -0.4, 0.1])  # with P
A, B = P @ A_LAW, P @ B_LAW
VA, VB, CAB = P @ (A_LAW - A) ** 2, P @ (B_LAW - B) ** 2, P @ ((A_LAW - A) * (B_LAW - B))
LAW = dict(eigenvalue=A, offset=B, curvature_variance=VA, curvature_offset_covariance=CAB, offset_variance=VB)
LR, X0 = 0.4, 1.5


def svag_moment(amplification, order, x=X0):
    """E x'^order of one SVAG step from x, over the pairs of draws."""
    weights = svag.first_weight(amplification=amplification), svag.second_weight(amplification=amplification)
    p, g = enumerated(weights, A_LAW * x - B_LAW)
    return p @ (x - LR / amplification * g) ** order


def sde_moments(time, order=4):
    """E X^n, n = 0 … order, of dX = −(aX − b)dt + (η(Var a X² − 2 Cov X + Var b))^{1/2}dW from X0, by a matrix exponential."""
    M = np.zeros((order + 1, order + 1))
    for n in range(1, order + 1):
        M[n, n] += -A * n + LR * VA * n * (n - 1) / 2
        M[n, n - 1] += B * n - LR * CAB * n * (n - 1)
        if n > 1:
            M[n, n - 2] += LR * VB * n * (n - 1) / 2
    return expm(M * time) @ X0 ** np.arange(order + 1.0)


def about_x0(moments, order):
    """Σ binomial (−X0)^(order−n) E X^n."""
    return sum(sympy.binomial(order, n) * (-X0) ** (order - n) * moments[n] for n in range(order + 1))


def limit(f):
    """lim f(l) for f(l) = c + c_1/l + c_2/l² + …, by Richardson from l = 64, 128, 256; the c_3 that is left is O(1)."""
    values = [f(amplification) for amplification in (64, 128, 256)]
    return (values[0] - 6 * values[1] + 8 * values[2]) / 3


@pytest.mark.parametrize(("order", "formula"), [(1, svag.one_step_mean_gap), (2, svag.one_step_second_moment_gap),
                                                (3, svag.one_step_third_moment_gap)])
def test_one_step_against_the_sde_has_the_stated_gap(order, formula):
    third = P @ ((A_LAW - A) * X0 - (B_LAW - B)) ** 3
    values = dict(lr=LR, gradient=A * X0 - B, hessian=A, third_derivative=0.0, third_moment=third,
                  noise_variance=VA * X0**2 - 2 * CAB * X0 + VB, noise_slope=2 * VA * X0 - 2 * CAB, noise_curvature=2 * VA)

    def gap(amplification):
        weights = svag.first_weight(amplification=amplification), svag.second_weight(amplification=amplification)
        p, g = enumerated(weights, A_LAW * X0 - B_LAW)
        step = p @ (-LR / amplification * g) ** order
        return amplification**2 * float(step - about_x0(sde_moments(LR / amplification), order))

    found = formula(**{s.name: values[s.name] for s in formula.parameters})
    assert gap(10**3) == pytest.approx(found, rel=0.02)
    assert limit(gap) == pytest.approx(found, rel=2e-4)  # c_3/64³ = 4e-6 c_3; rounding l² eps |X0|³ 10 = 5e-10


def test_the_moments_of_svag_follow_their_recursion_and_those_of_the_sde_their_equation():
    amplification = 3
    second = svag.svag_second_moment_step(second_moment=X0**2, mean=X0, amplification=amplification, lr=LR, **LAW)
    assert second == pytest.approx(svag_moment(amplification, 2), rel=16 * EPS)
    one, mean = dict(eigenvalue=A, offset=B, w0=X0), X0
    for _ in range(5):
        mean = svag_moment(amplification, 1, mean)
    assert svag.svag_mean(step=5, amplification=amplification, lr=LR, **one) == pytest.approx(mean, rel=32 * EPS)
    assert svag.sde_mean(t=0.7, **one) == pytest.approx(sde_moments(0.7)[1], rel=1e-13)
    h = 1e-4
    slope = (sde_moments(0.7 + h)[2] - sde_moments(0.7 - h)[2]) / (2 * h)
    at = dict(zip(("mean", "second_moment"), sde_moments(0.7)[1:3], strict=True))
    assert svag.sde_second_moment_rate(lr=LR, **at, **LAW) == pytest.approx(slope, rel=1e-7)  # h² + eps/h


def test_the_weak_errors_are_of_first_order_with_the_stated_coefficient():
    steps = 5  # of SGD
    one = dict(lr=LR, eigenvalue=A, w0=X0)

    def of_mean(amplification):
        there = svag.sde_mean(t=steps * LR, eigenvalue=A, offset=B, w0=X0)
        here = svag.svag_mean(step=steps * amplification, amplification=amplification, offset=B, **one)
        return amplification * (here - there)

    assert limit(of_mean) == pytest.approx(svag.mean_error(t=steps * LR, offset=B, **one), rel=1e-4)

    def of_second(amplification):
        alone = LAW | dict(offset=0.0, curvature_offset_covariance=0.0, offset_variance=0.0)
        second = X0**2
        for _ in range(steps * amplification):
            second = svag.svag_second_moment_step(second_moment=second, mean=0.0, amplification=amplification, lr=LR,
                                                  **alone)
        return amplification * (second - X0**2 * np.exp((LR * VA - 2 * A) * steps * LR))

    values = [of_second(n) for n in (8, 16, 32)]
    extrapolated = (values[0] - 6 * values[1] + 8 * values[2]) / 3
    found = svag.second_moment_error(t=steps * LR, curvature_variance=VA, **one)
    assert extrapolated == pytest.approx(found, rel=5e-3)


def test_stationary_covariances_solve_scipy_s_lyapunov_equations():
    eigenvalues, lr = np.array([0.5, 1.5, 3.0]), 0.4
    factor = np.array([[1.0, 0.0, 0.0], [0.5, 1.0, 0.0], [-0.25, 0.75, 0.5]])
    entries = dict(lr=lr, eigenvalue=eigenvalues[:, None], other_eigenvalue=eigenvalues, noise_covariance=factor @ factor.T)
    for amplification in (1, 4):
        h = lr / amplification
        expected = solve_discrete_lyapunov(np.eye(3) - h * np.diag(eigenvalues), h * lr * factor @ factor.T)
        found = svag.svag_stationary_covariance(amplification=amplification, **entries)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        variances = svag.svag_stationary_variance(amplification=amplification, lr=lr, eigenvalue=eigenvalues,
                                                  noise_variance=np.diag(factor @ factor.T))
        np.testing.assert_allclose(variances, np.diag(expected), rtol=1e-12)
    expected = solve_continuous_lyapunov(np.diag(eigenvalues), lr * factor @ factor.T)
    np.testing.assert_allclose(svag.sde_stationary_covariance(**entries), expected, rtol=1e-12)
    one = dict(lr=lr, eigenvalue=1.5, noise_variance=2.0)
    assert svag.sgd_stationary_variance(**one) == svag.svag_stationary_variance(amplification=1, **one)
    assert svag.sde_stationary_variance(**one) == pytest.approx(
        svag.svag_stationary_variance(amplification=10**12, **one), rel=1e-11)


@pytest.mark.parametrize("amplification", [1, 3])
def test_the_norm_comes_to_rest_at_the_value_that_balances_gradient_noise_and_decay(amplification):
    lr, decay, sq_grad, trace = 0.3, 0.2, 0.5, 2.0
    h, sq_norm = lr / amplification, 1.0
    weights = svag.first_weight(amplification=amplification), svag.second_weight(amplification=amplification)
    for _ in range(2000 * amplification):
        w = np.array([np.sqrt(sq_norm), 0.0, 0.0])
        g = np.array([0.0, np.sqrt(sq_grad), 0.0])
        ends = [(1 - h * decay) * w - h * (g + (weights[0] * i + weights[1] * j) * np.array([0.0, 0.0, np.sqrt(trace)]))
                for i in (-1, 1) for j in (-1, 1)]
        sq_norm = np.mean([end @ end for end in ends])
    found = svag.svag_equilibrium_sq_norm(amplification=amplification, lr=lr, weight_decay=decay, sq_grad=sq_grad,
                                          noise_trace=trace)
    assert found == pytest.approx(sq_norm, rel=1e-12)


def test_the_sde_is_the_limit_of_the_balance():
    values = dict(lr=0.3, weight_decay=0.2, noise_trace=2.0)
    limit = svag.svag_equilibrium_sq_norm(amplification=10**12, sq_grad=0.5, **values)
    assert svag.sde_equilibrium_sq_norm(**values) == pytest.approx(limit, rel=1e-11)


def test_the_noise_bound_is_attained_at_a_corner_of_the_ratios_and_nowhere_exceeded():
    similarity, lr, decay = 1.5, 0.4, 0.5
    ratios = np.geomspace(1 / similarity, similarity, 41)
    norm, noise = np.meshgrid(ratios, ratios)
    # SDE: 2 decay R = lr N with N = 1; SGD: (2 - lr decay) decay r R = lr (G + n)
    sq_norm = norm * lr / (2 * decay)
    signal = (2 - lr * decay) * decay * sq_norm / lr - noise
    found = svag.largest_signal_to_noise(similarity=similarity, lr=lr, weight_decay=decay)
    assert (signal / noise).max() == pytest.approx(found, rel=1e-12)
    assert svag.least_noise_to_signal(similarity=similarity, lr=lr, weight_decay=decay) == pytest.approx(1 / found, rel=1e-14)


def test_the_largest_batch_is_the_last_for_which_matching_runs_exist():
    values = dict(similarity=np.sqrt(2), lr=0.1, weight_decay=0.5, sq_grad=1.0, noise_trace=4.0)
    ends = np.array([1 / np.sqrt(2), np.sqrt(2)])
    kappas = np.linspace(1.0, 20.0, 190_001)

    def exists(kappa):
        """Whether some r, g, n in [1/C, C] balance the second run: linear in each, so the corners tell."""
        r, g, n = np.meshgrid(ends, ends, ends)
        sq_norm = 0.1 * 5.0 / ((2 - 0.05) * 0.5)
        gap = (2 - kappa * 0.05) * 0.5 * r * sq_norm - kappa * 0.1 * (g * 1.0 + n * 4.0 / kappa)
        return gap.min() <= 0 <= gap.max()

    last = max(kappa for kappa in kappas[::1000] if exists(kappa))
    found = svag.largest_batch_factor(**values)
    assert last <= found < last + 0.1
    assert exists(found * (1 - 1e-9)) and not exists(found * (1 + 1e-9))
    assert svag.batch_factor_bound(batch_factor=found, **values) == pytest.approx(found, rel=1e-13)
    least = svag.least_similarity(batch_factor=found, **{k: v for k, v in values.items() if k != "similarity"})
    assert least == pytest.approx(np.sqrt(2), rel=1e-13)
    assert found < svag.simple_batch_factor_bound(similarity=np.sqrt(2), sq_grad=1.0, noise_trace=4.0)


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


@pytest.mark.parametrize(("formula", "values", "message"), [
    (svag.first_weight, dict(amplification=0), "SVAG-1: needs amplification > 0"),
    (svag.amplified_covariance, dict(amplification=1.5, noise_covariance=1.0), "SVAG-1: needs amplification an integer"),
    (svag.sgd_stationary_variance, dict(lr=1.0, eigenvalue=2.5, noise_variance=1.0), "SVAG-4: needs"),
    (svag.largest_signal_to_noise, dict(similarity=0.9, lr=0.1, weight_decay=0.1), "SVAG-6: needs"),
    (svag.largest_batch_factor, dict(similarity=2.0, lr=0.1, weight_decay=0.1, sq_grad=0.0, noise_trace=1.0),
     "SVAG-7: needs sq_grad > 0"),
    (svag.stable_displacement, dict(amplification=2, lr=0.1, stability=2.5, noise_scale=1.0), "SVAG-9: needs stability"),
])
def test_outside_its_hypotheses_a_formula_names_the_claim(formula, values, message):
    with pytest.raises(HypothesisError, match=message):
        formula(**values)
