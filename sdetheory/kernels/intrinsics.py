"""What kernels can do that Numba's Python cannot: arrays at an address, and exact fused multiply-adds.

A kernel is called with addresses and sizes, so that it needs no wrapper that unpacks arrays; it makes the arrays itself.
This room is imported only where a kernel has to be built.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numba.np import arrayobj

from .machine_code import BLAS_SYMBOL, add_blas, vector_width
from .stand_ins import matrix_product, per_lane

__all__ = ["array_at", "float_of", "fma", "integers_at", "prefer_512"]

ARGUMENTS = {"i": types.int64, "u": types.uint64, "f": types.float64}  # the letters of a kernel's signature


def _array(dtype: Any) -> Any:
    def typed(typing_context, address, shape):  # type: ignore[no-untyped-def]
        array = types.Array(dtype, len(shape), "C")

        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
            made = arrayobj.make_array(array)(context, builder)
            shapes = cgutils.unpack_tuple(builder, args[1], len(shape))
            itemsize = ir.Constant(ir.IntType(64), 8)
            strides, stride = [], itemsize
            for length in reversed(shapes):
                strides.insert(0, stride)
                stride = builder.mul(stride, length)
            data = builder.inttoptr(args[0], context.get_data_type(dtype).as_pointer())
            arrayobj.populate_array(made, data=data, shape=shapes, strides=strides, itemsize=itemsize, meminfo=None)
            return made._getvalue()
        return array(types.int64, types.UniTuple(types.int64, len(shape))), codegen
    return typed


array_at: Any = intrinsic(_array(types.float64))  # array_at(address, shape): float64, C-contiguous, not owned
integers_at: Any = intrinsic(_array(types.int64))


@intrinsic
def float_of(typing_context, bits):  # type: ignore[no-untyped-def]
    """The float whose bits a signed integer holds: constants travel in a table of integers."""
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.bitcast(args[0], ir.DoubleType())
    return types.float64(types.int64), codegen


@intrinsic
def fma(typing_context, x, y, z):  # type: ignore[no-untyped-def]
    """x y + z, rounded once, on every processor."""
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.fma(*args)
    return types.float64(types.float64, types.float64, types.float64), codegen


@intrinsic
def prefer_512(typing_context):  # type: ignore[no-untyped-def]
    """Ask for 512-bit vectors in the kernel that calls this: LLVM takes 256 on many processors with AVX-512.

    Does nothing on processors without AVX-512F, and asks for 256 bits if SDETHEORY_PREFER_256=1 is in the environment when
    the kernel is compiled. Only speed depends on it, no bit of a result.
    """
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        width = vector_width()
        if width is not None:
            set.add(builder.function.attributes, f'"prefer-vector-width"="{width}"')
        return context.get_dummy_value()
    return types.void(), codegen


@intrinsic
def _dgemm(typing_context, A, W, out):  # type: ignore[no-untyped-def]
    """out ← A W for C-contiguous float64 arrays: BLAS, which counts columns first, is asked for outᵀ = Wᵀ Aᵀ."""
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        a, w, c = (arrayobj.make_array(kind)(context, builder, value) for kind, value in zip(signature.args, args, strict=True))
        k, m = cgutils.unpack_tuple(builder, w.shape, 2)
        n = cgutils.unpack_tuple(builder, a.shape, 2)[0]
        integer, letter, pointer = ir.IntType(32), ir.IntType(8), ir.IntType(8).as_pointer()

        def held(value: Any) -> Any:
            return cgutils.alloca_once_value(builder, value)

        sizes = {name: held(builder.trunc(value, integer)) for name, value in (("m", m), ("n", n), ("k", k))}
        one, zero, plain = held(ir.Constant(ir.DoubleType(), 1.0)), held(ir.Constant(ir.DoubleType(), 0.0)), \
            held(ir.Constant(letter, ord("n")))
        arguments = [plain, plain, sizes["m"], sizes["n"], sizes["k"], one, w.data, sizes["m"], a.data, sizes["k"], zero, c.data,
                     sizes["m"]]
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), [pointer] * 13), BLAS_SYMBOL)
        builder.call(function, [builder.bitcast(argument, pointer) for argument in arguments])
        return context.get_dummy_value()
    return types.void(A, W, out), codegen


add_blas()


@overload(matrix_product)
def _matrix_product(A, W, out):  # type: ignore[no-untyped-def]
    return lambda A, W, out: _dgemm(A, W, out)


@overload(per_lane, inline="always")
def _per_lane(value, lane):  # type: ignore[no-untyped-def]
    if isinstance(value, types.Array):
        return lambda value, lane: value[lane]
    return lambda value, lane: value
