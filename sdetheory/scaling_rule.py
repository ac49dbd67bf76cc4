r"""The linear scaling rule: how far batch size and learning rate can grow together (SVAG-5, SVAG-7).

.. math:: R = \mathbb E\|w\|^2,\quad G = \mathbb E\|\nabla L\|^2,\quad N = \mathbb E\operatorname{Tr}\Sigma, \qquad
          (2-\eta\lambda)\lambda R = \eta(G + N) \text{ at stationarity},
          \qquad \kappa G + N \le C^2\rho\,(G + N),\quad \rho = \frac{2-\kappa\eta\lambda}{2-\eta\lambda}

for SGD at (B, η) and (κB, κη) whose R, G and κN agree within a factor C. For scale-invariant losses with weight decay λ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from .dynamics import SGD
from .random import RNG, seed_sequence
from .simulation import simulate
from .stats.estimates import Estimate, mean_estimate
from .stats.propagation import jackknife, propagate, ratio
from .theory import svag as theory
from .validation import explained, finite_array, integer, number

__all__ = ["ScalingLimit", "scaling_limit", "scaling_sweep"]

_MATCHED = ("sq_norm", "sq_grad", "noise_trace")


@dataclass(frozen=True)
class ScalingLimit:
    """What measured R, G, N say of the linear scaling rule.

    Attributes
    ----------
    batch_factor : Estimate
        The largest κ for which R, G, κN can agree within `similarity`.
    simple_bound : Estimate
        C²(1 + N/G), which knows neither lr nor decay, and is larger.
    noise_to_signal : Estimate
        N/G.
    balance : Estimate
        (2 − ηλ)λR/(η(G + N)): 1 at stationarity. Far from 1 the run is not at rest, and the bound says nothing.
    similarity : float
        C.
    """

    batch_factor: Estimate
    simple_bound: Estimate
    noise_to_signal: Estimate
    balance: Estimate
    similarity: float

    def __repr__(self) -> str:
        return (f"<batch factor up to {self.batch_factor.value:.4g} ± {self.batch_factor.stderr:.2g} within "
                f"C = {self.similarity:.4g}; N/G = {self.noise_to_signal.value:.4g}, balance = {self.balance.value:.4g}>")


@explained
def scaling_limit(sq_norm: Any, sq_grad: Any, noise_trace: Any, *, lr: float, weight_decay: float,
                  similarity: float = math.sqrt(2)) -> ScalingLimit:
    """The largest batch factor that measured R, G, N of SGD at (B, lr) allow.

    Parameters
    ----------
    sq_norm, sq_grad, noise_trace : float or Estimate
        R, G and N at stationarity, G and N > 0; numbers without an error count as exact. Errors of estimates are taken as
        independent.
    lr, weight_decay : float
        η and λ of that run, both > 0 and of product < 2.
    similarity : float
        C > 1.

    Returns
    -------
    ScalingLimit

    Raises
    ------
    ValueError, TypeError
        For numbers out of range.

    Examples
    --------
    >>> scaling_limit(sq_norm=2.5, sq_grad=0.2, noise_trace=0.8, lr=0.1, weight_decay=0.02)
    <batch factor up to 5.95 ± 0 within C = 1.414; N/G = 4, balance = 0.999>
    """
    lr, weight_decay = number("lr", lr, above=0.0), number("weight_decay", weight_decay, above=0.0)
    if lr * weight_decay >= 2.0:
        raise ValueError(f"lr, weight_decay: expected a product < 2, got {lr * weight_decay:g}; SVAG-7: no stationary law")
    similarity = number("similarity", similarity, above=1.0)
    R, G, N = (_estimate(name, value) for name, value in zip(_MATCHED, (sq_norm, sq_grad, noise_trace), strict=True))
    known = {"similarity": similarity, "lr": lr, "weight_decay": weight_decay}
    return ScalingLimit(
        propagate(lambda g, n: theory.largest_batch_factor(sq_grad=g, noise_trace=n, **known), G, N),
        propagate(lambda g, n: theory.simple_batch_factor_bound(similarity=similarity, sq_grad=g, noise_trace=n), G, N),
        ratio(N, G),
        propagate(lambda r, g, n: r / theory.svag_equilibrium_sq_norm(
            amplification=1, lr=lr, weight_decay=weight_decay, sq_grad=g, noise_trace=n), R, G, N),
        similarity)


def _estimate(name: str, value: Any) -> Estimate:
    if isinstance(value, Estimate):
        number(name, value.value, above=0.0)
        return value
    return Estimate(number(name, value, above=0.0), 0.0)


@explained
def scaling_sweep(loss_at: Callable[[float], Any], w0: Any, *, lr: float, weight_decay: float,
                  batch_factors: Sequence[float] | ArrayLike, n_steps: int, n_paths: int,
                  similarity: float = math.sqrt(2), measured_from: float = 0.5, n_saves: int = 32,
                  rng: RNG = None) -> xr.Dataset:
    """Run SGD at (κB, κ lr) for a range of κ, and see where the runs part from that at κ = 1.

    Parameters
    ----------
    loss_at : callable
        From κ to the loss with noise of batch κB, e.g. `lambda k: FiniteSum(losses, batch_size=int(k * B))` or
        `lambda k: RayleighQuotient(a, Tangent(s / k**0.5))`; with weight decay it must be scale-invariant.
    w0 : array_like (d,) or (n_paths, d), or a distribution
        Start.
    lr, weight_decay : float
        η at κ = 1, and λ.
    batch_factors : array_like
        Factors κ > 0 in rising order, 1 first.
    n_steps : int
        Steps at κ = 1; ⌈n_steps/κ⌉ at κ, the same time lr · step.
    n_paths : int
        Independent paths for each κ, with seeds of their own; ≥ 2.
    similarity : float
        C > 1.
    measured_from : float
        Share in (0, 1) of the run after which R, G and N are averaged along each path.
    n_saves : int
        Points of each path in this average.
    rng : int, SeedSequence or Generator
        Seed.

    Returns
    -------
    xarray.Dataset
        Along `batch_factor`: `sq_norm`, `sq_grad`, `noise_trace` (R, G, N), `balance`, their ratios to κ = 1
        (`noise_trace_ratio` is κN'/N), each with `_stderr` over paths; `apart`, the C within which the three ratios are;
        `least_similarity`, the C that theory demands (SVAG-7); `n_finite`. Attributes: `largest_batch_factor` and
        `similarity`.

    Raises
    ------
    ValueError, TypeError
        For factors out of range, a loss that is not scale-invariant, or a run with fewer than two finite paths.

    Examples
    --------
    >>> from sdetheory.losses import RayleighQuotient
    >>> from sdetheory.noises import Tangent
    >>> runs = scaling_sweep(lambda k: RayleighQuotient([1.0, 1.0, 0.0, 0.0], Tangent(k**-0.5)), [1.0, 0.0, 1.0, 0.0],
    ...                      lr=0.1, weight_decay=0.1, batch_factors=[1, 4], n_steps=400, n_paths=32, rng=0)
    >>> runs.apart.sizes["batch_factor"], runs.apart.values[0]
    (2, np.float64(1.0))
    """
    factors = finite_array("batch_factors", batch_factors, ndim=1)
    if factors.size == 0 or factors[0] != 1.0 or (np.diff(factors) <= 0).any():
        raise ValueError(f"batch_factors: expected rising factors that begin with 1, got {factors.tolist()}")
    lr, weight_decay = number("lr", lr, above=0.0), number("weight_decay", weight_decay, above=0.0)
    if factors[-1] * lr * weight_decay >= 2.0:
        raise ValueError(f"batch_factors: expected batch_factor * lr * weight_decay < 2, got {factors[-1]:g}; "
                         "SVAG-7: no stationary law beyond")
    similarity = number("similarity", similarity, above=1.0)
    share = number("measured_from", measured_from, above=0.0, below=1.0)
    n_steps, n_paths = integer("n_steps", n_steps, at_least=2), integer("n_paths", n_paths, at_least=2)
    n_saves = integer("n_saves", n_saves, at_least=1)
    seeds = seed_sequence(rng)
    children = np.random.SeedSequence(seeds.entropy, spawn_key=seeds.spawn_key).spawn(factors.size)
    runs = [_measure(loss_at(float(k)), w0, float(k) * lr, weight_decay, math.ceil(n_steps / k), n_paths, share, n_saves, child)
            for k, child in zip(factors, children, strict=True)]
    return _compared(runs, factors, lr, weight_decay, similarity, str(seeds.entropy))


def _measure(loss: Any, w0: Any, lr: float, weight_decay: float, n_steps: int, n_paths: int, share: float, n_saves: int,
             seed: np.random.SeedSequence) -> dict[str, Estimate]:
    """R, G, N and the balance of one run: means along each path, then estimates over paths."""
    rule = SGD(loss, lr=lr, weight_decay=weight_decay)
    rule.require_scale_invariance()
    if loss.noise is None:
        raise ValueError(f"loss_at: expected losses with gradient noise, got {loss!r}; without noise N = 0")
    every = max(1, math.floor(n_steps * (1 - share) / n_saves))
    runs = simulate(rule, w0, n_steps=n_steps, n_paths=n_paths, observe=["w", "sq_norm", "sq_grad"], save_every=every, rng=seed)
    late = runs.isel(step=runs.step.values >= share * n_steps)
    samples = {"sq_norm": late.sq_norm.values.mean(axis=1), "sq_grad": late.sq_grad.values.mean(axis=1),
               "noise_trace": loss.noise.trace(late.w.values).mean(axis=1)}
    found = {name: mean_estimate(values) for name, values in samples.items()}
    found["balance"] = jackknife(lambda r, g, n: (2 - lr * weight_decay) * weight_decay * r / (lr * (g + n)), *samples.values())
    return found


def _compared(runs: list[dict[str, Estimate]], factors: np.ndarray, lr: float, weight_decay: float, similarity: float,
              entropy: str) -> xr.Dataset:
    """The runs side by side: ratios to the first, and what theory demands of them."""
    first, columns = runs[0], {}
    for name in (*_MATCHED, "balance"):
        columns[name] = [run[name] for run in runs]
    for name in _MATCHED:
        scale = factors if name == "noise_trace" else np.ones_like(factors)
        ratios = [ratio(run[name], first[name]) for run in runs]
        columns[f"{name}_ratio"] = [Estimate(1.0, 0.0)] + [
            Estimate(s * r.value, s * r.stderr) for s, r in zip(scale[1:], ratios[1:], strict=True)]
    data = {}
    for name, estimates in columns.items():
        data[name] = ("batch_factor", np.array([e.value for e in estimates], dtype=float))
        data[f"{name}_stderr"] = ("batch_factor", np.array([e.stderr for e in estimates], dtype=float))
    ratios_found = np.stack([data[f"{name}_ratio"][1] for name in _MATCHED])
    data["apart"] = ("batch_factor", np.exp(np.abs(np.log(ratios_found)).max(axis=0)))
    demanded = theory.least_similarity(batch_factor=factors, lr=lr, weight_decay=weight_decay,
                                       sq_grad=float(first["sq_grad"].value), noise_trace=float(first["noise_trace"].value))
    data["least_similarity"] = ("batch_factor", demanded)
    data["n_finite"] = ("batch_factor", np.array([run["sq_norm"].n for run in runs]))
    limit = scaling_limit(*(first[name] for name in _MATCHED), lr=lr, weight_decay=weight_decay, similarity=similarity)
    return xr.Dataset(data, coords={"batch_factor": factors}, attrs={
        "largest_batch_factor": float(limit.batch_factor.value),
        "largest_batch_factor_stderr": float(limit.batch_factor.stderr),
        "similarity": similarity, "lr": lr, "weight_decay": weight_decay, "entropy": entropy})
