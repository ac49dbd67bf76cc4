"""Update rules and SDEs of SGD on a loss, one file each; each is a process for `simulate`."""

from .gradient_flow import GradientFlow
from .kernel_recursion import KernelRecursion
from .noisy_gd import NoisyGD
from .random_linear_sde import random_linear_sde
from .sgd import SGD
from .sgd_sde import SGDSDE
from .single_batch_near_miss import SingleBatchNearMiss
from .sphere_sde import EffectiveDynamics, SphereDiffusion
from .svag import SVAG, PerEffectiveStep
from .uv_maps import OutputCurvatureMap, SumDifferenceMap, UniversalMap
from .uv_weights import UVDescent, UVProducts

__all__ = ["SGD", "SGDSDE", "SVAG", "EffectiveDynamics", "GradientFlow", "KernelRecursion", "NoisyGD", "OutputCurvatureMap",
           "PerEffectiveStep", "SingleBatchNearMiss", "SphereDiffusion", "SumDifferenceMap", "UVDescent", "UVProducts",
           "UniversalMap", "random_linear_sde"]
