"""The axes of a figure: those that a caller gives, or new ones."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["axes_of"]


def axes_of(ax: Axes | None, xlabel: str = "", ylabel: str = "") -> Axes:
    """The axes that were given, or new ones; with these labels where they have none."""
    if ax is None:
        ax = Figure(figsize=(6.4, 3.8), layout="constrained").add_subplot()
    if not ax.get_xlabel():
        ax.set_xlabel(xlabel)
    if not ax.get_ylabel():
        ax.set_ylabel(ylabel)
    return ax
