"""An SDE and a scheme → the program that the ensemble engine runs.

The scheme's one-step map is an expression; its statements stand in one flat lane loop. A block of one lane keeps its state in
registers through a whole batch of steps. An SDE of plain callables, which no expression describes, is stepped by
Euler–Maruyama with one call of each coefficient a path and step.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import sympy

from ..engine import Noise, Observable, Program
from ..sde import SDE
from ..symbolic.kernel_source import horner, lane_statements, lift_numbers
from .scheme import Scheme

__all__ = ["sde_program"]

BLOCK_NUMBERS = 2048  # lanes times rows of state and noise that stay in the first-level cache
OBSERVED_TIME = sympy.Symbol("t", real=True)


def sde_program(sde: SDE, scheme: Scheme, observe: Sequence[tuple[str, Any]], swept: Sequence[str] = ()) -> Program:
    """The program that advances `sde` by `scheme` and saves the observables (name, SymPy expression or compiled function).

    Free symbols named in `swept` are read from the rows of P, one value a path.
    """
    scheme.check(sde)
    rows = scheme.increments_shape(sde)
    kinds = {increment.role: increment.kind for increment in scheme.noise}
    first = [role for role in rows if role != "dV" and rows[role]]
    noise = [Noise(kinds[first[0]] if first else "normal", sum(rows[role] for role in first), "path")]
    if rows.get("dV"):
        noise.append(Noise(kinds["dV"], rows["dV"], "pairs"))
    states = {symbol: f"x{i}" for i, symbol in enumerate(sde.states)}
    swept_names = {symbol: f"p_{symbol.name}" for symbol in sorted(sde.parameters, key=lambda s: s.name)
                   if symbol.name in swept}  # sorted: the text, and with it the cached kernel, is the same in every process
    _refuse_free_symbols(sde, swept)
    constants: dict[str, Any] = {}
    functions: dict[str, Any] = {}
    load = [f"{name} = P[{list(swept).index(symbol.name)}, lane]" for symbol, name in swept_names.items()]
    if sde.symbolic:
        lines, numbers = _symbolic_step(sde, scheme, tuple({**states, **swept_names}.items()))
        constants["C"] = np.array(numbers, dtype=np.float64)
        hoist = [f"C_{i} = C[{i}]" for i in range(len(numbers))]
    else:
        lines, hoist = _callable_step(sde), []
        functions.update(drift=sde.drift_function, diffusion=sde.diffusion_function)
    increments = [f"dW_{i} = Z[j * {noise[0].rows} + {i}, lane]" for i in range(noise[0].rows)]
    increments += [f"dV_{i} = V[j * {noise[1].rows} + {i}, lane]" for i in range(noise[1].rows if len(noise) > 1 else 0)]
    observables = tuple(_observable(name, what, sde, {**states, **swept_names}, load, constants, functions)
                        for name, what in observe)
    lanes = max(64, min(512, 2 ** int(np.log2(BLOCK_NUMBERS / (sde.dim + noise[0].rows)))))
    return Program(rows=sde.dim, noise=tuple(noise), advance=_loops(sde.dim, hoist, load, increments, lines),
                   observables=observables, functions=functions, constants=constants, lanes=lanes,
                   with_area="dU" in first, swept=len(swept))


@lru_cache(maxsize=256)  # an SDE does not change; its step can take a tenth of a second to expand
def _symbolic_step(sde: SDE, scheme: Scheme, names: tuple[tuple[sympy.Symbol, str], ...]) -> tuple[list[str], list[float]]:
    symbols = scheme.increment_symbols(sde)
    time, dt = sympy.Symbol("time", real=True), sympy.Symbol("dt", positive=True)
    step = list(scheme.one_step(sde, sde.states, time, dt, symbols))
    flat = [symbol for role in symbols if role != "dV" for symbol in symbols[role]]
    called = {**dict(names), **{symbol: f"dW_{i}" for i, symbol in enumerate(flat)},
              **{symbol: f"dV_{i}" for i, symbol in enumerate(symbols.get("dV", ()))}}
    lifted, numbers = lift_numbers(step)
    lifted = [horner(e, sde.states) for e in lifted]
    return lane_statements({f"x{i}": e for i, e in enumerate(lifted)}, called), numbers


def _callable_step(sde: SDE) -> list[str]:
    x = ", ".join(f"x{i}" for i in range(sde.dim))
    if sde.dim == 1:
        return ["x0 = x0 + drift(x0, time) * dt + diffusion(x0, time) * dW_0"] if sde.noise_dim == 1 else [
            "b = diffusion(x0, time)",
            "x0 = x0 + drift(x0, time) * dt + " + " + ".join(f"b[{j}] * dW_{j}" for j in range(sde.noise_dim))]
    new = [f"x{i} + a[{i}] * dt + " + " + ".join(f"b[{i}][{j}] * dW_{j}" for j in range(sde.noise_dim))
           for i in range(sde.dim)]
    return [f"a = drift(({x}), time)", f"b = diffusion(({x}), time)", f"{x} = {', '.join(new)}"]


def _loops(dim: int, hoist: list[str], load: list[str], increments: list[str], step: list[str]) -> str:
    """Lanes innermost; or, for a block of one lane, steps innermost with the state in registers."""
    read = [f"x{i} = X[{i}, lane]" for i in range(dim)]
    write = [f"X[{i}, lane] = x{i}" for i in range(dim)]
    time = "time = t0 + (step + j) * dt"
    return "\n".join([
        *hoist,
        "if lanes == 1:",
        *("    " + line for line in ["lane = 0", *load, *read, "for j in range(n_steps):",
                                     *("    " + line for line in [time, *increments, *step]), *write]),
        "else:",
        "    for j in range(n_steps):",
        "        " + time,
        "        for lane in range(lanes):",
        *("            " + line for line in [*load, *read, *increments, *step, *write]),
    ])


def _observable(name: str, what: Any, sde: SDE, names: dict[sympy.Symbol, str], load: list[str],
                constants: dict[str, Any], functions: dict[str, Any]) -> Observable:
    read = [*load, *(f"x{i} = X[{i}, lane]" for i in range(sde.dim))]
    if isinstance(what, sympy.Basic):
        (lifted,), numbers = lift_numbers([what])
        data = f"C_{name}"
        constants[data] = np.array(numbers, dtype=np.float64)
        hoist = [f"C_{i} = {data}[{i}]" for i in range(len(numbers))]
        body = lane_statements({"OUT[{row}, lane]": lifted}, {**names, sde.time: "time"})
    else:
        hoist, functions[f"observe_{name}"] = [], what
        x = f"({', '.join(f'x{i}' for i in range(sde.dim))})" if sde.dim > 1 else "x0"
        body = [f"OUT[{{row}}, lane] = observe_{name}({x})"]
    return Observable(name, 1, "\n".join([*hoist, "time = t0 + step * dt", "for lane in range(lanes):",
                                          *("    " + line for line in [*read, *body])]))


def _refuse_free_symbols(sde: SDE, swept: Sequence[str]) -> None:
    free = sorted(symbol.name for symbol in sde.parameters if symbol.name not in swept)
    if free:
        raise ValueError(f"sde: expected a number for every parameter, got free {', '.join(free)}; "
                         f"use sde.subs({{...}}) or simulate(..., sweep={{{free[0]!r}: [...]}})")
