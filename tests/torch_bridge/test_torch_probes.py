"""Probes: unbiased G and N, the quantities of the theory by group, and a run that is not changed by being watched."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sdetheory.torch.data import Minibatches, digits
from sdetheory.torch.invariance import scale_invariance
from sdetheory.torch.nets import mlp
from sdetheory.torch.probes import QUANTITIES, Probe, gradient_moments
from sdetheory.torch.training import train

DATA = digits(dtype=torch.float64, flat=True)
EPS = torch.finfo(torch.float64).eps


def net(**changes):
    return mlp(64, width=16, rng=0, dtype=torch.float64, **changes)


def watched(n_steps=20, *, momentum=0.0, every=5, **options):
    model = net(norm="layer")
    report = scale_invariance(model, cross_entropy, *DATA.minibatches(16, rng=9)[0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, weight_decay=0.01, momentum=momentum)
    with Probe(model, optimizer, cross_entropy, DATA.minibatches(16, rng=2), groups=report, every=every, **options) as probe:
        run = train(model, optimizer, cross_entropy, DATA.minibatches(16, rng=1), n_steps)
    return model, probe, run


class Line(nn.Module):
    """One weight and the loss mean((w − x)²)/2: gradient noise of a minibatch of B has variance Var(x)/B."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([0.5], dtype=torch.float64))

    def forward(self, x):
        return self.w - x


def test_signal_and_noise_are_unbiased():
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((50, 1)))
    model, size, n_minibatches, repeats = Line(), 5, 3, 1000
    stream = Minibatches(x, torch.zeros(50), size, rng=4)
    found = np.array([gradient_moments(model, lambda f, _: f.square().mean() / 2,
                                       [stream[r * n_minibatches + j] for j in range(n_minibatches)],
                                       {"w": [model.w]})[1]["w"] for r in range(repeats)])
    truth = np.array([float(0.5 - x.mean()) ** 2, float(x.var(unbiased=False)) / size])
    z = (found.mean(0) - truth) / (found.std(0) / repeats**0.5)
    assert np.abs(z).max() < 4
    # the negative control: the plain square of the mean is biased by N/M, and would be seen
    biased = found[:, 0] + found[:, 1] / n_minibatches
    assert (biased.mean() - truth[0]) / (biased.std() / repeats**0.5) > 4


def test_moments_of_the_whole_are_the_sums_over_its_parts():
    model = net()
    params = dict(model.named_parameters())
    parts = {"a": [params["1.weight"]], "b": [params["4.weight"]], "both": [params["1.weight"], params["4.weight"]]}
    _, found = gradient_moments(model, cross_entropy, [DATA.minibatches(16, rng=0)[k] for k in range(3)], parts)
    np.testing.assert_allclose(np.add(found["a"], found["b"]), found["both"], rtol=100 * EPS)


def test_a_watched_run_is_the_run_that_is_not():
    model, *_ = watched()
    alone = net(norm="layer")
    optimizer = torch.optim.SGD(alone.parameters(), lr=0.2, weight_decay=0.01)
    train(alone, optimizer, cross_entropy, DATA.minibatches(16, rng=1), 20)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), alone.parameters(), strict=True))


def test_running_statistics_are_not_moved_by_a_probe():
    with torch.random.fork_rng(devices=[]):
        model = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10)).double()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    batches = DATA.minibatches(16, rng=0)
    gradient_moments(model, cross_entropy, [batches[0], batches[1]], {"all": list(model.parameters())})
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_a_record_holds_the_quantities_of_the_theory_for_the_net_and_each_group():
    _, probe, _ = watched()
    found = probe.dataset()
    assert list(found.step) == [0, 5, 10, 15] and list(found.group) == ["whole", "1.weight", "4.weight"]
    assert set(QUANTITIES) <= set(found) and all(found[q].dims == ("step", "group") for q in QUANTITIES)
    np.testing.assert_allclose(found.norm[:, 0] ** 2, (found.norm[:, 1:] ** 2).sum("group"), rtol=50 * EPS)
    np.testing.assert_allclose(found.effective_lr, 0.2 / found.norm**2, rtol=4 * EPS)
    assert (found.intrinsic_lr == 0.2 * 0.01).all() and bool(found.scale_invariant.all())
    assert np.isfinite(found.to_array()).all() and found.attrs["diverged_at"] == -1


def test_the_predicted_norm_is_the_fixed_point_of_the_discrete_law():
    _, probe, _ = watched(1)
    found = probe.dataset().isel(step=0)
    r, s = found.equilibrium_norm**2, (found.sq_grad + found.noise_trace) * found.norm**2
    np.testing.assert_allclose((1 - 0.002) ** 2 * r + 0.2**2 * s / r, r, rtol=1e3 * EPS)
    # ILR-4: e^{-4 lambda_e t} brings the distance of gamma = r^2/lr^2 to the tolerance
    rest = float(s[0]) / (2 * 0.002)
    distance = abs(float(found.norm[0]) ** 4 / 0.2**2 / rest - 1)
    assert float(found.time_to_equilibrium[0]) == pytest.approx(np.log(distance / 0.01) / (4 * 0.002), rel=1e-9)


def test_the_angle_of_a_step_of_an_invariant_net_is_that_of_a_right_triangle():
    # without decay and momentum the step is at a right angle to the weights (EXP-1): tan(angle) = lr ‖g‖/‖w‖
    model = net(norm="layer")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    with Probe(model, optimizer, cross_entropy, DATA.minibatches(16, rng=2), every=1) as probe:
        train(model, optimizer, cross_entropy, DATA.minibatches(16, rng=1), 1)
    found = probe.dataset().isel(step=0, group=0)
    after = torch.cat([p.detach().flatten() for p in model.parameters() if p.requires_grad]).norm().item()
    assert float(found.angular_update) == pytest.approx(np.arccos(float(found.norm) / after), rel=1e-10)
    assert np.isnan(found.equilibrium_norm)  # no decay, no equilibrium


def test_without_known_groups_there_is_the_whole_net_and_no_prediction():
    model = net(norm="none")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.01)
    with Probe(model, optimizer, cross_entropy, DATA.minibatches(16, rng=2), measure={"answer": lambda: 42}) as probe:
        train(model, optimizer, cross_entropy, DATA.minibatches(16, rng=1), 3)
    found = probe.dataset()
    assert list(found.group) == ["whole"] and not found.scale_invariant.any()
    assert np.isnan(found.equilibrium_norm).all() and np.isfinite(found.noise_trace).all()
    assert float(found.answer[0]) == 42 and "1 record(s)" in repr(probe) and "effective_lr" in probe._repr_html_()


def test_a_run_that_diverges_is_kept_with_its_step():
    model = net(norm="none")
    optimizer = torch.optim.SGD(model.parameters(), lr=1e200)
    with Probe(model, optimizer, cross_entropy, DATA.minibatches(16, rng=2), every=1) as probe:
        run = train(model, optimizer, cross_entropy, DATA.minibatches(16, rng=1), 10)
    assert run.diverged_at is not None and 1 <= run.diverged_at <= 3
    assert np.isfinite(run.losses[:run.diverged_at]).all() and np.isnan(run.losses[run.diverged_at + 1:]).all()
    assert probe.dataset().attrs["diverged_at"] == run.diverged_at == probe.diverged_at
    assert f"diverged at step {run.diverged_at}" in repr(run)


def test_one_minibatch_and_unknown_names_are_refused():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = DATA.minibatches(16, rng=0)
    with pytest.raises(ValueError, match="can't tell signal from noise"):
        Probe(model, optimizer, cross_entropy, batches, n_minibatches=1)
    with pytest.raises(ValueError, match="groups: expected names of trained parameters .*'x.weight'"):
        Probe(model, optimizer, cross_entropy, batches, groups={"mine": ["x.weight"]})
    with pytest.raises(ValueError, match="at least 2 minibatches"):
        gradient_moments(model, cross_entropy, [batches[0]], {"all": [model.head.weight]})
