r"""The catapult in numbers: when the loss peaks, how high, and where the curvature lands (CAT-4).

.. math:: X' = X + Y(X-4), \quad Y' = Y(1-X+Y)^2, \qquad
          X = 2+\varepsilon a,\; Y = \varepsilon^2 b,\; \tau = \varepsilon t:\quad \dot a = -2b,\quad \dot b = 2ab

Near the edge X = 2 the map becomes this flow, whose orbits keep a² + 2b and are sech² pulses: from them the step and height
of the peak and the final curvature, exact as X_0 → 2 from above after n → ∞. The time scale is put right for all X_0 by the
exact early rate ln(X_0 − 1); what that leaves over is measured. ηλ_∞ < 2 unless the output is exactly 0 at some step:
for almost every start, not for every one (u = 1.6, v = 1 at width 1 and lr = 1 ends at 2.4336).
"""

from __future__ import annotations

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

from ...symbolic.derivation import Derivation
from ...symbolic.notation import symbol
from ...validation import finite_array, integer, number
from ..formula import closed_form
from .two_numbers import CURVATURE, CURVED, LR, F, N
from .universal_map import X, Y, universal_map

START = {"f": "output at the start", "curvature": "NTK at the start", "X": "lr * curvature at the start"}
EPS, TAU, A0 = sympy.Symbol("epsilon", positive=True), sympy.Symbol("tau", real=True), sympy.Symbol("a_0", positive=True)


def pulse(d: Derivation) -> tuple[sympy.Expr, sympy.Expr]:
    """Derive the orbit (a, b) that leaves a = a_0, b = 0 and peaks at τ = 0; it goes into `d`."""
    a, b = sympy.symbols("a b", positive=True)
    x, y = universal_map(d)
    near = {X: 2 + EPS * a, Y: EPS**2 * b}
    speed_a = sympy.limit(sympy.expand((x - X).subs(near)) / EPS**2, EPS, 0)
    # ln Y' − ln Y = 2 ln|1 − X + Y|, and 1 − X + Y is near −1
    speed_b = b * sympy.limit(2 * sympy.log(X - 1 - Y).subs(near) / EPS, EPS, 0)
    d.residual("the sign of 1 - X + Y does not matter", y - Y * (X - 1 - Y) ** 2)
    d.step(r"Scaling $X=2+\varepsilon a$, $Y=\varepsilon^2b$, $\tau=\varepsilon t$, to leading order in $\varepsilon$: "
           r"$(\dot a,\dot b)$ is", sympy.Matrix([speed_a, speed_b]))
    d.residual("a² + 2b is kept", 2 * a * speed_a + 2 * speed_b)
    orbit = -A0 * sympy.tanh(A0 * TAU), A0**2 / 2 / sympy.cosh(A0 * TAU) ** 2
    d.step(r"The orbit from $a=a_0$, $b=0$ with its peak at $\tau=0$.", sympy.Matrix(orbit))
    at = {a: orbit[0], b: orbit[1]}
    d.residual("it solves for a", (sympy.diff(orbit[0], TAU) - speed_a.subs(at, simultaneous=True)).rewrite(sympy.exp))
    d.residual("it solves for b", (sympy.diff(orbit[1], TAU) - speed_b.subs(at, simultaneous=True)).rewrite(sympy.exp))
    return orbit


def _derive_peak_step(claimed: sympy.Expr) -> Derivation:
    d = Derivation("When the loss peaks")
    _, b = pulse(d)
    early = sympy.limit((b * sympy.exp(-2 * A0 * TAU)).rewrite(sympy.exp), TAU, -sympy.oo)
    delta, t, y0 = symbol("delta", positive=True), symbol("t"), symbol("Y0", positive=True)
    d.step(r"Long before the peak $b=2a_0^2e^{2a_0\tau}$.", early)
    start = EPS**2 * early.subs(A0, delta / EPS) * sympy.exp(-2 * delta * t)
    d.step(r"With $\delta=X_0-2=\varepsilon a_0$ and the peak at step $t$, $Y_0$ is", start)
    when = sympy.log(2 * delta**2 / y0) / (2 * delta)
    d.residual("solved for the step", sympy.expand_log(sympy.log(start.subs(t, when) / y0), force=True))
    rate = sympy.log(LR * CURVATURE - 1)
    d.step(r"At first $Y$ grows by $(X_0-1)^2$ a step exactly ($Y_0\to0$): the rate $\delta$ is the leading term of "
           r"$\ln(X_0-1)$, which takes its place.", rate)
    d.residual("delta is its leading term", sympy.limit(sympy.log(1 + delta) / delta, delta, 0) - 1)
    size = symbol("size", positive=True)  # |f|
    found = (when * delta / rate).subs({delta: LR * CURVATURE - 2, y0: LR**2 * size**2 / N})
    gap = sympy.expand_log((found - claimed.subs(sympy.Abs(F), size)) * 2 * rate, force=True)
    square = sympy.log((LR * CURVATURE - 2) ** 2)
    gap = gap.subs(sympy.log(LR * CURVATURE - 2), square / 2)
    return d.residual("peak step", sympy.expand(gap))


@closed_form("CAT-4", _derive_peak_step, clock="step", assumptions=CURVED, meanings=START,
             needs=lambda curvature, f, lr, width: [lr * curvature > 2, lr * curvature < 4, sympy.Ne(f, 0)])
def peak_step(curvature, f, lr, width):
    r"""The step at which the loss of a wide net peaks, before rounding to a step: to 0.6 steps for 2.5 ≤ lr·curvature ≤ 3.8.

    The slope in ln(width) is exact as the width grows; the offset is the asymptotic one near lr·curvature = 2, and what it
    leaves over was measured (width 10⁴ and more). Nearer to 4 a tenth of the starts or more peak a step or two later.
    """
    x = lr * curvature
    return (sympy.log(width) + sympy.log(2 * (x - 2) ** 2) - 2 * sympy.log(lr * sympy.Abs(f))) / (2 * sympy.log(x - 1))


def _derive_peak(claimed: sympy.Expr) -> Derivation:
    d = Derivation("How high the peak is near the edge")
    _, b = pulse(d)
    top = b.subs(TAU, 0) * EPS**2
    d.residual("it is the highest point", sympy.diff(b, TAU).subs(TAU, 0))
    d.step(r"$Y=\varepsilon^2b$ at $\tau=0$.", top)
    return d.residual("peak", top.subs(A0, (X - 2) / EPS) - claimed)


_X = {"X": {"nonnegative": True}}


@closed_form("CAT-4", _derive_peak, assumptions=_X, meanings=START, needs=lambda X: [X > 2, X < 4])
def peak_near_edge(X):
    r"""lr²f²/width at the peak of the loss: the leading term as lr·curvature → 2 from above, width first.

    An extension: it follows from the definitions.
    """
    return (X - 2) ** 2 / 2


def _derive_final(claimed: sympy.Expr) -> Derivation:
    d = Derivation("Where the curvature lands near the edge")
    a, _ = pulse(d)
    end = 2 + EPS * sympy.limit(a, TAU, sympy.oo)
    d.step(r"$X=2+\varepsilon a$ as $\tau\to\infty$: as far below 2 as it was above.", end)
    return d.residual("final value", end.subs(A0, (X - 2) / EPS) - claimed)


@closed_form("CAT-4", _derive_final, assumptions=_X, meanings=START, needs=lambda X: [X > 2, X < 4])
def final_near_edge(X):
    r"""lr·curvature after the catapult: the leading term as lr·curvature → 2 from above, width first.

    An extension: it follows from the definitions.
    """
    return 4 - X


def wide_limit_peak(X: ArrayLike, phase: ArrayLike) -> NDArray[np.float64]:
    r"""lr²f²/width at the peak as the width goes to infinity, a function of the start and of one phase (CAT-4).

    Early on ln Y grows by 2 ln(X − 1) a step, so starts whose ln Y_0 differ by a multiple of that peak alike. Evaluated by
    iterating the universal map from :math:`Y_0 = (X-1)^{2\,phase - 2k}`, k so large that :math:`(X-1)^{-2k} \le 2^{-100}`.

    Parameters
    ----------
    X : array_like, lr·curvature at the start, in (2, 4)
    phase : array_like, ln Y_0 in units of 2 ln(X − 1), modulo 1; broadcasts with X

    Returns
    -------
    float64 array of the broadcast shape. For the loss at the peak: width/(2 lr²) times it.

    Examples
    --------
    >>> round(float(wide_limit_peak(3.0, 0.0)), 3)
    0.685
    """
    x, phases = np.broadcast_arrays(finite_array("X", X), finite_array("phase", phase))
    if not np.all((x > 2.0) & (x < 4.0)):
        raise ValueError(f"X: expected lr * curvature in (2, 4), the catapult phase, got {x.min():g} to {x.max():g}")
    rounds = np.ceil(50 * np.log(2.0) / np.log(x - 1.0))
    y = (x - 1.0) ** (2.0 * (np.mod(phases, 1.0) - rounds))
    x, top = x.copy(), np.zeros_like(y)
    while np.any(x > 2.0) or np.any(y >= top):  # below X = 2 the loss only falls
        top = np.maximum(top, y)
        x, y = x + y * (x - 4.0), y * (1.0 - x + y) ** 2
    return top


def wide_limit_peak_band(X: float, *, n_phases: int = 4096) -> tuple[float, float, float]:
    """Least, median and greatest `wide_limit_peak` over phases that are equally spaced: the band that CAT-4 states.

    >>> [round(value / 1.5**2, 3) for value in wide_limit_peak_band(3.0)]
    [0.293, 0.348, 0.369]
    """
    X = number("X", X, above=2, below=4)
    tops = wide_limit_peak(X, np.arange(integer("n_phases", n_phases, at_least=2)) / n_phases)
    return float(tops.min()), float(np.median(tops)), float(tops.max())
