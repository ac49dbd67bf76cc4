"""Kernels: what a process hands to the engine, as text and the functions that the text calls.

A *block* is a float64 array (rows, lanes): a row is a state component, a column a path. A `BlockFunction` works on blocks;
a `Program` is what the ensemble engine runs: the text of `advance`, which takes a block some steps further, and of one
block function an observable, compiled once by `compilation`.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numba
import numpy as np

from .compilation import compile_source, import_line, importable

WINDOW = 32  # steps between two looks for divergence

__all__ = ["BlockFunction", "Noise", "Observable", "Program", "block_function", "first_divergence", "per_lane"]


def block_function(function: Callable[..., None]) -> Any:
    """Compile a function on blocks: strict IEEE arithmetic, no GIL, division by zero gives inf as in NumPy.

    It is not cached by itself: the generated module that calls it is, under a name that holds its source's hash.
    """
    return numba.njit(nogil=True, error_model="numpy")(function)


def per_lane(value: Any, lane: int) -> Any:
    """`value` of this lane: a float is the same in every lane, a row has one value a lane (Numba only)."""
    return value[lane] if isinstance(value, np.ndarray) else value


@numba.extending.overload(per_lane, inline="always")
def _per_lane(value, lane):  # type: ignore[no-untyped-def]
    if isinstance(value, numba.types.Array):
        return lambda value, lane: value[lane]
    return lambda value, lane: value


@numba.njit(nogil=True, error_model="numpy", inline="always")
def first_divergence(known, step, a, b):
    """`known`, or `step` where that is infinite and a or b is not finite: what a program that marks divergence keeps in D."""
    return step if a * 0.0 + b * 0.0 != 0.0 and known == math.inf else known


@dataclass(frozen=True)
class BlockFunction:
    """A block function at module level and the constants (arrays or floats) that it takes as its last arguments.

    `scratch` is the number of scratch rows it wants; `fixed_lanes` says that its rounding depends on how many
    lanes a block has (a BLAS product), so that every block must be full.
    """

    function: Any
    constants: tuple[Any, ...] = ()
    scratch: int = 0
    fixed_lanes: bool = False


@dataclass(frozen=True)
class Noise:
    """`rows` random numbers a step, of one kind ("normal", "uniform", "two_point", "three_point")."""

    kind: str
    rows: int
    stream: str = "path"


@dataclass(frozen=True)
class Observable:
    """What is saved: `rows` numbers a path, written into `OUT[{row}:{row}+rows]` by the statements `text`."""

    name: str
    rows: int
    text: str
    dim: str | None = None


@dataclass(frozen=True)
class Program:
    """What the engine runs (see the kernel contract in CONTRIBUTING.md).

    `advance` holds the statements of `advance(X, Z, V, step, n_steps, t0, dt, S, T, P, D, *constants)`: Z is the first noise, V
    the second (if there are two). `functions` are the names that the text uses; `constants` are passed by name. A program that
    `marks_divergence` writes into D[lane] the first step at which a lane is no longer finite; for the others the engine looks.
    """

    rows: int
    noise: tuple[Noise, ...]
    advance: str
    observables: tuple[Observable, ...]
    functions: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    scratch: int = 0
    lanes: int = 128
    fixed_lanes: bool = False
    with_area: bool = False
    marks_divergence: bool = False

    @property
    def width(self) -> int:
        """Rows that one save writes."""
        return sum(observable.rows for observable in self.observables)

    def source(self) -> str:
        """The text of the module: imports, `advance`, `observe`, and the driver `run` of one block."""
        names = "".join(f", {name}" for name in self.constants)
        observe, row = [], 0
        for observable in self.observables:
            observe.append(observable.text.replace("{row}", str(row)).replace("{end}", str(row + observable.rows)))
            row += observable.rows
        draws = [(buffer, noise) for buffer, noise in zip("ZV", self.noise, strict=False)]
        return _DRIVER.format(
            imports="\n".join(import_line(name, f) for name, f in sorted(self.functions.items()) if importable(f)),
            names=names,
            advance=textwrap.indent(textwrap.dedent(self.advance).strip() or "pass", "    "),
            observe=textwrap.indent("\n".join(textwrap.dedent(text).strip() for text in observe) or "pass", "    "),
            z_rows=self.noise[0].rows if draws else 0,
            v_rows=self.noise[1].rows if len(draws) > 1 else 0,
            draw=textwrap.indent("\n".join(self._draw(*pair) for pair in draws) or "pass", " " * 16),
            window=WINDOW,
            watched="False" if self.marks_divergence else "True",
        )

    def _draw(self, buffer: str, noise: Noise) -> str:
        m = noise.rows
        if buffer == "Z" and noise.kind == "normal":
            return f"draw_brownian(Z, F, n, {m}, {self.with_area}, first_path, at, substeps, keyZ, scaleZ)"
        scale = "" if noise.kind == "uniform" else f", scale{buffer}"
        return f"draw_{noise.kind}({buffer}[:n * {m}], first_path, at * {m}, key{buffer}{scale})"

    def compile(self) -> Callable[..., None]:
        """The compiled driver of one block, from this process, from disk, or built now."""
        if "_run" not in self.__dict__:  # the text takes a tenth of a millisecond, its hash more, and a chunk may take less
            self.__dict__["_run"] = _compiled(self.source(), tuple(sorted(self.functions.items())))
        return self.__dict__["_run"]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_run"}


@lru_cache(maxsize=1024)
def _compiled(source: str, functions: tuple[tuple[str, Any], ...]) -> Callable[..., None]:
    """The driver of this text and these functions, which are held here and so are not mistaken for others."""
    injected = {name: f for name, f in functions if not importable(f)}
    return compile_source(source, dict(functions), injected).run


_DRIVER = '''"""Generated by sdetheory.kernels: one block of paths, advanced and observed. Not to be edited."""

import math

import numpy as np
from numba import njit

from sdetheory.blocks import *
from sdetheory.random import prefer_512
{imports}

inf, nan, pi = math.inf, math.nan, math.pi
watched = {watched}


@njit(nogil=True, error_model="numpy", inline="always")
def advance(X, Z, V, step, n_steps, t0, dt, S, T, P, D{names}):
    prefer_512()
    rows, lanes = X.shape
{advance}


@njit(nogil=True, error_model="numpy", inline="always")
def observe(X, OUT, step, t0, dt, S, T, P{names}):
    prefer_512()
    rows, lanes = X.shape
{observe}


@njit(nogil=True, error_model="numpy", cache=True)
def run(X, first_path, save_steps, batch, substeps, keyZ, keyV, scaleZ, scaleV, t0, dt, S, T, P, D, OUT{names}):
    prefer_512()
    rows, lanes = X.shape
    Z = aligned_block(batch * {z_rows}, lanes)
    V = aligned_block(batch * {v_rows}, lanes)
    F = aligned_block(batch * {z_rows} * substeps if substeps > 1 else 0, lanes)
    B = aligned_block(rows if watched else 0, lanes)
    step = 0
    for save in range(save_steps.size):
        while step < save_steps[save]:
            window = min(max(batch, {window}), save_steps[save] - step)
            if watched:
                B[:] = X
            done, size = 0, batch
            while done < window:
                n, at = min(size, window - done), step + done
{draw}
                advance(X, Z, V, at, n, t0, dt, S, T, P, D{names})
                done += n
                if not watched:
                    continue
                if size == 1:
                    mark_diverged(X, at + 1, D)
                elif done == window and newly_diverged(X, D):  # find the step: the same noise, one step at a time
                    X[:] = B
                    done, size = 0, 1
            step += window
        observe(X, OUT[save], step, t0, dt, S, T, P{names})
        mask_diverged(OUT[save], D)
'''
