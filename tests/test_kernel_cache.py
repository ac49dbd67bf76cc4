"""Kernels on disk: found by every later process, rebuilt where damaged, done without where nothing can be written."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from sdetheory.engine import fingerprint
from sdetheory.kernels import compilation

KERNELS_BUILT = """
import sys, sympy, sdetheory as sdt
from sdetheory.kernels import compilation
built, build = [], compilation._compiled
compilation._compiled = lambda kernel: (built.append(kernel.name), build(kernel))[1]
x = sympy.Symbol("x")
runs = sdt.simulate(sdt.SDE([x], [-x], [[1]]), [1.0], n_steps=4, dt=0.1, n_paths=10, observe={"x": x, "f": lambda x: x * x}, rng=0)
print(sorted(built), "numba" in sys.modules, runs.f.values.sum())
"""


def test_a_second_process_finds_every_kernel_on_disk(tmp_path):
    environment = {**os.environ, "SDETHEORY_CACHE": str(tmp_path)}
    first, second = (subprocess.run([sys.executable, "-c", KERNELS_BUILT], env=environment, capture_output=True, text=True,
                                    check=True).stdout for _ in range(2))
    assert first.startswith("['advance', 'normal', 'observe', 'observe', 'run'] True")  # the function is for Numba
    assert second == first.replace("['advance', 'normal', 'observe', 'observe', 'run'] True", "[] False")


def test_a_damaged_kernel_is_named_and_built_again(tmp_path):
    environment = {**os.environ, "SDETHEORY_CACHE": str(tmp_path)}

    def run():
        return subprocess.run([sys.executable, "-c", KERNELS_BUILT], env=environment, capture_output=True, text=True, check=True)

    whole = run().stdout.split()[-1]
    for n, path in enumerate(sorted(tmp_path.glob("*.kernel"))):
        content = path.read_bytes()
        path.write_bytes([b"", content[:100], content[:-1], content[:-9] + b"!" + content[-8:], content.replace(b"\n", b"\0")][n])
    again = run()
    assert again.stdout.split()[-1] == whole and again.stdout.startswith("['advance', 'normal', 'observe', 'observe', 'run']")
    assert again.stderr.count("got a damaged file; it is built again") == 5
    assert run().stdout.startswith("[] False")


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    monkeypatch.setattr(compilation, "cache_directory", lambda: tmp_path / "missing")
    kernel = compilation.Kernel("observe", "if", "def observe(n, x):\n    y = x * 2.0\n    return 0\n")
    assert kernel.call(1, 2.0) == 0


@pytest.mark.parametrize(("environment", "expected"), [
    ({"SDETHEORY_CACHE": "~/kernels"}, "{home}/kernels"),
    ({"XDG_CACHE_HOME": "{home}/x"}, "{home}/x/sdetheory"),
    ({"XDG_CACHE_HOME": ""}, "{home}/.cache/sdetheory"),
    ({"XDG_CACHE_HOME": "relative"}, "{home}/.cache/sdetheory"),  # XDG: to be ignored
])
def test_the_cache_is_where_the_environment_says(environment, expected, tmp_path, monkeypatch):
    for name in ("SDETHEORY_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(home=tmp_path))
    assert compilation.cache_directory() == Path(expected.format(home=tmp_path))


def test_without_a_home_the_cache_is_a_folder_of_this_user_alone(tmp_path, monkeypatch):
    def no_home():
        raise RuntimeError("no home")

    for name in ("SDETHEORY_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ours = compilation.cache_directory()
    assert ours.parent == tmp_path and ours.stat().st_mode & 0o777 == 0o700
    ours.chmod(0o777)  # anybody could have put a kernel there
    assert compilation.cache_directory() != ours


FACTOR = 2.0


def test_a_fingerprint_covers_code_constants_closures_defaults_globals_and_what_is_called(monkeypatch):
    def made(code, **outside):
        scope = {"np": np, **outside}
        exec(code, scope)
        return fingerprint(scope["f"])

    plain = made("def f(x): return 2 * x")
    assert plain == made("def f(x):\n    # a comment\n    return 2 * x")
    others = [made("def f(x): return 3 * x"), made("def f(x): return np.sin(2 * x)"), made("def f(x): return np.cos(2 * x)"),
              made("def f(x, k=2): return k * x"), made("def f(x, k=3): return k * x"),
              made("def f(x): return k * x", k=2), made("def f(x): return k * x", k=2.0), made("def f(x): return k * x", k=np.ones(2)),
              made("def f(x): return k * x", k=np.ones(3)), made("def g(x): return x\ndef f(x): return g(x)"),
              made("def g(x): return -x\ndef f(x): return g(x)"), made("def f(x): return (lambda y: y + 1)(x)"),
              made("def f(x): return (lambda y: y + 2)(x)"),
              made("def outer(k):\n    def f(x): return k * x\n    return f\nf = outer(2)"),
              made("def outer(k):\n    def f(x): return k * x\n    return f\nf = outer(3)")]
    assert len({plain, *others}) == 1 + len(others)


def test_a_constant_of_an_imported_module_is_part_of_the_fingerprint(tmp_path, monkeypatch):
    (tmp_path / "my_constants.py").write_text("K = 2.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import my_constants

    def f(x):
        return my_constants.K * x

    before = fingerprint(f)
    monkeypatch.setattr(my_constants, "K", 3.0)
    assert fingerprint(f) != before


def test_what_no_hash_can_stand_for_is_refused():
    with pytest.raises(TypeError, match="fingerprint: expected something a hash can stand for"):
        fingerprint(threading.Lock())


def test_who_waits_for_a_compiler_is_told_once(monkeypatch, caplog):
    monkeypatch.setattr(compilation, "PATIENCE", 0.01)
    monkeypatch.setattr(compilation, "_told", threading.Event())
    with caplog.at_level("WARNING", logger="sdetheory"):
        for _ in range(2):
            with compilation._telling_that_it_compiles():
                time.sleep(0.1)
    assert [record.message.split(";")[0] for record in caplog.records] == ["compiling a kernel"]
