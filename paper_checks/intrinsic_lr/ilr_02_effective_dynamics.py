r"""ILR-2: direction and norm of SGD's SDE obey equations of their own, and the norm has no noise.

.. math:: d\hat W &= -\gamma^{-1/2}\bigl(\nabla L(\hat W)\,dt + \Sigma(\hat W)^{1/2}dB\bigr)
                     - \tfrac12\gamma^{-1}\,\mathrm{Tr}\,\Sigma(\hat W)\,\hat W\,dt, \\
          d\gamma/dt &= -4\lambda_e\gamma + 2\,\mathrm{Tr}\,\Sigma(\hat W), \qquad \gamma = \|W\|^4/\eta^2

The ambient SDE, two schemes on the sphere, and Euler–Maruyama of the equations as they are printed here run on the
*same* Brownian paths. They must agree path by path as the step h → 0; then they agree in law. Clock: steps.
"""

import numpy as np
import sympy

import sdetheory as sdt
from sdetheory import Claim, Exact, Quantity
from sdetheory.stats import fit_order, mean_estimate, step_halving
from sdetheory.theory import intrinsic_lr as ilr

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
WHEN = (r"$4\lambda_et=1$", r"$4\lambda_et=2$")
SCHEMES = ("geodesic", "projected", "equations")
MEANS = tuple(f"{what}, {when}" for what in (r"$\hat W_1$", r"$\hat W_3$", r"$\hat W_1^2$") for when in WHEN)
MEAN, SQUARE = 0.02, 0.05**2  # promised: means to 0.02, the root mean square over paths to 5 %
# The noise of gamma from rest at 4 lambda_e t = 1/2, at steps from 0.7 (1 is SGD itself) down to 1/92. The logarithm
# of a standard deviation over 64 000 paths is known to 0.3 %, the order to 0.001, and its change over the range, which
# bounds its error, to 0.007.
LADDER, LADDER_PATHS = (18, 72, 288, 1152), 64_000
LADDER_TIME = 0.5 / (4 * RATE)

LITTLE = "the control changes the rate of gamma, which hardly moves the direction; the printed equations are controlled"

QUANTITIES = {
    **{f"mean, {scheme}": Quantity(0.0, MEAN, points=MEANS, no_control=LITTLE) for scheme in SCHEMES[:2]},
    "mean, equations": Quantity(0.0, MEAN, points=MEANS, broken=True),
    **{f"mean ln gamma, {scheme}": Quantity(0.0, MEAN, points=WHEN, broken=True) for scheme in SCHEMES},
    **{f"square, direction, {scheme}": Quantity(0.0, SQUARE, points=WHEN, no_control=LITTLE) for scheme in SCHEMES[:2]},
    "square, direction, equations": Quantity(0.0, SQUARE, points=WHEN, broken=True),
    **{f"square, ln gamma, {scheme}": Quantity(0.0, SQUARE, points=WHEN, broken=True) for scheme in SCHEMES},
    "distance from the sphere": Quantity(0.0, 1e-9, broken=True),
    "order of the noise of gamma": Quantity(0.5, 0.15, wrong=0.0, bias_source="the order's change over the steps"),
}


def printed_equations():
    """The equations above in coordinates, with a factor `correction` on the last term of the direction's."""
    x = sympy.symbols("x1:4", real=True)
    gamma, correction = sympy.Symbol("gamma", positive=True), sympy.Symbol("correction")
    decay = sympy.Symbol("weight_decay", positive=True)
    point = sympy.Matrix(x)
    covariance = sympy.diag(*map(sympy.nsimplify, VARIANCES))
    unit = point / sympy.sqrt(point.dot(point))  # nabla L and Sigma are those at the direction of x
    root = (sympy.eye(3) - unit * unit.T) * covariance.applyfunc(sympy.sqrt)
    trace = covariance.trace() - (unit.T * covariance * unit)[0]
    value = UNEQUAL.symbolic(x)
    slope = sympy.Matrix([sympy.diff(value, xi) for xi in x]) * sympy.sqrt(point.dot(point))
    size = 1 / sympy.sqrt(gamma)
    drift = -size * slope - correction * trace / (2 * gamma) * point
    growth = -4 * sympy.nsimplify(LR) * decay * gamma + 2 * trace
    return sdt.SDE([*x, gamma], [*drift, growth], (-size * root).col_join(sympy.zeros(1, 3)))


def paths(scheme, seed, n, coarsened, correction=1.0, decay=DECAY):
    """(direction, gamma), shape (paths, times, 4), at the two times, on a Brownian path drawn at step h."""
    h = T / STEPS
    how = dict(n_steps=STEPS // coarsened, dt=coarsened * h, brownian_dt=h, n_paths=n,
               save_every=STEPS // 2 // coarsened, rng=seed)
    if scheme == "equations":
        start = np.append(START / np.linalg.norm(START), np.sum(START**2) ** 2 / LR**2)
        swept = {"correction": [correction], "weight_decay": [decay]}
        runs = sdt.simulate(printed_equations(), start, sweep=swept, **how)
        return np.stack([runs[name].values[0, 0, :, 1:] for name in ("x1", "x2", "x3", "gamma")], axis=-1)
    if scheme == "ambient":
        runs = sdt.simulate(sdt.dynamics.SGDSDE(UNEQUAL, lr=LR, weight_decay=DECAY), START,
                            observe=["sq_norm", "direction"], **how)
        gamma = runs.sq_norm.values ** 2 / LR**2
    else:
        runs = sdt.simulate(sdt.dynamics.EffectiveDynamics(UNEQUAL, lr=LR, weight_decay=decay), START, scheme=scheme,
                            observe=["gamma", "direction"], **how)
        gamma = runs.gamma.values
    return np.concatenate([runs.direction.values, gamma[..., None]], axis=-1)[:, 1:]


def differences(a, b):
    """Differences of observed functions, shape (paths, functions x times), and squared ones."""
    ln_gamma = np.log(a[..., 3] / b[..., 3])
    one, other = (np.concatenate([x[..., 0], x[..., 2], x[..., 0] ** 2], axis=1) for x in (a, b))
    return {"mean": one - other, "mean ln gamma": ln_gamma,
            "square, direction": np.sum((a - b)[..., :3] ** 2, axis=-1), "square, ln gamma": ln_gamma**2}


def agreement(trial, seed, correction=1.0, decay=DECAY):
    """Ambient minus sphere, path by path, at h and at 2h: means of functions, and mean squares of the distance."""
    n = trial.paths(PATHS)
    trial.data["seed"] = seed
    ambient = [paths("ambient", seed, n, coarsened) for coarsened in (2, 1)]
    found, off = {}, []
    for scheme in SCHEMES:
        sphere = [paths(scheme, seed, n, coarsened, correction, decay) for coarsened in (2, 1)]
        coarse, fine = (differences(*pair) for pair in zip(ambient, sphere, strict=True))
        for name in coarse:
            # strong order 1/2: a mean square falls as h, as the bias of a mean does
            found[f"{name}, {scheme}"] = step_halving(coarse[name], fine[name], order=1, coupled=True)
        off.append(float(np.abs(np.linalg.norm(sphere[1][..., :3], axis=-1) - 1).max()))
        trial.data[scheme] = ambient[1][:, -1], sphere[1][:, -1]
    # A step along the great circle: cos, sin, two products and a sum an entry, the norm over d entries, and the radial
    # part of a vector that is tangent up to d + 4 roundings: d + 12 eps at most. An error of the norm is not amplified,
    # since the noise falls as 1/norm; so errors add over the steps. "projected" normalises in each. The printed
    # equations stay on the sphere only as h falls; the mean squares judge them.
    rounding = STEPS * (3 + 12) * np.finfo(float).eps
    found["distance from the sphere"] = Exact(np.array(off[:2] if correction == 1.0 else off), rounding)
    return found


def measure(trial):
    """The ambient SDE against the three ways to run the equations, and the noise of gamma as the step falls."""
    seed, *seeds = trial.rng.spawn(1 + len(LADDER))
    found, spread = agreement(trial, seed), []
    for n_steps, seed in zip(LADDER, seeds, strict=True):
        runs = sdt.simulate(sdt.dynamics.SGDSDE(EQUAL, lr=LR, weight_decay=DECAY), POLE * REST, n_steps=n_steps,
                            dt=LADDER_TIME / n_steps, n_paths=trial.paths(LADDER_PATHS),
                            observe=["sq_norm", "direction"], rng=seed)
        gamma = runs.sq_norm.values[:, -1] ** 2 / LR**2
        spread.append(mean_estimate((gamma - gamma.mean()) ** 2))
    deviation = np.sqrt([float(e.value) for e in spread])
    stderr = np.array([float(e.stderr) for e in spread]) / (2 * deviation)
    steps = LADDER_TIME / np.array(LADDER)
    fit = fit_order(steps, deviation, stderr, n=trial.paths(LADDER_PATHS))
    trial.data["ladder"] = steps, deviation, stderr, fit
    return found | {"order of the noise of gamma": fit.as_estimate()}


def broken(trial):
    """The equations with half the decay and, where they are printed, without the last term of the direction's."""
    found = agreement(trial, trial.rng.spawn(2)[0], correction=0.0, decay=DECAY / 2)
    return {name: evidence for name, evidence in found.items() if QUANTITIES[name].broken}


def figure(trial, left, right):
    """Left: the same paths in the ambient space and on the sphere. Right: the noise of gamma vanishes with the step."""
    ambient, sphere = (x[:150, 0] for x in trial.data["geodesic"])
    dropped = paths("equations", trial.data["seed"], len(ambient), 1, correction=0.0)[:, -1, 0]
    left.axline((0, 0), slope=1, color="0.6", lw=0.8)
    left.plot(ambient, dropped, "x", color="C1", ms=4, label="without Itô's correction")
    left.plot(ambient, sphere, "o", color="C0", ms=4, mfc="none", label="on the sphere")
    left.set(xlabel=r"$\hat W_1$ at $4\lambda_e t=2$, ambient SDE", ylabel=r"$\hat W_1$ on the same Brownian path",
             title="one process, two descriptions")
    steps, deviation, stderr, fit = trial.data["ladder"]
    right.errorbar(steps, deviation, 3 * stderr, fmt="o", color="C0", ms=4, label="ambient SDE, over paths")
    right.plot(steps, deviation[-1] * np.sqrt(steps / steps[-1]), color="0.5", lw=1, label=r"slope $\frac{1}{2}$")
    right.set(xscale="log", yscale="log", xlabel=r"solver's step $h$ (in steps of SGD)",
              ylabel=r"standard deviation of $\gamma$ at $4\lambda_e t=0.5$",
              title=rf"no noise in $\gamma$: order {fit.order:.3f}")
    for ax in (left, right):
        ax.legend(fontsize=8)


claim = Claim(
    "ILR-2", "Effective dynamics on the sphere", paper="intrinsic_lr",
    where="the section that derives the equations of direction and norm from the SDE, by Itô's formula",
    statement=r"For SGD's SDE with constant $\eta$, $\lambda$, the direction and $\gamma=\|W\|^4/\eta^2$ obey $d\hat W="
              r"-\gamma^{-1/2}(\nabla L(\hat W)dt+\Sigma(\hat W)^{1/2}dB)"
              r"-\frac{1}{2}\gamma^{-1}\mathrm{Tr}\,\Sigma(\hat W)\hat W\,dt$ and "
              r"$d\gamma/dt=-4\lambda_e\gamma+2\mathrm{Tr}\,\Sigma(\hat W)$; $\gamma$ has no noise of its own.",
    setup=r"The ambient SDE of a Rayleigh quotient in $d=3$ with unequal tangent noise, and the two equations by three "
          r"schemes, on the same Brownian paths; $\eta=0.2$, $\lambda=0.05$, from half of the equilibrium $\gamma$",
    proof=ilr.by_claim("ILR-2"), quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"$\gamma$ falls at $2\lambda_e$, the rate of $\|W\|^2$, and (in the printed equations) Itô's correction "
            r"$-\frac{1}{2}\gamma^{-1}\mathrm{Tr}\,\Sigma(\hat W)\hat W\,dt$ is dropped; and $\gamma$ has noise that "
            r"stays as $h\to0$")
