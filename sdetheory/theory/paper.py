"""A paper's package: what its files hold is what it offers.

A formula is written in a file of the package, and nowhere else: `collect` finds it there.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Callable
from types import FunctionType

from .formula import Formula

__all__ = ["collect"]


def _order(formula: Formula) -> tuple[str, int, str]:
    """By claim, CAT-2 before CAT-10, then by name."""
    parts = re.fullmatch(r"([A-Z]+)-([0-9]+)", formula.claim)
    if parts is None:
        raise ValueError(
            f"claim: expected capitals, a hyphen and a number, such as 'CAT-2', got "
            f"{formula.claim!r} for the formula {formula.name}"
        )
    return parts[1], int(parts[2]), formula.name


def _written_in(package: str) -> dict[str, Formula]:
    """The public formulas of the files of a package, by the names that they have there."""
    files = [name for _, name, _ in pkgutil.iter_modules(sys.modules[package].__path__)]
    found: dict[str, Formula] = {}
    for file in files:
        for name, value in vars(importlib.import_module(f"{package}.{file}")).items():
            if not isinstance(value, Formula) or name.startswith("_"):
                continue
            if not vars(value).get("__module__", f"{package}.").startswith(f"{package}."):
                continue  # another paper's, which a derivation starts from
            if name in files or found.setdefault(name, value) is not value:
                taken = f"the file {name}.py" if name in files else "another formula"
                raise ValueError(
                    f"{package}.{file}: expected a name of its own for every formula, got {name}, "
                    f"which is the name of {taken} of the package; rename one"
                )
    return found


def collect(
    package: str,
) -> tuple[dict[str, Formula], Callable[[str], tuple[Formula, ...]], list[str]]:
    """Put every formula of the files of a package into it.

    Functions that are no formulas are offered where the package's `__init__` imports them by name.

    Parameters
    ----------
    package : `__name__` of the package.

    Returns
    -------
    tuple
        What the package calls `FORMULAS`, `by_claim` and `__all__`: every formula by name, in the
        order of the claims and then of the names; a function from the id of a claim to its
        formulas; and the names that the package offers.

    Raises
    ------
    ValueError
        If two formulas have one name, or a formula that of a file, or a claim's id is no prefix and
        number.

    Examples
    --------
    >>> FORMULAS, by_claim, names = collect("sdetheory.theory.svag")
    >>> [formula.name for formula in by_claim("SVAG-10")]
    ['near_miss_covariance', 'near_miss_noise']
    """
    formulas = dict(sorted(_written_in(package).items(), key=lambda item: _order(item[1])))
    namespace = vars(sys.modules[package])
    functions = [
        name
        for name, value in namespace.items()
        if isinstance(value, FunctionType)
        and not name.startswith("_")
        and value.__module__.startswith(f"{package}.")
    ]

    def by_claim(claim: str) -> tuple[Formula, ...]:
        """Return the formulas of a claim, by name; ValueError where there is none."""
        found = tuple(formula for formula in formulas.values() if formula.claim == claim)
        if not found:
            claims = list(dict.fromkeys(formula.claim for formula in formulas.values()))
            raise ValueError(f"claim: expected one of {', '.join(claims)}, got {claim!r}")
        return found

    by_claim.__module__, by_claim.__qualname__ = package, "by_claim"
    namespace.update(formulas)
    return formulas, by_claim, sorted({"FORMULAS", "by_claim", *formulas, *functions})
