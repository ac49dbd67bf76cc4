r"""The discretisation error, measured by halving the step.

A scheme of weak order p has bias e(h) = C h^p + o(h^p), so that e(2h)/e(h) -> 2^p and, at the fine step,

    e(h) = (coarse - fine) / (2^p - 1),    bound b = safety |coarse - fine| / (2^p - 1).

The safety factor covers the terms of higher order: the bound holds where e(2h)/e(h) >= 1 + (2^p - 1)/safety. With the
usual 1.25 (Roache's grid convergence index) that is 1.8 in place of 2 at order 1, and 3.4 in place of 4 at order 2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..validation import number
from .estimates import Estimate, checked_estimate, mean_estimate, paths_first

__all__ = ["bias_from_difference", "step_halving"]


def bias_from_difference(fine: Estimate, difference: Estimate, order: float, *, safety: float = 1.25) -> Estimate:
    """Return `fine` with the bias bound that follows from `difference`, the mean at step 2h minus the one at step h.

    The standard error of the bound is kept apart (`bias_stderr`), so that a margin scales it by its own critical value.

    >>> bias_from_difference(Estimate(1.0, 0.01, n=100), Estimate(0.02, 0.001, n=100), order=1)
    <1.000 ± 0.01, bias <= 0.025 ± 0.0013, n = 100>
    """
    fine, difference = checked_estimate("fine", fine), checked_estimate("difference", difference)
    _of_one_shape(fine=fine.value, difference=difference.value)
    scale = number("safety", safety, at_least=1) / (2 ** number("order", order, at_least=1e-6, at_most=1000) - 1)
    return Estimate(fine.value, fine.stderr, np.abs(difference.value) * scale + np.asarray(fine.bias_bound),
                    _fewest(fine, difference), np.asarray(difference.stderr) * scale,
                    np.maximum(fine.excluded, difference.excluded), order)


def _of_one_shape(**arrays: ArrayLike) -> None:
    (first, a), (second, b) = arrays.items()
    if np.shape(a) != np.shape(b):
        raise ValueError(f"{first}, {second}: expected the same points in both, got shapes {np.shape(a)} and {np.shape(b)}")


def _fewest(a: Estimate, b: Estimate) -> int | NDArray[np.int64] | None:
    known = [np.asarray(e.n) for e in (a, b) if e.n is not None]
    return np.minimum.reduce(known) if known else None


def step_halving(coarse: Estimate | ArrayLike, fine: Estimate | ArrayLike, order: float, *, coupled: bool = False,
                 safety: float = 1.25) -> Estimate:
    """Return the estimate at the fine step, with its measured bias bound.

    Parameters
    ----------
    coarse, fine : Estimate, or array of shape (paths,) or (paths, points)
        The same quantity at steps 2h and h.
    order : float
        The weak order of the scheme for this quantity.
    coupled : bool
        True where row k of both samples is the same Brownian path: the paired difference has a far smaller error.
        False for independent runs.
    safety : float
        See the module.

    Returns
    -------
    Estimate
        At the fine step; `bias_stderr` is the error of the measured bound.

    >>> rng = np.random.default_rng(0)
    >>> noise = rng.normal(size=4000)
    >>> step_halving(1.02 + noise, 1.01 + 0.999 * noise, order=1, coupled=True)
    <0.995 ± 0.016, bias <= 0.012 ± 2e-05, n = 4000>
    """
    if coupled:
        if isinstance(coarse, Estimate) or isinstance(fine, Estimate):
            raise TypeError("coupled: expected paired samples of shape (paths,), got estimates; pass the samples, or "
                            "the estimate of their paired difference to bias_from_difference")
        a, b = paths_first("coarse", coarse), paths_first("fine", fine)
        if a.shape != b.shape:
            raise ValueError(f"coupled: expected samples on the same paths, got shapes {a.shape} and {b.shape}")
        return bias_from_difference(mean_estimate(b), mean_estimate(a - b), order, safety=safety)
    at_2h, at_h = (e if isinstance(e, Estimate) else mean_estimate(paths_first(name, e))
                   for name, e in (("coarse", coarse), ("fine", fine)))
    _of_one_shape(coarse=at_2h.value, fine=at_h.value)
    apart = Estimate(np.asarray(at_2h.value) - at_h.value, np.hypot(at_2h.stderr, at_h.stderr),
                     n=_fewest(at_2h, at_h), excluded=np.maximum(at_2h.excluded, at_h.excluded))
    return bias_from_difference(at_h, apart, order, safety=safety)
