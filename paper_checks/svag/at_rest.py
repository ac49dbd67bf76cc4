r"""R, G and N of SGD, noisy GD and the SDE at rest, on a scale-invariant loss with one noise covariance for all three.

.. math:: R = \mathbb E\|w\|^2, \qquad G = \mathbb E\|\nabla L(w)\|^2, \qquad N = \mathbb E\operatorname{Tr}\Sigma(w)
          = \sigma^2\,\mathbb E\|w\|^{-2}

Half the Rayleigh quotient of diag(0, a, a, a). SGD draws noise of fixed length (random signs), noisy GD and the SDE
Gaussian noise, of the same covariance s²(I − ŵŵᵀ)/‖w‖². The SDE dW = −(∇L + λW)dt + (ηΣ)^{1/2}dB is run in step time,
by Euler–Maruyama. Averages are over a window of each path; paths are the independent samples.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import sdetheory as sdt
from sdetheory.stats import Estimate, bias_from_difference, jackknife
from sdetheory.theory import intrinsic_lr as ilr

__all__ = ["DT", "LR", "Rest", "cases_at_rest", "halved", "label"]

DIM, NOISE_SCALE, LR = 4, 0.5, 0.5
NOISE_TRACE = NOISE_SCALE**2 * (DIM - 1)
DT = 1 / 32  # of the SDE, in steps of SGD
RULES = {"SGD": sdt.SGD, "NGD": sdt.dynamics.NoisyGD, "SDE": sdt.dynamics.SGDSDE}


class Rest(NamedTuple):
    """Each path's average of ‖w‖², ‖∇L‖² and Tr Σ over the window, shape (paths,)."""

    sq_norm: NDArray[np.float64]
    sq_grad: NDArray[np.float64]
    noise_trace: NDArray[np.float64]


def at_rest(process: str, curvature: float, weight_decay: float, n_paths: int, rng: Any, dt: float = 1.0) -> Rest:
    """Run "SGD", "NGD" or "SDE" (with steps of `dt`, on Brownian paths given at steps of DT); average the second half.

    The norm forgets its start by exp(-4 lr weight_decay) a step, its half is 8 such times; the direction is faster.
    """
    noises = sdt.noises.FixedLength if process == "SGD" else sdt.noises.Tangent
    loss = sdt.losses.RayleighQuotient([0.0] + [curvature] * (DIM - 1), noises(NOISE_SCALE))
    rest = ilr.equilibrium_sq_norm(lr=LR, weight_decay=weight_decay, noise_trace=NOISE_TRACE)
    half, per_unit = round(8 / (4 * LR * weight_decay)), round(1 / dt)
    runs = sdt.simulate(RULES[process](loss, lr=LR, weight_decay=weight_decay), rest**0.5 * np.eye(DIM)[0],
                        n_steps=2 * half * per_unit, n_paths=n_paths, observe=["sq_norm", "sq_grad"],
                        save_every=2 * per_unit, rng=rng,
                        **({"dt": dt, "brownian_dt": DT} if process == "SDE" else {}))
    r, g = (runs[name].values[:, half // 2:] for name in ("sq_norm", "sq_grad"))
    return Rest(r.mean(1), g.mean(1), (NOISE_TRACE / r).mean(1))


def cases_at_rest(cases: Sequence[tuple[float, float]], processes: Sequence[str], n_paths: int,
                  rng: np.random.SeedSequence) -> list[dict[str, Rest]]:
    """Each of the processes for each (curvature, weight decay); "coarse" is the SDE at 2 DT on the same paths."""
    found = []
    for case, seed in zip(cases, rng.spawn(len(cases)), strict=True):
        seeds = dict(zip(processes, seed.spawn(len(processes)), strict=True))
        runs = {name: at_rest(name, *case, n_paths, seeds[name], DT if name == "SDE" else 1.0) for name in processes}
        found.append(runs | {"coarse": at_rest("SDE", *case, n_paths, seeds["SDE"], 2 * DT)})
    return found


def halved(function: Callable[..., Any], coarse: Rest, fine: Rest, *given: NDArray[np.float64]) -> Estimate:
    """function(means of `given`, means of `fine`), with its bias measured by the step 2 DT (weak order 1)."""
    k = len(given)
    change = jackknife(lambda *m: function(*m[:k], *m[k + 3:]) - function(*m[:k + 3]), *given, *fine, *coarse)
    return bias_from_difference(jackknife(function, *given, *fine), change, order=1)


def label(curvature: float, weight_decay: float) -> str:
    """What tells a case from the others."""
    return rf"$a={curvature:g},\ \eta\lambda={LR * weight_decay:g}$"
