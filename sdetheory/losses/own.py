r"""A loss of one's own, from a formula on rows or from a SymPy expression: what `Loss.of` makes.

.. math:: L : w \mapsto f(w), \qquad \langle\nabla L(w), w\rangle = 0 \;\Leftrightarrow\; L(cw) = L(w) \text{ for all } c > 0

Its gradient is derived: of an expression by SymPy, of a formula from the graph of what it does. Whether it is scale-invariant is
read off the degrees of homogeneity where these prove it, and tried in numbers where not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import sympy

from ..engine import BlockFunction, row_kernel, traced
from ..engine.row_calculus import degree_of, gradient_of
from ..engine.row_expression import graph_of
from ..engine.rows import Node, evaluate, joined
from ..noises.gradient_noise import GradientNoise
from ..validation import integer
from .formula_loss import FormulaLoss
from .loss import Loss

__all__ = ["OwnLoss"]


class OwnLoss(FormulaLoss):
    """A loss that was given as a formula or as an expression; see `Loss.of`."""

    def __init__(self, formula: Callable[..., Any] | sympy.Expr, symbols: Sequence[sympy.Symbol] | None = None, *,
                 dim: int | None = None, noise: GradientNoise | None = None, scale_invariant: bool | None = None) -> None:
        self.expression: sympy.Expr | None = None
        self.symbols: list[sympy.Symbol] = []
        if isinstance(formula, sympy.Basic):
            self._take_expression(formula, symbols, dim)
        elif callable(formula):
            self._take_formula(formula, symbols, dim)
        else:
            raise TypeError(f"formula: expected a function of the weights or a SymPy expression, got {formula!r}; for example "
                            "Loss.of(lambda w: total(w**4) / total(w**2)**2, dim=8)")
        # until it is known whether weights 0 are to be refused they are not
        self.scale_invariant = False  # type: ignore[misc]
        super().__init__(self.dim, noise)
        seen = _is_scale_invariant(self)
        if scale_invariant and not seen:
            raise ValueError("scale_invariant: expected False, since L(2w) differs from L(w) at weights that were tried, got True; "
                             "divide by a power of the norm")
        self.scale_invariant = seen if scale_invariant is None else bool(scale_invariant)  # type: ignore[misc]

    def _take_formula(self, formula: Callable[..., Any], symbols: Any, dim: int | None) -> None:
        if symbols is not None:
            raise TypeError("symbols: expected none for a formula, which takes its weights as one row; give dim")
        if dim is None:
            raise TypeError("dim: expected the number of weights, got None; Loss.of(formula, dim=8)")
        self.dim, self._shown_as = integer("dim", dim, at_least=1), getattr(formula, "__name__", "formula")
        graph = traced(formula)
        if graph.kind == "row":
            raise ValueError(f"formula: expected one number, got one for each weight from {self._shown_as}; sum with total(x)")
        self._value_graph = graph
        for weights in (np.ones(self.dim), np.ones((2, self.dim))):  # arrays that the formula brings must fit
            try:
                with np.errstate(all="ignore"):
                    evaluate(graph, {"W": weights})
            except ValueError as error:
                if str(error).startswith("formula:"):
                    raise
                raise ValueError(f"dim: expected one that the arrays in the formula fit, got {self.dim} ({error})") from None
        self._gradient_graph = gradient_of(graph, self.dim)

    def _take_expression(self, expression: sympy.Expr, symbols: Any, dim: int | None) -> None:
        if symbols is None:
            raise TypeError("symbols: expected the symbols of the weights, in order, got None; Loss.of(x**2 + y**4, [x, y])")
        names = [symbols] if isinstance(symbols, sympy.Symbol) else list(symbols)
        if len(set(names)) != len(names) or not names or not all(isinstance(s, sympy.Symbol) for s in names):
            raise ValueError(f"symbols: expected different symbols, one a weight, got {names}")
        if dim is not None and dim != len(names):
            raise ValueError(f"dim: expected {len(names)}, one for each symbol, got {dim}")
        real = [sympy.Dummy(s.name, real=True) for s in names]  # weights are real, whatever the symbols are
        given = sympy.sympify(expression).xreplace(dict(zip(names, real, strict=True)))
        self.expression, self.symbols, self._shown_as, self.dim = given, real, str(expression), len(names)
        self._value_graph = graph_of(given, real)
        self._gradient_graph = joined(*(graph_of(given.diff(s), real) for s in real))

    @property
    def value_graph(self) -> Node:  # type: ignore[override]
        """The operations of L."""
        return self._value_graph

    @property
    def gradient_graph(self) -> Node:  # type: ignore[override]
        """The operations of ∇L."""
        return self._gradient_graph

    def symbolic(self, w: Sequence[sympy.Expr]) -> sympy.Expr:
        """L as an expression in the d symbols `w`."""
        if self.expression is None:
            return super().symbolic(w)
        return self.expression.xreplace(dict(zip(self.symbols, self._symbols(w), strict=True)))

    @property
    def value_kernel(self) -> BlockFunction:
        """f(W, out, S, *constants): out ← L, one value a lane."""
        return row_kernel(self.value_graph, into="out")

    def _shown(self) -> list[str]:
        return [self._shown_as, f"dim={self.dim}"]

    def __repr__(self) -> str:
        return f"Loss.of{super().__repr__()[len('OwnLoss'):]}"


def _is_scale_invariant(loss: OwnLoss) -> bool:
    """Whether L(cw) = L(w) for c > 0: as the operations prove, else as numbers show at random weights."""
    graph: Node = loss.value_graph
    degree = degree_of(graph)
    if degree is not None:
        return degree == 0
    w = np.random.default_rng(0).normal(size=(16, loss.dim))
    with np.errstate(all="ignore"):
        here = loss.value(w)
        slopes = np.sum(loss.gradient(w) * w, axis=-1)
        sizes = np.linalg.norm(loss.gradient(w), axis=-1) * np.linalg.norm(w, axis=-1) + np.abs(here)
        errors = [np.abs(slopes), *(np.abs(loss.value(c * w) - here) for c in (0.5, 3.0))]
    defined = np.isfinite(errors).all(axis=0) & np.isfinite(sizes)
    return bool(defined.any() and all((error <= 1e-9 * sizes)[defined].all() for error in errors))


Loss._of_formula = OwnLoss
