r"""SGD with heavy-ball momentum and coupled weight decay, as torch.optim.SGD has it (dampening 0).

.. math:: g_t = \nabla L(w_t) + \xi_t + \lambda w_t, \qquad v_{t+1} = \mu v_t + g_t, \qquad w_{t+1} = w_t - \eta v_{t+1}

With :math:`\mu = 0` the buffer is the gradient itself and is not stored. Clock: steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..engine import block_function, per_lane
from ..validation import finite_array
from .rule_step import RuleObserver, RuleStep
from .seen import Seen
from .update_rule import UpdateRule

__all__ = ["SGD"]


@block_function
def sgd_step(W, G, lr, weight_decay):
    """w ← w − η (g + λ w)."""
    d, lanes = W.shape
    for i in range(d):
        for lane in range(lanes):
            w = W[i, lane]
            W[i, lane] = w - per_lane(lr, lane) * (G[i, lane] + per_lane(weight_decay, lane) * w)


@block_function
def momentum_step(W, V, G, lr, weight_decay, momentum):
    """v ← μ v + (g + λ w); w ← w − η v."""
    d, lanes = W.shape
    for i in range(d):
        for lane in range(lanes):
            w = W[i, lane]
            v = per_lane(momentum, lane) * V[i, lane] + (G[i, lane] + per_lane(weight_decay, lane) * w)
            V[i, lane] = v
            W[i, lane] = w - per_lane(lr, lane) * v


class SGD(UpdateRule):
    """SGD on a loss with its gradient noise.

    Parameters
    ----------
    loss : Loss
        Its `noise` is the gradient noise; without one this is gradient descent.
    lr : float or schedule
        Learning rate η > 0; a schedule gives one value a step.
    weight_decay : float or schedule
        λ ≥ 0, coupled: λ w is added to the gradient.
    momentum : float or schedule
        μ in [0, 1).
    v0 : array_like (d,) or (n_paths, d), optional
        Momentum buffer before the first step; zeros unless told.

    Examples
    --------
    >>> import sdetheory as sdt
    >>> loss = sdt.losses.RayleighQuotient([1.0, 0.0, 0.0], noise=sdt.noises.Tangent(0.5))
    >>> rule = sdt.SGD(loss, lr=0.1, weight_decay=0.05)
    >>> runs = sdt.simulate(rule, [1.0, 1.0, 0.0], n_steps=100, n_paths=4, observe=["sq_norm"], rng=0)
    >>> runs.sq_norm.shape
    (4, 1)
    """

    hyperparameters = ("lr", "weight_decay", "momentum")

    def __init__(self, loss: Any, *, lr: Any, weight_decay: Any = 0.0, momentum: Any = 0.0,
                 v0: ArrayLike | None = None) -> None:
        super().__init__(loss, lr=lr, weight_decay=weight_decay, momentum=momentum)
        self.v0 = None if v0 is None else np.atleast_2d(finite_array("v0", v0))
        if self.v0 is not None and self.v0.shape[1] != loss.dim:
            raise ValueError(f"v0: expected shape ({loss.dim},) or (n_paths, {loss.dim}), got {self.v0.shape}")

    def has_momentum(self, swept: tuple[str, ...] = ()) -> bool:
        """Whether a momentum buffer is part of the state."""
        return "momentum" in swept or self.v0 is not None or not self.is_zero("momentum")

    def initial_state(self, x0: NDArray[np.float64], swept: tuple[str, ...] = ()) -> NDArray[np.float64]:
        """States (n, rows) that start at the weights x0 (n, d): w, and v where there is momentum."""
        if self.v0 is None:
            return super().initial_state(x0, swept)
        self.loss.check_start(x0)
        n = max(len(x0), len(self.v0))
        return np.concatenate([np.broadcast_to(x0, (n, self.dim)), np.broadcast_to(self.v0, (n, self.dim))], axis=1)

    def state(self, swept: tuple[str, ...] = ()) -> dict[str, int]:
        """w, and the buffer v where there is momentum."""
        return {"w": self.dim, "v": self.dim} if self.has_momentum(swept) else {"w": self.dim}

    def step(self, s: RuleStep) -> None:
        """v ← μ v + (g + λ w); w ← w − η v."""
        g = s.stochastic_gradient()
        if "v" in s.state:
            s.call(momentum_step, s.w, s.v, g, s.lr, s.weight_decay, s.momentum)
        else:
            s.call(sgd_step, s.w, g, s.lr, s.weight_decay)

    @property
    def seen(self) -> Mapping[str, Seen]:
        """What can be seen of the weights, and the momentum buffer `v`."""
        return {**super().seen, "v": Seen(_buffer, self.dim, "state")}


def _buffer(o: RuleObserver) -> None:
    if "v" not in o.state:
        raise ValueError("observe: v is the momentum buffer, which SGD without momentum has not; give momentum or v0")
    o.copy(o.v, o.out)
