r"""How far rounding may part two computations of (g, λ), g = f/√n, of one run of the uv model.

.. math:: g' = (1 - \eta\lambda + \eta^2g^2)\,g, \quad \lambda' = \lambda + \eta g^2(\eta\lambda - 4), \qquad
          J = \begin{pmatrix} 1-\eta\lambda+3\eta^2g^2 & -\eta g \\ 2\eta g(\eta\lambda-4) & 1+\eta^2g^2 \end{pmatrix},
          \qquad e_t = \sum_{s \le t} |J_{t-1}\cdots J_s|\, l_s

What one step adds, l: a sum of n products is off by n·u·Σ|u_iv_i|, which is n·u·λ/2 in g (u the unit roundoff), and n·u·λ in
λ; each weight is rounded twice in an update and the map itself in under 16 operations, of numbers of size λ(1 + ηλ + η²g²).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sdetheory import Exact
from sdetheory.stats.rounding import gamma_n, propagated_error, unit_roundoff
from sdetheory.theory import catapult

__all__ = ["EPS", "exact", "iterated", "read_error", "rounding_along"]

EPS = 2 * unit_roundoff()
Values = NDArray[np.float64]


def exact(pieces: Iterable[tuple[ArrayLike, ArrayLike]]) -> Exact:
    """One piece of evidence from pairs of (values, their bounds on rounding) of any shapes."""
    return Exact(*(np.concatenate([np.ravel(a) for a in part]) for part in zip(*pieces, strict=True)))


def iterated(f0: ArrayLike, curvature0: ArrayLike, lr: ArrayLike, width: int, steps: int) -> tuple[Values, Values]:
    """(f, λ) by the formulas of CAT-1, each of shape (…, steps + 1)."""
    f, curvature = [np.asarray(f0, dtype=float)], [np.asarray(curvature0, dtype=float)]
    for _ in range(steps):
        now = {"f": f[-1], "curvature": curvature[-1], "lr": lr, "width": width}
        f.append(catapult.output_step(**now))
        curvature.append(catapult.curvature_step(**now))
    return np.stack(f, -1), np.stack(curvature, -1)


def read_error(curvature: ArrayLike, width: int) -> tuple[Values, Values]:
    """Bounds of the error of g and of λ where they are summed up from weights, for two computations together."""
    size = 2 * gamma_n(width + 16) * np.asarray(curvature, dtype=float)
    return size / 2, size


def rounding_along(f: Values, curvature: Values, lr: ArrayLike, width: int) -> tuple[Values, Values]:
    """Bounds of the difference in g and in λ of two computations of a run, shapes (…, steps + 1); lr as (…)."""
    g, lr = f / np.sqrt(width), np.asarray(lr, dtype=float)
    x, y = lr[..., None] * curvature, lr[..., None] ** 2 * g**2
    jacobians = np.stack([np.stack([1 - x + 3 * y, -lr[..., None] * g], -1),
                          np.stack([2 * lr[..., None] * g * (x - 4), 1 + y], -1)], -2)
    read = np.stack(read_error(curvature, width), -1)
    both = propagated_error(jacobians[..., :-1, :, :], (read * (1 + x + y)[..., None])[..., :-1, :], read[..., 0, :])
    both[..., 1:, :] += read[..., 1:, :]
    return both[..., 0], both[..., 1]
