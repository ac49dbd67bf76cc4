r"""ILR-4: the norm of a scale-invariant weight tends to an equilibrium that is set by lr and weight decay.

.. math:: \gamma = \|W\|^4/\eta^2 \to \frac{\sigma^2}{2\lambda_e}, \qquad
          \|W\|^4 \to \frac{\eta\sigma^2}{2\lambda}, \qquad
          \eta_e = \gamma^{-1/2} \to \Bigl(\frac{2\lambda_e}{\sigma^2}\Bigr)^{1/2}, \qquad
          t_\varepsilon = \frac{1}{4\lambda_e}\ln\frac{|\gamma_0/\gamma_\infty - 1|}{\varepsilon}

The ambient SDE of SGD is simulated for three pairs (lr, weight decay), two of one product, from a start above the
equilibrium and from one below it. Clock: steps.
"""

import numpy as np

import sdetheory as sdt
from paper_checks.halving import at_two_steps
from sdetheory import Claim, Quantity, Relative
from sdetheory.theory import intrinsic_lr as ilr

DIM, SCALE = 11, 0.5  # noise of 10 tangent directions: sigma^2 = s^2 (d - 1) is 10 % away from s^2 d
LOSS = sdt.losses.RayleighQuotient([1.0] * 5 + [0.0] * 6, noise=sdt.noises.Tangent(SCALE))
TRACE, TRACE_OF_ALL_DIRECTIONS = SCALE**2 * (DIM - 1), SCALE**2 * DIM
PAIRS = ((0.1, 0.1), (0.4, 0.025), (0.4, 0.1))  # (lr, weight decay): lambda_e = 0.01, 0.01, 0.04
CASES = tuple((lr, decay, start) for lr, decay in PAIRS for start in (1.75, 0.25))  # gamma_0 / gamma_inf
LR, DECAY, START = np.transpose(CASES)
LABELS = tuple(rf"$\eta={lr:g},\ \lambda={decay:g}$, from {'above' if start > 1 else 'below'}"
               for lr, decay, start in CASES)
AWAY, TOLERANCE = np.abs(START - 1), 0.1  # |gamma_0/gamma_inf - 1|, and the tolerance of t_eps

SPAN = 5  # in t_eps: the start is then forgotten up to 0.75 (0.1/0.75)^5 = 3e-5 of gamma_inf
# lambda_e h = 0.0025 at lambda_e = 0.01 makes the bias of Euler-Maruyama about 1 %, half of what 4 % leaves. gamma
# varies over paths by less than 3 % (its noise is of order h): 1600 paths (400 in quick mode) leave z·se < 0.7 %.
STEPS, PATHS = 200, 1600  # steps in t_eps


def limits(noise_trace):
    at = {"lr": LR, "weight_decay": DECAY, "noise_trace": noise_trace}
    return ilr.equilibrium_sq_norm(**at) ** 2, ilr.equilibrium_effective_lr(**at)


def error_at_t_eps(rate):
    """The relative error of gamma after t_eps where it decays at rate * lambda_e."""
    return np.sign(START - 1) * AWAY * (TOLERANCE / AWAY) ** (rate / 4)


norm4, effective_lr = limits(TRACE)
wrong_norm4, wrong_effective_lr = limits(TRACE_OF_ALL_DIRECTIONS)
REST = AWAY * (TOLERANCE / AWAY) ** SPAN
WHY_REST = r"the start's share that $5t_\varepsilon$ leaves"

QUANTITIES = {
    "norm^4": Quantity(norm4, Relative(0.04), wrong=wrong_norm4, bias=REST * norm4, bias_source=WHY_REST,
                       points=LABELS),
    "effective lr": Quantity(effective_lr, Relative(0.02),  # the power -1/2 of gamma
                             wrong=wrong_effective_lr, bias=REST * effective_lr, bias_source=WHY_REST, points=LABELS),
    "error at t_eps": Quantity(error_at_t_eps(4), 0.04, wrong=error_at_t_eps(2), points=LABELS),
}


def measure(trial):
    """Each case at step h and, on the same Brownian paths, at 2h."""
    trial.data["curves"] = {}

    def one(case, seed, refine):
        lr, decay, start = case
        rest = ilr.equilibrium_gamma(intrinsic_lr=lr * decay, noise_trace=TRACE)
        h = ilr.time_to_equilibrium(gamma0=start * rest, intrinsic_lr=lr * decay, noise_trace=TRACE,
                                    tolerance=TOLERANCE) / STEPS
        runs = sdt.simulate(sdt.dynamics.SGDSDE(LOSS, lr=lr, weight_decay=decay),
                            LOSS.sample_sphere((start * rest * lr**2) ** 0.25), n_steps=SPAN * STEPS // refine,
                            dt=refine * h, brownian_dt=h, n_paths=trial.paths(PATHS),
                            observe=["sq_norm", "effective_lr"], save_every=STEPS // refine // 10, rng=seed)
        trial.data["curves"][case] = runs.time.values, runs.effective_lr.values.mean(0)
        fourth = runs.sq_norm.values ** 2
        return {"norm^4": fourth[:, -1], "effective lr": runs.effective_lr.values[:, -1],
                "error at t_eps": fourth[:, 10] / lr**2 / rest - 1}

    return at_two_steps(one, CASES, trial.rng.spawn(len(CASES)), order=1)


def figure(trial, ax):
    """The effective learning rate from above and from below, against the closed form and its limit."""
    for i, ((lr, decay, start), (time, mean)) in enumerate(trial.data["curves"].items()):
        clock, limit = 4 * lr * decay * time, effective_lr[i]
        theory = ilr.effective_lr(t=time, effective_lr0=limit / start**0.5, intrinsic_lr=lr * decay, noise_trace=TRACE)
        ax.plot(clock, theory, color="0.45", lw=1.2, zorder=1, label="closed form" if i == 0 else None)
        ax.plot(clock[i // 2::3], mean[i // 2::3], "o^s"[i // 2], ms=4.5, color=f"C{i // 2}", mfc="none",
                label=rf"$\eta={lr:g},\ \lambda={decay:g}$" if start > 1 else None)
        ax.axhline(limit, color="0.6", lw=0.8, ls=":", zorder=0)
    ax.set(xlabel=r"time on the clock of the equilibrium, $4\lambda_e t$ ($t$ in steps)",
           ylabel=r"effective learning rate $\eta/\|W_t\|^2$",
           title=r"From any start the effective learning rate tends to $(2\eta\lambda/\sigma^2)^{1/2}$")
    ax.legend()


claim = Claim(
    "ILR-4", "Equilibrium of the norm and of the effective learning rate", paper="intrinsic_lr",
    where="the section on the equilibrium of the effective learning rate",
    statement=r"For constant $\mathrm{Tr}\,\Sigma(\hat w)=\sigma^2$, $\|W\|^4\to\eta\sigma^2/(2\lambda)$ and the "
              r"effective learning rate tends to $(2\lambda_e/\sigma^2)^{1/2}$, whatever the start, through $\eta$ and "
              r"$\lambda$ only by $\lambda_e=\eta\lambda$; $\gamma=\|W\|^4/\eta^2$ is within $\varepsilon$ after "
              r"$\ln(|\gamma_0/\gamma_\infty-1|/\varepsilon)/(4\lambda_e)$ steps.",
    setup=r"The SDE of SGD on a Rayleigh quotient in $d=11$ with tangent noise, three pairs $(\eta,\lambda)$, from "
          r"$1.75$ and $0.25$ of the equilibrium, for $5t_\varepsilon$",
    proof=ilr.by_claim("ILR-4"), quantities=QUANTITIES, measure=measure, figure=figure,
    control=r"$\sigma^2=s^2d$ (noise of all $d$ directions, not of the $d-1$ tangent ones), and the rate $2\lambda_e$, "
            r"that of $\|W\|^2$ without noise, in place of $4\lambda_e$")
