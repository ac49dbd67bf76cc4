r"""EXP-15: a cosine schedule with weight decay is a cosine tapered exponentially.

.. math:: \tilde\eta_t = P_tP_{t+1}\,\eta_t, \qquad P_{t+1} = P_t/z_1(\eta_t\lambda), \qquad
          \eta_t = \eta_{\text{last}} + \tfrac12(\eta_{\text{first}}-\eta_{\text{last}})(1+\cos(\pi t/T))

gives the same functions without decay: exactly for μ = 0; for μ > 0 with a correction of the buffer at every step,
or in the schedule of EXP-6 with none. Plain tapering is not exact: its rate keeps, however slowly the cosine runs,
the factor (an extension)

.. math:: \frac{z_f^2-\mu}{(z_f-\mu)^2}\,\frac{(z_l-\mu)^2}{z_l^2-\mu} = 1-\frac{\mu\,(\eta_f\lambda)^2}{(1-\mu)^4}+\dots
          \quad(\eta_l\to0),

of the first and last root alone, whatever the schedule between: 1 − 2.3·10⁻⁵ at η = 0.1, λ = 5·10⁻⁴,
μ = 0.9, so that the functions all but agree. Clock: steps.
"""

from dataclasses import replace

import numpy as np

from paper_checks.exp_lr.side_by_side import PATHS, RESOLUTION, UNIT
from paper_checks.exp_lr.tapering import Tapering, worst
from sdetheory import Claim, Exact, Quantity, Relative
from sdetheory.schedules import Cosine, Exponential, FromArray
from sdetheory.theory import exp_lr
from sdetheory.theory.exp_lr.slow_schedules import slow_texp_offset
from sdetheory.translate import remove_weight_decay, tapered

STEPS, LAST = 300, 0.02  # of the runs; the last learning rate over the first
# ηλ starts at 0.6 of the largest with real roots, so that the factor is 5 % off 1 and not 2e-5
SETTINGS = tuple((lr, 0.6 * exp_lr.critical_intrinsic_lr(momentum=mu) / lr, mu) for lr, mu in ((0.02, 0.9), (0.1, 0.5)))
WITHOUT_MOMENTUM = (0.1, 0.05, 0.0)
# The shapes between; the factor is approached as 1/n: twice as many steps, extrapolated, and once more for what is
# left
SHAPES = {"cosine": lambda n: Cosine(1.0, n, LAST), "linear": lambda n: FromArray(1 + (LAST - 1) * np.arange(n) / n),
          "exponential": lambda n: Exponential(1.0, LAST ** (1 / n))}
LENGTHS = (4000, 8000, 16000)

ROOTS = [[exp_lr.larger_root(lr=share * lr, weight_decay=decay, momentum=mu) for share in (LAST, 1)]
         for lr, decay, mu in SETTINGS]
FACTORS = np.array([slow_texp_offset(alpha=last, previous_alpha=first, momentum=mu)
                    for (last, first), (_, _, mu) in zip(ROOTS, SETTINGS, strict=True)])
EXACT = ("tapered, no momentum", "tapered, buffer corrected", "EXP-6 schedule")
QUANTITIES = {
    **dict.fromkeys(EXACT, Quantity(0.0, RESOLUTION, broken=True)),
    # the mistake: what each of many small steps leaves vanishes where the schedule is smooth and slow
    **{f"factor that stays, {shape}": Quantity(FACTORS, Relative(1e-3), wrong=1.0,
                                               bias_source="the change of the extrapolation from three lengths")
       for shape in SHAPES},
}


def scaled(shape, n_steps, lr):
    return FromArray(lr * shape(n_steps).table(n_steps))


def runs_of(trial, lr, decay, mu):
    return Tapering(trial, scaled(SHAPES["cosine"], STEPS, lr), decay, mu, STEPS)


def factor(shape, n_steps, lr, decay, mu):
    """Plain tapered over exact rate at every step."""
    schedule = scaled(shape, n_steps, lr)
    plain = tapered(schedule, decay, mu, n_steps=n_steps)
    exact = remove_weight_decay(schedule, decay, mu, n_steps=n_steps, start="root")
    return np.exp(plain.log_decay_free_lr - exact.log_decay_free_lr)


def measure(trial):
    """Exact versions on minibatches; the factor from the schedules alone."""
    with_momentum, without = [runs_of(trial, *at) for at in SETTINGS], [runs_of(trial, *WITHOUT_MOMENTUM)]
    trial.data["runs"] = with_momentum[0]
    found = {"tapered, no momentum": worst(without, lambda one: one.tapered),
             "tapered, buffer corrected": worst(with_momentum, lambda one: one.tapered),
             "EXP-6 schedule": worst(with_momentum, lambda one: one.untouched)}
    for name, shape in SHAPES.items():
        coarse, middle, fine = (np.array([factor(shape, n, *at)[-1] for at in SETTINGS]) for n in LENGTHS)
        once, twice = 2 * middle - coarse, 2 * fine - middle
        # log P, below 1e4, is rounded at every step
        found[f"factor that stays, {name}"] = Exact(twice, np.abs(twice - once) + 4e4 * LENGTHS[-1] * UNIT)
    return found


def broken(trial):
    """A cosine times the exponential schedule of its first rate; and the plain tapered cosine."""
    def of_first_root(one):
        n = np.arange(STEPS)
        log_rate = np.log(one.tapered.lr) - (2 * n + 1) * np.log(one.tapered.alpha[0])
        given = one.untouched
        return replace(given, decay_free_lr=given.decay_free_lr * np.exp(log_rate - given.log_decay_free_lr))

    with_momentum = [runs_of(trial, *at) for at in SETTINGS]
    return {"tapered, no momentum": worst([runs_of(trial, *WITHOUT_MOMENTUM)], of_first_root),
            "tapered, buffer corrected": worst(with_momentum, lambda one: one.tapered.without_corrections()),
            "EXP-6 schedule": worst(with_momentum, of_first_root)}


def figure(trial, left, right):
    """Left: how the factor comes about along three schedules. Right: how far the functions part."""
    n = LENGTHS[0]
    for (name, shape), color in zip(SHAPES.items(), ("tab:blue", "tab:orange", "tab:green"), strict=True):
        left.plot(np.arange(n) / n, factor(shape, n, *SETTINGS[0]), color=color, label=name)
    left.axhline(FACTORS[0], color="0.35", lw=1.2, ls="--", label="predicted end")
    left.set(xlabel=r"step $t/T$", ylabel=r"plain tapered over exact rate $\tilde\eta_t$",
             title=rf"A factor that stays ($\mu={SETTINGS[0][2]:g}$)")
    left.legend()
    one = trial.data["runs"]
    one.draw(right, ((one.tapered.without_corrections(), "tab:orange", "tapered cosine, plain"),
                     (one.tapered, "tab:blue", "with the buffer corrected"),
                     (one.untouched, "tab:green", "EXP-6 schedule")))
    right.set(xlabel=r"step $t$", title="Two are exact, one is not")
    right.legend(loc="center right")


claim = Claim(
    "EXP-15", "A cosine schedule, tapered exponentially", paper="exp_lr",
    where="the experiment that puts a cosine schedule into exponential form; its permanent factor is an extension",
    statement=r"A cosine schedule with weight decay gives the functions of $\tilde\eta_t=P_tP_{t+1}\eta_t$, "
              r"$P_{t+1}=P_t/z_1(\eta_t\lambda)$, without: exactly for $\mu=0$, and for $\mu>0$ with one buffer "
              "correction a step or in the schedule of EXP-6. Extension: without correction the rate keeps the "
              r"factor $(z_f^2-\mu)(z_l-\mu)^2/[(z_f-\mu)^2(z_l^2-\mu)]$ in the limit of slow schedules, set by "
              r"the first and the last root alone; to a rate of 0 it is $1-\mu(\eta_f\lambda)^2/(1-\mu)^4$ to "
              "leading order.",
    setup=rf"{STEPS} steps of SGD on minibatches of Rayleigh quotients, {PATHS} starts, $\mu$ = 0.9, 0.5 and 0, "
          rf"$\eta$ falling to {LAST} of its first value along a cosine; schedules of up to {LENGTHS[-1]} steps "
          "of three shapes for the factor",
    proof=[exp_lr.alpha_step, exp_lr.larger_root, exp_lr.texp_buffer_correction, slow_texp_offset],
    quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control="a cosine times the exponential schedule of its first rate; a tapered cosine needs no correction, and "
            "what its many small steps leave vanishes where it is slow")
