"""Claims in processes of their own: one claim a worker at a time, and whatever it does harms no other.

A worker that dies, hangs or takes too much memory takes down only the claim it was on. Workers and all that they started
end when they are done with, when the run is broken off, and when the run's own process dies.
"""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.process
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

__all__ = ["Lost", "Workers", "cores"]

_SPAWN = multiprocessing.get_context("spawn")  # a forked child would inherit threads that it does not have
_TICK = 0.25  # seconds between two looks at who is still alive


def cores() -> int:
    """The number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Lost:
    """What comes of an order whose worker did not finish it, and why."""

    reason: str


class Workers:
    """A number of processes that work on orders; a context manager, at whose end they are gone.

    Parameters
    ----------
    jobs : int
        How many; the cores are shared out among them.
    timeout : float, optional
        Seconds that an order may take before its worker is ended.
    memory : int, optional
        Bytes that a worker may allocate; beyond that its claim meets a `MemoryError`.
    """

    def __init__(self, jobs: int, *, timeout: float | None = None, memory: int | None = None) -> None:
        self.jobs, self.timeout, self.memory = jobs, timeout, memory
        self._workers: list[_Worker] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for worker in self._workers:
            worker.end(patience=5 if worker.order is None else 0)
        self._workers.clear()

    def run(self, task: Callable[[Any], Iterable[Any]], orders: Sequence[Any],
            waiting: Callable[[list[Any]], None] = lambda running: None) -> Iterator[tuple[Any, Any]]:
        """Yield (order, outcome) for each outcome that `task(order)` yields, as they come.

        An order whose worker does not finish it yields `Lost` after the outcomes that it had.

        Parameters
        ----------
        task : callable
            A function at module level that yields plain data and catches its own exceptions.
        orders : sequence
            What to call it on, in this order.
        waiting : callable
            Called several times a second with the orders that are being worked on.
        """
        queue = list(reversed(orders))
        while queue or any(worker.order is not None for worker in self._workers):
            with _threads_each(max(1, cores() // self.jobs)):
                while len(self._workers) < min(self.jobs, len(queue) + sum(w.order is not None for w in self._workers)):
                    self._workers.append(_Worker(self.memory))
            for worker in self._workers:
                if worker.order is None and queue:
                    worker.take(task, queue.pop())
            busy = [worker for worker in self._workers if worker.order is not None]
            waiting([worker.order for worker in busy])
            wait([worker.pipe for worker in busy], timeout=_TICK)
            for worker in busy:
                yield from self._received(worker)

    def _received(self, worker: _Worker) -> Iterator[tuple[Any, Any]]:
        order = worker.order
        alive = worker.process.is_alive()  # asked before the pipe is emptied: what a dying worker sent is not lost
        try:
            while worker.pipe.poll():
                message = worker.pipe.recv()
                if message is None:
                    worker.order = None
                    return
                yield order, message[0]
        except (EOFError, OSError):
            alive = False
        except Exception as error:  # what was sent cannot be read here
            worker.end(patience=0)
            alive, worker.lost = False, f"what it returned cannot be read: {type(error).__name__}: {error}"
        # a child of the worker may hold the other end of the pipe, so that the end of the pipe never comes
        overdue = self.timeout is not None and time.monotonic() - worker.since > self.timeout
        if alive and not overdue:
            return
        self._workers.remove(worker)
        reason = worker.lost or (f"it took longer than {self.timeout:g} s (--timeout)" if alive else worker.death())
        worker.end(patience=0)
        yield order, Lost(reason)


class _Worker:
    def __init__(self, memory: int | None) -> None:
        self.pipe, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_serve, args=(theirs, memory))
        self.process.start()
        theirs.close()
        self.order: Any = None
        self.since = 0.0
        self.lost = ""

    def take(self, task: Callable[[Any], Iterable[Any]], order: Any) -> None:
        self.order, self.since = order, time.monotonic()
        with suppress(OSError):  # it died before its first order; receiving says so
            self.pipe.send((task, order))

    def death(self) -> str:
        """How it died."""
        self.process.join(1)
        code = self.process.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            return f"the process that worked on it died ({name})"
        return f"the process that worked on it died (exit status {code})"

    def end(self, patience: float) -> None:
        self.pipe.close()  # an idle worker takes this as the end
        self.process.join(patience)
        if self.process.is_alive():
            self.process.kill()
        if hasattr(os, "killpg") and self.process.pid is not None:  # and whatever it started
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join()


def _serve(pipe: Connection, memory: int | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # so that the parent can end it with all that it started
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if memory is not None:
        _limit_memory(memory)
    logging.getLogger("sdetheory").setLevel(logging.ERROR)  # that a kernel is compiled would stand in the way of the progress
    try:
        while True:
            task, order = pipe.recv()
            for outcome in task(order):
                pipe.send((outcome,))
            pipe.send(None)
    except (EOFError, BrokenPipeError):
        return


def _end_with_parent() -> None:
    parent = multiprocessing.process.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        if hasattr(os, "killpg"):
            os.killpg(os.getpgrp(), signal.SIGKILL)
        os._exit(1)


def _limit_memory(memory: int) -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (memory if hard == resource.RLIM_INFINITY else min(memory, hard), hard))


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
