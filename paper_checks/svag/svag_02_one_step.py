r"""SVAG-2: one SVAG step has the moments 1 to 3 of the SDE over the same time, up to O(1/l²).

.. math:: \mathbb E(x_1-x)^k - \mathbb E(X_h-x)^k = \frac{c_k}{l^2} + O(l^{-3}), \quad h=\tfrac\eta l,\; k=1,2,3; \qquad
          c_1 = \eta^2\Bigl(\tfrac{\eta}{4}\Sigma L''' - \tfrac12L'L''\Bigr)

with c_2 and c_3 from SVAG-2's formulas. Two problems in one dimension, whose SVAG step is a sum over pairs of draws:
random linear gradients, where the SDE's moments are matrix exponentials; and a quartic loss with noise that depends
on x, where they are the Taylor series Σ hⁿ/n! 𝓐ⁿφ of the generator 𝓐. In two dimensions, random matrices: moments 1
and 2 differ by O(1/l²).
"""

from functools import cache
from math import factorial

import numpy as np
import sympy
from numpy.polynomial import Polynomial

import sdetheory as sdt
from sdetheory import Claim, Estimate, Quantity
from sdetheory.stats import fit_order
from sdetheory.theory import svag

from .orders_in_lr import extrapolated

LR = 0.25
LINEAR = sdt.losses.RandomLinear.two_point(1.0, 0.5, curvature_std=0.75, offset_std=0.5, probability=0.2)
LINEAR_START = 1.25
# L' = x³/3 + x/2 + 1/4 and noise ζ (1 + x/2 + x²/4), ζ two-point of mean 0, variance 1 and third moment 1.5
SLOPE, SPREAD = Polynomial([0.25, 0.5, 0.0, 1 / 3]), Polynomial([1.0, 0.5, 0.25])
ZETA, CHANCES, START = np.array([2.0, -0.5]), np.array([0.2, 0.8]), 0.75
PLANE = sdt.losses.RandomLinear([0.2, 0.5, 0.3], [[[2.0, 0.5], [0.5, 1.0]], [[1.0, -0.25], [-0.25, 0.5]],
                                                  [[0.5, 0.0], [0.0, 2.0]]], [[1.0, 0.5], [-0.5, 1.0], [0.25, -1.0]])
PLANE_START = np.array([0.75, -0.5])
AMPLIFICATIONS = tuple(2**k for k in range(6, 11))
TERMS = 8  # of the series: the next is below (4 h)^9/9! of the first, 1e-22 at l = 64
EPS = np.finfo(float).eps
# Extrapolated over five l the remainder is O(l^{-5}); a gap of c/l² at l = 1024 loses l eps lr/c = 1e-12. A
# thousandth of the coefficients, which are about 0.05, leaves room for both.
RHO = 5e-5


def step_moments(amplification, values, chances):
    """Moments 1 to 3 of one SVAG step, by its pairs of draws."""
    first, second = svag.first_weight(amplification=amplification), svag.second_weight(amplification=amplification)
    pairs = (first * values[:, None] + second * values).ravel()
    return np.array([np.outer(chances, chances).ravel() @ (-LR / amplification * pairs) ** k for k in (1, 2, 3)])


@cache
def moved(loss, start, order):
    """The moment equations of y = X − start, from 0: the same law of gradients with the offsets b − a·start."""
    there = sdt.losses.RandomLinear(loss.probabilities, loss.matrices, loss.offsets - loss.matrices @ np.array(start))
    return there, sdt.dynamics.random_linear_sde(there, lr=LR).moment_equations(order)


def linear_gap(amplification):
    """Differences of the moments 1 to 3 of the displacement: random linear gradients."""
    _, equations = moved(LINEAR, (LINEAR_START,), 3)
    gradients = (LINEAR.matrices[:, :, 0] * LINEAR_START - LINEAR.offsets)[:, 0]
    found, (y,) = equations.solve([0.0], LR / amplification), equations.states
    return step_moments(amplification, gradients, LINEAR.probabilities) - [float(found[y**k]) for k in (1, 2, 3)]


def quartic_gap(amplification):
    """The same for the quartic loss."""
    h, shift = LR / amplification, Polynomial([START, 1.0])
    drift, diffusion = -SLOPE(shift), LR / 2 * SPREAD(shift) ** 2
    flow = np.zeros(3)
    for k in (1, 2, 3):
        phi = Polynomial([0.0] * k + [1.0])
        for n in range(1, TERMS + 1):
            phi = drift * phi.deriv() + diffusion * phi.deriv(2)
            flow[k - 1] += h**n / factorial(n) * phi(0.0)
    return step_moments(amplification, SLOPE(START) + ZETA * SPREAD(START), CHANCES) - flow


def plane_gap(amplification):
    """Differences of E y_1, E y_2, E y_1², E y_1 y_2, E y_2² of the displacement y in two dimensions."""
    there, equations = moved(PLANE, tuple(PLANE_START), 2)
    step = sdt.exact.affine_moments(sdt.dynamics.SVAG(there, lr=LR, amplification=amplification), [0.0, 0.0], 1)
    found, (x, y) = equations.solve([0.0, 0.0], LR / amplification), equations.states
    return np.array([step.moment(i, j)[0] - float(found[sympy.Mul(x**i, y**j)])
                     for i, j in ((1, 0), (0, 1), (2, 0), (1, 1), (0, 2))])


def coefficients(slope, hessian, third, noise, noise_slope, noise_curvature, kappa):
    """c_1, c_2, c_3 from the derivatives of L and Σ at the start."""
    return np.array([
        svag.one_step_mean_gap(lr=LR, gradient=slope, hessian=hessian, third_derivative=third, noise_variance=noise),
        svag.one_step_second_moment_gap(lr=LR, gradient=slope, hessian=hessian, noise_variance=noise,
                                        noise_slope=noise_slope, noise_curvature=noise_curvature),
        svag.one_step_third_moment_gap(lr=LR, noise_variance=noise, noise_slope=noise_slope, third_moment=kappa)])


DEVIATIONS = LINEAR.noise.deviations(np.array([[LINEAR_START], [LINEAR_START + 1], [LINEAR_START - 1]]))[..., 0]
SIGMA, UP, DOWN = (LINEAR.probabilities @ DEVIATIONS**2)  # Σ is quadratic: its differences are its derivatives
PROBLEMS = {  # L', L'', L''', Σ, Σ', Σ'', κ₃
    "linear": (LINEAR.gradient([LINEAR_START])[0], LINEAR.mean_matrix[0, 0], 0.0, SIGMA, (UP - DOWN) / 2,
               UP + DOWN - 2 * SIGMA, LINEAR.probabilities @ DEVIATIONS[:, 0] ** 3),
    "quartic": (*(SLOPE.deriv(n)(START) for n in range(3)), *((SPREAD**2).deriv(n)(START) for n in range(3)),
                CHANCES @ ZETA**3 * SPREAD(START) ** 3)}
# Wrong: noise frozen at the start of the step and a quadratic loss; and moments that agree up to O(1/l).
RIGHT = {name: coefficients(*at) for name, at in PROBLEMS.items()}
FROZEN = {name: coefficients(slope, hessian, 0.0, noise, 0.0, 0.0, kappa)
          for name, (slope, hessian, _, noise, _, _, kappa) in PROBLEMS.items()}
LAST = "what the last extrapolation in $1/l$ moved"
QUANTITIES = {name: Quantity(RIGHT[name], RHO, wrong=FROZEN[name], bias_source=LAST) for name in PROBLEMS}
QUANTITIES["order in the plane"] = Quantity(
    2.0, 0.1, wrong=1.0, points=[rf"$\mathbb{{E}}\,{y}$" for y in ("y_1", "y_2", "y_1^2", "y_1y_2", "y_2^2")],
    bias_source="the drift of the order over the range of $l$")


def measure(trial):
    """No random numbers: sums over pairs against the SDE."""
    gaps = {name: np.stack([gap(l) for l in AMPLIFICATIONS])
            for name, gap in (("linear", linear_gap), ("quartic", quartic_gap), ("plane", plane_gap))}
    trial.data.update(gaps)
    fits = [fit_order(1 / np.array(AMPLIFICATIONS), np.abs(column)) for column in gaps["plane"].T]
    square = np.array(AMPLIFICATIONS)[:, None] ** 2
    rounding = 10 * EPS * LR * max(AMPLIFICATIONS)  # 10 eps of the moments, which are below h = lr/l, times l²
    return {name: extrapolated(square * gaps[name], rounding) for name in PROBLEMS} | {
        "order in the plane": Estimate([f.order for f in fits], np.zeros(5), [abs(f.drift) for f in fits])}


def figure(trial, ax):
    """The differences of the moments against l, with c_k/l², and what 5 % more noise does."""
    l, gaps = np.array(AMPLIFICATIONS), trial.data["quartic"]
    for k, marker in enumerate("os^"):
        ax.plot(l, np.abs(gaps[:, k]), marker, ms=6, mfc="none", color=f"C{k}", label=f"moment {k + 1}")
        ax.plot(l, np.abs(RIGHT["quartic"][k]) / l**2, color="0.5", lw=1, label="$|c_k|/l^2$" if k == 0 else None)
    more = np.abs(gaps[:, 1] + 0.05 * LR**2 / l * SPREAD(START) ** 2)
    ax.plot(l, more, "+:", color="C3", lw=1, label="moment 2, 5 % more noise")
    ax.set(xscale="log", yscale="log", xlabel="amplification $l$",
           ylabel=r"$|\mathbb{E}(x_1-x)^k-\mathbb{E}(X_h-x)^k|$",
           title=r"One step on a quartic loss: three moments of the SDE up to $O(l^{-2})$")
    ax.set_xticks(AMPLIFICATIONS, [str(n) for n in AMPLIFICATIONS])
    ax.minorticks_off()
    ax.legend()


claim = Claim(
    "SVAG-2", "Moments of one step", paper="svag",
    where="the proof that SVAG approximates the SDE: the moments of one step",
    statement=r"The moments 1 to 3 of one SVAG step and of the SDE over the time $\eta/l$ agree up to $c_kl^{-2}$, "
              r"with $c_1=\eta^2(\frac\eta4\Sigma L'''-\frac12L'L'')$, $c_2=\eta^3(\frac12L'\Sigma'+\Sigma "
              r"L''-\frac\eta4\Sigma\Sigma'')$ and $c_3=-\frac32\eta^3(\kappa_3+\eta\Sigma\Sigma')$ in one "
              "dimension; moments 1 and 2 in any.",
    setup=r"No simulation: sums over the pairs of draws of one step at $l=64$ to $1024$, $\eta=0.25$, against the "
          "SDE's moments, for linear gradients and a quartic loss in $d=1$ and linear gradients in $d=2$",
    proof=svag.by_claim("SVAG-2"), quantities=QUANTITIES, measure=measure, figure=figure,
    control=r"$c_k$ for noise that is constant over the step and a quadratic loss ($\Sigma'=\Sigma''=L'''=0$); and "
            r"moments that agree up to $O(l^{-1})$ only")
