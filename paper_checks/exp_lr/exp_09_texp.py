r"""EXP-9: step decay is the tapered exponential schedule (TEXP), up to the buffer at the boundaries.

.. math:: \frac{\tilde\eta_{t+1}}{\tilde\eta_t} = \alpha_I^{-2} \text{ in phase } I, \qquad
          \frac{\tilde\eta_T}{\tilde\eta_{T-1}} = \frac{\eta_I}{\eta_{I-1}}\,\alpha_I^{-1}\alpha_{I-1}^{-1}, \qquad
          \alpha_I = z_1(\eta_I\lambda) .

Exact without momentum. With momentum there are two exact versions: the schedule of EXP-6 with untouched buffers, or
TEXP with ṽ_T += [(1 − 1/α_I)/η_I − (1 − 1/α_{I−1})/η_{I−1}] w̃_T/P_T². Plain TEXP is neither: the error of its
growth factor dies out by z2/z1 a step, but its rate keeps the factor [(α_{T+1} − z2)/(z1 − z2)]² (an extension).
The missing correction −cw̃_T/P_T² moves w̃ along itself by

.. math:: 1+\varepsilon, \qquad \varepsilon = c\,\eta_I\,z_2\sum_j (z_2/z_1)^j = \frac{c\,\eta_I\,\mu}{z_1-z_2}
          = 1-\frac{\alpha_{T+1}-z_2}{z_1-z_2},

and |w̃|⁴/η̃² forgets that on the slow clock −4 ln z1 ≈ 4ηλ/(1−μ) (ILR-3). Clock: steps.
"""

from dataclasses import replace

import numpy as np
import sympy

import sdetheory as sdt
from paper_checks.exp_lr.side_by_side import RESOLUTION, UNIT
from paper_checks.exp_lr.tapering import Tapering, worst
from sdetheory import Claim, Derivation, Exact, Quantity, Relative
from sdetheory.schedules import Exponential, StepDecay
from sdetheory.sphere import normalise
from sdetheory.stats import jackknife, step_halving
from sdetheory.symbolic import symbol
from sdetheory.theory import exp_lr
from sdetheory.theory.exp_lr.states import DECAY

# ηλ starts at 0.95 of the largest with real roots, so that the permanent factor is 15 % and not 1e-3
SHARE, BOUNDARY, STEPS, HALF = 0.95, 150, 400, 0.5  # the learning rate is halved at step BOUNDARY
SETTINGS = tuple((lr, SHARE * exp_lr.critical_intrinsic_lr(momentum=mu) / lr, mu) for lr, mu in ((0.02, 0.9), (0.1, 0.5)))
WITHOUT_MOMENTUM = (0.05, 0.05, 0.0)

# Second part: an ensemble with gradients of pure noise (the setting of ILR-3), started at the boundary.
DIM, SCALE, MOMENTUM, LR = 16, 0.5, 0.9, 0.1
PURE_NOISE = sdt.losses.RayleighQuotient([0.0] * DIM, noise=sdt.noises.Tangent(SCALE))
# y = η_Iλ/(1−μ)² is a quarter of the ratio of the fast clock to the slow one: to leading order in y the offset is
# there at once and fades slowly. The bias at y is bounded from the run at 2y, and is a few y; at the times 1 and 2
# of the slow clock the fast one has left e^{−1/(4y)} < 4e-6 of α − z1.
SMALL_Y = 0.01
TIMES = np.array([1.0, 2.0])
# Both runs see the same noise, so a ratio of their norms varies by a few per cent of ε only: with 200 paths (50 in
# quick mode) z·se is below 1 % (2 %), small beside the bias.
ENSEMBLE = 200


def later(lr, decay, mu):
    """lr, decay and momentum once the learning rate is halved."""
    return {"lr": HALF * lr, "weight_decay": decay, "momentum": mu}


def roots(at):
    return exp_lr.larger_root(**at), exp_lr.smaller_root(**at)


def first_alpha(lr, decay, mu):
    """The first α that uses the halved learning rate."""
    before = exp_lr.larger_root(lr=lr, weight_decay=decay, momentum=mu)
    return exp_lr.alpha_step(alpha=before, previous_lr=lr, **later(lr, decay, mu))


FACTORS = np.array([exp_lr.texp_offset(alpha=first_alpha(*at), **later(*at)) for at in SETTINGS])

QUANTITIES = {
    **dict.fromkeys(("TEXP without momentum", "EXP-6 schedule", "TEXP, buffer corrected"),
                    Quantity(0.0, RESOLUTION, broken=True)),
    "fading of the growth factor": Quantity([exp_lr.forgetting_factor(**later(*at)) for at in SETTINGS], 1e-6,
                                            wrong=[mu for _, _, mu in SETTINGS]),
    "permanent factor": Quantity(FACTORS, Relative(1e-5), wrong=FACTORS**0.5,
                                 bias_source="what is still to come at the last step, and rounding"),
    "offset of w": Quantity(1.0, 0.1, wrong=0.0),
    "rate of its fading": Quantity(1.0, 0.1, wrong=0.5),
}


def runs_of(trial, lr, decay, mu):
    return Tapering(trial, StepDecay(lr, (BOUNDARY,), HALF), decay, mu, STEPS)


def measure(trial):
    """Exact versions on minibatches; the rate and the factor from the schedules; the offset in an ensemble."""
    with_momentum = [runs_of(trial, *at) for at in SETTINGS]
    without = [runs_of(trial, *WITHOUT_MOMENTUM)]
    trial.data["runs"] = with_momentum[0]
    rates, factors = [], []
    for at, one in zip(SETTINGS, with_momentum, strict=True):
        large, small = roots(later(*at))
        alpha = one.whole.alpha[BOUNDARY + 1:]
        last = int(np.argmax(abs(alpha - large) < 1e-4))  # before α − z1 is lost in rounding
        before, after = (alpha[[0, last]] - large) / (alpha[[0, last]] - small)
        rates.append((after / before) ** (1 / last))
        factors.append(np.exp(one.tapered.log_decay_free_lr[-1] - one.whole.log_decay_free_lr[-1]))
    return {"TEXP without momentum": worst(without, lambda one: one.tapered),
            "EXP-6 schedule": worst(with_momentum, lambda one: one.untouched),
            "TEXP, buffer corrected": worst(with_momentum, lambda one: one.tapered),
            # α is known to a few roundings, 1e-4 away from z1; the factor is a product of STEPS quotients, twice,
            # less what is still to come, (z2/z1)^250 < 1e-8
            "fading of the growth factor": Exact(np.array(rates), 64 * UNIT / 1e-4),
            "permanent factor": Exact(np.array(factors), 16 * STEPS * UNIT + 1e-8),
            **{name: step_halving(coarse, fine, order=1) for name, coarse, fine in zip(
                ("offset of w", "rate of its fading"), ensemble(trial, 2 * SMALL_Y), ensemble(trial, SMALL_Y), strict=True)}}


def broken(trial):
    """The new root on both sides of the boundary; the schedule started at its root without its buffer; no correction."""
    def one_root(one):
        before, after = one.tapered.alpha[[BOUNDARY, BOUNDARY + 1]]
        return replace(one.tapered, decay_free_lr=one.tapered.decay_free_lr * np.where(np.arange(STEPS) < BOUNDARY, 1,
                                                                                       before / after))

    with_momentum = [runs_of(trial, *at) for at in SETTINGS]
    return {"TEXP without momentum": worst([runs_of(trial, *WITHOUT_MOMENTUM)], one_root),
            "EXP-6 schedule": worst(with_momentum, lambda one: replace(one.whole, tilt=0 * one.whole.tilt)),
            "TEXP, buffer corrected": worst(with_momentum, lambda one: one.tapered.without_corrections())}


def ensemble(trial, y):
    """The offset of w and the rate of its fading over their predictions: decay and plain TEXP on the same noise."""
    n, mu, decay = trial.paths(ENSEMBLE), MOMENTUM, y * (1 - MOMENTUM) ** 2 / LR
    at = later(LR / HALF, decay, mu)
    large, small = roots(at)
    before = exp_lr.larger_root(lr=LR / HALF, weight_decay=decay, momentum=mu)
    gap = 1 - (first_alpha(LR / HALF, decay, mu) - small) / (large - small)  # ε
    slow = exp_lr.norm_forgetting_rate(**at)
    every = round(TIMES[0] / slow)
    # equilibrium of the phase before, to leading order: η_e = (2 λ_e/σ²)^{1/2} with λ_e/(1−μ) and η/(1−μ) (ILR-9)
    radius = (LR / HALF / (decay * (1 - mu)) * SCALE**2 * (DIM - 1) / 2) ** 0.25
    w0 = radius * normalise(np.random.default_rng(trial.rng).normal(size=(n, DIM)))
    # plain TEXP arrives with the buffer of the phase before, that leans on w by (1 − 1/α_{I−1})/η_{I−1}
    tilt = (1 - 1 / before) * HALF / LR
    decaying, growing = (
        sdt.simulate(rule, w0, n_steps=round(TIMES[-1] / slow) + 1, n_paths=n, observe=["sq_norm"], save_every=every,
                     rng=trial.rng).sq_norm.values[:, 1:len(TIMES) + 1]
        for rule in (sdt.SGD(PURE_NOISE, v0=np.zeros_like(w0), **at),
                     sdt.SGD(PURE_NOISE, lr=Exponential(LR / large, large**-2), momentum=mu, v0=tilt * w0)))
    steps = np.arange(1, len(TIMES) + 1) * every
    # γ̃ − γ falls by e^{−slow·t} from (1+ε)⁴ − 1 of γ_0
    fallen = ((growing * large ** (2 * steps)) ** 2 - decaying**2) / radius**4
    size = ((1 + gap) ** 4 - 1) * np.exp(-slow * steps)
    return (jackknife(lambda d: d / size[0], fallen[:, 0]),
            jackknife(lambda a, b: np.log(a / b) / (slow * every), *fallen.T))


def proof():
    """Boundary, correction, rate and factor; the offset of w as the sum of what the missing correction does."""
    whole = Derivation("Tapering").including(*(f.derivation for f in (
        exp_lr.texp_boundary_factor, exp_lr.texp_buffer_correction, exp_lr.forgetting_factor, exp_lr.texp_offset,
        exp_lr.norm_forgetting_rate)))
    z1, former, z2 = symbol("alpha"), symbol("previous_alpha"), sympy.Symbol("z2", positive=True)
    offset = exp_lr.texp_buffer_correction.expr * symbol("lr") * z2 / (1 - z2 / z1)
    whole.step(r"Without it the buffer holds $-c\,\tilde w_T/P_T^2$ too much, which moves $\tilde w$ by "
               r"$-\tilde\eta_k\mu^{k-T+1}$ times that at step $k$; $\tilde\eta_k=P_T^2\eta_Iz_1^{-2(k-T)-1}$ and "
               r"$\mu=z_1z_2$ sum to", offset)
    # the decay with which z1 is a root
    decay = exp_lr.equivalent_weight_decay.expr.subs(symbol("momentum"), z1 * z2)
    first = exp_lr.alpha_step.expr.subs({z1: former, DECAY: decay, symbol("momentum"): z1 * z2}, simultaneous=True)
    return whole.residual("the offset of w, from the first alpha", offset - (1 - (first - z2) / (z1 - z2)))


def figure(trial, left, right):
    """Left: the three schedules at the boundary. Right: how far the functions part."""
    one, steps = trial.data["runs"], np.arange(STEPS)
    ratio = np.exp(one.tapered.log_decay_free_lr - one.whole.log_decay_free_lr)
    shown = slice(BOUNDARY - 15, BOUNDARY + 110)
    left.plot(steps[shown] - BOUNDARY, ratio[shown], ".", ms=4, color="tab:orange", label="plain TEXP over exact schedule")
    left.axhline(FACTORS[0], color="0.35", lw=1.2, label=r"$[(\alpha_{T+1}-z_2)/(z_1-z_2)]^2$")
    left.axhline(1, color="0.6", lw=0.8, ls=":")
    left.set(xlabel=r"step after the boundary, $t-T$", ylabel=r"ratio of learning rates $\tilde\eta_t$",
             title=rf"A factor that stays ($\mu={SETTINGS[0][2]:g}$)")
    left.legend(loc="upper right", bbox_to_anchor=(1, 0.9))
    one.draw(right, ((one.tapered.without_corrections(), "tab:orange", "plain TEXP"),
                     (one.tapered, "tab:blue", "TEXP, buffer corrected"), (one.untouched, "tab:green", "EXP-6 schedule")))
    right.axvline(BOUNDARY, color="0.6", lw=0.8)
    right.set(xlabel=rf"step $t$ (the learning rate is halved at {BOUNDARY})", title="Two are exact, one is not")
    right.legend(loc="center right", bbox_to_anchor=(1.0, 0.56))


claim = Claim(
    "EXP-9", "Step decay is a tapered exponential schedule", paper="exp_lr",
    where="the tapered exponential schedule that stands for step decay; its permanent factor is an extension",
    statement=r"Step decay with weight decay gives the functions of TEXP, which multiplies by $\alpha_I^{-2}$ a "
              r"step and by $(\eta_I/\eta_{I-1})\alpha_I^{-1}\alpha_{I-1}^{-1}$ at a boundary: exactly for "
              r"$\mu=0$, and for $\mu>0$ with one buffer correction a boundary; the schedule of EXP-6 is exact "
              "with none. Extension: plain TEXP forgets the error of its growth factor by $z_2/z_1$ a step, keeps "
              r"the factor $[(\alpha_{T+1}-z_2)/(z_1-z_2)]^2$, and displaces $w$ along itself, which fades at the "
              r"rate $-4\ln z_1\approx4\eta\lambda/(1-\mu)$ only.",
    setup=rf"SGD on minibatches of Rayleigh quotients, $\eta$ halved at step {BOUNDARY} of {STEPS}, $\mu$ = 0.9, "
          rf"0.5 and 0; for the offset pure tangent noise in $d={DIM}$, {ENSEMBLE} paths, $\eta={LR}$, "
          rf"$\mu={MOMENTUM}$",
    proof=proof, quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"the factor $(\eta_I/\eta_{I-1})\alpha_I^{-2}$ at the boundary; EXP-6 from the root with the first "
            "buffer as it is; plain TEXP, which skips the buffer correction, is exact with momentum too; its "
            r"growth factor fades at the rate $\mu$, its rate keeps the factor without the square; $w$ has no "
            r"offset, or one that fades at the rate $-2\ln z_1$ of $\|w\|^2$")
