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

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import Program, block_function, per_lane
from ..sphere import exponential_block, normalise_block
from ..validation import number
from .assembly import Assembly
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


class _OnTheSphere(UpdateRule):
    """A process whose first d rows are a point of S^{d−1}."""

    clock = "time"
    schemes = ("geodesic", "projected")

    def initial_state(self, w0: NDArray[np.float64], swept: tuple[str, ...] = ()) -> NDArray[np.float64]:
        """Directions (n, d) of the weights w0 (n, d)."""
        w0 = super().initial_state(w0)
        return w0 / np.linalg.norm(w0, axis=1, keepdims=True)

    def _move(self, assembly: Assembly, scheme: str, gamma: str) -> list[str]:
        """Statements that move the direction over one step."""
        if scheme not in self.schemes:
            raise ValueError(f"scheme: expected one of {', '.join(self.schemes)} for a process on the sphere, got {scheme!r}; "
                             "other schemes leave the sphere")
        d = self.dim
        w, g = f"X[:{d}]", f"S[:{d}]"
        gradient, *noise = assembly.stochastic_gradient("j", g)
        move = [assembly.call("exponential", exponential_block, w, g, f"S[{2 * d}:]")] if scheme == "geodesic" else [
            assembly.call("add", add_block, w, g), assembly.call("normalise", normalise_block, w, f"S[{2 * d}:]")]
        return [gradient, assembly.call("scale", scale_block, g, "dt"), *noise,
                assembly.call("tangent_step", tangent_step, g, gamma), *move]


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

    def program(self, observe: Any = None, swept: tuple[str, ...] = (), scheme: str = "geodesic") -> Program:
        """The kernels of one step of the scheme."""
        assembly = Assembly(self.loss, self.hyperparameters, swept)
        statements = ["gamma = 1.0 / (effective_lr * effective_lr)", *self._move(assembly, scheme, "gamma")]
        return assembly.program(self.dim, [assembly.gradient_noise()], statements, observe, spare=4)


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

    def initial_state(self, w0: NDArray[np.float64], swept: tuple[str, ...] = ()) -> NDArray[np.float64]:
        """States (n, d + 1) that start at the weights w0 (n, d): the direction, and γ = ‖w0‖⁴/η²."""
        if "lr" in swept:
            raise ValueError("sweep: lr also sets where gamma starts; sweep weight_decay, or run one simulation for each lr")
        gamma = np.sum(np.asarray(w0) ** 2, axis=1, keepdims=True) ** 2 / self.values["lr"] ** 2
        return np.concatenate([super().initial_state(w0), gamma], axis=1)

    def program(self, observe: Any = None, swept: tuple[str, ...] = (), scheme: str = "geodesic") -> Program:
        """The kernels of one step of the scheme; `observe` also knows gamma, and sq_norm and effective_lr follow from it."""
        d = self.dim
        assembly = Assembly(self.loss, self.hyperparameters, swept)
        trace = assembly.noise_trace(f"X[:{d}]", f"S[{d}]")
        statements = [*trace, *self._move(assembly, scheme, f"X[{d}]"),
                      assembly.call("gamma_step", gamma_step, f"X[{d}]", "trace", "lr", "weight_decay", "dt")]
        lanes = "for lane in range(lanes):"
        hyper = assembly.hyperparameters_at("step")
        assembly.known.update(
            gamma=lambda: (1, [f"copy_row(X[{d}], OUT[0])"]),
            effective_lr=lambda: (1, [lanes, f"    OUT[{{row}}, lane] = 1.0 / math.sqrt(X[{d}, lane])"]),
            sq_norm=lambda: (1, [*hyper, lanes, f"    OUT[{{row}}, lane] = per_lane(lr, lane) * math.sqrt(X[{d}, lane])"]))
        return assembly.program(d + 1, [assembly.gradient_noise()], statements, observe, spare=4)


