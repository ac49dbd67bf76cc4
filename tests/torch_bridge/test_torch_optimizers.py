"""SVAG has mean ∇L and covariance lΣ over all pairs of samples; noisy GD has the covariance of minibatches."""

import copy
import pickle
from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.optim.lr_scheduler import CyclicLR, LambdaLR, OneCycleLR

from sdetheory.torch.data import teacher_student
from sdetheory.torch.nets import mlp
from sdetheory.torch.optimizers import SVAG, NoisyGD
from sdetheory.torch.training import train

GRADIENTS = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 1.0], [0.5, -1.0]], dtype=torch.float64)
DATA = teacher_student(64, 32, dtype=torch.float64)
EPS = np.finfo(float).eps


def one_weight(values=(1.0, -2.0)):
    return torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))


@pytest.mark.parametrize("amplification", [1, 2, 7])
def test_over_all_pairs_svag_has_the_mean_and_l_times_the_covariance_of_one_gradient(amplification):
    lr, moves = 0.5, []
    for i, j in product(range(4), repeat=2):
        w, draws = one_weight(), iter((i, j))
        optimizer = SVAG(SGD([w], lr=lr), amplification)

        def closure(w=w, draws=draws):
            loss = GRADIENTS[next(draws)] @ w
            loss.backward()
            return loss

        optimizer.step(closure)
        moves.append((w - one_weight()).detach().numpy() * -amplification / lr)
    g = GRADIENTS.numpy()
    np.testing.assert_allclose(np.mean(moves, axis=0), g.mean(0), atol=100 * EPS)
    np.testing.assert_allclose(np.cov(np.transpose(moves), bias=True), amplification * np.cov(g.T, bias=True), atol=1e3 * EPS)
    # third central moments grow by (3l − 1)/2 (SVAG-1)
    third = [np.mean((x - np.mean(x, axis=0)) ** 3, axis=0) for x in (moves, g)]
    np.testing.assert_allclose(third[0], (3 * amplification - 1) / 2 * third[1], atol=1e4 * EPS)


def test_amplification_1_is_sgd_on_the_first_minibatch_to_the_bit():
    models = [mlp(16, 4, width=8, rng=0, dtype=torch.float64) for _ in range(2)]
    batches = DATA.minibatches(8, rng=1)
    svag = SVAG(SGD(models[0].parameters(), lr=0.1, weight_decay=0.01), 1)
    plain = SGD(models[1].parameters(), lr=0.1, weight_decay=0.01)
    train(models[0], svag, cross_entropy, batches, 5)
    for k in range(5):
        train(models[1], plain, cross_entropy, batches, 1, start=2 * k)
    assert all(torch.equal(p, q) for p, q in zip(*(m.parameters() for m in models), strict=True))


def test_weight_decay_and_learning_rate_act_as_in_l_steps_of_sgd():
    w = one_weight()
    optimizer = SVAG(SGD([w], lr=0.5, weight_decay=0.2), 4)
    optimizer.step(lambda: (0 * w).sum().backward() or torch.tensor(0.0))
    np.testing.assert_allclose(w.detach(), one_weight().detach() * (1 - 0.5 / 4 * 0.2), rtol=2 * EPS)
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_a_scheduler_runs_on_the_clock_of_sgd_and_the_state_resumes():
    model = mlp(16, 4, width=8, rng=0, dtype=torch.float64)
    optimizer = SVAG(SGD(model.parameters(), lr=0.4), 3)
    scheduler = LambdaLR(optimizer, lambda k: 0.5**k)
    train(model, optimizer, cross_entropy, DATA.minibatches(8, rng=1), 7, scheduler=scheduler)
    assert scheduler.last_epoch == 2 and optimizer.param_groups[0]["lr"] == 0.1
    other = SVAG(SGD(model.parameters(), lr=1.0), 3)
    other.load_state_dict(optimizer.state_dict())
    assert other.param_groups is other.optimizer.param_groups and other.optimizer.param_groups[0]["lr"] == 0.1
    with pytest.raises(ValueError, match="expected amplification 2, got 3"):
        SVAG(SGD(model.parameters(), lr=1.0), 2).load_state_dict(optimizer.state_dict())


@pytest.mark.parametrize("make, error, text", [
    (lambda: SVAG(SGD([one_weight()], lr=0.1, momentum=0.9), 2), ValueError, "param group 0: expected momentum 0, got 0.9"),
    (lambda: SVAG(torch.optim.Adam([one_weight()]), 2), TypeError, "expected torch.optim.SGD, got Adam"),
    (lambda: SVAG(SGD([one_weight()], lr=0.1), 0), ValueError, "amplification: expected an integer >= 1"),
    (lambda: SVAG(SGD([one_weight()], lr=0.1), 2).step(None), TypeError, "closure: expected a function"),
    (lambda: NoisyGD([one_weight()], 0.1, batch_size=2, rng=0).step(lambda: one_weight().sum()), ValueError,
     r"losses of shape \(n,\)"),
    (lambda: NoisyGD([one_weight()], -0.1, batch_size=2, rng=0), ValueError, "lr: expected a number > 0"),
])
def test_bad_input_is_refused(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_noisy_gd_has_the_mean_and_covariance_of_minibatches_and_is_normal():
    w, batch_size, lr, n_steps = one_weight((0.0, 0.0)), 3, 0.5, 4000
    optimizer = NoisyGD([w], lr, batch_size=batch_size, rng=11)
    places = [w.detach().clone()]
    for _ in range(n_steps):
        optimizer.step(lambda: GRADIENTS @ w)
        places.append(w.detach().clone())
    moves = -np.diff(torch.stack(places).numpy(), axis=0) / lr
    g = GRADIENTS.numpy()
    expected = np.cov(g.T, bias=True) / batch_size
    white = np.linalg.solve(np.linalg.cholesky(expected), (moves - g.mean(0)).T)  # N(0, I) if all three hold
    assert np.abs(white.mean(1)).max() * n_steps**0.5 < 4
    assert stats.chi2(n_steps).sf((white**2).sum(1)).min() > 1e-4 and stats.chi2(n_steps).cdf((white**2).sum(1)).min() > 1e-4
    assert abs((white[0] * white[1]).mean()) * n_steps**0.5 < 4
    assert min(stats.kstest(x, "norm").pvalue for x in white) > 1e-4


def test_noisy_gd_resumes_with_the_noise_of_the_step():
    def steps(w, optimizer, n):
        for _ in range(n):
            optimizer.step(lambda: (GRADIENTS @ w).square())

    through, halves = one_weight(), one_weight()
    steps(through, NoisyGD([through], 0.1, batch_size=2, weight_decay=0.1, rng=5), 6)
    first = NoisyGD([halves], 0.1, batch_size=2, weight_decay=0.1, rng=5)
    steps(halves, first, 3)
    second = NoisyGD([halves], 1.0, batch_size=2, rng=5)
    second.load_state_dict(first.state_dict())
    steps(halves, second, 3)
    assert torch.equal(through, halves)


@pytest.mark.parametrize("bring", [
    lambda o: OneCycleLR(o, 0.1, total_steps=10), lambda o: CyclicLR(o, 0.01, 0.1),
    lambda o: o.add_param_group({"params": [one_weight()], "momentum": 0.9}),
    lambda o: o.load_state_dict({**o.state_dict(), "param_groups": [{**g, "momentum": 0.9} for g in o.state_dict()["param_groups"]]}),
], ids=["OneCycleLR", "CyclicLR", "add_param_group", "load_state_dict"])
def test_svag_refuses_momentum_wherever_it_comes_from(bring):
    w = one_weight()
    optimizer = SVAG(SGD([w], lr=0.1), 2)
    bring(optimizer)
    with pytest.raises(ValueError, match="expected momentum 0, got 0..*cycle_momentum=False"):
        optimizer.step(lambda: w.square().sum())
    assert torch.equal(w, one_weight())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("make", [lambda w: SVAG(SGD([w], lr=0.1, weight_decay=0.1), 3),
                                  lambda w: NoisyGD([w], 0.1, batch_size=2, rng=5)], ids=["SVAG", "NoisyGD"])
def test_a_copy_of_an_optimizer_steps_to_the_same_bits(make, copied):
    def steps(w, optimizer, n):
        for _ in range(n):
            def closure():
                losses = (GRADIENTS @ w).square()
                if isinstance(optimizer, SVAG):
                    losses.mean().backward()
                    return losses.mean()
                return losses
            optimizer.step(closure)

    w = one_weight()
    optimizer = make(w)
    steps(w, optimizer, 2)
    other, twin = copied((w, optimizer))
    steps(w, optimizer, 2)
    steps(other, twin, 2)
    assert other is not w and torch.equal(w, other)


def test_a_step_without_a_closure_says_what_is_missing():
    for optimizer in (SVAG(SGD([one_weight()], lr=0.1), 2), NoisyGD([one_weight()], 0.1, batch_size=2, rng=0)):
        with pytest.raises(TypeError, match="closure: expected a function"):
            optimizer.step()
