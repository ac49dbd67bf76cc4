r"""The tapered exponential schedule (TEXP) of a step decay, and the buffer corrections that make it exact (EXP-9).

In phase I (rate :math:`\eta_I`, intrinsic rate :math:`x = \eta_I\lambda`) let :math:`\alpha_I` be the larger root of
:math:`z^2 - (1+\mu-x)z + \mu`. With :math:`P_0 = 1`, :math:`P_{k+1} = P_k/\alpha_{I(k)}`,

.. math:: \tilde\eta_k = P_k P_{k+1}\,\eta_k :

a factor :math:`\alpha_I^{-2}` a step inside a phase and :math:`(\eta_I/\eta_{I-1})\,\alpha_I^{-1}\alpha_{I-1}^{-1}` at
a boundary.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..hypotheses import require
from ..validation import explain_construction, finite_array, number
from .schedule import Schedule
from .standard import StepDecay

__all__ = ["TEXP", "BufferCorrection", "one_minus_larger_root"]


def one_minus_larger_root(intrinsic_lr: ArrayLike, momentum: ArrayLike) -> NDArray[np.float64]:
    r"""1 − z1 of z² − (1+μ−x)z + μ, nan where z1 is not real and positive (EXP-7); no digits are lost for small x.

    (1−z1)(1−z2) = x and (1−z1) + (1−z2) = 1−μ+x; the discriminant is ((1−√μ)²−x)((1+√μ)²−x).

    Parameters
    ----------
    intrinsic_lr : array_like
        x = ηλ ≥ 0.
    momentum : array_like
        μ in [0, 1), of a shape that goes with it.

    Raises
    ------
    ValueError
        Outside these: for μ ≥ 1 or x < 0 the roots are those of no descent with weight decay.

    >>> round(float(one_minus_larger_root(0.1 * 5e-4, 0.9)), 10)
    0.0005022716
    """
    x, mu = finite_array("intrinsic_lr", intrinsic_lr), finite_array("momentum", momentum)
    for name, values, wanted, bad in (("intrinsic_lr", x, ">= 0", x < 0), ("momentum", mu, ">= 0 and < 1", (mu < 0) | (mu >= 1))):
        if bad.any():
            raise ValueError(f"{name}: expected numbers {wanted}, got {float(values[bad].ravel()[0])!r}")
    try:
        np.broadcast_shapes(x.shape, mu.shape)
    except ValueError:
        raise ValueError(f"intrinsic_lr, momentum: expected shapes that go together, got {x.shape} and {mu.shape}") from None
    root_mu = np.sqrt(mu)
    below, above = (1 - root_mu) ** 2 - x, (1 + root_mu) ** 2 - x
    discriminant = np.where(below >= 0, below * above, np.nan)
    gap = 2 * x / ((1 - root_mu**2 + x) + np.sqrt(discriminant))
    return np.where(gap < 1, gap, np.nan)


class BufferCorrection(NamedTuple):
    """Before step `step`, add `coefficient` times the weights to the momentum buffer."""

    step: int
    coefficient: float


@explain_construction
@dataclass(frozen=True)
class TEXP(Schedule):
    """The schedule without weight decay that stands for a step decay with constant weight decay and momentum.

    Exact without momentum; with momentum exact if the buffer is corrected: `corrections` says when and by what, the one
    at step 0 included (EXP-5). Without them each boundary leaves a permanent factor on the schedule (EXP-9).

    Parameters
    ----------
    decay : StepDecay
    weight_decay : λ >= 0, constant.
    momentum : μ in [0, 1).

    Raises
    ------
    HypothesisError
        EXP-7, where a phase has no positive root.

    >>> TEXP(StepDecay(0.5, milestones=(2,), factor=0.5), weight_decay=1.0, momentum=0.0).table(4).round(3)
    array([1.   , 4.   , 5.333, 9.481])
    """

    decay: StepDecay
    weight_decay: float
    momentum: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.decay, StepDecay):
            raise TypeError(f"decay: expected a StepDecay, got {self.decay!r}; "
                            "sdetheory.translate translates any other schedule exactly")
        object.__setattr__(self, "weight_decay", number("weight_decay", self.weight_decay, at_least=0))
        object.__setattr__(self, "momentum", number("momentum", self.momentum, at_least=0, below=1))
        starts, rates, gaps = self._phases
        bad = ~(gaps < 1)
        if bad.any():
            i = int(np.argmax(bad))
            bound = "<= (1 - sqrt(momentum))^2" if self.momentum else "< 1"
            require(False, "EXP-7", f"intrinsic lr {bound} in every phase",
                    f"intrinsic lr {rates[i] * self.weight_decay:g} from step {starts[i]} on, "
                    f"momentum {self.momentum:g}",
                    "take a smaller lr, weight decay or momentum")

    @functools.cached_property
    def _phases(self) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
        starts = np.array([0, *self.decay.milestones])
        rates = self.decay(starts)
        return starts, rates, one_minus_larger_root(rates * self.weight_decay, self.momentum)

    @property
    def roots(self) -> NDArray[np.float64]:
        """α of every phase, shape (number of phases,)."""
        return 1 - self._phases[2]

    def _log_scale(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """log P_k."""
        starts, _, gaps = self._phases
        spent = np.clip(steps[..., None] - starts, 0.0, np.append(np.diff(starts), np.inf))
        return -spent @ np.log1p(-gaps)

    def values(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        starts, rates, gaps = self._phases
        phase = np.searchsorted(starts, steps, side="right") - 1
        return rates[phase] * np.exp(2 * self._log_scale(steps) - np.log1p(-gaps[phase]))

    @property
    def corrections(self) -> tuple[BufferCorrection, ...]:
        r"""What makes the schedule exact: :math:`\tilde v_T \mathrel{+}= [\beta_I - \beta_{I-1}]\,\tilde w_T/P_T^2`,
        :math:`\beta_I = (1 - 1/\alpha_I)/\eta_I`, with β = 0 before step 0; none without momentum.

        >>> TEXP(StepDecay(0.5, milestones=(2,), factor=0.5), weight_decay=0.1, momentum=0.5).corrections[0].step
        0
        """
        if self.momentum == 0:
            return ()
        starts, rates, gaps = self._phases
        tilts = np.diff(-gaps / (1 - gaps) / rates, prepend=0.0)
        factors = np.exp(-2 * self._log_scale(starts.astype(np.float64)))
        return tuple(BufferCorrection(int(s), float(c)) for s, c in zip(starts, tilts * factors, strict=True))
