r"""The weak error :math:`|E f(Y^h_T) - E f(X_T)| \approx C h^p`, to the exact value or from h to h/2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..expectation.sampling import Sampler, Work
from ..expectation.sde_samplers import check_start, pair_sampler, sampler_of
from ..expectation.to_tolerance import functional_of
from ..random import seed_sequence
from ..schemes import Scheme, SDEProcess
from ..schemes import get as get_scheme
from ..sde import SDE
from ..stats import fit_order
from ..validation import explained, integer, number
from .study import ErrorStudy, increment_rows, step_numbers, with_drift

__all__ = ["weak_error_study"]

RESOLVED = 3.0  # standard errors that an error must be above 0 for its logarithm to say something


@explained
def weak_error_study(sde: SDE, functional: Any, x0: Any, t1: float, *, steps: Sequence[int] = (4, 8, 16, 32, 64),
                     scheme: str | Scheme = "euler_maruyama", exact: float | None = None, n_paths: int = 200_000,
                     rng: Any = None, alpha: float = 1e-3, n_threads: int | None = None) -> ErrorStudy:
    """Measure the weak order of a scheme.

    Parameters
    ----------
    sde, functional, x0 : as for `expect`
    t1 : float
        End, on the clock of the drift; the start is at 0.
    steps : sequence of at least four ints
        Numbers of steps.
    scheme : str or Scheme
    exact : float, optional
        E f(X_T). Without it the error is the change from n to 2n steps, on the same Brownian paths where the scheme allows.
    n_paths : int
        Paths at each step size, fresh for each.
    rng : int, SeedSequence or Generator, optional
    alpha : float
        False-alarm probability of "not yet asymptotic".

    Returns
    -------
    ErrorStudy

    Examples
    --------
    >>> import math, sympy, sdetheory as sdt
    >>> x = sympy.Symbol("x")
    >>> gbm = sdt.SDE([x], [0.5 * x], [[0.5 * x]])
    >>> study = sdt.studies.weak_error_study(gbm, x, [1.0], 1.0, exact=math.exp(0.5), steps=(2, 3, 4, 6), rng=0)
    >>> study.dt.size, study.promised
    (4, 1.0)
    """
    counts = step_numbers(steps)
    chosen, t1 = get_scheme(scheme), number("t1", t1, above=0)
    process = SDEProcess(sde, chosen)
    what, start = functional_of(process, functional), check_start(process, x0)
    n_paths = integer("n_paths", n_paths, at_least=100)
    work, seeds = Work(n_threads=n_threads), iter(seed_sequence(rng).spawn(2 * len(counts)))
    k = len(counts)
    if exact is not None:
        single = sampler_of(sde, chosen, what, start, 0.0, t1)
        found = [_finite(single, n, n_paths, next(seeds), work) for n in counts]
        errors, cov = np.array([m for m, _ in found]) - number("exact", exact), np.diag([v for _, v in found])
        against = "to the exact value"
    elif _nests(chosen, sde):
        pair = pair_sampler(sde, chosen, what, start, 0.0, t1)
        found = [_finite(pair, n, n_paths, next(seeds), work) for n in counts]
        errors, cov = np.array([m for m, _ in found]), np.diag([v for _, v in found])
        against = "from h to h/2"
    else:  # increments that are no sums over a finer grid: independent runs, shared by neighbouring differences
        single = sampler_of(sde, chosen, what, start, 0.0, t1)
        every = sorted({*counts, *(2 * n for n in counts)})
        known = {n: _finite(single, n, n_paths, next(seeds), work) for n in every}
        rows = np.array([[float(m == 2 * n) - float(m == n) for m in every] for n in counts])
        errors = rows @ np.array([known[n][0] for n in every])
        cov = rows @ np.diag([known[n][1] for n in every]) @ rows.T
        against = "from h to h/2"
    order = chosen.promised(sde, "weak")
    stderr = np.sqrt(np.diag(cov))
    sizes, dt = np.abs(errors), t1 / np.array(counts)
    resolved = sizes > RESOLVED * stderr
    fit, message = None, ""
    if resolved.sum() >= 4:
        fit = fit_order(dt[resolved], sizes[resolved], covariance=cov[np.ix_(resolved, resolved)], n=n_paths, alpha=alpha)
    if not resolved.all():
        message = (f"{k - int(resolved.sum())} of {k} errors are below {RESOLVED:g} standard errors"
                   + (" and were left out of the fit" if fit else ": no order; use more paths or larger steps"))
    return ErrorStudy("weak", chosen.name, dt, sizes, stderr, None if order is None else float(order), fit, against,
                      with_drift(message, fit))


def _nests(scheme: Scheme, sde: SDE) -> bool:
    rows = set(increment_rows(scheme, sde))
    return rows <= {"dW"} and all(i.kind == "normal" for i in scheme.noise if i.role in rows)


def _finite(sampler: Sampler, n: int, n_paths: int, seeds: np.random.SeedSequence, work: Work) -> tuple[float, float]:
    found = sampler.moments(n, n_paths, seeds, work)
    if found.bad:
        raise ValueError(f"functional: expected finite values on every path, got {found.bad} of {n_paths} paths where it is "
                         f"not, at {n} steps; take more steps, or a functional with a mean")
    return found.mean, found.variance_of_mean
