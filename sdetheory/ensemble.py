"""An ensemble: blocks of paths run one by one, in any order, by any executor, and put together in path order.

A path's numbers depend on (seed, path) alone and a block begins at a multiple of the program's lanes, so chunks of blocks may
run anywhere. What a chunk leaves is an array of saved values, or count, mean and squared deviations a block, which are merged
in block order: the result is the same to the bit for every number of threads and every chunk size.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from .blocks import aligned_block, block_moments
from .compilation import one_compilation
from .kernels import Program

__all__ = ["Chunk", "Plan", "merge_moments", "run_ensemble", "thread_count"]


@dataclass(frozen=True)
class Plan:
    """Everything that one chunk of blocks needs; picklable, so that it travels to another process.

    `n_paths` counts the paths of all cells of a sweep, `cell_paths` those of one. `start(first_path, n)` gives the
    starting states of n paths, shape (rows, n); `per_path(first_path, n)` the swept parameters, shape (parameters, n).
    """

    program: Program
    n_paths: int
    cell_paths: int
    start: Callable[[int, int], NDArray[np.float64]]
    per_path: Callable[[int, int], NDArray[np.float64]]
    schedules: NDArray[np.float64]
    save_steps: NDArray[np.int64]
    keys: tuple[int, int]
    scales: tuple[float, float]
    t0: float
    dt: float
    substeps: int
    keep_paths: bool
    single: bool

    @property
    def block_paths(self) -> int:
        """Paths in a block."""
        return 1 if self.single else self.program.lanes

    @property
    def n_blocks(self) -> int:
        """Blocks in the ensemble; the last one may be partly empty."""
        return -(-self.n_paths // self.block_paths)

    def segments(self, block: int) -> list[tuple[int, int, int]]:
        """The cells that a block touches, as (cell, first lane, last lane + 1)."""
        path, stop = block * self.block_paths, min((block + 1) * self.block_paths, self.n_paths)
        cells = range(path // self.cell_paths, (stop - 1) // self.cell_paths + 1)
        return [(cell, max(cell * self.cell_paths, path) - path, min((cell + 1) * self.cell_paths, stop) - path)
                for cell in cells]


@dataclass(frozen=True)
class Chunk:
    """What consecutive blocks leave: values (saves, rows, paths), or moments (segments, saves, rows, 3) in path order."""

    first_block: int
    values: NDArray[np.float64]
    diverged_at: NDArray[np.float64]


def thread_count(n_threads: int | None = None) -> int:
    """The number of worker threads: asked for, or `SDETHEORY_NUM_THREADS`, or the cores this process may use."""
    if n_threads is not None:
        return n_threads
    named = os.environ.get("SDETHEORY_NUM_THREADS")
    return int(named) if named else len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_chunk(plan: Plan, first_block: int, last_block: int, home: int) -> Chunk:
    """Run blocks first_block … last_block − 1 in this thread; `home` is the process that asked for it."""
    program = plan.program
    run = program.compile()
    saves, width = plan.save_steps.size, program.width
    batch = _batch(program, plan)
    first, last = first_block * plan.block_paths, min(last_block * plan.block_paths, plan.n_paths)
    diverged = np.full(last - first, np.inf)
    values = np.empty((saves, width, last - first if plan.keep_paths else 0))
    moments = []
    constants = tuple(program.constants.values())
    with _one_blas_thread(plan) if os.getpid() != home else nullcontext():
        for block in range(first_block, last_block):
            path = block * plan.block_paths
            n = min(plan.block_paths, plan.n_paths - path)
            lanes = plan.block_paths if program.fixed_lanes or plan.single else -(-n // 8) * 8
            X = aligned_block.py_func(program.rows, lanes)
            X[:, :n] = plan.start(path, n)
            P = plan.per_path(path, n)
            if n < lanes:
                X[:, n:] = X[:, :1]
                P = np.concatenate([P, np.repeat(P[:, :1], lanes - n, axis=1)], axis=1)
            D = aligned_block.py_func(1, lanes)[0]
            D[:] = np.inf
            OUT = np.empty((saves, width, lanes))
            S = aligned_block.py_func(program.scratch, lanes)
            with one_compilation(run):
                run(X, path, plan.save_steps, batch, plan.substeps, np.uint64(plan.keys[0]), np.uint64(plan.keys[1]),
                    plan.scales[0], plan.scales[1], plan.t0, plan.dt, S, plan.schedules, P, D, OUT, *constants)
            diverged[path - first:path - first + n] = D[:n]
            if plan.keep_paths:
                values[:, :, path - first:path - first + n] = OUT[:, :, :n]
            else:
                for _, start, stop in plan.segments(block):
                    moments.append(np.empty((saves, width, 3)))
                    block_moments(OUT, start, stop, moments[-1])
    return Chunk(first_block, values if plan.keep_paths else np.stack(moments), diverged)


def _one_blas_thread(plan: Plan) -> AbstractContextManager[Any]:
    """A BLAS product inside a block must not start threads of its own: the blocks are the parallel work."""
    return threadpool_limits(1, user_api="blas") if plan.program.fixed_lanes else nullcontext()


def _batch(program: Program, plan: Plan) -> int:
    """Steps drawn at once: few enough for the cache, and an even number of normals."""
    if not any(noise.rows for noise in program.noise):
        return 8192 if plan.single else 64  # nothing to draw: what costs is looking for divergence, once a batch
    rows = max(1, sum(noise.rows for noise in program.noise)) * plan.substeps
    return max(2, 8192 // rows) if plan.single else max(2, 2 * (8 // (2 * rows)))


def merge_moments(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Merge count, mean and squared deviations over the first axis, in its order. Shape (blocks, …, 3) → (…, 3)."""
    total = moments[0].copy()
    for part in moments[1:]:
        n, m = total[..., 0], part[..., 0]
        both = np.maximum(n + m, 1.0)
        delta = part[..., 1] - total[..., 1]
        total[..., 2] += part[..., 2] + delta**2 * n * m / both
        total[..., 1] += delta * m / both
        total[..., 0] = n + m
    return total


def run_ensemble(plan: Plan, *, executor: Executor | None = None, n_threads: int | None = None, chunk_size: int | None = None,
                 progress: bool = False, checkpoint: str | os.PathLike[str] | None = None) -> tuple[NDArray, NDArray]:
    """Run every block; returns values (saves, rows, paths), or moments (cells, saves, rows, 3), and diverged_at (paths,)."""
    workers = thread_count(n_threads)
    if chunk_size is None:
        blocks = max(1, plan.n_blocks // (8 * workers))
    else:
        blocks = max(1, chunk_size // plan.block_paths)
    plan.program.compile()
    store = _Store(Path(checkpoint), plan, blocks) if checkpoint is not None else None
    ranges = [(b, min(b + blocks, plan.n_blocks)) for b in range(0, plan.n_blocks, blocks)]
    chunks: dict[int, Chunk] = {}
    for first, _ in ranges:
        found = store.load(first) if store else None
        if found is not None:
            chunks[first] = found
    todo = [r for r in ranges if r[0] not in chunks]
    with _bar(progress, plan, sum(chunk.diverged_at.size for chunk in chunks.values())) as bar:
        for chunk in _run(plan, todo, executor, workers, store.save if store else lambda chunk: None):
            chunks[chunk.first_block] = chunk
            bar(chunk.diverged_at.size)
    ordered = [chunks[first] for first, _ in ranges]
    diverged = np.concatenate([chunk.diverged_at for chunk in ordered])
    if plan.keep_paths:
        return np.concatenate([chunk.values for chunk in ordered], axis=2), diverged
    parts: list[list[NDArray[np.float64]]] = [[] for _ in range(plan.n_paths // plan.cell_paths)]
    cells = (cell for block in range(plan.n_blocks) for cell, _, _ in plan.segments(block))
    for cell, moments in zip(cells, (part for chunk in ordered for part in chunk.values), strict=True):
        parts[cell].append(moments)
    return np.stack([merge_moments(np.stack(part)) for part in parts]), diverged


def _run(plan: Plan, todo: list[tuple[int, int]], executor: Executor | None, workers: int,
         save: Callable[[Chunk], None]) -> Iterator[Chunk]:
    """Every chunk, saved as soon as it is there."""
    if executor is None:
        yield from _run_in_threads(plan, todo, workers, save)
        return
    with _one_blas_thread(plan):
        futures = [executor.submit(run_chunk, plan, *r, os.getpid()) for r in todo]
        try:
            for future in as_completed(futures):
                chunk = future.result()
                save(chunk)
                yield chunk
        finally:
            for future in futures:
                future.cancel()


def _run_in_threads(plan: Plan, todo: list[tuple[int, int]], workers: int, save: Callable[[Chunk], None]) -> Iterator[Chunk]:
    """This thread and others take one range after another: a future for each would cost more than a small chunk."""
    pending, done = iter(todo), deque[Chunk]()

    def take() -> Iterator[None]:
        for r in pending:
            chunk = run_chunk(plan, *r, os.getpid())
            save(chunk)
            done.append(chunk)
            yield

    def take_all() -> None:
        try:
            deque(take(), maxlen=0)
        finally:
            deque(pending, maxlen=0)  # after an error nobody starts another chunk

    with _one_blas_thread(plan), ThreadPoolExecutor(max(1, workers - 1)) as pool:
        others = [pool.submit(take_all) for _ in range(min(workers, len(todo)) - 1)]
        try:
            for _ in take():
                while done:
                    yield done.popleft()
            for other in others:
                other.result()
            yield from done
        finally:
            deque(pending, maxlen=0)


class _bar:
    """A tqdm bar over paths, or nothing."""

    def __init__(self, show: bool, plan: Plan, done: int) -> None:
        self._tqdm: Any = None
        if show:
            from tqdm.auto import tqdm

            self._tqdm = tqdm(total=plan.n_paths, initial=done, unit="path", unit_scale=True)

    def __enter__(self) -> Callable[[int], None]:
        return self._tqdm.update if self._tqdm is not None else lambda n: None

    def __exit__(self, *_: object) -> None:
        if self._tqdm is not None:
            self._tqdm.close()


class _Store:
    """Finished chunks on disk, each written whole or not at all, under a name that holds what they depend on."""

    def __init__(self, folder: Path, plan: Plan, blocks: int) -> None:
        constants = [np.asarray(c) for c in plan.program.constants.values()]
        digest = hashlib.sha256()
        for part in (plan.program.source(), repr((plan.n_paths, plan.keys, plan.scales, plan.t0, plan.dt, plan.substeps,
                                                  plan.keep_paths, plan.block_paths, blocks))):
            digest.update(part.encode())
        for array in (plan.schedules, plan.save_steps, *constants):
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(pickle.dumps((plan.start, plan.per_path)))
        self._folder = folder / digest.hexdigest()[:24]
        self._folder.mkdir(parents=True, exist_ok=True)

    def load(self, first_block: int) -> Chunk | None:
        path = self._folder / f"chunk_{first_block}.npz"
        if not path.exists():
            return None
        with np.load(path) as data:
            return Chunk(first_block, data["values"], data["diverged_at"])

    def save(self, chunk: Chunk) -> None:
        path = self._folder / f"chunk_{chunk.first_block}.npz"
        partial = path.with_suffix(f".{os.getpid()}.partial")
        with open(partial, "wb") as file:
            np.savez(file, values=chunk.values, diverged_at=chunk.diverged_at)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
