r"""Noisy gradient descent (NGD): the exact gradient and Gaussian noise with the covariance of the stochastic one.

.. math:: w \leftarrow w - \eta\bigl[\nabla L(w) + \Sigma(w)^{1/2}z + \lambda w\bigr], \qquad z \sim N(0, I)

Where the noise is that of minibatches of B of n samples, Σ^{1/2}z is (nB)^{-1/2} Σ_i (g_i − ∇L)ζ_i with n normals ζ_i, g_i the
gradients of the samples. Clock: steps. SGD and NGD differ in the shape of the noise alone (SVAG-8).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Rows, block_function
from ..noises import Minibatch
from .rule_step import RuleStep
from .sgd import sgd_step
from .update_rule import UpdateRule

__all__ = ["NoisyGD"]


@block_function
def mean_of_rows(Z, out):
    """out ← the mean of the rows of Z."""
    n, lanes = Z.shape
    for lane in range(lanes):
        out[lane] = 0.0
    for i in range(n):
        for lane in range(lanes):
            out[lane] += Z[i, lane]
    for lane in range(lanes):
        out[lane] /= n


@block_function
def add_sample(G, z, mean, share, scale, total):
    """total ← total + (1/n + (ζ_i − ζ̄)/√(nB)) g_i: both the gradient and its noise, whose mean ∇L the ζ̄ takes away."""
    d, lanes = G.shape
    for i in range(d):
        for lane in range(lanes):
            total[i, lane] += (share + scale * (z[lane] - mean[lane])) * G[i, lane]


@block_function
def choose_sample(U, sample, n):
    """U ← (i + ½)/n, the uniform number by which the minibatch kernel takes sample i."""
    for lane in range(U.shape[1]):
        U[0, lane] = (sample + 0.5) / n


@block_function
def clear_block(G):
    """G ← 0."""
    d, lanes = G.shape
    for i in range(d):
        for lane in range(lanes):
            G[i, lane] = 0.0


class NoisyGD(UpdateRule):
    """Gradient descent with Gaussian noise of the covariance that the loss's noise has.

    Parameters
    ----------
    loss : Loss
        With Gaussian noise, or a noise that knows its Gaussian twin (`noise.gaussian`), or minibatch noise: then a step
        takes the gradients of all n samples and n normals.
    lr : float or schedule
        Learning rate η > 0.
    weight_decay : float or schedule
        λ ≥ 0, coupled.

    Raises
    ------
    ValueError
        For noise without a covariance, or of which no Gaussian twin is known.

    Examples
    --------
    >>> import sdetheory as sdt
    >>> loss = sdt.losses.FiniteSum([sdt.losses.RayleighQuotient(a) for a in ([2.0, 0.0], [0.0, 1.0])])
    >>> rule = sdt.dynamics.NoisyGD(loss, lr=0.1)
    >>> sdt.simulate(rule, [1.0, 1.0], n_steps=10, n_paths=8, rng=0).w.shape
    (8, 1, 2)
    """

    hyperparameters = ("lr", "weight_decay")

    def __init__(self, loss: Any, *, lr: Any, weight_decay: Any = 0.0) -> None:
        super().__init__(loss, lr=lr, weight_decay=weight_decay)
        noise = loss.noise
        if noise is None or noise.kind == "normal":
            return
        if not isinstance(noise, Minibatch) and noise.gaussian is None:
            raise ValueError(f"loss: NoisyGD needs gradient noise with a known Gaussian twin of the same covariance, got "
                             f"{noise!r}; use SGD, or give the noise a property `gaussian`")

    def step(self, s: RuleStep) -> None:
        """w ← w − η (∇L + ξ + λ w) with Gaussian ξ."""
        noise = self.loss.noise
        if noise is None or noise.kind == "normal":
            g = s.stochastic_gradient()
        elif isinstance(noise, Minibatch):
            g = self._of_all_samples(s, noise)
        else:
            g, twin = s.block(), noise.gaussian
            assert twin is not None  # seen at construction
            s.gradient(s.w, into=g)
            s.call(twin.kernel, s.w, s.draw("normal", twin.components(self.dim)), g)
        s.call(sgd_step, s.w, g, s.lr, s.weight_decay)

    def _of_all_samples(self, s: RuleStep, noise: Minibatch) -> Rows:
        """∇L + ξ from the gradients of all n samples and n normals ζ."""
        n = noise.n_samples
        g, of_sample, chosen, mean = s.block(), s.block(), s.scratch(1), s.scratch_row()
        zeta, share, scale = s.draw("normal", n), s.constant(1.0 / n), s.constant(float(1.0 / np.sqrt(n * noise.batch_size)))
        s.call(mean_of_rows, zeta, mean)
        s.call(clear_block, g)
        with s.loop(n) as i:
            s.call(choose_sample, chosen, i, n)
            s.call(s.minibatch_gradient, s.w, chosen, of_sample)
            s.call(add_sample, of_sample, zeta[i], mean, share, scale, g)
        return g
