r"""NET-EXP-9: on real nets, step decay is the tapered exponential schedule (TEXP), with one buffer correction a boundary.

.. math:: \frac{\tilde\eta_{t+1}}{\tilde\eta_t} = \alpha_I^{-2}, \qquad
          \frac{\tilde\eta_T}{\tilde\eta_{T-1}} = \frac{\eta_I}{\eta_{I-1}}\,\alpha_I^{-1}\alpha_{I-1}^{-1}, \qquad
          \tilde v_T \mathrel{+}= \Bigl[\frac{1-1/\alpha_I}{\eta_I} - \frac{1-1/\alpha_{I-1}}{\eta_{I-1}}\Bigr]\frac{\tilde w_T}{P_T^2}

Without momentum nothing is corrected. Plain TEXP, the buffer left alone at the boundary, gives other functions from there on.
torch.optim.SGD on the digits, float64, TEXP and its corrections played by `sdetheory.torch.schedulers.TranslatedLR`. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from paper_checks.real_nets.side_by_side import NETS, RESOLUTION, STEPS, Gaps, Settings, beside, draw, evidence, paced, played
from sdetheory.claims import Claim, Control, Relative, Run
from sdetheory.schedules import StepDecay
from sdetheory.symbolic import Derivation
from sdetheory.theory import exp_lr
from sdetheory.translate import tapered

if TYPE_CHECKING:
    from matplotlib.figure import Figure

requires = ("torch",)

BOUNDARIES, FACTOR = (STEPS // 3, 2 * STEPS // 3), 0.3
# (lr, weight decay, momentum); ηλ starts below (1 − √μ)² = 0.011 (EXP-7)
CASES = {name: (*paced(name, 0.05, 0.1), 0.8) for name in NETS}
CASES["MLP, layer norm"] = (0.1, 0.05, 0.0)  # no momentum
CONTROLLED = ("MLP, batch norm", "CNN, group norm")


def _gaps(run: Run, names: Any, corrected: bool = True) -> dict[str, Gaps]:
    found = {}
    for name in names:
        lr, decay, momentum = CASES[name]
        texp = tapered(StepDecay(lr, BOUNDARIES, FACTOR), decay, momentum, n_steps=STEPS)
        found[name] = beside(run, name, Settings(texp.lr, texp.weight_decay, texp.momentum),
                             played(texp if corrected else texp.without_corrections()), np.log(texp.scale), buffer=0.1,
                             leaning=float(np.abs(texp.growth).max()))
    return found


def simulation(run: Run) -> dict[str, Any]:
    """Step decay with weight decay, and corrected TEXP without, from corresponding starts."""
    run.data["gaps"] = _gaps(run, NETS)
    return evidence(run.data["gaps"])


def plain(run: Run) -> dict[str, Any]:
    """The control: TEXP with the buffers left alone at the boundaries."""
    return evidence(_gaps(run, CONTROLLED, corrected=False), norms=False)


def derivation() -> Derivation:
    """The factor at a boundary, and the correction of the buffer."""
    whole = Derivation("Tapering")
    for formula in (exp_lr.texp_boundary_factor, exp_lr.texp_buffer_correction):
        whole.including(formula.derivation)
    return whole


def figure(run: Run) -> Figure:
    """How far the functions part: corrected TEXP, and plain TEXP."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.2, 4.4), layout="constrained")
    ax = fig.subplots()
    draw(ax, run.data["gaps"], _gaps(Run(run.rng, run.mode), CONTROLLED, corrected=False), "plain TEXP")
    for boundary in BOUNDARIES:
        ax.axvline(boundary, color="0.6", lw=0.8)
    ax.set_title(rf"Step decay (by {FACTOR:g} at the grey lines) is TEXP, if the buffer is corrected", fontsize=10.5)
    return fig


claim = Claim(
    "NET-EXP-9",
    title="On real nets, step decay is a tapered exponential schedule",
    paper="exp_lr",
    statement=r"On nets with each normalisation (last layer fixed, digits), torch.optim.SGD with step decay and weight decay gives "
              r"the same outputs as TEXP without decay: with no more for $\mu=0$ (MLP, layer norm), and with one buffer "
              r"correction a boundary for $\mu>0$ (the others). Plain TEXP does not.",
    derivation=derivation,
    prediction=dict.fromkeys(NETS, 0.0) | {"sq_norm": 1.0},
    simulation=simulation,
    resolution=dict.fromkeys(NETS, RESOLUTION) | {"sq_norm": Relative(RESOLUTION)},
    negative_control=Control("skip the buffer correction: plain TEXP, taken for exact with momentum too", simulation=plain),
    figure=figure,
)
