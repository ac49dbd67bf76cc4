r"""SVAG-8: at a fixed time the shape of the noise matters at order η² (skewed) or η³ (symmetric), the step at order η.

.. math:: \mathbb E\,g(x_{\mathrm{SGD}}) - \mathbb E\,g(x_{\mathrm{NGD}}) = O(\eta^2)\ (\text{skewed}),\quad
          O(\eta^3)\ (\text{symmetric two-point}), \qquad
          \mathbb E\,g(x_{\mathrm{SGD}}) - \mathbb E\,g(X_T) = O(\eta)

NGD has Gaussian noise of the same covariance. Gradients (a + s_a ζ)x − (b + s_b ζ) with one two-point ζ: the noise depends on
the weight, and all moments are known to rounding. Clock: gradient-flow time, T = ηk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sdetheory.evidence import Exact

import sdetheory as sdt
from sdetheory.claims import Claim, Control, Relative, Resolution, Run
from sdetheory.symbolic import Derivation
from sdetheory.theory import svag
from sdetheory.theory.formula import joint_derivation

from .orders_in_lr import limit, local_order, weak_errors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

A, B, S_A, S_B = 1.0, 0.25, 0.5, 1.0
SKEWED, SYMMETRIC = 0.2, 0.5  # the probability of the larger gradient
START, END = 1.5, 1.0
STEPS = (16, 32, 64, 128, 256)  # lr = 1/16 to 1/256: p(lr) - p of order lr, so 1 % at the end
CONSTANT = (4, 16, 64)  # numbers of steps for the closed forms, at noise of one law everywhere

# A moment up to order 4 is carried by matrices with entries <= 2 through 256 steps that contract: 5 products a row, a step adds
# at most 8 eps, on values below 10 (E x^4 starts at 5).
ROUNDING = 256 * 8 * 10 * np.finfo(float).eps
ORDER = 0.1


def loss(probability: float, multiplicative: bool = True) -> Any:
    """Two outcomes; without multiplicative noise they differ by their offset alone."""
    return sdt.losses.RandomLinear.two_point(A, B if multiplicative else 0.0, curvature_std=S_A if multiplicative else 0.0,
                                             offset_std=S_B, probability=probability)


def third_moment(probability: float) -> float:
    """E ξ³ of the gradient noise of constant law, −S_B ζ."""
    noise = -loss(probability, False).noise.offsets.ravel()
    return float(loss(probability).probabilities @ noise**3)


def moments(kind: Any, probability: float, lr: float, n: int, multiplicative: bool = True) -> np.ndarray:
    """E x, …, E x⁴ after n steps of SGD or noisy GD."""
    found = sdt.exact.affine_moments(kind(loss(probability, multiplicative), lr=lr), [START], [n], order=4)
    return np.array([found.moment(k)[0] for k in (1, 2, 3, 4)])


def of_sde(lr: float, n: int) -> np.ndarray:
    """E X, …, E X⁴ at n lr; the SDE knows of the law its covariance alone."""
    equations = sdt.dynamics.random_linear_sde(loss(SYMMETRIC), lr=lr).moment_equations(4)
    return np.array(list(equations.solve([START], n * lr).values()))


def gaps(probability: float, power: int) -> np.ndarray:
    """E x^power of SGD minus that of noisy GD at T = END, noise of one law everywhere."""
    return np.array([(moments(sdt.SGD, probability, END / n, n, False)
                      - moments(sdt.dynamics.NoisyGD, probability, END / n, n, False))[power - 1] for n in CONSTANT])


def prediction() -> dict[str, Any]:
    """The closed forms at constant law, the orders with noise that depends on the weight."""
    n = np.array(CONSTANT)
    return {"skewed, E x^3": svag.third_moment_gap(step=n, lr=END / n, eigenvalue=A, third_moment=third_moment(SKEWED)),
            "symmetric, E x^4": svag.fourth_moment_gap(step=n, lr=END / n, eigenvalue=A, noise_variance=S_B**2),
            "to the SDE, E x^2": svag.sde_second_moment_gap(t=END, eigenvalue=A, w0=START),
            "shape, E x and E x^2": np.zeros((len(STEPS), 2)),
            "order, skewed": np.array([2.0, 2.0]), "order, symmetric": 3.0, "order, to the SDE": np.ones(4)}


def wrong() -> dict[str, Any]:
    """What each step adds is never contracted; the shape costs an error η, in all moments; and the SDE is O(η²) away."""
    n = np.array(CONSTANT)
    return {"skewed, E x^3": n * svag.skewed_step_gap(lr=END / n, third_moment=third_moment(SKEWED), third_derivative=6.0),
            "symmetric, E x^4": n * svag.symmetric_step_gap(lr=END / n, noise_variance=S_B**2, fourth_derivative=24.0),
            "to the SDE, E x^2": 0.0, "shape, E x and E x^2": np.repeat(END / np.array(STEPS)[:, None], 2, axis=1),
            "order, skewed": np.ones(2), "order, symmetric": 1.0, "order, to the SDE": 2 * np.ones(4)}


def simulation(run: Run) -> dict[str, Any]:
    """All from recursions of moments, to rounding."""
    def shape(probability: float) -> np.ndarray:
        return weak_errors(lambda lr, n: moments(sdt.SGD, probability, lr, n),
                           lambda lr, n: moments(sdt.dynamics.NoisyGD, probability, lr, n), END, STEPS)

    skewed, symmetric = shape(SKEWED), shape(SYMMETRIC)
    to_sde = weak_errors(lambda lr, n: moments(sdt.SGD, SKEWED, lr, n), of_sde, END, STEPS)
    run.data.update(skewed=skewed, symmetric=symmetric, to_sde=to_sde)
    finest = END / np.array(STEPS)
    constant = np.array([moments(sdt.SGD, SKEWED, lr, n, False)[1] for lr, n in zip(finest, STEPS, strict=True)])
    flow = np.array([_second_moment_of_ornstein_uhlenbeck(lr) for lr in finest])
    return {"skewed, E x^3": Exact(gaps(SKEWED, 3), ROUNDING), "symmetric, E x^4": Exact(gaps(SYMMETRIC, 4), ROUNDING),
            "to the SDE, E x^2": limit((constant - flow) / finest, ROUNDING / finest),
            "shape, E x and E x^2": Exact(skewed[:, :2], ROUNDING),
            "order, skewed": local_order(skewed[:, 2:], ROUNDING), "order, symmetric": local_order(symmetric[:, 3], ROUNDING),
            "order, to the SDE": local_order(to_sde, ROUNDING)}


def _second_moment_of_ornstein_uhlenbeck(lr: float) -> float:
    equations = sdt.dynamics.random_linear_sde(loss(SKEWED, False), lr=lr).moment_equations(2)
    return float(list(equations.solve([START], END).values())[1])


def derivation() -> Derivation:
    """One step with generic g and law; many steps on the quadratic; the distance from the SDE."""
    return joint_derivation("The shape of the noise", svag.skewed_step_gap, svag.symmetric_step_gap, svag.third_moment_gap,
                            svag.fourth_moment_gap, svag.sde_second_moment_gap)


def figure(run: Run) -> Figure:
    """The three distances against η."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(6.4, 3.8), layout="constrained")
    ax = fig.subplots()
    lr = END / np.array(STEPS)
    for errors, order, label, marker, colour in (
            (run.data["to_sde"][:, 3], 1, r"SGD $-$ SDE, $\eta^1$: the step", "o", "tab:red"),
            (run.data["skewed"][:, 3], 2, r"skewed $-$ Gaussian noise, $\eta^2$", "s", "tab:orange"),
            (run.data["symmetric"][:, 3], 3, r"symmetric two-point $-$ Gaussian noise, $\eta^3$", "^", "tab:blue")):
        size = np.abs(errors)
        ax.loglog(lr, size, marker, ms=6, mfc="none", color=colour, label=label)
        ax.loglog(lr, size[-1] * (lr / lr[-1]) ** order, color=colour, lw=1)
    ax.set(xlabel=r"learning rate $\eta$", ylabel=rf"difference of $\mathbb{{E}}\,x^4$ at time $\eta k={END:g}$")
    ax.set_xticks(lr, [f"1/{n}" for n in STEPS])
    ax.minorticks_off()
    ax.legend(frameon=False, fontsize=9)
    ax.set_title("What parts SGD from its SDE is the step, not the shape of the noise", fontsize=11)
    return fig


claim = Claim(
    "SVAG-8",
    title="The shape of the noise is of higher order",
    paper="svag",
    statement=r"At a fixed time, SGD with skewed noise differs from noisy GD with Gaussian noise of the same covariance by "
              r"$O(\eta^2)$, with symmetric two-point noise by $O(\eta^3)$, while either differs from the SDE by $O(\eta)$.",
    derivation=derivation,
    prediction=prediction,
    simulation=simulation,
    resolution={"skewed, E x^3": Resolution(Relative(1e-4)), "symmetric, E x^4": Resolution(Relative(1e-4)),
                "to the SDE, E x^2": Resolution(Relative(1e-3)), "shape, E x and E x^2": Resolution(1e-10),
                "order, skewed": Resolution(ORDER), "order, symmetric": Resolution(ORDER),
                "order, to the SDE": Resolution(ORDER)},
    negative_control=Control(r"noise that is not Gaussian costs an error of first order, $\eta$, whatever its shape, in every moment; "
                             r"the gaps at a fixed time are the sum of those of the steps, $-\eta^3\kappa_3$ and $-2\eta^4\Sigma^2$ "
                             r"each; and the SDE is $O(\eta^2)$ away", prediction=wrong),
    figure=figure,
)
