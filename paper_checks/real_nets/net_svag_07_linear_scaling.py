r"""NET-SVAG-7: the linear scaling rule on a real net, and how far the balance of norms lets it go.

.. math:: (2-\eta\lambda)\,\lambda R = \eta\,(G+N), \qquad
          \kappa \le C^2\rho + (C^2\rho-1)\,\frac NG, \qquad \rho = \frac{2-\kappa\eta\lambda}{2-\eta\lambda}

R, G, N are mean ‖w‖², ‖∇L‖² and Tr Σ at equilibrium, N and G at batch B and rate η; at κB and κη each of R, G, κN is within a
factor C of these. Measured for κ = 1, 4, 16, G and N without bias from two minibatches that the run has not seen. Clock: steps.
"""

import numpy as np

from paper_checks.real_nets.ensembles import Gradients, dataset, nets, once
from sdetheory import Between, Claim, Estimate, Quantity
from sdetheory.stats import jackknife
from sdetheory.theory import svag

requires = ("torch",)

BATCH, LR, DECAY = 8, 0.05, 0.05  # at kappa = 1
KAPPAS = (1, 4, 16)
WAIT, WINDOW, EVERY = 800, 400, 5  # at kappa = 1, in steps: WAIT is 8/(4λ_e); at κ both are shorter by κ, but 100 at least
# members differ by 10 to 15 % in what the balance compares, and by as much in G: 64 of them, 32 in quick mode, where
# fewer would leave the logarithm of a small G too wide
MEMBERS = {"quick": 32, "default": 64, "thorough": 1024}

QUANTITIES = {f"balance at {kappa}": Quantity(1.0, 0.3, broken=True) if kappa == KAPPAS[-1] else
              Quantity(1.0, 0.3, no_control="the signal, which the control leaves out, is too small here") for kappa in KAPPAS}
QUANTITIES |= {f"room at {kappa}": Quantity(Between(0.0), 2.0, no_control="it follows from the balances")
               for kappa in KAPPAS[1:]}


@once
def _runs(trial):
    """(4, members) for each κ: R, G, N, means over the window, and how much ‖w‖² grew a step in it."""
    import torch

    from sdetheory.torch.ensembles import train_ensemble

    data, loss, n, found = dataset(), torch.nn.functional.cross_entropy, MEMBERS[trial.mode], {}
    for kappa, seed in zip(KAPPAS, trial.rng.spawn(len(KAPPAS)), strict=True):
        for_nets, for_batches, for_gradients = seed.spawn(3)
        members, batches = nets(n, for_nets, 0.5), data.minibatches(kappa * BATCH, rng=for_batches)
        gradients = Gradients(data, loss, for_gradients, kappa * BATCH)
        rates = {"lr": kappa * LR, "weight_decay": DECAY}
        wait, window, every = max(100, WAIT // kappa), max(100, WINDOW // kappa), max(1, EVERY // kappa)
        train_ensemble(members, loss, batches, wait, **rates, save_every=wait)
        moments = []

        def signal(ensemble, gradients=gradients, moments=moments):
            first, second = (gradients.of(ensemble, draw, draws=2) for draw in (0, 1))
            parts = [(a.double().flatten(1), second[name].double().flatten(1)) for name, a in first.items()]
            inner = sum((a * b).sum(1) for a, b in parts)
            moments.append((sum((a.square() + b.square()).sum(1) for a, b in parts) / 2 - inner).cpu().numpy())
            return inner

        runs = train_ensemble(members, loss, batches, window, **rates, save_every=every, observe={"signal": signal})
        drift = (runs.sq_norm[:, -1] - runs.sq_norm[:, 0]) / float(runs.step[-1] - runs.step[0])
        found[kappa] = np.array([runs.sq_norm.mean("step"), runs.signal.mean("step"), np.mean(moments, axis=0), drift])
    return found


def _room(*means, kappa):
    """ln of (C²ρ + (C²ρ − 1) N/G)/κ, with C the least factor within which R, G, κN are: at least 0 if the rule is right."""
    bound = svag.batch_factor_bound(batch_factor=kappa, similarity=_similarity(*means, kappa=kappa), lr=LR, weight_decay=DECAY,
                                    sq_grad=means[1], noise_trace=means[2])
    return np.log(bound / kappa)


def _similarity(*means, kappa):
    """The least factor C within which R, G, κN are of those at κ = 1."""
    return np.exp(np.abs(np.log(np.array([means[3], means[4], kappa * means[5]]) / np.array(means[:3]))).max(0))


def measure(trial):
    """The balance at each κ, and the room that the rule leaves at each κ > 1."""
    runs = _runs(trial)
    found = {}
    for kappa, (r, g, noise, drift) in runs.items():
        lr = kappa * LR
        balance = jackknife(lambda r, g, noise, lr=lr: (2 - lr * DECAY) * DECAY * r / (lr * (g + noise)), r, g, noise)
        # E r' − E r = −ηλ(2−ηλ) E r + η² E‖g‖² exactly (EXP-2): what ‖w‖² still drifts by is what the balance lacks
        bias = abs(drift.mean()) / (lr**2 * (g + noise).mean())
        found[f"balance at {kappa}"] = Estimate(balance.value, balance.stderr, bias, n=balance.n)
        if kappa > 1:
            found[f"room at {kappa}"] = jackknife(lambda *m, kappa=kappa: _room(*m, kappa=kappa), *runs[1][:3], r, g, noise)
    return found


def broken(trial):
    """The balance of the SDE, 2λR = ηN."""
    return {f"balance at {kappa}": jackknife(lambda r, noise, lr=kappa * LR: 2 * DECAY * r / (lr * noise), r, noise)
            for kappa, (r, _, noise, _) in _runs(trial).items() if kappa == KAPPAS[-1]}


def figure(trial, left, right):
    """Left: R, G, κN over those at κ = 1. Right: the balance with the signal and without."""
    means = {kappa: values.mean(1) for kappa, values in _runs(trial).items()}
    for row, (name, colour) in enumerate((("R", "C0"), ("G", "C1"), (r"\kappa N", "C2"))):
        ratio = [means[k][row] * (k if row == 2 else 1) / means[1][row] for k in KAPPAS]
        left.loglog(KAPPAS, ratio, "o-", color=colour, label=rf"${name}$ over that at $\kappa=1$")
    left.axhspan(2**-0.5, 2**0.5, color="0.5", alpha=0.15, lw=0)
    limit = float(svag.largest_batch_factor(similarity=2**0.5, lr=LR, weight_decay=DECAY, sq_grad=means[1][1],
                                            noise_trace=means[1][2]))
    left.set_title(rf"grey: within $\sqrt{{2}}$, which no $\kappa>{limit:.0f}$ can be")
    for name, balance, colour in ((r"SGD: $(2-\eta\lambda)\lambda R/\eta(G+N)$",
                                   lambda r, g, n, lr: (2 - lr * DECAY) * DECAY * r / (lr * (g + n)), "C0"),
                                  (r"SDE: $2\lambda R/\eta N$", lambda r, g, n, lr: 2 * DECAY * r / (lr * n), "C3")):
        right.semilogx(KAPPAS, [balance(means[k][0], means[k][1], means[k][2], k * LR) for k in KAPPAS], "o-",
                       color=colour, label=name)
    right.axhline(1, color="0.4", lw=0.8)
    right.set_title("the norm balances signal and noise")
    for ax in (left, right):
        ax.set_xlabel(r"$\kappa$: batch $8\kappa$, rate $\kappa\eta$")
        ax.set_xticks(KAPPAS, [str(k) for k in KAPPAS])
        ax.minorticks_off()
        ax.legend()


claim = Claim(
    "NET-SVAG-7", "The linear scaling rule on a real net", paper="svag",
    where="the section on the necessary condition for the linear scaling rule",
    statement=r"MLP 64–16–10 with batch normalisation, digits, SGD at batch $8\kappa$ and rate $\kappa\eta$, "
              r"$\kappa=1,4,16$: at equilibrium $(2-\kappa\eta\lambda)\lambda R=\kappa\eta(G+N)$, and "
              r"$\kappa\leq C^2\rho+(C^2\rho-1)N/G$ for the factor $C$ within which $R$, $G$, $\kappa N$ are. (The bound is "
              r"necessary, not sharp: the runs part long before it.)",
    setup=rf"SGD at $\eta={LR:g}$, $\lambda={DECAY:g}$ and batch {BATCH} and at $\kappa$ times both, for {WAIT} and then "
          rf"{WINDOW} steps, fewer by $\kappa$",
    bias_source=r"SGD itself is simulated; the drift of $\|w\|^2$ in the window",
    proof=[svag.svag_equilibrium_sq_norm, svag.batch_factor_bound],
    quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"the balance of the SDE, $2\lambda R=\eta N$, holds at $\kappa=16$ too")
