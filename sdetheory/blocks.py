"""What every driver of a block does besides the process itself: draw its noise, watch for divergence, sum over paths.

Noise number i = step·m + component of a path fills row i of the noise block. A Brownian path may be drawn on a grid
`substeps` (a power of 2) times finer than the solver's and summed by a tree, so that the same path is seen at every step
size. A path that leaves the finite numbers is marked with the first step at which it is no longer finite, `D[lane]`,
infinite while all is well.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .random import (
    fill_normals,
    fill_normals_in_time,
    fill_three_point,
    fill_two_point,
    fill_uniforms,
)

__all__ = ["aligned_block", "block_moments", "draw_brownian", "draw_normal", "draw_three_point", "draw_two_point", "draw_uniform",
           "mark_diverged", "mask_diverged", "newly_diverged"]

_compiled = njit(nogil=True, error_model="numpy", inline="always")  # into the driver: compiled once, not twice
_compiled_and_cached = njit(nogil=True, error_model="numpy", cache=True)


@_compiled
def aligned_block(rows, lanes):
    """An array (rows, lanes) that begins with a cache line: a vector that spans two lines takes twice as long to load."""
    numbers = np.empty(rows * lanes + 8)
    begin = (-numbers.ctypes.data % 64) // 8
    return numbers[begin:begin + rows * lanes].reshape(rows, lanes)


@_compiled
def draw_normal(Z, first_path, first_index, key, scale):
    """Fill Z with scale·N(0, 1); a single path is drawn along its steps, with the same numbers."""
    rows, lanes = Z.shape
    if lanes == 1:
        fill_normals_in_time(Z.reshape(1, rows), first_path, first_index, key, scale)
    else:
        fill_normals(Z, first_path, first_index, key, scale)


draw_uniform, draw_two_point, draw_three_point = fill_uniforms, fill_two_point, fill_three_point


@_compiled
def draw_brownian(Z, F, n, m, with_area, first_path, step, substeps, key, scale):
    """Increments over `n` steps into Z, m rows a step, drawn `substeps` to the step into F and summed by a tree.

    With area, the second half of the m rows is ΔU of ∫(W_s − W_0) ds = (h/2)(ΔW + ΔU/√3): over two steps it is
    (√3/2)(ΔW₁ − ΔW₂) + (ΔU₁ + ΔU₂)/2.
    """
    if substeps == 1:
        draw_normal(Z[:n * m], first_path, step * m, key, scale)
        return
    draw_normal(F[:n * substeps * m], first_path, step * substeps * m, key, scale)
    lanes = F.shape[1]
    brownian = m // 2 if with_area else m
    tilt = 0.5 * math.sqrt(3.0)
    count = n * substeps
    while count > n:
        count //= 2
        for k in range(count):
            left, right, into = 2 * k * m, (2 * k + 1) * m, k * m
            for row in range(m):
                if row < brownian and not with_area:
                    for lane in range(lanes):
                        F[into + row, lane] = F[left + row, lane] + F[right + row, lane]
                elif row < brownian:
                    for lane in range(lanes):
                        w1, w2 = F[left + row, lane], F[right + row, lane]
                        u1, u2 = F[left + row + brownian, lane], F[right + row + brownian, lane]
                        F[into + row, lane] = w1 + w2
                        F[into + row + brownian, lane] = tilt * (w1 - w2) + 0.5 * (u1 + u2)
    Z[:n * m] = F[:n * m]


@_compiled
def newly_diverged(X, D):
    """Whether some lane that was finite so far holds a number that is not."""
    rows, lanes = X.shape
    found = False
    for row in range(rows):
        bad = 0.0
        for lane in range(lanes):
            bad += 1.0 if X[row, lane] * 0.0 != 0.0 and D[lane] == math.inf else 0.0
        found = found or bad > 0.0
    return found


@_compiled
def mark_diverged(X, step, D):
    """Note `step` for every lane that holds a number that is not finite and had none before."""
    rows, lanes = X.shape
    for row in range(rows):
        for lane in range(lanes):
            if X[row, lane] * 0.0 != 0.0 and D[lane] == math.inf:
                D[lane] = step


@_compiled
def mask_diverged(OUT, D):
    """NaN for every lane that has diverged."""
    rows, lanes = OUT.shape
    for lane in range(lanes):
        if D[lane] < math.inf:
            for row in range(rows):
                OUT[row, lane] = math.nan


@_compiled_and_cached
def block_moments(OUT, first, last, moments):
    """Count, mean and squared deviations over the finite lanes first … last − 1 of OUT (saves, rows, lanes).

    They go into `moments` (saves, rows, 3).
    """
    saves, rows, _ = OUT.shape
    for save in range(saves):
        for row in range(rows):
            count, mean, squares = 0.0, 0.0, 0.0
            for lane in range(first, last):
                x = OUT[save, row, lane]
                if x * 0.0 == 0.0:
                    count += 1.0
                    delta = x - mean
                    mean += delta / count
                    squares += delta * (x - mean)
            moments[save, row, 0] = count
            moments[save, row, 1] = mean
            moments[save, row, 2] = squares
