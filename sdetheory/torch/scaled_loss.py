r"""A loss as a function of its parameters, at random points near the given ones: what changes where some of them are scaled.

.. math:: \text{gap}_S = \max_{c,\,b} |L(c\,w_S, w_{\rm rest}) - L(w)|, \qquad w = w_b, \quad c = 0.3,\ 3

In float64. What rounding explains of a gap is measured by the same net in float32 (`stats.rounding.explained_gap`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..stats.rounding import explained_gap
from .devices import all_bits_of_float32, own_random_state
from .invariance_report import GroupTest

__all__ = ["FACTORS", "ScaledLoss"]

#: the c of the tests: one each way, and no power of two, which floats scale by without rounding
FACTORS = (0.3, 3.0)
_SPREAD = 0.1
_EPS = torch.finfo(torch.float64).eps
_NORMALISATIONS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
Weights = Mapping[str, Tensor]


def _in_format(targets: Any, dtype: torch.dtype) -> Any:
    return targets.to(dtype) if isinstance(targets, Tensor) and targets.is_floating_point() else targets


def _loss_in_format(loss: Callable[..., Tensor], dtype: torch.dtype) -> Callable[..., Tensor]:
    """A loss that is a module, with weights of its own, in the format of the outputs."""
    return copy.deepcopy(loss).to(dtype) if isinstance(loss, nn.Module) else loss


class ScaledLoss:
    """A model in float64 with its loss as a function of its parameters, at random points near the given ones."""

    def __init__(self, model: nn.Module, loss: Callable[..., Tensor], inputs: Tensor, targets: Any, n_points: int,
                 draw: np.random.Generator) -> None:
        self.model, self.loss, self.draw = model.double(), _loss_in_format(loss, torch.float64), draw
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
        measured = max((p for p in parted if np.isfinite(p)), default=0.0)
        self.rounding = float(explained_gap(measured, size=max(map(abs, self.values))))

    def _copy(self, dtype: torch.dtype) -> ScaledLoss:
        other = copy.copy(self)
        other.model, other.loss = copy.deepcopy(self.model).to(dtype), _loss_in_format(self.loss, dtype)
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
        return GroupTest(names, size, gap <= self.rounding, gap, self.rounding, radial)

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

    def mended(self, repair: Callable[[nn.Module], str]) -> tuple[ScaledLoss, str] | None:
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
