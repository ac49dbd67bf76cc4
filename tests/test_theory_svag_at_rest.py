"""SGD, SVAG and SDE at rest, and what follows for the scaling rule (SVAG-4 … SVAG-7): each number has an independent oracle."""

import numpy as np
import pytest
from scipy.linalg import solve_continuous_lyapunov, solve_discrete_lyapunov

from sdetheory.theory import svag


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
