r"""NET-ILR-7: what dropping the learning rate of a real net at equilibrium does to its effective learning rate.

.. math:: \eta_e \to \eta_e/\kappa \text{ at once, then back at the rate } 4\lambda_e/\kappa: \qquad
          \mathbb E r_{t+1}^2 = \rho^4\,\mathbb E r_t^2 + 2\rho^2\eta^2\,\mathbb E[r_t\|g_t\|^2] + \eta^4\,\mathbb E\|g_t\|^4,
          \quad r = \|w\|^2,\ \rho = 1-\eta\lambda

with η after the drop: the curve of ILR-3 for a trace of noise that is measured, on minibatches the run has not seen, since on a
real net it changes as the net learns. Compared are :math:`\gamma = r^2/\eta^2 = \eta_e^{-2}` at four times. Clock: steps.
"""

import numpy as np

from paper_checks.real_nets.ensembles import BATCH, NET, Gradients, dataset, nets, once
from sdetheory import Claim, Quantity
from sdetheory.stats import from_points, jackknife
from sdetheory.theory import intrinsic_lr as ilr

requires = ("torch",)

LR, DECAY, KAPPA = 0.1, 0.05, 4.0
WAIT = 400  # 8 relaxation times 1/(4λ_e) before the drop, from half the initial norm
TIMES = np.array([0.5, 1.0, 2.0, 3.0])  # after the drop, in units of κ/(4λ_e) = 200 steps
STEPS = np.round(TIMES * KAPPA / (4 * LR * DECAY)).astype(int)
# the two sides of one member differ by 3 %: 48 members tell means within 3 %, 12 in quick mode within 10 %
MEMBERS = 48

QUANTITIES = {"gamma": Quantity(np.ones(len(TIMES)), 0.1, broken=True,
                                points=[rf"$t={u:g}\,\kappa/(4\lambda_e)$" for u in TIMES])}


@once
def _runs(trial):
    """Before the drop; and r and ‖g‖² of every member at every step after it."""
    import torch

    from sdetheory.torch.ensembles import train_ensemble

    for_nets, for_batches, for_gradients = trial.rng.spawn(3)
    data, loss = dataset(), torch.nn.functional.cross_entropy
    found, batches = nets(trial.paths(MEMBERS), for_nets, 0.5), data.minibatches(BATCH, rng=for_batches)
    before = train_ensemble(found, loss, batches, WAIT, lr=LR, weight_decay=DECAY, save_every=5)
    after = train_ensemble(found, loss, batches, int(STEPS[-1]), lr=LR / KAPPA, weight_decay=DECAY,
                           observe={"sq_gradient": Gradients(data, loss, for_gradients)})
    return before, after


def _predicted(runs, rate_of_decay):
    """(members, steps + 1) of r² by the recursion, each member from its r and with its gradients on fresh minibatches."""
    r, s, lr = runs.sq_norm.values, runs.sq_gradient.values, LR / KAPPA
    rho, found = 1 - rate_of_decay, [r[:, 0] ** 2]
    for t in range(r.shape[1] - 1):
        found.append(rho**4 * found[-1] + 2 * rho**2 * lr**2 * r[:, t] * s[:, t] + lr**4 * s[:, t] ** 2)
    return np.stack(found, axis=1)


def _ratios(trial, rate_of_decay):
    """Measured over predicted mean of γ at the four times."""
    _, runs = _runs(trial)
    measured, predicted = runs.sq_norm.values[:, STEPS] ** 2, _predicted(runs, rate_of_decay)[:, STEPS]
    return {"gamma": from_points(jackknife(lambda m, p: m / p, *pair) for pair in zip(measured.T, predicted.T, strict=True))}


def measure(trial):
    """At the rate 4λ_e/κ."""
    return _ratios(trial, LR / KAPPA * DECAY)


def broken(trial):
    """Memory fades at the rate from before the drop."""
    return _ratios(trial, LR * DECAY)


def figure(trial, ax):
    """The effective learning rate before and after the drop, with the curves of ILR-3 and ILR-7."""
    before, runs = _runs(trial)
    lr = LR / KAPPA

    def mean(r2):
        return lr / np.sqrt(np.mean(r2, axis=0))

    ax.semilogy(before.step - WAIT, LR / np.sqrt((before.sq_norm**2).mean("path")), color="C0", lw=2.5, alpha=0.6)
    steps = np.arange(runs.sizes["step"])
    ax.semilogy(steps, mean(runs.sq_norm.values**2), color="C0", lw=2.5, alpha=0.6, label="measured")
    ax.semilogy(steps, mean(_predicted(runs, lr * DECAY)), color="k", lw=1, label="ILR-3, noise measured on fresh batches")
    start = float(LR / np.sqrt((before.sq_norm[:, -1] ** 2).mean()))
    constant = start * np.asarray(ilr.effective_lr_after_lr_drop(t=steps, intrinsic_lr=LR * DECAY, drop_factor=KAPPA))
    ax.semilogy(steps, constant, color="0.5", ls=":", label="ILR-7, were the noise to stay as it was")
    ax.semilogy(steps, mean(_predicted(runs, LR * DECAY)), color="C3", ls="--", lw=1.2,
                label=r"control: the old rate $4\lambda_e$")
    ax.set(xlim=(-150, steps[-1]), ylim=(start / KAPPA / 1.4, start * 1.8), xlabel="step after the drop",
           ylabel=r"effective learning rate $\mathbb{E}[\gamma_t]^{-1/2}$",
           title=r"$\eta$ divided by 4: the effective learning rate falls, and comes back slowly")
    ax.legend()


claim = Claim(
    "NET-ILR-7", "What a learning-rate drop does to a real net", paper="intrinsic_lr",
    where="the section on what a drop of the learning rate does to the effective learning rate",
    statement=rf"{NET}, digits, SGD with batch {BATCH}: after $\eta$ is divided by $\kappa=4$ at equilibrium, the mean of "
              r"$\gamma=(\|w\|^2/\eta)^2$ follows the curve of ILR-3 at the rate $4\lambda_e/\kappa$, with the noise "
              r"measured on minibatches not trained on, at $t=0.5,1,2,3$ times $\kappa/(4\lambda_e)$.",
    setup=rf"SGD at $\eta={LR:g}$, $\lambda={DECAY:g}$ for {WAIT} steps, then at $\eta/4$ for {STEPS[-1]}",
    bias_source="SGD itself is simulated: there is no discretisation",
    proof=[ilr.discrete_sq_norm_step, ilr.effective_lr_after_lr_drop],
    quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"the effective learning rate comes back at the rate $4\lambda_e$ from before the drop")
