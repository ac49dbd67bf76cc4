"""Small functions that every kernel may use without naming them among its own."""

from __future__ import annotations

import math

from .functions import block_function, lane_function
from .stand_ins import matrix_product, per_lane

__all__ = ["copy_row", "copy_rows", "first_divergence", "larger", "matrix_product", "per_lane", "sign_of", "smaller", "unit_step"]


@lane_function
def first_divergence(known, step, a, b):
    """`known`, or `step` where that is infinite and a or b is not finite: what a program that marks divergence keeps in D."""
    return step if a * 0.0 + b * 0.0 != 0.0 and known == math.inf else known


@lane_function
def larger(a, b):
    """max(a, b), of 0 and −0 the first, and NaN where one of them is."""
    return b if b > a or b != b else a


@lane_function
def smaller(a, b):
    """min(a, b), of 0 and −0 the first, and NaN where one of them is."""
    return b if b < a or b != b else a


@lane_function
def sign_of(x):
    """−1, 0 or 1, and NaN for NaN."""
    return 1.0 if x > 0.0 else -1.0 if x < 0.0 else 0.0 if x == 0.0 else x


@lane_function
def unit_step(x, at_zero):
    """0, then 1 from x > 0 on, `at_zero` between them, and NaN for NaN."""
    return 1.0 if x > 0.0 else 0.0 if x < 0.0 else at_zero if x == 0.0 else x


@block_function
def copy_row(source, into):
    """into ← source. (`into[:] = source` would compile the message that Numba has for arrays of two sizes: seconds.)"""
    for lane in range(into.size):
        into[lane] = source[lane]


@block_function
def copy_rows(source, into):
    """into ← source, for blocks."""
    for row in range(into.shape[0]):
        for lane in range(into.shape[1]):
            into[row, lane] = source[row, lane]
