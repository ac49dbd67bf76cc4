"""Schedules on the clock of SVAG: runs of every l are at the same point of the schedule after equal k/l."""

import io

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.optim import SGD

import sdetheory as sdt
from sdetheory.schedules import Cosine, Triangular, WarmUp
from sdetheory.torch.data import teacher_student
from sdetheory.torch.nets import mlp
from sdetheory.torch.optimizers import SVAG
from sdetheory.torch.schedules import ScheduleLR, small_steps
from sdetheory.torch.training import train

EPS = np.finfo(float).eps
UNITS = 20
SCHEDULES = {"cosine": Cosine(0.3, UNITS, 0.01), "triangular": Triangular(0.05, 0.3, period=8),
             "warm-up": WarmUp(5) * Cosine(0.3, UNITS)}
DATA = teacher_student(64, 32, dtype=torch.float64)


def displacement(schedule, amplification, units=UNITS):
    """How far −w goes down a slope of 1, and the learning rates that were read."""
    w, rates = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64)), []
    optimizer = SVAG(SGD([w], lr=1.0), amplification)
    scheduler = ScheduleLR(optimizer, schedule)

    def closure():
        w.sum().backward()
        return w.sum()

    for _ in range(units * amplification):
        optimizer.zero_grad()
        optimizer.step(closure)
        rates.append(scheduler.get_last_lr()[0])
        scheduler.step()
    return -float(w.detach()), np.array(rates)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("amplification", [1, 3, 8])
def test_svag_reads_a_schedule_at_the_effective_step(name, amplification):
    schedule = SCHEDULES[name]
    at = np.arange(UNITS * amplification) / amplification
    went, rates = displacement(schedule, amplification)
    np.testing.assert_array_equal(rates, schedule(at))
    total = schedule(at).sum() / amplification
    assert abs(went - total) <= 4 * EPS * len(at) * total  # one rounding of the step and one of the sum each
    np.testing.assert_allclose(small_steps(schedule, amplification).table(len(at)), schedule(at) / amplification, rtol=EPS)


def test_equal_effective_time_is_equal_learning_up_to_the_first_order_in_1_over_l():
    # Σ η(k/l)/l − ∫η = (η(0) − η(n))/(2l) + O(1/l²) (Euler and Maclaurin); the derivative of the cosine is 0 at both ends
    schedule, n = SCHEDULES["cosine"], UNITS
    whole = (0.3 + 0.01) / 2 * n
    for amplification in (1, 2, 4, 8):
        off = displacement(schedule, amplification)[0] - whole
        assert off == pytest.approx((0.3 - 0.01) / (2 * amplification), rel=1e-10)
    # a period of the triangle is summed without error by any even l, and by l = 1 of an even period
    for amplification in (1, 2, 4):
        assert displacement(SCHEDULES["triangular"], amplification, 16)[0] == pytest.approx(0.175 * 16, rel=1e3 * EPS)


def test_the_weights_are_those_of_the_compiled_rule_where_noise_is_below_rounding():
    loss, l = sdt.losses.RandomLinear.two_point(1.0, offset_std=1e-30), 4  # noise far below rounding
    rule = sdt.dynamics.SVAG(loss, lr=SCHEDULES["cosine"], amplification=l, weight_decay=0.1)
    compiled = float(sdt.simulate(rule, [1.0], n_steps=UNITS * l, n_paths=1, rng=0, save_every=UNITS * l).w[0, -1, 0])
    w = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = SVAG(SGD([w], lr=1.0, weight_decay=0.1), l)
    scheduler = ScheduleLR(optimizer, SCHEDULES["cosine"])

    def closure():
        (w.square().sum() / 2).backward()
        return w.detach().sum()

    for _ in range(UNITS * l):
        optimizer.zero_grad()
        optimizer.step(closure)
        scheduler.step()
    assert float(w.detach()) == pytest.approx(compiled, rel=8 * EPS * UNITS * l)  # eight roundings a step


def test_train_steps_it_at_every_step_and_a_run_resumes_within_a_unit():
    def fresh():
        model = mlp(16, 4, width=8, rng=0, dtype=torch.float64)
        optimizer = SVAG(SGD(model.parameters(), lr=1.0), 3)
        return model, optimizer, ScheduleLR(optimizer, SCHEDULES["cosine"], weight_decay=Cosine(0.1, UNITS))

    def run(parts, n_steps, start=0):
        model, optimizer, scheduler = parts
        train(model, optimizer, cross_entropy, DATA.minibatches(8, rng=1), n_steps, scheduler=scheduler, start=start)

    through, halves, again = fresh(), fresh(), fresh()
    run(through, 11)
    assert through[2].effective_step == 11 / 3
    assert through[1].param_groups[0]["weight_decay"] == Cosine(0.1, UNITS)(11 / 3)
    run(halves, 5)  # two thirds into the second unit
    saved = io.BytesIO()
    torch.save([part.state_dict() for part in halves], saved)
    saved.seek(0)
    for part, state in zip(again, torch.load(saved, weights_only=True), strict=True):
        part.load_state_dict(state)
    run(again, 6, start=5)
    assert all(torch.equal(p, q) for p, q in zip(through[0].parameters(), again[0].parameters(), strict=True))


def test_without_svag_a_schedule_is_read_at_whole_steps():
    model = mlp(16, 4, width=8, rng=0, dtype=torch.float64)
    optimizer = torch.optim.Adam(model.parameters())
    train(model, optimizer, cross_entropy, DATA.minibatches(8, rng=1), 4, scheduler=ScheduleLR(optimizer, Cosine(0.1, UNITS)))
    assert optimizer.param_groups[0]["lr"] == Cosine(0.1, UNITS)(4)


def test_bad_input_is_refused():
    optimizer = SGD([torch.nn.Parameter(torch.ones(2))], lr=1.0)
    with pytest.raises(ValueError, match="lr: expected a number >= 0"):
        ScheduleLR(optimizer, -0.1)
    with pytest.raises(ValueError, match="epoch: expected none, got 3"):
        ScheduleLR(optimizer, 0.1).step(3)
    with pytest.raises(ValueError, match="amplification: expected an integer >= 1, got 0"):
        small_steps(0.1, 0)
