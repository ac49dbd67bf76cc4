"""From the text of a kernel to a compiled module that later processes load from disk.

The text is written to a file named by the hash of everything it depends on (itself, the files of the functions it calls,
the versions that compile it), so Numba's disk cache is hit by every later process and is never stale.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import llvmlite
import numba
import numpy as np

try:
    import fcntl
except ImportError:  # not on Windows, where two processes may compile the same kernel
    fcntl = None  # type: ignore[assignment]

__all__ = ["cache_directory", "compile_source", "import_line", "importable", "one_compilation"]


@contextmanager
def one_compilation(run: Any) -> Iterator[None]:
    """Let one process at a time call a driver that it has yet to compile: the others then find it on disk."""
    if run.overloads or fcntl is None:
        yield
        return
    with open(Path(inspect.getfile(run.py_func)).with_suffix(".lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released as the file is closed, and by the system if the process dies
        yield


def _python(function: Any) -> FunctionType:
    return getattr(function, "py_func", function)


def importable(function: Any) -> bool:
    """Whether another process finds this very function under its module and name."""
    f = _python(function)
    module = sys.modules.get(f.__module__)
    spec = getattr(module, "__spec__", None)
    return spec is not None and getattr(module, f.__qualname__, None) is function and hasattr(module, "__file__")


def import_line(name: str, function: Any) -> str:
    f = _python(function)
    return f"from {f.__module__} import {f.__qualname__} as {name}"


def _files_behind(function: Any, seen: set[int]) -> Iterator[Path]:
    """The source files of a compiled function and of every compiled function it names."""
    if id(function) in seen or not hasattr(function, "py_func"):
        return
    seen.add(id(function))
    f = function.py_func
    yield Path(inspect.getfile(f))
    for name in f.__code__.co_names:
        yield from _files_behind(f.__globals__.get(name), seen)


def cache_directory() -> Path:
    """Where generated modules live: `SDETHEORY_CACHE`, else the user's cache folder, else a temporary one."""
    named = os.environ.get("SDETHEORY_CACHE")
    root = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sdetheory"
    try:
        root.mkdir(parents=True, exist_ok=True)
        if os.access(root, os.W_OK):
            return root
    except OSError:
        pass
    fallback = Path(tempfile.gettempdir()) / f"sdetheory-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    fallback.mkdir(parents=True, exist_ok=True)
    return fallback


_modules: dict[str, ModuleType] = {}


def compile_source(source: str, functions: Mapping[str, Any], injected: Mapping[str, Any]) -> ModuleType:
    """Import `source` as a module, from the folder of generated modules.

    Its file is named by the hash of the text, of the files of the `functions` it calls and of the versions that compile it.
    `injected` functions (from a notebook, say) have no importable name: they are put into the module, which then is
    compiled anew in every process.
    """
    digest = hashlib.sha256(source.encode())
    seen: set[int] = set()
    from . import blocks, noise_kernels, philox  # what every driver calls

    files = {Path(inspect.getfile(room)) for room in (blocks, noise_kernels, philox)}
    for function in functions.values():
        files.update(_files_behind(function, seen))
    for path in sorted(files):
        digest.update(path.read_bytes() if path.exists() else str(path).encode())
    digest.update(repr((numba.__version__, llvmlite.__version__, np.__version__, sys.version_info[:2])).encode())
    if injected:
        digest.update(repr(sorted((name, id(f)) for name, f in injected.items())).encode())
        source = source.replace(", cache=True", "")
    name = f"sdetheory_kernel_{digest.hexdigest()[:24]}"
    if name in _modules:
        return _modules[name]
    path = cache_directory() / f"{name}.py"
    if not path.exists() or path.read_text(encoding="utf-8") != source:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, suffix=".tmp", encoding="utf-8") as file:
            file.write(source)
        os.replace(file.name, path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    for key, function in injected.items():
        setattr(module, key, function if hasattr(function, "py_func") else numba.njit(function))
    _modules[name] = module
    return module
