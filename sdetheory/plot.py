r"""Figures of what was measured and what was predicted: `ax=` in, artists out.

A measurement is a mean with a band of :math:`\pm z\,\mathrm{se}` over independent paths; a prediction is a line over it; a
verdict is a row of intervals :math:`(\hat\theta - \theta \pm (z\,\mathrm{se} + b))/\rho` that must hold 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .evidence import Between
from .plot_catapult import catapult_film, curvature_change, misclassified, orbits, phase_map
from .verdicts import Verdict

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["catapult_film", "curvature_change", "ensemble", "misclassified", "orbits", "paths", "phase_map", "prediction", "verdict"]

_STATUS = {"confirmed": "#1a7f37", "refuted": "#c62828", "inconclusive": "#b26a00"}


def _axes(ax: Axes | None, xlabel: str = "", ylabel: str = "") -> Axes:
    if ax is None:
        ax = Figure(figsize=(6.4, 3.8), layout="constrained").add_subplot()
    if not ax.get_xlabel():
        ax.set_xlabel(xlabel)
    if not ax.get_ylabel():
        ax.set_ylabel(ylabel)
    return ax


def _along(data: xr.Dataset, name: str) -> tuple[str, xr.DataArray]:
    if name not in data:
        raise ValueError(f"name: expected one of {', '.join(map(str, data.data_vars))}, got {name!r}")
    clocks = [dim for dim in ("step", "time") if dim in data[name].dims]
    if not clocks:
        raise ValueError(f"name: expected a variable along step or time, got {name!r} with dims {data[name].dims}")
    return clocks[0], data[name]


def ensemble(data: xr.Dataset, name: str, *, z: float = 2.0, ax: Axes | None = None, **style: Any) -> Axes:
    """Mean over the paths of `data[name]`, with a band of ± z standard errors.

    Parameters
    ----------
    data : Dataset of `simulate`, with kept or streamed paths.
    name : variable with dims (path, step or time), or (step or time) where paths were streamed.
    z : half-width of the band, in standard errors.
    """
    clock, values = _along(data, name)
    if "path" in values.dims:
        mean, stderr = values.mean("path"), values.std("path", ddof=1) / np.sqrt(values.notnull().sum("path"))
    else:
        mean, stderr = values, data[f"{name}_stderr"]
    ax = _axes(ax, "steps" if clock == "step" else "time", name.replace("_", " "))
    (line,) = ax.plot(data[clock], mean, **style)
    ax.fill_between(data[clock], mean - z * stderr, mean + z * stderr, color=line.get_color(), alpha=0.25, linewidth=0)
    return ax


def paths(data: xr.Dataset, name: str, *, n: int = 20, ax: Axes | None = None, **style: Any) -> Axes:
    """The first `n` paths of `data[name]`, thin lines."""
    clock, values = _along(data, name)
    ax = _axes(ax, "steps" if clock == "step" else "time", name.replace("_", " "))
    style = {"linewidth": 0.7, "alpha": 0.6, **style}
    for i, path in enumerate(values.isel(path=slice(n)).transpose("path", clock)):
        ax.plot(data[clock], path, **{"color": colormaps["viridis"](i / max(1, n - 1)), **style})
    return ax


def prediction(formula: Callable[..., Any], along: str, values: Any, *, ax: Axes | None = None, **given: Any) -> Axes:
    """A closed form along one of its parameters, as a dashed line: `prediction(gamma, "t", times, gamma0=1, …)`."""
    ax = _axes(ax, along)
    ax.plot(values, formula(**{along: values}, **given), color="0.35", linestyle="--", linewidth=1.5,
            label=f"theory: {getattr(formula, 'claim', along)}")
    return ax


def verdict(result: Verdict, *, ax: Axes | None = None) -> Axes:
    """Every comparison of a verdict as an interval in units of its resolution; the negative control's below."""
    rows = [(c, "") for c in result.comparisons] + [(c, "control: ") for c in result.control.comparisons]
    ax = _axes(ax, "(measured − predicted) / resolution")
    for i, (c, kind) in enumerate(rows):
        target = c.predicted if not isinstance(c.predicted, Between) else np.clip(c.measured, c.predicted.low, c.predicted.high)
        centre = np.clip((c.measured - target) / c.resolution, -8, 8)
        ax.errorbar(centre, -i, xerr=c.margin / c.resolution, fmt="s" if kind else "o", color=_STATUS[c.status], capsize=3)
    ax.set_yticks([-i for i in range(len(rows))], [kind + c.name for c, kind in rows])
    ax.axvspan(-1, 1, color="0.5", alpha=0.12, linewidth=0)
    ax.axvline(0, color="0.35", linewidth=1)
    ax.set_title(f"{result.id}: {result.status}")
    return ax
