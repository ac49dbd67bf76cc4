r"""The toy nets of CAT-6 … CAT-9: two layers, four samples in four dimensions, one curvature at every start.

.. math:: x_\alpha = \sqrt d\,\bigl(\sqrt c\,e + \sqrt{1-c}\,z_\alpha\bigr), \qquad e = (1,\dots,1)/\sqrt d, \quad
          z_\alpha\perp e, \quad \|z_\alpha\| = 1; \qquad w_0 = \sqrt{\lambda_0/\lambda(N)}\,N, \quad N \sim \mathcal N(0, I)

c is the share of a direction that all inputs have in common (images: large). Without biases the nets are homogeneous of degree
2 in the weights and the NTK scales as ‖w‖², so normal weights scaled to one λ_0 make one learning rate one value of ηλ_0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import sdetheory as sdt
from sdetheory.studies.phases import phases_of_losses

__all__ = ["ALIGNED", "CURVATURE", "INPUTS", "SAMPLES", "SPREAD", "WIDTH", "data", "descent", "log_edge", "lost_laziness", "starts",
           "wide_relu_kernel"]

SAMPLES, INPUTS, WIDTH = 4, 4, 128  # one shape, so that the nets share their kernels
CURVATURE = 2.0  # λ_0, the top eigenvalue of Θ/m, of every start
SPREAD, ALIGNED = 0.25, 0.5


def data(common: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Inputs (m, d) and targets (m,); the targets and the z are the same for every share c."""
    rng = np.random.default_rng(7)
    mean = np.ones(INPUTS) / np.sqrt(INPUTS)
    z = rng.normal(size=(SAMPLES, INPUTS))
    z -= np.outer(z @ mean, mean)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    return np.sqrt(INPUTS) * (np.sqrt(common) * mean + np.sqrt(1 - common) * z), rng.normal(size=SAMPLES)


def wide_relu_kernel(inputs: NDArray[np.float64]) -> NDArray[np.float64]:
    r"""E Θ of the two-layer ReLU net with standard normal weights, its limit n → ∞ (arc-cosine kernels), shape (m, m).

    .. math:: \frac{x\cdot x'(\pi-\theta) + |x||x'|(\sin\theta+(\pi-\theta)\cos\theta)}{2\pi}, \quad \theta = \angle(x, x')
    """
    gram = inputs @ inputs.T
    lengths = np.sqrt(np.outer(np.diag(gram), np.diag(gram)))
    angle = np.arccos(np.clip(gram / lengths, -1, 1))
    return (2 * gram * (np.pi - angle) + lengths * np.sin(angle)) / (2 * np.pi)


def starts(loss: Any, n: int, seed: np.random.SeedSequence) -> NDArray[np.float64]:
    """Normal weights of n nets, shape (n, dim), scaled to λ_0."""
    w = np.random.default_rng(seed).standard_normal((n, loss.dim))
    return w * np.sqrt(CURVATURE / loss.curvature(w))[:, None]


def descent(loss: Any, w0: NDArray[np.float64], scaled: NDArray[np.float64], observe: str, steps: int,
            seed: np.random.SeedSequence, every: int | None = None, n_paths: int | None = None) -> Any:
    """Each net w0 at each ηλ_0 in `scaled`: the observable, shape (ηλ_0, net, saves[, dim]), not finite where it diverged.

    One net, w0 of shape (dim,), is trained `n_paths` times.
    """
    runs = sdt.simulate(sdt.SGD(loss, lr=1.0), w0, n_steps=steps, n_paths=n_paths or len(w0), observe=[observe],
                        save_every=every, sweep={"lr": np.asarray(scaled) / CURVATURE}, rng=seed)
    return runs[observe].values


def log_edge(before: NDArray[np.bool_], scaled: NDArray[np.float64]) -> NDArray[np.float64]:
    """ln(ηλ_0) of the edge of each net on a geometric grid: as many cells wide as there are runs before the edge.

    Shape (net,), from booleans (ηλ_0, net). Where runs before and after alternate it is the edge with the same share before
    it. Off by up to half a cell, ½ ln(ratio).
    """
    cell = np.log(scaled[1] / scaled[0])
    return np.log(scaled[0]) - cell / 2 + cell * np.sum(before, axis=0)


def lost_laziness(loss: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the loss, at every step along the last axis, grew at any of them."""
    return phases_of_losses(loss, growth="any_step") > 0
