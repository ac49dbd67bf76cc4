"""Where a net is: a device that is there, or an error that says so; and the devices whose random state a net may draw from."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ["available_device", "random_devices"]


def available_device(name: Any) -> torch.device:
    """The torch.device of that name.

    Raises
    ------
    ValueError
        Where there is no such device, or this torch was built without it.

    >>> available_device("cpu")
    device(type='cpu')
    """
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device: expected 'cpu', 'cuda' or 'cuda:0', …, got {name!r}") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device: expected one that is there, got {name!r} with {torch.cuda.device_count()} CUDA device(s) "
                         f"found by torch {torch.__version__}; take 'cpu', or install a build of torch for your GPU")
    return device


def random_devices(model: nn.Module) -> list[torch.device]:
    """The CUDA devices of a model, to be given to `torch.random.fork_rng`."""
    return sorted({p.device for p in model.parameters() if p.device.type == "cuda"}, key=str)
