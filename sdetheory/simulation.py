"""`simulate`: an ensemble of paths of an SDE or of an update rule, as an xarray Dataset.

x_k^{(p)}, k = 0 … n, for paths p: the same seed gives the same numbers on any number of threads, in any chunking, under any
executor, after a crash and a resume, because the noise of path p at step k depends on (seed, p, k) alone.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import __version__
from .callable_sde import CallableSDE
from .engine.dataset import dataset, refuse_collisions
from .engine.ensemble import run_ensemble, thread_count
from .engine.memory import check_memory, check_tables
from .engine.plan import Plan
from .process import Observed, Process, shown, start_states, swept_values
from .random import seed_sequence, stream_key
from .recording import note
from .schemes import Scheme, process_of
from .sde import SDE
from .starts import Start, as_start
from .validation import explained, integer, number

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["simulate"]


@explained
def simulate(process: SDE | CallableSDE | Process, x0: Start | ArrayLike, *, n_steps: int | None = None, t1: float | None = None,
             dt: float | None = None, t0: float = 0.0, first_step: int = 0, scheme: str | Scheme | None = None,
             brownian_dt: float | None = None, n_paths: int = 1,
             observe: Observed | Sequence[Observed] | Mapping[str, Observed] | None = None, save_every: int | None = None,
             keep_paths: bool = True, keep_diverged_at: bool | None = None, sweep: Mapping[Any, ArrayLike] | None = None,
             rng: Any = None, executor: Executor | None = None, n_threads: int | None = None, chunk_size: int | None = None,
             progress: bool = False, checkpoint: str | os.PathLike[str] | None = None,
             memory_limit: float | None = None) -> xr.Dataset:
    """Simulate independent paths of an SDE (by a scheme, to time `t1`) or of an update rule (for `n_steps` steps).

    Parameters
    ----------
    process : SDE or Process
        What to simulate: an SDE, an update rule or any other process of `sdetheory.dynamics`.
    x0 : array_like (d,) or (n_paths, d), or a Start
        Start; a distribution (`loss.sample_sphere()`, `starts.NormalWeights(d)`) draws one point a path.
    n_steps : int, optional
        Number of steps; for an SDE it may be left out.
    t1, dt : float, optional
        End and step of an SDE, in the clock of its drift; `dt` must divide the time span. The last time is `t1` to the bit.
    t0 : float
        Time of step 0.
    first_step : int
        To go on with a run: the number of the first step. With the state after k steps as `x0`, `first_step=k`, and the same
        `t0`, `dt`, `rng` and `n_paths`, the two legs have the bits of one run: noise, time and schedules go on at step k. (A call
        without it begins again at step 0, with the same noise.) The state is the whole state: SGD with momentum goes on from
        `w` and, as its `v0`, from `v`.
    scheme : str or Scheme, optional
        Integrator of the SDE; `"euler_maruyama"` unless told.
    brownian_dt : float, optional
        Grid on which the Brownian path is drawn: `dt` divided by a power of 2. Runs with the same `brownian_dt` and seed
        see the same path at every `dt`, under every scheme that draws the same rows of noise.
    n_paths : int
        Paths, or paths in each cell of a sweep.
    observe : name, expression or function, a sequence of them, or a mapping of name to one of them; optional
        What to save; the state unless told. Names are those of states, or of what a rule knows ("sq_norm", "loss", …);
        expressions are in the symbols of an SDE; functions take the state (a number where an SDE has one state, a tuple where it
        has more, else a vector), and are compiled by Numba. Of a mapping every name is kept as it is given.
    save_every : int, optional
        Save at steps 0, save_every, 2 save_every, … and the last one; without it only the last.
    keep_paths : bool
        If false only mean, variance and standard error over the paths are kept, streamed: the memory does not grow with the
        number of paths.
    keep_diverged_at : bool, optional
        Whether the step at which each path diverged is kept, one number a path; as `keep_paths` unless told. Without it the
        number of paths that diverged and the first such step are.
    sweep : mapping of parameter (its name or symbol) to values, optional
        Run the grid of these values; each becomes a dimension of the result.
    rng : int, SeedSequence or Generator, optional
        Seed; the entropy used is in the attributes of the result.
    executor : concurrent.futures.Executor, optional
        Where chunks run; threads unless told.
    n_threads, chunk_size : int, optional
        Threads (all cores unless told), and paths in a chunk. Neither changes a bit of the result.
    progress : bool
        Show a bar.
    checkpoint : path, optional
        A folder for finished chunks: the same call, with a seed, resumes there, to the same bits. Calls, processes and machines
        may share it.
    memory_limit : float, optional
        Bytes that the run may take; 80 % of the available memory unless told.

    Returns
    -------
    xarray.Dataset
        One variable an observable, with dims (sweep…, path, time or step[, state]); `diverged_at` (…, path): the first step at
        which a path was no longer finite, −1 if never, and NaN from there on. Without it `n_diverged` and `first_diverged_at`
        (sweep…): how many paths diverged, and the first of those steps.
        With `keep_paths=False`: `name`, `name_var`, `name_stderr` without the path dimension, and the number of paths on which
        the observable is finite: `n_finite` where there is one observable, `name_n_finite` for each where there are several.

    Raises
    ------
    ValueError, TypeError
        For an argument that does not fit, or a scheme that is not for this noise.
    MemoryError
        Before any work, if the run cannot fit; says what to change.

    Examples
    --------
    >>> import sympy, sdetheory as sdt
    >>> x = sympy.Symbol("x")
    >>> ou = sdt.SDE([x], drift=[-x], diffusion=[[1]])
    >>> runs = sdt.simulate(ou, [1.0], t1=1.0, dt=0.01, n_paths=1000, rng=0)
    >>> runs.x.sizes["path"]
    1000
    """
    n_paths = integer("n_paths", n_paths, at_least=1)
    for name, value in (("n_threads", n_threads), ("chunk_size", chunk_size), ("save_every", save_every)):
        if value is not None:
            integer(name, value, at_least=1)
    first_step = integer("first_step", first_step, at_least=0)
    if checkpoint is not None:
        if not isinstance(checkpoint, str | os.PathLike):
            raise TypeError(f"checkpoint: expected the path of a folder, got {checkpoint!r}")
        if rng is None:
            raise ValueError("rng: expected a seed beside a checkpoint, got None, with which no call finds the chunks of another; "
                             f"rng={np.random.SeedSequence().entropy} is a fresh one")
    runs = process_of(process, scheme)
    grid = swept_values(runs, sweep)
    cells = math.prod(values.size for values in grid.values())
    if cells * n_paths >= 2**62:
        raise ValueError(f"n_paths, sweep: expected fewer than 2^62 paths in all, got {n_paths} in each of {cells} cells")
    clock = _clock(runs, n_steps, t0, t1, dt, brownian_dt, first_step)
    program = replace(runs.program(observe, tuple(grid)), first_step=first_step)
    refuse_collisions(program.observables, tuple(grid), keep_paths)
    seeds = seed_sequence(rng)
    start = start_states(runs, as_start(x0, runs.dim, n_paths), tuple(grid), int(stream_key(seeds, "initial")))
    last = first_step + clock.n_steps
    between = range(0) if save_every is None else range(first_step, last, min(int(save_every), last + 1))
    limit = None if memory_limit is None else number("memory_limit", memory_limit, above=0)
    check_tables(len(between) + 1, _scheduled(runs, last, clock), limit)
    save_steps = np.append(np.arange(between.start, between.stop, between.step), last)
    plan = Plan(program=program, n_paths=cells * n_paths, cell_paths=n_paths, start=start,
                per_path=_PerPath(tuple(grid.values()), n_paths),
                schedules=np.ascontiguousarray(runs.schedule_table(last, clock.dt, clock.t0), dtype=np.float64),
                save_steps=save_steps.astype(np.int64),
                keys=program.keys(seeds),
                scales=clock.scales, t0=clock.t0, dt=clock.dt, substeps=clock.substeps, keep_paths=keep_paths,
                keep_diverged_at=keep_paths if keep_diverged_at is None else keep_diverged_at,
                single=cells * n_paths < 8 and not program.fixed_lanes,
                seed=f"entropy {seeds.entropy}, spawn key {seeds.spawn_key}")
    attributes = {"process": shown(runs), "scheme": runs.label, "dt": clock.dt, "entropy": str(seeds.entropy),
                  "spawn_key": str(seeds.spawn_key), "sdetheory": __version__, "numpy": np.__version__,
                  "python": platform.python_version()}
    check_memory(plan, thread_count(n_threads), chunk_size, executor is not None, limit)
    values, divergence = run_ensemble(plan, executor=executor, n_threads=n_threads, chunk_size=chunk_size, progress=progress,
                                      checkpoint=checkpoint)
    note(lambda: {"process": attributes["process"], "scheme": runs.label, "steps": clock.n_steps, "dt": clock.dt,
                  "clock": clock.name, "paths": n_paths, "sweep": {name: len(values) for name, values in grid.items()},
                  "saved": [o.name for o in program.observables]})
    return dataset(plan, values, divergence, grid, n_paths, clock.name, clock.along(save_steps), attributes)


def _scheduled(process: Process, last: int, clock: _Clock) -> int:
    """How many numbers the table of the schedules will hold, found out at the first two steps."""
    if last < 2:
        return 0
    rows, columns = process.schedule_table(2, clock.dt, clock.t0).shape
    return last * columns if rows > 1 else 0


@dataclass(frozen=True)
class _Clock:
    """The grid t0 + k dt of a run that takes n_steps steps, each drawn as `substeps` increments; it may end at t1 by definition."""

    name: str
    n_steps: int
    t0: float
    dt: float
    substeps: int = 1
    t1: float | None = None

    @property
    def scales(self) -> tuple[float, float]:
        """What the two kinds of random numbers are multiplied with."""
        return (1.0, 1.0) if self.name == "step" else (float(np.sqrt(self.dt / self.substeps)), float(np.sqrt(self.dt)))

    def along(self, steps: NDArray[np.int64]) -> NDArray[Any]:
        """Where on the clock these steps are, the last of them at t1 to the bit."""
        if self.name == "step":
            return steps
        times = self.t0 + steps * self.dt
        if self.t1 is not None:
            times[-1] = self.t1
        return times


def _clock(process: Process, n_steps: Any, t0: Any, t1: Any, dt: Any, brownian_dt: Any, first_step: int) -> _Clock:
    if process.clock == "step":
        if t1 is not None or dt is not None or brownian_dt is not None:
            raise ValueError("t1, dt: expected none for an update rule, which has no step size but its lr; give n_steps")
        if n_steps is None:
            raise ValueError("n_steps: expected a number of steps, got None; an update rule runs for n_steps")
        return _Clock("step", _step_count(n_steps, first_step), 0.0, 1.0)
    if dt is None:
        raise ValueError("dt: expected the solver's step, got None; try dt = (t1 - t0) / 1000")
    dt, t0 = number("dt", dt, above=0), number("t0", t0)
    if (t1 is None) == (n_steps is None):
        raise ValueError(f"t1, n_steps: expected one of them, got t1={t1!r}, n_steps={n_steps!r}")
    if n_steps is None:
        t1 = number("t1", t1, at_least=t0)
        steps = (t1 - t0) / dt
        n_steps = round(steps)
        if abs(steps - n_steps) > 1e-6 * max(1.0, steps):
            raise ValueError(f"dt: expected a step that divides t1 - t0 = {t1 - t0:g}, got {dt:g}; "
                             f"try {(t1 - t0) / max(1, n_steps):.12g}")
        if n_steps < first_step:
            raise ValueError(f"first_step: expected at most the {n_steps} steps from t0 = {t0:g} to t1 = {t1:g}, got {first_step}; "
                             "t0 is the time of step 0, in every leg of a run")
        n_steps -= first_step
    substeps = 1
    if brownian_dt is not None:
        ratio = dt / number("brownian_dt", brownian_dt, above=0)
        substeps = round(ratio)
        if substeps < 1 or abs(ratio - substeps) > 1e-9 * ratio or substeps & (substeps - 1):
            raise ValueError(f"brownian_dt: expected dt divided by a power of 2, got dt / {ratio:g}; try {dt / 8:g}")
    return _Clock("time", _step_count(n_steps, first_step), t0, dt, substeps, t1)


def _step_count(n_steps: Any, first_step: int) -> int:
    """The number of steps; steps are counted by 64-bit integers, and by the floats that mark divergence."""
    return integer("n_steps", n_steps, at_least=0, at_most=2**53 - first_step)


@dataclass(frozen=True)
class _PerPath:
    """Swept parameters of a range of paths: the grid in C order, each cell `n_paths` times."""

    values: tuple[NDArray[np.float64], ...]
    n_paths: int

    def __call__(self, first: int, n: int) -> NDArray[np.float64]:
        if not self.values:
            return np.empty((0, n))
        cells = np.arange(first // self.n_paths, (first + n - 1) // self.n_paths + 1)
        paths = np.minimum((cells + 1) * self.n_paths, first + n) - np.maximum(cells * self.n_paths, first)
        where = np.unravel_index(cells, [v.size for v in self.values])
        return np.stack([np.repeat(v[i], paths) for v, i in zip(self.values, where, strict=True)])
