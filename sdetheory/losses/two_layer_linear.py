r"""The two-layer linear net with d inputs and m samples (CAT-6).

.. math:: f(x) = \frac{v^\top Ux}{\sqrt n}, \qquad L = \frac1{2m}\sum_\alpha (f(x_\alpha) - y_\alpha)^2
"""

from __future__ import annotations

from .two_layer_net import TwoLayerNet

__all__ = ["TwoLayerLinear"]


class TwoLayerLinear(TwoLayerNet):
    """A two-layer linear net with squared error.

    Parameters
    ----------
    inputs : array_like (m, d)
        Samples x_α, one a row.
    targets : array_like (m,)
        y_α.
    width : int
        n ≥ 1; there are n(d + 1) weights, U row by row, then v.
    batch_size : int, optional
        B ≥ 1 samples a gradient, drawn with replacement; without it the gradient is exact.

    Examples
    --------
    >>> loss = TwoLayerLinear([[1.0]], [0.0], width=4)
    >>> loss.output([1.0, 1.0, 1.0, 1.0, 3.0, 1.0, 0.0, 0.0])
    array([2.])
    """

    leak = 1.0
