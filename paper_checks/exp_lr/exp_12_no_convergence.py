r"""EXP-12: normalisation and weight decay together do not converge.

.. math:: L = \frac{x^2}{x^2+y^2}: \quad \frac{x}{y} \mapsto \Bigl(1-\frac{2u}{1-\eta\lambda}\Bigr)\frac{x}{y}, \quad
          u = \frac{\eta}{r^2} \mapsto \frac{u}{(1-\eta\lambda)^2} \quad\text{near } x = 0

so the minimum repels once u > 1 − ηλ (2(1−ηλ)/h in general), however small η; the tiny x/y grows back, the loss
spikes, the norm jumps, and so on. (To leading order x/y is back where u = 6.3: ∫ ln|1−2u| du/u, from 0, is 0 there;
that is 0.92/λ_e steps after the threshold, whatever u was at first.) Without decay, or without normalisation,
descent converges.

Of a batch-normalised linear classifier on separable data the same is true if all batches are content at an isolated
minimum. For the squared hinge that is where its margin equals the gain: batch normalisation holds the mean of
(y_iκu_i)² at κ², so no loss means y_iκu_i = κ for all i. If the gradients of the batches differ at the minimum,
noise holds up the norm (ILR-4) and there need be no spikes. And a margin with room to spare has an interior where
every gradient is 0: nothing moves any more but the norm. Clock: steps.
"""

import numpy as np

import sdetheory as sdt
from sdetheory import Between, Claim, Exact, Quantity
from sdetheory.losses import BatchNormLinear
from sdetheory.stats import mean_estimate
from sdetheory.theory import exp_lr

TOY, PLAIN = sdt.losses.toy_fraction(), sdt.losses.Quadratic([1.0, 0.5])
LR = 0.01  # u starts at 0.01: the norm is a hundred times too large to be unstable
# λ_e: on the way to the threshold x/y falls by exp(−π²/(8 λ_e)) at most (∫_0^1 ln|1−2u| du/u = −π²/4, over 2λ_e):
# by 1e-54 at 0.01, and its square is far above underflow too
RATES = (0.05, 0.02, 0.01)
STARTS = 24  # the statements are about each path
CYCLES = 30  # steps of a run, in units of 1/λ_e: a cycle takes about 1.2
SMALL = 1e-8  # a loss at which the linear law holds but for terms of order uL
NEXT_STEP = 0.5 + 1e-3  # half a step up to the next whole one; the norm still grows by 4u²L of itself a step, 1e-8 in all
LOW, HIGH = 1e-3, 0.1  # a spike: the loss passes HIGH after it was below LOW

SAMPLES, DIM, BATCH, GAIN = 64, 4, 16, 1.0
_DATA = np.random.default_rng(12)
LABELS = np.tile([1.0, -1.0], SAMPLES // 2)
_REST = _DATA.normal(size=(SAMPLES, DIM - 1))
TIGHT = np.column_stack([LABELS, _REST])  # w = e_1 gives y_i u_i = 1 for every sample
SPREAD = np.column_stack([LABELS * (1 + 0.5 * _DATA.uniform(-1, 1, SAMPLES)), _REST])  # separable, but no w does that
BN_LR, BN_LOW, BN_HIGH = 0.1, 0.01, 0.1  # low and high are above the smallest loss
HINGE_RATE, LOGISTIC_RATE = 0.1, 0.02  # λ_e
RADII = (0.25, 1.0)  # norms 16 times apart in lr/|w|²: one start is unstable, the other slow
# ln of η_e averaged over half a run varies by about 1 % from path to path: 100 paths (25 in quick mode) leave z·se
# of a difference of two at 1 % (3 %)
PATHS = 100

THRESHOLDS = np.array([exp_lr.instability_threshold(intrinsic_lr=x, top_curvature=2.0) for x in RATES])
ON_PLAIN = [(x, a) for x in RATES for a in PLAIN.curvatures]

QUANTITIES = {
    "threshold of lr/|w|^2": Quantity(np.repeat(THRESHOLDS, STARTS), 1e-4, wrong=1.0,
                                      bias_source="the terms left out of the linear law, and rounding"),
    "steps to the threshold": Quantity(0.5, 1.0, broken=True,
                                       bias_source="the next whole step, and the growth of the norm"),
    "spikes": Quantity(Between(low=10), 0.5, wrong=Between(high=1), bias_source="a count"),
    "largest late loss without decay": Quantity(Between(high=1e-12), 1e-12, wrong=Between(low=HIGH)),
    "factor without normalisation": Quantity(
        [exp_lr.plain_deviation_factor(lr=LR, weight_decay=x / LR, eigenvalue=a) for x, a in ON_PLAIN], 1e-9,
        wrong=[(1 - x) * (1 - LR * a) for x, a in ON_PLAIN]),
    "squared hinge: spikes": Quantity(Between(low=5), 0.5, wrong=0.0, bias_source="a count"),
    "logistic: spikes": Quantity(0.0, 0.5, broken=True, bias_source="a count"),
    "logistic: memory of the norm": Quantity(0.0, 0.05, wrong=2 * np.log(RADII[1] / RADII[0]),
                                             bias_source="SGD itself is simulated: there is no discretisation"),
    "margin to spare: largest late loss": Quantity(0.0, 1e-9, wrong=Between(low=BN_HIGH)),
}


def descent(x, weight_decay, rng):
    """Loss, effective learning rate and direction at every step, one row a start."""
    return sdt.simulate(sdt.SGD(TOY, lr=LR, weight_decay=weight_decay), TOY.sample_sphere(), n_steps=round(CYCLES / x),
                        n_paths=STARTS, observe=["direction", "effective_lr", "loss"], save_every=1, rng=rng)


def first_cycle(runs, x, slower=1):
    """u at which the factor on x/y is −1; steps from SMALL to there less those predicted, times `slower`; a start each."""
    crossings, delays = [], []
    for direction, u, loss in zip(runs.direction.values, runs.effective_lr.values, runs.loss.values, strict=True):
        q = direction[:, 0] / direction[:, 1]
        small = int(np.argmax(loss < SMALL))
        last = small + int(np.argmax(np.abs(q[small + 1:]) > np.abs(q[small:-1])))  # the first step that grows
        factors = q[last:last + 2] / q[last - 1:last + 1]
        # the factor is a linear function of u, so a line through two of its values finds where it is −1
        slope = (factors[1] - factors[0]) / (u[last] - u[last - 1])
        crossings.append(u[last] - (factors[1] + 1) / slope)
        wait = exp_lr.time_to_instability(sq_norm=LR / u[small], lr=LR, weight_decay=x / LR, top_curvature=2.0)
        delays.append(last - small - slower * wait)
    return np.array(crossings), np.array(delays)


def spikes(loss, low, high):
    """How often the loss of each path passes `high` after it was below `low`."""
    counts = []
    for row in np.where(loss < low, -1, np.where(loss > high, 1, 0)):
        seen = row[row != 0]
        counts.append(np.count_nonzero((seen[1:] == 1) & (seen[:-1] == -1)))
    return np.array(counts, dtype=float)


def logistic_spikes(runs):
    return Exact(spikes(runs.loss.values - runs.loss.values.min(), BN_LOW, BN_HIGH), 0.0)


def training(inputs, link, rate, n, rng, radius=1.0, margin=GAIN):
    """Minibatch SGD with decay for 40/λ_e steps."""
    loss = BatchNormLinear(inputs, LABELS, batch_size=BATCH, link=link, margin=margin, gain=GAIN)
    return sdt.simulate(sdt.SGD(loss, lr=BN_LR, weight_decay=rate / BN_LR), loss.sample_sphere(radius), n_paths=n,
                        n_steps=round(40 / rate), observe=["effective_lr", "loss"], save_every=1, rng=rng)


def measure(trial):
    """Full-batch descent with decay, without it, without normalisation; then the classifier."""
    with_decay, without, classifiers = trial.rng.spawn(3)
    cycles, counts = [], []
    for x, seed in zip(RATES, with_decay.spawn(len(RATES)), strict=True):
        trial.data[x] = descent(x, x / LR, seed)
        cycles.append(first_cycle(trial.data[x], x))
        counts.append(spikes(trial.data[x].loss.values, LOW, HIGH))
    trial.data["without"] = descent(RATES[-1], 0.0, without)
    late = trial.data["without"].loss.values[:, round(CYCLES / RATES[-1]) // 2:]
    factors = []
    for x in RATES:  # with a buffer of momentum 0: the kernel that EXP-7 has compiled
        rule = sdt.SGD(PLAIN, lr=LR, weight_decay=x / LR, v0=np.zeros(2))
        w = sdt.simulate(rule, [1.0, 1.0], n_steps=40, observe=["w"], save_every=1).w.values[0]
        factors.append((w[1:] / w[:-1])[-1])
    first, second, third, fourth = classifiers.spawn(4)
    hinge = training(TIGHT, "squared_hinge", HINGE_RATE, STARTS, first)
    pair = [training(SPREAD, "logistic", LOGISTIC_RATE, trial.paths(PATHS), seed, radius)
            for seed, radius in zip((second, third), RADII, strict=True)]
    half = pair[0].loss.shape[1] // 2
    memory = [np.log(one.effective_lr.values[:, half:]).mean(1) for one in pair]
    spare = training(SPREAD, "squared_hinge", HINGE_RATE, STARTS, fourth, margin=0.3 * GAIN)
    trial.data.update(hinge=hinge, logistic=pair[1])
    eps = np.finfo(float).eps
    # q' = q (1−x−2u(1−L))/(1−x+2uL): linear up to 8uL; the line multiplies that by 1/(slope Δu) = 1/(2λ_e) at most
    rounding = np.repeat([(8 * SMALL + 16 * eps) / (2 * x) for x in RATES], STARTS)
    crossings, delays = (np.concatenate(part) for part in zip(*cycles, strict=True))
    return {"threshold of lr/|w|^2": Exact(crossings, rounding),
            "steps to the threshold": Exact(delays, NEXT_STEP),
            "spikes": Exact(np.concatenate(counts), 0.0),
            "largest late loss without decay": Exact(late.max(1), 0.0),
            "factor without normalisation": Exact(np.concatenate(factors), 8 * eps),
            "squared hinge: spikes": Exact(spikes(hinge.loss.values, BN_LOW, BN_HIGH), 0.0),
            "logistic: spikes": logistic_spikes(pair[1]),
            "logistic: memory of the norm": mean_estimate(memory[0] - memory[1]),
            "margin to spare: largest late loss": Exact(spare.loss.values[:, spare.loss.shape[1] // 2:].max(1), 0.0)}


def broken(trial):
    """The time in which ‖w‖, not ‖w‖², falls to the threshold; the logistic loss on data on which all batches agree."""
    x, seed = RATES[-1], trial.rng.spawn(3)[0].spawn(len(RATES))[-1]
    _, delays = first_cycle(descent(x, x / LR, seed), x, slower=2)
    return {"steps to the threshold": Exact(delays, NEXT_STEP),
            "logistic: spikes": logistic_spikes(training(TIGHT, "logistic", LOGISTIC_RATE, STARTS, trial.rng))}


def figure(trial, fig):
    """Left: descent on the toy loss with and without decay, and its effective learning rate. Right: the classifier."""
    fig.set_size_inches(7.8, 4.2)
    axes = fig.subplots(2, 2, sharex="col")
    x = RATES[1]
    runs, steps, without = trial.data[x], np.arange(round(6 / x)), trial.data["without"].loss.values
    top, bottom = axes[:, 0]
    top.plot(steps, runs.loss[0, :steps.size], color="tab:red", lw=1, label=rf"decay, $\eta\lambda={x:g}$")
    alike = np.argmin(np.abs(without[:, 0] - runs.loss.values[0, 0]))  # the start with the most similar loss
    top.plot(steps, without[alike, :steps.size], color="tab:blue", lw=1.2, label="no decay")
    top.set(ylabel=r"loss $x^2/(x^2+y^2)$", ylim=(-0.03, 1.2), title="Full-batch descent: spikes again and again")
    top.legend(loc="upper left", ncols=2)
    bottom.semilogy(steps, runs.effective_lr[0, :steps.size], color="tab:red", lw=1)
    bottom.axhline(THRESHOLDS[1], color="0.4", ls="--", lw=1, label=r"threshold $1-\eta\lambda$")
    bottom.set(xlabel=r"step $k$", ylabel=r"$\eta/\|w_k\|^2$")
    bottom.legend(loc="lower right")
    top, bottom = axes[:, 1]
    hinge, logistic = trial.data["hinge"], trial.data["logistic"]
    for runs, rate, least, color, label in (
            (hinge, HINGE_RATE, 0.0, "tab:red", "squared hinge, margin = gain"),
            (logistic, LOGISTIC_RATE, logistic.loss.values.min(), "tab:blue", "logistic, spread data")):
        clock = rate * np.arange(runs.loss.shape[1])
        top.plot(clock, runs.loss[0] - least, color=color, lw=1, label=label)
        bottom.semilogy(clock, runs.effective_lr[0], color=color, lw=1)
    top.set(ylabel="loss above its minimum", xlim=(0, 25), ylim=(-0.02, 0.85), title="Minibatch SGD, batch normalisation")
    top.legend(loc="upper right")
    bottom.set(xlabel=r"time $\lambda_ek$ ($k$ in steps)", ylabel=r"$\eta/\|w_k\|^2$")


claim = Claim(
    "EXP-12", "Normalisation and weight decay together do not converge", paper="exp_lr",
    where="the example of a normalised loss on which descent with weight decay does not converge",
    statement=r"On $L=x^2/(x^2+y^2)$ GD with decay loses stability once $\eta/r^2>1-\eta\lambda$, whatever "
              r"$\eta$, and the loss spikes again and again; without decay, or on $L=x^2/2$ with decay, it "
              r"converges. In general the threshold is $2(1-\eta\lambda)/h$, reached "
              r"$\ln(2(1-\eta\lambda)\|w\|^2/(\eta h))/(2|\ln(1-\eta\lambda)|)$ steps after a norm $\|w\|$. SGD "
              "on a batch-normalised linear classifier does the same if all batches agree on an isolated minimum; "
              "where their gradients differ there, an equilibrium norm exists and spikes need not appear.",
    setup=rf"Full-batch GD on $x^2/(x^2+y^2)$, $\eta={LR}$, $\eta\lambda$ = {', '.join(map(str, RATES))}, "
          rf"{STARTS} starts, {CYCLES}$/\eta\lambda$ steps, and without decay; SGD with decay on a "
          f"batch-normalised linear classifier in $d={DIM}$, {SAMPLES} samples in batches of {BATCH}, squared "
          "hinge and logistic",
    proof=exp_lr.by_claim("EXP-12"), quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"the threshold is $2/h$, that of descent without decay; it is reached as $\|w\|$, not $\|w\|^2$, "
            "falls; the loss spikes once, then the larger norm stays; without decay it spikes too; decay "
            "multiplies the factor of a plain quadratic; minibatches always have the noise that holds up the "
            "norm; the hinge spikes whatever its margin; only decay moves the norm; it is the logistic loss, not "
            "the noise at its minimum, that prevents spikes: data on which all batches agree")
