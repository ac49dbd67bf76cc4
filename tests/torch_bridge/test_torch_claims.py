"""What the claims on real nets compute at once is what the library's optimizers and schedulers do one net at a time."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.optim import SGD

from paper_checks.real_nets.ensembles import Gradients
from paper_checks.real_nets.full_batch import Nets, few_samples
from paper_checks.real_nets.net_svag_12_curves import advance
from sdetheory.random import seed_sequence
from sdetheory.schedules import Cosine
from sdetheory.torch.curvature import ntk_top_eigenvalue
from sdetheory.torch.data import Minibatches, teacher_student
from sdetheory.torch.ensembles import Ensemble
from sdetheory.torch.nets import mlp
from sdetheory.torch.optimizers import SVAG
from sdetheory.torch.schedules import ScheduleLR, small_steps
from sdetheory.torch.training import train

DATA = teacher_student(64, 8, n_inputs=8, dtype=torch.float64)
UNITS, SCHEDULE = 5, Cosine(0.2, 5)


@pytest.mark.parametrize("norm", ["layer", "none", "batch"])
@pytest.mark.parametrize("level", [1, 3])
def test_net_svag_12_takes_the_steps_of_the_svag_optimizer(norm, level):
    def build(rng):
        return mlp(8, 4, width=16, depth=1, norm=norm, dtype=torch.float64, rng=rng)

    nets = Ensemble(build, 3, rng=0)
    gradients = Gradients(DATA, cross_entropy, np.random.SeedSequence(1), 4)
    for step in small_steps(SCHEDULE, level).table(UNITS * level):
        advance(nets, gradients, level, float(step))
    for member in (0, 2):
        model = build(seed_sequence(0).spawn(member + 1)[member])
        optimizer = SVAG(SGD([p for p in model.parameters() if p.requires_grad], lr=1.0), level)
        batches = Minibatches(DATA.train_inputs, DATA.train_targets, 4, rng=np.random.SeedSequence(1), path=member)
        train(model, optimizer, cross_entropy, batches, UNITS * level, scheduler=ScheduleLR(optimizer, SCHEDULE))
        for name, p in model.named_parameters():
            if p.requires_grad:
                torch.testing.assert_close(nets.params[name][member], p.detach(), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("activation, depth", [("tanh", 1), ("relu", 2)])
def test_the_curvatures_of_the_catapult_claims_are_those_of_the_net_alone(activation, depth):
    data = few_samples()
    nets = Nets(data.train_inputs, data.train_targets, np.random.SeedSequence(0).spawn(3), activation=activation, width=12, depth=depth)
    tops, residuals = nets.sharpness(nets.weights)
    alone = mlp(4, 1, width=12, depth=depth, norm="none", activation=activation, last_layer="trained", parametrization="ntk",
                dtype=torch.float64, rng=np.random.SeedSequence(0).spawn(2)[1])
    ntk = ntk_top_eigenvalue(alone, data.train_inputs, tolerance=1e-10)
    assert nets.curvature(nets.weights)[1] == pytest.approx(ntk.value, rel=1e-9)
    params = list(alone.parameters())
    loss = (alone(data.train_inputs).flatten() - data.train_targets.flatten()).square().mean() / 2
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, params, create_graph=True)])
    hessian = torch.stack([torch.cat([h.flatten() for h in torch.autograd.grad(g, params, retain_graph=True)]) for g in gradient])
    values = torch.linalg.eigvalsh(hessian)
    assert abs(tops[1] - float(values[-1])) <= residuals[1] + 1e3 * torch.finfo(torch.float64).eps * float(values.abs().max())
    assert residuals.max() < 1e-6 * tops.min()
