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
# # The intrinsic learning rate
#
# **Question.** A network with normalisation layers computes the same function when its weights are multiplied by a constant.
# What, then, does a learning rate mean, and what does weight decay do, which only shrinks weights?
#
# **Answer of the paper** (Li, Lyu, Arora, arXiv:2010.02916). Only the direction $\hat w = w/\|w\|$ matters, and it moves with the
# *effective* learning rate $\eta/\|w\|^2$. Decay and noise push the norm to an equilibrium in about $1/(4\eta\lambda)$ steps. There the
# effective learning rate depends on $\eta$ and $\lambda$ only through their product, the *intrinsic* learning rate
# $\lambda_e = \eta\lambda$.
#
# We derive this, watch it happen, and then break it.

# %%
import matplotlib.pyplot as plt
import numpy as np
import sympy

import sdetheory as sdt
from sdetheory import plot
from sdetheory.theory import intrinsic_lr as ilr

# %% [markdown]
# ## 1. What scale invariance says about a gradient
#
# Differentiate $L(cw) = L(w)$ in $c$ at $c = 1$, and in $w$. SymPy does it for a loss of your choice:

# %%
w1, w2, c = sympy.symbols("w_1 w_2 c", positive=True)
L = sympy.Lambda((w1, w2), w1**2 / (w1**2 + w2**2))
gradient = sympy.Matrix([L(w1, w2).diff(w1), L(w1, w2).diff(w2)])
sympy.simplify(gradient.dot(sympy.Matrix([w1, w2])))        # <grad L(w), w>

# %%
sympy.simplify(c * gradient.subs({w1: c * w1, w2: c * w2}, simultaneous=True) - gradient)   # c grad L(cw) - grad L(w)

# %% [markdown]
# So the gradient is orthogonal to the weights and of degree $-1$. The same holds for the gradient of every sample, hence for the noise:
# $\Sigma(w)w = 0$ and $\Sigma(cw) = c^{-2}\Sigma(w)$ (claim ILR-1).
#
# ## 2. The norm closes
#
# In step time SGD is $dW = -\eta\nabla L\,dt - \eta\lambda W\,dt + \eta\Sigma^{1/2}dB$. Itô's formula for $\|W\|^2$, with the two facts
# above, leaves no noise and no loss:
# $$ d\|W\|^2 = -2\eta\lambda\|W\|^2\,dt + \eta^2\,\mathrm{Tr}\,\Sigma(\hat W)\,\|W\|^{-2}\,dt. $$
# With $\gamma = \|W\|^4/\eta^2$ this is linear. The library holds the derivation, and SymPy checks that every residual is zero:

# %%
ilr.gamma.derivation

# %%
ilr.gamma.verify()

# %% [markdown]
# ## 3. Watch it happen
#
# Two pairs $(\eta, \lambda)$ with one product, and a third with another; each from a norm that is too large and one too small.

# %%
DIM, SCALE = 9, 0.5
loss = sdt.losses.RayleighQuotient([1.0] * 4 + [0.0] * 5, noise=sdt.noises.Tangent(SCALE))
trace = loss.noise_trace
pairs = [(0.1, 0.1), (0.4, 0.025), (0.1, 0.02)]

fig, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
for (lr, decay), colour in zip(pairs, ["tab:blue", "tab:cyan", "tab:orange"], strict=True):
    for start in (0.6, 1.6):
        radius = start * ilr.equilibrium_sq_norm(lr=lr, weight_decay=decay, noise_trace=trace) ** 0.5
        runs = sdt.simulate(sdt.SGD(loss, lr=lr, weight_decay=decay), loss.sample_sphere(radius), n_steps=400, n_paths=500,
                            observe=["effective_lr"], save_every=8, rng=0)
        plot.ensemble(runs, "effective_lr", ax=ax, color=colour,
                      label=rf"$\eta={lr},\ \lambda={decay}$" if start < 1 else None)
        plot.prediction(ilr.effective_lr, "t", np.arange(0.0, 400, 4), ax=ax, effective_lr0=lr / radius**2,
                        intrinsic_lr=lr * decay, noise_trace=trace)
handles, labels = ax.get_legend_handles_labels()
keep = [labels.index(label) for label in dict.fromkeys(labels)]
ax.legend([handles[i] for i in keep], [labels[i] for i in keep], fontsize=9)
ax.set(title="One product $\\eta\\lambda$, one equilibrium; dashed: closed form", ylim=(0, 0.4));

# %% [markdown]
# The dashed lines are $\eta_e(t) = \gamma_t^{-1/2}$ of claim ILR-3, with nothing fitted. Blue and cyan meet although their learning rates
# differ by four: they share $\eta\lambda$. What they don't share is the norm:

# %%
{pair: ilr.equilibrium_sq_norm(lr=pair[0], weight_decay=pair[1], noise_trace=trace) for pair in pairs}

# %% [markdown]
# ## 4. What a learning-rate drop does
#
# Divide $\eta$ by $\kappa = 10$ at equilibrium. The effective learning rate falls tenfold at once, and then creeps *up*, to a value only
# $\sqrt{10}$ below where it started, on the clock $\kappa/(4\lambda_e)$ (ILR-7). The loss falls with it at once, and then gives part of the
# gain back.

# %%
ilr.effective_lr_after_lr_drop

# %%
lr, decay, kappa, drop = 0.2, 0.05, 10.0, 300


def schedule(step):
    return lr if step < drop else lr / kappa


radius = ilr.equilibrium_sq_norm(lr=lr, weight_decay=decay, noise_trace=trace) ** 0.5
runs = sdt.simulate(sdt.SGD(loss, lr=schedule, weight_decay=decay), loss.sample_sphere(radius), n_steps=1500, n_paths=1000,
                    observe=["effective_lr", "loss"], save_every=10, rng=1)
before = ilr.equilibrium_effective_lr(lr=lr, weight_decay=decay, noise_trace=trace)
after = np.arange(0.0, 1200, 10)
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
plot.ensemble(runs, "effective_lr", ax=left)
left.plot(drop + after, before * ilr.effective_lr_after_lr_drop(t=after, drop_factor=kappa, intrinsic_lr=lr * decay), "--",
          color="0.35", label="theory, ILR-7")
left.axhline(before, linewidth=0.8, color="0.6")
left.axhline(before / kappa**0.5, linewidth=0.8, color="0.6")
left.set(yscale="log", title="effective learning rate")
left.legend()
plot.ensemble(runs, "loss", ax=right)
right.set(title="loss");

# %% [markdown]
# ## 5. The direction has a stationary law
#
# At constant $\eta_e$ the direction is a diffusion on the sphere, and its density is $\propto \exp(-2L/(\eta_e s^2))$: a Bingham distribution.
# Its mean loss is a ratio of confluent hypergeometric functions (ILR-10).

# %%
ilr.stationary_mean_loss

# %%
rates = np.array([0.05, 0.1, 0.2, 0.4])
measured = [sdt.simulate(sdt.dynamics.SphereDiffusion(loss, effective_lr=e), loss.sample_sphere(), t1=60 / e, dt=0.05 / e,
                         n_paths=2000, observe="loss", rng=2).loss[:, -1] for e in rates]
fig, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
ax.errorbar(rates, [m.mean() for m in measured], [2 * m.std() / 2000**0.5 for m in measured], fmt="o", label="diffusion on the sphere")
dense = np.linspace(0.03, 0.45, 100)
ax.plot(dense, ilr.stationary_mean_loss(eigenvalue=1.0, rank=4, dim=DIM, effective_lr=dense, noise_scale=SCALE), "--", color="0.35",
        label="theory, ILR-10")
ax.set(xlabel=r"effective learning rate $\eta_e$", ylabel="mean loss", title="Hotter directions, higher loss")
ax.legend();

# %% [markdown]
# ## 6. What breaks when an assumption is dropped
#
# Give the gradient noise a radial part: isotropic noise of the same power, not tangent to the sphere. Then $\Sigma(w)w \ne 0$, the norm has
# noise of its own, and the closed form fails.

# %%
fig, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
lr, decay = 0.1, 0.1
radius = 0.6 * ilr.equilibrium_sq_norm(lr=lr, weight_decay=decay, noise_trace=trace) ** 0.5
for noise, label in [(sdt.noises.Tangent(SCALE), "tangent noise"),
                     (sdt.noises.Isotropic(SCALE * ((DIM - 1) / DIM) ** 0.5), "isotropic noise, same power")]:
    broken = sdt.losses.RayleighQuotient([1.0] * 4 + [0.0] * 5, noise=noise)
    runs = sdt.simulate(sdt.SGD(broken, lr=lr, weight_decay=decay), broken.sample_sphere(radius), n_steps=300, n_paths=1000,
                        observe=["sq_norm"], save_every=5, rng=3)
    plot.ensemble(runs, "sq_norm", ax=ax, label=label)
plot.prediction(ilr.sq_norm, "t", np.arange(0.0, 300, 3), ax=ax, sq_norm0=radius**2, lr=lr, weight_decay=decay, noise_trace=trace)
ax.set(title="Radial noise breaks the closed form of the norm")
ax.legend();

# %% [markdown]
# ## 7. The verdict
#
# Every statement above is a claim in `paper_checks/intrinsic_lr`, with its derivation, a measurement with error bars, and a wrong
# statement that the same measurement must refute:

# %%
from paper_checks.intrinsic_lr.ilr_06_discrete_norm import claim

print(claim.statement)
verdict = claim.verify(rng=0)
verdict

# %% [markdown]
# ## Exercises
#
# 1. *By hand.* Show that the discrete law of the norm, $r' = (1-\eta\lambda)^2 r + \eta^2 S/r$, has its fixed point at
#    $r^2 = \eta S/(\lambda(2-\eta\lambda))$, and find its multiplier. Compare with `ilr.discrete_multiplier`.
# 2. In section 4 divide $\lambda$ by 10 instead of $\eta$. Predict the curve first (`ilr.effective_lr_after_decay_drop`).
# 3. Add `momentum=0.9`. By what factor does the equilibrium norm change? (`ilr.momentum_equilibrium_sq_norm`)
# 4. *Break it.* Use `sdt.noises.Tangent([1, 0, 0, 0, 0, 0, 0, 0, 1])`: the noise power depends on the direction. Between which
#    two curves does $\gamma$ stay (ILR-5)?
# 5. How many paths does a claim need to see an error of 1 % in the equilibrium norm? Write it with `sdt.Claim` and read `remedy`.
