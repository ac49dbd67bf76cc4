"""What `simulate` asks of a process: names, bounds, starts and clocks are checked before the work, and a run can go on."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import sympy
import xarray as xr

import sdetheory as sdt
from sdetheory.dynamics import EffectiveDynamics, KernelRecursion, OutputCurvatureMap, UVDescent, UVProducts
from sdetheory.process import Process
from sdetheory.schemes import REGISTRY, process_of
from sdetheory.starts import NormalWeights, Points, ReducedStart, Start, UniformSphere

x, y, k, q = sympy.symbols("x y k q")
OU = sdt.SDE([x], drift=[1 - x], diffusion=[[1]])
LOSS = sdt.losses.RayleighQuotient([1.0, 0.5, 0.0], noise=sdt.noises.Tangent(0.5))
NET = sdt.losses.TwoLayerLinear([[1.0, 0.0], [0.0, 2.0]], [1.0, -1.0], width=4)
SHORT = dict(t1=0.5, dt=0.1, n_paths=64, rng=0)
EPS = np.finfo(float).eps


def run(process, x0=(1.0,), **options):
    return sdt.simulate(process, list(x0), **{**SHORT, **options})


# --- names ------------------------------------------------------------------------------------------------------------

OWN = ["path", "time", "step", "state", "diverged_at", "n_finite", "n_diverged", "first_diverged_at"]


@pytest.mark.parametrize("name", OWN)
def test_a_name_that_the_result_has_itself_is_refused_before_the_work(name):
    s = sympy.Symbol(name)
    with pytest.raises(ValueError, match=f"observe: expected names that are not taken, got '{name}'"):
        run(sdt.SDE([s], [-s], [[1]]), n_steps=10**9, t1=None)
    with pytest.raises(ValueError, match=f"sweep: expected names that are not taken, got '{name}'"):
        run(sdt.SDE([x], [-s * x], [[1]]), sweep={name: [1.0]})
    with pytest.raises(ValueError, match="observe"):
        run(OU, observe={name: x})
    assert "free" in run(sdt.SDE([s], [-s], [[1]]), observe={"free": s})  # the symbol itself may have that name


def test_names_that_would_meet_in_a_result_without_paths_are_refused():
    both = {"x": x, "x_var": (x - 1) ** 2}
    assert {"x", "x_var"} <= set(run(OU, observe=both))
    with pytest.raises(ValueError, match=r"observe: .*'x_var' is var of 'x'"):
        run(OU, observe=both, keep_paths=False)


def test_each_of_several_observables_has_its_own_count():
    start = [[-1.0]] * 16 + [[1.0]] * 48
    runs = sdt.simulate(OU, start, n_steps=0, dt=0.1, n_paths=64, keep_paths=False, observe={"log": sympy.log(x), "x": x}, rng=0)
    assert (int(runs["log_n_finite"][0]), int(runs["x_n_finite"][0])) == (48, 64)
    assert int(run(OU, keep_paths=False).n_finite[0]) == 64


def test_any_other_name_is_kept_as_it_is_given():
    names = ["E[x]", "a b", "x²", "1", "mean of x, squared"]
    assert set(run(OU, observe=dict.fromkeys(names, x**2))) == {*names, "diverged_at"}


NAMES = [r"\xi^2", "a b", r"\mu", "mu_{0}", "lambda", "X", "dt", "time", "s_0", "C_0", "x0", "x1", "p_mu", "dW_0", "lane", "lanes",
         "Z", "C", "math", "t0", "step", "j", "1", "é", "μ", "value", "drift"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("assumptions", [{}, {"real": True}, {"positive": True}])
def test_a_symbol_of_any_name_gives_the_numbers_of_any_other(name, assumptions):
    def end(s, scheme):
        sde = sdt.SDE([s], [0.3 - s / 2 - s**2 / 10], [[0.4 * s + 0.1]])
        return run(sde, observe={"o": s**2 + 1.5}, scheme=scheme).o.values

    def swept(s):
        sde = sdt.SDE([x], [s * (1.5 - x) + s**2 / 2], [[q * s]])
        return run(sde, observe={"o": x * s + 0.25}, sweep={s: [0.5, 1.0], "q": [1.0]}).o.values

    symbol = sympy.Symbol(name, **assumptions)
    for scheme in ("euler_maruyama", "weak_order_2"):
        np.testing.assert_array_equal(end(symbol, scheme), end(sympy.Symbol("y", real=True), scheme))
    if name not in OWN:
        np.testing.assert_allclose(swept(symbol), swept(k), rtol=100 * EPS)


# --- one lookup of observables ----------------------------------------------------------------------------------------

PROCESSES = {
    "sde": (lambda: OU, [1.0], SHORT, "x"),
    "sgd": (lambda: sdt.SGD(LOSS, lr=0.1), [1.0, 0.5, 0.25], dict(n_steps=3, n_paths=8, rng=0), "sq_norm"),
    "sphere": (lambda: EffectiveDynamics(LOSS, lr=0.1), [1.0, 0.5, 0.25], SHORT, "gamma"),
    "map": (lambda: OutputCurvatureMap(width=4, lr=0.5), [0.5, 1.0], dict(n_steps=3), "curvature"),
    "descent": (lambda: UVDescent(width=2, lr=0.1), [1.0, 0.5, -1.0, 2.0], dict(n_steps=3), "balance"),
    "products": (lambda: UVProducts(width=2, lr=0.1), [1.0, 0.5, -1.0, 2.0], dict(n_steps=3), "balance"),
    "recursion": (lambda: KernelRecursion(NET, lr=0.1), list(range(7)), dict(n_steps=3), "sq_readout"),
}


def first(state):
    """The first number of a state."""
    return state[0]


@pytest.mark.parametrize("name", PROCESSES)
def test_every_process_takes_a_name_alone_in_a_list_and_in_a_mapping_and_a_function(name):
    make, x0, options, known = PROCESSES[name]
    process = make()
    assert isinstance(process_of(process), Process)
    runs = {form: sdt.simulate(process, x0, observe=observe, **options)
            for form, observe in {"alone": known, "list": [known], "mapping": {"other": known}}.items()}
    np.testing.assert_array_equal(runs["alone"][known], runs["list"][known])
    np.testing.assert_array_equal(runs["alone"][known], runs["mapping"]["other"])
    function = (lambda v: v) if name == "sde" else first
    seen = sdt.simulate(process, x0, observe={"seen": function}, **options)
    saved = sdt.simulate(process, x0, **options)
    state = next(iter(saved.data_vars.values()))
    expected = state if len(state.dims) == 2 else state[..., 0]
    np.testing.assert_allclose(seen.seen, expected, rtol=8 * EPS)
    with pytest.raises(ValueError, match=f"did you mean '{known}'"):
        sdt.simulate(process, x0, observe=known + "s", **options)
    with pytest.raises(TypeError, match="observe"):
        sdt.simulate(process, x0, observe=[3 + 4j], **options)


def test_an_expression_alone_is_one_observable_and_twice_the_same_name_is_refused():
    runs = run(OU, observe=x**2)
    assert runs.observable_0.attrs["observed"] == "x**2"
    with pytest.raises(ValueError, match="each name once, got 'x'"):
        run(OU, observe=["x", x])
    with pytest.raises(TypeError, match="got the expression x"):
        sdt.simulate(sdt.SGD(LOSS, lr=0.1), [1.0, 0, 0], n_steps=1, observe=x)
    with pytest.raises(ValueError, match="other assumptions"):
        run(OU, observe=sympy.Symbol("x", positive=True) ** 2)


@pytest.mark.parametrize("expression, message", [
    (sympy.Sum(x**y, (y, 0, 3)), "got Sum"), (sympy.besselj(0, x), "got besselj"), (sympy.Function("f")(x), "got f"),
    (sympy.Integral(sympy.exp(-x * y), (y, 0, 1)), "got Integral"), (sympy.sqrt(-2) * x, "real"), (sympy.Tuple(x, x), "one number"),
    ((x, x**2), "an expression or a function"), (sympy.log(-2) + x, "real"),
])
def test_what_has_no_kernel_is_refused_by_name(expression, message):
    with pytest.raises((ValueError, TypeError), match=f"observe: o.*{message}"):
        run(OU, observe={"o": expression})


@pytest.mark.parametrize("make", [
    lambda: sdt.SDE([x], [sympy.I * x], [[1]]), lambda: sdt.SDE([x], [-x], [[sympy.sqrt(1 - k**2)]]).subs({k: 1.5}),
    lambda: run(sdt.SDE([x], [sympy.besselj(0, x)], [[1]])), lambda: run(sdt.SDE([sympy.Symbol("z", imaginary=True)], [0], [[1]])),
])
def test_coefficients_that_are_not_real_or_have_no_kernel_are_refused(make):
    with pytest.raises(ValueError, match="real|elementary"):
        make()


# --- sweeps and sizes -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("process, x0, sweep, message", [
    (sdt.SGD(LOSS, lr=0.1), [1.0, 0, 0], {"lr": [0.1, -1.0]}, r"sweep\['lr'\]: expected numbers > 0.0, got -1.0 at index 1"),
    (sdt.SGD(LOSS, lr=0.1), [1.0, 0, 0], {"momentum": [5.0]}, r"sweep\['momentum'\]: expected numbers >= 0.0 and < 1.0"),
    (sdt.SGD(LOSS, lr=0.1), [1.0, 0, 0], {"lr": []}, "at least one number"),
    (sdt.SGD(LOSS, lr=0.1), [1.0, 0, 0], {"lrs": [1.0]}, "did you mean 'lr'"),
    (sdt.SGD(LOSS, lr=lambda k: 0.1), [1.0, 0, 0], {"lr": [0.1]}, "expected parameters among momentum, weight_decay"),
    (OutputCurvatureMap(width=4, lr=1.0), [1.0, 1.0], {"width": [2.5]}, "expected whole numbers"),
])
def test_swept_values_obey_the_bounds_of_the_constructor(process, x0, sweep, message):
    with pytest.raises(ValueError, match=message):
        sdt.simulate(process, x0, n_steps=1, sweep=sweep)


def test_what_sympy_assumes_of_a_parameter_bounds_its_sweep():
    p = sympy.Symbol("p", positive=True)
    with pytest.raises(ValueError, match=r"sweep\['p'\]: expected numbers > 0.0"):
        run(sdt.SDE([x], [-p * x], [[1]]), sweep={p: [-1.0]})


def test_sizes_beyond_64_bits_are_refused():
    with pytest.raises(ValueError, match="n_steps: expected an integer >= 0 and <="):
        run(OU, t1=None, n_steps=2**63)
    with pytest.raises(ValueError, match=r"n_paths, sweep: expected fewer than 2\^62"):
        run(sdt.SDE([x], [-k * x], [[1]]), n_paths=2**60, sweep={k: np.arange(1.0, 9.0)})


def test_a_hundred_states_and_sixty_observables_run():
    states = sympy.symbols("s:100")
    sde = sdt.SDE(states, [-s for s in states], sympy.eye(100))
    runs = run(sde, np.ones(100), observe={f"o{i}": states[i] ** 2 for i in range(60)}, n_paths=8)
    alone = run(sde, np.ones(100), observe=["s59"], n_paths=8)
    np.testing.assert_allclose(runs.o59, alone.s59**2, rtol=4 * EPS)


# --- clocks, and going on ---------------------------------------------------------------------------------------------

def test_the_last_time_is_the_end_that_was_asked_for():
    runs = sdt.simulate(OU, [1.0], t0=0.1, t1=0.7, dt=0.1, save_every=1, rng=0)
    assert runs.time.values[-1] == 0.7 and runs.sel(time=0.7).x.size == 1


LEGS = {
    "sde": (sdt.SDE([x, y], [sympy.cos(sympy.Symbol("t")) - x, x * y / 8 - y], [[0.5, 0.25], [0, 0.75]]), [1.0, -0.5], "time"),
    "sgd": (sdt.SGD(LOSS, lr=lambda s: 0.1 / (1 + s), weight_decay=0.01), [1.0, 0.5, 0.25], "step"),
    "svag": (sdt.SVAG(LOSS, lr=0.1, amplification=3), [1.0, 0.5, 0.25], "step"),
    "sgd's sde": (sdt.dynamics.SGDSDE(LOSS, lr=lambda s: 0.1 / (1 + s)), [1.0, 0.5, 0.25], "time"),
    "descent": (UVDescent(width=2, lr=0.1), [1.0, 0.5, -1.0, 2.0], "step"),
}


@pytest.mark.parametrize("name", LEGS)
@pytest.mark.parametrize("n_paths", [3, 600])
@pytest.mark.parametrize("save_every", [None, 5])
def test_two_legs_have_the_bits_of_one_run(name, n_paths, save_every):
    process, x0, clock = LEGS[name]
    options = dict(n_paths=n_paths, rng=3, save_every=save_every, **({"t0": 0.25, "dt": 0.0625} if clock == "time" else {}))
    whole = sdt.simulate(process, x0, n_steps=35, **options)
    before = sdt.simulate(process, x0, n_steps=15, **options)
    end = np.stack([before[n].values[:, -1] for n in before if n != "diverged_at"], axis=-1).reshape(n_paths, -1)
    after = sdt.simulate(process, end, n_steps=20, first_step=15, **options)
    for variable in whole:
        if variable != "diverged_at":
            np.testing.assert_array_equal(after[variable][:, -1], whole[variable][:, -1])
            if save_every:
                np.testing.assert_array_equal(after[variable], whole[variable][:, 3:])
                np.testing.assert_array_equal(after[clock], whole[clock][3:])


def test_sgd_with_momentum_goes_on_from_its_weights_and_its_buffer():
    def rule(v0=None):
        return sdt.SGD(LOSS, lr=0.1, momentum=0.75, v0=v0)

    options = dict(n_paths=20, rng=3, observe=["w", "v"])
    whole = sdt.simulate(rule(), [1.0, 0.5, 0.25], n_steps=35, **options)
    before = sdt.simulate(rule(), [1.0, 0.5, 0.25], n_steps=15, **options)
    after = sdt.simulate(rule(before.v.values[:, -1]), before.w.values[:, -1], n_steps=20, first_step=15, **options)
    xr.testing.assert_equal(after, whole)
    with pytest.raises(ValueError, match="v is the momentum buffer"):
        sdt.simulate(sdt.SGD(LOSS, lr=0.1), [1.0, 0.5, 0.25], n_steps=1, observe="v")


def test_a_leg_to_a_time_takes_the_steps_that_are_left():
    leg = sdt.simulate(OU, [1.0], t1=1.0, dt=0.1, first_step=7, save_every=1, rng=0)
    np.testing.assert_allclose(leg.time, [0.7, 0.8, 0.9, 1.0], rtol=4 * EPS)
    with pytest.raises(ValueError, match="first_step: expected at most the 10 steps"):
        sdt.simulate(OU, [1.0], t1=1.0, dt=0.1, first_step=11, rng=0)


def test_a_schedule_of_a_process_in_time_is_read_at_its_times():
    def lr(t):
        return 0.1 + t

    seen = sdt.dynamics.SGDSDE(LOSS, lr=lr).schedule_table(3, 0.5, 2.0)[:, 0]
    np.testing.assert_array_equal(seen, [2.1, 2.6, 3.1])


# --- kinks, and what is undefined -------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", REGISTRY)
def test_no_higher_order_is_promised_at_a_kink(name):
    sde = sdt.SDE([x], [-x], [[sympy.Abs(x) / 2]])
    if name == "euler_maruyama":
        assert np.isfinite(run(sde).x).all()
    else:
        with pytest.raises(ValueError, match="euler_maruyama|on \\|x\\|"):
            run(sde, scheme=name)


def test_full_truncation_cir_has_its_mean_under_the_default_scheme():
    v = sympy.Max(x, 0)
    e = sdt.expect(sdt.SDE([x], [2 * (1 - v)], [[sympy.sqrt(v) / 2]]), x, [0.5], t1=1.0, rtol=2e-2, rng=0)
    assert e.scheme == "euler_maruyama"
    assert abs(e.value - (1 - 0.5 * np.exp(-2))) < 2 * e.margin


def test_full_truncation_heston_is_a_martingale_under_the_default_scheme():
    v = sympy.Max(y, 0)
    heston = sdt.SDE([x, y], [0, 1 - v], [[x * sympy.sqrt(v), 0], [-sympy.sqrt(v) / 4, sympy.sqrt(v) / 4]])
    e = sdt.expect(heston, x, [1.0, 0.1], t1=0.5, rtol=3e-2, rng=0)
    assert e.scheme == "euler_maruyama" and abs(e.value - 1.0) < 2 * e.margin


@pytest.mark.parametrize("expression, at_minus_one, at_one", [
    (sympy.Max(sympy.log(x), 0), np.nan, 0.0), (sympy.Min(3, sympy.sqrt(x)), np.nan, 1.0), (sympy.sign(sympy.log(x)), np.nan, 0.0),
    (sympy.Heaviside(sympy.log(x)), np.nan, 0.5), (sympy.Piecewise((1, x > 5)), np.nan, np.nan), (sympy.zoo, np.nan, np.nan),
    (sympy.Piecewise((x, x > 0)), np.nan, 1.0), (sympy.ceiling(sympy.log(x)), np.nan, 0.0), (sympy.sign(x), -1.0, 1.0),
    (sympy.floor(1.5 * x), -2.0, 1.0), (sympy.Max(x, 0, x / 2), 0.0, 1.0),
])
def test_what_sympy_leaves_undefined_is_nan(expression, at_minus_one, at_one):
    runs = sdt.simulate(OU, [[-1.0], [1.0]], n_steps=0, dt=0.1, n_paths=2, observe={"o": expression}, rng=0)
    np.testing.assert_array_equal(runs.o[:, 0], [at_minus_one, at_one])


def test_a_path_that_meets_an_undefined_coefficient_is_marked():
    sde = sdt.SDE([x], [sympy.Piecewise((1, x > 0))], [[0]])
    runs = sdt.simulate(sde, [[-1.0], [1.0]], n_steps=3, dt=0.1, n_paths=2, save_every=1, rng=0)
    np.testing.assert_array_equal(runs.diverged_at, [1, -1])
    assert np.isnan(runs.x[0, 1:]).all() and np.isfinite(runs.x[1]).all()


# --- texts ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("drift, diffusion, text, latex", [
    (sympy.Rational(5, 16) - x, 1 + x, "SDE(dx = (5/16 - x) dt + (x + 1) dW)",
     r"$$dx = \left(\frac{5}{16} - x\right)\,dt + \left(x + 1\right)\,dW$$"),
    (1, -2 * x, "SDE(dx = dt + -2*x dW)", r"$$dx = dt + - 2 x\,dW$$"),
    (x * (1 - x), 1, "SDE(dx = x*(1 - x) dt + dW)", r"$$dx = x \left(1 - x\right)\,dt + dW$$"),
])
def test_a_sum_is_a_factor_in_parentheses_and_one_is_none(drift, diffusion, text, latex):
    sde = sdt.SDE([x], [drift], [[diffusion]])
    assert (repr(sde), sde._repr_latex_()) == (text, latex)
    assert run(sde).attrs["process"] == text


@pytest.mark.parametrize("rule", [
    sdt.SGD(LOSS, lr=lambda k: 0.1), sdt.SVAG(LOSS, lr=lambda k: 0.1, amplification=2), sdt.SGD(LOSS, lr=sdt.schedules.Constant(0.1)),
])
def test_no_text_of_a_rule_holds_an_address(rule):
    attributes = sdt.simulate(rule, [1.0, 0, 0], n_steps=1, rng=0).attrs
    assert not re.search("0x[0-9a-f]{4}", repr(rule) + str(attributes))


def test_a_stationary_density_says_of_which_space_it_is_one():
    s = sympy.symbols("a b c")
    p = sympy.Matrix(s)
    sphere = sdt.SDE(s, list(-p), (sympy.eye(3) - p * p.T).tolist())
    assert "in R^3" in repr(sphere.is_stationary(1, on="space")) and "respect to dx" in repr(sphere.is_stationary(1, on="space"))
    assert "on S^2" in repr(sphere.is_stationary(1))


# --- surroundings -----------------------------------------------------------------------------------------------------

def test_an_executor_that_is_none_is_refused():
    with pytest.raises(TypeError, match="executor: expected a concurrent.futures.Executor"):
        run(OU, executor="threads")


@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_a_number_of_threads_that_is_none_is_refused(monkeypatch, value):
    monkeypatch.setenv("SDETHEORY_NUM_THREADS", value)
    with pytest.raises(ValueError, match=f"SDETHEORY_NUM_THREADS: expected a number of threads >= 1, got '{value}'"):
        run(OU)


def test_without_a_compiler_what_needs_one_says_so(tmp_path):
    code = ("import sympy, sdetheory as sdt; x = sympy.Symbol('x'); sde = sdt.SDE([x], [-x], [[1]])\n"
            "sdt.simulate(sde, [1.0], n_steps=1, dt=0.1)\n"
            "sdt.simulate(sde, [1.0], n_steps=1, dt=0.1, observe=lambda v: v)")
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "SDETHEORY_CACHE": str(tmp_path)}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "NUMBA_DISABLE_JIT: expected 0" in found.stderr


# --- starts -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("start", [UniformSphere(4, 1.5), NormalWeights(4, 0.5), Points(np.arange(12.0).reshape(3, 4)),
                                   ReducedStart(OutputCurvatureMap(width=2, lr=1.0), NormalWeights(4)),
                                   ReducedStart(KernelRecursion(NET, lr=0.1), NormalWeights(NET.dim))])
def test_a_start_of_a_path_does_not_depend_on_how_many_are_drawn_with_it(start):
    assert isinstance(start, Start)
    key = np.uint64(12345)
    many, few = np.empty((start.dim, 16)), np.empty((start.dim, 3))
    start.sample_block(many, 5, key)
    start.sample_block(few, 9, key)
    np.testing.assert_array_equal(few, many[:, 4:7])
    assert start.sample(3, rng=0).shape == (3, start.dim)


def test_points_go_round_and_the_wrong_number_of_them_is_refused():
    np.testing.assert_array_equal(Points([[1.0], [2.0]]).sample(3), [[1.0], [2.0], [1.0]])
    with pytest.raises(ValueError, match=r"x0: expected shape \(1,\)"):
        run(OU, [[1.0], [2.0]])
    with pytest.raises(ValueError, match=r"a distribution on R\^1, got one on R\^4"):
        sdt.simulate(OU, NormalWeights(4), **SHORT)


def test_a_sweep_that_is_no_mapping_is_refused_by_name():
    with pytest.raises(TypeError, match="sweep: expected a mapping of parameters to values, got"):
        run(OU, sweep=["mu"])


@pytest.mark.parametrize(("sweep", "n_paths", "message"), [
    ({"mu": []}, 1, r"sweep\['mu'\]: expected at least one number, got none"),
    ({"mu": np.broadcast_to(1.0, 2**30)}, 2**33, "expected fewer than 2.62 paths in all"),
    ({"mu": [1.0]}, 2**62, "expected fewer than 2.62 paths in all"),
])
def test_grids_that_are_empty_or_cannot_be_counted_are_refused(sweep, n_paths, message):
    mu = sympy.Symbol("mu")
    with pytest.raises(ValueError, match=message):
        sdt.simulate(sdt.SDE([x], [-mu * x], [[1]]), [1.0], n_steps=1, dt=0.1, n_paths=n_paths, sweep=sweep, rng=0)
