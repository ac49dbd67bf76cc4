"""Itô calculus and derivations in SymPy: the theory wing's ground floor. It knows no simulation."""

from .conversions import Stratonovich, ito_correction, to_stratonovich
from .derivation import Derivation, DerivationResult, Step, simplified_residual
from .ito import L0, ItoDifferential, L, generator, ito_formula
from .linear_odes import solve_linear
from .moments import MomentEquations, moment_equations
from .notation import NOTATION, latex, mathml, symbol
from .stationarity import StationarityResult, check_stationary, probability_flux

__all__ = [
    "L0", "NOTATION", "Derivation", "DerivationResult", "ItoDifferential", "L", "MomentEquations", "StationarityResult",
    "Step", "Stratonovich", "check_stationary", "generator", "ito_correction", "ito_formula", "latex", "mathml",
    "moment_equations", "probability_flux", "simplified_residual", "solve_linear",
    "symbol", "to_stratonovich",
]
