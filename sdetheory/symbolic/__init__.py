"""Itô calculus and derivations in SymPy: the theory wing's ground floor. It knows no simulation."""

from .derivation import Derivation, DerivationResult, Step
from .notation import NOTATION, latex, mathml, symbol

__all__ = ["NOTATION", "Derivation", "DerivationResult", "Step", "latex", "mathml", "symbol"]
