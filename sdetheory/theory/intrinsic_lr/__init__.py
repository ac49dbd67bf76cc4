"""The intrinsic learning rate (arXiv:2010.02916): closed forms of the claims ILR-1 … ILR-15.

`FORMULAS` holds every formula by name; `by_claim("ILR-4")` those of a claim. Step time unless a formula says otherwise.

>>> [formula.name for formula in by_claim("ILR-15")]
['flow_noise', 'flow_sq_norm']
"""

from typing import TYPE_CHECKING

from ..paper import collect

if TYPE_CHECKING:  # editors and type checkers read the files; a run collects them
    from .discrete import *
    from .mixing import *
    from .noise import *
    from .norm import *
    from .relaxation import *
    from .stationary import *
    from .toy import *

FORMULAS, by_claim, __all__ = collect(__name__)
