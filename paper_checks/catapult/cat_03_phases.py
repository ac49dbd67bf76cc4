r"""CAT-3: three phases, and the two edges between them.

.. math:: \text{lazy } \;|\; X_0 - Y_0 = 2 \;|\; \text{ catapult } \;|\; X_0 = 4 \;|\; \text{ divergent}, \qquad
          X_0 = \eta\lambda_0,\ Y_0 = \eta^2f_0^2/n; \qquad
          4-X' = (4-X)(1+Y), \quad \frac{Y'}{Y}-1 = (X-Y)(X-Y-2)

The edge of divergence is the same at every width and almost every start; the edge from which the loss grows at the
first step depends on f_0 and width, and tends to ηλ_0 = 2. In the lazy phase |f| decays as |1−ηλ_0|^t and λ falls by
ηf_0²(4−X)/(X(2−X)n). All of it is read off runs of all weights. Clock: steps.
"""

import numpy as np
import sympy

import sdetheory as sdt
from paper_checks.catapult.rounding import exact, read_error
from paper_checks.catapult.starts import OBSERVED, normal_weights, weights_at
from sdetheory import Between, Claim, Exact, Quantity, Relative
from sdetheory.dynamics.uv_weights import UVDescent
from sdetheory.studies.phases import Phase, phases_of_losses
from sdetheory.symbolic import Derivation
from sdetheory.theory import catapult

CURVATURE, OUTPUT = 2.0, 1.0  # λ_0 of every net, and f_0 where it is not random
# The map: centres of cells that no edge meets. Next to ηλ_0 = 4 the distance to it grows by 1 + Y, on average by 2.6 a
# step, next to 2 the loss by 1.05: in 400 steps every run has either diverged or come to ηλ < 2.
MAP_WIDTHS = np.unique(np.round(np.geomspace(3, 1000, 36))).astype(int).tolist()
MAP_SCALED = 0.5 + 0.05 * (np.arange(90) + 0.5)
STEPS = 400

WIDTHS, NETS = (1, 4, 64, 512), 16  # normal weights: f_0 random
NEAR = 10.0 ** -np.arange(1, 7)
AROUND = 2 * np.concatenate([1 - NEAR, 1 + NEAR[::-1]])  # lr on both sides of 4/λ_0, as near as 1e-6
GRID = np.linspace(0.95, 2.0, 421)  # lr for the first step: 0.25 % apart

LAZY, LAZY_WIDTHS, LAZY_STEPS = np.array([0.6, 1.6]), (512, 1024), 8
DIP_X, DIP_Y = 3.8, 2.7  # a loss that falls first and grows later


def growth_edge(f, width):
    """Where the loss begins to grow at the first step; the edge of divergence where it doesn't before."""
    f = np.asarray(f)
    sometimes = 8 * f**2 <= width * CURVATURE**2
    edge = catapult.first_growth_edge(curvature=CURVATURE, f=np.where(sometimes, f, 0.0), width=width)
    return np.where(sometimes, edge, catapult.divergence_edge(curvature=CURVATURE))


EDGES = np.array([growth_edge(OUTPUT, width) for width in MAP_WIDTHS]) * CURVATURE


def cells_between_the_edges(growth=2.0, divergence=4.0):
    """How many cells of the map other edges, in ηλ_0, put into another phase."""
    phases = [np.searchsorted([edge, divergence], MAP_SCALED) for edge in np.broadcast_to(growth, EDGES.shape)]
    return float(sdt.plot.misclassified(phases, MAP_SCALED, EDGES, 4.0).sum())


def lost(x):
    """n(λ_0 − λ_∞)/(ηf_0²) in the lazy phase, as n → ∞."""
    return (4 - x) / (x * (2 - x))


TOP = np.array([catapult.top_hessian_eigenvalue(f=OUTPUT, curvature=CURVATURE, width=n) for n in MAP_WIDTHS])
WIDE = "what is left is of order 1/n: at most 1.25 times the change from half the width"
WITHIN_CELL = "half the distance between two learning rates of the grid"
QUANTITIES = {  # counts: one cell. Edges: three times what the grids of learning rates tell
    "misclassified cells": Quantity(0.0, 0.5, wrong=lambda: cells_between_the_edges()),
    "rises below 2": Quantity(0.0, 0.5, broken=True),
    "divergence edge": Quantity(1.0, 1e-5, broken=True, bias_source=WITHIN_CELL),
    "growth edge": Quantity(1.0, 0.004, broken=True, bias_source=WITHIN_CELL),
    # some times the 1/n of 1024. Wrong: gradient flow, f' = −λf and λ' = −4f²/n
    "lazy fall": Quantity(lost(LAZY), Relative(0.02), wrong=2 / LAZY, bias_source=WIDE),
    "lazy factor": Quantity(catapult.lazy_factor(X=LAZY), Relative(0.01), wrong=np.exp(-LAZY), bias_source=WIDE),
    # wrong: a loss that grows where X_0 > 2, as in wide nets; one that goes on as it began
    "falls first": Quantity(Between(high=1.0), 0.1, wrong=catapult.lazy_factor(X=DIP_X) ** 2),
    "grows later": Quantity(Between(low=1.0), 0.1, wrong=1 + catapult.first_growth(X=DIP_X, Y=DIP_Y)),
}


def simulated(width, w0, lrs, steps):
    """(f, λ) of shape (lr, net, step)."""
    runs = sdt.simulate(UVDescent(width=width, lr=1.0), w0, n_steps=steps, save_every=1, n_paths=len(w0),
                        observe=OBSERVED, sweep={"lr": lrs}, rng=0)
    return runs.f.values, runs.curvature.values


def rises(f, curvature, width, edge):
    """How often the loss grows, by more than rounding, where ηλ is below `edge`; arrays (ηλ_0, step)."""
    noise = 2 * np.sqrt(width) * read_error(curvature, width)[0]
    below = (MAP_SCALED[:, None] / CURVATURE * curvature < edge) & (np.abs(f) > noise)
    return int(np.sum(below[:, :-1] & (np.abs(f[:, 1:]) > np.abs(f[:, :-1]) + noise[:, :-1])))


def of_map(width, seed):
    """(f, λ) of the net of a row of the map, f_0 = 1, shape (ηλ_0, step)."""
    w0 = weights_at(CURVATURE, OUTPUT, width, seed)
    return (a[:, 0] for a in simulated(width, w0, MAP_SCALED / CURVATURE, STEPS))


def phase_map(trial, seed):
    """Cells that are not where theory has them or not at their end, and losses that grow where ηλ < 2."""
    phases, grown, unfinished = [], 0, 0
    for width, child in zip(MAP_WIDTHS, seed.spawn(len(MAP_WIDTHS)), strict=True):
        f, curvature = of_map(width, child)
        with np.errstate(over="ignore"):
            phases.append(phases_of_losses(f**2 / 2))
        unfinished += int(np.sum((phases[-1] != Phase.DIVERGENT) & ~(MAP_SCALED / CURVATURE * curvature[:, -1] < 2)))
        grown += rises(f, curvature, width, 2)
    trial.data["phases"] = np.array(phases)
    wrong = sdt.plot.misclassified(trial.data["phases"], MAP_SCALED, EDGES, 4.0)
    return {"misclassified cells": Exact(float(wrong.sum() + unfinished), 0.0), "rises below 2": Exact(float(grown), 0.0)}


def edges(seed, theory):
    """The measured edges over theory's, one a net; the bound is half the distance between two learning rates."""
    pieces = []
    for width, child in zip(WIDTHS, seed.spawn(len(WIDTHS)), strict=True):
        w0 = normal_weights(width, NETS, child, CURVATURE)
        f, curvature = simulated(width, w0, AROUND, STEPS)
        diverged = ~(AROUND[:, None] * curvature[..., -1] < 2)  # once ηλ < 2 the loss only falls
        first, monotonic = diverged.argmax(axis=0), np.all(diverged[1:] >= diverged[:-1], axis=0)
        end = np.where(monotonic, (AROUND[first] + AROUND[first - 1]) / 2, np.nan)
        half = (AROUND[first] - AROUND[first - 1]) / 2
        after, _ = simulated(width, w0, GRID, 1)
        grows = np.abs(after[..., 1]) > np.abs(after[..., 0])
        grows[-1] = True  # lr = 2 is the edge of divergence
        first = grows.argmax(axis=0)
        begin = (GRID[first] + GRID[first - 1]) / 2
        step = (GRID[1] - GRID[0]) / 2 * (1 + 1e-9)  # where theory's edge lies on the grid: rounding
        stated = theory(f[0, :, 0], width)
        pieces.append([(edge / t, bound / t * np.ones(NETS))
                       for edge, bound, t in zip((end, begin), (half, step), stated, strict=True)])
    return dict(zip(("divergence edge", "growth edge"), map(exact, zip(*pieces, strict=True)), strict=True))


def lazy(seed):
    """Fall of λ times n/(ηf_0²), and the factor of |f| a step."""
    found = {"lazy fall": [], "lazy factor": []}
    lrs = LAZY / CURVATURE
    for width in LAZY_WIDTHS:
        f, curvature = (a[:, 0] for a in simulated(width, weights_at(CURVATURE, OUTPUT, width, seed), lrs, 60))
        found["lazy fall"].append((curvature[:, 0] - curvature[:, -1]) * width / (lrs * f[:, 0] ** 2))
        found["lazy factor"].append(np.abs(f[:, LAZY_STEPS] / f[:, 0]) ** (1 / LAZY_STEPS))
    return {name: Exact(fine, 1.25 * np.abs(fine - coarse)) for name, (coarse, fine) in found.items()}


def measure(trial):
    """The map, the edges of random nets, the lazy phase, and a loss that falls first."""
    of_cells, of_edges, of_lazy, of_dip = trial.rng.spawn(4)
    lr, width = DIP_X / CURVATURE, 64
    f, _ = simulated(width, weights_at(CURVATURE, np.sqrt(width * DIP_Y) / lr, width, of_dip), [lr], STEPS)
    loss = f[0, 0] ** 2
    trial.data["examples"] = [simulated(512, weights_at(CURVATURE, OUTPUT, 512, of_dip), [x / CURVATURE], 30)[0][0, 0]
                              for x in (1.5, 3.0, 4.1)]
    right = edges(of_edges, lambda f0, width: (
        catapult.divergence_edge(curvature=CURVATURE) * np.ones(NETS), growth_edge(f0, width)))
    return phase_map(trial, of_cells) | right | lazy(of_lazy) | {
        "falls first": Exact(loss[1] / loss[0], 1e-9), "grows later": Exact(loss[2:].max() / loss[1], 1e-9)}


def broken(trial):
    """The edge of divergence by the Hessian, that of growth without f_0; rises of a loss that falls as it converges."""
    of_cells, of_edges, *_ = trial.rng.spawn(4)
    width = MAP_WIDTHS[-1]
    return edges(of_edges, lambda f0, width: (
        4 / catapult.top_hessian_eigenvalue(f=f0, curvature=CURVATURE, width=width),
        catapult.wide_growth_edge(curvature=CURVATURE) * np.ones(NETS))) | {
            "rises below 2": Exact(float(rises(*of_map(width, of_cells), width, 4)), 0.0)}


def proof():
    """The edges, every width, and the lazy limit; then what the curvature loses in the lazy phase."""
    whole = Derivation("The phases").including(*(formula.derivation for formula in catapult.by_claim("CAT-3")))
    x, t = sympy.Symbol("X", positive=True), sympy.Symbol("t", integer=True, nonnegative=True)
    ratio = catapult.lazy_factor.expr.subs(catapult.lazy_factor.parameters[0], x) ** 2
    so_far = (1 - ratio**t) / (1 - ratio)
    whole.step(r"Lazy phase, $n\to\infty$: $f_t^2=f_0^2(1-X)^{2t}$ and $\lambda-\lambda'=(\eta f^2/n)(4-X)$; "
               r"$\sum_{s<t}(1-X)^{2s}$ is", so_far)
    whole.residual("its next term", so_far.subs(t, t + 1) - so_far - ratio**t)
    whole.residual("its first", so_far.subs(t, 0))
    return whole.residual("its limit, as $(1-X)^{2t}\\to0$", 1 / (1 - ratio) - lost(x) / (4 - x))


def figure(trial, left, right):
    """Left: the map with theory's edges; right: a loss of each phase."""
    sdt.plot.phase_map(trial.data["phases"], MAP_SCALED, MAP_WIDTHS, growth_edge=EDGES, divergence_edge=4.0,
                       yscale="log", ax=left)
    left.set(xlabel=r"$\eta\lambda_0$", ylabel=r"width $n$", title=r"Phases of all weights, $f_0=1$, and exact edges")
    names = (r"$\eta\lambda_0=1.5$: lazy", r"$3.0$: catapult", r"$4.1$: divergent")
    for f, name, colour in zip(trial.data["examples"], names, ("C0", "C1", "0.45"), strict=True):
        right.semilogy(f[:17][np.abs(f[:17]) < 1e9] ** 2 / 2, "o-", ms=3, lw=1, color=colour, label=name)
    right.set(xlabel=r"step $k$", ylabel=r"loss $f_k^2/2$ at $n=512$", ylim=(1e-8, 1e6), title="One loss of each")
    right.legend(loc="lower left")


claim = Claim(
    "CAT-3", "Lazy, catapult, divergent", paper="catapult", where="the warm-up model: the phases of the learning rate",
    statement=r"Gradient descent on the uv model converges from every start with $\eta\lambda_0<4$ and diverges from almost "
              r"every start with $\eta\lambda_0>4$, at every width: one that lands on $f=0$ exactly stays there. Below 4 "
              r"the loss grows at the first step if and only if $X_0-Y_0>2$ ($X=\eta\lambda$, "
              r"$Y=\eta^2f^2/n$): $\eta\lambda_0=2$ in wide nets. Where $\eta\lambda<2$ it only falls; it may fall "
              r"first and grow later. In the lazy phase of wide nets $|f|$ decays as $|1-\eta\lambda_0|^t$ and "
              r"$\lambda$ falls by $O(1/n)$.",
    setup=r"Gradient descent on all weights: one net at each of 36 widths from 3 to 1000 and 90 learning rates, "
          r"$\lambda_0=2$, $f_0=1$, 400 steps; 16 nets of normal weights at widths 1, 4, 64 and 512 around each edge",
    proof=proof, quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"the edges at $\eta\lambda_0=2$ at every width, and at 4 over the top eigenvalue of the Hessian at the "
            r"start; a loss that only falls where training converges, or goes on as its first step began; gradient "
            r"flow in the lazy phase")
