r"""What a process is: a state, a step, and what can be seen of it.

.. math:: X_0^{(p)} = \iota(x^{(p)}), \qquad X_{k+1} = \Phi_k(X_k;\, \theta, N_k), \qquad O_k = o(X_k)

The step Φ has parameters θ, of which some may be swept, and its own random numbers N_k; o are the observables. The clock says
what k counts: steps, or a time grid t_k = t_0 + k dt. Update rules and maps are processes; so is an SDE under a scheme
(`schemes.process_of`). `simulate` and `expect` ask a process for what stands here, and for nothing else.
"""

from __future__ import annotations

import difflib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
import sympy
from numpy.typing import NDArray

from .engine import Program
from .starts import Points, Start
from .validation import Bounds, explain_construction

__all__ = ["Observed", "Process", "about", "named_observables", "shown", "start_states", "swept_values"]

#: what is observed: a name that the process knows, a SymPy expression, or a Python function of the state
Observed: TypeAlias = str | sympy.Expr | Callable[..., Any]


class Process(ABC):
    """What `simulate` and `expect` take: a subclass says what its state is and writes the program of its step."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        explain_construction(cls)

    #: what its time counts: steps, or a grid of times
    clock: ClassVar[Literal["step", "time"]] = "step"

    @property
    @abstractmethod
    def dim(self) -> int:
        """Numbers that a start has."""

    @property
    @abstractmethod
    def observables(self) -> tuple[str, ...]:
        """Names that can be observed."""

    @abstractmethod
    def write(self, observed: Mapping[str, Observed], swept: tuple[str, ...]) -> Program:
        """The program of a step that saves what is observed, under the names of the mapping."""

    @property
    def saved(self) -> tuple[str, ...]:
        """What is observed unless told: the first of the names."""
        return self.observables[:1]

    @property
    def parameters(self) -> Mapping[str, Bounds]:
        """Parameters that may be swept, and what they may be."""
        return {}

    @property
    def label(self) -> str:
        """How the process steps: the name of its scheme, or of its class."""
        return type(self).__name__

    def initial_state(self, x0: NDArray[np.float64], swept: tuple[str, ...] = ()) -> NDArray[np.float64]:
        """States (n, rows) of paths that start at x0 (n, dim)."""
        return x0

    def schedule_table(self, n_steps: int, dt: float = 1.0, t0: float = 0.0) -> NDArray[np.float64]:
        """Parameters of every step, shape (n_steps, k), or (1, k) where all are constant."""
        return np.zeros((1, 1))

    def under(self, scheme: Any) -> Process:
        """The process under a scheme; most step themselves, and have none."""
        if scheme is not None:
            raise ValueError(f"scheme: expected None for {type(self).__name__}, got {scheme!r}; it steps itself")
        return self

    def expression(self, name: str, expression: sympy.Expr) -> sympy.Expr:
        """Check an expression that is to be observed; a process whose state has no symbols refuses all."""
        raise TypeError(f"{name}: expected a name or a function of the state for {type(self).__name__}, got the expression "
                        f"{expression}; its names are {', '.join(self.observables)}")

    def program(self, observe: Any = None, swept: Sequence[str] = ()) -> Program:
        """The program of a step that saves what `observe` says (see `simulate`), with the parameters `swept` one a path."""
        return self.write(named_observables(self, observe), tuple(swept))


def named_observables(process: Process, observe: Any, argument: str = "observe") -> dict[str, Observed]:
    """What `observe` asks for, by name: one thing, a sequence, or a mapping of name to thing.

    A thing is a name that the process knows, a SymPy expression in its states, or a function of its state. Of a sequence
    names keep theirs, functions too; an expression without a name is called `observable_i` by its place.

    Raises
    ------
    ValueError, TypeError
        For a name that the process does not know, what is no observable, and two of one name.
    """
    if observe is None:
        return {name: name for name in process.saved}
    if isinstance(observe, Mapping):
        things = list(observe.items())
    else:
        several = isinstance(observe, Sequence | set | frozenset | np.ndarray) and not isinstance(observe, str)
        things = [(_own_name(process, thing, i), thing) for i, thing in enumerate(observe if several else [observe])]
    found: dict[str, Observed] = {}
    for name, thing in things:
        if not isinstance(name, str) or not name:
            raise TypeError(f"{argument}: expected strings as names, got {name!r} for {thing!r}")
        if name in found:
            raise ValueError(f"{argument}: expected each name once, got {name!r} twice; give a mapping of names to observables")
        found[name] = _observed(process, name, thing, argument)
    if not found:
        raise ValueError(f"{argument}: expected at least one observable, got none; names are {', '.join(process.observables)}")
    return found


def _own_name(process: Process, thing: Any, i: int) -> str:
    if isinstance(thing, str):
        return thing
    name = thing.name if isinstance(thing, sympy.Symbol) else getattr(thing, "__name__", "")
    return name if name in process.observables or name.isidentifier() else f"observable_{i}"


def _observed(process: Process, name: str, thing: Any, argument: str) -> Observed:
    where = f"{argument}: {name}" if name != thing and argument == "observe" else argument
    if isinstance(thing, str):
        if thing not in process.observables:
            near = difflib.get_close_matches(thing, process.observables, n=1)
            raise ValueError(f"{argument}: expected names among {', '.join(process.observables)}, an expression in them or a "
                             f"function of the state, got {thing!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        return thing
    if isinstance(thing, sympy.Basic | int | float | np.number) and not isinstance(thing, bool):
        expression = sympy.sympify(thing)
        if not isinstance(expression, sympy.Expr):
            raise TypeError(f"{where}: expected an expression that is one number, got {thing!r} of type {type(thing).__name__}; "
                            "observe its parts one by one")
        return process.expression(where, expression)
    if not callable(thing):
        raise TypeError(f"{where}: expected a name ({', '.join(process.observables)}), an expression or a function of the state, "
                        f"got {thing!r}")
    return thing


def about(observed: Mapping[str, Observed]) -> dict[str, str]:
    """What is observed under each name, where it is no name itself: for people."""
    return {name: "" if what == name else what if isinstance(what, str) else f"function {getattr(what, '__name__', '')}".strip()
            if callable(what) and not isinstance(what, sympy.Basic) else str(what) for name, what in observed.items()}


def shown(value: Any) -> str:
    """The repr of a value, without addresses of this process: the same in every run."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def swept_values(process: Process, sweep: Mapping[Any, Any] | None) -> dict[str, NDArray[np.float64]]:
    """The values of each swept parameter, by name, inside its bounds; a symbol stands for its name."""
    if sweep is not None and not isinstance(sweep, Mapping):
        raise TypeError(f"sweep: expected a mapping of parameters to values, got {sweep!r}; sweep={{'lr': [0.1, 0.2]}}")
    known, found = process.parameters, {}
    for key, values in (sweep or {}).items():
        name = key.name if isinstance(key, sympy.Symbol) else key
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            raise ValueError(f"sweep: expected parameters among {', '.join(sorted(known)) or '(none)'}, got {name!r}"
                             + (f"; did you mean {near[0]!r}?" if near else ""))
        if name in found:
            raise ValueError(f"sweep: expected each parameter once, got {name!r} twice")
        found[name] = known[name].check_all(f"sweep[{name!r}]", values)
    return found


class States(Protocol):
    """The states (rows, n) in which paths first … first + n − 1 begin; one column where all begin in the same."""

    def __call__(self, first: int, n: int, /) -> NDArray[np.float64]: ...


def start_states(process: Process, start: Start, swept: tuple[str, ...], key: int) -> States:
    """The states in which paths begin, for the engine: given ones, or drawn with this key."""
    into_state = partial(process.initial_state, swept=swept)
    if isinstance(start, Points):
        return _Given(np.ascontiguousarray(np.atleast_2d(into_state(start.points)).T))
    return _Drawn(start, key, into_state)


@dataclass(frozen=True)
class _Given:
    """The same state for every path (rows, 1), or one a path (rows, n_paths), again in every cell."""

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
class _Drawn:
    """A state for each path, of its own random numbers."""

    start: Start
    key: int
    into_state: Callable[[NDArray[np.float64]], NDArray[np.float64]]

    def __call__(self, first: int, n: int) -> NDArray[np.float64]:
        block = np.empty((self.start.dim, n))
        self.start.sample_block(block, first, np.uint64(self.key))
        return self.into_state(np.ascontiguousarray(block.T)).T
