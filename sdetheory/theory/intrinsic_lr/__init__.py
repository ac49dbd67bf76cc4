"""The intrinsic learning rate (arXiv:2010.02916): closed forms of the claims ILR-1 … ILR-15.

`FORMULAS` holds every formula by name; `by_claim("ILR-4")` those of a claim. Step time unless a formula says otherwise.
"""

from __future__ import annotations

from ..formula import Formula
from . import discrete, mixing, noise, norm, relaxation, stationary, toy
from .discrete import (
    discrete_multiplier,
    discrete_sq_norm_fixed_point,
    discrete_sq_norm_step,
    equivalent_lr,
    equivalent_weight_decay,
    momentum_angle,
    momentum_equilibrium_sq_norm,
    momentum_sq_step,
)
from .mixing import (
    direction_autocorrelation,
    equilibrium_harmonic_rate,
    harmonic_rate,
    kramers_rate,
    mean_sq_displacement,
    slowest_rate,
    well_share,
)
from .noise import flow_noise, noise_trace_at_norm
from .norm import (
    direction_radial_drift,
    effective_lr,
    effective_lr_of_gamma,
    equilibrium_effective_lr,
    equilibrium_gamma,
    equilibrium_sq_norm,
    flow_sq_norm,
    gamma,
    gamma_drift,
    sq_norm,
    time_to_equilibrium,
)
from .relaxation import (
    effective_lr_after_decay_drop,
    effective_lr_after_lr_drop,
    gamma_lower,
    gamma_memory,
    gamma_upper,
)
from .stationary import equilibrium_mean_loss, sgd_mean_loss_gap, stationary_loss_density, stationary_mean_loss
from .toy import (
    toy_cycle_multiplier,
    toy_effective_lr_step,
    toy_flow_ratio,
    toy_loss_floor,
    toy_multiplier,
    toy_ratio_step,
    toy_threshold,
)

#: every formula of the paper by name, in the order of the claims
FORMULAS: dict[str, Formula] = dict(sorted(
    ((name, value) for module in (noise, norm, relaxation, discrete, stationary, mixing, toy)
     for name, value in vars(module).items() if isinstance(value, Formula)),
    key=lambda item: (int(item[1].claim.removeprefix("ILR-")), item[0])))


def by_claim(claim: str) -> tuple[Formula, ...]:
    """The formulas of a claim.

    >>> [f.name for f in by_claim("ILR-15")]
    ['flow_noise', 'flow_sq_norm']
    """
    found = tuple(f for f in FORMULAS.values() if f.claim == claim)
    if not found:
        raise ValueError(f"claim: expected one of {sorted({f.claim for f in FORMULAS.values()})}, got {claim!r}")
    return found


__all__ = [
    "FORMULAS", "by_claim", "direction_autocorrelation", "direction_radial_drift", "discrete_multiplier",
    "discrete_sq_norm_fixed_point", "discrete_sq_norm_step", "effective_lr", "effective_lr_after_decay_drop",
    "effective_lr_after_lr_drop", "effective_lr_of_gamma", "equilibrium_effective_lr", "equilibrium_gamma",
    "equilibrium_harmonic_rate", "equilibrium_mean_loss", "equilibrium_sq_norm", "equivalent_lr",
    "equivalent_weight_decay", "flow_noise", "flow_sq_norm", "gamma", "gamma_drift", "gamma_lower", "gamma_memory", "gamma_upper",
    "harmonic_rate", "kramers_rate", "mean_sq_displacement", "momentum_angle", "momentum_equilibrium_sq_norm", "momentum_sq_step",
    "noise_trace_at_norm", "sgd_mean_loss_gap", "slowest_rate", "sq_norm", "stationary_loss_density", "stationary_mean_loss",
    "time_to_equilibrium", "toy_cycle_multiplier", "toy_effective_lr_step", "toy_flow_ratio", "toy_loss_floor",
    "toy_multiplier", "toy_ratio_step", "toy_threshold", "well_share",
]
