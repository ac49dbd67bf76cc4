r"""NET-EXP-6: on real nets, every schedule of learning rate and weight decay has its equivalent without decay.

.. math:: \alpha_t = 1 - \eta_{t-1}\lambda_{t-1} + \frac{\eta_{t-1}}{\eta_{t-2}}\,\mu\Bigl(1 - \frac{1}{\alpha_{t-1}}\Bigr),
          \quad \alpha_0 = 1, \qquad P_t = \prod_{i\le t}\alpha_i^{-1}, \qquad \tilde\eta_t = P_tP_{t+1}\,\eta_t

One kind of schedule a net, from a random first buffer that both runs share; torch.optim.SGD on the digits, float64. The
run without decay is that of `sdetheory.translate`, played by `sdetheory.torch.schedulers.TranslatedLR`. Clock: steps.
"""

import numpy as np

from paper_checks.real_nets.ensembles import once
from paper_checks.real_nets.side_by_side import (
    NETS,
    STEPS,
    Settings,
    beside,
    draw,
    evidence,
    paced,
    played,
    quantities,
)
from sdetheory import Claim
from sdetheory.schedules import Constant, Cosine, StepDecay, Triangular, WarmUp
from sdetheory.theory import exp_lr
from sdetheory.translate import remove_weight_decay

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


def _tables(trial, name):
    """Learning rate, decay and momentum of every step."""
    _, lr, decay = SCHEDULES.get(name, SCHEDULES["CNN, group norm"])
    if lr is None:
        seed = np.random.SeedSequence(trial.rng.entropy, spawn_key=(*trial.rng.spawn_key, 0))
        draws = np.random.default_rng(seed)
        return draws.uniform(0.01, 0.03, STEPS), draws.uniform(0, 0.1, STEPS), draws.uniform(0, 0.7, STEPS)
    return *paced(name, lr.table(STEPS), decay.table(STEPS)), np.full(STEPS, MOMENTUM)


def _without_ratio(lr, decay, mu):
    """What the recursion gives with η_{t−1}/η_{t−2} left out."""
    alpha, log_scale = 1.0, [0.0]
    for x, m in zip(lr * decay, mu, strict=True):
        alpha = 1 - x + m * (1 - 1 / alpha)
        log_scale.append(log_scale[-1] - np.log(alpha))
    log_p = np.array(log_scale)
    return Settings(lr * np.exp(log_p[:-1] + log_p[1:]), np.zeros(STEPS), mu)


@once
def _gaps(trial):
    """Both runs of each net, from the same weights and the same buffer."""
    found = {}
    for name in NETS:
        tables = lr, decay, mu = _tables(trial, name)
        translation = remove_weight_decay(lr, decay, mu, n_steps=len(lr))
        found[name] = beside(trial, name, Settings(*tables), played(translation), np.log(translation.scale),
                             wrong=_without_ratio(*tables), buffer=0.1,
                             leaning=float(np.abs(lr * translation.tilt[:-1]).max()))
    return found


def measure(trial):
    return evidence(_gaps(trial))


def broken(trial):
    """The recursion of a constant learning rate, where the learning rate is not constant."""
    return evidence(_gaps(trial), wrong=True)


def figure(trial, ax):
    """How far the functions part under each schedule, with the ratio and without."""
    draw(ax, {f"{name}: {SCHEDULES.get(name, ('step decay',))[0]}": gaps for name, gaps in _gaps(trial).items()},
         r"no $\eta_{t-1}/\eta_{t-2}$")
    ax.set_title("Every schedule has an equivalent without weight decay, on every net")


claim = Claim(
    "NET-EXP-6", "On real nets, every schedule has an equivalent without weight decay", paper="exp_lr",
    where="the equivalence for schedules of learning rate and weight decay",
    statement=r"On nets with each normalisation (last layer fixed, digits): torch.optim.SGD with momentum under cosine, "
              r"triangular, step, warm-up and random schedules of $(\eta_t,\lambda_t)$ gives the same outputs as without "
              r"decay at $\tilde\eta_t=P_tP_{t+1}\eta_t$ from the same weights and buffer; $\tilde w_t=P_tw_t$.",
    setup=rf"torch.optim.SGD for {STEPS} steps of batch 16 on the digits, in float64, MLPs of two hidden layers of 32 and "
          r"CNNs of 8 and 16 channels, $\mu=0.8$ (random in $[0,0.7]$ where the schedule is), from a random buffer",
    bias_source="roundings a step, times the measured response of the run to a relative change of 1e-12 of everything given",
    proof=[exp_lr.alpha_step, exp_lr.buffer_tilt, exp_lr.total_decay_step],
    quantities=quantities(), measure=measure, broken=broken, figure=figure,
    control=r"the ratio $\eta_{t-1}/\eta_{t-2}$ left out, as if the learning rate were constant")
