"""Nets: shapes, what is trained, weights from the seed alone; the degree of the residual stream in what adds to it."""

import pytest
import torch

from sdetheory.torch.data import digits
from sdetheory.torch.nets import NORMS, cnn, mlp, preresnet

X = torch.randn(6, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
BUILDERS = {"mlp": lambda **k: mlp(64, width=16, **k), "cnn": lambda **k: cnn(widths=(8, 8), **k),
            "preresnet": lambda **k: preresnet(8, n_channels=1, width=8, **k)}
CASES = [(name, norm) for name in BUILDERS for norm in NORMS if (name, norm) != ("mlp", "instance")]


@pytest.mark.parametrize("name, norm", CASES)
def test_a_net_gives_outputs_of_order_1_and_trains_all_but_its_last_layer(name, norm):
    net = BUILDERS[name](norm=norm, dtype=torch.float64, rng=0)
    outputs = net(X)
    assert outputs.shape == (6, 10) and outputs.dtype == torch.float64
    assert 0.1 < outputs.detach().std() < 10
    assert {n for n, p in net.named_parameters() if not p.requires_grad} == {"head.weight"}


@pytest.mark.parametrize("name", BUILDERS)
def test_weights_are_those_of_the_seed(name):
    states = [BUILDERS[name](rng=seed).state_dict() for seed in (0, 0, 1)]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert not any(torch.equal(states[0][k], states[2][k]) for k in states[0])


def test_float64_weights_have_float64_digits():
    wide, narrow = (mlp(4, rng=0, dtype=t).head.weight.detach().double() for t in (torch.float64, torch.float32))
    gap = (wide - narrow).abs().max()
    assert 0 < gap < torch.finfo(torch.float32).eps * wide.abs().max()


@pytest.mark.parametrize("affine, trained", [("none", 0), ("inner", 2), ("all", 4)])
def test_gains_and_shifts_are_there_where_asked_for(affine, trained):
    net = mlp(64, width=16, depth=2, affine=affine, rng=0)
    assert sum(p.requires_grad for p in net.parameters()) == 2 + trained


@pytest.mark.parametrize("depth, layers", [(20, 20), (32, 32)])
def test_preresnet_has_as_many_weight_layers_as_its_depth_says(depth, layers):
    net = preresnet(depth, width=1, rng=0)
    weights = [m for n, m in net.named_modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear)) and "shortcut" not in n]
    assert len(weights) == layers
    assert net(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))).shape == (2, 10)


def test_the_ntk_parametrisation_gives_the_same_function_as_weights_over_the_root_of_their_number():
    scaled = mlp(64, width=16, depth=1, norm="none", parametrization="ntk", dtype=torch.float64, rng=0)
    plain = mlp(64, width=16, depth=1, norm="none", dtype=torch.float64, rng=0)
    plain.load_state_dict({k: v / v.shape[1] ** 0.5 for k, v in scaled.state_dict().items()})
    torch.testing.assert_close(scaled(X), plain(X), rtol=64 * 64 * torch.finfo(torch.float64).eps, atol=0)
    assert abs(scaled.head.weight.std().item() - 1) < 5 / (2 * 160) ** 0.5


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_gpu_that_is_not_there_is_said_to_be_missing():
    with pytest.raises(ValueError, match=r"device: expected one that is there, got 'cuda' with 0 CUDA device\(s\)"):
        mlp(64, device="cuda", rng=0)
    with pytest.raises(ValueError, match="device: expected 'cpu', 'cuda' or"):
        mlp(64, device="gpu", rng=0)
    with pytest.raises(ValueError, match="device: expected one that is there, got 'cuda:1'"):
        digits().to("cuda:1")


@pytest.mark.parametrize("name", BUILDERS)
def test_nets_go_to_the_device_that_torch_has_by_default_with_weights_drawn_on_the_cpu(name):
    with torch.device("meta"):  # a device that is no CPU, and always there
        assert {p.device.type for p in BUILDERS[name](rng=0).parameters()} == {"meta"}
        there = BUILDERS[name](rng=0, device="cpu").state_dict()
    assert all(torch.equal(there[k], v) for k, v in BUILDERS[name](rng=0).state_dict().items())


@pytest.mark.parametrize("call, text", [
    (lambda: mlp(64, norm="instance", rng=0), "over positions"),
    (lambda: mlp(64, norm="batchnorm", rng=0), "norm: expected one of 'batch'"),
    (lambda: mlp(64, activation="gelu", rng=0), "activation: expected one of"),
    (lambda: mlp(64, last_layer="free", rng=0), "last_layer: expected one of 'fixed', 'trained'"),
    (lambda: mlp(64, width=6, norm="group", rng=0), "width: expected a multiple of 4"),
    (lambda: preresnet(18, rng=0), r"depth: expected 6 n \+ 2"),
])
def test_what_cannot_be_built_is_refused_with_the_choices(call, text):
    with pytest.raises(ValueError, match=text):
        call()
