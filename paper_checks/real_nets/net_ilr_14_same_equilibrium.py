r"""NET-ILR-14: small real nets with different pasts and one present come to one law, in function space too.

.. math:: (\eta_t, \lambda_t) = (\eta, \lambda) \text{ for } t \ge T \quad\Rightarrow\quad
          \mathcal L\bigl(\|w_t\|^2,\ L_{\rm test}(w_t),\ f(x; w_t)\bigr) \text{ forgets the schedule before } T

A measurement on four ensembles of MLPs 8–8–4 with layer normalisation (teacher–student classes, batch 8), trained at once. Before T
their intrinsic learning rates are λ_e/8, λ_e/2, 2λ_e and 8λ_e. Two-sample tests of the norm, the test loss and the margin of a test
sample: no difference 6/λ_e steps after T, and a clear one at T. Clock: steps.
"""

import numpy as np

from paper_checks.real_nets.ensembles import once
from paper_checks.real_nets.machine import device, on_device
from sdetheory import Claim, Quantity
from sdetheory.stats import ks_distance

requires = ("torch",)

LR, DECAY = 0.4, 0.05
RATE = LR * DECAY
BANDS = (1 / 8, 1 / 2, 2, 8)  # of RATE, before T
CHANGE, WAIT, SAVE = 200, round(6 / RATE), 50  # exp(-24) of γ's start is left; functions are given six times 1/λ_e
# Two samples of n see a distance of 3.9 sqrt(2/n) at 1e-6 a test: 0.17 for 1000 nets, 0.35 in quick mode
NETS = on_device(1000, 8000)
RHO = 0.36
OBSERVED = ("sq_norm", "test_loss", "margin")
NAMES = [f"{quantity}: past 1 and {i + 1}" for quantity in OBSERVED for i in range(1, len(BANDS))]
# what the pasts do to the laws at T; the margin of one sample is judged for the past furthest away only
TOLD_APART = ("sq_norm: past 1 and 2", "sq_norm: past 1 and 3", "sq_norm: past 1 and 4", "test_loss: past 1 and 4")

QUANTITIES = {name: Quantity(0.0, RHO, broken=True) if name in TOLD_APART else
              Quantity(0.0, RHO, no_control="these two laws need not differ at T") for name in NAMES}


@once
def _runs(trial):
    import torch

    from sdetheory.torch.data import teacher_student
    from sdetheory.torch.ensembles import Ensemble, train_ensemble
    from sdetheory.torch.nets import mlp

    n, (for_nets, for_batches, for_rates) = trial.paths(NETS), trial.rng.spawn(3)
    data = teacher_student(256, 256, n_inputs=8, n_outputs=4, rng=2010).to(device())
    found = Ensemble(lambda seed: mlp(8, 4, width=8, depth=1, norm="layer", device=device(), rng=seed), len(BANDS) * n,
                     rng=for_nets)
    past = LR * 2.0 ** np.random.default_rng(for_rates).uniform(-1, 1, len(BANDS))
    lr, decay = (np.repeat(values, n)[:, None] for values in (past, np.array(BANDS) * RATE / past))
    lr, decay = (np.concatenate([np.broadcast_to(before, (len(before), CHANGE)), np.full((len(before), WAIT), now)], axis=1)
                 for before, now in ((lr, LR), (decay, DECAY)))

    def test_loss(nets):
        logits = torch.log_softmax(nets.outputs(data.test_inputs), -1)
        return -logits.gather(2, data.test_targets.expand(len(logits), -1)[..., None]).mean((1, 2))

    def margin(nets):
        outputs = nets.outputs(data.test_inputs[:1])[:, 0]
        right = outputs[:, data.test_targets[0]]
        outputs = outputs.clone()
        outputs[:, data.test_targets[0]] = -torch.inf
        return right - outputs.max(1).values

    runs = train_ensemble(found, torch.nn.functional.cross_entropy, data.minibatches(8, rng=for_batches), CHANGE + WAIT,
                          lr=lr, weight_decay=decay, save_every=SAVE, observe={"test_loss": test_loss, "margin": margin})
    return runs.assign_coords(past=("path", np.repeat(np.arange(len(BANDS)), n)))


def _distances(runs, step):
    """Kolmogorov–Smirnov distances of the first past from the others, at a step."""
    samples = {name: [runs[name].sel(step=step).values[runs.past.values == i] for i in range(len(BANDS))]
               for name in OBSERVED}
    return {f"{name}: past 1 and {i + 1}": ks_distance(laws[0], laws[i]) for name, laws in samples.items()
            for i in range(1, len(BANDS))}


def measure(trial):
    """The distances long after the schedules agree."""
    return _distances(_runs(trial), CHANGE + WAIT)


def broken(trial):
    """The same nets at step T."""
    return {name: value for name, value in _distances(_runs(trial), CHANGE).items() if name in TOLD_APART}


def figure(trial, left, middle, right):
    """Effective learning rate and test loss of the four pasts; distances against time."""
    runs = _runs(trial)
    for i, band in enumerate(BANDS):
        one = runs.where(runs.past == i, drop=True)
        for ax, name in ((left, "effective_lr"), (middle, "test_loss")):
            ax.fill_between(one.step - CHANGE, *one[name].quantile([0.1, 0.9], "path").values, color=f"C{i}", alpha=0.15, lw=0)
            ax.plot(one.step - CHANGE, one[name].median("path"), color=f"C{i}", label=rf"${band:g}\,\lambda_e$ before")
    for quantity, colour in zip(OBSERVED, ("k", "C4", "C5"), strict=True):
        largest = [max(d.statistic for name, d in _distances(runs, int(step)).items() if name.startswith(quantity))
                   for step in runs.step]
        right.plot(runs.step - CHANGE, largest, ".-", color=colour, label=quantity.replace("_", " "))
    for ax, title in ((left, r"$\eta/\|w\|^2$"), (middle, "test loss"), (right, "largest distance of laws")):
        ax.axvline(0, color="0.5", lw=0.8, ls=":")
        ax.set(xlabel="step since the pasts ended", title=title)
    left.set_yscale("log")
    left.legend()
    right.legend()


claim = Claim(
    "NET-ILR-14", "Small real nets forget their past, in function space too", paper="intrinsic_lr",
    where="the section on the Fast Equilibrium conjecture",
    statement=r"MLPs 8–8–4 with layer normalisation, teacher–student classes, SGD with batch 8: whatever $(\eta,\lambda)$ "
              r"before step $T$, with $\eta\lambda$ from $\lambda_e/8$ to $8\lambda_e$, the laws over initialisations of "
              r"$\|w\|^2$, test loss and margin of a test sample agree $6/\lambda_e$ steps after (distances above 0.36 would "
              r"be seen), and not at $T$.",
    setup=rf"SGD at $\eta={LR:g}$, $\lambda={DECAY:g}$ for {WAIT} steps, after {CHANGE} steps at another $\eta$ and $\lambda$",
    bias_source="SGD itself is simulated: there is no discretisation",
    empirical=True, quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"at step $T$ itself norms, and test losses of the pasts furthest apart, agree")
