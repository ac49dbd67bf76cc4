"""A loss of one's own, from a formula or an expression, is a loss like the others."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import sympy
from loss_examples import points, run_row, scratch

import sdetheory as sdt
from sdetheory import losses, noises
from sdetheory.engine.rows import component, exp, halves, log, log1p, maximum, times, total

EPS = np.finfo(float).eps
x, y, z = sympy.symbols("x y z")
MATRIX = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.25], [0.0, 0.25, -1.0]])
OWN = {
    "quartic": lambda: sdt.Loss.of(lambda w: total(w**4) / total(w**2) ** 2, dim=3),
    "with an array": lambda: sdt.Loss.of(lambda w: total(np.array([1.0, 2.0, 3.0]) * w**2), dim=3),
    "with a matrix": lambda: sdt.Loss.of(lambda w: total(w * times(MATRIX, w)) / total(w * w), dim=3),
    "logistic": lambda: sdt.Loss.of(lambda w: total(log1p(exp(-w))) + 0.1 * total(w * w), dim=3),
    "components": lambda: sdt.Loss.of(lambda w: (component(w, 0) ** 2 - 1.0) ** 2 + component(w, 1) ** 2, dim=3),
    "halves": lambda: sdt.Loss.of(lambda w: total(halves(w)[0] * halves(w)[1]) ** 2, dim=4),
    "hinge": lambda: sdt.Loss.of(lambda w: total(maximum(1.0 - w, 0.0)), dim=3),
    "expression": lambda: sdt.Loss.of((x**2 - 1) ** 2 + sympy.sin(x * y) + sympy.exp(z) * sympy.sqrt(1 + y**2), [x, y, z]),
    "scale-invariant expression": lambda: sdt.Loss.of(x * y / (x**2 + y**2 + z**2), [x, y, z]),
    "expression with a kink": lambda: sdt.Loss.of(
        sympy.Abs(x) + sympy.Max(y, z, 0) + sympy.Piecewise((x, x > y), (y, True)), [x, y, z]),
}
INVARIANT = {"quartic", "with a matrix", "scale-invariant expression"}


@pytest.mark.parametrize("name", OWN)
def test_all_readings_of_ones_own_loss_agree(name):
    loss = OWN[name]()
    w = points(loss.dim, 19)
    block = np.ascontiguousarray(w.T)
    np.testing.assert_allclose(run_row(loss.value_kernel, block), loss.value(w), rtol=64 * EPS, atol=64 * EPS)
    into = np.full_like(block, np.nan)
    loss.gradient_kernel.function(block, into, scratch(loss.gradient_kernel, 19), *loss.gradient_kernel.constants)
    size = np.abs(loss.gradient(w)).max()
    np.testing.assert_allclose(into.T, loss.gradient(w), rtol=64 * EPS, atol=64 * EPS * size)
    s = sympy.symbols(f"s:{loss.dim}", real=True)
    value = loss.symbolic(s)
    at = {symbol: sympy.Rational(float(v)) for symbol, v in zip(s, w[0], strict=True)}
    assert float(value.subs(at)) == pytest.approx(float(loss.value(w[0])), rel=64 * EPS, abs=64 * EPS)
    slopes = [float(value.diff(symbol).subs(at).doit()) for symbol in s]
    np.testing.assert_allclose(loss.gradient(w[0]), slopes, rtol=64 * EPS, atol=256 * EPS * size)
    hessian = [[float(value.diff(a, b).subs(at).doit()) for a in s] for b in s] if "kink" not in name and name != "hinge" else \
        np.zeros((loss.dim, loss.dim))
    np.testing.assert_allclose(loss.hessian(w[0]), hessian, rtol=1e-12, atol=1e-12 * max(1.0, np.abs(hessian).max()))


@pytest.mark.parametrize("name", OWN)
def test_scale_invariance_is_found_out(name):
    loss = OWN[name]()
    assert loss.scale_invariant == (name in INVARIANT)


def test_scale_invariance_that_the_operations_do_not_show_is_tried_in_numbers():
    assert sdt.Loss.of(lambda w: log(total(w**4)) - 2.0 * log(total(w**2)), dim=4).scale_invariant
    assert not sdt.Loss.of(lambda w: log(total(w**4)) - 1.99 * log(total(w**2)), dim=4).scale_invariant
    assert not sdt.Loss.of(lambda w: total(w**4) / total(w**2) ** 2, dim=4, scale_invariant=False).scale_invariant


def test_weights_zero_are_refused_where_the_loss_is_not_defined_and_only_there():
    for loss in (OWN["quartic"](), losses.RayleighQuotient([1.0, 0.0, 2.0]), losses.axis_wells(3), OWN["scale-invariant expression"]()):
        for reading in (loss.value, loss.gradient, loss.hessian):
            with pytest.raises(ValueError, match="w: expected weights other than 0"):
                reading(np.zeros(3))
    with pytest.raises(ValueError, match="w: expected weights other than 0"):
        losses.RayleighQuotient([1.0, 0.0]).value([[1.0, 0.0], [0.0, 0.0]])
    assert OWN["with an array"]().value(np.zeros(3)) == 0.0
    kernel = OWN["quartic"]().gradient_kernel
    into = np.zeros((3, 2))
    kernel.function(np.zeros((3, 2)), into, scratch(kernel, 2), *kernel.constants)
    assert np.isnan(into).all()  # a path that meets the point is marked as diverged


def test_one_text_serves_every_number_of_weights():
    few, many = (sdt.Loss.of(lambda w: total(w**4) / total(w**2) ** 2, dim=d) for d in (3, 300))
    assert few.gradient_kernel.function is many.gradient_kernel.function


@pytest.mark.parametrize("name", OWN)
def test_ones_own_loss_travels_to_another_process(name):
    loss = OWN[name]()
    copy = pickle.loads(pickle.dumps(loss))
    w = points(loss.dim)
    np.testing.assert_array_equal(copy.gradient(w), loss.gradient(w))
    assert copy.gradient_kernel.function is loss.gradient_kernel.function
    assert repr(copy) == repr(loss)


def test_sgd_on_ones_own_loss_runs_in_processes_that_start_afresh():
    loss = sdt.Loss.of(lambda w: total(w**4) / total(w**2) ** 2, dim=4, noise=noises.Tangent(0.25))
    run = dict(n_steps=40, n_paths=1100, observe=["loss", "sq_norm"], rng=3)
    rule = sdt.SGD(loss, lr=0.1, weight_decay=0.01)
    here = sdt.simulate(rule, loss.sample_sphere(), **run)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        there = sdt.simulate(rule, loss.sample_sphere(), executor=pool, **run)
    np.testing.assert_array_equal(there.loss.values, here.loss.values)


def test_ones_own_quartic_is_the_library_s():
    own = sdt.Loss.of(lambda w: 1.0 - total(w**4) / total(w**2) ** 2, dim=5)
    ours = losses.axis_wells(5, depth=0.5)
    w = points(5, 30)
    np.testing.assert_allclose(own.value(w), ours.value(w), atol=64 * EPS)
    np.testing.assert_allclose(own.gradient(w), ours.gradient(w), atol=256 * EPS * np.abs(ours.gradient(w)).max())


@pytest.mark.parametrize("make, error, message", [
    (lambda: sdt.Loss.of(3.0), TypeError, "formula: expected a function of the weights or a SymPy"),
    (lambda: sdt.Loss.of(lambda w: total(w)), TypeError, "dim: expected the number of weights"),
    (lambda: sdt.Loss.of(lambda w: w**2, dim=3), ValueError, "formula: expected one number, got one for each weight"),
    (lambda: sdt.Loss.of(lambda w: total(np.ones(4) * w), dim=3), ValueError, "dim: expected one that the arrays"),
    (lambda: sdt.Loss.of(lambda w: component(w, 3), dim=3), ValueError, "formula: expected components 0 to 2"),
    (lambda: sdt.Loss.of(lambda w: np.sum(w), dim=3), TypeError, "formula: expected total"),
    (lambda: sdt.Loss.of(x**2), TypeError, "symbols: expected the symbols of the weights"),
    (lambda: sdt.Loss.of(x**2 * y, [x]), ValueError, "expected an expression in x alone, got the symbol y"),
    (lambda: sdt.Loss.of(sympy.gamma(x), [x]), ValueError, "got gamma"),
    (lambda: sdt.Loss.of(x**2, [x, x]), ValueError, "symbols: expected different symbols"),
    (lambda: sdt.Loss.of(sympy.I * x, [x]), ValueError, "expected real numbers"),
    (lambda: sdt.Loss.of(x**2, [x], scale_invariant=True), ValueError, "scale_invariant: expected False"),
    (lambda: sdt.Loss.of(lambda w: total(w), dim=3, noise=0.5), TypeError, "noise: expected a gradient noise"),
])
def test_a_loss_that_is_none_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
