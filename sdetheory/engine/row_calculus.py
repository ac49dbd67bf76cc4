r"""Derivatives and homogeneity of formulas on rows, from their graphs, for any number of components.

.. math:: \frac{\partial}{\partial x_j}\sum_i f(x_i) = f'(x_j), \qquad
          \nabla^2 L\, v = \nabla\,\langle\nabla L, v\rangle, \qquad f(sw) = s^k f(w) \text{ for } s > 0

A gradient is taken backwards: each operation passes the derivative of the result on to its arguments, a sum over components the
same number to all of them. So the gradient of a formula is a formula, as long as the first one whatever d is.
"""

from __future__ import annotations

from fractions import Fraction

from .rows import Node, as_node, block, component, constant, cos, cosh, halves, joined, log, product, sin, sinh, total, where

__all__ = ["degree_of", "gradient_of", "inner"]

_COMPARED = ("<", "<=", ">", ">=")


def gradient_of(value: Node, dim: int) -> Node:
    """∇f, a row, of the graph of a value f, one number a lane.

    Raises
    ------
    ValueError
        Where the formula has something whose derivative is not known here.
    """
    order = _arguments_first(value)
    varies = {id(x) for x in order if x.op in ("block", "component") and x.payload[0] == "W"}
    for x in order:
        if any(id(a) in varies for a in x.args):
            varies.add(id(x))
    slopes: dict[int, Node] = {id(value): as_node(1.0)}
    found: dict[str, Node] = {}
    for x in reversed(order):
        if id(x) not in slopes or id(x) not in varies:
            continue
        slope = slopes[id(x)]
        if x.op in ("block", "component"):
            key = f"{x.op} {x.payload[1]}"
            found[key] = _add(found.get(key), slope)
            continue
        for argument, part in _passed_on(x, slope):
            if id(argument) in varies:
                slopes[id(argument)] = _add(slopes.get(id(argument)), _shaped(part, argument))
    return _assembled(found, dim)


def _arguments_first(node: Node) -> list[Node]:
    order: list[Node] = []
    seen: set[int] = set()

    def visit(x: Node) -> None:
        if id(x) not in seen:
            seen.add(id(x))
            for a in x.args:
                visit(a)
            order.append(x)
    visit(node)
    return order


def _add(x: Node | None, y: Node) -> Node:
    return y if x is None else x + y


def _mul(x: Node, y: Node) -> Node:
    for one, other in ((x, y), (y, x)):
        if one.op == "number" and one.value == 1.0:
            return other
    return x * y


def _shaped(part: Node, argument: Node) -> Node:
    """The derivative in the shape of the argument: summed where one number served all components, and the reverse."""
    if argument.kind == "row" and part.kind != "row":
        return Node("spread", (part,), kind="row", length=argument.length or "d")
    return total(part) if part.kind == "row" and argument.kind != "row" else part


def _passed_on(x: Node, slope: Node) -> list[tuple[Node, Node]]:
    """The arguments of an operation, and slope · ∂x/∂argument."""
    if x.kind == "row" and slope.kind != "row":
        slope = Node("spread", (slope,), kind="row", length=x.length or "d")
    if x.op in ("total", "spread", "neg"):
        return [(x.args[0], -slope if x.op == "neg" else slope)]
    if x.op in ("blas", "product"):
        a = x.args[0]
        transposed = product(constant("", a.value.T), slope)
        return [(x.args[1], transposed), *((start, slope) for start in x.args[2:])]
    if x.op == "where":
        condition, then, otherwise = x.args
        return [(then, where(condition, slope, 0.0)), (otherwise, where(condition, 0.0, slope))]
    if len(x.args) == 2:
        return _of_two(x, slope)
    (a,) = x.args
    known = {"sqrt": lambda: 0.5 / x, "exp": lambda: x, "log": lambda: 1.0 / a, "log1p": lambda: 1.0 / (1.0 + a), "sin": lambda: cos(a),
             "cos": lambda: -sin(a), "tanh": lambda: 1.0 - x * x, "sinh": lambda: cosh(a), "cosh": lambda: sinh(a),
             "abs": lambda: where(a < 0.0, -1.0, where(a > 0.0, 1.0, 0.0))}
    if x.op not in known:
        raise ValueError(f"formula: the derivative of {x.op!r} is not known here; give a formula of the gradient too")
    return [(a, _mul(slope, known[x.op]()))]


def _of_two(x: Node, slope: Node) -> list[tuple[Node, Node]]:
    a, b = x.args
    if x.op in ("+", "-"):
        return [(a, slope), (b, slope if x.op == "+" else -slope)]
    if x.op == "*":
        return [(a, _mul(slope, b)), (b, _mul(slope, a))]
    if x.op == "/":
        return [(a, slope / b), (b, -_mul(slope, x) / b)]
    if x.op in ("max", "min"):
        first = a >= b if x.op == "max" else a <= b
        return [(a, where(first, slope, 0.0)), (b, where(first, 0.0, slope))]
    if x.op == "pow":
        if b.op == "number":
            return [(a, slope * (b.value * a ** (b.value - 1.0)))]
        return [(a, slope * (b * x / a)), (b, slope * x * log(a))]
    raise ValueError(f"formula: the derivative of {x.op!r} is not known here; give a formula of the gradient too")


def _assembled(found: dict[str, Node], dim: int) -> Node:
    """The gradient from the derivatives by the parts of w that the formula read."""
    parts = {key.partition(" ")[0]: key for key in found}
    if not found:
        return block("W") * 0.0
    if set(found) == {"block whole"}:
        return _shaped(found["block whole"], block("W"))
    if set(found) <= {"block first", "block second"}:
        sides = zip(("first", "second"), halves(block("W")), strict=True)
        return joined(*(_shaped(found.get(f"block {side}", half * 0.0), half) for side, half in sides))
    if set(parts) == {"component"}:
        return joined(*(found.get(f"component {i}", as_node(0.0)) for i in range(dim)))
    raise ValueError("formula: expected one way to read the weights (w, component(w, i) or halves(w)) where the gradient is to be "
                     "derived, got several; give a formula of the gradient too")


def inner(gradient: Node, other: Node) -> Node:
    """⟨g, v⟩ of two rows, the first one maybe joined of parts."""
    if gradient.op != "joined":
        return total(gradient * other)
    if any(a.kind == "row" for a in gradient.args):
        return sum((total(part * half) for part, half in zip(gradient.args, halves(other), strict=True)), as_node(0.0))
    return sum((part * component(other, i) for i, part in enumerate(gradient.args)), as_node(0.0))


def degree_of(value: Node) -> Fraction | None:
    """k where f(sw) = s^k f(w) for s > 0 follows from the operations, None where it does not.

    >>> w = block("W")
    >>> degree_of(total(w**4) / total(w**2)**2), degree_of(total(w**2)), degree_of(total(w**2) + 1.0)
    (Fraction(0, 1), Fraction(2, 1), None)
    """
    known: dict[int, Fraction | None] = {}
    for x in _arguments_first(value):
        known[id(x)] = _degree(x, [known[id(a)] for a in x.args])
    return known[id(value)]


def _degree(x: Node, args: list[Fraction | None]) -> Fraction | None:
    if x.op in ("block", "component"):
        return Fraction(1)
    if x.op in ("number", "constant"):
        return Fraction(0)
    degrees = [Fraction(0) if a is None else a for a in args]
    if None in args:
        return None
    if x.op in ("total", "neg", "abs", "spread"):
        return degrees[0]
    if x.op in ("blas", "product"):
        starts_at_zero = len(args) < 3 or (x.args[2].op == "number" and x.args[2].value == 0.0)
        return degrees[1] if starts_at_zero else None
    if x.op in ("+", "-", "max", "min", *_COMPARED):
        same = {k for k, a in zip(degrees, x.args, strict=True) if not (a.op == "number" and a.value == 0.0)}
        return None if len(same) != 1 else Fraction(0) if x.op in _COMPARED else same.pop()
    if x.op in ("*", "/"):
        return degrees[0] + degrees[1] if x.op == "*" else degrees[0] - degrees[1]
    if x.op == "sqrt":
        return degrees[0] / 2
    if x.op == "pow" and x.args[1].op == "number":
        return degrees[0] * Fraction(str(x.args[1].value))
    if x.op == "where":
        return degrees[1] if degrees[1] == degrees[2] else None
    return Fraction(0) if not any(degrees) else None
