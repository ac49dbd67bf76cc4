r"""SVAG-1: the weighted gradient has the mean of one draw, l times its covariance, and a known third moment.

.. math:: \hat g = \tfrac{1+s}2\nabla L_{\gamma_1} + \tfrac{1-s}2\nabla L_{\gamma_2},\; s=\sqrt{2l-1}: \qquad
          \mathbb E\,\hat g = \nabla L, \quad \operatorname{Cov}\hat g = l\,\Sigma, \quad
          \kappa_3(\hat g) = \tfrac{3l-1}2\,\kappa_3(\nabla L_\gamma)

For a finite law the moments are sums over all pairs of draws: known to rounding, in two dimensions, with every entry of the
third moment. Then one step of the simulator is taken by many paths from one point, and measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sdetheory.evidence import Exact

import sdetheory as sdt
from sdetheory.claims import Claim, Control, Relative, Resolution, Run
from sdetheory.stats import mean_estimate
from sdetheory.symbolic import Derivation
from sdetheory.theory import svag
from sdetheory.theory.formula import joint_derivation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# three outcomes of unequal probability: skewed noise, random matrices and random offsets that depend on each other
LOSS = sdt.losses.RandomLinear([0.2, 0.5, 0.3], [[[2.0, 0.5], [0.5, 1.0]], [[1.0, -0.25], [-0.25, 0.5]],
                                                 [[0.5, 0.0], [0.0, 2.0]]], [[1.0, 0.5], [-0.5, 1.0], [0.25, -1.0]])
LR = 0.25
POINT = np.array([0.75, -0.5])
AMPLIFICATIONS = (1, 2, 5, 64)
SAMPLED = 5
SHIFTED = 1.05  # the control: s^2 = 2.1 l - 1

# At l = 5 a square of the centred gradient varies by 1.2 to 1.5 times its mean: 320 000 paths leave 4.5 · 1.5/566 = 1.2 %,
# and twice that in quick mode.
PATHS = 320_000
RHO = 0.03


def draws() -> np.ndarray:
    """The gradients of the outcomes at POINT, shape (n, d)."""
    return LOSS.matrices @ POINT - LOSS.offsets


def moments(gradients: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (d,), covariance (d, d) and third central moments (d, d, d) of a finite law."""
    mean = probabilities @ gradients
    c = gradients - mean
    return (mean, np.einsum("n,ni,nj->ij", probabilities, c, c),
            np.einsum("n,ni,nj,nk->ijk", probabilities, c, c, c))


def prediction() -> dict[str, Any]:
    """From the moments of one draw."""
    mean, covariance, third = moments(draws(), LOSS.probabilities)
    return {
        "mean": np.stack([mean for _ in AMPLIFICATIONS]),
        "covariance": np.stack([svag.amplified_covariance(amplification=l, noise_covariance=covariance)
                                for l in AMPLIFICATIONS]),
        "third moment": np.stack([svag.amplified_third_moment(amplification=l, third_moment=third) for l in AMPLIFICATIONS]),
        "sampled variance": np.diag(svag.amplified_covariance(amplification=SAMPLED, noise_covariance=covariance)),
    }


def enumerated(factor: float) -> dict[str, Any]:
    """The same moments as sums over all pairs of draws, with s² = 2 · factor · l − 1."""
    found: list[list[np.ndarray]] = [[], [], []]
    bounds: list[list[np.ndarray]] = [[], [], []]
    gradients, p = draws(), LOSS.probabilities
    i, j = np.divmod(np.arange(p.size**2), p.size)
    for l in AMPLIFICATIONS:
        first, second = rule(l, factor).weights
        pairs = first * gradients[i] + second * gradients[j]
        # each centred term has an error below 8 eps of the largest; then sums of n² products of k of them
        largest = 2 * np.abs(pairs).max()
        for k, moment in enumerate(moments(pairs, p[i] * p[j])):
            found[k].append(moment)
            bounds[k].append(np.full(moment.shape, (k + 1) * (8 + p.size**2) * np.finfo(float).eps * largest ** (k + 1)))
    return {name: Exact(np.stack(values), np.stack(errors)) for name, values, errors
            in zip(("mean", "covariance", "third moment"), found, bounds, strict=True)}


def rule(amplification: int, factor: float) -> Any:
    """SVAG with the spread s² = 2 · factor · l − 1."""
    return sdt.dynamics.SVAG(LOSS, lr=LR, amplification=amplification, spread=(2 * factor * amplification - 1) ** 0.5)


def steps(run: Run, factor: float) -> Any:
    """One step of the simulator from POINT, as weighted gradients (paths, d)."""
    runs = sdt.simulate(rule(SAMPLED, factor), POINT, n_steps=1, n_paths=run.paths(PATHS), rng=run.rng)
    return (POINT - runs.w.values[:, -1]) * SAMPLED / LR


def measure(run: Run, factor: float) -> dict[str, Any]:
    """All pairs, and a sample of steps: its variance about the known mean."""
    gradients = steps(run, factor)
    run.data["gradients"] = gradients
    mean = LOSS.gradient(POINT)
    return enumerated(factor) | {"sampled variance": mean_estimate((gradients - mean) ** 2)}


def simulation(run: Run) -> dict[str, Any]:
    """The weights of SVAG."""
    return measure(run, 1.0)


def wrong_spread(run: Run) -> dict[str, Any]:
    """Weights of sum 1 whose squares add up to 1.05 l: the mean stays, the rest does not."""
    found = measure(run, SHIFTED)
    return {name: found[name] for name in found if name != "mean"}


def effects() -> dict[str, float]:
    """How far these are off: the covariance by 0.05 l, and the third moment, (1 + 3s²)/4 times that of a draw, by 0.075 l."""
    _, covariance, third = moments(draws(), LOSS.probabilities)
    more = (SHIFTED - 1) * max(AMPLIFICATIONS)
    return {"covariance": more * float(np.abs(covariance).max()), "third moment": 1.5 * more * float(np.abs(third).max()),
            "sampled variance": (SHIFTED - 1) * float(prediction()["sampled variance"].min())}


def derivation() -> Derivation:
    """The two weights from their sum and sum of squares; the moments, along any directions."""
    return joint_derivation("The weighted gradient", svag.first_weight, svag.second_weight, svag.amplified_covariance,
                            svag.amplified_third_moment, svag.spread_covariance)


def figure(run: Run) -> Figure:
    """Left: the gradients of one draw and of SVAG's pairs; right: covariance and third moment against l."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.2, 3.8), layout="constrained")
    left, right = fig.subplots(1, 2)
    points, counts = np.unique(run.data["gradients"].round(6), axis=0, return_counts=True)
    left.scatter(*points.T, s=900 * counts / counts.sum(), color="tab:orange", alpha=0.7, label=rf"SVAG, $l={SAMPLED}$")
    left.scatter(*draws().T, s=900 * LOSS.probabilities, facecolor="none", edgecolor="tab:blue", lw=1.5, label="one draw")
    left.plot(*LOSS.gradient(POINT), "+", ms=12, color="0.3", mew=2, label=r"$\nabla L$: the mean of both")
    left.set(xlabel="first component", ylabel="second component")
    left.set_title("Area: probability", fontsize=10)
    dense = np.array([1.0, 100.0])
    values = {name: np.asarray(e.value) for name, e in enumerated(1.0).items()}
    _, covariance, third = moments(draws(), LOSS.probabilities)
    right.plot(dense, dense, color="0.5", lw=1, label="$l$")
    curve = np.geomspace(1, 100, 100)
    right.plot(curve, (3 * curve - 1) / 2, color="0.5", lw=1, ls="--", label=r"$(3l-1)/2$")
    right.plot(AMPLIFICATIONS, values["covariance"][:, 0, 0] / covariance[0, 0], "o", mfc="none", color="tab:blue",
               label=r"$\mathrm{Var}\,\hat g_1/\Sigma_{11}$")
    right.plot(AMPLIFICATIONS, values["third moment"][:, 0, 0, 1] / third[0, 0, 1], "s", mfc="none", color="tab:red",
               label=r"$\kappa_{112}(\hat g)/\kappa_{112}$")
    right.set(xscale="log", yscale="log", xlabel="amplification $l$", ylabel="SVAG over one draw")
    right.set_title("All pairs enumerated", fontsize=10)
    for ax in (left, right):
        ax.legend(frameon=False, fontsize=8)
    fig.suptitle(r"SVAG's gradient: the mean of one draw, and $l$ times its covariance", fontsize=11)
    return fig


claim = Claim(
    "SVAG-1",
    title="Moments of the weighted gradient",
    paper="svag",
    statement=r"$\hat g=\frac{1+s}2\nabla L_{\gamma_1}+\frac{1-s}2\nabla L_{\gamma_2}$ with $s=\sqrt{2l-1}$ has mean $\nabla L$, "
              r"covariance $l\Sigma$ and third central moment $\frac{3l-1}2$ times that of $\nabla L_\gamma$; $l=1$ is SGD, and "
              r"no other weights of sum 1 and sum of squares $l$ exist but these swapped.",
    derivation=derivation,
    prediction=prediction,
    simulation=simulation,
    resolution={"mean": Resolution(1e-9), "covariance": Resolution(1e-9), "third moment": Resolution(1e-9),
                "sampled variance": Resolution(Relative(RHO), points=LOSS.dim)},
    negative_control=Control(r"$s=\sqrt{2.1l-1}$: weights of sum 1 whose squares add up to $1.05\,l$", simulation=wrong_spread,
                             effect=effects),
    figure=figure,
)
