r"""EXP-2: how the norm of the weights moves, step by step.

.. math:: \mu = 0: \quad \|w_{t+1}\|^2 = (1-\eta\lambda)^2\|w_t\|^2 + \eta^2\|\nabla L_{t+1}(w_t)\|^2, \qquad
          \lambda = 0: \quad \|w_{t+1}\|^2 = \|w_t\|^2 - 2\eta\mu\langle w_t,v_t\rangle + \eta^2\|v_{t+1}\|^2, \quad
          \langle w_{t+1},v_{t+1}\rangle = \mu\langle w_t,v_t\rangle - \eta\|v_{t+1}\|^2

for scale-invariant losses L_t and schedules of η, λ. Without decay the norm never falls if the buffer starts at 0;
one that points outwards makes it fall. The gradients of the drawn minibatches are computed apart, in NumPy. Clock:
steps.
"""

import numpy as np

from paper_checks.exp_lr import side_by_side as pair
from sdetheory import Between, Claim, Exact, Quantity, Relative
from sdetheory.schedules import Cosine, Triangular
from sdetheory.theory import exp_lr

STEPS = 200
LR, DECAY, MOMENTUM = Triangular(0.1, 0.3, period=50), Cosine(0.1, STEPS), 0.9
PENALTY = 0.05  # the control's: (λ/2)‖w‖² in the loss

QUANTITIES = {
    "no momentum": Quantity(1.0, Relative(pair.RESOLUTION), broken=True),
    "momentum": Quantity(1.0, Relative(pair.RESOLUTION), broken=True),
    "overlap": Quantity(0.0, pair.RESOLUTION, broken=True),
    "least growth from an empty buffer": Quantity(Between(low=0.0), pair.RESOLUTION, broken=True),
    # ‖w_1‖² − 1 − η²‖g_1‖² with ‖w_0‖ = 1 and v_0 = w_0: v_1 = μw_0 + g_1, of which only the part along w_0 makes w
    # shorter
    "first growth from a buffer outwards": Quantity((1 - LR(0) * MOMENTUM) ** 2 - 1, pair.RESOLUTION, wrong=0.0),
}


def dot(a, b):
    return np.einsum("...i,...i->...", a, b)


def path(trial, name, v0, penalty, **given):
    """w_0 … w_STEPS, (paths, STEPS + 1, d), and the gradients of the drawn minibatches at all but the last."""
    loss = pair.loss_named(name)
    found = pair.sgd(trial, loss, pair.start_of(trial)[0], v0, lr=LR, n_steps=STEPS, every=1, **given)
    w = found["direction"] * np.sqrt(found["sq_norm"])[..., None]
    return w, pair.drawn_gradients(trial, loss, w[:, :-1]) + penalty * w[:, :-1]


def without_momentum(trial, name, penalty):
    """‖w_{t+1}‖² over its prediction, and the rounding bound."""
    lr, decay = LR.table(STEPS), DECAY.table(STEPS)
    w, gradient = path(trial, name, 0 * pair.start_of(trial)[1], penalty, weight_decay=decay + penalty)
    r = dot(w, w)
    right = exp_lr.sq_norm_step(sq_norm=r[:, :-1], lr=lr, weight_decay=decay, sq_grad=dot(gradient, gradient))
    # Every rounding is a relative error of w or of a term of η∇L; ‖w'‖ >= (1 − ηλ)‖w‖ > 0.9 ‖w‖
    return r[:, 1:] / right, pair.ROUNDINGS * pair.UNIT * (1 + lr * pair.largest_term(name) / r[:, :-1]) / 0.9


def with_momentum(trial, name, v0, penalty):
    """The same with momentum and without decay, the overlap relative to ‖w‖ and the longest v, and growths; ‖w‖²."""
    lr = LR.table(STEPS)
    w, gradient = path(trial, name, v0, penalty, momentum=MOMENTUM, weight_decay=penalty)
    v = np.empty(w.shape)
    v[:, 0] = v0
    for t in range(STEPS):
        v[:, t + 1] = MOMENTUM * v[:, t] + gradient[:, t]
    r, overlap, square = dot(w, w), dot(w, v), dot(v, v)
    before = {"overlap": overlap[:, :-1], "lr": lr, "momentum": MOMENTUM, "sq_buffer": square[:, 1:]}
    right, after = exp_lr.sq_norm_step_momentum(sq_norm=r[:, :-1], **before), exp_lr.overlap_step(**before)
    # a rounding of the gradient lives in the buffer for 1/(1 − μ) steps; r falls by less than half in a step
    least = np.minimum.accumulate(np.sqrt(r[:, :-1]), axis=1)
    terms = pair.largest_term(name) / least / (1 - MOMENTUM) + np.linalg.norm(v0, axis=1)[:, None]
    bound = 2 * pair.ROUNDINGS * pair.UNIT * (1 + lr * terms / least)
    longest = np.sqrt(square.max(1, keepdims=True))
    return {"ratio": (r[:, 1:] / right, bound),
            "overlap": ((overlap[:, 1:] - after) / (np.sqrt(r[:, 1:]) * longest),
                        bound + pair.ROUNDINGS * pair.UNIT * terms / longest),
            "growth": (r[:, 1:] / r[:, :-1] - 1, bound),
            "first growth": (r[:, 1] - r[:, 0] - lr[0] ** 2 * dot(gradient, gradient)[:, 0], 2 * bound[:, 0])}, r


def measured(trial, penalty):
    """All comparisons, on every loss; `penalty` is that of a loss with an L2 penalty, taken as part of its gradient."""
    found = {name: [] for name in QUANTITIES}
    w0, kick = pair.start_of(trial)
    for name in pair.LOSSES:
        (any_start, _), (from_zero, zero), (outward, out) = (
            with_momentum(trial, name, v0, penalty) for v0 in (kick, 0 * kick, w0))
        growth, bound = from_zero["growth"]
        for quantity, both in zip(QUANTITIES, (
                without_momentum(trial, name, penalty), any_start["ratio"], any_start["overlap"],
                (growth.min(1), bound.max(1)), outward["first growth"]), strict=True):
            found[quantity].append(both)
        trial.data[name] = zero, out
    return {quantity: Exact(*np.stack(pairs, axis=1)) for quantity, pairs in found.items()}


def measure(trial):
    return measured(trial, 0.0)


def broken(trial):
    found = measured(trial, PENALTY)
    return {name: found[name] for name, quantity in QUANTITIES.items() if quantity.broken}


def figure(trial, ax):
    """The squared norm without decay, from an empty buffer and from one that points outwards."""
    for name, color in zip(pair.LOSSES, ("tab:blue", "tab:orange", "tab:green"), strict=True):
        zero, out = (r[:2, :101].T for r in trial.data[name])
        ax.semilogy(zero, color=color, lw=1.2)
        ax.semilogy(out, color=color, lw=1, ls="--")
        ax.plot([], [], color=color, label=name)
    ax.plot([], [], color="0.4", label=r"$v_0=0$: never falls")
    ax.plot([], [], color="0.4", ls="--", label=r"$v_0=w_0$, outwards: falls")
    ax.set(xlabel=r"step $t$", ylabel=r"squared norm $\|w_t\|^2$",
           title="Without decay the norm only grows, unless the buffer points outwards")
    ax.legend()


claim = Claim(
    "EXP-2", "How the norm grows", paper="exp_lr",
    where="the section on the norm of scale-invariant weights",
    statement=r"For scale-invariant losses, $\|w_{t+1}\|^2=(1-\eta\lambda)^2\|w_t\|^2+\eta^2\|\nabla "
              r"L_{t+1}(w_t)\|^2$ without momentum. With momentum, no decay and $v_0=0$ the norm never falls, as "
              r"$\langle w_t,v_t\rangle\leq0$; a buffer that points outwards at the start makes it fall.",
    setup=f"{STEPS} steps of SGD on {pair.SETUP}; triangular learning rate 0.1 … 0.3, cosine decay from 0.1 without "
          rf"momentum, no decay with $\mu={MOMENTUM}$",
    proof=exp_lr.by_claim("EXP-2"), quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"an L2 penalty counted as part of the loss, $g=\nabla L+0.05\,w$, changes nothing; and a buffer that "
            r"points outwards does not either: $\|w\|^2$ grows by $\eta^2\|g\|^2$")
