"""Finished chunks of an ensemble on disk, each written whole or not at all, and believed only if it says what it is."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from .plan import Plan

__all__ = ["Checkpoint"]

ABANDONED = 3600.0  # seconds after which a file that is not finished belongs to nobody


class Checkpoint:
    """A folder with one file per chunk, in a folder named by the fingerprint of the call: the same call finds them again."""

    def __init__(self, folder: Path, plan: Plan, blocks: int) -> None:
        self.call = f"{plan.fingerprint()}-{blocks}"
        self.about = {"call": self.call, "seed": plan.seed, "sdetheory": __version__}
        self.folder = folder / self.call[:24]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise ValueError(f"checkpoint: expected a folder, or a name for one, got the file {folder}") from None
        self._clear_away()

    def load(self, first_block: int) -> tuple[tuple[NDArray[np.float64], ...], NDArray[np.float64]] | None:
        """Values and `divergence` of the chunk, or None where it has to be computed.

        Raises
        ------
        ValueError
            For a file that holds the chunk of another call or place.
        """
        path = self._path(first_block)
        if not path.exists():
            return None
        try:
            with open(path, "rb") as file, np.load(file) as data:
                about = json.loads(str(data["about"]))
                diverged, values = data["divergence"], list[NDArray[np.float64]]()
                while f"values_{len(values)}" in data:
                    values.append(data[f"values_{len(values)}"])
            whole = about["sha256"] == _checksum([*values, diverged])
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile):
            whole = False
        if not whole:
            warnings.warn(f"checkpoint: {path} is damaged; its paths are computed again", RuntimeWarning, stacklevel=4)
            return None
        for key, expected in (("call", self.call), ("first_block", first_block)):
            if about[key] != expected:
                raise ValueError(f"checkpoint: expected {path} to hold {key} {expected!r}, got {about[key]!r}; it belongs to "
                                 "another run: move it back, or delete it")
        return tuple(values), diverged

    def save(self, first_block: int, values: tuple[NDArray[np.float64], ...], diverged: NDArray[np.float64]) -> None:
        """Write a chunk; whoever else writes it at the same time writes the same."""
        try:
            self._write(first_block, values, diverged)
        except FileNotFoundError:  # this process slept for so long that another has cleared its file away
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write(first_block, values, diverged)

    def _write(self, first_block: int, values: tuple[NDArray[np.float64], ...], diverged: NDArray[np.float64]) -> None:
        path = self._path(first_block)
        about = json.dumps({**self.about, "first_block": first_block, "sha256": _checksum([*values, diverged])})
        arrays: dict[str, Any] = {f"values_{i}": array for i, array in enumerate(values)}
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".partial", delete=False) as file:
            try:
                np.savez(file, about=np.array(about), divergence=diverged, **arrays)
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise

    def _clear_away(self) -> None:
        """Remove what a process that was killed has half written: nobody writes at one file for an hour."""
        for path in self.folder.glob("*.partial"):
            try:
                if time.time() - path.stat().st_mtime > ABANDONED:
                    path.unlink()
            except OSError:  # another process was first, or it is not ours to remove
                pass

    def _path(self, first_block: int) -> Path:
        return self.folder / f"chunk_{first_block}.npz"


def _checksum(arrays: list[NDArray[np.float64]]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
