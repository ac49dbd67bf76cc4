r"""SVAG-5: what R, G and N of a scale-invariant loss obey at rest. Noise feeds the norm; for SGD so does the gradient.

.. math:: (2-\eta\lambda)\lambda R = \eta(G + N) \quad(\text{SGD, noisy GD}), \qquad 2\lambda R = \eta N \quad(\text{SDE});
          \qquad R = \mathbb E\|w\|^2,\; G = \mathbb E\|\nabla L\|^2,\; N = \mathbb E\operatorname{Tr}\Sigma

SGD with two-point noise, noisy GD and the SDE with Gaussian noise of the same covariance (`at_rest`). What is compared is the
right side over the left. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sdetheory.claims import Claim, Control, Resolution, Run
from sdetheory.stats import Estimate, bias_from_difference, from_points, jackknife
from sdetheory.symbolic import Derivation
from sdetheory.theory import svag
from sdetheory.theory.formula import joint_derivation

from .at_rest import LR, Rest, at_rest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CASES = ((1.5, 0.1), (2.5, 0.2))  # (curvature, weight decay): G is a fourth of N, and four fifths
# A path's average of R varies by up to 8 %, of G + N by 5 %, together less than 18 %: 4000 paths leave 1.4 %, twice that in quick
# mode. The SDE's steps leave 0.9 % and 1.9 %, bounded by 1.25 times that from the run with twice the step, its noise 2 %.
PATHS, DT = 4000, 1 / 32
RHO = 0.04


def discrete(rest: Rest, weight_decay: float) -> Estimate:
    """lr (G + N) over (2 − lr λ) λ R: 1 for SGD."""
    factor = svag.svag_equilibrium_sq_norm(amplification=1, lr=LR, weight_decay=weight_decay, sq_grad=0.0, noise_trace=1.0)
    return jackknife(lambda r, g, n: factor * (g + n) / r, rest.sq_norm, rest.sq_grad, rest.noise_trace)


def continuous(rest: Rest, weight_decay: float) -> Estimate:
    """lr N over 2 λ R: 1 for the SDE."""
    factor = svag.sde_equilibrium_sq_norm(lr=LR, weight_decay=weight_decay, noise_trace=1.0)
    return jackknife(lambda r, n: factor * n / r, rest.sq_norm, rest.noise_trace)


def halved(fine: Rest, coarse: Rest, weight_decay: float, balance: Any) -> Estimate:
    """The balance at the fine step, and its bias from the coarse one on the same Brownian paths (weak order 1)."""
    parts = [(x.sq_norm, x.sq_grad, x.noise_trace) for x in (coarse, fine)]
    difference = jackknife(lambda *m: balance(*m[:3], weight_decay) - balance(*m[3:], weight_decay), *parts[0], *parts[1])
    value = jackknife(lambda *m: balance(*m, weight_decay), *parts[1])
    return bias_from_difference(value, difference, order=1)


def _sde_balance(r: Any, g: Any, n: Any, decay: float) -> Any:
    return svag.sde_equilibrium_sq_norm(lr=LR, weight_decay=decay, noise_trace=1.0) * n / r


def _sgd_balance(r: Any, g: Any, n: Any, decay: float) -> Any:
    one = svag.svag_equilibrium_sq_norm(amplification=1, lr=LR, weight_decay=decay, sq_grad=0.0, noise_trace=1.0)
    return one * (g + n) / r


def measure(run: Run, paths: int = PATHS) -> list[dict[str, Rest]]:
    """All processes in all cases."""
    found = []
    for (curvature, decay), seed in zip(CASES, run.rng.spawn(len(CASES)), strict=True):
        given: dict[str, Any] = {"curvature": curvature, "weight_decay": decay, "n_paths": run.paths(paths)}
        sgd, noisy, sde = seed.spawn(3)
        found.append({"SGD": at_rest("SGD", rng=sgd, **given), "NGD": at_rest("NGD", rng=noisy, **given),
                      "SDE": at_rest("SDE", rng=sde, dt=DT, brownian_dt=DT, **given),
                      "coarse": at_rest("SDE", rng=sde, dt=2 * DT, brownian_dt=DT, **given)})
    return found


def simulation(run: Run) -> dict[str, Any]:
    """Each process in its own identity."""
    found = run.data["found"] = measure(run)
    decays = [decay for _, decay in CASES]
    return {"SGD": from_points([discrete(x["SGD"], d) for x, d in zip(found, decays, strict=True)]),
            "NGD": from_points([discrete(x["NGD"], d) for x, d in zip(found, decays, strict=True)]),
            "SDE": from_points([halved(x["SDE"], x["coarse"], d, _sde_balance) for x, d in zip(found, decays, strict=True)])}


def exchanged(run: Run) -> dict[str, Any]:
    """Each process in the other's identity."""
    found, decays = measure(run, PATHS // 4), [decay for _, decay in CASES]
    return {"SGD": from_points([continuous(x["SGD"], d) for x, d in zip(found, decays, strict=True)]),
            "NGD": from_points([continuous(x["NGD"], d) for x, d in zip(found, decays, strict=True)]),
            "SDE": from_points([halved(x["SDE"], x["coarse"], d, _sgd_balance) for x, d in zip(found, decays, strict=True)])}


def derivation() -> Derivation:
    """From the update and from Itô's formula, in every dimension, for any noise of a scale-invariant loss."""
    return joint_derivation("The norm at rest", svag.svag_equilibrium_sq_norm, svag.sde_equilibrium_sq_norm)


def figure(run: Run) -> Figure:
    """What feeds the norm, N and G, against what the decay takes."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(6.4, 3.8), layout="constrained")
    ax = fig.subplots()
    at = 0.0
    ticks, names = [], []
    for case, ((curvature, decay), found) in enumerate(zip(CASES, run.data["found"], strict=True)):
        for name in ("SGD", "NGD", "SDE"):
            rest, first = found[name], case == 0 and name == "SGD"
            factor = 2.0 if name == "SDE" else 2 - LR * decay
            taken = factor * decay * rest.sq_norm.mean() / LR
            n, g = rest.noise_trace.mean(), rest.sq_grad.mean()
            ax.bar(at, n / taken, width=0.7, color="tab:blue", label="noise $N$" if first else None)
            counts = name != "SDE"
            ax.bar(at, g / taken, bottom=n / taken, width=0.7, color="tab:orange" if counts else "none", edgecolor="tab:orange",
                   ls="-" if counts else "--", label="gradient $G$" if first else "$G$, of no effect" if case == 0 and not counts
                   else None)
            ticks.append(at)
            names.append(name)
            at += 1
        ax.text(at - 2, 1.68, rf"$a={curvature:g},\ \eta\lambda={LR * decay:g}$", ha="center")
        at += 0.6
    ax.axhline(1, color="0.4", lw=1.2, label=r"the decay: $(2-\eta\lambda)\lambda R/\eta$; SDE $2\lambda R/\eta$")
    ax.set_xticks(ticks, names)
    ax.set(ylabel="share of what the decay takes", ylim=(0, 2.2))
    ax.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
    ax.set_title("Noise and gradient feed the norm of SGD, noise alone that of the SDE", fontsize=11)
    return fig


claim = Claim(
    "SVAG-5",
    title="Equilibrium identities",
    paper="svag",
    statement=r"For a scale-invariant loss with weight decay $\lambda$, at stationarity: SGD and noisy GD obey "
              r"$(2-\eta\lambda)\lambda R=\eta(G+N)$, the SDE $2\lambda R=\eta N$.",
    derivation=derivation,
    prediction={name: np.ones(len(CASES)) for name in ("SGD", "NGD", "SDE")},
    simulation=simulation,
    resolution={name: Resolution(RHO, points=len(CASES)) for name in ("SGD", "NGD", "SDE")},
    negative_control=Control("SGD and noisy GD obey the identity of the SDE, and the SDE that of SGD", simulation=exchanged,
                             effect={"SGD": 0.2, "NGD": 0.2, "SDE": 0.2}),
    figure=figure,
)
