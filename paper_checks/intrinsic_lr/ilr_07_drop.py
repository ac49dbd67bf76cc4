r"""ILR-7: what a drop of the learning rate, or of the weight decay, does to the effective learning rate.

.. math:: \frac{\eta_e(t)}{\eta_e(0)} = \bigl[\kappa(1+(\kappa-1)E)\bigr]^{-1/2}\ (\eta\to\eta/\kappa), \qquad
          \frac{\eta_e(t)}{\eta_e(0)} = \bigl[\kappa(1-(1-1/\kappa)E)\bigr]^{-1/2}\ (\lambda\to\lambda/\kappa), \qquad
          E = e^{-4\lambda_e t/\kappa}

SGD itself, with noise of a scale-invariant loss, in equilibrium before the drop. Its law differs from that of the SDE by
O(λ_e): it is run at λ_e and at λ_e/2 on the same time 4λ_e t, and the difference bounds what is left. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import sdetheory as sdt
from sdetheory.claims import Claim, Control, Relative, Resolution, Run
from sdetheory.stats import Estimate, from_points, jackknife, mean_estimate, ratio, step_halving
from sdetheory.symbolic import Derivation
from sdetheory.theory import intrinsic_lr as ilr
from sdetheory.theory.formula import joint_derivation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KAPPA, LR, DIM, SCALE = 10, 0.1, 16, 0.5
LOSS = sdt.losses.RayleighQuotient([0.0] * DIM, noise=sdt.noises.Tangent(SCALE))
TRACE = SCALE**2 * (DIM - 1)
RATE = 0.002  # lambda_e of the fine run; 2 RATE in the coarse one. A relative bias of order lambda_e, about 0.5 %

# Time in units of κ/(4λ_e), the relaxation after the drop: u = 4λ_e t/κ. The last point is the limit up to
# (κ−1) e^{−10}/2 = 2e-4, part of the bias bound there.
POINTS = (0.25, 0.5, 1.0, 2.0, 3.0)
LAST = 10.0
GRID = 0.125  # saved every GRID of u
BURN = 0.5  # u before the drop: at the rate there, κ times as fast, the rest of the start's O(λ_e) is e^{−5} of it
# The norm fluctuates by (λ_e/(d−1))^{1/2} = 1.2 %, a ratio of two by 1.7 %, and the measured bias by 1.25·3^{1/2} of that
# besides: 2000 paths (500 in quick mode) leave z·se = 0.5 % (1 %) of all, next to the bias of 0.5 %.
PATHS = 2000
RESOLUTION = 0.02


class _Divided:
    """A value, divided by KAPPA from a step on."""

    def __init__(self, value: float, step: int) -> None:
        self.value, self.step = value, step

    def __call__(self, step: float) -> float:
        return self.value / KAPPA if step >= self.step else self.value


def prediction() -> dict[str, Any]:
    """The formulas in the time u = 4λ_e t/κ, for both kinds of drop."""
    u = np.array(POINTS)
    at = {"t": u * KAPPA / 4, "drop_factor": float(KAPPA), "intrinsic_lr": 1.0}
    return {"lr: at once": 1 / KAPPA, "lr: later": ilr.effective_lr_after_lr_drop(**at), "lr: in the end": KAPPA**-0.5,
            "decay: at once": 1.0, "decay: later": ilr.effective_lr_after_decay_drop(**at),
            "decay: in the end": KAPPA**-0.5, "ratio of |w|^2 in the end": float(KAPPA)}


def wrong() -> dict[str, Any]:
    """The drop lasts (κ, not √κ), and the norm relaxes at 2λ_e/κ, at which decay alone shrinks ‖w‖²."""
    slow = {"t": np.array(POINTS) * KAPPA / 8, "drop_factor": float(KAPPA), "intrinsic_lr": 1.0}
    return {"lr: later": ilr.effective_lr_after_lr_drop(**slow), "lr: in the end": 1 / KAPPA,
            "decay: later": ilr.effective_lr_after_decay_drop(**slow), "decay: in the end": 1.0}


def _drop(run: Run, seed: np.random.SeedSequence, rate: float, what: str) -> dict[str, Any]:
    """One ensemble: effective learning rate and squared norm at every GRID of u, the last point before the drop first."""
    decay = rate / LR
    every = round(GRID * KAPPA / (4 * rate))
    before, after = round(BURN / GRID) * every, round(LAST / GRID) * every
    values = {"lr": LR, "weight_decay": decay, what: _Divided({"lr": LR, "weight_decay": decay}[what], before)}
    radius = ilr.equilibrium_sq_norm(lr=LR, weight_decay=decay, noise_trace=TRACE) ** 0.5
    runs = sdt.simulate(sdt.SGD(LOSS, **values), LOSS.sample_sphere(radius), n_steps=before + after,
                        n_paths=run.paths(PATHS), observe=["effective_lr", "sq_norm"], save_every=every, rng=seed)
    last = round(BURN / GRID) - 1
    return {"effective_lr": runs.effective_lr.values[:, last:], "sq_norm": runs.sq_norm.values[:, last:],
            "u": np.arange(runs.step.size - last - 1) * GRID}


def _ratios(effective_lr: np.ndarray, u: tuple[float, ...]) -> Estimate:
    """Mean effective learning rate at the times u over the one before the drop, path by path."""
    places = [1 + round(x / GRID) for x in u]
    return from_points(jackknife(lambda a, b: a / b, effective_lr[:, place], effective_lr[:, 0]) for place in places)


def simulation(run: Run) -> dict[str, Any]:
    """Both drops at 2 RATE and RATE; bias of order 1 in λ_e."""
    found: dict[str, Any] = {}
    norms: dict[str, list[Estimate]] = {}
    names = {"lr": "lr", "weight_decay": "decay"}
    for what, seed in zip(names, run.rng.spawn(2), strict=True):
        pair = [_drop(run, s, rate, what) for s, rate in zip(seed.spawn(2), (2 * RATE, RATE), strict=True)]
        for name, times in (("at once", (0.0,)), ("later", POINTS), ("in the end", (LAST,))):
            coarse, fine = (_ratios(one["effective_lr"], times) for one in pair)
            found[f"{names[what]}: {name}"] = step_halving(coarse, fine, order=1)
        end = f"{names[what]}: in the end"
        found[end] = found[end].with_bias(KAPPA**-0.5 * (KAPPA - 1) / 2 * np.exp(-LAST))
        norms[what] = [mean_estimate(one["sq_norm"][:, -1:]) for one in pair]
        run.data[what] = pair[1]
    coarse, fine = (ratio(a, b) for a, b in zip(norms["weight_decay"], norms["lr"], strict=True))
    rest = step_halving(coarse, fine, order=1).with_bias(KAPPA * (KAPPA - 1) * np.exp(-LAST))
    return found | {"ratio of |w|^2 in the end": rest}


def derivation() -> Derivation:
    """From the equation of gamma, by the jump and the new rate."""
    return joint_derivation("Drops of learning rate and of decay", ilr.effective_lr_after_lr_drop,
                            ilr.effective_lr_after_decay_drop)


def figure(run: Run) -> Figure:
    """Two drops, two ways, one end."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(6.4, 3.8), layout="constrained")
    ax = fig.subplots()
    dense = np.linspace(0, 6, 400)
    at = {"t": dense * KAPPA / 4, "drop_factor": float(KAPPA), "intrinsic_lr": 1.0}
    rows = (("lr", ilr.effective_lr_after_lr_drop, "o", "tab:blue", r"$\eta\to\eta/10$"),
            ("weight_decay", ilr.effective_lr_after_decay_drop, "s", "tab:orange", r"$\lambda\to\lambda/10$"))
    for what, formula, marker, colour, label in rows:
        data = run.data[what]
        value = data["effective_lr"].mean(0)
        shown = data["u"] <= 6
        ax.plot(np.r_[-0.6, 0, dense], np.r_[1, 1, formula(**at)], color=colour, lw=1.2)
        ax.plot(data["u"][shown][::2], (value[1:] / value[0])[shown][::2], marker, ms=4.5, mfc="none", color=colour,
                label=f"SGD, {label}")
    ax.axhline(KAPPA**-0.5, color="0.5", lw=1, ls=":", label=r"$1/\sqrt{10}$")
    ax.axhline(1 / KAPPA, color="0.7", lw=1, ls="--", label=r"$1/10$")
    ax.set(yscale="log", xlim=(-0.6, 6), xlabel=r"time after the drop, $4\lambda_e t/\kappa$ ($t$ in steps)",
           ylabel=r"effective learning rate $\eta_e(t)/\eta_e(0)$")
    ax.set_title(r"Divide either by 10: the effective learning rate ends $\sqrt{10}$ times lower", fontsize=11)
    ax.legend(frameon=False, fontsize=9, loc="upper right")
    return fig


claim = Claim(
    "ILR-7",
    title="What a learning-rate drop does to the effective learning rate",
    paper="intrinsic_lr",
    statement=r"At equilibrium, $\eta\to\eta/\kappa$ divides the effective learning rate by $\kappa$ at once; it then relaxes "
              r"at rate $4\lambda_e/\kappa$ to $1/\sqrt\kappa$ of where it was, as $[\kappa(1+(\kappa-1)E)]^{-1/2}$, "
              r"$E=e^{-4\lambda_et/\kappa}$. $\lambda\to\lambda/\kappa$ makes no jump and goes as "
              r"$[\kappa(1-(1-1/\kappa)E)]^{-1/2}$ to the same value, with $\|w\|^2$ larger by the factor $\kappa$.",
    derivation=derivation,
    prediction=prediction,
    simulation=simulation,
    resolution={name: Resolution(Relative(RESOLUTION), points=len(POINTS) if "later" in name else 1)
                for name in ("lr: at once", "lr: later", "lr: in the end", "decay: at once", "decay: later",
                             "decay: in the end", "ratio of |w|^2 in the end")},
    negative_control=Control(r"the drop lasts: $1/\kappa$ in the end, or no effect of decay; and in between the rate "
                             r"$2\lambda_e/\kappa$ of $\|w\|^2$ in place of $4\lambda_e/\kappa$", prediction=wrong),
    figure=figure,
)
