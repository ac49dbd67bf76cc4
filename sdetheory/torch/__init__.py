"""The bridge to real nets: the statements of the four papers, measured on runs of torch.

| what | where |
|---|---|
| small nets with every normalisation, PreResNet | `nets` |
| digits, teacher–student, minibatches by step number; CIFAR-10 from a folder; crops and mirrors | `data`, `cifar`, `augmentation` |
| which parameters of my net are scale-invariant, and what breaks it | `invariance` |
| norms, effective and intrinsic lr, angles, G and N along a run | `probes`, `gradient_moments` |
| a schedule as an `LRScheduler`, on the clock of SVAG too | `schedules` |
| a translated schedule as one | `schedulers` |
| SVAG and noisy gradient descent as `Optimizer`s | `optimizers` |
| sharpness and the top of the NTK, with residual bounds | `curvature` |
| a training loop that keeps a run that diverges | `training` |
| many small nets trained at once | `ensembles` |
| a device, or why there is none | `devices` |

Needs the extra `sdetheory[torch]`; nothing else of the library loads it.
"""

from importlib import import_module as _import_module
from typing import Any as _Any

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError('sdetheory.torch: expected torch to be installed, got none; pip install "sdetheory[torch]"') from error

__all__ = ["augmentation", "cifar", "curvature", "data", "devices", "ensembles", "gradient_moments", "invariance", "nets",
           "optimizers", "probes", "schedulers", "schedules", "training"]


def __getattr__(name: str) -> _Any:
    if name in __all__:
        return _import_module(f".{name}", __name__)
    raise AttributeError(f"module 'sdetheory.torch' has no attribute {name!r}; it has {', '.join(__all__)}")
