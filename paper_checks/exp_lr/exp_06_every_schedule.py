r"""EXP-6: every schedule of learning rate and weight decay has its equivalent without decay.

.. math:: \alpha_t = 1 - \eta_{t-1}\lambda_{t-1} + \frac{\eta_{t-1}}{\eta_{t-2}}\,\mu\Bigl(1 - \frac{1}{\alpha_{t-1}}\Bigr),
          \quad \alpha_0 = 1, \qquad P_t = \prod_{i\le t}\alpha_i^{-1}, \qquad
          \tilde\eta_t = P_tP_{t+1}\,\eta_t, \quad \tilde w_t = P_tw_t

for scale-invariant losses, from the same weights and the same buffer, whatever it is. Six schedules with weight decay
that changes too (in the last momentum as well); the rates come from `sdetheory.translate`. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sdetheory.evidence import Exact

from paper_checks.exp_lr.side_by_side import LOSSES, RESOLUTION, Gaps, Other, beside, worst
from sdetheory.claims import Claim, Control, Relative, Run
from sdetheory.schedules import Constant, Cosine, StepDecay, Triangular, WarmUp
from sdetheory.symbolic import Derivation
from sdetheory.theory import exp_lr
from sdetheory.theory.formula import joint_derivation
from sdetheory.translate import remove_weight_decay

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = 300
SCHEDULES = {
    "constant": (Constant(0.1), Constant(0.03)),
    "step decay": (StepDecay(0.12, (100, 200), 0.25), Constant(0.03)),
    "cosine": (Cosine(0.12, STEPS, 0.001), Cosine(0.06, STEPS)),
    "triangular": (Triangular(0.02, 0.12, period=60), StepDecay(0.06, (150,), 0.5)),
    "warm-up": (WarmUp(50) * Constant(0.12), WarmUp(100) * Constant(0.06)),
    "random": None,
}
MOMENTUM = 0.8  # (1 − √μ)² = 0.011 bounds ηλ of a constant schedule (EXP-7); all but the random one stay below
Tables = tuple[NDArray[np.float64], NDArray[np.float64], Any]


def _tables(run: Run) -> dict[str, Tables]:
    """Learning rate, decay and momentum of every step; the random ones change threefold from step to step."""
    found: dict[str, Tables] = {name: (pair[0].table(STEPS), pair[1].table(STEPS), MOMENTUM)
                                for name, pair in SCHEDULES.items() if pair is not None}
    draws = np.random.default_rng(np.random.SeedSequence(run.rng.entropy, spawn_key=(*run.rng.spawn_key, 0)))
    found["random"] = (draws.uniform(0.05, 0.15, STEPS), draws.uniform(0, 0.04, STEPS), draws.uniform(0, 0.7, STEPS))
    return found


def _without_ratio(lr: NDArray[np.float64], decay: NDArray[np.float64], momentum: Any) -> Other:
    """What the recursion gives with η_{t−1}/η_{t−2} left out."""
    alpha, log_scale = 1.0, [0.0]
    for x, mu in zip(lr * decay, np.broadcast_to(momentum, lr.shape), strict=True):
        alpha = 1 - x + mu * (1 - 1 / alpha)
        log_scale.append(log_scale[-1] - np.log(alpha))
    log_p = np.array(log_scale)
    return Other(lr * np.exp(log_p[:-1] + log_p[1:]), log_p)


def _translated(lr: NDArray[np.float64], decay: NDArray[np.float64], momentum: Any) -> Other:
    found = remove_weight_decay(lr, decay, momentum, n_steps=STEPS, dtype=None)
    return Other(found.decay_free_lr, found.log_scale, leaning=float(np.abs(lr * found.tilt[:-1]).max()))


def _measured(run: Run, translate: Any, names: tuple[str, ...]) -> dict[str, list[Gaps]]:
    tables = _tables(run)
    found = {}
    for name in names:
        lr, decay, momentum = tables[name]
        other = translate(lr, decay, momentum)
        found[name] = [beside(run, loss, other, lr=lr, weight_decay=decay, momentum=momentum, n_steps=STEPS)
                       for loss in LOSSES]
    run.data.update(tables=tables, gaps=found)
    return found


def _evidence(found: dict[str, list[Gaps]]) -> dict[str, Exact]:
    """A comparison a schedule (losses and directions), and one for the weights of all."""
    result = {}
    for name, gaps in found.items():
        both = worst(gaps)
        result[name] = Exact(np.stack([both["loss"].value, both["direction"].value]),
                             np.stack([both["loss"].rounding, both["direction"].rounding]))
    return result | {"sq_norm": worst([g for gaps in found.values() for g in gaps])["sq_norm"]}


def simulation(run: Run) -> dict[str, Any]:
    """Both runs on the same minibatches, from the same weights and buffer."""
    return _evidence(_measured(run, _translated, tuple(SCHEDULES)))


def without_ratio(run: Run) -> dict[str, Any]:
    """The control: the recursion of a constant learning rate, wherever the learning rate is not constant."""
    return _evidence(_measured(run, _without_ratio, tuple(SCHEDULES)[1:]))


def derivation() -> Derivation:
    """The recursion from the update rule, and the buffers of both runs."""
    return joint_derivation("Every schedule", exp_lr.alpha_step, exp_lr.buffer_tilt, exp_lr.total_decay_step)


def figure(run: Run) -> Figure:
    """Left: schedules and their equivalents. Right: how far the directions part, with and without the ratio."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.2, 4.2), layout="constrained")
    left, right = fig.subplots(1, 2)
    tables, gaps = run.data["tables"], run.data["gaps"]
    wrong = _measured(Run(run.rng, run.mode), _without_ratio, tuple(SCHEDULES)[1:])
    colours = dict(zip(SCHEDULES, ("0.5", "tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple"), strict=True))
    for name, colour in colours.items():
        if name in ("step decay", "cosine", "triangular", "warm-up"):
            lr, decay, momentum = tables[name]
            left.semilogy(lr, color=colour, lw=1, ls="--")
            left.semilogy(_translated(lr, decay, momentum).lr, color=colour, label=name)
        largest = np.max([g.direction for g in gaps[name]], axis=0)
        right.semilogy(gaps[name][0].steps[1:], np.maximum(largest[1:], 1e-17), color=colour, label=name)
        if name in wrong:
            right.semilogy(wrong[name][0].steps[1:], np.max([g.direction for g in wrong[name]], axis=0)[1:], color=colour,
                           ls="--", lw=1)
    right.semilogy(gaps["random"][0].steps[1:], np.max([g.bound for all_ in gaps.values() for g in all_], axis=0)[1:],
                   color="0.4", ls=":", label="bound on rounding")
    right.plot([], [], color="0.4", ls="--", label=r"control: no $\eta_{t-1}/\eta_{t-2}$")
    left.plot([], [], color="0.4", ls="--", label="with weight decay")
    left.set(xlabel=r"step $t$", ylabel=r"learning rate: $\tilde\eta_t$ without decay, $\eta_t$ with")
    right.set(xlabel=r"step $t$", ylabel=r"largest distance of directions", ylim=(1e-17, 1e8))
    left.set_title("Each schedule and its equivalent", fontsize=11)
    right.set_title("They part by rounding only", fontsize=11)
    left.legend(frameon=False, fontsize=8)
    right.legend(frameon=False, fontsize=8, ncols=2, loc="upper center")
    return fig


claim = Claim(
    "EXP-6",
    title="Every schedule has an equivalent without weight decay",
    paper="exp_lr",
    statement=r"For scale-invariant losses and any $(\eta_t,\lambda_t)$, with $\alpha_0=1$ and $\alpha_t=1-\eta_{t-1}"
              r"\lambda_{t-1}+(\eta_{t-1}/\eta_{t-2})\mu(1-1/\alpha_{t-1})>0$, SGD without decay at $\tilde\eta_t=P_tP_{t+1}"
              r"\eta_t$, $P_t=\prod_{i\leq t}\alpha_i^{-1}$, from the same weights and buffer gives the same functions; "
              r"$\tilde w_t=P_tw_t$.",
    derivation=derivation,
    prediction=dict.fromkeys(SCHEDULES, 0.0) | {"sq_norm": 1.0},
    simulation=simulation,
    resolution=dict.fromkeys(SCHEDULES, RESOLUTION) | {"sq_norm": Relative(RESOLUTION)},
    negative_control=Control(r"the ratio $\eta_{t-1}/\eta_{t-2}$ left out, as if the learning rate were constant",
                             simulation=without_ratio),
    figure=figure,
)
