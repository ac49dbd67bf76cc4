"""The closed forms SVAG-1 … SVAG-11: each is proved, a wrong constant is not; and the numbers of SVAG-1 … SVAG-3 and SVAG-10."""

import doctest
import itertools

import numpy as np
import pytest
import sympy
from scipy.linalg import expm

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


# A law on three points in R^2 is enumerated; its gradients are a x - b in one dimension.
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
