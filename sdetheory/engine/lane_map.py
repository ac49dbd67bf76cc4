"""A map of a few numbers of a lane, iterated: the program of a process that draws nothing.

The lanes of a block are taken through the steps of a call a tile after the other, so that what they hold stays in the first
cache. Whether a lane is still finite is looked up once a call; where one is not, its tile is run again with a look each step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..kernels.functions import CompiledLater
from .program import Observable, Program
from .step import Observer

__all__ = ["lane_map_program"]

TILE = 512  # lanes


def lane_map_program(one_step: Any, states: Sequence[str], observed: Mapping[str, Any], *, parameters: Any = None,
                     n_parameters: int = 0, hyperparameters: Sequence[str] = (), swept: Sequence[str] = (),
                     about: Mapping[str, str] | None = None) -> Program:
    """The program that iterates a lane function, and saves states or lane functions of them.

    Parameters
    ----------
    one_step : lane function of the states and of `n_parameters` parameters
        Returns the states after the step.
    states : sequence of str
        Names of the rows of the block.
    observed : mapping of name to the name of a state, a lane function, or any other function
        A lane function takes the states, then the hyperparameters; another takes the states as one vector.
    parameters : lane function of the hyperparameters, optional
        Returns the parameters, which are constant over the steps.
    hyperparameters, swept : sequences of str
        Columns of the schedules, of which there is one row; those with a value of their own in every lane.
    """
    n, m = len(states), n_parameters
    functions = {"one_step": one_step, **({"parameters": parameters} if m else {})}
    advance = "\n".join([*_bind(hyperparameters, swept), *_parameters(hyperparameters, m), _steps(n, m)])
    observables = []
    for name, what in observed.items():
        note = (about or {}).get(name, "")
        if isinstance(what, str):
            observables.append(Observable(name, 1, f"copy_row(X[{states.index(what)}], OUT[0])", about=note))
        elif isinstance(what, CompiledLater) and what.inlined:
            values = ", ".join([*(f"X[{row}, lane]" for row in range(n)), *_per_lane(hyperparameters)])
            text = "\n".join([*_bind(hyperparameters, swept), "for lane in range(lanes):", f"    OUT[0, lane] = observed({values})"])
            observables.append(Observable(name, 1, text, functions={"observed": what}, about=note))
        else:
            observer = Observer({"numbers": n})
            observer.call_per_lane(what, observer.numbers, observer.out)
            observables.append(observer.observable(name, note))
    return Program(rows=n, noise=(), advance=advance, observables=tuple(observables), functions=functions, scratch=m + n,
                   lanes=8 * TILE, marks_divergence=True, hyperparameters=len(hyperparameters), swept=len(swept))


def _bind(hyperparameters: Sequence[str], swept: Sequence[str]) -> list[str]:
    return [f"{name} = P[{list(swept).index(name)}]" if name in swept else f"{name} = T[0, {column}]"
            for column, name in enumerate(hyperparameters)]


def _per_lane(hyperparameters: Sequence[str]) -> list[str]:
    return [f"per_lane({name}, lane)" for name in hyperparameters]


def _parameters(hyperparameters: Sequence[str], m: int) -> list[str]:
    """Statements that put the parameters of every lane into the first m rows of scratch."""
    rows = ", ".join(f"S[{row}, lane]" for row in range(m))
    return ["for lane in range(lanes):", f"    {rows} = parameters({', '.join(_per_lane(hyperparameters))})"] if m else []


def _steps(n: int, m: int) -> str:
    """n_steps of the map of the rows X[:n] with the parameters S[:m], a tile of lanes after the other; S[m:] holds the start."""
    x, p, before = ([f"{letter}{i}" for i in range(count)] for letter, count in (("x", n), ("p", m), ("before", n)))
    names = ", ".join([*x, *p, *before, "diverged"])
    rows = ", ".join([*(f"X[{i}, tile]" for i in range(n)), *(f"S[{i}, tile]" for i in range(m + n)), "D[tile]"])
    new = ", ".join(f"{a}[lane]" for a in x)
    step = f"{new} = one_step({', '.join(f'{a}[lane]' for a in (*x, *p))})"

    def finite(known: str, now: str) -> str:
        """The step of divergence after a look at all the numbers of a lane, two at a time."""
        for i in range(0, n, 2):
            known = f"first_divergence({known}, {now}, {x[i]}[lane], {x[min(i + 1, n - 1)]}[lane])"
        return known

    save, restore = ("\n".join(f"    {pad}copy_row({a}, {b})" for a, b in pairs)
                     for pad, pairs in (("", zip(x, before, strict=True)), ("    ", zip(before, x, strict=True))))
    return f"""
for first in range(0, lanes, {TILE}):
    tile = slice(first, first + {TILE})
    {names} = {rows}
{save}
    for _ in range(n_steps):
        for lane in range(x0.size):
            {step}
    new = 0.0
    for lane in range(x0.size):
        new = max(new, 1.0 if {finite("diverged[lane]", "0.0")} == 0.0 else 0.0)
    if new > 0.0:  # the same steps again, and a look after each
{restore}
        for k in range(n_steps):
            for lane in range(x0.size):
                {step}
                diverged[lane] = {finite("diverged[lane]", "step + k + 1")}
"""
