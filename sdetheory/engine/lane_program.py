"""Programs whose step is written for the numbers of one lane: the loops around it, and what its names are read from.

The statements stand in one flat lane loop. A block of one lane keeps its state in registers through a whole batch of steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .program import Noise, Observable, Program

__all__ = ["LaneCode", "euler_code", "function_code", "lane_observable", "lane_program", "nested_pair_program", "parameter_name",
           "state_name"]

BLOCK_NUMBERS = 2048  # lanes times rows of state and noise that stay in the first-level cache


def state_name(i: int) -> str:
    """What state i is called in the statements of a lane; increments are dW_i and dV_i, beside them there are `time` and `dt`."""
    return f"x{i}"


def parameter_name(name: str, i: int) -> str:
    """What the swept parameter of this name and place is called there."""
    return f"p_{name}" if name.isidentifier() and name.isascii() else f"p_{i}"


@dataclass(frozen=True)
class LaneCode:
    """Statements for one lane, and what they take: decimal numbers under their names, and functions."""

    lines: tuple[str, ...]
    number_names: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()
    functions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def constants(self) -> dict[str, Any]:
        """The decimal numbers, as the constant C."""
        return {"C": np.array(self.numbers, dtype=np.float64)} if self.numbers else {}

    @property
    def read_numbers(self) -> list[str]:
        """Statements that read them, once for all lanes."""
        return [f"{name} = C[{i}]" for i, name in enumerate(self.number_names)]


def euler_code(dim: int, noise_dim: int, drift: Any, diffusion: Any) -> LaneCode:
    """x ← x + a(x, t) dt + b(x, t) dW for functions a and b: one call of each."""
    functions, x = {"drift": drift, "diffusion": diffusion}, ", ".join(map(state_name, range(dim)))
    if dim == 1:
        if noise_dim == 1:
            return LaneCode(("x0 = x0 + drift(x0, time) * dt + diffusion(x0, time) * dW_0",), functions=functions)
        noise = " + ".join(f"b[{j}] * dW_{j}" for j in range(noise_dim))
        return LaneCode(("b = diffusion(x0, time)", f"x0 = x0 + drift(x0, time) * dt + {noise}"), functions=functions)
    new = [f"x{i} + a[{i}] * dt + " + " + ".join(f"b[{i}][{j}] * dW_{j}" for j in range(noise_dim)) for i in range(dim)]
    return LaneCode((f"a = drift(({x}), time)", f"b = diffusion(({x}), time)", f"{x} = {', '.join(new)}"), functions=functions)


def function_code(dim: int, function: Any) -> LaneCode:
    """value ← function(x): of a number where there is one state, else of a tuple."""
    x = f"({', '.join(map(state_name, range(dim)))})" if dim > 1 else "x0"
    return LaneCode((f"value = observed({x})",), functions={"observed": function})


def _read(dim: int, swept: Sequence[str], first_row: int = 0) -> list[str]:
    return [*(f"{name} = P[{i}, lane]" for i, name in enumerate(swept)), *(f"x{i} = X[{first_row + i}, lane]" for i in range(dim))]


def lane_observable(name: str, code: LaneCode, dim: int, swept: Sequence[str] = (), about: str = "") -> Observable:
    """What `code` leaves in `value`; `swept` are the names of the parameters by row of P."""
    body = [*_read(dim, swept), *code.lines, "OUT[0, lane] = value"]
    text = "\n".join([*code.read_numbers, "time = t0 + step * dt", "for lane in range(lanes):", *("    " + line for line in body)])
    return Observable(name, 1, text, None, code.functions, code.constants, about)


def lane_program(code: LaneCode, dim: int, noise: Sequence[Noise], observables: Sequence[Observable], swept: Sequence[str] = (),
                 with_area: bool = False) -> Program:
    """The program whose step is `code`: lanes innermost, or, for a block of one lane, steps innermost."""
    rows = [n.rows for n in noise] + [0]
    increments = [f"dW_{i} = Z[j * {rows[0]} + {i}, lane]" for i in range(rows[0])]
    increments += [f"dV_{i} = V[j * {rows[1]} + {i}, lane]" for i in range(rows[1])]
    load, read = _read(0, swept), _read(dim, ())
    write = [f"X[{i}, lane] = x{i}" for i in range(dim)]
    time = "time = t0 + (step + j) * dt"
    text = "\n".join([
        *code.read_numbers,
        "if lanes == 1:",
        *("    " + line for line in ["lane = 0", *load, *read, "for j in range(n_steps):",
                                     *("    " + line for line in [time, *increments, *code.lines]), *write]),
        "else:",
        "    for j in range(n_steps):",
        "        " + time,
        "        for lane in range(lanes):",
        *("            " + line for line in [*load, *read, *increments, *code.lines, *write]),
    ])
    return Program(rows=dim, noise=tuple(noise), advance=text, observables=tuple(observables), functions=code.functions,
                   constants=code.constants, lanes=_lanes(dim + rows[0]), with_area=with_area, swept=len(swept))


def nested_pair_program(code: LaneCode, observed: LaneCode, dim: int, noise_dim: int) -> Program:
    """The program of one coarse step beside two fine ones on the same increments; it saves `value` of the fine path less the coarse.

    The fine state lies above the coarse one; the rows of noise are those of the first half of the step, then of the second.
    """
    def step(first_row: int, increment: str, length: str, start: str) -> list[str]:
        return [f"dt = {length}", f"time = {start}", *_read(dim, (), first_row),
                *(f"dW_{i} = {increment.format(i=i)}" for i in range(noise_dim)), *code.lines,
                *(f"X[{first_row + i}, lane] = x{i}" for i in range(dim))]

    first, second = f"Z[j * {2 * noise_dim} + {{i}}, lane]", f"Z[j * {2 * noise_dim} + {noise_dim} + {{i}}, lane]"
    body = [*step(0, first, "half", "begin"), *step(0, second, "half", "begin + half"),
            *step(dim, f"{first} + {second}", "whole", "begin")]
    text = "\n".join([*code.read_numbers, "whole = dt", "half = 0.5 * whole", "for j in range(n_steps):",
                      "    begin = t0 + (step + j) * whole", "    for lane in range(lanes):",
                      *("        " + line for line in body)])
    look = [*_read(dim, ()), *observed.lines, "fine = value", *_read(dim, (), dim), *observed.lines, "OUT[0, lane] = fine - value"]
    seen = "\n".join([*observed.read_numbers, "time = t0 + step * dt", "for lane in range(lanes):", *("    " + line for line in look)])
    return Program(rows=2 * dim, noise=(Noise("normal", 2 * noise_dim, "path"),), advance=text,
                   observables=(Observable("difference", 1, seen, None, observed.functions, observed.constants),),
                   functions=code.functions, constants=code.constants, lanes=_lanes(2 * dim + 2 * noise_dim))


def _lanes(rows: int) -> int:
    return max(64, min(512, 2 ** int(np.log2(BLOCK_NUMBERS / rows))))
