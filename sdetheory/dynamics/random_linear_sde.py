r"""The SDE of SGD and SVAG for random linear gradients, in SymPy: an Itô SDE whose moment equations close (SVAG-3).

.. math:: dX = -(\bar A X - \bar b)dt + \sqrt\eta\sum_\gamma \sqrt{p_\gamma}
          \bigl((A_\gamma-\bar A)X - (b_\gamma-\bar b)\bigr)dW^\gamma

in gradient-flow time: its covariance per unit of time is ηΣ(X). The columns are affine: no square root of Σ is needed.
"""

from __future__ import annotations

from typing import Any

import sympy

from ..losses import RandomLinear
from ..sde import SDE
from ..validation import explained, number

__all__ = ["random_linear_sde"]


@explained
def random_linear_sde(loss: Any, *, lr: float, modified: bool = False, covariance_factor: float = 1.0,
                      gradient_noise: bool = False) -> SDE:
    r"""The Itô SDE that SVAG(l) of `loss` converges to, with exact rational coefficients.

    Parameters
    ----------
    loss : RandomLinear
        The law of the gradients; two outcomes give one Brownian motion, n give n.
    lr : float
        η > 0. Clock: gradient-flow time, one step of SGD takes η.
    modified : bool
        With the drift −∇(L + (η/4)‖∇L‖²) of weak order 2 in η (SVAG-11).
    covariance_factor : float
        A factor ≥ 0 on Σ, for controls.
    gradient_noise : bool
        With Σ + ∇L∇Lᵀ in place of Σ: the limit of the near miss (SVAG-10).

    Returns
    -------
    SDE

    Examples
    --------
    >>> random_linear_sde(RandomLinear([0.5, 0.5], [1.0, 3.0]), lr=0.25)
    SDE(dx = -2*x dt + -x/2 dW)
    """
    if not isinstance(loss, RandomLinear):
        raise TypeError(f"loss: expected a RandomLinear loss, got {loss!r}; for another write sdetheory.SDE in SymPy")
    eta = _decimal(number("lr", lr, above=0.0))
    factor = _decimal(number("covariance_factor", covariance_factor, at_least=0.0))
    d = loss.dim
    x = sympy.Matrix(sympy.symbols("x", real=True, seq=True) if d == 1 else sympy.symbols(f"x_:{d}", real=True))

    def field(matrix: Any, offset: Any) -> sympy.Matrix:
        return _rational(matrix) * x - _rational(offset[:, None])

    gradient = field(loss.mean_matrix, loss.mean_offset)
    drift = -gradient - (eta / 2 * _rational(loss.mean_matrix) * gradient if modified else sympy.zeros(d, 1))
    p = [_decimal(q) for q in loss.probabilities]
    if len(p) == 2:  # the two columns are one: √p₁D₁ and √p₂D₂ with p₁D₁ + p₂D₂ = 0
        between = field(loss.matrices[0] - loss.matrices[1], loss.offsets[0] - loss.offsets[1])
        columns = [sympy.sqrt(p[0] * p[1]) * between]
    else:
        columns = [sympy.sqrt(q) * field(matrix, offset)
                   for q, matrix, offset in zip(p, loss.noise.matrices, loss.noise.offsets, strict=True)]
    if gradient_noise:
        columns.append(gradient)
    return SDE(list(x), drift, sympy.Matrix.hstack(*(sympy.sqrt(eta * factor) * column for column in columns)))


def _decimal(value: float) -> sympy.Rational:
    """The decimal fraction that a float prints as."""
    return sympy.Rational(repr(float(value)))


def _rational(values: Any) -> sympy.Matrix:
    return sympy.Matrix(*values.shape, [_decimal(v) for v in values.flat])
