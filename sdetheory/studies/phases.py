r"""Which phase a run was in: lazy, catapult or divergent (CAT-3), read off what was measured.

.. math:: \text{divergent: not finite at the end}; \quad \text{catapult: } L \text{ grew}; \quad \text{lazy: the rest}

"Grew" at the first step (L_1 > L_0, the phases whose edges and probabilities are exact, CAT-3, CAT-10) or at any step. Of wide
nets the end is enough: the curvature falls by a finite share in a catapult, by O(1/n) in the lazy phase.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..validation import explained, integer, number

__all__ = ["Phase", "phases_of_ends", "phases_of_losses"]


class Phase(IntEnum):
    """The phases, and the whole numbers that stand for them in arrays."""

    LAZY = 0
    CATAPULT = 1
    DIVERGENT = 2


@explained
def phases_of_losses(loss: ArrayLike, diverged_at: ArrayLike | None = None, *, axis: int = -1,
                     growth: Literal["first_step", "any_step"] = "first_step", floor: float = 1e-20) -> NDArray[np.int64]:
    """The phase of each run, from its losses at successive steps.

    Parameters
    ----------
    loss : array_like (..., steps, ...)
        Losses at steps 0, 1, 2, … along `axis`; the last one says whether the run diverged.
    diverged_at : array_like (...), optional
        As `simulate` gives it: −1 for runs that did not diverge.
    axis : int
        Axis of the steps.
    growth : {"first_step", "any_step"}
        When the loss has to grow for a catapult.
    floor : float
        Growth at any step counts where it ends above `floor` times the run's largest loss: where a loss is nothing but
        rounding, of some (n eps)² for sums of n terms, it rises and falls by chance.

    Returns
    -------
    int64 array of `Phase` values, without `axis`.

    Raises
    ------
    ValueError
        For fewer than two losses or another shape of `diverged_at`.

    Examples
    --------
    >>> phases_of_losses([[1.0, 0.5, 0.1], [1.0, 3.0, 0.1], [1.0, 9.0, float("inf")]])
    array([0, 1, 2])
    """
    values = np.moveaxis(np.asarray(loss, dtype=np.float64), axis, -1)
    if values.ndim < 1 or values.shape[-1] < 2:
        raise ValueError(f"loss: expected losses of two or more successive steps along axis {axis}, got shape "
                         f"{np.shape(loss)}; simulate with save_every=1")
    if growth not in ("first_step", "any_step"):
        raise ValueError(f"growth: expected 'first_step' or 'any_step', got {growth!r}")
    diverged = ~np.isfinite(values[..., -1])
    if diverged_at is not None:
        steps = np.asarray(diverged_at)
        if steps.shape != diverged.shape:
            raise ValueError(f"diverged_at: expected shape {diverged.shape}, one number a run, got {steps.shape}")
        diverged |= steps >= 0
    if growth == "first_step":
        grew = values[..., 1] > values[..., 0]
    else:
        finite = np.where(np.isfinite(values), values, 0.0)
        least = number("floor", floor, at_least=0) * finite.max(axis=-1, keepdims=True)
        grew = np.any((finite[..., 1:] > finite[..., :-1]) & (finite[..., 1:] > least), axis=-1)
    return _codes(diverged, grew)


@explained
def phases_of_ends(curvature_start: ArrayLike, curvature_end: ArrayLike, *, width: int,
                   least_fall: float | None = None) -> NDArray[np.int64]:
    """The phase of each run of a wide net, from its curvature at the start and at the end.

    Parameters
    ----------
    curvature_start, curvature_end : array_like (...)
        λ at the start and at the end; not finite at the end where the run diverged.
    width : int
        n ≥ 1.
    least_fall : float, optional
        The relative fall of the curvature from which on a run is a catapult; n^{−1/2} unless told, which lies between the
        lazy phase's O(1/n) and the catapult's O(1) when n is large. It cannot tell runs near the edge.

    Returns
    -------
    int64 array of `Phase` values.

    Examples
    --------
    >>> phases_of_ends([2.0, 2.0, 2.0], [1.998, 1.2, float("nan")], width=1000)
    array([0, 1, 2])
    """
    start, end = np.broadcast_arrays(*(np.asarray(c, dtype=np.float64) for c in (curvature_start, curvature_end)))
    if not np.all(start > 0):
        raise ValueError(f"curvature_start: expected numbers > 0, got {start.min():g}; it is (|u|^2 + |v|^2)/n")
    fall = integer("width", width, at_least=1) ** -0.5 if least_fall is None else float(least_fall)
    with np.errstate(invalid="ignore"):
        grew = 1.0 - end / start > fall
    return _codes(~np.isfinite(end), grew)


def _codes(diverged: NDArray[np.bool_], grew: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.where(diverged, int(Phase.DIVERGENT), np.where(grew, int(Phase.CATAPULT), int(Phase.LAZY))).astype(np.int64)
