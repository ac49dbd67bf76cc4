r"""Block functions of the two-layer nets; see `two_layer_net` for the formulas.

.. math:: r_\alpha = \frac1{\sqrt n}\sum_i v_i\,\sigma(U_i\cdot x_\alpha) - y_\alpha

By hand: the weights are a matrix and a vector, the samples a second index, and a minibatch is chosen by each lane. Scratch:
residuals f_α − y_α, then one row for a pre-activation.
"""

from __future__ import annotations

import numpy as np

from ..engine import block_function

__all__ = ["full_gradient", "mean_loss", "minibatch_gradient"]


@block_function
def pre_activation(W, i, d, x, out):
    """out ← U_i·x for one sample x (d,)."""
    for lane in range(out.size):
        out[lane] = x[0] * W[i * d, lane]
    for k in range(1, d):
        for lane in range(out.size):
            out[lane] += x[k] * W[i * d + k, lane]


@block_function
def residual_row(W, S, row, n, x, y, leak):
    """S[row] ← f(x) − y; the last row of S is overwritten."""
    d = x.size
    scale, z, out = 1.0 / np.sqrt(n), S[S.shape[0] - 1], S[row]
    for lane in range(out.size):
        out[lane] = 0.0
    for i in range(n):
        pre_activation(W, i, d, x, z)
        for lane in range(out.size):
            out[lane] += W[n * d + i, lane] * (z[lane] if z[lane] > 0.0 else leak * z[lane])
    for lane in range(out.size):
        out[lane] = out[lane] * scale - y


@block_function
def full_gradient(W, G, S, inputs, targets, leak):
    """G ← ∇L over all samples; S has m + 1 rows."""
    m, d = inputs.shape
    n, lanes = W.shape[0] // (d + 1), W.shape[1]
    S = S[:m + 1]
    z, scale = S[m], 1.0 / (m * np.sqrt(n))
    for a in range(m):
        residual_row(W, S, a, n, inputs[a], targets[a], leak)
    for i in range(n):
        for k in range(d):
            for lane in range(lanes):
                G[i * d + k, lane] = 0.0
        for lane in range(lanes):
            G[n * d + i, lane] = 0.0
        for a in range(m):
            pre_activation(W, i, d, inputs[a], z)
            for lane in range(lanes):
                slope = scale * S[a, lane] * (1.0 if z[lane] > 0.0 else leak)
                G[n * d + i, lane] += slope * z[lane]
                z[lane] = slope * W[n * d + i, lane]
            for k in range(d):
                for lane in range(lanes):
                    G[i * d + k, lane] += z[lane] * inputs[a, k]


@block_function
def minibatch_gradient(W, U, G, S, inputs, targets, leak):
    """G ← ∇L of the samples that the uniforms U (B, lanes) choose; each lane reads its own."""
    m, d = inputs.shape
    n, lanes, batch = W.shape[0] // (d + 1), W.shape[1], U.shape[0]
    root = np.sqrt(n)
    for row in range(G.shape[0]):
        for lane in range(lanes):
            G[row, lane] = 0.0
    for b in range(batch):
        for lane in range(lanes):
            S[0, lane] = 0.0
        for i in range(n):
            for lane in range(lanes):
                a = min(int(U[b, lane] * m), m - 1)
                z = 0.0
                for k in range(d):
                    z += inputs[a, k] * W[i * d + k, lane]
                S[0, lane] += W[n * d + i, lane] * (z if z > 0.0 else leak * z)
        for lane in range(lanes):
            S[0, lane] = (S[0, lane] / root - targets[min(int(U[b, lane] * m), m - 1)]) / (batch * root)
        for i in range(n):
            for lane in range(lanes):
                a = min(int(U[b, lane] * m), m - 1)
                z = 0.0
                for k in range(d):
                    z += inputs[a, k] * W[i * d + k, lane]
                slope = S[0, lane] * (1.0 if z > 0.0 else leak)
                G[n * d + i, lane] += slope * z
                for k in range(d):
                    G[i * d + k, lane] += slope * W[n * d + i, lane] * inputs[a, k]


@block_function
def mean_loss(W, out, S, inputs, targets, leak):
    """out ← L over all samples; S has 2 rows."""
    m, d = inputs.shape
    S = S[:2]
    for lane in range(out.size):
        out[lane] = 0.0
    for a in range(m):
        residual_row(W, S, 0, W.shape[0] // (d + 1), inputs[a], targets[a], leak)
        for lane in range(out.size):
            out[lane] += 0.5 * S[0, lane] * S[0, lane] / m
