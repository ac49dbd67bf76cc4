"""A formula on rows has three readings: NumPy, SymPy, and the block function, which agree."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import sympy

from sdetheory.engine import fingerprint, row_kernel, traced
from sdetheory.engine import rows as R
from sdetheory.engine.row_calculus import degree_of, gradient_of
from sdetheory.kernels.compilation import Kernel, compiled_now
from sdetheory.kernels.lane_code import NotSimple, body_of

EPS = np.finfo(float).eps
DIM, LANES = 4, 19
W = np.random.default_rng(1).normal(size=(LANES, DIM))
Z = np.random.default_rng(2).uniform(size=(LANES, DIM))
A = np.array([[2.0, 0.5, -0.25, 0.0], [0.5, 1.0, 0.125, -0.5], [-0.25, 0.125, -1.0, 0.75], [0.0, -0.5, 0.75, 0.5]])
a = np.array([1.0, 0.5, -2.0, 3.0])


def soft(w, s):
    return R.total(R.log1p(R.exp(-s * w))) / (1.0 + R.total(w * w))


def both_halves(w):
    u, v = R.halves(w)
    return R.total(u * v) ** 2 + R.total(R.sin(u)) * R.cosh(R.total(v))


VALUES = {
    "rayleigh": (lambda w, a: 0.5 * R.total(a * (w * w)) / R.total(w * w), (a,)),
    "matrix by BLAS": (lambda w, A: R.total(w * R.times(A, w)), (A,)),
    "matrix by sums": (lambda w, A, b: R.total(w * R.product(A, w, -b)), (A, a)),
    "functions": (soft, (0.75,)),
    "numpy's own functions": (lambda w: R.total(np.tanh(w) * np.square(w)) + np.sqrt(R.total(np.abs(w))), ()),
    "arrays of its own": (lambda w: R.total(a * w**3) * 2 + R.total(w / (1 + w**2)), ()),
    "components": (lambda w: R.component(w, 0) ** 2 * R.component(w, 3) - R.cos(R.component(w, 1)), ()),
    "halves": (both_halves, ()),
    "a kink": (lambda w: R.total(R.maximum(w, 0.0)) + R.total(R.where(w > 0.5, w * w, -w)) + R.minimum(R.total(w), 1.0), ()),
    "powers": (lambda w: R.total(w**-2) + R.total(R.absolute(w) ** 1.5) + R.total(w**7), ()),
    "a number in every row": (lambda w: R.total((w - R.total(w) / 4) ** 2) + R.total(R.total(w) + 0.0 * w), ()),
}
ROWS = {
    "diagonal": (lambda w, a: a * w, (a,)),
    "projected": (lambda w, A: R.times(A, w) - R.total(w * R.times(A, w)) * w, (A,)),
    "joined": (lambda w: R.joined(*(R.component(w, 3 - i) * R.total(w) for i in range(4))), ()),
    "joined halves": (lambda w: R.joined(*(R.halves(w)[1], R.halves(w)[0])), ()),
}
DRAWS = {
    "noise": (lambda w, z, s: s * (z - R.total(w * z) / R.total(w * w) * w), (0.5,)),
    "rows that are drawn": (lambda w, u, a: w * R.drawn_mean(a, u), (np.arange(12.0).reshape(3, 4),)),
    "matrices that are drawn": (lambda w, u, A: R.drawn_total(A, u, w) + w, (np.stack([A, 2 * A, -A]),)),
}


def run(kernel, into, *blocks):
    scratch = np.full((kernel.scratch, LANES), np.nan)
    kernel.function(*(np.ascontiguousarray(b.T) for b in blocks), into, scratch, *kernel.constants)
    return into


@pytest.mark.parametrize("name", VALUES)
def test_numpy_and_the_kernel_of_a_value_agree(name):
    formula, constants = VALUES[name]
    expected = formula(W, *constants)[:, 0]
    found = run(row_kernel(formula, constants, into="out"), np.full(LANES, np.nan), W)
    size = np.abs(expected).max() + np.abs(W).max() ** 7  # the largest term
    assert np.abs(found - expected).max() <= 16 * DIM * EPS * max(1.0, size)
    graph = traced(formula, constants)
    np.testing.assert_allclose(R.evaluate(graph, {"W": W})[:, 0], expected, rtol=0, atol=16 * DIM * EPS * max(1.0, size))
    np.testing.assert_allclose(run(row_kernel(graph, into="out"), np.full(LANES, np.nan), W), found, rtol=0, atol=0)


@pytest.mark.parametrize("name", ROWS)
def test_numpy_and_the_kernel_of_a_row_agree(name):
    formula, constants = ROWS[name]
    found = run(row_kernel(formula, constants), np.full((DIM, LANES), np.nan), W)
    np.testing.assert_allclose(found.T, formula(W, *constants), rtol=0, atol=64 * DIM * EPS * np.abs(W).max() ** 3)


@pytest.mark.parametrize("name", DRAWS)
def test_a_kernel_of_draws_adds(name):
    formula, constants = DRAWS[name]
    found = run(row_kernel(formula, constants, draws=True, add=True), np.ones((DIM, LANES)), W, Z)
    expected = np.array(formula(W, Z, *constants))
    np.testing.assert_allclose(found.T - 1.0, expected, rtol=0, atol=64 * DIM * EPS * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("name", VALUES)
def test_sympy_proves_that_the_derived_gradient_is_the_derivative(name):
    formula, constants = VALUES[name]
    graph = traced(formula, constants)
    x = sympy.symbols("x:4", real=True)
    value = np.ravel(R.evaluate(graph, {"W": np.array(x, dtype=object)}, exact=True))[0]
    slopes = np.ravel(R.evaluate(gradient_of(graph, DIM), {"W": np.array(x, dtype=object)}, exact=True))
    at = {s: sympy.Rational(k, 7) for s, k in zip(x, (3, -5, 2, 9), strict=True)}
    for symbol, slope in zip(x, slopes, strict=True):
        difference = (value.diff(symbol) - slope).subs(at)
        assert abs(sympy.N(difference, 50)) < 1e-40  # at a rational point, in 50 digits


@pytest.mark.parametrize("name", VALUES)
def test_the_kernel_of_a_derived_gradient_agrees_with_numpy(name):
    formula, constants = VALUES[name]
    gradient = gradient_of(traced(formula, constants), DIM)
    expected = np.broadcast_to(R.evaluate(gradient, {"W": W}), W.shape)
    found = run(row_kernel(gradient), np.full((DIM, LANES), np.nan), W).T
    np.testing.assert_allclose(found, expected, rtol=64 * DIM * EPS, atol=64 * DIM * EPS * np.abs(expected).max())


@pytest.mark.parametrize("formula, degree", [
    (lambda w: R.total(w**4) / R.total(w**2) ** 2, 0), (lambda w: R.total(a * w**2) / R.sqrt(R.total(w**2)), 1),
    (lambda w: R.exp(R.total(w) / R.total(R.absolute(w))), 0), (lambda w: R.exp(R.total(w)), None),
    (lambda w: R.total(R.maximum(w, 0.0)), 1), (lambda w: R.total(R.maximum(w, 1.0)), None), (lambda w: R.total(w) + 1.0, None),
    (lambda w: R.total(R.times(A, w) * w), 2), (lambda w: R.total(R.product(A, w, a) * w), None),
    (lambda w: R.where(R.total(w) > 1.0, R.total(w), 2.0 * R.total(w)), None),
    (lambda w: R.where(R.total(w) > 0.0, R.total(w), 2.0 * R.total(w)), 1),
])
def test_the_degree_of_homogeneity_is_what_the_operations_prove(formula, degree):
    assert degree_of(traced(formula)) == degree


def test_a_function_is_one_object_for_all_constants_of_a_shape_and_travels_by_its_text():
    first, second = (row_kernel(soft, (s,), into="out") for s in (0.5, 2.0))
    assert first.function is second.function
    assert pickle.loads(pickle.dumps(first.function)) is first.function
    assert fingerprint(first.function) != fingerprint(row_kernel(soft, (0.5,)).function)
    assert soft.__name__ == first.function.__name__


@pytest.mark.parametrize("name", [*VALUES, *ROWS])
def test_only_blas_needs_numba(name):
    formula, constants = {**VALUES, **ROWS}[name]
    kernel = row_kernel(formula, constants, into="out" if name in VALUES else "G")
    arguments = ["W_", "G_", "S_", "K_"]
    lines = ["W = array_at(W_, (4, 8))", f"G = array_at(G_, {'(8,)' if name in VALUES else '(4, 8)'})", "S = array_at(S_, (30, 8))"]
    for i, c in enumerate(kernel.constants):
        lines.append(f"c{i} = array_at(K_, {np.shape(c)})" if np.ndim(c) else f"c{i} = 0.5")
    call = ", ".join(["W", "G", "S", *(f"c{i}" for i in range(len(kernel.constants)))])
    text = f"def f({', '.join(arguments)}):\n" + "".join(f"    {line}\n" for line in [*lines, f"formula({call})"])
    if kernel.fixed_lanes:
        with pytest.raises(NotSimple):
            compiled_now("iiii", body_of(text, {"formula": kernel.function}))
    else:
        compiled_now("iiii", body_of(text, {"formula": kernel.function}))
    assert Kernel("f", "iiii", text, {"formula": kernel.function}).key


def test_sums_that_can_share_a_pass_do():
    text = row_kernel(VALUES["rayleigh"][0], (a,), into="out").function.text
    assert text.count("for i in range(d)") == 1


def test_an_integer_is_part_of_the_text_and_a_float_is_not():
    kernel = row_kernel(lambda w, m, s: s * w**m, (3, 0.5))
    assert kernel.constants == (0.5,)
    assert "W[i, lane] * W[i, lane] * W[i, lane]" in kernel.function.text.replace("(", "").replace(")", "")


@pytest.mark.parametrize("formula, error, message", [
    (lambda w: w[0] ** 2, TypeError, "expected component"),
    (lambda w: sum(x for x in w), TypeError, "use total"),
    (lambda w: np.sum(w), TypeError, "expected total"),
    (lambda w: w * 1j, TypeError, "expected numbers, arrays and weights"),
    (lambda w: R.total(w) if R.total(w) > 0 else 0.0, TypeError, "use where"),
    (lambda w: R.total(w * R.halves(w)[0]), ValueError, "rows of one length"),
    (lambda w: np.arctan(w), TypeError, "got np.arctan"),
])
def test_what_a_formula_cannot_say_is_named(formula, error, message):
    with pytest.raises(error, match=message):
        row_kernel(formula)
