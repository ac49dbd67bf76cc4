"""sdetheory: a numerical laboratory for the theory of SGD.

Write a process or a loss once; get its theory symbolically, its simulation at compiled speed, and a verdict on whether the
two agree. `import sdetheory as sdt` loads no other package; each name below is loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what `__getattr__` does, for editors and type checkers
    from . import (
        claims,
        dynamics,
        exact,
        expectation,
        hypotheses,
        losses,
        machine,
        noises,
        papers,
        plot,
        process,
        processes,
        random,
        recording,
        scaling_rule,
        schedules,
        schemes,
        sde,
        simulation,
        sphere,
        starts,
        stats,
        studies,
        symbolic,
        theory,
        torch,
        translate,
        validation,
    )
    from .claims import Between, Claim, Estimate, Exact, Quantity, Relative, verify_all
    from .dynamics import SGD, SVAG
    from .engine.rows import total
    from .expectation import expect
    from .losses import Loss
    from .sde import SDE
    from .simulation import simulate
    from .symbolic import Derivation
    from .theory.formula import Formula

__version__ = "0.1.0"

_WHERE = {
    "SDE": "sde", "Loss": "losses", "total": "engine.rows", "SGD": "dynamics", "SVAG": "dynamics",
    "simulate": "simulation", "expect": "expectation",
    "Formula": "theory.formula", "Derivation": "symbolic", "Claim": "claims", "Quantity": "claims", "verify_all": "claims",
    "Between": "claims", "Estimate": "claims", "Exact": "claims", "Relative": "claims",
}
__all__ = ["SDE", "SGD", "SVAG", "Between", "Claim", "Derivation", "Estimate", "Exact", "Formula", "Loss", "Quantity", "Relative",
           "__version__", "claims", "dynamics", "exact", "expect", "expectation", "hypotheses",
           "losses", "machine", "noises", "papers", "plot", "process", "processes", "random", "recording",
           "scaling_rule", "schedules", "schemes",
           "sde", "simulate", "simulation", "sphere", "starts", "stats", "studies", "symbolic", "theory", "torch", "total", "translate",
           "validation", "verify_all"]


if not TYPE_CHECKING:  # a type checker that saw this would take any name for good
    def __getattr__(name: str) -> Any:
        if name in _WHERE:
            globals()[name] = getattr(import_module(f".{_WHERE[name]}", __name__), name)
            return globals()[name]
        if name in __all__:
            return import_module(f".{name}", __name__)
        raise AttributeError(f"module 'sdetheory' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
