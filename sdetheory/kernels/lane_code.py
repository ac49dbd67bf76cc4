"""Simple kernels as instructions: assignments, loops over ranges, arithmetic on arrays, the functions of `math`.

What SymPy prints for a step is so simple, and so are most block functions. Numba takes a third of a second for each; read here
they take a hundredth, with the same operations in the same order, and functions that they call are written in their place.
Whatever is not so simple is `NotSimple`, and goes to Numba.
"""

from __future__ import annotations

import ast
import math
import textwrap
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from llvmlite import ir

from . import lanes
from .functions import CompiledLater
from .instructions import Code, Condition, Real, Variable, Word

__all__ = ["NotSimple", "body_of"]

_BY_LLVM = {"exp", "log", "sin", "cos", "sqrt", "floor", "ceil", "fabs", "pow", "copysign"}  # LLVM has an intrinsic for them
_BY_PROCESSOR = {"sqrt", "floor", "ceil", "fabs", "copysign"}  # LLVM calls libm for the rest
_BY_LIBM = {"tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "expm1", "log1p", "atan2", "hypot"}
_CONSTANTS = {"inf": math.inf, "nan": math.nan, "pi": math.pi, "e": math.e}
_ARITHMETIC = {ast.Add: "__add__", ast.Sub: "__sub__", ast.Mult: "__mul__", ast.Div: "__truediv__"}
_COMPARED = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}


class NotSimple(Exception):
    """A text with something in it that is left to Numba."""


class _Array:
    """Numbers from number `begin` of an address on, the last index innermost.

    Parts keep the address of the whole: LLVM then sees that two rows of one block do not overlap.
    """

    def __init__(self, address: Word, begin: Word, shape: list[Word], kind: type) -> None:
        self.address, self.begin, self.shape, self.kind = address, begin, shape, kind

    def offset(self, indices: list[Word]) -> Word:
        """Where the part with these first indices begins, counted in numbers from the address."""
        at = indices[0]
        for index, length in zip(indices[1:], self.shape[1:], strict=False):
            at = at * length + index
        for length in self.shape[len(indices):]:
            at = at * length
        return self.begin + at

    def part(self, indices: list[Word]) -> _Array:
        """The array that is left when the first indices are given."""
        return _Array(self.address, self.offset(indices), self.shape[len(indices):], self.kind)

    def rows(self, first: Word, stop: Word) -> _Array:
        """The rows first … stop − 1."""
        return _Array(self.address, self.offset([first]), [stop - first, *self.shape[1:]], self.kind)


def body_of(text: str, functions: Mapping[str, Any]) -> Callable[..., None]:
    """The function that writes the instructions of a text, `def name(arguments): …`, and of the functions that it names."""
    definition = _definition(text)

    def body(k: Code, *arguments: Any) -> None:
        _Writer(k, definition, list(arguments), functions).function()
    return body


def _definition(text: str) -> ast.FunctionDef:
    (definition,) = ast.parse(textwrap.dedent(text)).body
    if not isinstance(definition, ast.FunctionDef) or definition.args.defaults or definition.args.vararg:
        raise NotSimple("not a function of some arguments")
    return definition


@cache
def _source_of(function: CompiledLater) -> ast.FunctionDef:
    try:
        return _definition(function.text)
    except (OSError, SyntaxError, TypeError) as error:
        raise NotSimple(f"no source: {error}") from None


class _Writer:
    """Writes a function, statement after statement; `names` says what each name stands for."""

    def __init__(self, k: Code, definition: ast.FunctionDef, arguments: list[Any], outside: Mapping[str, Any]) -> None:
        self.k, self.definition, self.outside = k, definition, outside
        parameters = [parameter.arg for parameter in definition.args.args]
        if len(parameters) != len(arguments):
            raise NotSimple(f"{len(arguments)} arguments for {definition.name}")
        assigned = {node.id for node in ast.walk(definition) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        self.names: dict[str, Any] = {}
        for name, value in zip(parameters, arguments, strict=True):
            changes = name in assigned and not isinstance(value, _Array)
            self.names[name] = k.variable(self._real(value) if isinstance(value, float) else value) if changes else value

    def function(self) -> Any:
        """Write all of it; what it returns."""
        *body, last = self.definition.body
        if not isinstance(last, ast.Return):
            return self.statements([*body, last])
        self.statements(body)
        if isinstance(last.value, ast.Tuple):
            return [self.value(element) for element in last.value.elts]
        return None if last.value is None else self.value(last.value)

    def statements(self, body: list[ast.stmt]) -> None:
        """Write them in order."""
        for statement in body:
            method = getattr(self, f"_{type(statement).__name__}", None)
            if method is None:
                raise NotSimple(type(statement).__name__)
            method(statement)

    def _Pass(self, statement: ast.Pass) -> None:
        pass

    def _Expr(self, statement: ast.Expr) -> None:
        if isinstance(statement.value, ast.Call):
            self._of_Call(statement.value)
        elif not (isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str)):
            raise NotSimple(ast.unparse(statement))

    def _Assign(self, statement: ast.Assign) -> None:
        (target,) = statement.targets
        if not isinstance(target, ast.Tuple):
            self._put(target, self.value(statement.value))
            return
        if isinstance(statement.value, ast.Tuple):
            values = [self.value(element) for element in statement.value.elts]  # all of them before any name changes
        elif isinstance(statement.value, ast.Attribute) and statement.value.attr == "shape":
            values = list(self._array(statement.value.value).shape)
        else:
            values = self.value(statement.value)
        if not isinstance(values, list) or len(values) != len(target.elts):
            raise NotSimple(ast.unparse(statement))
        for part, value in zip(target.elts, values, strict=True):
            self._put(part, value)

    def _AugAssign(self, statement: ast.AugAssign) -> None:
        load = ast.copy_location(ast.BinOp(_loaded(statement.target), statement.op, statement.value), statement)
        self._put(statement.target, self.value(load))

    def _put(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Subscript):
            array, indices = self._array(target.value), self._indices(target)
            if len(indices) != len(array.shape) or array.kind is not Real:
                raise NotSimple(ast.unparse(target))
            self.k.put_real(array.address, array.offset(indices), self._real(value))
        elif not isinstance(target, ast.Name):
            raise NotSimple(ast.unparse(target))
        elif isinstance(value, _Array):
            self.names[target.id] = value
        elif isinstance(held := self.names.get(target.id), Variable):
            held.set(self._real(value) if isinstance(held.get(), Real) else self._word(value))
        elif isinstance(value, list | None):
            raise NotSimple(ast.unparse(target))
        else:
            self.names[target.id] = self.k.variable(self._real(value) if isinstance(value, float) else value)

    def _For(self, statement: ast.For) -> None:
        call = statement.iter
        if not (isinstance(call, ast.Call) and ast.unparse(call.func) == "range" and isinstance(statement.target, ast.Name)
                and not statement.orelse):
            raise NotSimple(ast.unparse(call))
        first, stop, step = self._range(call.args)
        with self.k.loop(stop - first if step > 0 else first - stop, 0, abs(step)) as count:
            self.names[statement.target.id] = first + count if step > 0 else first - count
            self.statements(statement.body)

    def _range(self, arguments: list[ast.expr]) -> tuple[Word, Word, int]:
        bounds = [self._word(self.value(argument)) for argument in arguments[:2]]
        step = ast.literal_eval(arguments[2]) if len(arguments) == 3 else 1
        return (bounds[0] if len(bounds) == 2 else self.k.word(0)), bounds[-1], step

    def _While(self, statement: ast.While) -> None:
        with self.k.loop_while(lambda: self._condition(statement.test)):
            self.statements(statement.body)

    def _If(self, statement: ast.If) -> None:
        """A branch; a name that only a branch gives a value has none after it."""
        condition = self._condition(statement.test)
        before = dict(self.names)
        with self.k.where(condition):
            self.statements(statement.body)
        self.names = dict(before)
        if statement.orelse:
            with self.k.where(~condition):
                self.statements(statement.orelse)
            self.names = before

    def value(self, node: ast.expr) -> Any:
        """A `Real`, a `Word`, a Python number, or an array."""
        method = getattr(self, f"_of_{type(node).__name__}", None)
        if method is None:
            raise NotSimple(type(node).__name__)
        return method(node)

    def _of_Constant(self, node: ast.Constant) -> Any:
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            raise NotSimple(repr(node.value))
        return self.k.word(node.value) if isinstance(node.value, int) else node.value

    def _of_Name(self, node: ast.Name) -> Any:
        if node.id not in self.names:
            known = {**_CONSTANTS, **self.outside}.get(node.id)
            if isinstance(known, bool) or not isinstance(known, int | float):
                raise NotSimple(f"name {node.id}")
            return self.k.word(known) if isinstance(known, int) else known
        held = self.names[node.id]
        return held.get() if isinstance(held, Variable) else held

    def _of_Attribute(self, node: ast.Attribute) -> Any:
        text = ast.unparse(node)
        if text.startswith("math.") and text[5:] in _CONSTANTS:
            return _CONSTANTS[text[5:]]
        if node.attr == "size":
            (length,) = self._array(node.value).shape
            return length
        raise NotSimple(text)

    def _of_Subscript(self, node: ast.Subscript) -> Any:
        if isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
            return self._array(node.value.value).shape[ast.literal_eval(node.slice)]
        array = self._array(node.value)
        if isinstance(node.slice, ast.Slice):
            first, stop = (None if bound is None else self._word(self.value(bound)) for bound in (node.slice.lower, node.slice.upper))
            return array.rows(self.k.word(0) if first is None else first, array.shape[0] if stop is None else stop)
        indices = self._indices(node)
        if len(indices) < len(array.shape):
            return array.part(indices)
        at = array.offset(indices)
        return self.k.integer(array.address, at) if array.kind is Word else self.k.real(array.address, at)

    def _of_UnaryOp(self, node: ast.UnaryOp) -> Any:
        value = self.value(node.operand)
        if isinstance(node.op, ast.UAdd):
            return value
        if not isinstance(node.op, ast.USub):
            raise NotSimple(ast.unparse(node))
        return self.k.word(0) - value if isinstance(value, Word) else -value

    def _of_BinOp(self, node: ast.BinOp) -> Any:
        left, right, name = self.value(node.left), self.value(node.right), _ARITHMETIC.get(type(node.op))
        if isinstance(node.op, ast.FloorDiv) and isinstance(left, Word) and isinstance(right, Word):
            return left // right  # sizes and indices, which are not negative
        if name is None:
            raise NotSimple(ast.unparse(node))
        if isinstance(left, Word) and isinstance(right, Word) and name != "__truediv__":
            return getattr(left, name)(right)
        return getattr(self._real(left), name)(self._real(right))

    def _of_IfExp(self, node: ast.IfExp) -> Any:
        condition = self._condition(node.test)
        return condition.pick(self._real(self.value(node.body)), self._real(self.value(node.orelse)))

    def _of_Call(self, node: ast.Call) -> Any:
        name = ast.unparse(node.func)
        if node.keywords:
            raise NotSimple(ast.unparse(node))
        if name in ("array_at", "integers_at"):
            shape = [self._word(self.value(length)) for length in node.args[1].elts]  # type: ignore[attr-defined]
            return _Array(self.value(node.args[0]), self.k.word(0), shape, Word if name == "integers_at" else Real)
        return self._called(name, [self.value(argument) for argument in node.args])

    def _called(self, name: str, arguments: list[Any]) -> Any:
        function = self.outside.get(name, getattr(lanes, name, None))
        if isinstance(function, CompiledLater):
            if "fastmath" in function.options:
                raise NotSimple(f"{name}, whose sums may be reassociated")
            return _Writer(self.k, _source_of(function), arguments, function.py_func.__globals__).function()
        if name == "prefer_512":
            return None
        if name == "per_lane":
            value, lane = arguments
            return self.k.real(value.address, value.offset([lane])) if isinstance(value, _Array) else value
        if name == "float_of":
            return arguments[0].as_real()
        if name == "fma":
            first, second, third = (self._real(a) for a in arguments)
            return first.fma(second, third)
        if name in ("min", "max") and len(arguments) == 2:
            return self._extreme(name, *arguments)
        if name == "abs" and not isinstance(arguments[0], Word):
            return self._function("fabs", arguments)
        if name == "int" and isinstance(arguments[0], Real):
            return Word(self.k.builder, self.k.builder.fptosi(arguments[0].value, ir.IntType(64)))
        if name.startswith(("math.", "np.")):
            return self._function(name.partition(".")[2], arguments)
        raise NotSimple(name)

    def _extreme(self, name: str, first: Any, second: Any) -> Any:
        """Of two floats as Python has it: the first, unless the second is beyond it."""
        if isinstance(first, Word) and isinstance(second, Word):
            return first.at_most(second) if name == "min" else first.at_least(second)
        first, second = self._real(first), self._real(second)
        return self._compare(second, "<" if name == "min" else ">", first).pick(second, first)

    def _function(self, name: str, arguments: list[Any]) -> Real:
        values = [self._real(a).value for a in arguments]
        kinds, builder = [ir.DoubleType()] * len(values), self.k.builder
        self.k.calls_libm |= name not in _BY_PROCESSOR
        if name in _BY_LLVM:
            function = builder.module.declare_intrinsic(f"llvm.{name}", [ir.DoubleType()],
                                                        ir.FunctionType(ir.DoubleType(), kinds))
        elif name in _BY_LIBM:
            function = builder.module.globals.get(name) or ir.Function(
                builder.module, ir.FunctionType(ir.DoubleType(), kinds), name)
            function.attributes.add("nounwind")
        else:
            raise NotSimple(f"math.{name}")
        return Real(builder, builder.call(function, values))

    def _condition(self, node: ast.expr) -> Condition:
        if isinstance(node, ast.BoolOp):
            first, *rest = (self._condition(value) for value in node.values)
            for other in rest:
                first = first & other if isinstance(node.op, ast.And) else first | other
            return first
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self._condition(node.operand)
        if isinstance(node, ast.Constant) and isinstance(node.value, bool):
            return Condition(self.k.builder, ir.Constant(ir.IntType(1), node.value))
        if not (isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARED):
            raise NotSimple(ast.unparse(node))
        return self._compare(self.value(node.left), _COMPARED[type(node.ops[0])], self.value(node.comparators[0]))

    def _compare(self, left: Any, how: str, right: Any) -> Condition:
        builder = self.k.builder
        if isinstance(left, Word) and isinstance(right, Word):
            return Condition(builder, builder.icmp_signed(how, left.value, right.value))
        compare = builder.fcmp_unordered if how == "!=" else builder.fcmp_ordered
        return Condition(builder, compare(how, self._real(left).value, self._real(right).value))

    def _indices(self, node: ast.Subscript) -> list[Word]:
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return [self._word(self.value(part)) for part in parts]

    def _array(self, node: ast.expr) -> _Array:
        found = self.names.get(node.id) if isinstance(node, ast.Name) else self.value(node)
        if not isinstance(found, _Array):
            raise NotSimple(ast.unparse(node))
        return found

    def _word(self, value: Any) -> Word:
        if not isinstance(value, Word):
            raise NotSimple("an index that is no integer")
        return value

    def _real(self, value: Any) -> Real:
        """A float, of an integer the nearest."""
        if isinstance(value, Real):
            return value
        if isinstance(value, Word):
            return Real(self.k.builder, self.k.builder.sitofp(value.value, ir.DoubleType()))
        if isinstance(value, float):
            return Real(self.k.builder, ir.Constant(ir.DoubleType(), value))
        raise NotSimple(f"a number in place of {value!r}")


def _loaded(target: ast.expr) -> ast.expr:
    """The target of an assignment as an expression."""
    return ast.parse(ast.unparse(target), mode="eval").body
