r"""EXP-13: without weight decay, gradient descent converges from any learning rate.

.. math:: \lambda = \mu = 0: \qquad \sum_{t<T}\eta^2\|\nabla L_t(w_t)\|^2 = \|w_T\|^2 - \|w_0\|^2

for scale-invariant losses, minibatches too. With the full batch and |∇²L| ≤ h on the sphere the norm stays bounded: one step
may lead from below ηh to above it; from there on all are steps of descent, in which ‖w‖² grows by at most 2η for each unit
that the loss falls. So

.. math:: \|w_T\|^2 \le \bar R = \max\bigl(\|w_0\|^2,\ \eta h + \eta^2G^2/\|w_0\|^2\bigr) + 2\eta\,(\max L - \min L), \qquad
          \min_{t<T}\|\nabla L(\hat w_t)\|^2 \le \frac{\bar R\,(\bar R - \|w_0\|^2)}{\eta^2\,T} \to 0

with G the largest ‖∇L‖ on the sphere. The effective learning rate anneals itself. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from numpy.typing import NDArray
from sdetheory.evidence import Between, Exact

from paper_checks.exp_lr.side_by_side import (
    INPUTS,
    LABELS,
    LOSSES,
    MATRICES,
    QUARTICS,
    ROUNDINGS,
    UNIT,
    drawn_gradients,
    largest_term,
    loss_named,
    sgd,
    start_of,
)
from sdetheory.claims import Claim, Control, Relative, Run
from sdetheory.losses import BatchNormLinear, FiniteSum, RayleighQuotient, SphereQuartic
from sdetheory.sphere import normalise
from sdetheory.symbolic import Derivation
from sdetheory.theory import exp_lr
from sdetheory.theory.formula import joint_derivation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LRS = (0.1, 1.0, 3.0, 10.0)  # at the start η/‖w‖² times curvature is from 0.2 to 30: stable below 2
TIMES = (30, 300, 3000)
PATHS = 8
MINIBATCH_STEPS = 400
RESOLUTION = 1e-5  # of the sums, for rounding over 3000 steps in which the norm may grow by a per cent only
Array = NDArray[np.float64]

_SPREAD = float(np.ptp(np.linalg.eigvalsh(MATRICES.mean(0))))
_LARGEST = float(QUARTICS.mean(0).max())
# (h, G, max L − min L) on the sphere. ∇²L has a block B across w, 0 along it (EXP-1) and −∇L off the diagonal, so that
# h <= (|B| + (|B|² + 4 G²)^(1/2))/2. Rayleigh quotients of spread D: |B| <= D, G <= D/2. Quartics with 0 < a_i <= m:
# 3 a_i ŵ_i² − Σ a ŵ⁴ lies in [−m, 3 m], G <= m, 0 < L <= m/4.
BOUNDS = {"Rayleigh quotients": (_SPREAD * (1 + 2**0.5) / 2, _SPREAD / 2, _SPREAD / 2),
          "quartics": (_LARGEST * (3 + 13**0.5) / 2, _LARGEST, _LARGEST / 4)}


def full_batch(name: str) -> Any:
    """The mean loss, as a sum of two equal ones: every minibatch is the full batch, and the kernel is known."""
    if name == "batch norm":
        return BatchNormLinear(INPUTS, LABELS, batch_size=len(INPUTS))
    mean = RayleighQuotient(MATRICES.mean(0)) if name == "Rayleigh quotients" else SphereQuartic(QUARTICS.mean(0))
    return FiniteSum([mean, mean], batch_size=2)


def norm_bound(name: str, lr: float) -> float:
    """The bound R̄ of ‖w_T‖² from ‖w_0‖ = 1."""
    h, largest, gap = BOUNDS[name]
    return float(exp_lr.sq_norm_limit_bound(sq_norm=max(1.0, lr * h + lr**2 * largest**2), lr=lr, loss_gap=gap))


def _held(run: Run, loss: Any, lr: float) -> Array:
    """The control's weights: descent with the norm put back to 1 after each step, (paths, steps, d)."""
    w = [start_of(run)[0][:PATHS]]
    for _ in range(TIMES[-1]):
        w.append(normalise(w[-1] - lr * loss.gradient(w[-1])))
    return np.stack(w, axis=1)


def _sums(w: Array, gradient: Array, lr: float, name: str) -> tuple[Array, Array]:
    """(‖w_T‖² − ‖w_0‖²)/Σ η²‖∇L‖² of each path, and the bound on rounding."""
    r = np.einsum("...i,...i->...", w, w)
    total = lr**2 * np.einsum("pti,pti->p", gradient, gradient)
    # a step moves ‖w‖² by ROUNDINGS relative errors of itself and of the terms of η∇L, on which w stands
    each = ROUNDINGS * UNIT * (r[:, :-1] + lr * largest_term(name) * np.sqrt(r[:, 1:] / r[:, :-1]))
    return (r[:, -1] - r[:, 0]) / total, each.sum(1) / total


def measured(run: Run, held: bool = False) -> dict[str, Exact]:
    """Full batch at every learning rate, minibatches at the first; with `held`, the norm is held at its start."""
    w0 = start_of(run)[0][:PATHS]
    empty = 0 * w0
    sums, least, least_rounding, norms = [], [], [], []
    for name in LOSSES:
        if held and name not in BOUNDS:
            continue
        loss = full_batch(name)
        for lr in LRS:
            if held:
                w = _held(run, loss, lr)
            else:
                found = sgd(run, loss, w0, empty, lr=lr, n_steps=TIMES[-1], every=1)
                w = found["direction"] * np.sqrt(found["sq_norm"])[..., None]
            gradient = loss.gradient(w[:, :-1])
            sums.append(_sums(w, gradient, lr, name))
            if name not in BOUNDS:
                continue
            size = np.linalg.norm(gradient, axis=-1) * np.linalg.norm(w[:, :-1], axis=-1)
            smallest = np.minimum.accumulate(size, axis=1)
            top = norm_bound(name, lr)
            limit = np.sqrt(top * exp_lr.sum_of_squared_steps(sq_norm=1.0, sq_norm_end=top) / (lr**2 * np.array(TIMES)))
            least.append(smallest[:, np.array(TIMES) - 1] / limit)
            least_rounding.append(np.broadcast_to(ROUNDINGS * UNIT * largest_term(name) / limit, least[-1].shape))
            norms.append(np.einsum("pi,pi->p", w[:, -1], w[:, -1]) / top)
            run.data[f"{name} {lr:g}"] = np.linalg.norm(w, axis=-1)[0] ** 2, smallest.max(0), top
    ratio, rounding = (np.stack(part) for part in zip(*sums, strict=True))
    evidence = {"squared steps": Exact(ratio, rounding), "least gradient": Exact(np.stack(least), np.stack(least_rounding))}
    if held:
        return evidence
    drawn = []
    for name in LOSSES:
        loss = loss_named(name)
        found = sgd(run, loss, w0, empty, lr=LRS[0], n_steps=MINIBATCH_STEPS, every=1)
        w = found["direction"] * np.sqrt(found["sq_norm"])[..., None]
        drawn.append(_sums(w, drawn_gradients(run, loss, w[:, :-1]), LRS[0], name))
    ratio, rounding = (np.stack(part) for part in zip(*drawn, strict=True))
    # the bound of the norm is of order 1, and so is its share; rounding of 3000 steps as for the sums
    grown = TIMES[-1] * ROUNDINGS * UNIT * (1 + max(LRS) * max(map(largest_term, BOUNDS)))
    return evidence | {"squared minibatch steps": Exact(ratio, rounding), "norm": Exact(np.stack(norms), grown)}


def at_fixed_norm(run: Run) -> dict[str, Exact]:
    """The control: no annealing, the effective learning rate is η for ever."""
    return measured(run, held=True)


def derivation() -> Derivation:
    """The sum, the descent, the bound of the norm, and what follows for the least gradient."""
    whole = joint_derivation("Without decay every learning rate converges", exp_lr.sum_of_squared_steps,
                             exp_lr.guaranteed_decrease, exp_lr.sq_norm_limit_bound)
    r, top, lr, steps, least = sympy.symbols("R_0 Rbar eta T m", positive=True)
    whole.step(r"$\nabla L(\hat w)=\|w\|\nabla L(w)$ and $\|w_t\|^2\leq\bar R$, so each of $T$ terms of the sum is at least",
               lr**2 * least / top)
    bound = sympy.solve(steps * lr**2 * least / top - (top - r), least)[0]
    whole.step(r"and $m=\min_{t<T}\|\nabla L(\hat w_t)\|^2$ at most", bound)
    whole.residual("the least gradient", bound - top * (top - r) / (lr**2 * steps))
    return whole.residual("goes to 0", sympy.limit(bound, steps, sympy.oo))


def figure(run: Run) -> Figure:
    """Left: the norm grows as far as it must. Right: the least gradient, its bound, and the control."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.2, 3.8), layout="constrained")
    left, right = fig.subplots(1, 2)
    control = Run(run.rng, run.mode)
    at_fixed_norm(control)
    steps = np.arange(1, TIMES[-1] + 1)
    for lr, colour in zip(LRS, ("tab:blue", "tab:green", "tab:orange", "tab:red"), strict=True):
        r, smallest, top = run.data[f"Rayleigh quotients {lr:g}"]
        left.loglog(steps, r[1:], color=colour, label=rf"$\eta={lr:g}$")
        left.axhline(top, color=colour, ls=":", lw=1)
        right.loglog(steps, np.maximum(smallest, 1e-16), color=colour)
        right.loglog(steps, np.sqrt(top * (top - 1) / (lr**2 * steps)), color=colour, ls=":", lw=1)
        if lr >= 3:
            right.loglog(steps, control.data[f"Rayleigh quotients {lr:g}"][1], color=colour, ls="--", lw=1)
    left.plot([], [], color="0.4", ls=":", label=r"bound $\bar R$")
    right.plot([], [], color="0.4", ls=":", label=r"bound, $\propto T^{-1/2}$")
    right.plot([], [], color="0.4", ls="--", label=r"control: $\|w\|$ held at 1")
    left.set(xlabel=r"step $T$", ylabel=r"squared norm $\|w_T\|^2$", ylim=(0.7, 1500))
    right.set(xlabel=r"step $T$", ylabel=r"$\min_{t<T}\|\nabla L(\hat w_t)\|$", ylim=(1e-20, 30))
    left.set_title("The norm grows as far as it must …", fontsize=11)
    right.set_title("… and every learning rate converges", fontsize=11)
    left.legend(frameon=False, fontsize=8, loc="upper center", ncols=3)
    right.legend(frameon=False, fontsize=8, loc="lower left")
    return fig


NAMES = ("squared steps", "squared minibatch steps", "least gradient", "norm")

claim = Claim(
    "EXP-13",
    title="Without weight decay every learning rate converges",
    paper="exp_lr",
    statement=r"Without momentum and decay $\sum_{t<T}\eta^2\|\nabla L_t(w_t)\|^2=\|w_T\|^2-\|w_0\|^2$ for scale-invariant "
              r"losses; with the full batch and $L$ twice differentiable on the sphere $\|w_t\|$ is bounded and "
              r"$\min_{t<T}\|\nabla L(\hat w_t)\|\to0$, from any learning rate.",
    derivation=derivation,
    prediction=dict(zip(NAMES, (1.0, 1.0, Between(high=1.0), Between(high=1.0)), strict=True)),
    simulation=measured,
    resolution=dict(zip(NAMES, (Relative(RESOLUTION), Relative(RESOLUTION), RESOLUTION, RESOLUTION), strict=True)),
    negative_control=Control(r"the norm need not grow: descent on the unit sphere converges from any learning rate",
                             simulation=at_fixed_norm),
    figure=figure,
)
