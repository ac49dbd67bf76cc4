"""What SymPy leaves undefined is NaN in a kernel: each expression is held against SymPy's own value at points where it is singular."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

import sdetheory as sdt
from sdetheory.engine.undefined import defined, nan_at_infinity

x, y = sp.symbols("x y", real=True)
POINTS = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (-1, -1), (2, 2), (sp.Rational(1, 2), -2), (-1, sp.Rational(1, 2))]
STILL = sdt.SDE([x, y], [0, 0], [[0], [0]])
SWALLOWED = [f(u) for u in (1 / x, 1 / x**2, sp.log(x), y / x, x ** sp.Rational(-3, 2), x**y) for f in (
    sp.atan, sp.tanh, sp.erf, sp.erfc, sp.exp, lambda u: sp.exp(-u), lambda u: 2**u, lambda u: sp.Rational(1, 2) ** u, sp.sign,
    sp.Heaviside, lambda u: sp.Max(u, 1), lambda u: sp.Min(u, 1), lambda u: 1 / sp.cosh(u), sp.sech, sp.csch, sp.coth, sp.sinh,
    lambda u: sp.Piecewise((1, u > 0), (2, True)), lambda u: sp.Mod(1, u), lambda u: sp.atan(sp.asinh(u)), lambda u: sp.atan2(u, y),
    lambda u: sp.exp(-sp.floor(u)))]
OTHERS = [
    1 / x, sp.log(x), y / x, x**y, (1 / x) ** y, sp.exp((1 / x) ** y), sp.atan2(y, x), sp.Abs(1 / x), sp.floor(1 / x), sp.asinh(1 / x),
    1 / (1 + 1 / x), 1 / sp.log(x), 1 / (1 / x + 1 / y), 1 / (1 / x + 1 / x**2), sp.exp(-1 / (1 / x + 1)), sp.exp(-1 / (x**2 + y**2)),
    sp.exp(-sp.Abs(1 / x + 1)), sp.acot(1 / x), sp.acsch(1 / x), sp.acoth(1 / x), sp.asec(1 / x), sp.asech(1 / x),
    sp.KroneckerDelta(1 / x, 1), sp.Mod(1 / x, 2), sp.sin(1 / x), 1 / sp.sin(1 / x), sp.sinc(1 / x), sp.exp(-sp.atanh(x)),
    sp.loggamma(x), *(sp.atan(f(x)) for f in (sp.acsch, sp.cot, sp.gamma, sp.loggamma, sp.asec, sp.csch)), sp.tanh(sp.coth(x)),
    sp.Max(sp.sqrt(x), 1), sp.sign(sp.sqrt(x)), sp.Heaviside(sp.sqrt(x)), sp.erf(1 / (x - 1)), sp.tanh(1 / (x**2 - 1)),
    sp.Piecewise((1, sp.sqrt(x) > 1), (2, True)), sp.Piecewise((1, sp.And(x > -2, sp.log(y) < 0)), (2, True)),
    sp.Piecewise((1, sp.Eq(1 / x, 1)), (2, True)), sp.exp(sp.Piecewise((1 / x, x > 0), (0, True))),
    sp.exp(sp.Piecewise((1 / x, x >= 0), (0, True))), sp.Piecewise((sp.exp(-1 / x**2), sp.Ne(x, 0)), (0, True)),
    sp.coth(x**2), sp.sech(x**3), sp.csch(1 / x),
]


def by_sympy(expression, point):
    """SymPy's number; NaN where it has none, where it comes by numbers that are not real, and for the infinity without a sign."""
    at = dict(zip((x, y), point, strict=True))
    try:
        value = expression.subs(at, simultaneous=True)
        if not expression.has(sp.Piecewise) and any(
                part.subs(at, simultaneous=True).is_real is False and part.subs(at, simultaneous=True).is_finite
                for part in sp.preorder_traversal(expression) if isinstance(part, sp.Expr)):
            return np.nan
        if value in (sp.oo, -sp.oo):
            return float(value)
        if value.has(sp.nan, sp.zoo, sp.AccumBounds):
            return np.nan
        number = complex(value.evalf())
    except (TypeError, ValueError, ZeroDivisionError):  # it refuses to compare
        return np.nan
    return number.real if abs(number.imag) < 1e-14 else np.nan


def by_kernel(expressions):
    at = np.array(POINTS, dtype=float)
    runs = sdt.simulate(STILL, at, n_steps=0, dt=1.0, n_paths=len(at), observe={str(i): e for i, e in enumerate(expressions)}, rng=0)
    return [runs[str(i)].values[:, 0] for i in range(len(expressions))]


@pytest.mark.parametrize("table", [SWALLOWED, OTHERS], ids=["swallowed", "others"])
def test_a_kernel_has_the_value_of_sympy_or_nan_where_that_has_none(table):
    for expression, found in zip(table, by_kernel(table), strict=True):
        expected = [by_sympy(expression, point) for point in POINTS]
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14, err_msg=str(expression))


def test_a_condition_behind_one_that_holds_is_not_asked():
    (found,) = by_kernel([sp.Piecewise((3, y > 0), (1, sp.sqrt(x) > 1), (2, True))])
    np.testing.assert_array_equal(found, [2, 3, 2, 2, np.nan, np.nan, 3, 2, 3])


def test_a_quotient_that_overflows_is_no_division_by_zero():
    runs = sdt.simulate(STILL, [[1e-320, 0.0]], n_steps=0, dt=1.0, observe={"o": sp.exp(-1 / x), "a": sp.atan(1 / x)}, rng=0)
    assert (float(runs.o[0, 0]), float(runs.a[0, 0])) == (0.0, np.pi / 2)


def test_what_cannot_be_undefined_is_left_as_it_is():
    p = sp.Symbol("p", positive=True)
    for e in (x / (1 + x**2), sp.exp(-1 / (1 + x**2)), sp.exp(-1 / p), sp.atan(sp.log(p)), sp.Max(x, 0),
              sp.Piecewise((x, x > y), (y, True)), 1 / (1 + 1 / x), sp.sqrt(sp.Max(x, 0)), sp.tanh(x**3 - y),
              sp.exp(x) / (1 + sp.exp(x)), sp.sqrt(x)):
        assert defined(e) is e or defined(e) == e
    assert nan_at_infinity(x / (1 + x**2)) == x / (1 + x**2)


def test_a_path_that_meets_it_is_marked_from_that_step_on():
    sde = sdt.SDE([x], [-1 - sp.atan(1 / x) * 0.5], [[0]])
    runs = sdt.simulate(sde, [[0.0], [-1.0]], n_steps=3, dt=0.25, n_paths=2, rng=0, save_every=1)
    np.testing.assert_array_equal(runs.diverged_at, [1, -1])
    assert np.isnan(runs.x[0, 1:]).all() and np.isfinite(runs.x[1]).all()


@pytest.mark.parametrize("expression", [sp.exp(-1 / x) + y, sp.tanh(1 / x) * y, sp.Max(1 / x, y),
                                        sp.Piecewise((y, sp.log(x) > 0), (y**2, True))])
def test_a_loss_of_ones_own_is_nan_there_too(expression):
    loss = sdt.Loss.of(expression, [x, y])
    at = np.array(POINTS, dtype=float)
    with np.errstate(all="ignore"):
        found = loss.value(at)
    np.testing.assert_allclose(found, [by_sympy(expression, point) for point in POINTS], rtol=1e-14)
