"""Update rules and SDEs of SGD on a loss, one file each; each is a process for `simulate`."""

from .gradient_flow import GradientFlow
from .phases import Phase, phases_of_ends, phases_of_losses
from .sgd import SGD
from .sgd_sde import SGDSDE
from .sphere_sde import EffectiveDynamics, SphereDiffusion
from .uv_maps import OutputCurvatureMap, ReducedStart, SumDifferenceMap, UniversalMap
from .uv_weights import UVDescent, UVProducts

__all__ = ["SGD", "SGDSDE", "EffectiveDynamics", "GradientFlow", "OutputCurvatureMap", "Phase", "ReducedStart",
           "SphereDiffusion", "SumDifferenceMap", "UVDescent", "UVProducts", "UniversalMap", "phases_of_ends",
           "phases_of_losses"]
