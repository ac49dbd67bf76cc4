r"""A formula on rows: written once, read by NumPy, by SymPy, and as the text of a block function.

.. math:: f(w) = \sum_i a_i w_i^2 \Big/ \sum_i w_i^2 \qquad\text{is}\qquad
          \texttt{lambda w, a: total(a * w**2) / total(w**2)}

Called on arrays (..., d) such a function is NumPy: `total` keeps the last axis, so that what it gives broadcasts. Called on a
`Node` it builds the graph of what it does, which `row_code` writes as loops (rows outside, lanes inside) and `row_calculus`
differentiates. A node is a *number*, one number a *lane*, or a *row*: one a component and lane.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

__all__ = ["Node", "absolute", "as_node", "block", "component", "cos", "cosh", "drawn_mean", "drawn_total", "evaluate", "exp", "halves",
           "joined", "log", "log1p", "maximum", "minimum", "pairs", "product", "sin", "sinh", "sqrt", "tanh", "times", "total", "where"]

_KINDS = ("number", "lane", "row")
_ARITHMETIC: dict[str, Callable[..., Any]] = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
                                              "pow": operator.pow, "neg": operator.neg}
_COMPARED = {"<": (np.less, "Lt"), "<=": (np.less_equal, "Le"), ">": (np.greater, "Gt"), ">=": (np.greater_equal, "Ge")}
_FUNCTIONS = ("sqrt", "exp", "log", "log1p", "sin", "cos", "tanh", "sinh", "cosh")
_UFUNCS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "pow", "float_power": "pow", "negative": "neg",
           "absolute": "abs", "fabs": "abs", "maximum": "max", "minimum": "min", "less": "<", "less_equal": "<=", "greater": ">",
           "greater_equal": ">=", **{name: name for name in _FUNCTIONS}}


class Node:
    """One operation of a formula; `op` says which, `payload` what it holds besides its arguments."""

    __slots__ = ("args", "kind", "length", "op", "payload")
    kind: str
    length: str | None

    def __init__(self, op: str, args: tuple[Node, ...] = (), payload: Any = None, kind: str | None = None,
                 length: str | None = None) -> None:
        self.op, self.args, self.payload = op, args, payload
        self.kind = kind or max((a.kind for a in args), key=_KINDS.index, default="number")
        lengths = {a.length for a in args if a.kind == "row" and a.length} if length is None else {length}
        if len(lengths) > 1:
            raise ValueError("formula: expected rows of one length in a sum or product, got w and a half of it; use halves(w) "
                             "throughout")
        self.length = lengths.pop() if lengths and self.kind == "row" else None

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc.__name__ == "square" and method == "__call__":
            return inputs[0] * inputs[0]
        if method != "__call__" or options or ufunc.__name__ not in _UFUNCS:
            name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
            raise TypeError(f"formula: expected total(x) for a sum over components, arithmetic, {', '.join(_FUNCTIONS)}, absolute, "
                            f"maximum, minimum and where, got np.{name}")
        return _operation(_UFUNCS[ufunc.__name__], *inputs)

    def __add__(self, other: Any) -> Node: return _operation("+", self, other)
    def __radd__(self, other: Any) -> Node: return _operation("+", other, self)
    def __sub__(self, other: Any) -> Node: return _operation("-", self, other)
    def __rsub__(self, other: Any) -> Node: return _operation("-", other, self)
    def __mul__(self, other: Any) -> Node: return _operation("*", self, other)
    def __rmul__(self, other: Any) -> Node: return _operation("*", other, self)
    def __truediv__(self, other: Any) -> Node: return _operation("/", self, other)
    def __rtruediv__(self, other: Any) -> Node: return _operation("/", other, self)
    def __neg__(self) -> Node: return _operation("neg", self)
    def __abs__(self) -> Node: return _operation("abs", self)
    def __lt__(self, other: Any) -> Node: return _operation("<", self, other)
    def __le__(self, other: Any) -> Node: return _operation("<=", self, other)
    def __gt__(self, other: Any) -> Node: return _operation(">", self, other)
    def __ge__(self, other: Any) -> Node: return _operation(">=", self, other)

    def __pow__(self, exponent: Any) -> Node:
        return power(self, exponent)

    def __rpow__(self, base: Any) -> Node:
        return _operation("pow", base, self)

    def __bool__(self) -> bool:
        raise TypeError("formula: a condition on weights has no truth value while the formula is traced; use where(condition, a, b)")

    def __getitem__(self, index: Any) -> Node:
        raise TypeError("formula: expected component(w, i) or halves(w), got an index; weights lie along the last axis")

    def __iter__(self) -> Any:
        raise TypeError("formula: weights cannot be looped over; use total(x) for a sum over components, component(w, i) for one")

    @property
    def value(self) -> Any:
        """The array of a constant, the float of a literal."""
        return self.payload[1] if self.op == "constant" else self.payload


def _operation(op: str, *operands: Any) -> Node:
    if op == "pow" and isinstance(operands[0], Node) and not isinstance(operands[1], Node):
        return power(*operands)
    return Node(op, tuple(as_node(operand) for operand in operands))


def power(base: Node, exponent: Any) -> Node:
    """base^exponent; a whole exponent is a product, of as few factors as squaring gives."""
    if isinstance(exponent, Node) or float(exponent) != int(exponent) or abs(exponent) > 64:
        return Node("pow", (base, as_node(exponent)))
    n, square, found = abs(int(exponent)), base, None
    while n:
        if n & 1:
            found = square if found is None else found * square
        n >>= 1
        square = square * square if n else square
    if found is None:
        return as_node(1.0)
    return 1.0 / found if exponent < 0 else found


def block(name: str, form: str = "whole") -> Node:
    """The weights "W" or the draws "Z" of a formula."""
    return Node("block", payload=(name, form), kind="row", length="n" if form in ("first", "second") else "d")


def constant(name: str, value: Any) -> Node:
    """An array that the kernel is given, or a number."""
    array = np.asarray(value, dtype=np.float64)
    return Node("constant", payload=(name, array), kind="row" if array.ndim else "number")


def as_node(value: Any) -> Node:
    """A number as a literal, an array as a constant."""
    if isinstance(value, Node):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | np.number | np.ndarray | list | tuple):
        raise TypeError(f"formula: expected numbers, arrays and weights, got {value!r}")
    array = np.asarray(value, dtype=np.float64)
    return Node("number", payload=float(array)) if array.ndim == 0 else constant("", array)


def total(x: Any) -> Any:
    """Σ_i x_i: the sum over the components, of arrays over their last axis, which is kept."""
    if isinstance(x, Node):
        return Node("total", (x,), kind="lane")
    return np.sum(x, axis=-1, keepdims=True)


def component(w: Any, i: int) -> Any:
    """w_i, i counted from 0."""
    if isinstance(w, Node):
        return Node("component", payload=(w.payload[0], int(i)), kind="lane")
    if not 0 <= i < np.shape(w)[-1]:
        raise ValueError(f"formula: expected components 0 to {np.shape(w)[-1] - 1}, got component(w, {i})")
    return np.asarray(w)[..., i:i + 1]


def halves(w: Any) -> tuple[Any, Any]:
    """(w_0 … w_{n−1}) and (w_n … w_{2n−1})."""
    if isinstance(w, Node):
        return block(w.payload[0], "first"), block(w.payload[0], "second")
    array = np.asarray(w)
    half = array.shape[-1] // 2
    return array[..., :half], array[..., half:]


def pairs(z: Any) -> tuple[Any, Any]:
    """z_0, z_2, z_4 … and z_1, z_3, z_5 …: two draws a component."""
    if isinstance(z, Node):
        return block(z.payload[0], "even"), block(z.payload[0], "odd")
    array = np.asarray(z)
    return array[..., 0::2], array[..., 1::2]


def joined(*parts: Any) -> Any:
    """One row of all components (d parts), or of two halves: what a formula returns."""
    if any(isinstance(part, Node) for part in parts):
        return Node("joined", tuple(as_node(part) for part in parts), kind="row", length="d")
    arrays = [np.atleast_1d(part) for part in parts]
    shape = np.broadcast_shapes(*(array.shape[:-1] for array in arrays))
    return np.concatenate([np.broadcast_to(array, (*shape, array.shape[-1])) for array in arrays], axis=-1)


def times(a: Any, x: Any) -> Any:
    """A x of a matrix, by BLAS; a_i x_i of a diagonal."""
    if (a.value if isinstance(a, Node) else np.asarray(a)).ndim < 2:
        return a * x
    return Node("blas", (as_node(a), x)) if isinstance(x, Node) else x @ np.asarray(a).T


def product(a: Any, x: Any, start: Any = 0.0) -> Any:
    """start + A x, summed from the left to the right."""
    return Node("product", (as_node(a), x, as_node(start)), kind="row") if isinstance(x, Node) else start + x @ np.asarray(a).T


def drawn_total(a: Any, u: Any, x: Any = None) -> Any:
    """Σ_b a[j_b] of rows a (n, d), or Σ_b A[j_b] x of matrices (n, d, d), where the uniforms choose j_b = ⌊n u_b⌋."""
    if isinstance(u, Node):
        return Node("drawn", (as_node(a), u) + (() if x is None else (x,)), kind="row", length="d")
    chosen = np.asarray(a)[np.minimum((np.asarray(u) * len(a)).astype(np.int64), len(a) - 1)]
    return chosen.sum(axis=-2) if x is None else np.einsum("...bij,...j->...i", chosen, x)


def drawn_mean(a: Any, u: Any, x: Any = None) -> Any:
    """`drawn_total` over the number of draws."""
    if isinstance(u, Node):
        drawn = drawn_total(a, u, x)
        return Node("drawn", drawn.args, payload="mean", kind="row", length="d")
    return drawn_total(a, u, x) / np.shape(u)[-1]


def where(condition: Any, then: Any, otherwise: Any) -> Any:
    """`then` where the condition holds, else `otherwise`."""
    if any(isinstance(x, Node) for x in (condition, then, otherwise)):
        return _operation("where", condition, then, otherwise)
    return np.where(condition, then, otherwise)


def _function(name: str, ufunc: Any, documented: str, sympy_name: str | None = None) -> Callable[..., Any]:
    def function(*arguments: Any) -> Any:
        if any(isinstance(x, Node) for x in arguments):
            return _operation(name, *arguments)
        if any(_is_symbolic(x) for x in arguments):
            return _symbolic(sympy_name or name, *arguments)
        return ufunc(*arguments)
    function.__name__ = function.__qualname__ = ufunc.__name__
    function.__doc__ = documented
    return function


def _is_symbolic(x: Any) -> bool:
    return hasattr(x, "free_symbols") or (isinstance(x, np.ndarray) and x.dtype == object)


def _symbolic(name: str, *arguments: Any) -> Any:
    import sympy

    known = {"log1p": lambda x: sympy.log(1 + x), "where": lambda c, a, b: sympy.Piecewise((a, c), (b, True))}
    function = known.get(name) or getattr(sympy, name)
    return np.frompyfunc(function, len(arguments), 1)(*arguments)  # type: ignore[arg-type]


sqrt = _function("sqrt", np.sqrt, "√x.")
exp = _function("exp", np.exp, "e^x.")
log = _function("log", np.log, "log x.")
log1p = _function("log1p", np.log1p, "log(1 + x).")
sin = _function("sin", np.sin, "sin x.")
cos = _function("cos", np.cos, "cos x.")
tanh = _function("tanh", np.tanh, "tanh x.")
sinh = _function("sinh", np.sinh, "sinh x.")
cosh = _function("cosh", np.cosh, "cosh x.")
absolute = _function("abs", np.absolute, "|x|.", "Abs")
maximum = _function("max", np.maximum, "The larger of two; not a number where one of them is not.", "Max")
minimum = _function("min", np.minimum, "The smaller of two; not a number where one of them is not.", "Min")

_BY_NAME = {"sqrt": sqrt, "exp": exp, "log": log, "log1p": log1p, "sin": sin, "cos": cos, "tanh": tanh, "sinh": sinh, "cosh": cosh,
            "abs": absolute, "max": maximum, "min": minimum}


def evaluate(node: Node, blocks: Mapping[str, Any], exact: bool = False) -> Any:
    """The formula of a graph at arrays (..., d); `exact` for arrays of SymPy expressions, with every number as a rational."""
    known: dict[int, Any] = {}

    def at(x: Node) -> Any:
        if id(x) not in known:
            known[id(x)] = _evaluated(x, [at(argument) for argument in x.args], blocks, exact)
        return known[id(x)]
    return at(node)


def _evaluated(x: Node, args: list[Any], blocks: Mapping[str, Any], exact: bool) -> Any:
    if x.op in ("number", "constant"):
        return _rational(x.value) if exact else x.value
    if x.op == "block":
        name, form = x.payload
        parts = {"first": halves, "second": halves, "even": pairs, "odd": pairs}
        return blocks[name] if form == "whole" else parts[form](blocks[name])[form in ("second", "odd")]
    if x.op == "component":
        return component(blocks[x.payload[0]], x.payload[1])
    if x.op == "spread":  # a number a lane as a row: the derivative of a total
        d = blocks["W"].shape[-1]
        return np.broadcast_to(args[0], (*blocks["W"].shape[:-1], d // 2 if x.length == "n" else d))
    if x.op in _COMPARED:
        ufunc, name = _COMPARED[x.op]
        return _symbolic(name, *args) if exact else ufunc(*args)
    if x.op == "where" and exact:
        return _symbolic("where", *args)
    if x.op == "drawn":
        return (drawn_mean if x.payload else drawn_total)(*args)
    named = {"total": total, "joined": joined, "blas": times, "product": product, "where": where}
    return (_ARITHMETIC.get(x.op) or _BY_NAME.get(x.op) or named[x.op])(*args)


def _rational(value: Any) -> Any:
    import sympy

    return np.frompyfunc(lambda x: sympy.Rational(float(x)), 1, 1)(value)
