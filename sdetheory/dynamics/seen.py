r"""What can be seen of every update rule: functions of the weights alone.

.. math:: w, \quad \hat w = w/\|w\|, \quad \|w\|^2, \quad \eta/\|w\|^2, \quad L(w), \quad \|\nabla L(w)\|^2
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..engine import block_function, per_lane
from .rule_step import RuleObserver

__all__ = ["Seen", "of_function", "of_weights", "sq_norm_block"]


@block_function
def sq_norm_block(W, out):
    """out = ‖w‖²."""
    d, lanes = W.shape
    for lane in range(lanes):
        out[lane] = 0.0
    for i in range(d):
        for lane in range(lanes):
            out[lane] += W[i, lane] * W[i, lane]


@block_function
def direction_block(W, out):
    """out = w / ‖w‖."""
    d, lanes = W.shape
    for i in range(1, d):
        for lane in range(lanes):
            out[i, lane] = 0.0
    sq_norm_block(W, out[0])
    for lane in range(lanes):
        out[0, lane] = 1.0 / np.sqrt(out[0, lane])
    for i in range(d - 1, -1, -1):
        for lane in range(lanes):
            out[i, lane] = W[i, lane] * out[0, lane]


@block_function
def divide_by(lr, out):
    """out ← η / out."""
    for lane in range(out.size):
        out[lane] = per_lane(lr, lane) / out[lane]


@dataclass(frozen=True)
class Seen:
    """Something to observe: `write` writes it into `out`, `rows` numbers a path that become the dimension `dim`."""

    write: Callable[[RuleObserver], None]
    rows: int = 1
    dim: str | None = None


def of_weights(dim: int) -> Mapping[str, Seen]:
    """What can be seen of dim weights w; the first is what is saved unless told."""
    return {"w": Seen(lambda o: o.copy(o.w, o.out), dim, "state"),
            "direction": Seen(lambda o: o.call(direction_block, o.w, o.out), dim, "state"),
            "sq_norm": Seen(lambda o: o.call(sq_norm_block, o.w, o.out)),
            "effective_lr": Seen(_effective_lr),
            "loss": Seen(lambda o: o.call(o.loss.value_kernel, o.w, o.out)),
            "sq_grad": Seen(_sq_grad)}


def of_function(function: Callable[..., float]) -> Seen:
    """A function of the weights as a vector (d,)."""
    return Seen(lambda o: o.call_per_lane(function, o.w, o.out))


def _effective_lr(o: RuleObserver) -> None:
    o.call(sq_norm_block, o.w, o.out)
    o.call(divide_by, o.lr, o.out)


def _sq_grad(o: RuleObserver) -> None:
    gradient = o.block()
    o.gradient(o.w, gradient)
    o.call(sq_norm_block, gradient, o.out)
