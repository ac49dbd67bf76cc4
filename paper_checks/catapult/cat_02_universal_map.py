r"""CAT-2: one map of two numbers, without a parameter, holds every width and every learning rate.

.. math:: X = \eta\lambda,\ Y = \frac{\eta^2f^2}{n}: \quad X' = X+Y(X-4),\ Y' = Y(1-X+Y)^2; \qquad
          4-X' = (4-X)(1+Y), \quad X'^2-4Y' = (1-Y)^2(X^2-4Y) \ge 0, \quad
          \frac{\|u'\|^2-\|v'\|^2}{\|u\|^2-\|v\|^2} = 1-Y

X = 4 is invariant; there Y = 4cos²φ moves by φ → 3φ, chaos with exponent ln 3. Weights of several widths and learning rates
start at the same points of the plane and are held against the map; on the edge the map itself runs. Clock: steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sdetheory.evidence import Between, Exact

import sdetheory as sdt
from paper_checks.catapult.rounding import EPS, iterated, read_error, rounding_along
from paper_checks.catapult.starts import OBSERVED, weights_at
from sdetheory.claims import Claim, Control, Resolution, Run
from sdetheory.dynamics.uv_maps import UniversalMap
from sdetheory.dynamics.uv_weights import UVDescent
from sdetheory.stats import mean_estimate
from sdetheory.symbolic import Derivation
from sdetheory.theory import catapult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STARTS = ((1.5, 0.3), (2.6, 0.01), (3.4, 0.001), (3.8, 2.7), (3.9, 0.5))  # (X, Y): all orbits differ, X² ≥ 4Y
RUNS = ((1, 0.02), (7, 25.0), (512, 1.0), (512, 0.02))  # (width, lr)
STEPS = 30
RESOLUTION = 1e-6  # as in CAT-1: rounding grows by less than 3 a step while the loss grows

# On the edge: the mean over starts of ln|dY'/dY| along an orbit is ln 3 at every length where the law of φ is the uniform,
# invariant one. The spread of a path's exponent is 1.3/ORBIT = 0.064; 6000 paths bring 5 se to 0.4 % of ln 3, 1500 to 0.8 %.
ORBIT, PATHS = 20, 6000
TRIPLED = 5


def _orbits(run: Run, power: int = 2) -> dict[str, Exact]:
    """Every start at every width and learning rate against the map; Y is η^power f²/n."""
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {
        name: [] for name in ("universal map", "distance to the edge", "X² - 4Y", "balance", "X² ≥ 4Y")}
    x0, y0 = np.transpose(STARTS)
    for (width, lr), seed in zip(RUNS, run.rng.spawn(len(RUNS)), strict=True):
        curvature0, g0 = x0 / lr, np.sqrt(y0 / lr**power)
        if power != 2:  # what is no pair of weights has no start: f is at most its bound λ√n/2
            g0 = np.minimum(g0, curvature0 / 2)
        w0 = weights_at(curvature0, np.sqrt(width) * g0, width, seed)
        runs = sdt.simulate(UVDescent(width=width, lr=1.0), w0, n_steps=STEPS, save_every=1, n_paths=len(STARTS), rng=seed,
                            observe=OBSERVED, sweep={"lr": [lr]})
        x, balance = lr * runs.curvature.values[0], lr / width * runs.balance.values[0]
        root = lr ** (power / 2) * np.abs(runs.f.values[0]) / np.sqrt(width)
        if power == 2:
            run.data[f"{width}, {lr}"] = x, root**2
        _compare(found, x, root, balance, width, lr)
    return {name: Exact(*(np.concatenate(part) for part in zip(*pieces, strict=True))) for name, pieces in found.items()}


def _compare(found: dict[str, list], x: np.ndarray, root: np.ndarray, balance: np.ndarray, width: int, lr: float) -> None:
    x0, y0 = np.transpose(STARTS)
    start = np.sqrt(width * y0) / lr, x0 / lr
    f, curvature = iterated(*start, lr, width, STEPS)
    in_g, in_curvature = rounding_along(f, curvature, lr, width)
    found["universal map"] += [((x - lr * curvature).ravel(), (lr * in_curvature).ravel()),
                               ((root - lr * np.abs(f) / np.sqrt(width)).ravel(), (lr * in_g).ravel())]
    y = root**2
    # one step: what reading X and √Y before and after it can be off by, and rounding of the update in between
    off_root, off_x = read_error(x, width)
    off_y = 2 * root * off_root + off_root**2
    then = 1 + x[:, :-1] + y[:, :-1]
    off_x1, off_root1 = off_x[:, 1:] + then * off_x[:, :-1], off_root[:, 1:] + then * off_root[:, :-1]
    off_y1 = 2 * root[:, 1:] * off_root1 + off_root1**2
    now, after = (x[:, :-1], y[:, :-1]), (x[:, 1:], y[:, 1:])
    left = (1 - now[1]) ** 2

    def add(name: str, gap: np.ndarray, bound: np.ndarray) -> None:
        found[name].append((gap.ravel(), bound.ravel()))

    add("distance to the edge", (4 - after[0]) - (4 - now[0]) * (1 + now[1]),
        off_x1 + (1 + now[1]) * off_x[:, :-1] + np.abs(4 - now[0]) * off_y[:, :-1])
    disc = x**2 - 4 * y
    off_disc = 2 * x * off_x + 4 * off_y
    add("X² - 4Y", disc[:, 1:] - left * disc[:, :-1], 2 * after[0] * off_x1 + 4 * off_y1 + left * off_disc[:, :-1]
        + 2 * np.abs(1 - now[1]) * np.abs(disc[:, :-1]) * off_y[:, :-1])
    add("balance", balance[:, 1:] - (1 - now[1]) * balance[:, :-1],
        off_x1 + np.abs(1 - now[1]) * off_x[:, :-1] + np.abs(balance[:, :-1]) * off_y[:, :-1])
    add("X² ≥ 4Y", disc, off_disc)


def simulation(run: Run) -> dict[str, Any]:
    """Weights off the edge; on the edge the map, from the invariant law of the angle."""
    angle = np.pi * np.random.default_rng(run.rng.spawn(1)[0]).random(run.paths(PATHS))
    start = np.stack([np.full(angle.size, 4.0), 4 * np.cos(angle) ** 2], axis=1)
    runs = sdt.simulate(UniversalMap(), start, n_steps=ORBIT, save_every=1, n_paths=angle.size, observe=["X", "Y"])
    y = runs.Y.values
    run.data["edge"] = y
    slope = np.abs(3 * (y[:, :-1] - 1) * (y[:, :-1] - 3))  # of Y(Y−3)²
    # an error of Y grows by at most 9 a step and each adds 16u; the predicted cosine is of an angle off by 3^k 4πu
    steps = np.arange(TRIPLED + 1)
    phi = np.stack([angle])
    for _ in range(TRIPLED):
        phi = np.concatenate([phi, [catapult.edge_angle_step(phi=phi[-1])]])
    bound = 16 * EPS * (9.0 ** (steps + 1) - 1) / 8 + 3.0**steps * 8 * np.pi * EPS
    gap = y[:, :TRIPLED + 1] - 4 * np.cos(phi.T) ** 2
    found = _orbits(run)
    return found | {"on the edge": Exact(runs.X.values, 0.0), "tripled angle": Exact(gap, np.broadcast_to(bound, gap.shape)),
                    "exponent": mean_estimate(np.log(slope).mean(axis=1))}


def one_eta_fewer(run: Run) -> dict[str, Any]:
    """The control: Y = ηf²/n."""
    found = _orbits(run, power=1)
    return {name: found[name] for name in ("universal map", "distance to the edge", "X² - 4Y", "balance")}


def derivation() -> Derivation:
    """From the recursion of two numbers, which comes from the update of the weights: every width."""
    whole = Derivation("The universal map")
    for formula in catapult.by_claim("CAT-2"):
        whole.including(formula.derivation)
    return whole


def figure(run: Run) -> Figure:
    """Left: the plane, nets of all widths on one orbit each; right: three steps on the edge are the tripled angle."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.2, 3.8), layout="constrained")
    left, right = fig.subplots(1, 2)
    x = np.linspace(0, 4, 200)
    left.fill_between(x, x**2 / 4, 5, color="0.88", lw=0, label=r"no weights: $4Y>X^2$")
    left.axvline(4, color="0.4", lw=1, ls="--")
    marks = dict(zip(RUNS, ("o", "s", "^", "x"), strict=True))
    for i, colour in enumerate(("tab:blue", "tab:green", "tab:orange", "tab:red", "tab:purple")):
        for (width, lr), mark in marks.items():
            orbit = run.data[f"{width}, {lr}"]
            if (width, lr) == RUNS[0]:
                left.plot(orbit[0][i], orbit[1][i], color=colour, lw=0.8)
            left.plot(orbit[0][i], orbit[1][i], mark, ms=3 + 2 * (mark == "s"), mfc="none", color=colour, lw=0,
                      label=rf"$n={width},\ \eta={lr:g}$" if i == 0 else None)
    left.set(xlabel=r"$X=\eta\lambda$", ylabel=r"$Y=\eta^2f^2/n$", xlim=(0, 4.1), ylim=(0, 3.2))
    left.set_title("One orbit for every width and learning rate", fontsize=11)
    left.legend(frameon=True, framealpha=0.9, fontsize=7, loc="upper left")
    y, dense = run.data["edge"][:400], np.linspace(0, np.pi / 2, 500)
    right.plot(4 * np.cos(dense) ** 2, 4 * np.cos(3 * dense) ** 2, color="0.5", lw=1, label=r"$4\cos^2 3\varphi$")
    right.plot(4 * np.cos(dense) ** 2, 4 * np.cos(9 * dense) ** 2, color="0.75", lw=1, label=r"$4\cos^2 9\varphi$")
    right.plot(y[::3, 0], y[::3, 1], ".", ms=5, color="tab:blue", label="the map, 1 step")
    right.plot(y[::3, 0], y[::3, 2], ".", ms=5, color="tab:orange", label="the map, 2 steps")
    right.set(xlabel=r"$Y_0=4\cos^2\varphi$ on the edge $X=4$", ylabel=r"$Y_1,\ Y_2$", ylim=(-0.1, 5.6))
    right.set_title(r"On the edge the angle triples: chaos, $\ln 3$", fontsize=11)
    right.legend(frameon=False, fontsize=8, ncols=2, loc="upper right")
    return fig


EXACT = ("universal map", "distance to the edge", "X² - 4Y", "balance", "tripled angle")

claim = Claim(
    "CAT-2",
    title="The universal map",
    paper="catapult",
    statement=r"$X=\eta\lambda$ and $Y=\eta^2f^2/n$ obey $X'=X+Y(X-4)$, $Y'=Y(1-X+Y)^2$: width and learning rate enter only "
              r"through the start. Exactly $4-X'=(4-X)(1+Y)$, $X'^2-4Y'=(1-Y)^2(X^2-4Y)\ge0$, and $\|u\|^2-\|v\|^2$ is "
              r"multiplied by $1-Y$. $X=4$ is invariant; on it $Y=4\cos^2\varphi$ moves by $\varphi\to3\varphi$, with Lyapunov "
              r"exponent $\ln3$.",
    derivation=derivation,
    prediction=lambda: dict.fromkeys(EXACT, 0.0) | {
        "X² ≥ 4Y": Between(low=0.0), "on the edge": 4.0, "exponent": catapult.edge_lyapunov_exponent()},
    simulation=simulation,
    resolution=dict.fromkeys((*EXACT, "X² ≥ 4Y", "on the edge"), RESOLUTION)
               | {"exponent": Resolution(0.011)},  # 1 %
    negative_control=Control(r"$Y=\eta f^2/n$, one learning rate fewer, in the same map", simulation=one_eta_fewer),
    figure=figure,
)
