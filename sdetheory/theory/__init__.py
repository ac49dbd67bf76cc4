"""Closed forms of the papers as `Formula`s, one module a paper: numbers, LaTeX and derivation from one expression.

This room knows no simulation: what it predicts is held against measurements in `claims.py` and `paper_checks/`. A paper
is loaded when it is first used.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING
from typing import Any as _Any

from .formula import CLOCKS, Formula, closed_form, joint_derivation

if TYPE_CHECKING:
    from . import catapult, exp_lr, intrinsic_lr, svag

__all__ = ["CLOCKS", "Formula", "catapult", "closed_form", "exp_lr", "intrinsic_lr", "joint_derivation", "svag"]

if not TYPE_CHECKING:
    def __getattr__(name: str) -> _Any:
        if name in __all__:  # a paper: the others are here already
            return _import_module(f".{name}", __name__)
        raise AttributeError(f"module 'sdetheory.theory' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
