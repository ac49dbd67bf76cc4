"""A block of paths at work: its arrays, the driver that takes it through its steps, and noise drawn ahead for one long path."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.abi import RUN, RUN_REALS, RUN_TABLE, TREE
from ..kernels.compilation import Kernel
from ..random.fill import draw_kernel
from .driver import TILE
from .plan import Plan

__all__ = ["Block", "address"]

AHEAD = 2**18  # steps in a piece of noise that another thread draws for one long path: a millisecond of work

_AT = {name: i for i, name in enumerate(RUN_TABLE)}
_LEG = slice(_AT["first_path"], _AT["n_saves"] + 1)  # what changes from leg to leg

_RUN, _TREE = (Kernel(name, signature, module="sdetheory.engine.driver")
               for name, signature in (("run", RUN), ("brownian_tree", TREE)))


def address(array: NDArray[Any]) -> int:
    """Where an array's numbers begin; `array.ctypes.data` says the same, in three times the time."""
    return array.__array_interface__["data"][0]


class Block:
    """The arrays of a block of so many lanes, and the driver that takes it through its steps; used again from block to block.

    They lie one after the other in one piece of memory, and each begins with a cache line: a vector that spans two lines takes
    twice as long to load.
    """

    def __init__(self, plan: Plan, lanes: int, saves: int, ahead: bool = False) -> None:
        program = plan.program
        self.plan, self.lanes, batch = plan, lanes, plan.batch()
        self._width = program.width
        m, n = ([noise.rows for noise in program.noise] + [0, 0])[:2]
        sizes = {"X": program.rows * lanes, "B": 0 if program.marks_divergence else program.rows * lanes,
                 "S": program.scratch * lanes, "D": lanes, "P": program.swept * lanes, "Z": batch * m * lanes,
                 "V": batch * n * lanes, "F": batch * m * plan.substeps * lanes if plan.substeps > 1 else 0,
                 "OUT": saves * (program.width * lanes + TILE)}
        begins, total = {}, 0
        for name, size in sizes.items():
            begins[name], total = total, total + -(-size // TILE) * TILE
        memory = np.empty(total + TILE)
        at = (-address(memory) % 64) // 8
        place = {name: address(memory) + 8 * (at + begin) for name, begin in begins.items()}

        def array(name: str) -> NDArray[np.float64]:
            return memory[at + begins[name]:at + begins[name] + sizes[name]]

        self.X, self.P = array("X").reshape(program.rows, lanes), array("P").reshape(program.swept, lanes)
        self.D, self.OUT, self.out = array("D"), array("OUT").reshape(saves, -1), place["OUT"]
        calls = program.observe_calls
        self.observers = np.array([[call.kernel.address, address(call.constants), observable.rows]
                                   for call, observable in zip(calls, program.observables, strict=True)],
                                  dtype=np.int64).reshape(-1, 3)
        draws = [draw_kernel(noise.kind, in_time=lanes == 1).address if noise.rows else 0 for noise in program.noise] + [0, 0]
        advance = program.advance_call
        self._table = np.zeros(len(RUN_TABLE), dtype=np.int64)
        self._table_address = address(self._table)
        self._set(advance=advance.kernel.address, advance_constants=address(advance.constants), observers=address(self.observers),
                  n_observers=len(calls), draw_Z=draws[0], draw_V=draws[1], tree=_TREE.address if plan.substeps > 1 else 0,
                  rows=program.rows, lanes=lanes, batch=batch, substeps=plan.substeps, z_rows=m, v_rows=n,
                  with_area=int(program.with_area), T=address(plan.schedules), T_rows=len(plan.schedules), width=program.width,
                  watched=int(not program.marks_divergence), **place)
        self._table[[_AT["key_Z"], _AT["key_V"]]] = np.array(plan.keys, dtype=np.uint64).view(np.int64)
        self._table[[_AT[name] for name in RUN_REALS]] = np.array([*plan.scales, plan.t0, plan.dt]).view(np.int64)
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

    def advance(self, saves: NDArray[np.int64]) -> None:
        """Go on to the steps `saves`, and leave in OUT what is observed at each."""
        if self._ahead is None:
            self._run(saves)
            return
        for n, save in enumerate(saves):
            last = False
            while not last:
                Z, ready = self._ahead.noise(self.path, self.step)
                stop = min(int(save), self.step + ready)
                last = stop == save
                seen = (len(self.observers), self._width) if last else (0, 0)
                self._set(Z=Z, ready=ready, n_observers=seen[0], width=seen[1], OUT=self.out + 8 * n * self.OUT.shape[1])
                self._run(np.array([stop]))

    def _set(self, **values: int) -> None:
        for name, value in values.items():
            self._table[_AT[name]] = value

    def close(self) -> None:
        """End the thread that draws ahead, if there is one."""
        if self._ahead is not None:
            self._ahead.close()

    def _run(self, saves: NDArray[np.int64]) -> None:
        self._table[_LEG] = self.path, self.step, address(saves), saves.size
        status = _RUN.call(self._table_address)
        if status != 0:
            raise RuntimeError(f"simulate: a function that was compiled into the kernel raised an exception, in steps "
                               f"{self.step} to {saves[-1]} of paths {self.path} to {self.path + self.lanes - 1}; call it from "
                               "Python on states of these paths to see which")
        self.step = int(saves[-1])


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
