r"""NET-EXP-4: on real nets, weight decay is an exponential learning rate (no momentum).

.. math:: \tilde\eta_t = \eta\,(1-\eta\lambda)^{-2t-1}, \ \tilde\lambda = 0: \qquad f(x;\tilde w_t) = f(x;w_t), \quad
          \tilde w_t = (1-\eta\lambda)^{-t}w_t

for a net whose trained weights are scale-invariant, in exact arithmetic. Two runs of torch.optim.SGD on the digits, by
normalisation: in float64 their outputs on test samples part by rounding. In float32 they part 2^29 times as far from the
first steps on; later a ReLU that meets 0 on different sides in the two runs makes a jump, which the figure shows.
Clock: steps.
"""

import numpy as np

from paper_checks.real_nets.ensembles import once
from paper_checks.real_nets.side_by_side import (
    EVERY,
    NETS,
    STEPS,
    Settings,
    beside,
    constant,
    draw,
    evidence,
    gap,
    paced,
    quantities,
    train,
)
from sdetheory import Claim, Quantity
from sdetheory.claims import Trial
from sdetheory.stats import mean_estimate
from sdetheory.theory import exp_lr

requires = ("torch",)

WITH_DECAY = {name: paced(name, 0.1, 0.05) for name in NETS}  # (lr, weight decay)
EARLY, ANOTHER = "MLP, layer norm", "CNN, group norm"
# log2 of a ratio of two sums of roundings scatters by less than 1: 32 initialisations (8 in quick mode, Student's
# t = 12 at 1e-5) tell it within 1 (4)
STARTS = 32
BITS = Quantity(float(53 - 24), 4.0, wrong=0.0)  # of the significands; a slip is as large in both formats

QUANTITIES = quantities() | {"bits that float32 lacks": BITS}


def _pair(lr, decay, n_steps=STEPS, off=0):
    one, none = constant(lr, decay), np.zeros(n_steps)
    rates = exp_lr.exponential_lr_without_momentum(step=np.arange(n_steps), lr=lr, weight_decay=decay)
    return (Settings(one.lr[:n_steps], one.weight_decay[:n_steps], one.momentum[:n_steps]),
            Settings(rates * (1 - lr * decay) ** off, none, none))


@once
def _gaps(trial):
    """Both runs of each net from the same weights on the same minibatches."""
    found = {}
    for name, (lr, decay) in WITH_DECAY.items():
        log_scale = -np.arange(STEPS + 1) * np.log1p(-lr * decay)
        found[name] = beside(trial, name, *_pair(lr, decay), log_scale, wrong=_pair(lr, decay, off=1)[1])
    return found


def _bits(trial):
    """log2 of the gap of outputs in float32 over that in float64 after EVERY steps, one initialisation a row."""
    found, pair = [], _pair(*WITH_DECAY[EARLY], n_steps=EVERY)
    for seed in trial.rng.spawn(trial.paths(STARTS)):
        start = Trial(seed, trial.mode)
        single, double = (gap(*(train(start, EARLY, settings, dtype=dtype) for settings in pair))[-1]
                          for dtype in ("float32", "float64"))
        found.append(np.log2(single / double))
    return np.array(found)


def measure(trial):
    return evidence(_gaps(trial)) | {"bits that float32 lacks": mean_estimate(_bits(trial))}


def broken(trial):
    """η (1−ηλ)^(−2t), smaller by 0.5 % (MLP) or 0.05 % (CNN)."""
    return evidence(_gaps(trial), wrong=True)


def figure(trial, ax):
    """How far the functions part in float64, with the right exponent and the wrong one, and in float32."""
    for name in (EARLY, ANOTHER):
        gaps = gap(*(train(trial, name, settings, dtype="float32") for settings in _pair(*WITH_DECAY[name])))
        ax.semilogy(EVERY * np.arange(1, len(gaps)), gaps[1:], ".-", ms=4, lw=0.8,
                    color=f"C{list(NETS).index(name)}", label=f"{name}, float32")
    draw(ax, _gaps(trial), r"$\eta(1-\eta\lambda)^{-2t}$")
    ax.set_title("Weight decay as an exponential learning rate: the nets part by rounding only")


claim = Claim(
    "NET-EXP-4", "On real nets, weight decay is an exponential learning rate", paper="exp_lr",
    where="the equivalence of weight decay and an exponential learning rate, without momentum",
    statement=r"MLPs and CNNs with batch, layer, group, instance and weight normalisation (last layer fixed, digits, "
              r"batch 16): torch.optim.SGD with constant $(\eta,\lambda)$ and without decay at $\tilde\eta_t="
              r"\eta(1-\eta\lambda)^{-2t-1}$ give the same outputs on test samples at every step, in float64 up to "
              r"rounding; $\tilde w_t=(1-\eta\lambda)^{-t}w_t$. In float32 they part $2^{29}$ times as far.",
    setup=rf"torch.optim.SGD for {STEPS} steps of batch 16 on the digits: MLPs of two hidden layers of 32 ($\eta=0.1$, "
          r"$\lambda=0.05$) and CNNs of 8 and 16 channels ($\eta=0.01$)",
    bias_source="roundings a step, times the measured response of the run to a relative change of 1e-12 of everything given",
    proof=exp_lr.exponential_lr_without_momentum,
    quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"an exponent off by one, $\tilde\eta_t=\eta(1-\eta\lambda)^{-2t}$; and the gap, were it such a slip, is the "
            "same in both formats")
