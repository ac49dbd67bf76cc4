r"""A loss that is written once: a formula of its value, maybe one of its gradient, and all readings come from them.

.. math:: L = f(w;\, \text{constants}), \qquad \nabla L = g(w;\, \text{constants}) \;\text{or derived}, \qquad
          \nabla^2 L\, v = \nabla\langle\nabla L, v\rangle

Where no formula of the gradient is given it is derived from that of the value. One is given where it loses fewer digits, near a
minimum for example; a test has SymPy prove that it is the derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from ..engine import BlockFunction, row_kernel, traced
from ..engine.row_calculus import gradient_of, inner
from ..engine.rows import Node, block, evaluate
from .loss import Loss

__all__ = ["FormulaLoss"]


class FormulaLoss(Loss):
    """A loss whose formulas are functions of (w, *constants) on rows (see `engine.rows`).

    Attributes
    ----------
    value_formula : callable
        L: one number of a row of weights.
    gradient_formula : callable or None
        ∇L: a row; derived from L where it is None.
    constants : tuple
        What both take besides the weights: floats, arrays, and integers, which are part of the text of the kernel.
    """

    value_formula: Callable[..., Any]
    gradient_formula: Callable[..., Any] | None = None
    constants: tuple[Any, ...] = ()

    @cached_property
    def value_graph(self) -> Node:
        """The operations of L."""
        return traced(self.value_formula, self.constants)

    @cached_property
    def gradient_graph(self) -> Node:
        """The operations of ∇L."""
        if self.gradient_formula is None:
            return gradient_of(self.value_graph, self.dim)
        return traced(self.gradient_formula, self.constants)

    def value(self, w: ArrayLike) -> NDArray[np.float64]:
        """L(w), shape (...,), for weights (..., d)."""
        weights = self._weights(w)
        return np.broadcast_to(evaluate(self.value_graph, {"W": weights}), (*weights.shape[:-1], 1))[..., 0]

    def gradient(self, w: ArrayLike) -> NDArray[np.float64]:
        """∇L(w), shape (..., d), for weights (..., d)."""
        weights = self._weights(w)
        return np.array(np.broadcast_to(evaluate(self.gradient_graph, {"W": weights}), weights.shape))

    def hessian(self, w: ArrayLike) -> NDArray[np.float64]:
        """∇²L(w), shape (d, d), for weights (d,): one column for each unit vector."""
        weights, units = self._weights(w), np.eye(self.dim)
        columns = evaluate(self._hessian_graph, {"W": np.broadcast_to(weights, units.shape), "Z": units})
        return np.array(np.broadcast_to(columns, units.shape))

    @cached_property
    def _hessian_graph(self) -> Node:
        return gradient_of(inner(self.gradient_graph, block("Z")), self.dim)

    def symbolic(self, w: Sequence[sympy.Expr]) -> sympy.Expr:
        """L as an expression in the d symbols `w`, every number an exact rational."""
        row = np.array(list(self._symbols(w)), dtype=object)
        return np.ravel(evaluate(self.value_graph, {"W": row}, exact=True))[0]

    @property
    def gradient_kernel(self) -> BlockFunction:
        """f(W, G, S, *constants): G ← ∇L, blocks (d, lanes)."""
        if self.gradient_formula is None:
            return self._derived_kernel
        return row_kernel(self.gradient_formula, self.constants)

    @cached_property
    def _derived_kernel(self) -> BlockFunction:
        return row_kernel(self.gradient_graph)

    @property
    def value_kernel(self) -> BlockFunction:
        """f(W, out, S, *constants): out ← L, one value a lane."""
        return row_kernel(self.value_formula, self.constants, into="out")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join([*self._shown(), *([f'noise={self.noise!r}'] if self.noise is not None else [])])})"

    def _shown(self) -> list[str]:
        """The arguments that the repr names."""
        return [f"dim={self.dim}"]


def shown_array(values: NDArray[np.float64]) -> str:
    """An array on one line, a long one shortened."""
    return np.array2string(values, separator=", ", threshold=8, edgeitems=2).replace("\n", "")
