"""What a test of scale invariance found: groups of parameters, their gaps, and the reason where there is one."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from torch import nn

__all__ = ["GroupTest", "InvarianceReport"]


@dataclass(frozen=True)
class GroupTest:
    """One set of parameters, scaled together.

    Attributes
    ----------
    names : of the parameters, as `model.named_parameters()` has them.
    n_weights : how many numbers they hold.
    invariant : whether the gap is within what rounding explains.
    gap : largest |L(c w_S) − L(w)| over factors and points; infinite where the loss was not finite.
    rounding : the largest gap in float64 that rounding explains.
    radial : largest |cos| of the angle between ∇_S L and w_S: 0 in exact arithmetic if invariant.
    reason : what breaks it.
    """

    names: tuple[str, ...]
    n_weights: int
    invariant: bool
    gap: float
    rounding: float
    radial: float
    reason: str = ""

    @property
    def label(self) -> str:
        """The name, or the first and how many more."""
        return self.names[0] if len(self.names) == 1 else f"{self.names[0]} + {len(self.names) - 1}"

    def __repr__(self) -> str:
        verdict = "scale-invariant" if self.invariant else f"NOT scale-invariant ({self.reason or 'no reason sought'})"
        return f"<{self.label}: {verdict}; gap {self.gap:.2g}, rounding explains {self.rounding:.2g}>"


@dataclass(frozen=True, repr=False)
class InvarianceReport:
    """Groups of trained parameters that a loss sees no scale of, and those it does.

    Attributes
    ----------
    whole : the test of all trained parameters together.
    groups : disjoint sets, each scale-invariant with all else held; so is every union of them.
    broken : the parameters in no such set, each with the reason.
    """

    whole: GroupTest
    groups: tuple[GroupTest, ...]
    broken: tuple[GroupTest, ...]

    def __bool__(self) -> bool:
        return self.whole.invariant

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all parameters in scale-invariant groups."""
        return tuple(name for group in self.groups for name in group.names)

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Parameter groups for a torch optimizer: `scale-invariant` and, if there is any, `rest`, marked as such.

        Raises
        ------
        ValueError
            Where no group is scale-invariant; it says why.
        """
        if not self.groups:
            why = "; ".join(f"{test.label}: {test.reason}" for test in self.broken[:3])
            raise ValueError(f"model: expected a scale-invariant group of parameters, found none ({why}); "
                             "normalise after each layer and fix the last")
        known = dict(model.named_parameters())
        if unknown := [name for name in (*self.names, *self.whole.names) if name not in known]:
            raise ValueError(f"model: expected the parameters of the report, found no {unknown[0]}; give the tested model")
        found = [{"params": [known[n] for n in self.names], "name": "scale-invariant", "scale_invariant": True}]
        rest = [name for test in self.broken for name in test.names]
        if rest:
            found.append({"params": [known[n] for n in rest], "name": "rest", "scale_invariant": False})
        return found

    def __repr__(self) -> str:
        held = sum(group.n_weights for group in self.groups)
        whole = "scale-invariant as a whole" if self else "NOT scale-invariant as a whole"
        broken = "" if not self.broken else "; broken: " + "; ".join(f"{t.label} ({t.reason})" for t in self.broken)
        return (f"<InvarianceReport: {whole}; {len(self.groups)} group(s) hold {held} of {self.whole.n_weights} "
                f"trained weights{broken}>")

    def _repr_html_(self) -> str:
        rows = []
        for test in (*self.groups, *self.broken):
            verdict = "scale-invariant" if test.invariant else test.reason
            cells = (", ".join(test.names), str(test.n_weights), verdict, f"{test.gap:.2g}", f"{test.radial:.2g}")
            rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
        head = "".join(f"<th>{h}</th>" for h in ("parameters", "weights", "verdict", "gap", "radial"))
        title = "scale-invariant as a whole" if self else "not scale-invariant as a whole"
        return f"<table><caption>{title}</caption><tr>{head}</tr>{''.join(rows)}</table>"
