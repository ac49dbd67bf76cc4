"""The folder of a run: `results.json`, what the report shows of each claim, and `report.html`.

Every file is replaced as a whole, so whatever ends a run leaves whole files.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from .devices import DEVICES
from .errors import UsageError

__all__ = ["FolderError", "Results", "margin_ratio", "worst_margin_ratio"]


class FolderError(UsageError):
    """A folder that cannot be written, or that holds no results."""


def _suffix(device: str) -> str:
    return "" if device == "cpu" else f"-{device}"


class Results:
    """The results in one folder, in the order of the claims.

    Parameters
    ----------
    folder : Path
    order : list of str, optional
        The ids of the run about to start; the folder is made and tried before anything else happens. Without it, the
        results that are there are read.
    device : "cpu" or "cuda"
        Where this run is; its results are kept apart from those of another device, in `results-cuda.json`.

    Attributes
    ----------
    found : id -> result of this run.
    beside : device -> (id -> result) of the runs elsewhere that the folder holds.
    """

    def __init__(self, folder: Path, order: list[str] | None = None, device: str = "cpu") -> None:
        self.folder, self.device = folder, device
        self.found: dict[str, dict[str, Any]] = {}
        self.beside = {other: self._read(other) for other in DEVICES
                       if other != device and self._results_path(other).exists()}
        if order is None:
            self.found = {} if self.beside and not self._results_path(device).exists() else self._read(device)
        else:
            self.order = {id: position for position, id in enumerate(order)}
            self._try()
            self._write_results()

    def __iter__(self) -> Any:
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
        self.found[result["id"]] = result
        self.found = dict(sorted(self.found.items(), key=lambda item: self.order[item[0]]))
        self._replace(self._display_path(result["id"], self.device), json.dumps(display))
        self._write_results()

    def display(self, id: str, device: str = "cpu") -> dict[str, Any]:
        """What the report shows of a claim beside its result; empty if it left nothing."""
        try:
            return json.loads(self._display_path(id, device).read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            return {}

    def write_page(self, page: str) -> Path:
        """Write `report.html`."""
        self._replace(self.folder / "report.html", page)
        return self.folder / "report.html"

    def _display_path(self, id: str, device: str) -> Path:
        return self.folder / "claims" / f"{id}{_suffix(device)}.json"

    def _results_path(self, device: str) -> Path:
        return self.folder / f"results{_suffix(device)}.json"

    def _read(self, device: str) -> dict[str, dict[str, Any]]:
        path = self._results_path(device)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return {result["id"]: result for result in found}
        except OSError as error:
            raise FolderError(f"{path}: expected the results of a run, got {error.strerror}; "
                              f"make them with `paper-checks run --output {self.folder}`") from None
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise FolderError(f"{path}: expected a list of results, got {error!r}") from None

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
        text = json.dumps(list(self.found.values()), indent=1, ensure_ascii=False, allow_nan=False)
        self._replace(self._results_path(self.device), text + "\n")

    def _replace(self, path: Path, text: str) -> None:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


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
