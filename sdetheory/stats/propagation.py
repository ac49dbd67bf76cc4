r"""Functions of estimates: by finite differences over one standard error, or by the jackknife over paired paths.

    f(theta_hat) ± (1/2)|f(theta_hat + se) - f(theta_hat - se)|,      the curvature over ±se going into the bias bound.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .estimates import Estimate, checked_estimate, paths_first

__all__ = ["jackknife", "propagate", "ratio"]


def propagate(f: Callable[..., ArrayLike], *estimates: Estimate) -> Estimate:
    """Return f of *independent* estimates; variances add, bias bounds add in absolute value.

    The difference quotient over ±stderr is the delta method's derivative; what it leaves out, half the second
    difference, is added to the bias bound. Bounds are taken at the ends, so f should be monotone across them.

    Parameters
    ----------
    f : callable
        Takes one number (or array of points) per estimate, acts pointwise.

    Raises
    ------
    ValueError
        Where f is not finite within one standard error: the estimates are too wide for a linear error.

    >>> propagate(lambda x: x**2, Estimate(3.0, 0.01, n=100))
    <9.000 ± 0.06, bias <= 0.0001, n = 100>
    """
    _function(f)
    if not estimates:
        raise TypeError("estimates: expected at least one Estimate to take f of, got none")
    for i, e in enumerate(estimates):
        checked_estimate(f"argument {i}", e)
    centre = [np.asarray(e.value) for e in estimates]

    def shifted(i: int, by: ArrayLike) -> NDArray[np.float64]:
        with np.errstate(all="ignore"):
            result = np.asarray(f(*(c + by if j == i else c for j, c in enumerate(centre))), dtype=float)
        if not np.isfinite(result).all():
            raise ValueError(f"f: expected finite values within the errors of its arguments, got {result!r} where "
                             f"argument {i} is {centre[i] + by!r}; use more paths, so that the error is smaller")
        return result

    middle = shifted(0, 0.0)
    variance, bias, bias_variance = np.zeros_like(middle), np.zeros_like(middle), np.zeros_like(middle)
    for i, e in enumerate(estimates):
        se, b, bse = np.asarray(e.stderr), np.asarray(e.bias_bound), np.asarray(e.bias_stderr)
        up, down = shifted(i, se), shifted(i, -se)
        variance = variance + (up - down) ** 2 / 4
        second = np.abs(up + down - 2 * middle)
        rounding = 4 * np.finfo(float).eps * (np.abs(up) + np.abs(down) + 2 * np.abs(middle))
        bias = bias + np.where(second > rounding, second, 0) / 2
        bias = bias + np.maximum(np.abs(shifted(i, b) - middle), np.abs(shifted(i, -b) - middle))
        bias_variance = bias_variance + (shifted(i, bse) - shifted(i, -bse)) ** 2 / 4
    known = [int(np.min(e.n)) for e in estimates if e.n is not None]
    orders = {e.order for e in estimates if e.order is not None}
    return Estimate(middle, np.sqrt(variance), bias, min(known, default=None), np.sqrt(bias_variance),
                    excluded=max(int(np.max(e.excluded)) for e in estimates), order=min(orders, default=None))


def jackknife(f: Callable[..., ArrayLike], *samples: ArrayLike) -> Estimate:
    """Return f(mean of each sample) over *paired* paths, its bias of order 1/n removed.

    Parameters
    ----------
    f : callable
        Takes the mean of each sample; must act pointwise on arrays (it is called once on all n leave-one-out means).
    *samples : array, shape (paths,)
        Quantities measured on the same n paths, in the same order; a path that is not finite in one is left out of all.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(2.0, 1.0, 1000)
    >>> jackknife(lambda m, m2: m2 - m**2, x, x**2)        # the variance, 1
    <0.955 ± 0.046, n = 1000>
    """
    _function(f)
    columns = [paths_first("samples", s) for s in samples]
    if not columns or columns[0].ndim != 1 or any(c.shape != columns[0].shape for c in columns):
        shapes = ", ".join(str(c.shape) for c in columns) or "none"
        raise ValueError(f"samples: expected arrays of shape (paths,), all of one length, got {shapes}; one number a path each")
    x = np.array(columns)
    alive = np.isfinite(x).all(axis=0)
    x = x[:, alive]
    n = x.shape[1]
    if n < 2:
        raise ValueError(f"samples: expected at least 2 finite paths, got {n} of {alive.size}; run more paths")
    total = x.sum(axis=1, keepdims=True)
    left_out = np.asarray(f(*((total - x) / (n - 1))), dtype=float)
    if left_out.shape not in ((), (n,)):
        raise ValueError(f"f: expected a function that acts pointwise on arrays, got shape {left_out.shape} for means of shape "
                         f"({n},)")
    whole = float(np.asarray(f(*(total[:, 0] / n)), dtype=float))
    if not np.isfinite(whole) or not np.isfinite(left_out).all():
        raise ValueError(f"f: expected finite values of the means, got {whole!r}; look at f there")
    return Estimate(n * whole - (n - 1) * left_out.mean(),
                    np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum()),
                    n=n, excluded=int(alive.size - n))


def ratio(numerator: Estimate | ArrayLike, denominator: Estimate | ArrayLike) -> Estimate:
    """Return the ratio of two means: of independent estimates, or of two samples on the same paths (jackknife).

    >>> ratio(Estimate(1.0, 0.01, n=100), Estimate(2.0, 0.01, n=100))
    <0.5000 ± 0.0056, bias <= 1.3e-05, n = 100>
    """
    if isinstance(numerator, Estimate) and isinstance(denominator, Estimate):
        return propagate(lambda a, b: a / b, numerator, denominator)
    if isinstance(numerator, Estimate) or isinstance(denominator, Estimate):
        raise TypeError("ratio: expected two estimates or two paired samples, got one of each; mean_estimate(samples)")
    return jackknife(lambda a, b: a / b, numerator, denominator)


def _function(f: Callable[..., ArrayLike]) -> None:
    if not callable(f):
        raise TypeError(f"f: expected a function of the means, got {f!r}")
