"""CONTRIBUTING.md says how to add a scheme, a loss, an update rule and a claim: here a user adds one of each."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import sympy

import sdetheory as sdt
from sdetheory.dynamics.update_rule import UpdateRule
from sdetheory.engine import block_function, per_lane
from sdetheory.engine.rows import cos, total
from sdetheory.losses import FormulaLoss
from sdetheory.noises import FormulaNoise
from sdetheory.schemes.scheme import Scheme, numpy_step
from sdetheory.stats import mean_estimate
from sdetheory.symbolic import Derivation


class Heun(Scheme):
    """Predictor–corrector for additive noise: the drift is averaged over the step's ends."""

    def one_step(self, sde, x, t, dt, increments):
        noise = sde.diffusion * sympy.Matrix(increments["dW"])
        here = dict(zip(sde.states, x, strict=True))
        a = sde.drift.subs(here)
        ahead = dict(zip(sde.states, sympy.Matrix(x) + a * dt + noise, strict=True))
        return sympy.Matrix(x) + (a + sde.drift.subs(ahead)) * dt / 2 + noise


HEUN = Heun(name="heun", strong_order={"additive": Fraction(1)}, weak_order={"additive": Fraction(2)})


def test_a_scheme_of_ones_own_runs_in_simulate():
    x = sympy.Symbol("x")
    sde = sdt.SDE([x], drift=[-x - x**3], diffusion=[[0.5]])
    runs = sdt.simulate(sde, [1.0], n_steps=2, dt=0.1, n_paths=16, scheme=HEUN, rng=0)
    key = sdt.random.stream_key(0, "path")
    state, step = np.ones((1, 16)), numpy_step(HEUN, sde)
    for k in range(2):
        dw = np.sqrt(0.1) * sdt.random.normals(key, np.arange(16)[None], np.array([[k]]))
        state = step(state, 0.1 * k, 0.1, {"dW": dw})
    np.testing.assert_allclose(runs.x[:, -1], state[0], rtol=100 * np.finfo(float).eps)


def sum_of_cosines(w, a):
    """Σ a_i cos w_i."""
    return total(a * cos(w))


class Cosine(FormulaLoss):
    """L(w) = Σ a_i cos w_i."""

    scale_invariant = False
    value_formula = staticmethod(sum_of_cosines)

    def __init__(self, a, noise=None):
        super().__init__(len(a), noise)
        self.constants = (np.asarray(a, dtype=float),)


class Multiplicative(FormulaNoise):
    """ξ_i = s w_i z_i."""

    formula = staticmethod(lambda w, z, s: s * (w * z))
    constants = (0.5,)


@block_function
def sign_step(W, G, lr):
    """w ← w − η sign(g)."""
    d, lanes = W.shape
    for i in range(d):
        for lane in range(lanes):
            W[i, lane] -= per_lane(lr, lane) * np.sign(G[i, lane])


class SignDescent(UpdateRule):
    """w ← w − η sign(∇L(w))."""

    hyperparameters = ("lr",)

    def step(self, s):
        s.call(sign_step, s.w, s.stochastic_gradient(), s.lr)


def test_a_loss_and_an_update_rule_of_ones_own_run_and_sweep():
    w0 = np.array([0.3, -1.2, 2.0])
    rule = SignDescent(Cosine([1.0, 1.0, 1.0]), lr=0.1)
    runs = sdt.simulate(rule, w0, n_steps=7, sweep={"lr": [0.05, 0.1]}, observe=["w", "loss"], rng=0)
    for i, lr in enumerate([0.05, 0.1]):
        w = w0.copy()
        for _ in range(7):
            w -= lr * np.sign(-np.sin(w))
        np.testing.assert_allclose(runs.w[i, 0, -1], w, rtol=20 * np.finfo(float).eps)
        np.testing.assert_allclose(runs.loss[i, 0, -1], np.cos(w).sum(), rtol=50 * np.finfo(float).eps)


def test_a_loss_and_a_noise_of_ones_own_have_all_their_readings():
    loss = Cosine([1.0, 2.0], Multiplicative())
    w = sympy.symbols("u v", real=True)
    assert loss.symbolic(w) == sympy.cos(w[0]) + 2 * sympy.cos(w[1])
    np.testing.assert_allclose(loss.gradient([0.3, -1.2]), [-np.sin(0.3), 2 * np.sin(1.2)], rtol=4 * np.finfo(float).eps)
    np.testing.assert_allclose(loss.hessian([0.3, -1.2]), np.diag([-np.cos(0.3), -2 * np.cos(1.2)]), rtol=4 * np.finfo(float).eps)
    np.testing.assert_array_equal(loss.noise.covariance([2.0, 1.0]), np.diag([1.0, 0.25]))
    runs = sdt.simulate(sdt.SGD(loss, lr=0.1), [1.0, 2.0], n_steps=1, n_paths=5000, rng=0)
    change = (np.array([1.0, 2.0]) - runs.w.values[:, -1]) / 0.1
    error = change - loss.gradient([1.0, 2.0])
    np.testing.assert_allclose(error.std(axis=0), [0.5, 1.0], rtol=0.05)


def my_claim(rate: float) -> sdt.Claim:
    """E x_t = e^{−t} for dx = −x dt + dW, or whatever rate is claimed."""
    x, t = sympy.Symbol("x"), sympy.Symbol("t")
    ou = sdt.SDE([x], drift=[-x], diffusion=[[1]])

    def derivation():
        mean = ou.moment_equations(order=1).solve([1], t)[x]
        return Derivation("the mean").step("solve the moment equation", mean).residual("decay", mean.diff(t) + mean)

    def measure(trial):
        runs = sdt.simulate(ou, [1.0], t1=1.0, dt=2.0**-6, scheme="weak_order_2", n_paths=trial.paths(40_000), rng=trial.rng)
        return {"E x(1)": mean_estimate(runs.x.values[:, -1])}

    return sdt.Claim("MINE-1", statement=r"$E\,x_t = e^{-t}$", proof=derivation, measure=measure,
                     quantities={"E x(1)": sdt.Quantity(np.exp(-rate), 0.04, wrong=np.exp(-rate / 2))},
                     control="the rate is 1/2")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_theorem_of_ones_own_is_confirmed_and_a_wrong_one_refuted(seed):
    assert my_claim(1.0).verify(rng=seed).status == "confirmed"
    assert my_claim(1.1).verify(rng=seed).status == "refuted"
