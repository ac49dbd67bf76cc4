"""`expect` against answers in closed form: what its intervals cover, what it costs, what it refuses."""

from __future__ import annotations

import dataclasses
import math
import pickle

import numpy as np
import pytest
import scipy
import sympy
from scipy.stats import norm

import sdetheory as sdt
from sdetheory.callable_sde import CallableSDE
from sdetheory.expectation import Expectation
from sdetheory.expectation.control import controlled
from sdetheory.expectation.sampling import Work
from sdetheory.expectation.sde_samplers import pair_sampler
from sdetheory.random import normals, stream_key
from sdetheory.schemes import get, nested_pair, numpy_step
from sdetheory.schemes.process import SDEProcess
from sdetheory.starts import Points
from sdetheory.stats import coverage

x, y = sympy.symbols("x y", real=True)
GBM = sdt.SDE([x], [0.5 * x], [[0.5 * x]])
OU = sdt.SDE([x], [-1.0 * x], [[1.0]])
CIR = sdt.SDE([x], [1.5 * (1 - x)], [[0.5 * sympy.sqrt(x)]])
AREA = sdt.SDE([x, y], [0, 0], [[1, 0], [0, x]])  # noise that doesn't commute
STRIKE = 1.5
D1 = (math.log(1 / STRIKE) + 0.5 + 0.125) / 0.5
PROBLEMS = {  # sde, functional, x0, E at t = 1
    "gbm_square": (GBM, x**2, [1.0], math.exp(1.25)),
    "ou_square": (OU, x**2, [2.0], 4 * math.exp(-2) + (1 - math.exp(-2)) / 2),
    "cir_mean": (CIR, x, [0.5], 1 - 0.5 * math.exp(-1.5)),
    "gbm_call": (GBM, sympy.Max(x - STRIKE, 0), [1.0], math.exp(0.5) * norm.cdf(D1) - STRIKE * norm.cdf(D1 - 0.5)),
    "area_square": (AREA, y**2, [0.0, 0.0], 0.5),
}
WAYS = {
    "auto": {}, "plain": {"control": False}, "weak2": {"method": "weak2", "control": False},
    "richardson": {"method": "richardson", "control": False, "rtol": 4e-2}, "multilevel": {"method": "multilevel"},
}
CASES = [*(("gbm_square", way) for way in WAYS), ("ou_square", "auto"), ("cir_mean", "weak2"), ("gbm_call", "auto"),
         ("area_square", "auto")]
SEEDS = 150


def run(problem: str, way: str, seed: int, **options) -> Expectation:
    sde, f, x0, _ = PROBLEMS[problem]
    return sdt.expect(sde, f, x0, t1=1.0, **{"rtol": 2e-2, "rng": seed, **WAYS[way], **options})


@pytest.mark.parametrize("problem, way", CASES)
def test_the_interval_covers_the_exact_value_at_least_as_often_as_it_says(problem, way):
    exact = PROBLEMS[problem][3]
    runs = [run(problem, way, seed) for seed in range(SEEDS)]
    found = coverage([e.interval[0] <= exact <= e.interval[1] for e in runs], alpha=1e-3 / len(CASES))
    assert found.high >= 0.95, f"{found!r}; {runs[0]!r}"
    assert all(e.converged and e.margin <= e.tolerance for e in runs)


def test_without_its_bias_bound_an_interval_at_too_few_steps_would_not_cover():
    """A negative control of the coverage: the mean at 4 Euler steps, with its honest statistical error alone."""
    rng, hits = np.random.default_rng(0), []
    for _ in range(50):
        end = np.prod(1 + 0.5 / 4 + 0.5 * rng.normal(scale=0.5, size=(4, 20_000)), axis=0) ** 2
        hits.append(bool(abs(end.mean() - PROBLEMS["gbm_square"][3]) <= 1.96 * end.std() / math.sqrt(end.size)))
    assert coverage(hits).high < 0.95


def test_of_an_update_rule_the_interval_covers_as_often_as_it_says():
    """‖w‖² of SGD on a quadratic with Gaussian noise, E w² by its recursion: without bias, coverage is 95 % to both sides."""
    lr, decay, sigma, steps = 0.1, 0.3, 0.5, 10
    rule = sdt.SGD(sdt.losses.Quadratic([1.0, 2.0], noise=sdt.noises.Isotropic(sigma)), lr=lr, weight_decay=decay)
    second = np.ones(2)
    for _ in range(steps):
        second = (1 - lr * (np.array([1.0, 2.0]) + decay)) ** 2 * second + (lr * sigma) ** 2
    runs = [sdt.expect(rule, "sq_norm", [1.0, 1.0], n_steps=steps, rtol=3e-2, rng=seed) for seed in range(400)]
    found = coverage([e.interval[0] <= second.sum() <= e.interval[1] for e in runs])
    assert found.consistent_with(0.95), f"{found!r}"
    assert all(e.bias_bound == 0.0 and e.converged and e.method == "sample" for e in runs)


def test_the_interval_at_another_confidence_is_as_wide_as_that_takes():
    wide, narrow = (run("ou_square", "plain", 0, confidence=c) for c in (0.99, 0.6))
    assert wide.converged and narrow.converged
    for e in (wide, narrow):
        assert e.margin == pytest.approx(norm.isf((1 - e.confidence) / 2) * e.stderr + e.bias_bound, rel=1e-12)
    assert narrow.path_steps < wide.path_steps


def test_the_same_seed_gives_the_same_number_on_any_number_of_threads_and_another_seed_another():
    values = [run("gbm_square", "plain", seed, n_threads=threads).value for seed, threads in ((3, 1), (3, 2), (4, 2))]
    assert values[0] == values[1] != values[2]
    rng = np.random.SeedSequence(3)
    assert [run("gbm_square", "plain", rng).value for _ in range(2)] == values[:1] * 2


def test_the_accuracy_of_w5_costs_thousands_of_paths_instead_of_millions():
    exact = PROBLEMS["gbm_square"][3]
    errors = []
    for seed in range(20):
        e = run("gbm_square", "auto", seed, rtol=2e-4)
        assert e.converged and e.path_steps < 1e7
        errors.append(e.value / exact - 1)
    assert math.sqrt(np.mean(np.square(errors))) < 1e-4


@pytest.mark.parametrize("sde, functional", [(GBM, x**2), (OU, x**4), (CIR, x**2), (AREA, x * y)])
def test_the_control_has_mean_zero_at_every_step_size(sde, functional):
    """One step of the extended SDE, expanded: E over the three-point law of its last row is 0 as an expression."""
    extended, _, names = controlled(sde, functional, 0.0, 1.0)
    scheme, h = get("weak_order_2_three_point"), sympy.Symbol("h", positive=True)
    rows = scheme.increment_symbols(extended)
    states = [*sde.states, sympy.Symbol("M")]
    (change,) = list(scheme.one_step(extended, states, extended.time, h, rows)[-1:, :])
    change = sympy.expand(change - states[-1])
    assert change != 0 and names
    for row in rows["dW"]:  # E dW^k = 0, h, 0, 3h² for k = 1 … 4: the three-point law
        poly = sympy.Poly(change, row)
        moments = {0: 1, 1: 0, 2: h, 3: 0, 4: 3 * h**2}
        change = sympy.expand(sum(c * moments[k] for (k,), c in poly.terms()))
    for row in rows.get("dV", ()):
        poly = sympy.Poly(change, row)
        change = sympy.expand(sum(c * (h if k == 2 else 0 if k == 1 else 1) for (k,), c in poly.terms()))
    assert sympy.simplify(change) == 0


@pytest.mark.parametrize("name", ["euler_maruyama", "milstein"])
def test_a_nested_pair_takes_the_steps_of_its_scheme_on_one_brownian_path(name):
    """The kernel, path by path, against the scheme in NumPy with the same normals made by the oracle of the generator."""
    sde, scheme, n, paths = sdt.SDE([x], [x - x**3], [[0.5 * x]]), get(name), 4, 64
    seeds = np.random.SeedSequence(5)
    gap = pair_sampler(sde, scheme, x**2, Points([1.0]), 0.0, 1.0).values(n, paths, seeds, Work())
    z = normals(stream_key(seeds, "path"), np.arange(paths)[None, :], np.arange(2 * n)[:, None])
    dW, step = z[:, None] * math.sqrt(0.5 / n), numpy_step(scheme, sde)
    fine = coarse = np.ones((1, paths))
    for k in range(n):
        for half in (2 * k, 2 * k + 1):
            fine = step(fine, 0.0, 0.5 / n, {"dW": dW[half]})
        coarse = step(coarse, 0.0, 1.0 / n, {"dW": dW[2 * k] + dW[2 * k + 1]})
    assert gap.std() > 0.01
    np.testing.assert_allclose(gap, (fine**2 - coarse**2)[0], rtol=0, atol=1e-12)


def test_a_scheme_with_three_point_increments_is_not_nested():
    with pytest.raises(ValueError, match=r"scheme: expected one whose increments are Brownian.*milstein"):
        nested_pair.nested_pair(GBM, get("weak_order_2_three_point"), x)


def test_a_program_pickles_after_it_was_compiled():
    program = SDEProcess(GBM, "euler_maruyama").program({"f": x})
    address = program.advance_call.kernel.address
    again = pickle.loads(pickle.dumps(program))
    assert again.texts() == program.texts() and again.advance_call.kernel.address == address


def test_where_the_tolerance_cannot_be_had_it_says_so_and_the_interval_is_wide():
    for way in ("plain", "weak2", "multilevel"):
        e = run("gbm_square", way, 0, rtol=1e-6, max_path_steps=3e6)
        assert not e.converged and e.margin > e.tolerance, way
        assert "max_path_steps" in e.message and "not converged" in repr(e), way
        assert e.interval[0] <= PROBLEMS["gbm_square"][3] <= e.interval[1], way
        assert e.path_steps < 2 * 3e6 + 1e6, way


def test_a_value_that_may_be_zero_needs_an_absolute_tolerance():
    e = sdt.expect(OU, x, [0.0], t1=1.0, rtol=1e-2, rng=0, max_path_steps=1e7)
    assert not e.converged and "give atol" in e.message
    assert sdt.expect(OU, x, [0.0], t1=1.0, atol=1e-2, rng=0).converged


def test_steps_too_coarse_for_a_stiff_drift_are_left_behind():
    e = sdt.expect(sdt.SDE([x], [-50.0 * x], [[1.0]]), x**2, [1.0], t1=1.0, rtol=5e-2, rng=0)
    assert e.converged and abs(e.value - 0.01) <= 2 * e.margin and min(level.n_steps for level in e.levels) > 8
    e = sdt.expect(sdt.SDE([x], [-50.0 * x], [[1.0]]), x**2, [1.0], t1=1.0, rtol=5e-2, rng=0, method="weak2")
    assert e.converged and abs(e.value - 0.01) <= 2 * e.margin


@pytest.mark.slow  # functions without an importable name are compiled anew in every process
@pytest.mark.parametrize("functional, method", [(None, "richardson"), (lambda v: v * v, "multilevel")])
def test_plain_functions_are_taken_for_the_sde_and_the_functional(functional, method):
    """dx = −sign(x) dt + dW has the density e^{−2|x|} at rest, so E x² = 1/2."""
    opaque = sdt.SDE.from_callables(lambda v, t: -1.0 if v > 0 else 1.0, lambda v, t: 1.0)
    assert isinstance(opaque, CallableSDE)
    e = sdt.expect(opaque, functional or opaque.states[0] ** 2, [0.0], t1=16.0, rtol=5e-2, rng=0)
    assert e.converged and (e.scheme, e.method) == ("euler_maruyama", method)
    assert abs(e.value - 0.5) < 2 * e.margin


@pytest.mark.parametrize("arguments, error, match", [
    (dict(rtol=-1.0), ValueError, "rtol: expected a number > 0, got -1.0"),
    (dict(rtol=None, atol=0.0), ValueError, "atol: expected a number > 0"),
    (dict(rtol=None), ValueError, "at least one tolerance"),
    (dict(confidence=1.0), ValueError, "confidence: expected a number > 0 and < 1"),
    (dict(functional=sympy.Symbol("z") * x), ValueError, "functional: .* has the symbol z, which the SDE has not; its states are x"),
    (dict(functional="z"), ValueError, "functional: expected names among x"),
    (dict(functional=[1]), TypeError, r"functional: expected a name \(x\), an expression"),
    (dict(x0=[0.0, 1.0]), ValueError, r"x0: expected shape \(1,\), got \(2,\)"),
    (dict(t1=None), ValueError, "t1: expected the time"),
    (dict(t1=-1.0), ValueError, "t1: expected a number > 0"),
    (dict(n_steps=3), ValueError, "n_steps: expected none"),
    (dict(method="magic"), ValueError, "method: expected one of auto"),
    (dict(scheme="weak_order_2_three_point", method="multilevel"), ValueError, "increments are Brownian"),
    (dict(functional=sympy.log(x), method="weak2", control=False), ValueError,
     "functional: expected finite values on every path, got .* take more steps"),
    (dict(process=sdt.SDE([x], [sympy.Symbol("mu") * x], [[1]])), ValueError, "sde: expected a number for every parameter"),
    (dict(process=3), TypeError, "process: expected an SDE or an update rule"),
])
def test_bad_input_is_refused_with_a_remedy(arguments, error, match):
    given = {"process": OU, "functional": x, "x0": [0.1], "t1": 1.0, "rtol": 0.1, "rng": 0, **arguments}
    with pytest.raises(error, match=match):
        sdt.expect(given.pop("process"), given.pop("functional"), given.pop("x0"), **given)


def test_the_result_reads_in_one_line_and_is_evidence():
    e = run("gbm_square", "auto", 0)
    assert "\n" not in repr(e) and "95 %" in repr(e) and "path-steps" in repr(e)
    evidence = e.as_estimate()
    assert (evidence.value, evidence.stderr, evidence.bias_bound) == (e.value, e.stderr, e.bias_bound)
    assert "<table>" in e._repr_html_() and e.cost == (e.path_steps, e.seconds)


def test_a_function_that_changes_what_it_computes_is_asked_again():
    factor = 1.0

    def scaled(state):
        return factor * state

    def value():
        return sdt.expect(GBM, scaled, [1.0], t1=1.0, rtol=0.1, rng=0, method="weak2").value

    before = value()
    factor = 2.0
    assert value() == pytest.approx(2 * before)


@pytest.mark.parametrize("start, t1", [(2.0, 1.0), (3.0, 1.0), (0.0, 20.0)])
@pytest.mark.parametrize("method", ["auto", "multilevel"])
def test_steps_at_which_an_explicit_scheme_explodes_give_no_answer(method, start, t1):
    """The double well dX = (X − X³)dt + 0.8 dW: at large steps its explicit schemes reach 1e80 and stay finite on the way."""
    x = sympy.Symbol("x")
    well = sdt.SDE([x], drift=[x - x**3], diffusion=[[0.8]])
    true = _mean_square_by_density(start, t1)
    for seed in range(4):
        e = sdt.expect(well, x**2, [start], t1=t1, rtol=1e-2, method=method, rng=seed)
        assert e.converged, e.message
        # a margin is 1.96 standard errors at least, so chance misses 1.5 of them in 0.3 % of the runs; the grid is 2e-4 off
        assert abs(e.value - true) <= 1.5 * e.margin


def _mean_square_by_density(start, t1):
    """E X² from the generator on a grid (reflecting ends, far out): exp(t L) applied to x², at the start."""
    import scipy.linalg

    grid = np.linspace(-5.0, 5.0, 801)
    h = grid[1] - grid[0]
    drift, half = grid - grid**3, 0.8**2 / 2
    # exponentially fitted (Scharfetter-Gummel) rates: second order, and a Markov chain at any drift
    q = drift * h / half
    bernoulli = lambda z: np.where(np.abs(z) < 1e-8, 1 - z / 2, z / np.expm1(np.where(np.abs(z) < 1e-8, 1.0, z)))  # noqa: E731
    up, down = half / h**2 * bernoulli(-q), half / h**2 * bernoulli(q)
    up[-1] = down[0] = 0.0
    generator = np.diag(up[:-1], 1) + np.diag(down[1:], -1) - np.diag(up + down)
    return float(np.interp(start, grid, scipy.linalg.expm(t1 * generator) @ grid**2))


def test_an_answer_that_a_cheaper_method_contradicts_is_not_given(monkeypatch):
    import sdetheory.expectation.to_tolerance as module

    right = module.multilevel_mean

    def wrong(*arguments):
        outcome = right(*arguments)
        return dataclasses.replace(outcome, value=outcome.value * 3)

    monkeypatch.setattr(module, "multilevel_mean", wrong)
    x = sympy.Symbol("x")
    well = sdt.SDE([x], drift=[x - x**3], diffusion=[[0.8]])
    e = sdt.expect(well, x**2, [2.0], t1=1.0, rtol=1e-2, rng=0)
    assert abs(e.value - _mean_square_by_density(2.0, 1.0)) <= 2 * e.margin


def heston_call(kappa, theta, xi, rho, v0, strike=1.0):
    """E (S_1 − K)⁺ from S_0 = 1, by Heston's characteristic function in the form that stays on one branch (Albrecher 2007)."""
    def characteristic(u):
        b = kappa - 1j * rho * xi * u
        d = np.sqrt(b**2 + xi**2 * (u**2 + 1j * u))
        g = (b - d) / (b + d)
        c = (kappa * theta / xi**2) * ((b - d) - 2 * np.log((1 - g * np.exp(-d)) / (1 - g)))
        return np.exp(c + v0 / xi**2 * (b - d) * (1 - np.exp(-d)) / (1 - g * np.exp(-d)))

    def integrand(u):  # Lewis 2001
        return (np.exp(-1j * u * np.log(strike)) * characteristic(u - 0.5j)).real / (u**2 + 0.25)
    return 1 - np.sqrt(strike) / np.pi * scipy.integrate.quad(integrand, 0, 200, limit=400)[0]


@pytest.mark.parametrize("seed", range(3))
def test_a_call_under_full_truncation_heston_converges_and_its_interval_holds(seed):
    s, v = sympy.symbols("s v")
    p, r = sympy.sqrt(sympy.Max(v, 0)), sympy.Rational
    sde = sdt.SDE([s, v], [0, r(3, 2) * (r(1, 25) - sympy.Max(v, 0))],
                  [[s * p, 0], [-r(3, 20) * p, r(3, 10) * sympy.sqrt(r(3, 4)) * p]])
    found = sdt.expect(sde, sympy.Max(s - 1, 0), [1.0, 0.04], t1=1.0, rtol=5e-2, rng=seed)
    assert found.converged and not found.message
    assert abs(found.value - heston_call(1.5, 0.04, 0.3, -0.5, 0.04)) < 2 * found.margin
