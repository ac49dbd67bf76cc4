"""Run every notebook from top to bottom, and see that its two forms, percent script and .ipynb, say the same."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"


def differences(script: Path) -> list[str]:
    """What is wrong with the .ipynb beside a script: missing, other cells, or outputs left in."""
    paired = script.with_suffix(".ipynb")
    remedy = f"run: jupytext --to ipynb {script.relative_to(FOLDER.parent)}"
    if not paired.exists():
        return [f"{paired.name} is missing; {remedy}"]
    here, there = jupytext.read(script), nbformat.read(paired, as_version=4)
    found = []
    if [(c.cell_type, c.source) for c in here.cells] != [(c.cell_type, c.source) for c in there.cells]:
        found.append(f"{paired.name} has other cells than {script.name}; {remedy}")
    if any(cell.get("outputs") or cell.get("execution_count") for cell in there.cells):
        found.append(f"{paired.name} holds outputs; {remedy}")
    return found


def main() -> int:
    """Return 0 if every notebook is in step with its pair and runs."""
    scripts = sorted(FOLDER.glob("*.py"))
    wrong = [problem for script in scripts for problem in differences(script)]
    wrong += [f"{p.name} has no script beside it" for p in FOLDER.glob("*.ipynb") if not p.with_suffix(".py").exists()]
    if not scripts:
        wrong.append(f"{FOLDER}: expected notebooks, got none")
    for script in scripts:
        started = time.perf_counter()
        notebook = jupytext.read(script)
        try:
            NotebookClient(notebook, timeout=600, kernel_name="python3",
                           resources={"metadata": {"path": str(FOLDER)}}).execute()
            print(f"{script.name}: ran, {time.perf_counter() - started:.1f} s", flush=True)
        except CellExecutionError as error:
            wrong.append(f"{script.name}: {error}")
    print("\n".join(wrong), file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
