"""Statistics of measured numbers: errors, discretisation bounds, orders, equivalence, power, false alarms, rounding.

What rounding explains is asked of `stats.rounding`.
"""

from .calibration import Coverage, clopper_pearson, coverage
from .discretisation import bias_from_difference, step_halving
from .equivalence import Equivalence, equivalence, equivalence_power, paths_needed, smallest_detectable
from .estimates import Estimate, critical_value, from_moments, from_points, mean_estimate
from .multiple import alpha_for, z_for
from .orders import OrderFit, fit_order, order_from_samples
from .propagation import jackknife, propagate, ratio
from .two_sample import Distance, difference, ks_distance, quantile_estimate

__all__ = [
    "Coverage", "Distance", "Equivalence", "Estimate", "OrderFit", "alpha_for", "bias_from_difference",
    "clopper_pearson", "coverage", "critical_value", "difference", "equivalence", "equivalence_power", "fit_order",
    "from_moments", "from_points", "jackknife", "ks_distance", "mean_estimate", "order_from_samples", "paths_needed", "propagate",
    "quantile_estimate", "ratio",
    "smallest_detectable", "step_halving", "z_for",
]
