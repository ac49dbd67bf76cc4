r"""Gradient flow with weight decay, in gradient-flow time.

.. math:: \dot w = -\nabla L(w) - \lambda w

by the classical Runge–Kutta scheme of order 4 with fixed step.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Program, block_function, per_lane
from .assembly import Assembly
from .update_rule import UpdateRule

__all__ = ["GradientFlow"]


@block_function
def stage(W, K, weight_decay, factor, into):
    """into ← W − factor (K + λ into), where K is the gradient at `into`."""
    d, lanes = W.shape
    for i in range(d):
        for lane in range(lanes):
            into[i, lane] = W[i, lane] - factor * (K[i, lane] + per_lane(weight_decay, lane) * into[i, lane])


@block_function
def accumulate(K, at, weight_decay, factor, total):
    """total ← total + factor (K + λ at)."""
    d, lanes = K.shape
    for i in range(d):
        for lane in range(lanes):
            total[i, lane] += factor * (K[i, lane] + per_lane(weight_decay, lane) * at[i, lane])


@block_function
def copy_block(source, into):
    """into ← source."""
    d, lanes = source.shape
    for i in range(d):
        for lane in range(lanes):
            into[i, lane] = source[i, lane]


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

    def program(self, observe: Any = None, swept: tuple[str, ...] = ()) -> Program:
        """Four gradients a step; rows d … 3d of the block hold the stage and the sum of slopes."""
        d = self.dim
        assembly = Assembly(self.loss, self.hyperparameters, swept)
        w, at, total, k = f"X[:{d}]", f"X[{d}:{2 * d}]", f"X[{2 * d}:{3 * d}]", f"S[:{d}]"
        statements = [assembly.call("copy", copy_block, w, at), assembly.call("copy", copy_block, w, total)]
        for weight, ahead in ((1 / 6, 0.5), (1 / 3, 0.5), (1 / 3, 1.0), (1 / 6, None)):
            statements += [assembly.call("gradient", self.loss.gradient_kernel, at, k),
                           assembly.call("accumulate", accumulate, k, at, "weight_decay", f"-{weight!r} * dt", total)]
            if ahead is not None:
                statements.append(assembly.call("stage", stage, w, k, "weight_decay", f"{ahead} * dt", at))
        statements.append(assembly.call("copy", copy_block, total, w))
        return assembly.program(3 * d, [], statements, observe)

    def initial_state(self, w0: Any, swept: tuple[str, ...] = ()) -> Any:
        """States (n, 3d): the weights, and room for the stages."""
        return np.tile(super().initial_state(w0, swept), (1, 3))
