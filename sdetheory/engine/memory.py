"""How much memory a run takes, said before the work begins: all that is allocated, against what is available.

In numbers of 8 bytes, for n paths in c cells, s saves of w numbers, and k workers:

    what is kept        n s w  +  2 n (steps of divergence, as they come and as they are given)
    or only moments     12 c s w (three of each, and what the result makes of them)
    tables              4 s (steps and times)  +  schedules  +  32 numbers a chunk (who runs what)
    at work             k (block + chunk)
"""

from __future__ import annotations

from ..machine import available_memory
from .block import AHEAD, array_sizes
from .plan import Plan

__all__ = ["check_memory", "check_tables", "memory_needed"]

SMALL = 2**26  # bytes for which nobody asks the machine: a Python process has taken as much
SHARE = 0.8  # of the available memory
BUILDING = 5  # times its numbers that a table of schedules takes while it is made: Python floats are four


def memory_needed(plan: Plan, workers: int, blocks_per_chunk: int, elsewhere: bool = False) -> int:
    """Bytes that the run of a plan takes in this process; `elsewhere`: its chunks are run by other processes, and sent here."""
    saves, width, n = plan.save_steps.size, plan.program.width, plan.n_paths
    cells = n // plan.cell_paths
    chunk_paths = min(n, blocks_per_chunk * plan.block_paths)
    segments = 0 if plan.keep_paths else blocks_per_chunk + chunk_paths // plan.cell_paths + 1
    numbers = n * saves * width if plan.keep_paths else 12 * cells * saves * width
    numbers += 2 * n + n // 8 if plan.keep_diverged_at else 4 * cells
    numbers += 4 * saves + plan.schedules.size + 32 * -(-plan.n_blocks // blocks_per_chunk)
    chunk = chunk_paths * (2 if plan.keep_diverged_at else 1) + 3 * segments * saves * width
    if elsewhere:
        chunk += chunk_paths * saves * width if plan.keep_paths else 0
        return 8 * (numbers + 2 * workers * chunk)
    block = sum(array_sizes(plan, plan.block_paths, plan.saves_together()).values())
    ahead = 2 * AHEAD * plan.program.noise[0].rows if n == 1 and plan.program.noise else 0
    return 8 * (numbers + workers * (block + chunk) + ahead)


def check_memory(plan: Plan, workers: int, chunk_size: int | None, elsewhere: bool, limit: float | None) -> None:
    """Refuse a run that cannot fit into `limit` bytes (80 % of the available memory unless told), with a way out."""
    saves, width = plan.save_steps.size, plan.program.width
    ways = ["use keep_paths=False", "a larger save_every", "fewer observables"] if plan.keep_paths else \
        ["use keep_diverged_at=False"] * plan.keep_diverged_at + ["a larger save_every", "fewer observables or cells"]
    _refuse(memory_needed(plan, workers, plan.blocks_per_chunk(chunk_size), elsewhere), limit,
            f"{plan.n_paths} paths x {saves} saves x {width} numbers", ", ".join(ways[:-1]) + " or " + ways[-1])


def check_tables(saves: int, scheduled: int, limit: float | None) -> None:
    """Refuse the tables of so many saves and values of schedules before they are made."""
    _refuse(8 * (4 * saves + BUILDING * scheduled), limit, f"tables of {saves} saves and {scheduled} values of schedules",
            "use a larger save_every, or constants in place of schedules")


def _refuse(need: int, limit: float | None, what: str, way: str) -> None:
    if limit is None:
        if need <= SMALL:
            return
        limit = SHARE * available_memory()
    if need > limit:
        raise MemoryError(f"simulate: the run needs about {_shown(need)} ({what}), {_shown(limit)} may be used; {way}")


def _shown(size: float) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
