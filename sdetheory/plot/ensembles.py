r"""Ensembles and predictions: a mean with a band of :math:`\pm z\,\mathrm{se}` over independent paths, a line over it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes

from .axes import axes_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ensemble", "paths", "prediction"]


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
    ax = axes_of(ax, "steps" if clock == "step" else "time", name.replace("_", " "))
    (line,) = ax.plot(data[clock], mean, **style)
    ax.fill_between(data[clock], mean - z * stderr, mean + z * stderr, color=line.get_color(), alpha=0.25, linewidth=0)
    return ax


def paths(data: xr.Dataset, name: str, *, n: int = 20, ax: Axes | None = None, **style: Any) -> Axes:
    """The first `n` paths of `data[name]`, thin lines."""
    clock, values = _along(data, name)
    ax = axes_of(ax, "steps" if clock == "step" else "time", name.replace("_", " "))
    style = {"linewidth": 0.7, "alpha": 0.6, **style}
    for i, path in enumerate(values.isel(path=slice(n)).transpose("path", clock)):
        ax.plot(data[clock], path, **{"color": colormaps["viridis"](i / max(1, n - 1)), **style})
    return ax


def prediction(formula: Callable[..., Any], along: str, values: Any, *, ax: Axes | None = None, **given: Any) -> Axes:
    """A closed form along one of its parameters, as a dashed line: `prediction(gamma, "t", times, gamma0=1, …)`."""
    ax = axes_of(ax, along)
    ax.plot(values, formula(**{along: values}, **given), color="0.35", linestyle="--", linewidth=1.5,
            label=f"theory: {getattr(formula, 'claim', along)}")
    return ax
