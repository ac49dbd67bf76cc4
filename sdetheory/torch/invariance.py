r"""Which parameters of a net are scale-invariant, found by test in float64, and what breaks it (EXP-1).

A set S of parameters is scale-invariant when :math:`L(c\,w_S, w_{\rm rest}) = L(w)` for every c > 0, so that

.. math:: \langle\nabla_S L, w_S\rangle = 0

Each parameter is tested by itself, then those of each module together (weight and bias, gain and shift), then what is
left: if :math:`r_b \in \mathbb R^m` are the products :math:`\langle\nabla_i L, w_i\rangle` of the m left at a random point b,
scalings :math:`w_i \to e^{a_i s} w_i` that keep L have :math:`\langle a, r_b\rangle = 0` for all b. The null space of these
rows is where joint groups are looked for (what adds to a residual stream is one); each is then tested like any other.

The tests are made at random points near the weights, for at 0 a scale says nothing; the gap that rounding explains is
measured by the same net in float32, as in `translate.certificate`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..random import RNG, seed_sequence
from ..validation import integer
from .data import checked_batch
from .invariance_report import GroupTest, InvarianceReport
from .nets import TINY
from .scaled_loss import ScaledLoss

__all__ = ["GroupTest", "InvarianceReport", "scale_invariance"]


@torch.enable_grad()
def scale_invariance(model: nn.Module, loss: Callable[..., Tensor], inputs: Tensor, targets: Any = None, *,
                     n_points: int = 2, rng: RNG = 0) -> InvarianceReport:
    """Test which groups of trained parameters a loss sees no scale of; the model itself is not touched.

    Parameters
    ----------
    model : any module, in the mode (training or evaluation) that is meant.
    loss : `loss(outputs, targets)`, or `loss(outputs)` where targets is None, a scalar.
    inputs, targets : one batch; floating-point inputs of at least one sample.
    n_points : random points near the weights at which each group is tested.
    rng : draws the points.

    Raises
    ------
    ValueError
        Where no parameter is trained, or the loss is no finite scalar.

    >>> import torch
    >>> from sdetheory.torch.nets import mlp
    >>> x = torch.arange(24.0).reshape(6, 4).sin()
    >>> net = mlp(4, 3, width=8, norm="layer", rng=0)
    >>> scale_invariance(net, nn.functional.cross_entropy, x, torch.arange(6) % 3)
    <InvarianceReport: scale-invariant as a whole; 2 group(s) hold 96 of 96 trained weights>
    """
    checked_batch(inputs, targets)
    n_points = integer("n_points", n_points, at_least=1)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    if not trained:
        raise ValueError("model: expected trained parameters, got none with requires_grad; unfreeze what is to be trained")
    tested = ScaledLoss(copy.deepcopy(model), loss, inputs, targets, n_points, np.random.default_rng(seed_sequence(rng)))
    groups, left = _search(tested, trained)
    reasons = {name: tested.scaling_of_outputs(name) for name in left}
    for text, repair in _REPAIRS:
        if left and (mended := tested.mended(repair)) is not None:
            now_invariant = {name for group in _search(mended[0], trained)[0] for name in group.names}
            reasons.update({name: text.format(mended[1]) for name in left if name in now_invariant})
            left = [name for name in left if name not in now_invariant]
    order = {name: i for i, name in enumerate(trained)}
    broken = tuple(replace(tested.test((name,)), reason=reasons[name]) for name in trained if name in reasons)
    return InvarianceReport(tested.test(tuple(trained)), tuple(sorted(groups, key=lambda g: order[g.names[0]])), broken)


def _search(tested: ScaledLoss, names: Sequence[str]) -> tuple[list[GroupTest], list[str]]:
    """Disjoint scale-invariant groups, and the names in none: one by one, by module, then in the null space."""
    groups: list[GroupTest] = []
    left = list(names)
    for sets_of in (_one_by_one, _by_module, tested.candidates):
        found = [test for chosen in sets_of(left) if (test := tested.test(chosen)).invariant]
        groups += found
        left = [name for name in left if not any(name in test.names for test in found)]
    return groups, left


def _one_by_one(names: Sequence[str]) -> list[tuple[str, ...]]:
    return [(name,) for name in names]


def _by_module(names: Sequence[str]) -> list[tuple[str, ...]]:
    modules: dict[str, list[str]] = {}
    for name in names:
        modules.setdefault(name.rpartition(".")[0], []).append(name)
    return [tuple(group) for group in modules.values()]


def _without_eps(model: nn.Module) -> str:
    found = {m: m.eps for m in model.modules() if isinstance(getattr(m, "eps", None), float) and m.eps > TINY}
    for module in found:
        module.eps = TINY
    return ", ".join(f"{value:g} in {kind}" for kind, value in sorted({(type(m).__name__, e) for m, e in found.items()}))


def _in_training(model: nn.Module) -> str:
    found = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._NormBase)
             and not m.training and m.track_running_stats]
    for module in found:
        module.train()
    return ", ".join(sorted({type(m).__name__ for m in found}))


def _both(model: nn.Module) -> str:
    parts = [_in_training(model), _without_eps(model)]
    return " and eps ".join(parts) if all(parts) else ""


#: what may break invariance and can be mended on a copy; a repair says what it changed, "" for nothing
_REPAIRS: tuple[tuple[str, Callable[[nn.Module], str]], ...] = (
    ("eps of the normalisation ({}): invariant without it", _without_eps),
    ("running statistics of {}: invariant in training mode", _in_training),
    ("running statistics of {}: invariant in training mode without it", _both),
)
