r"""SVAG-11: for small η the SDE is of weak order 1, and with a modified drift of weak order 2 (extension).

.. math:: dX = -\nabla L\,dt + (\eta\Sigma)^{1/2}dW:\ O(\eta), \qquad
          dX = -\nabla\Bigl(L + \frac\eta4\|\nabla L\|^2\Bigr)dt + (\eta\Sigma)^{1/2}dW:\ O(\eta^2)

at a fixed time. Random linear gradients, in one dimension (moments 1 to 4) and in two, where Hessian and noise don't commute
(moments 1 and 2): all known to rounding. Source: Q. Li, C. Tai, W. E, arXiv:1511.06251, 1811.01558. Clock: gradient-flow time.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
import sympy
from sdetheory.evidence import Exact

import sdetheory as sdt
from sdetheory.claims import Claim, Control, Relative, Resolution, Run
from sdetheory.symbolic import Derivation
from sdetheory.theory import svag
from sdetheory.theory.formula import joint_derivation

from .orders_in_lr import limit, local_order, weak_errors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# one law in each dimension: its loss, the start, and the order of its moments
LINE, PLANE = 0, 1
CASES: tuple[tuple[Any, list[float], int], ...] = (
    (sdt.losses.RandomLinear.two_point(1.0, 0.25, curvature_std=0.5, offset_std=1.0, probability=0.2), [1.5], 4),
    (sdt.losses.RandomLinear(
        [0.25, 0.5, 0.25], [[[2.0, 0.5], [0.5, 1.0]], [[1.0, -0.25], [-0.25, 0.5]], [[0.5, 0.0], [0.0, 2.0]]],
        [[1.0, 0.5], [-0.5, 1.0], [0.25, -1.0]]), [1.5, -1.0], 2))
END = 1.0
STEPS = (64, 128, 256, 512)  # lr = 1/64 to 1/512: p(lr) - p is of order lr with a factor up to 10
WRONG = 2.0  # the control: the modification twice

# As in SVAG-8: at most 512 steps, each adds at most 8 eps (9 products a row in two dimensions: 12), to values below 10.
ROUNDING = 512 * 12 * 10 * np.finfo(float).eps
ORDER = 0.1


def of_sgd(case: int, lr: float, n: int) -> np.ndarray:
    """The moments of SGD after n steps."""
    loss, start, order = CASES[case]
    found = sdt.exact.affine_moments(sdt.SGD(loss, lr=lr), start, [n], order=order)
    if loss.dim == 1:
        return np.array([found.moment(k)[0] for k in range(1, order + 1)])
    return np.array([found.moment(*powers)[0] for powers in ((1, 0), (0, 1), (2, 0), (1, 1), (0, 2))])


@functools.cache
def moment_system(case: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrices P, Q, M with m' = (P + η Q + share η M) m, m = (moments, 1): drift and bbᵀ of the SDE are affine in η."""
    loss, _, order = CASES[case]

    def matrix(lr: float, modified: bool) -> np.ndarray:
        equations = sdt.dynamics.random_linear_sde(loss, lr=lr, modified=modified).moment_equations(order)
        rows = np.array(sympy.Matrix.hstack(equations.matrix, equations.constant), dtype=float)
        return np.vstack([rows, np.zeros(rows.shape[1])])

    one, two, modified = matrix(1.0, False), matrix(2.0, False), matrix(1.0, True)
    return 2 * one - two, two - one, modified - one


def of_sde(case: int, lr: float, n: int, share: float) -> np.ndarray:
    """The same moments of the SDE at time n lr, with `share` of the modification."""
    (x, *rest), (P, Q, M) = CASES[case][1], moment_system(case)
    start = [x**k for k in (1, 2, 3, 4)] if not rest else [x, rest[0], x**2, x * rest[0], rest[0] ** 2]
    return (scipy.linalg.expm(n * lr * (P + lr * Q + share * lr * M)) @ [*start, 1.0])[:-1]


def errors(case: int, share: float) -> np.ndarray:
    """SGD minus SDE for every η and moment, shape (STEPS, moments)."""
    return weak_errors(lambda lr, n: of_sgd(case, lr, n), lambda lr, n: of_sde(case, lr, n, share), END, STEPS)


def prediction() -> dict[str, Any]:
    """Orders 1 and 2, and the coefficients of the mean."""
    known = {"t": END, "eigenvalue": 1.0, "w0": 1.5 - 0.25}  # about the minimum
    return {"SDE, line": np.ones(4), "SDE, plane": np.ones(5), "modified, line": np.full(4, 2.0),
            "modified, plane": np.full(5, 2.0), "SDE, mean": svag.first_order_mean_error(**known),
            "modified, mean": svag.second_order_mean_error(**known)}


def simulation(run: Run) -> dict[str, Any]:
    """Orders at the finest η; the mean's error over η and η², extrapolated."""
    line, plane, modified_line, modified_plane = (errors(case, share) for share in (0.0, 1.0) for case in (LINE, PLANE))
    run.data.update(line=line, modified=modified_line)
    lr = END / np.array(STEPS)
    return {"SDE, line": local_order(line, ROUNDING), "SDE, plane": local_order(plane, ROUNDING),
            "modified, line": local_order(modified_line, ROUNDING), "modified, plane": local_order(modified_plane, ROUNDING),
            "SDE, mean": limit(line[:, 0] / lr, ROUNDING / lr),
            "modified, mean": limit(modified_line[:, 0] / lr**2, ROUNDING / lr**2)}


def modified_twice(run: Run) -> dict[str, Exact]:
    """The orders with L + (η/2)|∇L|²."""
    wrong = {name: errors(case, WRONG) for name, case in (("line", LINE), ("plane", PLANE))}
    return {f"modified, {name}": local_order(found, ROUNDING) for name, found in wrong.items()}


def derivation() -> Derivation:
    """Moments of a step against Itô–Taylor, for generic L and Σ; the mean on the quadratic."""
    return joint_derivation("The modified equation", svag.modified_drift, svag.modified_loss, svag.first_order_mean_error,
                            svag.second_order_mean_error)


def figure(run: Run) -> Figure:
    """The weak error of both SDEs against η."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(6.4, 3.8), layout="constrained")
    ax = fig.subplots()
    lr = END / np.array(STEPS)
    for error, order, label, marker, colour in (
            (run.data["line"], 1, r"drift $-\nabla L$", "o", "tab:red"),
            (run.data["modified"], 2, r"drift $-\nabla(L+\frac{\eta}{4}\|\nabla L\|^2)$", "^", "tab:blue")):
        size = np.abs(error[:, 1])
        ax.loglog(lr, size, marker, ms=6, mfc="none", color=colour, label=rf"{label}: $\eta^{order}$")
        ax.loglog(lr, size[-1] * (lr / lr[-1]) ** order, color=colour, lw=1)
    ax.set(xlabel=r"learning rate $\eta$", ylabel=rf"|SGD $-$ SDE| in $\mathbb{{E}}\,x^2$ at time $\eta k={END:g}$")
    ax.set_xticks(lr, [f"1/{n}" for n in STEPS])
    ax.minorticks_off()
    ax.legend(frameon=False, fontsize=8)
    ax.set_title(r"The modified loss makes the SDE of second order in $\eta$", fontsize=11)
    return fig


claim = Claim(
    "SVAG-11",
    title="The modified equation",
    paper="svag",
    statement=r"At a fixed time SGD differs weakly from its SDE by $O(\eta)$, and from the SDE with drift "
              r"$-\nabla(L+\frac\eta4\|\nabla L\|^2)$ by $O(\eta^2)$, for noise that may depend on the weights.",
    derivation=derivation,
    prediction=prediction,
    simulation=simulation,
    resolution={"SDE, line": Resolution(ORDER), "SDE, plane": Resolution(ORDER), "modified, line": Resolution(ORDER),
                "modified, plane": Resolution(ORDER), "SDE, mean": Resolution(Relative(0.01)),
                "modified, mean": Resolution(Relative(0.01))},
    negative_control=Control(r"the modification is $\frac\eta2\|\nabla L\|^2$", simulation=modified_twice,
                             effect={"modified, line": 1.0, "modified, plane": 1.0}),
    figure=figure,
    extension=True,
)
