r"""R, G and N of SGD, noisy GD and the SDE at rest, on a scale-invariant loss with one noise covariance for all three.

.. math:: R = \mathbb E\|w\|^2, \qquad G = \mathbb E\|\nabla L(w)\|^2, \qquad N = \mathbb E\operatorname{Tr}\Sigma(w)
          = \sigma^2\,\mathbb E\|w\|^{-2}

Half the Rayleigh quotient of diag(0, a, a, a). SGD draws noise of fixed length (random signs), noisy GD and the SDE Gaussian
noise, of the same covariance s²(I − ŵŵᵀ)/‖w‖². The SDE dW = −(∇L + λW)dt + (ηΣ)^{1/2}dB is run in step time, by
Euler–Maruyama. Averages are over a window of each path; paths are the independent samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sdetheory as sdt
from sdetheory.theory import intrinsic_lr as ilr

__all__ = ["DIM", "LR", "NOISE_SCALE", "NOISE_TRACE", "Rest", "at_rest"]

DIM, NOISE_SCALE, LR = 4, 0.5, 0.5
NOISE_TRACE = NOISE_SCALE**2 * (DIM - 1)


@dataclass(frozen=True)
class Rest:
    """Each path's average of ‖w‖², ‖∇L‖² and Tr Σ over the window, shape (paths,)."""

    sq_norm: NDArray[np.float64]
    sq_grad: NDArray[np.float64]
    noise_trace: NDArray[np.float64]


def at_rest(process: str, *, curvature: float, weight_decay: float, n_paths: int, rng: Any, dt: float = 1.0,
            brownian_dt: float | None = None) -> Rest:
    """Run "SGD", "NGD" or "SDE" (with steps of `dt`) and average over the second half.

    The norm forgets its start by exp(-4 lr weight_decay) a step, its half is 8 such times; the direction is faster.
    """
    signs = sdt.noises.FixedLength(NOISE_SCALE)
    loss = sdt.losses.RayleighQuotient([0.0] + [curvature] * (DIM - 1),
                                       signs if process == "SGD" else sdt.noises.Tangent(NOISE_SCALE))
    rest = ilr.equilibrium_sq_norm(lr=LR, weight_decay=weight_decay, noise_trace=NOISE_TRACE)
    start = rest**0.5 * np.eye(DIM)[0]
    half = round(8 / (4 * LR * weight_decay))
    given: dict[str, Any] = {"lr": LR, "weight_decay": weight_decay}
    rule = {"SGD": sdt.SGD, "NGD": sdt.dynamics.NoisyGD, "SDE": sdt.dynamics.SGDSDE}[process](loss, **given)
    per_unit = round(1 / dt)
    options = {"dt": dt, "brownian_dt": brownian_dt} if process == "SDE" else {}
    runs = sdt.simulate(rule, start, n_steps=2 * half * per_unit, n_paths=n_paths, observe=["sq_norm", "sq_grad"],
                        save_every=2 * per_unit, rng=rng, **options)
    r, g = (runs[name].values[:, half // 2:] for name in ("sq_norm", "sq_grad"))
    return Rest(r.mean(1), g.mean(1), (NOISE_TRACE / r).mean(1))
