r"""A martingale that takes most of the variance away.

By Itô's formula :math:`f(X_T) = u(0, X_0) + \int_0^T \partial_x u\cdot b\,dW` for :math:`u(t, x) = E[f(X_T) | X_t = x]`,
so f less that stochastic integral would have no variance at all. u is not known, but near T it is
:math:`\sum_k \tfrac{(T-t)^k}{k!}(L^0)^k f`. So the state is extended by

.. math:: dM = \sum_k \beta_k \Big(\tfrac{T-t}{T-t_0}\Big)^k \sum_{ij} \partial_i\big((L^0)^kf\big)\, b_{ij}\,dW^j,
          \qquad M_0 = 0

Every Itô–Taylor scheme gives a row without drift increments of mean 0, in each single step and whatever the β: the mean of
f − M is that of f at the same step size, to rounding. The β are the regression of f on the M_k in a pilot run.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import sympy
from numpy.typing import NDArray

from ..sde import SDE
from ..symbolic.regularity import is_rough

__all__ = ["best_coefficients", "controlled"]

TERMS, OPERATIONS = 4, 60  # of the series; of the row of M, beyond which a step costs more than it saves


@lru_cache(maxsize=64)
def controlled(sde: SDE, functional: sympy.Expr, t0: float, t1: float) -> tuple[SDE, sympy.Expr, tuple[str, ...]] | None:
    """The SDE of (X, M), the observable f − M and the names of the β; None where there is no such control.

    >>> x = sympy.Symbol("x")
    >>> pair, observable, names = controlled(SDE([x], -x, 1), x**2, 0.0, 1.0)
    >>> pair.dim, len(names)
    (2, 4)
    """
    if any(is_rough(entry) for entry in (functional, *sde.drift, *sde.diffusion)):
        return None
    taken = {s.name for s in (*sde.states, sde.time)}
    M = sympy.Symbol(_fresh("control", taken), real=True)
    left = (sympy.Float(t1) - sde.time) / sympy.Float(t1 - t0)
    row = sympy.zeros(1, sde.noise_dim)
    names: list[str] = []
    g = functional
    for k in range(TERMS):
        term = (sympy.Matrix([g]).jacobian(sde.states) * sde.diffusion).applyfunc(_short)
        if not term.is_zero_matrix:
            beta = sympy.Symbol(_fresh(f"beta_{k}", taken), real=True)
            if sum(sympy.count_ops(entry) for entry in row + term) > OPERATIONS:
                break
            row, names = row + beta * left**k * term, [*names, beta.name]
        g = _short(sde.L0(g))
        if g.has(sympy.Derivative, sympy.DiracDelta, sympy.Subs):
            break
    if not names:
        return None
    drift, diffusion = [*sde.drift, sympy.S.Zero], sde.diffusion.col_join(row)
    return SDE([*sde.states, M], drift, diffusion, time=sde.time), functional - M, tuple(names)


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _short(expression: sympy.Expr) -> sympy.Expr:
    """Expanded or as it is, whichever takes fewer operations."""
    expanded = sympy.expand(expression)
    return min((expanded, expression), key=sympy.count_ops)


def best_coefficients(values: NDArray[np.float64], differences: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """β of the regression of f, shape (paths,), on the M_k, shape (terms, paths), and the share of the variance that is left.

    >>> rng = np.random.default_rng(0)
    >>> M = rng.normal(size=(2, 1000))
    >>> beta, left = best_coefficients(3 * M[0] - M[1] + 5, M)
    >>> beta.round(6), left < 1e-12
    (array([ 3., -1.]), True)
    """
    centred = differences - differences.mean(axis=1, keepdims=True)
    f = values - values.mean()
    beta = np.linalg.lstsq(centred.T, f, rcond=1e-10)[0]
    variance = float(f @ f)
    rest = f - beta @ centred
    return beta, float(rest @ rest) / variance if variance > 0 else 1.0
