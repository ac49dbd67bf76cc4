r"""CAT-6: with many samples and inputs, residuals, NTK and one norm are enough: gradient descent without the weights.

.. math:: f(x) = \frac{v^\top Ux}{\sqrt n}, \quad \zeta = \frac1m\sum_\alpha\tilde f_\alpha x_\alpha, \quad
          \Theta(x,x') = \frac{x^\top x'\|v\|^2 + x^\top U^\top Ux'}{n}: \\
          \tilde f'(x) = \tilde f(x) - \eta\Theta(x,\zeta) + \frac{\eta^2}n(x^\top\zeta)f(\zeta), \\
          \Theta'(x,x') = \Theta - \frac\eta n\bigl[2x^\top x'f(\zeta) + f(x)\zeta^\top x' + x^\top\zeta f(x')\bigr]
          + \frac{\eta^2}{n^2}\bigl[x^\top x'\,\zeta^\top U^\top U\zeta + \|v\|^2(x^\top\zeta)(\zeta^\top x')\bigr]

All n(d + 1) weights are trained by the engine; residuals, Θ and ‖v‖² are read off them at every step and held against
the iterated recursion, to a bound on rounding, through lazy runs and catapults. To first order in f̃ the residuals are
multiplied by 1 − ηΘ/m, which is where the phases come from: the top eigenvalue of Θ/m takes the place of λ.
Clock: steps.
"""

import numpy as np

import sdetheory as sdt
from paper_checks.catapult.toy_nets import CURVATURE, SPREAD, WIDTH, data, descent, starts
from sdetheory import Between, Claim, Exact, Quantity, Relative
from sdetheory.dynamics.kernel_recursion import KernelRecursion
from sdetheory.theory import catapult

NET = sdt.losses.TwoLayerLinear
INPUTS, TARGETS = data(SPREAD)
SAMPLES, DIM = INPUTS.shape
GRAM = INPUTS @ INPUTS.T
SCALED = np.array([1.5, 2.6, 3.4])  # ηλ_0, λ_0 the top eigenvalue of Θ/m: lazy, and two catapults
STEPS = 40
PATHS = 8  # nets; the statement is about each

UNIT = np.finfo(float).eps / 2
# Rounding, in units of UNIT, that a term passes at most: in the gradient, pre-activations d, the sum over n units, the
# sum over m samples, and 12 products, quotients and differences, then 3 in the update; in reading Θ off the weights,
# the sum over n(d + 1) of them and 2d + 8; in a step of the recursion, four sums over m or d and 20 more.
GRADIENT, READING, RECURSION = (WIDTH + 2 * DIM + SAMPLES + 15, WIDTH * (DIM + 1) + 2 * DIM + 8,
                                2 * SAMPLES + 2 * DIM + 20)
# READING times the size of Θ is 2e-13; while the loss grows, errors grow by |1 − ηλ| < 2.4 a step, two decades in f.
RESOLUTION = 1e-7

MODES = np.array([0.5, 1.8, 2.2, 3.0])  # ηλ of small residuals along the top eigenvector
SMALL, FEW = 1e-4, 5

PARTS = {"residuals": slice(0, SAMPLES), "NTK": slice(SAMPLES, -1), "|v|² / n": slice(-1, None)}
QUANTITIES = {name: Quantity(0.0, RESOLUTION, broken=True) for name in PARTS} | {
    # wrong: gradient flow
    "factor of small residuals": Quantity(catapult.lazy_factor(X=MODES), Relative(1e-4), wrong=np.exp(-MODES),
                                          bias_source="what is not linear in the residuals: the change from half of "
                                                      "them, and rounding"),
    # wrong: the curvature of the start
    "ηλ where catapults end": Quantity(Between(0.0, 2.0), 0.01, wrong=SCALED[1])}


def layers(w):
    """U (…, n, d) and v (…, n)."""
    return w[..., :WIDTH * DIM].reshape(*w.shape[:-1], WIDTH, DIM), w[..., WIDTH * DIM:]


def state_of(w):
    """(f̃, Θ, ‖v‖²) of weights (…, n(d + 1)), one row of m + m² + 1 numbers."""
    loss = NET(INPUTS, TARGETS, WIDTH)
    parts = [loss.output(w) - TARGETS, loss.kernel(w).reshape(*w.shape[:-1], -1), np.sum(layers(w)[1] ** 2, -1)[..., None]]
    return np.concatenate(parts, -1)


def step(state, lr):
    """The recursion on one state; complex states too."""
    r, kernel, norm = state[:SAMPLES], state[SAMPLES:-1].reshape(SAMPLES, SAMPLES), state[-1]
    r, kernel, norm = catapult.kernel_step(r, kernel, norm, GRAM, TARGETS, lr, WIDTH)
    return np.concatenate([r, kernel.ravel(), [norm]])


def step_without_squares(state, lr):
    """The control: without the terms of order η² in the step of Θ and of ‖v‖²."""
    full, none = step(state, lr), step(state, 0.0)
    half = step(state, -lr)
    return np.concatenate([full[:SAMPLES], (none + (full - half) / 2)[SAMPLES:]])


def jacobian(state, lr):
    """Of `step`, by complex steps: no difference is taken, so it is exact to rounding."""
    h = 1e-30
    return np.stack([step(state + 1j * h * e, lr).imag / h for e in np.eye(state.size)], -1)


def moved(w, change):
    """Bound of the change of a state where each weight changes by up to `change`, to first order."""
    (u, v), (du, dv) = (layers(np.abs(a)) for a in (w, change))
    x = np.abs(INPUTS)
    z, dz = u @ x.T, du @ x.T  # (n, m)
    r = (v @ dz + dv @ z) / np.sqrt(WIDTH)
    kernel = (2 * np.abs(GRAM) * (v @ dv) + dz.T @ z + z.T @ dz) / WIDTH
    return np.concatenate([r, kernel.ravel(), [2 * v @ dv]])


def update_error(w, lr):
    """Bound of the rounding of one update of the weights: GRADIENT times the gradient with every term made positive."""
    u, v = layers(np.abs(w))
    x, root = np.abs(INPUTS), np.sqrt(WIDTH)
    z = u @ x.T
    r = (v @ z / root + np.abs(TARGETS)) / (SAMPLES * root)
    gradient = np.concatenate([((v[:, None] * r) @ x).ravel(), z @ r])
    return UNIT * (np.abs(w) + lr * (GRADIENT + 1) * gradient)


def recursion_error(state, lr):
    """Bound of the rounding of one step of the recursion: RECURSION times its terms, made positive."""
    r, kernel, norm = np.abs(state[:SAMPLES]), np.abs(state[SAMPLES:-1]).reshape(SAMPLES, SAMPLES), state[-1]
    out, mean, gram = r + np.abs(TARGETS), r / SAMPLES, np.abs(GRAM)
    overlap, k_zeta, f_zeta = gram @ mean, kernel @ mean, mean @ out
    u_zeta = WIDTH * (mean @ k_zeta) + (mean @ overlap) * norm
    cross = np.multiply.outer(out, overlap)
    sizes = [r + lr * k_zeta + lr**2 / WIDTH * overlap * f_zeta,
             (kernel + lr / WIDTH * (2 * gram * f_zeta + cross + cross.T)
              + lr**2 / WIDTH**2 * (gram * u_zeta + norm * np.multiply.outer(overlap, overlap))).ravel(),
             [norm + 2 * lr * f_zeta + lr**2 / WIDTH * u_zeta]]
    return RECURSION * UNIT * np.concatenate(sizes)


def bounds(w, states, lr):
    """How far rounding may part the two computations at each step: e_t = Σ_s |J_{t−1}…J_s| l_s, to first order.

    w (steps + 1, dim) and states (steps + 1, m + m² + 1) of one run.
    """
    read = [moved(a, READING / 2 * UNIT * np.abs(a)) for a in w]  # each product has two weights, half of the rounding each
    spread = np.diag(read[0])
    result = [2 * read[0]]
    for t in range(len(w) - 1):
        local = moved(w[t + 1], update_error(w[t], lr)) + recursion_error(states[t], lr)
        spread = np.concatenate([jacobian(states[t], lr) @ spread, np.diag(local)], 1)
        result.append(np.abs(spread).sum(1) + read[t + 1])
    return np.array(result)


def by_recursion(start, lr, steps):
    """States of the recursion, shape (nets, steps + 1, m + m² + 1), from one start a net (nets, m + m² + 1)."""
    rule = KernelRecursion(NET(INPUTS, TARGETS, WIDTH), lr=lr)
    runs = sdt.simulate(rule, start, n_steps=steps, save_every=1, n_paths=len(start))
    return np.concatenate([runs.residual, runs.kernel, runs.sq_readout.values[..., None]], -1)


def by_steps_without_squares(start, lr, steps):
    """The control, in the same form."""
    states = [start]
    for _ in range(steps):
        states.append(np.stack([step_without_squares(state, lr) for state in states[-1]]))
    return np.stack(states, 1)


def compared(trial, seed, reduced, steps):
    """Differences of the states of the full nets from the reduction that starts where they start."""
    loss = NET(INPUTS, TARGETS, WIDTH)
    w = descent(loss, starts(loss, PATHS, seed), SCALED, "w", steps, seed, 1)
    states = state_of(w)
    gap, bound = np.empty(states.shape), np.empty(states.shape)
    for i, lr in enumerate(SCALED / CURVATURE):
        gap[i] = states[i] - reduced(states[i, :, 0], lr, steps)
        bound[i] = [bounds(w[i, k], states[i, k], lr) for k in range(PATHS)]
    gap[..., -1] /= WIDTH
    bound[..., -1] /= WIDTH
    trial.data.update(gap=gap, bound=bound, states=states)
    return {name: Exact(gap[..., part], bound[..., part]) for name, part in PARTS.items()}


def mode_factors(seed, size):
    """The factor a step of small residuals along the top eigenvector, one a learning rate; bounds of its rounding."""
    w0 = starts(NET(INPUTS, TARGETS, WIDTH), 1, seed)
    mode = np.linalg.eigh(NET(INPUTS, TARGETS, WIDTH).kernel(w0)[0])[1][:, -1]
    targets = NET(INPUTS, TARGETS, WIDTH).output(w0)[0] - size * mode
    loss = NET(INPUTS, targets, WIDTH)
    w = descent(loss, w0[0], MODES, "w", FEW, seed, n_paths=2)[:, 0, -1]
    factor = (np.linalg.norm(loss.output(w) - targets, axis=-1) / size) ** (1 / FEW)
    # what a step and a reading add to a residual, for each step, grown as the residuals along this mode or not at all
    read = READING * UNIT * np.abs(w0[0])
    added = [np.linalg.norm(moved(w0[0], update_error(w0[0], x / CURVATURE) + read)[:SAMPLES]) for x in MODES]
    relative = (FEW + 1) * np.array(added) * np.maximum(1, factor) ** FEW / (size * factor**FEW)
    return factor, factor * relative / FEW


def top(states):
    """The top eigenvalue of Θ/m."""
    return np.linalg.eigvalsh(states[..., PARTS["NTK"]].reshape(*states.shape[:-1], SAMPLES, SAMPLES))[..., -1] / SAMPLES


def measure(trial):
    """The recursion against the weights; small residuals; and the curvature where catapults end."""
    first, second = trial.rng.spawn(2)
    found = compared(trial, first, by_recursion, STEPS)
    (whole, _), (half, rounding) = (mode_factors(second, size) for size in (SMALL, SMALL / 2))
    end = SCALED[1:, None] / CURVATURE * top(trial.data["states"][1:, :, -1])
    # what is not linear in f̃ adds O(SMALL), of size |whole − half| in `half`; extrapolation takes it away, the bound stays
    return found | {"factor of small residuals": Exact(2 * half - whole, np.abs(whole - half) + 3 * rounding),
                    "ηλ where catapults end": Exact(end, 1e-9)}


def broken(trial):
    """Θ moves by the terms of order η alone; what is left out is seen before it may diverge."""
    return compared(trial, trial.rng.spawn(2)[0], by_steps_without_squares, 3)


def figure(trial, left, right):
    """Left: eigenvalues of Θ/m through a catapult; right: what is left of the difference, under its bound."""
    states = trial.data["states"]
    for i, colour in enumerate(("C0", "C1", "C3")):
        lr = SCALED[i] / CURVATURE
        left.plot(lr * top(by_recursion(states[i, :1, 0], lr, STEPS)[0])[:26], color="0.5", lw=1, zorder=1)
        left.plot(lr * top(states[i, 0])[:26], "o", ms=4, mfc="none", color=colour,
                  label=rf"$\eta\lambda_0={SCALED[i]:g}$")
        right.semilogy(np.abs(trial.data["gap"][i]).max((0, 2)).clip(1e-17), color=colour, lw=1.1)
        right.semilogy(trial.data["bound"][i].max((0, 2)), color=colour, lw=1.4, ls=":")
    left.axhline(2, color="0.6", lw=0.8, ls="--", zorder=0)
    left.set(xlabel=r"step $k$", ylabel=r"$\eta\,\times$ top eigenvalue of $\Theta_k/m$", ylim=(0, 3.8),
             title=f"{WIDTH * (DIM + 1)} weights (marks), recursion (lines)")
    left.legend()
    right.plot([], [], color="0.5", lw=1.1, label=f"measured, largest of {PATHS} nets")
    right.plot([], [], color="0.5", lw=1.4, ls=":", label="bound on rounding")
    right.set(xlabel=r"step $k$", ylabel=r"difference in $\tilde f$, $\Theta$ and $\|v\|^2/n$", ylim=(1e-16, 1e-6),
              title="What is left is rounding")
    right.legend(loc="upper right")


claim = Claim(
    "CAT-6", "Many samples, many inputs", paper="catapult",
    where="the full model: two linear layers, many samples and inputs",
    statement=r"For $f(x)=v^\top Ux/\sqrt n$ with MSE on $m$ samples, the residuals, $\Theta$ and $\|v\|^2$ after a step "
              r"of gradient descent are functions of their values before it, exactly and at every width, $d$ and $m$. "
              r"Small residuals along the top eigenvector of $\Theta/m$, of eigenvalue $\lambda$, are multiplied by "
              r"$1-\eta\lambda$: it sets the phases, and for almost every start catapults end at $\eta\lambda\le2$.",
    setup=r"Gradient descent on the 640 weights of 8 nets ($n=128$, $d=4$, $m=4$) at $\eta\lambda_0$ of 1.5, 2.6 and 3.4, "
          r"40 steps; residuals of $10^{-4}$ along the top eigenvector, 5 steps",
    proof=catapult.by_claim("CAT-6"), quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"$\Theta$ and $\|v\|^2$ move by their terms of order $\eta$ alone, as in a flow; the factor of a flow, "
            r"$e^{-\eta\lambda}$; catapults end at the curvature of the start")
