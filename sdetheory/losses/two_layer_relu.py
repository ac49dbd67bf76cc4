r"""The two-layer ReLU net with d inputs and m samples (CAT-7).

.. math:: f(x) = \frac1{\sqrt n}\sum_i v_i\max(U_i\cdot x, 0), \qquad L = \frac1{2m}\sum_\alpha (f(x_\alpha) - y_\alpha)^2

At U_i·x = 0, where ReLU has a kink, its slope is taken as 0.
"""

from __future__ import annotations

from .two_layer_net import TwoLayerNet

__all__ = ["TwoLayerReLU"]


class TwoLayerReLU(TwoLayerNet):
    """A two-layer ReLU net with squared error.

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
    >>> loss = TwoLayerReLU([[1.0]], [0.0], width=4)
    >>> loss.output([1.0, -1.0, 1.0, -1.0, 3.0, 1.0, 1.0, 1.0])
    array([2.])
    """

    leak = 0.0
