"""From an LLVM module to object code, and from object code to a running function: LLVM alone, without Numba."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any

import llvmlite.binding as llvm

BLAS_SYMBOL = "sdetheory_dgemm"

__all__ = ["BLAS_SYMBOL", "add_blas", "execution_engine", "object_code", "processor", "vector_width"]


@cache
def processor() -> tuple[str, str]:
    """Name and features of the processor that code is made for: this one, or that of Numba's environment variables."""
    return (os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name(),
            os.environ.get("NUMBA_CPU_FEATURES") or llvm.get_host_cpu_features().flatten())


def vector_width() -> int | None:
    """Bits of the vectors to ask for, where LLVM would take 256 although the processor has more; only speed depends on it.

    SDETHEORY_PREFER_256=1 asks for 256 bits.
    """
    if os.environ.get("SDETHEORY_PREFER_256", "") == "1":
        return 256
    return 512 if "+avx512f" in processor()[1].split(",") else None


@cache
def target_machine() -> Any:
    """LLVM's target for code that is loaded into this process."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = processor()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return target.create_target_machine(cpu=cpu, features=features, opt=3, jit=True, reloc="default", codemodel="jitdefault")


def object_code(module_text: str, entry: str, *, optimise: bool = False) -> tuple[bytes, list[str]]:
    """The object code of a module whose one visible function is `entry`, and the names of what it calls outside."""
    module = llvm.parse_assembly(module_text)
    module.triple = llvm.get_process_triple()
    module.verify()
    for symbol in [*module.functions, *module.global_variables]:
        if not symbol.is_declaration and symbol.name != entry:
            symbol.linkage = "internal"
    machine = target_machine()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = options.loop_interleaving = True
    options.loop_unrolling = False  # of loops over rows: ten times the code, ten times the compilation, and no faster
    builder = llvm.create_pass_builder(machine, options)
    if optimise:
        module.data_layout = str(machine.target_data)
        builder.getModulePassManager().run(module, builder)
    dead_code = llvm.create_new_module_pass_manager()
    dead_code.add_global_dead_code_eliminate_pass()
    dead_code.run(module, builder)
    outside = [symbol.name for symbol in [*module.functions, *module.global_variables]
               if symbol.is_declaration and not symbol.name.startswith("llvm.")]
    return machine.emit_object(module), outside


@cache
def add_blas() -> None:
    """Make BLAS's product of matrices known to LLVM: the one that SciPy brings."""
    from scipy.linalg import cython_blas

    capsule = cython_blas.__pyx_capi__["dgemm"]
    name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    llvm.add_symbol(BLAS_SYMBOL, pointer_of(capsule, name_of(capsule)))


@cache
def execution_engine() -> Any:
    """Where object code is loaded."""
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())
