"""Verdicts: what a claim came to, with the numbers behind it, as a line, a table and JSON."""

from __future__ import annotations

import html
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .evidence import Comparison
from .quantity import Between

__all__ = ["ControlOutcome", "Verdict", "decide", "versions"]

Status = Literal["confirmed", "refuted", "inconclusive", "error", "skipped"]


@dataclass(frozen=True)
class ControlOutcome:
    """A negative control: `status` is "refuted" (as it must be) only if every comparison it names came out refuted.

    `power` is a lower bound on the probability of that, for the shifts that the claim states; for the quantities
    `unstated`, those of the claim's own measurement to see a shift of two resolutions. It is None where no control was run.
    """

    status: Literal["refuted", "not refuted", "not run"]
    statement: str
    power: float | None
    comparisons: tuple[Comparison, ...] = ()
    unstated: tuple[str, ...] = ()


def decide(derivation: str, comparisons: Sequence[Comparison], control: str) -> tuple[Status, str]:
    """Return the verdict and its reason, from "proved" | "failed" | "empirical", the comparisons and the control."""
    if derivation == "failed":
        return "refuted", "the derivation does not close"
    refuted = [c.name for c in comparisons if c.status == "refuted"]
    if refuted:
        return "refuted", f"beyond the margin: {', '.join(refuted[:5])}"
    undecided = [f"{c.name}: {c.remedy}" for c in comparisons if c.status == "inconclusive"]
    if undecided:
        return "inconclusive", "; ".join(undecided[:5])
    if control != "refuted":
        return "inconclusive", "the check cannot tell: its negative control was not refuted"
    return "confirmed", ""


def versions() -> dict[str, str | None]:
    """Return the versions behind a verdict; None for what is not installed."""
    from importlib import metadata

    from .. import __version__

    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in ("numpy", "numba", "sympy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found | {"sdetheory": __version__}


@dataclass(frozen=True, repr=False, eq=False)
class Verdict:
    """The outcome of one claim.

    `calls` lists what was simulated, `without_control` the quantities that no control touches, and why. `trial` holds
    what the measurement left for the figure; it is None after an error or a skip, and no part of `to_dict`.
    """

    id: str
    title: str
    paper: str | None
    status: Status
    reason: str = ""
    derivation: str = "not run"
    derivation_seconds: float = 0.0
    residuals: Mapping[str, str] = field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()
    control: ControlOutcome = ControlOutcome("not run", "", None)
    seed: int = 0
    mode: str = "default"
    seconds: float = 0.0
    versions: Mapping[str, str | None] = field(default_factory=versions)
    setup: str = ""
    calls: tuple[Mapping[str, Any], ...] = ()
    without_control: Mapping[str, str] = field(default_factory=dict)
    error: BaseException | None = None
    trial: Any = None

    def __bool__(self) -> bool:
        return self.status == "confirmed"

    @property
    def without_bias_source(self) -> tuple[str, ...]:
        """The quantities whose bound on the systematic error has no stated source, where it could have one."""
        return tuple(dict.fromkeys(c.name.partition("[")[0] for c in self.comparisons if not c.bias_source))

    def __repr__(self) -> str:
        held = sum(c.status == "confirmed" for c in self.comparisons)
        of = " to see two resolutions" if self.control.unstated else ""
        unsaid = f"; no source of the bias bound is stated for {', '.join(self.without_bias_source)}" \
            if self.without_bias_source else ""
        power = "" if self.control.power is None else f" (power {self.control.power:.4g}{of})"
        return (f"<{self.id} {self.status}: derivation {self.derivation}, {held}/{len(self.comparisons)} comparisons "
                f"confirmed, control {self.control.status}{power}, seed {self.seed}, {self.seconds:.1f} s"
                f"{unsaid}"
                f"{'; ' + self.reason if self.reason else ''}>")

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON-ready numbers, strings, lists and dicts; a number that is not finite is None."""
        return {
            "id": self.id, "paper": self.paper, "title": self.title, "status": self.status,
            "derivation": {"status": self.derivation, "seconds": self.derivation_seconds,
                           "residuals": dict(self.residuals)},
            "evidence": [_row(c) for c in self.comparisons],
            "negative_control": {"status": self.control.status, "statement": self.control.statement,
                                 "power": _finite(self.control.power), "unstated": list(self.control.unstated),
                                 "evidence": [_row(c) for c in self.control.comparisons],
                                 "without": dict(self.without_control)},
            "setup": self.setup, "calls": _counted(self.calls),
            "seed": self.seed, "seconds": self.seconds, "versions": dict(self.versions),
        }

    def _repr_html_(self) -> str:
        rows = [{"judged": "claim"} | _row(c) for c in self.comparisons]
        rows += [{"judged": "control"} | _row(c) for c in self.control.comparisons]
        cells = ("".join(f"<td>{html.escape(_cell(value))}</td>" for value in row.values()) for row in rows)
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        head = "".join(f"<th>{key.replace('_', ' ')}</th>" for key in (rows[0] if rows else ()))
        return (f"<p><strong>{html.escape(self.id)}: {self.status}</strong> {html.escape(self.reason)}<br>"
                f"{html.escape(repr(self)[1:-1])}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def _counted(calls: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The distinct calls in order, each with how many times it was made."""
    times: dict[str, int] = {}
    first: dict[str, Mapping[str, Any]] = {}
    for call in calls:
        key = repr(call)
        first.setdefault(key, call)
        times[key] = times.get(key, 0) + 1
    return [{**call, "times": times[key]} for key, call in first.items()]


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _row(c: Comparison) -> dict[str, Any]:
    p = c.predicted
    return {"name": c.name, "label": c.label, "predicted": [_finite(p.low), _finite(p.high)] if isinstance(p, Between) else float(p),
            "measured": _finite(c.measured), "stderr": _finite(c.stderr), "bias_bound": _finite(c.bias_bound),
            "bias_source": c.bias_source,
            "z": _finite(c.z), "resolution": _finite(c.resolution), "status": c.status,
            "smallest_detectable": _finite(c.smallest_detectable)}


def _cell(value: Any) -> str:
    if isinstance(value, list):
        low, high = (math.inf * sign if end is None else end for sign, end in zip((-1, 1), value, strict=True))
        return str(Between(low, high))
    return f"{value:.5g}" if isinstance(value, float) else "" if value is None else str(value)
