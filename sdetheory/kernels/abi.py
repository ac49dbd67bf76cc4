"""How the driver calls kernels: their arguments, in order. Addresses and sizes are integers (i), keys unsigned (u), numbers f.

``advance``: step, n_steps, t0, dt, lanes, X, Z, V, S, T, rows of T, P, D, constants
``observe``: step, t0, dt, lanes, X, OUT, S, T, rows of T, P, constants
``tree``: fine block, coarse block, lanes, steps, rows a step, substeps, with area
``draw``: block, its rows, its lanes, first path, first index, key, scale
"""

from __future__ import annotations

import ctypes
from typing import Any

from numpy.typing import NDArray

ADVANCE_NAMES = ("step", "n_steps", "t0", "dt", "lanes", "X_", "Z_", "V_", "S_", "T_", "T_rows", "P_", "D_", "K_")
OBSERVE_NAMES = ("step", "t0", "dt", "lanes", "X_", "OUT_", "S_", "T_", "T_rows", "P_", "K_")
ADVANCE, OBSERVE, DRAW, TREE = "iiffiiiiiiiiii", "iffiiiiiiii", "iiiiiuf", "iiiiiii"
#: what the driver reads from a table of numbers of 64 bits, in this order; those in RUN_REALS are floats
RUN_TABLE = ("advance", "advance_constants", "observers", "n_observers", "draw_Z", "draw_V", "tree", "X", "rows", "lanes",
             "first_path", "first_step", "saves", "n_saves", "batch", "substeps", "z_rows", "v_rows", "with_area", "key_Z", "key_V",
             "scale_Z", "scale_V", "t0", "dt", "Z", "V", "F", "B", "S", "T", "T_rows", "P", "D", "OUT", "width", "watched", "ready")
RUN_REALS = ("scale_Z", "scale_V", "t0", "dt")
RUN = "i"
MOMENTS, PUT = "iiiiiii", "iiiiiiiii"


class RunTable(ctypes.Structure):
    """The table, by names."""

    _fields_ = [(name, ctypes.c_double if name in RUN_REALS else ctypes.c_uint64 if name.startswith("key") else ctypes.c_int64)
                for name in RUN_TABLE]


def address(array: NDArray[Any]) -> int:
    """Where an array's numbers begin; `array.ctypes.data` says the same, in three times the time."""
    return array.__array_interface__["data"][0]
