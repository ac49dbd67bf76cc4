"""Claims: a statement, its proof, the quantities it predicts, a measurement, and a wrong statement to tell apart.

A claim is confirmed when its proof closes, every comparison of a prediction with a measurement is confirmed (the rule
is in `evidence`), and its control is refuted by the same rule. Everything said of a number beforehand stands in its
`Quantity`; the measurement is the one other place where its name stands.
"""

from .claim import Claim, verdict_from_error, verify_all
from .evidence import Comparison, Distance, Estimate, Exact, compare, power_to_refute
from .quantity import Between, ClaimError, Quantity, Relative
from .trial import MODES, Mode, Trial
from .verdict import ControlOutcome, Verdict

__all__ = [
    "MODES", "Between", "Claim", "ClaimError", "Comparison", "ControlOutcome", "Distance", "Estimate", "Exact", "Mode",
    "Quantity", "Relative", "Trial", "Verdict", "compare", "power_to_refute", "verdict_from_error", "verify_all",
]
