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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..random import RNG, seed_sequence
from ..translate.certificate import SLACK
from ..validation import integer
from .data import checked_batch
from .devices import all_bits_of_float32, own_random_state
from .invariance_report import GroupTest, InvarianceReport
from .nets import TINY

__all__ = ["FACTORS", "GroupTest", "InvarianceReport", "scale_invariance"]

#: the c of the tests: one each way, and no power of two, which floats scale by without rounding
FACTORS = (0.3, 3.0)
_SPREAD = 0.1
_EPS = torch.finfo(torch.float64).eps
Weights = Mapping[str, Tensor]


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
    tested = _Tested(copy.deepcopy(model), loss, inputs, targets, n_points, np.random.default_rng(seed_sequence(rng)))
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


def _search(tested: _Tested, names: Sequence[str]) -> tuple[list[GroupTest], list[str]]:
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


def _in_format(targets: Any, dtype: torch.dtype) -> Any:
    return targets.to(dtype) if isinstance(targets, Tensor) and targets.is_floating_point() else targets


class _Tested:
    """A model in float64 with its loss as a function of its parameters, at random points near the given ones."""

    def __init__(self, model: nn.Module, loss: Callable[..., Tensor], inputs: Tensor, targets: Any, n_points: int,
                 draw: np.random.Generator) -> None:
        self.model, self.loss, self.draw = model.double(), loss, draw
        self.inputs, self.targets = inputs.detach().double(), _in_format(targets, torch.float64)
        self.known: dict[int, dict[str, Tensor]] = {}
        self.points = [self._point() for _ in range(n_points)]
        self.values = [float(self.value(w)) for w in self.points]
        if not np.isfinite(self.values).all():
            raise ValueError(f"loss: expected finite values near the weights, got {self.values}; start from weights of "
                             "order 1, and a batch that no normalisation divides by 0 on")
        narrow = self._copy(torch.float32)
        with all_bits_of_float32():
            parted = [abs(float(narrow.value({k: v.float() for k, v in w.items()})) - value)
                      for w, value in zip(self.points, self.values, strict=True)]
        measured = max((p for p in parted if np.isfinite(p)), default=0.0) * _EPS / torch.finfo(torch.float32).eps
        #: a mean over many samples rounds off by a few ε at least, even where float32 happened to agree
        self.rounding = max(measured, _EPS * max(map(abs, self.values)))

    def _copy(self, dtype: torch.dtype) -> _Tested:
        other = copy.copy(self)
        other.model = copy.deepcopy(self.model).to(dtype)
        other.inputs, other.targets = self.inputs.to(dtype), _in_format(self.targets, dtype)
        return other

    def _point(self) -> dict[str, Tensor]:
        """The trained parameters, each moved by a tenth of its size (of 1 where it is 0) in a random direction."""
        point = {}
        for name, p in self.model.named_parameters():
            if p.requires_grad:
                size = float(p.detach().square().mean().sqrt()) or 1.0
                noise = torch.from_numpy(self.draw.standard_normal(tuple(p.shape))).to(p.device)
                point[name] = p.detach() + _SPREAD * size * noise
        return point

    def outputs(self, weights: Weights) -> Any:
        with own_random_state(self.model, 0):  # dropout, the same at every scale
            return functional_call(self.model, dict(weights), (self.inputs,))

    def value(self, weights: Weights) -> Tensor:
        outputs = self.outputs(weights)
        value = self.loss(outputs) if self.targets is None else self.loss(outputs, self.targets)
        if not isinstance(value, Tensor) or value.ndim:
            raise ValueError(f"loss: expected a scalar tensor, got {getattr(value, 'shape', value)!r}; average over the batch")
        return value

    def gradients(self, weights: Weights) -> dict[str, Tensor]:
        leaves = {k: v.clone().requires_grad_() for k, v in weights.items()}
        found = torch.autograd.grad(self.value(leaves), list(leaves.values()), allow_unused=True)
        return {k: torch.zeros_like(v) if g is None else g for (k, v), g in zip(leaves.items(), found, strict=True)}

    def test(self, names: tuple[str, ...]) -> GroupTest:
        gap, radial, size = 0.0, 0.0, sum(self.points[0][n].numel() for n in names)
        for w, value in zip(self.points, self.values, strict=True):
            with torch.no_grad():
                scaled = [float(self.value({**w, **{n: c * w[n] for n in names}})) for c in FACTORS]
            # a loss that is no longer finite at another scale is as far from invariant as can be
            gap = max([gap, *(abs(v - value) if np.isfinite(v) else np.inf for v in scaled)])
            g = self._at(w)
            product = sum(float((g[n] * w[n]).sum()) for n in names)
            lengths = [sum(float(x[n].square().sum()) for n in names) ** 0.5 for x in (g, w)]
            radial = max(radial, abs(product) / (lengths[0] * lengths[1] or 1.0))
        return GroupTest(names, size, gap <= SLACK * self.rounding, gap, self.rounding, radial)

    def _at(self, w: Weights) -> dict[str, Tensor]:
        if id(w) not in self.known:
            self.known[id(w)] = self.gradients(w)
        return self.known[id(w)]

    def candidates(self, names: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """Sets of parameters that may be scale-invariant together: connected parts of the null space of the products."""
        if len(names) < 2:
            return
        rows = []
        for _ in range(len(names) + 4):
            w = self._point()
            g = self.gradients(w)
            rows.append([float((g[n] * w[n]).sum()) for n in names])
        products = np.array(rows)
        products /= np.maximum(np.linalg.norm(products, axis=0), np.finfo(float).tiny)
        _, sizes, directions = np.linalg.svd(products)
        null = directions[sizes < _EPS**0.5 * sizes[0]]
        # a candidate is tested like any group: nothing but the search hangs on these two thresholds
        tied = np.abs(null.T @ null) > _EPS**0.25
        seen: set[int] = set()
        for i in range(len(names)):
            part = {i}
            while (more := part | set(np.flatnonzero(tied[sorted(part)].any(axis=0)).tolist())) != part:
                part = more
            if i not in seen and len(part) > 1:
                yield tuple(names[j] for j in sorted(part))
            seen |= part

    def mended(self, repair: Callable[[nn.Module], str]) -> tuple[_Tested, str] | None:
        """The same with a repair made on a copy of the model, and what it was; None where there is nothing to mend."""
        other = copy.copy(self)
        other.model, other.known = copy.deepcopy(self.model), {}
        if not (what := repair(other.model)):
            return None
        other.values = [float(other.value(w)) for w in self.points]
        return (other, what) if np.isfinite(other.values).all() else None

    def scaling_of_outputs(self, name: str) -> str:
        """What the outputs do when one parameter is scaled."""
        owner = self.model.get_submodule(name.rpartition(".")[0])
        if isinstance(owner, _NORMALISATIONS):
            return f"gain or shift of {type(owner).__name__}, and nothing after it normalises"
        with torch.no_grad():
            w = self.points[0]
            before, after = self.outputs(w), self.outputs({**w, name: 2 * w[name]})
        if isinstance(before, Tensor) and before.norm() > 0:
            degree = float(torch.log2(after.norm() / before.norm()))
            if torch.allclose(after, 2**degree * before, rtol=_EPS**0.5, atol=0):
                return f"nothing normalises what it gives: outputs scale as c^{degree:.3g}"
        return "nothing normalises what it gives: outputs follow no power of its scale"


_NORMALISATIONS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


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
