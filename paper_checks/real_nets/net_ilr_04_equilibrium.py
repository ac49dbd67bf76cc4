r"""NET-ILR-4: the equilibrium norm of a real net, and that its effective learning rate depends on ηλ alone.

.. math:: \eta\,\mathbb E\|g\|^2 = (2-\eta\lambda)\,\lambda\,\mathbb E\|w\|^2 \text{ at equilibrium}, \qquad
          \eta/\|w\|^2 \text{ a function of } \lambda_e = \eta\lambda

after ln(|γ_0/γ_∞ − 1|/ε)/(4λ_e) steps. Three ensembles: (η, λ), (8η, λ/8) from other norms, and (4η, λ). ‖g‖² is measured on
minibatches that the runs have not seen. Clock: steps.
"""

import numpy as np

from paper_checks.real_nets.ensembles import BATCH, NET, Gradients, dataset, nets, once, per_member
from sdetheory import Claim, Quantity
from sdetheory.stats import difference, mean_estimate
from sdetheory.theory import intrinsic_lr as ilr

requires = ("torch",)

# (lr, weight decay, factor of the initial norm): two pairs of one λ_e, and one of four times it
SETTINGS = ((0.1, 0.05, 0.5), (0.8, 0.05 / 8, 1.5), (0.4, 0.05, 1.0))
LABELS = (r"$(\eta,\lambda)$", r"$(8\eta,\lambda/8)$", r"$(4\eta,\lambda)$")
BALANCES = ("balance at (lr, decay)", "balance at (8 lr, decay/8)", "balance at (4 lr, decay)")
RATE = 0.005
# γ starts within a factor 40 of its equilibrium: 40 e^{−4λ_e·WAIT} = 0.5 % is left of it, half of that of η_e
WAIT, WINDOW, EVERY = 450, 400, 5
LEFT = 40 * np.exp(-4 * RATE * WAIT) / 2
# averaged over the window, members spread by 6 %: 64 members tell means within 4 %, 32 in quick mode (where fewer would
# leave Student's t too wide) within 8 %, and a difference within 6 and 11 %
MEMBERS = {"quick": 32, "default": 64, "thorough": 1024}
RHO = 0.16

QUANTITIES = {name: Quantity(0.0, RHO, broken=True) for name in BALANCES} | {
    "effective lr of one product": Quantity(0.0, RHO, broken=True, bias=LEFT,
                                            bias_source=r"the start's share of $\gamma$ that the wait leaves")}


@once
def _runs(trial):
    """All three ensembles as one: members 0 … n−1 have the first setting."""
    import torch

    from sdetheory.torch.ensembles import train_ensemble

    for_nets, for_batches, for_gradients = trial.rng.spawn(3)
    n, data, loss = MEMBERS[trial.mode], dataset(), torch.nn.functional.cross_entropy
    lr, decay, scales = np.array(SETTINGS).T
    found = nets(3 * n, for_nets, np.repeat(scales, n))
    runs = train_ensemble(found, loss, data.minibatches(BATCH, rng=for_batches), WAIT + WINDOW, save_every=EVERY,
                          lr=per_member(lr, n, WAIT + WINDOW), weight_decay=per_member(decay, n, WAIT + WINDOW),
                          observe={"sq_gradient": Gradients(data, loss, for_gradients)})
    return runs.assign_coords(setting=("path", np.repeat(np.arange(3), n)))


def _ensembles(trial):
    runs = _runs(trial)
    return [runs.where(runs.setting == i, drop=True) for i in range(len(SETTINGS))]


def _log_balance(runs, lr, decay_in_full):
    late = runs.sel(step=slice(WAIT, None)).mean("step")
    return mean_estimate(np.log((decay_in_full * late.sq_norm / (lr * late.sq_gradient)).values))


def _apart(one, other):
    """Difference of the logarithms of the mean effective learning rates in the window, one number a member."""
    return difference(*(np.log(runs.sel(step=slice(WAIT, None)).effective_lr.mean("step").values) for runs in (one, other)))


def measure(trial):
    """Balance of each ensemble, and the effective learning rates of the two with one λ_e."""
    found = _ensembles(trial)
    return {name: _log_balance(runs, lr, (2 - lr * decay) * decay)
            for name, runs, (lr, decay, _) in zip(BALANCES, found, SETTINGS, strict=True)} | {
        "effective lr of one product": _apart(found[1], found[0])}


def broken(trial):
    """The balance with the part of decay λ for 2λ, and the pair of one decay in place of one product."""
    found = _ensembles(trial)
    return {name: _log_balance(runs, lr, decay)
            for name, runs, (lr, decay, _) in zip(BALANCES, found, SETTINGS, strict=True)} | {
        "effective lr of one product": _apart(found[2], found[0])}


def figure(trial, left, right):
    """Effective learning rates and squared norms of the three ensembles."""
    for i, (label, one, (lr, decay, _)) in enumerate(zip(LABELS, _ensembles(trial), SETTINGS, strict=True)):
        for ax, name in ((left, "effective_lr"), (right, "sq_norm")):
            ax.fill_between(one.step, *one[name].quantile([0.1, 0.9], "path").values, color=f"C{i}", alpha=0.2, lw=0)
            ax.semilogy(one.step, one[name].mean("path"), color=f"C{i}", lw=1.5, label=label)
        late = one.sel(step=slice(WAIT, None)).mean()
        at_unit = float((late.sq_gradient * late.sq_norm).values)
        predicted = float(ilr.discrete_sq_norm_fixed_point(lr=lr, weight_decay=decay, sq_gradient=at_unit))
        right.axhline(predicted, color=f"C{i}", ls="--", lw=1)
        left.axhline(lr / predicted, color=f"C{i}", ls="--", lw=1)
    right.plot([], [], color="0.4", ls="--", label=r"from $\mathbb{E}\|g\|^2$ on fresh batches")
    left.set(xlabel=r"step $t$", ylabel=r"effective learning rate $\eta/\|w_t\|^2$",
             title=r"One $\eta\lambda$, one effective learning rate")
    right.set(xlabel=r"step $t$", ylabel=r"$\|w_t\|^2$", title="Norms settle: noise balances decay")
    left.legend()
    right.legend()


claim = Claim(
    "NET-ILR-4", "The equilibrium norm and effective learning rate of a real net", paper="intrinsic_lr",
    where="the section on the equilibrium of the effective learning rate, and its experiments on real nets",
    statement=rf"{NET}, digits, SGD with batch {BATCH}, last layer fixed: at equilibrium $\eta\,\mathbb{{E}}\|g\|^2="
              r"(2-\eta\lambda)\lambda\,\mathbb{E}\|w\|^2$ with $g$ on minibatches not trained on (in logarithms, within "
              r"16 %), and $(\eta,\lambda)$, $(8\eta,\lambda/8)$ have the same $\eta/\|w\|^2$ whatever norms they start "
              r"from.",
    setup=rf"SGD on ensembles of nets at $(\eta,\lambda)=(0.1,0.05)$, $(0.8,0.00625)$ and $(0.4,0.05)$ from $0.5$, $1.5$ "
          rf"and $1$ times the usual norm; means over {WINDOW} steps after {WAIT}",
    bias_source="SGD itself is simulated: there is no discretisation",
    proof=[ilr.discrete_sq_norm_fixed_point, ilr.equilibrium_effective_lr],
    quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"decay takes $\lambda\|w\|^2$ a step, not $2\lambda\|w\|^2$, and the effective learning rate at equilibrium "
            r"depends on the weight decay alone")
