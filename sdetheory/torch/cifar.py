"""CIFAR-10 from its python archive on this machine: the folder `cifar-10-batches-py`, or the .tar.gz as it is published.

A file of it is a pickled dict: `data`, (n, 3072) bytes, three planes of 32 × 32 a row, and `labels`, n numbers from 0 to 9. The
pickles are read with nothing but arrays allowed in them. Nothing is downloaded. To train with the usual augmentation:
`cifar10(path).minibatches(128, rng=0, augment=CropAndFlip())`, of `augmentation`.
"""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .data import Data

__all__ = ["FOLDER", "cifar10"]

FOLDER = "cifar-10-batches-py"
_TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
_TEST = "test_batch"
_GET_IT = (f"download cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html and give it, or the folder "
           f"{FOLDER} of it")


class _ArraysOnly(pickle.Unpickler):
    """Reads what NumPy writes for an array, and nothing that could run."""

    _ALLOWED = {("multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}

    def find_class(self, module: str, name: str) -> Any:
        if (module.rpartition(".")[2], name) not in self._ALLOWED or module.partition(".")[0] not in ("numpy", "_codecs"):
            raise pickle.UnpicklingError(f"it holds {module}.{name}, which is no array")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def cifar10(path: str | Path, *, dtype: torch.dtype | None = None) -> Data:
    """Read CIFAR-10: images (n, 3, 32, 32), each channel with mean 0 and variance 1 over the training images.

    Parameters
    ----------
    path : the folder that holds `data_batch_1` … and `test_batch`, one above it, or the archive .tar.gz.

    Raises
    ------
    FileNotFoundError
        Where there is nothing, or a file of the six is missing.
    ValueError
        Where a file is not what it should be, with its name and what is wrong in it.
    """
    path = Path(path).expanduser()
    read = _reader(path)
    parts = [_batch(name, read(name)) for name in (*_TRAIN, _TEST)]
    images, labels = (np.concatenate([part[i] for part in parts[:-1]]) for i in (0, 1))
    mean, spread = images.mean((0, 2, 3), dtype=np.float64), images.std((0, 2, 3), dtype=np.float64)
    if not (spread > 0).all():
        raise ValueError(f"{path}: expected images that differ, got a channel with one value throughout; {_GET_IT}")
    kind = torch.get_default_dtype() if dtype is None else dtype

    def scaled(x: np.ndarray) -> torch.Tensor:
        shift, scale = (torch.tensor(v, dtype=kind).reshape(3, 1, 1) for v in (mean, spread))
        return (torch.from_numpy(x).to(kind) - shift) / scale

    return Data("CIFAR-10", scaled(images), torch.from_numpy(labels), scaled(parts[-1][0]), torch.from_numpy(parts[-1][1]))


def _reader(path: Path) -> Callable[[str], bytes]:
    """A function that gives the bytes of a file of the set, wherever they are."""
    if path.is_dir():
        folder = path / FOLDER if (path / FOLDER).is_dir() else path
        missing = [name for name in (*_TRAIN, _TEST) if not (folder / name).is_file()]
        if missing:
            raise FileNotFoundError(f"{folder}: expected the files of CIFAR-10, found no {', '.join(missing)}; {_GET_IT}")
        return lambda name: (folder / name).read_bytes()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected CIFAR-10 there, found nothing; {_GET_IT}")
    try:
        with tarfile.open(path) as archive:
            held = {Path(member.name).name: archive.extractfile(member) for member in archive if member.isfile()}
            found = {name: file.read() for name, file in held.items() if file is not None and name in (*_TRAIN, _TEST)}
            while archive.fileobj is not None and archive.fileobj.read(2**20):  # gzip looks at its checksum at the end alone
                pass
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path}: expected a whole .tar.gz archive, got an unreadable one ({error}); {_GET_IT}") from error
    missing = [name for name in (*_TRAIN, _TEST) if name not in found]
    if missing:
        raise FileNotFoundError(f"{path}: expected the files of CIFAR-10, found no {', '.join(missing)} in it; {_GET_IT}")
    return found.__getitem__


def _batch(name: str, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3, 32, 32) of bytes and labels (n,) of one file."""
    try:
        held = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle raises nearly anything
        raise ValueError(f"{name}: expected a pickled batch of CIFAR-10, got an unreadable one ({error}); {_GET_IT}") from error
    if not isinstance(held, dict) or not {b"data", b"labels"} <= held.keys():
        found = sorted(map(repr, held)) if isinstance(held, dict) else type(held).__name__
        raise ValueError(f"{name}: expected a dict with 'data' and 'labels', got {found}; {_GET_IT}")
    images, labels = np.asarray(held[b"data"]), np.asarray(held[b"labels"])
    if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != 3072 or not len(images):
        raise ValueError(f"{name}: expected data of shape (n, 3072) in bytes, got {images.shape} of {images.dtype}; {_GET_IT}")
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() > 9:
        raise ValueError(f"{name}: expected {len(images)} labels from 0 to 9, got {labels.shape} of {labels.dtype}"
                         f"{f' up to {labels.max()}' if labels.size and labels.dtype.kind in 'iu' else ''}; {_GET_IT}")
    return images.reshape(-1, 3, 32, 32), labels.astype(np.int64)
