r"""The SDE of SGD in the ambient space, in step time (one unit is one SGD step).

.. math:: dW = -\eta\,\nabla L(W)\,dt - \eta\lambda W\,dt + \eta\,\Sigma(W)^{1/2}\,dB

Euler–Maruyama: G = ∇L(W) h + Σ(W)^{1/2} ΔB, then W ← W − η (G + λ W h). With h = 1 this is SGD itself with Gaussian noise.
Source: arXiv:2010.02916 (ILR-2).
"""

from __future__ import annotations

from typing import Any

from ..engine import block_function, per_lane
from .rule_step import RuleStep
from .update_rule import UpdateRule

__all__ = ["SGDSDE"]


@block_function
def scale_block(G, factor):
    """G ← factor G."""
    d, lanes = G.shape
    for i in range(d):
        for lane in range(lanes):
            G[i, lane] *= factor


@block_function
def euler_maruyama_step(W, G, lr, weight_decay, dt):
    """W ← W − η (G + λ W h), where G holds drift and noise of the step."""
    d, lanes = W.shape
    for i in range(d):
        for lane in range(lanes):
            w = W[i, lane]
            W[i, lane] = w - per_lane(lr, lane) * (G[i, lane] + per_lane(weight_decay, lane) * w * dt)


class SGDSDE(UpdateRule):
    """The Itô SDE whose weak first-order discretisation with step 1 is SGD.

    Parameters
    ----------
    loss : Loss
        With Gaussian gradient noise of covariance Σ(w).
    lr : float or function of time
        η > 0, a factor of the drift and of the noise.
    weight_decay : float or function of time
        λ ≥ 0.

    Examples
    --------
    >>> import sdetheory as sdt
    >>> loss = sdt.losses.RayleighQuotient([1.0, 0.0, 0.0], noise=sdt.noises.Tangent(0.5))
    >>> sde = sdt.dynamics.SGDSDE(loss, lr=0.1, weight_decay=0.05)
    >>> sdt.simulate(sde, [1.0, 0.0, 0.0], t1=10, dt=0.5, n_paths=8, observe="sq_norm", rng=0).sq_norm.shape
    (8, 1)
    """

    clock = "time"
    hyperparameters = ("lr", "weight_decay")

    def __init__(self, loss: Any, *, lr: Any, weight_decay: Any = 0.0) -> None:
        super().__init__(loss, lr=lr, weight_decay=weight_decay)
        self.require_gaussian_noise()

    def step(self, s: RuleStep) -> None:
        """G ← ∇L h + Σ^{1/2} ΔB; W ← W − η (G + λ W h)."""
        G = s.block()
        s.gradient(s.w, into=G)
        s.call(scale_block, G, s.dt)
        s.add_noise(s.w, into=G)
        s.call(euler_maruyama_step, s.w, G, s.lr, s.weight_decay, s.dt)
