r"""EXP-3: the algebra of updates: what scalings do to a step, and weight decay as two scalings of the learning rate.

.. math:: GD^\rho(w,\eta)=(\rho w-\eta\nabla L(w),\eta),\quad \Pi_1^c(w,\eta)=(cw,\eta),\quad \Pi_2^c(w,\eta)=(w,c\eta):
          \qquad \Pi_1^c\Pi_2^{c^2}\,GD^1 = GD^1\,\Pi_1^c\Pi_2^{c^2}, \qquad
          GD^\rho = \Pi_2^\rho\,\Pi_1^\rho\,GD^1\,\Pi_2^{1/\rho}

for a scale-invariant L and c, ρ > 0. So decay is multiplication of η by 1/ρ before and by ρ after the step,
up to a scaling that L does not see. With momentum (cw, v/c, c²η). At random states, on minibatches of three losses. No clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sdetheory.evidence import Exact

from paper_checks.exp_lr.side_by_side import DIM, LOSSES, ROUNDINGS, UNIT, largest_term, loss_named
from sdetheory.claims import Claim, Control, Run
from sdetheory.sphere import normalise
from sdetheory.symbolic import Derivation
from sdetheory.theory import exp_lr
from sdetheory.theory.formula import joint_derivation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 64  # states a loss and factor: an exact statement needs no more
FACTORS = (0.3, 0.7, 3.0, 10.0)  # c; no powers of 2, for which floating point is exact
SHRINKAGES = (0.5, 0.9, 0.99, 0.999)  # rho = 1 − ηλ
MOMENTUM = 0.9
RESOLUTION = 1e-8
NAMES = ("commuting", "decay as scaling", "functions", "momentum")
Array = NDArray[np.float64]
State = tuple[Array, Array]


class _Losses:
    """One drawn minibatch a state: the steps GD, and random states, norms and rates over two decades."""

    def __init__(self, name: str, n: int, seed: np.random.SeedSequence) -> None:
        draws = np.random.default_rng(seed)
        self.loss = loss_named(name)
        self.u = draws.uniform(size=(n, self.loss.noise.batch_size))
        self.w = normalise(draws.normal(size=(n, DIM))) * 10 ** draws.uniform(-1, 1, (n, 1))
        self.sq_norm = np.sum(self.w**2, axis=1)
        self.lr = self.sq_norm * 10 ** draws.uniform(-2, 0, n)  # effective rates 0.01 … 1
        self.v = draws.normal(size=(n, DIM)) / np.sqrt(self.sq_norm)[:, None]

    def gradient(self, w: Array) -> Array:
        return self.loss.noise.minibatch_gradient(w, self.u)

    def step(self, state: State, shrinkage: float = 1.0) -> State:
        """GD^ρ."""
        w, lr = state
        return shrinkage * w - lr[:, None] * self.gradient(w), lr

    def momentum_step(self, w: Array, v: Array, lr: Array) -> tuple[Array, Array]:
        v = MOMENTUM * v + self.gradient(w)
        return w - lr[:, None] * v, v


def _scaled(state: State, weights: float = 1.0, lr: float = 1.0) -> State:
    """Π1 and Π2."""
    return weights * state[0], lr * state[1]


def _apart(a: Any, b: Any) -> Array:
    """The largest relative difference of the parts of two states, (n,)."""
    gaps = []
    for x, y in zip(a, b, strict=True):
        size = np.linalg.norm if x.ndim == 2 else lambda z, axis: np.abs(z)
        gaps.append(size(x - y, axis=-1) / size(y, axis=-1))
    return np.max(gaps, axis=0)


def measured(run: Run, power: float = 2.0) -> dict[str, Exact]:
    """The gaps; the learning rate goes with c^power, and with ρ^(∓power/2)."""
    n = run.paths(POINTS)
    found: dict[str, list[Array]] = {name: [] for name in NAMES}
    bounds: dict[str, list[Array]] = {name: [] for name in NAMES}
    for name, seed in zip(LOSSES, _seeds(run), strict=True):
        losses = _Losses(name, n, seed)
        start, size = (losses.w, losses.lr), losses.lr * largest_term(name) / losses.sq_norm
        # every rounding is a relative error of w or of a term of η∇L; the step is no shorter than ρ‖w‖
        bound = ROUNDINGS * UNIT * (1 + size)
        for c in FACTORS:
            left, right = _scaled(losses.step(start), c, c**power), losses.step(_scaled(start, c, c**power))
            found["commuting"].append(_apart(left, right))
            bounds["commuting"].append(bound)
            w, v = losses.momentum_step(losses.w, losses.v, losses.lr)
            other = losses.momentum_step(c * losses.w, losses.v / c, c**power * losses.lr)
            found["momentum"].append(_apart(other, (c * w, v / c)))
            # the buffer counts among the terms; here w' and v' may be short
            terms = np.linalg.norm(losses.v, axis=1) + largest_term(name) / np.sqrt(losses.sq_norm)
            bounds["momentum"].append(ROUNDINGS * UNIT * np.maximum(
                (np.sqrt(losses.sq_norm) + losses.lr * terms) / np.linalg.norm(w, axis=1), terms / np.linalg.norm(v, axis=1)))
        for rho in SHRINKAGES:
            k = rho ** (power / 2)
            direct = losses.step(start, rho)
            raised = losses.step(_scaled(start, lr=1 / k))
            found["decay as scaling"].append(_apart(_scaled(raised, rho, k), direct))
            found["functions"].append(_apart([normalise(raised[0])], [normalise(direct[0])]))
            for part in ("decay as scaling", "functions"):
                bounds[part].append((bound + ROUNDINGS * UNIT * size / rho) / rho)
    run.data.update({name: np.max(found[name]) for name in NAMES}, bounds={name: np.max(bounds[name]) for name in NAMES})
    return {name: Exact(np.stack(found[name]), np.stack(bounds[name])) for name in NAMES}


def _seeds(run: Run) -> list[np.random.SeedSequence]:
    """Children of the run's seed; made here, as `spawn` gives others each time."""
    return [np.random.SeedSequence(run.rng.entropy, spawn_key=(*run.rng.spawn_key, i)) for i in range(len(LOSSES))]


def half_powers(run: Run) -> dict[str, Exact]:
    """The control: c in place of c², ρ^(1/2) in place of ρ."""
    return measured(run, power=1.0)


def derivation() -> Derivation:
    """Both identities on states in every dimension, and the scaling of state and buffer."""
    return joint_derivation("The algebra of updates", exp_lr.decay_free_lr, exp_lr.lr_factor, exp_lr.buffer_factor)


def figure(run: Run) -> Figure:
    """One step with decay on the plane, three ways; and what is left of the identities."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.2, 3.8), layout="constrained")
    left, right = fig.subplots(1, 2)
    rho, lr, w, g = 0.7, 0.5, np.array([1.0, 0.4]), np.array([-0.4, 1.0])
    raised, direct = w - lr / rho * g, rho * w - lr * g
    for ray in (w, raised):
        left.plot([0, 1.35 * ray[0]], [0, 1.35 * ray[1]], color="0.75", lw=0.8)
    arrows = ((w, direct, "tab:blue", r"$GD^\rho$, rate $\eta$"), (w, raised, "tab:orange", r"$GD^1$, rate $\eta/\rho$"),
              (raised, direct, "tab:green", r"$\Pi_1^\rho$: no function changes"))
    for start, end, colour, label in arrows:
        left.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "->", "color": colour, "lw": 2})
        left.plot([], [], color=colour, lw=2, label=label)
    left.text(*(w + [0.03, 0.02]), "$w$", fontsize=11)
    left.set(aspect="equal", xlim=(-0.05, 1.8), ylim=(-0.55, 1.15), xlabel="$w_1$", ylabel="$w_2$")
    left.set_title("Decay is a larger step, scaled down", fontsize=11)
    left.legend(frameon=False, fontsize=8, loc="upper left")
    control = Run(run.rng, run.mode)
    half_powers(control)
    rows = np.arange(len(NAMES))
    right.plot([run.data[name] for name in NAMES], rows, "o", color="tab:blue", label="the identities")
    right.plot([control.data[name] for name in NAMES], rows, "s", color="tab:red", mfc="none", label="control: half the powers")
    right.plot([run.data["bounds"][name] for name in NAMES], rows, "|", color="0.4", ms=12, label="bound on rounding")
    right.set(xscale="log", yticks=rows, ylim=(-0.6, 4.3), xlabel="largest relative difference")
    right.set_yticklabels(NAMES, fontsize=9)
    right.set_title("Exact on every state and minibatch", fontsize=11)
    right.legend(frameon=False, fontsize=8, loc="upper center")
    return fig


claim = Claim(
    "EXP-3",
    title="The algebra of updates",
    paper="exp_lr",
    statement=r"For a scale-invariant loss and $c,\rho>0$: $\Pi_1^c\Pi_2^{c^2}$ commutes with $GD^1$, and "
              r"$GD^\rho=\Pi_2^\rho\Pi_1^\rho GD^1\Pi_2^{1/\rho}$. Up to a scaling that the loss does not see, weight decay is "
              r"multiplication of $\eta$ by $1/\rho$ before the step and by $\rho$ after it.",
    derivation=derivation,
    prediction=dict.fromkeys(NAMES, 0.0),
    simulation=measured,
    resolution=dict.fromkeys(NAMES, RESOLUTION),
    negative_control=Control(r"half the powers on the learning rate: $\Pi_2^c$ and $\Pi_2^{1/\sqrt\rho}$",
                             simulation=half_powers),
    figure=figure,
)
