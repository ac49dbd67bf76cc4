"""SDE integrators: one file a scheme, each its one-step map as an expression."""

from sdetheory.schemes import (  # noqa: F401
    euler_maruyama,
    geodesic_sphere,
    milstein,
    projected_sphere,
    strong_order_1_5,
    weak_order_2,
)
from sdetheory.schemes.process import SDEProcess, process_of
from sdetheory.schemes.scheme import NOISE_TYPES, REGISTRY, Increment, Scheme, get, numpy_step, register

__all__ = ["NOISE_TYPES", "REGISTRY", "Increment", "SDEProcess", "Scheme", "get", "numpy_step", "process_of", "register"]
