"""One derivation out of those of several formulas, each under its name."""

from __future__ import annotations

from sdetheory.symbolic import Derivation
from sdetheory.theory.formula import Formula

__all__ = ["gathered"]


def gathered(title: str, *formulas: Formula) -> Derivation:
    """The derivations of the formulas; what two of them share by title is told apart by the formula's name."""
    whole = Derivation(title)
    for formula in formulas:
        whole.including(Derivation(formula.name).including(formula.derivation))
    return whole
