r"""Calibration: how often intervals cover, with the exact binomial interval of that count.

    k ~ Binomial(n, p):    P(X >= k | low) = alpha/2 = P(X <= k | high)    (Clopper and Pearson)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from ..validation import integer, number

__all__ = ["Coverage", "clopper_pearson", "coverage"]


def clopper_pearson(successes: int, trials: int, alpha: float = 1e-3) -> tuple[float, float]:
    """Return the exact interval of a probability; it misses with probability at most alpha.

    >>> [round(p, 4) for p in clopper_pearson(0, 100, alpha=0.05)]
    [0.0, 0.0362]
    """
    n = integer("trials", trials, at_least=1)
    k = integer("successes", successes, at_least=0, at_most=n)
    alpha = number("alpha", alpha, above=0, below=1)
    low = 0.0 if k == 0 else float(scipy.special.betaincinv(k, n - k + 1, alpha / 2))
    high = 1.0 if k == n else float(scipy.special.betaincinv(k + 1, n - k, 1 - alpha / 2))
    return low, high


@dataclass(frozen=True, repr=False)
class Coverage:
    """How often something held in independent trials, and the interval of its probability."""

    successes: int
    trials: int
    low: float
    high: float

    @property
    def observed(self) -> float:
        """successes / trials."""
        return self.successes / self.trials

    def consistent_with(self, probability: float) -> bool:
        """Whether the stated probability lies in the interval."""
        return self.low <= probability <= self.high

    def __repr__(self) -> str:
        return f"<{self.successes}/{self.trials} = {self.observed:.4g}, in [{self.low:.4g}, {self.high:.4g}]>"


def coverage(covered: ArrayLike, alpha: float = 1e-3) -> Coverage:
    """Return how often intervals covered, from one boolean an independent trial.

    >>> coverage([True] * 95 + [False] * 5, alpha=0.05)
    <95/100 = 0.95, in [0.8872, 0.9836]>
    """
    hits = np.asarray(covered)
    if hits.ndim != 1 or hits.dtype != bool:
        raise TypeError(f"covered: expected booleans of shape (trials,), got {hits.dtype} of shape {hits.shape}")
    return Coverage(int(hits.sum()), hits.size, *clopper_pearson(int(hits.sum()), hits.size, alpha))
