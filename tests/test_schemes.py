"""A scheme's one-step map, expanded exactly: local moments and the Itô correction."""

from __future__ import annotations

import math
from functools import cache
from itertools import combinations_with_replacement, count
from random import Random

import pytest
import sympy
from sympy import QQ, Rational, Symbol, cos, ring, sinc

from sdetheory import schemes
from sdetheory.sde import SDE

X, Y, Z, T = sympy.symbols("x y z t", real=True)
EPS = Symbol("epsilon", positive=True)  # sqrt(dt)


# --- SDEs that stand for their class: jets at the point of departure are free symbols or random integers --------------

def _free_jet(letter: str, variables: tuple[Symbol, ...], degree: int = 2) -> sympy.Expr:
    """Polynomial whose derivatives at 0, up to second in the state and first in time, are free symbols."""
    monomials = [m for m in sympy.itermonomials(variables, degree) if sympy.degree(m, T) < 2]
    return sum(Symbol(f"{letter}_{i}", real=True) * m for i, m in enumerate(sorted(monomials, key=str)))


def _integer_jet(seed: int, variables: tuple[Symbol, ...], degree: int = 2) -> sympy.Expr:
    random = Random(seed)
    monomials = sorted(sympy.itermonomials(variables, degree), key=str)
    return sum(random.choice((-3, -2, -1, 1, 2, 3)) * m for m in monomials)


def _circle() -> SDE:
    alpha, beta = (_free_jet(letter, (X - 1, Y)) for letter in "ab")
    return SDE([X, Y], drift=[-alpha * Y - beta**2 * X / 2, alpha * X - beta**2 * Y / 2],
               diffusion=[[-beta * Y], [beta * X]], time=T)


def _brownian_on_sphere(d: int, factor: sympy.Expr = sympy.S.Half) -> SDE:
    """dX = s P_x dW − factor (d−1) s² X dt, the Brownian motion of S^{d−1} for factor 1/2."""
    x, s = sympy.Matrix(sympy.symbols(f"x:{d}", real=True)), Symbol("s", positive=True)
    tangent = sympy.eye(d) - x * x.T
    return SDE(list(x), drift=list(-factor * (d - 1) * s**2 * x), diffusion=(s * tangent).tolist(), time=T)


LOCAL_PROBLEMS = {
    "additive": (lambda: SDE([X], drift=[_free_jet("a", (X, T))], diffusion=[[_free_jet("b", (T,))]], time=T), (0,)),
    "additive, two noises": (lambda: SDE([X, Y], drift=[_integer_jet(1, (X, Y, T)), _integer_jet(2, (X, Y, T))],
                                         diffusion=[[2 + T, 1], [T, 3]], time=T), (0, 0)),
    "scalar": (lambda: SDE([X], drift=[_free_jet("a", (X, T))], diffusion=[[_free_jet("b", (X, T))]], time=T), (0,)),
    "diagonal": (lambda: SDE([X, Y], drift=[_integer_jet(3, (X, Y)), _integer_jet(4, (X, Y))],
                             diffusion=[[_integer_jet(5, (X,)), 0], [0, _integer_jet(6, (Y, T))]], time=T), (0, 0)),
    "commutative": (lambda: SDE([X], drift=[_integer_jet(7, (X,))],
                                diffusion=[[_integer_jet(8, (X,)), 2 * _integer_jet(8, (X,))]], time=T), (0,)),
    "general": (lambda: SDE([X, Y], drift=[_integer_jet(9, (X, Y)), _integer_jet(10, (X, Y))],
                            diffusion=[[_integer_jet(11, (X, Y), 1), _integer_jet(12, (X, Y), 1)],
                                       [_integer_jet(13, (X, Y), 1), _integer_jet(14, (X, Y), 1)]], time=T), (0, 0)),
    "circle": (_circle, (1, 0)),
    "sphere": (lambda: _brownian_on_sphere(3), (Rational(1, 3), Rational(2, 3), Rational(2, 3))),
}
_sde = cache(lambda name: LOCAL_PROBLEMS[name][0]())


# --- truncated power series in sqrt(dt), exact: lists of polynomials in everything else -------------------------------

ROOT = Symbol("sqrt3", positive=True)


def _polynomials(symbols: set[Symbol]):
    """The ring QQ[symbols, sqrt3]."""
    return ring(sorted({*symbols, ROOT} - {EPS}, key=str), QQ)[0]


def _times(p: list, q: list) -> list:
    return [sum((p[i] * q[n - i] for i in range(n + 1)), p[0].ring.zero) for n in range(len(p))]


def _compose(coefficients: list, inner: list) -> list:
    """sum_k c_k inner^k for a series `inner` without constant term."""
    assert inner[0] == 0
    R = inner[0].ring
    total, power = [R.zero] * len(inner), [R.one] + [R.zero] * (len(inner) - 1)
    for c in coefficients[:len(inner)]:
        total = [a + QQ(c.p, c.q) * b for a, b in zip(total, power, strict=True)]
        power = _times(power, inner)
    return total


def series(expression: sympy.Expr, R, n: int) -> list:
    """Coefficients of EPS^0 … EPS^n."""
    if not expression.has(EPS):
        return [R.from_expr(expression)] + [R.zero] * n
    if expression == EPS:
        return [R(int(i == 1)) for i in range(n + 1)]
    if expression.is_Add:
        return [sum(terms, R.zero) for terms in zip(*(series(a, R, n) for a in expression.args), strict=True)]
    if expression.is_Mul:
        first, rest = expression.as_two_terms()
        return _times(series(first, R, n), series(rest, R, n))
    if isinstance(expression, cos | sinc):  # even functions of a root
        shift = 0 if isinstance(expression, cos) else 1
        even = [Rational((-1) ** k, math.factorial(2 * k + shift)) for k in range(n + 1)]
        return _compose(even, series(expression.args[0] ** 2, R, n))
    base, exponent = expression.as_base_exp()
    inner = series(base, R, n)
    if exponent.is_Integer and exponent > 0:
        return _times(inner, series(base ** (exponent - 1), R, n))
    assert inner[0] == 1  # the norm of a point on the sphere
    return _compose([sympy.binomial(exponent, k) for k in range(n + 1)], [inner[0] - 1, *inner[1:]])


MOMENT = {"normal": lambda k: math.prod(range(k - 1, 0, -2)), "two_point": lambda k: 1,
          "three_point": lambda k: 3 ** (k // 2 - 1) if k else 1}


def displacement_moments(scheme, sde: SDE, point: tuple, n: int):
    """Function of a multi-index (tuple of components): coefficients in EPS of E prod_i (Phi − x)_i."""
    kinds = {}
    rows = scheme.increments_shape(sde)
    for increment in scheme.noise:
        for j in range(rows[increment.role]):
            kinds[Symbol(f"{increment.role}{j}", real=True)] = increment.kind
    xi = iter(kinds)
    increments = {role: tuple(EPS * next(xi) for _ in range(m)) for role, m in rows.items()}
    step = scheme.one_step(sde, point, sympy.S.Zero, EPS**2, increments).subs(sympy.sqrt(3), ROOT)
    R = _polynomials(step.free_symbols | {*kinds})
    moves = [series(e - p, R, n) for e, p in zip(step, point, strict=True)]
    law = {R.symbols.index(symbol): MOMENT[kind] for symbol, kind in kinds.items()}

    @cache
    def product(index: tuple[int, ...]) -> list:
        return moves[index[0]] if len(index) == 1 else _times(product(index[:-1]), moves[index[-1]])

    def mean(polynomial) -> sympy.Expr:
        total = R.zero
        for powers, c in polynomial.terms():
            if not any(powers[i] % 2 for i in law):
                rest = tuple(0 if i in law else k for i, k in enumerate(powers))
                total += R({rest: c * math.prod(moment(powers[i]) for i, moment in law.items())})
        return total.as_expr().subs(ROOT, sympy.sqrt(3))

    return lambda index: [mean(c) for c in product(index)]


def exact_moments(sde: SDE, point: tuple, index: tuple[int, ...], n: int) -> list[sympy.Expr]:
    """Coefficients in EPS of E prod_i (X_h − x)_i: sum_k EPS^{2k}/k! (d/dt + L)^k f at the point."""
    R = _polynomials({*sde.states, sde.time} | sde.drift.free_symbols | sde.diffusion.free_symbols)
    x, t = [R.from_expr(s) for s in sde.states], R.from_expr(sde.time)
    drift = [R.from_expr(e) for e in sde.drift]
    covariance = [[R.from_expr(e) for e in row] for row in (sde.diffusion * sde.diffusion.T / 2).tolist()]
    here = [(t, 0), *zip(x, (QQ.from_sympy(p) for p in point), strict=True)]
    f = math.prod((x[i] - QQ.from_sympy(point[i]) for i in index), start=R.one)
    out = [sympy.S.Zero] * (n + 1)
    for k in range(1, n // 2 + 1):
        slopes = [f.diff(u) for u in x]
        f = (sum((a * slope for a, slope in zip(drift, slopes, strict=True)), f.diff(t))
             + sum((c * slope.diff(v) for row, slope in zip(covariance, slopes, strict=True)
                    for c, v in zip(row, x, strict=True)), R.zero))
        out[2 * k] = f.subs(here).as_expr() / math.factorial(k)
    return out


def first_wrong_moment(scheme, name: str, order: int, highest: int | None = None):
    """First (moment, power of sqrt(dt)) at which step and SDE differ by more than O(dt^{order+1}); None if none."""
    sde, point = _sde(name), tuple(map(sympy.sympify, LOCAL_PROBLEMS[name][1]))
    n = 2 * order + 1
    moments = displacement_moments(scheme, sde, point, n)
    for length in range(1, (highest or n) + 1):
        for index in combinations_with_replacement(range(sde.dim), length):
            for power, got, true in zip(count(), moments(index), exact_moments(sde, point, index, n), strict=False):
                if sympy.expand(got - true) != 0:
                    return index, power
    return None


def accepted(scheme, sde: SDE) -> bool:
    try:
        scheme.check(sde)
    except ValueError:
        return False
    return True


def _on_sphere(name: str) -> bool:
    return name in ("circle", "sphere")


# a scheme of flat space is tried on the flat problems that it accepts; one that accepts none is of the sphere
FLAT = {s: [p for p in LOCAL_PROBLEMS if not _on_sphere(p) and accepted(scheme, _sde(p))]
        for s, scheme in schemes.REGISTRY.items()}
CASES = [(s, p) for s, flat in FLAT.items() for p in flat or filter(_on_sphere, LOCAL_PROBLEMS)]


@pytest.mark.parametrize(("name", "problem"), CASES)
def test_one_step_has_the_moments_of_the_declared_weak_order(name, problem):
    scheme = schemes.get(name)
    order = scheme.promised(_sde(problem), "weak")
    assert order is not None
    assert first_wrong_moment(scheme, problem, int(order)) is None


@pytest.mark.parametrize(("name", "problem"), CASES)
def test_a_weak_order_one_higher_is_refuted(name, problem):
    scheme = schemes.get(name)
    order = scheme.promised(_sde(problem), "weak")
    if problem == "sphere":  # constant coefficients: look for the error among the circle's generic ones
        problem = "circle"
    assert first_wrong_moment(scheme, problem, int(order) + 1, highest=2) is not None


def test_without_the_signs_the_second_moment_of_general_noise_is_wrong():
    class Unsigned(type(schemes.get("weak_order_2"))):
        def one_step(self, sde, x, t, dt, increments):
            return super().one_step(sde, x, t, dt, {**increments, "dV": tuple(0 for _ in increments["dV"])})

    mutant = Unsigned("unsigned", {}, {}, schemes.get("weak_order_2").noise)
    assert first_wrong_moment(mutant, "general", 2) == ((0, 0), 4)


@pytest.mark.parametrize("d", [2, 3, 4])
@pytest.mark.parametrize("name", [s for s, flat in FLAT.items() if not flat])
def test_isotropic_tangent_noise_gives_the_ito_correction(name, d):
    """E[Phi] − x = −(d−1)/2 s² x dt + O(dt²), though the tangent increment has no radial part."""
    sde = _brownian_on_sphere(d)
    point = {2: (3, 4, 5), 3: (1, 2, 2, 3), 4: (1, 1, 1, 1, 2)}[d]
    x = [Rational(c, point[-1]) for c in point[:-1]]
    moments = displacement_moments(schemes.get(name), sde, tuple(x), 3)
    s = Symbol("s", positive=True)
    for i in range(d):
        zeroth, half, first, three_halves = moments((i,))
        assert sympy.expand(first + Rational(d - 1, 2) * s**2 * x[i]) == 0
        assert (zeroth, half, three_halves) == (0, 0, 0)
        assert sympy.expand(first + Rational(d, 2) * s**2 * x[i]) != 0  # the correction of R^d noise is another
