r"""SVAG-3: SVAG converges weakly to the SDE, with an error of order 1/l.

.. math:: \max_{kh\le T}\bigl|\mathbb E g(x_k) - \mathbb E g(X_{kh})\bigr| \le \frac Cl, \quad h=\tfrac\eta l, \qquad
          dX = -\nabla L\,dt + (\eta\Sigma)^{1/2}dW

With random linear gradients ∇L_γ = a_γ x − b_γ all moments of both close: the errors of x … x⁴ are numbers without noise.
Then on a loss that is not linear: half the Rayleigh quotient ½a cos²θ on the circle with tangent noise of fixed length s.
There the SDE has ‖W‖⁴ = ‖W_0‖⁴ + 2ηs²t =: r², and m_n = E cos 2nθ obeys the linear equations

.. math:: \dot m_n = -\frac{an}{2r}(m_{n-1} - m_{n+1}) - \frac{2\eta s^2n^2}{r^2}m_n,\qquad \mathbb E L = \tfrac a4(1+m_1)

which are solved to 1e-9: no step size enters on the side of the SDE. Clock: gradient-flow time.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
import sympy
from sdetheory.evidence import Estimate, Exact

import sdetheory as sdt
from sdetheory.claims import Claim, Control, Relative, Resolution, Run
from sdetheory.stats import bias_from_difference, fit_order, mean_estimate
from sdetheory.symbolic import Derivation
from sdetheory.theory import svag
from sdetheory.theory.formula import joint_derivation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LR, TIME = 0.25, 1.0
# two-point gradients, skewed and with curvature and offset dependent: nothing cancels by symmetry
LINEAR = sdt.losses.RandomLinear.two_point(1.0, 0.5, curvature_std=0.75, offset_std=0.5, probability=0.2)
LINEAR_START = 1.0
POWERS = (1, 2, 3, 4)
FITTED = tuple(2**k for k in range(5, 10))  # 1/l and the next term 1/l^2 apart by more than the 0.05 of the slope

CURVATURE, NOISE, ANGLE = 4.0, 1.0, 0.2  # lr a = 1 at the start, on the flank of a top: SGD is far from the SDE there
CIRCLE = sdt.losses.RayleighQuotient([CURVATURE, 0.0], noise=sdt.noises.FixedLength(NOISE))
CIRCLE_START = np.array([np.cos(ANGLE), np.sin(ANGLE)])
SIMULATED = (4, 8, 16, 32)
MODES = 40
# The loss of a path varies by 1.7 times its mean. Of 200 000 paths an l leaves 0.38 %, the limit 5 · (2.2 + 1.25 · 3.7/3) of
# that: 7 %, in quick mode 14 %. SGD is wrong by a factor of 2 there. |w|^4 has hardly any noise.
PATHS = 200_000
MORE = 1.05  # the control: s^2 = 2.1 l - 1

EPS = np.finfo(float).eps


def rule(loss: Any, amplification: int, factor: float = 1.0) -> Any:
    """SVAG with the spread s² = 2 · factor · l − 1."""
    return sdt.dynamics.SVAG(loss, lr=LR, amplification=amplification, spread=(2 * factor * amplification - 1) ** 0.5)


@cache
def _moment_equations(factor: float = 1.0) -> Any:
    """Those of dX = −∇L dt + (factor · lr Σ)^{1/2}dW."""
    return sdt.dynamics.random_linear_sde(LINEAR, lr=factor * LR).moment_equations(max(POWERS))


def moment_errors(process: Any, amplification: int) -> np.ndarray:
    """E x_k^n − E X_{kh}^n at 16 times up to TIME, shape (k, n); `process(l)` makes the rule.

    The errors are smooth in time: their largest values at quarters of an SGD step have the order of those at all k.
    """
    steps = np.arange(4 * round(TIME / LR) + 1) * (amplification // 4)
    found = sdt.exact.affine_moments(process(amplification), [LINEAR_START], steps, order=max(POWERS))
    equations = _moment_equations()
    right = equations.solve([LINEAR_START], steps * LR / amplification)
    x = equations.states[0]
    return np.stack([found.moment(n) - right[x**n] for n in POWERS], 1)


def orders(errors: dict[int, np.ndarray], columns: slice = slice(None)) -> Estimate:
    """Slopes of the largest error in 1/l; the drift over the range bounds their distance from the limit."""
    largest = np.stack([np.abs(errors[l]).max(axis=0) for l in FITTED])[:, columns]
    fits = [fit_order(1 / np.array(FITTED), column) for column in largest.T]
    return Estimate([f.order for f in fits], np.zeros(len(fits)), [abs(f.drift) for f in fits])


def extrapolated(values: np.ndarray, rounding: float) -> Exact:
    """The limit l → ∞ of a power series in 1/l, from its values at FITTED (rows): Richardson, then the change of its last step.

    Weights of the three extrapolations add up to less than 10 in absolute value.
    """
    table = [values]
    for order in range(1, len(FITTED)):
        table.append((2**order * table[-1][1:] - table[-1][:-1]) / (2**order - 1))
    return Exact(table[-1][0], np.abs(table[-1][0] - table[-2][1]) + 10 * rounding)


def circle_reference() -> tuple[float, float]:
    """‖W‖⁴ and E L of the SDE at TIME."""
    n = np.arange(1, MODES + 1)

    def sq_radius(t: float) -> float:
        return (1.0 + 2 * LR * NOISE**2 * t) ** 0.5

    def rate(t: float, m: np.ndarray) -> np.ndarray:
        r, lower, upper = sq_radius(t), np.append(1.0, m[:-1]), np.append(m[1:], 0.0)
        return -CURVATURE * n / (2 * r) * (lower - upper) - 2 * LR * NOISE**2 * n**2 / r**2 * m

    # 1e-10 a step, over some hundred steps, is far below the 1e-3 and more that the resolutions of these numbers come to
    ends = scipy.integrate.solve_ivp(rate, (0, TIME), np.cos(2 * n * ANGLE), method="LSODA", rtol=1e-10, atol=1e-12).y[:, -1]
    return sq_radius(TIME) ** 2, CURVATURE / 4 * (1 + ends[0])


def limit(found: list[Estimate]) -> Estimate:
    """The limit l → ∞ of runs at SIMULATED: 2 E(l) − E(l/2) leaves order 2, which its change from l/2 to l bounds."""
    before, middle, last = found[-3:]
    value, stderr, n = [np.asarray(f.value) for f in (before, middle, last)], [f.stderr for f in found[-3:]], last.n
    fine = Estimate(2 * value[2] - value[1], np.hypot(2 * stderr[2], stderr[1]), n=n)
    change = Estimate(3 * value[1] - value[0] - 2 * value[2],
                      (9 * stderr[1] ** 2 + stderr[0] ** 2 + 4 * stderr[2] ** 2) ** 0.5, n=n)
    return bias_from_difference(fine, change, order=2)


def prediction() -> dict[str, Any]:
    """Order 1, limit 0, and the closed form of the first moment's error; the SDE's values on the circle."""
    fourth, mean_loss = circle_reference()
    return {"order, x": 1.0, "order, x^2 to x^4": 1.0, "limit, x": 0.0, "limit, x^2 to x^4": np.zeros(3),
            "l times the error of x": svag.mean_error(t=TIME, lr=LR, eigenvalue=1.0, offset=0.5, w0=LINEAR_START),
            "circle, order of norm^4": 1.0, "circle, norm^4": fourth, "circle, loss": mean_loss}


def linear(factor: float, slopes: Any) -> dict[str, Any]:
    """The exact part, with too much noise by `factor`; the orders are those of `slopes`."""
    errors = {l: moment_errors(lambda k: rule(LINEAR, k, factor), l) for l in FITTED}
    of_slopes = errors if slopes is None else {l: moment_errors(slopes, l) for l in FITTED}
    ends = np.stack([errors[l][-1] for l in FITTED])
    # k products of 16 x 16 transfers with entries below 2 near the identity, moments below 4
    rounding = 16 * EPS * 4 * max(FITTED) * TIME / LR
    scaled = ends[:, 0] * np.array(FITTED)
    return {"order, x": _first(orders(of_slopes, slice(0, 1))), "order, x^2 to x^4": orders(of_slopes, slice(1, None)),
            "limit, x": extrapolated(ends[:, 0], rounding), "limit, x^2 to x^4": extrapolated(ends[:, 1:], rounding),
            "l times the error of x": extrapolated(scaled, max(FITTED) * rounding), "errors": of_slopes}


def _first(estimate: Estimate) -> Estimate:
    return next(estimate.points())


def circle(run: Run, factor: float, paths: int = PATHS) -> list[tuple[Estimate, Estimate]]:
    """‖w‖⁴ and L of SVAG at TIME for each l."""
    found = []
    for l, seed in zip(SIMULATED, run.rng.spawn(len(SIMULATED)), strict=True):
        runs = sdt.simulate(rule(CIRCLE, l, factor), CIRCLE_START, n_steps=round(TIME / LR) * l, n_paths=run.paths(paths),
                            observe=["sq_norm", "loss"], rng=seed)
        found.append((mean_estimate(runs.sq_norm.values[:, -1] ** 2), mean_estimate(runs.loss.values[:, -1])))
    return found


def simulation(run: Run) -> dict[str, Any]:
    """The exact errors; then runs on the circle, extrapolated in 1/l."""
    result = linear(1.0, None)
    run.data["linear"] = result.pop("errors")
    found = run.data["circle"] = circle(run, 1.0)
    right = circle_reference()[0]
    fit = fit_order(1 / np.array(SIMULATED), [abs(f.value - right) for f, _ in found], [f.stderr for f, _ in found],
                    n=run.paths(PATHS))
    return result | {"circle, order of norm^4": fit.as_estimate(),
                     "circle, norm^4": limit([f for f, _ in found]), "circle, loss": limit([f for _, f in found])}


def wrong_noise(run: Run) -> dict[str, Any]:
    """5 % too much noise: no limit at the SDE. And the l-fold smaller step with the noise as it was: no order in x² and up."""
    result = linear(MORE, lambda l: sdt.dynamics.NoisyGD(LINEAR, lr=LR / l))
    found = circle(run, MORE, PATHS // 8)  # enough for the norm, which hardly varies
    return {name: result[name] for name in ("order, x^2 to x^4", "limit, x^2 to x^4")} | {
        "circle, norm^4": limit([f for f, _ in found])}


def effects() -> dict[str, float]:
    """How far the control is off: noise that is not amplified has order 0; 5 % more noise is another SDE."""
    right, more = (np.array(list(_moment_equations(factor).solve([LINEAR_START], TIME).values())) for factor in (1.0, MORE))
    return {"order, x^2 to x^4": 1.0, "limit, x^2 to x^4": float(np.abs(more - right).max()),
            "circle, norm^4": (MORE - 1) * 2 * LR * NOISE**2 * TIME}


def derivation() -> Derivation:
    """That the moments close, their recursions and equations, and the first term of the error; the modes on the circle."""
    whole = joint_derivation("SVAG and its SDE", svag.svag_mean, svag.sde_mean, svag.svag_second_moment_step,
                             svag.sde_second_moment_rate, svag.mean_error, svag.second_moment_error)
    theta, x, y = sympy.symbols("theta x y", real=True)
    r, a, noise = sympy.symbols("r a s", positive=True)
    lr, n = sympy.Symbol("eta", positive=True), sympy.Symbol("n", integer=True, positive=True)
    # a tangent step: dw = -f'(θ)/|w| e_θ dt + η^{1/2} (s/|w|) e_θ dW with |w|² = r; for functions of w, Itô in x and y
    loss = a * x**2 / (2 * (x**2 + y**2))
    e = sympy.Matrix([-y, x]) / sympy.sqrt(x**2 + y**2)
    sigma = sympy.sqrt(lr) * noise / sympy.sqrt(x**2 + y**2) * e
    sde = sdt.SDE([x, y], [-loss.diff(x), -loss.diff(y)], [[sigma[0]], [sigma[1]]])
    whole.residual("generator on |w|^2", sympy.simplify(sde.generator(x**2 + y**2) - lr * noise**2 / (x**2 + y**2)))
    square = ((x**2 + y**2) ** 2).diff(x) * sigma[0] + ((x**2 + y**2) ** 2).diff(y) * sigma[1]
    whole.residual("the norm has no noise", sympy.simplify(square))
    polar = {x: sympy.sqrt(r) * sympy.cos(theta), y: sympy.sqrt(r) * sympy.sin(theta)}
    second = (x**2 - y**2) / (x**2 + y**2)  # cos 2θ
    slope = (a / 2 * sympy.cos(theta) ** 2).diff(theta)

    def on_circle(function: sympy.Expr) -> sympy.Expr:
        return -slope / r * function.diff(theta) + lr * noise**2 / (2 * r**2) * function.diff(theta, 2)

    whole.step(r"In the angle, with $r=\|W\|^2$: $d\theta=-\frac{f'(\theta)}r dt+\frac{\sqrt\eta s}r dW$.")
    whole.residual("generator on cos 2θ", sympy.simplify(sde.generator(second).subs(polar) - on_circle(sympy.cos(2 * theta))))
    stated = -a * n / (2 * r) * (sympy.cos(2 * (n - 1) * theta) - sympy.cos(2 * (n + 1) * theta)) \
        - 2 * lr * noise**2 * n**2 / r**2 * sympy.cos(2 * n * theta)
    gap = sympy.expand(sympy.expand_trig((on_circle(sympy.cos(2 * n * theta)) - stated).rewrite(sympy.exp).expand()))
    return whole.residual("generator on cos 2nθ", sympy.simplify(gap))


def figure(run: Run) -> Figure:
    """Left: the exact errors with 1/l; right: those of runs on the circle."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.2, 3.8), layout="constrained")
    left, right = fig.subplots(1, 2)
    amplifications = np.array(FITTED)
    wrong = [np.abs(moment_errors(lambda k: rule(LINEAR, k, MORE), l)).max(axis=0)[3] for l in FITTED]
    unamplified = [np.abs(moment_errors(lambda k: sdt.dynamics.NoisyGD(LINEAR, lr=LR / k), l)).max(axis=0)[3] for l in FITTED]
    for n, colour in zip(POWERS, ("tab:blue", "tab:green", "tab:orange", "tab:purple"), strict=True):
        values = [np.abs(run.data["linear"][l]).max(axis=0)[n - 1] for l in FITTED]
        left.plot(amplifications, values, "o-", ms=5, mfc="none", lw=1, color=colour, label=f"$x^{n}$" if n > 1 else "$x$")
    left.plot(amplifications, unamplified, "x--", color="tab:red", lw=1, label="$x^4$, noise not amplified")
    left.plot(amplifications, wrong, "+:", color="tab:red", lw=1, label="$x^4$, 5 % more noise")
    left.set_ylim(2e-5, 4e-1)
    left.set_title("Random linear gradients, exact", fontsize=10)
    fourth, mean_loss = circle_reference()
    simulated = np.array(SIMULATED)
    for part, target, name, colour, marker in ((0, fourth, r"$\|w\|^4$", "tab:blue", "o"),
                                               (1, mean_loss, "$L$", "tab:orange", "s")):
        errors = np.array([abs(f[part].value / target - 1) for f in run.data["circle"]])
        bars = [2 * f[part].stderr / target for f in run.data["circle"]]
        right.errorbar(simulated, errors, bars, fmt=marker, ms=5, mfc="none", capsize=3, color=colour, label=name)
        right.plot(simulated, errors[0] * simulated[0] / simulated, color="0.5", lw=1, label="slope $-1$" if part else None)
    right.set_title("Rayleigh quotient on the circle, runs", fontsize=10)
    for ax, ylabel in ((left, r"$\max_k|\mathbb{E}x_k^n-\mathbb{E}X_{kh}^n|$"), (right, "relative error at $T=1$")):
        ax.set(xscale="log", yscale="log", xlabel="amplification $l$", ylabel=ylabel)
        ax.legend(frameon=False, fontsize=8, ncols=2 if ax is left else 1, loc="upper right")
    for ax, ticks in ((left, FITTED), (right, SIMULATED)):
        ax.set_xticks(ticks, [str(l) for l in ticks])
        ax.minorticks_off()
    fig.suptitle("SVAG tends to the SDE, and the weak error is of order $1/l$", fontsize=11)
    return fig


claim = Claim(
    "SVAG-3",
    title="Weak order 1 in 1/l",
    paper="svag",
    statement=r"At fixed $\eta$ and $T$, $\max_k|\mathbb E g(x_k)-\mathbb E g(X_{kh})|\le C/l$, $h=\eta/l$, for SVAG(l) and the SDE "
              r"$dX=-\nabla L\,dt+(\eta\Sigma)^{1/2}dW$, and the order is 1: for linear gradients the error of $x$ is "
              r"$-\frac{\eta a^2t}{2l}e^{-at}(x_0-b/a)$ to first order.",
    derivation=derivation,
    prediction=prediction,
    simulation=simulation,
    resolution={"order, x": Resolution(0.05), "order, x^2 to x^4": Resolution(0.05, points=3),
                "limit, x": Resolution(1e-7), "limit, x^2 to x^4": Resolution(1e-6),
                "l times the error of x": Resolution(Relative(1e-3)),
                "circle, order of norm^4": Resolution(0.2), "circle, norm^4": Resolution(Relative(0.008)),
                "circle, loss": Resolution(Relative(0.16))},
    negative_control=Control(r"$s=\sqrt{2.1l-1}$, 5 % too much noise, has the SDE as its limit; and GD with the $l$-fold smaller "
                             r"step and noise that is not amplified has order 1 in $x^2$ and up", simulation=wrong_noise,
                             effect=effects),
    figure=figure,
)
