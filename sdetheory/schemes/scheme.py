r"""A scheme is its one-step map, written once as mathematics.

.. math:: Y_{n+1} = \Phi(Y_n, t_n, h; \Delta_n), \qquad \Delta_n = (\text{rows of random increments of the step})

Phi is a SymPy expression in the state, the time, h (the solver step `dt`) and the rows of `Increment`s. The engine
turns that expression into a kernel, `numpy_step` turns it into a NumPy function, and the tests expand it into moments:
one definition, three readings.
"""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import sqrt
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import sympy
from numpy.typing import NDArray

from ..callable_sde import CallableSDE

if TYPE_CHECKING:
    from sdetheory.sde import SDE

__all__ = ["NOISE_TYPES", "REGISTRY", "Increment", "Scheme", "get", "numpy_step", "register"]

#: Noise classes a scheme may state an order for; every SDE is "general", and an SDE may be in several.
NOISE_TYPES = ("additive", "scalar", "diagonal", "commutative", "general")


@dataclass(frozen=True)
class Increment:
    r"""Independent rows of noise that one step takes: each is sqrt(dt) times a standardised variate.

    Parameters
    ----------
    role : {"dW", "dU", "dV"}
        `dW`: the Brownian increments. `dU`: what their time integral needs beside them,
        :math:`\int_0^h (W_s - W_0)\,ds = \tfrac h2(\Delta W + \Delta U/\sqrt3)`. `dV`: one a pair j1 < j2 of noises.
    kind : {"normal", "two_point", "three_point"}
        Law of the standardised variate; two_point is ±1, three_point is ±sqrt(3) with probability 1/6 each, else 0.
    per : {"noise", "pair"}
        Rows: one a noise, or one a pair of noises in the order (0,1), (0,2), …, (1,2), ….
    """

    role: str
    kind: str
    per: Literal["noise", "pair"] = "noise"

    def rows(self, noise_dim: int) -> int:
        """Number of rows for an SDE with `noise_dim` Brownian motions."""
        return noise_dim if self.per == "noise" else noise_dim * (noise_dim - 1) // 2

    def nested_weights(self, n: int) -> dict[str, tuple[float, ...]] | None:
        r"""Weights that make this increment over a step n·h from the rows of the n steps h of the same Brownian path.

        The coarse row is :math:`\sum_r\sum_{j<n} w^r_j\,\Delta^r_j` over the roles r returned. `None`: the row is no
        functional of the Brownian path, and a coarse step draws its own.

        >>> Increment("dW", "normal").nested_weights(2)
        {'dW': (1.0, 1.0)}
        """
        if self.kind != "normal":
            return None
        if self.role == "dW":
            return {"dW": (1.0,) * n}
        # solve sum_j [h/2 (dW_j + dU_j/√3) + h (n-1-j) dW_j] = nh/2 (sum_j dW_j + dU/√3) for dU
        return {"dW": tuple(sqrt(3.0) * (n - 1 - 2 * j) / n for j in range(n)), "dU": (1.0 / n,) * n}


@dataclass(frozen=True, eq=False)
class Scheme(ABC):
    """One-step map of an SDE integrator, with the orders it promises for each noise class.

    Parameters
    ----------
    name : str
        Key in the registry; the module's name.
    strong_order, weak_order : mapping of noise class to order
        Global orders in `dt` for smooth coefficients; a class without an entry carries no promise.
    noise : tuple of Increment
        What one step draws, in the order of its rows.
    """

    name: str
    strong_order: Mapping[str, Fraction] = field(repr=False)
    weak_order: Mapping[str, Fraction] = field(repr=False)
    noise: tuple[Increment, ...] = (Increment("dW", "normal"),)

    #: whether the step has derivatives of the coefficients, which then must have no kinks
    differentiates: ClassVar[bool] = False

    @abstractmethod
    def one_step(self, sde: SDE, x: Any, t: Any, dt: Any, increments: Mapping[str, tuple[Any, ...]]) -> sympy.Matrix:
        """Expression of the state after one step, a column of shape (d, 1).

        Parameters
        ----------
        sde : SDE
            Symbolic SDE; clock: that of its drift.
        x : sequence of d expressions
            State at the start of the step.
        t, dt : expressions
            Time at the start of the step, and its length.
        increments : mapping of role to a tuple of expressions
            The rows of `increments_shape`, each of mean 0 and variance `dt`.
        """

    def check(self, sde: SDE | CallableSDE) -> None:
        """Raise ValueError, with a remedy, where the scheme is not for this SDE."""
        if isinstance(sde, CallableSDE):
            raise self._refuse("an SDE given by expressions, to differentiate them", "one given by Python callables",
                               "write drift and diffusion in SymPy, or use 'euler_maruyama'")
        if self.differentiates and sde.is_rough:
            raise self._refuse("coefficients without kinks (Abs, Max, Piecewise, sign, ...), to differentiate them", repr(sde),
                               "use 'euler_maruyama'; no higher order is promised at a kink")

    def increments_shape(self, sde: SDE | CallableSDE) -> dict[str, int]:
        """Rows of noise that one step takes, by role and in order."""
        return {increment.role: increment.rows(sde.noise_dim) for increment in self.noise}

    def increment_symbols(self, sde: SDE | CallableSDE) -> dict[str, tuple[sympy.Symbol, ...]]:
        """Fresh real symbols for the rows of one step, by role."""
        return {role: tuple(sympy.Dummy(f"{role}_{j}", real=True) for j in range(rows))
                for role, rows in self.increments_shape(sde).items()}

    def promised(self, sde: SDE | CallableSDE, sense: Literal["strong", "weak"]) -> Fraction | None:
        """Highest order promised for the noise classes that this SDE is in; None where there is no promise."""
        orders = self.strong_order if sense == "strong" else self.weak_order
        return max((orders[c] for c in {*sde.noise_types, "general"} if c in orders), default=None)

    def _refuse(self, needs: str, got: str, remedy: str) -> ValueError:
        return ValueError(f"scheme: {self.name} needs {needs}, got {got}; {remedy}")


#: Every scheme by its name; a new file calls `register` and is imported in this package's `__init__`.
REGISTRY: dict[str, Scheme] = {}


def register(scheme: Scheme) -> Scheme:
    """Enter a scheme under its name, and return it; raises ValueError for a name that is taken or an unknown class."""
    if scheme.name in REGISTRY:
        raise ValueError(f"scheme: expected a new name, got {scheme.name!r}, which is registered; rename it")
    unknown = {*scheme.strong_order, *scheme.weak_order} - {*NOISE_TYPES}
    if unknown:
        raise ValueError(f"scheme: expected orders for noise classes among {NOISE_TYPES}, got {sorted(unknown)}")
    REGISTRY[scheme.name] = scheme
    return scheme


def get(scheme: str | Scheme) -> Scheme:
    """Return the scheme of this name, or the scheme itself.

    >>> get("euler-maruyama").name
    'euler_maruyama'
    >>> get("milstien")
    Traceback (most recent call last):
    ValueError: scheme: expected a registered name, got 'milstien'; did you mean 'milstein'?
    """
    if isinstance(scheme, Scheme):
        return scheme
    if not isinstance(scheme, str):
        raise TypeError(f"scheme: expected a name or a Scheme, got {scheme!r}; names are {', '.join(REGISTRY)}")
    name = scheme.lower().replace("-", "_").replace(" ", "_").replace(".", "_")
    if name in REGISTRY:
        return REGISTRY[name]
    near = difflib.get_close_matches(name, REGISTRY, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"names are {', '.join(REGISTRY)}"
    raise ValueError(f"scheme: expected a registered name, got {scheme!r}; {hint}")


def numpy_step(scheme: str | Scheme, sde: SDE) -> Callable[..., NDArray[np.float64]]:
    """Return the scheme's step as plain NumPy on blocks: the oracle of its kernels.

    Returns
    -------
    step : callable
        `step(X, t, dt, increments)` with X of shape (d, lanes) and `increments[role]` of shape (rows, lanes) gives the
        next block (d, lanes).

    Raises
    ------
    ValueError
        If the scheme is not for this SDE, or the SDE has parameters without numbers.
    """
    scheme = get(scheme)
    scheme.check(sde)
    x = sympy.symbols(f"x:{sde.dim}", real=True, cls=sympy.Dummy)
    t, dt = sympy.Dummy("t", real=True), sympy.Dummy("dt", positive=True)
    rows = scheme.increment_symbols(sde)
    step = list(scheme.one_step(sde, x, t, dt, rows))
    arguments = [*x, t, dt, *(symbol for role in rows for symbol in rows[role])]
    free = set().union(*(e.free_symbols for e in step)) - set(arguments)
    if free:
        names = ", ".join(sorted(map(str, free)))
        raise ValueError(f"sde: expected numbers for all parameters, got free {names}; use sde.subs({{...}})")
    function = sympy.lambdify(arguments, step, "numpy", cse=True)

    def numpy_block_step(X: NDArray[np.float64], t: float, dt: float,
                         increments: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        values = function(*X, t, dt, *(row for role in rows for row in increments[role]))
        return np.stack([np.broadcast_to(np.asarray(v, dtype=np.float64), X.shape[1:]) for v in values])

    return numpy_block_step
