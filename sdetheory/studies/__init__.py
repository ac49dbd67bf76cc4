r"""Studies of many runs: the phases of a catapult, and how fast the error of a scheme falls with its step.

.. math:: e_w(h) = |E f(Y^h_T) - E f(X_T)| \approx C h^p, \qquad
          e_s(h) = \big(E\|Y^h_T - X_T\|^2\big)^{1/2} \approx C h^\gamma

Where the limit is not known, the distance of h and h/2 stands for the error: it falls with the same order, whatever the limit
is. A table keeps the error of the scheme and that of the sampling apart.
"""

from __future__ import annotations

from .phases import Phase, phases_of_ends, phases_of_losses
from .strong import strong_error_study
from .study import ErrorStudy
from .weak import weak_error_study
from .work_precision import WorkPrecision, work_precision

__all__ = ["ErrorStudy", "Phase", "WorkPrecision", "phases_of_ends", "phases_of_losses", "strong_error_study",
           "weak_error_study", "work_precision"]
