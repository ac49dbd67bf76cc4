"""Trials: the seed and the size of one run of a claim's measurement, both fixed before anyone looks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..validation import integer

__all__ = ["MODES", "Mode", "Trial", "entropy_of", "stream_of"]

Mode = Literal["quick", "default", "thorough"]
MODES = {"quick": 0.25, "default": 1, "thorough": 16}  # the number of paths against that of the default mode


@dataclass
class Trial:
    """What a measurement is handed: its random numbers, its size, and a place to leave data for the figure.

    Parameters
    ----------
    rng : SeedSequence
        A function of the root seed and the claim's id alone, so a claim draws the same numbers alone or among others.
    mode : {"quick", "default", "thorough"}
        `paths(n)` is n/4, n or 16 n: fixed before looking, so margins are twice, once or a quarter as wide.
    progress : bool
        Whether to show progress.
    data : dict
        Arrays or datasets for the figure.
    """

    rng: np.random.SeedSequence
    mode: Mode = "default"
    progress: bool = False
    data: dict[str, Any] = field(default_factory=dict)

    def paths(self, n: int) -> int:
        """Return the number of paths in this mode where the default mode has n."""
        return max(2, int(n * MODES[self.mode]))


def entropy_of(rng: Any) -> int:
    """Return the root seed: an int as it is, a SeedSequence condensed, a draw from a Generator."""
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(2**63))
    if isinstance(rng, np.random.SeedSequence):
        return int.from_bytes(rng.generate_state(4).tobytes(), "little")
    return integer("rng", rng, at_least=0, remedy="pass an int, a SeedSequence or a Generator")


def stream_of(seed: int, claim_id: str) -> np.random.SeedSequence:
    """Return the seed sequence of a claim: the root seed with the digest of the id as spawn key."""
    digest = hashlib.sha256(claim_id.encode()).digest()
    return np.random.SeedSequence(seed, spawn_key=tuple(np.frombuffer(digest[:16], dtype="<u4").tolist()))
