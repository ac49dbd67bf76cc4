"""`simulate`: the same bits however it is run, the right law, and bad paths that stay by themselves."""

from __future__ import annotations

from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import pytest
import sympy
import xarray as xr

import sdetheory as sdt
from sdetheory import random
from sdetheory.engine import block
from sdetheory.schemes.scheme import numpy_step
from sdetheory.starts import Start

x, y, mu = sympy.symbols("x y mu", real=True)
OU = sdt.SDE([x], drift=[-0.7 * x], diffusion=[[0.4]])
HESTON = sdt.SDE([x, y], drift=[0.1 * x, 1 - y], diffusion=[[x * sympy.sqrt(1 + y**2) / 2, 0], [0.1 * y, 0.3]])
LOSS = sdt.losses.RayleighQuotient([1.0, 1.0, 0.0, 0.0, 0.0], noise=sdt.noises.Tangent(0.5))
RULE = sdt.SGD(LOSS, lr=0.1, weight_decay=0.05, momentum=0.5)
MATRIX = sdt.SGD(sdt.losses.RayleighQuotient(np.diag(np.arange(16.0)) + 0.1, noise=sdt.noises.Tangent(0.5)), lr=0.1)


def ou(n_paths=1500, **options):
    return sdt.simulate(OU, [1.0], t1=0.5, dt=0.01, n_paths=n_paths, save_every=7, rng=5, **options)


def rule(**options):
    return sdt.simulate(RULE, LOSS.sample_sphere(), n_steps=40, n_paths=1500, save_every=9,
                        observe=["w", "loss", "effective_lr"], rng=5, **options)


def matrix(**options):
    return sdt.simulate(MATRIX, MATRIX.loss.sample_sphere(), n_steps=20, n_paths=1100, rng=5, **options)


@pytest.mark.parametrize("run", [ou, rule, matrix])
@pytest.mark.parametrize("options", [dict(n_threads=1), dict(n_threads=2, chunk_size=1), dict(n_threads=3, chunk_size=700),
                                     dict(executor=ThreadPoolExecutor(2), chunk_size=512)])
def test_threads_chunks_and_executors_do_not_change_a_bit(run, options):
    xr.testing.assert_identical(run(n_threads=2), run(**options))


def test_processes_do_not_change_a_bit():
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        xr.testing.assert_identical(rule(), rule(executor=pool, chunk_size=512))


def test_a_streamed_mean_is_the_same_in_any_chunking_and_agrees_with_the_kept_paths():
    kept, streamed = rule(), rule(keep_paths=False)
    xr.testing.assert_identical(streamed, rule(keep_paths=False, n_threads=1, chunk_size=1))
    n = kept.sizes["path"]
    np.testing.assert_allclose(streamed.loss, kept.loss.mean("path"), rtol=8 * np.finfo(float).eps * np.log2(n))
    np.testing.assert_allclose(streamed.loss_stderr, kept.loss.std("path", ddof=1) / np.sqrt(n), rtol=n * np.finfo(float).eps)


def test_a_path_alone_has_the_numbers_it_has_in_an_ensemble():
    together = sdt.simulate(OU, [1.0], t1=0.5, dt=0.01, n_paths=100, rng=5)
    alone = sdt.simulate(OU, [1.0], t1=0.5, dt=0.01, n_paths=2, rng=5)
    np.testing.assert_array_equal(alone.x[:2], together.x[:2])


def test_the_kernel_of_a_scheme_is_its_one_step_map_in_numpy():
    runs = sdt.simulate(HESTON, [1.0, 0.5], n_steps=3, dt=0.01, n_paths=20, rng=9)
    key = random.stream_key(9, "path")
    state, step = np.tile([[1.0], [0.5]], (1, 20)), numpy_step("euler_maruyama", HESTON)
    for k in range(3):
        z = random.normals(key, np.arange(20)[None, :], np.array([[2 * k], [2 * k + 1]]))
        state = step(state, 0.01 * k, 0.01, {"dW": np.sqrt(0.01) * z})
    np.testing.assert_allclose(runs.x[:, -1], state[0], rtol=200 * np.finfo(float).eps)
    np.testing.assert_allclose(runs.y[:, -1], state[1], rtol=200 * np.finfo(float).eps)


def test_the_same_brownian_path_is_seen_at_every_step_size():
    brownian = sdt.SDE([x], drift=[0], diffusion=[[1]])
    ends = [sdt.simulate(brownian, [0.0], t1=1.0, dt=dt, brownian_dt=2.0**-6, n_paths=50, rng=3).x.values
            for dt in (2.0**-6, 2.0**-4, 0.5, 1.0)]
    for end in ends[1:]:
        np.testing.assert_allclose(end, ends[0], atol=64 * np.finfo(float).eps * 4)
    assert np.ptp(ends[0]) > 1


def test_mean_and_variance_of_an_ou_process_are_those_of_its_recursion():
    runs = sdt.simulate(OU, [1.0], t1=1.0, dt=0.01, n_paths=40_000, rng=1)
    factor = 1 - 0.7 * 0.01
    mean, variance = factor**100, 0.16 * 0.01 * (1 - factor**200) / (1 - factor**2)
    end = runs.x[:, -1].values
    assert abs(end.mean() - mean) < 5 * np.sqrt(variance / end.size)
    assert abs(end.var() - variance) < 5 * variance * np.sqrt(2 / end.size)


def test_a_diverging_path_is_counted_and_leaves_the_others_alone():
    cubic = sdt.SDE([x], drift=[x**3], diffusion=[[0.01]])
    starts = np.linspace(0.1, 40.0, 16)[:, None]
    runs = sdt.simulate(cubic, starts, n_steps=60, dt=0.01, n_paths=16, save_every=1, rng=0)
    diverged = runs.diverged_at.values
    assert 0 < runs.attrs["n_diverged"] < 16
    for path, at in enumerate(diverged):
        values = runs.x[path].values
        if at < 0:
            assert np.isfinite(values).all()
        else:
            assert np.isfinite(values[:at]).all() and np.isnan(values[at:]).all()
    calm = sdt.simulate(cubic, starts[:1], n_steps=60, dt=0.01, n_paths=1, save_every=1, rng=0)
    np.testing.assert_array_equal(calm.x[0], runs.x[0])


@dataclass(frozen=True)
class FaultyStart(Start):
    """Starts at 1; drawing one fails from path `broken` on."""

    dim, broken = 1, 0

    def sample_block(self, out, first_path, key):
        if FaultyStart.broken <= first_path:
            raise RuntimeError("no start")
        out[:] = 1.0


def test_an_error_in_one_thread_stops_the_others_and_loses_no_finished_chunk(tmp_path):
    def run():
        return sdt.simulate(OU, FaultyStart(), t1=1.0, dt=0.01, n_paths=8 * 512, n_threads=2, chunk_size=512, rng=0,
                            checkpoint=tmp_path)

    FaultyStart.broken = 4 * 512
    with pytest.raises(RuntimeError, match="no start"):
        run()
    assert len(list(tmp_path.glob("*/chunk_*.npz"))) == 4
    FaultyStart.broken = 8 * 512
    xr.testing.assert_identical(run(), sdt.simulate(OU, [1.0], t1=1.0, dt=0.01, n_paths=8 * 512, rng=0))


def test_a_sweep_is_a_grid_of_runs_with_its_parameters():
    swept = sdt.simulate(RULE, [1.0, 1, 0, 0, 0], n_steps=30, n_paths=3, observe="sq_norm", rng=0,
                         sweep={"lr": [0.05, 0.1], "weight_decay": [0.0, 0.01, 0.05]})
    assert swept.sq_norm.dims == ("lr", "weight_decay", "path", "step") and swept.sq_norm.shape == (2, 3, 3, 1)
    alone = sdt.simulate(sdt.SGD(LOSS, lr=0.05, weight_decay=0.0, momentum=0.5), [1.0, 1, 0, 0, 0], n_steps=30, n_paths=3,
                         observe="sq_norm", rng=0)
    np.testing.assert_allclose(swept.sq_norm[0, 0], alone.sq_norm, rtol=0)
    streamed = sdt.simulate(RULE, [1.0, 1, 0, 0, 0], n_steps=30, n_paths=3, sweep={"lr": [0.05, 0.1]}, observe="sq_norm", rng=0,
                            keep_paths=False)
    kept = sdt.simulate(RULE, [1.0, 1, 0, 0, 0], n_steps=30, n_paths=3, sweep={"lr": [0.05, 0.1]}, observe="sq_norm", rng=0)
    np.testing.assert_allclose(streamed.sq_norm, kept.sq_norm.mean("path"), rtol=1e-14)


def test_a_parameter_of_an_sde_can_be_swept():
    sde = sdt.SDE([x], drift=[mu * x], diffusion=[[0]])
    runs = sdt.simulate(sde, [1.0], n_steps=10, dt=0.1, sweep={"mu": [-1.0, 0.0, 1.0]}, rng=0)
    np.testing.assert_allclose(runs.x.squeeze(), [0.9**10, 1.0, 1.1**10], rtol=20 * np.finfo(float).eps)


class Interrupted(Executor):
    """Each task is done when it has been submitted; task number `broken` raises KeyboardInterrupt."""

    def __init__(self, broken):
        self.broken, self.count = broken, 0

    def submit(self, function, /, *args, **kwargs):
        future, self.count = Future(), self.count + 1
        if self.count - 1 == self.broken:
            future.set_exception(KeyboardInterrupt())
        else:
            future.set_result(function(*args, **kwargs))
        return future


@pytest.mark.parametrize("broken", range(6))
def test_an_interrupted_run_keeps_every_chunk_that_is_done_and_resumes_to_the_same_bits(tmp_path, broken):
    with pytest.raises(KeyboardInterrupt):
        ou(executor=Interrupted(broken), n_paths=6 * 512, chunk_size=512, checkpoint=tmp_path)
    written = list(tmp_path.glob("*/chunk_*.npz"))
    assert len(written) == 5
    stamps = {path: path.stat().st_mtime_ns for path in written}
    xr.testing.assert_identical(ou(n_paths=6 * 512, chunk_size=512, checkpoint=tmp_path), ou(n_paths=6 * 512))
    assert stamps == {path: path.stat().st_mtime_ns for path in written}
    assert not list(tmp_path.glob("*/*.partial"))


def test_plain_callables_run_in_the_same_simulate():
    def drift(x, t):
        return -x if x < 2 else -2.0 * x

    sde = sdt.SDE.from_callables(drift, lambda x, t: 0.3, dim=1, noise_dim=1)
    runs = sdt.simulate(sde, [1.0], t1=1.0, dt=0.01, n_paths=20_000, rng=0)
    end = next(iter(runs.data_vars.values()))[:, -1]
    assert abs(float(end.mean()) - 0.99**100) < 5 * float(end.std()) / np.sqrt(20_000)


@pytest.mark.parametrize(("arguments", "message"), [
    (dict(x0=[1.0, 2.0]), r"x0: expected shape \(1,\)"),
    (dict(x0=[np.nan]), "x0: expected finite"),
    (dict(dt=-0.1), "dt: expected a number > 0"),
    (dict(dt=0.3), "dt: expected a step that divides"),
    (dict(n_steps=5), "t1, n_steps: expected one of them"),
    (dict(n_paths=0), "n_paths: expected an integer >= 1"),
    (dict(brownian_dt=0.03), "brownian_dt: expected dt divided by a power of 2"),
    (dict(observe=["z"]), "observe: expected names among x, an expression in them or a function"),
    (dict(scheme="milstien"), "did you mean 'milstein'"),
    (dict(sweep={"nu": [1.0]}), "sweep: expected parameters among"),
    (dict(rng=-3), "rng: expected"),
])
def test_bad_arguments_are_refused_by_name(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        sdt.simulate(OU, **{**dict(x0=[1.0], t1=1.0, dt=0.1, rng=0), **arguments})


def test_a_start_at_zero_is_refused_for_a_scale_invariant_loss():
    with pytest.raises(ValueError, match="w0|x0|start"):
        sdt.simulate(RULE, np.zeros(5), n_steps=1, rng=0)


def test_a_result_that_cannot_fit_is_refused_before_the_work():
    with pytest.raises(MemoryError, match="keep_paths=False"):
        sdt.simulate(OU, [1.0], n_steps=10**6, dt=1e-6, n_paths=10**7, save_every=1, rng=0)


@pytest.mark.parametrize("save_every", [None, 50_000, 77_777])
def test_noise_that_another_thread_draws_ahead_for_one_long_path_changes_no_bit(save_every, monkeypatch):
    monkeypatch.setattr(block, "AHEAD", 2**12)
    runs = [sdt.simulate(OU, [1.0], n_steps=200_000, dt=1e-3, rng=5, n_threads=n, save_every=save_every) for n in (1, 2)]
    xr.testing.assert_identical(*runs)


def test_one_long_path_that_diverges_is_dated_alike_on_any_number_of_threads(monkeypatch):
    monkeypatch.setattr(block, "AHEAD", 2**12)
    cubic = sdt.SDE([x], [x**3], [[1]])
    runs = [sdt.simulate(cubic, [0.1], n_steps=200_000, dt=1e-3, rng=5, n_threads=n, save_every=100_000) for n in (1, 2)]
    xr.testing.assert_identical(*runs)
    assert 0 < int(runs[0].diverged_at[0]) < 200_000 and np.isnan(runs[0].x.values[0, 1:]).all()
