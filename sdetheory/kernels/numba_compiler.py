"""A kernel's text through Numba to LLVM; imported only where a kernel is not yet on disk."""

from __future__ import annotations

import linecache
import math
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from . import intrinsics, lanes
from .functions import CompiledLater

if TYPE_CHECKING:
    from .compilation import Kernel

__all__ = ["add_runtime_symbols", "llvm_of"]

_NAMES = {**{name: getattr(intrinsics, name) for name in intrinsics.__all__},
          **{name: getattr(lanes, name) for name in lanes.__all__},
          "math": math, "np": np, "inf": math.inf, "nan": math.nan, "pi": math.pi}


def add_runtime_symbols() -> None:
    """Make Numba's runtime and its way to BLAS known to LLVM, for kernels that call them."""
    from numba.core.registry import cpu_target
    from numba.core.runtime import rtsys

    rtsys.initialize(cpu_target.target_context)


def llvm_of(kernel: Kernel) -> str:
    """Numba's optimised module, with an entry that returns the status in place of its C callback."""
    if getattr(numba.config, "DISABLE_JIT", 0):
        raise RuntimeError("NUMBA_DISABLE_JIT: expected 0, got 1: a function that this kernel calls has to be compiled by Numba; unset "
                           "it, and call the function from Python to debug it")
    namespace = {**_NAMES, **{name: _for_numba(f) for name, f in kernel.functions.items()}}
    file = f"<kernel {kernel.key}>"
    linecache.cache[file] = (len(kernel.text), None, kernel.text.splitlines(keepends=True), file)
    exec(compile(kernel.text, file, "exec"), namespace)
    signature = numba.int64(*(intrinsics.ARGUMENTS[letter] for letter in kernel.signature))
    allocates = "np." in kernel.text or any(not isinstance(f, CompiledLater) for f in kernel.functions.values())
    options: dict[str, Any] = {"error_model": "numpy", "_nrt": allocates}
    compiled = numba.cfunc(signature, **options)(namespace[kernel.name])
    native = compiled.native_name.removeprefix("cfunc.")
    kinds = [{"f": "double"}.get(letter, "i64") for letter in kernel.signature]
    declared = ", ".join(f"{kind} %a{i}" for i, kind in enumerate(kinds))
    return f"""{compiled.inspect_llvm()}
define i32 @{kernel.entry}({declared}) {{
  %result = alloca i64
  %exception = alloca ptr
  %status = call i32 @{native}(ptr %result, ptr %exception, {declared})
  %value = load i64, ptr %result
  %returned = trunc i64 %value to i32
  %well = icmp eq i32 %status, 0
  %answer = select i1 %well, i32 %returned, i32 %status
  ret i32 %answer
}}
"""


def _for_numba(function: Any) -> Any:
    if hasattr(function, "_numba_type_") or isinstance(function, numba.extending._Intrinsic):
        return function
    return numba.njit(error_model="numpy", nogil=True)(function)
