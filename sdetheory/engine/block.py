"""A block of paths at work: its arrays, the driver that takes it through its steps, and noise drawn ahead for one long path."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..kernels.abi import RUN, TREE, RunTable, address
from ..kernels.compilation import Kernel
from ..random.fill import draw_kernel
from .driver import TILE
from .plan import Plan

__all__ = ["Block", "array_sizes"]

AHEAD = 2**18  # steps in a piece of noise that another thread draws for one long path: a millisecond of work

_RUN, _TREE = (Kernel(name, signature, module="sdetheory.engine.driver")
               for name, signature in (("run", RUN), ("brownian_tree", TREE)))


def array_sizes(plan: Plan, lanes: int, saves: int) -> dict[str, int]:
    """How many numbers each array of a block holds that keeps so many saves."""
    program, batch = plan.program, plan.batch()
    m, n = ([noise.rows for noise in program.noise] + [0, 0])[:2]
    return {"X": program.rows * lanes, "B": 0 if program.marks_divergence else program.rows * lanes,
            "S": program.scratch * lanes, "D": lanes, "P": program.swept * lanes, "Z": batch * m * lanes,
            "V": batch * n * lanes, "F": batch * m * plan.substeps * lanes if plan.substeps > 1 else 0,
            "OUT": saves * (program.width * lanes + TILE)}


class Block:
    """The arrays of a block of so many lanes, and the driver that takes it through its steps; used again from block to block.

    They lie one after the other in one piece of memory, and each begins with a cache line: a vector that spans two lines takes
    twice as long to load.
    """

    def __init__(self, plan: Plan, lanes: int, saves: int, ahead: bool = False) -> None:
        program = plan.program
        self.plan, self.lanes, batch, width = plan, lanes, plan.batch(), program.width
        m, n = ([noise.rows for noise in program.noise] + [0, 0])[:2]
        sizes = array_sizes(plan, lanes, saves)
        memory = np.empty(sum(sizes.values()) + TILE * (len(sizes) + 1))
        start = address(memory)
        arrays, places, at = {}, {}, -start % 64 // 8
        for name, size in sizes.items():
            arrays[name], places[name] = memory[at:at + size], start + 8 * at
            at += -(-size // TILE) * TILE
        self.X, self.P = arrays["X"].reshape(program.rows, lanes), arrays["P"].reshape(program.swept, lanes)
        self.D, self.OUT, self.out = arrays["D"], arrays["OUT"].reshape(saves, -1), places["OUT"]
        advance, observe = program.advance_call, program.observe_calls
        self._observers = np.array([[call.kernel.address, call.constants, observable.rows]
                                    for call, observable in zip(observe, program.observables, strict=True)], dtype=np.int64)
        draws = [draw_kernel(noise.kind, in_time=lanes == 1).address if noise.rows else 0 for noise in program.noise] + [0, 0]
        self._table = RunTable(
            advance=advance.kernel.address, advance_constants=advance.constants, observers=address(self._observers),
            n_observers=len(observe), draw_Z=draws[0], draw_V=draws[1], tree=_TREE.address if plan.substeps > 1 else 0,
            rows=program.rows, lanes=lanes, batch=batch, substeps=plan.substeps, z_rows=m, v_rows=n, with_area=program.with_area,
            key_Z=plan.keys[0], key_V=plan.keys[1], scale_Z=plan.scales[0], scale_V=plan.scales[1], t0=plan.t0, dt=plan.dt,
            T=address(plan.schedules), T_rows=len(plan.schedules), width=width, watched=not program.marks_divergence, **places)
        self._save_steps = address(plan.save_steps)
        self._ahead = _NoiseAhead(plan, draws[0], m) if ahead and _worth_drawing_ahead(plan, lanes, m, n) else None

    def begin(self, path: int, n: int) -> None:
        """Put n paths from `path` on at their start; lanes beyond them repeat the first."""
        self.path, self.step = path, self.plan.program.first_step
        self.X[:, :n] = self.plan.start(path, n)
        self.X[:, n:] = self.X[:, :1]
        if self.plan.program.swept:
            self.P[:, :n] = self.plan.per_path(path, n)
            self.P[:, n:] = self.P[:, :1]
        self.D[:] = np.inf

    def advance(self, begin: int, end: int) -> None:
        """Go on to the saves begin … end − 1, and leave in OUT what is observed at each."""
        if self._ahead is None:
            self._run(self._save_steps + 8 * begin, end - begin, int(self.plan.save_steps[end - 1]))
            return
        table = self._table
        for save in range(begin, end):
            table.OUT, table.n_observers, table.width = self.out + 8 * (save - begin) * self.OUT.shape[1], 0, 0
            last = False
            while not last:
                table.Z, table.ready = self._ahead.noise(self.path, self.step)
                stop = np.minimum(self.plan.save_steps[save:save + 1], self.step + table.ready)
                last = stop[0] == self.plan.save_steps[save]
                if last:
                    table.n_observers, table.width = len(self._observers), self.plan.program.width
                self._run(address(stop), 1, int(stop[0]))

    def close(self) -> None:
        """End the thread that draws ahead, if there is one."""
        if self._ahead is not None:
            self._ahead.close()

    def _run(self, saves: int, n_saves: int, last: int) -> None:
        """The driver, to the `n_saves` steps at the address `saves`, of which `last` is the last."""
        table = self._table
        table.first_path, table.first_step, table.saves, table.n_saves = self.path, self.step, saves, n_saves
        status = _RUN.call(ctypes.addressof(table))
        if status != 0:
            raise RuntimeError(f"simulate: a function that was compiled into the kernel raised an exception, in steps "
                               f"{self.step} to {last} of paths {self.path} to {self.path + self.lanes - 1}; call it from "
                               "Python on states of these paths to see which")
        self.step = last


def _worth_drawing_ahead(plan: Plan, lanes: int, m: int, n: int) -> bool:
    """Whether one long path, with noise of one kind on its own grid, is all there is to do."""
    steps = int(plan.save_steps[-1]) - plan.program.first_step
    return lanes == 1 and plan.n_paths == 1 and m > 0 and n == 0 and plan.substeps == 1 and steps >= 4 * AHEAD


class _NoiseAhead:
    """The noise of one long path, drawn by a second thread one piece ahead of the steps that take it."""

    def __init__(self, plan: Plan, draw: int, m: int) -> None:
        self._draw = draw_kernel(plan.program.noise[0].kind, in_time=True)
        self._m, self._key, self._scale = m, plan.keys[0], plan.scales[0]
        self._pieces = [np.empty(AHEAD * m) for _ in range(2)]
        self._pool = ThreadPoolExecutor(1)
        self._begin, self._here = -1, 0
        self._next: Any = None

    def _submit(self, piece: int, path: int, step: int) -> Any:
        return self._pool.submit(self._fill, piece, path, step)  # a method: the pieces live while they are being written

    def _fill(self, piece: int, path: int, step: int) -> None:
        self._draw.call(address(self._pieces[piece]), AHEAD * self._m, 1, path, step * self._m, self._key, self._scale)

    def noise(self, path: int, step: int) -> tuple[int, int]:
        """Where the noise of `step` lies, and for how many steps from there on; the piece after it is then being drawn."""
        if not self._begin <= step < self._begin + AHEAD or self._begin < 0:
            ready = self._next if self._begin >= 0 and step == self._begin + AHEAD else self._submit(1 - self._here, path, step)
            ready.result()
            self._begin, self._here = step, 1 - self._here
            self._next = self._submit(1 - self._here, path, step + AHEAD)
        at = step - self._begin
        return address(self._pieces[self._here]) + 8 * at * self._m, AHEAD - at

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(cancel_futures=True)
