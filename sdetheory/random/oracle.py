"""The noise in plain NumPy: Philox in unsigned integers, libm's log, sin and cos. The oracle of `random.fill`.

How words become variates is stated in `sdetheory.random.fill_kernels`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["normals", "philox_numpy", "three_point", "two_point", "uniforms"]


def philox_numpy(counter: ArrayLike, key: ArrayLike, *, rounds: int = 10) -> NDArray[np.uint64]:
    """Philox 4x32: `counter` (..., 4) and `key` (..., 2) of 32-bit words to (..., 4) words, held in uint64.

    >>> [hex(w) for w in philox_numpy([0, 0, 0, 0], [0, 0])]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    c0, c1, c2, c3 = np.moveaxis(np.asarray(counter, dtype=np.uint64), -1, 0)
    k0, k1 = np.moveaxis(np.asarray(key, dtype=np.uint64), -1, 0)
    for _ in range(rounds):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (p1 >> half) ^ c1 ^ k0, p1 & mask, (p0 >> half) ^ c3 ^ k1, p0 & mask
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & mask, (k1 + np.uint64(0xBB67AE85)) & mask
    return np.stack(np.broadcast_arrays(c0, c1, c2, c3), axis=-1)


def _words(key: int | np.uint64, paths: ArrayLike, indices: ArrayLike, per: int) -> tuple[NDArray[Any], ...]:
    """The four words of each counter and the slot of each index, for paths and indices broadcast together."""
    k, i = np.broadcast_arrays(np.asarray(paths), np.asarray(indices))
    for name, values in (("paths", k), ("indices", i)):
        if values.dtype.kind not in "iu" or (values.size and int(values.min()) < 0):
            raise ValueError(f"{name}: expected integers >= 0, got {values.dtype} {values!r}; they count from 0")
    path, block, seed = k.astype(np.uint64), (i // per).astype(np.uint64), int(key)
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    words = philox_numpy(np.stack([path & mask, path >> half, block & mask, block >> half], axis=-1),
                         [seed & 0xFFFFFFFF, seed >> 32])
    return *np.moveaxis(words, -1, 0), (i % per).astype(np.int64)


def normals(key: int | np.uint64, paths: ArrayLike, indices: ArrayLike) -> NDArray[np.float64]:
    """Standard normals number `indices` of `paths`, broadcast together: the oracle of `fill_normals` at scale 1.

    >>> from sdetheory.random import stream_key
    >>> normals(stream_key(0, "path"), np.arange(3)[:, None], np.arange(4)).shape
    (3, 4)
    """
    w0, w1, w2, w3, slot = _words(key, paths, indices, 2)
    a, b = (w0 << np.uint64(32)) | w1, (w2 << np.uint64(32)) | w3
    radius = np.sqrt(-2.0 * np.log(a.astype(np.float64) * 2.0**-64 + 2.0**-65))
    angle = (b & np.uint64(2**52 - 1)).astype(np.float64) * 2.0**-52 * (np.pi / 2)
    negative = (b >> (np.uint64(63) - slot.astype(np.uint64))) & np.uint64(1)
    return np.where(negative == 1, -radius, radius) * np.where(slot == 0, np.cos(angle), np.sin(angle))


def uniforms(key: int | np.uint64, paths: ArrayLike, indices: ArrayLike) -> NDArray[np.float64]:
    """Uniforms inside (0, 1): the oracle of `fill_uniforms`, equal to the bit."""
    w0, w1, w2, w3, slot = _words(key, paths, indices, 2)
    word = np.where(slot == 0, (w0 << np.uint64(32)) | w1, (w2 << np.uint64(32)) | w3)
    return (word >> np.uint64(12)).astype(np.float64) * 2.0**-52 + 2.0**-53


def two_point(key: int | np.uint64, paths: ArrayLike, indices: ArrayLike) -> NDArray[np.float64]:
    """+1 or -1 with probability 1/2 each: the oracle of `fill_two_point` at scale 1, equal to the bit."""
    w0, w1, w2, w3, slot = _words(key, paths, indices, 128)
    word = np.choose(slot // 32, [w1, w0, w3, w2])
    return np.where((word >> (slot % 32).astype(np.uint64)) & np.uint64(1) == 1, -1.0, 1.0)


def three_point(key: int | np.uint64, paths: ArrayLike, indices: ArrayLike) -> NDArray[np.float64]:
    """+sqrt 3, -sqrt 3 or 0 with probabilities 1/6, 1/6, 2/3: the oracle of `fill_three_point`, equal to the bit."""
    w0, w1, w2, w3, slot = _words(key, paths, indices, 4)
    word = np.choose(slot, [w0, w1, w2, w3])
    moves = np.where(word % np.uint64(2) == 1, -np.sqrt(3.0), np.sqrt(3.0))
    return np.where(word // np.uint64(2) < np.uint64(round(2**31 / 3)), moves, 0.0)
