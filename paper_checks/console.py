"""What a run says in the terminal: a line a claim as it goes, then a table."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
import unicodedata
from collections.abc import Iterable
from typing import Any, TextIO

from .results import worst_margin_ratio
from .unicode_text import readable

__all__ = ["MARKS", "Progress", "columns", "table", "wrapped"]

MARKS = {"confirmed": "✓", "refuted": "✗", "inconclusive": "?", "error": "!", "skipped": "–"}
_COLOURS = {"confirmed": "32", "refuted": "31", "inconclusive": "33", "error": "35", "skipped": "90"}


def _coloured(text: str, status: str, out: TextIO) -> str:
    return f"\x1b[{_COLOURS[status]}m{text}\x1b[0m" if out.isatty() and "NO_COLOR" not in os.environ else text


def _width(text: str) -> int:
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _fitted(text: str, width: int) -> str:
    if _width(text) > width:
        while text and _width(text) > width - 1:
            text = text[:-1]
        text = text.rstrip() + "…"
    return text + " " * (width - _width(text))


def columns() -> int:
    """The width of the terminal, 110 where there is none; at least 40."""
    return max(40, shutil.get_terminal_size((110, 24)).columns)


def wrapped(text: str, first: str = "", *, indent: int | None = None, width: int | None = None) -> str:
    """Return `first` and `text` in lines no wider than the terminal.

    Parameters
    ----------
    text : str
    first : str
        What stands before the text in the first line.
    indent : int, optional
        How far the other lines are indented: to where the text starts, or by 4 where that would leave little room.
    width : int, optional
        Another width than that of the terminal.
    """
    width = width or columns()
    room = width - len(first)
    hanging = " " * (indent if indent is not None else len(first) if room >= 30 else 4)
    if room < 20:
        return f"{first.rstrip()}\n{textwrap.fill(text, width, initial_indent=hanging, subsequent_indent=hanging)}"
    return textwrap.fill(text, width, initial_indent=first, subsequent_indent=hanging, break_on_hyphens=False) or first.rstrip()


class Progress:
    """A line for each finished claim; in a terminal, below them, what is being worked on and for how long."""

    def __init__(self, total: int, out: TextIO | None = None, *, id_width: int = 8) -> None:
        self.total, self.done, self.out, self.id_width = total, 0, out or sys.stdout, id_width
        self.live = self.out.isatty()
        self.since: dict[str, float] = {}

    def working(self, ids: list[str]) -> None:
        """Say what is running now."""
        now = time.monotonic()
        self.since = {id: self.since.get(id, now) for id in ids}
        if self.live:
            running = ", ".join(f"{id} {now - start:.0f} s" for id, start in self.since.items())
            line = f"[{self.done}/{self.total}] {running}"
            self.out.write("\r\x1b[K" + _fitted(line, columns() - 1).rstrip())
            self.out.flush()

    def finished(self, result: dict[str, Any]) -> None:
        """Say how a claim came out, and why where it is not confirmed."""
        self.done += 1
        self.clear()
        status = result["status"]
        count = f"[{self.done:>{len(str(self.total))}}/{self.total}]"
        note = result["reason"].splitlines()[0] if result["reason"] else ""
        note = note or result["title"]
        head = f"{count} {MARKS[status]} {result['id']:<{self.id_width}} {status:<12} {result['seconds']:6.1f} s"
        lines = wrapped(readable(note), head + "  ")
        print(_coloured(head, status, self.out) + lines[len(head):], file=self.out, flush=True)

    def clear(self) -> None:
        """Take the live line away."""
        if self.live:
            self.out.write("\r\x1b[K")
            self.out.flush()


def table(results: Iterable[dict[str, Any]], out: TextIO | None = None) -> str:
    """Return the verdicts as a table as wide as the terminal.

    `worst` is the largest |measured − predicted| / margin of a claim's comparisons: up to 1 they agree.
    """
    results, out = list(results), out or sys.stdout
    head = ("id", "title", "status", "compared", "worst", "control", "seconds")
    rows = [(r["id"], readable(r["title"]), f"{MARKS[r['status']]} {r['status']}", str(len(r["evidence"])),
             _number(worst_margin_ratio(r["evidence"])), _control(r["negative_control"]), f"{r['seconds']:.1f}")
            for r in results]
    widths = [max(_width(row[i]) for row in [head, *rows]) for i in range(len(head))]
    others = sum(widths) - widths[1] + 2 * (len(head) - 1)
    widths[1] = max(12, min(widths[1], columns() - others))
    right = {3, 4, 6}

    def line(row: tuple[str, ...]) -> list[str]:
        return [_fitted(c, w) if i not in right else _fitted("", w - _width(c)) + c
                for i, (c, w) in enumerate(zip(row, widths, strict=True))]

    lines = ["  ".join(line(head)).rstrip(), "  ".join("─" * w for w in widths)]
    for row in rows:
        cells = line(row)
        cells[2] = _coloured(cells[2], row[2].split()[1], out)
        lines.append("  ".join(cells))
    if any(r["negative_control"].get("unstated") for r in results):
        lines.append("(2ρ: the power to see twice the resolution, where theory states no shift)")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "" if value is None else "∞" if value == float("inf") else f"{value:.2f}" if value >= 0.005 else f"{value:.0e}" \
        if value else "0"


def _control(control: dict[str, Any]) -> str:
    power, of = control.get("power"), "2ρ: " if control.get("unstated") else ""  # ρ: the resolution, where no shift is stated
    return control["status"] + ("" if power is None else f" ({of}{'>0.999' if power > 0.999 else f'{power:.3f}'})")
