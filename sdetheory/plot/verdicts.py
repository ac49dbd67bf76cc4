r"""A verdict as a row of intervals :math:`(\hat\theta - \theta \pm (z\,\mathrm{se} + b))/\rho` that must hold 0."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from ..claims import Between, Verdict
from .axes import axes_of

__all__ = ["verdict"]

_STATUS = {"confirmed": "#1a7f37", "refuted": "#c62828", "inconclusive": "#b26a00"}


def verdict(result: Verdict, *, ax: Axes | None = None) -> Axes:
    """Every comparison of a verdict as an interval in units of its resolution; the negative control's below."""
    rows = [(c, "") for c in result.comparisons] + [(c, "control: ") for c in result.control.comparisons]
    ax = axes_of(ax, "(measured − predicted) / resolution")
    for i, (c, kind) in enumerate(rows):
        target = c.predicted if not isinstance(c.predicted, Between) else np.clip(c.measured, c.predicted.low, c.predicted.high)
        centre = np.clip((c.measured - target) / c.resolution, -8, 8)
        ax.errorbar(centre, -i, xerr=c.margin / c.resolution, fmt="s" if kind else "o", color=_STATUS[c.status], capsize=3)
    ax.set_yticks([-i for i in range(len(rows))], [kind + c.name for c, kind in rows])
    ax.axvspan(-1, 1, color="0.5", alpha=0.12, linewidth=0)
    ax.axvline(0, color="0.35", linewidth=1)
    ax.set_title(f"{result.id}: {result.status}")
    return ax
