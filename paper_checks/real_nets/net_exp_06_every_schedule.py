r"""NET-EXP-6: on real nets, every schedule of learning rate and weight decay has its equivalent without decay.

.. math:: \alpha_t = 1 - \eta_{t-1}\lambda_{t-1} + \frac{\eta_{t-1}}{\eta_{t-2}}\,\mu\Bigl(1 - \frac{1}{\alpha_{t-1}}\Bigr),
          \quad \alpha_0 = 1, \qquad P_t = \prod_{i\le t}\alpha_i^{-1}, \qquad \tilde\eta_t = P_tP_{t+1}\,\eta_t

One kind of schedule a net, from a random first buffer that both runs share; torch.optim.SGD on the digits, float64. The run without
decay is that of `sdetheory.translate`, played by `sdetheory.torch.schedulers.TranslatedLR`. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from paper_checks.real_nets.side_by_side import NETS, RESOLUTION, STEPS, Gaps, Settings, beside, draw, evidence, paced, played
from sdetheory.claims import Claim, Control, Relative, Run
from sdetheory.schedules import Constant, Cosine, StepDecay, Triangular, WarmUp
from sdetheory.symbolic import Derivation
from sdetheory.theory import exp_lr
from sdetheory.translate import remove_weight_decay

if TYPE_CHECKING:
    from matplotlib.figure import Figure

requires = ("torch",)

MOMENTUM = 0.8  # (1 − √μ)² = 0.011 bounds ηλ of a constant schedule (EXP-7)
#: one kind of schedule a net, for the pace of an MLP
SCHEDULES = {
    "MLP, batch norm": ("cosine", Cosine(0.04, STEPS, 0.0004), Cosine(0.1, STEPS)),
    "MLP, layer norm": ("triangular", Triangular(0.005, 0.04, period=60), StepDecay(0.1, (STEPS // 2,), 0.5)),
    "MLP, weight norm": ("random", None, None),
    "CNN, group norm": ("step decay", StepDecay(0.04, (STEPS // 3, 2 * STEPS // 3), 0.25), Constant(0.05)),
    "CNN, instance norm": ("warm-up", WarmUp(50) * Constant(0.02), WarmUp(100) * Constant(0.05)),
}
CONTROLLED = ("MLP, batch norm", "MLP, layer norm")
Tables = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _tables(run: Run, name: str) -> Tables:
    """Learning rate, decay and momentum of every step."""
    _, lr, decay = SCHEDULES.get(name, SCHEDULES["CNN, group norm"])
    if lr is None or decay is None:
        draws = np.random.default_rng(np.random.SeedSequence(run.rng.entropy, spawn_key=(*run.rng.spawn_key, 0)))
        return draws.uniform(0.01, 0.03, STEPS), draws.uniform(0, 0.1, STEPS), draws.uniform(0, 0.7, STEPS)
    return *paced(name, lr.table(STEPS), decay.table(STEPS)), np.full(STEPS, MOMENTUM)


Other = tuple[Settings, NDArray[np.float64], float]  # the run without decay, log P, leaning


def _without_ratio(lr: NDArray[np.float64], decay: NDArray[np.float64], mu: NDArray[np.float64]) -> Other:
    """What the recursion gives with η_{t−1}/η_{t−2} left out."""
    alpha, log_scale = 1.0, [0.0]
    for x, m in zip(lr * decay, mu, strict=True):
        alpha = 1 - x + m * (1 - 1 / alpha)
        log_scale.append(log_scale[-1] - np.log(alpha))
    log_p = np.array(log_scale)
    return Settings(lr * np.exp(log_p[:-1] + log_p[1:]), np.zeros(STEPS), mu), log_p, 0.0


def _translated(lr: NDArray[np.float64], decay: NDArray[np.float64], mu: NDArray[np.float64]) -> Other:
    found = remove_weight_decay(lr, decay, mu, n_steps=len(lr))
    return played(found), np.log(found.scale), float(np.abs(lr * found.tilt[:-1]).max())


def _gaps(run: Run, translate: Any, names: Any) -> dict[str, Gaps]:
    found = {}
    for name in names:
        tables = _tables(run, name)
        other, log_scale, leaning = translate(*tables)
        found[name] = beside(run, name, Settings(*tables), other, log_scale, buffer=0.1, leaning=leaning)
    return found


def simulation(run: Run) -> dict[str, Any]:
    """Both runs of each net, from the same weights and the same buffer."""
    run.data["gaps"] = _gaps(run, _translated, NETS)
    return evidence(run.data["gaps"])


def without_ratio(run: Run) -> dict[str, Any]:
    """The control: the recursion of a constant learning rate, where the learning rate is not constant."""
    return evidence(_gaps(run, _without_ratio, CONTROLLED), norms=False)


def derivation() -> Derivation:
    """The recursion from the update rule, and the buffers of both runs."""
    whole = Derivation("Every schedule")
    for formula in (exp_lr.alpha_step, exp_lr.buffer_tilt, exp_lr.total_decay_step):
        whole.including(formula.derivation)
    return whole


def figure(run: Run) -> Figure:
    """How far the functions part under each schedule, with the ratio and without."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.2, 4.4), layout="constrained")
    ax = fig.subplots()

    def labelled(found: dict[str, Gaps]) -> dict[str, Gaps]:
        return {f"{name}: {SCHEDULES[name][0]}" if name in SCHEDULES else name: gaps for name, gaps in found.items()}

    draw(ax, labelled(run.data["gaps"]), labelled(_gaps(Run(run.rng, run.mode), _without_ratio, CONTROLLED)),
         r"no $\eta_{t-1}/\eta_{t-2}$")
    ax.set_title("Every schedule has an equivalent without weight decay, on every net", fontsize=10.5)
    return fig


claim = Claim(
    "NET-EXP-6",
    title="On real nets, every schedule has an equivalent without weight decay",
    paper="exp_lr",
    statement=r"On nets with each normalisation (last layer fixed, digits): torch.optim.SGD with momentum under cosine, triangular, "
              r"step, warm-up and random schedules of $(\eta_t,\lambda_t)$ gives the same outputs as without decay at "
              r"$\tilde\eta_t=P_tP_{t+1}\eta_t$ from the same weights and buffer; $\tilde w_t=P_tw_t$.",
    derivation=derivation,
    prediction=dict.fromkeys(NETS, 0.0) | {"sq_norm": 1.0},
    simulation=simulation,
    resolution=dict.fromkeys(NETS, RESOLUTION) | {"sq_norm": Relative(RESOLUTION)},
    negative_control=Control(r"the ratio $\eta_{t-1}/\eta_{t-2}$ left out, as if the learning rate were constant",
                             simulation=without_ratio),
    figure=figure,
)
