r"""NET-EXP-5: on real nets, with momentum, weight decay is an exponential learning rate and a changed first buffer.

.. math:: \alpha^2 - (1+\mu-\eta\lambda)\alpha + \mu = 0: \qquad \tilde\eta_t = \eta\,\alpha^{-2t-1}, \quad
          \tilde w_t = \alpha^{-t}w_t, \qquad \tilde v_0 = v_0 + \frac{\alpha-1}{\eta\alpha}\,w_0

The larger root on every net; the smaller one, whose learning rate grows fourfold a step, on one. torch.optim.SGD on the
digits, float64, outputs on test samples compared. Clock: steps.
"""

from dataclasses import replace

import numpy as np

from paper_checks.real_nets.ensembles import once
from paper_checks.real_nets.side_by_side import (
    NETS,
    RESOLUTION,
    STEPS,
    Settings,
    beside,
    constant,
    draw,
    evidence,
    paced,
    quantities,
)
from sdetheory import Claim, Quantity
from sdetheory.theory import exp_lr

requires = ("torch",)

# (net, root, steps, (lr, weight decay, momentum)); ηλ is below (1 − √μ)², where the roots are real (EXP-7)
CASES = {name: (name, exp_lr.larger_root, STEPS, (*paced(name, 0.02, 0.05), 0.9)) for name in NETS}
SMALLER = "MLP, layer norm, smaller root"
CASES[SMALLER] = ("MLP, layer norm", exp_lr.smaller_root, 240, (0.05, 0.08, 0.5))  # ‖w̃‖² is e^330 at the end, within range
# The resolution is that of the other claims, 1e-5: at pilot seeds 100 to 105 rounding might reach 2e-7 in the worst of 36 nets,
# and the other buffer parts the functions by 3e-3 and more. It had been widened to 1e-4 for jumps of ReLUs within the probe
# (see there), the last of them at seed 17 of 10 to 19; with the smaller probe run at seeds 20 to 29: all confirmed.

QUANTITIES = quantities()
QUANTITIES[SMALLER] = Quantity(0.0, RESOLUTION, broken=True)


@once
def _gaps(trial):
    """Both runs of each net, from the same weights and corresponding buffers, on the same minibatches."""
    found = {}
    for case, (name, root, n_steps, (lr, decay, momentum)) in CASES.items():
        alpha = root(lr=lr, weight_decay=decay, momentum=momentum)
        log_scale = -np.arange(n_steps + 1) * np.log(alpha)
        tilt = float(exp_lr.buffer_tilt(alpha=alpha, previous_lr=lr))
        one = constant(lr, decay, momentum)
        one = Settings(one.lr[:n_steps], one.weight_decay[:n_steps], one.momentum[:n_steps])
        other = Settings(lr * np.exp(log_scale[:-1] + log_scale[1:]), np.zeros(n_steps), one.momentum, tilt=tilt)
        found[case] = beside(trial, name, one, other, log_scale, wrong=replace(other, tilt=0.0), buffer=0.1,
                             leaning=abs(tilt * lr))
    return found


def measure(trial):
    return evidence(_gaps(trial))


def broken(trial):
    """The same schedule from the buffer v_0."""
    return evidence(_gaps(trial), wrong=True)


def figure(trial, ax):
    """How far the functions part with the changed buffer, and without the change."""
    draw(ax, _gaps(trial), r"$\tilde v_0=v_0$")
    ax.set_title("With momentum: exact on every net, if the first buffer is changed with the schedule")


claim = Claim(
    "NET-EXP-5", "On real nets with momentum: a root of a quadratic, and a changed first buffer", paper="exp_lr",
    where="the equivalence of weight decay and an exponential learning rate, with momentum",
    statement=r"On nets with each normalisation (last layer fixed, digits), torch.optim.SGD with momentum $\mu$ and "
              r"constant $(\eta,\lambda)$ gives the same outputs as without decay at $\tilde\eta_t=\eta\alpha^{-2t-1}$, "
              r"α a root of $x^2-(1+\mu-\eta\lambda)x+\mu$, from $\tilde v_0=v_0+(\alpha-1)w_0/(\eta\alpha)$; "
              r"$\tilde w_t=\alpha^{-t}w_t$.",
    setup=rf"torch.optim.SGD for {STEPS} steps of batch 16 on the digits, in float64: MLPs of two hidden layers of 32 "
          r"($\eta=0.02$, $\lambda=0.05$, $\mu=0.9$; smaller root $\eta=0.05$, $\lambda=0.08$, $\mu=0.5$) and CNNs of 8 and "
          r"16 channels ($\eta=0.002$), from a random buffer",
    bias_source="roundings a step, times the measured response of the run to a relative change of 1e-12 of everything given",
    proof=[exp_lr.exponential_lr, exp_lr.smaller_root, exp_lr.buffer_tilt, exp_lr.start_buffer],
    quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"the buffer at the start left as it is: $\tilde v_0=v_0$")
