"""What schemes state, draw and refuse: the contract around the one-step map."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy
from scheme_problems import PROBLEMS, problems_of
from sympy import Symbol

from sdetheory import schemes
from sdetheory.callable_sde import CallableSDE
from sdetheory.sde import SDE
from sdetheory.symbolic.on_sphere import vanishes_on_sphere

X, Y, Z = sympy.symbols("x y z", real=True)
SPHERE = [s for s, scheme in schemes.REGISTRY.items() if PROBLEMS[problems_of(scheme)[0]].on_sphere]


def isotropic(d: int, corrected: bool = True) -> SDE:
    """dX = s P_x dW − (d−1)/2 s² X dt, with or without its drift."""
    x, s = sympy.Matrix(sympy.symbols(f"x:{d}", real=True)), Symbol("s", positive=True)
    drift = -(d - 1) * s**2 / 2 * x if corrected else sympy.zeros(d, 1)
    return SDE(list(x), drift=list(drift), diffusion=(s * (sympy.eye(d) - x * x.T)).tolist())


@pytest.mark.parametrize("name", SPHERE)
def test_a_sphere_scheme_refuses_an_sde_that_leaves_the_sphere(name):
    scheme = schemes.get(name)
    scheme.check(isotropic(4))
    with pytest.raises(ValueError, match=rf"{name} needs an Itô SDE that conserves .*½ Tr"):
        scheme.check(isotropic(4, corrected=False))  # Stratonovich coefficients given as Itô ones
    with pytest.raises(ValueError, match="tangent noise"):
        scheme.check(SDE([X, Y], drift=[0, 0], diffusion=[[1, 0], [0, 1]]))


def test_conservation_is_decided_on_the_sphere_for_more_than_polynomials():
    r = sympy.sqrt(X**2 + Y**2)
    assert vanishes_on_sphere(X * (r - 1) + (X**2 + Y**2 - 1) * sympy.exp(Y), (X, Y))
    assert vanishes_on_sphere(1 / (1 - X**2 + Z) - 1 / (Y**2 + Z), (X, Y))
    assert not vanishes_on_sphere(X * (r - 1) + (X**2 + Y**2 - 2) * sympy.exp(Y), (X, Y))
    assert vanishes_on_sphere(X**2 - 1, (X,))
    assert not vanishes_on_sphere(X - 1, (X,))


def test_milstein_refuses_noise_that_does_not_commute():
    with pytest.raises(ValueError, match=r"scheme: milstein needs noise that commutes.*euler_maruyama"):
        schemes.get("milstein").check(PROBLEMS["shear"].sde)


def test_strong_order_1_5_refuses_multiplicative_noise():
    with pytest.raises(ValueError, match=r"scheme: strong_order_1_5 needs additive noise.*milstein"):
        schemes.get("strong_order_1_5").check(PROBLEMS["linear, one noise"].sde)


@pytest.mark.parametrize("name", schemes.REGISTRY)
def test_only_a_scheme_without_derivatives_takes_callables(name):
    sde = CallableSDE(abs, abs, sympy.symbols("x,"), 1, sympy.Symbol("t"))
    if name == "euler_maruyama":
        schemes.get(name).check(sde)
    else:
        with pytest.raises(ValueError, match=r"given by expressions.*euler_maruyama"):
            schemes.get(name).check(sde)


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'euler_maruyama'"):
        schemes.get("euler_mayurama")
    with pytest.raises(ValueError, match=r"names are .*milstein"):
        schemes.get("zzz")
    with pytest.raises(TypeError, match="expected a name or a Scheme, got 3"):
        schemes.get(3)


def test_a_taken_name_and_an_unknown_noise_class_are_refused():
    milstein = schemes.get("milstein")
    with pytest.raises(ValueError, match="'milstein', which is registered"):
        schemes.register(milstein)
    with pytest.raises(ValueError, match=r"got \['colored'\]"):
        schemes.register(type(milstein)("new", {"colored": Fraction(1)}, {}))


@pytest.mark.parametrize("n", [2, 3, 8])
def test_nested_increments_are_those_of_the_same_path(n):
    """The coarse (dW, dU) has the covariance dt·1 and the time integral of the fine path."""
    h, rng = 0.25, np.random.default_rng(n)
    fine = {role: rng.normal(size=n) for role in ("dW", "dU")}
    coarse = {role: schemes.Increment(role, "normal").nested_weights(n) for role in ("dW", "dU")}
    w, u = (sum(np.dot(weights, fine[role]) for role, weights in coarse[c].items()) for c in ("dW", "dU"))
    start = np.concatenate([[0.0], np.cumsum(fine["dW"])[:-1]])
    integral = np.sum(h * start + h / 2 * (fine["dW"] + fine["dU"] / math.sqrt(3)))
    eps = np.finfo(float).eps * 8 * n
    assert abs(n * h / 2 * (w + u / math.sqrt(3)) - integral) <= eps * n * h * sum(abs(fine["dW"]) + abs(fine["dU"]))
    variance = sum(np.dot(weights, weights) for weights in coarse["dU"].values())
    assert abs(variance - n) <= eps * n
    assert abs(sum(coarse["dU"]["dW"])) <= eps


def test_every_scheme_states_what_it_draws():
    general, commuting = PROBLEMS["shear"].sde, PROBLEMS["linear, two noises"].sde
    assert schemes.get("euler_maruyama").increments_shape(general) == {"dW": 2}
    assert schemes.get("strong_order_1_5").increments_shape(general) == {"dW": 2, "dU": 2}
    assert schemes.get("weak_order_2").increments_shape(general) == {"dW": 2, "dV": 1}
    assert schemes.get("weak_order_2").increments_shape(commuting) == {"dW": 2, "dV": 0}


def test_the_numpy_step_refuses_free_parameters():
    with pytest.raises(ValueError, match=r"free mu; use sde.subs"):
        schemes.numpy_step("euler_maruyama", SDE([X], drift=[Symbol("mu") * X], diffusion=[[X]]))
