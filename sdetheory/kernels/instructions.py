"""The engine's own kernels as LLVM instructions: a Python function, run once, writes them.

`+`, `^`, `>>` on a `Word` or a `Real` write one instruction each, and a `Code` writes loops, branches, loads and stores:

    with code.loop(rows) as row:
        code.put_real(out, row, code.real(x, row) * scale)

So the driver and the noise take milliseconds to make, where inferring their types from Python takes seconds; what a user
writes goes through Numba. Integers are 64 bits wide; no floating-point operation is contracted with another.

A `Word` or a `Real` may hold many numbers side by side, a vector: a formula written for one number writes, given vectors,
the same operation on each of theirs. One number beside a vector, or a Python number, stands for copies of it; what is
made of single numbers is computed once, so it pays to combine those first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

__all__ = ["Code", "Condition", "Real", "Word", "module_of"]

_I1, _I32, _I64, _F64 = ir.IntType(1), ir.IntType(32), ir.IntType(64), ir.DoubleType()


class _Value:
    """An LLVM value, and the builder that writes what is done with it."""

    kind: Any

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    @property
    def lanes(self) -> int:
        """The length of a vector; 0 for a single number."""
        return self.value.type.count if isinstance(self.value.type, ir.VectorType) else 0

    def _as_many(self, kind: Any) -> Any:
        """The type of as many numbers of a kind as there are here."""
        return ir.VectorType(kind, self.lanes) if self.lanes else kind

    def _made(self, other: Any) -> Any:
        """A value, or the constant of this kind that a Python number names."""
        return other if isinstance(other, _Value) else type(self)(self.builder, ir.Constant(self.kind, other))

    def _together(self, *others: Any) -> list[Any]:
        """This and others for LLVM, all of one length."""
        values = [self, *map(self._made, others)]
        lanes = max(value.lanes for value in values)
        return [value.spread(lanes).value for value in values]

    def spread(self, lanes: int) -> Any:
        """The vector of so many copies of a single number; a vector stays what it is."""
        if lanes == self.lanes:
            return self
        if isinstance(self.value, ir.Constant):
            return type(self)(self.builder, ir.Constant(ir.VectorType(self.value.type, lanes), [self.value] * lanes))
        empty = ir.Constant(ir.VectorType(self.value.type, lanes), ir.Undefined)
        first = type(self)(self.builder, self.builder.insert_element(empty, self.value, ir.Constant(_I32, 0)))
        return first.shuffled(first, [0] * lanes)

    def shuffled(self, other: Any, places: Sequence[int]) -> Any:
        """The numbers at these places of two vectors, this one and another laid behind it."""
        mask = ir.Constant(ir.VectorType(_I32, len(places)), list(places))
        return type(self)(self.builder, self.builder.shuffle_vector(self.value, other.value, mask))

    def _with(self, instruction: str, *others: Any) -> Any:
        return type(self)(self.builder, getattr(self.builder, instruction)(*self._together(*others)))

    def _call(self, name: str, *others: Any) -> Any:
        """What LLVM's function of this name gives for each number."""
        values, module = self._together(*others), self.builder.module
        kind = values[0].type
        name = f"llvm.{name}.v{kind.count}f64" if isinstance(kind, ir.VectorType) else f"llvm.{name}.f64"
        function = module.globals.get(name) or ir.Function(module, ir.FunctionType(kind, [kind] * len(values)), name)
        return type(self)(self.builder, self.builder.call(function, values))


class Word(_Value):
    """64 bits: shifted, divided and rounded as an unsigned number, compared as a signed one."""

    kind = _I64

    def __add__(self, other: Any) -> Word:
        return self._with("add", other)

    def __sub__(self, other: Any) -> Word:
        return self._with("sub", other)

    def __mul__(self, other: Any) -> Word:
        return self._with("mul", other)

    def __floordiv__(self, other: Any) -> Word:
        return self._with("udiv", other)

    def __and__(self, other: Any) -> Word:
        return self._with("and_", other)

    def __or__(self, other: Any) -> Word:
        return self._with("or_", other)

    def __xor__(self, other: Any) -> Word:
        return self._with("xor", other)

    def __lshift__(self, other: Any) -> Word:
        return self._with("shl", other)

    def __rshift__(self, other: Any) -> Word:
        return self._with("lshr", other)

    def __lt__(self, other: Any) -> Condition:
        return self._compared("<", other)

    def __gt__(self, other: Any) -> Condition:
        return self._compared(">", other)

    def equals(self, other: Any) -> Condition:
        """Whether both are the same number."""
        return self._compared("==", other)

    def _compared(self, how: str, other: Any) -> Condition:
        return Condition(self.builder, self.builder.icmp_signed(how, *self._together(other)))

    def at_most(self, other: Any) -> Word:
        """The smaller of both."""
        return (self < other).pick(self, other)

    def at_least(self, other: Any) -> Word:
        """The larger of both."""
        return (self > other).pick(self, other)

    def as_real(self) -> Real:
        """The number whose bits these are."""
        return Real(self.builder, self.builder.bitcast(self.value, self._as_many(_F64)))

    def rounded(self) -> Real:
        """The nearest float64 of this number."""
        return Real(self.builder, self.builder.uitofp(self.value, self._as_many(_F64)))


class Real(_Value):
    """A float64."""

    kind = _F64

    def __add__(self, other: Any) -> Real:
        return self._with("fadd", other)

    def __sub__(self, other: Any) -> Real:
        return self._with("fsub", other)

    def __mul__(self, other: Any) -> Real:
        return self._with("fmul", other)

    def __truediv__(self, other: Any) -> Real:
        return self._with("fdiv", other)

    def __neg__(self) -> Real:
        return self._with("fneg")

    def fma(self, factor: Any, summand: Any) -> Real:
        """self · factor + summand, rounded once, on every processor."""
        return self._call("fma", factor, summand)

    def sqrt(self) -> Real:
        """The square root, correctly rounded."""
        return self._call("sqrt")

    def as_word(self) -> Word:
        """Its bits."""
        return Word(self.builder, self.builder.bitcast(self.value, self._as_many(_I64)))

    def is_finite(self) -> Condition:
        """Whether 0 · self is 0."""
        return Condition(self.builder, self.builder.fcmp_ordered("==", *(self * 0.0)._together(0.0)))

    def is_below(self, other: Any) -> Condition:
        """Whether it is less than a number; not a number is not."""
        return Condition(self.builder, self.builder.fcmp_ordered("<", *self._together(other)))


class Condition(_Value):
    """True or false."""

    kind = _I1

    def __and__(self, other: Condition) -> Condition:
        return self._with("and_", other)

    def __or__(self, other: Condition) -> Condition:
        return self._with("or_", other)

    def __invert__(self) -> Condition:
        return self._with("not_")

    def pick(self, then: Any, otherwise: Any) -> Any:
        """`then` where true, else `otherwise`; one of them may be a Python number."""
        model = then if isinstance(then, _Value) else otherwise
        chosen = self.builder.select(*self._together(model._made(then), model._made(otherwise)))
        return type(model)(self.builder, chosen)


class Variable:
    """A number that changes."""

    def __init__(self, builder: Any, value: _Value) -> None:
        with builder.goto_entry_block():
            self._slot = builder.alloca(value.value.type)
        self._kind, self._builder = type(value), builder
        self.set(value)

    def set(self, value: Any) -> None:
        """Give it a value."""
        made = value if isinstance(value, _Value) else self.get()._made(value)
        self._builder.store(made.value, self._slot)

    def get(self) -> Any:
        """The value it has here."""
        return self._kind(self._builder, self._builder.load(self._slot))


class Code:
    """Writes the body of one kernel."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self.calls_libm = False

    def word(self, number: int) -> Word:
        """A constant."""
        return Word(self.builder, ir.Constant(_I64, number))

    def variable(self, value: Any) -> Variable:
        """A number that changes, an integer or a value of any kind."""
        return Variable(self.builder, self.word(value) if isinstance(value, int) else value)

    @contextmanager
    def loop(self, stop: Any, start: Any = 0, step: int = 1) -> Iterator[Word]:
        """For every number from `start` on that is below `stop`."""
        i = self.variable(start)
        with self.loop_while(lambda: i.get() < stop):
            yield i.get()
            i.set(i.get() + step)

    @contextmanager
    def loop_while(self, condition: Callable[[], Condition]) -> Iterator[None]:
        """As long as the condition holds; it is tested first."""
        test, body, after = (self.builder.append_basic_block(name) for name in ("test", "body", "after"))
        self.builder.branch(test)
        self.builder.position_at_end(test)
        self.builder.cbranch(condition().value, body, after)
        self.builder.position_at_end(body)
        yield
        self.builder.branch(test)
        self.builder.position_at_end(after)

    @contextmanager
    def where(self, condition: Condition) -> Iterator[None]:
        """Only if the condition holds."""
        with self.builder.if_then(condition.value):
            yield

    def vector(self, numbers: Sequence[int]) -> Word:
        """A constant vector."""
        return Word(self.builder, ir.Constant(ir.VectorType(_I64, len(numbers)), list(numbers)))

    def room(self, count: int) -> Word:
        """The address of room for `count` numbers, at the beginning of a cache line.

        What LLVM keeps on the stack then lies at multiples of its size, too.
        """
        with self.builder.goto_entry_block():
            room = self.builder.alloca(ir.ArrayType(_I64, count))
            room.align = 64
        return Word(self.builder, self.builder.ptrtoint(room, _I64))

    def real(self, address: Word, i: Any, lanes: int = 0) -> Real:
        """Float i of the array at an address, or the vector of the `lanes` floats from there on."""
        return Real(self.builder, self.builder.load(self._element(_F64, address, i, lanes), align=8))

    def integer(self, address: Word, i: Any, lanes: int = 0) -> Word:
        """Integer i of the array at an address, or the vector of the `lanes` integers from there on."""
        return Word(self.builder, self.builder.load(self._element(_I64, address, i, lanes), align=8))

    def put_real(self, address: Word, i: Any, value: Any) -> None:
        """Write float i of the array at an address, and those behind it where the value is a vector."""
        written = value if isinstance(value, Real) else Real(self.builder, ir.Constant(_F64, value))
        self.builder.store(written.value, self._element(_F64, address, i, written.lanes), align=8)

    def _element(self, kind: Any, address: Word, i: Any, lanes: int) -> Any:
        index = i.value if isinstance(i, Word) else ir.Constant(_I64, i)
        element = self.builder.gep(self.builder.inttoptr(address.value, kind.as_pointer()), [index], inbounds=True)
        return self.builder.bitcast(element, ir.VectorType(kind, lanes).as_pointer()) if lanes else element

    def copy(self, into: Word, source: Word, count: Word) -> None:
        """Copy `count` floats from one address to another."""
        with self.loop(count) as i:
            self.put_real(into, i, self.real(source, i))

    def call(self, address: Word, *arguments: _Value) -> None:
        """Call the kernel at an address; where it fails, this one ends with its status."""
        signature = ir.FunctionType(_I32, [argument.kind for argument in arguments])
        target = self.builder.inttoptr(address.value, signature.as_pointer())
        status = self.builder.call(target, [argument.value for argument in arguments])
        with self.builder.if_then(self.builder.icmp_unsigned("!=", status, ir.Constant(_I32, 0)), likely=False):
            self.builder.ret(status)


def module_of(name: str, signature: str, body: Callable[..., None], vector_width: int | None) -> str:
    """The LLVM module of a kernel: `body(code, *arguments)` writes it; it returns 0 where nothing that it calls fails."""
    module = ir.Module(name)
    kinds = [_F64 if letter == "f" else _I64 for letter in signature]
    function = ir.Function(module, ir.FunctionType(_I32, kinds), name)
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    builder.branch(first := function.append_basic_block("first"))  # the entry block holds variables alone
    builder.position_at_end(first)
    code = Code(builder)
    body(code, *((Real if kind is _F64 else Word)(builder, arg) for kind, arg in zip(kinds, function.args, strict=True)))
    builder.ret(ir.Constant(_I32, 0))
    if vector_width is not None and code.calls_libm:  # number by number: the wider a vector, the longer it takes to come apart
        vector_width = 256
    if vector_width is not None:
        set.add(function.attributes, f'"prefer-vector-width"="{vector_width}"')
    if vector_width == 256:  # no wider ones for vectors written as such either
        set.add(function.attributes, '"min-legal-vector-width"="256"')
    return str(module)
