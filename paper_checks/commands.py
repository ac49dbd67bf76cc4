"""What `paper-checks run | list | show | report` do; each imports what it needs and no more."""

from __future__ import annotations

import contextlib
import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sdetheory.papers import PAPERS

from .console import MARKS, Progress, columns, table, wrapped
from .devices import available
from .registry import ClaimFile, SelectionError, discover, select
from .results import FolderError, Results
from .unicode_text import pretty_lines, readable

if TYPE_CHECKING:
    from sdetheory.claims import Claim

__all__ = ["COMMANDS"]


def run(asked: Namespace) -> int:
    """Verify claims, each in a worker process, and write what came out."""
    from .checking import Order, check, failed, skipped
    from .report import render
    from .workers import cores, run_in_workers

    files = select(asked.wanted, discover(asked.papers))
    if not files:
        raise SelectionError(f"no claims in {asked.papers}; a claim is a file such as {asked.papers}/my_paper/mine_01_x.py")
    if asked.only is not None:
        within = select([asked.only], discover(asked.papers))
        if not (files := [file for file in files if file in within]):
            raise SelectionError(f"--only {asked.only}: expected a folder of the claims asked for, got one that holds none of them")
    device = available(asked.device)
    if asked.device != "cpu" and not (files := [file for file in files if file.requires]):
        raise SelectionError("--device: expected claims on real nets, which alone run there, got none; add --only real-nets")
    results = Results(asked.output, [file.id for file in files], asked.device)
    started, claims = time.perf_counter(), [_loaded(file) for file in files]
    total = sum(claim.n_comparisons for claim in claims if claim)
    orders = [Order(file, asked.seed, asked.mode, total, claim.title if claim else "", device)
              for file, claim in zip(files, claims, strict=True)]
    jobs = min(asked.jobs or cores(), len(files))
    print(wrapped(f"{len(files)} claim(s), {total} comparisons, seed {asked.seed}, mode {asked.mode}, {jobs} process(es)"
                  + (f", real nets on {device}" if asked.device != "cpu" else ""), indent=2), flush=True)
    progress = Progress(len(files), id_width=max(len(file.id) for file in files))
    interrupted = False
    work = run_in_workers(check, orders, jobs, lambda running: progress.working([order.file.id for order in running]))
    try:
        with contextlib.closing(work):
            for order, outcome in work:
                result, display = outcome or (failed(order, "the process that worked on it died"), {})
                results.add(result, display)
                progress.finished(result)
    except KeyboardInterrupt:
        interrupted = True
        progress.clear()
        for order in orders:
            if order.file.id not in results.found:
                results.add(skipped(order, "interrupted"), {})
    page = results.write_page(render(results))
    print(f"\n{table(results)}\n\n{wrapped(f'{_summary(results)}, {time.perf_counter() - started:.1f} s')}\n{page}")
    if interrupted:
        print("interrupted: the claims that had finished are written", file=sys.stderr)
        return 130
    ran = [result["status"] for result in results if result["status"] != "skipped"]
    return 0 if ran and set(ran) == {"confirmed"} else 1


def _loaded(file: ClaimFile) -> Claim | None:
    try:
        return file.load()
    except Exception:  # the worker meets it again and makes it this claim's result
        return None


def _summary(results: Results) -> str:
    counts = Counter(result["status"] for result in results)
    return ", ".join(f"{counts[status]} {status}" for status in MARKS if counts[status])


def list_claims(asked: Namespace) -> int:
    """Print ids and titles under their papers; no claim is imported whose file states its title as a string."""
    files = select(asked.wanted, discover(asked.papers))
    width = max((len(file.id) for file in files), default=0)
    paper = None
    for file in files:
        if file.paper != paper:
            print(("\n" if paper else "") + wrapped(str(PAPERS.get(file.paper, file.paper)), indent=4))
            paper = file.paper
        try:
            title = readable(file.title)
        except Exception as error:
            title = f"(cannot be loaded: {type(error).__name__}: {error})"
        print(wrapped(title, f"  {file.id:<{width}}  "))
    return 0


def show(asked: Namespace) -> int:
    """Print a claim's statement, its derivation and the last verdict on it."""
    (file, *others) = select([asked.id], discover(asked.papers))
    if others:
        raise SelectionError(f"{asked.id}: expected the id of one claim; "
                             f"it names {', '.join(f.id for f in [file, *others])}")
    claim, width = file.load(), min(100, columns())

    def say(text: str, indent: str = "", hanging: str = "") -> None:
        print(wrapped(readable(text), indent, indent=len(indent + hanging), width=width))

    say((claim.title or file.slug) + ("  (extension)" if claim.extension else ""), f"{claim.id}  ")
    say(str(PAPERS.get(file.paper, file.paper)), hanging="  ")
    print()
    say(claim.statement)
    proof = claim.derivation
    if proof is None:
        print("\nAn empirical claim: it has no derivation.")
    else:
        print()
        say(f"Derivation: {proof.title}", hanging="  ")
        for steps, mark in ((proof.assumptions, "assuming"), (proof.steps, "")):
            for number, step in enumerate(steps, 1):
                say(f"{mark or f'{number}.'} {step.text}", "  ")
                if step.expression is not None:
                    print(*pretty_lines(step.expression, width, "      "), sep="\n")
        for name, expression in proof.residuals.items():
            say(f"to be shown: {name}" + (" is 0 (as it stands)" if expression == 0 else ""), "  ")
            if expression != 0:
                print(*pretty_lines(expression, width, "      ", " = 0"), sep="\n")
    print()
    say(f"Must be refuted: {claim.control}")
    _say_last_verdict(claim.id, asked.output)
    return 0


def _say_last_verdict(id: str, folder: Path) -> None:
    try:
        result = Results(folder).found.get(id)
    except FolderError:
        result = None
    if result is None:
        print(f"\nNo verdict in {folder} yet: paper-checks run {id}")
        return
    print(f"\nLast verdict ({folder}, seed {result['seed']}, mode {result.get('mode', '?')}):")
    print(table([result]))
    if result.get("reason"):
        print(result["reason"])


def report(asked: Namespace) -> int:
    """Build `report.html` anew from the results in a folder."""
    from .report import render

    results = Results(asked.folder)
    try:
        print(results.write_page(render(results)))
    except OSError as error:
        raise FolderError(f"{asked.folder}: expected a folder that can be written, got {error.strerror}") from None
    return 0


COMMANDS: dict[str, Callable[[Namespace], int]] = {"run": run, "list": list_claims, "show": show, "report": report}
