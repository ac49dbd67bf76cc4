r"""ILR-13: gradient descent with decay is not its gradient flow, however small the learning rate.

.. math:: L(x, y) = \frac{x^2}{x^2+y^2}, \qquad w' = (1-\eta\lambda)w - \eta\nabla L(w)

With q = x/y and u = η/‖w‖² a step is a map of (q, u) that knows λ_e = ηλ alone, so its Lyapunov exponent is a function of
λ_e. It is positive in the sea that starts with u ≪ 1 come to, and only because the norm moves: at any constant u the
direction comes to rest or to the 2-cycle q' = −q. Nor does the loss go to 0: y never changes its sign, and

.. math:: 0 = \overline{\ln(y'/y)} = \overline{\ln(1-\lambda_e+2uL)} \le 2\,\overline{uL} - \lambda_e \qquad\Rightarrow\qquad
          \overline{\eta_e L} \ge \lambda_e/2 ,

while the flow goes to x = 0: q_t = q_0 exp(−(e^{2λt} − 1)/(λ‖w_0‖²)). (Not all starts are chaotic: islands of quasi-periodic
orbits, of exponent 0, surround the 2-cycle. They do not converge either.) Clock: steps, and flow time for the flow.
"""

from functools import lru_cache

import numpy as np
import sympy

import sdetheory as sdt
from sdetheory import Between, Claim, Exact, Quantity
from sdetheory.stats import from_points, mean_estimate, ratio
from sdetheory.symbolic import symbol
from sdetheory.theory import intrinsic_lr as ilr

LOSS = sdt.losses.toy_fraction()
RATES = (0.05, 0.025, 0.0125)  # lambda_e; on the way q falls to e^{−1/λ_e} = e^{−80}, far above underflow
LRS = (1e-3, 1e-2, 1e-1)  # with ‖w_0‖ = 1 that is u_0; u grows by e^{2λ_e} a step and is 1 after 280 steps at most
POINTS = len(RATES) * len(LRS)
BURN, STEPS = 1000, 3000
# Exponents of single paths vary by 15 to 20 %, a ratio of means by 2^{1/2} of that: with 300 paths (180 in quick
# mode) of map and of descent z·se is 6 to 8 % (8 to 11 %), and 5 % (7 %) for an exponent by itself: 0.005 (0.007) for
# the largest.
PATHS = {"quick": 180, "default": 300, "thorough": 4800}
FLOW_TIMES, FLOW_DT, FLOW_DECAY = (0.25, 0.5, 0.75, 1.0), 1 / 256, 1.0
LABELS = tuple(rf"$\lambda_e={rate:g}$, $\eta={lr:g}$" for rate in RATES for lr in LRS)
OF_FLOW = -np.repeat(RATES, len(LRS))  # the flow's exponent in the time ηk: in the end only decay acts, at −λ
FLOW = np.log(ilr.toy_flow_ratio(t=np.array(FLOW_TIMES), ratio0=1.0, sq_norm0=1.0, weight_decay=FLOW_DECAY))

QUANTITIES = {
    # at a constant effective learning rate the direction comes to rest or to a 2-cycle: no exponent above 0
    "exponent over that of the map": Quantity(1.0, 0.16, wrong=Between(high=0.0), points=LABELS),
    "exponent": Quantity(Between(low=0.0), np.abs(OF_FLOW) / 2, wrong=OF_FLOW, points=LABELS),
    "mean of lr_e L over lambda_e/2": Quantity(Between(low=1.0), 0.1, wrong=0.0, points=LABELS),
    "flow: log of x/y": Quantity(FLOW, 1e-5, wrong=-2 * np.array(FLOW_TIMES), bias_source="halving the step (order 4)"),
}


@lru_cache
def descent_slope():
    """J = (1 − λ_e)I − η∇²L = (1 − λ_e)I − u∇²L(ŵ) in a direction (x, y), where ∇²L(ŵ) is a polynomial."""
    x, y, u, rate = sympy.symbols("x y u rate", real=True)
    hessian = sympy.hessian(LOSS.symbolic([x, y]), (x, y)) * (x**2 + y**2) ** 3
    slope = (1 - rate) * sympy.eye(2) - u * hessian.applyfunc(sympy.factor)
    return sympy.lambdify((x, y, u, rate), list(slope), modules="numpy", cse=True)


@lru_cache
def map_and_slope():
    """The step of (q, u) from the theory, and its Jacobian."""
    at = symbol("ratio"), symbol("effective_lr"), symbol("intrinsic_lr")
    step = sympy.Matrix([ilr.toy_ratio_step.expr, ilr.toy_effective_lr_step.expr])
    slope = step.jacobian(at[:2])
    return tuple(sympy.lambdify(at, list(what), modules="numpy", cse=True) for what in (step, slope))


def mean_growth(slopes):
    """Mean growth of a tangent vector a step, from the Jacobians (4 entries, each (paths, steps)), after BURN."""
    a, b, c, d = (np.ascontiguousarray(s.T) for s in slopes)
    v, total = np.full((2, a.shape[1]), 0.5**0.5), np.zeros(a.shape[1])
    for k in range(len(a)):
        v = np.array([a[k] * v[0] + b[k] * v[1], c[k] * v[0] + d[k] * v[1]])
        size = np.hypot(v[0], v[1])
        v /= size
        if k >= BURN:
            total += np.log(size)
    return total / (len(a) - BURN)


def descent(n, seed, lr, rate):
    """Exponent and mean of η_e L along each path of GD with decay, from random directions."""
    runs = sdt.simulate(sdt.SGD(LOSS, lr=lr, weight_decay=rate / lr), LOSS.sample_sphere(), n_steps=STEPS, n_paths=n,
                        observe=["direction", "effective_lr", "loss"], save_every=1, rng=seed)
    x, y = np.ascontiguousarray(np.moveaxis(runs.direction.values[:, :-1], -1, 0))
    u = runs.effective_lr.values[:, :-1]
    return mean_growth(descent_slope()(x, y, u, rate)), (u * runs.loss.values[:, :-1])[:, BURN:].mean(1)


def of_the_map(n, seed, rate):
    """The exponent along each path of the map of (q, u)."""
    rng = np.random.default_rng(seed)
    step, slope = map_and_slope()
    state = np.tan(rng.uniform(-np.pi / 2, np.pi / 2, n)), np.exp(rng.uniform(np.log(LRS[0]), np.log(LRS[-1]), n))
    path = np.empty((2, STEPS, n))
    for k in range(STEPS):
        path[:, k] = state
        state = step(*state, rate)
    return mean_growth([np.broadcast_to(s, path[0].shape).T for s in slope(*path, rate)])


def measure(trial):
    """Exponents of GD at each (λ_e, η) beside that of the map at λ_e; and the flow, by Runge–Kutta at two steps."""
    n = PATHS[trial.mode]
    ratios, exponents, losses, maps, logs = [], [], [], [], []
    for rate, seed in zip(RATES, trial.rng.spawn(len(RATES)), strict=True):
        of_map, *seeds = seed.spawn(1 + len(LRS))
        maps.append(mean_estimate(of_the_map(n, of_map, rate)))
        for lr, one in zip(LRS, seeds, strict=True):
            exponent, kept = descent(n, one, lr, rate)
            exponents.append(mean_estimate(exponent))
            losses.append(mean_estimate(kept / ilr.toy_loss_floor(intrinsic_lr=rate)))
            ratios.append(ratio(exponents[-1], maps[-1]))
    trial.data.update(maps=maps, exponents=exponents)
    for dt in (2 * FLOW_DT, FLOW_DT):
        flow = sdt.simulate(sdt.dynamics.GradientFlow(LOSS, weight_decay=FLOW_DECAY), [0.5**0.5, 0.5**0.5], t1=1.0,
                            dt=dt, observe=["w"], save_every=round(0.25 / dt))
        logs.append(np.log(flow.w.values[0, 1:, 0] / flow.w.values[0, 1:, 1]))
    bound = 1.25 * np.abs(logs[0] - logs[1]) / 15 + 1e-12  # order 4; rounding of 256 steps is below 1e-13
    return {"exponent over that of the map": from_points(ratios), "exponent": from_points(exponents),
            "mean of lr_e L over lambda_e/2": from_points(losses), "flow: log of x/y": Exact(logs[1], bound)}


def figure(trial, left, right):
    """Left: the loss of two descents that start 1e-8 apart, and of the flow; right: exponents against λ_e."""
    lr, rate, steps = 1e-2, 0.05, 700
    angle = np.array([1.0, 1.0 + 1e-8])
    pair = sdt.simulate(sdt.SGD(LOSS, lr=lr, weight_decay=rate / lr), np.stack([np.sin(angle), np.cos(angle)], 1),
                        n_steps=steps, n_paths=2, observe=["loss"], save_every=1)
    for loss, label in zip(pair.loss.values, ("descent", r"descent, start changed by $10^{-8}$"), strict=True):
        left.plot(pair.step, loss, lw=1, label=label)
    k = np.arange(steps)
    with np.errstate(over="ignore", under="ignore"):
        q = np.tan(1.0) * np.exp(-np.expm1(2 * rate * k) / (rate / lr))
    left.plot(k, q**2 / (1 + q**2), color="0.5", lw=1.5, ls="--", label="gradient flow")
    left.set(xlabel=r"step $k$ (flow time $\eta k$)", ylabel="loss $L(w_k)$", ylim=(-0.02, 1.25),
             title=rf"Descent at $\lambda_e={rate:g}$ never settles")
    exponents, maps = trial.data["exponents"], trial.data["maps"]
    for i, lr in enumerate(LRS):
        mine = exponents[i::len(LRS)]
        right.errorbar(np.array(RATES) * (1 + 0.04 * (i - 1)), [e.value for e in mine], [4 * e.stderr for e in mine],
                       fmt="os^"[i], ms=5, mfc="none", capsize=2, label=rf"descent, $\eta={lr:g}$")
    right.plot(RATES, [e.value for e in maps], "_", ms=22, color="0.5", label=r"the map of $(x/y,\ \eta_e)$")
    right.set(xscale="log", xlabel=r"intrinsic learning rate $\lambda_e=\eta\lambda$", ylim=(0, None),
              ylabel="Lyapunov exponent a step", xticks=RATES, xlim=(0.01, 0.065),
              xticklabels=[f"{r:g}" for r in RATES], title=r"Its exponent depends on $\eta\lambda$")
    right.minorticks_off()
    left.legend(fontsize=8, loc="upper right")
    right.legend(fontsize=8, loc="upper left")


claim = Claim(
    "ILR-13", "Gradient descent with decay is not gradient flow", paper="intrinsic_lr", extension=True,
    where="the example of a loss on which full-batch descent with decay does not converge",
    statement=r"On $L=x^2/(x^2+y^2)$, GD with decay from $\eta\ll\|w_0\|^2$ does not converge, however small "
              r"$\eta$: its Lyapunov exponent, in the mean over starts, is positive and depends on $\eta\lambda$ "
              r"only (some starts lie in quasi-periodic islands), and the mean of $\eta_eL$ stays above "
              r"$\lambda_e/2$. The gradient flow with decay converges: $x/y=q_0\exp(-(e^{2\lambda "
              r"t}-1)/(\lambda\|w_0\|^2))$. (The exponent is an extension.)",
    setup=r"GD with decay from 300 random directions with $\|w_0\|=1$ for each of three $\eta$ at each of three "
          r"$\lambda_e$, 3000 steps, of which 1000 are left out; the map of $(x/y,\eta_e)$; and the flow to $t=1$ "
          r"at $\lambda=1$",
    bias_source="descent itself is simulated: there is no discretisation",
    proof=ilr.by_claim("ILR-13"), quantities=QUANTITIES, measure=measure, figure=figure,
    control=r"small steps follow the flow: its exponent $-\lambda_e$ a step, and a loss that goes to 0; the "
            r"direction at a constant effective learning rate tells it all: no exponent above 0; and a flow whose "
            r"decay does not speed up the direction, $x/y=q_0e^{-2t/\|w_0\|^2}$")
