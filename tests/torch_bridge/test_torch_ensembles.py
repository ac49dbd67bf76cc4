"""Nets trained at once are the nets trained one by one, whatever happens to their neighbours."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD

from sdetheory.random import seed_sequence
from sdetheory.schedules import Cosine
from sdetheory.torch.data import Minibatches, digits, teacher_student
from sdetheory.torch.ensembles import Ensemble, train_ensemble
from sdetheory.torch.nets import NORMS, cnn, mlp
from sdetheory.torch.training import train

DATA = teacher_student(128, 32, dtype=torch.float64)
BATCHES = DATA.minibatches(8, rng=1)
N = 12


def build(rng, **changes):
    return mlp(16, 4, **{**dict(width=8, norm="batch", dtype=torch.float64), **changes}, rng=rng)


def alone(member, make=build, data=DATA, **rates):
    model = make(seed_sequence(0).spawn(member + 1)[member])
    batches = Minibatches(data.train_inputs, data.train_targets, 8, rng=1, path=member)
    run = train(model, SGD([p for p in model.parameters() if p.requires_grad], **rates), cross_entropy, batches, N)
    return model, run


@pytest.mark.parametrize("norm", [n for n in NORMS if n != "instance"])
def test_a_member_is_the_net_trained_alone(norm):
    ensemble = Ensemble(lambda rng: build(rng, norm=norm), 3, rng=0)
    rates = dict(lr=0.1, weight_decay=0.02, momentum=0.9)
    runs = train_ensemble(ensemble, cross_entropy, BATCHES, N, **rates)
    for member in (0, 2):
        model, run = alone(member, lambda rng: build(rng, norm=norm), **rates)
        np.testing.assert_allclose(runs.loss[member, :N], run.losses, rtol=1e-10)
        for name, p in model.named_parameters():
            if p.requires_grad:
                torch.testing.assert_close(ensemble.params[name][member], p.detach(), rtol=1e-9, atol=1e-10)


def test_convolutional_nets_train_at_once_too():
    data = digits(dtype=torch.float64)
    make = lambda rng: cnn(widths=(4, 4), dtype=torch.float64, rng=rng)  # noqa: E731
    ensemble = Ensemble(make, 2, rng=0)
    runs = train_ensemble(ensemble, cross_entropy, data.minibatches(8, rng=1), N, lr=0.1)
    np.testing.assert_allclose(runs.loss[1, :N], alone(1, make, data, lr=0.1)[1].losses, rtol=1e-9)


def test_the_numbers_of_a_member_do_not_depend_on_how_many_there_are_nor_on_chunks():
    def losses(n_members, **options):
        return train_ensemble(Ensemble(build, n_members, rng=0), cross_entropy, BATCHES, N, lr=0.1, **options).loss.values

    np.testing.assert_allclose(losses(3), losses(5)[:3], rtol=1e-10)
    np.testing.assert_allclose(losses(5, chunk_size=2), losses(5), rtol=1e-10)


def test_rates_may_be_schedules_or_one_row_a_member_and_a_run_goes_on_where_it_stood():
    whole, parts = Ensemble(build, 2, rng=0), Ensemble(build, 2, rng=0)
    schedule = Cosine(0.2, 2 * N)
    through = train_ensemble(whole, cross_entropy, BATCHES, N, lr=schedule, momentum=0.5)
    train_ensemble(parts, cross_entropy, BATCHES, 5, lr=schedule, momentum=0.5)
    rest = train_ensemble(parts, cross_entropy, BATCHES, N - 5, lr=np.tile(schedule.table(N)[5:], (2, 1)), momentum=0.5)
    assert list(rest.step) == list(range(5, N + 1))
    np.testing.assert_array_equal(rest.loss.values, through.loss.values[:, 5:])
    one_by_one = Ensemble(build, 2, rng=0)
    train_ensemble(one_by_one, cross_entropy, BATCHES, N, lr=np.array([np.zeros(N), schedule.table(N)]), momentum=0.5)
    for name, start in Ensemble(build, 2, rng=0).params.items():
        assert torch.equal(one_by_one.params[name][0], start[0])
        assert torch.equal(one_by_one.params[name][1], whole.params[name][1])


def test_a_member_that_diverges_is_held_and_counted_and_the_others_go_on():
    lr = np.full((3, N), 0.1)
    lr[1] = 1e200
    ensemble = Ensemble(lambda rng: build(rng, norm="none"), 3, rng=0)
    runs = train_ensemble(ensemble, cross_entropy, BATCHES, N, lr=lr)
    at = int(runs.diverged_at[1])
    assert 1 <= at <= 3 and list(runs.diverged_at.values[[0, 2]]) == [-1, -1] and "1 diverged" in repr(ensemble)
    assert np.isfinite(runs.loss[1, :at]).all() and np.isnan(runs.loss[1, at:]).all() and np.isnan(runs.sq_norm[1, at:]).all()
    healthy = train_ensemble(Ensemble(lambda rng: build(rng, norm="none"), 3, rng=0), cross_entropy, BATCHES, N, lr=0.1)
    np.testing.assert_array_equal(runs.loss.values[[0, 2]], healthy.loss.values[[0, 2]])


def test_what_is_observed_is_recorded_beside_norm_and_effective_lr():
    ensemble = Ensemble(build, 3, rng=0)
    runs = train_ensemble(ensemble, cross_entropy, BATCHES, N, lr=0.1, save_every=4,
                          observe={"test_accuracy": lambda e: (e.outputs(DATA.test_inputs).argmax(-1) == DATA.test_targets)
                                   .double().mean(1)})
    assert list(runs.step) == [0, 4, 8, 12] and runs.test_accuracy.shape == (3, 4)
    assert ((runs.test_accuracy >= 0) & (runs.test_accuracy <= 1)).all()
    np.testing.assert_array_equal(runs.effective_lr, 0.1 / runs.sq_norm)
    np.testing.assert_allclose(runs.sq_norm[:, -1], ensemble.sq_norm())
    # a scale-invariant loss without decay: the norm never falls (EXP-2)
    assert (runs.sq_norm.diff("step") > 0).all()


def test_bad_input_is_refused():
    ensemble = Ensemble(build, 2, rng=0)
    with pytest.raises(ValueError, match="expected minibatches with replacement"):
        train_ensemble(ensemble, cross_entropy, DATA.minibatches(8, rng=0, replacement=False), 2, lr=0.1)
    with pytest.raises(ValueError, match=r"lr: expected shape \(2, 3\), got \(3, 2\); one row a member"):
        train_ensemble(ensemble, cross_entropy, BATCHES, 3, lr=np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"observe\['all'\]: expected shape \(2,\)"):
        train_ensemble(ensemble, cross_entropy, BATCHES, 1, lr=0.1, observe={"all": lambda e: e.outputs(DATA.test_inputs)})
    with pytest.raises(ValueError, match="without running statistics, got 1"), torch.random.fork_rng(devices=[]):
        Ensemble(lambda rng: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), 2, rng=0)
    with pytest.raises(ValueError, match="none with requires_grad"):
        Ensemble(lambda rng: build(rng).requires_grad_(False), 2, rng=0)
