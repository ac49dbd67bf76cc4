r"""EXP-1: gradient and Hessian of a scale-invariant loss.

.. math:: L(cw) = L(w)\ (c>0): \qquad \langle\nabla L(w),w\rangle = 0, \quad \nabla L(cw) = c^{-1}\nabla L(w), \quad
          \nabla^2L(cw) = c^{-2}\,\nabla^2L(w), \quad \nabla^2L(w)\,w = -\nabla L(w)

At random points, for every loss of the library that calls itself scale-invariant. A normalised net whose last layer
is trained too must fail: here the batch-normalised classifier with its gain among the parameters. No clock.
"""

import numpy as np

from paper_checks.exp_lr.side_by_side import data_of
from sdetheory import Claim, Exact, Quantity
from sdetheory.losses import REGISTRY, BatchNormLinear
from sdetheory.sphere import normalise
from sdetheory.theory import exp_lr

POINTS = 32  # random directions a loss; an exact statement needs no more
FACTORS = (0.3, 3.0, 10.0)  # no powers of 2, for which floating point is exact
STEP = 1e-5  # of central differences: errors of 1e-9
NAMES = ("gradient along w", "gradient at cw", "Hessian at cw", "Hessian times w")
QUANTITIES = {name: Quantity(0.0, 1e-7, broken=True) for name in NAMES}


class TrainedGain:
    """The batch-normalised classifier as a function of (w, κ): its gain κ, the last layer, is trained."""

    def __init__(self, like):
        self.like, self.dim = like, like.dim + 1

    def gradient(self, points):
        return np.apply_along_axis(self._gradient, -1, points)

    def _gradient(self, p):
        """(∇_w L, ∂L/∂κ), with ∂L/∂κ = mean of φ' y u."""
        batches, size, dim = self.like.inputs.shape
        # the sign of κ may go to the labels
        at = BatchNormLinear(self.like.inputs.reshape(-1, dim), self.like.labels.ravel() * np.sign(p[-1]),
                             batch_size=size, gain=abs(p[-1]))
        u, _ = self.like._normalised(p[:-1])
        slope = (self.like._link(self.like.labels * p[-1] * u, 1) * self.like.labels * u).mean()
        return np.append(at.gradient(p[:-1]), slope)

    def hessian(self, p):
        step = STEP * np.linalg.norm(p)
        return np.stack([(self._gradient(p + step * e) - self._gradient(p - step * e)) / (2 * step)
                         for e in np.eye(self.dim)])


def hessians(loss, w):
    return np.stack([loss.hessian(point) for point in w])


def residuals(loss, unit):
    """What is left of the four statements at points (n, d) on the sphere, and bounds on rounding, (factors, n) each.

    Both in units of the largest gradient or curvature met.
    """
    gradients, curvatures = loss.gradient(unit), hessians(loss, unit)
    size = max(np.linalg.norm(gradients, axis=1).max(), np.linalg.norm(curvatures, axis=(1, 2)).max())
    # An entry goes through sums over the d weights and the samples of a batch and over the batches, and fewer than 40
    # other operations: some m roundings, each a relative perturbation of a weight or a datum. On the data the results
    # depend as on the weights: m eps times the sum of |w_i| ‖d·/dw_i‖ (central differences), twice; and m eps of the
    # terms, which are as large as the largest result.
    moved_gradient = moved_hessian = 0.0
    for e in np.eye(unit.shape[1]):
        up, down = unit * (1 + STEP * e), unit * (1 - STEP * e)
        moved_gradient += np.linalg.norm(loss.gradient(up) - loss.gradient(down), axis=1) / (2 * STEP)
        moved_hessian += np.linalg.norm(hessians(loss, up) - hessians(loss, down), axis=(1, 2)) / (2 * STEP)
    samples = np.size(getattr(loss, "inputs", np.zeros((1, 8)))[..., 0])  # or up to 8 losses in a finite sum
    m = (4 * (unit.shape[1] + samples) + 40) * np.finfo(float).eps
    of_gradient, of_hessian = m * (2 * moved_gradient / size + 1), m * (2 * moved_hessian / size + 1)
    left = [np.abs(np.einsum("ni,ni->n", gradients, unit)),
            [np.linalg.norm(c * loss.gradient(c * unit) - gradients, axis=1) for c in FACTORS],
            [np.linalg.norm(c**2 * hessians(loss, c * unit) - curvatures, axis=(1, 2)) for c in FACTORS],
            np.linalg.norm(np.einsum("nij,nj->ni", curvatures, unit) + gradients, axis=1)]
    bounds = (of_gradient, of_gradient, of_hessian, of_hessian + of_gradient)
    return [[np.broadcast_to(x, (len(FACTORS), len(unit))) for x in part]
            for part in ([np.divide(x, size) for x in left], bounds)]


def measured(trial, losses):
    """The residuals of each loss at its random points."""
    draws, found = np.random.default_rng(trial.rng), []
    for name, loss in losses.items():
        both = residuals(loss, normalise(draws.normal(size=(trial.paths(POINTS), loss.dim))))
        trial.data[name] = np.max(both, axis=(2, 3))
        found.append(np.reshape(both, (2, len(NAMES), -1)))
    return {name: Exact(*both) for name, both in zip(NAMES, np.concatenate(found, 2).swapaxes(0, 1), strict=True)}


def measure(trial):
    losses = {name: make() for name, make in REGISTRY.items()}
    return measured(trial, {name: loss for name, loss in losses.items() if loss.scale_invariant})


def broken(trial):
    return measured(trial, {"batch norm, gain trained": TrainedGain(REGISTRY["bn_linear_minibatch"]())})


def figure(trial, ax):
    """What is left of the four statements, loss by loss."""
    control = data_of(trial, broken)
    rows = trial.data | control
    for row, (name, (values, bounds)) in enumerate(rows.items()):
        for value, marker, label in zip(values, "o^sx", NAMES, strict=True):
            ax.plot([max(value, 1e-17)], [row], marker, ms=5, mfc="none", label=label if row == 0 else None,
                    color="tab:red" if name in control else "tab:blue")
        ax.plot([max(bounds)], [row], "|", color="0.4", ms=9, label="bound on rounding" if row == 0 else None)
    ax.set(xscale="log", yticks=range(len(rows)), yticklabels=[name.replace("_", " ") for name in rows],
           xlabel="largest residual, relative to the largest gradient or curvature",
           title="Four identities, loss by loss")
    ax.legend(loc="center right", bbox_to_anchor=(1, 0.65))


claim = Claim(
    "EXP-1", "Gradient and Hessian of a scale-invariant loss", paper="exp_lr",
    where="the preliminaries on scale invariance",
    statement=r"If $L(cw)=L(w)$ for $c>0$: $\langle\nabla L(w),w\rangle=0$, $\nabla L(cw)=c^{-1}\nabla L(w)$, "
              r"$\nabla^2L(cw)=c^{-2}\nabla^2L(w)$, $\nabla^2L(w)\,w=-\nabla L(w)$.",
    setup=f"Gradients and Hessians of every scale-invariant loss of the library at {POINTS} random points, and at "
          f"$c={', '.join(map(str, FACTORS))}$ times these",
    proof=[exp_lr.curvature_at_norm], quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control="a normalised classifier is scale-invariant in all its parameters, the last layer among them")
