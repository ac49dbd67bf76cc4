r"""SVAG and its SDE on a loss that is not quadratic, without runs: x on the circle, two wells, noise that depends on x.

.. math:: L = -\cos x - \tfrac12\cos 2x, \qquad \nabla L_\gamma = \sin x + \sin 2x + \zeta_\gamma(1 + \tfrac34\cos x),
          \qquad P(\zeta=2)=\tfrac15,\; P(\zeta=-\tfrac12)=\tfrac45

ζ has mean 0, variance 1 and third moment 3/2. With E u(x_{k+1} | x_k = x) = Σ_ij p_i p_j u(x − h ĝ_ij(x)) for SVAG, and
the generator for the SDE, E u is a matrix acting on Fourier modes |n| ≤ MODES. Clock: gradient-flow time.
"""

from collections.abc import Callable, Sequence

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

import sdetheory as sdt
from sdetheory.engine import rows

__all__ = ["LOSS", "OBSERVED", "START", "of_pairs", "of_sde", "truncation"]

MODES, START = 48, 0.5  # start in the deeper well
ZETA, CHANCES = np.array([2.0, -0.5]), np.array([0.2, 0.8])


def spread(x):
    """The factor of ζ in the noise."""
    return 1 + 0.75 * rows.cos(x)


class TwoPoint(sdt.noises.FormulaNoise):
    """ζ (1 + ¾ cos x), with ζ from a uniform number."""

    kind = "uniform"
    formula = staticmethod(lambda w, u: rows.where(u < CHANCES[0], ZETA[0], ZETA[1]) * spread(w))

    def covariance(self, w: ArrayLike) -> NDArray[np.float64]:
        return spread(np.asarray(w, dtype=float))[..., None] ** 2


LOSS = sdt.Loss.of(lambda w: rows.total(-rows.cos(w) - rows.cos(2 * w) / 2), dim=1, noise=TwoPoint())
OBSERVED: dict[str, Callable[..., NDArray[np.float64]]] = {
    "$L$": lambda x: -np.cos(x) - np.cos(2 * x) / 2, r"$\sin x$": np.sin, r"$\cos2x$": lambda x: np.cos(2 * x)}


def _observed(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([g(x) for g in OBSERVED.values()], axis=-1)


def of_pairs(weights: tuple[float, float], h: float, steps: Sequence[int], modes: int = MODES) -> NDArray[np.float64]:
    """E g after steps of size h along the weighted sum of two draws, for each of OBSERVED: shape (steps, 3)."""
    first, second = weights
    n, x = np.arange(-modes, modes + 1), 2 * np.pi * np.arange(2 * modes + 1) / (2 * modes + 1)
    to_modes = np.exp(-1j * np.outer(n, x)) / x.size
    there = 0.0
    for p, z in zip(CHANCES, ZETA, strict=True):
        for q, y in zip(CHANCES, ZETA, strict=True):
            moved = x - h * (np.sin(x) + np.sin(2 * x) + (first * z + second * y) * spread(x))
            there = there + p * q * np.exp(1j * np.outer(moved, n))
    transfer = (there @ to_modes).real  # from the values of u at x to those of E u(x')
    law, found = (np.exp(1j * n * START) @ to_modes).real, {0: _observed(np.array(START))}
    for k in range(1, max(steps) + 1):
        law = law @ transfer
        if k in steps:
            found[k] = law @ _observed(x)
    return np.stack([found[k] for k in steps])


def of_sde(lr: float, time: float, parts: int = 1) -> NDArray[np.float64]:
    """E g of the SDE dX = −L'dt + (lr Σ)^{1/2}dW, for OBSERVED, at 0, time/parts, …, time: (parts + 1, 3)."""
    n, x = np.arange(-MODES, MODES + 1), 2 * np.pi * np.arange(4 * MODES) / (4 * MODES)  # products of degree n + 2 fit
    of_modes = -1j * np.outer(np.sin(x) + np.sin(2 * x), n) - lr / 2 * np.outer(spread(x) ** 2, n**2)
    from_values = np.exp(-1j * np.outer(n, x)) / x.size
    later = scipy.linalg.expm(time / parts * from_values @ (of_modes * np.exp(1j * np.outer(x, n))))
    amplitudes, found = [from_values @ _observed(x)], np.exp(1j * n * START)
    for _ in range(parts):
        amplitudes.append(later @ amplitudes[-1])
    return np.stack([(found @ u).real for u in amplitudes])


def truncation(weights: tuple[float, float], h: float, steps: int) -> float:
    """How much these move with eight modes fewer: a bound on what MODES leave out, which falls tenfold every few."""
    fewer = MODES - 8
    return float(np.abs(of_pairs(weights, h, [steps]) - of_pairs(weights, h, [steps], fewer)).max())
