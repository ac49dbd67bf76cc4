r"""The scale :math:`P_k = \prod_{i\le k}\alpha_i^{-1}` beyond the range of floats, and rescalings that bring it back (EXP-3).

P_k is kept as :math:`m_k 2^{e_k}` and made by :math:`P_{k+1} = P_k + P_k s_k`, :math:`s_k = 1/\alpha_{k+1} - 1`, with the
rounding of each sum carried along: where s is the same at every step, so is the rounding of P/α, and n of them would add up.
Where :math:`|\log_2 P_k|` passes a bound, the run without decay is put on another scale by :math:`c = 2^{-e}`:
:math:`(w, v, \eta) \to (cw, v/c, c^2\eta)`. A power of two changes no digit.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["Rescaling", "Scale", "bits_of"]


class Rescaling(NamedTuple):
    """Before step `step`: weights times `factor`, buffer over `factor`; `decay_free_lr` has its factor² already."""

    step: int
    factor: float


def bits_of(dtype: DTypeLike) -> int:
    """How far log2 P may go in this format: an eighth of the exponents.

    Norms and learning rates go with P², squared norms over squared gradients with P⁴; half the range is left to the problem.

    >>> bits_of("float64"), bits_of("float32")
    (128, 16)
    """
    kind = np.dtype(dtype)
    if kind.kind != "f":
        raise TypeError(f"dtype: expected a floating-point type, got {dtype!r}")
    return int(np.finfo(kind).maxexp) // 8


class Scale:
    """P_0 … P_n from s_0 … s_{n−1}: as a logarithm, and as floats with rescalings every time P passes 2^±bits."""

    def __init__(self, growth: NDArray[np.float64], bits: int | None) -> None:
        n = len(growth)
        self.log = np.concatenate([[0.0], np.cumsum(np.log1p(growth))])
        self.value, self.factor_of_lr = np.ones(n + 1), np.empty(n)
        rescalings = []
        mantissa, carried, exponent = 1.0, 0.0, 0
        for k, s in enumerate(growth.tolist()):
            if bits is not None and abs(exponent) > bits:
                rescalings.append(Rescaling(k, math.ldexp(1.0, -exponent)))
                exponent = 0
            self.value[k] = _ldexp(mantissa, exponent)
            after, lost = _sum(mantissa, mantissa * s + carried * (1 + s))
            self.factor_of_lr[k] = _ldexp(mantissa * after, 2 * exponent)
            mantissa, shift = math.frexp(after)
            carried, exponent = math.ldexp(lost, -shift), exponent + shift
        self.value[n] = _ldexp(mantissa, exponent)
        self.rescalings = tuple(rescalings)


def _sum(a: float, b: float) -> tuple[float, float]:
    """a + b and its rounding error, exactly (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _ldexp(mantissa: float, exponent: int) -> float:
    try:
        return math.ldexp(mantissa, exponent)
    except OverflowError:
        return math.inf
