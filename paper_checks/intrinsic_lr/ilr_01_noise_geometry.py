r"""ILR-1: the gradient noise of a scale-invariant loss is tangent to the sphere and falls with the squared norm.

.. math:: \ell_i(cw) = \ell_i(w)\ (c > 0) \quad\Rightarrow\quad \Sigma(w)\,w = 0, \qquad \Sigma(cw) = c^{-2}\,\Sigma(w)

for the covariance Σ of the stochastic gradient. Checked to rounding for every loss of the library that is
scale-invariant sample by sample, at random points; batch normalisation with its usual ε = 1e-5 in the variance must
fail. No clock.
"""

import numpy as np

import sdetheory as sdt
from sdetheory import Claim, Exact, Quantity
from sdetheory.losses import REGISTRY, BatchNormLinear, RayleighQuotient
from sdetheory.sphere import normalise
from sdetheory.theory import intrinsic_lr as ilr

POINTS = 64  # random directions a loss, each at every factor; an exact statement needs no more
FACTORS = (0.3, 3.0, 10.0)  # no powers of 2, for which floating point is exact
EPSILON = 1e-5  # what batch normalisation adds to the variance in practice
RHO = 1e-8  # far below epsilon over a variance of order 1, far above rounding

QUANTITIES = {"radial part": Quantity(0.0, RHO, broken=True), "distance from c^-2": Quantity(0.0, RHO, broken=True)}


def losses():
    """Every loss of the library with noise, scale-invariant sample by sample, and one with noise of fixed length."""
    found = {name: make() for name, make in REGISTRY.items()}
    found["fixed_length"] = RayleighQuotient([1.0, 0.0, 2.0, 0.5], noise=sdt.noises.FixedLength(0.5))
    return {name: loss for name, loss in found.items()
            if loss.scale_invariant and loss.noise is not None and loss.noise.scale_invariant}


class BatchNormWithEpsilon(BatchNormLinear):
    """Batch normalisation by √(s² + ε): all formulas of the loss stay true with this s, but not scale invariance."""

    def _normalised(self, w):
        u, std = super()._normalised(w)
        softened = np.sqrt(std**2 + EPSILON)
        return u * (std / softened), softened


def residuals(loss, directions):
    """‖Σ(cw)ŵ‖/Tr Σ(cw) and ‖c²Σ(cw) − Σ(w)‖/Tr Σ(w), shape (factors, points), and their rounding bound (points,)."""
    noise = loss.noise
    at_unit = noise.covariance(directions)
    trace = np.trace(at_unit, axis1=-2, axis2=-1)
    power = np.where(trace > 0, trace, 1.0)  # a hinge may have no gradient at all: Σ = 0
    scaled = np.stack([c**2 * noise.covariance(c * directions) for c in FACTORS])
    radial = np.linalg.norm(np.einsum("cpij,pj->cpi", scaled, directions), axis=-1) / power
    apart = np.linalg.norm(scaled - at_unit, axis=(-2, -1)) / power
    # An entry of Σ goes through a sum over the d weights, one over the samples of a batch, one over the n batches, and
    # a fixed number of other operations: some m roundings. They move it as relative perturbations of that size in the
    # weights, in the data (on which gradients depend as they do on weights) and in the squares whose mean it is, less
    # the square of their mean: m eps times the condition numbers sum_i |w_i| ‖dΣ/dw_i‖/Tr Σ (central differences),
    # twice, and mean ‖gradient‖²/Tr Σ. Nothing is carried from step to step, so nothing grows.
    step, moved = 1e-5, 0.0
    for unit in np.eye(loss.dim):
        change = noise.covariance(directions * (1 + step * unit)) - noise.covariance(directions * (1 - step * unit))
        moved = moved + np.linalg.norm(change, axis=(-2, -1)) / (2 * step * power)
    sampled = hasattr(noise, "sample_gradients")
    squares = np.mean(noise.sample_gradients(directions) ** 2, axis=0).sum(-1) if sampled else trace
    terms = loss.dim + getattr(noise, "n_samples", 1) + np.shape(getattr(loss, "inputs", [[[0.0]]]))[1]
    return radial, apart, (4 * terms + 32) * np.finfo(float).eps * (2 * moved + squares / power)


def residuals_of(trial, losses):
    """The residuals of each loss at its random points, one comparison for all."""
    found = []
    for (name, loss), seed in zip(losses.items(), trial.rng.spawn(len(losses)), strict=True):
        shape = trial.paths(POINTS), loss.dim
        parts = residuals(loss, normalise(np.random.default_rng(seed).standard_normal(shape)))
        trial.data[name] = [part.max() for part in parts]
        found.append([np.broadcast_to(part, parts[0].shape).ravel() for part in parts])
    radial, apart, bound = (np.concatenate(part) for part in zip(*found, strict=True))
    return {"radial part": Exact(radial, bound), "distance from c^-2": Exact(apart, bound)}


def measure(trial):
    return residuals_of(trial, losses())


def broken(trial):
    """The same for batch normalisation with epsilon."""
    like = REGISTRY["bn_linear_minibatch"]()
    _, size, dim = like.inputs.shape
    softened = BatchNormWithEpsilon(like.inputs.reshape(-1, dim), like.labels.ravel(), batch_size=size, gain=like.gain)
    return residuals_of(trial, {"batch norm with ε": softened})


def figure(trial, left, right):
    """Left: noise along a ray, tangent and shrinking. Right: what is left of the two statements, loss by loss."""
    from matplotlib.patches import Circle

    plane = sdt.losses.FiniteSum([RayleighQuotient(a) for a in ([2.0, 0.0], [0.0, 1.0], [-1.0, 0.5])])
    for radius in (1.0, 2.0, 3.0):
        left.add_patch(Circle((0, 0), radius, fill=False, color="0.75", lw=0.8))
        for angle in np.linspace(0.2, np.pi / 2 - 0.2, 4):
            w = radius * np.array([np.cos(angle), np.sin(angle)])
            values, vectors = np.linalg.eigh(plane.noise.covariance(w))
            half = 0.5 * np.sqrt(values[-1]) * vectors[:, -1]
            left.plot(*np.transpose([w - half, w + half]), color="C0", lw=2)
            left.plot(*w, ".", color="0.5", ms=3)
    left.set(aspect="equal", xlim=(0, 3.6), ylim=(0, 3.6), xlabel=r"$w_1$", ylabel=r"$w_2$",
             title=r"$\pm\Sigma(w)^{1/2}$: tangent, $\propto 1/\|w\|$")
    control = sdt.claims.Trial(trial.rng, trial.mode)
    broken(control)
    rows = trial.data | control.data
    for row, (name, (radial, apart, bound)) in enumerate(rows.items()):
        colour, first = "C1" if name in control.data else "C0", row == 0
        right.plot([bound], [row], "|", color="0.5", ms=9, label="rounding bound" if first else None)
        right.plot([max(radial, 1e-17)], [row], "o", color=colour, ms=5, label=r"$\Sigma w$" if first else None)
        right.plot([max(apart, 1e-17)], [row], "^", color=colour, ms=5, mfc="none",
                   label=r"$c^2\Sigma(cw)-\Sigma(w)$" if first else None)
    right.set(xscale="log", yticks=range(len(rows)), xlabel=r"largest residual over $\mathrm{Tr}\,\Sigma$",
              title="zero up to rounding")
    right.set_yticklabels([name.replace("_", " ") for name in rows], fontsize=7)
    right.legend(fontsize=7, loc="upper right", bbox_to_anchor=(1, 0.8))


claim = Claim(
    "ILR-1", "Noise of a scale-invariant loss: tangent, and of degree −2", paper="intrinsic_lr",
    where="the section on the SDE of SGD on a scale-invariant loss",
    statement=r"If every sample's loss is scale-invariant, the covariance of the stochastic gradient obeys "
              r"$\Sigma(w)w=0$ and $\Sigma(cw)=c^{-2}\Sigma(w)$ for $c>0$.",
    setup=r"No simulation: the covariance of every scale-invariant noise of the library at 64 random directions $w$ "
          r"and at $cw$, $c=0.3,\ 3,\ 10$",
    proof=ilr.by_claim("ILR-1"), quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"batch normalisation with $\varepsilon=10^{-5}$ added to the variance is scale-invariant too")
