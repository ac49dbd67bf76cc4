"""Update rules and SDEs of SGD on a loss, one file each; each is a process for `simulate`."""

from .gradient_flow import GradientFlow
from .sgd import SGD
from .sgd_sde import SGDSDE
from .sphere_sde import EffectiveDynamics, SphereDiffusion

__all__ = ["SGD", "SGDSDE", "EffectiveDynamics", "GradientFlow", "SphereDiffusion"]
