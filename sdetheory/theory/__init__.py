"""Closed forms of the papers as `Formula`s, one module a paper: numbers, LaTeX and derivation from one expression.

This room knows no simulation: what it predicts is held against measurements in `claims.py` and `paper_checks/`.
"""

from . import catapult, exp_lr, intrinsic_lr, svag
from .formula import CLOCKS, Formula, closed_form, joint_derivation

__all__ = ["CLOCKS", "Formula", "catapult", "closed_form", "exp_lr", "intrinsic_lr", "joint_derivation", "svag"]
