r"""EXP-4: weight decay is an exponential learning rate (no momentum).

.. math:: w_{t+1} = (1-\eta\lambda)w_t - \eta\nabla L_{t+1}(w_t) \quad\text{and}\quad
          \tilde w_{t+1} = \tilde w_t - \eta\,(1-\eta\lambda)^{-2t-1}\,\nabla L_{t+1}(\tilde w_t), \quad \tilde w_0 = w_0:
          \qquad \tilde w_t = (1-\eta\lambda)^{-t}w_t

for scale-invariant losses L_t and ηλ < 1: the same functions at every step. Two pairs (η, λ) on minibatches of three
losses; in float64 the two runs part by rounding and no more. Clock: steps.
"""

import numpy as np

from paper_checks.exp_lr.side_by_side import EQUAL, LOSSES, SETUP, Other, beside, data_of, draw, worst
from sdetheory import Claim
from sdetheory.theory import exp_lr

STEPS = 400
PAIRS = ((0.2, 0.05), (0.2, 0.1))  # (lr, weight decay): the rate grows by e^8 and e^16


def pairs(trial, off=0):
    """Every pair on every loss; the exponent of the rate is greater by `off`."""
    steps, gaps = np.arange(STEPS + 1), []
    for lr, decay in PAIRS:
        rates = exp_lr.exponential_lr_without_momentum(step=steps[:-1], lr=lr, weight_decay=decay)
        other = Other(rates * (1 - lr * decay) ** off, -steps * np.log1p(-lr * decay))
        gaps += [beside(trial, name, other, lr=lr, weight_decay=decay, momentum=0.0, n_steps=STEPS) for name in LOSSES]
    trial.data["gaps"] = gaps
    return worst(gaps)


def broken(trial):
    return pairs(trial, off=1)


def figure(trial, left, right):
    """Left: the two learning rates. Right: how far the functions part, with the right exponent and the wrong one."""
    steps = np.arange(STEPS)
    for (lr, decay), style in zip(PAIRS, ("-", "--"), strict=True):
        rates = exp_lr.exponential_lr_without_momentum(step=steps, lr=lr, weight_decay=decay)
        left.semilogy(steps, rates, color="tab:purple", ls=style,
                      label=rf"$\tilde\eta_t$, $\eta\lambda={lr * decay:g}$, no decay")
        left.semilogy(steps, np.full(STEPS, lr), color="0.5", ls=style, label=rf"$\eta={lr:g}$, $\lambda={decay:g}$")
    left.set(xlabel=r"step $t$", ylabel="learning rate", title="The same training, two schedules")
    wrong = data_of(trial, broken)["gaps"]
    for name, color, gaps, apart in zip(LOSSES, ("tab:blue", "tab:orange", "tab:green"), trial.data["gaps"], wrong,
                                        strict=False):
        draw(right, gaps, color, name, apart)
    right.plot([], [], color="0.4", ls="--", label=r"control: $(1-\eta\lambda)^{-2t}$")
    right.plot([], [], color="0.4", ls=":", label="bound on rounding")
    right.set(xlabel=r"step $t$", ylabel=r"distance of directions $\|\tilde w_t/\|\tilde w_t\|-\hat w_t\|$",
              ylim=(1e-17, 1e6), title=r"Equal functions ($\eta\lambda=0.01$)")
    left.legend()
    right.legend(loc="upper center", ncols=2)


claim = Claim(
    "EXP-4", "Weight decay is an exponential learning rate", paper="exp_lr",
    where="the theorem on weight decay and exponential learning rates, its case without momentum",
    statement=r"For scale-invariant losses, SGD with constant $(\eta,\lambda)$, $\eta\lambda<1$, gives the same "
              "functions at every step as SGD without decay at the rates "
              r"$\tilde\eta_t=\eta(1-\eta\lambda)^{-2t-1}$; the weights obey $\tilde "
              r"w_t=(1-\eta\lambda)^{-t}w_t$.",
    setup=rf"{STEPS} steps of SGD on {SETUP}, $(\eta,\lambda)$ = {PAIRS[0]} and {PAIRS[1]}, with decay and "
          "without, on the same minibatches",
    proof=exp_lr.by_claim("EXP-4"), quantities=EQUAL, measure=pairs, broken=broken, figure=figure,
    control=r"an exponent off by one: $\tilde\eta_t=\eta(1-\eta\lambda)^{-2t}$")
