r"""NET-ILR-8: on real nets, (η, λ, w_0, v_0) and (c²η, λ/c², cw_0, v_0/c) give the same functions at every step.

.. math:: f(x;\tilde w_t) = f(x;w_t), \quad \tilde w_t = c\,w_t: \qquad \text{tuning η at fixed ηλ is tuning } \|w_0\|

torch.optim.SGD with momentum on the digits, float64; c = 3 (no power of 2, which floats scale by without rounding).
Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from paper_checks.real_nets.side_by_side import NETS, STEPS, Gaps, beside, constant, draw, evidence, paced
from sdetheory.claims import Claim, Control, Relative, Run
from sdetheory.theory import intrinsic_lr as ilr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

requires = ("torch",)

C = 3.0
# Of outputs relative to the largest. With momentum 0.9 a small CNN may e-fold rounding to 1e-4 within the run (one of 40 did);
# from the same start the functions part by 0.3 and more.
RESOLUTION = 1e-3
CASES = {name: (*paced(name, 0.02, 0.05), 0.9) for name in NETS}  # (lr, weight decay, momentum)
CONTROLLED = ("MLP, batch norm", "CNN, group norm")


def _gaps(run: Run, names: Any, scaled_start: bool = True) -> dict[str, Gaps]:
    found = {}
    for name in names:
        lr, decay, mu = CASES[name]
        new = {"lr": float(ilr.equivalent_lr(lr=lr, scale=C)),
               "weight_decay": float(ilr.equivalent_weight_decay(weight_decay=decay, scale=C))}
        found[name] = beside(run, name, constant(lr, decay, mu), constant(**new, momentum=mu, scale=C if scaled_start else 1.0),
                             np.full(STEPS + 1, np.log(C)), buffer=0.1)
    return found


def simulation(run: Run) -> dict[str, Any]:
    """Both runs of each net on the same minibatches."""
    run.data["gaps"] = _gaps(run, NETS)
    return evidence(run.data["gaps"])


def same_start(run: Run) -> dict[str, Any]:
    """The control: both from the same weights."""
    return evidence(_gaps(run, CONTROLLED, scaled_start=False), norms=False)


def figure(run: Run) -> Figure:
    """How far the functions part from the scaled start, and from the same start."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.2, 4.4), layout="constrained")
    ax = fig.subplots()
    draw(ax, run.data["gaps"], _gaps(Run(run.rng, run.mode), CONTROLLED, scaled_start=False), r"$\tilde w_0=w_0$")
    ax.set_title(r"$(\eta,\lambda,w_0)$ and $(9\eta,\lambda/9,3w_0)$ are one run", fontsize=11)
    return fig


claim = Claim(
    "NET-ILR-8",
    title="On real nets, tuning the learning rate at fixed intrinsic learning rate is tuning the start",
    paper="intrinsic_lr",
    statement=r"On nets with each normalisation (last layer fixed, digits), torch.optim.SGD with momentum gives the same outputs at "
              r"every step for $(\eta,\lambda,w_0,v_0)$ and $(c^2\eta,\lambda/c^2,cw_0,v_0/c)$, here $c=3$.",
    derivation=lambda: ilr.equivalent_lr.derivation,  # of both, learning rate and decay
    prediction=dict.fromkeys(NETS, 0.0) | {"sq_norm": 1.0},
    simulation=simulation,
    resolution=dict.fromkeys(NETS, RESOLUTION) | {"sq_norm": Relative(RESOLUTION)},
    negative_control=Control(r"the same hyper-parameters from the same start $w_0$", simulation=same_start),
    figure=figure,
)
