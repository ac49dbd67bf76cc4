r"""Figures of the catapult paper: phases with theory's edges, orbits in the (ηλ, loss) plane, their film, curvature after (CAT-3, 5).

.. math:: x < x_{\text{growth}}(y): \text{lazy}; \qquad x_{\text{growth}}(y) < x < x_{\text{divergence}}(y): \text{catapult};
          \qquad x > x_{\text{divergence}}(y): \text{divergent}

A map has one run a cell, a learning rate (or ηλ_0) along x and anything along y: width, initialisation, f_0. Edges are the
place on x in each row. Cells whose phase is not the one between the edges are marked and counted.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from ..studies.phases import Phase
from ..validation import finite_array, integer
from .axes import axes_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["catapult_film", "curvature_change", "misclassified", "orbits", "phase_map"]

COLOURS = {Phase.LAZY: "#9ecae1", Phase.CATAPULT: "#fdae6b", Phase.DIVERGENT: "#bdbdbd"}


def misclassified(phases: ArrayLike, x: ArrayLike, growth_edge: ArrayLike, divergence_edge: ArrayLike) -> NDArray[np.bool_]:
    """Which cells are in another phase than the one between theory's edges.

    Parameters
    ----------
    phases : array_like of `Phase` values (rows, columns)
    x : array_like (columns,)
        What the edges are places of.
    growth_edge, divergence_edge : array_like (rows,) or numbers
        The place of each edge in each row; where there is no growth below divergence, give the divergence edge twice.

    Returns
    -------
    bool array (rows, columns).

    Examples
    --------
    >>> misclassified([[0, 1, 1, 2]], [1.0, 1.5, 2.5, 5.0], 2.0, 4.0)
    array([[False,  True, False, False]])
    """
    codes = np.asarray(phases)
    columns = finite_array("x", x, ndim=1)
    if codes.ndim != 2 or codes.shape[1] != columns.size or not np.isin(codes, list(Phase)).all():
        raise ValueError(f"phases: expected Phase values, shape (rows, {columns.size}), got shape {codes.shape}; "
                         "dynamics.phases.phases_of_losses finds them")
    grows, ends = (_edge(name, edge, codes.shape[0])[:, None]
                   for name, edge in (("growth_edge", growth_edge), ("divergence_edge", divergence_edge)))
    expected = np.where(columns > ends, Phase.DIVERGENT, np.where(columns > grows, Phase.CATAPULT, Phase.LAZY))
    return codes != expected


def _edge(name: str, edge: ArrayLike, rows: int) -> NDArray[np.float64]:
    values = finite_array(name, edge)
    if values.shape not in ((), (rows,)):
        raise ValueError(f"{name}: expected one number, or one for each of {rows} rows, got shape {values.shape}")
    return np.broadcast_to(values, (rows,))


def phase_map(phases: ArrayLike, x: ArrayLike, y: ArrayLike, *, growth_edge: ArrayLike | None = None,
              divergence_edge: ArrayLike | None = None, xscale: str = "linear", yscale: str = "linear",
              ax: Axes | None = None) -> Axes:
    """The phase of each run as a colour, with theory's edges on top and the misclassified cells counted.

    Parameters
    ----------
    phases : array_like of `Phase` values (y.size, x.size)
        From `dynamics.phases`.
    x, y : array_like (columns,), (rows,)
        Centres of the cells, increasing.
    growth_edge, divergence_edge : array_like (rows,) or numbers, optional
        The place of theory's edges on the x axis, row by row; both or neither.
    xscale, yscale : {"linear", "log"}
    ax : Axes, optional

    Raises
    ------
    ValueError
        For shapes that do not fit, and for a number that is not positive on a log axis.
    """
    centres = {"x": finite_array("x", x, ndim=1), "y": finite_array("y", y, ndim=1)}
    for name, scale in (("x", xscale), ("y", yscale)):
        values = centres[name]
        if scale not in ("linear", "log"):
            raise ValueError(f"{name}scale: expected 'linear' or 'log', got {scale!r}")
        if scale == "log" and not np.all(values > 0):
            raise ValueError(f"{name}: expected numbers > 0 on a log axis, got {values.min():g}; use {name}scale='linear'")
        if values.size < 2 or not np.all(np.diff(values) > 0):
            raise ValueError(f"{name}: expected two or more increasing centres of cells; sort the cells by it")
    if (growth_edge is None) != (divergence_edge is None):
        raise ValueError("growth_edge, divergence_edge: expected both or neither, got one; where the loss never grows "
                         "below divergence, give the divergence edge twice")
    codes, rows = np.asarray(phases), centres["y"].size
    if codes.shape != (rows, centres["x"].size):
        raise ValueError(f"phases: expected shape (y.size, x.size) = ({rows}, {centres['x'].size}), got {codes.shape}")
    ax = axes_of(ax, "", "")
    ax.set(xscale=xscale, yscale=yscale)
    ax.pcolormesh(_corners(centres["x"], xscale), _corners(centres["y"], yscale), codes, rasterized=True,
                  cmap=ListedColormap([COLOURS[p] for p in Phase]), norm=BoundaryNorm(np.arange(-0.5, len(Phase)), len(Phase)))
    handles: list[Any] = [Patch(color=COLOURS[p], label=p.name.lower()) for p in Phase]
    if growth_edge is not None and divergence_edge is not None:
        wrong = misclassified(codes, centres["x"], growth_edge, divergence_edge)
        for edge, style, label in ((growth_edge, "-", "growth edge, theory"),
                                   (divergence_edge, "--", "divergence edge, theory")):
            place = _edge(label, edge, rows)
            handles += ax.plot(place, centres["y"], color="black", linewidth=1.5, linestyle=style, label=label)
        row, column = np.nonzero(wrong)
        handles += ax.plot(centres["x"][column], centres["y"][row], "x", color="#c62828", markersize=4, linewidth=0,
                           label=f"misclassified: {wrong.sum()} of {wrong.size}")
        ax.set_xlim(*_corners(centres["x"], xscale)[[0, -1]])
    ax.legend(handles=handles, fontsize=8, ncols=3, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.17))
    return ax


def _corners(centres: NDArray[np.float64], scale: str) -> NDArray[np.float64]:
    """Boundaries of cells, halfway between their centres (on the scale)."""
    z = np.log(centres) if scale == "log" else centres
    inner = (z[1:] + z[:-1]) / 2
    corners = np.concatenate([[2 * z[0] - inner[0]], inner, [2 * z[-1] - inner[-1]]])
    return np.exp(corners) if scale == "log" else corners


def _plane(data: xr.Dataset, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(ηλ, loss) of the first n runs of a result of `simulate`, shape (runs, steps); loss 0 and what diverged as nan."""
    for name in ("scaled_curvature", "loss"):
        if name not in data or "step" not in data[name].dims:
            raise ValueError("data: expected 'scaled_curvature' and 'loss' along 'step', got "
                             f"{', '.join(map(str, data.data_vars))}; simulate an OutputCurvatureMap with "
                             "observe=['scaled_curvature', 'loss'], save_every=1")
    runs = [np.moveaxis(data[name].values, data[name].dims.index("step"), -1).reshape(-1, data.sizes["step"])
            for name in ("scaled_curvature", "loss")]
    x, loss = (r[:integer("n", n, at_least=1)] for r in runs)
    return np.where(np.isfinite(x), x, np.nan), np.where(np.isfinite(loss) & (loss > 0), loss, np.nan)


def orbits(data: xr.Dataset, *, n: int = 20, ax: Axes | None = None, **style: Any) -> Axes:
    """The first `n` runs as curves in the (ηλ, loss) plane, a dot at each start, and lines at ηλ = 2 and 4.

    Parameters
    ----------
    data : Dataset of `simulate` with `scaled_curvature` and `loss` at every step (of an `OutputCurvatureMap`).
    """
    x, loss = _plane(data, n)
    ax = _stage(x, loss, ax)
    style = {"linewidth": 1.0, "marker": ".", "markersize": 3, **style}
    for curve, height in zip(x, loss, strict=True):
        (line,) = ax.plot(curve, height, **style)
        ax.plot(curve[:1], height[:1], "o", color=line.get_color(), markersize=5)
        style.pop("label", None)
    return ax


def _stage(x: NDArray[np.float64], loss: NDArray[np.float64], ax: Axes | None) -> Axes:
    """The part of the plane where something happens: ηλ up to 5, and eight decades below the greatest start."""
    inside = np.isfinite(loss) & (x < 5.0)
    if not inside.any():
        raise ValueError("data: expected runs with a finite loss > 0 where lr * curvature < 5, got none")
    ax = axes_of(ax, r"scaled curvature $\eta\lambda$", r"loss $f^2/2$")
    low, high = max(loss[inside].min(), 1e-8 * np.nanmax(loss[:, 0])) / 3, loss[inside].max() * 3
    ax.set(yscale="log", xlim=(0.0, max(4.2, x[inside].max() + 0.1)), ylim=(low, high))
    for place, linestyle in ((2, ":"), (4, "--")):
        ax.axvline(place, color="0.5", linewidth=1, linestyle=linestyle, zorder=0)
    return ax


def curvature_change(data: xr.Dataset, *, ax: Axes | None = None, **style: Any) -> Axes:
    """Curvature before and after: ηλ at the last saved step against ηλ at the first, a dot a run; flatter is below the diagonal.

    Parameters
    ----------
    data : Dataset of `simulate` with `scaled_curvature` at step 0 and at the end (`save_every=n_steps` will do).

    Runs that diverged have no end: they are left out and counted.
    """
    name = "scaled_curvature"
    if name not in data or data[name].sizes.get("step", 0) < 2 or int(data.step[0]) != 0:
        raise ValueError(f"data: expected {name!r} at step 0 and at the end, got {', '.join(map(str, data.data_vars))} at "
                         f"steps {data.step.values.tolist() if 'step' in data.coords else 'none'}; simulate an OutputCurvatureMap "
                         f"with observe=[{name!r}], save_every=n_steps")
    before, after = (data[name].isel(step=i).values.ravel() for i in (0, -1))
    ends = np.isfinite(after)
    if not ends.any():
        raise ValueError(f"data: expected runs that end, got {ends.size} that all diverged; lower the learning rate")
    ax = axes_of(ax, r"$\eta\lambda$ before", r"$\eta\lambda$ after")
    for what, phase in ((before < 2, Phase.LAZY), (before >= 2, Phase.CATAPULT)):
        kind = {"marker": "o", "markersize": 4, "linewidth": 0, "markeredgecolor": "0.35", "markeredgewidth": 0.4,
                "color": COLOURS[phase], **style}
        label = rf"$\eta\lambda_0 {'<' if phase is Phase.LAZY else '≥'} 2$"
        if np.any(what & ends):
            ax.plot(before[what & ends], after[what & ends], label=label, **kind)
    top = 1.05 * max(2.2, before[ends].max())
    ax.plot([0, top], [0, top], color="0.5", linewidth=1, linestyle="--", zorder=0, label="as sharp as before")
    ax.axhline(2, color="0.5", linewidth=1, linestyle=":", zorder=0, label="stable below")
    if not ends.all():
        ax.plot([], [], linewidth=0, label=f"diverged: {np.count_nonzero(~ends)} of {ends.size}")
    ax.set(xlim=(0, top), ylim=(0, top))
    ax.legend(frameon=False, fontsize=8, loc="upper left")
    return ax


def catapult_film(data: xr.Dataset, path: str | Path, *, n: int = 8, tail: int = 8, frames_per_second: int = 8,
                  title: str = "") -> Path:
    """Write the runs moving in the (ηλ, loss) plane, step by step, as a GIF or a self-contained HTML page.

    Parameters
    ----------
    data : Dataset
        As for `orbits`.
    path : str or Path
        Where to write; its ending, `.gif` or `.html`, says what.
    n : int
        The first n runs.
    tail : int
        Steps that each run draws behind it.

    Returns
    -------
    Path of what was written.
    """
    target = Path(path)
    if target.suffix not in (".gif", ".html"):
        raise ValueError(f"path: expected a name that ends in .gif or .html, got {str(path)!r}")
    x, loss = _plane(data, n)
    tail, speed = integer("tail", tail, at_least=0), integer("frames_per_second", frames_per_second, at_least=1)
    fig = Figure(figsize=(6.4, 3.8), dpi=90)  # a layout that is solved anew in each frame would make it shake
    ax = _stage(x, loss, fig.add_subplot())
    fig.subplots_adjust(left=0.12, right=0.97, bottom=0.15, top=0.9)
    pairs = [(ax.plot([], [], linewidth=1, color=f"C{i}")[0], ax.plot([], [], "o", markersize=6, color=f"C{i}")[0])
             for i in range(len(x))]

    def draw(step: int) -> list[Any]:
        ax.set_title(f"{title}{', ' if title else ''}step {int(data.step[step])}", fontsize=11)
        for i, (line, dot) in enumerate(pairs):
            line.set_data(x[i, max(0, step - tail):step + 1], loss[i, max(0, step - tail):step + 1])
            dot.set_data(x[i, step:step + 1], loss[i, step:step + 1])
        return [artist for pair in pairs for artist in pair]

    film = FuncAnimation(fig, draw, frames=x.shape[1], interval=1000 / speed, blit=False)
    if target.suffix == ".gif":
        film.save(target, writer=PillowWriter(fps=speed))
    else:
        target.write_text(film.to_jshtml(fps=speed), encoding="utf-8")
    return target
