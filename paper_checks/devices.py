"""Where claims on real nets run: on the CPU or, by `--device cuda`, on a GPU, with larger nets and longer runs."""

from __future__ import annotations

import os

from .errors import UsageError

__all__ = ["DEVICES", "VARIABLE", "DeviceError", "available", "torch_version"]

DEVICES = ("cpu", "cuda")
#: what the files of the claims read when they are imported
VARIABLE = "PAPER_CHECKS_DEVICE"


class DeviceError(UsageError):
    """A device was asked for that is not there."""


def available(kind: str) -> str:
    """The device of that kind with its name, "cpu" or "cuda (NVIDIA A100)"; this process and those it starts are told.

    torch is imported for the second only.
    """
    os.environ[VARIABLE] = kind
    if kind == "cpu":
        return kind
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        raise DeviceError('--device cuda: expected torch to be installed, got none; pip install "sdetheory[torch]"')
    import torch

    if not torch.cuda.is_available():
        raise DeviceError(f"--device cuda: expected a GPU, got none that torch {torch.__version__} sees; leave out --device, "
                          "or install a build of torch for your GPU")
    return f"cuda ({torch.cuda.get_device_name()})"


def torch_version() -> str | None:
    """The version of torch, None where it is not installed."""
    import importlib.metadata

    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None
