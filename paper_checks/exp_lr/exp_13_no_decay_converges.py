r"""EXP-13: without weight decay, gradient descent converges from any learning rate.

.. math:: \lambda = \mu = 0: \qquad \sum_{t<T}\eta^2\|\nabla L_t(w_t)\|^2 = \|w_T\|^2 - \|w_0\|^2

for scale-invariant losses, minibatches too. With the full batch and |∇²L| ≤ h on the sphere the norm stays bounded:
one step may lead from below ηh to above it; from there on all are steps of descent, in which ‖w‖² grows by at most
2η for each unit that the loss falls. So

.. math:: \|w_T\|^2 \le \bar R = \max\bigl(\|w_0\|^2,\ \eta h + \eta^2G^2/\|w_0\|^2\bigr) + 2\eta\,(\max L - \min L), \qquad
          \min_{t<T}\|\nabla L(\hat w_t)\|^2 \le \frac{\bar R\,(\bar R - \|w_0\|^2)}{\eta^2\,T} \to 0

with G the largest ‖∇L‖ on the sphere. The effective learning rate anneals itself. Clock: steps.
"""

import numpy as np
import sympy

from paper_checks.exp_lr import side_by_side as pair
from sdetheory import Between, Claim, Derivation, Exact, Quantity, Relative
from sdetheory.losses import BatchNormLinear, FiniteSum, RayleighQuotient, SphereQuartic
from sdetheory.sphere import normalise
from sdetheory.theory import exp_lr

LRS = (0.1, 1.0, 3.0, 10.0)  # at the start η/‖w‖² times curvature is from 0.2 to 30: stable below 2
TIMES = np.array([30, 300, 3000])
PATHS = 8
MINIBATCH_STEPS = 400
RESOLUTION = 1e-5  # of the sums, for rounding over 3000 steps in which the norm may grow by a per cent only

SPREAD = np.ptp(np.linalg.eigvalsh(pair.MATRICES.mean(0)))
LARGEST = pair.QUARTICS.mean(0).max()
# (h, G, max L − min L) on the sphere. ∇²L has a block B across w, 0 along it (EXP-1) and −∇L off the diagonal, so
# that h <= (|B| + (|B|² + 4 G²)^(1/2))/2. Rayleigh quotients of spread D: |B| <= D, G <= D/2. Quartics with 0 < a_i
# <= m: 3 a_i ŵ_i² − Σ a ŵ⁴ lies in [−m, 3 m], G <= m, 0 < L <= m/4.
BOUNDS = {"Rayleigh quotients": (SPREAD * (1 + 2**0.5) / 2, SPREAD / 2, SPREAD / 2),
          "quartics": (LARGEST * (3 + 13**0.5) / 2, LARGEST, LARGEST / 4)}

QUANTITIES = {
    "squared steps": Quantity(1.0, Relative(RESOLUTION), broken=True),
    "squared minibatch steps": Quantity(1.0, Relative(RESOLUTION), broken=True),
    "least gradient": Quantity(Between(high=1.0), RESOLUTION, broken=True),
    "norm": Quantity(Between(high=1.0), RESOLUTION, broken=True),
}


def full_batch(name):
    """The mean loss, as a sum of two equal ones: every minibatch is the full batch, and the kernel is known."""
    if name == "batch norm":
        return BatchNormLinear(pair.INPUTS, pair.LABELS, batch_size=len(pair.INPUTS))
    mean = RayleighQuotient(pair.MATRICES.mean(0)) if name == "Rayleigh quotients" else SphereQuartic(pair.QUARTICS.mean(0))
    return FiniteSum([mean, mean], batch_size=2)


def norm_bound(name, lr):
    """The bound R̄ of ‖w_T‖² from ‖w_0‖ = 1."""
    h, largest, gap = BOUNDS[name]
    return exp_lr.sq_norm_limit_bound(sq_norm=max(1.0, lr * h + lr**2 * largest**2), lr=lr, loss_gap=gap)


def free(trial, loss, lr, n_steps=TIMES[-1]):
    """w_0 … w_n of SGD, (paths, n + 1, d)."""
    w0 = pair.start_of(trial)[0][:PATHS]
    found = pair.sgd(trial, loss, w0, 0 * w0, lr=lr, n_steps=n_steps, every=1)
    return found["direction"] * np.sqrt(found["sq_norm"])[..., None]


def held(trial, loss, lr):
    """The same with the norm put back to 1 after each step."""
    w = [pair.start_of(trial)[0][:PATHS]]
    for _ in range(TIMES[-1]):
        w.append(normalise(w[-1] - lr * loss.gradient(w[-1])))
    return np.stack(w, axis=1)


def sums(w, gradient, lr, name):
    """(‖w_T‖² − ‖w_0‖²)/Σ η²‖∇L‖² of each path, and the bound on rounding."""
    r = np.einsum("...i,...i->...", w, w)
    total = lr**2 * np.einsum("pti,pti->p", gradient, gradient)
    # a step moves ‖w‖² by ROUNDINGS relative errors of itself and of the terms of η∇L, on which w stands
    each = pair.ROUNDINGS * pair.UNIT * (r[:, :-1] + lr * pair.largest_term(name) * np.sqrt(r[:, 1:] / r[:, :-1]))
    return (r[:, -1] - r[:, 0]) / total, each.sum(1) / total


def bounded(trial, w, gradient, lr, name):
    """The least gradients over their bounds with the bound on rounding, and ‖w_T‖² over R̄."""
    size = np.linalg.norm(gradient, axis=-1) * np.linalg.norm(w[:, :-1], axis=-1)
    smallest, top = np.minimum.accumulate(size, axis=1), norm_bound(name, lr)
    limit = np.sqrt(top * exp_lr.sum_of_squared_steps(sq_norm=1.0, sq_norm_end=top) / (lr**2 * TIMES))
    trial.data[name, lr] = np.linalg.norm(w, axis=-1)[0] ** 2, smallest.max(0), top
    rounding = np.broadcast_to(pair.ROUNDINGS * pair.UNIT * pair.largest_term(name) / limit, (len(w), len(TIMES)))
    return (smallest[:, TIMES - 1] / limit, rounding), np.einsum("pi,pi->p", w[:, -1], w[:, -1]) / top


def full(trial, names, descend):
    """Full-batch descent at every learning rate: two comparisons, and the norms without a bound on rounding."""
    ratios, least, norms = [], [], []
    for name in names:
        loss = full_batch(name)
        for lr in LRS:
            w = descend(trial, loss, lr)
            gradient = loss.gradient(w[:, :-1])
            ratios.append(sums(w, gradient, lr, name))
            if name in BOUNDS:
                of_gradient, of_norm = bounded(trial, w, gradient, lr, name)
                least.append(of_gradient)
                norms.append(of_norm)
    return {"squared steps": Exact(*np.stack(ratios, 1)), "least gradient": Exact(*np.stack(least, 1))}, np.stack(norms)


def on_minibatches(trial, gradients):
    found = []
    for name in pair.LOSSES:
        loss = pair.loss_named(name)
        w = free(trial, loss, LRS[0], MINIBATCH_STEPS)
        found.append(sums(w, gradients(trial, loss, w[:, :-1]), LRS[0], name))
    return Exact(*np.stack(found, 1))


def measure(trial):
    """Full batch at every learning rate, minibatches at the first."""
    evidence, norms = full(trial, pair.LOSSES, free)
    # the bound of the norm is of order 1, and so is its share; rounding of 3000 steps as for the sums
    grown = TIMES[-1] * pair.ROUNDINGS * pair.UNIT * (1 + max(LRS) * max(map(pair.largest_term, BOUNDS)))
    return evidence | {"squared minibatch steps": on_minibatches(trial, pair.drawn_gradients), "norm": Exact(norms, grown)}


def broken(trial):
    """The norm held at 1; gradients of the whole loss for the minibatch's; descent from the first step on."""
    whole = on_minibatches(trial, lambda trial, loss, w: loss.gradient(w))
    lr, norms = max(LRS), []
    for name, (_, _, gap) in BOUNDS.items():
        w = free(trial, full_batch(name), lr)
        norms.append(np.einsum("pi,pi->p", w[:, -1], w[:, -1])
                     / exp_lr.sq_norm_limit_bound(sq_norm=1.0, lr=lr, loss_gap=gap))
    return full(trial, BOUNDS, held)[0] | {"squared minibatch steps": whole, "norm": Exact(np.stack(norms), 0.0)}


def proof():
    """The sum, the descent, the bound of the norm, and what follows for the least gradient."""
    whole = Derivation("Without decay every learning rate converges").including(*(f.derivation for f in (
        exp_lr.sum_of_squared_steps, exp_lr.guaranteed_decrease, exp_lr.sq_norm_limit_bound)))
    r, top, lr, steps, least = sympy.symbols("R_0 Rbar eta T m", positive=True)
    whole.step(r"$\nabla L(\hat w)=\|w\|\nabla L(w)$ and $\|w_t\|^2\leq\bar R$, so each of $T$ terms of the sum is at least",
               lr**2 * least / top)
    bound = sympy.solve(steps * lr**2 * least / top - (top - r), least)[0]
    whole.step(r"and $m=\min_{t<T}\|\nabla L(\hat w_t)\|^2$ at most", bound)
    whole.residual("the least gradient", bound - top * (top - r) / (lr**2 * steps))
    return whole.residual("goes to 0", sympy.limit(bound, steps, sympy.oo))


def figure(trial, left, right):
    """Left: the norm grows as far as it must. Right: the least gradient, its bound, and the control."""
    control, steps = pair.data_of(trial, broken), np.arange(1, TIMES[-1] + 1)
    for lr, color in zip(LRS, ("tab:blue", "tab:green", "tab:orange", "tab:red"), strict=True):
        r, smallest, top = trial.data["Rayleigh quotients", lr]
        left.loglog(steps, r[1:], color=color, label=rf"$\eta={lr:g}$")
        left.axhline(top, color=color, ls=":", lw=1)
        right.loglog(steps, np.maximum(smallest, 1e-16), color=color)
        right.loglog(steps, np.sqrt(top * (top - 1) / (lr**2 * steps)), color=color, ls=":", lw=1)
        if lr >= 3:
            right.loglog(steps, control["Rayleigh quotients", lr][1], color=color, ls="--", lw=1)
    left.plot([], [], color="0.4", ls=":", label=r"bound $\bar R$")
    right.plot([], [], color="0.4", ls=":", label=r"bound, $\propto T^{-1/2}$")
    right.plot([], [], color="0.4", ls="--", label=r"control: $\|w\|$ held at 1")
    left.set(xlabel=r"step $T$", ylabel=r"squared norm $\|w_T\|^2$", ylim=(0.7, 1500), title="The norm grows as it must …")
    right.set(xlabel=r"step $T$", ylabel=r"$\min_{t<T}\|\nabla L(\hat w_t)\|$", ylim=(1e-20, 30),
              title="… and every rate converges")
    left.legend(loc="upper center", ncols=3)
    right.legend(loc="lower left")


claim = Claim(
    "EXP-13", "Without weight decay every learning rate converges", paper="exp_lr",
    where="the convergence of normalised nets without weight decay, for any learning rate",
    statement=r"Without momentum and decay $\sum_{t<T}\eta^2\|\nabla L_t(w_t)\|^2=\|w_T\|^2-\|w_0\|^2$ for "
              r"scale-invariant losses; with the full batch and $L$ twice differentiable on the sphere $\|w_t\|$ "
              r"is bounded and $\min_{t<T}\|\nabla L(\hat w_t)\|\to0$, from any learning rate.",
    setup=rf"GD on three losses in $d=5$ from {PATHS} starts on the unit sphere, $\eta$ = "
          rf"{', '.join(map(str, LRS))}, up to {TIMES[-1]} steps; SGD at $\eta={LRS[0]}$ for {MINIBATCH_STEPS}",
    proof=proof, quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control="the norm need not grow: descent on the unit sphere converges from any learning rate; and the loss "
            r"falls from the first step on, so that $\|w_T\|^2\leq\|w_0\|^2+2\eta(\max L-\min L)$; on minibatches "
            r"the sum is that of $\nabla L$")
