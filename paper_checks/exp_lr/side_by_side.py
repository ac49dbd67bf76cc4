r"""Two runs of SGD side by side on the same minibatches, and how far rounding may part them.

One has weight decay, (η_t, λ_t, μ_t) and the start (w_0, v_0); the other has none, and in exact arithmetic

.. math:: \tilde w_t = P_t w_t, \qquad \tilde\eta_t = P_tP_{t+1}\,\eta_t, \qquad \tilde w_0 = w_0, \quad
          \tilde v_0 = v_0 + \beta w_0.

Minibatch t of path p is a function of (seed, p, t) alone, so both see the same losses L_t. Clock: steps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

import sdetheory as sdt
from sdetheory import Exact, Quantity, Relative
from sdetheory.claims import Trial
from sdetheory.losses import BatchNormLinear, FiniteSum, RayleighQuotient, SphereQuartic
from sdetheory.schedules import as_schedule
from sdetheory.sphere import normalise
from sdetheory.stats.rounding import response_error, unit_roundoff

__all__ = ["DIM", "EQUAL", "EVERY", "LOSSES", "PATHS", "RESOLUTION", "ROUNDINGS", "SETUP", "UNIT", "Gaps", "Other",
           "beside", "data_of", "draw", "drawn_gradients", "largest_term", "loss_named", "sgd", "start_of", "worst"]

DIM, SAMPLES, BATCH = 5, 8, 2
PATHS = 16  # the statements are about each path
EVERY = 5
RESOLUTION = 1e-8  # far above rounding, far below what a wrong exponent or buffer does
LOSSES = ("Rayleigh quotients", "quartics", "batch norm")
SETUP = (f"minibatches of Rayleigh quotients, sphere quartics and a batch-normalised linear classifier in $d={DIM}$, "
         f"{PATHS} random starts")

# What `worst` measures where two runs give the same functions, and a broken run does not.
EQUAL = {"loss": Quantity(0.0, RESOLUTION, broken=True), "direction": Quantity(0.0, RESOLUTION, broken=True),
         "sq_norm": Quantity(1.0, Relative(RESOLUTION), broken=True)}

_DATA = np.random.default_rng(1910_07454)
# no point is critical for all samples: there the noise would vanish, ‖w‖ fall and the run become unstable (EXP-12)
MATRICES = _DATA.normal(size=(SAMPLES, DIM, DIM))
MATRICES = np.diag(np.arange(DIM) / 2) + 0.25 * (MATRICES + MATRICES.swapaxes(1, 2))
QUARTICS = _DATA.uniform(0.5, 4.0, (SAMPLES, DIM))
INPUTS = _DATA.normal(size=(48, DIM))
LABELS = np.where(INPUTS @ np.arange(1, DIM + 1) + 3 * _DATA.normal(size=48) > 0, 1.0, -1.0)  # not separable
BN_BATCH = 12

UNIT = unit_roundoff()
PROBE = 1e-7  # the relative change of everything given by which the response to errors is measured
# Roundings of one step, every one a relative change of a weight, a datum or the learning rate: a sum over the
# weights, three over a batch, two roundings a term, and fewer than 40 other operations; in either run.
ROUNDINGS = 2 * (2 * (DIM + 3 * BN_BATCH) + 40)


def loss_named(name: str, change: Any = 0.0) -> Any:
    """The loss with its minibatches; `change(shape)` are relative changes of its data."""
    def data(given: NDArray[np.float64]) -> NDArray[np.float64]:
        return given * (1 + change(given.shape)) if callable(change) else given

    if name == "batch norm":
        return BatchNormLinear(data(INPUTS), LABELS, batch_size=BN_BATCH)
    if name == "quartics":
        return FiniteSum([SphereQuartic(a) for a in data(QUARTICS)], batch_size=BATCH)
    return FiniteSum([RayleighQuotient((a + a.T) / 2) for a in data(MATRICES)], batch_size=BATCH)


def largest_term(name: str) -> float:
    """A bound of the terms that a stochastic gradient at unit norm is summed from, on the sphere.

    Rayleigh quotients: ‖A w‖ and ρ, both below the Frobenius norm. Quartics: 2 max a. Batch norm: the residues u have
    the relative error of z − z̄ over s, and s is at least the least singular value of the centred batch over √B.
    """
    if name == "quartics":
        return 2 * float(np.abs(QUARTICS).max())
    if name == "Rayleigh quotients":
        return 2 * float(np.linalg.norm(MATRICES, axis=(1, 2)).max())
    batches = INPUTS.reshape(-1, BN_BATCH, DIM)
    least = np.linalg.svd(batches - batches.mean(1, keepdims=True), compute_uv=False).min() / np.sqrt(BN_BATCH)
    return float((np.linalg.norm(INPUTS, axis=1).max() / least) ** 2)


def drawn_gradients(trial: Trial, loss: Any, w: NDArray[np.float64]) -> NDArray[np.float64]:
    """∇L_t(w) of the minibatches that `sgd` draws at step t, by the NumPy formulas; w (paths, steps, DIM)."""
    paths, steps = np.arange(w.shape[0])[:, None, None], np.arange(w.shape[1])[:, None]
    draws = loss.noise.batch_size
    u = sdt.random.uniforms(sdt.random.stream_key(trial.rng, "path"), paths, steps * draws + np.arange(draws))
    return loss.noise.minibatch_gradient(w, u)


def start_of(trial: Trial) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """w_0 on the unit sphere and a buffer v_0 in any direction, (PATHS, DIM) each."""
    w0, v0 = np.random.default_rng(trial.rng).normal(size=(2, PATHS, DIM))
    return normalise(w0), 0.3 * v0


def sgd(trial: Trial, loss: Any, w0: ArrayLike, v0: ArrayLike, *, lr: Any, n_steps: int, weight_decay: Any = 0.0,
        momentum: Any = 0.0, every: int = EVERY) -> dict[str, NDArray[np.float64]]:
    """`loss` (paths, saves), `direction` (paths, saves, DIM) and `sq_norm` (paths, saves); one kernel a kind of loss."""
    rule = sdt.SGD(loss, lr=as_schedule("lr", lr), weight_decay=as_schedule("weight_decay", weight_decay),
                   momentum=as_schedule("momentum", momentum), v0=v0)
    w = sdt.simulate(rule, w0, n_steps=n_steps, n_paths=len(np.asarray(w0)), save_every=every, rng=trial.rng).w.values
    norm = np.linalg.norm(w, axis=-1, keepdims=True)
    return {"loss": loss.value(w / norm), "direction": w / norm, "sq_norm": norm[..., 0] ** 2}


class Other(NamedTuple):
    """The run without decay: its learning rates (n,), log P (n + 1,), and β, what is added to v_0 for each w_0."""

    lr: NDArray[np.float64]
    log_scale: NDArray[np.float64]
    tilt: float = 0.0
    leaning: float = 0.0  # max |η_t β_t|: how much of a step of the weights its buffer makes only to undo it


class Gaps(NamedTuple):
    """The worst path at each saved step: |ΔL|, ‖Δŵ‖, ‖w̃‖²/(P²‖w‖²), and the bound on what rounding does to each."""

    loss: NDArray[np.float64]
    direction: NDArray[np.float64]
    sq_norm: NDArray[np.float64]
    bound: NDArray[np.float64]
    steps: NDArray[np.int64]


def beside(trial: Trial, name: str, other: Other, *, lr: Any, weight_decay: Any, momentum: Any, n_steps: int) -> Gaps:
    """Run both, and the first once more with weights, buffer, data and learning rate changed by ±PROBE."""
    w0, v0 = start_of(trial)
    loss, given = loss_named(name), {"weight_decay": weight_decay, "momentum": momentum, "n_steps": n_steps}
    rates = np.broadcast_to(lr, (n_steps,))
    first = sgd(trial, loss, w0, v0, lr=rates, **given)
    second = sgd(trial, loss, w0, v0 + other.tilt * w0, lr=other.lr, momentum=momentum, n_steps=n_steps)
    signs = np.random.default_rng(0)

    def change(shape: tuple[int, ...]) -> NDArray[np.float64]:
        return PROBE * signs.choice([-1.0, 1.0], shape)

    near = sgd(trial, loss_named(name, change), w0 * (1 + change(w0.shape)), v0 * (1 + change(v0.shape)),
               lr=rates * (1 + PROBE), **given)
    moved = np.maximum(np.abs(near["loss"] - first["loss"]), np.linalg.norm(near["direction"] - first["direction"], axis=-1))
    moved = np.maximum(moved, np.abs(np.log(near["sq_norm"] / first["sq_norm"]))).max(0)
    steps = np.unique(np.append(np.arange(0, n_steps, EVERY), n_steps))
    # log P and 2 log P are sums of so many terms, each rounded
    bound = response_error(moved, steps, probe=PROBE, roundings=ROUNDINGS, besides=4 * np.abs(other.log_scale[steps]),
                           leverage=1 + other.leaning / (1 - np.max(momentum)))
    ratio = np.exp(np.log(second["sq_norm"]) - np.log(first["sq_norm"]) - 2 * other.log_scale[steps])
    furthest = np.take_along_axis(ratio, np.abs(ratio - 1).argmax(0)[None], 0)[0]
    return Gaps(np.abs(second["loss"] - first["loss"]).max(0),
                np.linalg.norm(second["direction"] - first["direction"], axis=-1).max(0), furthest, bound, steps)


def worst(found: list[Gaps]) -> dict[str, Exact]:
    """Losses, directions and squared norms of several pairs of runs, every saved step of each."""
    bound = np.concatenate([gaps.bound for gaps in found])
    return {name: Exact(np.concatenate([getattr(gaps, name) for gaps in found]), bound)
            for name in ("loss", "direction", "sq_norm")}


def data_of(trial: Trial, measure: Any) -> dict[str, Any]:
    """What another measurement, such as the broken one, leaves for the figure, on the random numbers of this trial."""
    other = Trial(trial.rng, trial.mode)
    measure(other)
    return other.data


def draw(ax: Any, gaps: Gaps, color: str, label: str | None = None, apart: Gaps | None = None) -> None:
    """The distance of directions and the bound on rounding against the step; dashed that of a broken run."""
    ax.semilogy(gaps.steps[1:], np.maximum(gaps.direction[1:], 1e-17), color=color, label=label)
    ax.semilogy(gaps.steps[1:], gaps.bound[1:], color=color, ls=":", lw=1)
    if apart is not None:
        ax.semilogy(apart.steps[1:], apart.direction[1:], color=color, ls="--", lw=1)
