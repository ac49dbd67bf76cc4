r"""Data for small nets, and minibatches that are a function of (seed, step): batch k is the same whenever it is asked for.

With replacement, the B samples of step k of path p are

.. math:: i_j = \lfloor n\,U_{p,\,kB+j} \rfloor, \qquad j = 0, \dots, B-1,

U the counter-based uniforms of `sdetheory.random`: runs that are to see the same batches do, a run resumes where it stood,
and an ensemble draws its batches path by path.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..random import RNG, seed_sequence, stream_key, uniforms
from ..validation import integer, number
from .augmentation import CropAndFlip
from .devices import available_device
from .nets import mlp

__all__ = ["Data", "Minibatches", "checked_batch", "digits", "teacher_student"]


@dataclass(frozen=True, eq=False, repr=False)
class Data:
    """Inputs (n, …) in floating point and targets (n,) of classes (int64) or (n, m) of values, to train and to test on."""

    name: str
    train_inputs: Tensor
    train_targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Data:
        """The same data on a device and in a format; targets that are classes stay whole numbers."""
        device = None if device is None else available_device(device)

        def moved(x: Tensor) -> Tensor:
            return x.to(device=device, dtype=dtype if x.is_floating_point() else None)

        return replace(self, **{k: moved(v) for k, v in vars(self).items() if isinstance(v, Tensor)})

    @property
    def n_outputs(self) -> int:
        """Number of classes, or of values."""
        y = self.train_targets
        return y.shape[1] if y.is_floating_point() else 1 + int(max(y.max(), self.test_targets.max()))

    def minibatches(self, batch_size: int, *, rng: RNG, replacement: bool = True,
                    augment: CropAndFlip | None = None) -> Minibatches:
        """Minibatches of the training samples."""
        return Minibatches(self.train_inputs, self.train_targets, batch_size, rng=rng, replacement=replacement, augment=augment)

    def __repr__(self) -> str:
        x = self.train_inputs
        return (f"<Data {self.name}: {len(x)} to train, {len(self.test_inputs)} to test, "
                f"inputs {tuple(x.shape[1:])} {str(x.dtype).removeprefix('torch.')} on {x.device}>")

    def _repr_html_(self) -> str:
        return f"<code>{escape(repr(self))}</code>"


def checked_batch(inputs: Any, targets: Any = None) -> None:
    """Raise unless inputs are floating-point tensors with at least one sample, and targets as many."""
    if not isinstance(inputs, Tensor):
        raise TypeError(f"inputs: expected a torch.Tensor, got {type(inputs).__name__}; torch.as_tensor makes one")
    if not inputs.is_floating_point():
        raise TypeError(f"inputs: expected floating-point numbers, got {inputs.dtype}; call inputs.to(torch.float32), "
                        "and scale whole-number pixels")
    if inputs.ndim == 0 or len(inputs) == 0:
        raise ValueError(f"inputs: expected at least one sample, got shape {tuple(inputs.shape)}")
    if isinstance(targets, Tensor) and len(targets) != len(inputs):
        raise ValueError(f"targets: expected one for each of {len(inputs)} inputs, got {len(targets)}")


class Minibatches:
    """Batches by step: `stream[k]` is (inputs, targets) of step k, a function of (rng, path, k) alone.

    Parameters
    ----------
    inputs, targets : (n, …) and (n, …) tensors.
    batch_size : B >= 1; at most n without replacement.
    rng : seeds the batches.
    replacement : with it, samples are independent (the setting of the theory); without, each epoch is one permutation, and
        the n mod B samples left over at its end are dropped.
    path : which path of the seed, for ensembles.
    augment : `CropAndFlip()` changes each image of a batch at random, with numbers that belong to (rng, path, k) too.

    >>> stream = Minibatches(torch.eye(4), torch.arange(4), 2, rng=0)
    >>> bool((stream[7][0] == stream[7][0]).all()), stream[7][1].shape
    (True, torch.Size([2]))
    """

    def __init__(self, inputs: Tensor, targets: Tensor, batch_size: int, *, rng: RNG, replacement: bool = True,
                 path: int = 0, augment: CropAndFlip | None = None) -> None:
        checked_batch(inputs, targets)
        if augment is not None:
            augment.check(inputs)
        self.inputs, self.targets, self.replacement, self.augment = inputs, targets, replacement, augment
        self.batch_size = integer("batch_size", batch_size, at_least=1, at_most=None if replacement else len(inputs),
                                  remedy="a batch without replacement has no sample twice")
        self.path = integer("path", path, at_least=0)
        self.seed = seed_sequence(rng)
        self._key, self._augment_key = stream_key(self.seed, "minibatch"), stream_key(self.seed, "augmentation")

    def indices(self, step: int, paths: Any = None) -> np.ndarray:
        """Which samples step `step` takes: (B,), or (len(paths), B) for several paths (with replacement only)."""
        step, n, size = integer("step", step, at_least=0), len(self.inputs), self.batch_size
        if self.replacement:
            path = self.path if paths is None else np.asarray(paths)[:, None]
            return (uniforms(self._key, path, step * size + np.arange(size)) * n).astype(np.int64)
        if paths is not None:
            raise ValueError("paths: expected none without replacement; take replacement=True for an ensemble")
        epoch, at = divmod(step, n // size)
        order = np.argsort(uniforms(self._key, self.path, epoch * n + np.arange(n)), kind="stable")
        return order[at * size:(at + 1) * size]

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        return self.at(step)

    def at(self, step: int, paths: Any = None) -> tuple[Tensor, Tensor]:
        """Inputs (B, …) and targets (B, …) of a step; of several paths, (len(paths), B, …)."""
        chosen = torch.from_numpy(self.indices(step, paths)).to(self.inputs.device)
        inputs, targets = self.inputs[chosen], self.targets[chosen]
        if self.augment is None:
            return inputs, targets
        path = self.path if paths is None else np.asarray(paths)[:, None]
        first, n = step * self.batch_size * self.augment.draws, self.batch_size * self.augment.draws
        return self.augment(inputs, uniforms(self._augment_key, path, first + np.arange(n))), targets

    def __iter__(self) -> Any:
        raise TypeError("Minibatches: expected a step, batches[k], got an endless loop over it; write for k in range(n_steps)")

    def __repr__(self) -> str:
        how = "with" if self.replacement else "without"
        changed = f", {self.augment}" if self.augment else ""
        return f"<Minibatches of {self.batch_size} from {len(self.inputs)} samples, {how} replacement{changed}>"


def digits(*, test_share: float = 0.2, flat: bool = False, dtype: torch.dtype | None = None, rng: RNG = 0) -> Data:
    """scikit-learn's 1797 handwritten digits, (n, 1, 8, 8) or (n, 64), pixels with mean 0 and variance 1 over all of them.

    >>> digits()
    <Data digits: 1438 to train, 359 to test, inputs (1, 8, 8) float32 on cpu>
    """
    test_share = number("test_share", test_share, above=0, below=1)
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError('digits: expected scikit-learn, which holds them, got none; '
                          'pip install "sdetheory[torch]"') from error
    pixels, classes = load_digits(return_X_y=True)
    pixels = (pixels - pixels.mean()) / pixels.std()
    order = np.random.default_rng(seed_sequence(rng)).permutation(len(pixels))
    cut = len(pixels) - int(round(test_share * len(pixels)))
    x = torch.from_numpy(pixels[order]).to(torch.get_default_dtype() if dtype is None else dtype)
    x = x if flat else x.reshape(-1, 1, 8, 8)
    y = torch.from_numpy(classes[order].astype(np.int64))
    return Data("digits", x[:cut], y[:cut], x[cut:], y[cut:])


def teacher_student(n_train: int = 1024, n_test: int = 1024, *, n_inputs: int = 16, n_outputs: int = 4,
                    teacher_width: int = 16, targets: str = "classes", noise: float = 0.0,
                    dtype: torch.dtype | None = None, rng: RNG = 0) -> Data:
    r"""Normal inputs labelled by a random tanh net: classes argmax (f + ε), or values f + ε.

    Parameters
    ----------
    noise : standard deviation of ε on the training targets; the test targets have none.

    >>> teacher_student(64, 32)
    <Data teacher–student: 64 to train, 32 to test, inputs (16,) float32 on cpu>
    """
    n_train, n_test = integer("n_train", n_train, at_least=1), integer("n_test", n_test, at_least=1)
    noise = number("noise", noise, at_least=0)
    if targets not in ("classes", "values"):
        raise ValueError(f"targets: expected 'classes' or 'values', got {targets!r}")
    for_inputs, for_teacher = seed_sequence(rng).spawn(2)
    draw = np.random.default_rng(for_inputs)
    x = torch.from_numpy(draw.standard_normal((n_train + n_test, n_inputs)))
    teacher = mlp(n_inputs, n_outputs, width=teacher_width, depth=1, norm="none", activation="tanh", dtype=torch.float64,
                  rng=for_teacher)
    with torch.no_grad():
        y = teacher(x)
    y[:n_train] += noise * torch.from_numpy(draw.standard_normal((n_train, n_outputs)))
    x = x.to(torch.get_default_dtype() if dtype is None else dtype)
    y = y.argmax(1) if targets == "classes" else y.to(x.dtype)
    return Data("teacher–student", x[:n_train], y[:n_train], x[n_train:], y[n_train:])
