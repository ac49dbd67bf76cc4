r"""SVAG-8: for linear gradients skewed noise costs an error η² at a fixed time, symmetric noise η³, and the step η.

.. math:: \mathbb E\,g(x_{\mathrm{SGD}}) - \mathbb E\,g(x_{\mathrm{NGD}}) = O(\eta^2)\ (\text{skewed}),\quad
          O(\eta^3)\ (\text{symmetric two-point}), \qquad
          \mathbb E\,g(x_{\mathrm{SGD}}) - \mathbb E\,g(X_T) = O(\eta)

NGD has Gaussian noise of the same covariance. Gradients (a + s_a ζ)x − (b + s_b ζ) with one two-point ζ: the noise
depends on the weight, and all moments are known to rounding. Clock: gradient-flow time, T = ηk.
"""

import numpy as np

import sdetheory as sdt
from sdetheory import Claim, Exact, Quantity, Relative
from sdetheory.theory import svag

from .orders_in_lr import limit, local_order, weak_errors

A, B, S_A, S_B = 1.0, 0.25, 0.5, 1.0
SKEWED, SYMMETRIC = 0.2, 0.5  # the probability of the larger gradient
START, END = 1.5, 1.0
STEPS = np.array([16, 32, 64, 128, 256])  # lr = 1/16 to 1/256: p(lr) - p of order lr, so 1 % at the end
CONSTANT = np.array([4, 16, 64])  # numbers of steps for the closed forms, at noise of one law everywhere
LR, LR_CONSTANT = END / STEPS, END / CONSTANT

# A moment up to order 4 is carried by matrices with entries <= 2 through 256 steps that contract: 5 products a row, a
# step adds at most 8 eps, on values below 10 (E x^4 starts at 5).
ROUNDING = 256 * 8 * 10 * np.finfo(float).eps
ORDER = 0.1


def loss(probability, multiplicative=True):
    """Two outcomes; without multiplicative noise they differ by their offset alone."""
    offset, std = (B, S_A) if multiplicative else (0.0, 0.0)
    return sdt.losses.RandomLinear.two_point(A, offset, curvature_std=std, offset_std=S_B, probability=probability)


def moments(kind, probability, lr, n, multiplicative=True):
    """E x, …, E x⁴ after n steps of SGD or noisy GD."""
    found = sdt.exact.affine_moments(kind(loss(probability, multiplicative), lr=lr), [START], [int(n)], order=4)
    return np.array([found.moment(k)[0] for k in (1, 2, 3, 4)])


def of_sde(lr, n, multiplicative=True, order=4):
    """E X, …, E X⁴ at n lr; the SDE knows of the law its covariance alone."""
    equations = sdt.dynamics.random_linear_sde(loss(SYMMETRIC, multiplicative), lr=lr).moment_equations(order)
    return np.array(list(equations.solve([START], n * lr).values()), dtype=float)


def shape(probability, steps, multiplicative=True):
    """The moments of SGD minus those of noisy GD at T = END, a row a number of steps."""
    return weak_errors(lambda lr, n: moments(sdt.SGD, probability, lr, n, multiplicative),
                       lambda lr, n: moments(sdt.dynamics.NoisyGD, probability, lr, n, multiplicative), END, steps)


THIRD_MOMENT = loss(SKEWED).probabilities @ -loss(SKEWED, False).noise.offsets.ravel() ** 3  # of the noise −S_B ζ
QUANTITIES = {
    # wrong: what each step adds is never contracted
    "skewed, E x^3": Quantity(
        svag.third_moment_gap(step=CONSTANT, lr=LR_CONSTANT, eigenvalue=A, third_moment=THIRD_MOMENT), Relative(1e-4),
        wrong=CONSTANT * svag.skewed_step_gap(lr=LR_CONSTANT, third_moment=THIRD_MOMENT, third_derivative=6.0)),
    "symmetric, E x^4": Quantity(
        svag.fourth_moment_gap(step=CONSTANT, lr=LR_CONSTANT, eigenvalue=A, noise_variance=S_B**2), Relative(1e-4),
        wrong=CONSTANT * svag.symmetric_step_gap(lr=LR_CONSTANT, noise_variance=S_B**2, fourth_derivative=24.0)),
    # wrong: the SDE has the second moment of SGD up to O(η²), since it has its covariance
    "to the SDE, E x^2": Quantity(svag.sde_second_moment_gap(t=END, eigenvalue=A, w0=START), Relative(1e-3), wrong=0.0,
                                  bias_source=r"what the last extrapolation in $\eta$ moved"),
    # wrong: skewed noise moves every moment, as it does E x^3 where its law is the same everywhere
    "shape, E x and E x^2": Quantity(
        np.zeros((len(STEPS), 2)), 1e-10,
        wrong=svag.third_moment_gap(step=STEPS, lr=LR, eigenvalue=A, third_moment=THIRD_MOMENT)[:, None] * np.ones(2)),
    # wrong: noise that is not Gaussian costs one order of η, like the step; symmetric noise no less than skewed noise
    **{f"order, {name}": Quantity(right, ORDER, wrong=wrong, bias_source=r"how it moved at the last halving of $\eta$")
       for name, right, wrong in (("skewed", np.full(2, 2.0), np.ones(2)), ("symmetric", 3.0, 2.0),
                                  ("to the SDE", np.ones(4), np.full(4, 2.0)))},
}


def measure(trial):
    """All from recursions of moments, to rounding."""
    skewed, symmetric = shape(SKEWED, STEPS), shape(SYMMETRIC, STEPS)
    to_sde = weak_errors(lambda lr, n: moments(sdt.SGD, SKEWED, lr, n), of_sde, END, STEPS)
    constant = weak_errors(lambda lr, n: moments(sdt.SGD, SKEWED, lr, n, False)[1],
                           lambda lr, n: of_sde(lr, n, False, 2)[1], END, STEPS)
    trial.data.update(skewed=skewed, symmetric=symmetric, to_sde=to_sde)
    return {"skewed, E x^3": Exact(shape(SKEWED, CONSTANT, False)[:, 2], ROUNDING),
            "symmetric, E x^4": Exact(shape(SYMMETRIC, CONSTANT, False)[:, 3], ROUNDING),
            "to the SDE, E x^2": limit(constant / LR, ROUNDING / LR),
            "shape, E x and E x^2": Exact(skewed[:, :2], ROUNDING),
            "order, skewed": local_order(skewed[:, 2:], ROUNDING),
            "order, symmetric": local_order(symmetric[:, 3], ROUNDING),
            "order, to the SDE": local_order(to_sde, ROUNDING)}


def figure(trial, ax):
    """The three distances against η."""
    for name, order, label, marker in (
            ("to_sde", 1, r"SGD $-$ SDE, $\eta^1$: the step", "o"),
            ("skewed", 2, r"skewed $-$ Gaussian noise, $\eta^2$", "s"),
            ("symmetric", 3, r"symmetric two-point $-$ Gaussian noise, $\eta^3$", "^")):
        size = np.abs(trial.data[name][:, 3])
        ax.loglog(LR, size, marker, ms=6, mfc="none", color=f"C{order}", label=label)
        ax.loglog(LR, size[-1] * (LR / LR[-1]) ** order, color=f"C{order}", lw=1)
    ax.set(xlabel=r"learning rate $\eta$", ylabel=rf"difference of $\mathbb{{E}}\,x^4$ at time $\eta k={END:g}$",
           title=r"Linear gradients: the step costs $\eta$, the shape of the noise $\eta^2$ or $\eta^3$")
    ax.set_xticks(LR, [f"1/{n}" for n in STEPS])
    ax.minorticks_off()
    ax.legend()


claim = Claim(
    "SVAG-8", "For linear gradients the shape of the noise is of higher order than the step", paper="svag",
    where="the section that compares SGD, by experiment, with GD under Gaussian noise of the same covariance; the "
          "orders are derived here",
    statement="One step with skewed noise and one with Gaussian noise of the same covariance differ by "
              r"$-\frac{\eta^3}6\kappa_3g^{(3)}$ in $\mathbb Eg$, with symmetric two-point noise by "
              r"$-\frac{\eta^4}{12}\Sigma^2g^{(4)}$, to leading order. For linear gradients in one dimension, at a "
              r"fixed time, the moments of SGD differ so from those of noisy GD by $O(\eta^2)$ and by $O(\eta^3)$, "
              r"while either differs from the SDE by $O(\eta)$.",
    setup="No simulation: moment recursions of SGD and noisy GD and moment equations of the SDE, for linear "
          r"gradients in $d=1$ with two-point noise, up to the time $1$ at $\eta=1/16$ to $1/256$",
    proof=svag.by_claim("SVAG-8"), quantities=QUANTITIES, measure=measure, figure=figure,
    control=r"skewed noise costs an error of first order, $\eta$, and symmetric noise of second order; skewed noise "
            r"moves every moment; the gaps at a fixed time are the sum of those of the steps, $-\eta^3\kappa_3$ and "
            r"$-2\eta^4\Sigma^2$ each; and the SDE is $O(\eta^2)$ away")
