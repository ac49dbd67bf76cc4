"""Moments and covariances without Monte Carlo: recursions that close, and Lyapunov equations."""

from .affine_moments import AffineMoments, affine_law, affine_moments, stationary_moments
from .stationary_covariance import sde_stationary_covariance, svag_stationary_covariance

__all__ = ["AffineMoments", "affine_law", "affine_moments", "sde_stationary_covariance", "stationary_moments",
           "svag_stationary_covariance"]
