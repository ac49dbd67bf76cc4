r"""EXP-11: one drop of an exponential learning rate is forgotten; only the growth rate has a lasting effect.

.. math:: \tilde\eta_t = \eta\,\alpha^{-2t-1}\ (t<T), \quad \tilde\eta_t/C\ (t\ge T): \qquad
          \frac{\eta_e(T+s)}{\eta_e^*} = \bigl[1+(C^2-1)\,e^{-4\lambda_es}\bigr]^{-1/2}

where η_e = η̃_t/‖w̃_t‖² is the effective learning rate and λ_e = ηλ that of the equivalent run with decay, in the setting of
ILR-3; with momentum λ_e/(1−μ), to leading order. SGD without decay is run from equilibrium at a λ_e and at twice that, on the
same times 4λ_es; the difference bounds what is left, of order λ_e. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import sdetheory as sdt
from sdetheory.claims import Claim, Control, Relative, Resolution, Run
from sdetheory.schedules import Exponential
from sdetheory.sphere import normalise
from sdetheory.stats import Estimate, from_points, jackknife, step_halving
from sdetheory.symbolic import Derivation
from sdetheory.theory import exp_lr
from sdetheory.theory import intrinsic_lr as ilr
from sdetheory.theory.formula import joint_derivation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIM, SCALE, LR = 16, 0.5, 0.1
LOSS = sdt.losses.RayleighQuotient([0.0] * DIM, noise=sdt.noises.Tangent(SCALE))
TRACE = SCALE**2 * (DIM - 1)
MOMENTA = (0.0, 0.9)
# λ_e/(1−μ) of the fine run, 2 RATE of the coarse one: a relative bias of order RATE/(1−μ), 1 %, at 0.9. A unit of the clock
# below is 1/(4 RATE) = 250 steps and 125.
RATE = 0.001
DROP = 4.0  # C
POINTS = (1.0, 2.0, 3.0, 4.0, 6.0)  # 4λ_e s/(1−μ): half of the drop is undone at ln(15/3) = 1.6
WARM = 2.0  # on the same clock, before the drop: the norm starts at its equilibrium, to order λ_e
# The norm fluctuates by (λ_e/(d−1))^{1/2} = 0.8 %, with momentum by 3 %, and the measured bias by 1.25·3^{1/2} of that besides:
# 800 paths (200 in quick mode) leave z·se below 1.5 % (3 %) of all, next to the bias.
PATHS = 800


def prediction() -> dict[str, Any]:
    """The formula on the clock 4λ_e s/(1−μ)."""
    value = exp_lr.effective_lr_after_single_drop(t=np.array(POINTS) / 4, drop_factor=DROP, intrinsic_lr=1.0)
    return {"no momentum": value, "momentum 0.9": value}


def effects() -> dict[str, np.ndarray]:
    """How far the control is off: with decay, γ = ‖W‖⁴/η² goes from C² to C times its former rest, at the rate 4λ_e/C (ILR-3)."""
    of_step_decay = ilr.gamma(t=np.array(POINTS) / 4, gamma0=DROP**2, intrinsic_lr=1 / DROP, noise_trace=2.0) ** -0.5
    return {name: np.abs(of_step_decay - value) for name, value in prediction().items()}


def _drop(run: Run, seed: np.random.SeedSequence, rate: float, mu: float, grow_less: bool) -> dict[str, np.ndarray]:
    """Effective learning rate at every unit of the clock, one row a path; the drop is at the second one."""
    at = {"lr": LR, "weight_decay": rate * (1 - mu) / LR, "momentum": mu}
    alpha = float(exp_lr.larger_root(**at))
    unit = round(1 / (4 * rate))
    warm, after = round(WARM) * unit, round(max(POINTS)) * unit
    later = alpha
    if grow_less:  # what a drop of η by C in the run with decay means: the growth rate falls too (TEXP)
        later = float(exp_lr.larger_root(**{**at, "lr": LR / DROP}))
    dropped = Exponential(LR / DROP * alpha ** (-2 * warm) / later, later**-2)
    schedule = Exponential(LR / alpha, alpha**-2).then(dropped, at=warm)
    n = run.paths(PATHS)
    # equilibrium with momentum, to leading order (ILR-9): η/(1−μ) and the decay in place of η and λ
    radius = ilr.equilibrium_sq_norm(lr=LR / (1 - mu), weight_decay=rate * (1 - mu) / LR, noise_trace=TRACE) ** 0.5
    w0 = radius * normalise(np.random.default_rng(seed).normal(size=(n, DIM)))
    rule = sdt.SGD(LOSS, lr=schedule, momentum=mu, v0=np.full_like(w0, 0.0))
    runs = sdt.simulate(rule, w0, n_steps=warm + after + 1, n_paths=n, observe=["sq_norm"], save_every=unit, rng=seed)
    places = np.arange(round(WARM) + round(max(POINTS)) + 1)
    return {"effective_lr": schedule(places * unit) / runs.sq_norm.values[:, places], "clock": places - round(WARM)}


def _ratios(values: np.ndarray) -> Estimate:
    """Mean effective learning rate at POINTS over the one before the drop: η̃ falls at the drop, the norm does not."""
    at_drop = round(WARM)
    return from_points(jackknife(lambda a, b: a / b, values[:, at_drop + round(p)], DROP * values[:, at_drop]) for p in POINTS)


def _measured(run: Run, grow_less: bool) -> dict[str, Any]:
    found = {}
    for mu, name, seed in zip(MOMENTA, prediction(), run.rng.spawn(len(MOMENTA)), strict=True):
        pair = [_drop(run, s, rate, mu, grow_less) for s, rate in zip(seed.spawn(2), (2 * RATE, RATE), strict=True)]
        coarse, fine = (_ratios(one["effective_lr"]) for one in pair)
        found[name] = step_halving(coarse, fine, order=1)
        run.data[name] = pair[1]
    return found


def simulation(run: Run) -> dict[str, Any]:
    """One drop, the growth rate unchanged."""
    return _measured(run, grow_less=False)


def growth_too(run: Run) -> dict[str, Any]:
    """The control: the growth rate falls to that of the smaller learning rate, as in TEXP."""
    return _measured(run, grow_less=True)


def derivation() -> Derivation:
    """From the run with decay and from the run without: the same curve."""
    return joint_derivation("A single drop", exp_lr.effective_lr_after_single_drop, exp_lr.effective_lr_after_division,
                            exp_lr.norm_forgetting_rate)


def figure(run: Run) -> Figure:
    """A drop with the growth rate unchanged, and one with the growth rate changed."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(6.4, 3.8), layout="constrained")
    ax = fig.subplots()
    dense = np.linspace(0, max(POINTS), 300)
    curve = exp_lr.effective_lr_after_single_drop(t=dense / 4, drop_factor=DROP, intrinsic_lr=1.0)
    ax.plot(np.r_[-WARM, 0, dense], np.r_[1, 1, curve], color="0.35", lw=1.2,
            label=r"$[1+(C^2-1)e^{-4\lambda_e s/(1-\mu)}]^{-1/2}$")
    # κ = C in ILR-7, on its own clock: λ_e/C after the drop
    lasting = ilr.effective_lr_after_lr_drop(t=dense / 4, drop_factor=DROP, intrinsic_lr=1.0)
    ax.plot(dense, lasting, color="tab:red", lw=1.2, ls="--",
            label=r"the growth rate changes too (ILR-7): ends at $1/\sqrt{C}$")
    other = Run(run.rng, run.mode)
    growth_too(other)
    for mu, name, marker, colour in zip(MOMENTA, prediction(), ("o", "s"), ("tab:blue", "tab:orange"), strict=True):
        for data, fill in ((run.data[name], "none"), (other.data[name], "tab:red")):
            values = data["effective_lr"].mean(0)
            values = values / (DROP * values[round(WARM)])
            shown = data["clock"] >= (-WARM if fill == "none" else 1)
            ax.plot(data["clock"][shown], values[shown], marker, ms=5, mfc="none",
                    color=colour if fill == "none" else "tab:red",
                    label=rf"SGD without decay, $\mu={mu:g}$" if fill == "none" else None)
    ax.axhline(DROP**-0.5, color="0.6", lw=0.8, ls=":")
    ax.set(xlabel=r"time after the drop, $4\lambda_e s/(1-\mu)$ ($s$ in steps)", ylim=(0, 1.1),
           ylabel=r"effective learning rate $\eta_e/\eta_e^*$")
    ax.set_title(r"An exponential learning rate, divided once by $C=4$: forgotten", fontsize=11)
    ax.legend(frameon=False, fontsize=8, loc="lower right")
    return fig


claim = Claim(
    "EXP-11",
    title="A single drop is forgotten",
    paper="exp_lr",
    statement=r"Dividing an exponential learning rate once by $C$, its growth rate unchanged, changes the effective learning "
              r"rate for $O(1/\lambda_e)$ steps only: $\eta_e/\eta_e^*=[1+(C^2-1)e^{-4\lambda_es}]^{-1/2}$ in the setting of "
              r"ILR-3, with $\lambda_e/(1-\mu)$ for $\lambda_e$ where there is momentum (leading order). What lasts is a "
              r"change of the growth rate.",
    derivation=derivation,
    prediction=prediction,
    simulation=simulation,
    resolution={"no momentum": Resolution(Relative(0.04), points=len(POINTS)),
                "momentum 0.9": Resolution(Relative(0.08), points=len(POINTS))},
    negative_control=Control("the growth rate falls with the learning rate, as in a step decay with weight decay",
                             simulation=growth_too, effect=effects),
    figure=figure,
)
