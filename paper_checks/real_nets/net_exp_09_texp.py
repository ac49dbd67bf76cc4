r"""NET-EXP-9: on real nets, step decay is the tapered exponential schedule (TEXP), with one buffer correction a boundary.

.. math:: \frac{\tilde\eta_{t+1}}{\tilde\eta_t} = \alpha_I^{-2}, \qquad
          \frac{\tilde\eta_T}{\tilde\eta_{T-1}} = \frac{\eta_I}{\eta_{I-1}}\,\alpha_I^{-1}\alpha_{I-1}^{-1}, \qquad
          \tilde v_T \mathrel{+}= \Bigl[\frac{1-1/\alpha_I}{\eta_I} - \frac{1-1/\alpha_{I-1}}{\eta_{I-1}}\Bigr]\frac{\tilde w_T}{P_T^2}

Without momentum nothing is corrected. Plain TEXP, the buffer left alone at the boundary, gives other functions from there
on. torch.optim.SGD on the digits, float64, TEXP and its corrections played by `sdetheory.torch.schedulers.TranslatedLR`.
Clock: steps.
"""

import numpy as np

from paper_checks.real_nets.ensembles import once
from paper_checks.real_nets.side_by_side import (
    NETS,
    STEPS,
    Settings,
    beside,
    draw,
    evidence,
    paced,
    played,
    quantities,
)
from sdetheory import Claim
from sdetheory.schedules import StepDecay
from sdetheory.theory import exp_lr
from sdetheory.translate import tapered

requires = ("torch",)

BOUNDARIES, FACTOR = (STEPS // 3, 2 * STEPS // 3), 0.3
# (lr, weight decay, momentum); ηλ starts below (1 − √μ)² = 0.011 (EXP-7)
CASES = {name: (*paced(name, 0.05, 0.1), 0.8) for name in NETS}
NO_MOMENTUM = "MLP, layer norm"
CASES[NO_MOMENTUM] = (0.1, 0.05, 0.0)

QUANTITIES = quantities(no_control={NO_MOMENTUM: "without momentum there is no buffer to correct: plain TEXP is exact"})


@once
def _gaps(trial):
    """Step decay with weight decay, and corrected TEXP without, from corresponding starts."""
    found = {}
    for name, (lr, decay, momentum) in CASES.items():
        texp = tapered(StepDecay(lr, BOUNDARIES, FACTOR), decay, momentum, n_steps=STEPS)
        plain = played(texp.without_corrections()) if momentum else None
        found[name] = beside(trial, name, Settings(texp.lr, texp.weight_decay, texp.momentum), played(texp),
                             np.log(texp.scale), wrong=plain, buffer=0.1, leaning=float(np.abs(texp.growth).max()))
    return found


def measure(trial):
    return evidence(_gaps(trial))


def broken(trial):
    """TEXP with the buffers left alone at the boundaries."""
    return evidence(_gaps(trial), wrong=True)


def figure(trial, ax):
    """How far the functions part: corrected TEXP, and plain TEXP."""
    draw(ax, _gaps(trial), "plain TEXP")
    for boundary in BOUNDARIES:
        ax.axvline(boundary, color="0.6", lw=0.8)
    ax.set_title(rf"Step decay (by {FACTOR:g} at the grey lines) is TEXP, if the buffer is corrected")


claim = Claim(
    "NET-EXP-9", "On real nets, step decay is a tapered exponential schedule", paper="exp_lr",
    where="the tapered exponential schedule that stands for step decay",
    statement=r"On nets with each normalisation (last layer fixed, digits), torch.optim.SGD with step decay and weight "
              r"decay gives the same outputs as TEXP without decay: with no more for $\mu=0$ (MLP, layer norm), and with "
              r"one buffer correction a boundary for $\mu>0$ (the others). Plain TEXP does not.",
    setup=rf"torch.optim.SGD for {STEPS} steps of batch 16 on the digits, in float64: MLPs of two hidden layers of 32 "
          r"($\eta=0.05$, $\lambda=0.1$, $\mu=0.8$; layer norm $\eta=0.1$, $\lambda=0.05$, $\mu=0$) and CNNs of 8 and 16 "
          rf"channels ($\eta=0.005$); $\eta$ is multiplied by {FACTOR:g} twice",
    bias_source="roundings a step, times the measured response of the run to a relative change of 1e-12 of everything given",
    proof=[exp_lr.texp_boundary_factor, exp_lr.texp_buffer_correction],
    quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control="skip the buffer correction: plain TEXP, taken for exact with momentum too")
