r"""Estimates: a number measured over independent paths, with the two errors it has.

    theta_hat = theta + bias + stderr * (standard normal),    |bias| <= bias_bound + bias_stderr * (standard normal)

Paths are the independent samples; points along one path never are. The normal law of a mean of n samples with skewness
g holds at z standard errors up to a relative error of order |g| z^3 / sqrt(n) of the tail probability.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ..validation import explain_construction, explained, finite_array, integer, number

__all__ = ["Estimate", "checked_estimate", "critical_value", "from_moments", "from_points", "mean_estimate", "paths_first"]

Values = NDArray[np.float64]


def critical_value(alpha: float, n: ArrayLike | None = None) -> float | Values:
    """Return the two-sided critical value: normal for `n` None, Student's t with n - 1 degrees of freedom otherwise, n >= 2.

    >>> round(critical_value(0.05), 3), round(critical_value(0.05, n=5), 3)
    (1.96, 2.776)
    """
    if not isinstance(alpha, float | int | np.number) or not 0 < alpha < 1:
        kind = ValueError if isinstance(alpha, float | int | np.number) else TypeError
        raise kind(f"alpha: expected a probability strictly between 0 and 1, got {alpha!r}")
    if n is None:
        return float(-scipy.special.ndtri(alpha / 2))
    paths = finite_array("n", n)
    if not (paths >= 2).all():
        raise ValueError(f"n: expected at least 2 paths, since Student's t has n - 1 degrees of freedom, got {n!r}; leave n out "
                         "where the standard error is known")
    return _plain(-scipy.special.stdtrit(paths - 1, alpha / 2))


def _plain(value: ArrayLike) -> float | Values:
    array = np.array(value, dtype=np.float64)
    if array.ndim == 0:
        return float(array)
    array.setflags(write=False)
    return array


def _count(name: str, value: ArrayLike, shape: tuple[int, ...], at_least: int) -> int | NDArray[np.int64]:
    """Whole numbers, one or as many as values."""
    array = finite_array(name, value)
    if (array < at_least).any() or (array != np.floor(array)).any():
        why = " for a standard error" if at_least == 2 else ""
        raise ValueError(f"{name}: expected at least {at_least} paths{why}, in whole numbers, got {value!r}")
    if array.shape not in ((), shape) or array.size == 0:
        raise ValueError(f"{name}: expected one number, or as many as values {shape}, got shape {array.shape}")
    counts = array.astype(np.int64)
    return int(counts.flat[0]) if (counts == counts.flat[0]).all() else counts


@explain_construction
@dataclass(frozen=True, repr=False, eq=False)
class Estimate:
    """A measured number, or an array of them of shape (points,), with its errors.

    Parameters
    ----------
    value : float or array
        The estimate.
    stderr : float or array
        Its standard error over independent paths; 0 or more. For an exact statement use `Exact`, not 0.
    bias_bound : float or array
        A bound on its systematic error (discretisation); 0 where the statement is about the discrete process itself.
    n : int, array or None
        Independent paths behind `stderr`; margins then use Student's t. None: `stderr` is known, margins are normal.
    bias_stderr : float or array
        The standard error of `bias_bound` where that was measured; margins scale it like `stderr`.
    excluded : int or array
        Paths left out because they diverged. The mean over the survivors is another quantity, so a comparison with
        `excluded` > 0 is never decided.
    order : float or None
        The order in the step at which `bias_bound` falls, where it is known.

    >>> Estimate(1.6487, 0.0021, 3e-4, n=10_000)
    <1.6487 ± 0.0021, bias <= 0.0003, n = 10000>
    """

    value: float | Values
    stderr: float | Values
    bias_bound: float | Values = 0.0
    n: int | NDArray[np.int64] | None = None
    bias_stderr: float | Values = 0.0
    excluded: int | NDArray[np.int64] = 0
    order: float | None = None

    def __post_init__(self) -> None:
        value = finite_array("value", self.value, finite=False)
        if value.ndim > 1 or value.size == 0:
            raise ValueError(f"value: expected a number or an array of shape (points,), got "
                             f"shape {value.shape}; {'ravel it' if value.size else 'there is nothing to estimate'}")
        if not np.isfinite(value).all():
            raise ValueError(f"value: expected finite numbers, got {self.value!r}; "
                             f"count diverged paths with mean_estimate")
        object.__setattr__(self, "value", _plain(value))
        for name in ("stderr", "bias_bound", "bias_stderr"):
            part = finite_array(name, getattr(self, name), finite=False)
            if not (part >= 0).all() or np.isinf(part).any() or part.shape not in ((), value.shape):
                raise ValueError(f"{name}: expected finite numbers >= 0, one or as many as values {value.shape}, "
                                 f"got {getattr(self, name)!r}")
            object.__setattr__(self, name, _plain(np.broadcast_to(part, value.shape)))
        if self.order is not None:
            number("order", self.order, above=0)
        object.__setattr__(self, "n", None if self.n is None else _count("n", self.n, value.shape, 2))
        object.__setattr__(self, "excluded", _count("excluded", self.excluded, value.shape, 0))

    def margin(self, alpha: float) -> float | Values:
        """Return half the width of the interval that misses with probability at most alpha: t·stderr + bias."""
        critical = critical_value(alpha, self.n)
        return _plain(critical * (np.asarray(self.stderr) + self.bias_stderr) + self.bias_bound)

    def interval(self, alpha: float) -> tuple[float | Values, float | Values]:
        """Return (value - margin, value + margin)."""
        margin = self.margin(alpha)
        return _plain(np.asarray(self.value) - margin), _plain(np.asarray(self.value) + margin)

    def with_bias(self, bound: ArrayLike) -> Estimate:
        """Return the estimate with a further systematic error of up to |bound|, one or one a point: the bounds add up.

        >>> Estimate(1.0, 0.1, 0.02, n=100).with_bias(-0.03)
        <1.00 ± 0.1, bias <= 0.05, n = 100>
        """
        return replace(self, bias_bound=_plain(self.bias_bound + np.abs(bound)))

    def __len__(self) -> int:
        return int(np.size(self.value))

    def points(self) -> Iterator[Estimate]:
        """Yield each point as a scalar estimate."""
        at = [np.broadcast_to(np.asarray(x), np.shape(self.value)).ravel() for x in
              (self.value, self.stderr, self.bias_bound,
               -1 if self.n is None else self.n, self.bias_stderr, self.excluded)]
        for value, stderr, bias, n, bias_stderr, excluded in zip(*at, strict=True):
            yield Estimate(float(value), float(stderr), float(bias), None if self.n is None else int(n),
                           float(bias_stderr), int(excluded), self.order)

    def __repr__(self) -> str:
        if np.ndim(self.value):
            first, last = (repr(p)[1:-1] for p in (next(self.points()), list(self.points())[-1]))
            return f"<{len(self)} points: {first}; ...; {last}>"
        value, stderr = float(self.value), float(self.stderr)
        digits = min(12, max(0, 1 - int(np.floor(np.log10(stderr))))) if stderr > 0 else 0
        text = f"{value:.{digits}f}" if stderr > 0 and 1e-4 <= abs(value) < 1e6 else f"{value:.6g}"
        text += f" ± {stderr:.2g}" + (f", bias <= {self.bias_bound:.2g}" if self.bias_bound else "")
        text += f" ± {self.bias_stderr:.2g}" if self.bias_stderr else ""
        text += f", n = {self.n}" if self.n is not None else ""
        return f"<{text}{f', {self.excluded} diverged left out' if self.excluded else ''}>"


def checked_estimate(name: str, value: Any, *, scalar: bool = False) -> Estimate:
    """Return the estimate that was given, or say how to make one; `scalar` asks for a single number.

    >>> checked_estimate("fine", 1.0)
    Traceback (most recent call last):
    TypeError: fine: expected an Estimate, got 1.0; make one: mean_estimate(samples), or Estimate(value, stderr)
    """
    if not isinstance(value, Estimate):
        raise TypeError(f"{name}: expected an Estimate, got {value!r}; make one: mean_estimate(samples), or Estimate(value, stderr)")
    if scalar and np.ndim(value.value):
        raise ValueError(f"{name}: expected an estimate of one number, got {value!r}; take them one by one: {name}.points()")
    return value


def paths_first(name: str, samples: Any) -> Values:
    """Return samples (paths, ...) as floats, paths that diverged among them."""
    if isinstance(samples, Estimate):
        raise TypeError(f"{name}: expected samples, one number an independent path, got an Estimate; it has its mean already")
    array = finite_array(name, samples, finite=False)
    if array.ndim == 0:
        raise ValueError(f"{name}: expected one number an independent path, got the number {samples!r}; there is no error of one "
                         "number: run more paths, or Estimate(value, stderr)")
    return array


@explained
def from_moments(mean: ArrayLike, var: ArrayLike, count: ArrayLike, *, bias_bound: ArrayLike = 0.0,
                 excluded: ArrayLike = 0) -> Estimate:
    """Return the estimate behind streamed moments: the mean over `count` paths and the sample variance of one path.

    >>> from_moments(2.0, 4.0, 400)
    <2.00 ± 0.1, n = 400>
    """
    counts, variance = finite_array("count", count), finite_array("var", var, finite=False)
    if np.any(counts < 2):
        raise ValueError(f"count: expected at least 2 paths, got {count!r}; run more paths")
    if not (variance >= 0).all():
        raise ValueError(f"var: expected variances >= 0, got {var!r}; they are NaN where no path stayed finite")
    try:
        stderr = np.sqrt(variance / counts)
    except ValueError:
        raise ValueError(f"var, count: expected one number or as many as means, got shapes {variance.shape} and "
                         f"{counts.shape}") from None
    return Estimate(finite_array("mean", mean, finite=False), _plain(stderr), finite_array("bias_bound", bias_bound, finite=False),
                    _count("n", counts, np.shape(mean), 2), excluded=_count("excluded", excluded, np.shape(mean), 0))


def from_points(estimates: Iterable[Estimate]) -> Estimate:
    """Return one estimate with the points of the given ones in order: the inverse of `Estimate.points`.

    Parameters
    ----------
    estimates : iterable of Estimate
        Numbers or arrays of them, each with its own errors, paths and diverged paths; one or more. The order of the whole is
        the lowest of those known.

    Raises
    ------
    ValueError
        Without estimates, or where some state their number of paths and some do not: no margin would fit both.

    >>> from_points([Estimate(1.0, 0.1, n=100), Estimate([2.0, 3.0], 0.2, n=50)])
    <3 points: 1.00 ± 0.1, n = 100; ...; 3.00 ± 0.2, n = 50>
    """
    if not isinstance(estimates, Iterable):
        raise TypeError(f"estimates: expected estimates, one or more, got {estimates!r}; from_points([a, b])")
    points = [point for i, estimate in enumerate(estimates) for point in checked_estimate(f"estimates[{i}]", estimate).points()]
    if not points:
        raise ValueError("estimates: expected at least one, got none")
    if len({point.n is None for point in points}) > 1:
        raise ValueError(f"estimates: expected a number of paths n for all or for none, got {[p.n for p in points]}; state n")
    value, stderr, bias, bias_stderr = (np.array([getattr(point, name) for point in points]) for name in
                                        ("value", "stderr", "bias_bound", "bias_stderr"))
    n = None if points[0].n is None else np.array([point.n for point in points])
    return Estimate(value, stderr, bias, n, bias_stderr, np.array([point.excluded for point in points]),
                    min((point.order for point in points if point.order is not None), default=None))


@explained
def mean_estimate(samples: ArrayLike, axis: int = 0, *, bias_bound: ArrayLike = 0.0) -> Estimate:
    """Return the mean over independent paths with its standard error.

    Parameters
    ----------
    samples : array, shape (paths,) or (paths, points)
        One row a path. Entries that are not finite (diverged paths) are left out, and counted in `excluded`.
    axis : int
        The axis of the paths.

    Returns
    -------
    Estimate
        A number, or an array of shape (points,).

    >>> mean_estimate([1.0, 2.0, 3.0, 4.0, float("nan")])
    <2.50 ± 0.65, n = 4, 1 diverged left out>
    """
    x = paths_first("samples", samples)
    if x.ndim not in (1, 2) or x.size == 0 < x.shape[0]:
        raise ValueError(f"samples: expected shape (paths,) or (paths, points), got {x.shape}")
    x = np.moveaxis(x, integer("axis", axis, at_least=-x.ndim, at_most=x.ndim - 1), 0)
    alive = np.isfinite(x)
    count = alive.sum(axis=0)
    if np.any(count < 2):
        raise ValueError(f"samples: expected at least 2 finite paths, got {int(np.min(count))} of {x.shape[0]}; "
                         "run more paths, or find out why they diverge")
    mean = np.where(alive, x, 0).sum(axis=0) / count
    var = (np.where(alive, x - mean, 0) ** 2).sum(axis=0) / (count - 1)
    return from_moments(mean, var, count, bias_bound=bias_bound, excluded=x.shape[0] - count)
