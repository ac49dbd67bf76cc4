"""EXP-2 … EXP-13 against oracles that know no formula: iterations in 50 digits, and gradient descent itself."""

import mpmath
import numpy as np
import pytest

from sdetheory.hypotheses import HypothesisError
from sdetheory.losses import RayleighQuotient, toy_fraction
from sdetheory.schedules import one_minus_larger_root
from sdetheory.theory import exp_lr
from sdetheory.translate import remove_weight_decay, tapered, weight_decay_of_exponential

EPS = np.finfo(float).eps
CASES = [{"lr": 0.3, "weight_decay": 0.004, "momentum": 0.9}, {"lr": 0.5, "weight_decay": 0.02, "momentum": 0.5},
         {"lr": 0.1, "weight_decay": 0.3, "momentum": 0.0}, {"lr": 0.1, "weight_decay": 0.0, "momentum": 0.9}]


def alphas_in_50_digits(n, *, lr, weight_decay, momentum, alpha=1.0):
    """α_0 … α_n of the recursion, constant hyper-parameters."""
    with mpmath.workdps(50):
        found, x, mu = [mpmath.mpf(alpha)], mpmath.mpf(lr) * mpmath.mpf(weight_decay), mpmath.mpf(momentum)
        for _ in range(n):
            found.append(1 - x + mu * (1 - 1 / found[-1]))
        return found


@pytest.mark.parametrize("case", CASES)
def test_a_long_iteration_of_the_recursion_is_the_larger_root(case):
    end = float(alphas_in_50_digits(4000, **case)[-1])
    if case["weight_decay"] or not case["momentum"]:
        assert exp_lr.larger_root(**case) == pytest.approx(end, rel=16 * EPS)
    assert exp_lr.larger_root(**case) == pytest.approx(1 - float(one_minus_larger_root(case["lr"] * case["weight_decay"],
                                                                                       case["momentum"])), rel=16 * EPS)


@pytest.mark.parametrize("case", CASES)
def test_the_larger_root_is_1_only_without_decay_and_above_its_bound(case):
    gap = float(one_minus_larger_root(case["lr"] * case["weight_decay"], case["momentum"]))
    bound = exp_lr.decay_rate_lower_bound(**case)
    assert (gap == 0) == (case["weight_decay"] == 0)
    assert gap >= bound * (1 - 4 * EPS)
    # the next term of the expansion is mu x²/(1-mu)³, all later ones are positive too
    assert gap - bound >= case["momentum"] * (case["lr"] * case["weight_decay"]) ** 2 / (1 - case["momentum"]) ** 3 - EPS


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.9])
def test_roots_are_real_and_positive_just_up_to_the_critical_rate(momentum):
    edge = exp_lr.critical_intrinsic_lr(momentum=momentum)
    for x, exists in ((edge * (1 - 1e-9), True), (edge * (1 + 1e-9), False)):
        roots = np.roots([1, -(1 + momentum - x), momentum])
        assert (np.isreal(roots).all() and (roots.real >= 0).all()) == exists
        assert np.isfinite(one_minus_larger_root(x, momentum)) == exists


def test_at_the_double_root_forgetting_is_algebraic():
    momentum, start = 0.25, 1.0  # critical rate 0.25, all exact in binary
    exact = alphas_in_50_digits(10_000, lr=0.25, weight_decay=1.0, momentum=momentum, alpha=start)
    for n in (0, 1, 10, 100, 10_000):
        assert exp_lr.double_root_alpha(step=n, alpha=start, momentum=momentum) == pytest.approx(float(exact[n]), rel=4 * EPS)
    assert float(exact[10_000]) - 0.5 == pytest.approx(0.5 / 10_000, rel=1e-3)  # √mu/n: no exponential


@pytest.mark.parametrize(("x", "momentum"), [(0.01, 0.9), (0.4, 0.5), (0.003, 0.9)])
def test_beyond_the_critical_rate_alpha_turns_by_the_angle_and_falls_below_0(x, momentum):
    angle = exp_lr.rotation_angle(lr=1.0, weight_decay=x, momentum=momentum)
    root = np.sqrt(momentum) * np.exp(1j * angle)
    assert abs(root**2 - (1 + momentum - x) * root + momentum) < 8 * EPS
    exact = alphas_in_50_digits(int(np.pi / angle) + 1, lr=1.0, weight_decay=x, momentum=momentum)
    turned = min(k for k, a in enumerate(exact) if a <= 0)
    assert 0 < turned <= np.ceil(np.pi / angle)
    with pytest.raises(HypothesisError, match="EXP-7"):
        remove_weight_decay(1.0, x, momentum, n_steps=turned)
    remove_weight_decay(1.0, x, momentum, n_steps=turned - 1)


def test_a_start_below_the_smaller_root_runs_to_negative_alpha():
    case = CASES[1]
    z2 = exp_lr.smaller_root(**case)
    # alpha -> 1 + mu - x - mu/alpha maps what lies below z2 further down
    assert min(alphas_in_50_digits(50, **case, alpha=z2 * 0.999)) < 0 < min(alphas_in_50_digits(50, **case, alpha=z2 * 1.001))


def test_the_total_decay_is_the_recursion_of_alpha():
    rng, momentum = np.random.default_rng(5), 0.6
    lr, decay = rng.uniform(0.05, 0.2, 30), rng.uniform(0, 0.3, 30)
    total, alpha = decay[0], 1 - lr[0] * decay[0]
    for k in range(1, 30):
        total = exp_lr.total_decay_step(total_decay=total, previous_lr=lr[k - 1], weight_decay=decay[k], momentum=momentum)
        alpha = exp_lr.alpha_step(alpha=alpha, lr=lr[k], previous_lr=lr[k - 1], weight_decay=decay[k], momentum=momentum)
        assert 1 - lr[k] * total == pytest.approx(alpha, rel=64 * EPS)


def test_the_translator_computes_what_the_theory_states():
    case, n = CASES[1], 40
    found = remove_weight_decay(**case, n_steps=n, start="root")
    np.testing.assert_allclose(found.decay_free_lr, exp_lr.exponential_lr(step=np.arange(n), **case), rtol=64 * n * EPS)
    assert found.tilt[0] == pytest.approx(exp_lr.start_buffer(**case), rel=64 * EPS / (1 - found.alpha[0]))
    plain = remove_weight_decay(**case, n_steps=n)
    np.testing.assert_allclose(plain.alpha, exp_lr.alpha_after(step=np.arange(n + 1), alpha=1.0, **case), rtol=16 * EPS)
    tilt = exp_lr.buffer_tilt(alpha=plain.alpha[1:], previous_lr=case["lr"])
    np.testing.assert_allclose(plain.tilt[1:], tilt, atol=4 * EPS / case["lr"])
    without = remove_weight_decay(0.5, 0.1, n_steps=n)
    expected = exp_lr.exponential_lr_without_momentum(step=np.arange(n), lr=0.5, weight_decay=0.1)
    np.testing.assert_allclose(without.decay_free_lr, expected, rtol=8 * n * EPS)
    pair = weight_decay_of_exponential(0.1, 1.02, 0.6)
    stated = exp_lr.equivalent_weight_decay(alpha=pair.alpha, lr=pair.lr, momentum=0.6)
    assert pair.weight_decay == pytest.approx(stated, rel=1e-12)
    steps = tapered(np.repeat([0.5, 0.1], 20), case["weight_decay"], case["momentum"], n_steps=n)
    old, new = (exp_lr.larger_root(**{**case, "lr": r}) for r in (0.5, 0.1))
    assert steps.decay_free_lr[20] / steps.decay_free_lr[19] == pytest.approx(
        exp_lr.texp_boundary_factor(lr=0.1, previous_lr=0.5, alpha=new, previous_alpha=old), rel=64 * EPS)
    correction = exp_lr.texp_buffer_correction(lr=0.1, previous_lr=0.5, alpha=new, previous_alpha=old)
    assert steps.corrections[0].coefficient == pytest.approx(correction / steps.scale[20] ** 2, rel=1e-9)


def test_the_published_growth_in_30_digits():
    with mpmath.workdps(30):
        x, mu = mpmath.mpf("0.1") * mpmath.mpf("5e-4"), mpmath.mpf("0.9")
        alpha = (1 + mu - x + mpmath.sqrt((1 + mu - x) ** 2 - 4 * mu)) / 2
        exact = float(alpha ** (-2 * 391))
    found = exp_lr.growth_in_steps(n_steps=391, lr=0.1, weight_decay=5e-4, momentum=0.9)
    # the root has a condition of 1/(z1 - z2) ~ 10, its power one of 782
    assert found == pytest.approx(exact, rel=10 * 782 * EPS) and round(found, 3) == 1.481


# ---- the norm


def gradient_descent(w, v, *, lr, momentum, n, seed):
    """Yield (w, v, w', v', g) of n steps without decay on random Rayleigh quotients."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        m = rng.normal(size=(4, 4))
        g = RayleighQuotient((m + m.T) / 2).gradient(w)
        v_new = momentum * v + g
        yield w, v, w - lr * v_new, v_new, g
        w, v = w - lr * v_new, v_new


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_without_decay_and_with_zero_buffer_the_norm_never_falls(momentum):
    w0 = np.array([1.0, -0.5, 0.25, 2.0])
    total = 0.0
    for w, v, w_new, v_new, _ in gradient_descent(w0, np.zeros(4), lr=0.5, momentum=momentum, n=100, seed=2):
        norm = exp_lr.sq_norm_step_momentum(sq_norm=w @ w, overlap=w @ v, lr=0.5, momentum=momentum, sq_buffer=v_new @ v_new)
        overlap = exp_lr.overlap_step(overlap=w @ v, lr=0.5, momentum=momentum, sq_buffer=v_new @ v_new)
        assert w_new @ w_new == pytest.approx(norm, rel=32 * EPS)
        assert w_new @ v_new == pytest.approx(overlap, abs=32 * EPS * np.linalg.norm(w) * np.linalg.norm(v_new))
        assert w_new @ w_new > w @ w and overlap <= 0
        total += (w_new - w) @ (w_new - w)
    if momentum == 0:
        assert total == pytest.approx(exp_lr.sum_of_squared_steps(sq_norm=w0 @ w0, sq_norm_end=w_new @ w_new), rel=100 * EPS)


def test_a_buffer_that_points_outwards_makes_the_norm_fall():
    w0 = np.array([1.0, -0.5, 0.25, 2.0])
    norms = [w_new @ w_new for _, _, w_new, _, _ in gradient_descent(w0, 0.5 * w0, lr=0.1, momentum=0.9, n=3, seed=2)]
    assert norms[0] < w0 @ w0


@pytest.mark.parametrize("lr", [0.1, 10.0, 1000.0])
def test_every_learning_rate_converges_without_decay_inside_the_bound_of_the_norm(lr):
    eigenvalues = np.array([1.0, 0.5, 0.25, 0.0])
    loss, w = RayleighQuotient(eigenvalues), np.array([1.0, -0.5, 0.25, 2.0])
    # on the unit sphere |hessian| <= spread on tangents, and the radial row is minus the gradient, at most spread/2
    bound, limit, slowest = 1.5 * (eigenvalues.max() - eigenvalues.min()), None, np.inf
    for _ in range(3000):
        g, r = loss.gradient(w), w @ w
        if limit is None and r >= lr * bound:
            limit = exp_lr.sq_norm_limit_bound(sq_norm=r, lr=lr, loss_gap=float(loss.value(w)) - 0.0)
        new = w - lr * g
        fall = float(loss.value(w) - loss.value(new))
        assert fall >= exp_lr.guaranteed_decrease(sq_norm=r, lr=lr, sq_grad=g @ g, curvature_bound=bound) - 4 * EPS
        slowest, w = min(slowest, np.sqrt((g @ g) * r)), new
    assert slowest < 1e-6
    assert limit is None or w @ w <= limit


# ---- the slow clock


def test_plain_texp_fades_on_the_slow_clock():
    # y = r², y' = 2 lr~² trace, with lr~ doubled at the start: the deviation of gamma fades at the stated rate
    case, trace = CASES[0], 1.3
    rate = exp_lr.norm_forgetting_rate(**case)
    alpha = exp_lr.larger_root(**case)
    growth = -2 * np.log(alpha)

    def gamma(t, y0):
        y = y0 + trace * (np.exp(2 * growth * t) - 1) / growth  # integral of 2 trace exp(2 growth s)
        return y / np.exp(2 * growth * t)

    rest = trace / growth
    for t in (10.0, 300.0):
        assert (gamma(t, 4 * rest) - rest) / (3 * rest) == pytest.approx(np.exp(-rate * t), rel=1e-10)
    x = case["lr"] * case["weight_decay"]
    assert rate == pytest.approx(4 * x / (1 - case["momentum"]), rel=2 * x * case["momentum"] / (1 - case["momentum"]) ** 2)


def test_a_division_is_forgotten_alike_with_and_without_decay():
    t = np.linspace(0, 2000, 9)
    with_decay = exp_lr.effective_lr_after_single_drop(t=t, drop_factor=10.0, intrinsic_lr=1e-3)
    np.testing.assert_array_equal(exp_lr.effective_lr_after_division(t=t, drop_factor=10.0, intrinsic_lr=1e-3), with_decay)
    # against the mean equation of the norm of SGD without decay, stepped: r² grows by 2 lr² S + lr⁴S²/r² a step
    lr, growth, s = 0.05 / 10, 2 * 1e-3, 1.0
    r = np.sqrt(0.05**2 * s / growth)  # at rest at the rate before the division
    start = 0.05 / r
    for _ in range(500):
        r, lr = r + lr**2 * s / r, lr * np.exp(growth)
    found = exp_lr.effective_lr_after_division(t=500.0, drop_factor=10.0, intrinsic_lr=1e-3)
    assert lr / r / start == pytest.approx(found, rel=4e-3)  # steps instead of a flow: O(growth)


# ---- instability


def test_a_small_deviation_is_multiplied_as_stated_on_the_toy_loss_and_in_its_place_on_a_quadratic():
    loss, lr, decay = toy_fraction(), 0.3, 0.2
    for radius in (0.4, 1.0, 3.0):
        w = radius * np.array([1e-7, 1.0])
        new = (1 - lr * decay) * w - lr * loss.gradient(w)
        stated = exp_lr.deviation_factor(effective_lr=lr / radius**2, intrinsic_lr=lr * decay, top_curvature=2.0)
        assert new[0] / new[1] / 1e-7 == pytest.approx(stated, abs=1e-12 * max(1, abs(stated)))
    edge = exp_lr.instability_threshold(intrinsic_lr=lr * decay, top_curvature=2.0)
    at_edge = exp_lr.deviation_factor(effective_lr=edge, intrinsic_lr=lr * decay, top_curvature=2.0)
    assert at_edge == pytest.approx(-1, rel=4 * EPS)
    assert exp_lr.plain_deviation_factor(lr=lr, weight_decay=decay, eigenvalue=1.0) == pytest.approx(1 - 0.3 * 1.2, rel=4 * EPS)


def test_with_decay_gradient_descent_spikes_again_and_again_and_without_it_converges():
    loss, lr = toy_fraction(), 0.1

    def losses(decay, n=6000):
        w, found = np.array([1e-3, 2.0]), []
        for _ in range(n):
            found.append(float(loss.value(w)))
            w = (1 - lr * decay) * w - lr * loss.gradient(w)
        return np.array(found)

    with_decay, without = losses(0.1), losses(0.0)
    high = with_decay > 1e-2
    assert np.sum(high[1:] & ~high[:-1]) >= 2  # separate spikes
    assert without.max() <= without[0] and without[-1] < 1e-12
