r"""The text of a block function, from the graph of a formula on rows (`rows`).

.. math:: \texttt{total}(x) \;\to\; \texttt{for i: for lane: S[r, lane] += x}, \qquad f \;\to\; \texttt{for i: for lane: G[i, lane] = f}

Sums whose terms are known at the same time share a pass over the rows. What is one number a lane is computed in a loop of its own,
and kept in a row of scratch where rows need it. Every operation stands in the text as often as it must, in the order of the formula.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

from .rows import Node

__all__ = ["RowCode"]

_PLACES = {"whole": "{b}[{i}, lane]", "first": "{b}[{i}, lane]", "second": "{b}[n + {i}, lane]",
           "even": "{b}[2 * {i}, lane]", "odd": "{b}[2 * {i} + 1, lane]"}
_PATTERNS = {**{op: f"({{}} {op} {{}})" for op in ("+", "-", "*", "/", "<", "<=", ">", ">=")}, "neg": "(-{})",
             "pow": "math.pow({}, {})", "abs": "abs({})", "where": "({1} if {0} else {2})",
             "max": "({0} if {0} >= {1} or {0} != {0} else {1})", "min": "({0} if {0} <= {1} or {0} != {0} else {1})", "spread": "{}"}
_COMPARED = ("<", "<=", ">", ">=")
_LEAVES = ("block", "constant", "number", "component")
_IN_PLACE = ("total", "blas", "drawn", "product")  # read where they were put


class RowCode:
    """The statements of one graph, level after level: a sum is one level above its terms.

    `into` names what is written, "G" or "out"; with `takes_all` the kernel is given every constant of the graph, in order, else
    those alone that have no name. Attributes: `captured`, their values; `rows` and `blocks` of scratch; whether BLAS is called.
    """

    def __init__(self, result: Node, into: str, add: bool, takes_all: bool) -> None:
        self.takes_all = takes_all
        self.into, self.sign = into, "+=" if add else "="
        self.nodes: list[Node] = []
        self.captured: list[Any] = []
        self.rows = self.blocks = self.temporaries = 0
        self.by_blas = False
        self._same: dict[Any, Node] = {}
        self._level: dict[int, int] = {}
        self.place: dict[int, str] = {}
        self.result = self._merged(result)
        # the first block that is put somewhere lies in G itself: each number is read before it is overwritten
        self._spare = [into] if into == "G" and not add else []

    def _merged(self, node: Node) -> Node:
        """The same graph in which equal operations are one node; nodes in order, arguments first."""
        seen: dict[int, Node] = {}

        def merge(x: Node) -> Node:
            if id(x) in seen:
                return seen[id(x)]
            args = tuple(merge(a) for a in x.args)
            held = x.payload
            if x.op == "constant":
                held = held[0] or (held[1].shape, held[1].tobytes())
            key = (x.op, tuple(map(id, args)), repr(held), x.length)
            if key not in self._same:
                found = Node(x.op, args, x.payload, x.kind, x.length)
                self._same[key] = found
                self.nodes.append(found)
                self._level[id(found)] = max((self._level[id(a)] for a in args), default=0) + (x.op == "total")
                if x.op == "constant" and (self.takes_all or not x.payload[0]):
                    self.place[id(found)] = f"k{len(self.captured)}_"
                    self.captured.append(x.value)
            seen[id(x)] = self._same[key]
            return seen[id(x)]
        return merge(node)

    def body(self) -> list[str]:
        """The statements."""
        for node in self.nodes:
            if node.op == "total":
                self.place[id(node)] = self._row()
        kept = self._kept()
        lines: list[str] = []
        for level in range(self._level[id(self.result)] + 1):
            for node in self.nodes:
                if node.op in ("blas", "drawn") and self._level[id(node)] == level:
                    lines += self._materialised(node)
            here = [node for node in kept if self._level[id(node)] == level]
            if here:
                lines += self._lane_loop([(node, None) for node in here])
            for length in ("d", "n"):
                sums = [node for node in self.nodes if node.op == "total" and self._level[id(node)] == level + 1
                        and (node.args[0].length or "d") == length]
                if sums:
                    lines += self._pass(sums, length)
        lines += self._last()
        for i in range(self.blocks):  # below the rows of numbers a lane, all of which are known now
            at = f"S[{self.rows} + {i} * d:{self.rows} + {i + 1} * d]"
            lines = [line.replace(f"S[BLOCK{i}]", at) for line in lines]
        return lines

    def _row(self) -> str:
        self.rows += 1
        return f"S[{self.rows - 1}, lane]"

    def _kept(self) -> list[Node]:
        """What is one number a lane, is computed, and is needed by rows."""
        wanted = {id(a) for node in self.nodes if node.kind == "row" or node.op == "total" for a in node.args
                  if node.op != "joined" and a.kind == "lane"}
        return [node for node in self.nodes if id(node) in wanted and node.op not in (*_LEAVES, *_COMPARED, "total")]

    def _materialised(self, node: Node) -> list[str]:
        """A block that is computed as a whole."""
        if self._spare:
            name, lines = self._spare.pop(), []
        else:
            name = f"block{self.blocks}"
            lines = [f"{name} = S[BLOCK{self.blocks}]"]
            self.blocks += 1
        self.place[id(node)] = f"{name}[{{i}}, lane]"
        a, *given = (self._block(x) for x in node.args)
        if node.op == "blas":
            self.by_blas = True
            return [*lines, f"matrix_product({a}, {given[0]}, {name})"]
        u = given[0]
        row = f"min(int({u}[b, lane] * count), count - 1)"
        put = [f"{name}[i, lane] += {a}[{row}, i]"] if len(given) == 1 else [
            "inner = 0.0", "for k in range(d):", f"    inner += {a}[{row}, i, k] * {given[1]}[k, lane]", f"{name}[i, lane] += inner"]
        return [*lines, f"count, draws = {a}.shape[0], {u}.shape[0]", "for i in range(d):",
                *_indented(["for lane in range(lanes):", f"    {name}[i, lane] = 0.0", "for b in range(draws):",
                            "    for lane in range(lanes):", *("        " + line for line in put),
                            *(["for lane in range(lanes):", f"    {name}[i, lane] /= draws"] if node.payload else [])])]

    def _block(self, node: Node) -> str:
        if node.op == "constant":
            return self.place.get(id(node)) or str(node.payload[0])
        if node.op == "block" and node.payload[1] == "whole":
            return str(node.payload[0])
        raise ValueError("formula: expected times(A, w) and drawn_total(A, u, w) of a whole block of weights or draws, got an "
                         "expression; use product(A, x)")

    def _pass(self, sums: list[Node], length: str) -> list[str]:
        """Sums over the rows, together."""
        return ["for lane in range(lanes):", *(f"    {self.place[id(node)]} = 0.0" for node in sums),
                *self._row_loop([(node.args[0], f"{self.place[id(node)]} += {{}}") for node in sums], length)]

    def _last(self) -> list[str]:
        result = self.result
        if result.op == "joined" and any(a.kind == "row" for a in result.args):
            first, second = result.args
            return self._row_loop([(first, f"{self.into}[i, lane] {self.sign} {{}}"),
                                   (second, f"{self.into}[n + i, lane] {self.sign} {{}}")], "n")
        if result.op == "joined":
            return self._lane_loop([(a, f"{self.into}[{i}, lane] {self.sign} {{}}") for i, a in enumerate(result.args)])
        if self.into == "out":
            return self._lane_loop([(result, f"out[lane] {self.sign} {{}}")])
        return self._row_loop([(result, f"{self.into}[i, lane] {self.sign} {{}}")], "d")

    def _lane_loop(self, wanted: list[tuple[Node, str | None]]) -> list[str]:
        lines = self._statements(wanted, "i")
        return ["for lane in range(lanes):", *_indented(lines)]

    def _row_loop(self, wanted: list[tuple[Node, str | None]], length: str) -> list[str]:
        lines = []
        for node in self._inside([node for node, _ in wanted]):
            if node.op == "product":
                lines += self._product(node)
        lines += ["for lane in range(lanes):", *_indented(self._statements(wanted, "i"))]
        return [f"for i in range({length}):", *_indented(lines)]

    def _product(self, node: Node) -> list[str]:
        """Component i of A x, for all lanes."""
        a, x, start = node.args
        self.place[id(node)] = row = self.place.get(id(node)) or self._row()
        if any(inner.op == "product" for inner in self._inside([x])):
            raise ValueError("formula: expected product(A, x) of an x without another product in it; multiply the matrices first")
        return ["for lane in range(lanes):", f"    {row} = {self._bare(start, 'i', {})}", "for k in range(d):",
                "    for lane in range(lanes):", f"        {row} += {self._block(a)}[i, k] * {self._text(x, 'k', {})}"]

    def _inside(self, wanted: list[Node]) -> Iterator[Node]:
        """The nodes that statements compute where they stand, arguments first."""
        reached: set[int] = set()

        def reach(node: Node) -> None:
            if id(node) in reached or node.op in _LEAVES:
                return
            reached.add(id(node))
            if node.op not in _IN_PLACE and id(node) not in self.place:
                for a in node.args:
                    reach(a)
        for node in wanted:
            reach(node)
        return (node for node in self.nodes if id(node) in reached)

    def _statements(self, wanted: list[tuple[Node, str | None]], index: str) -> list[str]:
        """Assignments; what several of them use has a name. A pattern of None keeps the value in a row of scratch."""
        counted: dict[int, int] = {}
        inside = list(self._inside([node for node, _ in wanted]))
        for node in inside:
            if node.op not in _IN_PLACE and id(node) not in self.place:
                for a in node.args:
                    counted[id(a)] = counted.get(id(a), 0) + 1
        for node, _ in wanted:
            counted[id(node)] = counted.get(id(node), 0) + 1
        for node in inside:  # max and min name their arguments more than once
            for a in node.args if node.op in ("max", "min") else ():
                counted[id(a)] = counted.get(id(a), 0) + 2
        named: dict[int, str] = {}
        lines = []
        targets = {id(node) for node, pattern in wanted if pattern is None}
        for node in inside:
            if node.op in _IN_PLACE or id(node) in self.place:
                continue
            if id(node) in targets:
                row, text = self._row(), self._bare(node, index, named)
                lines.append(f"{row} = {text}")
                self.place[id(node)] = row
            elif counted[id(node)] > 1 and node.op not in _COMPARED:
                text = self._bare(node, index, named)
                named[id(node)] = f"t{self.temporaries}"
                self.temporaries += 1
                lines.append(f"{named[id(node)]} = {text}")
        return [*lines, *(pattern.format(self._bare(node, index, named)) for node, pattern in wanted if pattern is not None)]

    def _bare(self, node: Node, index: str, named: dict[int, str]) -> str:
        """The text of a node that stands alone: without parentheses around all of it."""
        text = self._text(node, index, named)
        if not (text.startswith("(") and text.endswith(")")):
            return text
        depths = list(itertools.accumulate((c == "(") - (c == ")") for c in text))
        return text[1:-1] if min(depths[:-1]) > 0 else text

    def _text(self, node: Node, index: str, named: dict[int, str]) -> str:
        if id(node) in named:
            return named[id(node)]
        if node.op == "number":
            return f"({node.value!r})" if node.value < 0 else _literal(node.value)
        if node.op == "constant":
            name = self.place.get(id(node)) or node.payload[0]
            return f"{name}[{index}]" if node.value.ndim else str(name)
        if id(node) in self.place:
            return self.place[id(node)].replace("{i}", index)
        if node.op == "block":
            return _PLACES[node.payload[1]].format(b=node.payload[0], i=index)
        if node.op == "component":
            return f"{node.payload[0]}[{node.payload[1]}, lane]"
        return _PATTERNS.get(node.op, f"math.{node.op}({{}})").format(*(self._text(a, index, named) for a in node.args))


def _literal(value: float) -> str:
    return repr(value) if math.isfinite(value) else f"math.{value!r}"


def _indented(lines: Sequence[str]) -> list[str]:
    return ["    " + line for line in lines]
