"""Work against precision: the same expectation by several methods at several tolerances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..expectation.result import Expectation
from ..expectation.to_tolerance import expect
from ..random import seed_sequence
from ..sde import SDE
from ..validation import explained, number
from .study import axes_or_new

__all__ = ["WorkPrecision", "work_precision"]


@dataclass(frozen=True, repr=False)
class WorkPrecision:
    """Runs of `expect` at several tolerances by several methods: what was asked, what came, what it cost.

    `runs[name]` are the `Expectation`s of a method, from loose to tight; `exact` is None where it is not known.
    """

    runs: Mapping[str, tuple[Expectation, ...]]
    exact: float | None

    def errors(self, name: str) -> NDArray[np.float64]:
        """|value − exact|, or the margins where the exact value is not known."""
        return np.array([e.margin if self.exact is None else abs(e.value - self.exact) for e in self.runs[name]])

    def plot(self, ax: Any = None) -> Any:
        """Path-steps against the margin, one line a method, with the true errors as crosses; returns the axes."""
        ax = axes_or_new(ax)
        for name, runs in self.runs.items():
            work = [e.path_steps for e in runs]
            (line,) = ax.plot([e.margin for e in runs], work, "o-", label=name)
            if self.exact is not None:
                ax.plot(self.errors(name), work, "x", color=line.get_color())
        ax.set(xscale="log", yscale="log", xlabel="margin (o), error (x)", ylabel="path-steps")
        ax.legend()
        return ax

    def __repr__(self) -> str:
        best = {name: f"{runs[-1].path_steps:.2g} path-steps for ± {runs[-1].margin:.2g}" for name, runs in self.runs.items()}
        return f"<work and precision: {', '.join(f'{name} {text}' for name, text in best.items())}>"


@explained
def work_precision(sde: SDE, functional: Any, x0: Any, t1: float, *, rtols: Sequence[float] = (1e-1, 3e-2, 1e-2),
                   methods: Mapping[str, Mapping[str, Any]] | None = None, exact: float | None = None, rng: Any = None,
                   **limits: Any) -> WorkPrecision:
    """Run `expect` at each tolerance by each method; `methods` maps a name to its options, `limits` go to every run.

    Returns
    -------
    WorkPrecision
    """
    ways = {name: {"method": name} for name in ("weak2", "richardson", "multilevel")} if methods is None else methods
    tolerances = sorted((number("rtols", r, above=0) for r in rtols), reverse=True)
    seeds = seed_sequence(rng)
    runs = {name: tuple(expect(sde, functional, x0, t1=t1, rtol=r, rng=child, **{**limits, **options})
                        for r, child in zip(tolerances, seeds.spawn(len(tolerances)), strict=True))
            for name, options in ways.items()}
    return WorkPrecision(runs, None if exact is None else number("exact", exact))
