r"""For linear gradients the shape of the noise is of higher order than the step (SVAG-8).

.. math:: x' = x - \eta(L'(x) + \xi): \quad
          \mathbb E\,g(x'_{\mathrm{SGD}}) - \mathbb E\,g(x'_{\mathrm{NGD}})
          = -\tfrac{\eta^3}{6}\kappa_3\,g''' + O(\eta^4), \quad\text{or}\quad
          -\tfrac{\eta^4}{12}\Sigma^2 g'''' + O(\eta^5)

for ξ with third moment κ₃, and for symmetric two-point noise: per step, so O(η²) and O(η³) at a fixed time t = ηk. The
SDE is O(η) away from both.
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from .independent_draws import Draw, expectation
from .linear_gradients import compounded

LR, A, STEP, T, X0 = symbol("lr"), symbol("eigenvalue"), symbol("step"), symbol("t"), symbol("w0")
K3, VAR = symbol("third_moment"), symbol("noise_variance", nonnegative=True)
D3, D4 = symbol("third_derivative"), symbol("fourth_derivative")
XI = sympy.Symbol("xi", real=True)
ASSUMPTIONS = {"noise_variance": {"nonnegative": True}}
MEANINGS = {"third_moment": "third central moment of the gradient noise", "noise_variance": "variance of the gradient noise",
            "third_derivative": "third derivative of the test function g", "w0": "start",
            "fourth_derivative": "fourth derivative of the test function g", "eigenvalue": "curvature a of ½ a x²"}
GAUSSIAN = Draw([XI], {XI: 0, XI**2: VAR, XI**3: 0, XI**4: 3 * VAR**2})
SKEWED = Draw([XI], {XI: 0, XI**2: VAR, XI**3: K3, XI**4: sympy.Symbol("m4", positive=True)})
TWO_POINT = Draw([XI], {XI: 0, XI**2: VAR, XI**3: 0, XI**4: VAR**2})


def step_gap(d: Derivation, law: Draw) -> sympy.Expr:
    """Derive E g(x') for noise of this law minus that for Gaussian noise, up to O(η⁵); it goes into `d`."""
    slopes = [*sympy.symbols("g g1 g2", real=True), D3, D4]
    d.assume(r"$g$ is smooth with bounded derivatives; they are taken at $x-\eta L'(x)$, which is the same for both. In "
             r"several dimensions they are those along the noise.")
    taylor = sum((-LR * XI) ** k / sympy.factorial(k) * slope for k, slope in enumerate(slopes))
    gap = sympy.expand(expectation(taylor, law) - expectation(taylor, GAUSSIAN))
    d.step(r"Taylor's formula to fourth order in $\eta\xi$; the difference of the expectations.", gap)
    return gap


def _derive_step(law: Draw, order: int):
    def derive(claimed: sympy.Expr) -> Derivation:
        d = Derivation("One step with noise of another shape")
        gap = step_gap(d, law)
        d.residual("no lower order", sympy.Matrix([gap.coeff(LR, k) for k in range(order)]))
        return d.residual("leading term", gap.coeff(LR, order) * LR**order - claimed)
    return derive


@closed_form("SVAG-8", _derive_step(SKEWED, 3), clock="step", meanings=MEANINGS)
def skewed_step_gap(lr, third_moment, third_derivative):
    r"""The leading term of E g after one step of SGD minus that of noisy GD, for skewed noise.

    >>> skewed_step_gap(lr=1.0, third_moment=6.0, third_derivative=1.0)
    -1.0
    """
    return -lr**3 * third_moment * third_derivative / 6


@closed_form("SVAG-8", _derive_step(TWO_POINT, 4), clock="step", meanings=MEANINGS, assumptions=ASSUMPTIONS)
def symmetric_step_gap(lr, noise_variance, fourth_derivative):
    r"""The leading term of E g after one step of SGD minus that of noisy GD, for symmetric two-point noise.

    >>> symmetric_step_gap(lr=1.0, noise_variance=1.0, fourth_derivative=12.0)
    -1.0
    """
    return -lr**4 * noise_variance**2 * fourth_derivative / 12


def moment_gap_step(d: Derivation, law: Draw, order: int) -> tuple[sympy.Expr, sympy.Expr]:
    """Derive the recursion D' = q D + f of the gap D of the central moment of this order; return q and f."""
    x = sympy.Symbol("x", real=True)
    d.assume(r"$L=\frac12ax^2$, noise of the same law everywhere; mean and variance (and for symmetric noise the third "
             r"moment) of the two are equal, so the gap of central moments is that of moments.")
    gap, central = sympy.Symbol("D", real=True), sympy.symbols("c2 c3 c4", real=True)
    here = Draw([x], {x: 0, x**2: central[0], x**3: central[1], x**4: central[2]})
    there = Draw([x], {x: 0, x**2: central[0], x**3: central[1] - (gap if order == 3 else 0),
                       x**4: central[2] - (gap if order == 4 else 0)})
    new = ((1 - LR * A) * x - LR * XI) ** order
    found = sympy.expand(expectation(new, here, law) - expectation(new, there, GAUSSIAN))
    d.step(rf"$x'=(1-\eta a)x-\eta\xi$ about its mean: the gap of $\mathbb E\,x'^{order}$, $D$ the gap before.",
           sympy.factor(found))
    return sympy.factor(found.coeff(gap, 1)), sympy.factor(found.coeff(gap, 0))


def _derive_moment(law: Draw, order: int):
    def derive(claimed: sympy.Expr) -> Derivation:
        d = Derivation("The gap after many steps")
        multiplier, force = moment_gap_step(d, law, order)
        q = sympy.Symbol("q", positive=True)  # (1 - lr a)^order; powers of it are kept as they are
        d.residual("multiplier", multiplier - (1 - LR * A) ** order)
        power = (1 - LR * A) ** (order * STEP)
        written = claimed.subs(power, q**STEP).subs(STEP, symbol("n", nonnegative=True, integer=True))
        n = symbol("n", nonnegative=True, integer=True)
        d.step("Geometric sum.", claimed)
        recursion = written.subs(n, n + 1) - (multiplier * written + force)
        d.residual("one step more", sympy.powsimp(sympy.expand(recursion)).subs(q ** (n + 1), multiplier * q**n))
        d.residual("no gap at the start", claimed.subs(STEP, 0))
        late = sympy.series((claimed / LR ** (order - 1)).subs(power, sympy.exp(-order * A * T)), LR, 0, 1).removeO()
        d.residual("(1 - lr a)^(t/lr) tends to exp(-a t)", compounded(1 - LR * A, LR, T, 0) - sympy.exp(-A * T))
        return d.residual("of order lr^2 (skewed) or lr^3 (symmetric) at a fixed time t",
                          late + {3: K3, 4: 2 * VAR**2}[order] * (1 - sympy.exp(-order * A * T)) / (order * A))
    return derive


@closed_form("SVAG-8", _derive_moment(SKEWED, 3), clock="step", meanings=MEANINGS,
             needs=lambda lr, eigenvalue: [lr * eigenvalue < 2])
def third_moment_gap(step, lr, eigenvalue, third_moment):
    r"""E x³ of SGD minus that of noisy GD on ½ a x² with noise of constant law: of order lr² at fixed lr · step.

    >>> third_moment_gap(step=1, lr=1.0, eigenvalue=0.5, third_moment=2.0)
    -2.0
    """
    q = 1 - lr * eigenvalue
    return -lr**3 * third_moment * (1 - q ** (3 * step)) / (1 - q**3)


@closed_form("SVAG-8", _derive_moment(TWO_POINT, 4), clock="step", meanings=MEANINGS, assumptions=ASSUMPTIONS,
             needs=lambda lr, eigenvalue: [lr * eigenvalue < 2])
def fourth_moment_gap(step, lr, eigenvalue, noise_variance):
    r"""E x⁴ of SGD with symmetric two-point noise minus that of noisy GD on ½ a x²: of order lr³ at fixed lr · step.

    >>> fourth_moment_gap(step=1, lr=1.0, eigenvalue=0.5, noise_variance=1.0)
    -2.0
    """
    q = 1 - lr * eigenvalue
    return -2 * lr**4 * noise_variance**2 * (1 - q ** (4 * step)) / (1 - q**4)


def _derive_sde_gap(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The distance from the SDE")
    q = 1 - LR * A
    later = sympy.expand(compounded(q**2, LR, T, 1))
    variance = LR**2 * VAR * (1 - later.subs(LR, 0)) / (1 - sympy.expand(q**2))
    d.assume(r"$L=\frac12ax^2$, noise of the same law everywhere; $t=\eta k$.")
    d.step(r"SGD and NGD alike: $\mathbb E\,x_k^2=q^{2k}x_0^2+\eta^2\sigma^2\frac{1-q^{2k}}{1-q^2}$ with $q=1-\eta a$; "
           r"$q^{2k}$ up to $O(\eta^2)$:", later)
    x = sympy.Symbol("x", real=True)
    one = expectation((q * x - LR * XI) ** 2, Draw([x], {x: sympy.Symbol("m1"), x**2: sympy.Symbol("m2")}), TWO_POINT)
    d.residual("one step", one - (q**2 * sympy.Symbol("m2") + LR**2 * VAR))
    there = sympy.exp(-2 * A * T) * X0**2 + LR * VAR * (1 - sympy.exp(-2 * A * T)) / (2 * A)
    d.residual("the SDE's second moment", there.diff(T) - (-2 * A * there + LR * VAR))
    gap = sympy.series(sympy.expand(later * X0**2) + variance - there, LR, 0, 2).removeO()
    d.residual("no gap without a step", sympy.simplify(gap.subs(LR, 0)))
    return d.residual("first order", sympy.simplify(gap.coeff(LR, 1)) - claimed)


@closed_form("SVAG-8", _derive_sde_gap, clock="flow", meanings=MEANINGS)
def sde_second_moment_gap(t, eigenvalue, w0):
    r"""(E x² of SGD or noisy GD minus that of the SDE at time t) / lr for small lr: the step's part, of first order.

    >>> round(sde_second_moment_gap(t=0.5, eigenvalue=1.0, w0=2.0), 6)
    -0.735759
    """
    return -eigenvalue**2 * t * sympy.exp(-2 * eigenvalue * t) * w0**2
