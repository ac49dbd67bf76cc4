r"""Stationary covariances on a quadratic: discrete and continuous Lyapunov equations (SVAG-4).

.. math:: S = (I-hA)S(I-hA)^\top + h\eta\Sigma,\quad h = \eta/l \quad(\text{SVAG}), \qquad AS + SA = \eta\Sigma
          \quad(\text{SDE})

for L = ½ xᵀAx with symmetric A and noise of constant covariance Σ. Entries are in the eigenbasis of A: any dimension.
"""

from __future__ import annotations

import sympy

from ...sde import SDE
from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from .amplified_gradient import svag_weights
from .independent_draws import Draw, expectation

L, LR = symbol("amplification"), symbol("lr")
A, AJ = symbol("eigenvalue"), symbol("other_eigenvalue", positive=True)
COV, VAR = symbol("noise_covariance"), symbol("noise_variance", nonnegative=True)
S = sympy.Symbol("S_ij", real=True)
ASSUMPTIONS = {"other_eigenvalue": {"positive": True}, "noise_variance": {"nonnegative": True}}
MEANINGS = {"eigenvalue": "eigenvalue of the Hessian", "other_eigenvalue": "another eigenvalue of it (or the same)",
            "noise_covariance": "entry of the gradient noise's covariance in these two eigendirections",
            "noise_variance": "variance of the gradient noise in this eigendirection"}


def svag_covariance_step(d: Derivation) -> sympy.Expr:
    """Derive E x_i' x_j' of an SVAG step as a function of S_ij = E x_i x_j; it goes into `d` and is returned."""
    weights = svag_weights(d)
    d.assume(r"$L=\frac12x^TAx$, noise of constant covariance; coordinates along eigenvectors of $A$.")
    x, y = sympy.symbols("x_i x_j", real=True)
    suu, svv = sympy.symbols("Sigma_ii Sigma_jj", real=True)
    new, draws = [(1 - LR / L * A) * x, (1 - LR / L * AJ) * y], [Draw([x, y], {x: 0, y: 0, x * y: S})]
    for n, weight in enumerate(weights, 1):
        u, v = sympy.symbols(f"xi{n}_i xi{n}_j", real=True)
        draws.append(Draw([u, v], {u: 0, v: 0, u * v: COV, u**2: suu, v**2: svv}))
        new = [new[0] - LR / L * weight * u, new[1] - LR / L * weight * v]
    found = sympy.simplify(expectation(new[0] * new[1], *draws))
    d.step(r"An SVAG step: $\mathbb E\,x_i'x_j'$.", sympy.collect(sympy.expand(found), S))
    return found


def sde_covariance_rate(d: Derivation) -> sympy.Expr:
    """Derive d/dt E X_i X_j as a function of S_ij; it goes into `d` and is returned."""
    x, y, p, q, r = sympy.symbols("x_i x_j p q r", real=True)
    root = sympy.sqrt(LR)
    sde = SDE([x, y], [-A * x, -AJ * y], [[root * p, 0], [root * q, root * r]])
    rate = sympy.expand(sde.generator(x * y)).subs(p * q, COV).subs(x * y, S)
    d.step(r"The SDE: the generator on $x_ix_j$, the noise in these directions being $(\eta\Sigma)^{1/2}dW$ with "
           r"$\Sigma_{ij}=pq$ (Cholesky).", rate)
    return rate


def _derive_svag(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The stationary covariance of SVAG")
    step = svag_covariance_step(d)
    d.step(r"At rest $S_{ij}$ stays as it is.", sympy.factor(sympy.solve(step - S, S)[0]))
    d.residual("it is at rest", step.subs(S, claimed) - claimed)
    return d.residual("the only one", sympy.solve(step - S, S)[0] - claimed)


def _derive_sde(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The stationary covariance of the SDE")
    d.assume(r"$L=\frac12x^TAx$, noise of constant covariance; coordinates along eigenvectors of $A$.")
    rate = sde_covariance_rate(d)
    d.residual("it is at rest", rate.subs(S, claimed))
    of_svag = sympy.solve(svag_covariance_step(d) - S, S)[0]
    d.residual("SVAG for large l", sympy.limit(of_svag, L, sympy.oo) - claimed)
    return d


@closed_form("SVAG-4", _derive_svag, meanings=MEANINGS, assumptions=ASSUMPTIONS,
             needs=lambda lr, eigenvalue, other_eigenvalue, amplification: [
                 lr * eigenvalue < 2 * amplification, lr * other_eigenvalue < 2 * amplification])
def svag_stationary_covariance(amplification, lr, eigenvalue, other_eigenvalue, noise_covariance):
    r"""An entry of the stationary covariance of SVAG(l), in the eigenbasis of the Hessian; l = 1 is SGD.

    >>> svag_stationary_covariance(amplification=1, lr=1.0, eigenvalue=1.0, other_eigenvalue=0.5, noise_covariance=2.0)
    2.0
    """
    return lr * noise_covariance / (eigenvalue + other_eigenvalue - lr / amplification * eigenvalue * other_eigenvalue)


@closed_form("SVAG-4", _derive_sde, meanings=MEANINGS, assumptions=ASSUMPTIONS)
def sde_stationary_covariance(lr, eigenvalue, other_eigenvalue, noise_covariance):
    r"""An entry of the stationary covariance of the SDE, in the eigenbasis of the Hessian.

    >>> sde_stationary_covariance(lr=1.0, eigenvalue=1.0, other_eigenvalue=3.0, noise_covariance=2.0)
    0.5
    """
    return lr * noise_covariance / (eigenvalue + other_eigenvalue)


def _derive_variance(amplification: sympy.Expr | None):
    def derive(claimed: sympy.Expr) -> Derivation:
        d = Derivation("The stationary variance")
        here = {AJ: A, COV: VAR}
        if amplification is None:
            at_rest = sympy.solve(sde_covariance_rate(d), S)[0].subs(here)
        else:
            at_rest = sympy.solve(svag_covariance_step(d) - S, S)[0].subs(here).subs(L, amplification)
        return d.residual("variance", at_rest - claimed)
    return derive


@closed_form("SVAG-4", _derive_variance(sympy.S.One), meanings=MEANINGS, assumptions=ASSUMPTIONS,
             needs=lambda lr, eigenvalue: [lr * eigenvalue < 2])
def sgd_stationary_variance(lr, eigenvalue, noise_variance):
    r"""The stationary variance of SGD, and of noisy GD, on ½ a x².

    >>> sgd_stationary_variance(lr=1.0, eigenvalue=1.0, noise_variance=2.0)
    2.0
    """
    return lr * noise_variance / (eigenvalue * (2 - lr * eigenvalue))


@closed_form("SVAG-4", _derive_variance(L), meanings=MEANINGS, assumptions=ASSUMPTIONS,
             needs=lambda lr, eigenvalue, amplification: [lr * eigenvalue < 2 * amplification])
def svag_stationary_variance(amplification, lr, eigenvalue, noise_variance):
    r"""The stationary variance of SVAG(l) on ½ a x².

    >>> svag_stationary_variance(amplification=2, lr=1.0, eigenvalue=2.0, noise_variance=2.0)
    1.0
    """
    return lr * noise_variance / (eigenvalue * (2 - lr * eigenvalue / amplification))


@closed_form("SVAG-4", _derive_variance(None), meanings=MEANINGS, assumptions=ASSUMPTIONS)
def sde_stationary_variance(lr, eigenvalue, noise_variance):
    r"""The stationary variance of the SDE on ½ a x².

    >>> sde_stationary_variance(lr=1.0, eigenvalue=1.0, noise_variance=2.0)
    1.0
    """
    return lr * noise_variance / (2 * eigenvalue)
