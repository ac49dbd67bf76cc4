r"""SVAG-2: one SVAG step has the moments 1 to 3 of the SDE over the same time, up to O(1/l²).

.. math:: \mathbb E(x_1-x)^k - \mathbb E(X_h-x)^k = \frac{c_k}{l^2} + O(l^{-3}), \quad h=\tfrac\eta l,\; k=1,2,3; \qquad
          c_1 = \eta^2\Bigl(\tfrac{\eta}{4}\Sigma L''' - \tfrac12L'L''\Bigr)

with c_2 and c_3 from SVAG-2's formulas. Two problems in one dimension, whose SVAG step is a sum over pairs of draws: random linear
gradients, where the SDE's moments are matrix exponentials; and a quartic loss with noise that depends on x, where they are the
Taylor series Σ hⁿ/n! 𝓐ⁿφ of the generator 𝓐. In two dimensions, random matrices: moments 1 and 2 differ by O(1/l²).
"""

from __future__ import annotations

from functools import cache
from math import factorial
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from numpy.polynomial import Polynomial
from sdetheory.evidence import Exact

import sdetheory as sdt
from sdetheory.claims import Claim, Control, Resolution, Run
from sdetheory.stats import Estimate, fit_order
from sdetheory.symbolic import Derivation
from sdetheory.theory import svag
from sdetheory.theory.formula import joint_derivation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LR = 0.25
LINEAR = sdt.losses.RandomLinear.two_point(1.0, 0.5, curvature_std=0.75, offset_std=0.5, probability=0.2)
LINEAR_START = 1.25
# L' = x³/3 + x/2 + 1/4 and noise ζ (1 + x/2 + x²/4), ζ two-point of mean 0, variance 1 and third moment 1.5
SLOPE = Polynomial([0.25, 0.5, 0.0, 1 / 3])
SPREAD = Polynomial([1.0, 0.5, 0.25])
ZETA, CHANCES = np.array([2.0, -0.5]), np.array([0.2, 0.8])
START = 0.75
PLANE = sdt.losses.RandomLinear([0.2, 0.5, 0.3], [[[2.0, 0.5], [0.5, 1.0]], [[1.0, -0.25], [-0.25, 0.5]],
                                                  [[0.5, 0.0], [0.0, 2.0]]], [[1.0, 0.5], [-0.5, 1.0], [0.25, -1.0]])
PLANE_START = np.array([0.75, -0.5])
AMPLIFICATIONS = tuple(2**k for k in range(6, 11))
TERMS = 8  # of the series: the next is below (4 h)^9/9! of the first, 1e-22 at l = 64
EPS = np.finfo(float).eps
# Extrapolated over five l the remainder is O(l^{-5}); a gap of c/l² at l = 1024 loses l eps lr/c = 1e-12. A thousandth of the
# coefficients, which are about 0.05, leaves room for both.
RHO = 5e-5


def pairs(amplification: int, values: np.ndarray, chances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted sums of two draws, and their probabilities."""
    first, second = svag.first_weight(amplification=amplification), svag.second_weight(amplification=amplification)
    return (first * values[:, None] + second * values).ravel(), np.outer(chances, chances).ravel()


@cache
def _linear_equations() -> Any:
    """Of y = X − x: the same law of gradients with the offsets b − a x, from 0."""
    moved = sdt.losses.RandomLinear(LINEAR.probabilities, LINEAR.matrices[:, 0, 0],
                                    LINEAR.offsets[:, 0] - LINEAR.matrices[:, 0, 0] * LINEAR_START)
    return sdt.dynamics.random_linear_sde(moved, lr=LR).moment_equations(3)


@cache
def _plane_equations() -> tuple[Any, Any]:
    """The moved problem in the plane, and its moment equations."""
    moved = sdt.losses.RandomLinear(PLANE.probabilities, PLANE.matrices, PLANE.offsets - PLANE.matrices @ PLANE_START)
    return moved, sdt.dynamics.random_linear_sde(moved, lr=LR).moment_equations(2)


def linear_gap(amplification: int) -> np.ndarray:
    """Differences of the moments 1 to 3 of the displacement: random linear gradients."""
    h = LR / amplification
    gradients, p = pairs(amplification, (LINEAR.matrices[:, :, 0] * LINEAR_START - LINEAR.offsets)[:, 0], LINEAR.probabilities)
    step = np.array([p @ (-h * gradients) ** k for k in (1, 2, 3)])
    equations = _linear_equations()
    found = equations.solve([0.0], h)
    return step - np.array([float(found[equations.states[0] ** k]) for k in (1, 2, 3)])


def quartic_gap(amplification: int) -> np.ndarray:
    """The same for the quartic loss."""
    h = LR / amplification
    gradients, p = pairs(amplification, SLOPE(START) + ZETA * SPREAD(START), CHANCES)
    step = np.array([p @ (-h * gradients) ** k for k in (1, 2, 3)])
    shift = Polynomial([START, 1.0])
    drift, diffusion = -SLOPE(shift), LR / 2 * SPREAD(shift) ** 2
    flow = []
    for k in (1, 2, 3):
        phi, total = Polynomial([0.0] * k + [1.0]), 0.0
        for n in range(1, TERMS + 1):
            phi = drift * phi.deriv() + diffusion * phi.deriv(2)
            total += h**n / factorial(n) * phi(0.0)
        flow.append(total)
    return step - np.array(flow)


def plane_gap(amplification: int) -> np.ndarray:
    """Differences of E y_1, E y_2, E y_1², E y_1 y_2, E y_2² of the displacement y in two dimensions."""
    h = LR / amplification
    moved, equations = _plane_equations()
    step = sdt.exact.affine_moments(sdt.dynamics.SVAG(moved, lr=LR, amplification=amplification), [0.0, 0.0], 1)
    found = equations.solve([0.0, 0.0], h)
    x, y = equations.states
    return np.array([step.moment(i, j)[0] - float(found[sympy.Mul(x**i, y**j)])
                     for i, j in ((1, 0), (0, 1), (2, 0), (1, 1), (0, 2))])


def coefficients(frozen: bool = False) -> dict[str, np.ndarray]:
    """c_1, c_2, c_3 of both problems; with `frozen` noise, as if it were constant over the step and L quadratic."""
    third_linear = float(LINEAR.probabilities @ LINEAR.noise.deviations([LINEAR_START])[:, 0] ** 3)
    spread = LINEAR.noise.deviations(np.array([[LINEAR_START], [LINEAR_START + 1], [LINEAR_START - 1]]))[..., 0]
    value, up, down = (LINEAR.probabilities @ spread**2)  # Σ is quadratic: its differences are its derivatives
    sigma = SPREAD**2
    problems = {
        "linear": (float(LINEAR.gradient([LINEAR_START])[0]), float(LINEAR.mean_matrix[0, 0]), 0.0,
                   float(value), float(up - down) / 2, float(up + down - 2 * value), third_linear),
        "quartic": (SLOPE(START), SLOPE.deriv()(START), SLOPE.deriv(2)(START), sigma(START), sigma.deriv()(START),
                    sigma.deriv(2)(START), float(CHANCES @ ZETA**3) * SPREAD(START) ** 3)}
    found = {}
    for name, (slope, hessian, third, noise, noise_slope, noise_curvature, kappa) in problems.items():
        if frozen:
            third = noise_slope = noise_curvature = 0.0
        found[name] = np.array([
            svag.one_step_mean_gap(lr=LR, gradient=slope, hessian=hessian, third_derivative=third, noise_variance=noise),
            svag.one_step_second_moment_gap(lr=LR, gradient=slope, hessian=hessian, noise_variance=noise,
                                            noise_slope=noise_slope, noise_curvature=noise_curvature),
            svag.one_step_third_moment_gap(lr=LR, noise_variance=noise, noise_slope=noise_slope, third_moment=kappa)])
    return found


def prediction() -> dict[str, Any]:
    """The coefficients, and order 2 in two dimensions."""
    return coefficients() | {"order in the plane": np.full(5, 2.0)}


def wrong() -> dict[str, Any]:
    """Noise frozen at the start of the step and a quadratic loss; moments that agree only up to O(1/l)."""
    return coefficients(frozen=True) | {"order in the plane": np.ones(5)}


def extrapolated(gaps: np.ndarray) -> Exact:
    """The limit of l² times the gaps (rows: AMPLIFICATIONS), a power series in 1/l; bounded by the change of the last step.

    Rounding: 10 eps of the moment itself, which is below h = lr/l, times l² and the weights (below 10) of the extrapolations.
    """
    table = [gaps * np.array(AMPLIFICATIONS)[:, None] ** 2]
    for order in range(1, len(AMPLIFICATIONS)):
        table.append((2**order * table[-1][1:] - table[-1][:-1]) / (2**order - 1))
    return Exact(table[-1][0], np.abs(table[-1][0] - table[-2][1]) + 100 * EPS * LR * max(AMPLIFICATIONS))


def simulation(run: Run) -> dict[str, Any]:
    """No random numbers: sums over pairs against the SDE."""
    gaps = {name: np.stack([gap(l) for l in AMPLIFICATIONS])
            for name, gap in (("linear", linear_gap), ("quartic", quartic_gap), ("plane", plane_gap))}
    run.data["gaps"] = gaps
    fits = [fit_order(1 / np.array(AMPLIFICATIONS), np.abs(column)) for column in gaps["plane"].T]
    return {"linear": extrapolated(gaps["linear"]), "quartic": extrapolated(gaps["quartic"]),
            "order in the plane": Estimate([f.order for f in fits], np.zeros(5), [abs(f.drift) for f in fits])}


def derivation() -> Derivation:
    """Itô–Taylor with generic L and Σ, in one dimension for moments 1 to 3, in two and three for moments 1 and 2."""
    return joint_derivation("One step", svag.one_step_mean_gap, svag.one_step_second_moment_gap, svag.one_step_third_moment_gap)


def figure(run: Run) -> Figure:
    """The differences of the moments against l, with c_k/l², and what 5 % more noise does."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(6.4, 3.8), layout="constrained")
    ax = fig.subplots()
    l = np.array(AMPLIFICATIONS)
    stated = coefficients()["quartic"]
    for k, (marker, colour) in enumerate(zip("os^", ("tab:blue", "tab:green", "tab:orange"), strict=True)):
        ax.plot(l, np.abs(run.data["gaps"]["quartic"][:, k]), marker, ms=6, mfc="none", color=colour, label=f"moment {k + 1}")
        ax.plot(l, np.abs(stated[k]) / l**2, color="0.5", lw=1, label="$|c_k|/l^2$" if k == 0 else None)
    more = np.abs(run.data["gaps"]["quartic"][:, 1] + 0.05 * LR**2 / l * float(SPREAD(START)) ** 2)
    ax.plot(l, more, "+:", color="tab:red", lw=1, label="moment 2, 5 % more noise")
    ax.set(xscale="log", yscale="log", xlabel="amplification $l$",
           ylabel=r"$|\mathbb{E}(x_1-x)^k-\mathbb{E}(X_h-x)^k|$")
    ax.set_xticks(AMPLIFICATIONS, [str(n) for n in AMPLIFICATIONS])
    ax.minorticks_off()
    ax.legend(frameon=False, fontsize=9)
    ax.set_title(r"One step on a quartic loss: three moments of the SDE up to $O(l^{-2})$", fontsize=11)
    return fig


claim = Claim(
    "SVAG-2",
    title="Moments of one step",
    paper="svag",
    statement=r"The moments 1 to 3 of one SVAG step and of the SDE over the time $\eta/l$ agree up to $c_kl^{-2}$, with "
              r"$c_1=\eta^2(\frac\eta4\Sigma L'''-\frac12L'L'')$, "
              r"$c_2=\eta^3(\frac12L'\Sigma'+\Sigma L''-\frac\eta4\Sigma\Sigma'')$ and "
              r"$c_3=-\frac32\eta^3(\kappa_3+\eta\Sigma\Sigma')$ in one dimension; moments 1 and 2 in any.",
    derivation=derivation,
    prediction=prediction,
    simulation=simulation,
    resolution={"linear": Resolution(RHO), "quartic": Resolution(RHO), "order in the plane": Resolution(0.1, points=5)},
    negative_control=Control(r"$c_k$ for noise that is constant over the step and a quadratic loss ($\Sigma'=\Sigma''=L'''=0$); and "
                             r"moments that agree up to $O(l^{-1})$ only", prediction=wrong),
    figure=figure,
)
