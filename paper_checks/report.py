"""`report.html`: one page that holds everything about a run and asks the network for nothing."""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import cache
from importlib import resources
from itertools import groupby
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from sdetheory.papers import PAPERS

from .console import MARKS
from .mathematics import breakable, prose, tidied
from .results import Results, margin_ratio, worst_margin_ratio
from .safe_markup import UnsafeMarkupError, safe_mathml, safe_svg
from .unicode_text import readable

__all__ = ["render"]

# what a result of before, or of a claim that could not run, may lack
_ABSENT: dict[str, Any] = {"statement": "", "reason": "", "traceback": "", "figure_error": "", "mode": "default",
                           "device": "cpu", "setup": "", "calls": []}
_NOTHING_SHOWN: dict[str, Any] = {"extension": False, "empirical": False, "derivation": None, "figure": "", "where": "",
                                  "file": ""}
_MOST_CALLS = 12  # that are listed of a claim


def render(results: Results) -> str:
    """Return the page for the results in a folder."""
    claims = [_ABSENT | result | {"display": _NOTHING_SHOWN | results.display(result["id"], device),
                                  "anchor": result["id"] + ("" if device == "cpu" else f"-{device}"),
                                  "worst": worst_margin_ratio(result["evidence"]),
                                  "without_control": result["negative_control"].get("without", {}),
                                  "n_quantities": len(_by_quantity(result["evidence"]))}
              for device, result in results.everywhere()]
    papers = [(PAPERS.get(key) or key.replace("_", " "), list(group)) for key, group in groupby(claims, lambda claim: claim["paper"])]
    counts = Counter(claim["status"] for claim in claims)
    return _template().render(
        papers=papers, claims=claims, marks=MARKS, counts={status: counts[status] for status in MARKS if counts[status]},
        n_comparisons=sum(len(claim["evidence"]) for claim in claims), seconds=sum(claim["seconds"] for claim in claims),
        n_extensions=sum(claim["display"]["extension"] for claim in claims),
        n_quantities=sum(claim["n_quantities"] for claim in claims),
        n_without_control=sum(len(claim["without_control"]) for claim in claims),
        seeds=sorted({claim["seed"] for claim in claims}), modes=sorted({claim["mode"] for claim in claims}),
        devices=sorted({claim["device"] for claim in claims}), most_calls=_MOST_CALLS,
        versions=claims[0]["versions"] if claims else {},
        css=Markup(_text("report.css")), script=Markup(_text("report.js")))


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(prose=lambda text: Markup(prose(text)), number=number, readable=readable, figure=_figure,
                               formula=_formula, power=_power, by_quantity=_by_quantity, bias_sources=_bias_sources,
                               critical_values=_critical_values, deviation=margin_ratio, call=_call, residuals=_residuals)
    return environment.from_string(_text("report.html.j2"))


def _text(name: str) -> str:
    return (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")


def number(value: Any, digits: int = 5) -> Markup:
    """Return a number as HTML: `1.234e-05` is 1.234 × 10⁻⁵, a pair is an inequality, nothing is a dash.

    >>> number(1.234e-05), number([0.5, None]), number([0.5, 2.0]), number(3.0)
    (Markup('1.234&thinsp;×&thinsp;10<sup>−5</sup>'), Markup('≥ 0.5'), Markup('in [0.5, 2]'), Markup('3'))
    """
    if value is None:
        return Markup("–")
    if isinstance(value, list):
        low, high = value
        if low is None or high is None:
            return Markup(f"≤ {number(high, digits)}" if low is None else f"≥ {number(low, digits)}")
        return Markup(f"in [{number(low, digits)}, {number(high, digits)}]")
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


def _by_quantity(rows: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The comparisons of each quantity: "x[0]", "x[1]" are points of "x"."""
    return [(name, list(group)) for name, group in groupby(rows, lambda row: re.sub(r"\[\d+\]$", "", row["name"]))]


def _bias_sources(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Where the bounds on systematic errors come from: source -> quantities; "" for those of which nobody said."""
    sources: dict[str, list[str]] = {}
    for name, group in _by_quantity(rows):
        for source in dict.fromkeys(row.get("bias_source", "") for row in group):
            sources.setdefault(source, []).append(name)
    return sources


def _critical_values(rows: list[dict[str, Any]]) -> tuple[float, float] | None:
    """The least and the largest z of the comparisons that have a standard error."""
    values = [row["z"] for row in rows if row["z"] and row["stderr"]]
    return (min(values), max(values)) if values else None


def _residuals(residuals: list[dict[str, Any]]) -> tuple[dict[str, list[str]], list[str]]:
    """What SymPy showed to be 0, expression -> its names, and the names of what is 0 as it stands."""
    shown: dict[str, list[str]] = {}
    for residual in residuals:
        if residual["mathml"]:
            shown.setdefault(residual["mathml"], []).append(residual["text"])
    return shown, [residual["text"] for residual in residuals if not residual["mathml"]]


def _call(call: dict[str, Any]) -> str:
    """One line about a recorded call of `simulate` or `expect`."""
    if "functional" in call:
        return f"expectation of {call['functional']}, {call['scheme']}"
    cells = math.prod(call.get("sweep", {}).values())
    paths = f"{call['paths']:,} path{'s' if call['paths'] != 1 else ''}" + (f" in each of {cells:,} cells" if cells > 1 else "")
    steps = f"{call['steps']:,} step{'s' if call['steps'] != 1 else ''}" + (f" of {call['dt']:.4g}" if call["clock"] == "time" else "")
    return f"{paths}, {steps}" + (f", {call['times']} times" if call.get("times", 1) > 1 else "")


def _formula(mathml: str) -> Markup:
    try:
        return Markup(breakable(safe_mathml(tidied(mathml))))
    except UnsafeMarkupError:
        return Markup("<code>{}</code>").format(mathml)


def _figure(markup: str) -> Markup:
    """The figure of a claim; what is neither a picture of ours nor clean SVG is not shown."""
    if re.fullmatch(r'<img class="raster" alt="[^"<>]*" src="data:image/png;base64,[\w+/=]*">', markup):
        return Markup(markup)
    try:
        return Markup(safe_svg(markup))
    except UnsafeMarkupError:
        return Markup('<p class="reason error">The figure cannot be shown: it is no picture.</p>')
