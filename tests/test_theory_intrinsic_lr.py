"""The closed forms ILR-1 … ILR-15: each is proved, a wrong constant is not, each number has an independent oracle."""

import doctest

import numpy as np
import pytest
import sympy
from scipy.integrate import quad, solve_ivp

from sdetheory.hypotheses import HypothesisError
from sdetheory.theory import intrinsic_lr as ilr

EPS = np.finfo(float).eps


@pytest.mark.parametrize("formula", ilr.FORMULAS.values(), ids=ilr.FORMULAS)
def test_the_derivation_closes(formula):
    assert formula.verify().status == "proved", formula.verify()


@pytest.mark.parametrize("formula", ilr.FORMULAS.values(), ids=ilr.FORMULAS)
def test_a_constant_off_by_one_per_cent_is_refuted(formula):
    assert formula.replaced(sympy.Rational(101, 100) * formula.expr).verify().status == "failed"


@pytest.mark.parametrize(("formula", "symbol", "wrong"), [
    (ilr.gamma, "intrinsic_lr", 2), (ilr.equilibrium_effective_lr, "weight_decay", 2), (ilr.harmonic_rate, "dim", 1),
    (ilr.effective_lr_after_lr_drop, "drop_factor", 2), (ilr.momentum_equilibrium_sq_norm, "momentum", 2),
    (ilr.stationary_mean_loss, "noise_scale", 2), (ilr.kramers_rate, "barrier", 2),
    (ilr.toy_ratio_step, "effective_lr", 2),
])
def test_a_parameter_that_enters_wrongly_is_refuted(formula, symbol, wrong):
    p = next(s for s in formula.parameters if s.name == symbol)
    changed = formula.expr.subs(p, p + 1 if wrong == 1 else p**2)
    assert formula.replaced(changed).verify().status == "failed"


@pytest.mark.parametrize("formula", ilr.FORMULAS.values(), ids=ilr.FORMULAS)
def test_the_examples_in_the_documentation_run(formula):
    test = doctest.DocTestParser().get_doctest(formula.__doc__, dict(ilr.FORMULAS), formula.name, None, 0)
    assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


def test_every_claim_with_a_closed_form_has_formulas():
    assert {f.claim for f in ilr.FORMULAS.values()} == {f"ILR-{n}" for n in range(1, 16)}
    assert set(ilr.FORMULAS) <= set(ilr.__all__)


# ---- numbers. Where an ODE solver or a quadrature is the oracle, the tolerance is the one asked of it times 100.

RATE, TRACE = 0.005, 1.75


def test_gamma_solves_its_equation():
    times = np.linspace(0, 500, 7)
    solution = solve_ivp(lambda t, g: -4 * RATE * g + 2 * TRACE, (0, 500), [3.0], t_eval=times, rtol=1e-11, atol=1e-11)
    found = ilr.gamma(t=times, gamma0=3.0, intrinsic_lr=RATE, noise_trace=TRACE)
    np.testing.assert_allclose(found, solution.y[0], rtol=1e-9)


def test_norm_effective_lr_and_gamma_are_one_solution():
    t, lr, decay, r0 = np.linspace(0, 900, 5), 0.1, 0.05, 2.0
    gamma = ilr.gamma(t=t, gamma0=r0**2 / lr**2, intrinsic_lr=lr * decay, noise_trace=TRACE)
    np.testing.assert_allclose(ilr.sq_norm(t=t, sq_norm0=r0, lr=lr, weight_decay=decay, noise_trace=TRACE),
                               lr * np.sqrt(gamma), rtol=8 * EPS)
    np.testing.assert_allclose(ilr.effective_lr(t=t, effective_lr0=lr / r0, intrinsic_lr=lr * decay, noise_trace=TRACE),
                               gamma**-0.5, rtol=8 * EPS)
    np.testing.assert_allclose(ilr.effective_lr_of_gamma(gamma=gamma), gamma**-0.5, rtol=2 * EPS)


def test_gamma_at_a_tiny_intrinsic_lr_is_growth_without_decay():
    found = ilr.gamma(t=10.0, gamma0=1.0, intrinsic_lr=1e-14, noise_trace=TRACE)
    assert found == pytest.approx(1 + 2 * TRACE * 10, rel=1e-12)  # next term: 2 rate t = 2e-13, relatively


def test_gamma_is_within_tolerance_exactly_after_the_time_to_equilibrium():
    rest = ilr.equilibrium_gamma(intrinsic_lr=RATE, noise_trace=TRACE)
    for start in (0.2 * rest, 7.0 * rest):
        t = ilr.time_to_equilibrium(gamma0=start, intrinsic_lr=RATE, noise_trace=TRACE, tolerance=0.01)
        there = ilr.gamma(t=t, gamma0=start, intrinsic_lr=RATE, noise_trace=TRACE)
        assert abs(there / rest - 1) == pytest.approx(0.01, rel=1e-11)
    assert ilr.time_to_equilibrium(gamma0=rest, intrinsic_lr=RATE, noise_trace=TRACE, tolerance=0.01) == 0


def test_learning_rate_and_decay_enter_the_equilibrium_through_their_product():
    found = ilr.equilibrium_effective_lr(lr=[0.1, 1.0], weight_decay=[0.05, 0.005], noise_trace=TRACE)
    np.testing.assert_allclose(found, np.sqrt(2 * RATE / TRACE), rtol=4 * EPS)
    norms = ilr.equilibrium_sq_norm(lr=[0.1, 1.0], weight_decay=[0.05, 0.005], noise_trace=TRACE)
    assert norms[1] / norms[0] == pytest.approx(10.0, rel=8 * EPS)


def test_gamma_stays_between_its_bounds_for_a_noise_power_that_moves():
    def trace(t):
        return 1.5 + 0.5 * np.sin(0.05 * t)

    times = np.linspace(0, 600, 60)
    solution = solve_ivp(lambda t, g: -4 * RATE * g + 2 * trace(t), (0, 600), [90.0], t_eval=times, rtol=1e-9,
                         atol=1e-9)
    low = ilr.gamma_lower(t=times, gamma0=90.0, intrinsic_lr=RATE, noise_trace_min=1.0)
    high = ilr.gamma_upper(t=times, gamma0=90.0, intrinsic_lr=RATE, noise_trace_max=2.0)
    assert np.all(low[1:] < solution.y[0][1:]) and np.all(solution.y[0][1:] < high[1:])


def test_iterating_the_step_of_the_norm_arrives_at_the_fixed_point_with_the_multiplier():
    p = {"lr": 0.3, "weight_decay": 0.2, "sq_gradient": 1.3}
    rest = ilr.discrete_sq_norm_fixed_point(**p)
    r = 2 * rest
    for _ in range(400):
        r = ilr.discrete_sq_norm_step(sq_norm=r, **p)
    assert r == pytest.approx(rest, rel=16 * EPS)
    off = ilr.discrete_sq_norm_step(sq_norm=rest * (1 + 1e-7), **p) / rest - 1
    multiplier = ilr.discrete_multiplier(lr=0.3, weight_decay=0.2)
    assert off / 1e-7 == pytest.approx(multiplier, abs=1e-6)  # curvature of the map 1e-7, rounding EPS/1e-7 = 2e-9
    assert rest == pytest.approx(ilr.momentum_equilibrium_sq_norm(momentum=0.0, **p), rel=4 * EPS)


def test_after_a_drop_the_effective_lr_follows_the_equation_of_gamma():
    kappa, t = 10.0, np.linspace(0, 4000, 5)
    rest = ilr.equilibrium_gamma(intrinsic_lr=RATE, noise_trace=TRACE)
    for jump, formula in ((kappa**2, ilr.effective_lr_after_lr_drop), (1.0, ilr.effective_lr_after_decay_drop)):
        solution = solve_ivp(lambda _, g: -4 * RATE / kappa * g + 2 * TRACE, (0, 4000), [rest * jump], t_eval=t,
                             rtol=1e-11, atol=1e-9)
        np.testing.assert_allclose(formula(t=t, drop_factor=kappa, intrinsic_lr=RATE), np.sqrt(rest / solution.y[0]),
                                   rtol=1e-9)


def test_equivalent_hyper_parameters_give_the_same_directions_step_by_step():
    c, lr, decay, momentum = 3.0, 0.2, 0.1, 0.9
    rng = np.random.default_rng(0)
    a = np.diag([3.0, 1.0, 0.0])

    def gradient(w, noise):
        r = w @ w
        return (a @ w) / r - w * (w @ a @ w) / r**2 + (noise - w * (w @ noise) / r) / np.sqrt(r)

    w, v = np.array([1.0, -0.5, 0.3]), np.array([0.2, 0.1, 0.0])
    w2, v2 = c * w, v / c
    lr2, decay2 = ilr.equivalent_lr(lr=lr, scale=c), ilr.equivalent_weight_decay(weight_decay=decay, scale=c)
    for _ in range(20):
        noise = rng.standard_normal(3)
        v, v2 = momentum * v + gradient(w, noise) + decay * w, momentum * v2 + gradient(w2, noise) + decay2 * w2
        w, w2 = w - lr * v, w2 - lr2 * v2
    # 20 steps, each adds a few EPS and multiplies what is there by less than 2 (slope 1 + lr / |w|^2 near |w| = 1)
    np.testing.assert_allclose(w2, c * w, rtol=8 * EPS * 2**20)


def test_momentum_closed_forms_are_the_rest_point_of_the_second_moments():
    lr, decay, mu, s = 0.1, 0.05, 0.9, 1.0
    a, b, q = 1.0, 0.0, 1.0  # <w,w>, <w,v>, <v,v>
    for _ in range(20000):
        q_new = mu**2 * q + s / a + decay**2 * a + 2 * mu * decay * b
        wv = mu * b + decay * a
        a, b, q, before = a - 2 * lr * wv + lr**2 * q_new, wv - lr * q_new, q_new, (a, wv)
    assert a == pytest.approx(ilr.momentum_equilibrium_sq_norm(lr=lr, weight_decay=decay, momentum=mu, sq_gradient=s),
                              rel=1e-11)
    cosine = (before[0] - lr * before[1]) / before[0]
    assert np.cos(ilr.momentum_angle(lr=lr, weight_decay=decay, momentum=mu)) == pytest.approx(cosine, rel=1e-11)


QUADRATIC = {"eigenvalue": 1.0, "rank": 3, "dim": 8, "effective_lr": 0.0755928946, "noise_scale": 0.5}


def test_the_mean_loss_of_the_bingham_law_agrees_with_quadrature():
    def weight(x, power):  # unnormalised density of x times x^power; b = a/(effective_lr noise_scale^2)
        return x ** (0.5 + power) * (1 - x) ** 1.5 * np.exp(-x / (QUADRATIC["effective_lr"] * 0.25))

    top, bottom = (quad(weight, 0, 1, args=(power,), epsabs=0, epsrel=1e-12)[0] for power in (1, 0))
    mean = 0.5 * top / bottom
    assert ilr.stationary_mean_loss(**QUADRATIC) == pytest.approx(mean, rel=1e-10)


def test_the_mean_loss_at_equilibrium_is_the_number_of_the_theory_text():
    assert ilr.stationary_mean_loss(**QUADRATIC) == pytest.approx(0.01376, abs=5e-6)  # the last digit printed
    rest = {k: QUADRATIC[k] for k in ("eigenvalue", "rank", "dim", "noise_scale")}
    assert ilr.equilibrium_mean_loss(intrinsic_lr=0.005, **rest) == pytest.approx(ilr.stationary_mean_loss(**QUADRATIC),
                                                                                 rel=1e-9)


def test_a_density_that_does_not_fit_in_float64_is_an_error_not_a_nan():
    p = {"loss": 0.05, "eigenvalue": 1.0, "effective_lr": 1.0, "noise_scale": 0.5}
    assert ilr.stationary_loss_density(rank=100, dim=1000, **p) > 0
    with pytest.raises(OverflowError, match="stationary_loss_density: expected arguments .* dim = 10000"):
        ilr.stationary_loss_density(rank=1000, dim=10000, **p)


def test_the_density_of_the_loss_is_normalised_and_has_that_mean():
    mass = quad(lambda x: ilr.stationary_loss_density(loss=x, **QUADRATIC), 0, 0.5, epsrel=1e-10)[0]
    mean = quad(lambda x: x * ilr.stationary_loss_density(loss=x, **QUADRATIC), 0, 0.5, epsrel=1e-10)[0]
    assert mass == pytest.approx(1, rel=1e-8) and mean == pytest.approx(ilr.stationary_mean_loss(**QUADRATIC), rel=1e-8)


@pytest.mark.parametrize("d", [2, 3, 5])
def test_harmonic_rates_are_eigenvalues_of_the_sphere_laplacian_in_concrete_dimensions(d):
    w = sympy.symbols(f"w0:{d}", real=True)
    r2 = sum(x**2 for x in w)
    for degree, harmonic in ((1, w[0]), (2, w[0] * w[1]), (2, w[0]**2 - w[1]**2), (3, w[0]**3 - 3 * w[0] * w[1]**2)):
        f = harmonic / r2 ** sympy.Rational(degree, 2)  # constant along rays: its Laplacian at |w| = 1 is the sphere's
        at = {x: sympy.Rational(k + 1, 7) for k, x in enumerate(w)}
        scale = sympy.sqrt(r2.subs(at))
        at = {x: v / scale for x, v in at.items()}
        ratio = sympy.nsimplify(sympy.simplify((sum(sympy.diff(f, x, 2) for x in w) / f).subs(at)))
        rate = ilr.harmonic_rate(degree=degree, dim=d, effective_lr=1.0, noise_scale=1.0)
        assert float(-ratio / 2) == pytest.approx(rate, rel=1e-12)


def test_the_autocorrelation_gives_the_displacement():
    p = {"lag": np.array([0.0, 10.0, 1e5]), "dim": 10, "effective_lr": 0.05, "noise_scale": 0.3}
    moved = ilr.mean_sq_displacement(sq_norm=2.0, **p)
    np.testing.assert_allclose(moved, 4 * (1 - ilr.direction_autocorrelation(**p)), atol=8 * EPS)
    rate = ilr.harmonic_rate(degree=1, dim=10, effective_lr=0.05, noise_scale=0.3)
    assert ilr.direction_autocorrelation(**{**p, "lag": 10.0}) == pytest.approx(np.exp(-10 * rate), rel=4 * EPS)


def _slowest_rates_on_the_circle(m, barrier, temperature, n):
    """Eigenvalues of the Fokker-Planck operator of L = barrier/2 (1 + cos m theta), effective_lr = 1, symmetric."""
    theta = 2 * np.pi * np.arange(n) / n
    h = theta[1]
    loss = barrier / 2 * (1 + np.cos(m * theta))
    mid = barrier / 2 * (1 + np.cos(m * (theta + h / 2)))
    flow = temperature / h**2 * np.exp(-(mid - loss / 2 - np.roll(loss, -1) / 2) / temperature)
    matrix = np.zeros((n, n))
    i = np.arange(n)
    matrix[i, (i + 1) % n] = matrix[(i + 1) % n, i] = -flow
    ground = np.exp(-loss / (2 * temperature))  # detailed balance: eigenvalue 0 belongs to it, so it gives the diagonal
    matrix[i, i] = -(matrix @ ground) / ground
    return np.linalg.eigvalsh(matrix)


@pytest.mark.parametrize("m", [2, 3, 4])
def test_the_slowest_rate_of_wells_tends_to_that_of_the_fokker_planck_operator(m):
    barrier, gap = 1.0, []
    for temperature in (1 / 8, 1 / 16):
        curvature = barrier * m**2 / 2
        predicted = ilr.slowest_rate(effective_lr=1.0, noise_scale=np.sqrt(2 * temperature), barrier=barrier,
                                     min_curvature=curvature, max_curvature=curvature, n_wells=m)
        found = _slowest_rates_on_the_circle(m, barrier, temperature, 240 * m)[1]
        gap.append(found / predicted - 1)
    # the relative correction is O(T): halving T halves it
    assert abs(gap[1]) < 0.1 and gap[1] / gap[0] == pytest.approx(0.5, abs=0.1)


def test_the_share_of_a_well_is_that_of_the_stationary_density():
    t = 0.002
    masses = [quad(lambda x, h=h: np.exp(-h * x**2 / (2 * t)), -1, 1, points=[0.0])[0] for h in (4.0, 1.0)]
    assert ilr.well_share(min_curvature=4.0, other_curvature=1.0) == pytest.approx(masses[0] / sum(masses), rel=1e-6)


def test_the_toy_map_is_gradient_descent_whatever_the_learning_rate():
    for lr in (0.01, 10.0):
        decay, w = 0.02 / lr, np.sqrt(lr) * np.array([0.4, 1.5])
        q, u = w[0] / w[1], lr / (w @ w)
        for _ in range(50):
            x, y = w
            r4 = (x * x + y * y) ** 2
            w = (1 - lr * decay) * w - lr * np.array([2 * x * y**2 / r4, -2 * x**2 * y / r4])
            q, u = (ilr.toy_ratio_step(ratio=q, effective_lr=u, intrinsic_lr=0.02),
                    ilr.toy_effective_lr_step(ratio=q, effective_lr=u, intrinsic_lr=0.02))
        assert w[0] / w[1] == pytest.approx(q, rel=1e-9) and lr / (w @ w) == pytest.approx(u, rel=1e-9)


def test_the_toy_multiplier_is_minus_one_at_the_threshold():
    u = ilr.toy_threshold(intrinsic_lr=0.02)
    assert ilr.toy_multiplier(effective_lr=u, intrinsic_lr=0.02) == pytest.approx(-1, rel=4 * EPS)
    small = ilr.toy_ratio_step(ratio=1e-9, effective_lr=0.3, intrinsic_lr=0.02)
    assert small / 1e-9 == pytest.approx(ilr.toy_multiplier(effective_lr=0.3, intrinsic_lr=0.02), rel=1e-15 / 1e-3)


@pytest.mark.parametrize("u", [0.4, 0.9, 1.1, 1.5, 4.0, 20.0])
def test_at_a_constant_effective_learning_rate_every_start_of_the_toy_comes_to_rest_or_to_a_cycle(u):
    q, growth, rate = np.tan(np.linspace(-1.5, 1.5, 200)), [], 0.05
    for _ in range(400):
        shift = 1e-6 * np.maximum(np.abs(q), 1e-9)
        step = [ilr.toy_ratio_step(ratio=q + by, effective_lr=u, intrinsic_lr=rate) for by in (-shift, 0.0, shift)]
        growth.append(np.log(np.abs(step[2] - step[0]) / (2 * shift)))
        q = step[1]
    known = ilr.toy_cycle_multiplier if u > 1 - rate else ilr.toy_multiplier
    expected = np.log(abs(known(effective_lr=u, intrinsic_lr=rate)))
    assert expected < 0
    assert np.mean(growth[200:], axis=0) == pytest.approx(np.full(200, expected), abs=0.02)


def test_the_toy_flow_converges_as_its_formula_says():
    def speed(_, w):
        x, y = w
        r4 = (x * x + y * y) ** 2
        return [-2 * x * y**2 / r4 - 0.3 * x, 2 * x**2 * y / r4 - 0.3 * y]

    solution = solve_ivp(speed, (0, 2.5), [0.8, 0.6], rtol=1e-11, atol=1e-13)
    found = ilr.toy_flow_ratio(t=2.5, ratio0=0.8 / 0.6, sq_norm0=1.0, weight_decay=0.3)
    assert solution.y[0, -1] / solution.y[1, -1] == pytest.approx(found, rel=1e-7)


def test_the_noise_per_unit_of_flow_time_does_not_see_the_linear_scaling():
    small = ilr.flow_noise(lr=0.1, batch_size=32, noise_trace=TRACE)
    assert ilr.flow_noise(lr=0.8, batch_size=256, noise_trace=TRACE) == pytest.approx(small, rel=4 * EPS)


def test_a_difference_of_pasts_fades_like_the_memory():
    t = 77.0
    one, other = (ilr.gamma(t=t, gamma0=g, intrinsic_lr=RATE, noise_trace=TRACE) for g in (5.0, 500.0))
    assert other - one == pytest.approx(ilr.gamma_memory(t=t, gamma_gap=495.0, intrinsic_lr=RATE), rel=1e-12)


@pytest.mark.parametrize(("formula", "values", "message"), [
    (ilr.equilibrium_effective_lr, {"lr": 0.1, "weight_decay": 0.0, "noise_trace": 1.0},
     "ILR-4: needs weight_decay > 0"),
    (ilr.discrete_multiplier, {"lr": 1.0, "weight_decay": 2.5}, r"ILR-6: needs lr\*weight_decay < 2"),
    (ilr.momentum_angle, {"lr": 0.1, "weight_decay": 0.1, "momentum": 1.0}, "ILR-9: needs momentum < 1"),
    (ilr.stationary_mean_loss, {**QUADRATIC, "rank": 9}, "ILR-10: needs dim >= rank|ILR-10: needs rank <= dim"),
    (ilr.slowest_rate, {"effective_lr": 0.1, "noise_scale": 1.0, "barrier": 1.0, "min_curvature": 1.0,
                        "max_curvature": 1.0, "n_wells": 1}, "ILR-12: needs n_wells >= 2"),
    (ilr.toy_threshold, {"intrinsic_lr": 1.0}, "ILR-13: needs intrinsic_lr < 1"),
])
def test_outside_of_its_hypotheses_a_claim_says_nothing(formula, values, message):
    with pytest.raises(HypothesisError, match=message):
        formula(**values)
