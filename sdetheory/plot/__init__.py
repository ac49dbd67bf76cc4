"""Figures of what was measured and what was predicted: `ax=` in, Axes out."""

from .catapult import catapult_film, curvature_change, misclassified, orbits, phase_map
from .ensembles import ensemble, paths, prediction
from .verdicts import verdict

__all__ = ["catapult_film", "curvature_change", "ensemble", "misclassified", "orbits", "paths", "phase_map", "prediction", "verdict"]
