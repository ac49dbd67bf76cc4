r"""NET-EXP-5: on real nets, with momentum, weight decay is an exponential learning rate and a changed first buffer.

.. math:: \alpha^2 - (1+\mu-\eta\lambda)\alpha + \mu = 0: \qquad \tilde\eta_t = \eta\,\alpha^{-2t-1}, \quad
          \tilde w_t = \alpha^{-t}w_t, \qquad \tilde v_0 = v_0 + \frac{\alpha-1}{\eta\alpha}\,w_0

The larger root on every net; the smaller one, whose learning rate grows fourfold a step, on one. torch.optim.SGD on the digits,
float64, outputs on test samples compared. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from paper_checks.real_nets.side_by_side import NETS, STEPS, Gaps, Settings, beside, constant, draw, evidence, paced
from sdetheory.claims import Claim, Control, Relative, Run
from sdetheory.symbolic import Derivation
from sdetheory.theory import exp_lr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

requires = ("torch",)

# (lr, weight decay, momentum); ηλ is below (1 − √μ)², where the roots are real (EXP-7)
CASES = {name: (exp_lr.larger_root, (*paced(name, 0.02, 0.05), 0.9)) for name in NETS}
CONTROLLED = ("MLP, batch norm", "CNN, group norm")
# Of outputs relative to the largest: with momentum 0.9 rounding may reach 3e-6 within the run (the largest of 40 nets), and the
# other buffer parts the functions by 3e-3 and more.
RESOLUTION = 1e-4
SMALLER = "MLP, layer norm"
SMALLER_STEPS = 240  # ‖w̃‖² is e^330 at the end, within range


def _gaps(run: Run, names: Any, scaled_start: bool = True, smaller: bool = False) -> dict[str, Gaps]:
    found = {}
    for name in names:
        root, (lr, decay, momentum) = (exp_lr.smaller_root, (0.05, 0.08, 0.5)) if smaller else CASES[name]
        n_steps = SMALLER_STEPS if smaller else STEPS
        alpha = root(lr=lr, weight_decay=decay, momentum=momentum)
        log_scale = -np.arange(n_steps + 1) * np.log(alpha)
        tilt = float(exp_lr.buffer_tilt(alpha=alpha, previous_lr=lr))
        rates = lr * np.exp(log_scale[:-1] + log_scale[1:])
        mu, one = np.full(n_steps, momentum), constant(lr, decay, momentum)
        found[name] = beside(run, name, Settings(one.lr[:n_steps], one.weight_decay[:n_steps], mu),
                             Settings(rates, np.zeros(n_steps), mu, tilt=tilt if scaled_start else 0.0), log_scale,
                             buffer=0.1, leaning=abs(tilt * lr))
    return found


def simulation(run: Run) -> dict[str, Any]:
    """Both runs of each net, from the same weights and corresponding buffers, on the same minibatches."""
    found = _gaps(run, NETS) | {f"{SMALLER}, smaller root": _gaps(run, (SMALLER,), smaller=True)[SMALLER]}
    run.data["gaps"] = found
    return evidence(found)


def same_buffer(run: Run) -> dict[str, Any]:
    """The control: the same schedule from the buffer v_0."""
    return evidence(_gaps(run, CONTROLLED, scaled_start=False), norms=False)


def derivation() -> Derivation:
    """Both roots, the rates and the buffer at the start, from the update rule."""
    whole = Derivation("Decay with momentum")
    for formula in (exp_lr.exponential_lr, exp_lr.smaller_root, exp_lr.buffer_tilt, exp_lr.start_buffer):
        whole.including(formula.derivation)
    return whole


def figure(run: Run) -> Figure:
    """How far the functions part with the changed buffer, and without the change."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.2, 4.4), layout="constrained")
    ax = fig.subplots()
    draw(ax, run.data["gaps"], _gaps(Run(run.rng, run.mode), CONTROLLED, scaled_start=False), r"$\tilde v_0=v_0$")
    ax.set_title("With momentum: exact on every net, if the first buffer is changed with the schedule", fontsize=10.5)
    return fig


SHOWN = (*NETS, f"{SMALLER}, smaller root")
claim = Claim(
    "NET-EXP-5",
    title="On real nets with momentum: a root of a quadratic, and a changed first buffer",
    paper="exp_lr",
    statement=r"On nets with each normalisation (last layer fixed, digits), torch.optim.SGD with momentum $\mu$ and constant "
              r"$(\eta,\lambda)$ gives the same outputs as without decay at $\tilde\eta_t=\eta\alpha^{-2t-1}$, α a root of "
              r"$x^2-(1+\mu-\eta\lambda)x+\mu$, from $\tilde v_0=v_0+(\alpha-1)w_0/(\eta\alpha)$; $\tilde w_t=\alpha^{-t}w_t$.",
    derivation=derivation,
    prediction=dict.fromkeys(SHOWN, 0.0) | {"sq_norm": 1.0},
    simulation=simulation,
    resolution=dict.fromkeys(SHOWN, RESOLUTION) | {"sq_norm": Relative(RESOLUTION)},
    negative_control=Control(r"the buffer at the start left as it is: $\tilde v_0=v_0$", simulation=same_buffer),
    figure=figure,
)
