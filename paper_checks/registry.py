"""Where the claims are: a folder is a paper, a file `<prefix>_<number>_<slug>.py` in it is the claim PREFIX-number.

Ids come from the names of the files, titles from their text, so finding and naming claims imports none of them; a file
that cannot be imported is one claim that cannot be checked, and no more than that.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from sdetheory.papers import PAPERS

from .errors import UsageError
from .source import stated

if TYPE_CHECKING:
    from sdetheory.claims import Claim

__all__ = ["HERE", "ClaimFile", "SelectionError", "discover", "select"]

HERE = Path(__file__).resolve().parent
_NAME = re.compile(r"(?P<prefix>[a-z][a-z]*(?:_[a-z]+)*)_(?P<number>\d+)_\w+")


class SelectionError(UsageError):
    """What was asked for is not the id of a claim, nor a paper."""


@dataclass(frozen=True)
class ClaimFile:
    """A file that defines a claim; `load` imports it.

    `folder` holds the papers, `paper` is the key of one (and its folder's name).
    """

    id: str
    paper: str
    folder: str
    module: str

    @property
    def prefix(self) -> str:
        """The id without its number."""
        return self.id.rpartition("-")[0]

    @property
    def slug(self) -> str:
        """What the file's name says the claim is about."""
        return self.module.rpartition(".")[2].split("_", self.id.count("-") + 1)[-1].replace("_", " ")

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.folder, self.paper, f"{self.module.rpartition('.')[2]}.py")

    def load(self) -> Claim:
        """Import the file and return its claim; whatever the import raises is raised."""
        from sdetheory.claims import Claim

        self._put_on_path()
        module = importlib.import_module(self.module)
        claim = getattr(module, "claim", None)
        if not isinstance(claim, Claim):
            raise TypeError(f"{self.module}: expected `claim = sdetheory.Claim(...)`, got {claim!r}")
        if claim.id != self.id:
            raise ValueError(f"{self.module}: expected the id {self.id}, as the file's name says, got {claim.id!r}")
        return claim

    def _put_on_path(self) -> None:
        root = str(Path(self.folder).parent)
        if root not in sys.path:
            sys.path.insert(0, root)

    @property
    def title(self) -> str:
        """The claim's title, its slug where it has none; the file is imported only where its text does not say.

        Raises
        ------
        SyntaxError
            Where the file is no Python.
        ModuleNotFoundError
            Where it imports a package that is not installed.
        """
        told = stated(self.path)
        self._put_on_path()
        for package in told.imports:
            if package not in sys.modules and importlib.util.find_spec(package) is None:
                raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return (self.load().title if told.title is None else told.title) or self.slug

    @property
    def requires(self) -> tuple[str, ...]:
        """The packages this claim needs beyond those of the library; its file says so by `requires = ("torch",)`.

        None of a file that cannot be read, nor of one that only an import could ask and that cannot be imported.
        """
        try:
            told = stated(self.path).requires
            return told if told is not None else tuple(getattr(importlib.import_module(self.module), "requires", ()))
        except Exception:
            return ()

    def missing(self) -> str | None:
        """The first package this claim `requires` that is not installed; such a claim is skipped."""
        return next((name for name in self.requires if importlib.util.find_spec(name) is None), None)


@lru_cache(maxsize=8)
def discover(folder: Path = HERE) -> tuple[ClaimFile, ...]:
    """Return every claim file under `folder`, by paper (in the order of `papers`, then by name) and number.

    Raises
    ------
    SelectionError
        Where there is no such folder, or two files have one id.
    """
    if not folder.is_dir():
        raise SelectionError(f"--papers: expected a folder that holds one folder a paper, got {str(folder)!r}")
    folder = folder.resolve()
    order = {key: position for position, key in enumerate(PAPERS)}
    found = []
    for path in folder.glob("*/*.py"):
        if match := _NAME.fullmatch(path.stem):
            prefix, number = match["prefix"].upper().replace("_", "-"), int(match["number"])
            paper = path.parent.name
            key = (order.get(paper, len(order)), paper, prefix.count("-"), prefix, number)
            found.append((key, ClaimFile(f"{prefix}-{number}", paper, str(folder),
                                         f"{folder.name}.{paper}.{path.stem}")))
    files = tuple(file for _, file in sorted(found, key=lambda pair: (pair[0], pair[1].module)))
    by_id: dict[str, ClaimFile] = {}
    for file in files:
        if by_id.setdefault(file.id, file) is not file:
            raise SelectionError(f"{file.id}: expected one file a claim, got {by_id[file.id].module} and {file.module}")
    return files


def select(wanted: Iterable[str], files: Sequence[ClaimFile]) -> list[ClaimFile]:
    """Return the files that ids ("ILR-4"), prefixes ("ILR") or papers ("intrinsic_lr") name, all where none is named.

    Case does not count. The order is that of `files`, and no claim comes twice.

    Raises
    ------
    SelectionError
        Where a name is unknown; it says which known names are nearest.
    """
    wanted = list(wanted)
    if not wanted:
        return list(files)
    named = [(name, {file for file in files if _normal(name) in _names(file)}) for name in wanted]
    for name, chosen in named:
        if not chosen:
            raise SelectionError(_unknown(name, files))
    return [file for file in files if any(file in chosen for _, chosen in named)]


def _normal(name: str) -> str:
    return re.sub(r"-0+(?=\d)", "-", name.strip().lower().replace("_", "-"))


def _names(file: ClaimFile) -> set[str]:
    return {_normal(file.id), _normal(file.prefix), _normal(file.paper)}


def _unknown(name: str, files: Sequence[ClaimFile]) -> str:
    known = {_normal(n): n for file in files for n in (file.id, file.prefix, file.paper)}
    for paper in PAPERS.values():
        if _normal(name) in {_normal(paper.key), _normal(paper.prefix)}:
            return f"{name}: no claim of this paper is here yet; there are {', '.join(sorted({f.prefix for f in files}))}"
    near = [known[n] for n in difflib.get_close_matches(_normal(name), known, n=3, cutoff=0.5)]
    near = near or sorted({file.prefix for file in files})
    return f"unknown claim or paper {name!r}; the nearest are {', '.join(near)} (`paper-checks list` shows all)"
