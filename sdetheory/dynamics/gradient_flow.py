r"""Gradient flow with weight decay, in gradient-flow time.

.. math:: \dot w = -\nabla L(w) - \lambda w

by the classical Runge–Kutta scheme of order 4 with fixed step.
"""

from __future__ import annotations

from typing import Any

from ..engine import block_function, per_lane
from .rule_step import RuleStep
from .update_rule import UpdateRule

__all__ = ["GradientFlow"]


@block_function
def stage(W, K, weight_decay, ahead, dt, into):
    """into ← W − ahead h (K + λ into), where K is the gradient at `into`."""
    d, lanes = W.shape
    factor = ahead * dt
    for i in range(d):
        for lane in range(lanes):
            into[i, lane] = W[i, lane] - factor * (K[i, lane] + per_lane(weight_decay, lane) * into[i, lane])


@block_function
def accumulate(K, at, weight_decay, weight, dt, total):
    """total ← total − weight h (K + λ at)."""
    d, lanes = K.shape
    factor = -weight * dt
    for i in range(d):
        for lane in range(lanes):
            total[i, lane] += factor * (K[i, lane] + per_lane(weight_decay, lane) * at[i, lane])


class GradientFlow(UpdateRule):
    """The ODE ẇ = −∇L(w) − λ w of a loss without its noise.

    Parameters
    ----------
    loss : Loss
        Its noise is left out.
    weight_decay : float
        λ ≥ 0.

    Examples
    --------
    >>> import sdetheory as sdt
    >>> flow = sdt.dynamics.GradientFlow(sdt.losses.RayleighQuotient([2.0, 0.0]))
    >>> run = sdt.simulate(flow, [1.0, 1.0], t1=20.0, dt=0.01, observe="loss")
    >>> bool(run.loss[0, -1] < 1e-6)
    True
    """

    clock = "time"
    hyperparameters = ("weight_decay",)

    def __init__(self, loss: Any, *, weight_decay: float = 0.0) -> None:
        super().__init__(loss, weight_decay=weight_decay)

    def state(self, swept: tuple[str, ...] = ()) -> dict[str, int]:
        """w, the stage at which a slope is taken, and the sum of slopes."""
        return dict.fromkeys(("w", "at", "total"), self.dim)

    def step(self, s: RuleStep) -> None:
        """Four slopes K = ∇L(at): each is added to the total, and leads to the next stage."""
        K = s.block()
        s.copy(s.w, into=s.at)
        s.copy(s.w, into=s.total)
        for weight, ahead in ((1 / 6, 0.5), (1 / 3, 0.5), (1 / 3, 1.0), (1 / 6, None)):
            s.gradient(s.at, into=K)
            s.call(accumulate, K, s.at, s.weight_decay, weight, s.dt, s.total)
            if ahead is not None:
                s.call(stage, s.w, K, s.weight_decay, ahead, s.dt, s.at)
        s.copy(s.total, into=s.w)
