"""The machine this process runs on: what memory it may still take."""

from __future__ import annotations

from pathlib import Path

__all__ = ["available_memory"]

_CGROUP = Path("/sys/fs/cgroup")


def available_memory() -> int:
    """Bytes that can be taken without swapping: those of the machine, or of the container where it allows less."""
    import psutil  # takes a tenth of a second, which only who asks shall wait for

    return min([int(psutil.virtual_memory().available), *_left_in_container()])


def _left_in_container() -> list[int]:
    """What the control group leaves (version 2, Linux); [] where there is none, or no limit."""
    try:
        limit, used = ((_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        cache = sum(int(line.split()[1]) for line in (_CGROUP / "memory.stat").read_text().splitlines()
                    if line.startswith("inactive_file "))
        return [max(int(limit) - int(used) + cache, 0)]
    except (OSError, ValueError):  # "max" is no number
        return []
