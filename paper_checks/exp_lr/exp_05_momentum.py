r"""EXP-5: with momentum, weight decay is an exponential learning rate and a changed first buffer.

.. math:: \alpha^2 - (1+\mu-\eta\lambda)\alpha + \mu = 0: \qquad \tilde\eta_t = \eta\,\alpha^{-2t-1}, \quad
          \tilde w_t = \alpha^{-t}w_t, \qquad \tilde v_0 = v_0 + \frac{\alpha-1}{\eta\alpha}\,w_0

gives the same functions at every step, for either root α, if both are real. The buffer must be changed even if v_0 = 0
(it is :math:`\tilde w_{-1} = \alpha w_{-1}`). Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from paper_checks.exp_lr.side_by_side import LOSSES, RESOLUTION, Gaps, Other, beside, worst
from sdetheory.claims import Claim, Control, Relative, Run
from sdetheory.symbolic import Derivation
from sdetheory.theory import exp_lr
from sdetheory.theory.formula import joint_derivation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The smaller root of the second triple is 0.51: ‖w̃‖⁴ is e^646 at the end, within range.
STEPS = 240
# Small enough for runs that are not chaotic: else rounding, and the bound on it, grow exponentially
TRIPLES = ((0.05, 0.02, 0.9), (0.1, 0.1, 0.5))  # (lr, weight decay, momentum)
CASES = tuple((triple, root) for triple in TRIPLES for root in (exp_lr.larger_root, exp_lr.smaller_root))


def _pairs(run: Run, scaled_start: bool = True) -> list[Gaps]:
    """Either root of each triple, on each loss."""
    found = []
    steps = np.arange(STEPS + 1)
    for (lr, decay, momentum), root in CASES:
        alpha = root(lr=lr, weight_decay=decay, momentum=momentum)
        log_scale = -steps * np.log(alpha)
        tilt = exp_lr.buffer_tilt(alpha=alpha, previous_lr=lr)
        other = Other(lr * np.exp(log_scale[:-1] + log_scale[1:]), log_scale, tilt if scaled_start else 0.0, abs(tilt * lr))
        found += [beside(run, name, other, lr=lr, weight_decay=decay, momentum=momentum, n_steps=STEPS) for name in LOSSES]
    return found


def simulation(run: Run) -> dict[str, Any]:
    """The two runs on the same minibatches, from the same weights and corresponding buffers."""
    run.data["gaps"] = _pairs(run)
    return worst(run.data["gaps"])


def same_buffer(run: Run) -> dict[str, Any]:
    """The control: the same schedule from the buffer v_0."""
    return worst(_pairs(run, scaled_start=False))


def derivation() -> Derivation:
    """Both roots, the rates and the buffer at the start, from the update rule."""
    return joint_derivation("Decay with momentum", exp_lr.exponential_lr, exp_lr.smaller_root, exp_lr.buffer_tilt,
                            exp_lr.start_buffer)


def figure(run: Run) -> Figure:
    """How far the directions part for either root, and without the change of the buffer."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.2, 3.8), layout="constrained")
    wrong = _pairs(Run(run.rng, run.mode), scaled_start=False)
    for panel, ax in enumerate(fig.subplots(1, 2, sharey=True)):
        lr, decay, momentum = TRIPLES[panel]
        for k, (root, colour) in enumerate((("larger", "tab:blue"), ("smaller", "tab:orange"))):
            place = len(LOSSES) * (2 * panel + k)
            gaps, apart = run.data["gaps"][place], wrong[place]
            alpha = CASES[2 * panel + k][1](lr=lr, weight_decay=decay, momentum=momentum)
            ax.semilogy(gaps.steps[1:], np.maximum(gaps.direction[1:], 1e-17), color=colour,
                        label=rf"{root} root, $\alpha={alpha:.3f}$")
            ax.semilogy(gaps.steps[1:], gaps.bound[1:], color=colour, ls=":", lw=1)
            ax.semilogy(apart.steps[1:], apart.direction[1:], color=colour, ls="--", lw=1.2)
        ax.plot([], [], color="0.4", ls="--", label=r"control: $\tilde v_0=v_0$")
        ax.plot([], [], color="0.4", ls=":", label="bound on rounding")
        ax.set(xlabel=r"step $t$", ylim=(1e-17, 1e9))
        ax.set_title(rf"$\mu={momentum:g}$, $\eta\lambda={lr * decay:g}$", fontsize=11)
        ax.legend(frameon=False, fontsize=8, loc="upper right")
        if panel == 0:
            ax.set_ylabel(r"distance of directions $\|\tilde w_t/\|\tilde w_t\|-\hat w_t\|$")
    fig.suptitle("Either root gives the same functions, if the first buffer is changed with it", fontsize=11)
    return fig


claim = Claim(
    "EXP-5",
    title="With momentum: a root of a quadratic, and a changed first buffer",
    paper="exp_lr",
    statement=r"For scale-invariant losses, SGD with momentum $\mu$ and constant $(\eta,\lambda)$ gives the same functions as "
              r"SGD without decay at $\tilde\eta_t=\eta\alpha^{-2t-1}$, α either root of $x^2-(1+\mu-\eta\lambda)x+\mu$, from "
              r"$\tilde w_0=w_0$, $\tilde v_0=v_0+(\alpha-1)w_0/(\eta\alpha)$; and $\tilde w_t=\alpha^{-t}w_t$.",
    derivation=derivation,
    prediction={"loss": 0.0, "direction": 0.0, "sq_norm": 1.0},
    simulation=simulation,
    resolution={"loss": RESOLUTION, "direction": RESOLUTION, "sq_norm": Relative(RESOLUTION)},
    negative_control=Control(r"the buffer at the start left as it is: $\tilde v_0=v_0$", simulation=same_buffer),
    figure=figure,
)
