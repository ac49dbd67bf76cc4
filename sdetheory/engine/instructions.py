"""The engine's own kernels as LLVM instructions: a Python function, run once, writes them.

`+`, `^`, `>>` on a `Word` or a `Real` write one instruction each, and a `Code` writes loops, branches, loads and stores:

    with code.loop(rows) as row:
        code.put_real(out, row, code.real(x, row) * scale)

So the driver and the noise take milliseconds to make, where inferring their types from Python takes seconds; what a user
writes goes through Numba. Integers are 64 bits wide; no floating-point operation is contracted with another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

__all__ = ["Code", "Real", "Word", "module_of"]

_I1, _I32, _I64, _F64 = ir.IntType(1), ir.IntType(32), ir.IntType(64), ir.DoubleType()


class _Value:
    """An LLVM value, and the builder that writes what is done with it."""

    kind: Any

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def _operand(self, other: Any) -> Any:
        return other.value if isinstance(other, _Value) else ir.Constant(self.kind, other)

    def _with(self, instruction: str, *others: Any) -> Any:
        written = getattr(self.builder, instruction)(self.value, *(self._operand(other) for other in others))
        return type(self)(self.builder, written)


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
        return Condition(self.builder, self.builder.icmp_signed(how, self.value, self._operand(other)))

    def at_most(self, other: Any) -> Word:
        """The smaller of both."""
        return (self < other).pick(self, other)

    def at_least(self, other: Any) -> Word:
        """The larger of both."""
        return (self > other).pick(self, other)

    def as_real(self) -> Real:
        """The number whose bits these are."""
        return Real(self.builder, self.builder.bitcast(self.value, _F64))

    def rounded(self) -> Real:
        """The nearest float64 of this number."""
        return Real(self.builder, self.builder.uitofp(self.value, _F64))


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
        return self._with("fma", factor, summand)

    def sqrt(self) -> Real:
        """The square root, correctly rounded."""
        root = self.builder.module.declare_intrinsic("llvm.sqrt", [_F64])
        return Real(self.builder, self.builder.call(root, [self.value]))

    def as_word(self) -> Word:
        """Its bits."""
        return Word(self.builder, self.builder.bitcast(self.value, _I64))

    def is_finite(self) -> Condition:
        """Whether 0 · self is 0."""
        product = self * 0.0
        return Condition(self.builder, self.builder.fcmp_ordered("==", product.value, self._operand(0.0)))

    def is_below(self, other: Any) -> Condition:
        """Whether it is less than a number; not a number is not."""
        return Condition(self.builder, self.builder.fcmp_ordered("<", self.value, self._operand(other)))


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
        chosen = self.builder.select(self.value, model._operand(then), model._operand(otherwise))
        return type(model)(self.builder, chosen)


class Variable:
    """A number that changes."""

    def __init__(self, builder: Any, value: _Value) -> None:
        with builder.goto_entry_block():
            self._slot = builder.alloca(value.kind)
        self._kind, self._builder = type(value), builder
        self.set(value)

    def set(self, value: Any) -> None:
        """Give it a value."""
        self._builder.store(self.get()._operand(value) if not isinstance(value, _Value) else value.value, self._slot)

    def get(self) -> Any:
        """The value it has here."""
        return self._kind(self._builder, self._builder.load(self._slot))


class Code:
    """Writes the body of one kernel."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

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

    def real(self, address: Word, i: Any) -> Real:
        """Float i of the array at an address."""
        return Real(self.builder, self.builder.load(self._element(_F64, address, i)))

    def integer(self, address: Word, i: Any) -> Word:
        """Integer i of the array at an address."""
        return Word(self.builder, self.builder.load(self._element(_I64, address, i)))

    def put_real(self, address: Word, i: Any, value: Any) -> None:
        """Write float i of the array at an address."""
        written = value.value if isinstance(value, Real) else ir.Constant(_F64, value)
        self.builder.store(written, self._element(_F64, address, i))

    def _element(self, kind: Any, address: Word, i: Any) -> Any:
        index = i.value if isinstance(i, Word) else ir.Constant(_I64, i)
        return self.builder.gep(self.builder.inttoptr(address.value, kind.as_pointer()), [index], inbounds=True)

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
    if vector_width is not None:
        set.add(function.attributes, f'"prefer-vector-width"="{vector_width}"')
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    builder.branch(first := function.append_basic_block("first"))  # the entry block holds variables alone
    builder.position_at_end(first)
    body(Code(builder), *((Real if kind is _F64 else Word)(builder, arg) for kind, arg in zip(kinds, function.args, strict=True)))
    builder.ret(ir.Constant(_I32, 0))
    return str(module)
