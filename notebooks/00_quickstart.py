# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Quickstart
#
# A process is written once. From that one definition come its theory (SymPy), its simulation at compiled speed (Numba)
# and a verdict on whether the two agree. This page shows each of the three in a few lines.

# %%
import matplotlib.pyplot as plt
import numpy as np
import sympy

import sdetheory as sdt
from sdetheory import plot
from sdetheory.stats import mean_estimate

# %% [markdown]
# ## 1. An SDE: theory and paths from one expression
#
# Geometric Brownian motion, $dx = \mu x\,dt + \sigma x\,dW$.

# %%
x, mu, sigma, t = sympy.symbols("x mu sigma t", positive=True)
gbm = sdt.SDE([x], drift=[mu * x], diffusion=[[sigma * x]])
gbm

# %% [markdown]
# Its generator applied to $x^2$, and the equations of its moments, solved:

# %%
gbm.generator(x**2)

# %%
moments = gbm.moment_equations(order=2)
moments.solve([1], t)

# %% [markdown]
# A hundred thousand paths. The seed fixes every number, on any number of threads.

# %%
process = gbm.subs({mu: 0.5, sigma: 0.5})
runs = sdt.simulate(process, [1.0], t1=1.0, dt=1e-2, n_paths=100_000, save_every=5, rng=0)
runs

# %%
fig, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
plot.paths(runs, "x", n=30, ax=ax)
plot.ensemble(runs, "x", ax=ax, color="black", label="mean of 100,000 paths")
ax.plot(runs.time, np.exp(0.5 * runs.time), "--", color="tab:red", label=r"theory: $e^{\mu t}$")
ax.set(title="Thirty paths, their mean, and the mean that Itô's calculus predicts", ylim=(0, 6))
ax.legend();

# %% [markdown]
# ## 2. SGD on a scale-invariant loss, against its theory
#
# The loss $L(w) = w^\top A w / 2 w^\top w$ depends on the direction of $w$ alone. With weight decay the norm finds an
# equilibrium, and with it the effective learning rate $\eta/\|w\|^2$: claim ILR-4 says that it tends to
# $\sqrt{2\eta\lambda/\sigma^2}$, whatever the start.

# %%
loss = sdt.losses.RayleighQuotient([1, 1, 1, 0, 0, 0, 0, 0], noise=sdt.noises.Tangent(0.5))
runs = sdt.simulate(sdt.SGD(loss, lr=0.1, weight_decay=0.05), loss.sample_sphere(), n_steps=1000, n_paths=2000,
                    observe=["sq_norm", "effective_lr", "loss"], save_every=10, rng=0)
theory = sdt.theory.intrinsic_lr.equilibrium_effective_lr
theory

# %%
fig, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
plot.ensemble(runs, "effective_lr", ax=ax, label="2000 runs of SGD")
ax.axhline(theory(lr=0.1, weight_decay=0.05, noise_trace=loss.noise_trace), linestyle="--", color="0.35", label="theory, ILR-4")
ax.set(title="The effective learning rate finds its equilibrium")
ax.legend();

# %% [markdown]
# The formula carries its derivation: steps that end in residuals which SymPy shows to be exactly zero.

# %%
theory.derivation

# %% [markdown]
# ## 3. A verdict
#
# A claim states what it promises to see (the resolution) before it runs, and a wrong statement that it must refute.

# %%
def measure(trial):
    paths = sdt.simulate(process, [1.0], t1=1.0, dt=1e-3, n_paths=trial.paths(200_000), rng=trial.rng)
    return {"E x(1)": mean_estimate(paths.x.values[:, -1])}


def derivation():
    m = sympy.Function("m")(t)
    solved = moments.solve([1], t)[x]
    return (sdt.Derivation("The mean of geometric Brownian motion")
            .step("The generator gives the equation of the mean", sympy.Eq(m.diff(t), mu * m))
            .residual("the solution solves it", sympy.diff(solved, t) - mu * solved))


# Euler's mean is (1 + mu dt)^(t/dt): relative to exp(mu t) it is off by mu^2 t dt / 2, to first order
euler = 0.5**2 / 2 * 1e-3 * np.exp(0.5)
claim = sdt.Claim("GBM-mean", "the mean grows as exp(mu t)", statement=r"$\mathbb{E}\,x_t = e^{\mu t}$",
                  proof=derivation, measure=measure,
                  quantities={"E x(1)": sdt.Quantity(np.exp(0.5), sdt.Relative(0.02), wrong=np.exp(0.5 + 0.125),
                                                     bias=1.01 * euler, bias_source="Euler's mean is known")},
                  control="the growth rate is mu + sigma^2/2, as for the wrong calculus")
verdict = claim.verify(rng=0)
verdict

# %%
plot.verdict(verdict).figure

# %% [markdown]
# ## 4. A grid of runs
#
# `sweep=` turns parameters into dimensions of the result. Here gradient descent on $f = v^\top u/\sqrt n$ runs in every cell of a grid of learning
# rates and widths, and theory draws the edges between its phases (claim CAT-3): below $2$ the loss falls; between the edges it grows first
# and then converges in a flatter place, the catapult; above $4$ it diverges.

# %%
from sdetheory.studies.phases import phases_of_losses
from sdetheory.theory import catapult

CURVATURE, OUTPUT = 2.0, 1.0                     # the tangent kernel and the output of the net at the start
rates, widths = np.linspace(0.5, 2.3, 181), np.unique(np.geomspace(4, 1000, 150).round())
net = sdt.dynamics.OutputCurvatureMap(width=100, lr=1.0)
grid = sdt.simulate(net, [OUTPUT, CURVATURE], n_steps=150, save_every=1, observe=["loss"], rng=0,
                    sweep={"width": widths, "lr": rates})
phases = phases_of_losses(grid.loss.isel(path=0).values, grid.diverged_at.isel(path=0).values)


def draw(left, right):
    """The picture of the README."""
    lr, decay, kappa, drop = 0.2, 0.05, 10.0, 300
    rest = sdt.theory.intrinsic_lr.equilibrium_effective_lr(lr=lr, weight_decay=decay, noise_trace=loss.noise_trace)
    rule = sdt.SGD(loss, lr=lambda step: lr if step < drop else lr / kappa, weight_decay=decay)
    for start, colour in [(0.5, "tab:blue"), (3.0, "tab:orange")]:
        runs = sdt.simulate(rule, loss.sample_sphere((lr / rest * start) ** 0.5), n_steps=1500, n_paths=1000, save_every=6,
                            observe=["effective_lr"], rng=1)
        plot.ensemble(runs, "effective_lr", ax=left, color=colour, label=f"1000 runs of SGD, norm² {start:g} × equilibrium")
    step = np.arange(0.0, drop + 1, 3)
    for start in (0.5, 3.0):
        closed = sdt.theory.intrinsic_lr.effective_lr(t=step, effective_lr0=rest / start, intrinsic_lr=lr * decay,
                                                      noise_trace=loss.noise_trace)
        left.plot(step, closed, "--", color="0.2", linewidth=1)
    later = np.arange(0.0, 1200, 6)
    left.plot(drop + later, rest * sdt.theory.intrinsic_lr.effective_lr_after_lr_drop(t=later, drop_factor=kappa, intrinsic_lr=lr * decay),
              "--", color="0.2", linewidth=1, label="theory (ILR-3, ILR-7), nothing fitted")
    left.set(yscale="log", title="SGD with weight decay, and a learning-rate drop", ylabel="effective learning rate η/‖w‖²")
    left.legend(fontsize=8)
    plot.phase_map(phases, rates * CURVATURE, widths, yscale="log", ax=right,
                   growth_edge=CURVATURE * catapult.first_growth_edge(curvature=CURVATURE, f=OUTPUT, width=widths),
                   divergence_edge=CURVATURE * catapult.divergence_edge(curvature=CURVATURE))
    right.set(xlabel="learning rate × curvature at the start", ylabel="width", title=f"Phases of a two-layer linear net: {phases.size:,} runs")


fig, axes = plt.subplots(1, 2, figsize=(12, 4.2), layout="constrained")
draw(*axes)

# %% [markdown]
# ## Exercises
#
# 1. Make the prediction wrong by 1 %. Is the claim refuted? Look at `resolution` and `smallest_detectable` in the table above.
# 2. Ask for a tenth of the paths. What does the verdict say, and what does it ask for?
# 3. `observe={"log": sympy.log(x)}` saves $\log x$. Check $\mathbb{E}\log x_1 = \mu - \sigma^2/2$ in a claim of your own.
