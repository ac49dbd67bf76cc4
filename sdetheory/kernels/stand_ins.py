"""Python functions in whose place kernels have something else: a load or a number, a call of BLAS."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["matrix_product", "per_lane"]


def per_lane(value: Any, lane: int) -> Any:
    """`value` of this lane: a float is the same in every lane, a row has one value per lane."""
    return value[lane] if isinstance(value, np.ndarray) else value


def matrix_product(A: Any, W: Any, out: Any) -> None:
    """out ← A W, by BLAS."""
    np.matmul(A, W, out=out)
