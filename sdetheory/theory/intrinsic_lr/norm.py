r"""The norm of a scale-invariant weight under noise and decay: a clock of its own (ILR-2, 3, 4, 5, 7, 14).

.. math:: dW = -\eta\nabla L(W)dt - \eta\lambda W dt + \eta\Sigma(W)^{1/2}dB, \qquad \gamma = \|W\|^4/\eta^2,
          \qquad \dot\gamma = -4\lambda_e\gamma + 2\operatorname{Tr}\Sigma(\hat W).

All derivations hold for every dimension: they use :math:`\langle W, \nabla L\rangle = 0` and :math:`\Sigma(W)W = 0`.
"""

from __future__ import annotations

import sympy

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ..formula import closed_form
from ..inner_products import InnerProducts, up_to_dt

LR, DECAY, RATE, R = symbol("lr"), symbol("weight_decay"), symbol("intrinsic_lr"), symbol("sq_norm")
TRACE, GAMMA, GAMMA0, T = symbol("noise_trace"), symbol("gamma"), symbol("gamma0"), symbol("t")
KAPPA = symbol("drop_factor")
W, G, XI, Q = sympy.symbols("W G xi q", real=True)
S = sympy.Symbol("s", nonnegative=True)

#: the SDE with dB = q xi, dt = q^2; G is the gradient at W, xi has covariance Sigma(W)
SDE = -LR * G * Q**2 - LR * DECAY * W * Q**2 + LR * XI * Q
ORTHOGONAL = InnerProducts({(W, W): R, (W, G): 0, (W, XI): 0, (XI, XI): TRACE / R,
                            (G, XI): sympy.Symbol("c", real=True), (G, G): sympy.Symbol("g2", nonnegative=True)})


def norm_sde(d: Derivation) -> sympy.Expr:
    """Derive the drift of R = |W|^2 and that R has no noise; both go into `d`; return the drift."""
    d.assume(r"$L$ is scale-invariant, sample by sample: $\langle W,\nabla L\rangle=0$, $\Sigma(W)W=0$, "
             r"$\mathrm{Tr}\,\Sigma(W)=\sigma^2/\|W\|^2$ (ILR-1). Any dimension: algebra of inner products.")
    d.step(r"The SDE, with $dB=\sqrt{dt}\,\xi$ and $q=\sqrt{dt}$.", SDE)
    noise, drift = up_to_dt(2 * ORTHOGONAL(W, SDE) + ORTHOGONAL(SDE, SDE), Q)
    d.step(r"Itô's formula: $d\|W\|^2 = 2\langle W,dW\rangle + \langle dW,dW\rangle$; the drift of $R=\|W\|^2$:", drift)
    d.residual("noise of |W|^2", noise)
    return drift


def gamma_ode(d: Derivation) -> sympy.Expr:
    """Derive the right-hand side of the equation of gamma from the SDE; it goes into `d` and is returned."""
    drift_r = norm_sde(d)
    drift = (2 * R * drift_r / LR**2).subs(DECAY, RATE / LR).subs(R, LR * sympy.sqrt(GAMMA))
    drift = sympy.expand(sympy.simplify(drift))
    d.step(r"$R$ has no noise, so $d\gamma = 2R\,dR/\eta^2$; with $\lambda=\lambda_e/\eta$ and $R=\eta\gamma^{1/2}$, "
           r"$\dot\gamma$ is", drift)
    return drift


def gamma_solution(d: Derivation, start: sympy.Expr = GAMMA0, rate: sympy.Expr = RATE) -> sympy.Expr:
    """Derive gamma_t for constant Tr Sigma from the SDE; return it."""
    ode = gamma_ode(d)
    decay, source = -ode.coeff(GAMMA, 1).subs(RATE, rate), ode.coeff(GAMMA, 0)
    solution = sympy.exp(-decay * T) * start + sympy.integrate(sympy.exp(-decay * (T - S)) * source, (S, 0, T))
    d.step(r"Variation of constants, $\mathrm{Tr}\,\Sigma\equiv\sigma^2$.", solution)
    there = ode.subs({GAMMA: solution, RATE: rate}, simultaneous=True)
    d.residual("it solves the equation", sympy.diff(solution, T) - there)
    d.residual("it starts at gamma_0", solution.subs(T, 0) - start)
    return solution


def _derive_gamma_drift(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The equation of gamma")
    return d.residual("drift of gamma", gamma_ode(d) - claimed)


@closed_form("ILR-2", _derive_gamma_drift, clock="step")
def gamma_drift(gamma, intrinsic_lr, noise_trace):
    r"""The time derivative of gamma = |W|^4/lr^2: a linear equation without noise of its own.

    >>> gamma_drift(gamma=100.0, intrinsic_lr=0.005, noise_trace=1.0)
    0.0
    """
    return -4 * intrinsic_lr * gamma + 2 * noise_trace


def direction_sde(d: Derivation) -> dict[sympy.Symbol, sympy.Expr]:
    """Derive dŴ from the SDE: the coefficients of ∇L(Ŵ) dt, of Ŵ dt and of Σ(Ŵ)^{1/2}dB as functions of gamma."""
    drift = norm_sde(d)
    unit = 1 / sympy.sqrt(R)
    change = unit * SDE + sympy.diff(unit, R) * drift * Q**2 * W
    d.step(r"$\hat W=R^{-1/2}W$, and $R$ has no noise: $d\hat W=R^{-1/2}dW-\frac12R^{-3/2}W\,dR$.",
           sympy.expand(change))
    at_unit_norm = {W: sympy.sqrt(R) * W, G: G / sympy.sqrt(R), XI: XI / sympy.sqrt(R)}
    change = sympy.expand(change.subs(at_unit_norm, simultaneous=True))
    noise, drift = up_to_dt(change, Q)
    change = {W: drift.coeff(W, 1), G: drift.coeff(G, 1), XI: noise.coeff(XI, 1)}
    change = {v: sympy.simplify(c.subs(R, LR * sympy.sqrt(GAMMA))) for v, c in change.items()}
    d.step(r"Homogeneity puts gradient and noise on the sphere ($W=R^{1/2}\hat W$, $\nabla L(W)=R^{-1/2}\nabla L(\hat "
           r"W)$, "
           r"$\xi=R^{-1/2}\hat\xi$). Coefficients of $\nabla L(\hat W)dt$, $\hat W dt$, $\Sigma(\hat W)^{1/2}dB$:",
           sympy.Matrix([change[G], change[W], change[XI]]))
    return change


def _derive_effective_lr_of_gamma(claimed: sympy.Expr) -> Derivation:
    d = Derivation("gamma^(-1/2) is the learning rate on the sphere")
    change = direction_sde(d)
    d.residual("drift along the gradient", change[G] + claimed)
    return d.residual("size of the noise", sympy.Abs(change[XI]) - claimed)


@closed_form("ILR-2", _derive_effective_lr_of_gamma)
def effective_lr_of_gamma(gamma):
    r"""The learning rate of the direction, lr/|W|^2: it multiplies gradient and noise on the sphere.

    >>> effective_lr_of_gamma(gamma=100.0)
    0.1
    """
    return 1 / sympy.sqrt(gamma)


def _derive_radial(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The Itô correction that keeps the direction on the sphere")
    change = direction_sde(d)
    dhat = change[G] * G * Q**2 + change[W] * W * Q**2 + change[XI] * XI * Q
    on_sphere = InnerProducts({(W, W): 1, (W, G): 0, (W, XI): 0, (XI, XI): TRACE, (G, XI): 0, (G, G): 0})
    d.residual("radial drift", change[W] - claimed)
    d.residual("the norm of the direction stays 1", up_to_dt(2 * on_sphere(W, dhat) + on_sphere(dhat, dhat), Q)[1])
    return d


@closed_form("ILR-2", _derive_radial, clock="step")
def direction_radial_drift(gamma, noise_trace):
    r"""The coefficient of Ŵ dt in dŴ: Itô's correction, half the noise power on the sphere."""
    return -noise_trace / (2 * gamma)


def _derive_gamma(claimed: sympy.Expr) -> Derivation:
    d = Derivation("gamma in closed form")
    return d.residual("gamma_t", gamma_solution(d) - claimed)


@closed_form("ILR-3", _derive_gamma, clock="step")
def gamma(t, gamma0, intrinsic_lr, noise_trace):
    r"""gamma = |W|^4/lr^2 at time t for constant noise power: deterministic, although W is not.

    >>> gamma(t=0.0, gamma0=3.0, intrinsic_lr=0.01, noise_trace=1.0)
    3.0
    """
    return (sympy.exp(-4 * intrinsic_lr * t) * gamma0
            + noise_trace / (2 * intrinsic_lr) * (1 - sympy.exp(-4 * intrinsic_lr * t)))


def _derive_sq_norm(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The squared norm in closed form")
    start = symbol("sq_norm0")
    found = gamma_solution(d, start**2 / LR**2).subs(RATE, LR * DECAY) * LR**2
    d.step(r"$\|W_t\|^4=\eta^2\gamma_t$.", found)
    return d.residual("|W|^4", found - claimed**2)


@closed_form("ILR-3", _derive_sq_norm, clock="step")
def sq_norm(t, sq_norm0, lr, weight_decay, noise_trace):
    r"""|W|^2 at time t for constant noise power."""
    gone = sympy.exp(-4 * lr * weight_decay * t)
    return sympy.sqrt(gone * sq_norm0**2 + lr * noise_trace / (2 * weight_decay) * (1 - gone))


def _derive_flow_sq_norm(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The norm in the time of the flow")
    batch, later = symbol("batch_size"), {T: T / LR, TRACE: TRACE / symbol("batch_size"), RATE: LR * DECAY}
    found = LR**2 * gamma_solution(d, symbol("sq_norm0") ** 2 / LR**2).subs(later, simultaneous=True)
    d.step(r"$\|W\|^4=\eta^2\gamma$ after $\tau/\eta$ steps, with the noise power of $B$ samples.", found)
    d.residual("|W|^4", sympy.simplify(found - claimed**2))
    scaled = claimed.subs({LR: KAPPA * LR, batch: KAPPA * batch}, simultaneous=True)
    return d.residual("batch and lr times the factor: the same norm", scaled**2 - claimed**2)


@closed_form("ILR-15", _derive_flow_sq_norm, clock="flow", meanings={
    "batch_size": "samples a step, drawn with replacement", "noise_trace": "noise power of one sample"})
def flow_sq_norm(t, sq_norm0, lr, weight_decay, batch_size, noise_trace):
    r"""|W|^2 at the time t = lr·k for constant noise power: lr and batch size enter through their quotient alone."""
    gone = sympy.exp(-4 * weight_decay * t)
    return sympy.sqrt(gone * sq_norm0**2 + lr * noise_trace / (2 * weight_decay * batch_size) * (1 - gone))


def _derive_effective_lr(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The effective learning rate in closed form")
    found = gamma_solution(d, symbol("effective_lr0") ** -2)
    return d.residual("gamma_t times the squared effective learning rate", found * claimed**2 - 1)


@closed_form("ILR-3", _derive_effective_lr, clock="step")
def effective_lr(t, effective_lr0, intrinsic_lr, noise_trace):
    r"""The effective learning rate lr/|W|^2 at time t for constant noise power."""
    gone = sympy.exp(-4 * intrinsic_lr * t)
    return (gone / effective_lr0**2 + noise_trace / (2 * intrinsic_lr) * (1 - gone)) ** sympy.Rational(-1, 2)


def _derive_equilibrium_gamma(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The equilibrium of gamma")
    solution = gamma_solution(d)
    d.step(r"$t\to\infty$; the start is forgotten.", sympy.limit(solution, T, sympy.oo))
    d.residual("limit", sympy.limit(solution, T, sympy.oo) - claimed)
    return d.residual("rest point", gamma_ode(Derivation("drift")).subs(GAMMA, claimed))


@closed_form("ILR-4", _derive_equilibrium_gamma)
def equilibrium_gamma(intrinsic_lr, noise_trace):
    r"""The value gamma = |W|^4/lr^2 tends to; learning rate and decay enter through their product alone.

    >>> equilibrium_gamma(intrinsic_lr=0.005, noise_trace=1.0)
    100.0
    """
    return noise_trace / (2 * intrinsic_lr)


def _equilibrium(d: Derivation) -> sympy.Expr:
    rest = sympy.solve(gamma_ode(d), GAMMA)[0].subs(RATE, LR * DECAY)
    d.step(r"The rest point of $\gamma$ attracts: $\gamma_\infty$, with $\lambda_e=\eta\lambda$.", rest)
    return rest


def _derive_equilibrium_sq_norm(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The equilibrium norm")
    return d.residual("|W|^4", _equilibrium(d) * LR**2 - claimed**2)


@closed_form("ILR-4", _derive_equilibrium_sq_norm)
def equilibrium_sq_norm(lr, weight_decay, noise_trace):
    r"""The value |W|^2 (not |W|^4) tends to: |W|^4 depends on lr/weight_decay.

    >>> round(equilibrium_sq_norm(lr=0.1, weight_decay=0.05, noise_trace=1.75), 6)
    1.322876
    """
    return sympy.sqrt(lr * noise_trace / (2 * weight_decay))


def _derive_equilibrium_effective_lr(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The equilibrium effective learning rate")
    return d.residual("gamma times the squared effective learning rate", _equilibrium(d) * claimed**2 - 1)


@closed_form("ILR-4", _derive_equilibrium_effective_lr)
def equilibrium_effective_lr(lr, weight_decay, noise_trace):
    r"""The value lr/|W|^2 tends to: it depends on lr and decay only through the intrinsic learning rate.

    >>> round(equilibrium_effective_lr(lr=0.1, weight_decay=0.05, noise_trace=1.75), 6)
    0.075593
    """
    return sympy.sqrt(2 * lr * weight_decay / noise_trace)


def _derive_time(claimed: sympy.Expr) -> Derivation:
    d = Derivation("The time to equilibrium")
    solution = gamma_solution(d)
    rest = sympy.limit(solution, T, sympy.oo)
    error = sympy.simplify(sympy.expand(solution / rest - 1))
    start = sympy.simplify(error.subs(T, 0))
    d.step(r"The relative error $\gamma_t/\gamma_\infty-1$.", error)
    d.residual("it decays by one factor", error - start * sympy.exp(-4 * RATE * T))
    waiting = claimed.replace(sympy.Max, lambda *terms: sympy.Add(*terms))  # Max(0, x) = x while there is time to wait
    left = symbol("u", positive=True)
    ratio = sympy.log(left / symbol("tolerance"))
    d.step(r"With $u=|\gamma_0/\gamma_\infty-1|>\varepsilon$: $u\,e^{-4\lambda_et}=\varepsilon$.", ratio / (4 * RATE))
    distance = sympy.Abs(2 * GAMMA0 * RATE / TRACE - 1)
    d.residual("distance at the start", sympy.Abs(start) - distance)
    return d.residual("time", waiting.subs(distance, left) - ratio / (4 * RATE))


@closed_form("ILR-4", _derive_time, clock="step")
def time_to_equilibrium(gamma0, intrinsic_lr, noise_trace, tolerance):
    r"""The number of steps until gamma is within `tolerance` of its equilibrium, relatively; 0 if it starts there.

    >>> round(time_to_equilibrium(gamma0=1.0, intrinsic_lr=0.005, noise_trace=1.0, tolerance=0.01), 3)
    229.756
    """
    distance = sympy.Abs(2 * gamma0 * intrinsic_lr / noise_trace - 1)
    return sympy.Max(0, sympy.log(distance / tolerance) / (4 * intrinsic_lr))
