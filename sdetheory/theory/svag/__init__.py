"""When SGD is like its SDE (arXiv:2102.12470): closed forms of the claims SVAG-1 … SVAG-11.

`FORMULAS` holds every formula by name; `by_claim("SVAG-4")` those of a claim. The SDE is in gradient-flow time.
"""

from __future__ import annotations

from ..formula import Formula
from . import (
    amplified_gradient,
    equilibrium,
    linear_gradients,
    linear_scaling,
    modified_equation,
    noise_shape,
    one_step,
    stationary,
    without_limit,
)
from .amplified_gradient import (
    amplified_covariance,
    amplified_third_moment,
    first_weight,
    near_miss_covariance,
    near_miss_noise,
    second_weight,
    spread_covariance,
)
from .equilibrium import (
    largest_signal_to_noise,
    least_noise_to_signal,
    sde_equilibrium_sq_norm,
    svag_equilibrium_sq_norm,
)
from .linear_gradients import (
    mean_error,
    sde_mean,
    sde_second_moment_rate,
    second_moment_error,
    svag_mean,
    svag_second_moment_step,
)
from .linear_scaling import batch_factor_bound, largest_batch_factor, least_similarity, simple_batch_factor_bound
from .modified_equation import first_order_mean_error, modified_drift, modified_loss, second_order_mean_error
from .noise_shape import fourth_moment_gap, sde_second_moment_gap, skewed_step_gap, symmetric_step_gap, third_moment_gap
from .one_step import one_step_mean_gap, one_step_second_moment_gap, one_step_third_moment_gap
from .stationary import (
    sde_stationary_covariance,
    sde_stationary_variance,
    sgd_stationary_variance,
    svag_stationary_covariance,
    svag_stationary_variance,
)
from .without_limit import descent_over_flow, second_moment_over_sde, stable_displacement, stable_growth_exponent

#: every formula of the paper by name, in the order of the claims
FORMULAS: dict[str, Formula] = dict(sorted(
    {name: value for module in (amplified_gradient, one_step, linear_gradients, stationary, equilibrium, linear_scaling,
                                noise_shape, without_limit, modified_equation)
     for name, value in vars(module).items() if isinstance(value, Formula)}.items(),
    key=lambda item: (int(item[1].claim.removeprefix("SVAG-")), item[0])))


def by_claim(claim: str) -> tuple[Formula, ...]:
    """The formulas of a claim.

    >>> [f.name for f in by_claim("SVAG-10")]
    ['near_miss_covariance', 'near_miss_noise']
    """
    found = tuple(f for f in FORMULAS.values() if f.claim == claim)
    if not found:
        raise ValueError(f"claim: expected one of {sorted({f.claim for f in FORMULAS.values()})}, got {claim!r}")
    return found


__all__ = [
    "FORMULAS", "by_claim", "amplified_covariance", "amplified_third_moment", "batch_factor_bound",
    "descent_over_flow", "first_order_mean_error", "first_weight", "fourth_moment_gap", "largest_batch_factor",
    "largest_signal_to_noise", "least_noise_to_signal", "least_similarity", "mean_error", "modified_drift", "modified_loss",
    "near_miss_covariance", "near_miss_noise", "one_step_mean_gap", "one_step_second_moment_gap",
    "one_step_third_moment_gap", "sde_equilibrium_sq_norm", "sde_mean", "sde_second_moment_gap",
    "sde_second_moment_rate", "sde_stationary_covariance", "sde_stationary_variance", "second_moment_error",
    "second_moment_over_sde", "second_order_mean_error", "second_weight", "sgd_stationary_variance", "simple_batch_factor_bound",
    "skewed_step_gap", "spread_covariance", "stable_displacement", "stable_growth_exponent",
    "svag_equilibrium_sq_norm", "svag_mean", "svag_second_moment_step", "svag_stationary_covariance",
    "svag_stationary_variance", "symmetric_step_gap", "third_moment_gap",
]
