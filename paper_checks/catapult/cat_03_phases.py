r"""CAT-3: three phases, and the two edges between them.

.. math:: \text{lazy } \;|\; X_0 - Y_0 = 2 \;|\; \text{ catapult } \;|\; X_0 = 4 \;|\; \text{ divergent}, \qquad
          X_0 = \eta\lambda_0,\ Y_0 = \eta^2f_0^2/n; \qquad 4-X' = (4-X)(1+Y), \quad \frac{Y'}{Y}-1 = (X-Y)(X-Y-2)

The edge of divergence is the same at every width and start; the edge from which the loss grows at the first step depends on f_0
and width, and tends to ηλ_0 = 2. In the lazy phase |f| decays as |1−ηλ_0|^t and λ falls by ηf_0²(4−X)/(X(2−X)n). All of it is
read off runs of all weights. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from sdetheory.evidence import Between, Exact

import sdetheory as sdt
from paper_checks.catapult.rounding import read_error
from paper_checks.catapult.starts import OBSERVED, normal_weights, weights_at
from sdetheory.claims import Claim, Control, Relative, Resolution, Run
from sdetheory.dynamics.uv_weights import UVDescent
from sdetheory.studies.phases import Phase, phases_of_losses
from sdetheory.symbolic import Derivation
from sdetheory.theory import catapult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVATURE, OUTPUT = 2.0, 1.0  # λ_0 of every net, and f_0 where it is not random
# The map: centres of cells that no edge meets. Next to ηλ_0 = 4 the distance to it grows by 1 + Y, on average by 2.6 a step,
# next to 2 the loss by 1.05: in 400 steps every run has either diverged or come to ηλ < 2.
MAP_WIDTHS: list[int] = np.unique(np.round(np.geomspace(3, 1000, 36))).astype(int).tolist()
MAP_SCALED = 0.5 + 0.05 * (np.arange(90) + 0.5)
STEPS = 400

WIDTHS, NETS = (1, 4, 64, 512), 16  # normal weights: f_0 random
NEAR = 10.0 ** -np.arange(1, 7)
AROUND = 2 * np.concatenate([1 - NEAR, 1 + NEAR[::-1]])  # lr on both sides of 4/λ_0, as near as 1e-6
GRID = np.linspace(0.95, 2.0, 421)  # lr for the first step: 0.25 % apart

LAZY, LAZY_WIDTHS, LAZY_STEPS = (0.6, 1.6), (512, 1024), 8
DIPS = (3.8, 2.7)  # (X_0, Y_0) of a loss that falls first and grows later


def _simulated(width: int, w0: np.ndarray, lrs: Any, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """(f, λ) of shape (lr, net, step)."""
    runs = sdt.simulate(UVDescent(width=width, lr=1.0), w0, n_steps=steps, save_every=1, n_paths=len(w0), observe=OBSERVED,
                        sweep={"lr": lrs}, rng=0)
    return runs.f.values, runs.curvature.values


def _growth_edge(f: Any, width: int) -> np.ndarray:
    """Where the loss begins to grow at the first step; the edge of divergence where it doesn't before."""
    f = np.asarray(f)
    sometimes = 8 * f**2 <= width * CURVATURE**2
    within = np.where(sometimes, f, 0.0)
    edge = catapult.first_growth_edge(curvature=CURVATURE, f=within, width=width)
    return np.where(sometimes, edge, catapult.divergence_edge(curvature=CURVATURE))


def _map(run: Run, seed: np.random.SeedSequence) -> dict[str, Exact]:
    """Phases of one net a width, f_0 = 1; cells that are not where theory has them, and losses that grow where ηλ < 2."""
    phases, rises, unfinished = [], 0, 0
    for width, child in zip(MAP_WIDTHS, seed.spawn(len(MAP_WIDTHS)), strict=True):
        f, curvature = (a[:, 0] for a in _simulated(width, weights_at(CURVATURE, OUTPUT, width, child),
                                                    MAP_SCALED / CURVATURE, STEPS))
        with np.errstate(over="ignore"):
            loss = f**2 / 2
        found = phases_of_losses(loss)
        phases.append(found)
        noise = 2 * np.sqrt(width) * read_error(curvature, width)[0]
        falling = MAP_SCALED[:, None] / CURVATURE * curvature < 2  # from there on the loss only falls
        unfinished += int(np.sum((found != Phase.DIVERGENT) & ~falling[:, -1]))
        rises += int(np.sum((falling & (np.abs(f) > noise))[:, :-1]
                            & (np.abs(f[:, 1:]) > np.abs(f[:, :-1]) + noise[:, :-1])))
    codes = np.array(phases)
    edges = np.array([_growth_edge(OUTPUT, width) for width in MAP_WIDTHS]) * CURVATURE
    wrong = sdt.plot.misclassified(codes, MAP_SCALED, edges, 4.0)
    run.data["map"] = codes, edges
    return {"misclassified cells": Exact(float(wrong.sum() + unfinished), 0.0), "rises below 2": Exact(float(rises), 0.0)}


def _edges(seed: np.random.SeedSequence, by_hessian: bool = False) -> dict[str, Exact]:
    """The measured edges over theory's, one a net; the bound is half the distance between two learning rates."""
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"divergence edge": [], "growth edge": []}
    for width, child in zip(WIDTHS, seed.spawn(len(WIDTHS)), strict=True):
        w0 = normal_weights(width, NETS, child, CURVATURE)
        f, curvature = _simulated(width, w0, AROUND, STEPS)
        f0 = f[0, :, 0]
        diverged = ~(AROUND[:, None] * curvature[..., -1] < 2)  # once ηλ < 2 the loss only falls
        monotonic = np.all(diverged[1:] >= diverged[:-1], axis=0)
        first = diverged.argmax(axis=0)
        end = np.where(monotonic, (AROUND[first] + AROUND[first - 1]) / 2, np.nan)
        half = (AROUND[first] - AROUND[first - 1]) / 2
        f, _ = _simulated(width, w0, GRID, 1)
        grows = np.abs(f[..., 1]) > np.abs(f[..., 0])
        grows[-1] = True  # lr = 2 is the edge of divergence
        first = grows.argmax(axis=0)
        begin = (GRID[first] + GRID[first - 1]) / 2
        theory = {"divergence edge": catapult.divergence_edge(curvature=CURVATURE) * np.ones(NETS),
                  "growth edge": _growth_edge(f0, width)}
        if by_hessian:
            top = catapult.top_hessian_eigenvalue(f=f0, curvature=CURVATURE, width=width)
            theory = {"divergence edge": 4 / top, "growth edge": 2 / top}
        step = (GRID[1] - GRID[0]) / 2 * (1 + 1e-9)  # where theory's edge lies on the grid: rounding
        for name, edge, bound in (("divergence edge", end, half), ("growth edge", begin, step)):
            found[name].append((edge / theory[name], bound / theory[name] * np.ones(NETS)))
    return {name: Exact(*(np.concatenate(part) for part in zip(*pieces, strict=True))) for name, pieces in found.items()}


def _lazy(seed: np.random.SeedSequence) -> dict[str, Exact]:
    """Fall of λ times n/(ηf_0²), and the factor of |f| a step; the bound is the difference from half the width."""
    found: dict[str, list[np.ndarray]] = {"lazy fall": [], "lazy factor": []}
    for width in LAZY_WIDTHS:
        lrs = np.array(LAZY) / CURVATURE
        f, curvature = (a[:, 0] for a in _simulated(width, weights_at(CURVATURE, OUTPUT, width, seed), lrs, 60))
        found["lazy fall"].append((curvature[:, 0] - curvature[:, -1]) * width / (lrs * f[:, 0] ** 2))
        found["lazy factor"].append(np.abs(f[:, LAZY_STEPS] / f[:, 0]) ** (1 / LAZY_STEPS))
    # what is left is of order 1/n: at the larger width as much as it changed
    return {name: Exact(fine, 1.25 * np.abs(fine - coarse)) for name, (coarse, fine) in found.items()}


def simulation(run: Run) -> dict[str, Any]:
    """The map, the edges of random nets, the lazy phase, and a loss that falls first."""
    of_map, of_edges, of_lazy, of_dip = run.rng.spawn(4)
    lr, width = DIPS[0] / CURVATURE, 64
    f0 = np.sqrt(width * DIPS[1]) / lr
    f, _ = _simulated(width, weights_at(CURVATURE, f0, width, of_dip), [lr], STEPS)
    loss = f[0, 0] ** 2
    run.data["examples"] = [_simulated(512, weights_at(CURVATURE, OUTPUT, 512, of_dip), [x / CURVATURE], 30)[0][0, 0]
                            for x in (1.5, 3.0, 4.1)]
    return _map(run, of_map) | _edges(of_edges) | _lazy(of_lazy) | {
        "falls first": Exact(loss[1] / loss[0], 1e-9), "grows later": Exact(loss[2:].max() / loss[1], 1e-9)}


def by_hessian(run: Run) -> dict[str, Any]:
    """The control: edges at 2 and 4 over the top eigenvalue of the Hessian at the start."""
    return _edges(run.rng.spawn(4)[1], by_hessian=True)


def derivation() -> Derivation:
    """The edges, every width, and the lazy limit; then what the curvature loses in the lazy phase."""
    whole = Derivation("The phases")
    for formula in catapult.by_claim("CAT-3"):
        whole.including(formula.derivation)
    x, t = sympy.Symbol("X", positive=True), sympy.Symbol("t", integer=True, nonnegative=True)
    ratio = catapult.lazy_factor.expr.subs(catapult.lazy_factor.parameters[0], x) ** 2
    so_far = (1 - ratio**t) / (1 - ratio)
    whole.step(r"Lazy phase, $n\to\infty$: $f_t^2=f_0^2(1-X)^{2t}$ and $\lambda-\lambda'=(\eta f^2/n)(4-X)$; "
               r"$\sum_{s<t}(1-X)^{2s}$ is", so_far)
    whole.residual("its next term", so_far.subs(t, t + 1) - so_far - ratio**t)
    whole.residual("its first", so_far.subs(t, 0))
    return whole.residual("its limit, as $(1-X)^{2t}\\to0$", 1 / (1 - ratio) - _lost(x) / (4 - x))


def _lost(x: Any) -> Any:
    """n(λ_0 − λ_∞)/(ηf_0²) in the lazy phase, as n → ∞."""
    return (4 - x) / (x * (2 - x))


def prediction() -> dict[str, Any]:
    """Ratios of edges are 1; nothing is on the wrong side."""
    lazy = np.array(LAZY)
    return {"misclassified cells": 0.0, "rises below 2": 0.0, "divergence edge": 1.0, "growth edge": 1.0,
            "lazy fall": _lost(lazy), "lazy factor": catapult.lazy_factor(X=lazy),
            "falls first": Between(high=1.0), "grows later": Between(low=1.0)}


def figure(run: Run) -> Figure:
    """Left: the map with theory's edges; right: a loss of each phase."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(8.4, 4.2), layout="constrained")
    left, right = fig.subplots(1, 2, width_ratios=(3, 2))
    codes, edges = run.data["map"]
    sdt.plot.phase_map(codes, MAP_SCALED, MAP_WIDTHS, growth_edge=edges, divergence_edge=4.0, yscale="log", ax=left)
    left.set(xlabel=r"$\eta\lambda_0$", ylabel=r"width $n$")
    left.set_title(r"Phases of all weights, $f_0=1$, and exact edges", fontsize=11)
    for f, name, colour in zip(run.data["examples"], (r"$\eta\lambda_0=1.5$: lazy", r"$3.0$: catapult", r"$4.1$: divergent"),
                               ("tab:blue", "tab:orange", "0.45"), strict=True):
        right.semilogy(f[:17][np.abs(f[:17]) < 1e9] ** 2 / 2, "o-", ms=3, lw=1, color=colour, label=name)
    right.set(xlabel=r"step $k$", ylabel=r"loss $f_k^2/2$ at $n=512$", ylim=(1e-8, 1e6))
    right.legend(frameon=False, fontsize=8, loc="lower left")
    right.set_title("One loss of each", fontsize=11)
    return fig


claim = Claim(
    "CAT-3",
    title="Lazy, catapult, divergent",
    paper="catapult",
    statement=r"Gradient descent on the uv model diverges if and only if $\eta\lambda_0>4$, at every width and start. Below, "
              r"the loss grows at the first step if and only if $X_0-Y_0>2$ ($X=\eta\lambda$, $Y=\eta^2f^2/n$): "
              r"$\eta\lambda_0=2$ in wide nets. Where $\eta\lambda<2$ it only falls; it may fall first and grow later. In the "
              r"lazy phase of wide nets $|f|$ decays as $|1-\eta\lambda_0|^t$ and $\lambda$ falls by $O(1/n)$.",
    derivation=derivation,
    prediction=prediction,
    simulation=simulation,
    # counts: one cell. The edges: three times what the grids of learning rates tell. Lazy: some times the 1/n of 1024.
    resolution={"misclassified cells": 0.5, "rises below 2": 0.5, "divergence edge": 1e-5, "growth edge": 0.004,
                "lazy fall": Resolution(Relative(0.02)), "lazy factor": Resolution(Relative(0.01)),
                "falls first": 0.1, "grows later": 0.1},
    negative_control=Control("the edges at 2 and 4 over the top eigenvalue of the Hessian at the start, not over the NTK",
                             simulation=by_hessian),
    figure=figure,
)
