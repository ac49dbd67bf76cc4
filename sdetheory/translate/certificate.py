r"""A certificate of a translation: both runs side by side, in float64 and in float32, held against the growth of rounding.

Let :math:`a_k, b_k` be the directions w/‖w‖ of the runs with and without decay. In exact arithmetic :math:`a_k = b_k`.
Rounding parts each run from its exact course; how far is seen from the same run in another format:

.. math:: \rho_k = \max_{j\le k}\bigl(\|a_j^{32} - a_j^{64}\| + \|b_j^{32} - b_j^{64}\|\bigr)

is the gap to expect in float32 (triangle inequality), and :math:`\rho_k\,\varepsilon_{64}/\varepsilon_{32}` the gap to
expect in float64, where rounding is small enough for its effect to be linear. How much more rounding explains, and how often
that says "wrong" of a right one, `stats.rounding.explained_gap` derives. A translation that is wrong has the same gap in both
formats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..stats.rounding import explained_gap
from ..validation import explained, finite_array
from .translation import Translation

__all__ = ["Certificate", "certificate", "run"]

_FORMATS = ("float64", "float32")


@explained
def run(translation: Translation, losses: Any, w0: ArrayLike, v0: ArrayLike | None = None, *, decay_free: bool,
        dtype: DTypeLike = "float64") -> Iterator[NDArray[Any]]:
    """Yield the weights w_0 … w_n of one of the two runs, every state and hyper-parameter rounded to `dtype`.

    The loop to copy where a translation has rescalings or corrections. Parameters as for `certificate`.
    """
    kind: Any = np.dtype(dtype).type
    states = translation.start(w0, v0) if decay_free else (w0, np.zeros_like(w0) if v0 is None else v0)
    w, v = (np.asarray(state, dtype=kind) for state in states)
    rates = translation.decay_free_lr if decay_free else translation.lr
    rescale = dict(translation.rescalings) if decay_free else {}
    correct = dict(translation.corrections) if decay_free else {}
    loss_of = _per_step(losses, translation.n_steps)
    for k in range(translation.n_steps):
        if k in rescale:
            w, v = w * kind(rescale[k]), v / kind(rescale[k])
        if k in correct:
            v = v + kind(correct[k]) * w
        yield w
        gradient = np.asarray(loss_of(k).gradient(w), dtype=kind)
        if not decay_free:
            gradient = gradient + kind(translation.weight_decay[k]) * w
        v = kind(translation.momentum[k]) * v + gradient
        w = w - kind(rates[k]) * v
    yield w


def _per_step(losses: Any, n_steps: int) -> Callable[[int], Any]:
    if hasattr(losses, "gradient"):
        return lambda k: losses
    if isinstance(losses, Sequence):
        if len(losses) != n_steps:
            raise ValueError(f"losses: expected one for each of {n_steps} steps, got {len(losses)}; "
                             "or pass one loss, or a function of the step")
        return lambda k: losses[k]
    if callable(losses):
        return losses
    raise TypeError(f"losses: expected a loss (with .value and .gradient), one a step, or a function of "
                    f"the step, got {losses!r}")


@dataclass(frozen=True, repr=False)
class Certificate:
    """Gaps between the functions of the two runs, (n + 1,) each by format, and the largest that rounding explains.

    `direction_gap`: ‖a_k − b_k‖. `loss_gap`: |L_k(w̃_k) − L_k(w_k)|, of the loss of step k (of the last step at k = n).
    `explained_direction_gap` and `explained_loss_gap`: what rounding explains of each up to step k.
    """

    direction_gap: Mapping[str, NDArray[np.float64]]
    loss_gap: Mapping[str, NDArray[np.float64]]
    explained_direction_gap: Mapping[str, NDArray[np.float64]]
    explained_loss_gap: Mapping[str, NDArray[np.float64]]

    def largest(self, dtype: str = "float64") -> tuple[float, float]:
        """The largest direction gap and loss gap over all steps."""
        return float(self.direction_gap[dtype].max()), float(self.loss_gap[dtype].max())

    @property
    def holds(self) -> bool:
        """Whether the directions part no further than rounding explains, in both formats."""
        return all(self.direction_gap[f].max() <= self.explained_direction_gap[f][-1] for f in _FORMATS)

    def __bool__(self) -> bool:
        return self.holds

    def __repr__(self) -> str:
        parts = [f"{f} {self.direction_gap[f].max():.2g} (rounding explains {self.explained_direction_gap[f][-1]:.2g})"
                 for f in _FORMATS]
        n = len(self.direction_gap["float64"]) - 1
        return f"<Certificate {'holds' if self.holds else 'FAILS'} over {n} steps: direction gap {', '.join(parts)}>"


@explained
def certificate(translation: Translation, losses: Any, w0: ArrayLike, v0: ArrayLike | None = None) -> Certificate:
    """Run both sides of a translation on the same losses, in float64 and float32, and compare the functions they give.

    Parameters
    ----------
    translation : with n steps.
    losses : a scale-invariant loss with `value(w)` and `gradient(w)`, a sequence of n of them (minibatches), or a function
        of the step that returns one. Their own arithmetic is done in whatever format they work in.
    w0, v0 : (d,) where the run with decay starts; v0 is 0 unless told.

    >>> from sdetheory.translate import remove_weight_decay
    >>> import sdetheory as sdt
    >>> loss = sdt.losses.RayleighQuotient([1.0, 0.5, 0.0])
    >>> bool(certificate(remove_weight_decay(0.1, 0.1, 0.5, n_steps=50), loss, [1.0, 1.0, 1.0]))
    True
    """
    w0 = finite_array("w0", w0, ndim=1)
    v0 = None if v0 is None else finite_array("v0", v0, shape=w0.shape)
    if not w0.any():
        raise ValueError("w0: expected weights other than 0, got 0; a scale-invariant loss has no value there")
    loss_of, n = _per_step(losses, translation.n_steps), translation.n_steps
    found: dict[tuple[bool, str], tuple[NDArray, NDArray]] = {}
    for name in _FORMATS:
        fitting = translation if name == "float64" else translation.rescaled(name)
        for free in (False, True):
            weights = np.array(list(run(fitting, losses, w0, v0, decay_free=free, dtype=name)), dtype=np.float64)
            values = np.array([float(loss_of(min(k, n - 1)).value(w)) for k, w in enumerate(weights)])
            found[free, name] = weights / np.linalg.norm(weights, axis=1, keepdims=True), values
    gaps, explained = [], []
    for part, size in ((0, lambda x: np.linalg.norm(x, axis=1)), (1, np.abs)):
        gaps.append(MappingProxyType({f: size(found[True, f][part] - found[False, f][part]) for f in _FORMATS}))
        parted = sum(size(found[free, "float32"][part] - found[free, "float64"][part]) for free in (False, True))
        growth, largest = np.maximum.accumulate(parted), 1.0 if part == 0 else np.abs(found[False, "float64"][1]).max()
        explained.append(MappingProxyType({f: explained_gap(growth, "float32", f, size=largest) for f in _FORMATS}))
    return Certificate(*gaps, *explained)
