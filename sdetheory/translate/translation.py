r"""A translation: two runs of SGD, one with weight decay and one without, that give the same functions at every step.

With :math:`v_{k+1} = \mu_k v_k + g_k + \lambda_k w_k` and :math:`w_{k+1} = w_k - \eta_k v_{k+1}`, the run without decay is at

.. math:: \tilde w_k = P_k w_k, \qquad \tilde v_k = (v_k + \beta_k w_k)/P_k, \qquad
          \tilde\eta_k = P_k P_{k+1}\,\eta_k, \qquad P_{k+1} = P_k/\alpha_{k+1}

for a scale-invariant loss of each step, whatever the gradients (EXP-6). `tilt` is β; it is 0 at the start unless asked for.
P grows without bound: now and then both :math:`\tilde w` and P are multiplied by a power of two (EXP-3), which rounds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..schedules import BufferCorrection, FromArray
from ..validation import finite_array, number
from .scaling import Rescaling, Scale, bits_of

__all__ = ["Translation", "assembled"]


@dataclass(frozen=True, eq=False, repr=False)
class Translation:
    """Two equivalent runs of n steps, and the map between their states.

    Attributes
    ----------
    lr, weight_decay, momentum : (n,) of the run with weight decay; momentum is that of both.
    decay_free_lr : (n,) learning rates of the run without, rescalings included.
    alpha : (n + 1,) of EXP-6; `alpha[0]` is the choice of the start.
    tilt : (n + 1,) β_k: how far the buffers lean towards the weights, once step k's correction is made.
    growth : (n,) P_{k+1}/P_k − 1, which keeps the digits of α near 1.
    scale : (n + 1,) P_k with the rescalings up to step k, that of step k included.
    log_scale : (n + 1,) log P_k without any rescaling; finite where P_k is not.
    rescalings : what to do to the state so that it stays in range; in order, may be empty.
    corrections : what to add to the buffer (TEXP only), after the rescaling of the same step.
    exact : False once corrections were left out.
    """

    lr: NDArray[np.float64]
    weight_decay: NDArray[np.float64]
    momentum: NDArray[np.float64]
    decay_free_lr: NDArray[np.float64]
    alpha: NDArray[np.float64]
    tilt: NDArray[np.float64]
    growth: NDArray[np.float64]
    scale: NDArray[np.float64]
    log_scale: NDArray[np.float64]
    rescalings: tuple[Rescaling, ...] = ()
    corrections: tuple[BufferCorrection, ...] = ()
    exact: bool = True

    def __post_init__(self) -> None:
        for value in vars(self).values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    @property
    def n_steps(self) -> int:
        """Number of steps n."""
        return len(self.lr)

    @property
    def log_decay_free_lr(self) -> NDArray[np.float64]:
        """(n,) logarithm of the decay-free learning rates without any rescaling: −inf where lr is 0."""
        with np.errstate(divide="ignore"):
            return np.log(self.lr) + self.log_scale[:-1] + self.log_scale[1:]

    def to_decay_free(self, w: ArrayLike, v: ArrayLike, step: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """State (w̃, ṽ) of the run without decay before step `step`, from the state (w, v) of the other."""
        w, v = np.asarray(w, dtype=np.float64), np.asarray(v, dtype=np.float64)
        return self.scale[step] * w, (v + self.tilt[step] * w) / self.scale[step]

    def from_decay_free(self, w: ArrayLike, v: ArrayLike, step: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """State (w, v) of the run with decay before step `step`, from the state (w̃, ṽ) of the other."""
        scale = self.scale[step]
        back = np.asarray(w, dtype=np.float64) / scale
        return back, scale * np.asarray(v, dtype=np.float64) - self.tilt[step] * back

    def start(self, w0: ArrayLike, v0: ArrayLike | None = None, *, w_before: ArrayLike | None = None,
              lr_before: float | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """State (w̃_0, ṽ_0) in which the run without decay starts.

        Parameters
        ----------
        w0 : weights of the run with decay.
        v0 : its buffer, of the same shape; 0 unless told.
        w_before, lr_before : w_{−1} and η_{−1} in place of v0, which is then (w_{−1} − w_0)/η_{−1}.
        """
        w0 = finite_array("w0", w0)
        if (w_before is None) != (lr_before is None) or (w_before is not None and v0 is not None):
            raise ValueError("w_before: expected w_before with lr_before and without v0, got another combination; "
                             "the buffer is v0 = (w_before - w0) / lr_before")
        if w_before is not None:
            v0 = (finite_array("w_before", w_before, shape=w0.shape) - w0) / number("lr_before", lr_before, above=0)
        v0 = np.zeros_like(w0) if v0 is None else finite_array("v0", v0, shape=w0.shape)
        return self.to_decay_free(w0, v0, 0)

    @property
    def schedule(self) -> FromArray:
        """The decay-free learning rates as a schedule, where nothing has to be done to the state on the way."""
        if self.rescalings or self.corrections:
            what = "rescalings" if self.rescalings else "corrections"
            raise ValueError(f"schedule: expected a translation that leaves the state alone, got "
                             f"{len(getattr(self, what))} {what}; run a loop that applies .{what}, or translate fewer steps")
        return FromArray(self.decay_free_lr)

    def rescaled(self, dtype: DTypeLike | None) -> Translation:
        """The same translation with the rescalings that this format needs; with None, without any."""
        jumps = np.zeros(self.n_steps)
        for step, coefficient in self.corrections:
            jumps[step] = coefficient * self.scale[step] ** 2
        bits = None if dtype is None else bits_of(dtype)
        return replace(assembled(self.lr, self.weight_decay, self.momentum, self.alpha, self.tilt, self.growth, bits, jumps),
                       exact=self.exact)

    def without_corrections(self) -> Translation:
        """The same schedule with the buffer left alone at the boundaries: no longer exact (EXP-9)."""
        return replace(self, corrections=(), exact=self.exact and not self.corrections)

    def __repr__(self) -> str:
        growth = f"scale grows by e^{self.log_scale[-1]:.4g}" if self.n_steps else "no step"
        done = "".join(f", {len(x)} {name}" for x, name in ((self.rescalings, "rescaling(s)"),
                                                            (self.corrections, "buffer correction(s)")) if x)
        start = "buffers as they are" if self.tilt[0] == 0 else f"initial buffer tilted by {self.tilt[0]:.4g}"
        return f"<Translation of {self.n_steps} steps: {growth}, {start}{done}{'' if self.exact else ', not exact'}>"

    def _repr_html_(self) -> str:
        return f"<code>{escape(repr(self))}</code>"


def assembled(lr: NDArray[np.float64], weight_decay: NDArray[np.float64], momentum: NDArray[np.float64],
              alpha: NDArray[np.float64], tilt: NDArray[np.float64], growth: NDArray[np.float64], bits: int | None,
              jumps: NDArray[np.float64] | None = None) -> Translation:
    """Put a translation together from α_0 … α_n, β and 1/α − 1; `jumps` (n,) are what corrections add to β at each step."""
    scale = Scale(growth, bits)
    rates = scale.factor_of_lr * lr
    tiny = np.finfo(np.float64).tiny
    bad = ~np.isfinite(rates) | ((rates < tiny) & (lr > 0)) | ~np.isfinite(scale.value[1:]) | (scale.value[1:] < tiny)
    if bad.any():
        step = int(np.argmax(bad))
        remedy = "ask for rescalings on the way, dtype='float64' (EXP-3)" if bits is None else "one step changes too much"
        raise ValueError(f"decay_free_lr: expected values within float64 range, got "
                         f"e^{scale.log[step] + scale.log[step + 1]:.4g} times lr = {lr[step]:g} at step {step}; "
                         f"{remedy}, or run fewer steps")
    corrections = () if jumps is None else tuple(
        BufferCorrection(int(k), float(jumps[k] / scale.value[k] ** 2)) for k in np.flatnonzero(jumps))
    return Translation(lr, weight_decay, momentum, rates, alpha, tilt, growth, scale.value, scale.log, scale.rescalings,
                       corrections)
