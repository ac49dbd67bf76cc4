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
# # Your own theorem: write it, verify it, break it
#
# **The lemma.** Near a minimum of curvature $a$, SGD at constant learning rate is close to an Ornstein–Uhlenbeck process
# $dx = -a x\,dt + s\,dW$. Its iterates never settle: their variance stays at $s^2/2a$. Polyak and Ruppert proposed to *average* them. How good is
# the average $\bar x_T = \frac1T\int_0^T x_t\,dt$? We claim, for a start at the minimum,
# $$ \mathrm{Var}\,\bar x_T = \frac{s^2}{a^2 T}\Bigl(1 - \frac{2(1-e^{-aT})}{aT} + \frac{1-e^{-2aT}}{2aT}\Bigr). $$
#
# A claim in this library is four things: a **proof** that SymPy closes, **quantities** that it predicts, a **measurement** with error bars,
# and a **control**: a wrong statement that the same measurement must refute. We write them one by one.

# %%
import matplotlib.pyplot as plt
import numpy as np
import sympy
from IPython.display import display

import sdetheory as sdt
from sdetheory import plot
from sdetheory.stats import mean_estimate, step_halving
from sdetheory.symbolic import Derivation

# %% [markdown]
# ## 1. The process
#
# The average is a state of its own: $dy = x\,dt$ and $\bar x_T = y_T/T$. The pair $(x, y)$ is a linear SDE, so its moments close.

# %%
x, y = sympy.symbols("x y", real=True)
a, s, T = sympy.symbols("a s T", positive=True)
pair = sdt.SDE([x, y], drift=[-a * x, x], diffusion=[[s], [0]])
moments = pair.moment_equations(order=2)
assert moments.closed
moments.equations

# %% [markdown]
# ## 2. The derivation
#
# It must *start* from the process and *end* in a residual "derived − claimed" that simplifies to exactly zero. Typing the answer in on
# both sides would prove nothing, so `derived` below comes from solving the moment equations.

# %%
claimed = s**2 / (a**2 * T) * (1 - 2 * (1 - sympy.exp(-a * T)) / (a * T) + (1 - sympy.exp(-2 * a * T)) / (2 * a * T))


def derivation(statement=claimed):
    solved = moments.solve([0, 0], T)
    derived = solved[y**2] / T**2
    return (Derivation("The variance of the averaged iterate")
            .step("The moments of order 2 obey a linear system; its solution from (0, 0) gives", sympy.Eq(sympy.Symbol("E y^2"), solved[y**2]))
            .step(r"Divide by $T^2$; the mean is 0.", derived)
            .residual("derived - claimed", derived - statement))


derivation().verify()

# %% [markdown]
# A derivation that could not fail would be worthless. With a 1 % error it doesn't close:

# %%
derivation(claimed * sympy.Rational(101, 100)).verify()

# %% [markdown]
# ## 3. The measurement, and what it promises to see
#
# We fix three times, the number of paths, and the **resolution**: a relative error of 6 % of the variance must not escape. The bias of the time
# step is measured: a second run at twice the step, on the same Brownian paths, bounds it.

# %%
CURVATURE, NOISE, TIMES = 1.5, 0.8, (1.0, 2.0, 4.0)
process = pair.subs({a: CURVATURE, s: NOISE})
variance = sympy.lambdify(T, claimed.subs({a: CURVATURE, s: NOISE}))


def measure(trial, process=process):
    squares = {}
    for dt in (1 / 16, 1 / 32):
        runs = sdt.simulate(process, [0.0, 0.0], t1=16.0, dt=dt, brownian_dt=1 / 32, n_paths=trial.paths(80_000), rng=trial.rng,
                            observe=["y"], save_every=round(1 / dt), scheme="weak_order_2")
        squares[dt] = np.stack([runs.y.sel(time=t).values ** 2 / t**2 for t in TIMES], axis=1)
        trial.data["runs"] = runs
    return {"variance": step_halving(squares[1 / 16], squares[1 / 32], order=2, coupled=True)}


claim = sdt.Claim(
    "MINE-1", "the variance of the averaged iterate",
    statement=r"$\mathrm{Var}\,\bar x_T = \frac{s^2}{a^2T}\bigl(1 - \frac{2(1-e^{-aT})}{aT} + \frac{1-e^{-2aT}}{2aT}\bigr)$",
    proof=derivation, measure=measure,
    quantities={"variance": sdt.Quantity([variance(t) for t in TIMES], sdt.Relative(0.06),
                                         wrong=NOISE**2 / (CURVATURE**2 * np.array(TIMES)),
                                         points=[f"T = {t:g}" for t in TIMES])},
    control="the start is forgotten at once: the variance is s²/(a²T)")
verdict = claim.verify(rng=0)
verdict

# %%
display(plot.verdict(verdict).figure)
fig, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
runs = verdict.trial.data["runs"]
later = runs.sel(time=slice(0.5, None))
ax.loglog(later.time, (later.y**2).mean("path") / later.time**2, "o", markersize=4, label="80,000 paths")
ax.loglog(later.time, [variance(float(t)) for t in later.time], "--", color="0.35", label="the lemma")
ax.loglog(later.time, NOISE**2 / (CURVATURE**2 * later.time), ":", color="tab:red", label="the negative control")
ax.set(xlabel="T", ylabel=r"Var $\bar x_T$", title="Averaging: the lemma, and a plausible mistake")
ax.legend();

# %% [markdown]
# ## 4. Break it
#
# Drop an assumption: let the minimum be quartic as well, $dx = -(ax + bx^3)dt + s\,dW$. The derivation no longer applies (the moment equations
# don't close, and the library says which moments are missing), and the simulation refutes the number:

# %%
quartic = sdt.SDE([x, y], drift=[-CURVATURE * x - 2 * x**3, x], diffusion=[[NOISE], [0]])
quartic.moment_equations(order=2)

# %%
broken = sdt.Claim("MINE-2", statement="the same number for a quartic minimum", empirical=True,
                   quantities=claim.quantities, measure=lambda trial: measure(trial, quartic), control=claim.control)
broken.verify(rng=0)

# %% [markdown]
# ## 5. Too little data is no verdict
#
# With two hundred paths the check can't see 6 %, and says so: `inconclusive`, with the number of paths that it would take.

# %%
def from_few_paths(trial):
    runs = sdt.simulate(process, [0.0, 0.0], t1=4.0, dt=1 / 32, n_paths=200, rng=trial.rng, observe=["y"])
    return {"variance": mean_estimate(runs.y.values[:, -1] ** 2 / 16)}


few = sdt.Claim("MINE-3", statement="the same, from few paths", proof=derivation, measure=from_few_paths,
                quantities={"variance": sdt.Quantity(variance(4.0), sdt.Relative(0.06), wrong=2 * variance(4.0))},
                control="twice the variance")
few.verify(rng=0)

# %% [markdown]
# ## Exercises
#
# 1. Start at the stationary law instead of the minimum. What does the lemma become? Derive it (`moments.solve` takes a mapping of moments).
# 2. Put your claim into a folder `my_theorems/mine_01_average.py` (a module with `claim = ...`) and run
#    `paper-checks run --papers my_theorems`: you get the same report as for the papers.
# 3. Average only the last half, $\frac{2}{T}\int_{T/2}^T x_t\,dt$. Is it better for small $T$?
# 4. Which effect could your claim have missed? Read `smallest_detectable` in the table of the verdict.
