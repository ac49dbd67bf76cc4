"""The engine: the text of a step to kernels, kernels to blocks of paths, blocks to an ensemble. It holds no mathematics."""

from .functions import CompiledLater, block_function, fingerprint, lane_function
from .lanes import first_divergence, matrix_product, per_lane
from .program import BlockFunction, Noise, Observable, Program
from .row_kernel import row_kernel, traced

__all__ = ["BlockFunction", "CompiledLater", "Noise", "Observable", "Program", "block_function", "fingerprint", "first_divergence",
           "lane_function", "matrix_product", "per_lane", "row_kernel", "traced"]
