"""Seeds and streams: the 64-bit key under which all noise of one purpose is drawn.

    key = hash(entropy, spawn key, BLAKE2(stream name))

so that streams of one seed, and children spawned from it, do not meet.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

import numpy as np

from ..validation import integer

__all__ = ["RNG", "seed_sequence", "stream_key"]

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
    child = np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, *_tag(stream)),
                                   pool_size=sequence.pool_size)
    return np.uint64(child.generate_state(1, np.uint64)[0])


@cache
def _tag(stream: str) -> tuple[int, ...]:
    return tuple(int(word) for word in np.frombuffer(hashlib.blake2b(stream.encode(), digest_size=16).digest(), dtype="<u4"))
