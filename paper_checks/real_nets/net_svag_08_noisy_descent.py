r"""NET-SVAG-8: on a small net, gradient descent with normal noise of the covariance of minibatches trains like SGD.

.. math:: w \leftarrow (1-\eta\lambda)w - \eta\sum_i a_i\nabla\ell_i, \qquad a_i = \frac1n + \frac{z_i-\bar z}{\sqrt{Bn}},
          \quad z_i \text{ standard normal}

has the mean and the covariance of SGD on minibatches of B of n samples, and no other cumulant of it (SVAG-8: what is left is
of higher order in η). A measurement: log of the training loss, means over initialisations, at four times from the start to
equilibrium, within 0.1 (two one-sided tests). Control: the noise of minibatches of 2B. Clock: steps.
"""

import numpy as np

from paper_checks.real_nets.ensembles import Gradients, once
from paper_checks.real_nets.machine import device, on_device
from paper_checks.real_nets.two_one_sided import Equivalent
from sdetheory import Between, Claim, Quantity
from sdetheory.stats import mean_estimate

requires = ("torch",)

LR, DECAY, BATCH = 0.2, 0.05, 8
EVERY, TIMES = 25, (25, 50, 100, 200)  # 200 steps are 2/λ_e
WITHIN = 0.1
MEMBERS = {"quick": on_device(96, 512), "default": on_device(128, 1024), "thorough": on_device(1024, 8192)}

QUANTITIES = {"log loss less that of SGD": Quantity(Between(-WITHIN, WITHIN), WITHIN, broken=True,
                                                    points=[f"after {t} steps" for t in TIMES])}


@once
def _runs(trial):
    """Kind -> log of the training loss (times, members)."""
    import torch
    from torch.func import grad, vmap

    from sdetheory.random import normals, stream_key
    from sdetheory.torch.data import teacher_student
    from sdetheory.torch.ensembles import Ensemble
    from sdetheory.torch.nets import mlp

    data, members = teacher_student(256, 16, n_inputs=8, n_outputs=4, rng=2102).to(device()), MEMBERS[trial.mode]
    entropy = torch.nn.functional.cross_entropy
    for_nets, for_batches, *seeds = trial.rng.spawn(4)
    size = len(data.train_targets)

    def weighted(params, fixed, weights, nets):
        return weights @ entropy(nets._call(params, fixed, data.train_inputs), data.train_targets, reduction="none")

    def noisy(batch, seed):
        key = stream_key(seed, "gradient noise")

        def gradients(nets):
            z = np.stack([normals(key, p, nets.step * size + np.arange(size)) for p in range(members)])
            a = 1 / size + (z - z.mean(1, keepdims=True)) / (batch * size) ** 0.5
            return vmap(grad(lambda *each: weighted(*each, nets)))(
                nets.params, nets.fixed, torch.as_tensor(a, dtype=torch.float32, device=device()))
        return gradients

    found = {}
    for kind, gradients in (("SGD", Gradients(data, entropy, for_batches, BATCH).of),
                            ("noisy descent", noisy(BATCH, seeds[0])), ("noise of batch 2B", noisy(2 * BATCH, seeds[1]))):
        nets = Ensemble(lambda seed: mlp(8, 4, width=16, depth=1, norm="layer", device=device(), rng=seed), members,
                        rng=np.random.SeedSequence(for_nets.entropy, spawn_key=for_nets.spawn_key))
        rows = []
        for step in range(1, TIMES[-1] + 1):
            moves = gradients(nets)
            nets.params = {name: (1 - LR * DECAY) * p - LR * moves[name] for name, p in nets.params.items()}
            nets.step += 1
            if step % EVERY == 0:
                logits = torch.log_softmax(nets.outputs(data.train_inputs), -1)
                losses = -logits[:, torch.arange(size, device=device()), data.train_targets].mean(1)
                rows.append(losses.double().log().cpu().numpy())
        found[kind] = np.array(rows)
    return found


def _less_sgd(trial, kind):
    runs = _runs(trial)
    apart = (runs[kind] - runs["SGD"])[[t // EVERY - 1 for t in TIMES]]
    return {"log loss less that of SGD": Equivalent(mean_estimate(apart.T))}


def measure(trial):
    return _less_sgd(trial, "noisy descent")


def broken(trial):
    """Half the covariance."""
    return _less_sgd(trial, "noise of batch 2B")


def figure(trial, ax):
    """Mean training loss of the three."""
    for i, (kind, logs) in enumerate(_runs(trial).items()):
        ax.semilogy(EVERY * np.arange(1, len(logs) + 1), np.exp(logs.mean(1)), "os^"[i] + "-", ms=4, color=f"C{i}",
                    label=kind)
    ax.set(xlabel=r"step $t$", ylabel="training loss, geometric mean", title="The shape of the noise makes no difference")
    ax.legend()


claim = Claim(
    "NET-SVAG-8", "Gradient descent with normal noise trains a small net like SGD", paper="svag",
    where="the experiments that hold noisy gradient descent against SGD",
    statement=rf"MLPs 8–16–4 with layer normalisation, 256 teacher–student samples, $\eta={LR:g}$, $\lambda={DECAY:g}$: "
              rf"descent with normal noise of the covariance of minibatches of {BATCH} and SGD on such minibatches have "
              rf"the same log of the training loss after 25, 50, 100 and 200 steps, a mean over initialisations, within "
              rf"{WITHIN:g}.",
    setup="both from the same initialisations, on an ensemble of nets; the noise is drawn exactly, as weights of samples",
    bias_source="the two rules themselves are simulated: there is no discretisation",
    empirical=True, quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control="normal noise of minibatches twice as large trains like SGD too")
