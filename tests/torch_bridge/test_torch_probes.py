"""Probes: unbiased G and N, the quantities of the theory by group, and a run that is not changed by being watched."""

import sys
import types

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sdetheory.theory.svag import svag_equilibrium_sq_norm
from sdetheory.torch.curvature import sharpness
from sdetheory.torch.data import Minibatches, digits
from sdetheory.torch.gradient_moments import gradient_moments
from sdetheory.torch.invariance import scale_invariance
from sdetheory.torch.nets import mlp
from sdetheory.torch.optimizers import SVAG
from sdetheory.torch.probes import QUANTITIES, Probe
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


def watched_svag(amplification, inside, **options):
    model = net(norm="layer")
    report = scale_invariance(model, cross_entropy, *DATA.minibatches(16, rng=9)[0])
    sgd = torch.optim.SGD(model.parameters(), lr=0.2, weight_decay=0.01)
    optimizer = SVAG(sgd, amplification)
    with Probe(model, sgd if inside else optimizer, cross_entropy, DATA.minibatches(16, rng=2), groups=report, every=4,
               **options) as probe:
        train(model, optimizer, cross_entropy, DATA.minibatches(16, rng=1), 12)
    return probe.dataset()


def test_inside_svag_or_around_it_a_probe_sees_the_same():
    measures = {"sharpness": lambda: 1.0}
    inside, around = (watched_svag(3, where, measure=measures) for where in (True, False))
    assert list(inside.step) == list(around.step) == [0, 4, 8]
    for name in around:
        np.testing.assert_allclose(inside[name], around[name], rtol=4 * EPS)  # lr/l times l
    assert (around.lr == 0.2).all() and np.isfinite(around.to_array()).all()


def test_a_measurement_inside_svag_may_take_gradients():
    model = net(norm="layer")
    sgd = torch.optim.SGD(model.parameters(), lr=0.2)
    batch = DATA.minibatches(16, rng=3)[0]
    measures = {"sharpness": lambda: float(sharpness(model, cross_entropy, *batch, tolerance=1e-3))}
    expected = measures["sharpness"]()
    with Probe(model, sgd, cross_entropy, DATA.minibatches(16, rng=2), measure=measures) as probe:
        train(model, SVAG(sgd, 2), cross_entropy, DATA.minibatches(16, rng=1), 1)
    assert float(probe.dataset().sharpness[0]) == expected > 0


def test_the_norm_predicted_for_svag_is_that_of_svag_5_and_the_time_counts_its_steps():
    found = {l: watched_svag(l, False).isel(step=0, group=0) for l in (1, 4)}
    for l, record in found.items():
        r = float(record.equilibrium_norm**2)
        at_rest = {key: float(record[key] * record.norm**2) / r for key in ("noise_trace", "sq_grad")}
        assert svag_equilibrium_sq_norm(amplification=l, lr=0.2, weight_decay=0.01, **at_rest) == pytest.approx(r, rel=1e3 * EPS)
    # the rate of gamma is 4 lr wd/l a step, and gamma(0)/gamma(infinity) is nearly that of SGD
    assert float(found[4].time_to_equilibrium) == pytest.approx(4 * float(found[1].time_to_equilibrium), rel=0.1)
    assert (found[4].lr, found[4].intrinsic_lr) == (found[1].lr, found[1].intrinsic_lr)


def test_in_a_plain_terminal_a_live_probe_writes_a_line_a_record(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "IPython", None)  # as if it were not installed
    watched(11, live=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and "3 record(s) every 5 steps, last at step 10: loss" in lines[-1]


def test_outside_of_its_shells_ipython_is_not_asked_to_display(monkeypatch, capsys):
    stub, displays = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    stub.get_ipython, displays.display = lambda: None, None
    monkeypatch.setitem(sys.modules, "IPython", stub)
    monkeypatch.setitem(sys.modules, "IPython.display", displays)
    watched(1, live=True)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_in_a_notebook_a_live_probe_keeps_one_output_up_to_date(monkeypatch, tmp_path):
    pytest.importorskip("IPython", reason="IPython comes with the extra `notebooks`")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    try:
        shell.display_pub = publisher = CapturingDisplayPublisher()
        watched(11, live=True)
    finally:
        InteractiveShell.clear_instance()
    shown, *updates = publisher.outputs
    assert not shown["update"] and [output["update"] for output in updates] == [True] * 3
    assert len({output["transient"]["display_id"] for output in publisher.outputs}) == 1
    assert [f"step {k}, loss" in output["data"]["text/html"] for k, output in zip((0, 5, 10), updates, strict=True)] == [True] * 3
    assert "effective_lr" in updates[-1]["data"]["text/html"] and "0 record(s)" in shown["data"]["text/plain"]


def test_a_report_without_a_scale_invariant_group_leaves_the_whole_and_no_prediction():
    model = net(norm="none")
    report = scale_invariance(model, cross_entropy, *DATA.minibatches(16, rng=9)[0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.01)
    with Probe(model, optimizer, cross_entropy, DATA.minibatches(16, rng=2), groups=report) as probe:
        train(model, optimizer, cross_entropy, DATA.minibatches(16, rng=1), 1)
    found = probe.dataset()
    assert list(found.group) == ["whole"] and np.isnan(found.equilibrium_norm).all() and not found.scale_invariant.any()


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


@pytest.mark.parametrize("name", ["norm", "loss", "step"])
def test_a_measure_does_not_replace_what_the_probe_records_itself(name):
    model = net()
    with pytest.raises(ValueError, match=f"measure: expected names that the probe has not itself, got '{name}'"):
        Probe(model, torch.optim.SGD(model.parameters(), lr=0.1), cross_entropy, DATA.minibatches(16, rng=2), measure={name: float})


def test_the_attributes_of_a_record_can_be_written_to_any_file():
    _, probe, _ = watched(2)
    assert {type(value) for value in probe.dataset().attrs.values()} <= {str, int, float}
