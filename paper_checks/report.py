"""`report.html`: one page that holds everything about a run and asks the network for nothing."""

from __future__ import annotations

import math
from collections import Counter
from importlib import resources
from itertools import groupby
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from sdetheory.papers import PAPERS

from .console import MARKS
from .mathematics import prose, tidied
from .results import Results, worst_margin_ratio
from .unicode_text import readable

__all__ = ["render"]


# what a result of before, or of a claim that could not run, may lack
_ABSENT: dict[str, Any] = {"statement": "", "reason": "", "traceback": "", "figure_error": "", "mode": "default",
                           "device": "cpu"}
_NOTHING_SHOWN: dict[str, Any] = {"extension": False, "empirical": False, "derivation": None, "figure": ""}


def render(results: Results) -> str:
    """Return the page for the results in a folder."""
    claims = [_ABSENT | result | {"display": _NOTHING_SHOWN | results.display(result["id"], device),
                                  "anchor": result["id"] + ("" if device == "cpu" else f"-{device}"),
                                  "worst": worst_margin_ratio(result["evidence"])} for device, result in results.everywhere()]
    papers = [(PAPERS.get(key) or key.replace("_", " "), list(group)) for key, group in groupby(claims, lambda claim: claim["paper"])]
    counts = Counter(claim["status"] for claim in claims)
    templates = resources.files(__package__) / "templates"
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(prose=lambda text: Markup(prose(text)), number=number, readable=readable, raw=Markup,
                               formula=lambda mathml: Markup(tidied(mathml)), power=_power)
    page = environment.from_string((templates / "report.html.j2").read_text(encoding="utf-8"))
    return page.render(
        papers=papers, claims=claims, marks=MARKS, counts={status: counts[status] for status in MARKS if counts[status]},
        n_comparisons=sum(len(claim["evidence"]) for claim in claims), seconds=sum(claim["seconds"] for claim in claims),
        seeds=sorted({claim["seed"] for claim in claims}), modes=sorted({claim["mode"] for claim in claims}),
        devices=sorted({claim["device"] for claim in claims}),
        versions=claims[0]["versions"] if claims else {},
        css=Markup((templates / "report.css").read_text(encoding="utf-8")))


def number(value: Any, digits: int = 5) -> Markup:
    """Return a number as HTML: `1.234e-05` is 1.234 × 10⁻⁵, a pair is an interval, nothing is a dash.

    >>> number(1.234e-05), number([0.5, None]), number(3.0)
    (Markup('1.234&thinsp;×&thinsp;10<sup>−5</sup>'), Markup('[0.5, ∞)'), Markup('3'))
    """
    if value is None:
        return Markup("–")
    if isinstance(value, list):
        low, high = value
        left = "(−∞" if low is None else f"[{number(low, digits)}"
        return Markup(f"{left}, ∞)" if high is None else f"{left}, {number(high, digits)}]")
    if not math.isfinite(value):
        return Markup("∞" if value > 0 else "–")
    text = f"{value:.{digits}g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        sign = "−" if int(exponent) < 0 else ""
        text = f"{mantissa}&thinsp;×&thinsp;10<sup>{sign}{abs(int(exponent))}</sup>"
    return Markup(text.replace("-", "−"))


def _power(value: float | None) -> str:
    return "not stated" if value is None else "> 0.9999" if value > 0.9999 else f"{value:.4f}"
