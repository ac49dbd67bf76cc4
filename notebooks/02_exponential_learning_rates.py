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
# # Exponential learning rates
#
# **Question.** Every recipe for training says: let the learning rate *fall*. Can a network with normalisation layers be trained with a
# learning rate that *grows exponentially*, by a factor of 1.48 an epoch?
#
# **Answer of the paper** (Li, Arora, arXiv:1910.07454). Yes, and you have done it already: SGD with weight decay on a scale-invariant
# loss *is* SGD without weight decay and with a growing learning rate. The two runs compute the same functions at every step, with momentum,
# on any minibatches, for any schedule.
#
# We derive it, check it to the last digits, use it as a tool, and then break it.

# %%
import matplotlib.pyplot as plt
import numpy as np
import sympy

import sdetheory as sdt
from sdetheory.schedules import Cosine, Exponential, StepDecay, WarmUp
from sdetheory.theory import exp_lr
from sdetheory.translate import certificate, remove_weight_decay, run, tapered, weight_decay_of_exponential

# %% [markdown]
# ## 1. One step, by hand
#
# $L(cw) = L(w)$ for $c > 0$ gives $\nabla L(cw) = c^{-1}\nabla L(w)$ (notebook 01). Put the weights of a second run on another scale,
# $\tilde w = Pw$, and ask which learning rate $\tilde\eta$ takes it, *without* decay, to a multiple of where decay takes $w$:
# $$ \tilde w' = Pw - \tilde\eta\,\frac{g}{P} \quad\overset!=\quad P'\,w' = P'\bigl[(1-\eta\lambda)\,w - \eta g\bigr]. $$
# The coefficients of $w$ and of $g$ must agree:

# %%
P, P_next, eta, decay, eta_tilde = sympy.symbols("P P' eta lambda eta_tilde", positive=True)
sympy.solve([P - P_next * (1 - eta * decay), eta_tilde / P - P_next * eta], [P_next, eta_tilde], dict=True)[0]

# %% [markdown]
# So $P$ grows by $(1-\eta\lambda)^{-1}$ a step and $\tilde\eta = PP'\eta$. From $P_0 = 1$:
# $$ \tilde\eta_t = \eta\,(1-\eta\lambda)^{-2t-1}, \qquad \tilde w_t = (1-\eta\lambda)^{-t}\,w_t \qquad\text{(EXP-4).} $$
# An exponential learning rate. Nothing was assumed of the gradients but their degree: they may come from minibatches. Both runs, on the
# same noise:

# %%
loss = sdt.losses.RayleighQuotient([1.0] * 4 + [0.0] * 12, noise=sdt.noises.Tangent(0.5))
lr, decay, steps = 0.2, 0.05, 300
growing = Exponential(lr / (1 - lr * decay), (1 - lr * decay) ** -2)
rules = {"weight decay": sdt.SGD(loss, lr=lr, weight_decay=decay), "growing learning rate": sdt.SGD(loss, lr=growing)}
runs = {name: sdt.simulate(rule, np.ones(16), n_steps=steps, observe=["loss", "sq_norm"], save_every=1, rng=0)
        for name, rule in rules.items()}

fig, (left, middle, right) = plt.subplots(1, 3, figsize=(10.5, 3.3), layout="constrained")
left.semilogy(np.full(steps, lr), label="weight decay")
left.semilogy(growing.table(steps), "--", label="no decay")
left.set(title="two learning rates", xlabel="step", ylabel=r"$\eta_t$, $\tilde\eta_t$")
left.legend()
for (name, data), style in zip(runs.items(), ["-", "--"], strict=True):
    middle.semilogy(data.step, data.sq_norm[0], style, label=name)
    right.plot(data.step, data.loss[0], style, label=name)
middle.set(title="two norms", xlabel="step", ylabel=r"$\|w_t\|^2$")
right.set(title="one training run", xlabel="step", ylabel="loss", ylim=(0, None))
right.legend();

# %% [markdown]
# On the right are two curves. How far are they apart?

# %%
float(abs(runs["weight decay"].loss - runs["growing learning rate"].loss).max())

# %% [markdown]
# ## 2. With momentum: a quadratic
#
# With momentum $\mu$ the same comparison, now of $w$, its predecessor and $g$, leaves one equation for the shrinking factor
# $\alpha_t = P_{t-1}/P_t$. SymPy does it from the update rule; every residual must vanish:

# %%
exp_lr.alpha_step.derivation

# %%
exp_lr.alpha_step.verify()

# %% [markdown]
# With constant $\eta, \lambda$ this is the Möbius map $\alpha\mapsto 1+\mu-\eta\lambda-\mu/\alpha$. Its fixed points are the roots of
# $z^2-(1+\mu-\eta\lambda)z+\mu$, and $z_1$, the larger one, attracts: $(\alpha-z_1)/(\alpha-z_2)$ shrinks by $z_2/z_1$ a step (EXP-7, 8).
# So the growth is exponential from the start with the right initial buffer, and after $1/(1-\mu)$ steps without. PreResNet-32 on CIFAR-10,
# $\eta = 0.1$, $\lambda = 5\cdot10^{-4}$, $\mu = 0.9$, 391 steps an epoch; the paper gives 1.481 for the growth in an epoch:

# %%
exp_lr.growth_in_steps(n_steps=391, lr=0.1, weight_decay=5e-4, momentum=0.9)

# %% [markdown]
# The roots are positive only for $\eta\lambda\le(1-\sqrt\mu)^2$. At $\mu = 0.9$ that is 0.0026, fifty times what this recipe uses. Beyond,
# $\alpha$ turns round and round and is negative sooner or later: there is no positive schedule, and the library says so.

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
mu = 0.9
edge = exp_lr.critical_intrinsic_lr(momentum=mu)
x = edge * np.linspace(0, 1, 400)
for root, label in [(exp_lr.larger_root, "$z_1$"), (exp_lr.smaller_root, "$z_2$")]:
    left.plot(x / edge, root(lr=1.0, weight_decay=x, momentum=mu), label=label)
left.plot(x / edge, exp_lr.larger_root_expansion(lr=1.0, weight_decay=x, momentum=mu), ":", color="0.4", label="expansion of $z_1$")
left.set(xlabel=r"$\eta\lambda/(1-\sqrt{\mu})^2$", ylabel=r"$\alpha$", title="two growth rates, up to a bound")
left.legend()
for share, style in [(0.5, "-"), (1.0, "--"), (1.5, ":")]:
    alphas = [1.0]
    while len(alphas) < 75 and alphas[-1] > 0:
        alphas.append(1 + mu - share * edge - mu / alphas[-1])
    right.plot(alphas, style, label=rf"$\eta\lambda={share:g}\,(1-\sqrt{{\mu}})^2$")
right.axhline(0, color="0.5", lw=0.8)
right.set(xlabel="step $t$", ylabel=r"$\alpha_t$", ylim=(-0.2, 1.05), title="complex roots never forget")
right.legend(loc="lower left");

# %%
try:
    remove_weight_decay(0.1, 0.04, 0.9, n_steps=1000)
except ValueError as error:
    print(error)

# %% [markdown]
# ## 3. Every schedule
#
# The recursion does not need constants. For any $\eta_t$, $\lambda_t$ it gives $P_t = \prod_{i\le t}\alpha_i^{-1}$ and
# $\tilde\eta_t = P_tP_{t+1}\eta_t$; with $\alpha_0 = 1$ the momentum buffers need no change (EXP-6). That is `remove_weight_decay`. A warm-up
# followed by a cosine:

# %%
steps = 1500
schedule = WarmUp(100) * Cosine(0.1, n_steps=steps)
translation = remove_weight_decay(schedule, 0.01, 0.9, n_steps=steps)
translation

# %%
fig, ax = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
ax.semilogy(schedule.table(steps), label=r"warm-up and cosine, with weight decay")
ax.semilogy(translation.decay_free_lr, label=r"the same training without weight decay")
ax.set(xlabel="step", ylabel="learning rate", ylim=(1e-4, None), title="Any schedule has its twin")
ax.legend();

# %% [markdown]
# Is it so in floating-point numbers? A certificate runs both sides on the same minibatches, in float64 and in float32, and says how much of
# the gap rounding explains:

# %%
rng = np.random.default_rng(0)
samples = [sdt.losses.RayleighQuotient(np.diag(np.arange(5) / 2) + 0.25 * (a + a.T)) for a in rng.normal(size=(8, 5, 5))]
minibatches = [samples[i] for i in rng.integers(8, size=steps)]
w0 = np.ones(5)
certificate(translation, minibatches, w0)

# %% [markdown]
# It goes the other way too. Somebody shows you a learning rate that grows by 0.1 % a step and trains well. Which weight decay is it?

# %%
weight_decay_of_exponential(0.1, 1.001, momentum=0.9)

# %% [markdown]
# ## 4. Step decay, and a boundary that needs care
#
# For step decay, take the root $\alpha_I$ of each phase: the *tapered* exponential schedule (TEXP). Without momentum it is exact. With
# momentum $\alpha_t$ needs $1/(1-\mu)$ steps to get from one root to the next, and TEXP jumps at once. Its growth rate is soon right again, but
# its learning rate keeps the factor $[(\alpha_{T+1}-z_2)/(z_1-z_2)]^2$ for good (EXP-9), $\alpha_{T+1}$ being the first that uses the new rate:

# %%
exp_lr.texp_offset.derivation

# %% [markdown]
# There are two exact ways: the whole schedule of section 3 with untouched buffers, or TEXP with the buffer corrected once at the
# boundary. All three, at an intrinsic learning rate near the bound, where the factor is large:

# %%
boundary, steps, lr = 150, 400, 0.02
decay = 0.95 * exp_lr.critical_intrinsic_lr(momentum=0.9) / lr
halved = StepDecay(lr, (boundary,), factor=0.5)
texp = tapered(halved, decay, 0.9, n_steps=steps)
whole = remove_weight_decay(halved, decay, 0.9, n_steps=steps)


def direction(translation, decay_free=True):
    w = np.array(list(run(translation, minibatches[:steps], w0, decay_free=decay_free)))
    return w / np.linalg.norm(w, axis=1, keepdims=True)


reference = direction(texp, decay_free=False)
fig, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
for translation, label in [(texp.without_corrections(), "plain TEXP"), (texp, "TEXP, buffer corrected"), (whole, "the whole schedule")]:
    gap = np.linalg.norm(direction(translation) - reference, axis=1)
    ax.semilogy(np.maximum(gap, 1e-17), label=label)
ax.set(xlabel="step (the learning rate is halved at 150)", ylabel="distance of directions", ylim=(1e-17, 1),
       title="One buffer correction between 1 % and rounding")
ax.legend(loc="center right");

# %% [markdown]
# Plain TEXP comes back too, but slowly: what it leaves is an offset of the *norm*, and norms forget at the rate $-4\ln z_1$, the slow clock
# of notebook 01. Compare, in steps, the fast clock and the slow one at the recipe of section 2:

# %%
recipe = {"lr": 0.1, "weight_decay": 5e-4, "momentum": 0.9}
{"growth rate": float(-1 / np.log(exp_lr.forgetting_factor(**recipe))), "norm": 1 / exp_lr.norm_forgetting_rate(**recipe)}

# %% [markdown]
# ## 5. What a drop means
#
# In a world without decay and with a growing learning rate, divide the learning rate by $C$ *once*. The norm is what it was, so the effective
# learning rate $\tilde\eta/\|\tilde w\|^2$ falls by $C$. Then the norm, that has to grow with $\tilde\eta$, stays behind, and
# $$ \eta_e(s)/\eta_e^* = \bigl[1+(C^2-1)e^{-4\lambda_es}\bigr]^{-1/2} \qquad\text{(EXP-11):} $$
# the drop is forgotten. Only the *growth rate* has a lasting effect. That is the weight decay of the other picture, and step decay lasts
# because it changes the growth rate.

# %%
lr, decay, C, drop = 0.1, 0.05, 4.0, 200
alpha, after = 1 - lr * decay, 1 - lr / C * decay
before = Exponential(lr / alpha, alpha**-2)
once = before.then(Exponential(before(drop) / C, alpha**-2), at=drop)
step_decay = before.then(Exponential(before(drop) / C, after**-2), at=drop)
radius = (lr * loss.noise_trace / (2 * decay)) ** 0.25
fig, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
for schedule, label in [(once, "divided by 4 once"), (step_decay, "the growth rate changes too")]:
    data = sdt.simulate(sdt.SGD(loss, lr=schedule), loss.sample_sphere(radius), n_steps=900, n_paths=400,
                        observe=["loss", "sq_norm"], save_every=10, rng=3)
    effective = schedule(data.step) / data.sq_norm.mean("path")
    ax.plot(data.step, effective / effective.sel(step=drop - 10), ".", ms=4, label=label)
s = np.arange(700.0)
ax.plot(drop + s, exp_lr.effective_lr_after_single_drop(t=s, drop_factor=C, intrinsic_lr=lr * decay), "--", color="0.35",
        label="theory, EXP-11")
ax.axhline(0.5, lw=0.8, color="0.6")
ax.set(xlabel="step", ylabel=r"$\eta_e$ over its equilibrium", ylim=(0, 1.1), title="A drop without a change of growth is forgotten")
ax.legend(loc="lower right");

# %% [markdown]
# The curve was derived for gradients that are noise alone; here the loss is part of them, too small a part to be seen. The line at
# $1/\sqrt C$ is where step decay ends (ILR-7).
#
# ## 6. Normalisation and decay do not converge
#
# Growing steps should worry you. Take $L = x^2/(x^2+y^2)$, full batch, the smallest scale-invariant loss. Near its minimum a step multiplies the
# deviation by

# %%
exp_lr.deviation_factor

# %% [markdown]
# with $h = 2$ here. Decay shrinks the norm, so $\eta/\|w\|^2$ grows by $(1-\eta\lambda)^{-2}$ a step, *whatever* $\eta$ is, and passes the threshold where
# the factor is $-1$. The deviation, by then tiny, grows back; a large step throws the weights out, the norm jumps, and all begins again.
# Without decay the norm only grows, and descent converges from any learning rate (EXP-12, 13).

# %%
toy = sdt.losses.toy_fraction()
lr, intrinsic, steps = 0.01, 0.02, 400
fig, (top, bottom) = plt.subplots(2, 1, figsize=(7, 4.4), sharex=True, layout="constrained")
for decay, label in [(intrinsic / lr, "weight decay"), (0.0, "no weight decay")]:
    data = sdt.simulate(sdt.SGD(toy, lr=lr, weight_decay=decay), [0.6, 0.8], n_steps=steps, observe=["loss", "effective_lr"],
                        save_every=1)
    top.semilogy(data.step, data.loss[0], label=label)
    bottom.semilogy(data.step, data.effective_lr[0])
wait = exp_lr.time_to_instability(sq_norm=1.0, lr=lr, weight_decay=intrinsic / lr, top_curvature=2.0)
top.axvline(wait, lw=0.8, color="0.4", ls="--")
bottom.axhline(exp_lr.instability_threshold(intrinsic_lr=intrinsic, top_curvature=2.0), lw=0.8, color="0.4", ls="--", label="threshold")
top.set(ylabel="loss", title="Descent with decay comes within $10^{-50}$ of the minimum, and leaves", ylim=(1e-60, 1e4))
bottom.set(xlabel="step", ylabel=r"$\eta/\|w\|^2$")
top.legend(loc="lower right", ncols=2)
bottom.legend(loc="lower right");

# %% [markdown]
# With minibatches the same happens where all of them agree on the minimum: there the noise vanishes with the gradient. Where they don't,
# noise holds up the norm at the equilibrium of notebook 01, and nothing spikes. A linear classifier with batch normalisation, once on
# data that it can fit exactly and once on data that it cannot:

# %%
labels = np.tile([1.0, -1.0], 32)
other = rng.normal(size=(64, 3))
tight = np.column_stack([labels, other])
spread = np.column_stack([labels * (1 + 0.5 * rng.uniform(-1, 1, 64)), other])
fig, ax = plt.subplots(figsize=(6.8, 3.4), layout="constrained")
for inputs, link, label in [(tight, "squared_hinge", "squared hinge, minibatches agree"), (spread, "logistic", "logistic, they do not")]:
    classifier = sdt.losses.BatchNormLinear(inputs, labels, batch_size=16, link=link)
    data = sdt.simulate(sdt.SGD(classifier, lr=0.1, weight_decay=0.5), classifier.sample_sphere(), n_steps=400, n_paths=1,
                        observe=["loss"], save_every=1, rng=4)
    ax.plot(data.step, data.loss[0], lw=1, label=label)
ax.set(xlabel="step", ylabel="loss", ylim=(0, 0.8), title="Spikes come from decay without noise")
ax.legend();

# %% [markdown]
# ## 7. What breaks when an assumption is dropped
#
# All of it rests on $L(cw) = L(w)$. Take a plain quadratic, for which a scaling of the weights matters, and translate all the same:

# %%
plain = sdt.losses.Quadratic([2.0, 1.0, 0.5, 0.25, 0.125])
broken = remove_weight_decay(0.05, 0.05, 0.5, n_steps=100)
certificate(broken, plain, w0)

# %% [markdown]
# The gap is the same in both formats: it is no rounding. A network with its last layer trained, or with no normalisation, fails in this
# way (EXP-1). And with momentum, leave out the initial buffer of section 2: the schedule is exponential from the first step, but the
# buffer is not the one that belongs to it.

# %%
exact = remove_weight_decay(0.02, 0.05, 0.9, n_steps=300, start="root")
fig, ax = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
at_home = np.array(list(run(exact, minibatches[:300], w0, decay_free=False)))
for scale, label in [(1.0, r"$\tilde v_0 = v_0 + \frac{1 - 1/\alpha}{\eta}\,w_0$"), (0.0, r"$\tilde v_0 = v_0$")]:
    w, v, gaps = w0, scale * exact.tilt[0] * w0, []
    for k in range(300):
        v = 0.9 * v + minibatches[k].gradient(w)
        w = w - exact.decay_free_lr[k] * v
        gaps.append(np.linalg.norm(w / np.linalg.norm(w) - at_home[k + 1] / np.linalg.norm(at_home[k + 1])))
    ax.semilogy(gaps, label=label)
ax.set(xlabel="step", ylabel="distance of directions", title="The buffer is part of the start", ylim=(1e-17, 1))
ax.legend();

# %% [markdown]
# ## 8. The verdict
#
# Every statement above is a claim in `paper_checks/exp_lr`, with its derivation, a measurement with a bound on its errors, and a wrong statement
# that the same measurement must refute:

# %%
from paper_checks.exp_lr.exp_09_texp import claim

print(claim.statement)
verdict = claim.verify(rng=0)
verdict

# %% [markdown]
# ## Exercises
#
# 1. *By hand.* Show that $\eta\lambda/(1-\mu)\le1-z_1$, from $(1-z_1)(1-z_2)=\eta\lambda$. When is it nearly an equality? Compare with
#    `exp_lr.decay_rate_lower_bound`.
# 2. After how many epochs does the learning rate of section 2 pass $10^{308}$? What does `remove_weight_decay` do there (`rescalings`), and why
#    does no function change (EXP-3)?
# 3. In section 4 raise the learning rate instead of halving it. On which side of 1 is the permanent factor?
# 4. In section 6 divide $\eta$ by 100 and keep $\eta\lambda$. Predict when the first spike comes, with `exp_lr.time_to_instability`, before you run it.
# 5. *Break it.* With $\mu = 0.99$ let the learning rate jump up by a factor $J$ and the weight decay fall by $J$, so that $\eta\lambda = 2\cdot10^{-5}$
#    stays. From which $J$ on does `remove_weight_decay` refuse, and which claim does it name? Why does $\alpha_{t+1}$ fall below 0 there?
# 6. The tight data of section 6 with the *logistic* loss: spikes or none? Decide first, then run.
