r"""An Itô SDE of Python functions, which no expression describes: it can be simulated, and has no theory.

.. math:: dX = a(X, t)\,dt + b(X, t)\,dW, \qquad a : R^d\times R \to R^d,\; b : R^d\times R \to R^{d\times m}
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import sympy

__all__ = ["CallableSDE"]


class CallableSDE:
    """The SDE of two functions of (x, t) that cannot be run on symbols; made by `SDE.from_callables`.

    Parameters
    ----------
    drift, diffusion : callables of (x, t)
        Of a number x where d = 1, else of a tuple of d; plain, or compiled by Numba. They return (d,) and (d, m) values.
    states, time : d symbols, symbol
        What the states and time are called.
    noise_dim : int
        m.
    """

    #: there are no symbols beside states and time
    parameters: ClassVar[frozenset[sympy.Symbol]] = frozenset()

    def __init__(self, drift: Callable[..., Any], diffusion: Callable[..., Any], states: tuple[sympy.Symbol, ...],
                 noise_dim: int, time: sympy.Symbol) -> None:
        self.drift_function, self.diffusion_function = drift, diffusion
        self.states, self.time, self.dim, self.noise_dim = states, time, len(states), noise_dim

    @property
    def noise_types(self) -> frozenset[str]:
        """The classes of noise that it is known to be in: "scalar", or none."""
        return frozenset({"scalar"} if self.noise_dim == 1 else ())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(f"{name}: expected an SDE given by expressions, got one given by Python functions that cannot be run on "
                             "symbols; write it in SymPy: SDE(states, drift, diffusion)")

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, CallableSDE) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        return self.states, self.time, self.noise_dim, self.drift_function, self.diffusion_function

    def __repr__(self) -> str:
        return f"SDE(dim={self.dim}, noise_dim={self.noise_dim}, states=({', '.join(map(str, self.states))}), from Python functions)"
