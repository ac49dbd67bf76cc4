"""sdetheory: a numerical laboratory for the theory of SGD.

Write a process or a loss once; get its theory symbolically, its simulation at compiled speed, and a verdict on whether the
two agree. `import sdetheory as sdt` loads neither torch nor matplotlib; each name below is loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "SDE": "sde", "SGD": "dynamics", "SVAG": "dynamics", "simulate": "simulation", "expect": "expectation",
    "Formula": "theory.formula", "Derivation": "symbolic", "Claim": "claims", "Control": "claims", "verify_all": "claims",
    "Estimate": "evidence", "Exact": "evidence", "Relative": "evidence", "Resolution": "evidence", "Between": "evidence",
}
_ROOMS = ("claims", "dynamics", "error_studies", "evidence", "expectation", "hypotheses", "kernels", "losses", "plot",
          "random", "references", "scaling_rule", "schedules", "schemes", "sde", "simulation", "sphere", "stats", "symbolic",
          "theory", "torch", "translate", "validation", "verdicts")

__all__ = ["__version__", *_WHERE, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        globals()[name] = getattr(import_module(f".{_WHERE[name]}", __name__), name)
        return globals()[name]
    if name in _ROOMS:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module 'sdetheory' has no attribute {name!r}; it has {', '.join(sorted(__all__))}")


def __dir__() -> list[str]:
    return sorted(__all__)
