"""Functions that kernels call: Python functions that Numba compiles when a kernel that names them has to be built.

A `block_function` works on blocks (rows, lanes). Until it is needed nothing is compiled, and Numba is not even imported:
what names a function is its *fingerprint*, a hash of everything that decides what it computes.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import pickle
import types
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import sympy

__all__ = ["CompiledLater", "block_function", "fingerprint", "lane_function", "python_of"]

#: no entry from Python, and no reference counts: these functions allocate nothing
_STRICT = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False}


class CompiledLater:
    """A Python function and the options with which Numba will compile it; Numba sees its dispatcher in its place."""

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        self.py_func, self.options = function, options
        self.__name__, self.__qualname__ = function.__name__, function.__qualname__
        self.__module__, self.__doc__ = function.__module__, function.__doc__

    @property
    def inlined(self) -> bool:
        """Whether it is a lane function, copied into the loop that calls it."""
        return bool(self.options.get("forceinline"))

    @property
    def text(self) -> str:
        """The source of the function, for `lane_code` to read; an OSError where there is none."""
        return inspect.getsource(self.py_func)

    @cached_property
    def dispatcher(self) -> Any:
        """Numba's object, for the code of other kernels: without an entry from Python, which would take as long again."""
        import numba

        from . import intrinsics  # noqa: F401  (what Numba is to know of this library's own functions)

        return numba.njit(**{**_STRICT, **self.options})(self.py_func)

    @cached_property
    def _from_python(self) -> Any:
        import numba

        from . import intrinsics  # noqa: F401

        return numba.njit(nogil=True, error_model="numpy", **self.options)(self.py_func)

    @property
    def _numba_type_(self) -> Any:
        return self.dispatcher._numba_type_

    def __call__(self, *arguments: Any) -> Any:
        """Call it from Python, compiled."""
        return self._from_python(*arguments)

    @property
    def _is_named(self) -> bool:
        """Whether its module has it under its name."""
        return getattr(__import__(self.__module__, fromlist=["_"]), self.__qualname__, None) is self

    @cached_property
    def own_fingerprint(self) -> str | None:
        """The fingerprint of a function that stands in this library, and so stays what it is; of others None."""
        return _hash(self) if self.__module__.startswith("sdetheory.") and self._is_named else None

    def __reduce__(self) -> Any:
        if self._is_named:
            return self.__qualname__  # found under its name, as any function is
        return _again, (type(self), self.py_func, self.options)

    def __repr__(self) -> str:
        return f"<{self.__module__}.{self.__qualname__}, compiled by Numba when it is needed>"


def _again(kind: type, function: Callable[..., Any], options: dict[str, Any]) -> Any:
    return kind(function, **options)


def block_function(function: Callable[..., None]) -> CompiledLater:
    """A function on blocks: strict IEEE arithmetic, no GIL, division by zero gives inf as in NumPy."""
    return CompiledLater(function)


def lane_function(function: Callable[..., Any]) -> CompiledLater:
    """A function of the numbers of one lane, copied into the loop that calls it."""
    return CompiledLater(function, forceinline=True)


def python_of(function: Any) -> Any:
    """The Python function behind a compiled one, or the function itself."""
    return getattr(function, "py_func", function)


def fingerprint(value: Any) -> str:
    """A hash of everything that decides what a function computes; of any other value, a hash of the value.

    Of a function: its bytecode and constants, defaults, the values in its closure, and the globals that it names, all the
    way down; of an array its dtype, shape and numbers; of a module its name, version, and what the code takes from it.

    Raises
    ------
    TypeError
        For a value that no hash can stand for, an open file for example.

    Examples
    --------
    >>> fingerprint(lambda x: 2 * x) == fingerprint(lambda x: 2 * x)
    True
    >>> fingerprint(lambda x: 2 * x) == fingerprint(lambda x: 3 * x)
    False
    """
    known = value.own_fingerprint if isinstance(value, CompiledLater) else None
    return known or _hash(value)


def _hash(value: Any) -> str:
    digest = hashlib.sha256()
    for part in _parts(value, {}):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def _parts(value: Any, seen: dict[int, Any]) -> Iterator[bytes]:
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
        yield f"{type(value).__name__}:{value!r}".encode()
    elif isinstance(value, np.ndarray) and value.dtype != object:
        yield f"array:{value.dtype.str}{value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, tuple | list):
        yield f"{type(value).__name__}:{len(value)}".encode()
        for item in value:
            yield from _parts(item, seen)
    elif isinstance(value, set | frozenset):
        yield f"{type(value).__name__}:{len(value)}".encode()
        yield from sorted(fingerprint(item).encode() for item in value)
    elif isinstance(value, dict):
        yield f"dict:{len(value)}".encode()
        for key, item in value.items():
            yield from _parts(key, seen)
            yield from _parts(item, seen)
    elif id(value) in seen:
        yield f"again:{list(seen).index(id(value))}".encode()
    else:
        seen[id(value)] = value  # kept, so that its id stays its own
        yield from _parts_of_object(value, seen)


def _parts_of_object(value: Any, seen: dict[int, Any]) -> Iterator[bytes]:
    if isinstance(value, types.ModuleType):
        yield f"module:{value.__name__}:{getattr(value, '__version__', '')}".encode()
    elif isinstance(value, types.BuiltinFunctionType | np.ufunc):
        yield f"builtin:{getattr(value, '__module__', '')}.{value.__name__}".encode()
    elif isinstance(value, types.MethodType):
        yield b"method"
        yield from _parts(value.__func__, seen)
        yield from _parts(value.__self__, seen)
    elif isinstance(value, types.FunctionType):
        yield from _parts_of_function(value, seen)
    elif isinstance(value, types.CodeType):
        yield from _parts_of_code(value, seen)
    elif isinstance(python_of(value), types.FunctionType):  # compiled, by us or by Numba
        yield repr(sorted((getattr(value, "options", None) or getattr(value, "targetoptions", {})).items(), key=str)).encode()
        yield from _parts(python_of(value), seen)
    elif isinstance(value, type):
        yield f"class:{value.__module__}.{value.__qualname__}".encode()
        if not _is_installed(value.__module__):
            for name, item in sorted(vars(value).items()):
                if isinstance(item, types.FunctionType | property | staticmethod | classmethod):
                    yield name.encode()
                    yield from _parts(getattr(item, "fget", None) or getattr(item, "__func__", item), seen)
    elif type(value).__module__.startswith("numba."):  # an intrinsic or an overload, of this library or of Numba
        yield f"numba:{getattr(value, '__module__', '')}.{getattr(value, '__name__', value)!s}".encode()
    else:
        yield from _parts(type(value), seen)
        try:
            yield _content(value, seen)
        except Exception as error:
            raise TypeError(f"fingerprint: expected something a hash can stand for, got {value!r} ({error})") from None


def _content(value: Any, seen: dict[int, Any]) -> bytes:
    file = io.BytesIO()
    _Content(file, seen).dump(value)
    return file.getvalue()


class _Content(pickle.Pickler):
    """Writes what an object is made of, to be hashed and never read: functions and classes by what they do, not by their names.

    What a property of this library has computed and kept is left out: it follows from the rest, and may not have been asked for.
    A SymPy `Dummy` is told from others by its name and its place, since its number is another one in every process.
    """

    def __init__(self, file: io.BytesIO, seen: dict[int, Any]) -> None:
        super().__init__(file, protocol=5)
        self._seen, self._dummies = seen, dict[Any, int]()

    def reducer_override(self, obj: Any) -> Any:
        """Something else than what pickle would write."""
        if isinstance(obj, types.FunctionType | CompiledLater) or (isinstance(obj, type) and not _is_installed(obj.__module__)):
            digest = hashlib.sha256()
            for part in _parts(obj, self._seen):
                digest.update(len(part).to_bytes(8, "little") + part)
            return str, (digest.hexdigest(),)
        if isinstance(obj, sympy.Dummy):
            place = self._dummies.setdefault(obj, len(self._dummies))
            return str, (f"Dummy {obj.name} {place} {sorted(obj.assumptions0.items())}",)
        kind: Any = type(obj)
        kept = _kept_by_properties(kind) & vars(obj).keys() if hasattr(obj, "__dict__") else ()
        if not kept:
            return NotImplemented
        function, arguments, state, *rest = obj.__reduce_ex__(5)
        return function, arguments, {name: item for name, item in state.items() if name not in kept}, *rest


@lru_cache
def _kept_by_properties(kind: type) -> frozenset[str]:
    """Names under which objects of a class of this library keep what its own properties have computed."""
    found = {name: attribute for base in reversed(kind.__mro__) for name, attribute in vars(base).items()}
    return frozenset(name for name, attribute in found.items() if isinstance(attribute, cached_property)
                     and kind.__module__.startswith("sdetheory.") and attribute.func.__module__.startswith("sdetheory."))


def _is_installed(module: str) -> bool:
    return module.partition(".")[0] in {"builtins", "math", "numpy", "scipy", "numba", "sympy", "sdetheory"}


def _parts_of_function(function: types.FunctionType, seen: dict[int, Any]) -> Iterator[bytes]:
    yield from _parts_of_code(function.__code__, seen)
    yield from _parts((function.__defaults__, function.__kwdefaults__), seen)
    names = _names(function.__code__)
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    named = {name: cell.cell_contents for name, cell in cells}
    named.update({name: function.__globals__[name] for name in sorted(names & function.__globals__.keys())})
    for name, item in named.items():
        yield name.encode()
        yield from _parts(item, seen)
        if isinstance(item, types.ModuleType) and not _is_installed(item.__name__):
            for attribute in sorted(names & vars(item).keys()):  # what the code takes from the module, and perhaps more
                yield attribute.encode()
                yield from _parts(vars(item)[attribute], seen)


def _parts_of_code(code: types.CodeType, seen: dict[int, Any]) -> Iterator[bytes]:
    yield code.co_code
    yield repr((code.co_names, code.co_varnames, code.co_freevars, code.co_argcount, code.co_kwonlyargcount,
                code.co_flags)).encode()
    for constant in code.co_consts:
        yield from _parts(constant, seen)


def _names(code: types.CodeType) -> set[str]:
    """The global names and attributes that code mentions, inner functions' among them."""
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*(_names(c) for c in inner))
