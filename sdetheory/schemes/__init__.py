"""SDE integrators: one file a scheme, each its one-step map as an expression."""

from sdetheory.schemes import euler_maruyama  # noqa: F401
from sdetheory.schemes.scheme import NOISE_TYPES, REGISTRY, Increment, Scheme, get, numpy_step, register

__all__ = ["NOISE_TYPES", "REGISTRY", "Increment", "Scheme", "get", "numpy_step", "register"]
