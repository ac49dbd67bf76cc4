r"""Block functions of the batch-normalised linear classifier; see `bn_linear` for the formulas.

.. math:: u = (z - \bar z)/s, \qquad \partial L_b/\partial z = (a - \bar a - u\,\overline{au})/s

By hand: a formula on rows sums over the weights, and these sum over the samples of a batch too, which each lane may choose.

Scratch for batches of B samples, 2B + 3 rows: z, then u, then ∂L_b/∂z in rows 0 … B − 1; the labels, then a, in
B … 2B − 1; sums after. `link` is 0 for the logistic loss, 1 for the squared hinge.
"""

from __future__ import annotations

import math

from ..engine import block_function

__all__ = ["batch_gradient", "drawn_batch_gradient", "mean_value"]


@block_function
def standardise(S, size):
    """Rows z → u = (z − z̄)/s; 1/s stays in row 2B."""
    lanes = S.shape[1]
    total, inverse = S[2 * size + 1], S[2 * size]
    for lane in range(lanes):
        total[lane] = 0.0
        inverse[lane] = 0.0
    for i in range(size):
        for lane in range(lanes):
            total[lane] += S[i, lane]
    for i in range(size):
        for lane in range(lanes):
            centred = S[i, lane] - total[lane] / size
            S[i, lane] = centred
            inverse[lane] += centred * centred
    for lane in range(lanes):
        inverse[lane] = 1.0 / math.sqrt(inverse[lane] / size)
    for i in range(size):
        for lane in range(lanes):
            S[i, lane] *= inverse[lane]


@block_function
def pull_back(S, size, gain, link, margin):
    """Rows u and labels → ∂L_b/∂z = (a − ā − u·mean(a u))/s."""
    lanes = S.shape[1]
    inverse, mean, radial = S[2 * size], S[2 * size + 1], S[2 * size + 2]
    for lane in range(lanes):
        mean[lane] = 0.0
        radial[lane] = 0.0
    for i in range(size):
        for lane in range(lanes):
            factor = gain * S[size + i, lane]
            t = factor * S[i, lane]
            slope = -1.0 / (1.0 + math.exp(t)) if link == 0.0 else -max(0.0, margin - t)
            a = factor * slope / size
            S[size + i, lane] = a
            mean[lane] += a / size
            radial[lane] += a * S[i, lane] / size
    for i in range(size):
        for lane in range(lanes):
            S[i, lane] = (S[size + i, lane] - mean[lane] - S[i, lane] * radial[lane]) * inverse[lane]


@block_function
def apply_batch(W, S, inputs, labels):
    """z = x·w and the labels of one batch (B, d), the same in every lane."""
    d, lanes = W.shape
    size = labels.size
    for i in range(size):
        for lane in range(lanes):
            S[i, lane] = 0.0
            S[size + i, lane] = labels[i]
        for k in range(d):
            for lane in range(lanes):
                S[i, lane] += inputs[i, k] * W[k, lane]


@block_function
def batch_gradient(W, G, S, inputs, labels, gain, link, margin):
    """G ← ∇L, the mean over all batches (n_batches, B, d)."""
    d, lanes = W.shape
    batches, size = labels.shape
    for k in range(d):
        for lane in range(lanes):
            G[k, lane] = 0.0
    for b in range(batches):
        apply_batch(W, S, inputs[b], labels[b])
        standardise(S, size)
        pull_back(S, size, gain, link, margin)
        for k in range(d):
            for i in range(size):
                for lane in range(lanes):
                    G[k, lane] += S[i, lane] * (inputs[b, i, k] / batches)


@block_function
def drawn_batch_gradient(W, U, G, S, inputs, labels, gain, link, margin):
    """G ← ∇L_b of the batch that the uniform of each lane, U (1, lanes), chooses."""
    d, lanes = W.shape
    batches, size = labels.shape
    for i in range(size):
        for lane in range(lanes):
            b = min(int(U[0, lane] * batches), batches - 1)
            z = 0.0
            for k in range(d):
                z += inputs[b, i, k] * W[k, lane]
            S[i, lane] = z
            S[size + i, lane] = labels[b, i]
    standardise(S, size)
    pull_back(S, size, gain, link, margin)
    for k in range(d):
        for lane in range(lanes):
            b = min(int(U[0, lane] * batches), batches - 1)
            total = 0.0
            for i in range(size):
                total += S[i, lane] * inputs[b, i, k]
            G[k, lane] = total


@block_function
def mean_value(W, out, S, inputs, labels, gain, link, margin):
    """out ← L, the mean over all batches."""
    lanes = W.shape[1]
    batches, size = labels.shape
    for lane in range(lanes):
        out[lane] = 0.0
    for b in range(batches):
        apply_batch(W, S, inputs[b], labels[b])
        standardise(S, size)
        for i in range(size):
            for lane in range(lanes):
                t = gain * S[size + i, lane] * S[i, lane]
                short = max(0.0, margin - t)
                softplus = math.log1p(math.exp(-abs(t))) + max(-t, 0.0)
                out[lane] += (softplus if link == 0.0 else 0.5 * short * short) / (size * batches)
