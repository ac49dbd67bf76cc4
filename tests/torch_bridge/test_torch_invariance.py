"""The report of scale invariance finds what is invariant, jointly or alone, and names what breaks it."""

import re

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sdetheory.torch.data import digits
from sdetheory.torch.invariance import scale_invariance
from sdetheory.torch.nets import TINY, cnn, mlp, preresnet

X, Y = digits(dtype=torch.float64).minibatches(24, rng=1)[0]
SMALL = dict(n_channels=1, width=8, rng=0)


@pytest.fixture
def torchs_own_start():
    """For nets built of torch's modules, which draw from the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def report(net, inputs=X, targets=Y, loss=cross_entropy):
    return scale_invariance(net, loss, inputs, targets)


@pytest.mark.parametrize("norm", ["batch", "layer", "group", "instance", "weight"])
def test_each_layer_before_a_normalisation_is_scale_invariant_by_itself(norm):
    nets = [cnn(widths=(8, 8), norm=norm, rng=0)] + ([] if norm == "instance" else [mlp(64, width=16, norm=norm, rng=0)])
    for net in nets:
        found = report(net)
        assert found and not found.broken
        assert [len(group.names) for group in found.groups] == [1, 1]
        assert found.whole.radial < 1e-13


def test_what_adds_to_a_residual_stream_is_scale_invariant_only_together():
    found = report(preresnet(8, **SMALL))
    joint = {group.names for group in found.groups if len(group.names) > 1}
    assert found and not found.broken
    assert joint == {("0.weight", "1.conv2.weight"), ("2.conv2.weight", "2.shortcut.weight"),
                     ("3.conv2.weight", "3.shortcut.weight")}
    assert {group.names for group in found.groups if len(group.names) == 1} == {(f"{i}.conv1.weight",) for i in (1, 2, 3)}


def test_gain_and_shift_inside_are_invariant_together_and_the_last_ones_break_it():
    inner = report(mlp(64, width=16, affine="inner", rng=0))
    assert inner and ("2.weight", "2.bias") in {group.names for group in inner.groups}
    everywhere = report(mlp(64, width=16, affine="all", rng=0))
    assert not everywhere
    assert [(test.names, test.reason[:28]) for test in everywhere.broken] == [
        (("5.weight",), "gain or shift of BatchNorm1d"), (("5.bias",), "gain or shift of BatchNorm1d")]


@pytest.mark.parametrize("net, broken, reason", [
    (mlp(64, width=16, last_layer="trained", rng=0), {"head.weight"}, r"outputs scale as c\^1"),
    (mlp(64, width=16, norm="none", rng=0), {"1.weight", "4.weight"}, r"outputs scale as c\^1"),
    (mlp(64, width=16, norm="none", activation="tanh", rng=0), {"1.weight", "4.weight"}, "no power of its scale"),
    (mlp(64, width=16, eps=1e-5, rng=0), {"1.weight", "4.weight"}, r"1e-05 in BatchNorm1d\): invariant without it"),
    (preresnet(8, norm="none", **SMALL), None, "outputs"),
    (preresnet(8, eps=1e-5, **SMALL), None, r"1e-05 in BatchNorm2d\): invariant without it"),
])
def test_what_breaks_invariance_is_named(net, broken, reason):
    found = report(net)
    assert not found and not found.whole.invariant
    names = {name for test in found.broken for name in test.names}
    assert names == (broken or {n for n, p in net.named_parameters() if p.requires_grad})
    for test in found.broken:
        assert re.search(reason, test.reason), test


def test_running_statistics_break_it_in_evaluation_and_not_in_training(torchs_own_start):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16, bias=False), nn.BatchNorm1d(16, eps=TINY, affine=False), nn.ReLU(),
                        nn.Linear(16, 10).requires_grad_(False))
    assert report(net)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    found = report(net.eval())
    assert not found
    assert found.broken[0].reason == "running statistics of BatchNorm1d: invariant in training mode"
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())  # the tested model is a copy


def test_weight_and_bias_before_layer_normalisation_are_invariant_together(torchs_own_start):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.LayerNorm(16, eps=TINY, elementwise_affine=False), nn.Dropout(),
                        nn.Linear(16, 10).requires_grad_(False))
    found = report(net)
    assert found and [group.names for group in found.groups] == [("1.weight", "1.bias")]


def test_a_parameter_at_0_is_not_taken_for_invariant(torchs_own_start):
    head = nn.Linear(64, 10)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    found = report(nn.Sequential(nn.Flatten(), head))
    assert not found.groups and len(found.broken) == 2


def test_the_smallest_eps_that_matters_is_seen():
    # eps/variance of 1e-10 moves the loss by far more than rounding, and by far less than any plot shows
    assert not report(mlp(64, width=16, eps=1e-10, rng=0))
    assert report(mlp(64, width=16, eps=1e-25, rng=0))


def test_parameter_groups_part_what_is_invariant_from_the_rest():
    net = mlp(64, width=16, last_layer="trained", rng=0)
    first, rest = report(net).parameter_groups(net)
    assert first["scale_invariant"] and not rest["scale_invariant"]
    assert [p.shape for p in first["params"]] == [(16, 64), (16, 16)] and rest["params"][0] is net.head.weight
    torch.optim.SGD([first, rest], lr=0.1)


def test_no_scale_invariant_group_no_trained_weights_and_bad_batches_are_refused():
    net = mlp(64, width=16, norm="none", rng=0)
    with pytest.raises(ValueError, match=r"found none \(1.weight: nothing normalises"):
        report(net).parameter_groups(net)
    with pytest.raises(ValueError, match="trained parameters, got none"):
        report(net.requires_grad_(False))
    with pytest.raises(TypeError, match="floating-point numbers, got torch.int64"):
        report(mlp(64, rng=0), inputs=X.long())
    with pytest.raises(ValueError, match="at least one sample"):
        report(mlp(64, rng=0), inputs=X[:0], targets=Y[:0])
    with pytest.raises(ValueError, match="expected a scalar tensor"):
        report(mlp(64, rng=0), loss=lambda f, y: cross_entropy(f, y, reduction="none"))
    with pytest.raises(ValueError, match="expected finite values"):
        report(mlp(64, rng=0), inputs=X * float("nan"))


def test_gpus_that_the_model_is_not_on_keep_their_random_state(monkeypatch):
    def seeded(seed):
        raise AssertionError("a test on the CPU seeded the GPUs")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded)  # what torch.manual_seed calls
    with pytest.raises(AssertionError, match="seeded the GPUs"):
        torch.manual_seed(torch.initial_seed())
    assert report(mlp(64, width=16, rng=0))


def test_what_float32_rounds_off_is_measured_without_tf32():
    seen = []

    class Watched(nn.Sequential):
        def forward(self, x):
            seen.append((x.dtype, torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision))
            return super().forward(x)

    before = torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision
    report(Watched(mlp(64, width=16, rng=0)))
    assert {(conv, matmul) for dtype, conv, matmul in seen if dtype == torch.float32} == {("ieee", "ieee")}
    assert before == (torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision)


def test_the_report_reads_as_a_line_and_as_a_table():
    found = report(mlp(64, width=16, last_layer="trained", rng=0))
    assert repr(found).startswith("<InvarianceReport: NOT scale-invariant as a whole; 2 group(s) hold 1280 of 1440")
    assert found._repr_html_().count("<tr>") == 4


def test_a_report_is_the_same_without_gradients_and_of_a_loss_that_is_a_module_with_weights():
    x, y = torch.arange(24.0).reshape(6, 4).sin(), torch.arange(6) % 3
    model, weight = mlp(4, 3, width=8, norm="layer", rng=0), torch.tensor([1.0, 2.0, 0.5])
    plain = scale_invariance(model, lambda f, t: nn.functional.cross_entropy(f, t, weight=weight.to(f.dtype)), x, y)
    with torch.no_grad():
        found = scale_invariance(model, nn.CrossEntropyLoss(weight=weight), x, y)
    assert found == plain and found.whole.invariant and weight.dtype == torch.float32
