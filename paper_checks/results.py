"""The folder of a run: `run.json`, `results.json`, what the report shows of each claim, and `report.html`.

Every file is replaced as a whole, so whatever ends a run leaves whole files. A run replaces the results of the claims it
verifies, each when it is there, and leaves the others. Where the folder can be written no more (a full disk, a folder that
was removed), everything goes to another one, which is named.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .devices import DEVICES
from .errors import UsageError
from .schema import CLAIM_DISPLAY, RESULTS, misfit

if TYPE_CHECKING:
    from sdetheory.claims import Mode

__all__ = ["Asked", "FolderError", "Results", "margin_ratio", "worst_margin_ratio"]


class FolderError(UsageError):
    """A folder that cannot be written, or that holds no results."""


@dataclass(frozen=True)
class Asked:
    """What a run was asked for; `run.json` keeps it, so that the run can be resumed."""

    claims: tuple[str, ...]
    seed: int
    mode: Mode
    device: str
    papers: str

    @classmethod
    def read(cls, folder: Path) -> Asked:
        """What the last run in this folder was asked for; `FolderError` where there was none."""
        from sdetheory.claims import MODES

        path = folder / "run.json"
        given = _read_json(path, f"start one with `paper-checks run --output {folder}`")
        try:
            asked = cls(**{**given, "claims": tuple(given["claims"])})
        except (TypeError, KeyError):
            asked = None
        if asked is None or not all(isinstance(text, str) for text in (*asked.claims, asked.papers)) \
                or not isinstance(asked.seed, int) or asked.mode not in MODES or asked.device not in DEVICES:
            raise FolderError(f"{path}: expected what a run was asked for, got something else; start the run again with --output")
        return asked


def _suffix(device: str) -> str:
    return "" if device == "cpu" else f"-{device}"


class Results:
    """The results in one folder.

    Parameters
    ----------
    folder : Path
    asked : Asked, optional
        The run about to start; the folder is made and tried before anything else happens. Without it, the results that
        are there are read.
    order : sequence of str
        The ids of all claims there are, in their order.

    Attributes
    ----------
    found : id -> result on the device of this run.
    fresh : the ids of the claims that this run has finished.
    beside : device -> (id -> result) of the runs elsewhere that the folder holds.
    moved : why the results are in another folder than was asked for, "" where they are not.
    """

    def __init__(self, folder: Path, asked: Asked | None = None, order: Sequence[str] = ()) -> None:
        self.folder, self.moved, self.fresh = folder, "", set[str]()
        self._written: dict[str, str] = {}  # by this run, kept in case the folder goes
        self.device = asked.device if asked else "cpu"
        self.beside = {other: self._read(other) for other in DEVICES
                       if other != self.device and self._results_path(other).exists()}
        self._position = {id: position for position, id in enumerate(order)}
        known = self._results_path(self.device).exists()
        self.found = self._read(self.device) if known or not (asked or self.beside) else {}
        if asked:
            self._try()
            self._replace("run.json", json.dumps(asdict(asked), indent=1))
            self._write_results()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.found.values())

    def everywhere(self) -> list[tuple[str, dict[str, Any]]]:
        """(device, result) of every device: those of the other devices behind the one of this run, claim by claim."""
        known = {id: result["paper"] for found in (self.found, *self.beside.values()) for id, result in found.items()}
        papers = list(dict.fromkeys(known.values()))
        ids = sorted(known, key=lambda id: papers.index(known[id]))
        return [(device, found[id]) for id in ids for device, found in ((self.device, self.found), *self.beside.items())
                if id in found]

    def add(self, result: dict[str, Any], display: dict[str, Any]) -> None:
        """Take in a finished claim and write it."""
        id = result["id"]
        self.found[id] = json.loads(_text_of(result))  # what is not JSON is found now, and spoils nothing
        self.fresh.add(id)
        last = len(self._position)
        self.found = dict(sorted(self.found.items(), key=lambda item: (self._position.get(item[0], last), item[0])))
        self._replace(f"claims/{id}{_suffix(self.device)}.json", _text_of(display))
        self._write_results()

    def display(self, id: str, device: str = "cpu") -> dict[str, Any]:
        """What the report shows of a claim beside its result; empty if it left nothing that can be read."""
        try:
            shown = json.loads((self.folder / "claims" / f"{id}{_suffix(device)}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return {} if misfit(shown, CLAIM_DISPLAY) else shown

    def write_page(self, page: str) -> Path:
        """Write `report.html`."""
        self._replace("report.html", page)
        return self.folder / "report.html"

    def _results_path(self, device: str) -> Path:
        return self.folder / f"results{_suffix(device)}.json"

    def _read(self, device: str) -> dict[str, dict[str, Any]]:
        path = self._results_path(device)
        found = _read_json(path, f"make them with `paper-checks run --output {self.folder}`")
        if wrong := misfit(found, RESULTS):
            raise FolderError(f"{path}: expected a list of results, {wrong}; move the file away, or name another folder")
        return {result["id"]: result for result in found}

    def _try(self) -> None:
        try:
            (self.folder / "claims").mkdir(parents=True, exist_ok=True)
            for place in (self.folder, self.folder / "claims"):
                with tempfile.TemporaryFile(dir=place):
                    pass
        except OSError as error:
            raise FolderError(f"--output: expected a folder that can be written, got {str(self.folder)!r} "
                              f"({error.strerror}); name another with --output DIR") from None

    def _write_results(self) -> None:
        self._replace(self._results_path(self.device).name, _text_of(list(self.found.values()), indent=1) + "\n")

    def _replace(self, name: str, text: str) -> None:
        """Write a file of the folder as a whole; somewhere else where that cannot be done."""
        removed = bool(self._written) and not self.folder.exists()
        self._written[name] = text
        try:
            for each in self._written if removed else (name,):
                self._write(each, self._written[each])
        except OSError as error:
            if self.moved:  # there is no third place; what was found is in memory, and the terminal shows it
                return
            self.moved = f"{self.folder} cannot be written any more ({error.strerror})"
            self.folder = Path(tempfile.mkdtemp(prefix="paper-checks-"))
            for each in list(self._written):
                self._replace(each, self._written[each])

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            # a lone surrogate is no UTF-8; as \udc80 it is what JSON writes for it
            with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def _text_of(data: Any, indent: int | None = None) -> str:
    return json.dumps(data, indent=indent, ensure_ascii=False, allow_nan=False)


def _read_json(path: Path, remedy: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FolderError(f"{path}: expected the results of a run, got {error.strerror}; {remedy}") from None
    except (ValueError, RecursionError) as error:
        raise FolderError(f"{path}: expected JSON, got {type(error).__name__}: {error}; {remedy}") from None


def worst_margin_ratio(evidence: list[dict[str, Any]]) -> float | None:
    """Return the largest ratio of deviation and margin; above 1 is refuted, None without evidence."""
    return max(map(margin_ratio, evidence), default=None)


def margin_ratio(row: dict[str, Any]) -> float:
    """Return |measured - predicted| / (z·stderr + bias_bound) of a comparison.

    An exact 0 within a margin of 0 counts as 0; a measured value that is not finite as infinitely far away.
    """
    measured, predicted = row["measured"], row["predicted"]
    low, high = predicted if isinstance(predicted, list) else (predicted, predicted)
    if measured is None:
        return float("inf")
    low = -float("inf") if low is None else low
    high = float("inf") if high is None else high
    deviation = max(low - measured, measured - high, 0.0)
    margin = (row["z"] or 0.0) * (row["stderr"] or 0.0) + (row["bias_bound"] or 0.0)
    return 0.0 if deviation == 0 else deviation / margin if margin else float("inf")
