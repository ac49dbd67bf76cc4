r"""From a run without weight decay to one with: the recursion of EXP-6 read backwards.

Given :math:`\tilde\eta_k` and the :math:`\eta_k` wanted, :math:`\tilde\eta_k = P_kP_{k+1}\eta_k` gives P, and then

.. math:: \alpha_{k+1} = P_k/P_{k+1}, \qquad \kappa_k = (1 - \alpha_{k+1})/\eta_k, \qquad \lambda_k = \kappa_k + \mu_k\beta_k
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from ..hypotheses import HypothesisError, require
from ..stats.rounding import gamma_n
from ..validation import explained, number
from .recursion import tables
from .scaling import bits_of
from .translation import Translation, assembled

__all__ = ["ConstantPair", "restore_weight_decay", "weight_decay_of_exponential"]


class ConstantPair(NamedTuple):
    """Constant (lr, weight_decay) that stand for an exponential schedule: `alpha` its root, `tilt` as in `Translation`."""

    lr: float
    weight_decay: float
    alpha: float
    tilt: float


@explained
def weight_decay_of_exponential(lr: float, growth: float, momentum: float = 0.0) -> ConstantPair:
    r"""Constant learning rate and weight decay equivalent to the schedule lr · growth^k without decay (EXP-4, EXP-5).

    .. math:: \alpha = q^{-1/2}, \qquad \eta = \alpha\,\tilde\eta_0, \qquad \eta\lambda = (1-\alpha)(1-\mu/\alpha)

    With momentum the run with decay starts at the buffer :math:`v_0 = \tilde v_0 - \beta w_0`, β the `tilt`.

    Parameters
    ----------
    lr : η̃_0 > 0.
    growth : factor q a step, in [1, momentum^{−2}]: faster growth has no equivalent with constant weight decay >= 0.
    momentum : μ in [0, 1).

    >>> pair = weight_decay_of_exponential(1.0, growth=4.0)
    >>> pair.lr, pair.weight_decay
    (0.5, 1.0)
    """
    lr, growth = number("lr", lr, above=0), number("growth", growth, above=0)
    momentum = number("momentum", momentum, at_least=0, below=1)
    alpha = growth**-0.5
    require(momentum <= alpha <= 1, "EXP-5", "1 <= growth <= momentum^-2 for a weight decay >= 0",
            f"growth {growth:g}, momentum {momentum:g}", "restore_weight_decay finds a decay for each step")
    constant = alpha * lr
    gap = -np.expm1(-0.5 * np.log(growth))
    return ConstantPair(constant, float(gap * (1 - momentum / alpha) / constant), alpha, float(-gap / alpha / constant))


@explained
def restore_weight_decay(decay_free_lr: Any, lr: Any, momentum: Any = 0.0, *, n_steps: int,
                         dtype: DTypeLike | None = None) -> Translation:
    """Find the weight decay of each step with which `lr` gives the functions of `decay_free_lr` without (EXP-6).

    The buffers of both runs are the same at the start (α_0 = 1).

    Parameters
    ----------
    decay_free_lr, lr : > 0; numbers, schedules, callables of the step, or arrays (n_steps,).
    momentum : in [0, 1).
    n_steps : number of steps.
    dtype : as in `remove_weight_decay`; None, for no rescalings, gives back `decay_free_lr` itself.

    Raises
    ------
    HypothesisError
        EXP-6, with the first step that would need a negative weight decay.

    >>> restore_weight_decay([1.0, 4.0, 16.0], 0.5, n_steps=3).weight_decay.tolist()
    [1.0, 1.0, 1.0]
    """
    free, lr, momentum = tables(n_steps, decay_free_lr=decay_free_lr, lr=lr, momentum=momentum)
    for name, table in (("decay_free_lr", free), ("lr", lr)):
        if not (table > 0).all():
            raise ValueError(f"{name}: expected values > 0 at every step, got 0 at step {int(np.argmin(table > 0))}")
    n = len(lr)
    alpha, tilt, weight_decay = np.ones(n + 1), np.zeros(n + 1), np.empty(n)
    # P_k = r_{k−1}/P_{k−1} with r = η̃/η: each step adds 2 roundings to P, and α = P_k²/r_k doubles them; with the 3 of α and
    # the 2 of κ fewer than 16 (k + 1)
    relative = gamma_n(16 * np.arange(1, n + 1))
    ratio, scale, rounding = free / lr, 1.0, 0.0
    for k in range(n):
        scale = ratio[k - 1] / scale if k else 1.0
        alpha[k + 1] = scale * (scale / ratio[k])
        if not np.isfinite(alpha[k + 1]) or alpha[k + 1] == 0:
            raise ValueError(f"decay_free_lr: expected P within float64 range, got P = {scale:g} at step {k}; "
                             "restore a shorter run")
        decay = (1 - alpha[k + 1]) / lr[k]
        weight_decay[k] = decay + momentum[k] * tilt[k]
        # the error of λ_k is that of κ_k and that of μ_k β_k = −μ_k κ_{k−1}/α_k
        before, rounding = rounding, relative[k] * (1 + alpha[k + 1]) / lr[k]
        if weight_decay[k] < -rounding - momentum[k] * before / min(1.0, alpha[k]) ** 2:
            raise HypothesisError("EXP-6", "a weight decay >= 0 at every step", f"{weight_decay[k]:g} first at step {k}",
                                  "decay_free_lr grows too slowly beside lr, or lr exceeds it at step 0; give another lr")
        weight_decay[k] = max(weight_decay[k], 0.0)
        tilt[k + 1] = -decay / alpha[k + 1]
    return assembled(lr, weight_decay, momentum, alpha, tilt, -lr * tilt[1:],
                     None if dtype is None else bits_of(dtype))
