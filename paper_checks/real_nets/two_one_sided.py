r"""Evidence for an equivalence: two one-sided tests (TOST) of |θ| < δ, in a claim's comparison with `Between(-δ, δ)`.

.. math:: |\hat\theta| + c_\alpha\,{\rm se} < \delta: \text{ confirmed}, \qquad
          |\hat\theta| - c_\alpha\,{\rm se} > \delta: \text{ refuted}, \qquad \text{inconclusive in between}

with c_α Student's one-sided critical value at the comparison's share of the budget: the chance to confirm what is not so is α.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import scipy

from sdetheory import Between
from sdetheory.claims import Comparison, compare
from sdetheory.claims.evidence import POWER
from sdetheory.stats import Estimate, critical_value

__all__ = ["Equivalent"]


@dataclass(frozen=True)
class Equivalent:
    """A measured difference that is claimed to lie within the predicted `Between`."""

    difference: Estimate


@compare.register
def _(evidence: Equivalent, name: str, predicted: Any, alpha: float, resolution: Any) -> list[Comparison]:
    if not isinstance(predicted, Between) or predicted.low != -predicted.high:
        raise ValueError(f"{name}: expected the prediction Between(-delta, delta) for an equivalence, got {predicted!r}")
    found, delta = evidence.difference, predicted.high
    critical = float(critical_value(2 * alpha, None if found.n is None else int(found.n)))  # one-sided
    margin = critical * float(found.stderr) + float(found.bias_bound)
    size = abs(float(found.value))
    status: Any = "inconclusive" if found.excluded else "confirmed" if size + margin < delta else \
        "refuted" if size - margin > delta else "inconclusive"
    remedy = f"|difference| + {margin:.2g} must be below {delta:g}: more paths" if status == "inconclusive" else ""
    seen = delta + margin + float(scipy.special.ndtri(POWER)) * float(found.stderr)
    return [Comparison(name, predicted, float(found.value), float(found.stderr), float(found.bias_bound), critical,
                       float(resolution), status, seen, remedy)]
