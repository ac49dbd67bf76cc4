r"""EXP-9: step decay is the tapered exponential schedule (TEXP), up to the buffer at the boundaries.

.. math:: \frac{\tilde\eta_{t+1}}{\tilde\eta_t} = \alpha_I^{-2} \text{ in phase } I, \qquad
          \frac{\tilde\eta_T}{\tilde\eta_{T-1}} = \frac{\eta_I}{\eta_{I-1}}\,\alpha_I^{-1}\alpha_{I-1}^{-1}, \qquad
          \alpha_I = z_1(\eta_I\lambda) .

Exact without momentum. With momentum there are two exact versions: the schedule of EXP-6 with untouched buffers, or TEXP with
ṽ_T += [(1 − 1/α_I)/η_I − (1 − 1/α_{I−1})/η_{I−1}] w̃_T/P_T². Plain TEXP is neither: the error of its growth factor dies out
by z2/z1 a step, but its rate keeps the factor [(α_{T+1} − z2)/(z1 − z2)]². The missing correction −cw̃_T/P_T² moves w̃ along
itself by

.. math:: 1+\varepsilon, \qquad \varepsilon = c\,\eta_I\,z_2\sum_j (z_2/z_1)^j = \frac{c\,\eta_I\,\mu}{z_1-z_2}
          = 1-\frac{\alpha_{T+1}-z_2}{z_1-z_2},

and |w̃|⁴/η̃² forgets that on the slow clock −4 ln z1 ≈ 4ηλ/(1−μ) (ILR-3). Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from sdetheory.evidence import Exact

import sdetheory as sdt
from paper_checks.exp_lr.side_by_side import MATRICES, PATHS, PROBE, RESOLUTION, ROUNDINGS, UNIT, start_of
from sdetheory.claims import Claim, Control, Relative, Run
from sdetheory.schedules import Exponential, StepDecay
from sdetheory.sphere import normalise
from sdetheory.stats import jackknife, step_halving
from sdetheory.stats.rounding import response_error
from sdetheory.symbolic import Derivation, symbol
from sdetheory.theory import exp_lr
from sdetheory.theory.exp_lr.states import DECAY
from sdetheory.theory.formula import joint_derivation
from sdetheory.translate import Translation, remove_weight_decay, run, tapered

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# (lr, momentum): ηλ starts at 0.95 of the largest with real roots, so that the permanent factor is 15 % and not 1e-3
SETTINGS = ((0.02, 0.9), (0.1, 0.5))
SHARE, BOUNDARY, STEPS, HALF = 0.95, 150, 400, 0.5  # the learning rate is halved at step BOUNDARY
UNEQUAL = (0.05, 0.05)  # lr and decay of the pair without momentum

# Second part: an ensemble with gradients of pure noise (the setting of ILR-3), started at the boundary.
DIM, SCALE, MOMENTUM, LR = 16, 0.5, 0.9, 0.1
PURE_NOISE = sdt.losses.RayleighQuotient([0.0] * DIM, noise=sdt.noises.Tangent(SCALE))
# y = η_Iλ/(1−μ)² is a quarter of the ratio of the fast clock to the slow one: to leading order in y the offset is there at once
# and fades slowly. The bias at y is bounded from the run at 2y, and is a few y; at the times 1 and 2 of the slow clock the fast
# one has left e^{−1/(4y)} < 4e-6 of α − z1.
SMALL_Y = 0.01
TIMES = (1.0, 2.0)
# Both runs see the same noise, so a ratio of their norms varies by a few per cent of ε only: with 200 paths (50 in quick
# mode) z·se is below 1 % (2 %), small beside the bias.
ENSEMBLE = 200


def _decay(lr: float, mu: float) -> float:
    return SHARE * float(exp_lr.critical_intrinsic_lr(momentum=mu)) / lr


def _after(lr: float, mu: float) -> dict[str, float]:
    """lr, decay and momentum once the learning rate is halved."""
    return {"lr": HALF * lr, "weight_decay": _decay(lr, mu), "momentum": mu}


def _first_alpha(lr: float, mu: float, decay: float) -> float:
    """The first α that uses the halved learning rate."""
    before = float(exp_lr.larger_root(lr=lr, weight_decay=decay, momentum=mu))
    return float(exp_lr.alpha_step(alpha=before, lr=HALF * lr, previous_lr=lr, weight_decay=decay, momentum=mu))


def prediction() -> dict[str, Any]:
    """Equal functions; rate and factor of what plain TEXP gets wrong."""
    rates = [float(exp_lr.forgetting_factor(**_after(*pair))) for pair in SETTINGS]
    factors = [float(exp_lr.texp_offset(alpha=_first_alpha(*pair, _decay(*pair)), **_after(*pair))) for pair in SETTINGS]
    return {"TEXP without momentum": 0.0, "EXP-6 schedule": 0.0, "TEXP, buffer corrected": 0.0,
            "fading of the growth factor": np.array(rates), "permanent factor": np.array(factors),
            "offset of w": 1.0, "rate of its fading": 1.0}


class _Runs:
    """Step decay with weight decay, and the runs without, on the same minibatches: directions (steps + 1, paths, d)."""

    def __init__(self, trial: Run, lr: float, mu: float, decay: float) -> None:
        rng = np.random.default_rng(trial.rng.spawn(1)[0])
        which = rng.integers(len(MATRICES), size=STEPS)
        signs = rng.choice([-1.0, 1.0], (2, PATHS, MATRICES.shape[1]))
        self.w0, v0 = start_of(trial)
        self.v0 = v0 if mu else np.zeros_like(v0)
        losses = [sdt.losses.RayleighQuotient(a) for a in MATRICES]
        self.losses = [losses[i] for i in which]

        def schedule(factor: float = 1.0) -> StepDecay:
            return StepDecay(factor * lr, (BOUNDARY,), HALF)

        self.tapered = tapered(schedule(), decay, mu, n_steps=STEPS)
        self.whole = remove_weight_decay(schedule(), decay, mu, n_steps=STEPS, start="root")
        self.untouched = remove_weight_decay(schedule(), decay, mu, n_steps=STEPS)
        self.first = self.directions(self.tapered, decay_free=False)
        changed = tapered(schedule(1 + PROBE), decay, mu, n_steps=STEPS)
        near = normalise(np.array(list(run(changed, self.losses, self.w0 * (1 + PROBE * signs[0]),
                                           self.v0 * (1 + PROBE * signs[1]), decay_free=False))))
        self.bound = response_error(
            np.linalg.norm(near - self.first, axis=-1).max(1), np.arange(STEPS + 1), probe=PROBE, roundings=ROUNDINGS,
            besides=4 * np.abs(self.tapered.log_scale), leverage=1 + np.abs(self.whole.growth).max() / (1 - mu))

    def directions(self, translation: Translation, decay_free: bool = True) -> np.ndarray:
        return normalise(np.array(list(run(translation, self.losses, self.w0, self.v0, decay_free=decay_free))))

    def gap(self, translation: Translation) -> np.ndarray:
        """‖ŵ̃ − ŵ‖ of the worst path at every step."""
        return np.linalg.norm(self.directions(translation) - self.first, axis=-1).max(1)


def _worst(gaps: list[np.ndarray], runs: list[_Runs]) -> Exact:
    return Exact(np.concatenate(gaps), np.concatenate([one.bound for one in runs]))


def simulation(trial: Run) -> dict[str, Any]:
    """Exact versions on minibatches; the rate and the factor from the schedules; the offset in an ensemble."""
    with_momentum = [_Runs(trial, *pair, _decay(*pair)) for pair in SETTINGS]
    without = _Runs(trial, UNEQUAL[0], 0.0, UNEQUAL[1])
    trial.data.update(first=with_momentum[0])
    rates, factors = [], []
    for pair, one in zip(SETTINGS, with_momentum, strict=True):
        large, small = (float(f(**_after(*pair))) for f in (exp_lr.larger_root, exp_lr.smaller_root))
        alpha = one.whole.alpha[BOUNDARY + 1:]
        last = int(np.argmax(abs(alpha - large) < 1e-4))  # before α − z1 is lost in rounding
        before, after = ((a - large) / (a - small) for a in alpha[[0, last]])
        rates.append((after / before) ** (1 / last))
        factors.append(np.exp(one.tapered.log_decay_free_lr[-1] - one.whole.log_decay_free_lr[-1]))
    return {"TEXP without momentum": _worst([without.gap(without.tapered)], [without]),
            "EXP-6 schedule": _worst([one.gap(one.untouched) for one in with_momentum], with_momentum),
            "TEXP, buffer corrected": _worst([one.gap(one.tapered) for one in with_momentum], with_momentum),
            # α is known to a few roundings, 1e-4 away from z1; the factor is a product of STEPS quotients, twice, less what
            # is still to come, (z2/z1)^250 < 1e-8
            "fading of the growth factor": Exact(np.array(rates), 64 * UNIT / 1e-4),
            "permanent factor": Exact(np.array(factors), 16 * STEPS * UNIT + 1e-8), **_offset(trial)}


def plain(trial: Run) -> dict[str, Any]:
    """The control: TEXP with the buffers left alone."""
    runs = [_Runs(trial, *pair, _decay(*pair)) for pair in SETTINGS]
    return {"TEXP, buffer corrected": _worst([one.gap(one.tapered.without_corrections()) for one in runs], runs)}


def _offset(trial: Run) -> dict[str, Any]:
    """Offset of w and the rate of its fading, each over its prediction, at 2y and y."""
    found = [_ensemble(trial, 2 * SMALL_Y), _ensemble(trial, SMALL_Y)]
    return {name: step_halving(found[0][name], found[1][name], order=1) for name in found[0]}


def _ensemble(trial: Run, y: float) -> dict[str, Any]:
    """Phase I from its boundary on, by decay and by plain TEXP, on the same noise."""
    n, mu = trial.paths(ENSEMBLE), MOMENTUM
    decay = y * (1 - mu) ** 2 / LR
    at = {"lr": LR, "weight_decay": decay, "momentum": mu}
    large, small = float(exp_lr.larger_root(**at)), float(exp_lr.smaller_root(**at))
    before = float(exp_lr.larger_root(lr=LR / HALF, weight_decay=decay, momentum=mu))
    gap = 1 - (_first_alpha(LR / HALF, mu, decay) - small) / (large - small)  # ε
    slow = float(exp_lr.norm_forgetting_rate(**at))
    times = np.round(np.array(TIMES) / slow).astype(int)
    every = int(times[0])
    # equilibrium of the phase before, to leading order: η_e = (2 λ_e/σ²)^{1/2} with λ_e/(1−μ) and η/(1−μ) (ILR-9)
    radius = (LR / HALF / (decay * (1 - mu)) * SCALE**2 * (DIM - 1) / 2) ** 0.25
    w0 = radius * normalise(np.random.default_rng(trial.rng).normal(size=(n, DIM)))
    # plain TEXP arrives with the buffer of the phase before, that leans on w by (1 − 1/α_{I−1})/η_{I−1}
    tilt = (1 - 1 / before) * HALF / LR
    n_steps, norms = int(times[-1]) + 1, []
    rows = ((sdt.SGD(PURE_NOISE, lr=LR, weight_decay=decay, momentum=mu, v0=np.zeros_like(w0))),
            (sdt.SGD(PURE_NOISE, lr=Exponential(LR / large, large**-2), momentum=mu, v0=tilt * w0)))
    for rule in rows:
        norms.append(sdt.simulate(rule, w0, n_steps=n_steps, n_paths=n, observe=["sq_norm"], save_every=every,
                                  rng=trial.rng).sq_norm.values)
    places = np.arange(1, len(TIMES) + 1)
    steps = places * every
    gamma, other = norms[0][:, places] ** 2, (norms[1][:, places] * large ** (2 * steps)) ** 2
    # γ̃ − γ falls by e^{−slow·t} from (1+ε)⁴ − 1 of γ_0
    fallen = (other - gamma) / radius**4
    size = ((1 + gap) ** 4 - 1) * np.exp(-slow * steps)
    return {"offset of w": jackknife(lambda d: d / size[0], fallen[:, 0]),
            "rate of its fading": jackknife(lambda a, b: np.log(a / b) / (slow * every), *fallen.T)}


def derivation() -> Derivation:
    """Boundary, correction, rate and factor; the offset of w as the sum of what the missing correction does."""
    whole = joint_derivation("Tapering", exp_lr.texp_boundary_factor, exp_lr.texp_buffer_correction, exp_lr.forgetting_factor,
                             exp_lr.texp_offset, exp_lr.norm_forgetting_rate)
    z1, former, z2 = symbol("alpha"), symbol("previous_alpha"), sympy.Symbol("z2", positive=True)
    offset = exp_lr.texp_buffer_correction.expr * symbol("lr") * z2 / (1 - z2 / z1)
    whole.step(r"Without it the buffer holds $-c\,\tilde w_T/P_T^2$ too much, which moves $\tilde w$ by "
               r"$-\tilde\eta_k\mu^{k-T+1}$ times that at step $k$; $\tilde\eta_k=P_T^2\eta_Iz_1^{-2(k-T)-1}$ and "
               r"$\mu=z_1z_2$ sum to", offset)
    # the decay with which z1 is a root
    decay = exp_lr.equivalent_weight_decay.expr.subs(symbol("momentum"), z1 * z2)
    first = exp_lr.alpha_step.expr.subs({z1: former, DECAY: decay, symbol("momentum"): z1 * z2}, simultaneous=True)
    return whole.residual("the offset of w, from the first alpha", offset - (1 - (first - z2) / (z1 - z2)))


def figure(trial: Run) -> Figure:
    """Left: the three schedules at the boundary. Right: how far the functions part."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.6, 3.8), layout="constrained")
    left, right = fig.subplots(1, 2)
    one: _Runs = trial.data["first"]
    lr, mu = SETTINGS[0]
    steps = np.arange(STEPS)
    ratio = np.exp(one.tapered.log_decay_free_lr - one.whole.log_decay_free_lr)
    shown = slice(BOUNDARY - 15, BOUNDARY + 110)
    left.plot(steps[shown] - BOUNDARY, ratio[shown], ".", ms=4, color="tab:orange", label="plain TEXP over exact schedule")
    limit = float(exp_lr.texp_offset(alpha=_first_alpha(lr, mu, _decay(lr, mu)), **_after(lr, mu)))
    left.axhline(limit, color="0.35", lw=1.2, label=r"$[(\alpha_{T+1}-z_2)/(z_1-z_2)]^2$")
    left.axhline(1, color="0.6", lw=0.8, ls=":")
    left.set(xlabel=r"step after the boundary, $t-T$", ylabel=r"ratio of learning rates $\tilde\eta_t$")
    left.set_title(rf"A factor that stays ($\mu={mu:g}$)", fontsize=10)
    left.legend(frameon=False, fontsize=8, loc="center right")
    steps = np.arange(STEPS + 1)
    rows = ((one.tapered.without_corrections(), "tab:orange", "-", "plain TEXP"),
            (one.tapered, "tab:blue", "-", "TEXP, buffer corrected"),
            (one.untouched, "tab:green", "-", "EXP-6 schedule"))
    for translation, colour, style, label in rows:
        right.semilogy(steps, np.maximum(one.gap(translation), 1e-17), color=colour, ls=style, lw=1.1, label=label)
    right.semilogy(steps, one.bound, color="0.5", ls=":", lw=1.2, label="bound on rounding")
    right.axvline(BOUNDARY, color="0.6", lw=0.8)
    right.set(xlabel=r"step $t$ (the learning rate is halved at 150)", ylim=(1e-17, 3),
              ylabel="distance of directions")
    right.set_title("Two exact versions, and one that is not", fontsize=10)
    right.legend(frameon=False, fontsize=8, loc="center right", bbox_to_anchor=(1.0, 0.56))
    return fig


claim = Claim(
    "EXP-9",
    title="Step decay is a tapered exponential schedule",
    paper="exp_lr",
    statement=r"Step decay with weight decay gives the functions of TEXP, which multiplies by $\alpha_I^{-2}$ a step and by "
              r"$(\eta_I/\eta_{I-1})\alpha_I^{-1}\alpha_{I-1}^{-1}$ at a boundary: exactly for $\mu=0$, and for $\mu>0$ "
              r"with one buffer correction a boundary; the schedule of EXP-6 is exact with none. Plain TEXP forgets the "
              r"error of its growth factor by $z_2/z_1$ a step, keeps the factor $[(\alpha_{T+1}-z_2)/(z_1-z_2)]^2$, and "
              r"displaces $w$ along itself, which fades at the rate $-4\ln z_1\approx4\eta\lambda/(1-\mu)$ only.",
    derivation=derivation,
    prediction=prediction,
    simulation=simulation,
    resolution={"TEXP without momentum": RESOLUTION, "EXP-6 schedule": RESOLUTION, "TEXP, buffer corrected": RESOLUTION,
                "fading of the growth factor": 1e-6, "permanent factor": Relative(1e-5),
                "offset of w": 0.1, "rate of its fading": 0.1},
    negative_control=Control("skip the buffer correction: plain TEXP, taken for exact with momentum too", simulation=plain),
    figure=figure,
)
