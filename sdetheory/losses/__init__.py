"""Losses and gradient noises, one file each."""

from .gradient_noise import GradientNoise
from .loss import Loss
from .rayleigh_quotient import RayleighQuotient
from .tangent_noise import TangentNoise

__all__ = ["GradientNoise", "Loss", "RayleighQuotient", "TangentNoise"]
