r"""Starts of the uv model with a given curvature and output, in random directions: weights that any (λ_0, f_0) has.

.. math:: u + v = p, \quad u - v = q: \qquad \|p\|^2 = n\lambda_0 + 2\sqrt n f_0, \qquad \|q\|^2 = n\lambda_0 - 2\sqrt n f_0,

with p, q uniform on their spheres, so (λ_0, f_0) may be any with λ_0 ≥ 2|f_0|/√n. Normal weights, scaled to one λ_0, are the
paper's start under that condition.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["OBSERVED", "normal_weights", "weights_at"]

OBSERVED = ["f", "curvature", "balance"]  # of all weights, in every claim: one kernel


def weights_at(curvature: ArrayLike, output: ArrayLike, width: int, seed: np.random.SeedSequence) -> NDArray[np.float64]:
    """Weights (u, v), shape (paths, 2 width), one row for each of the curvatures and outputs f_0."""
    curvature, output = np.broadcast_arrays(np.atleast_1d(curvature), output)
    p, q = np.random.default_rng(seed).standard_normal((2, curvature.size, width))
    for vector, sign in ((p, 1), (q, -1)):
        sq_norm = width * curvature + 2 * sign * np.sqrt(width) * output
        vector *= np.sqrt(np.maximum(sq_norm, 0.0) / np.sum(vector**2, axis=1))[:, None]
    return np.concatenate([p + q, p - q], axis=1) / 2


def normal_weights(width: int, n: int, seed: np.random.SeedSequence, curvature: float = 2.0) -> NDArray[np.float64]:
    """Standard normal weights, shape (n, 2 width), scaled to the curvature that they have on average."""
    w = np.random.default_rng(seed).standard_normal((n, 2 * width))
    return w * np.sqrt(curvature * width / np.sum(w**2, axis=1))[:, None]
