r"""Half the Rayleigh quotient ½a cos²θ on the circle with tangent noise of fixed length s: E g of the SDE without runs.

.. math:: d\theta = -\frac{f'(\theta)}{r}\,dt + \frac{\sqrt\eta\,s}{r}\,dW, \quad f = \tfrac a2\cos^2\theta, \quad r = \|W\|^2

The SDE has ‖W‖⁴ = ‖W_0‖⁴ + 2ηs²t, without noise, and m_n = E cos 2nθ obeys the linear equations

.. math:: \dot m_n = -\frac{an}{2r}(m_{n-1} - m_{n+1}) - \frac{2\eta s^2n^2}{r^2}m_n,\qquad \mathbb E L = \tfrac a4(1+m_1)

which are solved to 1e-9: no step size enters on the side of the SDE. Clock: gradient-flow time.
"""

import numpy as np
import scipy
import sympy

import sdetheory as sdt
from sdetheory.symbolic import Derivation

__all__ = ["LOSS", "NOISE", "START", "mode_equations", "of_sde"]

CURVATURE, NOISE, ANGLE = 4.0, 1.0, 0.2  # lr a = 1 at the start, on the flank of a top: SGD is far from the SDE there
LOSS = sdt.losses.RayleighQuotient([CURVATURE, 0.0], noise=sdt.noises.FixedLength(NOISE))
START = np.array([np.cos(ANGLE), np.sin(ANGLE)])
MODES = 40


def of_sde(lr: float, time: float) -> tuple[float, float]:
    """‖W‖⁴ and E L of the SDE at `time`, from START."""
    n = np.arange(1, MODES + 1)

    def sq_radius(t: float) -> float:
        return (1.0 + 2 * lr * NOISE**2 * t) ** 0.5

    def rate(t: float, m: np.ndarray) -> np.ndarray:
        r, lower, upper = sq_radius(t), np.append(1.0, m[:-1]), np.append(m[1:], 0.0)
        return -CURVATURE * n / (2 * r) * (lower - upper) - 2 * lr * NOISE**2 * n**2 / r**2 * m

    # 1e-10 a step, over some hundred steps, is far below the 1e-3 and more that the resolutions of these numbers come to
    ends = scipy.integrate.solve_ivp(rate, (0, time), np.cos(2 * n * ANGLE), method="LSODA", rtol=1e-10, atol=1e-12).y[:, -1]
    return sq_radius(time) ** 2, CURVATURE / 4 * (1 + ends[0])


def mode_equations() -> Derivation:
    """The equations of ‖W‖² and of cos 2nθ, from the SDE in the plane by Itô's formula."""
    d = Derivation("The modes on the circle")
    theta, x, y = sympy.symbols("theta x y", real=True)
    r, a, noise, lr = sympy.symbols("r a s eta", positive=True)
    n = sympy.Symbol("n", integer=True, positive=True)
    square = x**2 + y**2
    loss, sigma = a * x**2 / (2 * square), sympy.sqrt(lr) * noise / square * sympy.Matrix([-y, x])
    sde = sdt.SDE([x, y], [-loss.diff(x), -loss.diff(y)], [[sigma[0]], [sigma[1]]])
    d.residual("generator on |w|^2", sympy.simplify(sde.generator(square) - lr * noise**2 / square))
    d.residual("the norm has no noise", sympy.simplify((square**2).diff(x) * sigma[0] + (square**2).diff(y) * sigma[1]))
    slope = (a / 2 * sympy.cos(theta) ** 2).diff(theta)

    def on_circle(function: sympy.Expr) -> sympy.Expr:
        return -slope / r * function.diff(theta) + lr * noise**2 / (2 * r**2) * function.diff(theta, 2)

    d.step(r"In the angle, with $r=\|W\|^2$: $d\theta=-\frac{f'(\theta)}r dt+\frac{\sqrt\eta s}r dW$.")
    polar = {x: sympy.sqrt(r) * sympy.cos(theta), y: sympy.sqrt(r) * sympy.sin(theta)}
    d.residual("generator on cos 2θ", sympy.simplify(sde.generator((x**2 - y**2) / square).subs(polar)
                                                     - on_circle(sympy.cos(2 * theta))))
    stated = -a * n / (2 * r) * (sympy.cos(2 * (n - 1) * theta) - sympy.cos(2 * (n + 1) * theta)) \
        - 2 * lr * noise**2 * n**2 / r**2 * sympy.cos(2 * n * theta)
    gap = (on_circle(sympy.cos(2 * n * theta)) - stated).rewrite(sympy.exp).expand()
    return d.residual("generator on cos 2nθ", sympy.simplify(sympy.expand(sympy.expand_trig(gap))))
