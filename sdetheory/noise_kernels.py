"""Noise made inside compiled kernels: noise number i of path k is a function of (key, k, i) and nothing else.

Philox 4x32-10 (Salmon, Moraes, Dror, Shaw 2011) maps the 128-bit counter (path, i // per) under a 64-bit key to two words
a, b of 64 random bits, which hold `per` variates; number i is slot i % per of its counter:

======== === =================================================================================================
kind     per number i
======== === =================================================================================================
normal   2   u = (a + 1/2) 2^-64, t = (low 52 bits of b) 2^-52, phi = pi t / 2;
             slot 0: (-1)^(bit 63 of b) sqrt(-2 log u) cos phi; slot 1: (-1)^(bit 62 of b) sqrt(-2 log u) sin phi
uniform  2   (floor(a / 2^12) + 1/2) 2^-52 in slot 0, the same of b in slot 1: inside (0, 1), symmetric about 1/2
two      128 -scale where bit (slot % 64) of a (slots 0-63) or of b (slots 64-127) is set, else +scale
three    4   w = the 32-bit word of the slot (a high, a low, b high, b low): 0 unless floor(w / 2) < round(2^31 / 3),
             then -sqrt(3) scale for odd w and +sqrt(3) scale for even w
======== === =================================================================================================

Box-Muller on a quarter turn, with signs from spare bits, needs log, sin and cos on short intervals only, so all three are
branch-free polynomials and the loops vectorise. Every operation is an IEEE one or an explicit fused multiply-add: the same
bits come out of scalar and vector code of any width, for any split of paths, indices and threads. The plain-NumPy twins
are in `sdetheory.random`. Different kinds read the same words: give each kind its own key.
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

__all__ = ["fill_normals", "fill_normals_in_time", "fill_three_point", "fill_three_point_in_time", "fill_two_point",
           "fill_two_point_in_time", "fill_uniforms", "fill_uniforms_in_time", "normal_pair", "philox", "prefer_512",
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


def _host_has_512() -> bool:
    return bool(llvm.get_host_cpu_features().get("avx512f", False)) and os.environ.get("SDETHEORY_PREFER_256", "") != "1"


@intrinsic
def prefer_512(typing_context):
    """Ask for 512-bit vectors in the kernel that calls this; LLVM prefers 256 bits even where AVX-512 is at hand.

    Does nothing on processors without AVX-512F, or with SDETHEORY_PREFER_256=1 in the environment when the kernel is
    compiled (kernels already in Numba's cache keep their width). Only speed depends on it, never a bit of the result.
    """
    def codegen(context, builder, signature, args):
        if _host_has_512():
            set.add(builder.function.attributes, '"prefer-vector-width"="512"')
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


# Blocks with the path innermost: out[r, l] is noise number first_index + r of path first_path + l.


@njit(**KERNEL)
def _normal_row(out, row, first_path, index, key, scale):
    prefer_512()
    block, second = U(index >> 1), (index & 1) == 1
    for lane in range(out.shape[1]):
        a, b = philox(U(first_path) + U(lane), block, key)
        z0, z1 = normal_pair(a, b, scale)
        out[row, lane] = z1 if second else z0


@njit(**KERNEL)
def fill_normals(out, first_path, first_index, key, scale):
    """out[r, l] = scale * N(path first_path + l, index first_index + r) for a C-contiguous float64 block (rows, lanes).

    `key` is a uint64 of `sdetheory.random.stream_key`; `first_path` and `first_index` are nonnegative int64.
    """
    prefer_512()
    rows, lanes, seed = out.shape[0], out.shape[1], U(key)
    head = min(first_index & 1, rows)
    if head == 1:
        _normal_row(out, 0, first_path, first_index, seed, scale)
    for row in range(head, rows - 1, 2):
        block = U((first_index + row) >> 1)
        for lane in range(lanes):
            a, b = philox(U(first_path) + U(lane), block, seed)
            z0, z1 = normal_pair(a, b, scale)
            out[row, lane] = z0
            out[row + 1, lane] = z1
    if (rows - head) & 1:
        _normal_row(out, rows - 1, first_path, first_index + rows - 1, seed, scale)


@njit(**KERNEL)
def fill_uniforms(out, first_path, first_index, key):
    """out[r, l] = U(path first_path + l, index first_index + r), uniform inside (0, 1)."""
    prefer_512()
    rows, lanes, seed = out.shape[0], out.shape[1], U(key)
    row = 0
    while row < rows:
        index = first_index + row
        block, second, both = U(index >> 1), (index & 1) == 1, (index & 1) == 0 and row + 1 < rows
        if both:
            for lane in range(lanes):
                a, b = philox(U(first_path) + U(lane), block, seed)
                out[row, lane] = uniform_of_word(a)
                out[row + 1, lane] = uniform_of_word(b)
        else:
            for lane in range(lanes):
                a, b = philox(U(first_path) + U(lane), block, seed)
                out[row, lane] = uniform_of_word(b if second else a)
        row += 2 if both else 1


@njit(**KERNEL)
def fill_two_point(out, first_path, first_index, key, scale):
    """out[r, l] = +scale or -scale with probability 1/2 each; 64 rows share a word, which waits in the last of them."""
    prefer_512()
    rows, lanes, seed, size = out.shape[0], out.shape[1], U(key), as_bits(np.float64(scale))
    bits = out.view(np.uint64)
    row = 0
    while row < rows:
        index = first_index + row
        last = min(rows, row + 64 - (index & 63)) - 1
        block, second = U(index >> 7), (index & 64) != 0
        for lane in range(lanes):
            a, b = philox(U(first_path) + U(lane), block, seed)
            bits[last, lane] = b if second else a
        for r in range(row, last + 1):
            shift = U(63) - U((first_index + r) & 63)
            for lane in range(lanes):
                bits[r, lane] = size ^ ((bits[last, lane] << shift) & SIGN)
        row = last + 1


@njit(**KERNEL)
def fill_three_point(out, first_path, first_index, key, scale):
    """out[r, l] = +sqrt(3) scale, -sqrt(3) scale or 0 with probabilities 1/6, 1/6, 2/3 (each within 2^-32)."""
    prefer_512()
    rows, lanes, seed, value = out.shape[0], out.shape[1], U(key), math.sqrt(3.0) * scale
    row = 0
    while row < rows:
        index = first_index + row
        block, slot = U(index >> 2), index & 3
        if slot == 0 and row + 3 < rows:
            for lane in range(lanes):
                a, b = philox(U(first_path) + U(lane), block, seed)
                out[row, lane] = three_point_of_word(a >> S32, value)
                out[row + 1, lane] = three_point_of_word(a, value)
                out[row + 2, lane] = three_point_of_word(b >> S32, value)
                out[row + 3, lane] = three_point_of_word(b, value)
            row += 4
        else:
            shift = U(0) if slot & 1 else S32
            for lane in range(lanes):
                a, b = philox(U(first_path) + U(lane), block, seed)
                out[row, lane] = three_point_of_word((b if slot >= 2 else a) >> shift, value)
            row += 1


# Few paths: out[l, r] is noise number first_index + r of path first_path + l, with the index innermost; the same bits.


@njit(**KERNEL)
def normal_at(path, index, key, scale):
    """One normal: noise number `index` of `path`, times `scale`."""
    a, b = philox(U(path), U(index >> 1), U(key))
    z0, z1 = normal_pair(a, b, scale)
    return z1 if index & 1 else z0


@njit(**KERNEL)
def fill_normals_in_time(out, first_path, first_index, key, scale):
    """out[l, r] = scale * N(path first_path + l, index first_index + r): `fill_normals` transposed, bit for bit."""
    prefer_512()
    lanes, rows, seed = out.shape[0], out.shape[1], U(key)
    head = min(first_index & 1, rows)
    first_block, pairs = U((first_index + head) >> 1), (rows - head) >> 1
    for lane in range(lanes):
        path = U(first_path) + U(lane)
        if head == 1:
            out[lane, 0] = normal_at(path, first_index, seed, scale)
        for pair in range(pairs):
            a, b = philox(path, first_block + U(pair), seed)
            z0, z1 = normal_pair(a, b, scale)
            out[lane, head + 2 * pair] = z0
            out[lane, head + 2 * pair + 1] = z1
        if (rows - head) & 1:
            out[lane, rows - 1] = normal_at(path, first_index + rows - 1, seed, scale)


@njit(**KERNEL)
def fill_uniforms_in_time(out, first_path, first_index, key):
    """out[l, r] = U(path first_path + l, index first_index + r): `fill_uniforms` transposed, bit for bit."""
    prefer_512()
    seed = U(key)
    for lane in range(out.shape[0]):
        for r in range(out.shape[1]):
            index = first_index + r
            a, b = philox(U(first_path) + U(lane), U(index >> 1), seed)
            out[lane, r] = uniform_of_word(b if index & 1 else a)


@njit(**KERNEL)
def fill_two_point_in_time(out, first_path, first_index, key, scale):
    """`fill_two_point` transposed, bit for bit."""
    prefer_512()
    seed, size, bits = U(key), as_bits(np.float64(scale)), out.view(np.uint64)
    for lane in range(out.shape[0]):
        r = 0
        while r < out.shape[1]:
            index = first_index + r
            stop = min(out.shape[1], r + 64 - (index & 63))
            a, b = philox(U(first_path) + U(lane), U(index >> 7), seed)
            word = b if index & 64 else a
            for j in range(r, stop):
                bits[lane, j] = size ^ ((word << (U(63) - U((first_index + j) & 63))) & SIGN)
            r = stop


@njit(**KERNEL)
def fill_three_point_in_time(out, first_path, first_index, key, scale):
    """`fill_three_point` transposed, bit for bit."""
    prefer_512()
    seed, value = U(key), math.sqrt(3.0) * scale
    for lane in range(out.shape[0]):
        for r in range(out.shape[1]):
            index = first_index + r
            a, b = philox(U(first_path) + U(lane), U(index >> 2), seed)
            word = b if index & 2 else a
            out[lane, r] = three_point_of_word(word >> (U(0) if index & 1 else S32), value)
