"""A step while it is written: names of rows, parameters and constants become the text of a kernel.

A process says what happens in a step by calling block functions on *names*. Which rows of which array they are, how the
random numbers of a step are counted, where scratch lies: all of that is decided here and nowhere else.

`Step` writes one step and puts the loop over steps around it; `Steps` calls functions that take many steps at once;
`Observer` writes what is saved. What they share is `Writer`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..kernels import lanes
from .program import BlockFunction, Noise, Observable, Program

__all__ = ["Name", "Observer", "Rows", "Step", "Steps", "Writer"]

#: names that the text around a step uses itself
_TAKEN = {"X", "Z", "V", "S", "T", "P", "D", "K", "OUT", "S_", "step", "n_steps", "t0", "dt", "lanes", "T_rows", "first_step", "j", "k",
          "lane", "point", "source", "array_at", "integers_at", "float_of", "prefer_512", "np", "math", "min", "max", *lanes.__all__}


class Name:
    """What the text calls something; it may depend on what is written later, and is asked for at the end."""

    def __init__(self, text: str | Callable[[], str]) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text if isinstance(self._text, str) else self._text()


class Rows(Name):
    """`count` rows of an array from row `first` on; `rows[i]` is one of them, with one value a lane."""

    def __init__(self, array: str, first: str | int | Callable[[], str], count: int) -> None:
        self.array, self.first, self.count = array, first, count
        super().__init__(lambda: f"{array}[{self._begin()}:{self._begin()} + {count}]" if callable(first)
                         else f"{array}[{first}:{int(first) + count}]")

    def _begin(self) -> str:
        return self.first() if callable(self.first) else str(self.first)

    def __getitem__(self, i: int | Name) -> Name:
        return Name(lambda: f"{self.array}[{self._begin()} + {i}]")


class Writer:
    """Statements under construction: the functions they name, the constants and the scratch that these take.

    Parameters
    ----------
    state : mapping of name to number of rows
        The blocks of the state, in their order; each is an attribute, and so is each hyperparameter, and `dt`.
    hyperparameters : sequence of str
        The columns of the table of schedules.
    swept : sequence of str
        Hyperparameters with a value of their own in every lane.
    """

    def __init__(self, state: Mapping[str, int], hyperparameters: Sequence[str] = (), swept: Sequence[str] = ()) -> None:
        self.state, self.hyperparameters, self.swept = dict(state), tuple(hyperparameters), tuple(swept)
        self.fixed_lanes = False
        self._functions: dict[str, Any] = {}
        self._constants: dict[str, Any] = {}
        self._lines: list[tuple[int, Callable[[], str]]] = []
        self._depth, self._scratch, self._lent, self._bound = 0, 0, 0, set[str]()
        self._names: dict[str, Name] = {"dt": Name("dt")}
        first = 0
        for name, rows in self.state.items():
            self._names[name] = Rows("X", first, rows)
            first += rows
        self.rows = first

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self.hyperparameters:
            self._bound.add(name)
            return Name(name)
        if name not in self._names:
            raise AttributeError(f"{type(self).__name__}: no name {name!r} in this step; it has "
                                 f"{', '.join([*self._names, *self.hyperparameters])}")
        return self._names[name]

    @property
    def scratch_rows(self) -> int:
        """Rows of scratch that the statements take: their own, and those lent to the functions that they call."""
        return self._scratch + self._lent

    def scratch(self, rows: int) -> Rows:
        """A block of rows that keeps its values until the end of the step."""
        block = Rows("S", self._scratch, rows)
        self._scratch += rows
        return block

    def scratch_row(self) -> Name:
        """One row of scratch: a value a lane."""
        return self.scratch(1)[0]

    def side_by_side(self, name: str, rows: int) -> None:
        """Name scratch (lanes, rows) that lives as long as the block: the numbers of a lane lie side by side. Ask for it first."""
        self._names[name] = Name(f"array_at(S_ + {8 * self._scratch} * lanes, (lanes, {rows}))")
        self._scratch += rows

    def constant(self, value: Any) -> Name:
        """A number or an array that is data of the kernel, not text: another value is not another kernel."""
        name = f"constant_{len(self._constants)}"
        self._constants[name] = value
        return Name(name)

    def call(self, function: Any, *arguments: Name | float | int) -> None:
        """Call a block function; a `BlockFunction` brings its constants, and is lent the scratch that nobody named."""
        texts: list[Any] = [repr(float(a)) if isinstance(a, float) else a for a in arguments]
        if isinstance(function, BlockFunction):
            self._lent = max(self._lent, function.scratch)
            self.fixed_lanes = self.fixed_lanes or function.fixed_lanes
            texts += [Name(lambda: f"S[{self._scratch}:]"), *map(self.constant, function.constants)]
            function = function.function
        name = self._name_of(function)
        self._write(lambda: f"{name}({', '.join(map(str, texts))})")

    def copy(self, source: Name, into: Name) -> None:
        """into ← source, for blocks."""
        self._write(lambda: f"copy_rows({source}, {into})")

    def call_per_lane(self, function: Any, source: Rows, into: Name) -> None:
        """into ← function(point), for the column `source` of every lane as a vector: a function from outside."""
        name = self._name_of(function)
        self._write(lambda: "\n".join([f"point, source = np.empty({source.count}), {source}", "for lane in range(lanes):",
                                        f"    for i in range({source.count}):", "        point[i] = source[i, lane]",
                                        f"    {into}[lane] = {name}(point)"]))

    @contextmanager
    def loop(self, n: int) -> Iterator[Name]:
        """Statements that are repeated for i = 0 … n − 1."""
        index = f"i_{self._depth}"
        self._write(lambda: f"for {index} in range({n}):")
        self._depth += 1
        yield Name(index)
        self._depth -= 1

    def _write(self, line: Callable[[], str]) -> None:
        self._lines.append((self._depth, line))

    def _name_of(self, function: Any) -> str:
        for name, known in self._functions.items():
            if known is function:
                return name
        wanted = getattr(function, "__name__", "")
        taken = {*_TAKEN, *self.hyperparameters, *self._functions}
        if not (wanted.isidentifier() and wanted.isascii()) or wanted in taken or wanted.startswith(("constant_", "i_")):
            wanted = f"function_{len(self._functions)}"
        self._functions[wanted] = function
        return wanted

    def _text(self, step: str) -> str:
        """All statements, after those that bind the hyperparameters of step number `step`."""
        bound = [name for name in self.hyperparameters if name in self._bound]
        lines = [f"k = min({step}, T.shape[0] - 1)"] if any(name not in self.swept for name in bound) else []
        lines += [f"{name} = P[{self.swept.index(name)}]" if name in self.swept
                  else f"{name} = T[k, {self.hyperparameters.index(name)}]" for name in bound]
        return "\n".join([*lines, *("    " * depth + line() for depth, line in self._lines)])


class Observer(Writer):
    """Writes one observable: `out` is its row, or, where the rows have a dimension of their own, its block."""

    def __init__(self, state: Mapping[str, int], hyperparameters: Sequence[str] = (), swept: Sequence[str] = (), *,
                 rows: int = 1, dim: str | None = None) -> None:
        super().__init__(state, hyperparameters, swept)
        self.out_rows, self.dim = rows, dim
        self._names.update(out=Name("OUT" if dim else "OUT[0]"), step=Name("step"), first_step=Name("first_step"), whole=Name("X"),
                           whole_state=Rows("X", 0, self.rows))

    def observable(self, name: str, about: str = "") -> Observable:
        """What has been written, under a name."""
        return Observable(name, self.out_rows, self._text("step"), self.dim, self._functions, self._constants, about)


class Step(Writer):
    """Writes one step of a process; the loop over steps is put around it."""

    def __init__(self, state: Mapping[str, int], hyperparameters: Sequence[str] = (), swept: Sequence[str] = ()) -> None:
        super().__init__(state, hyperparameters, swept)
        self._drawn: list[Noise] = []

    def draw(self, kind: str, rows: int, stream: str = "path") -> Rows:
        """`rows` random numbers of a kind that this step alone has; at most two pairs of kind and stream in a step."""
        here = [i for i, noise in enumerate(self._drawn) if (noise.kind, noise.stream) == (kind, stream)]
        at = here[0] if here else len(self._drawn)
        if not here:
            if at == 2:
                raise ValueError(f"draw: expected at most two kinds of random numbers in a step, got {kind!r} beside "
                                 f"{self._drawn}; draw the same kind, or make one of another in a block function")
            self._drawn.append(Noise(kind, 0, stream))
        offset = self._drawn[at].rows
        self._drawn[at] = Noise(kind, offset + rows, stream)
        return Rows("ZV"[at], lambda: f"j * {self._drawn[at].rows} + {offset}", rows)

    def program(self, observers: Mapping[str, Observer], about: Mapping[str, str] | None = None) -> Program:
        """The program whose step has been written, and what it saves."""
        live = self.rows + next(iter(self.state.values())) + sum(noise.rows for noise in self._drawn)
        return _program(self, "for j in range(n_steps):\n" + textwrap.indent(self._text("step + j") or "pass", "    "),
                        tuple(self._drawn), observers, about or {}, int(np.clip(2 ** int(np.log2(65536 / live)), 64, 512)), False)


class Steps(Writer):
    """Writes what takes the block `whole` through all `n_steps` steps of a call, with hyperparameters that are constant."""

    def __init__(self, state: Mapping[str, int], hyperparameters: Sequence[str] = (), swept: Sequence[str] = ()) -> None:
        super().__init__(state, hyperparameters, swept)
        self._names.update({name: Name(name) for name in ("step", "n_steps", "first_step")})
        self._names.update(whole=Name("X"), diverged_at=Name("D"))

    def program(self, observers: Mapping[str, Observer], about: Mapping[str, str] | None = None, *, lanes: int = 128,
                marks_divergence: bool = False) -> Program:
        """The program that has been written, in blocks of so many lanes."""
        return _program(self, self._text("0"), (), observers, about or {}, lanes, marks_divergence)


def _program(steps: Step | Steps, advance: str, noise: tuple[Noise, ...], observers: Mapping[str, Observer],
             about: Mapping[str, str], lanes: int, marks_divergence: bool) -> Program:
    everyone: list[Writer] = [steps, *observers.values()]
    return Program(rows=steps.rows, noise=noise, advance=advance,
                   observables=tuple(o.observable(name, about.get(name, "")) for name, o in observers.items()),
                   functions=steps._functions, constants=steps._constants, scratch=max(w.scratch_rows for w in everyone),
                   lanes=lanes, fixed_lanes=any(w.fixed_lanes for w in everyone), marks_divergence=marks_divergence,
                   hyperparameters=len(steps.hyperparameters), swept=len(steps.swept))
