"""Noise into blocks: out[r, l] = number first_index + r of path first_path + l, a function of (key, path, index) alone.

The laws and their bits are stated in `sdetheory.random.fill_kernels`; the NumPy twins are in `sdetheory.random.oracle`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.abi import DRAW
from ..kernels.compilation import Kernel

__all__ = ["KINDS", "draw_kernel", "fill_normals", "fill_three_point", "fill_two_point", "fill_uniforms"]

KINDS = ("normal", "uniform", "two_point", "three_point")


@cache
def draw_kernel(kind: str, in_time: bool = False) -> Kernel:
    """The kernel that fills a block with one kind of noise; `in_time` for blocks (lanes, rows)."""
    name = f"{kind}_in_time" if in_time else kind
    return Kernel(name, DRAW, module="sdetheory.random.fill_kernels")


def _fill(kind: str, out: NDArray[np.float64], first_path: int, first_index: int, key: Any, scale: float, in_time: bool) -> None:
    if not (isinstance(out, np.ndarray) and out.dtype == np.float64 and out.ndim == 2 and out.flags.c_contiguous
            and out.flags.writeable):
        raise TypeError(f"out: expected a C-contiguous, writeable float64 array of two axes, got {type(out).__name__} "
                        f"{getattr(out, 'dtype', '')} {getattr(out, 'shape', '')}; make one by numpy.empty((rows, lanes))")
    lanes, rows = out.shape if in_time else out.shape[::-1]
    if not in_time and lanes < 16 and 2 * lanes < rows:  # few paths: vectors hold what follows in time
        turned = np.empty((lanes, rows))
        _fill(kind, turned, first_path, first_index, key, scale, in_time=True)
        for lane, numbers in enumerate(turned):  # one strided copy a path: NumPy transposes in runs of as few as two numbers
            out[:, lane] = numbers
        return
    draw_kernel(kind, in_time).call(out.ctypes.data, rows, lanes, int(first_path), int(first_index), int(key), float(scale))


def fill_normals(out: NDArray[np.float64], first_path: int, first_index: int, key: Any, scale: float = 1.0, *,
                 in_time: bool = False) -> None:
    """Fill `out` (rows, lanes) with scale · N(0, 1); (lanes, rows) if `in_time`, with the same bits.

    Parameters
    ----------
    out : (rows, lanes) float64 array, C-contiguous
    first_path, first_index : int >= 0
        Path of the first lane, index of the first row.
    key : uint64
        From `stream_key`.
    scale : float
        Standard deviation.
    """
    _fill("normal", out, first_path, first_index, key, scale, in_time)


def fill_uniforms(out: NDArray[np.float64], first_path: int, first_index: int, key: Any, *, in_time: bool = False) -> None:
    """Fill `out` with numbers uniform inside (0, 1); parameters as in `fill_normals`."""
    _fill("uniform", out, first_path, first_index, key, 1.0, in_time)


def fill_two_point(out: NDArray[np.float64], first_path: int, first_index: int, key: Any, scale: float = 1.0, *,
                   in_time: bool = False) -> None:
    """Fill `out` with ±scale, probability 1/2 each; parameters as in `fill_normals`."""
    _fill("two_point", out, first_path, first_index, key, scale, in_time)


def fill_three_point(out: NDArray[np.float64], first_path: int, first_index: int, key: Any, scale: float = 1.0, *,
                     in_time: bool = False) -> None:
    """Fill `out` with ±√3 scale (probability 1/6 each) or 0 (2/3); parameters as in `fill_normals`."""
    _fill("three_point", out, first_path, first_index, key, scale, in_time)
