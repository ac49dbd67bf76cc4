r"""EXP-3: the algebra of updates: what scalings do to a step, and weight decay as two scalings of the learning rate.

.. math:: GD^\rho(w,\eta)=(\rho w-\eta\nabla L(w),\eta),\quad \Pi_1^c(w,\eta)=(cw,\eta),\quad \Pi_2^c(w,\eta)=(w,c\eta):
          \qquad \Pi_1^c\Pi_2^{c^2}\,GD^1 = GD^1\,\Pi_1^c\Pi_2^{c^2}, \qquad
          GD^\rho = \Pi_2^\rho\,\Pi_1^\rho\,GD^1\,\Pi_2^{1/\rho}

for a scale-invariant L and c, ρ > 0. So decay is multiplication of η by 1/ρ before and by ρ after the step, up to a
scaling that L does not see. With momentum (cw, v/c, c²η). At random states, on minibatches of three losses. No clock.
"""

import numpy as np

from paper_checks.exp_lr.side_by_side import DIM, LOSSES, ROUNDINGS, UNIT, data_of, largest_term, loss_named
from sdetheory import Claim, Exact, Quantity
from sdetheory.sphere import normalise
from sdetheory.theory import exp_lr

POINTS = 64  # states a loss and factor: an exact statement needs no more
FACTORS = (0.3, 0.7, 3.0, 10.0)  # c; no powers of 2, for which floating point is exact
SHRINKAGES = (0.5, 0.9, 0.99, 0.999)  # rho = 1 − ηλ
MOMENTUM = 0.9
NAMES = ("commuting", "decay as scaling", "functions", "momentum")
QUANTITIES = {name: Quantity(0.0, 1e-8, broken=True) for name in NAMES}


class Minibatches:
    """One drawn minibatch a state, and random states, norms and rates over two decades."""

    def __init__(self, name, n, seed):
        draws = np.random.default_rng(seed)
        self.loss = loss_named(name)
        self.u = draws.uniform(size=(n, self.loss.noise.batch_size))
        self.w = normalise(draws.normal(size=(n, DIM))) * 10 ** draws.uniform(-1, 1, (n, 1))
        sq_norm = np.sum(self.w**2, axis=1)
        self.norm = np.sqrt(sq_norm)
        self.lr = sq_norm * 10 ** draws.uniform(-2, 0, n)  # effective rates 0.01 … 1
        self.v = draws.normal(size=(n, DIM)) / self.norm[:, None]

    def gradient(self, w):
        return self.loss.noise.minibatch_gradient(w, self.u)

    def step(self, state, shrinkage=1.0):
        """GD^ρ."""
        w, lr = state
        return shrinkage * w - lr[:, None] * self.gradient(w), lr

    def momentum_step(self, w, v, lr):
        v = MOMENTUM * v + self.gradient(w)
        return w - lr[:, None] * v, v


def scaled(state, weights=1.0, lr=1.0):
    """Π1 and Π2."""
    return weights * state[0], lr * state[1]


def apart(a, b):
    """The largest relative difference of the parts of two states, (n,)."""
    sizes = [(np.linalg.norm(x - y, axis=-1) / np.linalg.norm(y, axis=-1)) if x.ndim == 2 else np.abs(x - y) / np.abs(y)
             for x, y in zip(a, b, strict=True)]
    return np.max(sizes, axis=0)


def gaps(trial, power):
    """Gaps and bounds of each quantity; the learning rate goes with c^power, and with ρ^(∓power/2)."""
    found = {name: [] for name in QUANTITIES}
    for i, name in enumerate(LOSSES):
        # made here, as `spawn` gives others each time
        seed = np.random.SeedSequence(trial.rng.entropy, spawn_key=(*trial.rng.spawn_key, i))
        on = Minibatches(name, trial.paths(POINTS), seed)
        start, size = (on.w, on.lr), on.lr * largest_term(name) / on.norm**2
        # every rounding is a relative error of w or of a term of η∇L; the step is no shorter than ρ‖w‖
        bound = ROUNDINGS * UNIT * (1 + size)
        for c in FACTORS:
            then, before = scaled(on.step(start), c, c**power), on.step(scaled(start, c, c**power))
            found["commuting"].append((apart(then, before), bound))
            w, v = on.momentum_step(on.w, on.v, on.lr)
            other = on.momentum_step(c * on.w, on.v / c, c**power * on.lr)
            # the buffer counts among the terms; here w' and v' may be short
            terms = np.linalg.norm(on.v, axis=1) + largest_term(name) / on.norm
            short = np.maximum((on.norm + on.lr * terms) / np.linalg.norm(w, axis=1), terms / np.linalg.norm(v, axis=1))
            found["momentum"].append((apart(other, (c * w, v / c)), ROUNDINGS * UNIT * short))
        for rho in SHRINKAGES:
            k = rho ** (power / 2)
            direct, raised = on.step(start, rho), on.step(scaled(start, lr=1 / k))
            twice = (bound + ROUNDINGS * UNIT * size / rho) / rho
            found["decay as scaling"].append((apart(scaled(raised, rho, k), direct), twice))
            found["functions"].append((apart([normalise(raised[0])], [normalise(direct[0])]), twice))
    evidence = {name: Exact(*np.stack(pairs, axis=1)) for name, pairs in found.items()}
    trial.data["largest"] = np.array([(np.max(e.value), np.max(e.rounding)) for e in evidence.values()]).T
    return evidence


def measure(trial):
    return gaps(trial, 2.0)


def broken(trial):
    return gaps(trial, 1.0)


def figure(trial, left, right):
    """One step with decay on the plane, three ways; and what is left of the identities."""
    rho, lr, w, g = 0.7, 0.5, np.array([1.0, 0.4]), np.array([-0.4, 1.0])
    raised, direct = w - lr / rho * g, rho * w - lr * g
    for ray in (w, raised):
        left.plot([0, 1.35 * ray[0]], [0, 1.35 * ray[1]], color="0.75", lw=0.8)
    for start, end, color, label in ((w, direct, "tab:blue", r"$GD^\rho$, rate $\eta$"),
                                     (w, raised, "tab:orange", r"$GD^1$, rate $\eta/\rho$"),
                                     (raised, direct, "tab:green", r"$\Pi_1^\rho$: no function changes")):
        left.quiver(*start, *(end - start), color=color, label=label, angles="xy", scale_units="xy", scale=1, width=0.01)
    left.text(*(w + [0.03, 0.02]), "$w$")
    left.set(aspect="equal", xlim=(-0.05, 1.8), ylim=(-0.55, 1.15), xlabel="$w_1$", ylabel="$w_2$",
             title="Decay: a larger step, scaled")
    left.legend(loc="upper left")
    (values, bounds), rows = trial.data["largest"], np.arange(len(QUANTITIES))
    right.plot(values, rows, "o", color="tab:blue", label="the identities")
    half = data_of(trial, broken)["largest"][0]
    right.plot(half, rows, "s", color="tab:red", mfc="none", label="control: half the powers")
    right.plot(bounds, rows, "|", color="0.4", ms=12, label="bound on rounding")
    right.set(xscale="log", yticks=rows, yticklabels=list(QUANTITIES), ylim=(-0.6, 4.3),
              xlabel="largest relative difference", title="Exact at every state")
    right.legend(loc="upper center")


claim = Claim(
    "EXP-3", "The algebra of updates", paper="exp_lr",
    where="the maps on pairs of weights and learning rate, with which the equivalence is proved",
    statement=r"For a scale-invariant loss and $c,\rho>0$: $\Pi_1^c\Pi_2^{c^2}$ commutes with $GD^1$, and "
              r"$GD^\rho=\Pi_2^\rho\Pi_1^\rho GD^1\Pi_2^{1/\rho}$. Up to a scaling that the loss does not see, "
              r"weight decay is multiplication of $\eta$ by $1/\rho$ before the step and by $\rho$ after it.",
    setup=f"Single steps on minibatches of three losses in $d={DIM}$ from {POINTS} random states each, $c$ from "
          rf"{min(FACTORS)} to {max(FACTORS)}, $\rho$ from {min(SHRINKAGES)} to {max(SHRINKAGES)}, "
          rf"$\mu={MOMENTUM}$",
    proof=exp_lr.by_claim("EXP-3"), quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"half the powers on the learning rate: $\Pi_2^c$ and $\Pi_2^{1/\sqrt\rho}$")
