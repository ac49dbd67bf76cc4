r"""NET-ILR-14: small real nets with different pasts and one present come to one law, in function space too.

.. math:: (\eta_t, \lambda_t) = (\eta, \lambda) \text{ for } t \ge T \quad\Rightarrow\quad
          \mathcal L\bigl(\|w_t\|^2,\ L_{\rm test}(w_t),\ f(x; w_t)\bigr) \text{ forgets the schedule before } T

A measurement on four ensembles of MLPs 8–8–4 with layer normalisation (teacher–student classes, batch 8), trained at once. Before T
their intrinsic learning rates are λ_e/8, λ_e/2, 2λ_e and 8λ_e. Two-sample tests of the norm, the test loss and the margin of a test
sample: no difference 6/λ_e steps after T, and a clear one at T. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from paper_checks.real_nets.ensembles import once
from paper_checks.real_nets.machine import device, on_device
from sdetheory.claims import Claim, Control, Run
from sdetheory.stats import ks_distance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

requires = ("torch",)

LR, DECAY = 0.4, 0.05
RATE = LR * DECAY
BANDS = (1 / 8, 1 / 2, 2, 8)  # of RATE, before T
CHANGE, WAIT, SAVE = 200, round(6 / RATE), 50  # exp(-24) of γ's start is left; functions are given six times 1/λ_e
# Two samples of n see a distance of 3.9 sqrt(2/n) at 1e-6 a test: 0.17 for 1000 nets, 0.35 in quick mode
NETS = on_device(1000, 8000)
RHO = 0.36
QUANTITIES = ("sq_norm", "test_loss", "margin")
OTHERS = tuple(range(1, len(BANDS)))
NAMES = [f"{quantity}: past 1 and {i + 1}" for quantity in QUANTITIES for i in OTHERS]
# what the pasts do to the laws at T; the margin of one sample is judged for the past furthest away only
TOLD_APART = ("sq_norm: past 1 and 2", "sq_norm: past 1 and 3", "sq_norm: past 1 and 4", "test_loss: past 1 and 4")


@once
def _runs(run: Run) -> Any:
    import torch

    from sdetheory.torch.data import teacher_student
    from sdetheory.torch.ensembles import Ensemble, train_ensemble
    from sdetheory.torch.nets import mlp

    n, (for_nets, for_batches, for_rates) = run.paths(NETS), run.rng.spawn(3)
    data = teacher_student(256, 256, n_inputs=8, n_outputs=4, rng=2010).to(device())
    found = Ensemble(lambda seed: mlp(8, 4, width=8, depth=1, norm="layer", device=device(), rng=seed), len(BANDS) * n, rng=for_nets)
    past = LR * 2.0 ** np.random.default_rng(for_rates).uniform(-1, 1, len(BANDS))
    lr, decay = (np.repeat(values, n)[:, None] for values in (past, np.array(BANDS) * RATE / past))
    lr, decay = (np.concatenate([np.broadcast_to(before, (len(before), CHANGE)), np.full((len(before), WAIT), now)], axis=1)
                 for before, now in ((lr, LR), (decay, DECAY)))

    def test_loss(nets: Any) -> Any:
        logits = torch.log_softmax(nets.outputs(data.test_inputs), -1)
        return -logits.gather(2, data.test_targets.expand(len(logits), -1)[..., None]).mean((1, 2))

    def margin(nets: Any) -> Any:
        outputs = nets.outputs(data.test_inputs[:1])[:, 0]
        right = outputs[:, data.test_targets[0]]
        outputs = outputs.clone()
        outputs[:, data.test_targets[0]] = -torch.inf
        return right - outputs.max(1).values

    runs = train_ensemble(found, torch.nn.functional.cross_entropy, data.minibatches(8, rng=for_batches), CHANGE + WAIT, lr=lr,
                          weight_decay=decay, save_every=SAVE, observe={"test_loss": test_loss, "margin": margin})
    return runs.assign_coords(past=("path", np.repeat(np.arange(len(BANDS)), n)))


def _distances(runs: Any, step: int) -> dict[str, Any]:
    """Kolmogorov–Smirnov distances of the first past from the others, at a step."""
    found: dict[str, Any] = {}
    for quantity in QUANTITIES:
        samples = [runs[quantity].sel(step=step).values[runs.past.values == i] for i in range(len(BANDS))]
        found |= {f"{quantity}: past 1 and {i + 1}": ks_distance(samples[0], samples[i]) for i in OTHERS}
    return found


def simulation(run: Run) -> dict[str, Any]:
    """The distances long after the schedules agree."""
    return _distances(_runs(run), CHANGE + WAIT)


def too_early(run: Run) -> dict[str, Any]:
    """The control: the same nets at step T."""
    return {name: value for name, value in _distances(_runs(run), CHANGE).items() if name in TOLD_APART}


def figure(run: Run) -> Figure:
    """Effective learning rate and test loss of the four pasts; distances against time."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.6, 3.6), layout="constrained")
    axes, runs = fig.subplots(1, 3), _runs(run)
    for i, band in enumerate(BANDS):
        one = runs.where(runs.past == i, drop=True)
        for ax, name in zip(axes, ("effective_lr", "test_loss"), strict=False):
            ax.fill_between(one.step - CHANGE, *one[name].quantile([0.1, 0.9], "path").values, color=f"C{i}", alpha=0.15, lw=0)
            ax.plot(one.step - CHANGE, one[name].median("path"), color=f"C{i}", label=rf"${band:g}\,\lambda_e$ before")
    for quantity, colour in zip(QUANTITIES, ("k", "tab:purple", "tab:brown"), strict=True):
        largest = [max(d.statistic for name, d in _distances(runs, int(step)).items() if name.startswith(quantity))
                   for step in runs.step]
        axes[2].plot(runs.step - CHANGE, largest, ".-", color=colour, label=quantity.replace("_", " "))
    for ax, title in zip(axes, (r"$\eta/\|w\|^2$", "test loss", "largest distance of laws"), strict=True):
        ax.axvline(0, color="0.5", lw=0.8, ls=":")
        ax.set_xlabel("step since the pasts ended")
        ax.set_title(title, fontsize=10)
    axes[0].set_yscale("log")
    axes[0].legend(frameon=False, fontsize=7)
    axes[2].legend(frameon=False, fontsize=7)
    return fig


claim = Claim(
    "NET-ILR-14",
    title="Small real nets forget their past, in function space too",
    paper="intrinsic_lr",
    statement=r"MLPs 8–8–4 with layer normalisation, teacher–student classes, SGD with batch 8: whatever $(\eta,\lambda)$ before step "
              r"$T$, with $\eta\lambda$ from $\lambda_e/8$ to $8\lambda_e$, the laws over initialisations of $\|w\|^2$, test loss and "
              r"margin of a test sample agree $6/\lambda_e$ steps after (distances above 0.36 would be seen), and not at $T$.",
    empirical=True,
    prediction=dict.fromkeys(NAMES, 0.0),
    simulation=simulation,
    resolution=dict.fromkeys(NAMES, RHO),
    negative_control=Control(r"at step $T$ itself norms, and test losses of the pasts furthest apart, agree", simulation=too_early),
    figure=figure,
)
