"""Where the nets of this run are, and whether it is a large one: both follow from `paper-checks run --device`."""

from __future__ import annotations

import os
from typing import Any, TypeVar

from paper_checks.devices import VARIABLE

__all__ = ["device", "on_device"]

T = TypeVar("T")


def device() -> Any:
    """The torch.device of this run; torch uses one thread of this process, for the claims are what runs in parallel."""
    import torch

    torch.set_num_threads(1)
    return torch.device(os.environ.get(VARIABLE, "cpu"))


def on_device(cpu: T, cuda: T) -> T:
    """The one of two sizes that fits the device."""
    return cuda if os.environ.get(VARIABLE, "cpu") == "cuda" else cpu
