"""The exact laws of SVAG and its SDE on the circle (SVAG-3): against all draws, the generator, and the rule itself."""

import itertools

import numpy as np
import pytest
import sympy

import sdetheory as sdt
from paper_checks.svag import on_circle

LR = 0.5


def observed(x):
    return np.array([g(x) for g in on_circle.OBSERVED.values()])


def test_the_law_after_some_steps_is_that_of_all_draws():
    # 5 steps of SVAG(32), 4^5 sequences of draws. Nothing blurs the law as yet, but h = 1/64 leaves it nearly smooth: what
    # 48 modes leave out is what 40 leave out besides, and rounding
    first, second = weights = sdt.SVAG(on_circle.LOSS, lr=LR, amplification=32).weights
    draws = [(p * q, first * y + second * z) for (p, y), (q, z) in itertools.product(
        zip(on_circle.CHANCES, on_circle.ZETA, strict=True), repeat=2)]
    x, chance = np.array([on_circle.START]), np.array([1.0])
    for _ in range(5):
        slope, spread = np.sin(x) + np.sin(2 * x), 1 + 0.75 * np.cos(x)
        x = np.concatenate([x - LR / 32 * (slope + noise * spread) for _, noise in draws])
        chance = np.concatenate([p * chance for p, _ in draws])
    assert chance.sum() == pytest.approx(1.0, rel=1e-14)
    left_out = on_circle.truncation(weights, LR / 32, 5)
    assert left_out < 1e-6
    found = on_circle.of_pairs(weights, LR / 32, [5])[0]
    np.testing.assert_allclose(found, observed(x) @ chance, rtol=0, atol=left_out + 1e-12)


def test_the_sde_moves_with_its_generator():
    x = sympy.Symbol("x", real=True)
    sde = sdt.SDE(x, -sympy.sin(x) - sympy.sin(2 * x), sympy.sqrt(LR) * (1 + sympy.Rational(3, 4) * sympy.cos(x)))
    rates = [float(sde.generator(g).subs(x, on_circle.START))
             for g in (-sympy.cos(x) - sympy.cos(2 * x) / 2, sympy.sin(x), sympy.cos(2 * x))]
    before, h, later = on_circle.of_sde(LR, 2e-4, 2)
    # one-sided difference of second order at step 1e-4: its error is a third derivative, below 1e3, times h²/3
    np.testing.assert_allclose((4 * h - 3 * before - later) / 2e-4, rates, atol=1e3 * 1e-8 / 3 + 1e-9)
    np.testing.assert_allclose(before, observed(on_circle.START), atol=1e-13)


def test_the_rule_draws_the_gradients_that_the_law_knows():
    loss = on_circle.LOSS
    w = np.array([[0.3], [2.0]])
    assert loss.gradient(w)[:, 0] == pytest.approx(np.sin(w[:, 0]) + np.sin(2 * w[:, 0]), rel=1e-14)
    noise = np.stack([loss.noise.apply(w, np.full((2, 1), u)) for u in (0.1, 0.9)])
    assert np.tensordot(on_circle.CHANCES, noise, 1) == pytest.approx(0.0, abs=1e-15)
    assert np.tensordot(on_circle.CHANCES, noise**2, 1) == pytest.approx(loss.noise.covariance(w)[..., 0], rel=1e-14)
