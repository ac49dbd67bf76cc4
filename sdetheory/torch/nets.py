r"""Small nets with each normalisation, and a pre-activation ResNet, whose trained weights no loss sees the scale of.

A layer is :math:`h \mapsto \phi(\mathrm{N}(W h))` with N the normalisation: N(c z) = N(z) makes each W scale-invariant. The
last layer is fixed, no layer has a bias, and the normalisation has no gain or shift unless asked for. In the residual net

.. math:: h_{l+1} = h_l + W_2\,\phi(\mathrm N(W_1\,\phi(\mathrm N(h_l))))

each :math:`W_1` is scale-invariant by itself; what adds to the stream h is so only together.

Batch normalisation keeps no running statistics: the function of a batch is one of the weights and nothing else. Its ε is
so small that no float sees it; torch's 1e-5 breaks scale invariance by about ε/variance.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..random import RNG, seed_sequence
from ..validation import integer, number
from .devices import available_device

__all__ = ["ACTIVATIONS", "NORMS", "TINY", "PreActivationBlock", "ScaledLinear", "UnitRows", "cnn", "mlp", "preresnet"]

#: an ε below the rounding of every variance that a float32 net meets
TINY = 1e-30
#: what `norm` may be; "weight" normalises each row of W in place of what it gives
NORMS = ("batch", "layer", "group", "instance", "weight", "none")
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "identity": nn.Identity}
_GROUPS = 4


class ScaledLinear(nn.Linear):
    """A linear layer in NTK parametrisation: W x / √fan_in, with W of order 1."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) / self.in_features**0.5


def _choice(name: str, value: Any, allowed: Any) -> Any:
    if value not in allowed:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, allowed))}, got {value!r}")
    return value


def _normalisation(norm: str, features: int, *, positions: bool, affine: bool, eps: float) -> nn.Module:
    """N on (batch, features) or, with `positions`, (batch, features, height, width)."""
    if norm == "batch":
        kind = nn.BatchNorm2d if positions else nn.BatchNorm1d
        return kind(features, eps=eps, affine=affine, track_running_stats=False)
    if norm == "instance":
        if not positions:
            raise ValueError("norm: expected a normalisation over features, got 'instance', which is over positions, and the "
                             "inputs of an MLP have none; take cnn, or norm='layer'")
        return nn.InstanceNorm2d(features, eps=eps, affine=affine)
    if norm in ("layer", "group"):
        groups = 1 if norm == "layer" else _GROUPS
        if features % groups or features == groups:
            raise ValueError(f"width: expected a multiple of {groups} above it for norm={norm!r}, got {features}")
        return nn.GroupNorm(groups, features, eps=eps, affine=affine)  # one group: layer normalisation
    return nn.Identity()


class UnitRows(nn.Module):
    """Weight normalisation with fixed lengths: each row v of W is √2 v/‖v‖; torch's own has no rule for `vmap`."""

    def forward(self, v: Tensor) -> Tensor:
        return 2**0.5 * v / torch.linalg.vector_norm(v.flatten(1), dim=1).reshape(-1, *[1] * (v.ndim - 1))


def _weights(layer: nn.Module, norm: str) -> nn.Module:
    """The layer, its rows normalised if that is the normalisation."""
    if norm == "weight":
        nn.utils.parametrize.register_parametrization(layer, "weight", UnitRows())
    return layer


def _affine(where: str, last: bool) -> bool:
    return where == "all" or (where == "inner" and not last)


def _built(build: Callable[[], nn.Module], rng: RNG, gain: float, last_layer: str, dtype: torch.dtype | None,
           device: torch.device | str | None) -> nn.Module:
    """Build on the CPU, draw weights N(0, gain²/fan_in) (unit variance where scaled) from `rng`, global state untouched."""
    (seed,) = seed_sequence(rng).generate_state(1, "uint64")
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        net = build().to(dtype)
    draw = torch.Generator("cpu").manual_seed(int(seed >> 1))
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                fan_in = 1 if isinstance(layer, ScaledLinear) else layer.weight[0].numel()
                fresh = torch.randn(layer.weight.shape, generator=draw, dtype=torch.float64, device="cpu") * gain / fan_in**0.5
                rows = layer.parametrizations.weight.original if hasattr(layer, "parametrizations") else layer.weight
                rows.copy_(fresh)
    if _choice("last_layer", last_layer, ("fixed", "trained")) == "fixed":
        net.head.requires_grad_(False)
    return net.to(torch.get_default_device() if device is None else available_device(device))


class _Net(nn.Sequential):
    """Layers one after the other, the last of them called `head`."""

    def __init__(self, body: list[nn.Module], head: nn.Module) -> None:
        super().__init__()
        for i, layer in enumerate(body):
            self.add_module(str(i), layer)
        self.head: nn.Module = head


def mlp(n_inputs: int, n_outputs: int = 10, *, width: int = 64, depth: int = 2, norm: str = "batch", activation: str = "relu",
        last_layer: str = "fixed", affine: str = "none", parametrization: str = "standard", gain: float | None = None,
        eps: float = TINY, dtype: torch.dtype | None = None, device: torch.device | str | None = None, rng: RNG) -> nn.Module:
    """A fully connected net on inputs (batch, …), flattened.

    Parameters
    ----------
    n_inputs, n_outputs : numbers in a flattened sample, and of outputs.
    width, depth : of the hidden layers, and how many.
    norm : of `NORMS`; "instance" has no meaning here.
    activation : "relu", "tanh" or "identity".
    last_layer : "fixed" or "trained".
    affine : gains and shifts of the normalisation: "none", "inner" (all but the last, which would break invariance), "all".
    parametrization : "standard", or "ntk": each layer W x / √fan_in with W of order 1, so that the NTK has a limit.
    gain : weights have standard deviation gain/√fan_in (gain in "ntk"); √2 for "standard", 1 for "ntk" unless told.
    eps : ε of the normalisation; see the module.
    rng : draws the weights; global state is not touched.

    >>> mlp(64, norm="layer", rng=0)(torch.ones(3, 1, 8, 8)).shape
    torch.Size([3, 10])
    """
    n_inputs, n_outputs = integer("n_inputs", n_inputs, at_least=1), integer("n_outputs", n_outputs, at_least=1)
    width, depth = integer("width", width, at_least=1), integer("depth", depth, at_least=1)
    _choice("norm", norm, NORMS), _choice("affine", affine, ("none", "inner", "all"))
    phi = ACTIVATIONS[_choice("activation", activation, ACTIVATIONS)]
    ntk = _choice("parametrization", parametrization, ("standard", "ntk")) == "ntk"
    linear: Callable[..., nn.Module] = partial(ScaledLinear if ntk else nn.Linear, bias=False)

    def build() -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()]
        for i in range(depth):
            layers += [_weights(linear(width if i else n_inputs, width), norm),
                       _normalisation(norm, width, positions=False, affine=_affine(affine, i == depth - 1), eps=eps), phi()]
        return _Net(layers, linear(width, n_outputs))

    gain = (1.0 if ntk else 2**0.5) if gain is None else number("gain", gain, above=0)
    return _built(build, rng, gain, last_layer, dtype, device)


def _conv(n_in: int, n_out: int, size: int, stride: int, norm: str) -> nn.Module:
    return _weights(nn.Conv2d(n_in, n_out, size, stride=stride, padding=size // 2, bias=False), norm)


def cnn(n_channels: int = 1, n_outputs: int = 10, *, widths: tuple[int, ...] = (16, 32), norm: str = "batch",
        activation: str = "relu", last_layer: str = "fixed", affine: str = "none", eps: float = TINY,
        dtype: torch.dtype | None = None, device: torch.device | str | None = None, rng: RNG) -> nn.Module:
    """A convolutional net on images (batch, n_channels, height, width): 3×3, stride 2 from the second on, mean over positions.

    Parameters as for `mlp`; `widths` are the channels of its layers.

    >>> cnn(norm="instance", rng=0)(torch.rand(3, 1, 8, 8)).shape
    torch.Size([3, 10])
    """
    n_channels, n_outputs = integer("n_channels", n_channels, at_least=1), integer("n_outputs", n_outputs, at_least=1)
    _choice("norm", norm, NORMS), _choice("affine", affine, ("none", "inner", "all"))
    phi = ACTIVATIONS[_choice("activation", activation, ACTIVATIONS)]
    sizes = [n_channels, *(integer("widths", w, at_least=1) for w in widths)]

    def build() -> nn.Module:
        layers: list[nn.Module] = []
        for i, (n_in, n_out) in enumerate(zip(sizes, sizes[1:], strict=False)):
            layers += [_conv(n_in, n_out, 3, 2 if i else 1, norm),
                       _normalisation(norm, n_out, positions=True, affine=_affine(affine, i == len(widths) - 1), eps=eps),
                       phi()]
        return _Net([*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()], nn.Linear(sizes[-1], n_outputs, bias=False))

    return _built(build, rng, 2**0.5, last_layer, dtype, device)


class PreActivationBlock(nn.Module):
    """h ↦ s(h) + W2 φ(N(W1 φ(N(h)))), with s the identity, or W_s φ(N(h)) where the shape changes."""

    def __init__(self, n_in: int, n_out: int, stride: int, norm: str, affine: bool, eps: float) -> None:
        super().__init__()
        self.norm1 = _normalisation(norm, n_in, positions=True, affine=affine, eps=eps)
        self.conv1 = _conv(n_in, n_out, 3, stride, norm)
        self.norm2 = _normalisation(norm, n_out, positions=True, affine=affine, eps=eps)
        self.conv2 = _conv(n_out, n_out, 3, 1, norm)
        # from the normalised stream, so that every term of the stream is of degree 1 in what adds to it
        self.shortcut = None if n_in == n_out and stride == 1 else _conv(n_in, n_out, 1, stride, norm)

    def forward(self, h: Tensor) -> Tensor:
        active = torch.relu(self.norm1(h))
        stream = h if self.shortcut is None else self.shortcut(active)
        return stream + self.conv2(torch.relu(self.norm2(self.conv1(active))))


def preresnet(depth: int = 20, n_outputs: int = 10, *, n_channels: int = 3, width: int = 16, norm: str = "batch",
              last_layer: str = "fixed", affine: str = "none", eps: float = TINY, dtype: torch.dtype | None = None,
              device: torch.device | str | None = None, rng: RNG) -> nn.Module:
    """The pre-activation ResNet for small images: three stages of (depth − 2)/6 blocks, with width, 2 and 4 times it.

    Parameters as for `mlp`; depth is 6 n + 2 (20, 32, …).

    >>> preresnet(8, n_channels=1, width=4, rng=0)(torch.rand(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    depth, width = integer("depth", depth, at_least=8), integer("width", width, at_least=1)
    if (depth - 2) % 6:
        raise ValueError(f"depth: expected 6 n + 2, two layers a block in three stages, got {depth}; take 20 or 32")
    _choice("norm", norm, NORMS), _choice("affine", affine, ("none", "inner", "all"))

    def build() -> nn.Module:
        layers: list[nn.Module] = [_conv(n_channels, width, 3, 1, norm)]
        n_in = width
        for stage in range(3):
            for block in range((depth - 2) // 6):
                n_out = width * 2**stage
                layers.append(PreActivationBlock(n_in, n_out, 2 if stage and not block else 1, norm, affine != "none", eps))
                n_in = n_out
        layers += [_normalisation(norm, n_in, positions=True, affine=affine == "all", eps=eps), nn.ReLU(),
                   nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return _Net(layers, nn.Linear(n_in, n_outputs, bias=False))

    return _built(build, rng, 2**0.5, last_layer, dtype, device)
