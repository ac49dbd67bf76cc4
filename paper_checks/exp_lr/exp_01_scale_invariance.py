r"""EXP-1: gradient and Hessian of a scale-invariant loss.

.. math:: L(cw) = L(w)\ (c>0): \qquad \langle\nabla L(w),w\rangle = 0, \quad \nabla L(cw) = c^{-1}\nabla L(w), \quad
          \nabla^2L(cw) = c^{-2}\,\nabla^2L(w), \quad \nabla^2L(w)\,w = -\nabla L(w)

At random points, for every loss of the library that calls itself scale-invariant. A normalised net whose last layer is
trained too must fail: here the batch-normalised classifier with its gain among the parameters. No clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sdetheory.evidence import Exact

from sdetheory.claims import Claim, Control, Run
from sdetheory.losses import REGISTRY, BatchNormLinear, Loss
from sdetheory.sphere import normalise
from sdetheory.theory import exp_lr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 32  # random directions a loss; an exact statement needs no more
FACTORS = (0.3, 3.0, 10.0)  # no powers of 2, for which floating point is exact
RESOLUTION = 1e-7
NAMES = ("gradient along w", "gradient at cw", "Hessian at cw", "Hessian times w")
Array = NDArray[np.float64]


def losses() -> dict[str, Loss]:
    """Every loss of the library that calls itself scale-invariant."""
    return {name: loss for name, loss in ((name, make()) for name, make in REGISTRY.items()) if loss.scale_invariant}


class TrainedGain:
    """The batch-normalised classifier as a function of (w, κ): its gain κ, the last layer, is trained."""

    def __init__(self, like: BatchNormLinear) -> None:
        self.like, self.dim = like, like.dim + 1

    def _at(self, parameters: Array) -> BatchNormLinear:
        batches, size, dim = self.like.inputs.shape
        # the sign of κ may go to the labels
        return BatchNormLinear(self.like.inputs.reshape(-1, dim), self.like.labels.ravel() * np.sign(parameters[-1]),
                               batch_size=size, gain=abs(parameters[-1]))

    def gradient(self, parameters: ArrayLike) -> Array:
        """(∇_w L, ∂L/∂κ), with ∂L/∂κ = mean of φ' y u."""
        points = np.asarray(parameters, dtype=float)
        return np.stack([self._one_gradient(p) for p in points.reshape(-1, self.dim)]).reshape(points.shape)

    def _one_gradient(self, p: Array) -> Array:
        u, _ = self.like._normalised(p[:-1])
        slope = (self.like._link(self.like.labels * p[-1] * u, 1) * self.like.labels * u).mean()
        return np.append(self._at(p).gradient(p[:-1]), slope)

    def hessian(self, parameters: ArrayLike) -> Array:
        """Central differences of the gradient: errors of 1e-9, far below what the control is about."""
        p, step = np.asarray(parameters, dtype=float), 1e-5 * np.linalg.norm(parameters)
        return np.stack([(self._one_gradient(p + step * e) - self._one_gradient(p - step * e)) / (2 * step)
                         for e in np.eye(self.dim)])


def _hessians(loss: Any, w: Array) -> Array:
    return np.stack([loss.hessian(point) for point in w])


def residuals(loss: Any, unit: Array) -> tuple[list[Array], list[Array]]:
    """What is left of the four statements at points (n, d) on the sphere, and the bounds on rounding, (factors, n) each.

    Gradients are measured in units of the largest gradient or curvature met, Hessians in units of the largest curvature.
    """
    gradients, hessians = loss.gradient(unit), _hessians(loss, unit)
    size = max(np.linalg.norm(gradients, axis=1).max(), np.linalg.norm(hessians, axis=(1, 2)).max())
    # An entry goes through sums over the d weights and the samples of a batch and over the batches, and fewer than 40
    # other operations: some m roundings, each a relative perturbation of a weight or a datum. On the data the results
    # depend as on the weights: m eps times the sum of |w_i| ‖d·/dw_i‖ (central differences), twice; and m eps of the
    # terms, which are as large as the largest result.
    step, moved_gradient, moved_hessian = 1e-5, 0.0, 0.0
    for e in np.eye(unit.shape[1]):
        ends = unit * (1 + step * e), unit * (1 - step * e)
        moved_gradient = moved_gradient + np.linalg.norm(loss.gradient(ends[0]) - loss.gradient(ends[1]), axis=1) / (2 * step)
        moved_hessian = moved_hessian + np.linalg.norm(_hessians(loss, ends[0]) - _hessians(loss, ends[1]),
                                                       axis=(1, 2)) / (2 * step)
    samples = np.size(getattr(loss, "inputs", np.zeros((1, 8)))[..., 0])  # or up to 8 losses in a finite sum
    m = (4 * (unit.shape[1] + samples) + 40) * np.finfo(float).eps
    of_gradient, of_hessian = m * (2 * moved_gradient / size + 1), m * (2 * moved_hessian / size + 1)
    found = [np.abs(np.einsum("ni,ni->n", gradients, unit)) / size, [], [],
             np.linalg.norm(np.einsum("nij,nj->ni", hessians, unit) + gradients, axis=1) / size]
    for c in FACTORS:
        found[1].append(np.linalg.norm(c * loss.gradient(c * unit) - gradients, axis=1) / size)
        found[2].append(np.linalg.norm(c**2 * _hessians(loss, c * unit) - hessians, axis=(1, 2)) / size)
    left = [np.broadcast_to(value, (len(FACTORS), len(unit))) for value in found]
    return left, [np.broadcast_to(b, left[0].shape) for b in (of_gradient, of_gradient, of_hessian, of_hessian + of_gradient)]


def measured(run: Run, of: Mapping[str, Any]) -> dict[str, Exact]:
    """The residuals of each loss at its random points."""
    found: list[list[Array]] = [[] for _ in NAMES]
    bounds: list[list[Array]] = [[] for _ in NAMES]
    n, draws = run.paths(POINTS), np.random.default_rng(run.rng)
    for name, loss in of.items():
        left, rounding = residuals(loss, normalise(draws.normal(size=(n, loss.dim))))
        run.data[name] = [(value.max(), bound.max()) for value, bound in zip(left, rounding, strict=True)]
        for i in range(len(NAMES)):
            found[i].append(left[i].ravel())
            bounds[i].append(rounding[i].ravel())
    return {name: Exact(np.concatenate(f), np.concatenate(b)) for name, f, b in zip(NAMES, found, bounds, strict=True)}


def with_trained_gain(run: Run) -> dict[str, Exact]:
    """The control: the last layer is trained."""
    like: Any = REGISTRY["bn_linear_minibatch"]()
    return measured(run, {"batch norm, gain trained": TrainedGain(like)})


def figure(run: Run) -> Figure:
    """What is left of the four statements, loss by loss."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(6.4, 4.2), layout="constrained")
    ax = fig.subplots()
    control = Run(run.rng, run.mode)
    with_trained_gain(control)
    names = [*run.data, *control.data]
    for row, name in enumerate(names):
        for (value, _), marker, label in zip((run.data | control.data)[name], "o^sx", NAMES, strict=True):
            ax.plot([max(value, 1e-17)], [row], marker, ms=5, mfc="none", label=label if row == 0 else None,
                    color="tab:red" if name in control.data else "tab:blue")
        ax.plot([max(bound for _, bound in (run.data | control.data)[name])], [row], "|", color="0.4", ms=9,
                label="bound on rounding" if row == 0 else None)
    ax.set(xscale="log", yticks=range(len(names)), xlabel="largest residual, relative to the largest gradient or curvature")
    ax.set_yticklabels([name.replace("_", " ") for name in names], fontsize=8)
    ax.set_title("Scale-invariant losses, and one whose last layer is trained", fontsize=11)
    ax.legend(frameon=False, fontsize=8, loc="center right", bbox_to_anchor=(1, 0.65))
    return fig


claim = Claim(
    "EXP-1",
    title="Gradient and Hessian of a scale-invariant loss",
    paper="exp_lr",
    statement=r"If $L(cw)=L(w)$ for $c>0$: $\langle\nabla L(w),w\rangle=0$, $\nabla L(cw)=c^{-1}\nabla L(w)$, $\nabla^2L(cw)="
              r"c^{-2}\nabla^2L(w)$, $\nabla^2L(w)\,w=-\nabla L(w)$.",
    derivation=lambda: exp_lr.curvature_at_norm.derivation,
    prediction=dict.fromkeys(NAMES, 0.0),
    simulation=lambda run: measured(run, losses()),
    resolution=dict.fromkeys(NAMES, RESOLUTION),
    negative_control=Control(r"a normalised classifier is scale-invariant in all its parameters, the last layer among them",
                             simulation=with_trained_gain),
    figure=figure,
)
