r"""Augmented images, a function of (seed, step) like the minibatches they are in: a random crop of the padded image, or its mirror.

.. math:: \tilde x_{c,i,j} = x_{c,\;i+a-p,\;\sigma(j)+b-p}, \qquad a, b \in \{0, \dots, 2p\}, \qquad
          \sigma(j) = j \text{ or } W-1-j,

0 where that is outside of the image, and all choices equally likely. The three numbers of an image are counter-based uniforms:
the same step sees the same crops, whatever was asked for before. (CIFAR-10: p = 4.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..validation import integer

__all__ = ["CropAndFlip"]


@dataclass(frozen=True)
class CropAndFlip:
    """Pad by `padding` pixels of 0, the mean of standardised images, crop to the old size; mirror left to right half the time.

    >>> CropAndFlip(padding=1)(torch.arange(4.0).reshape(1, 1, 2, 2), np.array([[0.5, 0.9, 0.9]]))
    tensor([[[[1., 0.],
              [3., 0.]]]])
    """

    padding: int = 4
    flip: bool = True
    #: uniforms in [0, 1) that an image takes
    draws: ClassVar[int] = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "padding", integer("padding", self.padding, at_least=0))

    def check(self, inputs: Tensor) -> None:
        """Raise unless these are images."""
        if inputs.ndim != 4:
            raise ValueError(f"inputs: expected images (n, channels, height, width) for {self}, got shape "
                             f"{tuple(inputs.shape)}; leave out augment, or flat=True of the data")

    def __call__(self, images: Tensor, uniforms: NDArray[np.float64]) -> Tensor:
        """Images (…, channels, height, width), each changed by its row of uniforms (…, 3): down, right, mirrored below ½."""
        *lead, channels, height, width = images.shape
        padded = torch.nn.functional.pad(images.reshape(-1, channels, height, width), (self.padding,) * 4)
        down, right, mirror = uniforms.reshape(-1, self.draws).T
        choices = 2 * self.padding + 1
        columns = np.broadcast_to(np.arange(width), (len(padded), width))
        if self.flip:
            columns = np.where((mirror < 0.5)[:, None], columns[:, ::-1], columns)
        rows = np.floor(down * choices).astype(np.int64)[:, None] + np.arange(height)
        columns = np.floor(right * choices).astype(np.int64)[:, None] + columns
        image, row, column = (torch.from_numpy(i).to(images.device) for i in (np.arange(len(padded)), rows, columns))
        # indices on both sides of a slice: the channels come last
        found = padded[image[:, None, None], :, row[:, :, None], column[:, None, :]]
        return found.movedim(-1, 1).reshape(images.shape)
