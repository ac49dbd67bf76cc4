"""The catapult mechanism (arXiv:2003.02218): closed forms of the claims CAT-1 … CAT-6 and CAT-10.

`FORMULAS` holds every formula by name; `by_claim("CAT-2")` those of a claim. In all of them `curvature` is the NTK λ and no
weight decay. Clock: steps.
"""

from __future__ import annotations

from ..formula import Formula
from . import curvature, initialisation, many_samples, peak, phases, two_numbers, universal_map
from .curvature import hessian_bulk, lowest_hessian_eigenvalue, ntk, top_hessian_eigenvalue
from .initialisation import (
    catapult_share,
    curvature_density,
    probability_catapult,
    probability_divergent,
    probability_lazy,
    squared_cosine_density,
)
from .many_samples import (
    kernel_element_step,
    kernel_recursion,
    kernel_step,
    residual_step,
    sq_readout_step,
    wide_growth_edge_many,
)
from .peak import final_near_edge, peak_near_edge, peak_step, wide_limit_peak, wide_limit_peak_band
from .phases import (
    divergence_edge,
    first_growth,
    first_growth_edge,
    lazy_factor,
    loss_budget,
    output_budget,
    wide_growth_edge,
)
from .two_numbers import curvature_step, output_step, sq_difference_step, sq_sum_step
from .universal_map import (
    balance_factor,
    discriminant_of_norms,
    discriminant_step,
    distance_to_edge_step,
    edge_angle_step,
    edge_lyapunov_exponent,
    edge_step,
    scaled_curvature_step,
    scaled_sq_output_step,
)

#: every formula of the paper by name, in the order of the claims
FORMULAS: dict[str, Formula] = dict(sorted(
    ((name, value) for module in (two_numbers, universal_map, phases, peak, curvature, many_samples, initialisation)
     for name, value in vars(module).items() if isinstance(value, Formula)),
    key=lambda item: (int(item[1].claim.removeprefix("CAT-")), item[0])))


def by_claim(claim: str) -> tuple[Formula, ...]:
    """The formulas of a claim.

    >>> [f.name for f in by_claim("CAT-1")]
    ['curvature_step', 'output_step', 'sq_difference_step', 'sq_sum_step']
    """
    found = tuple(f for f in FORMULAS.values() if f.claim == claim)
    if not found:
        raise ValueError(f"claim: expected one of {sorted({f.claim for f in FORMULAS.values()})}, got {claim!r}")
    return found


__all__ = [
    "FORMULAS", "balance_factor", "by_claim", "catapult_share", "curvature_density", "curvature_step",
    "discriminant_of_norms", "discriminant_step", "distance_to_edge_step", "divergence_edge", "edge_angle_step",
    "edge_lyapunov_exponent", "edge_step", "final_near_edge", "first_growth", "first_growth_edge", "hessian_bulk",
    "kernel_element_step", "kernel_recursion", "kernel_step", "lazy_factor", "loss_budget", "lowest_hessian_eigenvalue",
    "ntk", "output_budget", "output_step", "peak_near_edge", "peak_step", "probability_catapult",
    "probability_divergent", "probability_lazy", "residual_step", "scaled_curvature_step", "scaled_sq_output_step",
    "sq_difference_step", "sq_readout_step", "sq_sum_step", "squared_cosine_density", "top_hessian_eigenvalue",
    "wide_growth_edge", "wide_growth_edge_many", "wide_limit_peak", "wide_limit_peak_band",
]
