"""Losses, one formula a file; a new loss is one file and one line of `REGISTRY`."""

from collections.abc import Callable

import numpy as np

from ..noises import Isotropic, Tangent
from .bn_linear import BatchNormLinear
from .finite_sum import FiniteSum
from .formula_loss import FormulaLoss
from .loss import Loss
from .multi_well import MultiWell, double_well
from .own import OwnLoss  # noqa: F401  (what Loss.of makes)
from .quadratic import Quadratic
from .random_linear import RandomLinear
from .rayleigh_quotient import RayleighQuotient
from .sphere_quartic import SphereQuartic, axis_wells
from .toy_fraction import toy_fraction
from .two_layer_net import TwoLayerLinear, TwoLayerReLU
from .uv_model import UVModel

__all__ = ["REGISTRY", "BatchNormLinear", "FiniteSum", "FormulaLoss", "Loss", "MultiWell", "Quadratic", "RandomLinear",
           "RayleighQuotient", "SphereQuartic", "TwoLayerLinear", "TwoLayerReLU", "UVModel", "axis_wells", "double_well",
           "toy_fraction"]

_MATRIX = np.array([[2.0, 0.5, -0.25, 0.0], [0.5, 1.0, 0.125, -0.5],
                    [-0.25, 0.125, -1.0, 0.75], [0.0, -0.5, 0.75, 0.5]])
_SPECTRA = [[1.0, 0.0, 2.0], [0.0, 3.0, 1.0], [1.0, 1.0, -1.0]]
_INPUTS = np.array([[1.0, 0.5, -0.25], [0.5, -1.0, 0.75], [-0.5, 0.25, 1.5], [-1.25, 0.75, 0.5],
                    [0.25, 1.5, -1.0], [2.0, -0.5, 0.125], [-0.75, -1.5, 0.25], [0.125, 0.5, 1.25]])
_LABELS = np.array([1.0, 1.0, -1.0, -1.0, -1.0, 1.0, 1.0, -1.0])

#: Small examples by name: every loss here passes the tests of its derivatives, kernels and scale invariance.
REGISTRY: dict[str, Callable[[], Loss]] = {
    "rayleigh_quotient_diagonal": lambda: RayleighQuotient([3.0, 1.0, 0.5, 0.0, -0.25], Tangent(0.5)),
    "rayleigh_quotient_matrix": lambda: RayleighQuotient(_MATRIX, Tangent([0.5, 1.0, 0.0, 2.0])),
    "toy_fraction": toy_fraction,
    "sphere_quartic": lambda: SphereQuartic([1.0, -2.0, 0.5], offset=0.25),
    "axis_wells": lambda: axis_wells(4, depth=0.5),
    "multi_well": lambda: MultiWell(5, depth=0.75),
    "multi_well_asymmetric": lambda: MultiWell(3, depth=0.5, asymmetry=0.5),
    "double_well": lambda: double_well(3, depth=0.25),
    "finite_sum_diagonal": lambda: FiniteSum([RayleighQuotient(a) for a in _SPECTRA], batch_size=2),
    "finite_sum_matrix": lambda: FiniteSum([RayleighQuotient(_MATRIX), RayleighQuotient([1.0, 2.0, 0.0, 0.5])]),
    "finite_sum_quartic": lambda: FiniteSum([SphereQuartic(a, offset=0.25) for a in _SPECTRA], batch_size=3),
    "bn_linear_logistic": lambda: BatchNormLinear(_INPUTS, _LABELS),
    "bn_linear_minibatch": lambda: BatchNormLinear(_INPUTS, _LABELS, batch_size=4, gain=1.5),
    "bn_linear_squared_hinge": lambda: BatchNormLinear(_INPUTS, _LABELS, batch_size=4, link="squared_hinge",
                                                       margin=0.75),
    "uv_model": lambda: UVModel(3),
    "two_layer_linear": lambda: TwoLayerLinear(_INPUTS[:3, :2], [0.5, -1.0, 0.25], width=2, batch_size=2),
    "two_layer_relu": lambda: TwoLayerReLU(_INPUTS[:3, :2], [0.5, -1.0, 0.25], width=2, batch_size=1),
    "random_linear": lambda: RandomLinear([0.25, 0.75], [-2.0, 3.0], [0.5, -1.0]),
    "random_linear_matrices": lambda: RandomLinear([0.2, 0.5, 0.3], [np.diag(a) + _MATRIX[:3, :3] for a in _SPECTRA],
                                                   _SPECTRA[::-1]),
    "quadratic": lambda: Quadratic([1.0, 0.5, 2.0], Isotropic(0.5)),
}
