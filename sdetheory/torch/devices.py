"""Where a net is: a device that is there, or an error that says so; and what a GPU does by itself: random states, TF32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

__all__ = ["all_bits_of_float32", "available_device", "own_random_state"]


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


@contextmanager
def own_random_state(model: nn.Module, seed: int | None = None) -> Iterator[None]:
    """Leave the random states that a model may draw from as they were; with a seed, start from it on each of its devices.

    `torch.manual_seed` would seed every GPU there is, those that are not restored too.
    """
    devices = sorted({p.device for p in model.parameters() if p.device.type == "cuda"}, key=str)
    with torch.random.fork_rng(devices=devices):
        if seed is not None:
            for generator in (torch.default_generator, *(torch.cuda.default_generators[d.index] for d in devices)):
                generator.manual_seed(seed)
        yield


@contextmanager
def all_bits_of_float32() -> Iterator[None]:
    """Compute in float32 with its 24 bits on a GPU too, where convolutions would take the 11 of TF32."""
    settings = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "ieee"
        yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.fp32_precision = value
