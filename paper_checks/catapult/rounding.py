r"""How far rounding may part two computations of (g, λ), g = f/√n, of one run of the uv model.

.. math:: g' = (1 - \eta\lambda + \eta^2g^2)\,g, \quad \lambda' = \lambda + \eta g^2(\eta\lambda - 4), \qquad
          J = \begin{pmatrix} 1-\eta\lambda+3\eta^2g^2 & -\eta g \\ 2\eta g(\eta\lambda-4) & 1+\eta^2g^2 \end{pmatrix},
          \qquad e_t = \sum_{s \le t} |J_{t-1}\cdots J_s|\, l_s.

What one step adds, l: a sum of n products is off by n·u·Σ|u_iv_i|, which is n·u·λ/2 in g (u the unit roundoff), and n·u·λ in
λ; each weight is rounded twice in an update and the map itself in under 16 operations, of numbers of size λ(1 + ηλ + η²g²).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sdetheory import Exact
from sdetheory.theory import catapult

__all__ = ["EPS", "exact", "iterated", "read_error", "rounding_along"]

EPS = np.finfo(np.float64).eps
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
    """Bounds of the error of g and of λ where they are summed up from weights; eps = 2u covers two computations."""
    size = EPS * (width + 16) * np.asarray(curvature, dtype=float)
    return size / 2, size


def rounding_along(f: Values, curvature: Values, lr: ArrayLike, width: int) -> tuple[Values, Values]:
    """Bounds of the difference in g and in λ of two computations of a run, shapes (…, steps + 1); lr as (…)."""
    g, lr = f / np.sqrt(width), np.asarray(lr, dtype=float)
    bounds = [np.stack(read_error(curvature[..., 0], width), -1)]
    spread = bounds[0][..., None] * np.eye(2)  # columns: errors of each step so far, moved along to now
    for t in range(f.shape[-1] - 1):
        x, y = lr * curvature[..., t], lr**2 * g[..., t] ** 2
        jacobian = np.stack([np.stack([1 - x + 3 * y, -lr * g[..., t]], -1),
                             np.stack([2 * lr * g[..., t] * (x - 4), 1 + y], -1)], -2)
        grown = np.stack(read_error(curvature[..., t], width), -1) * (1 + x + y)[..., None]
        spread = np.concatenate([jacobian @ spread, grown[..., None] * np.eye(2)], -1)
        bounds.append(np.abs(spread).sum(-1) + np.stack(read_error(curvature[..., t + 1], width), -1))
    both = np.stack(bounds, -2)
    return both[..., 0], both[..., 1]
