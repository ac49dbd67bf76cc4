"""What a process hands to the engine: the text of its step and of its observables, and the functions that these name.

A *block* is a float64 array (rows, lanes): a row is a state component, a column a path. A `Program` is turned into one
kernel for `advance`, which takes a block some steps further, and one kernel per observable, so that processes which share an
observable share its kernel.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.abi import ADVANCE, ADVANCE_NAMES, OBSERVE, OBSERVE_NAMES, address
from ..kernels.compilation import Kernel
from ..random.keys import stream_key

__all__ = ["BlockFunction", "Call", "Noise", "Observable", "Program"]


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
    """What is saved: `rows` numbers a path, written into the rows of `OUT` by the statements `text`.

    `functions` and `constants` are what this text names, apart from those of the step and of other observables;
    `dim` is the dimension that the rows become, and `about` says what was observed, for people.
    """

    name: str
    rows: int
    text: str
    dim: str | None = None
    functions: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""


@dataclass(frozen=True)
class Call:
    """A kernel and the address of the table of the constants it takes: what the driver needs to call it."""

    kernel: Kernel
    constants: int
    held: tuple[NDArray[Any], ...]  # the table, and the arrays whose addresses stand in it


@dataclass(frozen=True)
class Program:
    """What the engine runs (see the kernel contract in CONTRIBUTING.md).

    `advance` holds the statements of one call that takes the block X through `n_steps` steps: Z is the first noise, V the
    second (if there are two), S scratch, T the schedules, P the swept parameters, D the steps of divergence. `functions` are
    the functions that it may name; `constants` are passed by name, and so is `first_step`, where the run begins. A program
    that `marks_divergence` writes into D[lane] the first step at which a lane is no longer finite; for the others the engine
    looks.
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
    hyperparameters: int = 1
    swept: int = 0
    first_step: int = 0

    @property
    def width(self) -> int:
        """Rows that one save writes."""
        return sum(observable.rows for observable in self.observables)

    @cached_property
    def advance_call(self) -> Call:
        """The kernel of `advance`."""
        shapes = {"X": f"({self.rows}, lanes)", "Z": f"(n_steps * {self._noise_rows(0)}, lanes)",
                  "V": f"(n_steps * {self._noise_rows(1)}, lanes)", "D": "(lanes,)"}
        return self._call("advance", self.advance, ADVANCE, ADVANCE_NAMES, shapes, self.functions, self.constants)

    @cached_property
    def observe_calls(self) -> tuple[Call, ...]:
        """The kernels of the observables."""
        return tuple(self._call("observe", o.text, OBSERVE, OBSERVE_NAMES,
                                {"X": f"({self.rows}, lanes)", "OUT": f"({o.rows}, lanes)"}, o.functions, o.constants)
                     for o in self.observables)

    def keys(self, seeds: np.random.SeedSequence) -> tuple[int, int]:
        """The keys of the first and the second kind of noise; 0 where there is none."""
        found = [int(stream_key(seeds, noise.stream)) for noise in self.noise[:2]]
        return (found + [0, 0])[0], (found + [0, 0])[1]

    def build(self) -> None:
        """Find every kernel on disk, or compile it."""
        for call in (self.advance_call, *self.observe_calls):
            _ = call.kernel.address

    def _noise_rows(self, i: int) -> int:
        return self.noise[i].rows if i < len(self.noise) else 0

    def _call(self, name: str, text: str, signature: str, arguments: tuple[str, ...], shapes: dict[str, str],
              functions: Mapping[str, Any], constants: Mapping[str, Any]) -> Call:
        """The kernel of these statements; only what they name is made an array, or taken from the table of constants."""
        named = _names(text)
        shapes = {**shapes, "S": f"({self.scratch}, lanes)", "T": f"(T_rows, {self.hyperparameters})",
                  "P": f"({self.swept}, lanes)"}
        constants = {**constants, "first_step": self.first_step}
        reads, table, held = _constants({key: constants[key] for key in sorted(named & constants.keys())})
        arrays = tuple((array, shape) for array, shape in shapes.items() if array in named)
        used = {key: functions[key] for key in named & functions.keys()}
        return Call(Kernel(name, signature, _source(name, text, arguments, arrays, tuple(reads)), used), address(table), (table, *held))

    def texts(self) -> str:
        """All that is compiled, to be read or to be hashed."""
        return "\n".join(call.kernel.text for call in (self.advance_call, *self.observe_calls))

    def fingerprint(self) -> str:
        """A hash of everything of the program that decides the numbers of a path."""
        from ..kernels.functions import fingerprint

        kernels = [call.kernel.key for call in (self.advance_call, *self.observe_calls)]
        constants = [dict(self.constants), *(dict(o.constants) for o in self.observables)]
        return fingerprint([kernels, [(n.kind, n.rows, n.stream) for n in self.noise], constants, self.rows, self.first_step,
                            self.with_area, self.lanes if self.fixed_lanes else 0])

    def __getstate__(self) -> dict[str, Any]:
        """Without calls, which hold addresses of this process."""
        return {name: value for name, value in self.__dict__.items() if name not in ("advance_call", "observe_calls")}


@lru_cache(maxsize=1024)
def _names(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[A-Za-z_]\w*", text))


@lru_cache(maxsize=1024)
def _source(name: str, text: str, arguments: tuple[str, ...], arrays: tuple[tuple[str, str], ...], reads: tuple[str, ...]) -> str:
    """The function of these statements, which first makes addresses arrays and reads the constants."""
    lines = ["prefer_512()", *(f"{array} = array_at({array}_, {shape})" for array, shape in arrays), *reads,
             textwrap.dedent(text).strip() or "pass", "return 0"]
    return f"def {name}({', '.join(arguments)}):\n" + textwrap.indent("\n".join(lines), "    ") + "\n"


def _constants(values: Mapping[str, Any]) -> tuple[list[str], NDArray[np.int64], tuple[Any, ...]]:
    """Statements that read the constants from a table of integers, that table, and the arrays it points to."""
    if not values:
        return [], np.zeros(1, dtype=np.int64), ()
    lines: list[str] = []
    table: list[int] = []
    held: list[NDArray[Any]] = []
    for name, value in values.items():
        at = len(table)
        if isinstance(value, np.ndarray):
            made, dtype = ("integers_at", np.int64) if value.dtype.kind in "iu" else ("array_at", np.float64)
            array = np.ascontiguousarray(value, dtype=dtype)
            held.append(array)
            table += [address(array), *array.shape]
            shape = ", ".join(f"K[{at + 1 + axis}]" for axis in range(array.ndim))
            lines.append(f"{name} = {made}(K[{at}], ({shape},))")
        elif isinstance(value, int):
            table.append(value)
            lines.append(f"{name} = K[{at}]")
        else:
            table.append(int(np.float64(value).view(np.int64)))
            lines.append(f"{name} = float_of(K[{at}])")
    return [f"K = integers_at(K_, ({len(table)},))", *lines], np.array(table, dtype=np.int64), tuple(held)
