r"""Are two samples of one law? The Kolmogorov-Smirnov distance with its critical value and its power.

    D = sup_x |F_hat(x) - G_hat(x)|,    P(D > c s) <= alpha for F = G,    s = sqrt(1/n + 1/m),
    c = sqrt(ln(2/alpha)/2) against a known law (Massart), sqrt(ln(2.16863/alpha)/2) for two samples (Wei and Dudley).

Power: where the true distance is delta, attained at x*, the empirical gap at x* is normal about delta with standard
deviation at most s/2, and D is at least that gap; so delta = c s + z s/2 is seen with probability at least Phi(z).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ..validation import integer, number
from .estimates import Estimate, mean_estimate, paths_first
from .propagation import propagate

__all__ = ["Distance", "difference", "ks_distance", "quantile_estimate"]


@dataclass(frozen=True, repr=False)
class Distance:
    """A Kolmogorov-Smirnov distance; `n`, `m` are the independent paths of each sample, `m` None for a known law."""

    statistic: float
    n: int
    m: int | None = None

    def __post_init__(self) -> None:
        number("statistic", self.statistic, at_least=0, at_most=1)
        for name, size in (("n", self.n), ("m", self.m)):
            if size is not None:
                integer(name, size, at_least=1)

    @property
    def scale(self) -> float:
        """s = sqrt(1/n + 1/m)."""
        return math.sqrt(1 / self.n + (0 if self.m is None else 1 / self.m))

    def coefficient(self, alpha: float) -> float:
        """Return c(alpha): the distance exceeds c·scale with probability at most alpha where the laws agree."""
        alpha = number("alpha", alpha, above=0, below=1)
        constant = 2.0 if self.m is None else 2.16863
        return math.sqrt(math.log(constant / alpha) / 2)

    def critical(self, alpha: float) -> float:
        """Return the distance above which the laws are told apart."""
        return self.coefficient(alpha) * self.scale

    def detectable(self, alpha: float, power: float = 0.9) -> float:
        """Return a true distance that is seen with at least this power."""
        power = number("power", power, above=0, below=1)
        return self.critical(alpha) + float(scipy.special.ndtri(power)) * self.scale / 2

    def power(self, alpha: float, distance: float) -> float:
        """Return a lower bound on the probability to tell apart laws at this true distance."""
        distance = number("distance", distance, at_least=0)
        return float(scipy.special.ndtr((distance - self.critical(alpha)) / (self.scale / 2)))

    def __repr__(self) -> str:
        against = "a known law" if self.m is None else f"m = {self.m}"
        return f"<KS distance {self.statistic:.3g}, n = {self.n} against {against}>"


def _sorted(name: str, samples: ArrayLike) -> NDArray[np.float64]:
    x = np.sort(paths_first(name, samples))
    if x.ndim != 1 or x.size < 2 or not np.isfinite(x).all():
        raise ValueError(f"{name}: expected at least 2 finite numbers of shape (paths,), "
                         f"one an independent path, "
                         f"got shape {x.shape} with {int((~np.isfinite(x)).sum())} not finite; "
                         "decide what a diverged path counts as")
    return x


def ks_distance(a: ArrayLike, b: ArrayLike | Callable[[NDArray[np.float64]], ArrayLike]) -> Distance:
    """Return the distance between two samples, or of a sample from a law given by its cumulative distribution function.

    Parameters
    ----------
    a : array, shape (paths,)
        One number an independent path: never several points of one path.
    b : array, shape (paths,), or callable
        The other sample, or the CDF (vectorised, continuous).

    >>> ks_distance(np.linspace(0, 1, 101), lambda x: x)
    <KS distance 0.0099, n = 101 against a known law>
    """
    x = _sorted("a", a)
    if callable(b):
        cdf = np.asarray(b(x), dtype=float)
        if cdf.shape != x.shape or not ((cdf >= 0) & (cdf <= 1)).all() or (np.diff(cdf) < 0).any():
            raise ValueError("b: expected a vectorised cumulative distribution function, "
                             "got values that are not in [0, 1] "
                             "or that decrease")
        grid = np.arange(x.size + 1) / x.size
        return Distance(float(max((grid[1:] - cdf).max(), (cdf - grid[:-1]).max())), x.size)
    y = _sorted("b", b)
    everywhere = np.concatenate([x, y])
    below_x, below_y = (np.searchsorted(s, everywhere, side="right") / s.size for s in (x, y))
    return Distance(float(np.abs(below_x - below_y).max()), x.size, y.size)


def difference(a: Estimate | ArrayLike, b: Estimate | ArrayLike) -> Estimate:
    """Return mean(a) - mean(b) of two independent samples or estimates; for paired paths use mean_estimate(a - b)."""
    first, second = (e if isinstance(e, Estimate) else mean_estimate(paths_first(name, e)) for name, e in (("a", a), ("b", b)))
    if np.shape(first.value) != np.shape(second.value):
        raise ValueError(f"a, b: expected the same points in both, got shapes {np.shape(first.value)} and {np.shape(second.value)}")
    return propagate(lambda x, y: x - y, first, second)


def quantile_estimate(samples: ArrayLike, q: float) -> Estimate:
    """Return the q-quantile over independent paths; its standard error is from order statistics two sigmas either side.

    >>> quantile_estimate(np.arange(10_001.0), 0.5)
    <5000 ± 50, n = 10001>
    """
    x = _sorted("samples", samples)
    n, q = x.size, number("q", q, above=0, below=1)
    spread = 2 * math.sqrt(n * q * (1 - q))
    low, high = math.floor(n * q - spread), math.ceil(n * q + spread)
    if low < 0 or high > n - 1:
        raise ValueError(f"q: expected a quantile with two binomial standard deviations "
                         f"of the {n} paths on either side, "
                         f"got {q!r}; run more paths")
    return Estimate(float(np.quantile(x, q)), (x[high] - x[low]) / 4, n=n)
