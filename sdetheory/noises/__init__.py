"""Gradient noises, one file each; a new noise is one file and one line of `REGISTRY`."""

from collections.abc import Callable

import numpy as np

from .alpha_stable import AlphaStable
from .fixed_length import FixedLength
from .gradient_noise import FormulaNoise, GradientNoise
from .isotropic import Isotropic
from .minibatch import Minibatch
from .random_linear import GaussianLinear, RandomLinear
from .tangent import Tangent

__all__ = ["REGISTRY", "AlphaStable", "FixedLength", "FormulaNoise", "GaussianLinear", "GradientNoise", "Isotropic", "Minibatch",
           "RandomLinear", "Tangent"]

_ROOT = np.array([[2.0, 0.5, -0.25, 0.0], [0.5, 1.0, 0.125, -0.5],
                  [-0.25, 0.125, -1.0, 0.75], [0.0, -0.5, 0.75, 0.5]])

#: Gradient noises ξ = A(w) z, z of unit covariance, by name, with the dimension they are for: A is a root of the stated covariance.
REGISTRY: dict[str, tuple[int, Callable[[], GradientNoise]]] = {
    "tangent": (3, lambda: Tangent(0.5)),
    "tangent_diagonal": (3, lambda: Tangent([0.25, 0.0, 2.0])),
    "tangent_matrix": (4, lambda: Tangent(_ROOT @ _ROOT)),
    "isotropic": (3, lambda: Isotropic(0.5)),
    "fixed_length": (4, lambda: FixedLength(0.5)),
}
