"""What is trained on a device stays there, and no tensor of it is read on the way: shown on `meta`, which is always there.

`meta` holds no numbers, so that whatever asks for one raises. (It lets tensors of the CPU take part, which a GPU would not.)
"""

import numpy as np
import pytest
import torch
from torch.func import grad, vmap
from torch.nn.functional import cross_entropy
from torch.optim import SGD

from sdetheory.torch.augmentation import CropAndFlip
from sdetheory.torch.data import digits
from sdetheory.torch.ensembles import Ensemble, _update
from sdetheory.torch.nets import cnn
from sdetheory.torch.optimizers import SVAG, NoisyGD
from sdetheory.torch.schedulers import TranslatedLR
from sdetheory.torch.schedules import ScheduleLR
from sdetheory.translate import remove_weight_decay, tapered

DATA = digits().to("meta")
BATCHES = DATA.minibatches(8, rng=0, augment=CropAndFlip(1))
WITH_DECAY = {"rescaled": remove_weight_decay(0.1, 0.5, n_steps=400),
              "corrected": tapered([0.1] * 5 + [0.05] * 5, 0.1, 0.5, n_steps=10)}


def net(rng=0, **changes):
    return cnn(**{**dict(widths=(8, 8), norm="group", device="meta", rng=rng), **changes})


def stepped(model, optimizer, scheduler, n_steps):
    for k in range(n_steps):
        def closure(k=k):
            inputs, targets = BATCHES[k]
            optimizer.zero_grad()
            loss = cross_entropy(model(inputs), targets)
            loss.backward()
            return loss

        assert optimizer.step(closure).device.type == "meta"
        scheduler.step()
    state = [v for held in optimizer.state.values() for v in held.values() if isinstance(v, torch.Tensor)]
    assert {x.device.type for x in (*model.parameters(), *state)} == {"meta"}


def trained(model):
    return [{"params": [p for p in model.parameters() if p.requires_grad], "scale_invariant": True}]


def test_a_step_that_reads_a_tensor_would_be_told():
    with pytest.raises((RuntimeError, NotImplementedError)):
        float(net()(BATCHES[0][0]).sum().detach())


def test_svag_and_its_schedule_stay_on_the_device():
    model = net()
    optimizer = SVAG(SGD(trained(model), lr=0.1), 3)
    stepped(model, optimizer, ScheduleLR(optimizer, 0.1), 3)


@pytest.mark.parametrize("name", WITH_DECAY)
def test_what_a_translation_does_to_weights_and_buffers_stays_on_the_device(name):
    model, translation = net(), WITH_DECAY[name]
    optimizer = SGD(trained(model), lr=0.1)
    scheduler = TranslatedLR(optimizer, translation)
    first = min([k for k, _ in (*scheduler.translation.rescalings, *scheduler.translation.corrections) if k])
    scheduler.last_epoch = first - 2  # up to just before something is done to the state
    stepped(model, optimizer, scheduler, 2)


def test_noisy_gd_stays_on_the_device():
    model, (inputs, targets) = net(), BATCHES[0]
    optimizer = NoisyGD(trained(model), 0.1, batch_size=4, rng=0)
    assert optimizer.step(lambda: cross_entropy(model(inputs), targets, reduction="none")).device.type == "meta"


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_an_ensemble_stays_on_the_device(norm):
    ensemble = Ensemble(lambda rng: net(rng, norm=norm), 3, rng=0)
    gradients = vmap(grad(lambda p, f, x, y: cross_entropy(ensemble._call(p, f, x), y)))(
        ensemble.params, ensemble.fixed, *BATCHES.at(0, np.arange(3)))
    _update(ensemble, gradients, {key: np.full(3, 0.1) for key in ("lr", "weight_decay", "momentum")})
    found = (*ensemble.params.values(), *ensemble.velocity.values(), ensemble.sq_norm(), ensemble.outputs(DATA.test_inputs))
    assert {x.device.type for x in found} == {"meta"}
