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

The bits are the same for any split of paths, indices and threads, in scalar and vector code of any width. The plain-NumPy
twins are in `sdetheory.random`. Different kinds read the same words: give each kind its own key. The largest normal is
sqrt(130 log 2) = 9.49, and P(|N| > z) is right to 2^-65: to 2e-5 of itself at z = 8.

In all of them `key` is a uint64 of `sdetheory.random.stream_key`; `first_path` and `first_index` are nonnegative int64.
Nothing is checked here.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .philox import (
    KERNEL,
    S32,
    SIGN,
    U,
    as_bits,
    normal_pair,
    philox,
    prefer_512,
    three_point_of_word,
    uniform_of_word,
)

__all__ = ["fill_normals", "fill_normals_in_time", "fill_three_point", "fill_three_point_in_time", "fill_two_point",
           "fill_two_point_in_time", "fill_uniforms", "fill_uniforms_in_time", "normal_at"]

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
    """out[r, l] = scale * N(path first_path + l, index first_index + r) for a C-contiguous float64 block (rows, lanes)."""
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
def _normal_pairs(z, path, first_block, key, scale):
    prefer_512()
    for pair in range(z.size >> 1):
        a, b = philox(path, first_block + U(pair), key)
        z0, z1 = normal_pair(a, b, scale)
        z[2 * pair] = z0
        z[2 * pair + 1] = z1


@njit(**KERNEL)
def fill_normals_in_time(out, first_path, first_index, key, scale):
    """out[l, r] = scale * N(path first_path + l, index first_index + r): `fill_normals` transposed, bit for bit."""
    rows, seed = out.shape[1], U(key)
    head = min(first_index & 1, rows)
    stop = rows - ((rows - head) & 1)
    for lane in range(out.shape[0]):
        path = U(first_path) + U(lane)
        if head == 1:
            out[lane, 0] = normal_at(path, first_index, seed, scale)
        _normal_pairs(out[lane, head:stop], path, U((first_index + head) >> 1), seed, scale)
        if stop < rows:
            out[lane, stop] = normal_at(path, first_index + stop, seed, scale)


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
