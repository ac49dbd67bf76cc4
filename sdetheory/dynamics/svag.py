r"""SVAG(l), stochastic variance amplified gradient: steps l times smaller, with the noise of the SDE kept.

.. math:: w \leftarrow w - \frac\eta l\Bigl[\frac{1+s}2\nabla L_{\gamma_1}(w) + \frac{1-s}2\nabla L_{\gamma_2}(w)
          + \lambda w\Bigr], \qquad s = \sqrt{2l-1}

with two independent draws a step. The weighted gradient has mean ∇L and covariance lΣ (SVAG-1): l steps do what one step of
SGD does, and l → ∞ leads to the SDE dW = −(∇L + λW)dt + (ηΣ)^{1/2}dB (SVAG-3). l = 1 is SGD. Clock: SVAG steps, l of which
count as one step of SGD; schedules are read at k/l. Source: arXiv:2102.12470.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine import block_function, per_lane
from ..validation import integer, number
from .rule_step import RuleStep
from .update_rule import UpdateRule

__all__ = ["SVAG", "PerEffectiveStep"]


@block_function
def svag_step(W, G, H, lr, weight_decay, amplification, first, second):
    """w ← w − (η/l)(p g₁ + q g₂ + λ w)."""
    d, lanes = W.shape
    for i in range(d):
        for lane in range(lanes):
            w = W[i, lane]
            W[i, lane] = w - per_lane(lr, lane) / amplification * (
                (first * G[i, lane] + second * H[i, lane]) + per_lane(weight_decay, lane) * w)


@dataclass(frozen=True)
class PerEffectiveStep:
    """A schedule of SGD steps, read at step k/l of a rule that makes l steps of one."""

    schedule: Callable[[Any], Any]
    amplification: int

    def __call__(self, step: float) -> Any:
        """The value at step k: that of the schedule at k/l."""
        return self.schedule(step / self.amplification)

    def __repr__(self) -> str:
        return repr(self.schedule)


class SVAG(UpdateRule):
    """Stochastic variance amplified gradient on a loss with its gradient noise.

    Parameters
    ----------
    loss : Loss
        Its `noise` is that of one draw; each step takes two.
    lr : float or schedule
        Learning rate η > 0 of the SGD it stands for; a step has size η/l.
    amplification : int
        l ≥ 1.
    weight_decay : float or schedule
        λ ≥ 0, coupled.
    spread : float, optional
        s ≥ 0 of the weights (1 ± s)/2; √(2l − 1) unless told. Any other is a control: the covariance is (1 + s²)/2 Σ.

    Raises
    ------
    ValueError, TypeError
        For l < 1 or not an integer, a spread < 0, and whatever `SGD` refuses.

    Examples
    --------
    >>> import sdetheory as sdt
    >>> loss = sdt.losses.RandomLinear.two_point(1.0, offset_std=0.5)
    >>> rule = sdt.dynamics.SVAG(loss, lr=0.2, amplification=4)
    >>> rule.weights
    (1.8228756555322954, -0.8228756555322954)
    >>> sdt.simulate(rule, [1.0], n_steps=20, n_paths=8, rng=0).w.shape
    (8, 1, 1)
    """

    hyperparameters = ("lr", "weight_decay")

    def __init__(self, loss: Any, *, lr: Any, amplification: int, weight_decay: Any = 0.0,
                 spread: float | None = None) -> None:
        self.amplification = integer("amplification", amplification, at_least=1, at_most=2**53, remedy="l = 1 is SGD")
        self.spread = float(np.sqrt(2 * self.amplification - 1)) if spread is None else number("spread", spread, at_least=0)
        super().__init__(loss, lr=self._stretched(lr), weight_decay=self._stretched(weight_decay))

    @property
    def weights(self) -> tuple[float, float]:
        """The weights (1 + s)/2 and (1 − s)/2 of the two draws."""
        return (1 + self.spread) / 2, (1 - self.spread) / 2

    def step(self, s: RuleStep) -> None:
        """w ← w − (η/l)(p g₁ + q g₂ + λ w) with two draws; l, p and q are constants: one compiled program for every l."""
        g, h = s.stochastic_gradient(), s.stochastic_gradient()
        factors = map(s.constant, (float(self.amplification), *self.weights))
        s.call(svag_step, s.w, g, h, s.lr, s.weight_decay, *factors)

    def _stretched(self, value: Any) -> Any:
        return PerEffectiveStep(value, self.amplification) if callable(value) else value

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, amplification={self.amplification}, spread={self.spread:g})"
