r"""EXP-2: how the norm of the weights moves, step by step.

.. math:: \mu = 0: \quad \|w_{t+1}\|^2 = (1-\eta\lambda)^2\|w_t\|^2 + \eta^2\|\nabla L_{t+1}(w_t)\|^2, \qquad
          \lambda = 0: \quad \|w_{t+1}\|^2 = \|w_t\|^2 - 2\eta\mu\langle w_t,v_t\rangle + \eta^2\|v_{t+1}\|^2, \quad
          \langle w_{t+1},v_{t+1}\rangle = \mu\langle w_t,v_t\rangle - \eta\|v_{t+1}\|^2

for scale-invariant losses L_t and schedules of η, λ. Without decay the norm never falls if the buffer starts at 0; one
that points outwards makes it fall. The gradients of the drawn minibatches are computed apart, in NumPy. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sdetheory.evidence import Between, Exact

from paper_checks.exp_lr.side_by_side import (
    LOSSES,
    RESOLUTION,
    ROUNDINGS,
    UNIT,
    drawn_gradients,
    largest_term,
    loss_named,
    sgd,
    start_of,
)
from sdetheory.claims import Claim, Control, Relative, Run
from sdetheory.schedules import Cosine, Triangular
from sdetheory.symbolic import Derivation
from sdetheory.theory import exp_lr
from sdetheory.theory.formula import joint_derivation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = 200
LR, DECAY, MOMENTUM = Triangular(0.1, 0.3, period=50), Cosine(0.1, STEPS), 0.9
PENALTY = 0.05  # the control's: (λ/2)‖w‖² in the loss
Array = NDArray[np.float64]


def _weights(run: Run, loss: Any, v0: Array, **given: Any) -> Array:
    """w_0 … w_STEPS, (paths, STEPS + 1, d)."""
    found = sgd(run, loss, start_of(run)[0], v0, lr=LR, n_steps=STEPS, every=1, **given)
    return found["direction"] * np.sqrt(found["sq_norm"])[..., None]


def _dot(a: Array, b: Array) -> Array:
    return np.einsum("...i,...i->...", a, b)


def _without_momentum(run: Run, name: str, penalty: float) -> tuple[Array, Array]:
    """‖w_{t+1}‖² over its prediction, and the rounding bound."""
    loss, lr = loss_named(name), LR.table(STEPS)
    decay = DECAY.table(STEPS)
    w = _weights(run, loss, 0 * start_of(run)[1], weight_decay=decay + penalty)
    r = _dot(w, w)
    gradient = drawn_gradients(run, loss, w[:, :-1]) + penalty * w[:, :-1]
    right = exp_lr.sq_norm_step(sq_norm=r[:, :-1], lr=lr, weight_decay=decay, sq_grad=_dot(gradient, gradient))
    # Every rounding is a relative error of w or of a term of η∇L; ‖w'‖ >= (1 − ηλ)‖w‖ > 0.9 ‖w‖
    bound = ROUNDINGS * UNIT * (1 + lr * largest_term(name) / r[:, :-1]) / 0.9
    return r[:, 1:] / right, bound


def _with_momentum(run: Run, name: str, v0: Array, penalty: float) -> dict[str, Array]:
    """The same with momentum and without decay; the overlap relative to ‖w‖ and the longest v; and the growth itself."""
    loss, lr = loss_named(name), LR.table(STEPS)
    w = _weights(run, loss, v0, momentum=MOMENTUM, weight_decay=penalty)
    r = _dot(w, w)
    gradient = drawn_gradients(run, loss, w[:, :-1]) + penalty * w[:, :-1]
    v = np.empty(w.shape)
    v[:, 0] = v0
    for t in range(STEPS):
        v[:, t + 1] = MOMENTUM * v[:, t] + gradient[:, t]
    overlap, square = _dot(w, v), _dot(v, v)
    right = exp_lr.sq_norm_step_momentum(sq_norm=r[:, :-1], overlap=overlap[:, :-1], lr=lr, momentum=MOMENTUM,
                                         sq_buffer=square[:, 1:])
    after = exp_lr.overlap_step(overlap=overlap[:, :-1], lr=lr, momentum=MOMENTUM, sq_buffer=square[:, 1:])
    # a rounding of the gradient lives in the buffer for 1/(1 − μ) steps; r falls by less than half in a step
    least = np.minimum.accumulate(np.sqrt(r[:, :-1]), axis=1)
    terms = largest_term(name) / least / (1 - MOMENTUM) + np.linalg.norm(v0, axis=1)[:, None]
    bound = 2 * ROUNDINGS * UNIT * (1 + lr * terms / least)
    longest = np.sqrt(square.max(1, keepdims=True))
    in_overlap = bound + ROUNDINGS * UNIT * terms / longest
    length = np.sqrt(r[:, 1:]) * longest
    return {"ratio": r[:, 1:] / right, "overlap": (overlap[:, 1:] - after) / length,
            "growth": r[:, 1:] / r[:, :-1] - 1, "bound": bound, "overlap bound": in_overlap, "sq_norm": r}


def _measured(run: Run, penalty: float = 0.0) -> dict[str, Exact]:
    """All comparisons, on every loss; with `penalty`, that of a loss with an L2 penalty, taken as part of its gradient."""
    found: dict[str, list[Array]] = {name: [] for name in ("plain", "plain bound", "ratio", "overlap", "bound",
                                                           "overlap bound", "least", "rounding", "first", "first rounding")}
    w0, kick = start_of(run)
    for name in LOSSES:
        ratio, bound = _without_momentum(run, name, penalty)
        any_start, from_zero, outward = (_with_momentum(run, name, v0, penalty) for v0 in (kick, 0 * kick, w0))
        found["plain"].append(ratio)
        found["plain bound"].append(bound)
        for part in ("ratio", "overlap", "bound", "overlap bound"):
            found[part].append(any_start[part])
        found["least"].append(from_zero["growth"].min(1))
        found["rounding"].append(from_zero["bound"].max(1))
        found["first"].append(outward["growth"][:, 0])
        found["first rounding"].append(outward["bound"][:, 0])
        run.data[name] = {"zero": from_zero["sq_norm"], "outward": outward["sq_norm"]}
    each = {part: np.stack(values) for part, values in found.items()}
    return {
        "no momentum": Exact(each["plain"], each["plain bound"]),
        "momentum": Exact(each["ratio"], each["bound"]),
        "overlap": Exact(each["overlap"], each["overlap bound"]),
        "least growth from an empty buffer": Exact(each["least"], each["rounding"]),
        "first growth from a buffer outwards": Exact(each["first"], each["first rounding"]),
    }


def penalised(run: Run) -> dict[str, Exact]:
    """The control: the loss has a penalty, whose gradient counts as ∇L."""
    found = _measured(run, PENALTY)
    del found["first growth from a buffer outwards"]  # falls all the more
    return found


def derivation() -> Derivation:
    """Both laws of the norm and that of the overlap, in every dimension."""
    return joint_derivation("The norm, step by step", exp_lr.sq_norm_step, exp_lr.sq_norm_step_momentum, exp_lr.overlap_step)


def figure(run: Run) -> Figure:
    """The squared norm without decay, from an empty buffer and from one that points outwards."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(6.4, 3.8), layout="constrained")
    ax = fig.subplots()
    for name, colour in zip(LOSSES, ("tab:blue", "tab:orange", "tab:green"), strict=True):
        ax.semilogy(run.data[name]["zero"][:2, :101].T, color=colour, lw=1.2)
        ax.semilogy(run.data[name]["outward"][:2, :101].T, color=colour, lw=1, ls="--")
        ax.plot([], [], color=colour, label=name)
    ax.plot([], [], color="0.4", label=r"$v_0=0$: never falls")
    ax.plot([], [], color="0.4", ls="--", label=r"$v_0=w_0$, outwards: falls")
    ax.set(xlabel=r"step $t$", ylabel=r"squared norm $\|w_t\|^2$")
    ax.set_title("Without decay the norm only grows, unless the buffer points outwards", fontsize=11)
    ax.legend(frameon=False, fontsize=8)
    return fig


NAMES = ("no momentum", "momentum", "overlap", "least growth from an empty buffer", "first growth from a buffer outwards")

claim = Claim(
    "EXP-2",
    title="How the norm grows",
    paper="exp_lr",
    statement=r"For scale-invariant losses, $\|w_{t+1}\|^2=(1-\eta\lambda)^2\|w_t\|^2+\eta^2\|\nabla L_{t+1}(w_t)\|^2$ without "
              r"momentum. With momentum, no decay and $v_0=0$ the norm never falls, as $\langle w_t,v_t\rangle\leq0$; a buffer "
              r"that points outwards at the start makes it fall.",
    derivation=derivation,
    prediction=dict(zip(NAMES, (1.0, 1.0, 0.0, Between(low=0.0), Between(high=0.0)), strict=True)),
    simulation=_measured,
    resolution=dict(zip(NAMES, (Relative(RESOLUTION), Relative(RESOLUTION), *[RESOLUTION] * 3), strict=True)),
    negative_control=Control(r"an L2 penalty counted as part of the loss, $g=\nabla L+0.05\,w$, changes nothing",
                             simulation=penalised),
    figure=figure,
)
