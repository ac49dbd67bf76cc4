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
# # The catapult
#
# **Question.** Gradient descent on a loss of curvature $\lambda$ is unstable when $\eta > 2/\lambda$: each step overshoots by more than the
# last. Yet networks are trained well with such learning rates. What saves them?
#
# **Answer of the paper** (Lewkowycz, Bahri, Dyer, Sohl-Dickstein, Gur-Ari, arXiv:2003.02218). The loss does grow at first, but as it grows it
# *pushes the curvature down*, until $\eta\lambda < 2$ and the loss can fall: training is thrown out of a sharp valley and lands in a flatter
# one. Only beyond $\eta = 4/\lambda$ (for the simplest net) nothing helps. Two layers without nonlinearity and one sample are enough to see
# all of it, and there every step is exact.
#
# We derive it, watch it, draw its phases, and then break it.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import sympy
from IPython.display import Image

import sdetheory as sdt
from sdetheory import plot
from sdetheory.dynamics.uv_maps import OutputCurvatureMap, UniversalMap
from sdetheory.dynamics.uv_weights import UVDescent
from sdetheory.studies.phases import phases_of_losses
from sdetheory.theory import catapult

# %% [markdown]
# ## 1. Two numbers are enough
#
# The net is $f = v^\top u/\sqrt n$ with $u, v \in \mathbb R^n$, the loss $L = f^2/2$, and its curvature (the neural tangent kernel) is
# $\lambda = (\|u\|^2+\|v\|^2)/n$. A step of gradient descent is $u' = u - \frac{\eta}{\sqrt n}fv$, $v' = v - \frac{\eta}{\sqrt n}fu$. Take inner
# products: only $u\cdot u$, $v\cdot v$ and $u\cdot v$ appear, whatever $n$. With names for them, SymPy finds what becomes of $f$ and $\lambda$:

# %%
uu, vv, uv, eta, n = sympy.symbols("uu vv uv eta n", positive=True)
f, s = uv / sympy.sqrt(n), eta * uv / n                     # the step is u - s v, v - s u
new_uv = uv - s * vv - s * uu + s**2 * uv
new_sum = (uu - 2 * s * uv + s**2 * vv) + (vv - 2 * s * uv + s**2 * uu)
lam = sympy.Symbol("lambda", positive=True)
sympy.factor((new_uv / uv).subs(vv, n * lam - uu).expand())             # f'/f

# %%
sympy.factor((new_sum / n).subs(vv, n * lam - uu).expand() - lam)       # lambda' - lambda

# %% [markdown]
# With $uv^2/n^2 = f^2/n$ these are
# $$ f' = \Bigl(1-\eta\lambda+\frac{\eta^2f^2}{n}\Bigr)f, \qquad \lambda' = \lambda + \frac{\eta f^2}{n}(\eta\lambda-4). $$
# Read the second one: while $\eta\lambda < 4$ the curvature never rises, and it falls in proportion to the *loss*. That is the whole mechanism.
# The library holds the derivation for every width:

# %%
catapult.curvature_step.derivation

# %% [markdown]
# The claim says *exact*, so hold all the weights against the two numbers. 1024 weights, one learning rate in each phase:

# %%
WIDTH, LRS = 512, np.array([0.6, 1.3, 1.8])
w0 = sdt.starts.NormalWeights(2 * WIDTH).sample(1, rng=3)
f0, curvature0 = OutputCurvatureMap.reduce(w0)[0]
options = dict(n_steps=40, save_every=1, observe=["f", "curvature"], sweep={"lr": LRS})
weights = sdt.simulate(UVDescent(width=WIDTH, lr=1.0), w0, **options)
numbers = sdt.simulate(OutputCurvatureMap(width=WIDTH, lr=1.0), [f0, curvature0], **options)
float(abs(weights.curvature - numbers.curvature).max()), float(abs(weights.f - numbers.f).max())

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for i, lr in enumerate(LRS):
    label = rf"$\eta\lambda_0 = {lr * curvature0:.2f}$"
    left.semilogy(numbers.step, numbers.f[i, 0] ** 2 / 2, color=f"C{i}", linewidth=1)
    left.semilogy(weights.step, weights.f[i, 0] ** 2 / 2, "o", color=f"C{i}", markersize=4, fillstyle="none", label=label)
    right.plot(numbers.step, lr * numbers.curvature[i, 0], color=f"C{i}", linewidth=1)
    right.plot(weights.step, lr * weights.curvature[i, 0], "o", color=f"C{i}", markersize=4, fillstyle="none")
right.axhline(2, linewidth=0.8, linestyle=":", color="0.5")
left.set(xlabel="step", ylabel="loss", ylim=(1e-9, None), title="circles: 1024 weights; lines: two numbers")
right.set(xlabel="step", ylabel=r"$\eta\lambda$", title="where the loss grows, the curvature falls")
left.legend();

# %% [markdown]
# ## 2. The universal map
#
# Put $X = \eta\lambda$ and $Y = \eta^2f^2/n$. Learning rate and width drop out altogether (CAT-2):
# $$ X' = X + Y(X-4), \qquad Y' = Y(1-X+Y)^2. $$
# They enter only through the start: $Y_0 \approx 1/n$, so a wide net starts next to the axis. Every catapult there is, is an orbit in this plane.
# Watch five of them, from $\eta\lambda_0 = 1.5$ (lazy) to $4.1$ (divergent):

# %%
rule = OutputCurvatureMap(width=1000, lr=1.0)
orbits = sdt.simulate(rule, [1.0, 2.0], n_steps=30, save_every=1, observe=["scaled_curvature", "loss"],
                      sweep={"lr": [0.75, 1.2, 1.5, 1.85, 2.05]})
with tempfile.TemporaryDirectory() as folder:
    film = plot.catapult_film(orbits, Path(folder) / "catapult.gif", title="width 1000")
    shown = Image(data=film.read_bytes())
shown

# %%
ax = plot.orbits(orbits, ax=plt.subplots(figsize=(6.4, 3.8), layout="constrained")[1])
ax.set(title=r"Up, across $\eta\lambda = 2$, and down: every step of five runs");

# %% [markdown]
# Why does the loss turn exactly where it does? $Y'/Y = (1-X+Y)^2$, so for $X < 4$ the loss grows if and only if $X - Y > 2$:

# %%
catapult.first_growth.derivation

# %% [markdown]
# ## 3. The phases
#
# One line of algebra gives the edge of divergence, exactly and at every width: $4-X' = (4-X)(1+Y)$. Below 4 the distance to 4 only grows; it
# can't exceed 4, so $\prod(1+Y_t) \le 4/(4-X_0)$, and the loss must go to zero, from every start. Above 4, $X$ runs away, for *almost* every
# start: one whose output is exactly 0 at some step stays there, whatever its curvature. Width 1, $\eta = 1$, $u = 2$, $v = 1$ is one of them:
# $\eta\lambda_0 = 5$, and $f = 2, 0, 0, \dots$ Starts like this have probability 0.

# %%
u, v = sympy.Integer(2), sympy.Integer(1)
for step in range(3):
    print(f"step {step}: f = {u * v}, curvature = {u**2 + v**2}")
    u, v = u - u * v * v, v - u * v * u

# %% [markdown]
#
# Now 128 learning rates, 96 random nets of width 16, all weights. Theory has no freedom left: each net has its own edges, from its own
# $\lambda_0$ and $f_0$.

# %%
WIDTH = 16
w0 = sdt.starts.NormalWeights(2 * WIDTH).sample(96, rng=0)
f0, curvature0 = OutputCurvatureMap.reduce(w0).T
order = np.argsort(curvature0)
w0, f0, curvature0 = w0[order], f0[order], curvature0[order]
lrs = np.linspace(0.3, 3.0, 128)
runs = sdt.simulate(UVDescent(width=WIDTH, lr=1.0), w0, n_steps=400, save_every=1, n_paths=96, observe=["loss"], sweep={"lr": lrs})
phases = phases_of_losses(runs.loss.values, runs.diverged_at.values)

end = catapult.divergence_edge(curvature=curvature0)
grows = 8 * f0**2 <= WIDTH * curvature0**2         # where not, the first step never raises the loss below divergence
growth = np.where(grows, catapult.first_growth_edge(curvature=curvature0, f=np.where(grows, f0, 0), width=WIDTH), end)
ax = plot.phase_map(phases.T, lrs, np.arange(96), growth_edge=growth, divergence_edge=end,
                    ax=plt.subplots(figsize=(6.4, 4.6), layout="constrained")[1])
ax.set(xlabel=r"learning rate $\eta$", ylabel=r"net, in the order of $\lambda_0$", title="Narrow nets: every net has its own edges");

# %% [markdown]
# The growth edge is ragged because $f_0$ is random; as $n \to \infty$ it becomes $2/\lambda_0$. The other edge knows nothing of $f_0$.
# In how many nets of width 16 would $\eta = 1.2$ lead to a catapult? That too has a closed form (CAT-10):

# %%
column = np.abs(lrs - 1.2).argmin()
{"share of these nets": float(np.mean(phases[column] == 1)),
 "probability": catapult.probability_catapult(lr=lrs[column], width=WIDTH)}

# %% [markdown]
# ## 4. How high, and when
#
# The loss grows by $(\eta\lambda_0-1)^2$ a step from $f_0^2/2$, until $Y$ is no longer small: about $\ln n/(2\ln(\eta\lambda_0-1))$ steps, to a
# height of order $n$ (CAT-4). Not to a number times $n$, though: what matters is at which fraction of a step the growth arrives.

# %%
catapult.peak_step

# %%
X0, start = 3.0, np.random.default_rng(0).standard_normal(2000)
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for width, colour in [(10**3, "tab:blue"), (10**5, "tab:orange"), (10**7, "tab:green")]:
    lr = X0 / 2
    runs = sdt.simulate(OutputCurvatureMap(width=width, lr=lr), np.stack([start, np.full(2000, 2.0)], axis=1), n_steps=60,
                        save_every=1, n_paths=2000, observe=["f"])
    size = np.abs(runs.f.values)
    left.plot(catapult.peak_step(curvature=2.0, f=start, lr=lr, width=width), size.argmax(axis=1), ".", color=colour, alpha=0.4,
              label=rf"$n = 10^{{{np.log10(width):.0f}}}$")
    phase = np.mod(np.log(lr**2 * start**2 / width) / (2 * np.log(X0 - 1)), 1)
    right.plot(phase, size.max(axis=1) ** 2 / width, ".", color=colour, alpha=0.3)
dense = np.linspace(0, 1, 400)
right.plot(dense, catapult.wide_limit_peak(X0, dense) / lr**2, color="0.2", linewidth=1.2, label=r"theory, $n\to\infty$")
left.plot([0, 20], [0, 20], color="0.2", linewidth=1)
left.set(xlabel="step of the peak, theory", ylabel="step of the peak, measured", title="When", xlim=(0, 20), ylim=(0, 20))
right.set(xlabel=r"phase of $\ln Y_0$ modulo $2\ln(\eta\lambda_0-1)$", ylabel=r"$f^2/n$ at the peak", title="How high")
left.legend()
right.legend();

# %% [markdown]
# ## 5. Flatter
#
# The curvature at the end, over all learning rates. In the lazy phase it hardly changes; beyond $2/\lambda_0$ it is thrown below $2/\eta$ (from
# almost every start: again unless some output is exactly 0), at first by as much as it was above, and near $\eta\lambda_0 = 3.1$ almost to zero.

# %%
width, lrs = 1000, np.linspace(0.05, 1.99, 200)
start = np.stack([np.random.default_rng(1).standard_normal(50), np.full(50, 2.0)], axis=1)
runs = sdt.simulate(OutputCurvatureMap(width=width, lr=1.0), start, n_steps=2000, save_every=2000, n_paths=50,
                    observe=["curvature", "scaled_curvature"], sweep={"lr": lrs})
last = runs.curvature.values[..., -1]
fig, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4), layout="constrained")
plot.curvature_change(runs, ax=left, markersize=3, markeredgewidth=0, alpha=0.4)
near = np.linspace(2.01, 2.6, 20)
left.plot(near, catapult.final_near_edge(X=near), color="tab:green", label=r"theory near the edge, $4-\eta\lambda_0$")
left.set(title="Before and after, times the learning rate")
left.legend(frameon=False, fontsize=8, loc="upper left")
right.plot(lrs * 2, last, ".", color="tab:blue", markersize=2, alpha=0.4)
right.plot(lrs * 2, np.median(last, axis=1), color="tab:orange", linewidth=1.2, label="median of 50 nets")
right.plot(lrs * 2, 2 / lrs, "--", color="0.35", label=r"$2/\eta$: above it no minimum is stable")
right.set(xlabel=r"$\eta\lambda_0$", ylabel=r"curvature at the end, $\lambda_\infty$", ylim=(0, 2.6), title="Catapults land in flatter minima")
right.legend(fontsize=9);

# %% [markdown]
# ## 6. On the edge: chaos
#
# At $X = 4$ exactly nothing can fall: the line is invariant. There $Y' = Y(Y-3)^2$, and with $Y = 4\cos^2\varphi$ this is $\varphi' = 3\varphi$, with
# Lyapunov exponent $\ln 3$:

# %%
pair = sdt.simulate(UniversalMap(), [[4.0, 1.7], [4.0, 1.7 + 1e-13]], n_steps=30, n_paths=2, save_every=1, observe=["Y"]).Y.values
fig, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
ax.semilogy(np.abs(pair[1] - pair[0]), "o-", markersize=4, label="two starts, 1e-13 apart")
steps = np.arange(31)
ax.semilogy(1e-13 * np.exp(catapult.edge_lyapunov_exponent() * steps), "--", color="0.35", label=r"$3^t$")
ax.set(xlabel="step", ylabel=r"difference in $Y$", ylim=(1e-14, 20), title=r"On the edge $\eta\lambda = 4$")
ax.legend();

# %% [markdown]
# ## 7. What breaks when an assumption is dropped
#
# Everything rested on a *square* loss of a *linear* two-layer net under plain gradient descent. Keep the loss, drop the linearity: two-layer
# nets on four samples, with and without ReLU, whose $\lambda$ is the top eigenvalue of the kernel. The linear net still diverges at
# $4/\lambda_0$. The ReLU net does not: here it survives to about $5/\lambda_0$. (The paper's figures have it near $12/\lambda_0$ for its nets
# and data; claim CAT-7 measures the edge and says for which.)

# %%
rng = np.random.default_rng(5)
x, y = rng.standard_normal((4, 4)), np.zeros(4)
scaled = np.linspace(0.25, 8.0, 125)                             # lr * curvature at the start
fig, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
for kind, colour in [(sdt.losses.TwoLayerLinear, "tab:blue"), (sdt.losses.TwoLayerReLU, "tab:orange")]:
    loss = kind(x, y, width=128)
    w0 = loss.sample_weights().sample(16, rng=2)
    w0 = w0 / np.sqrt(np.array([float(loss.curvature(w)) for w in w0]))[:, None]      # curvature 1 for every net
    runs = sdt.simulate(sdt.SGD(loss, lr=1.0), w0, n_steps=300, n_paths=16, observe=["loss"], sweep={"lr": scaled})
    ax.plot(scaled, (runs.diverged_at.values >= 0).mean(axis=1), color=colour, label=kind.__name__)
ax.axvline(4, color="0.5", linewidth=1, linestyle="--")
ax.set(xlabel=r"$\eta\lambda_0$", ylabel="share of nets that diverged", title="The nonlinearity moves the edge of divergence")
ax.legend();

# %% [markdown]
# ## 8. The verdict
#
# Every statement above is a claim in `paper_checks/catapult`, with its derivation, a measurement, and a wrong statement that the same
# measurement must refute. Here, among others: an edge at 4 over the Hessian's top eigenvalue, which is *nearly* the NTK, and one at
# $\eta\lambda_0 = 2$ at every width, are refuted.

# %%
from paper_checks.catapult.cat_03_phases import claim

print(claim.statement)
verdict = claim.verify(rng=0)
verdict

# %%
claim.draw(verdict.trial)

# %% [markdown]
# ## Exercises
#
# 1. *By hand.* Show that $X^2 - 4Y$ is multiplied by $(1-Y)^2$, and that it can't be negative. What are the nets with $X^2 = 4Y$?
#    (`catapult.discriminant_of_norms`)
# 2. In section 3 use width 200. Predict first how ragged the growth edge is.
# 3. Add `momentum=0.9`: `sdt.SGD(sdt.losses.UVModel(16), lr=1.0, momentum=0.9)`. Where are the edges now? (On a quadratic the edge of
#    stability is $2(1+\mu)/\lambda$.)
# 4. On the edge, how fast is a net that is *not quite* on it thrown off? Show that the mean of $\ln(1+Y)$ for $Y = 4\cos^2\varphi$, $\varphi$
#    uniform, is $2\ln\frac{1+\sqrt5}{2}$, and measure it with `UniversalMap`.
# 5. *Break it.* Give the sample a label: `sdt.losses.TwoLayerLinear([[1.0]], [3.0], width=100)`. Is the edge of divergence still at 4?
# 6. *Many samples.* `KernelRecursion(loss, lr=...)` runs a two-layer linear net by its outputs, its NTK and $\|v\|^2$, at any width for the
#    same price. Take a net of width $10^6$ on three samples through a catapult: which eigenvalue of $\Theta/m$ falls below $2/\eta$, and which stay?
