r"""ILR-9: the equilibrium of SGD with momentum: norm, and angle between successive iterates.

.. math:: \|w\|^4 = F^2 = \frac{\eta S}{\lambda(1-\mu)\bigl(2-\frac{\eta\lambda}{1+\mu}\bigr)}, \qquad
          \cos\angle(w, w') = 1 - \frac{\eta\lambda}{1+\mu} \qquad\text{up to } O(1/d).

The linear equations of the second moments give more: for isotropic noise, in every dimension and to all orders,

.. math:: \mathbb E\|w\|^2 = F^2\,\mathbb E\|w\|^{-2}, \qquad
          \mathbb E\|w'-w\|^2 = \frac{2\eta\lambda}{1+\mu}\,\mathbb E\|w\|^2 .

So (E‖w‖²)²/F² − 1 = E‖w‖² E‖w‖⁻² − 1 is a measure of how much the norm fluctuates: that is the O(1/d). It is measured in
four dimensions and extrapolated. Source: R. Wan et al., Spherical Motion Dynamics, arXiv:2006.08419. Clock: steps.
"""

import numpy as np

import sdetheory as sdt
from sdetheory import Claim, Estimate, Quantity
from sdetheory.stats import fit_order, from_points, jackknife, mean_estimate
from sdetheory.theory import intrinsic_lr as ilr

LR, DECAY, MOMENTUM, SCALE = 0.1, 0.2, 0.9, 0.5  # lambda_e = 0.02, lambda_e/(1 - momentum) = 0.2: orders differ
DIMS = (6, 12, 25, 50)
LABELS = tuple(f"$d={dim}$" for dim in DIMS)
# Deviations fade by (1 − 4λ_e/(1−μ)) or by μ a step, whichever is slower: 0.9^120 = 3e-6, far below the errors. Then
# r is averaged along a path (one number a path); the step is looked at once, at the end.
BURN, STEPS, EVERY = 120, 420, 20
PATHS = 8000  # a step's square varies by (2/(d-1))^(1/2) = 0.63 at d = 6: z·se = 3.4 % there, 7 % in quick mode
GIVEN = {"lr": LR, "weight_decay": DECAY, "momentum": MOMENTUM}
ANGLE, SQ_STEP = ilr.momentum_angle(**GIVEN), ilr.momentum_sq_step(**GIVEN)
NEAR = 1 / (np.array(DIMS) - 1.0)  # one over the number of tangent directions
# Momentum as nothing but lr/(1 − μ) in the norm of plain SGD, the angle of plain SGD, and a gap of order 1/d².
PLAIN_NORM = (ilr.discrete_sq_norm_fixed_point(lr=LR / (1 - MOMENTUM), weight_decay=DECAY, sq_gradient=1.0)
              / ilr.momentum_equilibrium_sq_norm(**GIVEN, sq_gradient=1.0)) ** 2
PLAIN_ANGLE = ilr.momentum_angle(lr=LR, weight_decay=DECAY, momentum=0.0) / ANGLE

QUANTITIES = {
    "norm, every d": Quantity(1.0, 0.03, wrong=PLAIN_NORM, points=LABELS),
    "step, every d": Quantity(1.0, 0.1, wrong=PLAIN_ANGLE**2, points=LABELS),
    "norm, d to infinity": Quantity(1.0, 0.04, wrong=PLAIN_NORM),
    "angle, d to infinity": Quantity(1.0, 0.06, wrong=PLAIN_ANGLE),
    "order of the gap": Quantity(1.0, 0.5, wrong=2.0, bias_source="the order's change over the dimensions"),
}


def measure(trial):
    """Everything in units of its prediction."""
    balance, step, norm, angle, gaps = [], [], [], [], []
    for dim, seed in zip(DIMS, trial.rng.spawn(len(DIMS)), strict=True):
        loss = sdt.losses.RayleighQuotient([0.0] * dim, noise=sdt.noises.Tangent(SCALE))
        rest = ilr.momentum_equilibrium_sq_norm(**GIVEN, sq_gradient=SCALE**2 * (dim - 1))
        runs = sdt.simulate(sdt.SGD(loss, **GIVEN), loss.sample_sphere(rest**0.5), n_steps=STEPS + 1,
                            n_paths=trial.paths(PATHS), observe=["sq_norm", "w"], save_every=EVERY, rng=seed)
        # the last two saves are at STEPS and STEPS + 1
        r, w = runs.sq_norm.values / rest, runs.w.values[:, -2:] / rest**0.5
        along, inverse = r[:, BURN // EVERY:-1].mean(1), (1 / r[:, BURN // EVERY:-1]).mean(1)
        balance.append(jackknife(lambda a, b: a / b, along, inverse))
        norm.append(jackknife(lambda a: a**2, along))
        # by the balance this is the gap; in the product the first-order fluctuations cancel, which makes it sharp
        gaps.append(jackknife(lambda a, b: a * b - 1, along, inverse))
        moved = np.sum((w[:, 1] - w[:, 0]) ** 2, axis=1) / SQ_STEP
        step.append(jackknife(lambda a, b: a / b, moved, r[:, -2]))
        cosine = np.sum(w[:, 1] * w[:, 0], axis=1) / np.sqrt(r[:, -1] * r[:, -2])
        angle.append(mean_estimate(np.arccos(cosine) / ANGLE))
    trial.data.update(balance=balance, norm=norm, angle=angle)
    gap = fit_order(NEAR, [float(e.value) for e in gaps], [float(e.stderr) for e in gaps], n=trial.paths(PATHS))
    return {"norm, every d": from_points(balance), "step, every d": from_points(step),
            "norm, d to infinity": limit(norm), "angle, d to infinity": limit(angle), "order of the gap": gap.as_estimate()}


def limit(estimates):
    """The weighted fit a + b x + c x², x = 1/(d − 1), at x = 0."""
    value, se = (np.array([getattr(e, name) for e in estimates]) for name in ("value", "stderr"))
    weights = np.linalg.pinv(np.vander(NEAR, 3, increasing=True) / se[:, None])[0] / se
    return Estimate(weights @ value, np.sqrt(np.sum((weights * se) ** 2)), n=estimates[0].n)


def figure(trial, ax):
    """Norm and angle over their predictions against 1/(d − 1): 1 in high dimension, the balance everywhere."""
    dense = np.linspace(0, NEAR.max() * 1.05, 100)
    rows = (("norm", "o", r"norm: $(\mathbb{E}\|w\|^2)^2/F^2$"),
            ("balance", "s", r"balance: $\mathbb{E}\|w\|^2/(F^2\,\mathbb{E}\|w\|^{-2})$"),
            ("angle", "^", r"angle: $\mathbb{E}\angle(w,w')\,/\,\arccos(1-\eta\lambda/(1+\mu))$"))
    for i, (name, marker, label) in enumerate(rows):
        value, se = (np.array([getattr(e, part) for e in trial.data[name]]) for part in ("value", "stderr"))
        ax.errorbar(NEAR, value, 3 * se, fmt=marker, ms=5, mfc="none", color=f"C{i}", capsize=2, label=label)
        if name != "balance":
            fit = np.polynomial.Polynomial.fit(NEAR, value, 2, w=1 / se)
            ax.plot(dense, fit(dense), color=f"C{i}", lw=1)
    ax.axhline(1, color="0.5", lw=1, ls=":", label="theory")
    ax.set(xlabel=r"one over the tangent directions, $1/(d-1)$  (bars: 3 standard errors)",
           ylabel="measured over predicted", xlim=(0, None),
           title=rf"Momentum, $\mu={MOMENTUM:g}$: the norm fluctuates")
    ax.legend(fontsize=9, loc="upper left")


claim = Claim(
    "ILR-9", "Norm and angle at equilibrium with momentum", paper="intrinsic_lr", extension=True,
    where="not in the paper; R. Wan et al., Spherical Motion Dynamics, arXiv:2006.08419",
    statement=r"With momentum and isotropic noise, at equilibrium $\|w\|^4=F^2=\eta S/(\lambda(1-\mu)(2-\eta\lambda/"
              r"(1+\mu)))$ and $\cos\angle(w,w')=1-\eta\lambda/(1+\mu)$ up to $O(1/d)$; exactly, in every dimension, "
              r"$\mathbb{E}\|w\|^2=F^2\,\mathbb{E}\|w\|^{-2}$ and "
              r"$\mathbb{E}\|w'-w\|^2=\frac{2\eta\lambda}{1+\mu}\mathbb{E}\|w\|^2$.",
    setup=r"SGD with momentum 0.9 without a loss, tangent noise, $\eta=0.1$, $\lambda=0.2$, 421 steps from the "
          r"predicted norm, in $d=6$, 12, 25, 50",
    bias_source="SGD itself is simulated: there is no discretisation",
    proof=ilr.by_claim("ILR-9"), quantities=QUANTITIES, measure=measure, figure=figure,
    control=r"the norm of plain SGD at the learning rate $\eta/(1-\mu)$, the angle $(2\eta\lambda)^{1/2}$ of plain "
            r"SGD, and a gap of order $1/d^2$")
