r"""Exact moments of update rules whose step is a random affine map: no Monte Carlo (SVAG-3).

.. math:: w_{k+1} = M w_k + c, \quad y = (1, w), \quad T = \begin{pmatrix}1 & 0\\ c & M\end{pmatrix}:
          \qquad \mathbb E\,y_{k+1}^{\otimes p} = \mathbb E[T^{\otimes p}]\;\mathbb E\,y_k^{\otimes p}

for independent draws of (M, c). With gradients A_γ w − b_γ of a finite law, SGD draws γ, SVAG two of them, the near miss γ and
a sign; the Gaussian noise of NGD is replaced by Gauss–Hermite nodes, which is exact for moments up to p. What is returned is
exact up to rounding.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import reduce, singledispatch
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..dynamics import SGD, SVAG, NoisyGD, SingleBatchNearMiss
from ..dynamics.update_rule import UpdateRule
from ..losses import RandomLinear
from ..stats.rounding import spectrum_error
from ..validation import explained, finite_array, integer

__all__ = ["AffineMoments", "affine_law", "affine_moments", "stationary_moments"]

Law = tuple[NDArray[np.float64], NDArray[np.float64]]


@singledispatch
def affine_law(rule: Any, order: int = 2) -> Law:
    """The law of the affine map of one step: probabilities (m,) and matrices T (m, d + 1, d + 1).

    Parameters
    ----------
    rule : SGD, SVAG, NoisyGD or SingleBatchNearMiss on a `RandomLinear` loss, with constant hyperparameters
        Without momentum.
    order : int
        For Gaussian noise: up to which order the moments of T must be exact.
    """
    raise TypeError(f"rule: expected SGD, SVAG, NoisyGD or SingleBatchNearMiss, got {rule!r}; "
                    "simulate it, or register its law with affine_law.register")


@affine_law.register
def _sgd(rule: SGD, order: int = 2) -> Law:
    if not rule.is_zero("momentum") or rule.v0 is not None:
        raise ValueError(f"rule: expected SGD without momentum, got {rule!r}; its moments need the buffer in the state")
    loss, lr, decay = _checked(rule)
    return loss.probabilities, _maps(loss.matrices, loss.offsets, lr, decay)


@affine_law.register
def _svag(rule: SVAG, order: int = 2) -> Law:
    loss, lr, decay = _checked(rule)
    (first, second), n = rule.weights, len(loss.probabilities)
    i, j = np.divmod(np.arange(n * n), n)
    return loss.probabilities[i] * loss.probabilities[j], _maps(
        first * loss.matrices[i] + second * loss.matrices[j], first * loss.offsets[i] + second * loss.offsets[j],
        lr / rule.amplification, decay)


@affine_law.register
def _near_miss(rule: SingleBatchNearMiss, order: int = 2) -> Law:
    loss, lr, decay = _checked(rule)
    maps = [_maps(factor * loss.matrices, factor * loss.offsets, lr / rule.amplification, decay) for factor in rule.weights]
    return np.tile(loss.probabilities, 2) / 2, np.concatenate(maps)


@affine_law.register
def _noisy_gd(rule: NoisyGD, order: int = 2) -> Law:
    loss, lr, decay = _checked(rule)
    # the field of ζ is a linear image of few independent normals: the singular directions of (√p D, √p e)
    root, d = np.sqrt(loss.probabilities), loss.dim
    fields = np.concatenate([loss.noise.matrices, loss.noise.offsets[:, :, None]], axis=2).reshape(len(root), -1)
    _, sizes, directions = np.linalg.svd(root[:, None] * fields, full_matrices=False)
    kept = sizes > spectrum_error(sizes)
    axes = (sizes[kept, None] * directions[kept]).reshape(-1, d, d + 1)
    nodes, weights = np.polynomial.hermite_e.hermegauss(order // 2 + 1)
    weights = weights / weights.sum()
    grid = np.array(list(itertools.product(range(len(nodes)), repeat=len(axes))))
    noise = np.einsum("mr,rij->mij", nodes[grid], axes)
    return weights[grid].prod(axis=1), _maps(loss.mean_matrix + noise[:, :, :d], loss.mean_offset + noise[:, :, d], lr, decay)


def _checked(rule: UpdateRule) -> tuple[RandomLinear, float, float]:
    if not isinstance(rule.loss, RandomLinear):
        raise ValueError(f"rule: expected a RandomLinear loss, whose moments close, got {rule.loss!r}; simulate it, or use "
                         "sdetheory.expect")
    for name, value in rule.values.items():
        if callable(value):
            raise ValueError(f"{name}: expected a constant, got the schedule {value!r}; give a number")
    return rule.loss, float(rule.values["lr"]), float(rule.values["weight_decay"])


def _maps(matrices: NDArray[np.float64], offsets: NDArray[np.float64], step: float, decay: float) -> NDArray[np.float64]:
    """T of w ← w − step (A w − b + λ w)."""
    m, d = offsets.shape
    maps = np.zeros((m, d + 1, d + 1))
    maps[:, 0, 0] = 1.0
    maps[:, 1:, 0] = step * offsets
    maps[:, 1:, 1:] = (1.0 - step * decay) * np.eye(d) - step * matrices
    return maps


@dataclass(frozen=True, eq=False)
class AffineMoments:
    """E y^{⊗p} at some steps, y = (1, w).

    Attributes
    ----------
    steps : array (k,)
        Step numbers.
    order : int
        p, up to which there are moments.
    tensors : array (k, d + 1, …, d + 1)
        p axes of length d + 1.
    """

    steps: NDArray[np.int64]
    order: int
    tensors: NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        """E w, shape (k, d)."""
        return self._padded(1)[:, 1:]

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Cov w, shape (k, d, d); needs order ≥ 2."""
        if self.order < 2:
            raise ValueError(f"covariance: expected moments of order 2, got order {self.order}; ask for order=2")
        return self._padded(2)[:, 1:, 1:] - self.mean[:, :, None] * self.mean[:, None, :]

    def moment(self, *powers: int) -> NDArray[np.float64]:
        """E w_1^{k_1} … w_d^{k_d}, shape (k,): `moment(2)` in one dimension, `moment(1, 1)` in two.

        Raises
        ------
        ValueError
            If there is no power for each weight, or their sum exceeds the order.
        """
        d = self.tensors.shape[-1] - 1
        if len(powers) != d or min(powers) < 0 or sum(powers) > self.order:
            raise ValueError(f"powers: expected {d} integers >= 0 of sum at most {self.order}, got {powers}; "
                             "ask affine_moments for a higher order")
        index = [i + 1 for i, power in enumerate(powers) for _ in range(power)]
        flat = np.ravel_multi_index([*index, *[0] * (self.order - len(index))], self.tensors.shape[1:])
        return self.tensors.reshape(len(self.steps), -1)[:, flat]

    def _padded(self, order: int) -> NDArray[np.float64]:
        return self.tensors[(slice(None),) * (order + 1) + (0,) * (self.order - order)]

    def __repr__(self) -> str:
        return f"<moments up to order {self.order} at {len(self.steps)} step(s), d = {self.tensors.shape[-1] - 1}>"


def _transfer(rule: Any, order: int) -> NDArray[np.float64]:
    """E[T^{⊗p}], shape ((d + 1)^p, (d + 1)^p)."""
    probabilities, maps = affine_law(rule, order)
    size = maps.shape[1] ** order
    if size > 2000:
        raise ValueError(f"order: expected (d + 1)^order <= 2000, got {maps.shape[1]}^{order}; ask for a lower order")
    total = np.zeros((size, size))
    for p, one in zip(probabilities, maps, strict=True):
        total += p * reduce(np.kron, [one] * order)
    return total


@explained
def affine_moments(rule: Any, w0: ArrayLike, steps: ArrayLike, *, order: int = 2) -> AffineMoments:
    """Moments of the weights after the given numbers of steps, exact up to rounding.

    Parameters
    ----------
    rule : SGD, SVAG, NoisyGD or SingleBatchNearMiss
        On a `RandomLinear` loss, with constant hyperparameters, without momentum.
    w0 : array_like (d,)
        Start.
    steps : int or array_like of int >= 0
        Steps of the rule itself (SVAG: l of them count as one of SGD).
    order : int
        Moments up to this order ≥ 1.

    Returns
    -------
    AffineMoments

    Raises
    ------
    ValueError, TypeError
        If the moments of this rule on this loss don't close, or an argument doesn't fit.

    Examples
    --------
    >>> import sdetheory as sdt
    >>> loss = sdt.losses.RandomLinear.two_point(1.0, offset_std=1.0)
    >>> affine_moments(sdt.SGD(loss, lr=0.5), [1.0], [0, 1], order=2).moment(2)
    array([1. , 0.5])
    """
    order = integer("order", order, at_least=1)
    numbers = finite_array("steps", np.atleast_1d(steps), ndim=1)
    if (numbers < 0).any() or (numbers != np.floor(numbers)).any():
        raise ValueError(f"steps: expected integers >= 0, got {steps!r}")
    transfer = _transfer(rule, order)
    start = np.concatenate([[1.0], finite_array("w0", w0, shape=(rule.dim,))])
    at = reduce(np.kron, [start] * order)
    asked, found, before = np.unique(numbers.astype(np.int64)), {}, 0
    for step in asked:
        gap = int(step) - before
        if gap > 4 * len(at):
            at = np.linalg.matrix_power(transfer, gap) @ at
        else:
            for _ in range(gap):
                at = transfer @ at
        found[int(step)], before = at, int(step)
    tensors = np.stack([found[int(step)] for step in numbers]).reshape(len(numbers), *(len(start),) * order)
    return AffineMoments(numbers.astype(np.int64), order, tensors)


@explained
def stationary_moments(rule: Any, *, order: int = 2) -> AffineMoments:
    """The moments of the stationary law, to which those of every start converge; `steps` is −1.

    Raises
    ------
    ValueError
        If moments of this order don't converge.

    Examples
    --------
    >>> import sdetheory as sdt
    >>> loss = sdt.losses.RandomLinear.two_point(1.0, offset_std=2.0**0.5)
    >>> stationary_moments(sdt.SGD(loss, lr=1.0)).covariance.round(12)   # lr σ²/(a(2 − lr a)) (SVAG-4)
    array([[[2.]]])
    """
    order = integer("order", order, at_least=1)
    transfer = _transfer(rule, order)
    # without its first row and column (the moment 1): the part that must contract
    rest, force = transfer[1:, 1:], transfer[1:, 0]
    radius = float(np.abs(np.linalg.eigvals(rest)).max())
    if radius >= 1.0:
        raise ValueError(f"rule: expected moments of order {order} that converge, got growth by {radius:.6g} a step; "
                         "take a smaller lr or a lower order")
    moments = np.concatenate([[1.0], np.linalg.solve(np.eye(len(force)) - rest, force)])
    return AffineMoments(np.array([-1]), order, moments.reshape(1, *(rule.dim + 1,) * order))
