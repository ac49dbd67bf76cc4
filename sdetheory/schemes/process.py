"""An SDE under a scheme is a process: its step is the scheme's one-step map.

The map is an expression, and so is its program. An SDE of Python functions is stepped by Euler–Maruyama, with one call of each
function a path and step.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, singledispatch
from typing import Any, ClassVar

import sympy

from ..callable_sde import CallableSDE
from ..engine import Noise, Program
from ..engine.expressions import expression_code, refuse_without_kernel, unused_name
from ..engine.lane_program import (
    LaneCode,
    euler_code,
    function_code,
    lane_observable,
    lane_program,
    parameter_name,
    state_name,
)
from ..engine.undefined import nan_at_infinity
from ..process import Observed, Process, about
from ..sde import SDE
from ..symbolic.regularity import as_real, refuse_complex
from ..validation import Bounds
from .scheme import Scheme, get

__all__ = ["SDEProcess", "process_of"]


@singledispatch
def process_of(process: Any, scheme: Any = None) -> Process:
    """The process that `simulate` and `expect` run: one as it is, or an SDE under a scheme ("euler_maruyama" unless told)."""
    raise TypeError(f"process: expected an SDE or an update rule, got {process!r}; see sdetheory.dynamics")


@process_of.register
def _(process: Process, scheme: Any = None) -> Process:
    return process.under(scheme)


class SDEProcess(Process):
    """An SDE, stepped by a scheme.

    Parameters
    ----------
    sde : SDE or CallableSDE
        With symbols of any names and assumptions, as long as they may be real: `given`, and `sde` with real ones.
    scheme : Scheme or its name
    """

    clock: ClassVar = "time"

    def __init__(self, sde: SDE | CallableSDE, scheme: Scheme | str) -> None:
        self.given, self.scheme = sde, get(scheme)
        self.sde = sde.real if isinstance(sde, SDE) else sde
        self.scheme.check(self.sde)

    @property
    def dim(self) -> int:
        """Number of states."""
        return self.sde.dim

    @property
    def observables(self) -> tuple[str, ...]:
        """Names of the states."""
        return tuple(symbol.name for symbol in self.sde.states)

    @property
    def saved(self) -> tuple[str, ...]:
        """All states."""
        return self.observables

    @property
    def label(self) -> str:
        """Name of the scheme."""
        return self.scheme.name

    @property
    def parameters(self) -> Mapping[str, Bounds]:
        """The SDE's parameters, bounded by what SymPy assumes of them."""
        return {s.name: _assumed(s) for s in self.given.parameters}

    def expression(self, name: str, expression: sympy.Expr) -> sympy.Expr:
        """Check that an expression has symbols of the SDE alone, and a kernel."""
        known = {s.name: s for s in (*self.given.states, self.given.time, *self.given.parameters)}
        for symbol in sorted(expression.free_symbols - set(known.values()), key=str):
            if symbol.name in known:
                raise ValueError(f"{name}: expected the SDE's own symbol {symbol.name}, got one of that name with other assumptions; "
                                 f"create each symbol once, or take it from sde.states, sde.parameters or sde.time")
            raise ValueError(f"{name}: {expression} has the symbol {symbol.name}, which the SDE has not; its states are "
                             f"{', '.join(self.observables)}")
        expression = expression.xreplace(as_real(expression.free_symbols))
        refuse_complex(name, expression)
        refuse_without_kernel(name, expression)
        return expression

    def write(self, observed: Mapping[str, Observed], swept: tuple[str, ...]) -> Program:
        """The program of the scheme's step."""
        notes, calls = about(observed), tuple(parameter_name(name, i) for i, name in enumerate(swept))
        noise, with_area = self._noise()
        return lane_program(self.step_code(swept), self.dim, noise,
                            [lane_observable(name, self.value_code(what, swept), self.dim, calls, notes[name])
                             for name, what in observed.items()], calls, with_area)

    def value_code(self, what: Observed, swept: tuple[str, ...] = ()) -> LaneCode:
        """Code that computes what is observed."""
        if isinstance(what, str):
            what = self.sde.states[self.observables.index(what)]
        if isinstance(what, sympy.Basic):
            return _value_code(self.sde.states, self.sde.time, what, self._swept_symbols(swept))
        return function_code(self.dim, what)

    def _noise(self) -> tuple[list[Noise], bool]:
        """The random numbers of a step, and whether they come in pairs with the area under the path."""
        rows = self.scheme.increments_shape(self.sde)
        kinds = {increment.role: increment.kind for increment in self.scheme.noise}
        first = [role for role in rows if role != "dV" and rows[role]]
        noise = [Noise(kinds[first[0]] if first else "normal", sum(rows[role] for role in first), "path")]
        if rows.get("dV"):
            noise.append(Noise(kinds["dV"], rows["dV"], "pairs"))
        return noise, "dU" in first

    def _swept_symbols(self, swept: tuple[str, ...]) -> tuple[sympy.Symbol, ...]:
        """The swept parameters in the order of `swept`; ValueError where others have no number."""
        free = sorted(s.name for s in self.sde.parameters if s.name not in swept)
        if free:
            raise ValueError(f"sde: expected a number for every parameter, got free {', '.join(free)}; "
                             f"use sde.subs({{...}}) or simulate(..., sweep={{{free[0]!r}: [...]}})")
        by_name = {s.name: s for s in self.sde.parameters}
        return tuple(by_name[name] for name in swept)

    def step_code(self, swept: tuple[str, ...] = ()) -> LaneCode:
        """Code of one step."""
        if isinstance(self.sde, CallableSDE):
            return euler_code(self.dim, self.sde.noise_dim, self.sde.drift_function, self.sde.diffusion_function)
        return _step_code(self.sde, self.scheme, self._swept_symbols(swept))

    def __repr__(self) -> str:
        return repr(self.given)


@process_of.register(SDE)
@process_of.register(CallableSDE)
def _(process: SDE | CallableSDE, scheme: Any = None) -> Process:
    return SDEProcess(process, "euler_maruyama" if scheme is None else scheme)


def _names(states: tuple[sympy.Symbol, ...], swept: tuple[sympy.Symbol, ...]) -> dict[sympy.Symbol, str]:
    """What states and swept parameters are called in a kernel."""
    return {**{symbol: state_name(i) for i, symbol in enumerate(states)},
            **{symbol: parameter_name(symbol.name, i) for i, symbol in enumerate(swept)}}


def _assumed(symbol: sympy.Symbol) -> Bounds:
    """The bounds that SymPy's assumptions about a symbol put on its values."""
    return Bounds(above=0.0 if symbol.is_positive else None, at_least=0.0 if symbol.is_nonnegative else None,
                  below=0.0 if symbol.is_negative else None, at_most=0.0 if symbol.is_nonpositive else None,
                  whole=bool(symbol.is_integer))


@lru_cache(maxsize=256)
def _value_code(states: tuple[sympy.Symbol, ...], time: sympy.Symbol, what: sympy.Basic, swept: tuple[sympy.Symbol, ...]) -> LaneCode:
    """An expression in the names of a kernel."""
    return expression_code({"value": nan_at_infinity(what)}, {**_names(states, swept), time: "time"})


@lru_cache(maxsize=256)  # an SDE does not change; its step can take a tenth of a second to expand
def _step_code(sde: SDE, scheme: Scheme, swept: tuple[sympy.Symbol, ...]) -> LaneCode:
    """The scheme's step in the names of a kernel."""
    increments = scheme.increment_symbols(sde)
    taken = [s.name for s in (*sde.states, sde.time, *sde.parameters)]
    time = sympy.Symbol(unused_name("time", taken), real=True)
    dt = sympy.Symbol(unused_name("dt", taken), positive=True)
    for i, coefficient in enumerate((*sde.drift, *sde.diffusion)):
        refuse_without_kernel("drift" if i < sde.dim else "diffusion", coefficient)
    step = scheme.one_step(sde, sde.states, time, dt, increments)
    flat = [symbol for role in increments if role != "dV" for symbol in increments[role]]
    names = {**_names(sde.states, swept), time: "time", dt: "dt", **{symbol: f"dW_{i}" for i, symbol in enumerate(flat)},
             **{symbol: f"dV_{i}" for i, symbol in enumerate(increments.get("dV", ()))}}
    return expression_code({state_name(i): e for i, e in enumerate(step)}, names, sde.states)
