r"""SVAG-4: how wide SGD, SVAG(l) and the SDE lie around a minimum.

.. math:: S = \frac{\eta\sigma^2}{a(2-\eta a)}\;(\text{SGD}), \qquad \frac{\eta\sigma^2}{a(2-\eta a/l)}\;(\text{SVAG}(l)),
          \qquad \frac{\eta\sigma^2}{2a}\;(\text{SDE}); \qquad
          S = (I-hA)S(I-hA)^\top + h\eta\Sigma,\; h=\tfrac\eta l, \quad AS + SA = \eta\Sigma

for noise of constant covariance. Matrices A and Σ that do not commute, noise of a skewed finite law. The entries in the
eigenbasis of A are held against Lyapunov equations, against the moment recursion of the rule and the moment equations of the
SDE (to rounding), and against runs of the rule. Clock: SVAG steps, l of which take the time η.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sdetheory.evidence import Exact

import sdetheory as sdt
from sdetheory.claims import Claim, Control, Relative, Resolution, Run
from sdetheory.stats import mean_estimate
from sdetheory.symbolic import Derivation, symbol
from sdetheory.theory import svag
from sdetheory.theory.formula import joint_derivation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HESSIAN = np.array([[1.0, 0.5], [0.5, 2.0]])
LOSS = sdt.losses.RandomLinear([0.2, 0.5, 0.3], [HESSIAN] * 3, [[1.0, 0.5], [-0.2, 0.5], [-1 / 3, -7 / 6]])
LR = 0.375  # lr times the eigenvalues: 0.3 and 0.83
NOISE = LOSS.noise.covariance(np.zeros(2))
AMPLIFICATIONS = (1, 2, 8)
DIRECTIONS = np.array([[1.0, 0.0], [0.0, 1.0], [0.5**0.5, 0.5**0.5]])  # three variances tell a covariance

# The square of a near-normal variable varies by 1.4 to 1.5 times its mean: 200 000 paths leave 5 · 1.5/447 = 1.7 %, twice that
# in quick mode. The start is forgotten by exp(-2 · 0.3 · 30) = 1e-8 of the variance.
PATHS, SPAN = 200_000, 30
RHO = 0.04


def closed_form(amplification: int | None) -> np.ndarray:
    """The stationary covariance by the formula, entry by entry in the eigenbasis; None: of the SDE."""
    values, basis = np.linalg.eigh(HESSIAN)
    entries = {"lr": LR, "eigenvalue": values[:, None], "other_eigenvalue": values, "noise_covariance": basis.T @ NOISE @ basis}
    inside = svag.sde_stationary_covariance(**entries) if amplification is None else \
        svag.svag_stationary_covariance(amplification=amplification, **entries)
    return basis @ inside @ basis.T


def along(covariance: np.ndarray) -> np.ndarray:
    """The variances along DIRECTIONS."""
    return np.einsum("ki,ij,kj->k", DIRECTIONS, covariance, DIRECTIONS)


def prediction() -> dict[str, Any]:
    """Each covariance by the closed form."""
    discrete = np.stack([closed_form(l) for l in AMPLIFICATIONS])
    return {"Lyapunov equations": np.stack([*discrete, closed_form(None)]),
            "moment recursion": discrete, "moment equations": closed_form(None),
            **{f"l = {l}": along(closed_form(l)) for l in AMPLIFICATIONS}}


def as_sde() -> dict[str, Any]:
    """The SDE's covariance for the discrete rules, where it is at least two resolutions away."""
    limit = closed_form(None)
    return {"moment recursion": np.stack([limit] * len(AMPLIFICATIONS)),
            **{f"l = {l}": along(limit) for l in (1, 2)}}


def rule(amplification: int) -> Any:
    """SVAG; l = 1 is SGD."""
    return sdt.dynamics.SVAG(LOSS, lr=LR, amplification=amplification)


def simulation(run: Run) -> dict[str, Any]:
    """Two exact ways besides the formula, and the rule itself."""
    n, size = run.paths(PATHS), float(np.abs(closed_form(1)).max())
    found: dict[str, Any] = {}
    # solving (1 - M) S = c for a contraction M of rate 1 - 2 h 0.79 has condition below 1/(h 0.79) < 30 at l = 8, for systems of
    # at most 9 unknowns; the eigenbasis costs a few eps more
    rounding = 9 * 30 * 8 * np.finfo(float).eps * size
    lyapunov = [sdt.exact.svag_stationary_covariance(HESSIAN, NOISE, lr=LR, amplification=l) for l in AMPLIFICATIONS]
    found["Lyapunov equations"] = Exact(
        np.stack([*lyapunov, sdt.exact.sde_stationary_covariance(HESSIAN, NOISE, lr=LR)]),
        np.full((len(AMPLIFICATIONS) + 1, 2, 2), rounding))
    found["moment recursion"] = Exact(np.stack([sdt.exact.stationary_moments(rule(l), order=2).covariance[0]
                                                for l in AMPLIFICATIONS]), np.full((len(AMPLIFICATIONS), 2, 2), rounding))
    found["moment equations"] = Exact(_from_moment_equations(), np.full((2, 2), rounding))
    run.data["ends"] = []
    for l, seed in zip(AMPLIFICATIONS, run.rng.spawn(len(AMPLIFICATIONS)), strict=True):
        x = sdt.simulate(rule(l), np.zeros(2), n_steps=SPAN * l, n_paths=n, rng=seed).w.values[:, -1]
        found[f"l = {l}"] = mean_estimate((x @ DIRECTIONS.T) ** 2)  # the mean is 0
        run.data["ends"].append(x)
    return found


def _from_moment_equations() -> np.ndarray:
    sde = sdt.dynamics.random_linear_sde(LOSS, lr=LR)
    rest = {str(key): float(value) for key, value in sde.moment_equations(2).stationary().items()}
    x, y = (str(s) for s in sde.states)
    mixed = rest.get(f"{x}*{y}", rest.get(f"{y}*{x}"))
    mean = np.array([rest[x], rest[y]])
    return np.array([[rest[f"{x}**2"], mixed], [mixed, rest[f"{y}**2"]]]) - np.outer(mean, mean)


def derivation() -> Derivation:
    """Entry by entry in the eigenbasis, which is any dimension; the matrix equations follow entry by entry."""
    whole = joint_derivation("Stationary covariances", svag.svag_stationary_covariance, svag.sde_stationary_covariance,
                             svag.sgd_stationary_variance, svag.svag_stationary_variance, svag.sde_stationary_variance)
    lr, l, a, b, noise = (symbol("lr"), symbol("amplification"), symbol("eigenvalue"),
                          svag.svag_stationary_covariance.parameters[3], symbol("noise_covariance"))
    of_svag, of_sde, h = svag.svag_stationary_covariance.expr, svag.sde_stationary_covariance.expr, lr / l
    whole.residual("discrete Lyapunov equation", (1 - h * a) * of_svag * (1 - h * b) + h * lr * noise - of_svag)
    return whole.residual("Lyapunov equation", a * of_sde + of_sde * b - lr * noise)


def figure(run: Run) -> Figure:
    """Left: SGD around the minimum, with the ellipses of SGD and SDE; right: a variance against l."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.2, 3.8), layout="constrained")
    left, right = fig.subplots(1, 2)
    left.plot(*run.data["ends"][0][:400].T, ".", ms=3, color="tab:blue", alpha=0.4, label="SGD")
    turn = np.linspace(0, 2 * np.pi, 200)
    for l, colour, style, label in ((1, "tab:blue", "-", "SGD: $2S^{1/2}$"), (None, "tab:red", "--", "SDE: $2S^{1/2}$")):
        root = np.linalg.cholesky(closed_form(l))
        left.plot(*(2 * root @ np.stack([np.cos(turn), np.sin(turn)])), style, color=colour, lw=1.5, label=label)
    left.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    amplifications = np.arange(1, 17)
    values, basis = np.linalg.eigh(HESSIAN)
    for i, colour in ((1, "tab:blue"), (0, "tab:green")):
        v = basis[:, i]
        entry = {"lr": LR, "eigenvalue": values[i], "noise_variance": float(v @ NOISE @ v)}
        limit = svag.sde_stationary_variance(**entry)
        right.plot(amplifications, svag.svag_stationary_variance(amplification=amplifications, **entry) / limit, color="0.5",
                   lw=1.2, label="closed form" if i else None)
        measured = [mean_estimate((x @ v) ** 2) for x in run.data["ends"]]
        right.errorbar(AMPLIFICATIONS, [e.value / limit for e in measured], [3 * e.stderr / limit for e in measured], fmt="o",
                       ms=5, mfc="none", capsize=3, color=colour, label=rf"runs, $\eta a={LR * values[i]:.2f}$")
    right.axhline(1, color="tab:red", ls="--", lw=1.2, label="SDE")
    right.set(xscale="log", xlabel="amplification $l$ ($l=1$: SGD)", ylabel=r"variance over $\eta\sigma^2/(2a)$")
    right.set_xticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
    right.minorticks_off()
    for ax in (left, right):
        ax.legend(frameon=False, fontsize=8)
    fig.suptitle(r"SGD lies wider than its SDE by $1/(1-\eta a/2)$; SVAG closes the gap as $1/l$", fontsize=11)
    return fig


claim = Claim(
    "SVAG-4",
    title="Stationary covariance",
    paper="svag",
    statement=r"On $\frac12x^TAx$ with noise of constant covariance, SGD comes to rest with $S=(I-\eta A)S(I-\eta A)^T+\eta^2\Sigma$, "
              r"SVAG(l) with $\eta$ replaced by $\eta/l$ and $\Sigma$ by $l\Sigma$, the SDE with $AS+SA=\eta\Sigma$; along an "
              r"eigenvector $\eta\sigma^2/(a(2-\eta a/l))$ against $\eta\sigma^2/(2a)$.",
    derivation=derivation,
    prediction=prediction,
    simulation=simulation,
    resolution={"Lyapunov equations": Resolution(1e-9), "moment recursion": Resolution(1e-9),
                "moment equations": Resolution(1e-9),
                **{f"l = {l}": Resolution(Relative(RHO), points=3) for l in AMPLIFICATIONS}},
    negative_control=Control(r"SGD and SVAG have the covariance of the SDE, $\eta\sigma^2/(2a)$", prediction=as_sde),
    figure=figure,
)
