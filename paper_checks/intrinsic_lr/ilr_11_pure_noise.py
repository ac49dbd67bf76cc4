r"""ILR-11: without a loss the direction forgets harmonic by harmonic, on the clock of the norm.

.. math:: \mathbb E\,Y_\ell(\hat W_t) = e^{-k_\ell t}\,Y_\ell(\hat W_0),\qquad
          k_\ell = \tfrac12\ell(\ell+d-2)\,\eta_e^2s^2 = \frac{\ell(\ell+d-2)}{d-1}\lambda_e, \qquad
          \mathbb E\|W_{T+\Delta}-W_T\|^2 = 2\|W\|^2(1-e^{-\lambda_e\Delta})

The second form of k and the displacement are for the norm at rest (ILR-4). Measured on the sphere at constant effective
learning rate, and on the ambient SDE of SGD from its rest norm for two intrinsic learning rates. Clock: steps.
"""

import numpy as np

import sdetheory as sdt
from sdetheory import Claim, Quantity, Relative
from sdetheory.sphere import zonal_harmonic
from sdetheory.stats import from_points, propagate, step_halving
from sdetheory.theory import intrinsic_lr as ilr

DIM, SCALE = 5, 0.5
LOSS = sdt.losses.RayleighQuotient([0.0] * DIM, noise=sdt.noises.Tangent(SCALE))
TRACE = SCALE**2 * (DIM - 1)
DEGREES = np.array([1, 2, 3])
EFFECTIVE = 0.1
PAIRS = ((0.1, 0.1), (0.2, 0.0125))  # (lr, weight decay): lambda_e = 0.01, 0.0025
LAGS = np.array([0.5, 1.0])  # of the displacement, in units of 1/lambda_e

# Degree l is read at t = 1/k_l, where -ln(mean)/t is sharpest: there the relative error of the rate is
# e·sd(Y_l)/sqrt(n), at most e·0.4/sqrt(n) in 5 dimensions: 0.45 % for 60 000 paths, 0.9 % in quick mode. With k_1 h =
# 0.01 the bias is 1 %.
STEPS = 120  # from 0 to 1/k_1
PATHS = 60_000
SAVE = 4  # steps of h
SAVED = np.arange(0, STEPS + 1, SAVE)
READ = {1: 120, 2: 48, 3: 28}  # the saved steps nearest to 1/k_l: k_l/k_1 = 1, 2.5, 4.5

RATES = ilr.harmonic_rate(degree=DEGREES, dim=DIM, effective_lr=EFFECTIVE, noise_scale=SCALE)
AT_REST = ilr.equilibrium_harmonic_rate(degree=DEGREES, dim=DIM, intrinsic_lr=1.0)
# the eigenvalues of the sphere of one dimension more; and the norm's rate 4 lambda_e for the weights
ONE_MORE = DEGREES * (DEGREES + DIM - 1) / (DEGREES * (DEGREES + DIM - 2))


def moved(rate):
    return np.tile(2 * -np.expm1(-rate * LAGS), len(PAIRS))


QUANTITIES = {
    "rate on the sphere": Quantity(RATES, Relative(0.07), wrong=ONE_MORE * RATES,
                                   points=[rf"$\ell={degree}$" for degree in DEGREES]),
    "rate at rest / intrinsic lr": Quantity(
        np.tile(AT_REST, len(PAIRS)), Relative(0.07), wrong=np.tile(ONE_MORE * AT_REST, len(PAIRS)),
        points=[rf"$\lambda_e={lr * decay:g}$, $\ell={degree}$" for lr, decay in PAIRS for degree in DEGREES]),
    "displacement / squared norm": Quantity(
        moved(1.0), 0.06, wrong=moved(4.0),
        points=[rf"$\lambda_e={lr * decay:g}$, $\lambda_e\Delta={lag:g}$" for lr, decay in PAIRS for lag in LAGS]),
}


def cosines(process, start, what, h, seed, n):
    """`what` (paths, saves, d) and cosines with `start` (paths, saves), at steps 2h and h on one Brownian path."""
    found = {}
    for r in (2, 1):
        runs = sdt.simulate(process, start, n_steps=STEPS // r, dt=r * h, brownian_dt=h, n_paths=n, observe=[what],
                            save_every=SAVE // r, rng=seed)
        w = runs[what].values
        found[r] = w, w[:, :, 0] / (1 if what == "direction" else np.linalg.norm(w, axis=-1))
    return found


def rates(found, h):
    """Rates of the degrees, and the means of the harmonics at the saves."""
    rates = []
    for degree in DEGREES:
        at = int(np.flatnonzero(SAVED == READ[degree])[0])
        mean = step_halving(*(zonal_harmonic(degree, DIM, found[r][1][:, at]) for r in (2, 1)), order=1, coupled=True)
        rates.append(propagate(lambda m, t=READ[degree] * h: -np.log(m) / t, mean))
    return rates, np.stack([zonal_harmonic(degree, DIM, found[1][1]).mean(0) for degree in DEGREES])


def measure(trial):
    """Both processes from one direction, each at step h and, on the same Brownian paths, at 2h."""
    n, pole = trial.paths(PATHS), np.eye(DIM)[0]
    first, *seeds = trial.rng.spawn(1 + len(PAIRS))
    h = 1 / (STEPS * RATES[0])
    on_sphere, curve = rates(cosines(sdt.dynamics.SphereDiffusion(LOSS, effective_lr=EFFECTIVE), pole, "direction", h,
                                     first, n), h)
    curves, at_rest, apart = [(curve, r"sphere, $\eta_e$ constant")], [], []
    for (lr, decay), seed in zip(PAIRS, seeds, strict=True):
        intrinsic = lr * decay
        radius = ilr.equilibrium_sq_norm(lr=lr, weight_decay=decay, noise_trace=TRACE) ** 0.5
        h = 1 / (STEPS * intrinsic)
        found = cosines(sdt.dynamics.SGDSDE(LOSS, lr=lr, weight_decay=decay), radius * pole, "w", h, seed, n)
        of_pair, curve = rates(found, h)
        at_rest += [propagate(lambda x, e=intrinsic: x / e, rate) for rate in of_pair]
        at = np.searchsorted(SAVED, LAGS * STEPS)
        apart.append(step_halving(*(((found[r][0][:, at] - radius * pole) ** 2).sum(-1) / radius**2 for r in (2, 1)),
                                  order=1, coupled=True))
        curves.append((curve, rf"SGD's SDE at rest, $\lambda_e={intrinsic:g}$"))
    trial.data["curves"] = curves
    return {"rate on the sphere": from_points(on_sphere), "rate at rest / intrinsic lr": from_points(at_rest),
            "displacement / squared norm": from_points(apart)}


def figure(trial, ax):
    """The three harmonics of all runs on one clock, against their exponentials."""
    t = np.linspace(0, 1, 200)
    for i, (degree, rate) in enumerate(zip(DEGREES, AT_REST, strict=True)):
        ax.plot(t, np.exp(-rate * t), lw=1.3, label=rf"$\ell={degree}$: rate ${rate:g}\,\lambda_e$")
        for k, (curve, _) in enumerate(trial.data["curves"]):
            ax.plot(SAVED[2 + k::4] / STEPS, curve[i, 2 + k::4], "os^"[k], ms=5, mfc="none", color=f"C{i}")
    for k, (_, label) in enumerate(trial.data["curves"]):
        ax.plot([], [], "os^"[k], ms=5, mfc="none", color="0.5", label=label)
    ax.set(xlabel=r"time on the clock of the norm, $\lambda_e t$ ($t$ in steps)",
           ylabel=r"$\mathbb{E}\,Y_\ell(\hat W_t)\,/\,Y_\ell(\hat W_0)$",
           title="Without a loss the direction mixes as fast as the norm comes to rest")
    ax.legend(fontsize=9)


claim = Claim(
    "ILR-11", "Pure noise on the sphere", paper="intrinsic_lr", extension=True,
    where="not in the paper: the case without a loss of its picture of fast equilibrium and slow mixing",
    statement=r"For $L=0$ a spherical harmonic of degree $\ell$ decays at the rate "
              r"$\frac12\ell(\ell+d-2)\eta_e^2s^2$; at the rest of the norm this is "
              r"$\lambda_e\,\ell(\ell+d-2)/(d-1)$, so that without barriers the sphere mixes in $O(1/\lambda_e)$ "
              r"steps, and $\mathbb{E}\|W_{T+\Delta}-W_T\|^2=2\|W\|^2(1-e^{-\lambda_e\Delta})$ grows all that "
              r"time.",
    setup=r"Tangent noise without a loss in $d=5$: the diffusion on the sphere at $\eta_e=0.1$, and the SDE of SGD "
          r"from its rest norm at $\lambda_e=0.01$ and $0.0025$, for $1/k_1$ steps",
    proof=ilr.by_claim("ILR-11"), quantities=QUANTITIES, measure=measure, figure=figure,
    control=r"$\ell(\ell+d-1)$, the eigenvalues of the sphere of one dimension more; and weights that "
            r"forget at the rate $4\lambda_e$ of $\|W\|^4$")
