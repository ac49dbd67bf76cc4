r"""Brownian increments on nested grids: :math:`\Delta W_{[0,2h]} = \Delta W_{[0,h]} + \Delta W_{[h,2h]}`."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..validation import integer

__all__ = ["coarsen"]


def _halved(name: str, values: ArrayLike, times: int) -> tuple[NDArray[np.float64], int]:
    array, levels = np.asarray(values, dtype=np.float64), integer("times", times, at_least=0, at_most=62)
    if array.ndim == 0 or array.shape[0] % 2**levels:
        raise ValueError(f"{name}: expected a first axis divisible by 2^times = {2**levels}, got shape {array.shape}; "
                         "use a number of fine steps that is a multiple of it")
    return array, levels


def coarsen(increments: ArrayLike, times: int) -> NDArray[np.float64]:
    """Brownian increments over steps 2^times as long: pairwise tree sums along the first axis.

    The increment of a coarse step is left + right, `times` times over, so coarsening by 3 and coarsening by 1 and then
    by 2 agree to the bit, and every scheme of a nested family sees one and the same Brownian path.

    Parameters
    ----------
    increments : (n 2^times, ...) array
    times : int >= 0

    Returns
    -------
    (n, ...) float64 array

    Examples
    --------
    >>> coarsen([1.0, 2.0, 3.0, 4.0], 1)
    array([3., 7.])
    """
    fine, levels = _halved("increments", increments, times)
    for _ in range(levels):
        fine = fine[0::2] + fine[1::2]
    return fine.copy() if levels == 0 else fine
