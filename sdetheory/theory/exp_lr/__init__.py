"""Exponential learning rates (arXiv:1910.07454): closed forms of the claims EXP-1 … EXP-13.

`FORMULAS` holds every formula by name; `by_claim("EXP-7")` those of a claim. Clock: steps.
"""

from __future__ import annotations

from ..formula import Formula
from . import buffers, critical, forgetting, instability, norm_growth, roots, slow_clock, states
from .buffers import (
    buffer_factor,
    buffer_tilt,
    equivalent_weight_decay,
    exponential_lr_without_momentum,
    lr_factor,
    total_decay_step,
)
from .critical import critical_intrinsic_lr, decay_rate_lower_bound, double_root_alpha, growth_in_steps, rotation_angle
from .forgetting import (
    alpha_after,
    effective_lr_after_single_drop,
    forgetting_factor,
    texp_boundary_factor,
    texp_buffer_correction,
    texp_offset,
)
from .instability import deviation_factor, instability_threshold, plain_deviation_factor, time_to_instability
from .norm_growth import (
    guaranteed_decrease,
    overlap_step,
    sq_norm_limit_bound,
    sq_norm_step_momentum,
    sum_of_squared_steps,
)
from .roots import alpha_step, exponential_lr, larger_root, larger_root_expansion, smaller_root, start_buffer
from .slow_clock import effective_lr_after_division, norm_forgetting_rate
from .states import curvature_at_norm, decay_free_lr, sq_norm_step

#: every formula of the paper by name, in the order of the claims
FORMULAS: dict[str, Formula] = dict(sorted(
    ((name, value) for module in (states, norm_growth, buffers, roots, critical, forgetting, slow_clock, instability)
     for name, value in vars(module).items() if isinstance(value, Formula)),
    key=lambda item: (int(item[1].claim.removeprefix("EXP-")), item[0])))


def by_claim(claim: str) -> tuple[Formula, ...]:
    """The formulas of a claim.

    >>> [f.name for f in by_claim("EXP-3")]
    ['buffer_factor', 'decay_free_lr', 'lr_factor']
    """
    found = tuple(f for f in FORMULAS.values() if f.claim == claim)
    if not found:
        raise ValueError(f"claim: expected one of {sorted({f.claim for f in FORMULAS.values()})}, got {claim!r}")
    return found


__all__ = [
    "FORMULAS", "alpha_after", "alpha_step", "buffer_factor", "buffer_tilt", "by_claim", "critical_intrinsic_lr",
    "curvature_at_norm", "decay_free_lr", "decay_rate_lower_bound", "deviation_factor", "double_root_alpha",
    "effective_lr_after_division", "effective_lr_after_single_drop", "equivalent_weight_decay", "exponential_lr",
    "exponential_lr_without_momentum", "forgetting_factor", "growth_in_steps", "guaranteed_decrease",
    "instability_threshold", "larger_root", "larger_root_expansion", "lr_factor", "norm_forgetting_rate",
    "overlap_step", "plain_deviation_factor", "rotation_angle", "smaller_root", "sq_norm_limit_bound",
    "sq_norm_step", "sq_norm_step_momentum", "start_buffer", "sum_of_squared_steps", "texp_boundary_factor",
    "texp_buffer_correction", "texp_offset", "time_to_instability", "total_decay_step",
]
