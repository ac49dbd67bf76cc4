"""What `paper-checks run | list | show | report` do; each imports what it needs and no more."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sdetheory.papers import PAPERS

from .console import MARKS, Progress, columns, table, wrapped
from .devices import available
from .registry import ClaimFile, SelectionError, discover, select
from .results import Asked, FolderError, Results
from .unicode_text import pretty_lines, readable

__all__ = ["COMMANDS"]


def run(asked: Namespace) -> int:
    """Verify claims, each in a worker process, and write what came out."""
    from sdetheory.machine import available_memory

    from .checking import Order, Stated, check, failed, read, skipped
    from .report import render
    from .workers import Lost, Workers, cores

    files, call = _resumed(asked) if asked.resume is not None else _asked_for(asked)
    device = available(call.device)
    results = Results(asked.resume or asked.output, call, [file.id for file in discover(Path(call.papers))])
    if asked.resume is not None:
        files = [file for file in files if not _is_done(results.found.get(file.id), call)]
        if not files:
            print(f"nothing left to do: {results.folder} has a result of every claim that was asked for")
    started, jobs = time.perf_counter(), min(asked.jobs or cores(), len(files) or 1)
    memory = None if call.device != "cpu" else int(asked.memory * 2**30) if asked.memory else int(0.9 * available_memory() / jobs)
    progress = Progress(len(files), id_width=max((len(file.id) for file in files), default=0))
    orders = [Order(file, call.seed, call.mode, 0, "", device) for file in files]
    broken_off = ""
    try:
        with _terminable(), Workers(jobs, timeout=asked.timeout, memory=memory) as workers:
            stated, lost = dict[str, Stated](), dict[str, Lost]()
            for file, outcome in workers.run(read, files, lambda running: progress.working([file.id for file in running])):
                if isinstance(outcome, Lost):
                    lost[file.id] = outcome
                elif outcome is not None:
                    stated[file.id] = outcome
            total = sum(claim.n_comparisons for claim in stated.values())
            orders = [replace(order, n_comparisons=total, title=stated[order.file.id].title if order.file.id in stated else "")
                      for order in orders]
            progress.clear()
            print(wrapped(f"{len(files)} claim(s), {total} comparisons, seed {call.seed}, mode {call.mode}, {jobs} process(es)"
                          + (f", real nets on {device}" if call.device != "cpu" else ""), indent=2), flush=True)
            for order in orders:
                if order.file.id in lost:
                    result = failed(order, f"its file could not be read: {lost[order.file.id].reason}")
                    results.add(result, {})
                    progress.finished(result)
            work = workers.run(check, [order for order in orders if order.file.id not in lost],
                               lambda running: progress.working([order.file.id for order in running]))
            for order, outcome in work:
                first = order.file.id not in results.fresh
                if isinstance(outcome, Lost):  # with its result there, only its figure was lost
                    result = failed(order, outcome.reason) if first else \
                        results.found[order.file.id] | {"figure_error": outcome.reason}
                    display = {} if first else results.display(order.file.id, call.device)
                else:
                    result, display = outcome
                results.add(result, display)
                if first:
                    progress.finished(result)
    except KeyboardInterrupt as stop:
        broken_off = str(stop) or "interrupted"
        progress.clear()
        for order in orders:
            if order.file.id not in results.found:
                results.add(skipped(order, broken_off), {})
    return _concluded(results, [file.id for file in files], render, started, broken_off)


def _asked_for(asked: Namespace) -> tuple[list[ClaimFile], Asked]:
    """The files of the claims that were asked for, and the call as `run.json` keeps it."""
    everything = discover(asked.papers)
    files = select(asked.wanted, everything)
    if not files:
        raise SelectionError(f"no claims in {asked.papers}; a claim is a file such as {asked.papers}/my_paper/mine_01_x.py")
    if asked.only:
        within = select(asked.only, everything)
        if not (files := [file for file in files if file in within]):
            raise SelectionError(f"--only {' '.join(asked.only)}: expected folders of the claims asked for, got none that holds one")
    if asked.device != "cpu" and not (files := [file for file in files if file.requires]):
        raise SelectionError("--device: expected claims on real nets, which alone run there, got none; add --only real-nets")
    return files, Asked(tuple(file.id for file in files), asked.seed, asked.mode, asked.device, str(asked.papers.resolve()))


def _resumed(asked: Namespace) -> tuple[list[ClaimFile], Asked]:
    """The claims of the run whose folder is to be resumed, under its seed, mode and device."""
    if asked.wanted or asked.only:
        raise SelectionError("--resume: expected nothing but the folder, as its run says which claims; leave out the others")
    call = Asked.read(asked.resume)
    return select(call.claims, discover(Path(call.papers))), call


def _is_done(result: dict[str, Any] | None, call: Asked) -> bool:
    """Whether a result is one of that run, and no error."""
    return result is not None and result["status"] not in {"error", "skipped"} \
        and (result["seed"], result.get("mode")) == (call.seed, call.mode)


def _concluded(results: Results, ids: list[str], render: Callable[[Results], str], started: float, broken_off: str) -> int:
    """Write the page, print the table, and return the exit status."""
    ours = [results.found[id] for id in ids if id in results.fresh]
    page = results.write_page(render(results))
    counts = Counter(result["status"] for result in ours)
    summary = ", ".join(f"{counts[status]} {status}" for status in MARKS if counts[status])
    print(f"\n{table(ours)}\n\n{wrapped(f'{summary}, {time.perf_counter() - started:.1f} s')}\n{page}")
    if results.moved:
        print(f"{results.moved}; everything is in {results.folder}", file=sys.stderr)
    if broken_off:
        print(f"{broken_off}: the claims that had finished are written; go on with `paper-checks run --resume {results.folder}`",
              file=sys.stderr)
        return 130
    ran = [result["status"] for result in ours if result["status"] != "skipped"]
    return 0 if ran and set(ran) == {"confirmed"} else 1


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM, as a scheduler sends it, break off a run like Ctrl-C does: with what had finished written."""
    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt("terminated")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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
