r"""SVAG-4: how wide SGD, SVAG(l) and the SDE lie around a minimum.

.. math:: S = \frac{\eta\sigma^2}{a(2-\eta a)}\;(\text{SGD}),\ \frac{\eta\sigma^2}{a(2-\eta a/l)}\;(\text{SVAG}(l)),
          \qquad \frac{\eta\sigma^2}{2a}\;(\text{SDE}); \qquad
          S = (I-hA)S(I-hA)^\top + h\eta\Sigma,\; h=\tfrac\eta l, \quad AS + SA = \eta\Sigma

for noise of constant covariance. Matrices A and Σ that do not commute, noise of a skewed finite law. The entries in
the eigenbasis of A are held against Lyapunov equations, against the moment recursion of the rule and the moment
equations of the SDE (to rounding), and against runs of the rule. Clock: SVAG steps, l of which take the time η.
"""

import numpy as np

import sdetheory as sdt
from sdetheory import Claim, Exact, Quantity, Relative
from sdetheory.stats import mean_estimate
from sdetheory.symbolic import Derivation, symbol
from sdetheory.theory import svag

HESSIAN = np.array([[1.0, 0.5], [0.5, 2.0]])
LOSS = sdt.losses.RandomLinear([0.2, 0.5, 0.3], [HESSIAN] * 3, [[1.0, 0.5], [-0.2, 0.5], [-1 / 3, -7 / 6]])
LR = 0.375  # lr times the eigenvalues: 0.3 and 0.83
NOISE = LOSS.noise.covariance(np.zeros(2))
VALUES, BASIS = np.linalg.eigh(HESSIAN)
AMPLIFICATIONS = (1, 2, 8)
DIRECTIONS = np.array([[1.0, 0.0], [0.0, 1.0], [0.5**0.5, 0.5**0.5]])  # three variances tell a covariance
LABELS = ["$x_1$", "$x_2$", r"$(x_1+x_2)/\sqrt{2}$"]

# The square of a near-normal variable varies by 1.4 to 1.5 times its mean: 200 000 paths leave 5 · 1.5/447 = 1.7 %,
# twice that in quick mode. The start is forgotten by exp(-2 · 0.3 · 30) = 1e-8 of the variance.
PATHS, SPAN, RHO = 200_000, 30, 0.04


def closed_form(amplification):
    """The stationary covariance by the formula, entry by entry in the eigenbasis; None: of the SDE."""
    entries = {"lr": LR, "eigenvalue": VALUES[:, None], "other_eigenvalue": VALUES,
               "noise_covariance": BASIS.T @ NOISE @ BASIS}
    inside = svag.sde_stationary_covariance(**entries) if amplification is None else \
        svag.svag_stationary_covariance(amplification=amplification, **entries)
    return BASIS @ inside @ BASIS.T


def along(covariance):
    """The variances along DIRECTIONS."""
    return np.einsum("ki,ij,kj->k", DIRECTIONS, covariance, DIRECTIONS)


DISCRETE, OF_SDE = np.stack([closed_form(l) for l in AMPLIFICATIONS]), closed_form(None)
OF_SGD = DISCRETE[0]
# Wrong: the discrete rules lie as wide as the SDE; the SDE, and SVAG whatever its l, as wide as SGD (l steps of η/l
# with l-fold covariance bring as much noise as one of SGD). A run at l = 8 could not tell SVAG from the SDE.
QUANTITIES = {
    "Lyapunov equations": Quantity(np.stack([*DISCRETE, OF_SDE]), 1e-9, wrong=np.stack([OF_SDE] * 3 + [OF_SGD])),
    "moment recursion": Quantity(DISCRETE, 1e-9, wrong=np.stack([OF_SDE] * 3)),
    "moment equations": Quantity(OF_SDE, 1e-9, wrong=OF_SGD),
    **{f"l = {l}": Quantity(along(closed_form(l)), Relative(RHO), wrong=along(OF_SGD if l == 8 else OF_SDE),
                            points=LABELS) for l in AMPLIFICATIONS},
}


def rule(amplification):
    """SVAG; l = 1 is SGD."""
    return sdt.dynamics.SVAG(LOSS, lr=LR, amplification=amplification)


def of_moment_equations():
    """The SDE's covariance at rest, of moments 1 and 2."""
    sde = sdt.dynamics.random_linear_sde(LOSS, lr=LR)
    rest, (x, y) = sde.moment_equations(2).stationary(), sde.states
    mean = np.array([rest[x], rest[y]], dtype=float)
    return np.array([[rest[x**2], rest[x * y]], [rest[x * y], rest[y**2]]], dtype=float) - np.outer(mean, mean)


def measure(trial):
    """Two exact ways besides the formula, and the rule itself."""
    # solving (1 - M) S = c for a contraction M of rate 1 - 2 h 0.79 has condition below 1/(h 0.79) < 30 at l = 8, for
    # systems of at most 9 unknowns; the eigenbasis costs a few eps more
    rounding = 9 * 30 * 8 * np.finfo(float).eps * np.abs(OF_SGD).max()
    lyapunov = [sdt.exact.svag_stationary_covariance(HESSIAN, NOISE, lr=LR, amplification=l) for l in AMPLIFICATIONS]
    found = {
        "Lyapunov equations": Exact(
            np.stack([*lyapunov, sdt.exact.sde_stationary_covariance(HESSIAN, NOISE, lr=LR)]), rounding),
        "moment recursion": Exact(np.stack([sdt.exact.stationary_moments(rule(l), order=2).covariance[0]
                                            for l in AMPLIFICATIONS]), rounding),
        "moment equations": Exact(of_moment_equations(), rounding)}
    trial.data["ends"] = []
    for l, seed in zip(AMPLIFICATIONS, trial.rng.spawn(len(AMPLIFICATIONS)), strict=True):
        x = sdt.simulate(rule(l), np.zeros(2), n_steps=SPAN * l, n_paths=trial.paths(PATHS), rng=seed).w.values[:, -1]
        found[f"l = {l}"] = mean_estimate((x @ DIRECTIONS.T) ** 2)  # the mean is 0
        trial.data["ends"].append(x)
    return found


def proof():
    """Entry by entry in the eigenbasis, which is any dimension; the matrix equations follow entry by entry."""
    whole = Derivation("Stationary covariances").including(*(f.derivation for f in svag.by_claim("SVAG-4")))
    of_svag, of_sde = svag.svag_stationary_covariance, svag.sde_stationary_covariance
    a, b, h = symbol("eigenvalue"), of_svag.parameters[3], symbol("lr") / symbol("amplification")
    noise = symbol("lr") * symbol("noise_covariance")
    whole.residual("discrete Lyapunov equation", (1 - h * a) * of_svag.expr * (1 - h * b) + h * noise - of_svag.expr)
    return whole.residual("Lyapunov equation", a * of_sde.expr + of_sde.expr * b - noise)


def figure(trial, left, right):
    """Left: SGD around the minimum, with the ellipses of SGD and SDE; right: a variance against l."""
    left.plot(*trial.data["ends"][0][:400].T, ".", ms=3, color="C0", alpha=0.4, label="SGD")
    turn = np.linspace(0, 2 * np.pi, 200)
    for covariance, colour, style, name in ((OF_SGD, "C0", "-", "SGD"), (OF_SDE, "C1", "--", "SDE")):
        ellipse = 2 * np.linalg.cholesky(covariance) @ np.stack([np.cos(turn), np.sin(turn)])
        left.plot(*ellipse, style, color=colour, lw=1.5, label=f"{name}: $2S^{{1/2}}$")
    left.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    dense = np.arange(1, 17)
    for i, colour in ((1, "C0"), (0, "C2")):
        v = BASIS[:, i]
        entry = {"lr": LR, "eigenvalue": VALUES[i], "noise_variance": v @ NOISE @ v}
        limit = svag.sde_stationary_variance(**entry)
        right.plot(dense, svag.svag_stationary_variance(amplification=dense, **entry) / limit, color="0.5", lw=1.2,
                   label="closed form" if i else None)
        measured = [mean_estimate((x @ v) ** 2) for x in trial.data["ends"]]
        right.errorbar(AMPLIFICATIONS, [e.value / limit for e in measured], [3 * e.stderr / limit for e in measured],
                       fmt="o", mfc="none", capsize=3, color=colour, label=rf"runs, $\eta a={LR * VALUES[i]:.2f}$")
    right.axhline(1, color="C1", ls="--", lw=1.2, label="SDE")
    right.set(xscale="log", xlabel="amplification $l$ ($l=1$: SGD)", ylabel=r"variance over $\eta\sigma^2/(2a)$")
    right.set_xticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
    right.minorticks_off()
    for ax in (left, right):
        ax.legend()
    left.figure.suptitle(r"SGD lies wider than its SDE by $1/(1-\eta a/2)$; SVAG closes the gap as $1/l$")


claim = Claim(
    "SVAG-4", "Stationary covariance", paper="svag", extension=True,
    where="not in the paper: it follows from the three processes that the paper compares",
    statement=r"On $\frac12x^TAx$ with noise of constant covariance, SGD comes to rest with $S=(I-\eta A)S(I-\eta "
              r"A)^T+\eta^2\Sigma$, SVAG(l) with $\eta$ replaced by $\eta/l$ and $\Sigma$ by $l\Sigma$, the SDE "
              r"with $AS+SA=\eta\Sigma$; along an eigenvector $\eta\sigma^2/(a(2-\eta a/l))$ against "
              r"$\eta\sigma^2/(2a)$.",
    setup=r"A quadratic in $d=2$ with $\eta a=0.3$ and $0.83$ and skewed noise: Lyapunov equations, moment "
          "recursions, and $30l$ steps of the simulated rule for $l=1,2,8$",
    proof=proof, quantities=QUANTITIES, measure=measure, figure=figure,
    bias_source="the rule itself is simulated, its start forgotten to 1e-8 of the variance",
    control=r"the discrete rules lie as wide as the SDE, $\eta\sigma^2/(2a)$; the SDE, and SVAG at $l=8$, as wide "
            "as SGD")
