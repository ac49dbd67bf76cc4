r"""The law of the labels that nets give, over the minibatches they were trained on, from starts that are fixed.

.. math:: q = \frac1n\sum_x\sum_y\bigl(P(F(w_t;x)=y) - P(F(w'_t;x)=y)\bigr)^2, \qquad
          \frac1n\sum_x\sum_y|P - P'| \le \sqrt{q\,m} \quad\text{for } m \text{ labels}

q is measured without bias: the difference Δ of the laws from one half of the runs, and along it those of the other half,

.. math:: \hat q = \frac1n\sum_x\langle\Delta_1(x),\Delta_2(x)\rangle,

which is, given the first half, a mean over the runs of the second. (The ℓ1 distance of samples is biased upwards.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from paper_checks.real_nets.machine import device
from sdetheory.stats import Estimate, mean_estimate

__all__ = ["N_LABELS", "dataset", "labels", "nets_from", "sq_distance", "sum_distance"]

N_LABELS = 4


def dataset() -> Any:
    """256 teacher–student samples of dimension 8 to train and 64 to test, the same for every seed."""
    from sdetheory.torch.data import teacher_student

    return teacher_student(256, 64, n_inputs=8, n_outputs=N_LABELS, rng=2010).to(device())


def nets_from(starts: Any, heads: Any, rng: np.random.SeedSequence, sq_norm: Any = None) -> Any:
    """MLPs 8–8–4 with layer normalisation: member p has the weights of start starts[p] and the head heads[p].

    `sq_norm`, (members,), is the ‖w‖² to which the trained weights of each are scaled, if given.
    """
    import torch

    from sdetheory.torch.ensembles import Ensemble
    from sdetheory.torch.nets import mlp

    seeds = rng.spawn(1 + max(np.max(starts), np.max(heads)))
    found = Ensemble(lambda seed: mlp(8, N_LABELS, width=8, depth=1, norm="layer", device=device(), rng=seed), len(seeds),
                     rng=rng)
    found.params = {name: p[starts].clone() for name, p in found.params.items()}
    found.fixed = {name: p[heads].clone() for name, p in found.fixed.items()}
    found.velocity = {name: torch.zeros_like(p) for name, p in found.params.items()}
    found.n_members, found.diverged_at = len(starts), np.full(len(starts), -1)
    if sq_norm is not None:
        factor = (torch.as_tensor(sq_norm, device=device()) / found.sq_norm()).sqrt().float()
        found.params = {name: p * factor.reshape(-1, *[1] * (p.ndim - 1)) for name, p in found.params.items()}
    return found


def labels(ensemble: Any, inputs: Any) -> np.ndarray:
    """(K, n, labels): 1 where a member gives a label to an input."""
    return np.eye(N_LABELS)[ensemble.outputs(inputs).argmax(-1).cpu().numpy()]


def sq_distance(*laws: np.ndarray) -> Estimate:
    """q, the mean over all pairs of laws; each (runs, n, labels), as many runs of every law."""
    half, each = len(laws[0]) // 2, []
    for i, one in enumerate(laws):
        for other in laws[:i]:
            along = one[:half].mean(0) - other[:half].mean(0)
            each.append(((one[half:] - other[half:]) * along).sum((1, 2)) / one.shape[1])
    return mean_estimate(np.mean(each, axis=0))


def sum_distance(one: np.ndarray, other: np.ndarray) -> float:
    """The ℓ1 distance of two samples of laws, a mean over inputs: biased upwards by about the number of runs to the −1/2."""
    return float(np.abs(one.mean(0) - other.mean(0)).sum(1).mean())
