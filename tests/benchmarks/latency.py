"""What a user waits for: CPU seconds of first runs, of further ones, and of the command line. Run: python tests/benchmarks/latency.py

Every line is a new process, children included; "empty cache" is an empty SDETHEORY_CACHE. Beside it, in the same run, stands
the CPU time that a first trivial `numba.njit` costs in a process that has imported Numba. `--long` measures the main job too,
and `--tests` the test suite, both with an empty cache.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PREPARE = """
import time
import sympy, xarray, sdetheory as sdt
sdt.simulate, sdt.losses, sdt.dynamics, sdt.SGD
from scipy import special
x, mu, s = sympy.symbols("x mu sigma")

def timed(call):
    start = time.process_time()
    call()
    return time.process_time() - start

def gbm(drift=0.5 * x, diffusion=0.5 * x, **options):
    return sdt.simulate(sdt.SDE([x], [drift], [[diffusion]]), [1.0], t1=1.0, dt=1e-2, n_paths=1000, rng=0, **options)

def sgd(loss, **options):
    return sdt.simulate(sdt.SGD(loss, lr=0.1, weight_decay=0.05, **options), [1.0] * loss.dim, n_steps=100, n_paths=1000, rng=0,
                        observe=["sq_norm", "effective_lr", "loss"])
"""
NOISE = "noise=sdt.noises.Tangent(0.5)"
TRIVIAL = """
import time, numba
@numba.njit
def f(x):
    return x + 1
start = time.process_time()
f(1)
print(time.process_time() - start)
"""
SCRIPTS = {
    "first scalar SDE": "print(timed(gbm))",
    "a further new SDE": "gbm(); print(timed(lambda: gbm(sympy.sin(x) - x / 3, x / 2 + 1)))",
    "another coefficient, x/2 after x/3": "gbm(x / 3); print(timed(lambda: gbm(x / 2)))",
    "a two-state SDE": "y = sympy.Symbol('y'); gbm(); print(timed(lambda: sdt.simulate(sdt.SDE([x, y], [-x, x - y], "
                       "[[y, 0], [0, 1]]), [1.0, 0.0], t1=1.0, dt=1e-2, n_paths=1000, rng=0)))",
    "first SGD on a loss": f"print(timed(lambda: sgd(sdt.losses.RayleighQuotient([2.0, 1.0, 0.0, 0.0], {NOISE}))))",
    "a further SGD on another loss": f"sgd(sdt.losses.RayleighQuotient([2.0, 1.0, 0.0, 0.0], {NOISE})); "
                                     f"print(timed(lambda: sgd(sdt.losses.SphereQuartic([1.0, 2.0, 3.0], {NOISE}), momentum=0.5)))",
    "a Python function observed": "gbm(); print(timed(lambda: gbm(observe={'f': lambda x: x * x + 1})))",
    "the same function again": "run = lambda: gbm(observe={'f': lambda x: x * x + 1}); run(); print(timed(run))",
}


def cpu_of(command: list[str], **environment: str) -> tuple[float, str]:
    """CPU seconds of a command and its children, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, cwd=ROOT)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def python(script: str, cache: str) -> tuple[float, str]:
    """CPU seconds of a Python script with its kernels in a folder, and what it printed."""
    return cpu_of([sys.executable, "-c", script], SDETHEORY_CACHE=cache)


def main(arguments: list[str]) -> None:
    """Print the table."""
    trivial = min(float(python(TRIVIAL, "")[1]) for _ in range(3))
    print(f"a first trivial njit: {trivial:.2f} CPU seconds\n")
    print(f"{'':44}{'empty cache':>16}{'kernels on disk':>18}")
    with tempfile.TemporaryDirectory() as folder:
        for n, (name, script) in enumerate(SCRIPTS.items()):
            cold = min(float(python(PREPARE + script, f"{folder}/{n}-{i}")[1]) for i in range(2))
            warm = min(float(python(PREPARE + script, f"{folder}/{n}-0")[1]) for _ in range(2))
            print(f"{name:44}{cold:8.2f} ({cold / trivial:4.1f} x){warm:9.2f} ({warm / trivial:4.1f} x)", flush=True)
        first = ("import sympy, sdetheory as sdt; x = sympy.Symbol('x'); sdt.simulate(sdt.SDE([x], [-x], [[1]]), [1.0], t1=1.0, "
                 "dt=1e-2, n_paths=1000, rng=0)")
        cold = min(python(first, f"{folder}/start-{i}")[0] for i in range(2))
        warm = min(python(first, f"{folder}/start-0")[0] for _ in range(3))
        name = "process start to Dataset, a scalar SDE"
        print(f"{name:44}{cold:8.2f} ({cold / trivial:4.1f} x){warm:9.2f} ({warm / trivial:4.1f} x)")
        checks = [sys.executable, "-m", "paper_checks"]
        for words in (["--help"], ["list"], ["show", "ILR-4"]):
            seconds = min(cpu_of([*checks, *words])[0] for _ in range(3))
            print(f"{'paper-checks ' + ' '.join(words):44}{'':16}{seconds:9.2f} ({seconds / trivial:4.1f} x)", flush=True)
        if "--long" in arguments:
            run = [*checks, "run", "--output", f"{folder}/report"]
            cold, warm = (cpu_of(run, SDETHEORY_CACHE=f"{folder}/run")[0] for _ in range(2))
            print(f"{'paper-checks run':44}{cold:8.0f} ({cold / trivial:4.0f} x){warm:9.0f} ({warm / trivial:4.0f} x)", flush=True)
        if "--tests" in arguments:
            seconds, _ = cpu_of([sys.executable, "-m", "pytest", "-n", "2"], SDETHEORY_CACHE=f"{folder}/tests")
            print(f"{'the tests':44}{seconds:8.0f} ({seconds / trivial:4.0f} x)")


if __name__ == "__main__":
    main(sys.argv[1:])
