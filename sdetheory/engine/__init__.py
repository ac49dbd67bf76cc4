"""The engine: the text of a step to kernels, kernels to blocks of paths, blocks to an ensemble. It holds no mathematics."""

from ..kernels.functions import CompiledLater, block_function, fingerprint, lane_function
from ..kernels.lanes import copy_row, copy_rows, first_divergence, matrix_product, per_lane
from .lane_map import lane_map_program
from .program import BlockFunction, Noise, Observable, Program
from .row_kernel import row_kernel, traced
from .step import Name, Observer, Rows, Step, Steps, Writer

__all__ = ["BlockFunction", "CompiledLater", "Name", "Noise", "Observable", "Observer", "Program", "Rows", "Step", "Steps", "Writer",
           "block_function", "copy_row", "copy_rows", "fingerprint", "first_divergence", "lane_function", "lane_map_program",
           "matrix_product", "per_lane", "row_kernel", "traced"]
