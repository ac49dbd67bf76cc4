r"""Where SymPy leaves an expression undefined a kernel gives NaN, also where IEEE arithmetic would give a number.

.. math:: \tfrac10 = \tilde\infty, \qquad e^{\tilde\infty},\ \arctan\tilde\infty,\ \max(\tilde\infty, 1),\ [\tilde\infty > 0]
          \quad\text{are no numbers}

SymPy's 1/0 and log 0 are the infinity of the complex plane, which has no sign; a float has one, and e^{-1/0} is 0, arctan(1/0) is
π/2. An infinity that stays one needs no care: a path that has it has diverged. So a guard stands only where one would be swallowed:
NaN where the number that it comes from is exactly 0 (not where a quotient overflows, which is a number). And a comparison with NaN
is false, where SymPy refuses to compare: NaN there too. Expressions in which nothing of this can happen are left as they are.
"""

from __future__ import annotations

from typing import NamedTuple

import sympy

__all__ = ["defined", "nan_at_infinity", "nan_where_nan", "nan_where_zero"]


class _Guard(sympy.Function):
    """A real number, or NaN."""

    nargs = 2

    def _eval_is_extended_real(self) -> bool:
        return True


class nan_where_zero(_Guard):
    """The first argument; NaN where the second is 0."""


class nan_where_nan(_Guard):
    """The first argument; NaN where the second is NaN."""


#: the argument's zero is an infinity without a sign, ∞ in a kernel
_POLE_AT_ZERO = (sympy.log, sympy.gamma, sympy.cot, sympy.csc, sympy.coth, sympy.csch, sympy.acsch)
#: an infinity stays one, in SymPy and in a kernel
_KEEP = (sympy.log, sympy.asinh, sympy.acosh, sympy.loggamma, sympy.floor, sympy.ceiling)
#: of an infinity, undefined in SymPy and NaN in a kernel
_NAN = (sympy.sin, sympy.cos, sympy.tan, sympy.sec, sympy.csc, sympy.cot, sympy.asin, sympy.acos, sympy.atanh, sympy.asech,
        sympy.sinc, sympy.frac)
#: of an infinity, the same in SymPy and in a kernel
_SAME = (sympy.Abs, sympy.acot, sympy.asec, sympy.acsc, sympy.acoth, sympy.acsch, sympy.KroneckerDelta)
#: not real everywhere
_PARTIAL = (sympy.log, sympy.asin, sympy.acos, sympy.acosh, sympy.atanh, sympy.acoth, sympy.asech, sympy.asec, sympy.acsc,
            sympy.gamma, sympy.Mod, sympy.tan, sympy.sec, sympy.csc, sympy.cot, sympy.coth, sympy.csch, _Guard)
_ORDERED = (sympy.StrictLessThan, sympy.LessThan, sympy.StrictGreaterThan, sympy.GreaterThan)


class _Read(NamedTuple):
    """An expression with its guards; whose zeros make it infinite without a sign; whose zeros make it a sum of such infinities."""

    value: sympy.Basic
    poles: tuple[sympy.Expr, ...] = ()
    clashes: tuple[sympy.Expr, ...] = ()


def defined(expression: sympy.Expr) -> sympy.Expr:
    """The expression with a guard wherever a kernel would make a finite number of what SymPy leaves undefined.

    >>> x = sympy.Symbol("x", real=True)
    >>> defined(sympy.exp(-1 / x)), defined(sympy.exp(-1 / (1 + x**2)))
    (nan_where_zero(exp(-1/x), x), exp(-1/(x**2 + 1)))
    """
    return _read(expression).value


def nan_at_infinity(expression: sympy.Expr) -> sympy.Expr:
    """The same, and NaN also where the value itself is such an infinity.

    >>> x = sympy.Symbol("x", real=True)
    >>> nan_at_infinity(1 / x)
    nan_where_zero(1/x, x)
    """
    read = _read(expression)
    return _guarded(read.value, (*read.poles, *read.clashes))


def _guarded(value: sympy.Expr, zeros: tuple[sympy.Expr, ...]) -> sympy.Expr:
    for zero in dict.fromkeys(zeros):
        value = nan_where_zero(value, zero)
    return value


def _vanishes(e: sympy.Expr) -> tuple[sympy.Expr, ...]:
    """The expression, if it may be 0."""
    return () if e.is_zero is False else (e,)


def _read(e: sympy.Basic) -> _Read:
    if not e.args or isinstance(e, _Guard):
        return _Read(e)
    if isinstance(e, sympy.Piecewise):
        return _read_pieces(list(e.args))
    parts = [_read(a) for a in e.args]
    values = [part.value for part in parts]
    value = e if all(v is a for v, a in zip(values, e.args, strict=True)) else e.func(*values)
    poles = tuple(dict.fromkeys(p for part in parts for p in part.poles))
    clashes = tuple(dict.fromkeys(c for part in parts for c in part.clashes))
    if e.is_Add:
        infinite = [part.poles for part in parts if part.poles]
        clashes += tuple(dict.fromkeys(_both(p, q) for i, one in enumerate(infinite) for other in infinite[:i]
                                       for p in one for q in other))
        return _Read(value, poles, clashes)
    if e.is_Mul or isinstance(e, sympy.logic.boolalg.Boolean):
        return _Read(value, poles, clashes)
    if isinstance(e, sympy.exp):
        return _Read(_guarded(value, poles + clashes))
    if e.is_Pow:
        return _read_power(value, *parts)
    own = _vanishes(e.args[0]) if isinstance(e, _POLE_AT_ZERO) else ()
    if isinstance(e, sympy.loggamma) and not e.args[0].is_nonnegative:  # lgamma is log |Γ|, which is log Γ where it is infinite
        u = values[0]
        value = nan_where_nan(value, sympy.Piecewise((0, sympy.Eq(u, sympy.floor(u))), (sympy.sqrt(u), True)))
    if isinstance(e, _KEEP):
        return _Read(value, own + poles, clashes)
    if isinstance(e, _NAN):
        return _Read(value, own)
    if isinstance(e, _SAME):
        return _Read(_guarded(value, clashes), own)
    if isinstance(e, sympy.atan2):  # SymPy has no atan2(0, 0)
        own_clash = (_both(*e.args),)
        return _Read(_guarded(value, poles + clashes + tuple(c for z in own_clash for c in _vanishes(z))))
    return _Read(_guarded(value, poles + clashes), own)


def _both(p: sympy.Expr, q: sympy.Expr) -> sympy.Expr:
    """What is 0 where both are."""
    return p if p == q else sympy.Abs(p) + sympy.Abs(q)


def _read_power(value: sympy.Expr, base: _Read, exponent: _Read) -> _Read:
    power = exponent.value
    if power.is_number:
        if not power.is_negative:
            return _Read(value, base.poles, base.clashes)
        return _Read(_guarded(value, base.clashes), _vanishes(base.value))  # 1/∞ is 0, 1/(∞ + ∞) is nothing
    value = _guarded(value, exponent.poles + exponent.clashes + base.clashes)
    if _is_partial(power):
        value = nan_where_nan(value, power)  # math.pow(1, NaN) is 1
    # 0 to a negative power is infinite, and so is an infinity to a positive one
    return _Read(value, tuple(sympy.Piecewise((zero, sign), (1, True)) for zeros, sign in (
        (_vanishes(base.value), power < 0), (base.poles, power > 0)) if sign != False for zero in zeros))  # noqa: E712


def _read_pieces(pieces: list[tuple[sympy.Expr, sympy.Basic]]) -> _Read:
    """A choice is asked condition by condition: an undefined one makes the whole undefined, unless one before it holds."""
    read = [(_read(then), _read(condition).value) for then, condition in pieces]

    def chosen(part: int) -> tuple[sympy.Expr, ...]:
        """Poles or clashes, each where its piece is taken."""
        found = []
        for i, (then, _) in enumerate(read):
            for zero in then[part]:
                found.append(sympy.Piecewise(*((zero if j == i else sympy.S.One, c) for j, (_, c) in enumerate(read)),
                                             (1, True), evaluate=False))
        return tuple(found)

    groups: list[list[tuple[sympy.Expr, sympy.Basic]]] = [[]]
    guards: list[list[sympy.Expr]] = [[]]
    for then, condition in read:
        doubtful, zeros = _sides(condition)
        if doubtful or zeros:
            groups.append([])
            guards.append([*zeros, *doubtful])
        groups[-1].append((then.value, condition))
    value: sympy.Expr | None = None
    for group, guard in zip(reversed(groups), reversed(guards), strict=True):
        rest = [] if value is None else [(value, sympy.true)]
        value = sympy.Piecewise(*group, *rest, evaluate=False) if group else value
        for side in guard:
            value = (nan_where_nan(value, side.args[0]) if isinstance(side, _Side) else nan_where_zero(value, side))
    unchanged = len(groups) == 1 and all(t.value is a and c is b for (t, c), (a, b) in zip(read, pieces, strict=True))
    return _Read(sympy.Piecewise(*pieces, evaluate=False) if unchanged else value, chosen(1), chosen(2))


class _Side(sympy.Function):
    """A side of a comparison that may be NaN."""


def _sides(condition: sympy.Basic) -> tuple[list[sympy.Expr], list[sympy.Expr]]:
    """Sides of the comparisons that may be NaN, and whose zeros make one of them infinite."""
    doubtful, zeros = [], []
    for relation in sorted(condition.atoms(*_ORDERED), key=sympy.default_sort_key):
        for side in relation.args:
            read = _read(side)
            zeros += [*read.poles, *read.clashes]
            if _is_partial(read.value):
                doubtful.append(_Side(read.value))
    return list(dict.fromkeys(doubtful)), list(dict.fromkeys(zeros))


def _is_partial(e: sympy.Expr) -> bool:
    """Whether an expression may be NaN although all symbols and denominators have numbers."""
    for part in sympy.preorder_traversal(e):
        if part.is_Pow and not part.exp.is_integer and not part.base.is_nonnegative and part.base is not sympy.E:
            return True
        if isinstance(part, _PARTIAL) and not (isinstance(part, sympy.log) and part.args[0].is_nonnegative):
            return True
    return False
