r"""EXP-5: with momentum, weight decay is an exponential learning rate and a changed first buffer.

.. math:: \alpha^2 - (1+\mu-\eta\lambda)\alpha + \mu = 0: \qquad \tilde\eta_t = \eta\,\alpha^{-2t-1}, \quad
          \tilde w_t = \alpha^{-t}w_t, \qquad \tilde v_0 = v_0 + \frac{\alpha-1}{\eta\alpha}\,w_0

gives the same functions at every step, for either root α, if both are real. The buffer must be changed even if v_0
= 0 (it is :math:`\tilde w_{-1} = \alpha w_{-1}`). Clock: steps.
"""

import numpy as np

from paper_checks.exp_lr.side_by_side import EQUAL, LOSSES, SETUP, Other, beside, data_of, draw, worst
from sdetheory import Claim
from sdetheory.theory import exp_lr

# The smaller root of the second triple is 0.51: ‖w̃‖⁴ is e^646 at the end, within range.
STEPS = 240
# Small enough for runs that are not chaotic: else rounding, and the bound on it, grow exponentially
TRIPLES = ((0.05, 0.02, 0.9), (0.1, 0.1, 0.5))  # (lr, weight decay, momentum)
CASES = tuple((triple, root) for triple in TRIPLES for root in (exp_lr.larger_root, exp_lr.smaller_root))


def pairs(trial, changed_buffer=True):
    """Either root of each triple, on each loss."""
    steps, gaps = np.arange(STEPS + 1), []
    for (lr, decay, momentum), root in CASES:
        alpha = root(lr=lr, weight_decay=decay, momentum=momentum)
        log_scale = -steps * np.log(alpha)
        tilt = exp_lr.buffer_tilt(alpha=alpha, previous_lr=lr)
        other = Other(lr * np.exp(log_scale[:-1] + log_scale[1:]), log_scale, tilt if changed_buffer else 0.0,
                      abs(tilt * lr))
        gaps += [beside(trial, name, other, lr=lr, weight_decay=decay, momentum=momentum, n_steps=STEPS)
                 for name in LOSSES]
    trial.data["gaps"] = gaps
    return worst(gaps)


def broken(trial):
    return pairs(trial, changed_buffer=False)


def figure(trial, left, right):
    """How far the directions part for either root, and without the change of the buffer."""
    firsts = [pair[::len(LOSSES)] for pair in (trial.data["gaps"], data_of(trial, broken)["gaps"])]
    for (triple, root), color, gaps, apart in zip(CASES, ("tab:blue", "tab:orange") * 2, *firsts, strict=True):
        ax, (lr, decay, mu) = (left, right)[TRIPLES.index(triple)], triple
        alpha = root(lr=lr, weight_decay=decay, momentum=mu)
        draw(ax, gaps, color, rf"{root.name.replace('_', ' ')}, $\alpha={alpha:.3f}$", apart)
        ax.set(xlabel=r"step $t$", ylim=(1e-17, 1e9), title=rf"$\mu={mu:g}$, $\eta\lambda={lr * decay:g}$")
    for ax in (left, right):
        ax.plot([], [], color="0.4", ls="--", label=r"control: $\tilde v_0=v_0$")
        ax.plot([], [], color="0.4", ls=":", label="bound on rounding")
        ax.legend(loc="upper right")
    left.set_ylabel(r"distance of directions $\|\tilde w_t/\|\tilde w_t\|-\hat w_t\|$")


claim = Claim(
    "EXP-5", "With momentum: a root of a quadratic, and a changed first buffer", paper="exp_lr",
    where="the theorem on weight decay and exponential learning rates, with momentum",
    statement=r"For scale-invariant losses, SGD with momentum $\mu$ and constant $(\eta,\lambda)$ gives the same "
              r"functions as SGD without decay at $\tilde\eta_t=\eta\alpha^{-2t-1}$, α either root of "
              r"$x^2-(1+\mu-\eta\lambda)x+\mu$, from $\tilde w_0=w_0$, $\tilde "
              r"v_0=v_0+(\alpha-1)w_0/(\eta\alpha)$; and $\tilde w_t=\alpha^{-t}w_t$.",
    setup=rf"{STEPS} steps of SGD on {SETUP}, $(\eta,\lambda,\mu)$ = {TRIPLES[0]} and {TRIPLES[1]}, with decay "
          "and without, on the same minibatches",
    proof=[exp_lr.exponential_lr, exp_lr.smaller_root, exp_lr.buffer_tilt, exp_lr.start_buffer],
    quantities=EQUAL, measure=pairs, broken=broken, figure=figure,
    control=r"the buffer at the start left as it is: $\tilde v_0=v_0$")
