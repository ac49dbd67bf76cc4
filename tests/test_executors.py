"""Every process runs under every executor with the same bits, and workers find its kernels on disk."""

from __future__ import annotations

import multiprocessing
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import sympy
import xarray as xr

import sdetheory as sdt
from sdetheory.engine import ensemble
from sdetheory.kernels import compilation

x, y, mu = sympy.symbols("x y mu", real=True)
TANGENT = sdt.noises.Tangent(0.5)
QUADRATIC = sdt.losses.RayleighQuotient([1.0, 1.0, 0.0, 0.0, 0.0], noise=TANGENT)
FULL = sdt.losses.RayleighQuotient(np.diag(np.arange(6.0)) + 0.1, noise=TANGENT)


def halved(state):  # at module level: it pickles by its name
    return 0.5 * state


def drift(state, t):
    return -state if state < 2.0 else -2.0 * state


def diffusion(state, t):
    return 0.3


def sde(**options):
    equation = sdt.SDE([x, y], [mu * x, 1 - y], [[x * sympy.sqrt(1 + y**2) / 2, 0], [0.1 * y, 0.3]])
    return sdt.simulate(equation, [1.0, 0.5], t1=0.3, dt=0.01, n_paths=700, sweep={"mu": [0.1, 0.2]}, save_every=7, rng=5,
                        observe={"x": x, "half": sympy.exp(-x * y)}, **options)


def callables(**options):
    return sdt.simulate(sdt.SDE.from_callables(drift, diffusion), [1.0], t1=0.3, dt=0.01, n_paths=700, rng=5,
                        observe={"f": halved}, **options)


def sgd(**options):
    rule = sdt.SGD(QUADRATIC, lr=0.1, weight_decay=0.05, momentum=0.5)
    return sdt.simulate(rule, QUADRATIC.sample_sphere(), n_steps=40, n_paths=700, save_every=9,
                        observe=["w", "loss", "effective_lr"], rng=5, **options)


def sgd_with_blas(**options):
    return sdt.simulate(sdt.SGD(FULL, lr=0.1), FULL.sample_sphere(), n_steps=20, n_paths=700, rng=5, **options)


def uv_map(**options):
    return sdt.simulate(sdt.dynamics.OutputCurvatureMap(width=8, lr=0.5), [1.0, 2.0], n_steps=30, n_paths=10_000, rng=5, **options)


def streamed(**options):
    return sdt.simulate(sdt.dynamics.EffectiveDynamics(QUADRATIC, lr=0.1, weight_decay=0.05), [1.0, 0.0, 1.0, 0.0, 0.0], t1=5.0,
                        dt=0.5, n_paths=700, observe=["gamma", "sq_norm"], keep_paths=False, rng=5, **options)


PROCESSES = [sde, callables, sgd, sgd_with_blas, uv_map, streamed]


@contextmanager
def processes(method):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        yield pool


@contextmanager
def loky():
    pytest.importorskip("loky")
    from loky import ProcessPoolExecutor as LokyExecutor

    with LokyExecutor(2) as pool:
        yield pool


@contextmanager
def dask(in_processes):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=in_processes, dashboard_address=None) as cluster, \
            distributed.Client(cluster) as client:
        yield client.get_executor()


EXECUTORS = {"threads": lambda: ThreadPoolExecutor(2), "fork": lambda: processes("fork"), "spawn": lambda: processes("spawn"),
             "forkserver": lambda: processes("forkserver"), "loky": loky, "dask in threads": lambda: dask(False),
             "dask in processes": lambda: dask(True)}


def kernels_built_here(run):
    """Run in a worker: how many kernels it has to build although another process has run the same."""
    built, build = [], compilation._compiled
    compilation._compiled = lambda kernel: (built.append(kernel.name), build(kernel))[1]
    try:
        run()
    finally:
        compilation._compiled = build
    return built


@pytest.mark.filterwarnings("ignore")  # of the executors about themselves
@pytest.mark.parametrize("name", EXECUTORS)
def test_no_executor_changes_a_bit_and_workers_find_kernels_on_disk(name):
    here = {run.__name__: run() for run in PROCESSES}
    with EXECUTORS[name]() as executor:
        for run in PROCESSES:
            xr.testing.assert_identical(run(executor=executor, chunk_size=256), here[run.__name__])
        if name == "spawn":
            assert [executor.submit(kernels_built_here, run).result() for run in PROCESSES] == [[]] * len(PROCESSES)


def test_a_call_that_runs_in_the_pool_it_is_given_does_not_wait_for_itself():
    with ThreadPoolExecutor(1) as pool:
        xr.testing.assert_identical(pool.submit(sgd, executor=pool).result(timeout=60), sgd())


def test_a_pool_that_has_not_yet_noted_its_new_thread_is_no_reason_to_wait(monkeypatch):
    """The thread comes to its task while `submit` still starts it: the call must find out all the same that it runs there."""
    start, arrived = threading.Thread.start, threading.Event()

    def start_and_wait(thread):
        start(thread)
        if thread.name.startswith("slow"):
            arrived.wait(10)
            time.sleep(0.2)

    def about_to_ask(executor):
        arrived.set()
        return runs_in(executor)

    runs_in = ensemble._runs_in
    monkeypatch.setattr(ensemble, "_runs_in", about_to_ask)
    monkeypatch.setattr(threading.Thread, "start", start_and_wait)
    with ThreadPoolExecutor(1, thread_name_prefix="slow") as pool:
        xr.testing.assert_identical(pool.submit(sgd, executor=pool).result(timeout=60), sgd())
