"""The catapult mechanism (arXiv:2003.02218): closed forms of the claims CAT-1 … CAT-6, CAT-10 and CAT-11.

`FORMULAS` holds every formula by name; `by_claim("CAT-2")` those of a claim. In all of them `curvature` is the NTK λ and no
weight decay. Clock: steps.

>>> [formula.name for formula in by_claim("CAT-1")]
['curvature_step', 'output_step', 'sq_difference_step', 'sq_sum_step']
"""

from typing import TYPE_CHECKING

from ..paper import collect
from .many_samples import kernel_recursion, kernel_step
from .peak import wide_limit_peak, wide_limit_peak_band

if TYPE_CHECKING:  # editors and type checkers read the files; a run collects them
    from .curvature import *
    from .initialisation import *
    from .many_samples import *
    from .peak import *
    from .phases import *
    from .settling import *
    from .two_numbers import *
    from .universal_map import *

FORMULAS, by_claim, __all__ = collect(__name__)
