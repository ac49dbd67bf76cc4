r"""The order in η of an error that is known to rounding at η = T/n, n = 2^i … 2^j.

.. math:: p(\eta) = \log_2\frac{e(2\eta)}{e(\eta)} = p + c\,\eta + O(\eta^2): \qquad
          |p(\eta) - p| \le \tfrac54\,|p(2\eta) - p(\eta)|
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sdetheory import Exact

__all__ = ["extrapolated", "limit", "local_order", "weak_errors"]

SAFETY = 1.25  # as for step halving: c η itself is |p(2η) − p(η)| up to O(η²)


def local_order(errors: ArrayLike, rounding: ArrayLike = 0.0) -> Exact:
    """The order at the finest η, bounded by how it moved at the last halving.

    Parameters
    ----------
    errors : array_like (k, ...), k >= 3
        Errors of one sign at η, η/2, …; the first axis is that of η.
    rounding : array_like
        Bound on the rounding of every error.
    """
    e = np.abs(np.asarray(errors, dtype=float))
    slopes = np.log2(e[:-1] / e[1:])
    # an error off by r has a logarithm to base 2 that is off by r/(e log 2); two in a slope, and three in its change
    of_rounding = 5 * np.max(np.broadcast_to(rounding, e.shape)[-3:] / e[-3:], axis=0) / np.log(2)
    return Exact(slopes[-1], SAFETY * np.abs(slopes[-2] - slopes[-1]) + of_rounding)


def limit(coefficients: ArrayLike, rounding: ArrayLike = 0.0) -> Exact:
    """lim of c(η) = c + c₁η + c₂η² + … from c at η, η/2, η/4, … by Richardson, bounded by the last correction.

    Parameters
    ----------
    coefficients : array_like (k, ...), k >= 3
        The first axis is that of η.
    rounding : array_like
        Bound on the rounding of every coefficient; twice extrapolated, it counts up to 5 times.
    """
    c = np.asarray(coefficients, dtype=float)
    once = 2 * c[1:] - c[:-1]
    twice = (4 * once[1:] - once[:-1]) / 3
    spread = np.broadcast_to(rounding, c.shape)[-3:].max(axis=0)
    return Exact(twice[-1], np.abs(twice[-1] - once[-1]) + 5 * spread)


def weak_errors(first: Callable[[float, int], NDArray[np.float64]], second: Callable[[float, int], NDArray[np.float64]],
                end: float, steps: Sequence[int]) -> NDArray[np.float64]:
    """first(η, n) − second(η, n) at η = end/n, stacked along a first axis."""
    return np.stack([first(end / n, n) - second(end / n, n) for n in steps])


def extrapolated(values: NDArray[np.float64], rounding: float) -> Exact:
    """The limit l → ∞ of a power series in 1/l from its values at l, 2l, 4l, … (first axis): Richardson to the end.

    Bounded by the change of the last step; `rounding` of every value counts up to 10 times in five of them.
    """
    before = table = np.asarray(values, dtype=float)
    for order in range(1, len(values)):
        before, table = table, (2**order * table[1:] - table[:-1]) / (2**order - 1)
    return Exact(table[0], np.abs(table[0] - before[1]) + 10 * rounding)
