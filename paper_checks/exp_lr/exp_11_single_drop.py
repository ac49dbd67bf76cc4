r"""EXP-11: one drop of an exponential learning rate is forgotten; only the growth rate has a lasting effect.

.. math:: \tilde\eta_t = \eta\,\alpha^{-2t-1}\ (t<T), \quad \tilde\eta_t/C\ (t\ge T): \qquad
          \frac{\eta_e(T+s)}{\eta_e^*} = \bigl[1+(C^2-1)\,e^{-4\lambda_es}\bigr]^{-1/2}

where η_e = η̃_t/‖w̃_t‖² is the effective learning rate and λ_e = ηλ that of the equivalent run with decay, in the
setting of ILR-3; with momentum λ_e/(1−μ), to leading order. SGD without decay is run from equilibrium at a λ_e and
at twice that, on the same times 4λ_es; the difference bounds what is left, of order λ_e. Clock: steps.
"""

import numpy as np

import sdetheory as sdt
from paper_checks.exp_lr.side_by_side import data_of
from sdetheory import Claim, Quantity, Relative
from sdetheory.schedules import Exponential
from sdetheory.sphere import normalise
from sdetheory.stats import from_points, jackknife, step_halving
from sdetheory.theory import exp_lr
from sdetheory.theory import intrinsic_lr as ilr

DIM, SCALE, LR = 16, 0.5, 0.1
LOSS = sdt.losses.RayleighQuotient([0.0] * DIM, noise=sdt.noises.Tangent(SCALE))
TRACE = SCALE**2 * (DIM - 1)
MOMENTA = {"no momentum": 0.0, "momentum 0.9": 0.9}
# λ_e/(1−μ) of the fine run, 2 RATE of the coarse one: a relative bias of order RATE/(1−μ), 1 %, at 0.9. A unit of
# the clock below is 1/(4 RATE) = 250 steps and 125.
RATE = 0.001
DROP = 4.0  # C
POINTS = np.array([1.0, 2.0, 3.0, 4.0, 6.0])  # 4λ_e s/(1−μ): half of the drop is undone at ln(15/3) = 1.6
WARM = 2  # on the same clock, before the drop: the norm starts at its equilibrium, to order λ_e
# The norm fluctuates by (λ_e/(d−1))^{1/2} = 0.8 %, with momentum by 3 %, and the measured bias by 1.25·3^{1/2} of
# that besides: 800 paths (200 in quick mode) leave z·se below 1.5 % (3 %) of all, next to the bias.
PATHS = 800

FORGOTTEN = exp_lr.effective_lr_after_single_drop(t=POINTS / 4, drop_factor=DROP, intrinsic_lr=1.0)
# With decay, γ = ‖W‖⁴/η² goes from C² to C times its former rest, at the rate 4λ_e/C (ILR-3).
LASTING = ilr.gamma(t=POINTS / 4, gamma0=DROP**2, intrinsic_lr=1 / DROP, noise_trace=2.0) ** -0.5

QUANTITIES = {name: Quantity(FORGOTTEN, Relative(fraction), effect=FORGOTTEN - LASTING,
                             points=[rf"$4\lambda_es/(1-\mu)={p:g}$" for p in POINTS])
              for name, fraction in zip(MOMENTA, (0.04, 0.08), strict=True)}


def drop(trial, seed, rate, mu, grow_less):
    """The effective learning rate at every unit of the clock, (paths, units); the drop is at unit WARM."""
    at = {"lr": LR, "weight_decay": rate * (1 - mu) / LR, "momentum": mu}
    alpha = exp_lr.larger_root(**at)
    unit = round(1 / (4 * rate))
    warm, units = WARM * unit, WARM + round(max(POINTS))
    # what a drop of η by C in the run with decay means: the growth rate falls too (TEXP)
    later = exp_lr.larger_root(**at | {"lr": LR / DROP}) if grow_less else alpha
    dropped = Exponential(LR / DROP * alpha ** (-2 * warm) / later, later**-2)
    schedule = Exponential(LR / alpha, alpha**-2).then(dropped, at=warm)
    n = trial.paths(PATHS)
    # equilibrium with momentum, to leading order (ILR-9): η/(1−μ) and the decay in place of η and λ
    radius = ilr.equilibrium_sq_norm(lr=LR / (1 - mu), weight_decay=rate * (1 - mu) / LR, noise_trace=TRACE) ** 0.5
    w0 = radius * normalise(np.random.default_rng(seed).normal(size=(n, DIM)))
    rule = sdt.SGD(LOSS, lr=schedule, momentum=mu, v0=np.zeros_like(w0))
    runs = sdt.simulate(rule, w0, n_steps=units * unit + 1, n_paths=n, observe=["sq_norm"], save_every=unit, rng=seed)
    places = np.arange(units + 1)
    return schedule(places * unit) / runs.sq_norm.values[:, places]


def over_former(rates):
    """Mean effective learning rate at POINTS over the one before the drop: η̃ falls at the drop, the norm does not."""
    return from_points(jackknife(lambda a, b: a / b, rates[:, WARM + round(p)], DROP * rates[:, WARM]) for p in POINTS)


def measure(trial, grow_less=False):
    evidence = {}
    for (name, mu), seed in zip(MOMENTA.items(), trial.rng.spawn(len(MOMENTA)), strict=True):
        pair = [drop(trial, s, rate, mu, grow_less) for s, rate in zip(seed.spawn(2), (2 * RATE, RATE), strict=True)]
        evidence[name] = step_halving(*map(over_former, pair), order=1)
        trial.data[name] = pair[1].mean(0) / (DROP * pair[1][:, WARM].mean())
    return evidence


def broken(trial):
    return measure(trial, grow_less=True)


def figure(trial, ax):
    """A drop with the growth rate unchanged, and one with the growth rate changed."""
    dense, at = np.linspace(0, max(POINTS), 300), {"drop_factor": DROP, "intrinsic_lr": 1.0}
    ax.plot(np.r_[-WARM, 0, dense], np.r_[1, 1, exp_lr.effective_lr_after_single_drop(t=dense / 4, **at)], color="0.35",
            lw=1.2, label=r"$[1+(C^2-1)e^{-4\lambda_e s/(1-\mu)}]^{-1/2}$")
    # κ = C in ILR-7, on its own clock: λ_e/C after the drop
    ax.plot(dense, ilr.effective_lr_after_lr_drop(t=dense / 4, **at), color="tab:red", lw=1.2, ls="--",
            label=r"the growth rate changes too (ILR-7): ends at $1/\sqrt{C}$")
    other = data_of(trial, broken)
    for (name, mu), marker, color in zip(MOMENTA.items(), "os", ("tab:blue", "tab:orange"), strict=True):
        clock = np.arange(len(trial.data[name])) - WARM
        ax.plot(clock, trial.data[name], marker, ms=5, mfc="none", color=color, label=rf"SGD without decay, $\mu={mu:g}$")
        ax.plot(clock[WARM + 1:], other[name][WARM + 1:], marker, ms=5, mfc="none", color="tab:red")
    ax.axhline(DROP**-0.5, color="0.6", lw=0.8, ls=":")
    ax.set(xlabel=r"time after the drop, $4\lambda_e s/(1-\mu)$ ($s$ in steps)", ylim=(0, 1.1),
           ylabel=r"effective learning rate $\eta_e/\eta_e^*$",
           title=rf"An exponential learning rate, divided once by $C={DROP:g}$: forgotten")
    ax.legend(loc="lower right")


claim = Claim(
    "EXP-11", "A single drop is forgotten", paper="exp_lr",
    where="the experiment on an instant drop of the learning rate against a change of its growth rate",
    statement="Dividing an exponential learning rate once by $C$, its growth rate unchanged, changes the "
              r"effective learning rate for $O(1/\lambda_e)$ steps only: "
              r"$\eta_e/\eta_e^*=[1+(C^2-1)e^{-4\lambda_es}]^{-1/2}$ in the setting of ILR-3, with "
              r"$\lambda_e/(1-\mu)$ for $\lambda_e$ where there is momentum (leading order). What lasts is a "
              "change of the growth rate.",
    setup=f"SGD without decay, pure tangent noise in $d={DIM}$, {PATHS} paths from equilibrium; the growing rate "
          rf"is divided by {DROP:g}; $\mu=0$ and $0.9$, $\lambda_e/(1-\mu)={RATE}$ and ${2 * RATE}$",
    proof=[*exp_lr.by_claim("EXP-11"), exp_lr.norm_forgetting_rate], quantities=QUANTITIES, measure=measure,
    broken=broken, figure=figure, control="the growth rate falls with the learning rate, as in a step decay with weight decay")
