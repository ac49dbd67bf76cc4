r"""A near miss of SVAG: one minibatch, amplified by a random sign. It converges to another SDE (SVAG-10).

.. math:: w \leftarrow w - \frac\eta l\bigl[(1 + \epsilon\sqrt{l-1})\nabla L_\gamma(w) + \lambda w\bigr],
          \qquad \epsilon = \pm1 \text{ fair}

The mean of the amplified gradient is ∇L, its covariance lΣ + (l−1)∇L∇Lᵀ: for l → ∞ the SDE has noise
η(Σ + ∇L∇Lᵀ) where SVAG's has ηΣ. Clock: steps, l of which count as one step of SGD.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import block_function, per_lane
from .rule_step import RuleStep
from .svag import SVAG

__all__ = ["SingleBatchNearMiss"]


@block_function
def near_miss_step(W, G, sign, lr, weight_decay, amplification, spread):
    """w ← w − (η/l)((1 + ε s) g + λ w)."""
    d, lanes = W.shape
    for i in range(d):
        for lane in range(lanes):
            w = W[i, lane]
            W[i, lane] = w - per_lane(lr, lane) / amplification * (
                (1.0 + sign[lane] * spread) * G[i, lane] + per_lane(weight_decay, lane) * w)


class SingleBatchNearMiss(SVAG):
    """One gradient times 1 ± √(l − 1): what a correct check must tell from SVAG.

    Parameters are those of `SVAG`; the spread is √(l − 1) unless told.

    Examples
    --------
    >>> import sdetheory as sdt
    >>> loss = sdt.losses.RandomLinear.two_point(1.0, offset_std=0.5)
    >>> sdt.dynamics.SingleBatchNearMiss(loss, lr=0.2, amplification=5).spread
    2.0
    """

    def __init__(self, loss: Any, *, lr: Any, amplification: int, weight_decay: Any = 0.0,
                 spread: float | None = None) -> None:
        super().__init__(loss, lr=lr, amplification=amplification, weight_decay=weight_decay, spread=spread)
        if spread is None:
            self.spread = float(np.sqrt(self.amplification - 1))

    @property
    def weights(self) -> tuple[float, float]:
        """The two factors 1 + s and 1 − s, of probability 1/2 each."""
        return 1 + self.spread, 1 - self.spread

    def step(self, s: RuleStep) -> None:
        """w ← w − (η/l)((1 + ε s) g + λ w); the sign ε has a stream of its own."""
        g, sign = s.stochastic_gradient(), s.draw("two_point", 1, stream="sign")[0]
        s.call(near_miss_step, s.w, g, sign, s.lr, s.weight_decay, s.constant(float(self.amplification)), s.constant(self.spread))
