r"""SVAG-5: what R, G and N of a scale-invariant loss obey at rest. Noise feeds the norm; for SGD so does the gradient.

.. math:: (2-\eta\lambda)\lambda R = \eta(G + N) \ (\text{SGD, noisy GD}), \quad 2\lambda R = \eta N \quad(\text{SDE});
          \qquad R = \mathbb E\|w\|^2,\; G = \mathbb E\|\nabla L\|^2,\; N = \mathbb E\operatorname{Tr}\Sigma

SGD with two-point noise, noisy GD and the SDE with Gaussian noise of the same covariance (`at_rest`). What is
compared is the right side over the left. Clock: steps.
"""

from functools import partial

import numpy as np

from sdetheory import Claim, Quantity
from sdetheory.stats import from_points, jackknife
from sdetheory.theory import svag

from .at_rest import LR, cases_at_rest, halved, label

CASES = ((1.5, 0.1), (2.5, 0.2))  # (curvature, weight decay)
HALF, SIGNAL = 1 - LR * np.transpose(CASES)[1] / 2, np.array([0.25, 0.8])  # 1 - lr λ/2; G/N, a fourth and four fifths
LABELS = [label(*case) for case in CASES]
# A path's average of R varies by up to 8 %, of G + N by 5 %, together less than 18 %: 4000 paths leave 1.4 %, twice
# that in quick mode. The SDE's steps leave 0.9 % and 1.9 %, bounded by 1.25 times that from the run with twice the
# step, its noise 2 %.
PATHS, RHO = 4000, 0.04


def discrete(decay, r, g, n):
    """lr (G + N) over (2 − lr λ) λ R."""
    return svag.svag_equilibrium_sq_norm(amplification=1, lr=LR, weight_decay=decay, sq_grad=g, noise_trace=n) / r


def continuous(decay, r, g, n):
    """lr N over 2 λ R."""
    return svag.sde_equilibrium_sq_norm(lr=LR, weight_decay=decay, noise_trace=n) / r


# Broken: each in the identity of the other. SGD with lr N = 2λR is off by G, and so is the SDE with (2 − lr λ)λR =
# lr(G + N).
IDENTITY, OTHER = ({"SGD": a, "NGD": a, "SDE": b} for a, b in ((discrete, continuous), (continuous, discrete)))
QUANTITIES = {
    "SGD": Quantity(1.0, RHO, effect=1 - HALF / (1 + SIGNAL), points=LABELS, bias_source="SGD itself is simulated"),
    "NGD": Quantity(1.0, RHO, effect=1 - HALF / (1 + SIGNAL), points=LABELS, bias_source="noisy GD is simulated"),
    "SDE": Quantity(1.0, RHO, effect=(1 + SIGNAL) / HALF - 1, points=LABELS),
}


def in_its(identities, found):
    """Each process in its identity, a point a case."""
    def one(name, runs, case):
        balance = partial(identities[name], case[1])
        return halved(balance, runs["coarse"], runs["SDE"]) if name == "SDE" else jackknife(balance, *runs[name])

    return {name: from_points(one(name, *at) for at in zip(found, CASES, strict=True)) for name in identities}


def measure(trial):
    found = trial.data["found"] = cases_at_rest(CASES, list(IDENTITY), trial.paths(PATHS), trial.rng)
    return in_its(IDENTITY, found)


def broken(trial):
    return in_its(OTHER, cases_at_rest(CASES, list(OTHER), trial.paths(PATHS // 4), trial.rng))


def figure(trial, ax):
    """What feeds the norm, N and G, against what the decay takes."""
    places = []
    for case, (half, found) in enumerate(zip(HALF, trial.data["found"], strict=True)):
        for i, name in enumerate(IDENTITY):
            at, feeds, first = 3.6 * case + i, name != "SDE", case == 0
            factor = 2 * half if feeds else 2.0
            r, g, n = (values.mean() for values in found[name])
            taken = factor * CASES[case][1] * r / LR
            ax.bar(at, n / taken, width=0.7, color="C0", label="noise $N$" if first and i == 0 else None)
            ax.bar(at, g / taken, bottom=n / taken, width=0.7, color="C1" if feeds else "none", edgecolor="C1",
                   ls="-" if feeds else "--", label="gradient $G$" if first and i == 0 else
                   "$G$, of no effect" if first and not feeds else None)
            places.append((at, name))
        ax.text(3.6 * case + 1, 1.68, LABELS[case], ha="center")
    ax.axhline(1, color="0.4", lw=1.2, label=r"the decay: $(2-\eta\lambda)\lambda R/\eta$; SDE $2\lambda R/\eta$")
    ax.set_xticks(*zip(*places, strict=True))
    ax.set(ylabel="share of what the decay takes", ylim=(0, 2.2),
           title="Noise and gradient feed the norm of SGD, noise alone that of the SDE")
    ax.legend(loc="upper left", ncols=2)


claim = Claim(
    "SVAG-5", "Equilibrium identities", paper="svag",
    where="the section on necessary conditions: norm, gradient and noise of scale-invariant nets at equilibrium",
    statement=r"For a scale-invariant loss with weight decay $\lambda$, at stationarity: SGD and noisy GD obey "
              r"$(2-\eta\lambda)\lambda R=\eta(G+N)$, the SDE $2\lambda R=\eta N$.",
    setup=r"A Rayleigh quotient in $d=4$ with tangent noise, $\eta=0.5$, at two curvatures and decays; the second "
          r"half of $16/(4\eta\lambda)$ steps, the SDE by Euler–Maruyama at $1/32$ of a step",
    proof=svag.by_claim("SVAG-5"), quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control="SGD and noisy GD obey the identity of the SDE, and the SDE that of SGD")
