"""Philox 4x32-10 and what turns its words into variates, for use inside compiled kernels.

Ten rounds of (c0, c1, c2, c3) -> (hi(M1 c2) ^ c1 ^ k0, lo(M1 c2), hi(M0 c0) ^ c3 ^ k1, lo(M0 c0)), with the key (k0, k1)
moved on by Weyl constants from round to round (Salmon, Moraes, Dror, Shaw 2011), take the 128-bit counter (path, block) to
two words of 64 random bits. Box-Muller on a quarter turn, with signs from spare bits, makes two normals of them: log, sin
and cos are needed on short intervals only, are branch-free polynomials there, and so the loops that call them vectorise.

Every operation is an IEEE one or an explicit fused multiply-add, never a contraction the compiler may or may not make: the
same bits come out of scalar and vector code of any width. Errors against the exact values: `minus_log` below 2^-51 of itself,
`sin_cos_half_pi` below 2^-52, so a normal is within 4 * 2^-52 times its pair's radius of the exact map of its words.
"""

from __future__ import annotations

import math
import os
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

__all__ = ["as_bits", "as_float", "fma", "minus_log", "normal_pair", "philox", "prefer_512", "sin_cos_half_pi",
           "three_point_of_word", "uniform_of_word"]

U = np.uint64
KERNEL: dict[str, Any] = {"nogil": True, "error_model": "numpy", "cache": True}
INLINED: dict[str, Any] = {**KERNEL, "forceinline": True}


@intrinsic
def as_float(typing_context, bits):
    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.DoubleType())
    return types.float64(types.uint64), codegen


@intrinsic
def as_bits(typing_context, value):
    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.IntType(64))
    return types.uint64(types.float64), codegen


@intrinsic
def fma(typing_context, x, y, z):
    """x y + z, rounded once, on every processor."""
    def codegen(context, builder, signature, args):
        return builder.fma(*args)
    return types.float64(types.float64, types.float64, types.float64), codegen


def _vector_width() -> int | None:
    """The width to ask for, in bits; None leaves it to LLVM."""
    if os.environ.get("SDETHEORY_PREFER_256", "") == "1":
        return 256
    return 512 if llvm.get_host_cpu_features().get("avx512f", False) else None


@intrinsic
def prefer_512(typing_context):
    """Ask for 512-bit vectors in the kernel that calls this: LLVM takes 256 on many processors with AVX-512.

    Does nothing on processors without AVX-512F, and asks for 256 bits if SDETHEORY_PREFER_256=1 is in the environment when
    the kernel is compiled (kernels already in Numba's cache keep their width). Only speed depends on it, no bit of a result.
    """
    def codegen(context, builder, signature, args):
        width = _vector_width()
        if width is not None:
            set.add(builder.function.attributes, f'"prefer-vector-width"="{width}"')
        return context.get_dummy_value()
    return types.void(), codegen


MULTIPLIER_0, MULTIPLIER_1 = U(0xD2511F53), U(0xCD9E8D57)
WEYL_0, WEYL_1 = U(0x9E3779B9), U(0xBB67AE85)
LOW32, S32 = U(0xFFFFFFFF), U(32)


@njit(**INLINED)
def _round(c0, c1, c2, c3, k0, k1):
    """One Philox round on 32-bit words kept in 64-bit lanes; the upper halves hold rubbish that no product reads."""
    p0 = MULTIPLIER_0 * (c0 & LOW32)
    p1 = MULTIPLIER_1 * (c2 & LOW32)
    return (p1 >> S32) ^ c1 ^ k0, p1, (p0 >> S32) ^ c3 ^ k1, p0


@njit(**INLINED)
def philox(path, block, key):
    """The 128 bits of counter (path, block) under `key`, all uint64, as two words (w0 2^32 + w1, w2 2^32 + w3)."""
    k0, k1 = key & LOW32, key >> S32
    c0, c1, c2, c3 = _round(path, path >> S32, block, block >> S32, k0, k1)
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0 + WEYL_0, k1 + WEYL_1)
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0 + U(2) * WEYL_0, k1 + U(2) * WEYL_1)
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0 + U(3) * WEYL_0, k1 + U(3) * WEYL_1)
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0 + U(4) * WEYL_0, k1 + U(4) * WEYL_1)
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0 + U(5) * WEYL_0, k1 + U(5) * WEYL_1)
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0 + U(6) * WEYL_0, k1 + U(6) * WEYL_1)
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0 + U(7) * WEYL_0, k1 + U(7) * WEYL_1)
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0 + U(8) * WEYL_0, k1 + U(8) * WEYL_1)
    c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0 + U(9) * WEYL_0, k1 + U(9) * WEYL_1)
    return (c0 << S32) | (c1 & LOW32), (c2 << S32) | (c3 & LOW32)


ONE, LOW52, SIGN, S12 = U(0x3FF0000000000000), U(0x000FFFFFFFFFFFFF), U(0x8000000000000000), U(12)
ROOT_HALF = U(0x3FE6A09E667F3BCD)  # bits of sqrt(1/2)
BIAS, TWO52 = U(0x4000000000000000), U(0x4330000000000000)  # 1024 in the exponent field; bits of 2^52


@njit(**INLINED)
def minus_log(u):
    """-log u for u in [2^-65, 1]: u = 2^e (1 + f), 1 + f in [sqrt(1/2), sqrt 2), log(1 + f) = 2 artanh(f / (2 + f))."""
    shifted = (as_bits(u) - ROOT_HALF) + BIAS
    exponent = as_float(TWO52 | (shifted >> U(52))) - (2.0**52 + 1024.0)
    f = as_float((shifted & LOW52) + ROOT_HALF) - 1.0
    s = f / (2.0 + f)
    w = s * s
    p = fma(0.14616449685043406, w, 0.15331721600556042)
    p = fma(p, w, 0.18182889125261723)
    p = fma(p, w, 0.2222221113479508)
    p = fma(p, w, 0.28571428625975487)
    p = fma(p, w, 0.39999999999899505)
    p = fma(p, w, 0.666666666666667)
    return fma(exponent, -0.6931471805599453, -fma(s * w, p, s + s))


@njit(**INLINED)
def sin_cos_half_pi(r):
    """(sin, cos) of pi r / 2 for r in [-1/2, 1/2]."""
    t = r * r
    s = fma(5.633933781537854e-08, t, -3.59864335298231e-06)
    s = fma(s, t, 0.0001604411507421909)
    s = fma(s, t, -0.004681754132340976)
    s = fma(s, t, 0.07969262624604301)
    s = fma(s, t, -0.6459640975062443)
    s = fma(s, t, 1.5707963267948966)
    c = fma(-6.321256869628588e-09, t, 4.710609726757823e-07)
    c = fma(c, t, -2.520203677046026e-05)
    c = fma(c, t, 0.0009192602741831558)
    c = fma(c, t, -0.02086348076331121)
    c = fma(c, t, 0.2536695079010467)
    c = fma(c, t, -1.2337005501361697)
    return r * s, fma(c, t, 1.0)


@njit(**INLINED)
def normal_pair(a, b, scale):
    """Two independent normals times `scale` from words a, b: cos phi = (c - s)/sqrt 2, sin phi = (c + s)/sqrt 2."""
    radius = scale * math.sqrt(minus_log(fma(np.float64(a), 2.0**-64, 2.0**-65)))
    s, c = sin_cos_half_pi(as_float(ONE | (b & LOW52)) - 1.5)
    return (as_float(as_bits(radius * (c - s)) ^ (b & SIGN)),
            as_float(as_bits(radius * (c + s)) ^ ((b << U(1)) & SIGN)))


@njit(**INLINED)
def uniform_of_word(word):
    """A uniform in [2^-53, 1 - 2^-53] from the top 52 bits of a word; exact."""
    return as_float(ONE | (word >> S12)) - (1.0 - 2.0**-53)


ONE_THIRD = U(715827883)  # round(2^31 / 3): each of the three probabilities is off by less than 2^-32


@njit(**INLINED)
def three_point_of_word(word, value):
    """+value, -value or 0 with probabilities 1/6, 1/6, 2/3 from the low 32 bits of `word`."""
    size = as_bits(value) if ((word & LOW32) >> U(1)) < ONE_THIRD else U(0)
    return as_float(size | ((word << U(63)) & (SIGN if size != U(0) else U(0))))
