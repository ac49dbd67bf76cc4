"""Counter-based noise: noise number i of path k is a function of (key, k, i), and a key of (seed, stream).

    words(key, k, block) = Philox 4x32-10 (counter = (k, block), key),    i = step * m + component

So any path, any stretch of time and any chunk of an ensemble can be made alone, on any number of threads, with the same bits.
"""

from .brownian import coarsen
from .fill import fill_normals, fill_three_point, fill_two_point, fill_uniforms
from .keys import RNG, seed_sequence, stream_key
from .oracle import normals, philox_numpy, three_point, two_point, uniforms

__all__ = ["RNG", "coarsen", "fill_normals", "fill_three_point", "fill_two_point", "fill_uniforms", "normals", "philox_numpy",
           "seed_sequence", "stream_key", "three_point", "two_point", "uniforms"]
