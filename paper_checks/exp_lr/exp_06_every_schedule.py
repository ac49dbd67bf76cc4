r"""EXP-6: every schedule of learning rate and weight decay has its equivalent without decay.

.. math:: \alpha_t = 1 - \eta_{t-1}\lambda_{t-1} + \frac{\eta_{t-1}}{\eta_{t-2}}\,\mu\Bigl(1 - \frac{1}{\alpha_{t-1}}\Bigr),
          \quad \alpha_0 = 1, \qquad P_t = \prod_{i\le t}\alpha_i^{-1}, \qquad
          \tilde\eta_t = P_tP_{t+1}\,\eta_t, \quad \tilde w_t = P_tw_t

for scale-invariant losses, from the same weights and the same buffer, whatever it is. Six schedules with weight decay
that changes too (in the last momentum as well); the rates come from `sdetheory.translate`. Clock: steps.
"""

import numpy as np

from paper_checks.exp_lr.side_by_side import LOSSES, RESOLUTION, SETUP, Other, beside, data_of, worst
from sdetheory import Claim, Exact, Quantity, Relative
from sdetheory.schedules import Constant, Cosine, StepDecay, Triangular, WarmUp
from sdetheory.theory import exp_lr
from sdetheory.translate import remove_weight_decay

STEPS = 300
SCHEDULES = {
    "constant": (Constant(0.1), Constant(0.03)),
    "step decay": (StepDecay(0.12, (100, 200), 0.25), Constant(0.03)),
    "cosine": (Cosine(0.12, STEPS, 0.001), Cosine(0.06, STEPS)),
    "triangular": (Triangular(0.02, 0.12, period=60), StepDecay(0.06, (150,), 0.5)),
    "warm-up": (WarmUp(50) * Constant(0.12), WarmUp(100) * Constant(0.06)),
}
MOMENTUM = 0.8  # (1 − √μ)² = 0.011 bounds ηλ of a constant schedule (EXP-7); all but the random one stay below

NAMES = (*SCHEDULES, "random")
QUANTITIES = {**{name: Quantity(0.0, RESOLUTION, broken=True) for name in NAMES},
              "sq_norm": Quantity(1.0, Relative(RESOLUTION), broken=True)}


def tables(trial):
    """Learning rate, decay and momentum of every step; the random ones change threefold from step to step."""
    found = {name: (lr.table(STEPS), decay.table(STEPS), MOMENTUM) for name, (lr, decay) in SCHEDULES.items()}
    draws = np.random.default_rng(np.random.SeedSequence(trial.rng.entropy, spawn_key=(*trial.rng.spawn_key, 0)))
    return found | {"random": (draws.uniform(0.05, 0.15, STEPS), draws.uniform(0, 0.04, STEPS),
                               draws.uniform(0, 0.7, STEPS))}


def translated(lr, decay, momentum):
    found = remove_weight_decay(lr, decay, momentum, n_steps=STEPS, dtype=None)
    return Other(found.decay_free_lr, found.log_scale, leaning=float(np.abs(lr * found.tilt[:-1]).max()))


def without_ratio(lr, decay, momentum):
    """The recursion with η_{t−1}/η_{t−2} left out; for constant η, λ, where that is right, the exponential schedule."""
    log_scale = [0.0]
    constant = np.ptp(lr) == np.ptp(decay) == 0
    alpha = exp_lr.larger_root(lr=lr[0], weight_decay=decay[0], momentum=momentum) if constant else 1.0
    for x, mu in zip(lr * decay, np.broadcast_to(momentum, lr.shape), strict=True):
        alpha = 1 - x + mu * (1 - 1 / alpha)
        log_scale.append(log_scale[-1] - np.log(alpha))
    log_p = np.array(log_scale)
    return Other(lr * np.exp(log_p[:-1] + log_p[1:]), log_p)


def run(trial, translate):
    """A comparison a schedule (losses and directions), and one for the weights of all."""
    given, evidence = tables(trial), {}
    found = {name: [beside(trial, loss, translate(*given[name]), n_steps=STEPS,
                           **dict(zip(("lr", "weight_decay", "momentum"), given[name], strict=True))) for loss in LOSSES]
             for name in NAMES}
    for name, gaps in found.items():
        both = worst(gaps)
        evidence[name] = Exact(*(np.stack([getattr(both[part], what) for part in ("loss", "direction")])
                                 for what in ("value", "rounding")))
    trial.data.update(tables=given, gaps=found)
    return evidence | {"sq_norm": worst([g for gaps in found.values() for g in gaps])["sq_norm"]}


def measure(trial):
    return run(trial, translated)


def broken(trial):
    return run(trial, without_ratio)


def figure(trial, left, right):
    """Left: schedules and their equivalents. Right: how far the directions part, with and without the ratio."""
    given, found, wrong = trial.data["tables"], trial.data["gaps"], data_of(trial, broken)["gaps"]
    colors = dict(zip(found, ("0.5", "tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple"), strict=True))
    for name, color in colors.items():
        if name not in ("constant", "random"):
            left.semilogy(given[name][0], color=color, lw=1, ls="--")
            left.semilogy(translated(*given[name]).lr, color=color, label=name)
        steps = found[name][0].steps[1:]
        right.semilogy(steps, np.maximum(np.max([g.direction for g in found[name]], axis=0)[1:], 1e-17), color=color,
                       label=name)
        right.semilogy(steps, np.max([g.direction for g in wrong[name]], axis=0)[1:], color=color, ls="--", lw=1)
    right.semilogy(steps, np.max([g.bound for gaps in found.values() for g in gaps], axis=0)[1:], color="0.4", ls=":",
                   label="bound on rounding")
    right.plot([], [], color="0.4", ls="--", label=r"control: no $\eta_{t-1}/\eta_{t-2}$")
    left.plot([], [], color="0.4", ls="--", label="with weight decay")
    left.set(xlabel=r"step $t$", ylabel=r"learning rate: $\tilde\eta_t$ without decay, $\eta_t$ with",
             title="Each schedule and its equivalent")
    right.set(xlabel=r"step $t$", ylabel="largest distance of directions", ylim=(1e-17, 1e8),
              title="They part by rounding only")
    left.legend()
    right.legend(ncols=2, loc="upper center")


claim = Claim(
    "EXP-6", "Every schedule has an equivalent without weight decay", paper="exp_lr",
    where="the equivalence for schedules of learning rate and weight decay that change at every step",
    statement=r"For scale-invariant losses and any $(\eta_t,\lambda_t)$, with $\alpha_0=1$ and "
              r"$\alpha_t=1-\eta_{t-1}\lambda_{t-1}+(\eta_{t-1}/\eta_{t-2})\mu(1-1/\alpha_{t-1})>0$, SGD without "
              r"decay at $\tilde\eta_t=P_tP_{t+1}\eta_t$, $P_t=\prod_{i\leq t}\alpha_i^{-1}$, from the same "
              r"weights and buffer gives the same functions; $\tilde w_t=P_tw_t$.",
    setup=rf"{STEPS} steps of SGD on {SETUP}; six schedules of $\eta$ and $\lambda$, $\mu={MOMENTUM}$ or random, "
          "with decay and without, on the same minibatches",
    proof=exp_lr.by_claim("EXP-6"), quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"the ratio $\eta_{t-1}/\eta_{t-2}$ left out, as if the learning rate were constant; where it is, the "
            "exponential schedule of its root from the first step on, with the buffer as it is")
