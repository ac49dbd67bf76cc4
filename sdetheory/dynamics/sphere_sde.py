r"""SGD's SDE on the sphere: direction and norm variable (ILR-2), or the direction at a constant effective learning rate.

.. math::
    d\hat W = -\gamma^{-1/2}\bigl(\nabla L(\hat W)\,dt + \Sigma(\hat W)^{1/2}dB\bigr)
              - \tfrac12\gamma^{-1}\,\mathrm{Tr}\,\Sigma(\hat W)\,\hat W\,dt,
    \qquad d\gamma/dt = -4\lambda_e\gamma + 2\,\mathrm{Tr}\,\Sigma(\hat W)

in step time, with γ = ‖W‖⁴/η². A step moves the direction by the tangent vector v = −γ^{−1/2}(∇L h + Σ^{1/2}ΔB), along the
great circle ("geodesic") or straight and back to the sphere ("projected"): both keep ‖Ŵ‖ = 1 to rounding, and the
Itô correction comes from the curvature. γ follows its linear equation exactly over the step, with Tr Σ held.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import Rows, block_function, copy_row, per_lane
from ..sphere import exponential_block, normalise_block
from ..validation import number
from .rule_step import RuleStep
from .seen import Seen
from .sgd_sde import scale_block
from .update_rule import UpdateRule

__all__ = ["EffectiveDynamics", "SphereDiffusion"]


@block_function
def tangent_step(G, gamma):
    """G ← −γ^{−1/2} G, the tangent vector of the step."""
    d, lanes = G.shape
    for i in range(d):
        for lane in range(lanes):
            G[i, lane] *= -1.0 / math.sqrt(per_lane(gamma, lane))


@block_function
def tangent_step_at(G, effective_lr):
    """G ← −γ^{−1/2} G with γ = η_e^{−2}."""
    d, lanes = G.shape
    for i in range(d):
        for lane in range(lanes):
            gamma = 1.0 / (per_lane(effective_lr, lane) * per_lane(effective_lr, lane))
            G[i, lane] *= -1.0 / math.sqrt(gamma)


@block_function
def add_block(W, G):
    """W ← W + G."""
    d, lanes = W.shape
    for i in range(d):
        for lane in range(lanes):
            W[i, lane] += G[i, lane]


@block_function
def gamma_step(gamma, trace, lr, weight_decay, dt):
    """γ ← e^{−4λ_e h} γ + 2 Tr Σ (1 − e^{−4λ_e h})/(4λ_e)."""
    for lane in range(gamma.size):
        rate = 4.0 * per_lane(lr, lane) * per_lane(weight_decay, lane)
        gain = -math.expm1(-rate * dt) / rate if rate > 0.0 else dt
        gamma[lane] = math.exp(-rate * dt) * gamma[lane] + 2.0 * per_lane(trace, lane) * gain


@block_function
def effective_lr_block(gamma, out):
    """out ← γ^{−1/2}."""
    for lane in range(out.size):
        out[lane] = 1.0 / math.sqrt(gamma[lane])


@block_function
def sq_norm_of_gamma(gamma, lr, out):
    """out ← ‖W‖² = η γ^{1/2}."""
    for lane in range(out.size):
        out[lane] = per_lane(lr, lane) * math.sqrt(gamma[lane])


class _OnTheSphere(UpdateRule):
    """A process whose first d rows are a point of S^{d−1}."""

    clock = "time"
    schemes = ("geodesic", "projected")
    scheme = "geodesic"

    def under(self, scheme: Any) -> _OnTheSphere:
        """The same process, moved by another of its schemes."""
        if scheme is None:
            return self
        if scheme not in self.schemes:
            raise ValueError(f"scheme: expected one of {', '.join(self.schemes)} for a process on the sphere, got {scheme!r}; "
                             "other schemes leave the sphere")
        moved = copy.copy(self)
        moved.scheme = scheme
        return moved

    @property
    def label(self) -> str:
        """Name of the scheme."""
        return self.scheme

    def initial_state(self, x0: NDArray[np.float64], swept: tuple[str, ...] = ()) -> NDArray[np.float64]:
        """Directions (n, d) of the weights x0 (n, d)."""
        self.loss.check_start(x0)
        return x0 / np.linalg.norm(x0, axis=1, keepdims=True)

    def _drift_and_noise(self, s: RuleStep) -> Rows:
        """∇L h + Σ^{1/2} ΔB."""
        G = s.block()
        s.gradient(s.w, into=G)
        s.call(scale_block, G, s.dt)
        s.add_noise(s.w, into=G)
        return G

    def _move(self, s: RuleStep, tangent: Rows) -> None:
        """Move the direction along the great circle, or straight and back to the sphere."""
        if self.scheme == "geodesic":
            s.call(exponential_block, s.w, tangent, s.scratch(2))
        else:
            s.call(add_block, s.w, tangent)
            s.call(normalise_block, s.w, s.scratch(1))


class SphereDiffusion(_OnTheSphere):
    """The direction at a constant effective learning rate: dŴ = −η_e(∇L dt + Σ^{1/2}dB) − ½ η_e² Tr Σ Ŵ dt.

    Parameters
    ----------
    loss : Loss
        Scale-invariant, with Gaussian tangent noise.
    effective_lr : float
        η_e > 0. Clock: steps.
    """

    hyperparameters = ("effective_lr",)

    def __init__(self, loss: Any, *, effective_lr: float) -> None:
        super().__init__(loss, effective_lr=number("effective_lr", effective_lr, above=0))
        self.require_scale_invariance()
        self.require_gaussian_noise()

    def step(self, s: RuleStep) -> None:
        """v = −η_e (∇L h + Σ^{1/2} ΔB), and a move by v."""
        G = self._drift_and_noise(s)
        s.call(tangent_step_at, G, s.effective_lr)
        self._move(s, G)


class EffectiveDynamics(_OnTheSphere):
    """Direction and norm variable γ of SGD's SDE: the same law as W/‖W‖ and ‖W‖⁴/η² of `SGDSDE` (ILR-2).

    Parameters
    ----------
    loss : Loss
        Scale-invariant, with Gaussian tangent noise.
    lr, weight_decay : float or function of time
        η and λ; η is constant between changes of γ, which starts at ‖w0‖⁴/η².
    """

    hyperparameters = ("lr", "weight_decay")

    def __init__(self, loss: Any, *, lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(loss, lr=number("lr", lr, above=0), weight_decay=weight_decay)
        self.require_scale_invariance()
        self.require_gaussian_noise()

    def initial_state(self, x0: NDArray[np.float64], swept: tuple[str, ...] = ()) -> NDArray[np.float64]:
        """States (n, d + 1) that start at the weights x0 (n, d): the direction, and γ = ‖x0‖⁴/η²."""
        if "lr" in swept:
            raise ValueError("sweep: lr also sets where gamma starts; sweep weight_decay, or run one simulation for each lr")
        gamma = np.sum(np.asarray(x0) ** 2, axis=1, keepdims=True) ** 2 / self.values["lr"] ** 2
        return np.concatenate([super().initial_state(x0), gamma], axis=1)

    def state(self, swept: tuple[str, ...] = ()) -> dict[str, int]:
        """The direction, and γ."""
        return {"w": self.dim, "gamma": 1}

    def step(self, s: RuleStep) -> None:
        """v = −γ^{−1/2} (∇L h + Σ^{1/2} ΔB), a move by v, and γ over its linear equation with Tr Σ at the start."""
        gamma, trace = s.gamma[0], s.noise_trace(s.w)
        G = self._drift_and_noise(s)
        s.call(tangent_step, G, gamma)
        self._move(s, G)
        s.call(gamma_step, gamma, trace, s.lr, s.weight_decay, s.dt)

    @property
    def seen(self) -> Mapping[str, Seen]:
        """What can be seen of the direction, and γ; the squared norm and the effective learning rate follow from it."""
        return {**super().seen,
                "effective_lr": Seen(lambda o: o.call(effective_lr_block, o.gamma[0], o.out)),
                "sq_norm": Seen(lambda o: o.call(sq_norm_of_gamma, o.gamma[0], o.lr, o.out)),
                "gamma": Seen(lambda o: o.call(copy_row, o.gamma[0], o.out))}
