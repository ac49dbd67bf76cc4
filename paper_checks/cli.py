"""`paper-checks run | list | show | report`: verify the claims of the papers and read what came out."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sdetheory.claims import Claim
from sdetheory.references import PAPERS

from .checking import Order, check, failed, skipped
from .console import MARKS, Progress, table
from .devices import DEVICES, DeviceError, available
from .registry import HERE, ClaimFile, SelectionError, discover, select
from .report import render
from .results import FolderError, Results
from .unicode_text import pretty_lines, readable
from .workers import cores, run_in_workers

__all__ = ["main"]

DEFAULT_FOLDER = "paper-checks-report"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 where all that ran are confirmed, 1 where not, 2 for a wrong call, 130 on Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    asked = _parser().parse_args(arguments)
    try:
        return asked.command(asked)
    except (SelectionError, FolderError, DeviceError) as error:
        print(f"paper-checks: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `paper-checks list | head`
        sys.stderr.close()
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="paper-checks", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    papers = argparse.ArgumentParser(add_help=False)
    papers.add_argument("--papers", metavar="FOLDER", type=Path, default=HERE,
                        help="where the claims are: a folder of one folder a paper (default: the papers of this package)")
    output = argparse.ArgumentParser(add_help=False)
    output.add_argument("--output", metavar="DIR", type=Path, default=Path(DEFAULT_FOLDER),
                        help=f"the folder of results.json and report.html (default: {DEFAULT_FOLDER})")

    run = commands.add_parser("run", parents=[papers, output], help="verify claims",
                              description="Verify claims: derivation, simulation, negative control. Exit status 0 only "
                                          "when all that ran are confirmed.")
    run.add_argument("wanted", metavar="ID or PAPER", nargs="*", help="ILR-4, ILR, intrinsic_lr, … (default: all)")
    run.add_argument("--only", metavar="FOLDER", default=None, help="no claims but those of a folder: real-nets, svag, …")
    run.add_argument("--device", choices=DEVICES, default="cpu",
                     help="where claims on real nets run (default: cpu); cuda runs larger ones, and keeps its results beside those "
                          "of the CPU in results-cuda.json")
    size = run.add_mutually_exclusive_group()
    size.add_argument("--quick", dest="mode", action="store_const", const="quick", help="a quarter of the paths")
    size.add_argument("--thorough", dest="mode", action="store_const", const="thorough", help="16 times the paths")
    run.add_argument("--seed", type=_natural, default=0, metavar="N", help="the root seed (default: 0)")
    run.add_argument("--jobs", type=_positive, default=None, metavar="N", help="processes (default: one a core)")
    run.set_defaults(command=_run, mode="default")

    listing = commands.add_parser("list", parents=[papers], help="name the claims")
    listing.add_argument("wanted", metavar="ID or PAPER", nargs="*")
    listing.set_defaults(command=_list)
    show = commands.add_parser("show", parents=[papers, output], help="a claim's statement, derivation, last verdict")
    show.add_argument("id", metavar="ID")
    show.set_defaults(command=_show)
    report = commands.add_parser("report", help="build report.html anew from a run's results")
    report.add_argument("folder", metavar="DIR", type=Path)
    report.set_defaults(command=_report)
    return parser


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected an integer >= 0, got {text!r}")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer >= 1, got {text!r}")
    return int(text)


def _run(asked: argparse.Namespace) -> int:
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
    print(f"{len(files)} claim(s), {total} comparisons, seed {asked.seed}, mode {asked.mode}, {jobs} process(es)"
          + (f", real nets on {device}" if asked.device != "cpu" else ""), flush=True)
    progress = Progress(len(files))
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
    print(f"\n{table(results)}\n\n{_summary(results)}, {time.perf_counter() - started:.1f} s\n{page}")
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


def _list(asked: argparse.Namespace) -> int:
    paper = None
    for file in select(asked.wanted, discover(asked.papers)):
        if file.paper != paper:
            print(("\n" if paper else "") + str(PAPERS.get(file.paper, file.paper)))
            paper = file.paper
        try:
            title = file.load().title or file.slug
        except Exception as error:
            title = f"(cannot be loaded: {type(error).__name__}: {error})"
        print(f"  {file.id:<9} {readable(title)}")
    return 0


def _show(asked: argparse.Namespace) -> int:
    (file, *others) = select([asked.id], discover(asked.papers))
    if others:
        raise SelectionError(f"{asked.id}: expected the id of one claim; "
                             f"it names {', '.join(f.id for f in [file, *others])}")
    claim, width = file.load(), min(100, max(60, shutil.get_terminal_size((100, 24)).columns))

    def say(text: str, indent: str = "") -> None:
        print(textwrap.fill(readable(text), width, initial_indent=indent, subsequent_indent=indent))

    print(f"{claim.id}  {readable(claim.title or file.slug)}" + ("  (extension)" if claim.extension else ""))
    print(PAPERS.get(file.paper, file.paper), end="\n\n")
    say(claim.statement)
    proof = claim.proof()
    if proof is None:
        print("\nAn empirical claim: it has no derivation.")
    else:
        print(f"\nDerivation: {readable(proof.title)}")
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
    say(f"Must be refuted: {claim.negative_control.statement}")
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


def _report(asked: argparse.Namespace) -> int:
    results = Results(asked.folder)
    try:
        print(results.write_page(render(results)))
    except OSError as error:
        raise FolderError(f"{asked.folder}: expected a folder that can be written, got {error.strerror}") from None
    return 0
