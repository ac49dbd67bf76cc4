r"""A family-wise budget of false alarms, shared by all the comparisons of a run.

    P(any of m true statements refuted) <= budget:    alpha = budget / m (Bonferroni), 1 - (1 - budget)^{1/m} (Sidak)
"""

from __future__ import annotations

import math
from typing import Literal

from ..validation import integer, number
from .estimates import critical_value

__all__ = ["alpha_for", "z_for"]


def alpha_for(budget: float, n_comparisons: int, method: Literal["bonferroni", "sidak"] = "bonferroni") -> float:
    """Return the false-alarm probability of one comparison.

    Bonferroni holds whatever the dependence; Sidak for independent and for jointly normal two-sided comparisons.

    >>> alpha_for(1e-3, 20)
    5e-05
    """
    budget = number("budget", budget, above=0, below=1)
    m = integer("n_comparisons", n_comparisons, at_least=1, at_most=2**53)
    if method == "bonferroni":
        return budget / m
    if method == "sidak":
        return -math.expm1(math.log1p(-budget) / m)
    raise ValueError(f"method: expected 'bonferroni' or 'sidak', got {method!r}")


def z_for(budget: float, n_comparisons: int, method: Literal["bonferroni", "sidak"] = "bonferroni") -> float:
    """Return the two-sided normal critical value of one comparison out of `n_comparisons`.

    >>> round(z_for(1e-3, 1), 3), round(z_for(1e-3, 20), 3)
    (3.291, 4.056)
    """
    return float(critical_value(alpha_for(budget, n_comparisons, method)))
