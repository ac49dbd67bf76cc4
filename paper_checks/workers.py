"""Claims in processes of their own: one worker a slot, one claim a worker at a time.

A worker that dies takes down only the claim it was on; closing the generator (Ctrl-C, say) ends the workers.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any

__all__ = ["cores", "run_in_workers"]

_SPAWN = multiprocessing.get_context("spawn")  # a forked child would inherit threads that it does not have


def cores() -> int:
    """The number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Worker:
    def __init__(self, task: Callable[[Any], Any]) -> None:
        self.pipe, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_serve, args=(task, theirs))
        self.process.start()
        theirs.close()
        self.order: Any = None

    def end(self, patience: float) -> None:
        self.pipe.close()  # an idle worker takes this as the end
        self.process.join(patience)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _serve(task: Callable[[Any], Any], pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    logging.getLogger("sdetheory").setLevel(logging.ERROR)  # that a kernel is compiled would stand in the way of the progress
    try:
        while True:
            pipe.send(task(pipe.recv()))
    except (EOFError, BrokenPipeError):
        return


def run_in_workers(task: Callable[[Any], Any], orders: Sequence[Any], jobs: int,
                   waiting: Callable[[list[Any]], None] = lambda running: None) -> Generator[tuple[Any, Any], None, None]:
    """Yield (order, task(order)) as they finish; (order, None) where the process died.

    Parameters
    ----------
    task : callable
        A function at module level that returns plain data and catches its own exceptions.
    orders : sequence
        What to call it on, in this order.
    jobs : int
        How many processes; the cores are shared out among them.
    waiting : callable
        Called several times a second with the orders that are being worked on.
    """
    queue, workers = list(reversed(orders)), list[_Worker]()
    try:
        with _threads_each(max(1, cores() // jobs)):
            while queue or any(worker.order is not None for worker in workers):
                while queue and len(workers) < jobs:
                    workers.append(_Worker(task))
                for worker in workers:
                    if worker.order is None and queue:
                        worker.order = queue.pop()
                        _send(worker)
                waiting([worker.order for worker in workers if worker.order is not None])
                ready = wait([worker.pipe for worker in workers if worker.order is not None], timeout=0.25)
                for worker in [w for w in workers if w.pipe in ready]:
                    order, outcome = worker.order, _receive(worker)
                    worker.order = None
                    if outcome is None:
                        workers.remove(worker)
                        worker.end(patience=1)
                    yield order, outcome
    finally:
        for worker in workers:
            worker.end(patience=0 if worker.order is not None else 5)


def _send(worker: _Worker) -> None:
    try:
        worker.pipe.send(worker.order)
    except BrokenPipeError:
        pass  # it died before its first order; receiving says so


def _receive(worker: _Worker) -> Any:
    try:
        return worker.pipe.recv()
    except (EOFError, ConnectionResetError):
        return None


@contextmanager
def _threads_each(threads: int) -> Iterator[None]:
    """Let processes started here use `threads` cores each, unless the user has said otherwise."""
    names = ("SDETHEORY_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    added = [name for name in names if name not in os.environ]
    os.environ.update(dict.fromkeys(added, str(threads)))
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
