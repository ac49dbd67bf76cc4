"""The plan of an ensemble: all that one block of paths needs, whoever runs it, wherever."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..kernels.functions import fingerprint
from .program import Program

__all__ = ["Plan"]

# numbers that a chunk takes a step further: some milliseconds, beside which its fixed cost is small, and half a second
CHUNK_WORK, LARGEST_CHUNK_WORK = 2**22, 2**28
LARGEST_CHUNK = 2**22  # paths: what a chunk knows of each of them, a step at which it diverged, takes 32 MiB
SAVED_NUMBERS = 2**17  # of a block between two visits to Python: what is saved stays in the second cache


@dataclass(frozen=True)
class Plan:
    """Everything that one chunk of blocks needs; picklable, so that it travels to another process.

    `n_paths` counts the paths of all cells of a sweep, `cell_paths` those of one. `start(first_path, n)` gives the
    starting states of n paths, shape (rows, n); `per_path(first_path, n)` the swept parameters, shape (parameters, n).
    `keep_paths` and `keep_diverged_at`: whether what is saved, and the step at which a path diverged, are kept path by path.
    `seed` says where the keys come from, for people.
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
    keep_diverged_at: bool
    single: bool
    seed: str = ""

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

    def cells(self, first_block: int, last_block: int) -> range:
        """The cells that these blocks touch."""
        first, last = first_block * self.block_paths, min(last_block * self.block_paths, self.n_paths)
        return range(first // self.cell_paths, (last - 1) // self.cell_paths + 1)

    def paths(self, first_block: int, last_block: int) -> int:
        """How many paths these blocks hold."""
        return min(last_block * self.block_paths, self.n_paths) - first_block * self.block_paths

    def saves_together(self) -> int:
        """Saves that a block keeps before they are put away."""
        return min(self.save_steps.size, max(1, SAVED_NUMBERS // (self.program.width * self.block_paths)))

    def blocks_per_chunk(self, chunk_size: int | None = None) -> int:
        """Blocks that are run, and kept in a checkpoint, together: by their work, not by the cores that happen to be there."""
        if chunk_size is not None:
            return max(1, chunk_size // self.block_paths)
        steps = int(self.save_steps[-1]) - self.program.first_step
        work = self.block_paths * (self.program.rows + 1) * max(1, steps)
        large = min(self.n_blocks // 64, LARGEST_CHUNK_WORK // work, LARGEST_CHUNK // self.block_paths)
        return max(1, min(max(CHUNK_WORK // work, large), self.n_blocks // 16))

    def batch(self) -> int:
        """Steps drawn at once: few enough for the cache, and an even number of normals."""
        if not any(noise.rows for noise in self.program.noise):
            return 8192 if self.single else 64  # nothing to draw: what costs is looking for divergence, once a batch
        rows = max(1, sum(noise.rows for noise in self.program.noise)) * self.substeps
        steps = int(self.save_steps[-1]) - self.program.first_step
        return max(2, min(8192 // rows if self.single else 2 * (8 // (2 * rows)), steps + steps % 2))

    def fingerprint(self) -> str:
        """A hash of everything that decides the numbers, the chunks' borders aside."""
        lanes = self.block_paths if self.program.fixed_lanes or not self.keep_paths else 0
        return fingerprint([self.program.fingerprint(), self.n_paths, self.cell_paths, self.start, self.per_path, self.schedules,
                            self.save_steps, self.keys, self.scales, self.t0, self.dt, self.substeps, self.keep_paths,
                            self.keep_diverged_at, lanes, self.single])
