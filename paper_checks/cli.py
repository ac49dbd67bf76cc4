"""The command line `paper-checks run | list | show | report`; what the commands do is in `commands`.

Only the parser is here, so that `--help` costs no more than that.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .devices import DEVICES
from .errors import UsageError

__all__ = ["main"]

DEFAULT_FOLDER = "paper-checks-report"
HERE = Path(__file__).resolve().parent
_EXAMPLES = """\
examples:
  paper-checks list                 name the claims, paper by paper
  paper-checks show ILR-4           statement, derivation, last verdict of one
  paper-checks run ILR-4 --quick    verify it, on a quarter of the paths
  paper-checks run EXP catapult     verify those of two papers
  paper-checks run                  verify all

A run writes report.html and results.json; results of other claims in the
folder stay.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 where all that ran are confirmed, 1 where not, 2 for a wrong call, 130 on Ctrl-C.

    Without arguments it prints the help and returns 0.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    parser = _parser()
    asked = parser.parse_args(arguments)
    try:
        if asked.command is None:
            parser.print_help()
            return 0
        from .commands import COMMANDS

        return COMMANDS[asked.command](asked)
    except UsageError as error:
        print(f"paper-checks: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `paper-checks list | head`
        sys.stderr.close()
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="paper-checks", epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Verify the claims of papers on the theory of SGD: each is derived and held\n"
                    "against a simulation, and a wrong statement beside it must be refuted.")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    papers = argparse.ArgumentParser(add_help=False)
    papers.add_argument("--papers", metavar="FOLDER", type=Path, default=HERE,
                        help="where the claims are: a folder of one folder a paper (default: the papers of this package)")
    output = argparse.ArgumentParser(add_help=False)
    output.add_argument("--output", metavar="DIR", type=Path, default=Path(DEFAULT_FOLDER),
                        help=f"the folder of results.json and report.html (default: {DEFAULT_FOLDER})")

    run = commands.add_parser("run", parents=[papers, output], help="verify claims",
                              description="Verify claims: derivation, simulation, negative control. Exit status 0 only "
                                          "when claims ran and all of them are confirmed.")
    run.add_argument("wanted", metavar="ID or PAPER", nargs="*", help="ILR-4, ILR, intrinsic_lr, … (default: all)")
    run.add_argument("--only", metavar="FOLDER", action="append", default=[],
                     help="no claims but those of a folder: real-nets, svag, …; may be given several times")
    run.add_argument("--resume", metavar="DIR", type=Path, default=None,
                     help="go on with the run in this folder: its claims that have no result yet, under its seed and mode")
    run.add_argument("--device", choices=DEVICES, default="cpu",
                     help="where claims on real nets run (default: cpu); cuda runs larger ones, and keeps its results beside those "
                          "of the CPU in results-cuda.json")
    size = run.add_mutually_exclusive_group()
    size.add_argument("--quick", dest="mode", action="store_const", const="quick", help="a quarter of the paths")
    size.add_argument("--thorough", dest="mode", action="store_const", const="thorough", help="16 times the paths")
    run.add_argument("--seed", type=_natural, default=0, metavar="N", help="the root seed (default: 0)")
    run.add_argument("--jobs", type=_positive, default=None, metavar="N", help="processes (default: one a core)")
    run.add_argument("--timeout", type=_above_zero, default=3600.0, metavar="SECONDS",
                     help="what a claim may take before it is given up (default: 3600)")
    run.add_argument("--memory", type=_above_zero, default=None, metavar="GIB",
                     help="what a process may allocate (default: 90 %% of what is available, shared among the processes)")
    run.set_defaults(mode="default")

    listing = commands.add_parser("list", parents=[papers], help="name the claims")
    listing.add_argument("wanted", metavar="ID or PAPER", nargs="*")
    show = commands.add_parser("show", parents=[papers, output], help="a claim's statement, derivation, last verdict")
    show.add_argument("id", metavar="ID")
    report = commands.add_parser("report", help="build report.html anew from a run's results")
    report.add_argument("folder", metavar="DIR", type=Path)
    return parser


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected an integer >= 0, got {text!r}")
    return int(text)


def _above_zero(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number > 0, got {text!r}")
    return value


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer >= 1, got {text!r}")
    return int(text)
