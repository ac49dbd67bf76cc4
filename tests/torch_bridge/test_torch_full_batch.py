"""Full-batch descents of small nets: what became of each, and the linearised nets that NET-CAT-8 is held against."""

import numpy as np
import pytest
import torch

from paper_checks.real_nets import net_cat_08_flatter as flatter
from paper_checks.real_nets.full_batch import DEAD, LOST, Nets, descend, fates, few_samples


@pytest.fixture
def nets():
    data, seeds = few_samples(8), np.random.SeedSequence(5).spawn(3)
    return Nets(data.train_inputs, data.train_targets, seeds, activation="tanh", width=16)


def test_a_fate_is_that_of_the_whole_descent(nets):
    multiples = [0.5, 3.0, 4.5, 100.0]
    finite = [np.isfinite(descend(nets, c, 30).losses[:, -1]) for c in multiples]
    assert (finite[0].all(), finite[-1].any()) == (True, False), "the multiples lie on both sides"
    np.testing.assert_array_equal(fates(nets, multiples, 30), np.where(finite, 0, LOST))


def test_a_net_without_gradient_is_dead(nets):
    nets.weights = torch.cat([nets.weights, torch.zeros_like(nets.weights[:1])])
    nets.curvature = lambda weights: np.ones(len(weights))  # that of the zero net is 0
    assert fates(nets, [0.01], 3).tolist() == [[0, 0, 0, DEAD]]


def test_the_linearised_nets_descend_as_gradient_descent_does(nets, monkeypatch):
    monkeypatch.setattr(flatter, "MULTIPLES", np.array([0.5, 2.5]))
    monkeypatch.setattr(flatter, "TIME", 20.0)
    there = few_samples(8).test_inputs[:5]
    found = flatter._linear(nets, there)
    w = nets.weights[0]
    here, across = nets._jacobian(w[None], nets.inputs)[0], nets._jacobian(w[None], there)[0]
    start = torch.from_numpy(nets.outputs(w[None], nets.inputs)[0])
    for c, outputs in zip((0.5, 2.5), found, strict=True):
        moved, lr = torch.zeros_like(w), c / float(nets.curvature(w[None])[0])
        for _ in range(round(20.0 / c)):
            moved = moved - lr * here.T @ (start + here @ moved - nets.targets) / len(here)
        expected = nets.outputs(w[None], there)[0] + (across @ moved).numpy()
        np.testing.assert_allclose(outputs[0], expected, rtol=1e-8)
