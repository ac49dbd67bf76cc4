"""Update rules and SDEs of SGD on a loss, one file each; each is a process for `simulate`."""

from .affine_moments import AffineMoments, affine_law, affine_moments, stationary_moments
from .gradient_flow import GradientFlow
from .kernel_recursion import KernelRecursion
from .noisy_gd import NoisyGD
from .phases import Phase, phases_of_ends, phases_of_losses
from .random_linear_sde import random_linear_sde
from .sgd import SGD
from .sgd_sde import SGDSDE
from .single_batch_near_miss import SingleBatchNearMiss
from .sphere_sde import EffectiveDynamics, SphereDiffusion
from .stationary_covariance import sde_stationary_covariance, svag_stationary_covariance
from .svag import SVAG, PerEffectiveStep
from .uv_maps import OutputCurvatureMap, SumDifferenceMap, UniversalMap
from .uv_weights import UVDescent, UVProducts

__all__ = ["SGD", "SGDSDE", "SVAG", "AffineMoments", "EffectiveDynamics", "GradientFlow", "KernelRecursion",
           "NoisyGD", "OutputCurvatureMap", "PerEffectiveStep", "Phase", "SingleBatchNearMiss",
           "SphereDiffusion", "SumDifferenceMap", "UVDescent", "UVProducts", "UniversalMap", "affine_law",
           "affine_moments", "phases_of_ends", "phases_of_losses", "random_linear_sde", "sde_stationary_covariance",
           "stationary_moments", "svag_stationary_covariance"]
