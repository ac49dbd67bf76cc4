"""Exponential learning rates (arXiv:1910.07454): closed forms of the claims EXP-1 … EXP-12.

`FORMULAS` holds every formula by name; `by_claim("EXP-7")` those of a claim.
"""

from __future__ import annotations

from ..formula import Formula
from . import forgetting, roots, states
from .forgetting import (
    alpha_after,
    effective_lr_after_single_drop,
    forgetting_factor,
    texp_boundary_factor,
    texp_buffer_correction,
    texp_offset,
)
from .roots import alpha_step, exponential_lr, larger_root, larger_root_expansion, smaller_root, start_buffer
from .states import curvature_at_norm, decay_free_lr, instability_threshold, sq_norm_step, time_to_instability

#: every formula of the paper by name, in the order of the claims
FORMULAS: dict[str, Formula] = dict(sorted(
    ((name, value) for module in (states, roots, forgetting)
     for name, value in vars(module).items() if isinstance(value, Formula)),
    key=lambda item: (int(item[1].claim.removeprefix("EXP-")), item[0])))


def by_claim(claim: str) -> tuple[Formula, ...]:
    """The formulas of a claim.

    >>> [f.name for f in by_claim("EXP-3")]
    ['decay_free_lr']
    """
    found = tuple(f for f in FORMULAS.values() if f.claim == claim)
    if not found:
        raise ValueError(f"claim: expected one of {sorted({f.claim for f in FORMULAS.values()})}, got {claim!r}")
    return found


__all__ = [
    "FORMULAS", "alpha_after", "alpha_step", "by_claim", "curvature_at_norm", "decay_free_lr",
    "effective_lr_after_single_drop", "exponential_lr", "forgetting_factor", "instability_threshold", "larger_root",
    "larger_root_expansion", "smaller_root", "sq_norm_step", "start_buffer", "texp_boundary_factor",
    "texp_buffer_correction", "texp_offset", "time_to_instability",
]
