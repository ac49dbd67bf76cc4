r"""Evidence for an equivalence: two one-sided tests (TOST) of |θ| < δ, in a claim's comparison with `Between(-δ, δ)`.

.. math:: |\hat\theta| + c_\alpha\,{\rm se} < \delta: \text{ confirmed}, \qquad
          |\hat\theta| - c_\alpha\,{\rm se} > \delta: \text{ refuted}, \qquad \text{inconclusive in between}

with c_α Student's one-sided critical value at the comparison's share of the budget: the chance to confirm what is not so is α.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from sdetheory import Between
from sdetheory.claims import Comparison, compare
from sdetheory.claims.evidence import POWER
from sdetheory.stats import Estimate, critical_value

__all__ = ["Equivalent"]


@dataclass(frozen=True)
class Equivalent:
    """A measured difference, or one a point, that is claimed to lie within the predicted `Between`."""

    difference: Estimate

    def __len__(self) -> int:
        return len(self.difference)


@compare.register
def _(evidence: Equivalent, name: str, predicted: Any, alpha: float, resolution: Any) -> list[Comparison]:
    if not isinstance(predicted, Between) or predicted.low != -predicted.high:
        raise ValueError(f"{name}: expected the prediction Between(-delta, delta) for an equivalence, got {predicted!r}")
    several = np.ndim(evidence.difference.value) > 0
    return [_compared(point, f"{name}[{i}]" if several else name, predicted, alpha, float(rho))
            for i, (point, rho) in enumerate(zip(evidence.difference.points(),
                                                 np.broadcast_to(resolution, len(evidence)), strict=True))]


def _compared(found: Estimate, name: str, predicted: Between, alpha: float, resolution: float) -> Comparison:
    delta = predicted.high
    critical = float(critical_value(2 * alpha, None if found.n is None else int(found.n)))  # one-sided
    margin = critical * float(found.stderr) + float(found.bias_bound)
    size = abs(float(found.value))
    status: Any = "inconclusive" if found.excluded else "confirmed" if size + margin < delta else \
        "refuted" if size - margin > delta else "inconclusive"
    remedy = f"|difference| + {margin:.2g} must be below {delta:g}: more paths" if status == "inconclusive" else ""
    seen = delta + margin + float(scipy.special.ndtri(POWER)) * float(found.stderr)
    return Comparison(name, predicted, float(found.value), float(found.stderr), float(found.bias_bound), critical,
                      resolution, status, seen, remedy)
