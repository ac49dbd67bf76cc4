"""An ensemble: blocks of paths run one by one, in any order, by any executor, and put together in path order.

A path's numbers depend on (seed, path) alone and a block begins at a multiple of the program's lanes, so chunks of blocks may
run anywhere. What a chunk leaves is the saved values of its paths, or count, mean and squared deviations a block, which are
merged in block order: the result is the same to the bit for every number of threads and every chunk size, and where nothing is
kept path by path the memory is that of the chunks at work.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ..kernels.abi import MOMENTS, PUT, address
from ..kernels.compilation import Kernel
from .block import Block
from .checkpoint import Checkpoint
from .driver import TILE
from .plan import Plan

__all__ = ["Chunk", "merge_moments", "run_ensemble", "thread_count"]

_MOMENTS, _PUT = (Kernel(name, signature, module="sdetheory.engine.driver")
                  for name, signature in (("block_moments", MOMENTS), ("put_away", PUT)))


@dataclass(frozen=True)
class Chunk:
    """What consecutive blocks leave.

    `values` holds for each observable its numbers (paths, saves, rows); or it is one array of moments, (segments, saves,
    rows of all observables, 3), in path order. `divergence` has the step at which each path diverged, infinite for none, (paths,);
    or how many did in each cell, and the first step, (cells, 2).
    """

    first_block: int
    values: tuple[NDArray[np.float64], ...]
    divergence: NDArray[np.float64]


def thread_count(n_threads: int | None = None) -> int:
    """The number of worker threads: asked for, or `SDETHEORY_NUM_THREADS`, or the cores this process may use."""
    if n_threads is not None:
        return n_threads
    named = os.environ.get("SDETHEORY_NUM_THREADS")
    if named and (not named.strip().isdecimal() or int(named) < 1):
        raise ValueError(f"SDETHEORY_NUM_THREADS: expected a number of threads >= 1, got {named!r}; unset it for all cores")
    return int(named) if named else len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_chunk(plan: Plan, first_block: int, last_block: int, home: int,
              into: tuple[NDArray[np.float64], ...] | None = None, blocks: dict[int, Block] | None = None,
              ahead: bool = False) -> Chunk:
    """Run blocks first_block … last_block − 1 in this thread; `home` is the process that asked for it.

    Kept paths are written into their places in `into`, the arrays of the whole ensemble, where that is in reach; `blocks` are
    this thread's, by their lanes, to be used again. `ahead` lets another thread draw the noise of one long path.
    """
    program, saves, width = plan.program, plan.save_steps.size, plan.program.width
    first, last = first_block * plan.block_paths, min(last_block * plan.block_paths, plan.n_paths)
    diverged = np.empty(last - first)
    group = plan.saves_together()
    groups = [(at, min(at + group, saves)) for at in range(0, saves, group)]
    if not plan.keep_paths:
        values: tuple[NDArray[np.float64], ...] = ()
    elif into is None:
        values = tuple(np.empty((last - first, saves, o.rows)) for o in program.observables)
    else:
        values = tuple(array[first:last] for array in into)
    ends = list(accumulate(o.rows for o in program.observables))
    segments = [] if plan.keep_paths else [plan.segments(block) for block in range(first_block, last_block)]
    moments = np.empty((sum(map(len, segments)), saves, width, 3))
    part, part_size = address(moments), 8 * saves * width * 3
    blocks = {} if blocks is None else blocks
    with _one_blas_thread(plan) if os.getpid() != home else nullcontext():
        for block in range(first_block, last_block):
            path = block * plan.block_paths
            n = min(plan.block_paths, plan.n_paths - path)
            lanes = plan.block_paths if program.fixed_lanes or plan.single else -(-n // 8) * 8
            work = blocks.get(lanes) or blocks.setdefault(lanes, Block(plan, lanes, group, ahead))
            work.begin(path, n)
            here = slice(path - first, path - first + n)
            cells = [] if plan.keep_paths else segments[block - first_block]
            for begin, end in groups:
                work.advance(begin, end)
                for array, stop in zip(values, ends, strict=plan.keep_paths):
                    rows = array.shape[2]
                    if saves == 1:
                        array[here, 0] = work.OUT[0, :-TILE].reshape(-1, lanes)[stop - rows:stop, :n].T
                    else:
                        _PUT.call(work.out, end - begin, width, stop - rows, rows, lanes, n, address(array[here, begin:end]),
                                  array.strides[0] // 8)
                for i, (_, start, stop) in enumerate(cells):
                    _MOMENTS.call(work.out, end - begin, width, lanes, start, stop, part + i * part_size + 24 * begin * width)
            part += len(cells) * part_size
            diverged[here] = work.D[:n]
            if ahead:
                work.close()
    return Chunk(first_block, values if plan.keep_paths else (moments,),
                 diverged if plan.keep_diverged_at else _by_cell(plan, first_block, last_block, diverged))


def _by_cell(plan: Plan, first_block: int, last_block: int, diverged: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many paths of each cell diverged, and the first step at which one did, (cells, 2)."""
    first = first_block * plan.block_paths
    begins = [max(cell * plan.cell_paths - first, 0) for cell in plan.cells(first_block, last_block)]
    return np.stack([np.add.reduceat(np.isfinite(diverged), begins, dtype=np.float64), np.minimum.reduceat(diverged, begins)], axis=1)


def _one_blas_thread(plan: Plan) -> AbstractContextManager[Any]:
    """A BLAS product inside a block must not start threads of its own: the blocks are the parallel work."""
    return threadpool_limits(1, user_api="blas") if plan.program.fixed_lanes else nullcontext()


def merge_moments(total: NDArray[np.float64], part: NDArray[np.float64]) -> None:
    """Merge count, mean and squared deviations (…, 3) of further paths into those of the paths before them."""
    n, m = total[..., 0], part[..., 0]
    both = np.maximum(n + m, 1.0)
    delta = part[..., 1] - total[..., 1]
    total[..., 2] += part[..., 2] + delta**2 * n * m / both
    total[..., 1] += delta * m / both
    total[..., 0] = n + m


class _Moments:
    """The moments of each cell, (cells, saves, rows, 3), of chunks that come in any order and are merged in theirs."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self._next, self._waiting = plan, 0, dict[int, tuple[int, NDArray[np.float64]]]()
        self.total = np.zeros((plan.n_paths // plan.cell_paths, plan.save_steps.size, plan.program.width, 3))

    def put(self, first_block: int, last_block: int, moments: NDArray[np.float64]) -> None:
        """Take the moments (segments, saves, rows, 3) of the blocks first_block … last_block − 1."""
        self._waiting[first_block] = last_block, moments
        while self._next in self._waiting:
            first, (last, parts) = self._next, self._waiting.pop(self._next)
            places = ((cell, block * self.plan.block_paths + lane) for block in range(first, last)
                      for cell, lane, _ in self.plan.segments(block))
            for (cell, path), part in zip(places, parts, strict=True):
                if path == cell * self.plan.cell_paths:
                    self.total[cell] = part
                else:
                    merge_moments(self.total[cell], part)
            self._next = last


def run_ensemble(plan: Plan, *, executor: Executor | None = None, n_threads: int | None = None, chunk_size: int | None = None,
                 progress: bool = False, checkpoint: str | os.PathLike[str] | None = None,
                 ) -> tuple[tuple[NDArray[np.float64], ...], NDArray[np.float64]]:
    """Run every block.

    Returns
    -------
    values : tuple of arrays
        For each observable (paths, saves, rows); or, where no paths are kept, one array of moments (cells, saves, rows, 3).
    divergence : (paths,) or (cells, 2) array
        As of a `Chunk`.
    """
    if executor is not None and not isinstance(executor, Executor):
        raise TypeError(f"executor: expected a concurrent.futures.Executor or None, got {executor!r}; give e.g. "
                        "ProcessPoolExecutor(4), or client.get_executor() of a cluster")
    workers, blocks = thread_count(n_threads), plan.blocks_per_chunk(chunk_size)
    if _runs_in(executor):  # it would wait for itself
        executor, workers = None, 1
    ranges = [(b, min(b + blocks, plan.n_blocks)) for b in range(0, plan.n_blocks, blocks)]
    store = Checkpoint(Path(checkpoint).expanduser(), plan, blocks) if checkpoint is not None else None
    into = tuple(np.empty((plan.n_paths, plan.save_steps.size, o.rows)) for o in plan.program.observables) \
        if plan.keep_paths else None
    moments, ends = _Moments(plan) if into is None else None, dict(ranges)
    divergence = np.empty(plan.n_paths) if plan.keep_diverged_at else \
        np.tile([0.0, np.inf], (plan.n_paths // plan.cell_paths, 1))

    def put(chunk: Chunk) -> int:
        first, last = chunk.first_block, ends[chunk.first_block]
        here = slice(first * plan.block_paths, first * plan.block_paths + plan.paths(first, last))
        if plan.keep_diverged_at:
            divergence[here] = chunk.divergence
        else:
            cells = plan.cells(first, last)
            divergence[cells.start:cells.stop, 0] += chunk.divergence[:, 0]
            np.minimum(divergence[cells.start:cells.stop, 1], chunk.divergence[:, 1], out=divergence[cells.start:cells.stop, 1])
        if moments is not None:
            moments.put(first, last, chunk.values[0])
        else:
            for array, part in zip(into or (), chunk.values, strict=True):
                if not np.may_share_memory(array, part):  # a chunk of this process has written there already
                    array[here] = part
        return here.stop - here.start

    todo, done = [], 0
    for first, last in ranges:
        found = store.load(first) if store else None
        if found is None:
            todo.append((first, last))
        else:
            done += put(Chunk(first, *found))
    with _bar(progress, plan, done) as bar:
        if todo:
            bar.say("compiling")
            plan.program.build()
            bar.say("")
        for chunk in _run(plan, todo, executor, workers, into, store):
            bar.done(put(chunk))
    return (moments.total,) if moments is not None else into or (), divergence


def _runs_in(executor: Executor | None) -> bool:
    """Whether this call is itself a task of the executor, whose threads may all be taken by such calls."""
    if not isinstance(executor, ThreadPoolExecutor):
        return False
    # a pool starts a thread first and notes it then, under this lock: the thread may be here before it is noted
    with getattr(executor, "_shutdown_lock", nullcontext()):
        return threading.current_thread() in getattr(executor, "_threads", ())


def _run(plan: Plan, todo: list[tuple[int, int]], executor: Executor | None, workers: int,
         into: tuple[NDArray[np.float64], ...] | None, store: Checkpoint | None) -> Iterator[Chunk]:
    """Every chunk, saved as soon as it is there."""
    def save(chunk: Chunk) -> None:
        if store is not None:
            store.save(chunk.first_block, chunk.values, chunk.divergence)

    if executor is None:
        yield from _run_in_threads(plan, todo, workers, into, save)
        return
    with _one_blas_thread(plan):
        left = {executor.submit(run_chunk, plan, *r, os.getpid()) for r in todo}
        try:
            for future in as_completed(left.copy()):
                left.remove(future)
                chunk = future.result()
                save(chunk)
                yield chunk
        finally:  # after an error: of futures that are done together, the one that failed may have come first
            for future in left:
                if not future.cancel() and future.done() and future.exception() is None:
                    save(future.result())


def _run_in_threads(plan: Plan, todo: list[tuple[int, int]], workers: int, into: tuple[NDArray[np.float64], ...] | None,
                    save: Callable[[Chunk], None]) -> Iterator[Chunk]:
    """This thread and others take one range after another: a future for each would cost more than a small chunk."""
    pending, done = iter(todo), deque[Chunk]()

    def take() -> Iterator[None]:
        blocks: dict[int, Block] = {}
        for r in pending:
            chunk = run_chunk(plan, *r, os.getpid(), into, blocks, ahead=workers > 1 and len(todo) == 1)
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

    def __enter__(self) -> _bar:
        return self

    def done(self, n: int) -> None:
        """So many more paths are there."""
        if self._tqdm is not None:
            self._tqdm.update(n)

    def say(self, what: str) -> None:
        """What is going on before the paths: kernels that are not on disk are compiled."""
        if self._tqdm is not None:
            self._tqdm.set_description(what)

    def __exit__(self, *_: object) -> None:
        if self._tqdm is not None:
            self._tqdm.close()


