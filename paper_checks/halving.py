"""Measurements at two step sizes on one Brownian path, point by point."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sdetheory.stats import Estimate, step_halving

__all__ = ["at_two_steps"]


def at_two_steps(one: Callable[[Any, Any, int], Mapping[str, np.ndarray]], cases: Sequence[Any], seeds: Sequence[Any], *,
                 order: float) -> dict[str, Estimate]:
    """Measure every case at steps 2h and h; one point per case, whose bias bound is measured by the halving.

    Parameters
    ----------
    one : callable
        `one(case, seed, refine)` returns name -> samples of shape (paths,) at the step refine · h, refine = 2 or 1, on
        the Brownian paths of `seed`.
    cases, seeds : sequences of one length
        One seed per case.
    order : float
        The weak order of the scheme for these quantities.
    """
    samples = [[one(case, seed, refine) for refine in (2, 1)] for case, seed in zip(cases, seeds, strict=True)]

    def at(size: int, name: str) -> np.ndarray:
        return np.stack([both[size][name] for both in samples], axis=1)

    return {name: step_halving(at(0, name), at(1, name), order=order, coupled=True) for name in samples[0][0]}
