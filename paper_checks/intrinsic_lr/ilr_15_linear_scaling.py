r"""ILR-15: linear scaling. Batch and learning rate times κ, weight decay as it is: the same SDE in the time τ = ηk.

.. math:: \Sigma_{\kappa B} = \frac1\kappa\Sigma_B, \qquad
          dW = -\nabla L\,d\tau - \lambda W\,d\tau + \Bigl(\frac{\kappa\eta}{\kappa B}\,\Sigma_1\Bigr)^{1/2}dB_\tau

for samples drawn with replacement. The covariance is found by enumerating every minibatch. The samples are quadratics
L_j = wᵀ(A ± cM_j)w/(2wᵀw), M_j an orthonormal basis of the symmetric matrices: their Σ_1(ŵ) = s²(I − ŵŵᵀ) exactly, so that

.. math:: \mathbb E\|W_\tau\|^4 = e^{-4\lambda\tau}\|W_0\|^4 + \frac{\eta\sigma^2}{2\lambda B}\,(1-e^{-4\lambda\tau})

SGD differs from its SDE by O(η) at one noise level η/B (steps of finite size, a law of the noise that is not Gaussian).
Runs with κ = 1, 2, 4 show that difference, and at κ = 1 and 2 it is bounded by the run with twice κ. Clock: τ = ηk.
"""

from __future__ import annotations

from itertools import combinations_with_replacement, permutations, product
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from sdetheory.evidence import Exact

import sdetheory as sdt
from sdetheory.claims import Claim, Control, Relative, Resolution, Run
from sdetheory.stats import mean_estimate, step_halving
from sdetheory.symbolic import Derivation
from sdetheory.theory import intrinsic_lr as ilr
from sdetheory.theory.formula import joint_derivation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIM, STRENGTH, DECAY = 3, 2.4, 0.5
EIGENVALUE, RANK = 0.5, 2
LR, BATCH = 0.005, 1
START = 0.23  # |w_0|: |w_0|^4 is 0.6 of its rest value, so that both parts of the closed form count
TIMES = np.array([0.5, 2.0])  # 4 lambda tau = 1 and 4
REST, END = 2.5, 5.0  # the loss is averaged here: exp(-5) of gamma's start is left, 0.1 % in the mean
SAVE = 0.1

# eta_e = 0.07 at rest for kappa = 1. |grad L|^2 = a^2 k eta_e s^2/(4a) beside sigma^2 makes a gap of 2 % in |W|^4 there, twice
# that at kappa = 2, and the bound is 1.25 times the gap. |W|^4 varies by 10 % over paths, the mean loss of a path by 30 %:
# 20 000 paths leave z·se = 0.4 % and 1 %, twice that in quick mode, and as much again and a half in the bounds.
PATHS = 20_000
RHO = 0.12


def symmetric_basis(dim: int) -> list[np.ndarray]:
    """An orthonormal basis of the symmetric matrices."""
    basis = []
    for i, j in combinations_with_replacement(range(dim), 2):
        m = np.zeros((dim, dim))
        m[i, j] = m[j, i] = 1.0 if i == j else 2**-0.5
        basis.append(m)
    return basis


STIFF = np.diag([EIGENVALUE] * RANK + [0.0] * (DIM - RANK))
MATRICES = [STIFF + sign * STRENGTH * m for m in symmetric_basis(DIM) for sign in (1, -1)]
SQ_SCALE = STRENGTH**2 / (DIM * (DIM + 1))  # s^2 of one sample, see `isotropy`
TRACE = SQ_SCALE * (DIM - 1)

POINT = np.array([0.6, -0.3, 1.1])  # any point, for the covariance
DRAWN = (2, 3)  # minibatches of 2 and of 3: 144 and 1728 of them


def loss(batch: int) -> Any:
    """The mean of all samples with minibatches drawn with replacement."""
    return sdt.losses.FiniteSum([sdt.losses.RayleighQuotient(m) for m in MATRICES], batch_size=batch)


def fourth_power(lr: float, batch: int) -> np.ndarray:
    """E |W|^4 of the SDE at TIMES, from gamma = |W|^4/lr^2 in steps."""
    return lr**2 * ilr.gamma(t=TIMES / lr, gamma0=START**4 / lr**2, intrinsic_lr=lr * DECAY, noise_trace=TRACE / batch)


def mean_loss(lr: float, batch: int) -> float:
    """E L of the SDE at the rest of the norm (ILR-10)."""
    return ilr.equilibrium_mean_loss(eigenvalue=EIGENVALUE, rank=RANK, dim=DIM, noise_scale=(SQ_SCALE / batch) ** 0.5,
                                     intrinsic_lr=lr * DECAY)


def prediction() -> dict[str, Any]:
    """The SDE's values at kappa = 1; Sigma_B B of every minibatch size is Sigma_1."""
    right = fourth_power(LR, BATCH)
    sigma = loss(1).noise.covariance(POINT)
    return {"covariance x batch": np.stack([sigma] * len(DRAWN)),
            "norm^4, kappa = 1": right, "norm^4, kappa = 2": right,
            "mean loss, kappa = 1": mean_loss(LR, BATCH), "mean loss, kappa = 2": mean_loss(LR, BATCH)}


def enumerated(replacement: bool) -> Exact:
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


def sgd(lr: float, batch: int, n_paths: int, seed: Any) -> Any:
    """SGD to tau = END from one point."""
    return sdt.simulate(sdt.SGD(loss(batch), lr=lr, weight_decay=DECAY), START * np.full(DIM, DIM**-0.5),
                        n_steps=round(END / lr), n_paths=n_paths, observe=["sq_norm", "loss"],
                        save_every=max(1, round(SAVE / lr)), rng=seed)


def moments(runs: Any, lr: float) -> tuple[Any, Any]:
    """Estimates of E |W|^4 at TIMES and of E L at rest."""
    tau = runs.step.values * lr
    at = [int(np.abs(tau - t).argmin()) for t in TIMES]
    return (mean_estimate(runs.sq_norm.values[:, at] ** 2), mean_estimate(runs.loss.values[:, tau > REST].mean(1)))


def simulation(run: Run) -> dict[str, Any]:
    """kappa = 1, 2, 4 at one noise level: each of the first two is bounded by the one with twice kappa (weak order 1)."""
    n = run.paths(PATHS)
    found, run.data["curves"] = [], []
    for kappa, seed in zip((1, 2, 4), run.rng.spawn(3), strict=True):
        runs = sgd(kappa * LR, kappa * BATCH, n, seed)
        found.append(moments(runs, kappa * LR))
        run.data["curves"].append((kappa, runs.step.values * kappa * LR, (runs.sq_norm.values**2).mean(0)))
    run.data["moments"] = found
    result: dict[str, Any] = {"covariance x batch": enumerated(replacement=True)}
    for kappa, fine, coarse in zip((1, 2), found[:2], found[1:], strict=True):
        result[f"norm^4, kappa = {kappa}"] = step_halving(coarse[0], fine[0], order=1)
        result[f"mean loss, kappa = {kappa}"] = step_halving(coarse[1], fine[1], order=1)
    return result


def square_root_rule(run: Run) -> dict[str, Any]:
    """kappa = 2 with lr times sqrt(2); its gap to its own SDE is bounded as above, at one noise level."""
    n = run.paths(PATHS)
    lr, seeds = 2**0.5 * LR, run.rng.spawn(2)
    # the saved times nearest to TIMES are within 0.02 of them, where |W|^4 changes by less than 1 %
    fine, coarse = (moments(sgd(f * lr, 2 * f * BATCH, n, seed), f * lr) for f, seed in zip((1, 2), seeds, strict=True))
    return {"covariance x batch": enumerated(replacement=False),
            "norm^4, kappa = 2": step_halving(coarse[0], fine[0], order=1),
            "mean loss, kappa = 2": step_halving(coarse[1], fine[1], order=1)}


def effects() -> dict[str, float]:
    """By how much the square-root rule moves the SDE's values at kappa = 2, at the time where that is least.

    Without replacement the covariance of a mean of B out of n has the factor (n − B)/(n − 1).
    """
    rule, noise = (2**0.5 * LR, 2 * BATCH), loss(1).noise
    lost = (max(DRAWN) - 1) / (noise.n_samples - 1)
    return {"covariance x batch": lost * float(np.abs(noise.covariance(POINT)).max()),
            "norm^4, kappa = 2": float(np.abs(fourth_power(LR, BATCH) - fourth_power(*rule)).min()),
            "mean loss, kappa = 2": abs(mean_loss(LR, BATCH) - mean_loss(*rule))}


def isotropy() -> Derivation:
    """The samples' noise is isotropic in the tangent space, for any A and any point, here in three dimensions."""
    work = Derivation("The noise of the samples")
    c, d = sympy.Symbol("c", positive=True), DIM
    v = sympy.Matrix(sympy.symbols(f"v1:{d + 1}", real=True))
    entries = sympy.symbols(f"a1:{d * d + 1}", real=True)
    matrix = sympy.Matrix(d, d, lambda i, j: entries[d * min(i, j) + max(i, j)])
    basis = []
    for i, j in combinations_with_replacement(range(d), 2):
        m = sympy.zeros(d)
        m[i, j] = m[j, i] = 1 if i == j else 1 / sympy.sqrt(2)
        basis.append(m)
    samples = [matrix + sign * c * m for m in basis for sign in (1, -1)]

    def gradient(a: sympy.Matrix) -> sympy.Matrix:
        return a * v - (v.T * a * v)[0] * v

    mean = gradient(sum(samples, sympy.zeros(d)) / len(samples))
    centred = [gradient(a) - mean for a in samples]
    sigma = sum((g * g.T for g in centred), sympy.zeros(d)) / len(samples)
    stated = c**2 / (d * (d + 1)) * (sympy.eye(d) - v * v.T)
    work.step(r"$\nabla L_j(v)=A_jv-(v^TA_jv)v$ on the unit sphere, $A_j=A\pm cM_j$; $\Sigma_1(v)$ is", stated)

    def on_sphere(e: sympy.Expr) -> sympy.Expr:
        return sympy.expand(sympy.rem(sympy.expand(e), v.dot(v) - 1, v[d - 1]))

    return work.residual("covariance", (sigma - stated).applyfunc(on_sphere))


def derivation() -> Derivation:
    """The SDE in the time lr·k sees lr and batch by their quotient; the closed forms that the runs are held against."""
    whole = joint_derivation("Linear scaling", ilr.flow_noise, ilr.gamma, ilr.equilibrium_mean_loss)
    whole.including(isotropy())
    eta, kappa, lam, t, trace, start = sympy.symbols("eta kappa lambda tau S R_0", positive=True)

    def fourth(lr: sympy.Expr, power: sympy.Expr) -> sympy.Expr:
        return lr**2 * ilr.gamma(t=t / lr, gamma0=start**2 / lr**2, intrinsic_lr=lr * lam, noise_trace=power)

    whole.step(r"$\|W\|^4=\eta^2\gamma$ at the time $\tau=\eta k$.", sympy.simplify(fourth(eta, trace)))
    return whole.residual("|W|^4 is the same for every kappa", fourth(kappa * eta, trace / kappa) - fourth(eta, trace))


def figure(run: Run) -> Figure:
    """The norm in the time lr·k for three batch sizes, with the square-root rule; and the gap, which is linear in lr."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.2, 3.8), layout="constrained")
    left, right = fig.subplots(1, 2, width_ratios=(3, 2))
    tau = np.linspace(0, END, 300)
    theory = LR**2 * ilr.gamma(t=tau / LR, gamma0=START**4 / LR**2, intrinsic_lr=LR * DECAY, noise_trace=TRACE)
    left.plot(tau, theory, color="0.45", lw=1.3, label=r"SDE, every $\kappa$")
    for (kappa, time, curve), marker, colour in zip(run.data["curves"], ("o", "s", "^"),
                                                    ("tab:blue", "tab:green", "tab:red"), strict=True):
        left.plot(time[2 + kappa::8], curve[2 + kappa::8], marker, ms=5, mfc="none", color=colour,
                  label=rf"SGD, $\eta,B\times{kappa}$")
    rule = sgd(2 * LR, 4 * BATCH, 500, run.rng.spawn(1)[0])
    left.plot(rule.step * 2 * LR, (rule.sq_norm**2).mean("path"), color="tab:purple", lw=1.2, ls="--",
              label=r"$\eta\times2,\ B\times4$ (square root)")
    left.set_ylim(0)
    left.set_xlabel(r"time $\tau=\eta k$ ($k$ steps)")
    left.set_ylabel(r"$\mathbb{E}\|w_k\|^4$")
    left.legend(frameon=False, fontsize=9)
    kappas = np.array([1, 2, 4])
    for part, name, target, marker, colour in ((0, r"$\mathbb{E}\|w\|^4$", fourth_power(LR, BATCH)[-1], "o", "tab:blue"),
                                               (1, r"$\mathbb{E}L$", mean_loss(LR, BATCH), "s", "tab:orange")):
        values = [np.atleast_1d(m[part].value)[-1] / target - 1 for m in run.data["moments"]]
        errors = [2 * np.atleast_1d(m[part].stderr)[-1] / target for m in run.data["moments"]]
        right.errorbar(kappas * LR, values, errors, fmt=marker, ms=5, mfc="none", color=colour, capsize=3, label=name)
        right.plot([0, LR], [0, values[0]], color=colour, lw=0.8, ls=":")
        right.plot(kappas * LR, values, color=colour, lw=0.8, ls=":")
    right.axhline(0, color="0.5", lw=0.8)
    right.set_xlim(0)
    right.set_xlabel(r"learning rate at one $\eta/B$")
    right.set_ylabel("SGD / SDE $-$ 1, at rest")
    right.legend(frameon=False, fontsize=9)
    fig.suptitle(r"Batch and learning rate times $\kappa$: one SDE, and a gap of $O(\eta)$ to it", fontsize=11)
    return fig


claim = Claim(
    "ILR-15",
    title="Linear scaling",
    paper="intrinsic_lr",
    statement=r"Batch $\times\kappa$, $\eta\times\kappa$ and $\lambda$ as it is, with samples drawn with replacement: "
              r"$\Sigma\to\Sigma/\kappa$, and the SDE is the same in the time $\eta k$. SGD's moments at equal $\eta k$ agree "
              r"with those of that one SDE up to $O(\eta)$.",
    derivation=derivation,
    prediction=prediction,
    simulation=simulation,
    resolution={"covariance x batch": Resolution(1e-6),
                **{f"norm^4, kappa = {k}": Resolution(Relative(RHO), points=len(TIMES)) for k in (1, 2)},
                **{f"mean loss, kappa = {k}": Resolution(Relative(RHO)) for k in (1, 2)}},
    negative_control=Control(r"the square-root rule, $\eta\times\sqrt\kappa$ at $\kappa=2$; and minibatches drawn without "
                             r"replacement", simulation=square_root_rule, effect=effects),
    figure=figure,
)
