"""The closed forms EXP-1 … EXP-13: each is proved, a wrong constant is not, and the update rule itself agrees."""

import doctest

import numpy as np
import pytest
import sympy

from sdetheory.hypotheses import HypothesisError
from sdetheory.theory import exp_lr

EPS = np.finfo(float).eps
P = {"lr": 0.3, "weight_decay": 0.004, "momentum": 0.9}


@pytest.mark.parametrize("formula", exp_lr.FORMULAS.values(), ids=exp_lr.FORMULAS)
def test_the_derivation_closes(formula):
    assert formula.verify().status == "proved", formula.verify()


@pytest.mark.parametrize("formula", exp_lr.FORMULAS.values(), ids=exp_lr.FORMULAS)
def test_a_constant_off_by_one_per_cent_is_refuted(formula):
    assert formula.replaced(sympy.Rational(101, 100) * formula.expr).verify().status == "failed"


@pytest.mark.parametrize("formula", exp_lr.FORMULAS.values(), ids=exp_lr.FORMULAS)
def test_the_examples_in_the_documentation_run(formula):
    test = doctest.DocTestParser().get_doctest(formula.__doc__, dict(exp_lr.FORMULAS), formula.name, None, 0)
    assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


def test_the_registry_is_what_the_module_offers():
    assert set(exp_lr.FORMULAS) == set(exp_lr.__all__) - {"FORMULAS", "by_claim"}


def test_every_claim_has_formulas():
    assert {f.claim for f in exp_lr.FORMULAS.values()} == {f"EXP-{n}" for n in range(1, 16)}


# ---- the update rule as oracle: a quadratic Rayleigh quotient in three dimensions, one "minibatch" a step


def _gradient(w, a):
    r = w @ w
    return 2 * (a @ w) / r - 2 * w * (w @ a @ w) / r**2


def _run(w, v, lrs, decays, momentum, batches, nudge=None):
    path = [w]
    for k, a in enumerate(batches):
        if nudge is not None:
            v = nudge(k, w, v)
        v = momentum * v + _gradient(w, a) + decays[k] * w
        w = w - lrs[k] * v
        path.append(w)
    return np.array(path)


@pytest.fixture
def batches():
    a = np.random.default_rng(1).standard_normal((60, 3, 3))
    return a + np.swapaxes(a, 1, 2)


W0, V0 = np.array([3.0, -2.0, 1.5]), np.array([0.2, -0.1, 0.3])
TOLERANCE = 1e-10  # 60 steps of a map with slopes near 1 (|w|^2 is 15, lr 0.3): rounding grows by some 10^3


def _direction(path):
    return path / np.linalg.norm(path, axis=1, keepdims=True)


def test_the_exponential_schedule_with_its_start_buffer_is_the_run_with_decay(batches):
    n = len(batches)
    with_decay = _run(W0, V0, [P["lr"]] * n, [P["weight_decay"]] * n, P["momentum"], batches)
    grown = exp_lr.exponential_lr(step=np.arange(n), **P)
    start = V0 + exp_lr.start_buffer(**P) * W0
    without = _run(W0, start, grown, np.zeros(n), P["momentum"], batches)
    np.testing.assert_allclose(_direction(without), _direction(with_decay), atol=TOLERANCE)
    z1 = exp_lr.larger_root(**P)
    np.testing.assert_allclose(without, with_decay * z1 ** -np.arange(n + 1)[:, None], rtol=1e-7)
    bare = _run(W0, V0, grown, np.zeros(n), P["momentum"], batches)  # negative control: the buffer left as it was
    assert np.abs(_direction(bare) - _direction(with_decay)).max() > 1e-4


def _alphas(lrs, decays, momentum):
    alphas = [1.0]
    for k in range(len(lrs)):
        alphas.append(exp_lr.alpha_step(alpha=alphas[-1], lr=lrs[k], previous_lr=lrs[max(k - 1, 0)],
                                        weight_decay=decays[k], momentum=momentum))
    return np.array(alphas)


def test_every_schedule_has_its_rescaled_twin(batches):
    n, rng = len(batches), np.random.default_rng(2)
    lrs, decays = rng.uniform(0.1, 0.3, n), rng.uniform(0.001, 0.01, n)
    scale = np.cumprod(1 / _alphas(lrs, decays, 0.9))  # P_0 … P_n, as alpha_0 = 1
    # alpha_0 = 1 stands for v_0 as it is, whatever the rate before the start was called
    twin = _run(W0, V0, scale[:-1] * scale[1:] * lrs, np.zeros(n), 0.9, batches)
    original = _run(W0, V0, lrs, decays, 0.9, batches)
    np.testing.assert_allclose(_direction(twin), _direction(original), atol=TOLERANCE)


def test_the_roots_solve_the_quadratic_and_bracket_sqrt_momentum():
    z1, z2 = exp_lr.larger_root(**P), exp_lr.smaller_root(**P)
    assert z1 + z2 == pytest.approx(1 + 0.9 - 0.0012, rel=4 * EPS) and z1 * z2 == pytest.approx(0.9, rel=4 * EPS)
    assert 0 < z2 < np.sqrt(0.9) < z1 < 1
    double = {"lr": (1 - np.sqrt(0.25)) ** 2, "weight_decay": 1.0, "momentum": 0.25}
    assert exp_lr.larger_root(**double) == pytest.approx(0.5, rel=1e-15)


def test_the_expansion_is_off_by_third_order_only():
    error = [exp_lr.larger_root(lr=x, weight_decay=1.0, momentum=0.5)
             - exp_lr.larger_root_expansion(lr=x, weight_decay=1.0, momentum=0.5) for x in (4e-3, 2e-3)]
    assert np.log2(error[0] / error[1]) == pytest.approx(3, abs=0.1)  # next term relative 5x/(1-mu)^2 … < 0.1


def test_the_growth_of_an_epoch_is_the_published_one():
    z1 = exp_lr.larger_root(lr=0.1, weight_decay=5e-4, momentum=0.9)
    assert z1 ** (-2 * 391) == pytest.approx(1.481, abs=5e-4)


def test_alpha_after_n_steps_is_the_recursion_iterated():
    alpha = 1.0
    for n in range(30):
        assert exp_lr.alpha_after(step=n, alpha=1.0, **P) == pytest.approx(alpha, rel=1e-13)
        alpha = exp_lr.alpha_step(alpha=alpha, previous_lr=P["lr"], **P)
    z1, z2 = exp_lr.larger_root(**P), exp_lr.smaller_root(**P)
    assert exp_lr.forgetting_factor(**P) == pytest.approx(z2 / z1, rel=4 * EPS)


def _step_decay(n, boundary, old, new):
    lrs, decays = np.where(np.arange(n) < boundary, old, new), np.full(n, P["weight_decay"])
    roots = [exp_lr.larger_root(lr=r, weight_decay=P["weight_decay"], momentum=0.9) for r in (old, new)]
    exact_alphas = np.concatenate([[roots[0]], np.empty(n)])  # alpha_0 = z1: at rest in the first phase
    for k in range(n):
        exact_alphas[k + 1] = exp_lr.alpha_step(alpha=exact_alphas[k], lr=lrs[k], previous_lr=lrs[max(k - 1, 0)],
                                                weight_decay=P["weight_decay"], momentum=0.9)
    scale = np.concatenate([[1.0], np.cumprod(1 / exact_alphas[1:])])
    texp = np.empty(n)
    texp[0] = lrs[0] / roots[0]
    for k in range(1, n):
        if k == boundary:
            texp[k] = texp[k - 1] * exp_lr.texp_boundary_factor(lr=new, previous_lr=old, alpha=roots[1],
                                                               previous_alpha=roots[0])
        else:
            texp[k] = texp[k - 1] * roots[k > boundary] ** -2
    return lrs, decays, roots, exact_alphas, scale, texp


def test_texp_keeps_the_predicted_factor_against_the_exact_schedule():
    n, boundary, old, new = 400, 100, 0.3, 0.03
    lrs, _, _, alphas, scale, texp = _step_decay(n, boundary, old, new)
    left = texp / (scale[:-1] * scale[1:] * lrs)
    predicted = exp_lr.texp_offset(alpha=alphas[boundary + 1], lr=new, weight_decay=P["weight_decay"], momentum=0.9)
    np.testing.assert_allclose(left[:boundary], 1, rtol=1e-12)
    assert abs(predicted - 1) > 1e-3 and left[-1] == pytest.approx(predicted, rel=1e-12)


def test_texp_with_the_corrected_buffer_is_exact(batches):
    n, boundary, old, new = len(batches), 20, 0.3, 0.03
    lrs, decays, roots, _, scale, texp = _step_decay(n, boundary, old, new)
    start = V0 + exp_lr.start_buffer(lr=old, weight_decay=P["weight_decay"], momentum=0.9) * W0
    factor = exp_lr.texp_buffer_correction(lr=new, previous_lr=old, alpha=roots[1], previous_alpha=roots[0])

    def corrected(k, w, v):
        return v + factor * w / scale[boundary] ** 2 if k == boundary else v

    original = _run(W0, V0, lrs, decays, 0.9, batches)
    exact = _run(W0, start, texp, np.zeros(n), 0.9, batches, corrected)
    plain = _run(W0, start, texp, np.zeros(n), 0.9, batches)
    np.testing.assert_allclose(_direction(exact), _direction(original), atol=TOLERANCE)
    assert np.abs(_direction(plain) - _direction(original)).max() > 1e-5


def test_a_single_drop_is_forgotten():
    t = np.array([0.0, 1e6])
    found = exp_lr.effective_lr_after_single_drop(t=t, drop_factor=10.0, intrinsic_lr=1e-3)
    np.testing.assert_allclose(found, [0.1, 1], rtol=4 * EPS)


def test_gradient_descent_with_decay_crosses_the_threshold_at_the_predicted_time():
    lr, decay, w = 0.1, 0.02, np.array([1e-12, 2.0])
    predicted = exp_lr.time_to_instability(sq_norm=4.0, lr=lr, weight_decay=decay, top_curvature=2.0)
    threshold = exp_lr.instability_threshold(intrinsic_lr=lr * decay, top_curvature=2.0)
    steps = 0
    while lr / (w @ w) < threshold:
        w = (1 - lr * decay) * w  # at the minimum x = 0 of x^2/(x^2+y^2), Hessian 2/|w|^2, there is no gradient
        steps += 1
    assert steps == int(np.ceil(predicted))
    assert exp_lr.curvature_at_norm(sq_norm=4.0, top_curvature=2.0) == 0.5


def test_the_norm_step_and_the_decay_free_step_are_the_update():
    w, a = W0, np.diag([1.0, 2.0, 5.0])
    lr, decay = 0.3, 0.1
    g = _gradient(w, a)
    new = (1 - lr * decay) * w - lr * g
    found = exp_lr.sq_norm_step(sq_norm=w @ w, lr=lr, weight_decay=decay, sq_grad=g @ g)
    assert new @ new == pytest.approx(found, rel=16 * EPS)
    rho = 1 - lr * decay
    np.testing.assert_allclose(rho * (w - exp_lr.decay_free_lr(lr=lr, shrinkage=rho) * g), new, rtol=16 * EPS)


@pytest.mark.parametrize(("formula", "values", "message"), [
    (exp_lr.larger_root, {"lr": 0.5, "weight_decay": 0.5, "momentum": 0.9}, "EXP-7: needs lr"),
    (exp_lr.exponential_lr, {"step": 1, "lr": 1.0, "weight_decay": 1.0, "momentum": 0.0}, "EXP-5: needs lr"),
    (exp_lr.larger_root, {"lr": 0.5, "weight_decay": 0.5, "momentum": 1.0}, "EXP-7: needs momentum < 1"),
    (exp_lr.instability_threshold, {"intrinsic_lr": 1.0, "top_curvature": 2.0}, "EXP-12: needs intrinsic_lr < 1"),
])
def test_where_no_positive_schedule_exists_the_claim_says_so(formula, values, message):
    with pytest.raises(HypothesisError, match=message):
        formula(**values)
