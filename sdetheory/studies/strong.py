r"""The strong error :math:`(E\|Y^h_T - X_T\|^2)^{1/2} \approx C h^\gamma` on nested Brownian paths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..random import seed_sequence
from ..schemes import Scheme
from ..schemes import get as get_scheme
from ..sde import SDE
from ..simulation import simulate
from ..stats import order_from_samples
from ..validation import explained, integer, number
from .study import ErrorStudy, increment_rows, step_numbers, with_drift

__all__ = ["strong_error_study"]


@explained
def strong_error_study(sde: SDE, x0: Any, t1: float, *, steps: Sequence[int] = (4, 8, 16, 32, 64),
                       scheme: str | Scheme = "euler_maruyama", reference: str | Scheme | None = None, n_paths: int = 4000,
                       rng: Any = None, alpha: float = 1e-3, n_threads: int | None = None) -> ErrorStudy:
    """Measure the strong order of a scheme, in the mean square at `t1`, on nested Brownian paths.

    Parameters
    ----------
    sde, x0, t1, rng, alpha : as for `weak_error_study`
    steps : sequence of at least four ints
        Numbers of steps, each the coarsest times a power of 2.
    reference : str or Scheme, optional
        Measure the distance to this scheme, which must draw the same increments, on the same path at a step 8 times finer than
        the finest: which limit is reached.
        Without it the distance of h and h/2: how fast, whatever the limit.
    n_paths : int
        Paths, the same at every step size.

    Returns
    -------
    ErrorStudy
    """
    counts = step_numbers(steps)
    chosen, t1 = get_scheme(scheme), number("t1", t1, above=0)
    if any((n // counts[0]) & (n // counts[0] - 1) or n % counts[0] for n in counts):
        raise ValueError(f"steps: expected the coarsest times powers of 2, got {counts}; "
                         f"try {[counts[0] * 2**j for j in range(5)]}")
    limit_scheme = None if reference is None else get_scheme(reference)
    for what in (chosen, limit_scheme or chosen):
        if any(i.kind != "normal" for i in what.noise if what.increments_shape(sde).get(i.role)):
            raise ValueError(f"scheme: expected one whose increments are Brownian, got {what.name!r}, which has no strong "
                             "order here; use 'euler_maruyama', or weak_error_study")
    drawn, wanted = increment_rows(chosen, sde), increment_rows(limit_scheme or chosen, sde)
    if drawn != wanted:  # they would number their noise apart
        raise ValueError(f"reference: expected a scheme that draws {drawn} as {chosen.name!r} does, to be on the same path, "
                         f"got {reference!r} with {wanted}; use {chosen.name!r} itself")
    n_paths = integer("n_paths", n_paths, at_least=10 * len(counts))
    seeds, finest = seed_sequence(rng), 2 * counts[-1] if reference is None else 8 * counts[-1]

    def ends(n: int, by: str | Scheme) -> NDArray[np.float64]:
        runs = simulate(sde, x0, t1=t1, dt=t1 / n, brownian_dt=t1 / finest, scheme=by, n_paths=n_paths, rng=seeds,
                        n_threads=n_threads)
        if runs.attrs["n_diverged"]:
            raise ValueError(f"steps: expected paths that stay finite, got {runs.attrs['n_diverged']} of {n_paths} that "
                             f"diverge at {n} steps; take more steps")
        return np.stack([runs[s.name].values[:, -1] for s in sde.states])

    every = counts if reference is not None else sorted({*counts, *(2 * n for n in counts)})
    known = {n: ends(n, chosen) for n in every}
    limit = None if limit_scheme is None else ends(finest, limit_scheme)
    gaps = np.stack([np.linalg.norm(known[n] - (known[2 * n] if limit is None else limit), axis=0) for n in counts], axis=1)
    dt, squares = t1 / np.array(counts), gaps**2
    errors = np.sqrt(squares.mean(axis=0))
    stderr = np.zeros_like(errors)
    np.divide(squares.std(axis=0, ddof=1), 2 * errors * math.sqrt(n_paths), out=stderr, where=errors > 0)
    fit, message = None, ""
    try:
        fit = order_from_samples(dt, gaps, moment=2, alpha=alpha)
    except ValueError as error:  # errors that are 0 to rounding, or as scattered as they are large
        message = f"no order: {error}"
    order = chosen.promised(sde, "strong")
    against = "from h to h/2" if limit_scheme is None else f"to {limit_scheme.name} at {finest} steps"
    return ErrorStudy("strong", chosen.name, dt, errors, stderr, None if order is None else float(order), fit, against,
                      with_drift(message, fit))
