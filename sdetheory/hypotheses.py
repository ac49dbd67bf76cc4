"""Hypotheses of theorems, checked when a formula is used: a theorem says nothing outside of them."""

from __future__ import annotations

from typing import Any

__all__ = ["HypothesisError", "require"]


class HypothesisError(ValueError):
    """A hypothesis of the claim `claim` does not hold: `CLAIM: needs ..., got ...; remedy`.

    >>> raise HypothesisError("EXP-7", "intrinsic lr <= (1 - sqrt(momentum))^2", "intrinsic lr 0.5")
    Traceback (most recent call last):
    sdetheory.hypotheses.HypothesisError: EXP-7: needs intrinsic lr <= (1 - sqrt(momentum))^2, got intrinsic lr 0.5
    """

    def __init__(self, claim: str, needs: str, received: Any = None, remedy: str = "") -> None:
        self.claim, self.needs, self.received, self.remedy = claim, needs, received, remedy
        super().__init__(claim, needs, received, remedy)  # the arguments as they came, so that it can be pickled

    def __str__(self) -> str:
        received = "" if self.received is None else f", got {self.received}"
        return f"{self.claim}: needs {self.needs}{received}{'; ' + self.remedy if self.remedy else ''}"


def require(holds: bool, claim: str, needs: str, received: Any = None, remedy: str = "") -> None:
    """Raise `HypothesisError` unless `holds`."""
    if not holds:
        raise HypothesisError(claim, needs, received, remedy)
