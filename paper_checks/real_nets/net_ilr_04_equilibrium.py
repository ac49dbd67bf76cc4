r"""NET-ILR-4: the equilibrium norm of a real net, and that its effective learning rate depends on ηλ alone.

.. math:: \eta\,\mathbb E\|g\|^2 = (2-\eta\lambda)\,\lambda\,\mathbb E\|w\|^2 \text{ at equilibrium}, \qquad
          \eta/\|w\|^2 \text{ a function of } \lambda_e = \eta\lambda

after ln(|γ_0/γ_∞ − 1|/ε)/(4λ_e) steps. Three ensembles: (η, λ), (8η, λ/8) from other norms, and (4η, λ). ‖g‖² is measured on
minibatches that the runs have not seen. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from paper_checks.real_nets.ensembles import BATCH, NET, Gradients, dataset, nets, once, per_member
from sdetheory.claims import Claim, Control, Run
from sdetheory.stats import difference, mean_estimate
from sdetheory.symbolic import Derivation
from sdetheory.theory import intrinsic_lr as ilr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

requires = ("torch",)

# (lr, weight decay, factor of the initial norm): two pairs of one λ_e, and one of four times it
SETTINGS = ((0.1, 0.05, 0.5), (0.8, 0.05 / 8, 1.5), (0.4, 0.05, 1.0))
LABELS = (r"$(\eta,\lambda)$", r"$(8\eta,\lambda/8)$", r"$(4\eta,\lambda)$")
RATE = 0.005
# γ starts within a factor 40 of its equilibrium: 40 e^{−4λ_e·WAIT} = 0.5 % is left of it, half of that of η_e
WAIT, WINDOW, EVERY = 450, 400, 5
LEFT = 40 * np.exp(-4 * RATE * WAIT) / 2
# averaged over the window, members spread by 6 %: 64 members tell means within 4 %, 32 in quick mode (where fewer would leave
# Student's t too wide) within 8 %, and a difference within 6 and 11 %
MEMBERS = {"quick": 32, "default": 64, "thorough": 1024}
RHO = 0.16
NAMES = ("balance at (lr, decay)", "balance at (8 lr, decay/8)", "balance at (4 lr, decay)", "effective lr of one product")


@once
def _runs(run: Run) -> Any:
    """All three ensembles as one: members 0 … n−1 have the first setting."""
    import torch

    from sdetheory.torch.ensembles import train_ensemble

    for_nets, for_batches, for_gradients = run.rng.spawn(3)
    n, data, loss = MEMBERS[run.mode], dataset(), torch.nn.functional.cross_entropy
    lr, decay, scales = np.array(SETTINGS).T
    found = nets(3 * n, for_nets, np.repeat(scales, n))
    runs = train_ensemble(found, loss, data.minibatches(BATCH, rng=for_batches), WAIT + WINDOW, save_every=EVERY,
                          lr=per_member(lr, n, WAIT + WINDOW), weight_decay=per_member(decay, n, WAIT + WINDOW),
                          observe={"sq_gradient": Gradients(data, loss, for_gradients)})
    return runs.assign_coords(setting=("path", np.repeat(np.arange(3), n)))


def _log_effective_lr(runs: Any, setting: int) -> np.ndarray:
    """One number a member: log of its mean effective learning rate in the window."""
    late = runs.where(runs.setting == setting, drop=True).sel(step=slice(WAIT, None))
    return np.log(late.effective_lr.mean("step").values)


def simulation(run: Run) -> dict[str, Any]:
    """Balance of each ensemble, and the effective learning rates of the two with one λ_e."""
    runs, found = _runs(run), {}
    for i, (name, (lr, decay, _)) in enumerate(zip(NAMES, SETTINGS, strict=False)):
        late = runs.where(runs.setting == i, drop=True).sel(step=slice(WAIT, None)).mean("step")
        per_net = (2 - lr * decay) * decay * late.sq_norm / (lr * late.sq_gradient)
        found[name] = mean_estimate(np.log(per_net.values))
    gap = difference(_log_effective_lr(runs, 1), _log_effective_lr(runs, 0))
    return found | {NAMES[3]: type(gap)(gap.value, gap.stderr, gap.bias_bound + LEFT, n=gap.n)}


def one_decay(run: Run) -> dict[str, Any]:
    """The control: settings of one λ, not of one ηλ."""
    runs = _runs(run)
    return {NAMES[3]: difference(_log_effective_lr(runs, 2), _log_effective_lr(runs, 0))}


def derivation() -> Derivation:
    """The balance from the exact law of the norm, and the equilibrium of the effective learning rate."""
    whole = Derivation("Equilibrium of a scale-invariant net")
    for formula in (ilr.discrete_sq_norm_fixed_point, ilr.equilibrium_effective_lr):
        whole.including(formula.derivation)
    return whole


def figure(run: Run) -> Figure:
    """Effective learning rates and squared norms of the three ensembles."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.4, 3.8), layout="constrained")
    left, right = fig.subplots(1, 2)
    runs = _runs(run)
    for i, (label, (lr, decay, _)) in enumerate(zip(LABELS, SETTINGS, strict=True)):
        one = runs.where(runs.setting == i, drop=True)
        for ax, name in ((left, "effective_lr"), (right, "sq_norm")):
            ax.fill_between(one.step, *one[name].quantile([0.1, 0.9], "path").values, color=f"C{i}", alpha=0.2, lw=0)
            ax.semilogy(one.step, one[name].mean("path"), color=f"C{i}", lw=1.5, label=label)
        late = one.sel(step=slice(WAIT, None)).mean()
        at_unit = float((late.sq_gradient * late.sq_norm).values)
        predicted = float(ilr.discrete_sq_norm_fixed_point(lr=lr, weight_decay=decay, sq_gradient=at_unit))
        right.axhline(predicted, color=f"C{i}", ls="--", lw=1)
        left.axhline(lr / predicted, color=f"C{i}", ls="--", lw=1)
    right.plot([], [], color="0.4", ls="--", label=r"from $\mathbb{E}\|g\|^2$ on fresh batches")
    left.set(xlabel=r"step $t$", ylabel=r"effective learning rate $\eta/\|w_t\|^2$")
    right.set(xlabel=r"step $t$", ylabel=r"$\|w_t\|^2$")
    left.set_title(r"One $\eta\lambda$, one effective learning rate", fontsize=10.5)
    right.set_title("Norms settle: noise balances decay", fontsize=10.5)
    left.legend(frameon=False, fontsize=8)
    right.legend(frameon=False, fontsize=8)
    return fig


claim = Claim(
    "NET-ILR-4",
    title="The equilibrium norm and effective learning rate of a real net",
    paper="intrinsic_lr",
    statement=rf"{NET}, digits, SGD with batch {BATCH}, last layer fixed: at equilibrium $\eta\,\mathbb{{E}}\|g\|^2=(2-\eta\lambda)"
              r"\lambda\,\mathbb{E}\|w\|^2$ with $g$ on minibatches not trained on (in logarithms, within 16 %), and "
              r"$(\eta,\lambda)$, $(8\eta,\lambda/8)$ have the same $\eta/\|w\|^2$ whatever norms they start from.",
    derivation=derivation,
    prediction=dict.fromkeys(NAMES, 0.0),
    simulation=simulation,
    resolution=dict.fromkeys(NAMES, RHO),
    negative_control=Control(r"the effective learning rate at equilibrium depends on the weight decay alone",
                             simulation=one_decay),
    figure=figure,
)
