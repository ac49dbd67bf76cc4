r"""ILR-8: learning rate, decay and the norm of the weights hold one number too many.

.. math:: (\eta_t, \lambda_t, w_0, v_0) \quad\text{and}\quad (c^2\eta_t, \lambda_t/c^2, c\,w_0, v_0/c):
          \qquad \tilde w_t = c\,w_t,\quad \tilde v_t = v_t/c \quad\text{at every step,}

so both runs compute the same functions: SGD with momentum, any schedule, any noise of a scale-invariant loss; and the
SDE. To tune lr at fixed lr·decay is to tune ‖w_0‖. With c a power of 2 the two runs agree to the last bit. Clock: steps.
"""

import numpy as np

import sdetheory as sdt
from sdetheory import Claim, Exact, Quantity, Relative
from sdetheory.stats.rounding import response_error
from sdetheory.theory import intrinsic_lr as ilr

LOSS = sdt.losses.RayleighQuotient([2.0, 1.0, 0.5, 0.0, 0.0], noise=sdt.noises.Tangent(0.5))
LR, DECAY, MOMENTUM = 0.2, 0.05, 0.9
STEPS, DROP, EVERY = 600, 300, 5  # the learning rate is divided by 4 at step DROP
FACTORS = (1.25, 3.0, 0.1, 100.0)
POWERS_OF_TWO = (4.0, 1 / 32)
PATHS = 16  # the statement is about each path

# Roundings of one step: gradient and noise take two inner products of d terms, a root and five more operations each,
# 2(2 d + 8); the update takes 6 and the observable d + 4. In the other run as much again.
STEP_ROUNDING = 2 * (2 * (2 * LOSS.dim + 8) + 6 + LOSS.dim + 4)
PROBE = 1e-7  # size of the change of the start by which the growth of errors is measured
RESOLUTION = 1e-8
OBSERVED = ("loss", "direction", "sq_norm")
WHY = "rounding of every step, times its growth since, which is measured with the same noise"

QUANTITIES = {
    "loss": Quantity(0.0, RESOLUTION, broken=True, bias_source=WHY),
    "direction": Quantity(0.0, RESOLUTION, broken=True, bias_source=WHY),
    "sq_norm": Quantity(1.0, Relative(RESOLUTION), broken=True, bias_source=WHY),
    "power of two": Quantity(0.0, RESOLUTION, broken=True),
}


def scaled(trial, decay_power, scale=1.0, tilt=0.0):
    """The same start and the same noise, scaled: loss, direction and squared norm at every EVERY-th step."""
    lr, decay = ilr.equivalent_lr(lr=LR, scale=scale), DECAY / scale**decay_power
    start, kick = np.random.default_rng(trial.rng).normal(size=(2, PATHS, LOSS.dim))
    start /= np.linalg.norm(start, axis=1, keepdims=True)
    start += tilt * np.roll(start, 1, axis=1)
    rule = sdt.SGD(LOSS, lr=sdt.schedules.StepDecay(lr, (DROP,), 1 / 4), weight_decay=decay, momentum=MOMENTUM,
                   v0=0.3 * kick * (1 / scale))
    runs = sdt.simulate(rule, scale * start, n_steps=STEPS, n_paths=PATHS, save_every=EVERY, observe=OBSERVED,
                        rng=trial.rng)
    return {name: runs[name].values for name in OBSERVED}


def compared(trial, decay_power):
    """Scaled runs against the first: differences of functions, ratios of squared norms over c²."""
    first, near = (scaled(trial, decay_power, tilt=tilt) for tilt in (0.0, PROBE))
    # what a relative error becomes is measured with the same noise, of the worst path
    apart = np.linalg.norm(near["direction"] - first["direction"], axis=-1).max(0)
    steps = np.arange(0, STEPS + 1, EVERY)
    bound = response_error(apart, steps, probe=PROBE, roundings=STEP_ROUNDING)
    gaps = {name: [] for name in OBSERVED}
    for c in FACTORS:
        other = scaled(trial, decay_power, c)
        gaps["loss"].append(np.abs(other["loss"] - first["loss"]).max(0))
        gaps["direction"].append(np.linalg.norm(other["direction"] - first["direction"], axis=-1).max(0))
        gaps["sq_norm"].append(1 + np.abs(other["sq_norm"] / (c**2 * first["sq_norm"]) - 1).max(0))
    bits = [max(np.abs(other[name] - first[name]).max() for name in ("loss", "direction"))
            for other in (scaled(trial, decay_power, c) for c in POWERS_OF_TWO)]
    trial.data.update(steps=steps, bound=bound, gaps=gaps["direction"])
    # |dL| <= |∇L| |dŵ| with |∇L| <= (a_max − a_min)/2 = 1; log |w|² moves by less than 4 |dŵ| and its own rounding
    weight = {"loss": 1.0, "direction": 1.0, "sq_norm": 4.0}
    return {name: Exact(np.stack(values), np.broadcast_to(weight[name] * bound, (len(FACTORS), bound.size)))
            for name, values in gaps.items()} | {"power of two": Exact(np.array(bits), 0.0)}


def measure(trial):
    """Any c to rounding; a power of two, by which multiplication commutes with every rounding, to the bit."""
    return compared(trial, decay_power=2)


def broken(trial):
    """Decay over c, not over c²."""
    return compared(trial, decay_power=1)


def figure(trial, ax):
    """How far the scaled runs stray from the first: rounding with the right decay, order 1 with the wrong one."""
    control = sdt.claims.Trial(trial.rng, trial.mode)
    broken(control)
    steps = trial.data["steps"][1:]
    for i, (c, gap, off) in enumerate(zip(FACTORS, trial.data["gaps"], control.data["gaps"], strict=True)):
        ax.semilogy(steps, off[1:], color=f"C{i}", lw=1.2, ls="--")
        ax.semilogy(steps, np.maximum(gap[1:], 1e-17), color=f"C{i}", lw=1.2, label=f"$c={c:g}$")
    ax.semilogy(steps, trial.data["bound"][1:], color="0.5", lw=1.5, ls=":", label="bound on rounding")
    ax.plot([], [], color="0.5", ls="--", label=r"control: $\lambda/c$")
    ax.set(xlabel=r"step $k$ (the learning rate is divided by 4 at step 300)", ylim=(1e-17, 30),
           ylabel=r"distance of directions $\|\tilde w_k/\|\tilde w_k\|-\hat w_k\|$",
           title=r"$(c^2\eta,\ \lambda/c^2,\ c\,w_0)$ is the same run as $(\eta,\ \lambda,\ w_0)$")
    ax.legend(fontsize=8, ncols=2, loc="center right", bbox_to_anchor=(1.0, 0.62))


claim = Claim(
    "ILR-8", "Learning rate, decay and norm: an exact equivalence", paper="intrinsic_lr",
    where="the section on tuning the learning rate at fixed intrinsic learning rate",
    statement=r"For a scale-invariant loss, $(\eta_t,\lambda_t,w_0,v_0)$ and "
              r"$(c^2\eta_t,\lambda_t/c^2,c\,w_0,v_0/c)$ give the same functions at every step of SGD with "
              r"momentum, exactly; and the same SDE. Hence tuning $\eta$ at fixed $\eta\lambda$ is tuning "
              r"$\|w_0\|$.",
    setup=r"SGD with momentum 0.9 on a Rayleigh quotient in $d=5$ with tangent noise, $\eta=0.2$ (divided by 4 at step "
          r"300), $\lambda=0.05$, 600 steps, and six scalings of it on the same noise",
    proof=ilr.by_claim("ILR-8"), quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"$\lambda/c$ in place of $\lambda/c^2$: weights up by $c$, decay down by $c$")
