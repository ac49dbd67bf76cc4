r"""ILR-2: direction and norm of SGD's SDE obey equations of their own, and the norm has no noise.

.. math:: d\hat W &= -\gamma^{-1/2}\bigl(\nabla L(\hat W)\,dt + \Sigma(\hat W)^{1/2}dB\bigr)
                     - \tfrac12\gamma^{-1}\,\mathrm{Tr}\,\Sigma(\hat W)\,\hat W\,dt, \\
          d\gamma/dt &= -4\lambda_e\gamma + 2\,\mathrm{Tr}\,\Sigma(\hat W), \qquad \gamma = \|W\|^4/\eta^2

The ambient SDE, two schemes on the sphere, and Euler–Maruyama of the equations as they are printed here run on the
*same* Brownian paths. They must agree path by path as the step h → 0; then they agree in law. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from numpy.typing import NDArray
from sdetheory.evidence import Exact

import sdetheory as sdt
from sdetheory.claims import Claim, Control, Resolution, Run
from sdetheory.stats import fit_order, mean_estimate, step_halving
from sdetheory.symbolic import Derivation
from sdetheory.theory import intrinsic_lr as ilr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LR, DECAY = 0.2, 0.05
RATE = LR * DECAY
EIGENVALUES = [0.3, 0.1, 0.0]
VARIANCES = np.array([0.3, 0.1, 0.1])
UNEQUAL = sdt.losses.RayleighQuotient(EIGENVALUES, noise=sdt.noises.Tangent(VARIANCES))
EQUAL = sdt.losses.RayleighQuotient(EIGENVALUES, noise=sdt.noises.Tangent(np.full(3, VARIANCES.mean())))
AVERAGE = VARIANCES.sum() * (1 - 1 / 3)  # of Tr Sigma over the sphere
POLE = np.array([0.8, 0.0, 0.6])
REST = (LR**2 * ilr.equilibrium_gamma(intrinsic_lr=RATE, noise_trace=AVERAGE)) ** 0.25  # the norm at rest
START = POLE * REST * 0.5**0.25  # gamma_0 is half of that at rest

# At 4 lambda_e t = 1 and 2 the direction has turned by an angle of order 1, and gamma has grown by half. On one
# Brownian path the schemes lie sqrt(lambda_e h) apart, 2 % in root mean square, and lambda_e h in the mean. A few paths
# part from each other much further: 3000 paths (750 in quick mode) keep the error of the mean square below itself.
TIMES = np.array([1.0, 2.0]) / (4 * RATE)
T, STEPS, PATHS = TIMES[-1], 4096, 3000
SCHEMES = ("geodesic", "projected", "equations")
OBSERVED = ("w1", "w3", "w1^2", "ln gamma")
MEAN, SQUARE = 0.02, 0.05**2  # promised: means to 0.02, the root mean square over paths to 5 %
# The noise of gamma from rest at 4 lambda_e t = 1/2, at steps from 0.7 (1 is SGD itself) down to 1/92. The logarithm
# of a standard deviation over 64 000 paths is known to 0.3 %, the order to 0.001, and its change over the range, which
# bounds its error, to 0.007.
LADDER, LADDER_PATHS, ORDER = (18, 72, 288, 1152), 64_000, 0.15
LADDER_TIME = 0.5 / (4 * RATE)
RESOLUTION = {
    **{f"mean, {scheme}": Resolution(MEAN, points=len(OBSERVED) * len(TIMES)) for scheme in SCHEMES},
    **{f"square, {what}, {scheme}": Resolution(SQUARE, points=len(TIMES))
       for what in ("direction", "ln gamma") for scheme in SCHEMES},
    "distance from the sphere": Resolution(1e-9),
    "order of the noise of gamma": Resolution(ORDER),
}


def printed_equations() -> sdt.SDE:
    """The equations above in coordinates, with a factor `correction` on the last term of the direction's."""
    x = sympy.symbols("x1:4", real=True)
    gamma, correction = sympy.Symbol("gamma", positive=True), sympy.Symbol("correction")
    point = sympy.Matrix(x)
    covariance = sympy.diag(*map(sympy.nsimplify, VARIANCES))
    unit = point / sympy.sqrt(point.dot(point))  # nabla L and Sigma are those at the direction of x
    root = (sympy.eye(3) - unit * unit.T) * covariance.applyfunc(sympy.sqrt)
    trace = covariance.trace() - (unit.T * covariance * unit)[0]
    value = UNEQUAL.symbolic(x)
    slope = sympy.Matrix([sympy.diff(value, xi) for xi in x]) * sympy.sqrt(point.dot(point))
    size = 1 / sympy.sqrt(gamma)
    drift = -size * slope - correction * trace / (2 * gamma) * point
    rate = sympy.nsimplify(RATE)
    return sdt.SDE([*x, gamma], [*drift, -4 * rate * gamma + 2 * trace], (-size * root).col_join(sympy.zeros(1, 3)))


def start() -> NDArray[np.float64]:
    """Direction and gamma at time 0, for the printed equations."""
    return np.append(START / np.linalg.norm(START), np.sum(START**2) ** 2 / LR**2)


def paths(scheme: str, seed: Any, n: int, coarsened: int, correction: float = 1.0) -> NDArray[np.float64]:
    """(direction, gamma), shape (paths, times, 4), at the two times, on a Brownian path drawn at step h."""
    h = T / STEPS
    how: dict[str, Any] = dict(n_steps=STEPS // coarsened, dt=coarsened * h, brownian_dt=h, n_paths=n,
                               save_every=STEPS // 2 // coarsened, rng=seed)
    if scheme == "equations":
        runs = sdt.simulate(printed_equations(), start(), sweep={"correction": [correction]}, **how)
        return np.stack([runs[name].values[0, :, 1:] for name in ("x1", "x2", "x3", "gamma")], axis=-1)
    if scheme == "ambient":
        runs = sdt.simulate(sdt.dynamics.SGDSDE(UNEQUAL, lr=LR, weight_decay=DECAY), START,
                            observe=["sq_norm", "direction"], **how)
        gamma = runs.sq_norm.values ** 2 / LR**2
    else:
        runs = sdt.simulate(sdt.dynamics.EffectiveDynamics(UNEQUAL, lr=LR, weight_decay=DECAY), START, scheme=scheme,
                            observe=["gamma", "direction"], **how)
        gamma = runs.gamma.values
    return np.concatenate([runs.direction.values, gamma[..., None]], axis=-1)[:, 1:]


def _apart(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Differences of the observed functions, shape (paths, functions x times)."""
    first, second = (np.concatenate([x[..., 0], x[..., 2], x[..., 0] ** 2, np.log(x[..., 3])], axis=1) for x in (a, b))
    return first - second


def _turned(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distances of the directions, shape (paths, times)."""
    return np.sum((a - b)[..., :3] ** 2, axis=-1)


def _grown(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared differences of ln gamma, shape (paths, times)."""
    return np.log(a[..., 3] / b[..., 3]) ** 2


def agreement(run: Run, seed: Any, schemes: tuple[str, ...], correction: float = 1.0) -> dict[str, Any]:
    """Ambient minus sphere, path by path, at h and at 2h: means of functions, and mean squares of the distance."""
    n = run.paths(PATHS)
    run.data["seed"] = seed
    ambient = [paths("ambient", seed, n, coarsened) for coarsened in (2, 1)]
    found: dict[str, Any] = {}
    off = []
    for scheme in schemes:
        sphere = [paths(scheme, seed, n, coarsened, correction) for coarsened in (2, 1)]
        pairs = list(zip(ambient, sphere, strict=True))  # at 2h and at h
        for name, distance in (("mean", _apart), ("square, direction", _turned), ("square, ln gamma", _grown)):
            coarse, fine = (distance(a, b) for a, b in pairs)
            # strong order 1/2: a mean square falls as h, as the bias of a mean does
            found[f"{name}, {scheme}"] = step_halving(coarse, fine, order=1, coupled=True)
        off.append(float(np.abs(np.linalg.norm(sphere[1][..., :3], axis=-1) - 1).max()))
        run.data[scheme] = ambient[1][:, -1], sphere[1][:, -1]
    # A step along the great circle: cos, sin, two products and a sum an entry, the norm over d entries, and the radial
    # part of a vector that is tangent up to d + 4 roundings: d + 12 eps at most. An error of the norm is not amplified,
    # since the noise falls as 1/norm; so errors add over the steps. "projected" normalises in each. The printed
    # equations stay on the sphere only as h falls; the mean squares judge them.
    rounding = STEPS * (3 + 12) * np.finfo(float).eps
    kept = [value for scheme, value in zip(schemes, off, strict=True) if scheme != "equations" or correction != 1.0]
    found["distance from the sphere"] = Exact(np.array(kept), rounding)
    return found


def simulation(run: Run) -> dict[str, Any]:
    """The ambient SDE against the three ways to run the equations, and the noise of gamma as the step falls."""
    seeds = run.rng.spawn(1 + len(LADDER))
    found = agreement(run, seeds[0], SCHEMES)
    spread = []
    for n_steps, seed in zip(LADDER, seeds[1:], strict=True):
        runs = sdt.simulate(sdt.dynamics.SGDSDE(EQUAL, lr=LR, weight_decay=DECAY), POLE * REST, n_steps=n_steps,
                            dt=LADDER_TIME / n_steps, n_paths=run.paths(LADDER_PATHS), observe=["sq_norm", "direction"],
                            rng=seed)
        gamma = runs.sq_norm.values[:, -1] ** 2 / LR**2
        spread.append(mean_estimate((gamma - gamma.mean()) ** 2))
    deviation = np.sqrt([float(e.value) for e in spread])
    stderr = np.array([float(e.stderr) for e in spread]) / (2 * deviation)
    steps = LADDER_TIME / np.array(LADDER)
    fit = fit_order(steps, deviation, stderr, n=run.paths(LADDER_PATHS))
    run.data["ladder"] = steps, deviation, stderr, fit
    return found | {"order of the noise of gamma": fit.as_estimate()}


def without_correction(run: Run) -> dict[str, Any]:
    """The printed equations without the last term of the direction's."""
    found = agreement(run, run.rng.spawn(2)[0], ("equations",), correction=0.0)
    return {name: found[name] for name in ("square, direction, equations", "distance from the sphere")}


def derivation() -> Derivation:
    """Itô's formula for ‖W‖² and Ŵ, in the algebra of inner products: every dimension."""
    return Derivation("Direction and norm").including(ilr.gamma_drift.derivation).including(
        ilr.effective_lr_of_gamma.derivation).including(ilr.direction_radial_drift.derivation)


def figure(run: Run) -> Figure:
    """Left: the same paths in the ambient space and on the sphere. Right: the noise of gamma vanishes with the step."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(6.4, 3.8), layout="constrained")
    left, right = fig.subplots(1, 2)
    ambient, sphere = run.data["geodesic"]
    few = slice(0, 150)
    dropped = paths("equations", run.data["seed"], len(ambient[few]), 1, correction=0.0)[:, -1]
    left.axline((0, 0), slope=1, color="0.6", lw=0.8)
    left.plot(ambient[few, 0], dropped[:, 0], "x", color="tab:red", ms=4, label="without Itô's correction")
    left.plot(ambient[few, 0], sphere[few, 0], "o", color="tab:blue", ms=4, mfc="none", label="on the sphere")
    left.set(xlabel=r"$\hat W_1$ at $4\lambda_e t=2$, ambient SDE", ylabel=r"$\hat W_1$ on the same Brownian path")
    left.set_title("one process, two descriptions", fontsize=10)
    left.legend(frameon=False, fontsize=8)
    steps, deviation, stderr, fit = run.data["ladder"]
    right.errorbar(steps, deviation, 3 * stderr, fmt="o", color="tab:blue", ms=4, label="ambient SDE, over paths")
    right.plot(steps, deviation[-1] * np.sqrt(steps / steps[-1]), color="0.4", lw=1, label=r"slope $\frac{1}{2}$")
    right.set(xscale="log", yscale="log", xlabel=r"solver's step $h$ (in steps of SGD)")
    right.set_ylabel(r"standard deviation of $\gamma$ at $4\lambda_e t=0.5$")
    right.set_title(rf"no noise in $\gamma$: order {fit.order:.3f}", fontsize=10)
    right.legend(frameon=False, fontsize=8)
    return fig


claim = Claim(
    "ILR-2",
    title="Effective dynamics on the sphere",
    paper="intrinsic_lr",
    statement=r"For SGD's SDE with constant $\eta$, $\lambda$, the direction and $\gamma=\|W\|^4/\eta^2$ obey $d\hat W="
              r"-\gamma^{-1/2}(\nabla L(\hat W)dt+\Sigma(\hat W)^{1/2}dB)"
              r"-\frac{1}{2}\gamma^{-1}\mathrm{Tr}\,\Sigma(\hat W)\hat W\,dt$ and "
              r"$d\gamma/dt=-4\lambda_e\gamma+2\mathrm{Tr}\,\Sigma(\hat W)$; $\gamma$ has no noise of its own.",
    derivation=derivation,
    prediction=lambda: {name: 0.5 if name.startswith("order") else 0.0 for name in RESOLUTION},
    simulation=simulation,
    resolution=RESOLUTION,
    negative_control=Control(r"Itô's correction $-\frac{1}{2}\gamma^{-1}\mathrm{Tr}\,\Sigma(\hat W)\hat W\,dt$ "
                             "is dropped", simulation=without_correction),
    figure=figure,
)
