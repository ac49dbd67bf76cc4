"""`paper-checks calibrate`: how often true claims are refuted and wrong statements missed, over many seeds.

Both are promised: no more than `budget` of the runs of a claim may refute a comparison although all statements are true,
and a control is refuted at least as often as its power says. Here they are counted.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sdetheory.claims import Mode
from sdetheory.stats.calibration import clopper_pearson

from .console import columns, wrapped
from .registry import ClaimFile, SelectionError, discover, select
from .workers import Lost, Workers, cores

__all__ = ["Calibration", "Seeds", "calibrate", "tried"]

_PER_ORDER = 20  # seeds that a worker takes at a time
_EXCESS = 1e-3  # a count beyond what the promise explains with this probability is flagged


@dataclass(frozen=True)
class Seeds:
    """What a worker is asked: a claim under these seeds, each alone under `budget`."""

    file: ClaimFile
    seeds: tuple[int, ...]
    mode: Mode
    budget: float


@dataclass
class Calibration:
    """The counts of one claim.

    Attributes
    ----------
    runs, refuted, inconclusive : int
        Seeds, those under which a comparison was refuted, and those under which the errors were too large.
    missed : int
        Seeds under which the control was not refuted.
    power : float
        The mean stated power of the control.
    error : str
        What was raised, if anything was.
    """

    id: str
    runs: int = 0
    refuted: int = 0
    inconclusive: int = 0
    missed: int = 0
    power: float = 0.0
    error: str = ""

    def add(self, other: Calibration) -> None:
        """Take in the counts of other seeds."""
        self.power = (self.power * self.runs + other.power * other.runs) / max(self.runs + other.runs, 1)
        for name in ("runs", "refuted", "inconclusive", "missed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.error = self.error or other.error

    def excess(self, budget: float) -> str:
        """What is more than the promise explains, "" where nothing is."""
        import scipy

        parts = [(self.refuted, budget, "refuted too often"), (self.missed, 1 - self.power, "missed too often")]
        return ", ".join(what for count, rate, what in parts
                         if count and scipy.stats.binom.sf(count - 1, self.runs, min(rate, 1.0)) < _EXCESS)


def tried(order: Seeds) -> Iterator[Calibration]:
    """Verify a claim under each of the seeds and count."""
    counts = Calibration(order.file.id)
    try:
        claim = order.file.load()
        for seed in order.seeds:
            verdict = claim.verify(seed, order.mode, budget=order.budget)
            counts.add(Calibration(order.file.id, 1, any(c.status == "refuted" for c in verdict.comparisons),
                                   any(c.status == "inconclusive" for c in verdict.comparisons),
                                   verdict.control.status != "refuted", verdict.control.power or 0.0))
    except (Exception, SystemExit) as error:
        counts.error = f"{type(error).__name__}: {error}"
    yield counts


def calibrate(asked: Namespace) -> int:
    """Count, print a table, and write `calibration.json` and a figure; 1 where a promise is broken."""
    files = [file for file in select(asked.wanted, discover(asked.papers)) if not file.requires]
    if not files:
        raise SelectionError("calibrate: expected claims that need no other package, got none")
    orders = [Seeds(file, tuple(range(first, min(first + _PER_ORDER, asked.seeds))), asked.mode, asked.budget)
              for first in range(0, asked.seeds, _PER_ORDER) for file in files]
    counts: dict[str, Calibration] = defaultdict(lambda: Calibration(""), {f.id: Calibration(f.id) for f in files})
    with Workers(min(asked.jobs or cores(), len(orders)), timeout=3600.0) as workers:
        for done, (order, outcome) in enumerate(workers.run(tried, orders), 1):
            counts[order.file.id].add(Calibration(order.file.id, error=outcome.reason) if isinstance(outcome, Lost) else outcome)
            print(f"\r{done}/{len(orders)}", end="", flush=True)
    print("\r" + table(list(counts.values()), asked.budget))
    asked.output.mkdir(parents=True, exist_ok=True)
    kept = {"budget": asked.budget, "mode": asked.mode, "claims": [asdict(count) for count in counts.values()]}
    (asked.output / "calibration.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print(_drawn(list(counts.values()), asked.budget, asked.output / "calibration.png"))
    return 1 if any(count.error or count.excess(asked.budget) for count in counts.values()) else 0


def table(counts: Sequence[Calibration], budget: float) -> str:
    """The counts as lines: what was seen, and what was promised."""
    lines = ["claim     runs  refuted  promised  inconclusive  control missed  promised"]
    for c in counts:
        note = c.error or c.excess(budget)
        lines.append(f"{c.id:<9} {c.runs:4d}  {c.refuted:7d}  {budget * c.runs:8.1f}  {c.inconclusive:12d}  {c.missed:14d}  "
                     f"{(1 - c.power) * c.runs:8.1f}" + (f"  {note[:columns() // 2]}" if note else ""))
    runs, refuted = sum(c.runs for c in counts), sum(c.refuted for c in counts)
    lines.append(wrapped(f"{refuted} of {runs} runs refuted a true statement; {budget:.1%} of them, {budget * runs:.0f}, were allowed"))
    return "\n".join(lines)


def _drawn(counts: Sequence[Calibration], budget: float, path: Path) -> Path:
    """Rates with 95 % intervals, against what was promised."""
    from matplotlib.figure import Figure

    shown = [c for c in counts if c.runs]
    fig = Figure(figsize=(7.6, 1.6 + 0.22 * len(shown)), layout="constrained")
    left, right = fig.subplots(1, 2, sharey=True)
    for row, c in enumerate(shown):
        for ax, count in ((left, c.refuted), (right, c.missed)):
            ax.plot(clopper_pearson(count, c.runs, alpha=0.05), [row, row], color="0.6", lw=1.5)
            ax.plot(count / c.runs, row, "o", ms=4, color="C0")
        right.plot(1 - c.power, row, "|", ms=9, color="C1", mew=2)
    left.axvline(budget, color="C1", lw=1.2)
    left.set(title="refuted although true", yticks=range(len(shown)), yticklabels=[c.id for c in shown], xlabel="share of the seeds")
    right.set(title="control not refuted", xlabel="share of the seeds; marks: at most, by its power")
    left.invert_yaxis()
    fig.savefig(path, dpi=130)
    return path
