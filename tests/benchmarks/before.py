"""Our own candidates beside the code before: python tests/benchmarks/before.py CHECKOUT [W1 W2 …] [--sweeps N]

Each version runs in a process of its own, which is asked for one call at a time, in turns, so that both see the same noise of
the machine. What counts is CPU time, the best and the median of all turns; the ratio is after / before.
"""

from __future__ import annotations

import importlib
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORKLOADS = {path.stem.split("_")[0].upper(): path.stem for path in sorted(HERE.glob("w[0-9]*.py"))}


def serve(folder: str, workload: str, candidate: str) -> None:
    """Prepare a candidate of the workloads in a folder, then time one call for every line that comes in."""
    sys.path.insert(0, folder)
    prepare, _ = importlib.import_module(WORKLOADS[workload]).CANDIDATES[candidate]
    call = prepare()
    call()
    print("ready", flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        print(time.perf_counter() - wall, time.process_time() - cpu, flush=True)


def start(checkout: Path, cache: str, workload: str, candidate: str) -> subprocess.Popen[str]:
    """A process that serves the library of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "SDETHEORY_CACHE": cache}
    folder = str(checkout / "tests" / "benchmarks")
    process = subprocess.Popen([sys.executable, __file__, "--serve", folder, workload, candidate], env=environment, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    if process.stdout is None or process.stdout.readline() != "ready\n":
        raise SystemExit(f"{checkout}: {workload} {candidate} could not be prepared")
    return process


def compare(checkout: Path, workload: str, sweeps: int) -> None:
    """Print a line for each of our candidates of a workload."""
    sys.path.insert(0, str(HERE))
    candidates = importlib.import_module(WORKLOADS[workload]).CANDIDATES
    for candidate in (name for name in candidates if name.startswith("sdetheory")):
        units = candidates[candidate][1]
        sides = {"before": checkout, "after": HERE.parent.parent}
        cache = os.environ.get("SDETHEORY_CACHE", str(Path.home() / ".cache" / "sdetheory"))
        processes = {side: start(path, f"{cache}-{side}", workload, candidate) for side, path in sides.items()}
        times: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
        for _ in range(sweeps):
            for side, process in processes.items():
                assert process.stdin is not None and process.stdout is not None
                process.stdin.write("go\n")
                process.stdin.flush()
                wall, cpu = map(float, process.stdout.readline().split())
                times[side].append((wall, cpu))
        for process in processes.values():
            process.communicate()
        best = {side: [min(t[i] for t in found) for i in (0, 1)] for side, found in times.items()}
        median = {side: statistics.median(t[1] for t in found) for side, found in times.items()}
        print(f"{workload} {candidate:34} wall {best['before'][0] / units * 1e9:8.3g} -> {best['after'][0] / units * 1e9:8.3g} ns"
              f" ({best['after'][0] / best['before'][0]:.2f}), CPU {best['before'][1] / units * 1e9:8.3g} -> "
              f"{best['after'][1] / units * 1e9:8.3g} ({best['after'][1] / best['before'][1]:.2f}, medians "
              f"{median['after'] / median['before']:.2f})", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(*sys.argv[2:])
    else:
        count = int(sys.argv[sys.argv.index("--sweeps") + 1]) if "--sweeps" in sys.argv else 15
        wanted = [name for name in sys.argv[2:] if name.upper() in WORKLOADS] or list(WORKLOADS)
        for name in wanted:
            compare(Path(sys.argv[1]).resolve(), name.upper(), count)
