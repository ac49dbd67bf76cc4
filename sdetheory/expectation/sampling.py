r"""Moments of a functional over fresh paths: count, mean and variance of :math:`f(Y_n)`, streamed, in bounded memory.

A `Sampler` holds what is the same at every step size; each call draws from the seed it is given, and from nothing else.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..engine import Program
from ..engine.ensemble import run_ensemble
from ..engine.plan import Plan

__all__ = ["PER_PATH", "Moments", "Sampler", "Widths", "Work"]

BATCH = 2**22  # paths in one call of the engine, which keeps one number a path
BLOCK_WORK = 2**18  # path-steps in a block: below that, what surrounds the kernel costs more than the kernel
HUGE = 1e200  # a sum of squares beyond this is no variance
PER_PATH = 8.0  # path-steps that a path costs beside its steps
FEW = 2**21  # path-steps that are done before a second thread has started


@dataclass(frozen=True)
class Moments:
    """Count, mean and sample variance of the paths on which the functional is finite, and how many were not."""

    n: int
    mean: float
    var: float
    bad: int = 0

    @property
    def variance_of_mean(self) -> float:
        """var / n."""
        return self.var / self.n if self.n else math.inf

    @property
    def stderr(self) -> float:
        """Standard error of the mean."""
        return math.sqrt(self.variance_of_mean)

    def merged(self, other: Moments) -> Moments:
        """The moments of both samples together."""
        n = self.n + other.n
        if not self.n or not other.n:
            return replace(other if other.n else self, bad=self.bad + other.bad)
        gap = other.mean - self.mean
        squares = self.var * (self.n - 1) + other.var * (other.n - 1) + gap**2 * self.n * other.n / n
        return Moments(n, self.mean + gap * other.n / n, squares / (n - 1), self.bad + other.bad)


@dataclass
class Work:
    """What has been spent, and where the work is done."""

    executor: Executor | None = None
    n_threads: int | None = None
    path_steps: int = 0
    started: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self.started


class Widths:
    """A program, and copies of it with wider blocks for paths of few steps; each is compiled once."""

    def __init__(self, program: Program) -> None:
        self._by_lanes = {program.lanes: program}
        self._narrow = program

    def for_steps(self, n_steps: int) -> Program:
        """The program whose blocks are large enough for paths of `n_steps` and still stay in the cache."""
        program = self._narrow
        if program.fixed_lanes:
            return program
        rows = 2 * program.rows + sum(noise.rows for noise in program.noise)
        most = 2 ** int(math.log2(max(program.lanes, min(8192, 32768 / rows))))
        wanted = 2 ** int(math.log2(max(1.0, BLOCK_WORK / n_steps)))
        lanes = min(most, max(program.lanes, wanted))
        if lanes not in self._by_lanes:
            self._by_lanes[lanes] = replace(program, lanes=lanes)
        return self._by_lanes[lanes]


@dataclass(frozen=True)
class Sampler:
    """Samples of the one observable of `program`, on [t0, t1] or over steps.

    Parameters
    ----------
    program : Widths of a Program
        Its first observable is the functional.
    start : callable of a SeedSequence
        Gives the `Plan.start` of fresh paths.
    t0, t1 : float
        The time span; both 0 for an update rule, whose clock is its step.
    normals_per_step : int
        Equal parts into which the program itself divides a step's Brownian increment (2 for a nested pair).
    schedules : callable of (n_steps, dt, t0)
        Gives the table of hyperparameters.
    parameters : tuple of float
        Values of the program's per-path parameters.
    work_per_step : float
        Cost of one step in path-steps (3 for a nested pair).
    """

    program: Widths
    start: Callable[[np.random.SeedSequence], Callable[[int, int], NDArray[np.float64]]]
    t0: float = 0.0
    t1: float = 0.0
    normals_per_step: int = 1
    schedules: Callable[[int, float, float], NDArray[np.float64]] | None = None
    parameters: tuple[float, ...] = ()
    work_per_step: float = 1.0

    def dt(self, n_steps: int) -> float:
        """Length of a step."""
        return (self.t1 - self.t0) / n_steps if self.t1 > self.t0 else 1.0

    def moments(self, n_steps: int, n_paths: int, seeds: np.random.SeedSequence, work: Work) -> Moments:
        """Moments over `n_paths` paths of `n_steps` steps each."""
        total = Moments(0, 0.0, 0.0)
        left = n_paths
        for child in seeds.spawn(-(-n_paths // BATCH)):
            n = min(left, BATCH)
            left -= n
            plan = self._plan(n_steps, n, child, keep_paths=False)
            values, _ = self._run(plan, work)
            count, mean, squares = (float(value) for value in values[0][0, 0, 0])
            finite = math.isfinite(mean) and squares < HUGE  # else a step so coarse that the scheme runs away
            total = total.merged(Moments(int(count), mean, squares / max(1.0, count - 1.0), n - int(count)) if finite
                                 else Moments(0, 0.0, 0.0, n))
        return total

    def values(self, n_steps: int, n_paths: int, seeds: np.random.SeedSequence, work: Work) -> NDArray[np.float64]:
        """The functional path by path, shape (n_paths,); the same seeds give the same Brownian paths."""
        values, _ = self._run(self._plan(n_steps, n_paths, seeds, keep_paths=True), work)
        return values[0][:, 0, 0]

    def _run(self, plan: Plan, work: Work) -> tuple[tuple[NDArray[np.float64], ...], NDArray[np.float64]]:
        path_steps = plan.n_paths * int(plan.save_steps[-1])
        work.path_steps += int(path_steps * self.work_per_step)
        few = work.executor is None and path_steps < FEW
        with np.errstate(over="ignore", invalid="ignore"):
            return run_ensemble(plan, executor=work.executor, n_threads=1 if few else work.n_threads)

    def _plan(self, n_steps: int, n_paths: int, seeds: np.random.SeedSequence, keep_paths: bool) -> Plan:
        dt, program = self.dt(n_steps), self.program.for_steps(n_steps)
        schedules = np.zeros((1, 1)) if self.schedules is None else self.schedules(n_steps, dt, self.t0)
        clocked = self.t1 > self.t0
        return Plan(program=program, n_paths=n_paths, cell_paths=n_paths, start=self.start(seeds),
                    per_path=_Repeated(self.parameters), schedules=np.ascontiguousarray(schedules, dtype=np.float64),
                    save_steps=np.array([n_steps], dtype=np.int64),
                    keys=program.keys(seeds),
                    scales=(math.sqrt(dt / self.normals_per_step), math.sqrt(dt)) if clocked else (1.0, 1.0),
                    t0=self.t0, dt=dt, substeps=1, keep_paths=keep_paths, keep_diverged_at=False, single=False)


@dataclass(frozen=True)
class _Repeated:
    """The same parameters for every path."""

    values: tuple[float, ...]

    def __call__(self, first: int, n: int) -> NDArray[np.float64]:
        return np.repeat(np.array(self.values, dtype=np.float64)[:, None], n, axis=1)
