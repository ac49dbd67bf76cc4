r"""ILR-8: learning rate, decay and the norm of the weights hold one number too many.

.. math:: (\eta_t, \lambda_t, w_0, v_0) \quad\text{and}\quad (c^2\eta_t, \lambda_t/c^2, c\,w_0, v_0/c):
          \qquad \tilde w_t = c\,w_t,\quad \tilde v_t = v_t/c \quad\text{at every step,}

so both runs compute the same functions: SGD with momentum, any schedule, any noise of a scale-invariant loss; and the
SDE. To tune lr at fixed lr·decay is to tune ‖w_0‖. With c a power of 2 the two runs agree to the last bit. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sdetheory.evidence import Exact

import sdetheory as sdt
from sdetheory.claims import Claim, Control, Relative, Run
from sdetheory.stats.rounding import response_error
from sdetheory.symbolic import Derivation
from sdetheory.theory import intrinsic_lr as ilr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOSS = sdt.losses.RayleighQuotient([2.0, 1.0, 0.5, 0.0, 0.0], noise=sdt.noises.Tangent(0.5))
LR, DECAY, MOMENTUM = 0.2, 0.05, 0.9
STEPS, DROP, EVERY = 600, 300, 5  # the learning rate is divided by 4 at step DROP
FACTORS = (1.25, 3.0, 0.1, 100.0)
POWERS_OF_TWO = (4.0, 1 / 32)
PATHS = 16  # the statement is about each path

# Roundings of one step: gradient and noise take two inner products of d terms, a root and five more operations each,
# 2(2 d + 8); the update takes 6 and the observable d + 4. In the other run as much again.
STEP_ROUNDING = 2 * (2 * (2 * LOSS.dim + 8) + 6 + LOSS.dim + 4)
PROBE = 1e-7  # size of the change of the start by which the growth of errors is measured
RESOLUTION = 1e-8


class _Dropped:
    """A value, divided by 4 from step DROP on."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __call__(self, step: float) -> float:
        return self.value / 4 if step >= DROP else self.value


def _run(run: Run, lr: float, decay: float, scale: float = 1.0, buffer: float = 1.0, tilt: float = 0.0) -> dict[str, Any]:
    """The same start and the same noise, scaled: loss, direction and squared norm at every EVERY-th step."""
    start, kick = np.random.default_rng(run.rng).normal(size=(2, PATHS, LOSS.dim))
    start /= np.linalg.norm(start, axis=1, keepdims=True)
    start += tilt * np.roll(start, 1, axis=1)
    rule = sdt.SGD(LOSS, lr=_Dropped(lr), weight_decay=decay, momentum=MOMENTUM, v0=0.3 * kick * buffer)
    runs = sdt.simulate(rule, scale * start, n_steps=STEPS, n_paths=PATHS, save_every=EVERY,
                        observe=["loss", "direction", "sq_norm"], rng=run.rng)
    return {"loss": runs.loss.values, "direction": runs.direction.values, "sq_norm": runs.sq_norm.values}


def _compared(run: Run, decay_of: Any) -> dict[str, Exact]:
    """Scaled runs against the first: differences of functions, ratios of squared norms over c²."""
    first = _run(run, LR, DECAY)
    near = _run(run, LR, DECAY, tilt=PROBE)
    # what a relative error becomes is measured with the same noise, of the worst path
    apart = np.linalg.norm(near["direction"] - first["direction"], axis=-1).max(0)
    steps = np.arange(0, STEPS + 1, EVERY)
    bound = response_error(apart, steps, probe=PROBE, roundings=STEP_ROUNDING)
    found: dict[str, list[np.ndarray]] = {"loss": [], "direction": [], "sq_norm": []}
    for c in FACTORS:
        other = _run(run, ilr.equivalent_lr(lr=LR, scale=c), decay_of(DECAY, c), c, 1 / c)
        found["loss"].append(np.abs(other["loss"] - first["loss"]).max(0))
        found["direction"].append(np.linalg.norm(other["direction"] - first["direction"], axis=-1).max(0))
        ratio = other["sq_norm"] / (c**2 * first["sq_norm"])
        found["sq_norm"].append(1 + np.abs(ratio - 1).max(0))
    run.data.update(steps=steps, bound=bound, first=first)
    # |dL| <= |∇L| |dŵ| with |∇L| <= (a_max − a_min)/2 = 1; log |w|² moves by less than 4 |dŵ| and its own rounding
    weight = {"loss": 1.0, "direction": 1.0, "sq_norm": 4.0}
    return {name: Exact(np.stack(values), np.broadcast_to(weight[name] * bound, (len(FACTORS), bound.size)))
            for name, values in found.items()}


def simulation(run: Run) -> dict[str, Any]:
    """Any c to rounding; a power of two to the bit."""
    found = _compared(run, lambda decay, c: ilr.equivalent_weight_decay(weight_decay=decay, scale=c))
    run.data["gaps"] = found["direction"].value
    first = run.data["first"]
    bits = []
    for c in POWERS_OF_TWO:  # multiplication by them commutes with every rounding
        other = _run(run, ilr.equivalent_lr(lr=LR, scale=c), ilr.equivalent_weight_decay(weight_decay=DECAY, scale=c),
                     c, 1 / c)
        bits.append(max(np.abs(other[name] - first[name]).max() for name in ("loss", "direction")))
    return found | {"power of two": Exact(np.array(bits), 0.0)}


def inverse_decay(run: Run) -> dict[str, Any]:
    """The control: decay over c, not over c²."""
    return _compared(run, lambda decay, c: decay / c)


def derivation() -> Derivation:
    """By induction over the steps on (w, v), and for the SDE; any dimension, schedule and noise."""
    whole = Derivation("The equivalence").including(ilr.equivalent_lr.derivation)
    return whole.residual("the decay", ilr.equivalent_weight_decay.derivation.residuals["value"])


def figure(run: Run) -> Figure:
    """How far the scaled runs stray from the first: rounding with the right decay, order 1 with the wrong one."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(6.4, 3.8), layout="constrained")
    ax = fig.subplots()
    steps, gaps = run.data["steps"], run.data["gaps"]
    wrong = inverse_decay(run)["direction"].value
    for c, gap, off, colour in zip(FACTORS, gaps, wrong, ("tab:blue", "tab:orange", "tab:green", "tab:purple"),
                                   strict=True):
        ax.semilogy(steps[1:], off[1:], color=colour, lw=1.2, ls="--")
        ax.semilogy(steps[1:], np.maximum(gap[1:], 1e-17), color=colour, lw=1.2, label=f"$c={c:g}$")
    ax.semilogy(steps[1:], run.data["bound"][1:], color="0.5", lw=1.5, ls=":", label="bound on rounding")
    ax.plot([], [], color="0.4", ls="--", label=r"control: $\lambda/c$")
    ax.set(xlabel=r"step $k$ (the learning rate is divided by 4 at step 300)", ylim=(1e-17, 30),
           ylabel=r"distance of directions $\|\tilde w_k/\|\tilde w_k\|-\hat w_k\|$")
    ax.set_title(r"$(c^2\eta,\ \lambda/c^2,\ c\,w_0)$ is the same run as $(\eta,\ \lambda,\ w_0)$", fontsize=11)
    ax.legend(frameon=False, fontsize=8, ncols=2, loc="center right", bbox_to_anchor=(1.0, 0.62))
    return fig


claim = Claim(
    "ILR-8",
    title="Learning rate, decay and norm: an exact equivalence",
    paper="intrinsic_lr",
    statement=r"For a scale-invariant loss, $(\eta_t,\lambda_t,w_0,v_0)$ and $(c^2\eta_t,\lambda_t/c^2,c\,w_0,v_0/c)$ give the "
              r"same functions at every step of SGD with momentum, exactly; and the same SDE. Hence tuning $\eta$ at "
              r"fixed $\eta\lambda$ is tuning $\|w_0\|$.",
    derivation=derivation,
    prediction={"loss": 0.0, "direction": 0.0, "sq_norm": 1.0, "power of two": 0.0},
    simulation=simulation,
    resolution={"loss": RESOLUTION, "direction": RESOLUTION, "sq_norm": Relative(RESOLUTION),
                "power of two": RESOLUTION},
    negative_control=Control(r"$\lambda/c$ in place of $\lambda/c^2$: weights up by $c$, decay down by $c$",
                             simulation=inverse_decay),
    figure=figure,
)
