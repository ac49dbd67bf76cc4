r"""Itô ↔ Stratonovich: the same process, written with another integral.

.. math:: dX = a\,dt + \sum_j b_j\,dW^j = \Big(a - c\Big)dt + \sum_j b_j\circ dW^j,\qquad
          c^i = \tfrac12\sum_{j,k} b^k_j\,\partial_k b^i_j
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sympy

from .ito import ItoProcess
from .notation import latex

__all__ = ["Stratonovich", "ito_correction", "to_stratonovich"]


@dataclass(frozen=True)
class Stratonovich:
    """dX = drift dt + diffusion ∘ dW: states (d), drift (d, 1), diffusion (d, m), time."""

    states: tuple[sympy.Symbol, ...]
    drift: sympy.ImmutableMatrix
    diffusion: sympy.ImmutableMatrix
    time: sympy.Symbol

    def __repr__(self) -> str:
        return f"Stratonovich(d{list(self.states)} = {list(self.drift)} d{self.time} + {self.diffusion.tolist()} ∘ dW)"

    def _repr_latex_(self) -> str:
        x = latex(sympy.ImmutableMatrix(self.states))
        return f"$$d{x} = {latex(self.drift)}\\,d{latex(self.time)} + {latex(self.diffusion)}\\circ dW$$"


def ito_correction(states: Sequence[sympy.Symbol], diffusion: sympy.MatrixBase) -> sympy.ImmutableMatrix:
    """c = ½ Σ_j (∂b_j) b_j, shape (d, 1): Itô drift minus Stratonovich drift."""
    total = sympy.zeros(len(states), 1)
    for j in range(diffusion.shape[1]):
        column = sympy.Matrix(diffusion[:, j])
        total += column.jacobian(list(states)) * column / 2
    return sympy.ImmutableMatrix(total.applyfunc(sympy.simplify))


def to_stratonovich(process: ItoProcess) -> Stratonovich:
    """The process with Stratonovich integrals: drift a - c, the same diffusion."""
    drift = process.drift - ito_correction(process.states, process.diffusion)
    return Stratonovich(tuple(process.states), sympy.ImmutableMatrix(drift.applyfunc(sympy.simplify)),
                        process.diffusion, process.time)
