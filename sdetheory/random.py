"""Counter-based noise: noise number i of path k is a function of (key, k, i), and a key of (seed, stream).

    words(key, k, block) = Philox 4x32-10 (counter = (k, block), key),    i = step * m + component

So any path, any stretch of time and any chunk of an ensemble can be made alone, on any number of threads, with the same
bits. This file holds the keys, the plain-NumPy twins of the kernels of `sdetheory.noise_kernels` (the oracle: unsigned
integer arithmetic and libm's log, sin and cos), and Brownian increments on nested grids. How words become variates is
stated in `sdetheory.noise_kernels`.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from .noise_kernels import (
    fill_normals,
    fill_normals_in_time,
    fill_three_point,
    fill_three_point_in_time,
    fill_two_point,
    fill_two_point_in_time,
    fill_uniforms,
    fill_uniforms_in_time,
)
from .philox import KERNEL, prefer_512
from .validation import integer

__all__ = ["coarsen", "coarsen_block", "coarsen_pair", "fill_normals", "fill_normals_in_time", "fill_three_point",
           "fill_three_point_in_time", "fill_two_point", "fill_two_point_in_time", "fill_uniforms",
           "fill_uniforms_in_time", "normals", "philox_numpy", "prefer_512", "seed_sequence", "stream_key", "three_point",
           "two_point", "uniforms"]

RNG = int | np.integer[Any] | np.random.SeedSequence | np.random.Generator | None


def seed_sequence(rng: RNG) -> np.random.SeedSequence:
    """Return the SeedSequence that `rng` stands for.

    Parameters
    ----------
    rng : int >= 0, numpy.random.SeedSequence, numpy.random.Generator or None
        An int is taken as entropy; a SeedSequence comes back as it is; from a Generator 128 bits are drawn (so it moves on,
        and a second call gives a different answer); None asks the operating system for fresh entropy.

    Raises
    ------
    TypeError, ValueError
        For anything else, global state such as `numpy.random` among it, and for a negative int.

    Examples
    --------
    >>> seed_sequence(7).entropy
    7
    """
    if rng is None:
        return np.random.SeedSequence()
    if isinstance(rng, np.random.SeedSequence):
        return rng
    if isinstance(rng, np.random.Generator):
        low, high = (int(word) for word in rng.integers(0, 2**64, size=2, dtype=np.uint64))
        return np.random.SeedSequence(low + (high << 64))
    if isinstance(rng, bool) or not isinstance(rng, int | np.integer):
        raise TypeError(f"rng: expected an int >= 0, a numpy SeedSequence, a numpy Generator or None, got {rng!r}; "
                        "pass e.g. rng=0 or rng=numpy.random.default_rng(0)")
    return np.random.SeedSequence(integer("rng", rng, at_least=0, remedy="a seed is any nonnegative int"))


def stream_key(rng: RNG, stream: str) -> np.uint64:
    """Return the 64-bit Philox key of one named stream of `rng`.

    The key is a hash (NumPy's SeedSequence) of the entropy, the spawn key and the 128-bit BLAKE2 digest of the name, so
    streams of one seed, and children spawned from it, do not meet. To draw several streams from a Generator, pass it
    through `seed_sequence` once and give the result here.

    Parameters
    ----------
    rng : int >= 0, SeedSequence, Generator or None
        As in `seed_sequence`.
    stream : str
        What the noise is for, e.g. "path", "initial", "minibatch"; not empty. One kind of variate a stream.

    Returns
    -------
    numpy.uint64

    Examples
    --------
    >>> stream_key(0, "path")
    np.uint64(13488648076090635467)
    >>> bool(stream_key(0, "path") == stream_key(0, "initial"))
    False
    """
    if not isinstance(stream, str):
        raise TypeError(f"stream: expected a name (str), got {stream!r}; pass e.g. stream='path'")
    if not stream:
        raise ValueError("stream: expected a name that is not empty, got ''; pass e.g. stream='path'")
    sequence = seed_sequence(rng)
    tag = np.frombuffer(hashlib.blake2b(stream.encode(), digest_size=16).digest(), dtype="<u4")
    child = np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, *(int(word) for word in tag)),
                                   pool_size=sequence.pool_size)
    return np.uint64(child.generate_state(1, np.uint64)[0])


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


def _halved(name: str, values: ArrayLike, times: int) -> tuple[NDArray[np.float64], int]:
    array, levels = np.asarray(values, dtype=np.float64), integer("times", times, at_least=0, at_most=62)
    if array.ndim == 0 or array.shape[0] % 2**levels:
        raise ValueError(f"{name}: expected a first axis divisible by 2^times = {2**levels}, got shape {array.shape}; "
                         "use a number of fine steps that is a multiple of it")
    return array, levels


def coarsen(increments: ArrayLike, times: int) -> NDArray[np.float64]:
    """Brownian increments over steps 2^times as long: pairwise tree sums along the first axis.

    The increment of a coarse step is left + right, `times` times over, so coarsening by 3 and coarsening by 1 and then
    by 2 agree to the bit, and every scheme of a nested family sees one and the same Brownian path.

    Parameters
    ----------
    increments : (n 2^times, ...) array
    times : int >= 0

    Returns
    -------
    (n, ...) float64 array

    Examples
    --------
    >>> coarsen([1.0, 2.0, 3.0, 4.0], 1)
    array([3., 7.])
    """
    fine, levels = _halved("increments", increments, times)
    for _ in range(levels):
        fine = fine[0::2] + fine[1::2]
    return fine.copy() if levels == 0 else fine


def coarsen_pair(dw: ArrayLike, dz: ArrayLike, h: float, times: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coarse pairs (dW, dZ), dZ = integral of (W_s - W_start) ds over the step, from fine ones of step `h`.

    For a step made of halves 1, 2 of length h: dW = dW1 + dW2 and dZ = dZ1 + (dZ2 + h dW1).

    >>> coarsen_pair([1.0, 2.0], [0.25, 0.5], 0.5, 1)
    (array([3.]), array([1.25]))
    """
    w, levels = _halved("dw", dw, times)
    z, _ = _halved("dz", dz, times)
    if w.shape != z.shape:
        raise ValueError(f"dz: expected the shape of dw {w.shape}, got {z.shape}; give one dZ for each dW")
    for level in range(levels):
        z = z[0::2] + (z[1::2] + w[0::2] * (h * 2**level))
        w = w[0::2] + w[1::2]
    return w.copy(), z.copy()


@njit(**KERNEL)
def coarsen_block(fine, out, levels):
    """`coarsen` for blocks in kernels: `fine` (n 2^levels, lanes) to `out` (n, lanes), with the same bits, allocating nothing.

    For levels > 1 the partial sums are kept in the first rows of `fine`, which is overwritten; `out` may be fine[:n].
    """
    prefer_512()
    rows = fine.shape[0]
    if levels == 0:
        for row in range(rows):
            for lane in range(fine.shape[1]):
                out[row, lane] = fine[row, lane]
    for level in range(levels):
        rows >>= 1
        target = out if level == levels - 1 else fine
        for row in range(rows):
            for lane in range(fine.shape[1]):
                target[row, lane] = fine[2 * row, lane] + fine[2 * row + 1, lane]
