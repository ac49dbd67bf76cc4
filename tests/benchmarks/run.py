"""Workloads side by side with their peers. Run: python tests/benchmarks/run.py [W1 W2 W3 …]

Every candidate runs in a process of its own, so that the first call, compilation included, and the peak memory are its
own; then it takes turns with nobody, the best of its calls counts, and our own candidate runs first and last: how far
its two results differ says how noisy the machine was. A candidate whose package is missing is named and passed over.
"""

from __future__ import annotations

import importlib
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

WORKLOADS = {path.stem.split("_")[0].upper(): path.stem for path in sorted(Path(__file__).parent.glob("w[0-9]*.py"))}
REPETITIONS, SECONDS = 7, 20.0


def measure(workload: str, candidate: str) -> dict[str, float | str]:
    """Time one candidate in this process."""
    module = importlib.import_module(WORKLOADS[workload])
    try:
        prepare, units = module.CANDIDATES[candidate]
        start = time.perf_counter()
        call = prepare()
        answer = call()
        first = time.perf_counter() - start
    except ImportError as error:
        return {"missing": str(error)}
    best, spent = float("inf"), 0.0
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        call()
        taken = time.perf_counter() - start
        best, spent = min(best, taken), spent + taken
        if spent > SECONDS:
            break
    return {"first": first, "best": best, "per": best / units * 1e9, "answer": float(answer),
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10}


def in_a_process(workload: str, candidate: str) -> dict[str, float | str]:
    """The same in a new process."""
    done = subprocess.run([sys.executable, __file__, "--one", workload, candidate], capture_output=True, text=True)
    if done.returncode:
        return {"missing": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "it failed"}
    return json.loads(done.stdout.strip().splitlines()[-1])


def table(workload: str) -> None:
    """Run and print one workload."""
    module = importlib.import_module(WORKLOADS[workload])
    print(f"\n{workload}: {module.TITLE}\n")
    print(f"{'candidate':42}{'ns per ' + module.UNIT:>22}{'ratio':>9}{'first call s':>14}{'peak MiB':>10}{'answer':>11}")
    names = list(module.CANDIDATES)
    ours: dict[str, float] = {}
    for name in [*names, *(n for n in names if n.startswith("sdetheory"))]:
        got = in_a_process(workload, name)
        if "missing" in got:
            print(f"{name:42}{'':>22}  not run: {got['missing']}")
            continue
        per = float(got["per"])
        label = f"{name} (again)" if name in ours else name
        reference = next(iter(ours.values()), per)
        if name.startswith("sdetheory"):
            ours.setdefault(name, per)
        print(f"{label:42}{per:22.3g}{per / reference:9.2f}{got['first']:14.2f}{got['memory']:10.0f}{got['answer']:11.5g}",
              flush=True)
    print(f"expected answer {module.EXPECTED}")


def main(arguments: list[str]) -> int:
    sys.path.insert(0, str(Path(__file__).parent))
    if arguments[:1] == ["--one"]:
        print(json.dumps(measure(arguments[1], arguments[2])))
        return 0
    wanted = [a.upper() for a in arguments] or list(WORKLOADS)
    unknown = [w for w in wanted if w not in WORKLOADS]
    if unknown:
        print(f"workloads are {', '.join(WORKLOADS)}; got {', '.join(unknown)}", file=sys.stderr)
        return 2
    for workload in wanted:
        table(workload)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
