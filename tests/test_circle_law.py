"""The law of a diffusion on the circle by Fourier modes, which ILR-12 takes for exact."""

import numpy as np
import pytest

import sdetheory as sdt
from paper_checks.intrinsic_lr.circle_law import ANGLES, AT_ZERO, WAVES, at_rest, gap, generator, laws_at, mean_of, one_step

EPS = np.finfo(float).eps
FLAT = sdt.losses.MultiWell(2, 1e-300)
WELLS = sdt.losses.MultiWell(2, 0.5, 0.3)


def test_the_law_at_rest_is_that_of_detailed_balance():
    weights = np.exp(-WELLS.profile(ANGLES) / 0.1)
    law = np.array([at_rest(np.exp(-1j * k * ANGLES).real, WELLS, 0.1) for k in WAVES])  # even in theta: no sine
    assert mean_of(np.cos(ANGLES), law) == pytest.approx(np.cos(ANGLES) @ weights / weights.sum(), abs=200 * EPS)
    assert np.abs(generator(WELLS, 0.1) @ law).max() < 1e-10  # terms up to T k² = 230, of a law that is 0 to 1e-13 there


def test_without_a_loss_waves_decay_as_those_of_the_heat_equation():
    assert gap(FLAT, 0.3) == pytest.approx(0.3, rel=1e-12)
    heat = np.exp(-0.3 * WAVES**2 * 2.0)
    assert laws_at([2.0], FLAT, 0.3)[:, 0] == pytest.approx(heat, abs=1e-13)
    assert one_step(FLAT, 0.3, 2.0) @ AT_ZERO == pytest.approx(heat, abs=1e-13)


def test_the_scheme_tends_to_the_sde_at_order_one():
    gaps = []
    for h in (0.1, 0.05):
        law, step = AT_ZERO, one_step(WELLS, 0.1, h)
        for _ in range(round(6 / h)):
            law = step @ law
        gaps.append(mean_of(WELLS.profile(ANGLES), law) - mean_of(WELLS.profile(ANGLES), laws_at([6.0], WELLS, 0.1))[0])
    assert gaps[0] / gaps[1] == pytest.approx(2, abs=0.1)
