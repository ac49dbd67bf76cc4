r"""A schedule with weight decay, and what stands for it without: tapered by the root of each step, and by EXP-6.

.. math:: \tilde\eta_t = P_tP_{t+1}\,\eta_t, \qquad P_t = \prod_{i\le t}\alpha_i^{-1}: \qquad
          \alpha_{t+1} = z_1(\eta_t\lambda) \quad\text{or EXP-6's.}

Both on minibatches of Rayleigh quotients drawn beforehand, and how far rounding may part them. Clock: steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sdetheory as sdt
from paper_checks.exp_lr.side_by_side import MATRICES, PATHS, PROBE, ROUNDINGS, start_of
from sdetheory import Exact
from sdetheory.claims import Trial
from sdetheory.schedules import Constant, Schedule
from sdetheory.sphere import normalise
from sdetheory.stats.rounding import response_error
from sdetheory.translate import Translation, remove_weight_decay, run, tapered

__all__ = ["Tapering", "worst"]


class Tapering:
    """The run with decay, and translations of its schedule on the same minibatches, from a random buffer if μ > 0.

    `tapered` is corrected in its buffer; `whole` starts at the root, `untouched` at α_0 = 1 with the same buffer.
    """

    def __init__(self, trial: Trial, schedule: Schedule, decay: float, mu: float, n_steps: int) -> None:
        rng = np.random.default_rng(trial.rng.spawn(1)[0])
        which = rng.integers(len(MATRICES), size=n_steps)
        signs = rng.choice([-1.0, 1.0], (2, PATHS, MATRICES.shape[1]))
        self.w0, v0 = start_of(trial)
        self.v0 = v0 if mu else np.zeros_like(v0)
        losses = [sdt.losses.RayleighQuotient(a) for a in MATRICES]
        self.losses = [losses[i] for i in which]
        self.tapered = tapered(schedule, decay, mu, n_steps=n_steps)
        self.whole = remove_weight_decay(schedule, decay, mu, n_steps=n_steps, start="root")
        self.untouched = remove_weight_decay(schedule, decay, mu, n_steps=n_steps)
        self.first = self.directions(self.tapered, decay_free=False)
        changed = tapered(schedule * Constant(1 + PROBE), decay, mu, n_steps=n_steps)
        near = normalise(np.array(list(run(changed, self.losses, self.w0 * (1 + PROBE * signs[0]),
                                           self.v0 * (1 + PROBE * signs[1]), decay_free=False))))
        self.bound = response_error(
            np.linalg.norm(near - self.first, axis=-1).max(1), np.arange(n_steps + 1), probe=PROBE, roundings=ROUNDINGS,
            besides=4 * np.abs(self.tapered.log_scale), leverage=1 + np.abs(self.whole.growth).max() / (1 - mu))

    def directions(self, translation: Translation, decay_free: bool = True) -> NDArray[np.float64]:
        """(steps + 1, paths, d)."""
        return normalise(np.array(list(run(translation, self.losses, self.w0, self.v0, decay_free=decay_free))))

    def gap(self, translation: Translation) -> NDArray[np.float64]:
        """‖ŵ̃ − ŵ‖ of the worst path at every step."""
        return np.linalg.norm(self.directions(translation) - self.first, axis=-1).max(1)

    def draw(self, ax: Any, translations: Sequence[tuple[Translation, str, str]]) -> None:
        """The gaps of translations, each with colour and label, and the bound on rounding."""
        for translation, color, label in translations:
            ax.semilogy(np.maximum(self.gap(translation), 1e-17), color=color, lw=1.1, label=label)
        ax.semilogy(self.bound, color="0.5", ls=":", lw=1.2, label="bound on rounding")
        ax.set(ylabel="distance of directions", ylim=(1e-17, 3))


def worst(runs: Sequence[Tapering], translation: Callable[[Tapering], Translation]) -> Exact:
    """The gaps of one translation of each of several runs, every step of each."""
    return Exact(np.concatenate([one.gap(translation(one)) for one in runs]), np.concatenate([one.bound for one in runs]))
