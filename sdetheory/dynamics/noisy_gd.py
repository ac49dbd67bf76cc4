r"""Noisy gradient descent (NGD): the exact gradient and Gaussian noise with the covariance of the stochastic one.

.. math:: w \leftarrow w - \eta\bigl[\nabla L(w) + \Sigma(w)^{1/2}z + \lambda w\bigr], \qquad z \sim N(0, I)

Where the noise is that of minibatches of B of n samples, Σ^{1/2}z is (nB)^{-1/2} Σ_i (g_i − ∇L)ζ_i with n normals ζ_i, g_i the
gradients of the samples. Clock: steps. SGD and NGD differ in the shape of the noise alone (SVAG-8).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Noise, Program, block_function
from ..noises import Minibatch
from .assembly import Assembly
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
def fill_block(G, value):
    """G ← value."""
    d, lanes = G.shape
    for i in range(d):
        for lane in range(lanes):
            G[i, lane] = value


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
        if not (isinstance(noise, Minibatch) or hasattr(noise, "gaussian")):
            raise ValueError(f"loss: NoisyGD needs gradient noise with a known Gaussian twin of the same covariance, got "
                             f"{noise!r}; use SGD, or give the noise a property `gaussian`")

    def program(self, observe: Any = None, swept: tuple[str, ...] = ()) -> Program:
        """The kernels of one step."""
        d, noise = self.dim, self.loss.noise
        assembly = Assembly(self.loss, self.hyperparameters, swept)
        step = assembly.call("sgd_step", sgd_step, f"X[:{d}]", f"S[:{d}]", *self.hyperparameters)
        if noise is None or noise.kind == "normal":
            return assembly.program(d, [assembly.gradient_noise()],
                                    [*assembly.stochastic_gradient("j", f"S[:{d}]"), step], observe)
        if isinstance(noise, Minibatch):
            draws = Noise("normal", noise.n_samples)
            return assembly.program(d, [draws], [*self._all_samples(assembly, noise), step], observe, spare=2)
        twin = noise.gaussian
        m = twin.components(d)
        statements = [assembly.call("gradient", self.loss.gradient_kernel, assembly.weights, f"S[:{d}]"),
                      assembly.call("add_noise", twin.kernel, assembly.weights, f"Z[j * {m}:j * {m} + {m}]", f"S[:{d}]")]
        return assembly.program(d, [Noise("normal", m)], [*statements, step], observe)

    def _all_samples(self, assembly: Assembly, noise: Minibatch) -> list[str]:
        """Statements that put ∇L + ξ into S[:d]; the uniform (i + ½)/n makes the minibatch kernel give sample i alone."""
        d, n = self.dim, noise.n_samples
        sample = assembly.call("sample_gradient", self.loss.stochastic_gradient_kernel, assembly.weights, "chosen",
                               f"S[{d}:{2 * d}]")
        spare = 2 * d + assembly.scratch
        assembly.constants.update(share=1.0 / n, noise_scale=float(1.0 / np.sqrt(n * noise.batch_size)))
        return [f"chosen, zeta_mean = S[{spare}:{spare + 1}], S[{spare + 1}]",
                assembly.call("mean_of_rows", mean_of_rows, f"Z[j * {n}:j * {n} + {n}]", "zeta_mean"),
                assembly.call("fill", fill_block, f"S[:{d}]", "0.0"),
                f"for sample in range({n}):",
                "    " + assembly.call("fill", fill_block, "chosen", f"(sample + 0.5) / {n}"),
                "    " + sample,
                "    " + assembly.call("add_sample", add_sample, f"S[{d}:{2 * d}]", f"Z[j * {n} + sample]", "zeta_mean",
                                       "share", "noise_scale", f"S[:{d}]")]
