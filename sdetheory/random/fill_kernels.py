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
instructions: see `kernels.instructions`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..kernels.instructions import Code, Condition, Real, Word
from ..kernels.machine_code import vector_width
from .philox import LOW32, SIGN, normal_pair, philox, three_point, uniform

CHUNK = 512  # counters in a run: what one loop leaves for the next stays near


class Block:
    """out[r, l] as (rows, lanes), or (lanes, rows) where one path after the other is filled."""

    def __init__(self, k: Code, address: Word, rows: Word, lanes: Word, in_time: bool) -> None:
        self.k, self.address = k, address
        self.of_row, self.of_lane = (k.word(1), rows) if in_time else (lanes, k.word(1))

    def at(self, row: Word, lane: Word) -> Word:
        """The address of out[row, lane]."""
        return self.address + (row * self.of_row + lane * self.of_lane) * 8

    def put(self, row: Word, lane: Word, value: Real) -> None:
        """out[row, lane] ← value."""
        self.k.put_real(self.address, row * self.of_row + lane * self.of_lane, value)

    def get(self, row: Word, lane: Word) -> Real:
        """out[row, lane]."""
        return self.k.real(self.address, row * self.of_row + lane * self.of_lane)


@dataclass(frozen=True)
class Law:
    """How the two words of a counter become `per` numbers, a power of 2.

    If `words_first`, a loop of its own makes the words of many counters, and leaves them where the numbers will be: where
    variates cost much, two short loops run faster than a long one.
    """

    per: int
    variates: Callable[[Word, Word, Real], tuple[Real, ...]]
    words_first: bool = False


class Groups:
    """Makes numbers from groups of counters side by side: paths at one block of indices or, in time, blocks of one path.

    A group is four registers long: one register's worth of counters is a chain of some 200 cycles, and a processor looks
    ahead far enough to fill them only where independent chains lie side by side.
    """

    def __init__(self, k: Code, law: Law, in_time: bool, key: Word, scale: Real) -> None:
        self.k, self.law, self.in_time, self.key, self.scale = k, law, in_time, key, scale
        self.group = 32 if vector_width() == 512 else 16
        self.step = self.group * law.per if in_time else self.group  # numbers of a group that lie one after the other
        self.places = k.vector(_order_in_time(self.group) if in_time else range(self.group))
        self.room = k.room(self.group * law.per)

    def at_once(self, left: Word, first: Word, all_wanted: Condition) -> Word:
        """How many of `left` numbers one run makes, as `first` (path or block) counts on: its low half must not pass 2^32."""
        counters = (self.k.word(2**32) - (first & LOW32)).at_most(all_wanted.pick(self.k.word(CHUNK), self.group))
        return (counters * (self.step // self.group)).at_most(left)

    def run(self, path: Word, block: Word, count: Word, all_wanted: Condition, to: list[tuple[Word, Any, Any]]) -> None:
        """Write `count` numbers on from (path, block), those of each slot or, in time, of all slots in turns.

        `to` holds for each of these rows where it begins, the first number wanted there, and the end of those wanted. Numbers
        of groups that are not wanted whole are made beside the block, and copied. If not `all_wanted`, there is one group.
        """
        k, law, group = self.k, self.law, self.group
        whole = all_wanted.pick(count & -self.step, 0)
        for fresh, last in [(True, False), (False, True)] if law.words_first else [(True, True)]:
            with k.loop(count, step=self.step) as i:
                begins = [(i < whole).pick(begin + i * 8, self.room + slot * group * 8) for slot, (begin, *_) in enumerate(to)]
                at = [(begins[0], slot * group) for slot in range(law.per)] if self.in_time else [(begin, 0) for begin in begins]
                a, b = self._words(path, block, i) if fresh else (k.integer(*place, group) for place in at[:2])
                numbers = law.variates(a, b, self.scale) if last else (a.as_real(), b.as_real())
                for place, vector in zip(at, [_in_turns(numbers)] if self.in_time and last else numbers, strict=False):
                    k.put_real(*place, vector)
        for slot, (begin, first, end) in enumerate(to):
            k.copy(begin + (whole + first) * 8, self.room + slot * group * 8 + first * 8, end - whole - first)

    def _words(self, path: Word, block: Word, i: Word) -> tuple[Word, Word]:
        if self.in_time:
            return philox(path, block, self.key, blocks_on=self.places + i // self.law.per)
        return philox(path, block, self.key, paths_on=self.places + i)


def _order_in_time(group: int) -> list[int]:
    """The order of blocks in a group of them: each register's first half in its even places, its second half in its odd ones.

    One instruction makes the register (x[0], y[0], x[2], y[2], …) of two, and another that of their odd places.
    """
    register = group // 4
    return [place - place % register + place % register // 2 + place % 2 * register // 2 for place in range(group)]


def _in_turns(vectors: Sequence[Real]) -> Real:
    """The numbers of the first block from all vectors, a power of 2, then those of the second block, and so on."""
    even, odd = (part[0] if len(part) == 1 else _in_turns(part) for part in (vectors[::2], vectors[1::2]))
    n = even.lanes
    place_of = _order_in_time(n) if len(vectors) == 2 else list(range(n))
    return even.shuffled(odd, [place_of.index(block) + n * which for block in range(n) for which in (0, 1)])


def _several_per_counter(law: Law, in_time: bool) -> Callable[..., None]:
    """A kernel that turns the two words of a counter into several numbers, which lie in as many rows."""
    def body(k: Code, block: Word, rows: Word, lanes: Word, first_path: Word, first_index: Word, key: Word, scale: Real) -> None:
        out, groups = Block(k, block, rows, lanes, in_time), Groups(k, law, in_time, key, scale)
        before = k.word(0) - (first_index & (law.per - 1))  # where slot 0 of the first counter would lie
        if in_time:
            with k.loop(lanes) as lane:
                at = k.variable(before)
                with k.loop_while(lambda: at.get() < rows):
                    row = at.get()
                    number, skipped = (first_index + row) // law.per, (k.word(0) - row).at_least(0)
                    count = groups.at_once(rows - row, number, skipped.equals(0))
                    groups.run(first_path + lane, number, count, skipped.equals(0), [(out.at(row, lane), skipped, count)])
                    at.set(row + count)
            return
        with k.loop(rows, before, law.per) as row:
            inside = [~(row + slot < 0) & (row + slot < rows) for slot in range(law.per)]
            at = k.variable(0)
            with k.loop_while(lambda: at.get() < lanes):
                lane = at.get()
                path, all_inside = first_path + lane, inside[0] & inside[-1]
                count = groups.at_once(lanes - lane, path, all_inside)
                groups.run(path, (first_index + row) // law.per, count, all_inside,
                           [(out.at(row + slot, lane), 0, inside[slot].pick(count, 0)) for slot in range(law.per)])
                at.set(lane + count)
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
    KERNELS[f"normal{_suffix}"] = _several_per_counter(Law(2, normal_pair, words_first=True), _in_time)
    KERNELS[f"uniform{_suffix}"] = _several_per_counter(Law(2, _uniforms), _in_time)
    KERNELS[f"three_point{_suffix}"] = _several_per_counter(Law(4, _three_points), _in_time)
    KERNELS[f"two_point{_suffix}"] = _two_point(_in_time)
