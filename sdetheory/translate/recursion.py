r"""From a run with weight decay to one without: the recursion of EXP-6, and the constant roots of TEXP (EXP-9).

Written with the total decay :math:`\kappa_k = \lambda_k - \mu_k\beta_k`, the recursion needs no quotient of learning rates:

.. math:: \alpha_{k+1} = 1 - \eta_k\kappa_k, \quad \beta_{k+1} = -\kappa_k/\alpha_{k+1}, \quad \beta_0 = (1 - 1/\alpha_0)/\eta_0

It keeps the digits of 1 − α however small it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..hypotheses import HypothesisError
from ..schedules import as_schedule, one_minus_larger_root
from ..validation import explained, integer, number
from .scaling import bits_of
from .translation import Translation, assembled

__all__ = ["remove_weight_decay", "tables", "tapered"]


def tables(n_steps: int, /, **schedules: Any) -> list[NDArray[np.float64]]:
    """Tables (n_steps,) of schedules, numbers or arrays by name; arrays must have n_steps values."""
    n_steps = integer("n_steps", n_steps, at_least=1)
    found = []
    for name, value in schedules.items():
        schedule = as_schedule(name, value)
        if hasattr(schedule, "__len__") and len(schedule) != n_steps:
            raise ValueError(f"{name}: expected one value for each of {n_steps} steps, got {len(schedule)}; "
                             "pass n_steps values, a number or a schedule")
        found.append(schedule.table(n_steps))
        if name == "momentum" and (found[-1] >= 1).any():
            step = int(np.argmax(found[-1] >= 1))
            raise ValueError(f"momentum: expected values below 1, got {found[-1][step]:g} at step {step}")
    return found


def _refusal(k: int, alpha: float, lr: NDArray, weight_decay: NDArray, momentum: NDArray) -> HypothesisError:
    """Why there is no α > 0 after step k: a step without positive roots (EXP-7), else the schedule itself (EXP-6)."""
    intrinsic = (lr * weight_decay)[: k + 1]
    bounds = (1 - np.sqrt(momentum[: k + 1])) ** 2
    bad = (intrinsic > bounds) | (intrinsic >= 1)
    if bad.any():
        j = int(np.argmax(bad))
        return HypothesisError("EXP-7", "intrinsic lr <= (1 - sqrt(momentum))^2 at every step",
                               f"intrinsic lr {intrinsic[j]:g}, bound {bounds[j]:g}, first at step {j}; "
                               f"alpha is {alpha:g} at step {k}",
                               "take a smaller lr, weight decay or momentum")
    return HypothesisError("EXP-6", "alpha > 0 at every step", f"alpha = {alpha:g} first at step {k}",
                           "let lr and momentum rise more slowly, or start at alpha_0 = 1")


@explained
def remove_weight_decay(lr: Any, weight_decay: Any, momentum: Any = 0.0, *, n_steps: int, start: float | str = 1.0,
                        dtype: DTypeLike | None = "float64") -> Translation:
    r"""Translate SGD with weight decay into SGD without that gives the same functions, step by step (EXP-4, 5, 6).

    .. math:: \alpha_{k+1} = 1 - \eta_k\lambda_k + \frac{\eta_k}{\eta_{k-1}}\mu_k\,(1 - 1/\alpha_k), \qquad
              \tilde\eta_k = P_k P_{k+1}\,\eta_k

    Parameters
    ----------
    lr, weight_decay, momentum : numbers, schedules, callables of the step, or arrays (n_steps,); lr, weight_decay >= 0.
    n_steps : number of steps.
    start : α_0 > 0. 1 leaves the initial buffer as it is; `"root"` is the larger root of step 0, with which constant lr,
        weight_decay and momentum become an exactly exponential schedule, and needs the initial buffer of `Translation.start`.
    dtype : the format the run is made in, which says when to rescale; None for no rescalings.

    Raises
    ------
    HypothesisError
        EXP-7 or EXP-6, with the first step at fault, where no translation with positive scales exists.

    Examples
    --------
    >>> from sdetheory.schedules import Cosine
    >>> remove_weight_decay(Cosine(0.1, 1000), 5e-4, 0.9, n_steps=1000)
    <Translation of 1000 steps: scale grows by e^0.2466, buffers as they are>
    >>> remove_weight_decay(0.5, 1.0, n_steps=3).decay_free_lr.tolist()
    [1.0, 4.0, 16.0]
    """
    lr, weight_decay, momentum = tables(n_steps, lr=lr, weight_decay=weight_decay, momentum=momentum)
    a, b = _starting(start, lr[0], weight_decay[0], momentum[0])
    alphas, tilts = [a], [b]
    for k, (eta, decay, mu) in enumerate(zip(lr.tolist(), weight_decay.tolist(), momentum.tolist(), strict=True)):
        total = decay - mu * b
        a = 1 - eta * total
        if not a > 0:
            raise _refusal(k, a, lr, weight_decay, momentum)
        b = -total / a
        alphas.append(a)
        tilts.append(b)
    tilt = np.array(tilts)
    return assembled(lr, weight_decay, momentum, np.array(alphas), tilt, -lr * tilt[1:],
                     None if dtype is None else bits_of(dtype))


def _starting(start: float | str, lr: float, weight_decay: float, momentum: float) -> tuple[float, float]:
    """α_0 and β_0; η_{−1} is taken to be η_0."""
    if not isinstance(start, str):
        alpha = number("start", start, above=0)
        gap = 1 - alpha
    elif start == "root":
        gap = float(one_minus_larger_root(lr * weight_decay, momentum))
        if not gap < 1:
            raise HypothesisError("EXP-7", "intrinsic lr <= (1 - sqrt(momentum))^2 for a root to start from",
                                  f"intrinsic lr {lr * weight_decay:g}, momentum {momentum:g} at step 0",
                                  "start at alpha_0 = 1")
        alpha = 1 - gap
    else:
        raise ValueError(f"start: expected a number > 0 or 'root', got {start!r}")
    if gap != 0 and lr == 0:
        raise ValueError("lr: expected lr > 0 at step 0 for a start other than alpha_0 = 1, got 0; take start=1")
    return alpha, (-gap / alpha / lr if gap else 0.0)


@explained
def tapered(lr: Any, weight_decay: Any, momentum: Any = 0.0, *, n_steps: int,
            dtype: DTypeLike | None = "float64") -> Translation:
    """Translate with the larger root of each step for α: TEXP, exact by its buffer corrections (EXP-9).

    At each step whose (lr, weight_decay, momentum) differ from those before, the buffer is corrected; without momentum
    nothing is. `.without_corrections()` gives plain TEXP. The initial buffer is that of `Translation.start` (EXP-5).

    Parameters, errors : as for `remove_weight_decay`; lr > 0, and EXP-7 must hold at every step.

    >>> from sdetheory.schedules import StepDecay
    >>> tapered(StepDecay(0.5, milestones=(50,)), 0.02, 0.5, n_steps=100)
    <Translation of 100 steps: scale grows by e^1.132, initial buffer tilted by -0.0417, 1 buffer correction(s)>
    """
    lr, weight_decay, momentum = tables(n_steps, lr=lr, weight_decay=weight_decay, momentum=momentum)
    if not (lr > 0).all():
        raise ValueError(f"lr: expected values > 0 at every step, got 0 at step {int(np.argmin(lr > 0))}")
    gap = one_minus_larger_root(lr * weight_decay, momentum)
    if not (gap < 1).all():
        k = int(np.argmin(gap < 1))
        raise HypothesisError("EXP-7", "intrinsic lr <= (1 - sqrt(momentum))^2, and < 1, at every step",
                              f"intrinsic lr {lr[k] * weight_decay[k]:g}, momentum {momentum[k]:g}, first at step {k}",
                              "take a smaller lr, weight decay or momentum")
    alpha = np.concatenate([1 - gap[:1], 1 - gap])
    wanted = -gap / (1 - gap) / lr
    arriving = np.concatenate([wanted[:1], wanted[:-1]])
    jumps = np.where(momentum > 0, wanted - arriving, 0.0)
    return assembled(lr, weight_decay, momentum, alpha, np.append(arriving + jumps, wanted[-1]),
                     gap / (1 - gap), None if dtype is None else bits_of(dtype), jumps)
