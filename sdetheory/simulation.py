"""`simulate`: an ensemble of paths of an SDE or of an update rule, as an xarray Dataset.

x_k^{(p)}, k = 0 … n, for paths p: the same seed gives the same numbers on any number of threads, in any chunking, under any
executor, after a crash and a resume, because the noise of path p at step k depends on (seed, p, k) alone.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from . import __version__
from .engine import Program
from .engine.dataset import check_memory, dataset
from .engine.ensemble import run_ensemble, thread_count
from .engine.plan import Plan
from .random import seed_sequence, stream_key
from .schemes import get as get_scheme
from .schemes.program import sde_program
from .sde import SDE
from .validation import finite_array, integer, number

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["simulate"]


def simulate(process: Any, x0: Any, *, n_steps: int | None = None, t1: float | None = None, dt: float | None = None,
             t0: float = 0.0, scheme: Any = None, brownian_dt: float | None = None, n_paths: int = 1,
             observe: Sequence[str] | Mapping[str, Any] | None = None, save_every: int | None = None,
             keep_paths: bool = True, sweep: Mapping[str, ArrayLike] | None = None, rng: Any = None,
             executor: Executor | None = None, n_threads: int | None = None, chunk_size: int | None = None,
             progress: bool = False, checkpoint: str | os.PathLike[str] | None = None,
             memory_limit: float | None = None) -> xr.Dataset:
    """Simulate independent paths of an SDE (by a scheme, to time `t1`) or of an update rule (for `n_steps` steps).

    Parameters
    ----------
    process : SDE or update rule
        What to simulate; an update rule is anything of `sdetheory.dynamics`.
    x0 : array_like (d,) or (n_paths, d), or a distribution
        Start; a distribution (`loss.sample_sphere()`) draws one point a path.
    n_steps : int, optional
        Number of steps; for an SDE it may be left out.
    t1, dt : float, optional
        End and step of an SDE, in the clock of its drift; `dt` must divide the time span.
    scheme : str or Scheme, optional
        Integrator of the SDE; `"euler_maruyama"` unless told.
    brownian_dt : float, optional
        Grid on which the Brownian path is drawn: `dt` divided by a power of 2. Runs with the same `brownian_dt` and seed
        see the same path at every `dt`, under every scheme that draws the same rows of noise.
    n_paths : int
        Paths, or paths in each cell of a sweep.
    observe : sequence of str, or mapping of name to expression or function, optional
        What to save; the state unless told. For an SDE: names of states, SymPy expressions, functions of the state.
    save_every : int, optional
        Save at steps 0, save_every, 2 save_every, … and the last one; without it only the last.
    keep_paths : bool
        If false only mean, variance and standard error over the paths are kept, streamed.
    sweep : mapping of parameter name to values, optional
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
        A folder for finished chunks: the same call resumes there, to the same bits.
    memory_limit : float, optional
        Bytes that the result may take; 80 % of the available memory unless told.

    Returns
    -------
    xarray.Dataset
        One variable an observable, with dims (sweep…, path, time or step[, state]); `diverged_at` (…, path): the first step at
        which a path was no longer finite, −1 if never, and NaN from there on.
        With `keep_paths=False`: `name`, `name_var`, `name_stderr` and `n_finite` without the path dimension.

    Raises
    ------
    ValueError, TypeError
        For an argument that does not fit, or a scheme that is not for this noise.
    MemoryError
        Before any work, if the result cannot fit; says what to change.

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
    grid = _grid(process, sweep)
    cells = int(np.prod([values.size for values in grid.values()], dtype=int))
    clock = _clock(process, n_steps, t0, t1, dt, brownian_dt)
    program, labels = _program(process, scheme, observe, tuple(grid))
    seeds = seed_sequence(rng)
    start = start_of(process, x0, n_paths, tuple(grid), seeds)
    save_steps = np.array([clock.n_steps]) if save_every is None else np.unique(
        np.append(np.arange(0, clock.n_steps, save_every), clock.n_steps))
    single = cells * n_paths < 8 and not program.fixed_lanes
    schedules = process.schedule_table(clock.n_steps, clock.dt) if hasattr(process, "schedule_table") else np.zeros((1, 1))
    plan = Plan(program=program, n_paths=cells * n_paths, cell_paths=n_paths, start=start,
                per_path=_PerPath(tuple(grid.values()), n_paths), schedules=np.ascontiguousarray(schedules, dtype=np.float64),
                save_steps=save_steps.astype(np.int64),
                keys=(int(stream_key(seeds, _stream(program, 0))), int(stream_key(seeds, _stream(program, 1)))),
                scales=clock.scales, t0=clock.t0, dt=clock.dt, substeps=clock.substeps, keep_paths=keep_paths, single=single,
                seed=f"entropy {seeds.entropy}, spawn key {seeds.spawn_key}")
    check_memory(plan, thread_count(n_threads), memory_limit)
    values, diverged = run_ensemble(plan, executor=executor, n_threads=n_threads, chunk_size=chunk_size, progress=progress,
                                    checkpoint=checkpoint)
    attributes = {"process": repr(process), "scheme": labels, "dt": clock.dt, "entropy": str(seeds.entropy),
                  "spawn_key": str(seeds.spawn_key), "sdetheory": __version__, "numpy": np.__version__,
                  "python": platform.python_version()}
    return dataset(plan, values, diverged, grid, n_paths, clock.name, attributes)


@dataclass(frozen=True)
class _Clock:
    """The time grid: n_steps of dt from t0, each drawn as `substeps` increments."""

    name: str
    n_steps: int
    t0: float
    dt: float
    substeps: int

    @property
    def scales(self) -> tuple[float, float]:
        if self.name == "step":
            return 1.0, 1.0
        return float(np.sqrt(self.dt / self.substeps)), float(np.sqrt(self.dt))


def _clock(process: Any, n_steps: Any, t0: Any, t1: Any, dt: Any, brownian_dt: Any) -> _Clock:
    if getattr(process, "clock", "time") == "step":
        if t1 is not None or dt is not None or brownian_dt is not None:
            raise ValueError("t1, dt: expected none for an update rule, which has no step size but its lr; give n_steps")
        if n_steps is None:
            raise ValueError("n_steps: expected a number of steps, got None; an update rule runs for n_steps")
        return _Clock("step", integer("n_steps", n_steps, at_least=0), 0.0, 1.0, 1)
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
    substeps = 1
    if brownian_dt is not None:
        ratio = dt / number("brownian_dt", brownian_dt, above=0)
        substeps = round(ratio)
        if substeps < 1 or abs(ratio - substeps) > 1e-9 * ratio or substeps & (substeps - 1):
            raise ValueError(f"brownian_dt: expected dt divided by a power of 2, got dt / {ratio:g}; try {dt / 8:g}")
    return _Clock("time", integer("n_steps", n_steps, at_least=0), t0, dt, substeps)


def _program(process: Any, scheme: Any, observe: Any, swept: tuple[str, ...]) -> tuple[Program, str]:
    if isinstance(process, SDE):
        chosen = get_scheme("euler_maruyama" if scheme is None else scheme)
        return sde_program(process, chosen, _sde_observables(process, observe), swept), chosen.name
    if not hasattr(process, "program"):
        raise TypeError(f"process: expected an SDE or an update rule, got {process!r}; see sdetheory.dynamics")
    if scheme is not None and not hasattr(process, "schemes"):
        raise ValueError(f"scheme: expected None for an update rule, got {scheme!r}; it steps itself")
    options = {} if scheme is None else {"scheme": scheme}
    return process.program(observe=observe, swept=swept, **options), str(options.get("scheme", type(process).__name__))


def _sde_observables(sde: SDE, observe: Any) -> list[tuple[str, Any]]:
    states = {symbol.name: symbol for symbol in sde.states}
    if observe is None:
        return list(states.items())
    result: list[tuple[str, Any]] = []
    named = observe.items() if isinstance(observe, Mapping) else [(o if isinstance(o, str) else str(o), o) for o in observe]
    for name, what in named:
        if isinstance(what, str):
            if what not in states:
                raise ValueError(f"observe: expected a state ({', '.join(states)}), an expression or a function, got {what!r}")
            what = states[what]
        if isinstance(what, sympy.Basic | int | float):
            what = sympy.sympify(what)
            unknown = what.free_symbols - {*sde.states, sde.time, *sde.parameters}
            if unknown:
                raise ValueError(f"observe: {name} has symbols that the SDE has not: {sorted(map(str, unknown))}; "
                                 f"its states are {', '.join(states)}")
        elif not callable(what):
            raise TypeError(f"observe: {name} must be a state, an expression or a function of the state, got {what!r}")
        result.append((name.replace(" ", "") if name.isidentifier() else f"observable_{len(result)}", what))
    return result


def _stream(program: Program, i: int) -> str:
    return program.noise[i].stream if i < len(program.noise) else "none"


def _grid(process: Any, sweep: Mapping[str, ArrayLike] | None) -> dict[str, NDArray[np.float64]]:
    if not sweep:
        return {}
    known = {s.name for s in process.parameters} if isinstance(process, SDE) else set(getattr(process, "sweepable", ()))
    for name in sweep:
        if name not in known:
            raise ValueError(f"sweep: expected parameters among {', '.join(sorted(known)) or '(none)'}, got {name!r}")
    return {name: finite_array(f"sweep[{name!r}]", values, ndim=1) for name, values in sweep.items()}


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


@dataclass(frozen=True)
class _FixedStart:
    """The same start for every path (rows, 1), or one start a path (rows, n_paths), again in every cell."""

    states: NDArray[np.float64]

    def __call__(self, first: int, n: int) -> NDArray[np.float64]:
        period = self.states.shape[1]
        begin = first % period
        if period == 1 or begin + n <= period:
            return self.states[:, begin:begin + n]
        if begin == 0 and n % period == 0:
            return np.tile(self.states, n // period)
        return self.states.take(np.arange(begin, begin + n), axis=1, mode="wrap")


@dataclass(frozen=True)
class _SampledStart:
    """A start drawn for each path from its own random numbers."""

    distribution: Any
    key: int
    initial_state: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None

    def __call__(self, first: int, n: int) -> NDArray[np.float64]:
        block = np.empty((self.distribution.dim, n))
        self.distribution.sample_block(block, first, np.uint64(self.key))
        return block if self.initial_state is None else self.initial_state(np.ascontiguousarray(block.T)).T


def start_of(process: Any, x0: Any, n_paths: int, swept: tuple[str, ...], seeds: np.random.SeedSequence) -> Any:
    """The starting states of the paths: one point, one a path, or draws of a distribution."""
    dim = process.dim
    into_state = partial(process.initial_state, swept=swept) if hasattr(process, "initial_state") else None
    if hasattr(x0, "sample_block"):
        if x0.dim != dim:
            raise ValueError(f"x0: expected a distribution on R^{dim}, got one on R^{x0.dim}")
        return _SampledStart(x0, int(stream_key(seeds, "initial")), into_state)
    array = np.atleast_1d(finite_array("x0", x0))
    if array.shape not in ((dim,), (n_paths, dim)):
        raise ValueError(f"x0: expected shape ({dim},) or (n_paths, {dim}) = ({n_paths}, {dim}), got {array.shape}")
    states = array.reshape(-1, dim)
    return _FixedStart(np.ascontiguousarray((states if into_state is None else np.atleast_2d(into_state(states))).T))
