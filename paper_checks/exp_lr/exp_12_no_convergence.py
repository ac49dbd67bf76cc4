r"""EXP-12: normalisation and weight decay together do not converge.

.. math:: L = \frac{x^2}{x^2+y^2}: \quad \frac{x}{y} \mapsto \Bigl(1-\frac{2u}{1-\eta\lambda}\Bigr)\frac{x}{y}, \quad
          u = \frac{\eta}{r^2} \mapsto \frac{u}{(1-\eta\lambda)^2} \quad\text{near } x = 0

so the minimum repels once u > 1 − ηλ (2(1−ηλ)/h in general), however small η; the tiny x/y grows back, the loss spikes, the
norm jumps, and so on. (To leading order x/y is back where u = 6.3: ∫ ln|1−2u| du/u, from 0, is 0 there; that is 0.92/λ_e steps
after the threshold, whatever u was at first.) Without decay, or without normalisation, descent converges.

Of a batch-normalised linear classifier on separable data the same is true if all batches are content at an isolated minimum.
For the squared hinge that is where its margin equals the gain: batch normalisation holds the mean of (y_iκu_i)² at κ², so no
loss means y_iκu_i = κ for all i. If the gradients of the batches differ at the minimum, noise holds up the norm (ILR-4) and
there need be no spikes. And a margin with room to spare has an interior where every gradient is 0: nothing moves any more but
the norm. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sdetheory.evidence import Between, Exact

import sdetheory as sdt
from sdetheory.claims import Claim, Control, Run
from sdetheory.losses import BatchNormLinear
from sdetheory.stats import mean_estimate
from sdetheory.symbolic import Derivation
from sdetheory.theory import exp_lr
from sdetheory.theory.formula import joint_derivation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOY, PLAIN = sdt.losses.toy_fraction(), sdt.losses.Quadratic([1.0, 0.5])
LR = 0.01  # u starts at 0.01: the norm is a hundred times too large to be unstable
# λ_e: on the way to the threshold x/y falls by exp(−π²/(8 λ_e)) at most (∫_0^1 ln|1−2u| du/u = −π²/4, over 2λ_e): by 1e-54 at
# 0.01, and its square is far above underflow too
RATES = (0.05, 0.02, 0.01)
STARTS = 24  # the statements are about each path
CYCLES = 30  # steps of a run, in units of 1/λ_e: a cycle takes about 1.2
SMALL = 1e-8  # a loss at which the linear law holds but for terms of order uL
LOW, HIGH = 1e-3, 0.1  # a spike: the loss passes HIGH after it was below LOW

SAMPLES, DIM, BATCH, GAIN = 64, 4, 16, 1.0
_DATA = np.random.default_rng(12)
LABELS = np.tile([1.0, -1.0], SAMPLES // 2)
_REST = _DATA.normal(size=(SAMPLES, DIM - 1))
TIGHT = np.column_stack([LABELS, _REST])  # w = e_1 gives y_i u_i = 1 for every sample
SPREAD = np.column_stack([LABELS * (1 + 0.5 * _DATA.uniform(-1, 1, SAMPLES)), _REST])  # separable, but no w does that
BN_LR, BN_LOW, BN_HIGH = 0.1, 0.01, 0.1  # low and high are above the smallest loss
HINGE_RATE, LOGISTIC_RATE = 0.1, 0.02  # λ_e
# ln of η_e averaged over half a run varies by about 1 % from path to path: 100 paths (25 in quick mode) leave z·se of a
# difference of two at 1 % (3 %)
PATHS = 100


def prediction() -> dict[str, Any]:
    """Where the minimum repels and when; spikes or none."""
    return {"threshold of lr/|w|^2": np.repeat([exp_lr.instability_threshold(intrinsic_lr=x, top_curvature=2.0)
                                               for x in RATES], STARTS),
            "steps to the threshold": 0.5, "spikes": Between(low=10), "loss without decay": Between(high=1e-12),
            "factor without normalisation": np.array([exp_lr.plain_deviation_factor(lr=LR, weight_decay=x / LR, eigenvalue=a)
                                                      for x in RATES for a in PLAIN.curvatures]),
            "squared hinge: spikes": Between(low=5), "logistic: spikes": 0.0, "logistic: memory of the norm": 0.0,
            "margin to spare: loss": 0.0}


def _descent(x: float, weight_decay: float, rng: Any) -> dict[str, NDArray[np.float64]]:
    """Loss, effective learning rate and direction at every step, one row a start."""
    runs = sdt.simulate(sdt.SGD(TOY, lr=LR, weight_decay=weight_decay), TOY.sample_sphere(), n_steps=round(CYCLES / x),
                        n_paths=STARTS, observe=["direction", "effective_lr", "loss"], save_every=1, rng=rng)
    return {name: runs[name].values for name in ("direction", "effective_lr", "loss")}


def _first_cycle(found: dict[str, NDArray[np.float64]], x: float) -> tuple[list[float], list[float]]:
    """u at which the factor on x/y is −1, and steps from SMALL to there less those predicted, for each start."""
    crossings, delays = [], []
    for direction, u, loss in zip(found["direction"], found["effective_lr"], found["loss"], strict=True):
        q = direction[:, 0] / direction[:, 1]
        small = int(np.argmax(loss < SMALL))
        last = small + int(np.argmax(np.abs(q[small + 1:]) > np.abs(q[small:-1])))  # the first step that grows
        factors = q[last:last + 2] / q[last - 1:last + 1]
        # the factor is a linear function of u, so a line through two of its values finds where it is −1
        slope = (factors[1] - factors[0]) / (u[last] - u[last - 1])
        crossings.append(u[last] - (factors[1] + 1) / slope)
        wait = exp_lr.time_to_instability(sq_norm=LR / u[small], lr=LR, weight_decay=x / LR, top_curvature=2.0)
        delays.append(last - small - float(wait))
    return crossings, delays


def _spikes(loss: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """How often the loss of each path passes `high` after it was below `low`."""
    state = np.where(loss < low, -1, np.where(loss > high, 1, 0))
    counts = []
    for row in state:
        seen = row[row != 0]
        counts.append(np.count_nonzero((seen[1:] == 1) & (seen[:-1] == -1)))
    return np.array(counts, dtype=float)


def _classifier(inputs: NDArray[np.float64], link: str, margin: float = GAIN) -> BatchNormLinear:
    return BatchNormLinear(inputs, LABELS, batch_size=BATCH, link=link, margin=margin, gain=GAIN)


def _training(loss: BatchNormLinear, rate: float, n: int, rng: Any, radius: float = 1.0) -> dict[str, NDArray[np.float64]]:
    """Minibatch SGD with decay for 40/λ_e steps."""
    runs = sdt.simulate(sdt.SGD(loss, lr=BN_LR, weight_decay=rate / BN_LR), loss.sample_sphere(radius), n_paths=n,
                        n_steps=round(40 / rate), observe=["effective_lr", "loss"], save_every=1, rng=rng)
    return {name: runs[name].values for name in ("effective_lr", "loss")}


def simulation(run: Run) -> dict[str, Any]:
    """Full-batch descent with decay, without it, without normalisation; then the classifier."""
    with_decay, without, classifier = run.rng.spawn(3)
    crossings, delays, counts = [], [], []
    for x, seed in zip(RATES, with_decay.spawn(len(RATES)), strict=True):
        found = _descent(x, x / LR, seed)
        one, other = _first_cycle(found, x)
        crossings += one
        delays += other
        counts.append(_spikes(found["loss"], LOW, HIGH))
        run.data[f"{x:g}"] = found
    run.data["without"] = _descent(RATES[-1], 0.0, without)
    factors = []
    for x in RATES:  # with a buffer of momentum 0: the kernel that EXP-7 has compiled
        rule = sdt.SGD(PLAIN, lr=LR, weight_decay=x / LR, v0=np.zeros(2))
        w = sdt.simulate(rule, [1.0, 1.0], n_steps=40, observe=["w"], save_every=1).w.values[0]
        factors.append((w[1:] / w[:-1])[-1])
    eps = np.finfo(float).eps
    # q' = q (1−x−2u(1−L))/(1−x+2uL): linear up to 8uL; the line multiplies that by 1/(slope Δu) = 1/(2λ_e) at most
    rounding = np.repeat([(8 * SMALL + 16 * eps) / (2 * x) for x in RATES], STARTS)
    return {"threshold of lr/|w|^2": Exact(np.array(crossings), rounding),
            # the next whole step; the norm still grows by 4u²L of itself a step, 1e-8 in all
            "steps to the threshold": Exact(np.array(delays), 0.5 + 1e-3), "spikes": Exact(np.concatenate(counts), 0.0),
            "loss without decay": Exact(run.data["without"]["loss"][:, -1], 0.0),
            "factor without normalisation": Exact(np.concatenate(factors), 8 * eps), **_classifiers(run, classifier)}


def _classifiers(run: Run, seeds: np.random.SeedSequence) -> dict[str, Any]:
    first, second, third, fourth = seeds.spawn(4)
    hinge = _training(_classifier(TIGHT, "squared_hinge"), HINGE_RATE, STARTS, first)
    logistic = _classifier(SPREAD, "logistic")
    n = run.paths(PATHS)
    # norms 16 times apart in lr/|w|²: one start is unstable, the other slow
    pair = [_training(logistic, LOGISTIC_RATE, n, seed, radius) for seed, radius in ((second, 0.25), (third, 1.0))]
    half = pair[0]["loss"].shape[1] // 2
    memory = [np.log(one["effective_lr"][:, half:]).mean(1) for one in pair]
    spare = _training(_classifier(SPREAD, "squared_hinge", 0.3 * GAIN), HINGE_RATE, STARTS, fourth)
    run.data.update(hinge=hinge, logistic=pair[1])
    return {"squared hinge: spikes": Exact(_spikes(hinge["loss"], BN_LOW, BN_HIGH), 0.0),
            "logistic: spikes": Exact(_logistic_spikes(pair[1]["loss"]), 0.0),
            "logistic: memory of the norm": mean_estimate(memory[0] - memory[1]),
            "margin to spare: loss": Exact(spare["loss"][:, -1], 0.0)}


def _logistic_spikes(loss: NDArray[np.float64]) -> NDArray[np.float64]:
    return _spikes(loss - loss.min(), BN_LOW, BN_HIGH)


def tight_logistic(run: Run) -> dict[str, Any]:
    """The control: the logistic loss where all batches agree on the minimum, as many steps and the same decay."""
    loss = _training(_classifier(TIGHT, "logistic"), LOGISTIC_RATE, STARTS, run.rng)["loss"]
    return {"logistic: spikes": Exact(_logistic_spikes(loss), 0.0)}


def derivation() -> Derivation:
    """The factor near a minimum of any scale-invariant loss, its threshold, when it is reached; none without it."""
    return joint_derivation("No convergence", exp_lr.deviation_factor, exp_lr.instability_threshold, exp_lr.time_to_instability,
                            exp_lr.plain_deviation_factor)


def figure(run: Run) -> Figure:
    """Left: descent on the toy loss with and without decay, and its effective learning rate. Right: the classifier."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.8, 4.2), layout="constrained")
    axes = fig.subplots(2, 2, sharex="col")
    x = RATES[1]
    found, steps = run.data[f"{x:g}"], np.arange(round(6 / x))
    top, bottom = axes[:, 0]
    top.plot(steps, found["loss"][0][: steps.size], color="tab:red", lw=1, label=rf"decay, $\eta\lambda={x:g}$")
    without = run.data["without"]["loss"]
    alike = np.argmin(np.abs(without[:, 0] - found["loss"][0, 0]))  # the start with the most similar loss
    top.plot(steps, without[alike][: steps.size], color="tab:blue", lw=1.2, label="no decay")
    top.set(ylabel=r"loss $x^2/(x^2+y^2)$", ylim=(-0.03, 1.2))
    top.set_title("Full-batch descent: spikes again and again", fontsize=10)
    top.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
    bottom.semilogy(steps, found["effective_lr"][0][: steps.size], color="tab:red", lw=1)
    bottom.axhline(exp_lr.instability_threshold(intrinsic_lr=x, top_curvature=2.0), color="0.4", ls="--", lw=1,
                   label=r"threshold $1-\eta\lambda$")
    bottom.set(xlabel=r"step $k$", ylabel=r"$\eta/\|w_k\|^2$")
    bottom.legend(frameon=False, fontsize=8, loc="lower right")
    top, bottom = axes[:, 1]
    hinge, logistic = run.data["hinge"], run.data["logistic"]
    rows = ((hinge, HINGE_RATE, "tab:red", "squared hinge, margin = gain"),
            (logistic, LOGISTIC_RATE, "tab:blue", "logistic, spread data"))
    for data, rate, colour, label in rows:
        clock = rate * np.arange(data["loss"].shape[1])
        above = data["loss"][0] - (data["loss"].min() if data is logistic else 0.0)
        top.plot(clock, above, color=colour, lw=1, label=label)
        bottom.semilogy(clock, data["effective_lr"][0], color=colour, lw=1)
    top.set(ylabel="loss above its minimum", xlim=(0, 25), ylim=(-0.02, 0.85))
    top.set_title("Minibatch SGD, batch normalisation", fontsize=10)
    top.legend(frameon=False, fontsize=8, loc="upper right")
    bottom.set(xlabel=r"time $\lambda_ek$ ($k$ in steps)", ylabel=r"$\eta/\|w_k\|^2$")
    return fig


claim = Claim(
    "EXP-12",
    title="Normalisation and weight decay together do not converge",
    paper="exp_lr",
    statement=r"On $L=x^2/(x^2+y^2)$ GD with decay loses stability once $\eta/r^2>1-\eta\lambda$, whatever $\eta$, and the "
              r"loss spikes again and again; without decay, or on $L=x^2/2$ with decay, it converges. In general the "
              r"threshold is $2(1-\eta\lambda)/h$, reached $\ln(2(1-\eta\lambda)\|w\|^2/(\eta h))/(2|\ln(1-\eta\lambda)|)$ "
              r"steps after a norm $\|w\|$. SGD on a batch-normalised linear classifier does the same if all batches agree "
              r"on an isolated minimum; where their gradients differ there, an equilibrium norm exists and spikes need not "
              r"appear.",
    derivation=derivation,
    prediction=prediction,
    simulation=simulation,
    resolution={"threshold of lr/|w|^2": 1e-4, "steps to the threshold": 1.0, "spikes": 0.5, "loss without decay": 1e-12,
                "factor without normalisation": 1e-9, "squared hinge: spikes": 0.5, "logistic: spikes": 0.5,
                "logistic: memory of the norm": 0.05, "margin to spare: loss": 1e-9},
    negative_control=Control("it is the logistic loss, not the noise at its minimum, that prevents spikes: data on which all "
                             "batches agree", simulation=tight_logistic),
    figure=figure,
)
