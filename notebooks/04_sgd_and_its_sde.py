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
# # When is SGD like its SDE?
#
# **Question.** Much theory of SGD is theory of the stochastic differential equation
# $$ dX = -\nabla L(X)\,dt + (\eta\,\Sigma(X))^{1/2}\,dW, $$
# with a *finite* learning rate $\eta$ in it. The time of one SGD step is $\eta$. Is SGD near this equation, when it does not tend to it?
#
# **Answer of the paper** (Li, Malladi, Arora, arXiv:2102.12470). There is a family of algorithms, SVAG($l$), that begins with SGD at $l = 1$
# and tends to the SDE as $l\to\infty$, with error $O(1/l)$. Run it for a few $l$: if nothing changes, SGD is like its SDE. And there are
# measurable quantities that say when it is not: the SDE needs noise. Where the gradient outweighs its noise, SGD is another process, and
# the linear scaling rule ends there.
#
# We derive SVAG, compute its error without a random number, measure it with random numbers, and then break it.

# %%
import matplotlib.pyplot as plt
import numpy as np
import sympy

import sdetheory as sdt
from sdetheory.dynamics import SVAG, SingleBatchNearMiss, random_linear_sde
from sdetheory.exact import affine_moments, stationary_moments
from sdetheory.scaling_rule import scaling_limit, scaling_sweep
from sdetheory.stats import fit_order
from sdetheory.theory import svag

# %% [markdown]
# ## 1. Two minibatches, two weights
#
# Cut the step by $l$, and time $\eta$ has $l$ steps of $\eta/l$. The drift agrees with before: $l\cdot\frac\eta l\nabla L$. The noise does not:
# $l$ independent noises of covariance $(\eta/l)^2\Sigma$ sum to $\eta^2\Sigma/l$, and the limit is gradient flow. To keep the noise, each
# gradient must have covariance $l\,\Sigma$ with the same mean. Take $p\,g_1 + q\,g_2$ of two independent minibatches:
# $$ p + q = 1 \quad\text{(mean)}, \qquad p^2 + q^2 = l \quad\text{(covariance)}. $$

# %%
p, q, l = sympy.symbols("p q l", real=True)
sympy.solve([p + q - 1, p**2 + q**2 - l], [p, q])

# %% [markdown]
# The two solutions are one pair, $(1\pm s)/2$ with $s = \sqrt{2l-1}$. One weight is negative for $l > 1$: SVAG goes *against* one minibatch.
#
# ## 2. Why the error is of order $1/l$
#
# Let $h = \eta/l$. The increment $\Delta$ of one SVAG step has
# $$ \mathbb E\Delta = -h\nabla L, \qquad \mathbb E\Delta\Delta^\top = h^2(l\Sigma + \nabla L\nabla L^\top) = h\,\eta\Sigma + h^2\nabla L\nabla L^\top,
# \qquad \mathbb E\Delta^{\otimes3} = O(h^3 l) = O(h^2). $$
# The SDE over time $h$ has mean $-h\nabla L + O(h^2)$, second moment $h\,\eta\Sigma + O(h^2)$, third moment $O(h^2)$. So one step errs by
# $O(h^2) = O(l^{-2})$, and the $Tl/\eta$ steps to time $T$ by $O(1/l)$. What is left in second moments, in one dimension, times $l^{-2}$:

# %%
svag.one_step_second_moment_gap

# %% [markdown]
# where the `noise_slope` and `noise_curvature` are $(\sigma^2)'$ and $(\sigma^2)''$. SymPy expands both processes in $1/l$ and compares:

# %%
svag.one_step_second_moment_gap.verify()

# %% [markdown]
# ## 3. The error, exactly
#
# On a quadratic whose curvature and offset are both random, $\nabla L_\gamma(x) = a_\gamma x - b_\gamma$, the moments of one step are linear in
# the moments before. So are those of the SDE. Neither needs a simulation: powers of a matrix on one side, a system of linear ODEs on the
# other. The law below has two points and is skewed.

# %%
loss = sdt.losses.RandomLinear([0.25, 0.75], curvatures=[1.75, 0.75], offsets=[1.25, 0.0])
lr, sgd_steps, x0 = 0.5, 4, 1.5
sde = random_linear_sde(loss, lr=lr)
sde

# %%
sde.moment_equations(2)

# %%
x = sde.states[0]
limit = sde.moment_equations(4).solve([x0], lr * sgd_steps)
amplifications = 2 ** np.arange(10)


def weak_errors(make):
    """E x … E x⁴ of make(l) after the time of four SGD steps, less those of the SDE, shape (l, 4)."""
    found = [affine_moments(make(n), [x0], sgd_steps * n, order=4) for n in amplifications.tolist()]
    return np.array([[m.moment(k)[0] - float(limit[x**k]) for k in (1, 2, 3, 4)] for m in found])


errors = weak_errors(lambda n: SVAG(loss, lr=lr, amplification=n))
fig, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
for k, column in enumerate(errors.T, start=1):
    ax.loglog(amplifications, abs(column), "o-", ms=4, lw=0.8, label=f"$E\\,x^{k}$" if k > 1 else r"$E\,x$")
predicted = abs(svag.mean_error(t=lr * sgd_steps, lr=lr, eigenvalue=1.0, offset=0.3125, w0=x0)) / amplifications
ax.loglog(amplifications, predicted, "--", color="0.35", label=r"theory for $E\,x$, SVAG-3")
ax.set(xlabel="$l$", ylabel="|SVAG($l$) − SDE|", title="The weak error of SVAG falls as $1/l$; no Monte Carlo here")
ax.legend();

# %%
{f"E x^{k}": float(np.polyfit(np.log(amplifications[5:]), np.log(abs(column[5:])), 1)[0]) for k, column in enumerate(errors.T, 1)}

# %% [markdown]
# The slopes are −1 up to terms in $1/l^2$, which bend the curves at small $l$: an order is a statement about large $l$.
#
# ## 4. At rest
#
# On $\frac12ax^2$ with noise of variance $\sigma^2$ in each gradient, the stationary variance obeys $S = (1-ha)^2S + h\eta\sigma^2$, $h = \eta/l$:
# $$ S_l = \frac{\eta\sigma^2}{a(2-\eta a/l)} \;\longrightarrow\; \frac{\eta\sigma^2}{2a}. $$
# At $l = 1$, SGD, it diverges at $\eta a = 2$. The SDE knows no such edge. The points are fixed points of the exact moment recursion:

# %%
sharp = np.array([0.1, 0.3, 0.6, 0.9, 1.2, 1.5, 1.8])
dense = np.linspace(0.02, 1.9, 200)
fig, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
for n, colour in zip([1, 2, 4, 16], ["tab:red", "tab:orange", "tab:olive", "tab:green"], strict=True):
    plain = sdt.losses.RandomLinear.two_point(1.0, offset_std=1.0)
    found = [stationary_moments(SVAG(plain, lr=rate, amplification=n)).covariance[0, 0, 0] for rate in sharp]
    ax.plot(sharp, np.array(found) / sharp, "o", ms=4, color=colour, label=f"$l = {n}$" + (" (SGD)" if n == 1 else ""))
    ax.plot(dense, svag.svag_stationary_variance(amplification=n, lr=dense, eigenvalue=1.0, noise_variance=1.0) / dense, lw=0.8,
            color=colour)
ax.axhline(0.5, color="0.35", ls="--", label="SDE")
ax.set(xlabel=r"$\eta a$", ylabel=r"stationary variance$/\eta$", ylim=(0.4, 3), title="The SDE does not see the edge of stability, SVAG-4")
ax.legend();

# %% [markdown]
# ## 5. A loss that is not quadratic, and `expect`
#
# Two wells: $\nabla L_\gamma(x) = x^3 - x + \sigma\gamma$ with a fair sign $\gamma$. No moments close. The SDE is
# $dX = (X - X^3)\,dt + \eta^{1/2}\sigma\,dW$. `sdt.expect` gives an expectation to a tolerance, with an interval that holds the statistical error and
# a bound on the bias of the time steps; it chooses steps and paths by itself. We
# name the method, two step sizes and an extrapolation, because its one kernel compiles soonest.

# %%
rate, sigma, units, well_start = 0.4, 0.7, 4, 1.2
X = sympy.Symbol("x", real=True)
wells = sdt.SDE([X], [X - X**3], [[0.7 * sympy.sqrt(sympy.Rational(2, 5))]])
target = sdt.expect(wells, X**2, [well_start], t1=rate * units, rtol=1e-3, method="richardson", control=False, rng=0)
target

# %% [markdown]
# SVAG is three lines of NumPy:

# %%
rng = np.random.default_rng(1)


def svag_squares(amplification, n_paths=400_000):
    """x² of SVAG(l) after the time of four steps of SGD."""
    at, s = np.full(n_paths, well_start), (2 * amplification - 1) ** 0.5
    for _ in range(units * amplification):
        one, two = rng.choice([-sigma, sigma], size=(2, n_paths))
        at = at - rate / amplification * (at**3 - at + (1 + s) / 2 * one + (1 - s) / 2 * two)
    return at**2


ls = np.array([1, 2, 4, 8, 16])
squares = [svag_squares(int(n)) for n in ls]
gap = np.array([values.mean() - target.value for values in squares])
stderr = np.array([np.hypot(values.std() / values.size**0.5, target.stderr) for values in squares])
fig, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
ax.errorbar(ls, abs(gap), 2 * stderr, fmt="o", capsize=3, label="|SVAG($l$) − SDE|, two standard errors")
ax.loglog(ls, abs(gap[0]) / ls, "--", color="0.35", label="slope −1 from SGD")
ax.axhline(target.margin, color="0.6", lw=0.8, label="margin of the SDE's own value")
ax.set(xlabel="$l$", ylabel="error of $E\\,x_T^2$", title="A nonlinear loss: SGD is the point at $l = 1$")
ax.legend();

# %%
fit_order(1 / ls[1:], abs(gap[1:]), stderr=stderr[1:])

# %% [markdown]
# Without SGD itself, the order is near 1, with terms in $1/l^2$ still in it at such small $l$; they are what section 3 shows at its left end.

# %% [markdown]
# ## 6. Noise against signal: the linear scaling rule
#
# Why should doubling batch and learning rate change nothing? Because the SDE does not change: $\eta\Sigma$ stays when $\Sigma\to\Sigma/\kappa$ and
# $\eta\to\kappa\eta$. So the rule is as good as the SDE is. For a scale-invariant loss with decay $\lambda$, write the stationary
# $R = \mathbb E\|w\|^2$, $G = \mathbb E\|\nabla L\|^2$, $N = \mathbb E\operatorname{Tr}\Sigma$. Take squares of $w_{k+1} = (1-\eta\lambda)w_k - \eta g_k$;
# $g\perp w$, so
# $$ R = (1-\eta\lambda)^2R + \eta^2(G+N) \;\Longrightarrow\; (2-\eta\lambda)\,\lambda R = \eta\,(G + N), \qquad\text{while the SDE has } 2\lambda R = \eta N. $$
# The SDE has no $G$. If both had the same $R$, $G$, $N$, the gradient would have to be small against its noise. The same balance at
# $(\kappa B,\kappa\eta)$ bounds $\kappa$ (SVAG-7), from quantities that one run measures:

# %%
scaling_limit(sq_norm=2.5, sq_grad=0.2, noise_trace=0.8, lr=0.1, weight_decay=0.02)

# %% [markdown]
# Now sweep $\kappa$ and see where the runs part:

# %%
runs = scaling_sweep(lambda k: sdt.losses.RayleighQuotient([1.0, 1.0, 0.0, 0.0], sdt.noises.Tangent(1.5 / k**0.5)),
                     [0.5, 0.0, 0.5, 0.0], lr=0.2, weight_decay=0.1, batch_factors=[1, 2, 4, 8, 16, 32], n_steps=1600,
                     n_paths=256, rng=3)
fig, (left, right) = plt.subplots(1, 2, figsize=(9.4, 3.7), layout="constrained")
for name, label in [("sq_norm_ratio", "$R'/R$"), ("sq_grad_ratio", "$G'/G$"), ("noise_trace_ratio", r"$\kappa N'/N$")]:
    left.errorbar(runs.batch_factor, runs[name], 2 * runs[f"{name}_stderr"], fmt="o-", ms=4, lw=0.8, label=label)
left.axhspan(1 / runs.similarity, runs.similarity, color="0.92", label=r"within $C=\sqrt{2}$")
right.plot(runs.batch_factor, runs.apart, "o-", ms=4, lw=0.8, label="how far apart the runs are")
right.plot(runs.batch_factor, runs.least_similarity, "--", color="0.35", label="how far they must be, SVAG-7")
right.axhline(runs.similarity, color="0.6", lw=0.8)
for ax in (left, right):
    ax.axvline(runs.largest_batch_factor, color="tab:red", lw=0.8, label="predicted from the run at $\\kappa=1$")
    ax.set(xscale="log", yscale="log", xlabel=r"$\kappa$")
left.set(title="equal under the SDE")
right.set(title="a bound that no run may pass")
left.legend(fontsize=8)
right.legend(fontsize=8);

# %% [markdown]
# Left of the red line the rule *can* hold within a factor $\sqrt2$, right of it it cannot. The condition is necessary, not sufficient:
# the runs may part earlier, and do.
#
# ## 7. What breaks when an assumption is dropped
#
# A near miss. Why two minibatches? Take one, and amplify it by $1\pm\sqrt{l-1}$ with a fair sign $\epsilon$. The mean is right. The covariance is
# $$ \mathbb E\bigl[(1+\epsilon s)^2 gg^\top\bigr] - \nabla L\nabla L^\top = l\,(\Sigma + \nabla L\nabla L^\top) - \nabla L\nabla L^\top
#    = l\,\Sigma + (l-1)\nabla L\nabla L^\top, \qquad s^2 = l-1. $$
# The amplification does not know noise from signal, and amplifies both. It converges, as smoothly as SVAG, to a different equation, with
# noise $\eta(\Sigma+\nabla L\nabla L^\top)$ (SVAG-10). The exact moments tell:

# %%
near_miss = weak_errors(lambda n: SingleBatchNearMiss(loss, lr=lr, amplification=n))
other = random_linear_sde(loss, lr=lr, gradient_noise=True)
other_limit = float(other.moment_equations(2).solve([x0], lr * sgd_steps)[other.states[0] ** 2])
fig, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
ax.loglog(amplifications, abs(errors[:, 1]), "o-", ms=4, lw=0.8, label="SVAG, to its SDE")
ax.loglog(amplifications, abs(near_miss[:, 1]), "s-", ms=4, lw=0.8, color="tab:red", label="the near miss, to the same SDE")
ax.loglog(amplifications, abs(near_miss[:, 1] + float(limit[x**2]) - other_limit), "s--", ms=4, lw=0.8, color="tab:orange",
          label=r"the near miss, to the SDE of $\Sigma+\nabla L\nabla L^\top$")
ax.set(xlabel="$l$", ylabel=r"error of $E\,x^2$", title="The near miss has a limit, but not this one")
ax.legend();

# %% [markdown]
# On the mean the two agree exactly, since with linear gradients $\mathbb E\,x$ is blind to noise. A check that looked at nothing else would
# pass both:

# %%
float(abs(near_miss[:, 0] - errors[:, 0]).max())

# %% [markdown]
# And with infinite variance there is no SDE at all. Without a $\Sigma$, amplification has nothing to keep: the displacement of $l$ steps with
# $\alpha$-stable gradients grows with $l$, to the power

# %%
svag.stable_growth_exponent

# %% [markdown]
# ## Exercises
#
# 1. *By hand.* Show that the third central moment of SVAG's gradient is $(3l-1)/2$ times that of one minibatch. Which power of $l$ would break
#    the argument of section 2?
# 2. Take the wrong spread, `SVAG(loss, lr=lr, amplification=n, spread=(2.1 * n - 1) ** 0.5)`. Which of the four curves of section 3 stays at a
#    plateau, which doesn't, and why? And with `spread=(2 * n) ** 0.5`?
# 3. SVAG-4 in section 4 has error exactly of order $1/l$? Expand $S_l$; from which $l$ on is it below 1 % at $\eta a = 1.9$?
# 4. In section 5 give `expect` the functional `sympy.Max(X - 0.5, 0)` and no `method`. Which does it choose, and why (`target.method`)?
# 5. In section 6 let the noise be `Tangent(5 / k**0.5)`. Predict with `scaling_limit` how the red line moves; then run.
# 6. *Break it.* Halve $\eta$ at fixed time in section 3 and plot the error of SGD ($l = 1$) against $\eta$. What is its order, and what does
#    `random_linear_sde(loss, lr=lr, modified=True)` make of it (SVAG-11)?
