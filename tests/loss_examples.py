"""The losses of `losses.REGISTRY`, points to look at them, and how to run their kernels."""

from functools import cache

import numpy as np

from sdetheory import losses

ALL = sorted(losses.REGISTRY)
SAMPLED = [name for name in ALL if getattr(losses.REGISTRY[name](), "stochastic_gradient_kernel", None) is not None]


@cache
def example(name: str) -> losses.Loss:
    return losses.REGISTRY[name]()


@cache
def points(dim: int, n: int = 7) -> np.ndarray:
    rng = np.random.default_rng(20 + dim)
    return rng.standard_normal((n, dim)) * np.exp(rng.uniform(-1, 1, (n, 1)))


def scratch(kernel, lanes):
    return np.full((max(1, kernel.scratch), lanes), np.nan)


def run_row(kernel, w):
    out = np.full(w.shape[1], np.nan)
    kernel.function(w, out, scratch(kernel, w.shape[1]), *kernel.constants)
    return out
