"""What an SDE is: construction, noise classes, substitution, and Python functions run on symbols."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
import sympy
from sympy import Symbol, cos, diag, exp, sin, sqrt, symbols, tanh

from sdetheory.callable_sde import CallableSDE
from sdetheory.processes import SphereBrownianMotion
from sdetheory.sde import SDE
from sdetheory.symbolic import symbol

x, y, z, v = symbols("x y z v", real=True)
mu, sigma, k, rho = symbols("mu sigma k rho", positive=True)
HESTON = SDE([x, v], [mu * x, -k * v], [[x * sqrt(v), 0], [rho * v, sigma * sqrt(v)]])


@pytest.mark.parametrize("sde, expected", [
    (SDE(x, mu * x, sigma * x), {"scalar", "diagonal", "commutative"}),
    (SDE(x, -x**3, sigma), {"additive", "scalar", "diagonal", "commutative"}),
    (SDE([x, y], [y, -x], [[0], [sigma]]), {"additive", "scalar", "commutative"}),
    (SDE([x, y], [0, 0], [[sigma, rho], [0, 1]]), {"additive", "commutative"}),
    (SDE([x, y], [0, 0], diag(x, sin(y))), {"diagonal", "commutative"}),
    (SDE([x, y], [0, 0], diag(y, x)), set()),
    (SDE([x, y], [0, 0], [[x, rho * x], [2 * y, y]]), {"commutative"}),
    (SDE([x, y], [0, 0], [[0.1 * x, 0.3 * x], [0.7 * y, 0.2 * y]]), {"commutative"}),
    (SDE([x, y], [0, 0], [[0.0, y], [-x, 0.0]]), set()),
    (SDE(x, 0, [[x, x**2]]), set()),
    (SDE(x, 0, [[x, 2 * x]]), {"commutative"}),
    (SDE(x, 0, sigma * (sin(x)**2 + cos(x)**2)), {"additive", "scalar", "diagonal", "commutative"}),
    (SDE(x, 0, 1 + Symbol("t")), {"additive", "scalar", "diagonal", "commutative"}),
    (HESTON, set()),
], ids=lambda value: ' '.join(sorted(value)) if isinstance(value, set) else str(value))
def test_noise_is_classified(sde, expected):
    assert sde.noise_types == expected


@pytest.mark.parametrize("states, drift, diffusion, shape", [
    (x, x, x, (1, 1)), ([x], [x], [[x]], (1, 1)), ((x,), [[x]], [x, 1], (1, 2)),
    ([x, y], [x, y], [[1], [0]], (2, 1)), ([x, y], sympy.Matrix([x, y]), np.eye(2), (2, 2)),
    ([x, y, z], sympy.Matrix([[x, y, z]]), sympy.eye(3)[:, :2], (3, 2)),
])
def test_coefficients_take_one_form(states, drift, diffusion, shape):
    sde = SDE(states, drift, diffusion)
    assert (sde.dim, sde.noise_dim) == shape
    assert sde.drift.shape == (shape[0], 1)
    assert sde.diffusion.shape == shape
    assert isinstance(sde.drift, sympy.ImmutableMatrix)


@pytest.mark.parametrize("build, error, message", [
    (lambda: SDE([x, y], [x], [[1], [1]]), ValueError, "drift: expected 2"),
    (lambda: SDE([x, y], [x, y], [1, 1]), ValueError, r"sympy\.diag"),
    (lambda: SDE([x, y], [x, y], [[1, 0]]), ValueError, r"diffusion: expected shape \(2, m\)"),
    (lambda: SDE([x, y], [x, y], [[1, 0], [1]]), ValueError, "diffusion"),
    (lambda: SDE([x, x], [x, x], [[1], [1]]), ValueError, "distinct"),
    (lambda: SDE("x", x, 1), TypeError, r"sympy\.symbols"),
    (lambda: SDE([2 * x], [x], 1), TypeError, "states"),
    (lambda: SDE(x, "x", 1), TypeError, "drift"),
    (lambda: SDE(x, None, 1), TypeError, "drift"),
    (lambda: SDE(x, float("nan"), 1), ValueError, "finite"),
    (lambda: SDE(x, sympy.oo, 1), ValueError, "finite"),
    (lambda: SDE(x, lambda x, t: x, 1), TypeError, "from_callables"),
    (lambda: SDE(x, sympy.Gt(x, 0), 1), TypeError, "drift"),
    (lambda: SDE(x, Symbol("A", commutative=False), 1), TypeError, "drift"),
    (lambda: SDE(x, Symbol("x") * x, 1), ValueError, "two named 'x'"),
    (lambda: SDE(x, x, 1, time=x), TypeError, "time"),
])
def test_bad_coefficients_are_refused_with_a_remedy(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_parameters_and_time_are_told_apart():
    t = Symbol("t")
    sde = SDE(x, mu * t * x, sigma)
    assert sde.time == t
    assert sde.parameters == {mu, sigma}
    assert SDE(x, mu, 1).time == symbol("t")
    s = Symbol("s")
    assert SDE(x, s * t, 1, time=s).parameters == {t}


def test_subs_takes_names_and_symbols_and_refuses_strangers():
    gbm = SDE(x, mu * x, sigma * x)
    assert gbm.subs({"mu": 2, sigma: k}) == SDE(x, 2 * x, k * x)
    assert gbm.subs({"mu": sigma, "sigma": mu}) == SDE(x, sigma * x, mu * x)
    assert gbm.subs({x: y}) == SDE(y, mu * y, sigma * y)
    with pytest.raises(ValueError, match="did you mean 'sigma'"):
        gbm.subs({"sigm": 1})
    with pytest.raises(ValueError, match="only parameters take values"):
        gbm.subs({"x": 1})


def _vector_drift(x, t):
    return np.array([x[1], -np.sin(x[0]) - 0.5 * x[1]])


def _vector_diffusion(x, t):
    return np.array([[0.0], [0.3]])


_MATRIX = np.array([[0.0, 1.0], [-2.0, -0.5]])


@pytest.mark.parametrize("drift, diffusion, dim, noise_dim, expected_drift, expected_diffusion", [
    (lambda x, t: -0.5 * x + t, lambda x, t: 2, 1, 1, lambda x, t: -x / 2 + t, lambda x, t: 2),
    (lambda x, t: -x[0], lambda x, t: [1, x[0] ** 0.5], 1, 2, lambda x, t: -x, lambda x, t: [1, sqrt(x)]),
    (lambda x, t: np.tanh(x) / (1 + abs(x)), lambda x, t: np.exp(-x), 1, 1,
     lambda x, t: tanh(x) / (1 + abs(x)), lambda x, t: exp(-x)),
    (lambda x, t: sympy.sin(x), lambda x, t: 1, 1, 1, lambda x, t: sin(x), lambda x, t: 1),
    (numba.njit(lambda x, t: -x), numba.njit(lambda x, t: 0.25), 1, 1,
     lambda x, t: -x, lambda x, t: sympy.Rational(1, 4)),
], ids=["scalar", "sequence", "numpy", "sympy", "numba"])
def test_functions_that_run_on_symbols_become_expressions(drift, diffusion, dim, noise_dim, expected_drift,
                                                          expected_diffusion):
    sde = SDE.from_callables(drift, diffusion, dim, noise_dim)
    (s,), t = sde.states, sde.time
    assert isinstance(sde, SDE)
    assert sympy.nsimplify(sde.drift[0] - expected_drift(s, t)) == 0
    assert list(map(sympy.nsimplify, sde.diffusion)) == list(sympy.flatten([expected_diffusion(s, t)]))


def test_vector_functions_of_numpy_become_expressions():
    sde = SDE.from_callables(_vector_drift, _vector_diffusion, 2, 1, states=[x, v])
    assert sympy.nsimplify(sde.drift) == sympy.Matrix([v, -sin(x) - v / 2])
    assert "additive" in sde.noise_types
    linear = SDE.from_callables(lambda x, t: _MATRIX @ np.array(x), lambda x, t: np.eye(2), 2, 2, states=[x, v])
    assert sympy.nsimplify(linear.drift) == sympy.Matrix([v, -2 * x - v / 2])


def _stateful(calls=[0.0]):  # noqa: B006
    calls[0] += 1.0
    return calls[0]


@pytest.mark.parametrize("drift", [
    lambda x, t: -x if x > 0 else x,
    lambda x, t: 0.0 if x == 0 else 1.0,
    lambda x, t: 1.0 if x else 0.0,
    lambda x, t: math.sin(x),
    lambda x, t: float(x),
    lambda x, t: max(x, 0.0),
    lambda x, t: np.where(x > 0, x, 0.0),
    lambda x, t: _stateful() * x,
    numba.njit(lambda x, t: min(x, 1.0)),
], ids=["branch", "equality", "truth", "math", "float", "max", "where", "stateful", "numba"])
def test_functions_that_need_values_are_kept_as_functions(drift):
    sde = SDE.from_callables(drift, lambda x, t: 1.0)
    assert isinstance(sde, CallableSDE)
    assert sde.drift_function is drift
    assert (sde.dim, sde.noise_dim, sde.noise_types, sde.parameters) == (1, 1, {"scalar"}, frozenset())
    for question in (lambda: sde.drift, lambda: sde.generator(x), lambda: sde.moment_equations(), lambda: sde.to_stratonovich(),
                     lambda: sde.is_stationary(x), lambda: sde.subs({}), lambda: sde.ito_formula(x)):
        with pytest.raises(AttributeError, match="SymPy"):
            question()
    assert "Python functions" in repr(sde)


def test_functions_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        SDE.from_callables(lambda x, t: [x[0]] * 3, lambda x, t: np.eye(2), 2, 2)
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        SDE.from_callables(lambda x, t: x, lambda x, t: [1.0, 1.0], 2, 2)
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        SDE.from_callables(lambda x, t: [math.sin(x[0])] * 3, lambda x, t: np.eye(2), 2, 2)
    with pytest.raises(TypeError, match="x a number"):
        SDE.from_callables(lambda x, t: math.sin(x[0]), lambda x, t: 1.0)
    with pytest.raises(TypeError, match="callable"):
        SDE.from_callables(1.0, lambda x, t: 1.0)


def test_repr_and_latex_are_one_line():
    assert repr(HESTON) == "SDE(d(x, v) = [mu*x, -k*v] dt + [[sqrt(v)*x, 0], [rho*v, sigma*sqrt(v)]] dW)"
    w = symbol("w")
    assert SDE(w, -symbol("weight_decay") * w, 1)._repr_latex_() == r"$$dw = - w \lambda\,dt + dW$$"


@pytest.mark.parametrize("make", [
    lambda: SDE.from_callables(lambda x, t: x, lambda x, t: x, dim=10**30),
    lambda: SDE.from_callables(lambda x, t: x, lambda x, t: x, dim=2, noise_dim=10**6),
    lambda: SphereBrownianMotion(10**30)])
def test_more_equations_than_can_be_written_are_refused_before_they_are(make):
    with pytest.raises(ValueError, match="dim: expected an integer >= . and <= "):
        make()


def test_an_sde_of_many_functions_is_read_in_a_time_that_grows_with_their_number():
    """Each expression is looked at with its own symbols; with all 400 of them this took minutes."""
    sde = SDE.from_callables(lambda x, t: [-2 * a for a in x], lambda x, t: [[0.5] for _ in x], dim=400)
    assert sde.drift[399] == -2 * sde.states[399] and sde.noise_dim == 1
