"""Exponential learning rates (arXiv:1910.07454): closed forms of the claims EXP-1 … EXP-15.

`FORMULAS` holds every formula by name; `by_claim("EXP-7")` those of a claim. Clock: steps.

>>> [formula.name for formula in by_claim("EXP-3")]
['buffer_factor', 'decay_free_lr', 'lr_factor']
"""

from typing import TYPE_CHECKING

from ..paper import collect

if TYPE_CHECKING:  # editors and type checkers read the files; a run collects them
    from .buffers import *
    from .critical import *
    from .forgetting import *
    from .gradient_flow import *
    from .instability import *
    from .norm_growth import *
    from .roots import *
    from .slow_clock import *
    from .slow_schedules import *
    from .states import *

FORMULAS, by_claim, __all__ = collect(__name__)
