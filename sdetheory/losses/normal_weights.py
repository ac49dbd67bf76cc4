r"""Independent normal weights, the start of the nets of the catapult paper: w ~ N(0, scale² I).

.. math:: w_i = s\,N_i(\text{key}, \text{path}), \quad i = 0 \dots d-1

Weight i of a path is noise number i of that path: the same path of the same seed starts alike in every ensemble.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..random import fill_normals, seed_sequence, stream_key
from ..validation import integer, number

__all__ = ["NormalWeights"]


@dataclass(frozen=True)
class NormalWeights:
    """Independent normal weights: an initial distribution for `simulate`.

    Parameters
    ----------
    dim : int
        Number of weights, at least 1.
    scale : float
        Standard deviation > 0.

    Examples
    --------
    >>> NormalWeights(6).sample(5, rng=0).shape
    (5, 6)
    """

    dim: int
    scale: float = 1.0

    def __post_init__(self) -> None:
        integer("dim", self.dim, at_least=1)
        number("scale", self.scale, above=0)

    def sample(self, n: int, rng: Any = None) -> NDArray[np.float64]:
        """Weights of paths 0 … n − 1, shape (n, dim)."""
        block = np.empty((self.dim, integer("n", n, at_least=0)))
        self.sample_block(block, 0, stream_key(seed_sequence(rng), "initial"))
        return np.ascontiguousarray(block.T)

    def sample_block(self, out: NDArray[np.float64], first_path: int, key: np.uint64) -> None:
        """Fill out (dim, lanes) with the weights of paths first_path, first_path + 1, …"""
        fill_normals(out, first_path, 0, key, float(self.scale))
