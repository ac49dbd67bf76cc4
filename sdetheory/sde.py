r"""What an Itô SDE is here: expressions for drift and diffusion.

.. math:: dX = a(X, t)\,dt + b(X, t)\,dW, \qquad a \in R^d,\; b \in R^{d\times m},\; W \in R^m

The same object is read as theory (`sdetheory.symbolic`) and as a kernel (`sdetheory.schemes`); its clock is that of
its drift.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from typing import Any, Literal

import sympy

from .callable_sde import CallableSDE
from .symbolic import conversions, ito, moments, stationarity
from .symbolic.coefficients import as_diffusion, as_drift, as_states, as_time, expression
from .symbolic.noise_structure import noise_types
from .symbolic.notation import latex, symbol
from .symbolic.regularity import as_real, is_rough, refuse_complex
from .symbolic.tracing import trace
from .validation import explain_construction, explained, integer

__all__ = ["SDE"]

LARGEST = 10_000  # equations of an SDE of Python functions; its diffusion has up to 100 times as many numbers


class SDE:
    r"""The Itô SDE dX = a(X, t) dt + b(X, t) dW, in SymPy.

    Parameters
    ----------
    states : symbol or sequence of d symbols
        The state.
    drift : (d,) or (d, 1) expressions; a scalar where d = 1
        a, on the clock of `time`.
    diffusion : (d, m) expressions; a scalar or (m,) where d = 1
        b, one column a Brownian motion.
    time : symbol, optional
        Time; by default the symbol named `t` in the coefficients, else `symbol("t")`.

    Attributes
    ----------
    states, time, dim, noise_dim : d states, the time symbol, d, m
    drift, diffusion : immutable matrices (d, 1), (d, m)
    parameters : frozenset of the other symbols
    noise_types : frozenset of "additive", "scalar", "diagonal", "commutative"

    Raises
    ------
    TypeError, ValueError
        Coefficients that are not SymPy expressions, shapes that do not fit, symbols that repeat or share a name.

    >>> x, mu, s = sympy.symbols("x mu sigma")
    >>> gbm = SDE([x], drift=[mu * x], diffusion=[[s * x]])
    >>> gbm
    SDE(dx = mu*x dt + sigma*x dW)
    >>> gbm.generator(x**2)
    x**2*(2*mu + sigma**2)
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        explain_construction(cls)

    @explained
    def __init__(self, states: Any, drift: Any, diffusion: Any, *, time: sympy.Symbol | None = None) -> None:
        self.states: tuple[sympy.Symbol, ...] = as_states(states)
        d = len(self.states)
        a, b = as_drift(drift, d), as_diffusion(diffusion, d)
        for name, matrix in (("drift", a), ("diffusion", b)):
            for i, entry in enumerate(matrix):
                refuse_complex(f"{name}[{i}]" if len(matrix) > 1 else name, entry)
        self.time: sympy.Symbol = as_time(time, self.states, a.free_symbols | b.free_symbols)
        self.dim, self.noise_dim = d, b.shape[1]
        self._coefficients = (a, b)
        free = (a.free_symbols | b.free_symbols) - {*self.states, self.time}
        self.parameters: frozenset[sympy.Symbol] = frozenset(free)
        named: dict[str, sympy.Symbol] = {}
        for s in [*self.states, self.time, *sorted(free, key=str)]:
            if s.name in named:
                raise ValueError(f"parameters: expected one symbol a name, got two named {s.name!r} with different "
                                 "assumptions; create each symbol once")
            named[s.name] = s
        self._named = named

    @property
    def drift(self) -> sympy.ImmutableMatrix:
        """a(x, t), shape (d, 1)."""
        return self._coefficients[0]

    @property
    def diffusion(self) -> sympy.ImmutableMatrix:
        """b(x, t), shape (d, m)."""
        return self._coefficients[1]

    @cached_property
    def noise_types(self) -> frozenset[str]:
        """The classes of noise that SymPy shows b to be in."""
        return noise_types(self)

    @cached_property
    def is_rough(self) -> bool:
        """Whether a coefficient has kinks or jumps (Abs, Max, Piecewise, …), where formulas with derivatives promise nothing."""
        return any(map(is_rough, (*self.drift, *self.diffusion)))

    @cached_property
    def real(self) -> SDE:
        """The same SDE with symbols that SymPy knows to be real."""
        real = as_real([*self.states, self.time, *self.parameters])
        return self.subs(real) if real else self

    def subs(self, mapping: Mapping[sympy.Symbol | str, Any]) -> SDE:
        """The SDE with parameters put in (numbers or expressions), or states and time renamed (symbols).

        >>> x, mu = sympy.symbols("x mu")
        >>> SDE(x, -mu * x, 1).subs({"mu": 2})
        SDE(dx = -2*x dt + dW)
        """
        put: dict[sympy.Symbol, sympy.Expr] = {}
        for key, value in dict(mapping).items():
            name = key.name if isinstance(key, sympy.Symbol) else key
            if name not in self._named:
                near = difflib.get_close_matches(str(name), self._named, n=1)
                raise ValueError(f"mapping: expected names among {', '.join(map(repr, self._named))}, got {name!r}"
                                 f"{f'; did you mean {near[0]!r}?' if near else ''}")
            known, value = self._named[name], expression(str(name), value)
            if known not in self.parameters and not isinstance(value, sympy.Symbol):
                raise ValueError(f"mapping: expected a symbol for the state or time {name!r}, got {value}; "
                                 "only parameters take values")
            put[known] = value
        a, b = (matrix.subs(put, simultaneous=True) for matrix in self._coefficients)
        return SDE([put.get(s, s) for s in self.states], a, b, time=put.get(self.time, self.time))

    def generator(self, f: Any) -> sympy.Expr:
        """L f = ∂_t f + a·∇f + ½ tr(b bᵀ ∇²f)."""
        return ito.generator(self, f)

    def L0(self, f: Any) -> sympy.Expr:
        """The Itô–Taylor operator L⁰, the same as `generator`."""
        return ito.L0(self, f)

    def L(self, j: int, f: Any) -> sympy.Expr:
        """The Itô–Taylor operator L^j f = b_j·∇f, j = 0 … m-1."""
        return ito.L(self, j, f)

    def ito_formula(self, f: Any) -> ito.ItoDifferential:
        """df as (drift, diffusion); for a sequence of k functions as matrices (k, 1) and (k, m)."""
        return ito.ito_formula(self, f)

    def transform(self, new: Mapping[sympy.Symbol, Any], inverse: Mapping[sympy.Symbol, Any]) -> SDE:
        """The SDE of y = f(x): `new` maps each y to f(x), `inverse` each x to its expression in y.

        >>> x = sympy.Symbol("x", positive=True); y = sympy.Symbol("y", real=True)
        >>> SDE(x, x, x).transform({y: sympy.log(x)}, {x: sympy.exp(y)})
        SDE(dy = 1/2 dt + dW)
        """
        differential = self.ito_formula(list(new.values()))
        if set(inverse) != set(self.states):
            raise ValueError(f"inverse: expected an expression for each of {self.states}, got {tuple(inverse)}")
        for y, f in new.items():
            if sympy.simplify(expression(str(y), f).subs(inverse, simultaneous=True) - y) != 0:
                raise ValueError(f"inverse: expected {f} to become {y} under it, got "
                                 f"{sympy.simplify(sympy.sympify(f).subs(inverse, simultaneous=True))}")
        a, b = (matrix.subs(inverse, simultaneous=True).applyfunc(sympy.simplify) for matrix in differential)
        return SDE(list(new), a, b, time=self.time)

    def to_stratonovich(self) -> conversions.Stratonovich:
        """The same process with Stratonovich integrals."""
        return conversions.to_stratonovich(self)

    @classmethod
    @explained
    def from_stratonovich(cls, states: Any, drift: Any, diffusion: Any, *, time: sympy.Symbol | None = None) -> SDE:
        """The Itô SDE of dX = drift dt + diffusion ∘ dW; parameters as for `SDE`."""
        as_given = cls(states, drift, diffusion, time=time)
        correction = conversions.ito_correction(as_given.states, as_given.diffusion)
        a = (as_given.drift + correction).applyfunc(sympy.simplify)
        return cls(as_given.states, a, as_given.diffusion, time=as_given.time)

    def moment_equations(self, order: int = 2) -> moments.MomentEquations:
        """The linear ODEs of E[x^α], |α| ≤ order: closed, or with the moments that are missing."""
        return moments.moment_equations(self, order)

    def is_stationary(self, density: Any, *, on: Literal["space", "sphere"] | None = None) -> stationarity.StationarityResult:
        """Whether the density (up to a constant) solves the stationary Fokker–Planck equation.

        That of densities `on` the unit "sphere", with respect to the surface measure, or in "space", with respect to dx; unless
        told, on the sphere where the SDE is shown to stay there (see `symbolic.check_stationary`).
        """
        return stationarity.check_stationary(self, density, on=on)

    @classmethod
    @explained
    def from_callables(cls, drift: Callable[..., Any], diffusion: Callable[..., Any], dim: int = 1,
                       noise_dim: int = 1, *, states: Any = None, time: sympy.Symbol | None = None) -> SDE | CallableSDE:
        """The SDE of Python functions `drift(x, t)` and `diffusion(x, t)`, plain or compiled by Numba.

        Parameters
        ----------
        drift, diffusion : callables of (x, t)
            x is a number where d = 1, else a sequence of d numbers. They return (d,) and (d, m) values; sizes 1 may be
            left out where d = 1.
        dim, noise_dim : int
            d, at most 10,000, and m; d·m is at most a million.
        states, time : symbols, optional
            Names; x, or x_0 … x_{d-1}, and t unless given.

        Returns
        -------
        SDE or CallableSDE
            An SDE where the functions can be run on symbols; else a `CallableSDE` that holds them as `drift_function` and
            `diffusion_function`: it can be simulated, and has no theory.

        >>> SDE.from_callables(lambda x, t: -x, lambda x, t: 0.5 * x)
        SDE(dx = -x dt + 0.5*x dW)
        """
        too_many = "each number is an expression here; for more write an update rule or a loss on rows"
        d = integer("dim", dim, at_least=1, at_most=LARGEST, remedy=too_many)
        m = integer("noise_dim", noise_dim, at_least=1, at_most=100 * LARGEST // d, remedy=too_many)
        for name, function in (("drift", drift), ("diffusion", diffusion)):
            if not callable(function):
                raise TypeError(f"{name}: expected a callable of (x, t), got {function!r}; expressions go to SDE(...)")
        default = [symbol("x")] if d == 1 else [symbol(f"x_{i}") for i in range(d)]
        names = as_states(default if states is None else states)
        if len(names) != d:
            raise ValueError(f"states: expected {d} symbols for dim={d}, got {len(names)}")
        clock = as_time(time, names, set())
        a = trace(getattr(drift, "py_func", drift), names, clock, (d,))
        b = trace(getattr(diffusion, "py_func", diffusion), names, clock, (d, m))
        if a is not None and b is not None:
            return cls(names, a, sympy.Matrix(d, m, b), time=clock)
        return CallableSDE(drift, diffusion, names, m, clock)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SDE):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        return (self.states, self.time, self._coefficients)

    def __repr__(self) -> str:
        return _text(self)

    def _repr_latex_(self) -> str:
        x, a, b = (e[0] if len(e) == 1 else e for e in (sympy.ImmutableMatrix(self.states), *self._coefficients))
        return f"$$d{latex(x)} = {_latex_factor(a)}d{latex(self.time)} + {_latex_factor(b)}dW$$"


@lru_cache(maxsize=256)  # every result says what was simulated, and SymPy takes longer to print it than a short run takes
def _text(sde: SDE) -> str:
    names = ", ".join(map(str, sde.states))
    a, b = sde.drift, sde.diffusion
    if sde.dim == sde.noise_dim == 1:
        return f"SDE(d{names} = {_factor(a[0])}d{sde.time} + {_factor(b[0])}dW)"
    return f"SDE(d({names}) = {list(a)} d{sde.time} + {b.tolist()} dW)"


def _factor(e: sympy.Expr) -> str:
    """The expression as a factor of dt or dW: sums in parentheses, and nothing for 1."""
    return "" if e == 1 else f"({e}) " if e.is_Add else f"{e} "


def _latex_factor(e: Any) -> str:
    return "" if e == 1 else rf"\left({latex(e)}\right)\," if getattr(e, "is_Add", False) else rf"{latex(e)}\,"
