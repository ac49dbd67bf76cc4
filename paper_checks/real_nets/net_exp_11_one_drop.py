r"""NET-EXP-11: on a real net, one drop of an exponential learning rate is forgotten; a changed growth rate is not.

.. math:: \tilde\eta_t = \eta\,(1-\lambda_e)^{-2t-1}; \qquad
          \frac{\eta_e}{\eta_e^*} = \Bigl[e^{-4\lambda'u}\,\gamma_0 + \tfrac{\lambda_e}{\lambda'}
          \bigl(1 - e^{-4\lambda'u}\bigr)\Bigr]^{-1/2}, \quad \eta_e = \frac{\tilde\eta}{\|\tilde w\|^2}

u steps after a change at equilibrium: η̃ is divided by C once (γ_0 = C²), or grows as for η/C from there on (λ' = λ_e/C), or
both, which is step decay (TEXP). η_e* is that of the same nets on the same minibatches without a change. The formula is
ILR-3's, EXP-11's for a drop alone; it takes the noise trace :math:`S = \|g\|^2\|\tilde w\|^2` to be that of before, and
:math:`\Delta\|\tilde w\|^4 = 2S\sum\tilde\eta^2`, up to O(λ_e), says whether it is. SGD without decay. Clock: steps.
"""

import copy

import numpy as np

from paper_checks.real_nets.ensembles import BATCH, NET, dataset, nets, once
from sdetheory import Between, Claim, Quantity
from sdetheory.stats import from_points, mean_estimate
from sdetheory.theory import exp_lr
from sdetheory.theory import intrinsic_lr as ilr

requires = ("torch",)

LR, DECAY, DROP = 0.1, 0.05, 4.0  # decay: of the equivalent run
RATE = LR * DECAY
UNIT, WARM, AFTER = round(1 / (4 * RATE)), 8, 8  # steps; units before the change, from half the initial norm, and after
POINTS = np.array([1, 2, 4, 8])  # units after the change
# change -> (γ_0, λ'/λ_e)
CHANGES = {"a drop": (DROP**2, 1.0), "slower growth": (1.0, 1 / DROP), "a drop and slower growth": (DROP**2, 1 / DROP)}
# 48 members (40 in quick mode) whose logs differ by 0.03 tell the mean within 0.03; a noise trace within 15 % leaves 0.07
MEMBERS = {"quick": 40, "default": 48, "thorough": 384}
SPREAD = 0.15


def log_ratio(change, trace=1.0, points=POINTS):
    """ln(η_e/η_e*), `points` units after the change, with a noise trace that has changed by a factor."""
    gamma0, part = CHANGES[change]
    return -np.log(ilr.gamma(t=points / 4, gamma0=gamma0, intrinsic_lr=part, noise_trace=2 * trace)) / 2


WRONG = {"a drop": log_ratio("a drop and slower growth"), "slower growth": 0 * POINTS,
         "a drop and slower growth": log_ratio("a drop")}
QUANTITIES = {change: Quantity(
    log_ratio(change), 0.12, wrong=wrong, bias=log_ratio(change, 1 - SPREAD) - log_ratio(change),
    bias_source="a noise trace within 15 % of that without a change, as is measured",
    points=[rf"$4\lambda_eu={u}$" for u in POINTS]) for change, wrong in WRONG.items()}
QUANTITIES["noise trace over that without a change"] = Quantity(
    Between(1 - SPREAD, 1 + SPREAD), 0.15, points=list(CHANGES), no_control="a condition of the formula, not the statement",
    bias=3 * RATE, bias_source=r"terms of order $\lambda_e$ in $\Delta\|\tilde w\|^4$")


@once
def _runs(trial):
    """(effective lr at every unit, ‖w̃‖⁴ gained over 2Ση̃² in the first unit) of the run without a change, and of each."""
    import torch

    from sdetheory.torch.ensembles import train_ensemble

    for_nets, for_batches = trial.rng.spawn(2)
    n, start = MEMBERS[trial.mode], WARM * UNIT
    data, loss = dataset(), torch.nn.functional.cross_entropy
    batches, warm = data.minibatches(BATCH, rng=for_batches), nets(n, for_nets, 0.5)

    def train(members, log_lr):
        rates = np.exp(log_lr)
        runs = train_ensemble(members, loss, batches, len(rates), lr=np.tile(rates, (n, 1)), save_every=UNIT)
        gained = np.diff(runs.sq_norm.values[:, :2] ** 2).ravel() / (2 * np.sum(rates[:UNIT] ** 2))
        return runs.effective_lr.values, gained

    def log_lr(steps):
        return np.log(exp_lr.exponential_lr_without_momentum(step=steps, lr=LR, weight_decay=DECAY))

    train(warm, log_lr(np.arange(start)))
    steps, found = np.arange(start, start + AFTER * UNIT + 1), {}
    for change, (gamma0, part) in {"no change": (1.0, 1.0), **CHANGES}.items():
        growth = -2 * np.log1p(-RATE * part) * (steps - start)
        found[change] = train(copy.deepcopy(warm), log_lr(start) - np.log(gamma0) / 2 + growth)
    return found


def measure(trial):
    """Logs of the ratios to the run without a change, paired by member."""
    runs = _runs(trial)
    lr, gained = runs["no change"]
    found = {change: mean_estimate(np.log(runs[change][0] / lr)[:, POINTS]) for change in CHANGES}
    return found | {"noise trace over that without a change": from_points(
        mean_estimate(runs[change][1] / gained.mean()) for change in CHANGES)}


def figure(trial, ax):
    """The effective learning rate after each change, with the curves of the formula."""
    runs, dense = _runs(trial), np.linspace(0, AFTER, 200)
    for i, change in enumerate(CHANGES):
        ratio = np.exp(np.log(runs[change][0] / runs["no change"][0]).mean(0))[:AFTER + 1]
        ax.plot(np.arange(AFTER + 1), ratio, "o", color=f"C{i}", mfc="none", label=change)
        ax.plot(dense, np.exp(log_ratio(change, points=dense)), color=f"C{i}", lw=1.2)
    ax.axhline(DROP**-0.5, color="0.6", lw=0.8, ls=":", label=r"$C^{-1/2}$: where growth has changed")
    ax.set(xlabel=r"time after the change, $4\lambda_eu$", ylabel=r"$\eta_e/\eta_e^*$", ylim=(0, 1.1),
           title=r"$\tilde\eta$ divided by 4 is forgotten, slower growth is not")
    ax.legend(loc="lower right")


claim = Claim(
    "NET-EXP-11", "On a real net, one drop is forgotten and a changed growth rate is not", paper="exp_lr",
    where="the remarks on the growth rate: a single drop of an exponential learning rate has no lasting effect",
    statement=rf"{NET}, digits, SGD with batch {BATCH} without decay at $\tilde\eta_t=\eta(1-\lambda_e)^{{-2t-1}}$: $\tilde\eta$ "
              r"divided once by $C=4$ changes $\eta_e=\tilde\eta/\|\tilde w\|^2$ by $[1+(C^2-1)e^{-4\lambda_eu}]^{-1/2}$, "
              r"which is gone after $8/(4\lambda_e)$ steps; the growth rate of $\eta/C$ changes it by $[C-(C-1)e^{-4\lambda_e"
              r"u/C}]^{-1/2}$, which stays; both are step decay.",
    setup=rf"SGD at $\eta={LR}$, $\lambda_e={RATE:g}$ for {WARM * UNIT} steps, then the same nets {AFTER * UNIT} steps more with "
          "and without each change, on the same minibatches",
    proof=[exp_lr.effective_lr_after_single_drop, exp_lr.effective_lr_after_division, ilr.gamma],
    quantities=QUANTITIES, measure=measure, figure=figure,
    control="a drop is step decay, and lowers the growth rate; slower growth is forgotten; step decay is forgotten as a drop is")
