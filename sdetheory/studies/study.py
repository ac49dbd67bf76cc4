"""A table of errors at step sizes, the slope of their logarithms, and what must be said about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..schemes import Scheme
from ..sde import SDE
from ..stats import OrderFit
from ..validation import integer

__all__ = ["ErrorStudy", "axes_or_new", "increment_rows", "step_numbers", "with_drift"]


@dataclass(frozen=True, repr=False)
class ErrorStudy:
    """Errors at step sizes, with the slope of their logarithms.

    Attributes
    ----------
    kind, scheme : "weak" or "strong", name of the scheme
    dt, errors, stderr : arrays, shape (k,)
        Steps from coarse to fine; the error there; its standard error from the sampling.
    promised : float or None
        The order that the scheme declares for this SDE.
    fit : OrderFit or None
        Slope with its interval; None where fewer than four errors are resolved.
    against : str
        What the error is measured against.
    message : str
        What was left out of the fit, or why there is none; that the slope is not yet asymptotic.
    """

    kind: str
    scheme: str
    dt: NDArray[np.float64]
    errors: NDArray[np.float64]
    stderr: NDArray[np.float64]
    promised: float | None
    fit: OrderFit | None
    against: str
    message: str

    @property
    def asymptotic(self) -> bool:
        """Whether there is a slope and it does not depend on the range of steps."""
        return self.fit is not None and self.fit.asymptotic

    def interval(self, alpha: float = 1e-3) -> tuple[float, float]:
        """The interval of the order that misses with probability alpha; ValueError where there is none."""
        if self.fit is None:
            raise ValueError(f"study: expected a fitted order, got none: {self.message}")
        return self.fit.interval(alpha)

    def table(self) -> str:
        """The numbers, one line a step."""
        lines = [f"{'dt':>12}{self.kind + ' error':>16}{'sampling error':>16}"]
        return "\n".join([*lines, *(f"{h:12.5g}{e:16.5g}{s:16.2g}" for h, e, s in
                                    zip(self.dt, self.errors, self.stderr, strict=True))])

    def plot(self, ax: Any = None) -> Any:
        """Errors against steps with two standard errors, and the fitted line; returns the axes."""
        ax = axes_or_new(ax)
        ax.errorbar(self.dt, self.errors, yerr=2 * self.stderr, fmt="o", capsize=2, label=self.scheme)
        if self.fit is not None:
            ax.plot(self.dt, self.fit.constant * self.dt**self.fit.order, "-", label=f"order {self.fit.order:.2f}")
        ax.set(xscale="log", yscale="log", xlabel="step", ylabel=f"{self.kind} error ({self.against})")
        ax.legend()
        return ax

    def __repr__(self) -> str:
        order = "no order" if self.fit is None else f"order {self.fit.order:.3f} ± {self.fit.stderr:.2g}"
        promise = "" if self.promised is None else f", {self.promised:g} promised"
        note = f"; {self.message}" if self.message else ""
        return (f"<{self.kind} error of {self.scheme}, {self.against}: {order}{promise}, {len(self.dt)} steps "
                f"{self.dt[0]:.3g} to {self.dt[-1]:.3g}{note}>")


def step_numbers(steps: Sequence[int]) -> list[int]:
    """At least four different numbers of steps, in order."""
    counts = sorted({integer("steps", n, at_least=1) for n in steps})
    if len(counts) < 4:
        raise ValueError(f"steps: expected at least 4 different numbers of steps, got {list(steps)}; try [4, 8, 16, 32, 64]")
    return counts


def increment_rows(scheme: Scheme, sde: SDE) -> dict[str, int]:
    """The rows of noise of a step that are not empty, by role."""
    return {role: count for role, count in scheme.increments_shape(sde).items() if count}


def with_drift(message: str, fit: OrderFit | None) -> str:
    """The message, and that the slope is not yet asymptotic where it is not."""
    if fit is None or fit.asymptotic:
        return message
    drift = f"not yet asymptotic: the slope drifts by {fit.drift:.2g} ± {fit.drift_stderr:.1g} over the range"
    return f"{message}; {drift}" if message else drift


def axes_or_new(ax: Any) -> Any:
    """`ax`, or the axes of a new figure."""
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots()
    return ax
