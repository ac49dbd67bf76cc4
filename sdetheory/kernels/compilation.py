"""From the text of a kernel to machine code that every later process finds on disk.

A kernel is one Python function of addresses and numbers, and the functions that it names. Its name is the hash of
everything that decides its machine code: its text, the fingerprints of those functions, this library's own compiled code,
the processor, and the versions that compile it. Under that name lies one file: a header, and the object code that Numba and
LLVM made of the text. Who finds the file loads it with LLVM alone, without importing Numba, in about a millisecond.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import json
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from .functions import fingerprint
from .instructions import module_of
from .lane_code import NotSimple, body_of
from .machine_code import BLAS_SYMBOL, add_blas, execution_engine, object_code, processor, vector_width

try:
    import fcntl
except ImportError:  # not on Windows, where two processes may compile the same kernel
    fcntl = None  # type: ignore[assignment]

__all__ = ["Kernel", "cache_directory", "compiled_now"]

_LOGGER = logging.getLogger("sdetheory")
_MAGIC = b"sdetheory kernel 1\n"
_LOCK = threading.RLock()
PATIENCE = 1.0  # seconds of compilation after which the user is told
_CTYPES: dict[str, Any] = {"i": ctypes.c_int64, "u": ctypes.c_uint64, "f": ctypes.c_double}
_HERE = Path(__file__).parent
#: the library's own code that Numba compiles into kernels, beside the functions that a kernel names
_OWN_CODE = [*sorted(_HERE.glob("*.py")), _HERE.parent / "engine" / "driver.py",
             *(_HERE.parent / "random" / f"{name}.py" for name in ("philox", "fill_kernels"))]


@dataclass(frozen=True)
class Kernel:
    """A function of addresses and numbers that returns 0, compiled when it is first called.

    Parameters
    ----------
    name : str
        Of the function that `text` defines.
    signature : str
        One letter per argument: i (int64, addresses too), u (uint64), f (float64).
    text : str
        Python that Numba compiles: it may use what `kernels.intrinsics` offers, `math`, `np` and `functions`.
    functions : mapping of name to function
        What the text names besides.
    module : str
        In place of a text: where `KERNELS[name]` writes the instructions of one of the engine's own kernels.
    """

    name: str
    signature: str
    text: str = ""
    functions: Mapping[str, Any] = field(default_factory=dict)
    module: str = ""

    @cached_property
    def key(self) -> str:
        """The hash that names its file."""
        digest = hashlib.sha256(f"{_own_code()}\n{_machine()}\n{self.module}\n{self.name}\n{self.signature}\n{self.text}".encode())
        for name, function in sorted(self.functions.items()):
            digest.update(f"\n{name}:{fingerprint(function)}".encode())
        return digest.hexdigest()[:32]

    @property
    def entry(self) -> str:
        """The name of its machine code."""
        return f"kernel_{self.key}"

    @cached_property
    def address(self) -> int:
        """Where its machine code lies in this process: found in memory, on disk, or compiled now."""
        with _LOCK:
            if self.key not in _ADDRESSES:
                _ADDRESSES[self.key] = _load(_object_code(self), self.entry)
            return _ADDRESSES[self.key]

    @cached_property
    def call(self) -> Callable[..., int]:
        """The kernel as a function of Python numbers, which lets go of the GIL; 0 says that all went well."""
        return ctypes.CFUNCTYPE(ctypes.c_int32, *(_CTYPES[letter] for letter in self.signature))(self.address)

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("name", "signature", "text", "functions", "module")}


_ADDRESSES: dict[str, int] = {}


@cache
def _own_code() -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in _OWN_CODE)).hexdigest()


@cache
def _machine() -> str:
    """The processor, and the versions that make code for it."""
    return repr((sys.version_info[:2], version("numba"), version("llvmlite"), version("numpy"), llvm.get_process_triple(),
                 *processor(), vector_width()))


def cache_directory() -> Path:
    """Where kernels live: `SDETHEORY_CACHE`, else the user's cache folder (by XDG's rules), else a temporary one."""
    named = os.environ.get("SDETHEORY_CACHE")
    try:
        root = Path(named).expanduser() if named else _user_cache() / "sdetheory"
        root.mkdir(parents=True, exist_ok=True)
        if os.access(root, os.W_OK):
            return root
    except (OSError, RuntimeError):  # no home folder, or none that can be written
        pass
    return _temporary_cache()


def _user_cache() -> Path:
    named = os.environ.get("XDG_CACHE_HOME", "")
    return Path(named) if os.path.isabs(named) else Path.home() / ".cache"  # XDG: a relative path is to be ignored


def _temporary_cache() -> Path:
    """A folder of the temporary directory that is this user's alone; else a fresh one, used by this process."""
    owner = os.getuid() if hasattr(os, "getuid") else "user"
    fallback = Path(tempfile.gettempdir()) / f"sdetheory-{owner}"
    try:
        fallback.mkdir(mode=0o700, exist_ok=True)
        status = fallback.lstat()
        if fallback.is_dir() and not fallback.is_symlink() and (not hasattr(os, "getuid") or (
                status.st_uid == os.getuid() and status.st_mode & 0o077 == 0)):
            return fallback
    except OSError:
        pass
    return _private_cache()


@cache
def _private_cache() -> Path:
    return Path(tempfile.mkdtemp(prefix="sdetheory-"))


def _object_code(kernel: Kernel) -> bytes:
    """The object code from disk, or built now by one process while the others wait for it."""
    path = cache_directory() / f"{kernel.key}.kernel"
    found = _read(path)
    if found is not None:
        return found
    with _one_process(path):
        found = _read(path, name_damage=False)
        if found is None:
            with _telling_that_it_compiles():
                found, outside = _compiled(kernel)
            _write(path, kernel, found, outside)
    return found


def _compiled(kernel: Kernel) -> tuple[bytes, list[str]]:
    """The object code, and the names of what it calls outside."""
    if kernel.module:
        return _written(kernel, import_module(kernel.module).KERNELS[kernel.name])
    try:
        return _written(kernel, body_of(kernel.text, kernel.functions))
    except NotSimple as reason:
        _LOGGER.debug("kernel %s goes to Numba: %s", kernel.key, reason)
    from .numba_compiler import llvm_of

    return object_code(llvm_of(kernel), kernel.entry)


def _written(kernel: Kernel, body: Callable[..., None]) -> tuple[bytes, list[str]]:
    return object_code(module_of(kernel.entry, kernel.signature, body, vector_width()), kernel.entry, optimise=True)


def compiled_now(signature: str, body: Callable[..., None]) -> Callable[..., int]:
    """A kernel that `body` writes, for this process alone: to try out instructions."""
    entry = f"tried_{next(_NUMBERS)}"
    with _LOCK:
        address = _load(object_code(module_of(entry, signature, body, vector_width()), entry, optimise=True)[0], entry)
    return ctypes.CFUNCTYPE(ctypes.c_int32, *(_CTYPES[letter] for letter in signature))(address)


_NUMBERS = itertools.count()


def _read(path: Path, name_damage: bool = True) -> bytes | None:
    """The object code of a kernel file; None where there is none, or a damaged one, which is named once and rebuilt."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    try:
        magic, header, code = content[:len(_MAGIC)], *content[len(_MAGIC):].split(b"\n", 1)
        about = json.loads(header)
        if magic != _MAGIC or hashlib.sha256(code).hexdigest() != about["sha256"]:
            raise ValueError
        _add_symbols(about["outside"])
    except (ValueError, KeyError, TypeError):
        if name_damage:
            _LOGGER.warning("%s: expected a kernel, got a damaged file; it is built again", path)
        return None
    return code


def _add_symbols(names: list[str]) -> None:
    """Make what a kernel calls known to LLVM, beyond the C library."""
    if BLAS_SYMBOL in names:
        add_blas()
    if any(name.startswith(("NRT_", "numba_", "Py", "_Py")) for name in names):
        from .numba_compiler import add_runtime_symbols

        add_runtime_symbols()


def _write(path: Path, kernel: Kernel, code: bytes, outside: list[str]) -> None:
    """Leave the kernel on disk, whole or not at all; a folder that is full or cannot be written is done without."""
    about = {"name": kernel.name, "sha256": hashlib.sha256(code).hexdigest(), "outside": outside,
             "signature": kernel.signature, "text": kernel.text, "functions": sorted(kernel.functions),
             "machine": _machine()}
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False, suffix=".partial") as file:
            try:
                file.write(_MAGIC + json.dumps(about).encode() + b"\n" + code)
                file.flush()
                os.replace(file.name, path)
            except OSError:
                os.unlink(file.name)
                raise
    except OSError as error:
        _LOGGER.info("%s: the kernel could not be kept (%s); later processes compile it again", path, error)


@contextmanager
def _one_process(path: Path) -> Iterator[None]:
    """Let one process at a time build a kernel: the others then find it on disk."""
    try:
        file = open(path.with_suffix(".lock"), "w") if fcntl is not None else None
    except OSError:
        file = None
    if file is None:
        yield
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released as the file is closed, and by the system if the process dies
        yield
        path.with_suffix(".lock").unlink(missing_ok=True)


_told = threading.Event()


@contextmanager
def _telling_that_it_compiles() -> Iterator[None]:
    """Say once per process that a kernel is being compiled, when that takes more than a second."""
    def tell() -> None:
        if not _told.is_set():
            _told.set()
            _LOGGER.warning("compiling a kernel; later runs find it in %s", cache_directory())

    timer = threading.Timer(PATIENCE, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _load(code: bytes, entry: str) -> int:
    engine = execution_engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine.get_function_address(entry)
