"""Kernels: functions of addresses and numbers, from Python or from instructions to machine code that is found on disk."""

from .functions import CompiledLater, block_function, fingerprint, lane_function
from .lanes import copy_row, copy_rows, first_divergence, matrix_product, per_lane

__all__ = ["CompiledLater", "block_function", "copy_row", "copy_rows", "fingerprint", "first_divergence", "lane_function",
           "matrix_product", "per_lane"]
