"""A translated schedule in torch gives the functions of the run with decay, in float64 and float32, across a resume too."""

import io

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.optim import SGD

from sdetheory.schedules import Cosine, StepDecay, Triangular
from sdetheory.stats.rounding import explained_gap
from sdetheory.torch.data import teacher_student
from sdetheory.torch.invariance import scale_invariance
from sdetheory.torch.nets import mlp
from sdetheory.torch.optimizers import SVAG
from sdetheory.torch.schedulers import TranslatedLR
from sdetheory.torch.schedules import small_steps
from sdetheory.torch.training import train
from sdetheory.translate import remove_weight_decay, tapered

DATA = teacher_student(256, 64, dtype=torch.float64)
N = 60


def net(dtype=torch.float64, **changes):
    return mlp(16, 4, **{**dict(width=8, norm="layer", affine="inner", depth=2, dtype=dtype, rng=0), **changes})


def groups_of(model):
    return scale_invariance(model, cross_entropy, *DATA.minibatches(32, rng=7)[0]).parameter_groups(model)


def played(translation, *, decay_free, dtype=torch.float64, n_steps=None, amplification=None, **changes):
    """The losses of a run, its outputs on the test data, the net and the scheduler."""
    model = net(dtype, **changes)
    # all three are taken over
    optimizer = SGD(groups_of(model), lr=1.0, momentum=0.0 if amplification else 0.5, weight_decay=0.3)
    optimizer = SVAG(optimizer, amplification) if amplification else optimizer
    scheduler = TranslatedLR(optimizer, translation, decay_free=decay_free)
    run = train(model, optimizer, cross_entropy, DATA.to(dtype=dtype).minibatches(16, rng=1),
                n_steps or translation.n_steps, scheduler=scheduler)
    with torch.no_grad():
        return run.losses, model(DATA.test_inputs.to(dtype)).double(), model, scheduler


def parted(translation, **changes):
    """Gap of outputs between the two sides and the largest that rounding explains, in float64 and in float32."""
    found = {(side, dtype): played(translation, decay_free=side, dtype=dtype, **changes)[1]
             for side in (True, False) for dtype in (torch.float64, torch.float32)}
    rounding = sum((found[side, torch.float32] - found[side, torch.float64]).norm() for side in (True, False))
    size = float(found[False, torch.float64].norm())
    return [float(number) for dtype, name in ((torch.float64, "float64"), (torch.float32, "float32"))
            for number in ((found[True, dtype] - found[False, dtype]).norm(),
                           explained_gap(float(rounding), "float32", name, size=size))]


TRANSLATIONS = {
    "constant": remove_weight_decay(0.2, 0.02, 0.8, n_steps=N),
    "no_momentum": remove_weight_decay(0.4, 0.05, n_steps=N),
    "cosine": remove_weight_decay(Cosine(0.4, N + 1), 0.03, 0.7, n_steps=N),
    "from_the_root": remove_weight_decay(0.2, 0.02, 0.8, n_steps=N, start="root"),
    "tapered": tapered(StepDecay(0.3, (20, 40), 0.5), 0.02, 0.7, n_steps=N),
}


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_the_net_gives_the_functions_of_the_run_with_decay(name):
    gap, explained, narrow_gap, narrow_explained = parted(TRANSLATIONS[name])
    assert gap <= explained and narrow_gap <= narrow_explained
    assert narrow_explained < 0.1  # else the check could not fail


@pytest.mark.parametrize("schedule", [Cosine(0.3, 20), Triangular(0.05, 0.3, period=10)])
def test_svag_gives_the_functions_of_svag_with_decay(schedule):
    l = 3
    translation = remove_weight_decay(small_steps(schedule, l), 0.05, n_steps=20 * l)
    gap, explained, narrow_gap, narrow_explained = parted(translation, amplification=l)
    assert gap <= explained and narrow_gap <= narrow_explained and narrow_explained < 0.1
    # the schedule of whole steps is another run: (1 - lr wd) a small step in place of a whole one
    whole = remove_weight_decay(lambda k: schedule(k / l), 0.05, n_steps=20 * l)
    (_, ours, *_), (_, theirs, *_) = played(translation, decay_free=False, amplification=l), \
        played(whole, decay_free=True, amplification=l)
    assert float((ours - theirs).norm()) > 1e4 * explained


@pytest.mark.parametrize("broken", [TRANSLATIONS["tapered"].without_corrections(), None])
def test_without_its_corrections_or_its_initial_buffer_the_schedule_is_another(broken, monkeypatch):
    if broken is None:
        broken = TRANSLATIONS["from_the_root"]
        monkeypatch.setattr(TranslatedLR, "_prepare", lambda self, k: None)
    gap, explained, *_ = parted(broken)
    assert gap > 1e4 * explained


def test_what_is_not_scale_invariant_plays_its_own_schedule():
    changes = dict(last_layer="trained")
    gap, explained, *_ = parted(TRANSLATIONS["constant"], **changes)
    assert gap <= explained
    *_, model, scheduler = played(TRANSLATIONS["constant"], decay_free=True, n_steps=5, **changes)
    first, rest = scheduler.optimizer.param_groups
    assert (rest["lr"], rest["weight_decay"]) == (0.2, 0.02) and first["weight_decay"] == 0
    assert first["lr"] == TRANSLATIONS["constant"].decay_free_lr[5] and rest["params"][-1] is model.head.weight


def test_weights_and_buffers_are_those_the_translation_predicts():
    translation = TRANSLATIONS["tapered"]
    *_, free, scheduler = played(translation, decay_free=True, n_steps=30)
    *_, plain, other = played(translation, decay_free=False, n_steps=30)
    for p, q in zip(free.parameters(), plain.parameters(), strict=True):
        if p.requires_grad:
            v, u = (s.optimizer.state[x]["momentum_buffer"].numpy() for s, x in ((scheduler, p), (other, q)))
            w, v = translation.from_decay_free(p.detach().numpy(), v, 30)
            np.testing.assert_allclose(w, q.detach().numpy(), rtol=1e-8, atol=1e-8)
            np.testing.assert_allclose(v, u, rtol=1e-8, atol=1e-8)
    assert scheduler.scale == translation.scale[30]


def test_rescaling_changes_no_digit():
    translation = tapered(StepDecay(0.2, (30,), 0.5), 0.25, 0.5, n_steps=N)
    *_, model, scheduler = played(translation, decay_free=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TranslatedLR, "_format", lambda self, optimizer: "float16")  # rescales every factor of 4
        *_, often, rescaled = played(translation, decay_free=True)
    assert len(rescaled.translation.rescalings) > len(scheduler.translation.rescalings) == 0
    power = rescaled.scale / scheduler.scale
    for p, q in zip(model.parameters(), often.parameters(), strict=True):
        assert torch.equal(p * power if p.requires_grad else p, q)


def test_float32_holds_where_the_raw_schedule_overflows(monkeypatch):
    narrow = dict(dtype=torch.float32, affine="none", activation="tanh")
    translation = remove_weight_decay(0.2, 0.25, 0.5, n_steps=500)
    assert translation.log_decay_free_lr[-1] > np.log(np.finfo(np.float32).max)
    losses, _, model, scheduler = played(translation, decay_free=True, **narrow)
    assert len(scheduler.translation.rescalings) > 2
    assert np.isfinite(losses).all() and all(torch.isfinite(p).all() for p in model.parameters())
    assert losses[-50:].std() > 0.01  # it is still a run, and no fixed point
    monkeypatch.setattr(TranslatedLR, "_format", lambda self, optimizer: None)
    raw, *_ = played(translation, decay_free=True, **narrow)
    assert not np.isfinite(raw[-1])
    # up to P = 2^24 nothing under- or overflows (the gradient of a normalisation has P^-3 in it), and not a digit differs
    together = int(np.searchsorted(translation.log_scale, 24 * np.log(2)))
    assert scheduler.translation.rescalings[0].step < together and np.array_equal(raw[:together], losses[:together])


def test_a_run_resumes_to_the_bit():
    translation = TRANSLATIONS["tapered"]
    *_, through, _ = played(translation, decay_free=True)
    *_, model, scheduler = played(translation, decay_free=True, n_steps=25)
    saved = io.BytesIO()
    torch.save([model.state_dict(), scheduler.optimizer.state_dict(), scheduler.state_dict()], saved)
    saved.seek(0)
    fresh = net()
    optimizer = SGD(groups_of(fresh), lr=1.0)
    scheduler = TranslatedLR(optimizer, translation)
    for part, state in zip((fresh, optimizer, scheduler), torch.load(saved, weights_only=True), strict=True):
        part.load_state_dict(state)
    train(fresh, optimizer, cross_entropy, DATA.minibatches(16, rng=1), N - 25, start=25, scheduler=scheduler)
    assert all(torch.equal(p, q) for p, q in zip(through.parameters(), fresh.parameters(), strict=True))


def test_a_state_of_another_translation_is_refused():
    *_, scheduler = played(TRANSLATIONS["constant"], decay_free=True, n_steps=2)
    state = scheduler.state_dict()
    *_, other = played(TRANSLATIONS["cosine"], decay_free=True, n_steps=2)
    with pytest.raises(ValueError, match="same translation"):
        other.load_state_dict(state)


def test_after_the_last_step_lr_is_0_and_one_more_is_refused():
    *_, scheduler = played(TRANSLATIONS["constant"], decay_free=True)
    assert set(scheduler.get_last_lr()) == {0.0}
    with pytest.raises(ValueError, match="expected 60 steps"):
        scheduler.step()


@pytest.mark.parametrize("change, error, text", [
    (dict(dampening=0.1), ValueError, "dampening off, got 0.1"),
    (dict(nesterov=True), ValueError, "nesterov off"),
    (dict(scale_invariant=None), ValueError, "param group 'mine': expected scale_invariant=True or False"),
    (dict(scale_invariant=False), ValueError, "scale_invariant=True, got none"),
    (dict(params=[torch.nn.Parameter(torch.ones(2, dtype=torch.float16))]), TypeError, "float64 or float32, got torch.float16"),
])
def test_groups_the_theorem_is_not_about_are_refused_by_name(change, error, text):
    group = {"params": [torch.nn.Parameter(torch.ones(2))], "name": "mine", "scale_invariant": True, **change}
    optimizer = SGD([group], lr=0.1, momentum=0.9)
    with pytest.raises(error, match=text):
        TranslatedLR(optimizer, TRANSLATIONS["constant"])


def test_other_optimizers_and_switching_momentum_off_are_refused():
    weights = [{"params": [torch.nn.Parameter(torch.ones(2))], "scale_invariant": True}]
    with pytest.raises(TypeError, match="expected torch.optim.SGD, whose updates EXP-6 is about, or SVAG around it, got Adam"):
        TranslatedLR(torch.optim.Adam(weights), TRANSLATIONS["constant"])
    with pytest.raises(ValueError, match="translation: expected momentum 0 for SVAG, got 0.8"):
        TranslatedLR(SVAG(SGD(weights, lr=1.0), 2), TRANSLATIONS["constant"])
    with pytest.raises(ValueError, match="momentum 0 at every step or at none, got 0 first at step 2"):
        TranslatedLR(SGD(weights, lr=1.0), remove_weight_decay(0.1, 0.1, [0.5, 0.5, 0.0], n_steps=3))
