r"""ILR-15: linear scaling. Batch and learning rate times κ, weight decay as it is: the same SDE in the time τ = ηk.

.. math:: \Sigma_{\kappa B} = \frac1\kappa\Sigma_B, \qquad
          dW = -\nabla L\,d\tau - \lambda W\,d\tau + \Bigl(\frac{\kappa\eta}{\kappa B}\,\Sigma_1\Bigr)^{1/2}dB_\tau

for samples drawn with replacement. The covariance is found by enumerating every minibatch. The samples are quadratics
L_j = wᵀ(A ± cM_j)w/(2wᵀw), M_j an orthonormal basis of the symmetric matrices: their Σ_1(ŵ) = s²(I − ŵŵᵀ) exactly, so that

.. math:: \mathbb E\|W_\tau\|^4 = e^{-4\lambda\tau}\|W_0\|^4 + \frac{\eta\sigma^2}{2\lambda B}\,(1-e^{-4\lambda\tau})

SGD differs from its SDE by O(η) at one noise level η/B (steps of finite size, a law of the noise that is not Gaussian).
Runs with κ = 1, 2, 4 show that difference, and at κ = 1 and 2 it is bounded by the run with twice κ. Clock: τ = ηk.
"""

from itertools import combinations_with_replacement, permutations, product

import numpy as np
import sympy

import sdetheory as sdt
from sdetheory import Claim, Derivation, Exact, Quantity, Relative
from sdetheory.stats import mean_estimate, step_halving
from sdetheory.theory import intrinsic_lr as ilr

DIM, STRENGTH, DECAY = 3, 2.4, 0.5
EIGENVALUE, RANK = 0.5, 2
LR, BATCH = 0.005, 1
START = 0.23  # |w_0|: |w_0|^4 is 0.6 of its rest value, so that both parts of the closed form count
TIMES = np.array([0.5, 2.0])  # 4 lambda tau = 1 and 4
LABELS = tuple(rf"$\tau={t:g}$" for t in TIMES)
REST, END = 2.5, 5.0  # the loss is averaged here: exp(-5) of gamma's start is left, 0.1 % in the mean
SAVE = 0.1

# eta_e = 0.07 at rest for kappa = 1. |grad L|^2 = a^2 k eta_e s^2/(4a) beside sigma^2 makes a gap of 2 % in |W|^4
# there, twice that at kappa = 2, and the bound is 1.25 times the gap. |W|^4 varies by 10 % over paths, the mean loss
# of a path by 30 %: 20 000 paths leave z·se = 0.4 % and 1 %, twice that in quick mode, and as much again and a half
# in the bounds.
PATHS = 20_000
RHO = 0.12


def samples(mean, strength):
    """The mean ± strength times an orthonormal basis of the symmetric matrices, as SymPy matrices."""
    for i, j in combinations_with_replacement(range(DIM), 2):
        m = sympy.zeros(DIM)
        m[i, j] = m[j, i] = 1 if i == j else 1 / sympy.sqrt(2)
        yield from (mean + strength * m, mean - strength * m)


STIFF = sympy.diag(*[EIGENVALUE] * RANK, *[0] * (DIM - RANK))
MATRICES = [np.array(m, dtype=float) for m in samples(STIFF, STRENGTH)]
SQ_SCALE = STRENGTH**2 / (DIM * (DIM + 1))  # s^2 of one sample, see `isotropy`
TRACE = SQ_SCALE * (DIM - 1)

POINT = np.array([0.6, -0.3, 1.1])  # any point, for the covariance
DRAWN = (2, 3)  # minibatches of 2 and of 3: 144 and 1728 of them


def loss(batch):
    """The mean of all samples with minibatches drawn with replacement."""
    return sdt.losses.FiniteSum([sdt.losses.RayleighQuotient(m) for m in MATRICES], batch_size=batch)


def fourth_power(lr, batch, t=TIMES, trace=TRACE):
    """E |W|^4 of the SDE."""
    return ilr.flow_sq_norm(t=t, sq_norm0=START**2, lr=lr, weight_decay=DECAY, batch_size=batch, noise_trace=trace) ** 2


def mean_loss(lr, batch, hot=1):
    """E L of the SDE at the rest of the norm (ILR-10), at `hot` times the temperature."""
    rest = ilr.equilibrium_effective_lr(lr=lr, weight_decay=DECAY, noise_trace=TRACE / batch)
    return ilr.stationary_mean_loss(eigenvalue=EIGENVALUE, rank=RANK, dim=DIM, effective_lr=rest,
                                    noise_scale=(hot * SQ_SCALE / batch) ** 0.5)


SIGMA = loss(1).noise.covariance(POINT)
ROOT_RULE = 2**0.5 * LR, 2 * BATCH  # kappa = 2 with lr times sqrt(2)
RIGHT = fourth_power(LR, BATCH)
# Without replacement the covariance of a mean of B out of n has the factor (n − B)/(n − 1).
LOST = (max(DRAWN) - 1) / (len(MATRICES) - 1)

QUANTITIES = {
    "covariance x batch": Quantity(np.stack([SIGMA] * len(DRAWN)), 1e-6, effect=LOST * np.abs(SIGMA).max()),
    "norm^4, kappa = 1": Quantity(RIGHT, Relative(RHO), wrong=fourth_power(LR, BATCH, trace=TRACE * DIM / (DIM - 1)),
                                  points=LABELS),
    "norm^4, kappa = 2": Quantity(RIGHT, Relative(RHO), effect=np.abs(RIGHT - fourth_power(*ROOT_RULE)), points=LABELS),
    "mean loss, kappa = 1": Quantity(lambda: mean_loss(LR, BATCH), Relative(RHO),
                                     wrong=lambda: mean_loss(LR, BATCH, hot=2)),
    "mean loss, kappa = 2": Quantity(lambda: mean_loss(LR, BATCH), Relative(RHO),
                                     effect=lambda: abs(mean_loss(LR, BATCH) - mean_loss(*ROOT_RULE))),
}


def enumerated(replacement):
    """B times the covariance of the minibatch gradient, over all ordered minibatches of each size in DRAWN."""
    values, bounds = [], []
    for size in DRAWN:
        noise = loss(size).noise
        batches = np.array(list(product(range(noise.n_samples), repeat=size) if replacement
                                else permutations(range(noise.n_samples), size)))
        gradients = noise.minibatch_gradient(POINT, (batches + 0.5) / noise.n_samples)
        centred = gradients - gradients.mean(axis=0)
        values.append(size * centred.T @ centred / len(batches))
        # sums of N products of numbers up to g, then scaled; the mean is off by N eps g as well
        bounds.append(np.full((DIM, DIM), 3 * size * len(batches) * np.finfo(float).eps * np.abs(gradients).max() ** 2))
    return Exact(np.stack(values), np.stack(bounds))


def sgd(lr, batch, n_paths, seed):
    """SGD to tau = END from one point."""
    return sdt.simulate(sdt.SGD(loss(batch), lr=lr, weight_decay=DECAY), START * np.full(DIM, DIM**-0.5),
                        n_steps=round(END / lr), n_paths=n_paths, observe=["sq_norm", "loss"],
                        save_every=max(1, round(SAVE / lr)), rng=seed)


def moments(runs, lr):
    """Estimates of E |W|^4 at TIMES and of E L at rest."""
    tau = runs.step.values * lr
    at = [int(np.abs(tau - t).argmin()) for t in TIMES]
    return mean_estimate(runs.sq_norm.values[:, at] ** 2), mean_estimate(runs.loss.values[:, tau > REST].mean(1))


def bounded(kappa, fine, coarse):
    """The moments at kappa, bounded by those at twice kappa (weak order 1)."""
    return {f"{name}, kappa = {kappa}": step_halving(at_2h, at_h, order=1)
            for name, at_h, at_2h in zip(("norm^4", "mean loss"), fine, coarse, strict=True)}


def measure(trial):
    """kappa = 1, 2, 4 at one noise level."""
    n = trial.paths(PATHS)
    found, trial.data["curves"] = [], []
    for kappa, seed in zip((1, 2, 4), trial.rng.spawn(3), strict=True):
        runs = sgd(kappa * LR, kappa * BATCH, n, seed)
        found.append(moments(runs, kappa * LR))
        trial.data["curves"].append((kappa, runs.step.values * kappa * LR, (runs.sq_norm.values**2).mean(0)))
    trial.data["moments"] = found
    return {"covariance x batch": enumerated(replacement=True), **bounded(1, *found[:2]), **bounded(2, *found[1:])}


def broken(trial):
    """The square-root rule at kappa = 2; its gap to its own SDE is bounded as above, at one noise level."""
    n, (lr, batch) = trial.paths(PATHS), ROOT_RULE
    # the saved times nearest to TIMES are within 0.02 of them, where |W|^4 changes by less than 1 %
    pair = [moments(sgd(f * lr, f * batch, n, seed), f * lr)
            for f, seed in zip((1, 2), trial.rng.spawn(2), strict=True)]
    return {"covariance x batch": enumerated(replacement=False), **bounded(2, *pair)}


def isotropy():
    """The samples' noise is isotropic in the tangent space, for any A and any point, here in three dimensions."""
    work = Derivation("The noise of the samples")
    c, d = sympy.Symbol("c", positive=True), DIM
    v = sympy.Matrix(sympy.symbols(f"v1:{d + 1}", real=True))
    entries = sympy.symbols(f"a1:{d * d + 1}", real=True)
    matrix = sympy.Matrix(d, d, lambda i, j: entries[d * min(i, j) + max(i, j)])

    def gradient(a):
        return a * v - (v.T * a * v)[0] * v

    centred = [gradient(a) - gradient(matrix) for a in samples(matrix, c)]  # their mean is `matrix`
    sigma = sum((g * g.T for g in centred), sympy.zeros(d)) / len(centred)
    stated = c**2 / (d * (d + 1)) * (sympy.eye(d) - v * v.T)
    work.step(r"$\nabla L_j(v)=A_jv-(v^TA_jv)v$ on the unit sphere, $A_j=A\pm cM_j$; $\Sigma_1(v)$ is", stated)

    def on_sphere(e):
        return sympy.expand(sympy.rem(sympy.expand(e), v.dot(v) - 1, v[d - 1]))

    return work.residual("covariance", (sigma - stated).applyfunc(on_sphere))


def proof():
    """The SDE in the time lr·k sees lr and batch by their quotient; the closed forms that the runs are held against."""
    return [*ilr.by_claim("ILR-15"), ilr.equilibrium_mean_loss, isotropy()]


def figure(trial, left, right):
    """The norm in the time lr·k for three batch sizes, with the square-root rule; and the gap, linear in lr."""
    tau = np.linspace(0, END, 300)
    left.plot(tau, fourth_power(LR, BATCH, tau), color="0.5", lw=1.3, label=r"SDE, every $\kappa$")
    for i, (kappa, time, curve) in enumerate(trial.data["curves"]):
        left.plot(time[2 + kappa::8], curve[2 + kappa::8], "os^"[i], ms=5, mfc="none", color=f"C{i}",
                  label=rf"SGD, $\eta,B\times{kappa}$")
    rule = sgd(2 * LR, 4 * BATCH, 500, trial.rng.spawn(1)[0])
    left.plot(rule.step * 2 * LR, (rule.sq_norm**2).mean("path"), color="C3", lw=1.2, ls="--",
              label=r"$\eta\times2,\ B\times4$ (square root)")
    left.set(ylim=0, xlabel=r"time $\tau=\eta k$ ($k$ steps)", ylabel=r"$\mathbb{E}\|w_k\|^4$",
             title=r"Batch and learning rate times $\kappa$: one SDE")
    lrs = np.array([1, 2, 4]) * LR
    rows = (r"$\mathbb{E}\|w\|^4$", RIGHT[-1]), (r"$\mathbb{E}L$", mean_loss(LR, BATCH))
    for part, (name, target) in enumerate(rows):
        values = np.array([np.atleast_1d(m[part].value)[-1] / target - 1 for m in trial.data["moments"]])
        errors = [2 * np.atleast_1d(m[part].stderr)[-1] / target for m in trial.data["moments"]]
        right.errorbar(lrs, values, errors, fmt="os"[part], ms=5, mfc="none", color=f"C{part}", capsize=3, label=name)
        right.plot(np.r_[0, lrs], np.r_[0, values], color=f"C{part}", lw=0.8, ls=":")
    right.axhline(0, color="0.5", lw=0.8)
    right.set(xlim=0, xlabel=r"learning rate at one $\eta/B$", ylabel="SGD / SDE $-$ 1, at rest",
              title=r"and a gap of $O(\eta)$ to it")
    for ax in (left, right):
        ax.legend(fontsize=9)


claim = Claim(
    "ILR-15", "Linear scaling", paper="intrinsic_lr",
    where="the section on batch size and the linear scaling rule",
    statement=r"Batch $\times\kappa$, $\eta\times\kappa$ and $\lambda$ as it is, with samples drawn with "
              r"replacement: $\Sigma\to\Sigma/\kappa$, and the SDE is the same in the time $\eta k$. SGD's moments "
              r"at equal $\eta k$ agree with those of that one SDE up to $O(\eta)$.",
    setup=r"SGD on a mean of 12 Rayleigh quotients in $d=3$, $\eta=0.005\,\kappa$ and batch $\kappa=1$, 2, 4 with "
          r"replacement, $\lambda=0.5$, to $\eta k=5$; and every minibatch of 2 and of 3 of its samples",
    proof=proof, quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"the square-root rule, $\eta\times\sqrt\kappa$ at $\kappa=2$; minibatches drawn without replacement; "
            r"and at $\kappa=1$ $\sigma^2=s^2d$ for $s^2(d-1)$ and the density $e^{-L/(\eta_es^2)}$, without the "
            r"half of Itô's formula")
