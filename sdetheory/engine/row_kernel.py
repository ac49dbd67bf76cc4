"""The block function of a formula on rows: its text, under which it is compiled, found on disk and pickled.

    row_kernel(lambda w, a: a * w, [a])       is       BlockFunction(def formula(W, G, S, a_): …, constants=(a,))

A formula that is a function at module level is written once for constants of the same shapes, whatever their numbers.
"""

from __future__ import annotations

import inspect
import keyword
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..kernels.functions import CompiledLater, fingerprint
from ..kernels.lanes import matrix_product
from .program import BlockFunction
from .row_code import RowCode
from .rows import Node, as_node, block, constant

__all__ = ["RowFunction", "row_kernel", "traced"]


class RowFunction(CompiledLater):
    """A block function of which there is only the text; it is compiled, named and pickled by that."""

    def __init__(self, text: str) -> None:
        scope: dict[str, Any] = {"math": math, "matrix_product": matrix_product, "__name__": __name__}
        exec(text, scope)
        super().__init__(scope[text[4:text.index("(")]])
        self._text = text

    @property
    def text(self) -> str:
        """The text of the function."""
        return self._text

    def __reduce__(self) -> Any:
        return row_function, (self._text,)


@lru_cache(maxsize=4096)
def row_function(text: str) -> RowFunction:
    """One object a text, so that kernels that name it are found again."""
    return RowFunction(text)


@dataclass(frozen=True)
class _Written:
    """A function, the arrays that the formula brought along, rows of scratch, and how many blocks of scratch besides."""

    function: RowFunction
    captured: tuple[Any, ...]
    rows: int
    blocks: int
    by_blas: bool


def traced(formula: Callable[..., Any], constants: Sequence[Any] = (), draws: bool = False) -> Node:
    """The graph of `formula(w, *constants)`, or of `formula(w, z, *constants)`; an integer among the constants is a literal."""
    names = list(inspect.signature(formula).parameters)[2 if draws else 1:]
    given = [value if isinstance(value, int) else constant(f"{name}_", value) for name, value in zip(names, constants, strict=True)]
    return as_node(formula(block("W"), *([block("Z")] if draws else []), *given))


def row_kernel(formula: Callable[..., Any] | Node, constants: Sequence[Any] = (), *, draws: bool = False, into: str = "G",
               add: bool = False) -> BlockFunction:
    """The block function f(W, [Z,] into, S, *constants) of a formula, and its constants.

    Parameters
    ----------
    formula : callable (w, *constants) or (w, z, *constants); or its graph
        One formula on rows.
    constants : sequence of float, int and array
        What it takes besides; floats and arrays are given to the kernel, integers are written into it.
    draws : bool
        Whether it takes z.
    into : str
        "G" for a row a component, "out" for one number a lane.
    add : bool
        Whether the kernel adds to `into`.

    Examples
    --------
    >>> from sdetheory.engine.rows import total
    >>> print(row_kernel(lambda w, a: total(a * w**2), [[1.0, 2.0]], into="out").function.text)
    def formula(W, out, S, a_):
        d, lanes = W.shape
        for lane in range(lanes):
            S[0, lane] = 0.0
        for i in range(d):
            for lane in range(lanes):
                S[0, lane] += a_[i] * (W[i, lane] * W[i, lane])
        for lane in range(lanes):
            out[lane] = S[0, lane]
    <BLANKLINE>
    """
    if isinstance(formula, Node):
        written, given = _write(formula, "formula", None, draws, into, add), []
    else:
        signature = tuple((True, value) if isinstance(value, int) else (False, np.ndim(value)) for value in constants)
        given = [value if np.ndim(value) == 0 else np.asarray(value) for value in constants if not isinstance(value, int)]
        written = _written_once(formula, fingerprint(formula), signature, draws, into, add)
        if written.captured:  # its numbers may depend on the constants
            written = _written(formula, constants, draws, into, add)
    given += [value if value.ndim else float(value) for value in written.captured]
    # what is put into a block of scratch comes from a constant with one column a component
    dim = max((np.shape(value)[-1] for value in given if np.ndim(value)), default=0)
    scratch = max(1, written.rows + written.blocks * dim)
    return BlockFunction(written.function, tuple(given), scratch=scratch, fixed_lanes=written.by_blas)


@lru_cache(maxsize=1024)
def _written_once(formula: Callable[..., Any], identity: str, signature: tuple[tuple[bool, int], ...], draws: bool, into: str,
                  add: bool) -> _Written:
    """What is written for constants of these shapes, whatever their numbers, while the formula's `identity` stays."""
    constants = [value if literal else np.ones((1,) * value) if value else 1.0 for literal, value in signature]
    return _written(formula, constants, draws, into, add)


def _written(formula: Callable[..., Any], constants: Sequence[Any], draws: bool, into: str, add: bool) -> _Written:
    parameters = list(inspect.signature(formula).parameters)[2 if draws else 1:]
    names = [f"{name}_" for name, value in zip(parameters, constants, strict=True) if not isinstance(value, int)]
    return _write(traced(formula, constants, draws), formula.__name__, names, draws, into, add)


def _write(result: Node, name: str, names: Sequence[str] | None, draws: bool, into: str, add: bool) -> _Written:
    """The function of a graph; without `names` it takes every constant of the graph, in order."""
    code = RowCode(result, into, add, takes_all=names is None)
    body = code.body()
    given = [*(names or ()), *(f"k{i}_" for i in range(len(code.captured)))]
    title = name if name.isidentifier() and not keyword.iskeyword(name) else "formula"
    lines = [f"def {title}({', '.join(['W', *(['Z'] if draws else []), into, 'S', *given])}):", "    d, lanes = W.shape",
             *(["    n = d // 2"] if any(x.length == "n" for x in code.nodes) else []), *("    " + line for line in body)]
    text = "\n".join(lines) + "\n"
    return _Written(row_function(text), tuple(code.captured), code.rows, code.blocks, code.by_blas)
