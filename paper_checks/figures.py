"""A claim's figure as markup that stands in a page: SVG in the page's own colours, PNG where that would be too large."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from typing import Any

__all__ = ["STYLE", "figure_markup"]

_INK = "#010203"  # stands for the colour of the text until the page says what that is
_LARGEST_SVG = 1_500_000

# colours that keep a contrast of 3:1 against white and against near-black, told apart in common colour blindness
PALETTE = ("#2f7de1", "#d9602b", "#1a9e77", "#b65fc9", "#b8860b", "#d6457a", "#6b8e23", "#7a7f87")

STYLE: dict[str, Any] = {
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none", "legend.frameon": False, "legend.fontsize": 8.5,
    "figure.figsize": (7.2, 4.2), "figure.constrained_layout.use": True,
    "text.color": _INK, "axes.edgecolor": _INK, "axes.labelcolor": _INK, "xtick.color": _INK, "ytick.color": _INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8, "axes.titlesize": 11.5,
    "axes.titlelocation": "left", "font.size": 10.5, "lines.linewidth": 1.8, "grid.color": _INK, "grid.alpha": 0.12,
    "svg.fonttype": "path",
}


def figure_markup(draw: Callable[[Any], Any], run: Any, name: str) -> str:
    """Draw and return an `<svg>` or an `<img>`; `name` keeps the ids of one figure apart from those of the next."""
    import matplotlib
    from cycler import cycler

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    style: Any = STYLE | {"axes.prop_cycle": cycler(color=PALETTE), "svg.hashsalt": name}
    with matplotlib.rc_context(style):
        figure = draw(run)
        try:
            text = io.StringIO()
            figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
            svg = text.getvalue()
            if len(svg) <= _LARGEST_SVG:
                return _in_page(svg, name)
            raster = io.BytesIO()
            figure.savefig(raster, format="png", dpi=170, facecolor="white")
        finally:
            plt.close(figure)
    data = base64.b64encode(raster.getvalue()).decode()
    return f'<img class="raster" alt="Figure for {name}" src="data:image/png;base64,{data}">'


def _in_page(svg: str, name: str) -> str:
    svg = svg[svg.index("<svg"):]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    key = re.sub(r"\W", "-", name)
    svg = re.sub(r'\bid="', f'id="{key}-', svg)
    svg = re.sub(r'href="#', f'href="#{key}-', svg)
    svg = svg.replace("url(#", f"url(#{key}-")
    # the ink, and any grey near black, which would vanish in a dark page
    svg = re.sub(rf"{_INK}|#([0-5][0-9a-f])\1\1\b|\bblack\b", "currentColor", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return svg.replace("<svg", f'<svg role="img" aria-label="Figure for {name}" fill="currentColor"', 1)
