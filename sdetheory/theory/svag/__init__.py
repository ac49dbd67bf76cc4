"""When SGD is like its SDE (arXiv:2102.12470): closed forms of the claims SVAG-1 … SVAG-11.

`FORMULAS` holds every formula by name; `by_claim("SVAG-4")` those of a claim. The SDE is in gradient-flow time.

>>> [formula.name for formula in by_claim("SVAG-10")]
['near_miss_covariance', 'near_miss_noise']
"""

from typing import TYPE_CHECKING

from ..paper import collect

if TYPE_CHECKING:  # editors and type checkers read the files; a run collects them
    from .amplified_gradient import *
    from .equilibrium import *
    from .linear_gradients import *
    from .linear_scaling import *
    from .modified_equation import *
    from .noise_shape import *
    from .one_step import *
    from .stationary import *
    from .without_limit import *

FORMULAS, by_claim, __all__ = collect(__name__)
