"""The bridge to real nets: the statements of the four papers, measured on runs of torch.

| what | where |
|---|---|
| small nets with every normalisation, PreResNet | `nets` |
| digits, teacher–student, minibatches by step number; CIFAR-10 from a folder | `data`, `cifar` |
| which parameters of my net are scale-invariant, and what breaks it | `invariance` |
| norms, effective and intrinsic lr, angles, G and N along a run | `probes` |
| a translated schedule as an `LRScheduler` | `schedulers` |
| SVAG and noisy gradient descent as `Optimizer`s | `optimizers` |
| sharpness and the top of the NTK, with residual bounds | `curvature` |
| a training loop that keeps a run that diverges | `training` |
| many small nets trained at once | `ensembles` |
| a device, or why there is none | `devices` |

Needs the extra `sdetheory[torch]`; nothing else of the library loads it.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError('sdetheory.torch: expected torch to be installed, got none; pip install "sdetheory[torch]"') from error
