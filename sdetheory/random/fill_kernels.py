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
twins are in `sdetheory.random.oracle`. Different kinds read the same words: give each kind its own key. The largest normal is
sqrt(130 log 2) = 9.49, and P(|N| > z) is right to 2^-65: to 2e-5 of itself at z = 8.

Each kernel fills a C-contiguous float64 block at an address, (rows, lanes): out[r, l] is number first_index + r of path
first_path + l. For the few paths of a long run there is a twin `..._in_time`, which fills (lanes, rows) with the same bits.
`key` is a uint64 of `sdetheory.random.stream_key`; nothing is checked here. The functions write
instructions: see `engine.instructions`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..engine.instructions import Code, Real, Word
from .philox import SIGN, normal_pair, philox, three_point, uniform


class Block:
    """out[r, l] as (rows, lanes), or (lanes, rows) where one path after the other is filled."""

    def __init__(self, k: Code, address: Word, rows: Word, lanes: Word, in_time: bool) -> None:
        self.k, self.address = k, address
        self.of_row, self.of_lane = (k.word(1), rows) if in_time else (lanes, k.word(1))

    def put(self, row: Word, lane: Word, value: Real) -> None:
        """out[row, lane] ← value."""
        self.k.put_real(self.address, row * self.of_row + lane * self.of_lane, value)

    def get(self, row: Word, lane: Word) -> Real:
        """out[row, lane]."""
        return self.k.real(self.address, row * self.of_row + lane * self.of_lane)


def _several_per_counter(per: int, variates: Callable[[Word, Word], tuple[Real, ...]], in_time: bool) -> Callable[..., None]:
    """A kernel that turns the two words of a counter into `per` numbers, a power of 2, that lie in as many rows."""
    def body(k: Code, block: Word, rows: Word, lanes: Word, first_path: Word, first_index: Word, key: Word, scale: Real) -> None:
        out, shift = Block(k, block, rows, lanes, in_time), per.bit_length() - 1

        def one_row(row: Word, lane: Word) -> None:
            index = first_index + row
            numbers = variates(*philox(first_path + lane, index >> shift, key), scale)
            value = numbers[0]
            for slot in range(1, per):
                value = (index & (per - 1)).equals(slot).pick(numbers[slot], value)
            out.put(row, lane, value)

        def whole_counter(row: Word, lane: Word) -> None:
            for slot, number in enumerate(variates(*philox(first_path + lane, (first_index + row) >> shift, key), scale)):
                out.put(row + slot, lane, number)

        head = ((k.word(0) - first_index) & (per - 1)).at_most(rows)
        whole = rows - ((rows - head) & (per - 1))
        if in_time:
            with k.loop(lanes) as lane:
                with k.loop(head) as row:
                    one_row(row, lane)
                with k.loop((whole - head) >> shift) as i:
                    whole_counter(head + (i << shift), lane)
                with k.loop(rows, whole) as row:
                    one_row(row, lane)
            return
        with k.loop(head) as row, k.loop(lanes) as lane:
            one_row(row, lane)
        with k.loop(whole, head, per) as row, k.loop(lanes) as lane:
            whole_counter(row, lane)
        with k.loop(rows, whole) as row, k.loop(lanes) as lane:
            one_row(row, lane)
    return body


def _uniforms(a: Word, b: Word, scale: Real) -> tuple[Real, ...]:
    return uniform(a), uniform(b)


def _three_points(a: Word, b: Word, scale: Real) -> tuple[Real, ...]:
    value = scale * math.sqrt(3.0)
    return three_point(a >> 32, value), three_point(a, value), three_point(b >> 32, value), three_point(b, value)


def _two_point(in_time: bool) -> Callable[..., None]:
    """64 rows share a word, which waits in the last of them."""
    def body(k: Code, block: Word, rows: Word, lanes: Word, first_path: Word, first_index: Word, key: Word, scale: Real) -> None:
        out, size = Block(k, block, rows, lanes, in_time), scale.as_word()
        row = k.variable(0)
        with k.loop_while(lambda: row.get() < rows):
            first = row.get()
            index = first_index + first
            last = rows.at_most(first + 64 - (index & 63)) - 1
            with k.loop(lanes) as lane:
                a, b = philox(first_path + lane, index >> 7, key)
                out.put(last, lane, (index & 64).equals(0).pick(a, b).as_real())

            def sign(r: Word, lane: Word) -> None:
                shift = k.word(63) - ((first_index + r) & 63)
                out.put(r, lane, (size ^ ((out.get(last, lane).as_word() << shift) & SIGN)).as_real())

            if in_time:
                with k.loop(lanes) as lane, k.loop(last + 1, first) as r:
                    sign(r, lane)
            else:
                with k.loop(last + 1, first) as r, k.loop(lanes) as lane:
                    sign(r, lane)
            row.set(last + 1)
    return body


#: the body of each kernel by its name
KERNELS: dict[str, Any] = {}
for _suffix, _in_time in (("", False), ("_in_time", True)):
    KERNELS[f"normal{_suffix}"] = _several_per_counter(2, normal_pair, _in_time)
    KERNELS[f"uniform{_suffix}"] = _several_per_counter(2, _uniforms, _in_time)
    KERNELS[f"three_point{_suffix}"] = _several_per_counter(4, _three_points, _in_time)
    KERNELS[f"two_point{_suffix}"] = _two_point(_in_time)
