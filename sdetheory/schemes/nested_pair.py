r"""Two step sizes on one Brownian path, advanced together: what multilevel Monte Carlo takes differences of.

.. math:: Y^f_{n+1} = \Phi(\Phi(Y^f_n, h/2; \Delta_1), h/2; \Delta_2), \qquad Y^c_{n+1} = \Phi(Y^c_n, h; \Delta_1 + \Delta_2)

One step of the program is one coarse step h; its noise rows are Δ₁ then Δ₂, each of variance h/2; what it saves is
f(Y^f) − f(Y^c). The statements of Φ are the scheme's own, written three times.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy

from ..engine import Noise, Observable, Program
from ..sde import SDE
from ..symbolic.kernel_source import lane_statements, lift_numbers
from .program import BLOCK_NUMBERS, _callable_step, _refuse_free_symbols, _symbolic_step
from .scheme import Scheme

__all__ = ["nested_pair_program"]


def nested_pair_program(sde: SDE, scheme: Scheme, functional: Any) -> Program:
    """The program of the pair, with the one observable `difference`; it starts from the fine state above the coarse one.

    Raises
    ------
    ValueError
        For a scheme whose increments are not sums over a finer grid.
    """
    scheme.check(sde)
    rows = {role: count for role, count in scheme.increments_shape(sde).items() if count}
    if set(rows) - {"dW"} or any(i.kind != "normal" for i in scheme.noise if i.role in rows):
        raise ValueError(f"scheme: expected one whose increments are Brownian, to nest them, got {scheme.name!r} with "
                         f"{', '.join(rows)}; use 'milstein' where the noise commutes, else 'euler_maruyama'")
    _refuse_free_symbols(sde, ())
    d, m = sde.dim, sde.noise_dim
    states = {symbol: f"x{i}" for i, symbol in enumerate(sde.states)}
    constants: dict[str, Any] = {}
    functions: dict[str, Any] = {}
    hoist: list[str] = []
    if sde.symbolic:
        lines, numbers = _symbolic_step(sde, scheme, tuple(states.items()))
        constants["C"] = np.array(numbers, dtype=np.float64)
        hoist = [f"C_{i} = C[{i}]" for i in range(len(numbers))]
    else:
        lines = _callable_step(sde)
        functions.update(drift=sde.drift_function, diffusion=sde.diffusion_function)

    def step(first_row: int, increment: str, length: str, start: str) -> list[str]:
        return [f"dt = {length}", f"time = {start}", *(f"x{i} = X[{first_row + i}, lane]" for i in range(d)),
                *(f"dW_{i} = {increment.format(i=i)}" for i in range(m)), *lines,
                *(f"X[{first_row + i}, lane] = x{i}" for i in range(d))]

    first, second = f"Z[j * {2 * m} + {{i}}, lane]", f"Z[j * {2 * m} + {m} + {{i}}, lane]"
    body = [*step(0, first, "half", "begin"), *step(0, second, "half", "begin + half"),
            *step(d, f"{first} + {second}", "whole", "begin")]
    text = "\n".join([*hoist, "whole = dt", "half = 0.5 * whole", "for j in range(n_steps):",
                      "    begin = t0 + (step + j) * whole", "    for lane in range(lanes):",
                      *("        " + line for line in body)])
    lanes = max(64, min(512, 2 ** int(np.log2(BLOCK_NUMBERS / (2 * d + 2 * m)))))
    return Program(rows=2 * d, noise=(Noise("normal", 2 * m, "path"),), advance=text,
                   observables=(_difference(sde, functional, states, constants, functions),), functions=functions,
                   constants=constants, lanes=lanes)


def _difference(sde: SDE, functional: Any, states: dict[sympy.Symbol, str], constants: dict[str, Any],
                functions: dict[str, Any]) -> Observable:
    hoist: list[str] = []
    if isinstance(functional, sympy.Basic):
        (lifted,), numbers = lift_numbers([functional])
        constants["C_difference"] = np.array(numbers, dtype=np.float64)
        hoist = [f"C_{i} = C_difference[{i}]" for i in range(len(numbers))]
        value = lane_statements({"value": lifted}, {**states, sde.time: "time"})
    else:
        functions["observe_difference"] = functional
        value = [f"value = observe_difference({'x0' if sde.dim == 1 else ', '.join(states.values()).join('()')})"]
    fine, coarse = ([f"x{i} = X[{row + i}, lane]" for i in range(sde.dim)] for row in (0, sde.dim))
    body = [*fine, *value, "fine = value", *coarse, *value, "OUT[{row}, lane] = fine - value"]
    return Observable("difference", 1, "\n".join([*hoist, "time = t0 + step * dt", "for lane in range(lanes):",
                                                  *("    " + line for line in body)]))
