"""Memory: what is estimated is what is allocated, and a run that keeps no paths takes no more for more of them."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import sympy

import sdetheory as sdt
from sdetheory.engine import memory

x, mu = sympy.symbols("x mu", real=True)
OU = sdt.SDE([x], [-x], [[1]])
RUNAWAY = sdt.SDE([x], [mu * x**3], [[1]])
QUADRATIC = sdt.losses.RayleighQuotient([1.0, 0.5, 0.25])


def measured(run) -> int:
    """The largest number of bytes that Python and NumPy hold during a run, over those held before."""
    run()  # imports and kernels
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


RUNS = {
    "many paths": lambda **o: sdt.simulate(OU, [1.0], n_steps=8, dt=0.1, n_paths=400_000, rng=0, **o),
    "paths and saves": lambda **o: sdt.simulate(OU, [1.0], n_steps=40, dt=0.1, n_paths=50_000, save_every=1, rng=0, **o),
    "saves of one path": lambda **o: sdt.simulate(OU, [1.0], n_steps=500_000, dt=0.1, save_every=1, rng=0, **o),
    "weights": lambda **o: sdt.simulate(sdt.SGD(QUADRATIC, lr=0.1), [1.0, 1.0, 1.0], n_steps=20, n_paths=50_000, save_every=4,
                                        rng=0, **o),
    "a schedule": lambda **o: sdt.simulate(sdt.SGD(QUADRATIC, lr=lambda k: 0.1 / (k + 1)), [1.0, 1.0, 1.0], n_steps=300_000, rng=0,
                                           **o),
    "cells": lambda **o: sdt.simulate(RUNAWAY, [0.0], n_steps=30, dt=0.1, n_paths=200, sweep={"mu": np.linspace(-1, 0, 2000)},
                                      save_every=1, keep_paths=False, rng=0, **o),
    "steps of divergence": lambda **o: sdt.simulate(OU, [1.0], n_steps=8, dt=0.1, n_paths=400_000, keep_paths=False,
                                                    keep_diverged_at=True, rng=0, **o),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_estimate_is_what_is_allocated(name, monkeypatch):
    """Within a factor of 2, and not below by more than what Python's own objects take, 2 MiB."""
    needs: list[int] = []
    refuse = memory._refuse
    monkeypatch.setattr(memory, "_refuse", lambda need, *rest: (needs.append(need), refuse(need, *rest)))
    peak = measured(lambda: RUNS[name](n_threads=1))
    assert peak - 2**21 <= max(needs) <= 2 * peak + 2**21, (peak, needs)


def test_a_million_saves_of_one_path_are_a_few_numbers_each():
    runs = sdt.simulate(OU, [0.0], t1=1e4, dt=1e-2, save_every=1, rng=0, memory_limit=2**26)
    assert runs.x.size == 1_000_001


def test_a_run_that_keeps_no_paths_takes_no_more_for_more_of_them():
    def run(n_paths):
        return sdt.simulate(OU, [1.0], n_steps=2, dt=0.1, n_paths=n_paths, keep_paths=False, rng=0, n_threads=1, chunk_size=2**16)

    few, many = (measured(lambda n=n: run(n)) for n in (2**18, 2**21))
    assert many < few + (2**21 - 2**18)  # less than one byte a path


def test_how_many_paths_diverged_and_when_the_first_is_kept_without_the_paths():
    def run(**options):
        return sdt.simulate(RUNAWAY, [0.0], n_steps=60, dt=0.1, n_paths=700, sweep={"mu": [-1.0, 0.5, 4.0]}, rng=2, **options)

    with np.errstate(all="ignore"):
        kept, streamed = run(), run(keep_paths=False)
        asked, without = run(keep_paths=False, keep_diverged_at=True), run(keep_diverged_at=False)
        again = run(keep_paths=False, n_threads=3, chunk_size=1)
    lost = kept.diverged_at >= 0
    assert 0 < int(lost.sum()) < lost.size and "diverged_at" not in streamed
    np.testing.assert_array_equal(streamed.n_diverged, lost.sum("path"))
    np.testing.assert_array_equal(streamed.first_diverged_at, [-1 if not row.any() else at[row].min() for row, at in
                                                               zip(lost.values, kept.diverged_at.values, strict=True)])
    np.testing.assert_array_equal(asked.diverged_at, kept.diverged_at)
    assert streamed.identical(again) and streamed.attrs["n_diverged"] == kept.attrs["n_diverged"] == int(lost.sum())
    np.testing.assert_array_equal(without.n_diverged, streamed.n_diverged)
    np.testing.assert_array_equal(without.x, kept.x)


@pytest.mark.parametrize(("run", "message"), [
    (lambda: sdt.simulate(OU, [0.0], n_steps=2**53, dt=0.1, save_every=1), "tables of .* saves .*save_every"),
    (lambda: sdt.simulate(sdt.SGD(QUADRATIC, lr=lambda k: 0.1), [1.0, 1.0, 1.0], n_steps=2**45), "values of schedules.*constants"),
    (lambda: sdt.simulate(OU, [0.0], n_steps=1, dt=0.1, n_paths=2**50), "paths x 1 saves x 1 numbers.*keep_paths=False"),
    (lambda: sdt.simulate(OU, [0.0], n_steps=1, dt=0.1, n_paths=2**50, keep_paths=False, keep_diverged_at=True),
     "keep_diverged_at=False"),
    (lambda: sdt.simulate(OU, [0.0], n_steps=1, dt=0.1, n_paths=2**61, keep_paths=False), "paths x 1 saves"),
    (lambda: sdt.simulate(OU, [0.0], n_steps=1, dt=0.1, n_paths=1000, memory_limit=1000), "simulate: the run needs about .* MiB"),
])
def test_what_cannot_fit_is_refused_before_it_is_made(run, message):
    with pytest.raises(MemoryError, match=message):
        run()


def test_a_limit_is_a_number_of_bytes():
    with pytest.raises(ValueError, match="memory_limit: expected a number > 0"):
        sdt.simulate(OU, [0.0], n_steps=1, dt=0.1, memory_limit=-1)
