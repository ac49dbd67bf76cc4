r"""NET-ILR-19: on real nets the time to equilibrium goes as 1/λ_e, for the norm and in function space.

.. math:: t_\varepsilon = \frac{\ln(|\gamma_0/\gamma_\infty-1|/\varepsilon)}{4\lambda_e}, \qquad
          \frac{d\ln t}{d\ln\lambda_e} = -1

A measurement at λ_e, λ_e/2 and λ_e/4 (η fixed), pairs of starts with one last layer each, all at 10 times the γ of
equilibrium. t_γ: when the mean of γ over its last value has come within 0.5; t_q: when the squared distance q of the laws of
labels from the two starts has come down to 0.2. Compared is the slope of ln t against ln λ_e. For t_γ it is −1, but for what
σ² changes with λ_e (two one-sided tests within 0.2); the conjecture for t_q is O(1/λ_e): a slope of −1 or above. (Where the
gradient brings the laws together, at the rate η_e ∝ λ_e^{1/2}, it is above: pilot runs gave −0.81.) Clock: steps.
"""

import numpy as np

from paper_checks.real_nets.ensembles import once
from paper_checks.real_nets.label_laws import dataset, labels, nets_from, sq_distance
from sdetheory import Between, Claim, Quantity
from sdetheory.stats import jackknife
from sdetheory.theory import intrinsic_lr as ilr

requires = ("torch",)

LR, RATES = 0.4, np.array([0.02, 0.01, 0.005])
# ‖w‖⁴ = η²σ²/(2λ_e) at equilibrium (ILR-4); σ² was 5.4 to 6.3 in pilot runs
TRACE, ABOVE = 6.0, 10.0
UNTIL, SAVES = 2.5, 25  # in 1/λ_e: t_γ is about 0.7/λ_e
# q starts at 1 or so; at 0.2 most pairs of starts take part in its mean, at 0.05 it hung on the slowest few (a first run)
NEAR, Q = 0.5, 0.2
PAIRS, RUNS = {"quick": 48, "default": 48, "thorough": 768}, 6  # pairs of starts, and runs from each

# the slope of a time exp(ΔL/T) over a barrier, of 2.5 T at the largest λ_e and T ∝ η_e, halved at the smallest (ILR-12)
SLOW_MIXING = -2.5 / np.log(RATES[0] / RATES[-1])

QUANTITIES = {"slope of the norm, plus 1": Quantity(Between(-0.2, 0.2, shown=True), 0.2, effect=0.5),
              "slope of the laws of labels": Quantity(Between(-1.0), 0.25, wrong=SLOW_MIXING)}


@once
def _curves(trial):
    """(λ_e, saves, pairs): mean γ of a pair, and q of it; at λ_e t = UNTIL/SAVES, 2 UNTIL/SAVES, …"""
    import torch

    from sdetheory.torch.ensembles import train_ensemble

    n, data, gammas, squares = PAIRS[trial.mode], dataset(), [], []
    for_nets, *seeds = trial.rng.spawn(1 + len(RATES))
    starts = np.repeat(np.arange(2 * n), RUNS)
    for rate, rng in zip(RATES, seeds, strict=True):
        rest = float(ilr.equilibrium_sq_norm(lr=LR, weight_decay=rate / LR, noise_trace=TRACE))
        nets = nets_from(starts, starts // 2, np.random.SeedSequence(for_nets.entropy, spawn_key=for_nets.spawn_key),
                         np.full(len(starts), ABOVE**0.5 * rest))
        batches, every = data.minibatches(8, rng=rng), round(UNTIL / SAVES / rate)
        for _ in range(SAVES):
            train_ensemble(nets, torch.nn.functional.cross_entropy, batches, every, lr=LR, weight_decay=rate / LR,
                           save_every=every)
            gammas.append((nets.sq_norm().cpu().numpy() / LR).reshape(n, -1) ** 2)
            given = labels(nets, data.test_inputs).reshape(n, 2, RUNS, -1, 4)
            squares.append([sq_distance(*pair).value for pair in given])
    shape = len(RATES), SAVES, n
    return np.mean(gammas, axis=-1).reshape(shape), np.array(squares).reshape(shape)


def crossing(values, level):
    """When curves (saves, …), in λ_e t, first are below a level: linear in the logarithm between saves."""
    logs = np.log(np.maximum(values, level / 100) / level)
    k = np.maximum(np.argmax(logs < 0, axis=0), 1)
    before, after = (np.take_along_axis(logs, i[None], 0)[0] for i in (k - 1, k))
    return UNTIL / SAVES * (k + before / (before - after))


def _slope(curves, time, plus):
    """d ln t/d ln λ_e of the means over pairs, by the jackknife over pairs, and a number."""
    def slope(*means):
        at = np.array(means).reshape(len(RATES), SAVES, -1)
        times = np.log(np.array([time(one) / rate for one, rate in zip(at, RATES, strict=True)]))
        x = np.log(RATES) - np.log(RATES).mean()
        return (x[:, None] * times).sum(0).reshape(np.shape(means[0])) / (x @ x) + plus

    return jackknife(slope, *curves.reshape(len(RATES) * SAVES, -1))


def time_of_norm(gamma):
    return crossing(gamma / gamma[-5:].mean(0) - 1, NEAR)


def time_of_laws(q):
    return crossing(q, Q)


def measure(trial):
    gamma, q = _curves(trial)
    return {"slope of the norm, plus 1": _slope(gamma, time_of_norm, 1.0),
            "slope of the laws of labels": _slope(q, time_of_laws, 0.0)}


def broken(trial):
    return {"slope of the norm, plus 1": _slope(_curves(trial)[0], time_of_norm, 0.5)}


def figure(trial, left, right):
    """γ over its limit, and q, against λ_e t."""
    t = UNTIL / SAVES * np.arange(1, SAVES + 1)
    gamma, q = _curves(trial)
    for i, rate in enumerate(RATES):
        mean = gamma[i].mean(-1)
        left.semilogy(t, mean / mean[-5:].mean(), "o-", ms=3, color=f"C{i}", label=rf"$\lambda_e={rate:g}$")
        right.semilogy(t, np.maximum(q[i].mean(-1), 1e-4), "o-", ms=3, color=f"C{i}")
    left.axhline(1 + NEAR, color="0.5", lw=0.8, ls=":")
    right.axhline(Q, color="0.5", lw=0.8, ls=":")
    left.set(xlabel=r"$\lambda_et$", ylabel=r"$\gamma/\gamma_\infty$", title="the norm")
    right.set(xlabel=r"$\lambda_et$", ylabel=r"$q$", title="the laws of labels from two starts", ylim=(1e-3, 3))
    left.legend()


claim = Claim(
    "NET-ILR-19", r"On real nets the time to equilibrium goes as the inverse of the intrinsic learning rate",
    paper="intrinsic_lr", where="the section that states the Fast Equilibrium conjecture, and its experiments on time",
    statement=r"MLPs 8–8–4 with layer normalisation, teacher–student classes, SGD with batch 8, $\eta$ fixed and "
              r"$\lambda_e=0.02,0.01,0.005$, from ten times the $\gamma$ of equilibrium: the time in which $\gamma$ comes "
              r"within half of its limit goes as $\lambda_e^{-1}$ (the exponent within 0.2), and the one in which the laws of "
              r"labels from two starts meet ($q=0.2$) grows no faster.",
    setup=rf"SGD at $\eta={LR:g}$ for ${UNTIL:g}/\lambda_e$ steps, from pairs of starts with one last layer a pair, {RUNS} "
          r"runs a start",
    bias_source="SGD itself is simulated; the jackknife removes the bias of the slope to first order",
    proof=ilr.by_claim("ILR-4"), quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"the effective learning rate sets the time of the norm, $t\propto\lambda_e^{-1/2}$, and barriers of $2.5\,T$ that of "
            r"the laws")
