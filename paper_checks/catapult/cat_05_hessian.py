r"""CAT-5: the NTK is the top curvature of the loss where f = 0; elsewhere the Hessian has its whole spectrum in closed form.

.. math:: \lambda = \|\nabla f\|^2 = \frac{\|u\|^2+\|v\|^2}{n}, \qquad
          h_\pm = \frac\lambda2 \pm \sqrt{\lambda^2/4+3f^2/n}, \qquad \pm\frac{|f|}{\sqrt n}\ \ (n-1 \text{ times each})

So the catapult ends in a flatter minimum: there f = 0 and the top eigenvalue is λ_∞ < 2/η < λ_0. The eigenvalues are those of
the matrix of differences of the gradient, along runs of all weights and at random ones, a single weight a layer among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sdetheory.evidence import Between, Exact

import sdetheory as sdt
from paper_checks.catapult.rounding import EPS
from paper_checks.catapult.starts import normal_weights
from sdetheory.claims import Claim, Control, Run
from sdetheory.losses import UVModel
from sdetheory.symbolic import Derivation
from sdetheory.theory import catapult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVATURE = 2.0
LOSS = UVModel(16)  # run by the engine
WIDTHS, POINTS = (1, 2, 5), 50  # and random weights of these
SCALED = (0.7, 1.9, 2.6, 3.4, 3.9)  # ηλ_0
LRS = np.array(SCALED) / CURVATURE
JUMPED = slice(2, None)  # those that no net of this width follows lazily to the end: 2 < ηλ_0
STEPS, NETS = 80, 8
# Along one weight f is linear and the gradient quadratic, so central differences of both are exact at every distance.
DISTANCE = 0.5
RESOLUTION = 1e-9  # far above rounding of sums of 32 terms


def _differences(function: Any, w: np.ndarray) -> np.ndarray:
    """Central differences along each weight, shape (…, d, …)."""
    shifts = DISTANCE * np.eye(w.shape[-1])
    return (function(w[..., None, :] + shifts) - function(w[..., None, :] - shifts)) / (2 * DISTANCE)


def _measured(loss: UVModel, w: np.ndarray) -> tuple[np.ndarray, ...]:
    """(f, λ), the eigenvalues of the Hessian with their bound, and ‖∇f‖² with its own, at weights (…, d)."""
    n, d = loss.width, loss.dim
    f, curvature = loss.output(w), np.sum(w**2, axis=-1) / n
    matrix = _differences(loss.gradient, w)
    eigenvalues = np.linalg.eigvalsh((matrix + np.swapaxes(matrix, -1, -2)) / 2)
    tangent = np.sum(_differences(loss.output, w) ** 2, axis=-1)
    # f at a shifted point, of curvature c, is off by (n + 4)ε √n c/2 and the gradient by (n + 4)ε c/2 times its length
    # (nc)^(1/2); d of them over DISTANCE add up to this norm. To that the error of eigvalsh, and of theory's own f and λ.
    c = (np.sqrt(curvature) + DISTANCE / np.sqrt(n)) ** 2
    column = (n + 4) * EPS * c / 2 * np.sqrt(n * c) / DISTANCE
    norm = curvature + 2 * np.abs(f) / np.sqrt(n)
    bound = np.sqrt(d) * column + (8 * d + 4 * (n + 4)) * EPS * norm
    slope = np.sqrt(d) * (n + 4) * EPS * np.sqrt(n) * c / 2 / DISTANCE
    return f, curvature, eigenvalues, bound, tangent, 2 * np.sqrt(curvature) * slope + slope**2 + 2 * d * EPS * curvature


def _spectrum(f: np.ndarray, curvature: np.ndarray, width: int) -> np.ndarray:
    """Theory's eigenvalues in increasing order, shape (…, 2 width)."""
    at = {"f": f, "curvature": curvature, "width": width}
    bulk = catapult.hessian_bulk(f=f, width=width)
    return np.sort(np.stack([catapult.lowest_hessian_eigenvalue(**at), catapult.top_hessian_eigenvalue(**at),
                             *[bulk] * (width - 1), *[-bulk] * (width - 1)], axis=-1), axis=-1)


def _places(run: Run) -> list[tuple[UVModel, np.ndarray]]:
    """Every step of the engine's runs, and random weights with f of the size of the curvature."""
    seeds = run.rng.spawn(len(WIDTHS) + 1)
    w0 = normal_weights(LOSS.width, NETS, seeds[-1], CURVATURE)
    w = sdt.simulate(sdt.SGD(LOSS, lr=1.0), w0, n_steps=STEPS, save_every=1, n_paths=NETS, observe=["w"],
                     sweep={"lr": LRS}, rng=0).w.values
    return [(LOSS, w)] + [(UVModel(n), np.random.default_rng(seed).standard_normal((POINTS, 2 * n)))
                          for n, seed in zip(WIDTHS, seeds, strict=False)]


def simulation(run: Run) -> dict[str, Any]:
    """Spectra and NTK everywhere; at the ends of the runs the top eigenvalue alone."""
    top: list[tuple[np.ndarray, np.ndarray]] = []
    others: list[tuple[np.ndarray, np.ndarray]] = []
    tangents: list[tuple[np.ndarray, np.ndarray]] = []
    ends: tuple[np.ndarray, ...] = ()
    for loss, w in _places(run):
        f, curvature, found, bound, tangent, off = _measured(loss, w)
        gap = found - _spectrum(f, curvature, loss.width)
        top.append((gap[..., -1].ravel(), bound.ravel()))
        others.append((gap[..., :-1].ravel(), np.repeat(bound.ravel(), loss.dim - 1)))
        tangents.append(((tangent - curvature).ravel(), off.ravel()))
        if loss is LOSS:
            run.data.update(top=found[..., -1], curvature=curvature, f=f)
            ends = f[..., -1], curvature[..., -1], found[..., -1, -1], bound[..., -1]
    f, curvature, sharpness, bound = ends
    flat = np.abs(f) < 1e-6  # then h_+ − λ is below 3f²/(nλ)
    return {"top eigenvalue": _joined(top), "other eigenvalues": _joined(others), "NTK": _joined(tangents),
            "top minus NTK where f = 0": Exact((sharpness - curvature)[flat],
                                               (bound + 3e-12 / (LOSS.width * curvature))[flat]),
            "lr times top at the end": Exact((LRS[:, None] * sharpness)[JUMPED], (LRS[:, None] * bound)[JUMPED])}


def _joined(pieces: list[tuple[np.ndarray, np.ndarray]]) -> Exact:
    return Exact(*(np.concatenate(part) for part in zip(*pieces, strict=True)))


def sum_of_parts(run: Run) -> dict[str, Any]:
    """The control: the top eigenvalues of the two parts of the Hessian, λ of ∇f∇fᵀ and |f|/√n of f∇²f, added up."""
    pieces = []
    for loss, w in _places(run):
        f, curvature, found, bound, *_ = _measured(loss, w)
        pieces.append(((found[..., -1] - curvature - catapult.hessian_bulk(f=f, width=loss.width)).ravel(), bound.ravel()))
    return {"top eigenvalue": _joined(pieces)}


def derivation() -> Derivation:
    """By the algebra of inner products: every width."""
    whole = Derivation("NTK and Hessian")
    for formula in catapult.by_claim("CAT-5"):
        whole.including(formula.derivation)
    return whole


def figure(run: Run) -> Figure:
    """A catapult and a lazy run: top eigenvalue, theory, and NTK; the line below which gradient descent is stable."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7.2, 3.8), layout="constrained")
    left, right = fig.subplots(1, 2, width_ratios=(3, 2))
    steps, net, shown = np.arange(26), 0, 26
    for i, colour in ((0, "tab:blue"), (2, "tab:green"), (3, "tab:orange")):
        f, curvature = (run.data[name][i, net, :shown] for name in ("f", "curvature"))
        theory = catapult.top_hessian_eigenvalue(f=f, curvature=curvature, width=LOSS.width)
        left.plot(steps, LRS[i] * run.data["top"][i, net, :shown], "o", ms=4, mfc="none", color=colour,
                  label=rf"top of Hessian, $\eta\lambda_0={SCALED[i]:g}$")
        left.plot(steps, LRS[i] * theory, color=colour, lw=1, label=r"theory, $h_+$" if i == 3 else None)
        left.plot(steps, LRS[i] * curvature, color=colour, lw=1, ls="--", label=r"NTK $\lambda$" if i == 3 else None)
    left.axhline(2, color="0.5", lw=1, ls=":")
    left.set(xlabel=r"step $k$", ylabel=r"$\eta$ times curvature")
    left.set_title("Top curvature and NTK meet where the loss is 0", fontsize=11)
    left.legend(frameon=False, fontsize=8)
    for i, colour in enumerate(("tab:blue", "tab:cyan", "tab:green", "tab:orange", "tab:red")):
        right.plot(np.full(NETS, SCALED[i]), LRS[i] * run.data["top"][i, :, -1], "o", ms=4, mfc="none", color=colour)
    line = np.array([0.0, 4.0])
    right.plot(line, line, color="0.5", lw=1, ls="--", label="as flat as at the start")
    right.axhline(2, color="0.5", lw=1, ls=":", label="stable below")
    right.set(xlabel=r"$\eta\lambda_0$", ylabel=r"$\eta$ times top of Hessian at the end", xlim=(0, 4.2), ylim=(0, 4.2))
    right.set_title("Catapults end flatter", fontsize=11)
    right.legend(frameon=False, fontsize=8, loc="upper left")
    return fig


claim = Claim(
    "CAT-5",
    title="NTK, Hessian and flatter minima",
    paper="catapult",
    statement=r"$\lambda=(\|u\|^2+\|v\|^2)/n$ is the NTK $\|\nabla f\|^2$, and the top eigenvalue of the Hessian of $L$ where "
              r"$f=0$; elsewhere that is $\lambda/2+\sqrt{\lambda^2/4+3f^2/n}$, its partner has the minus sign, and the others "
              r"are $\pm f/\sqrt n$, at every width. After a catapult $\eta$ times it is below 2: the minimum is flatter.",
    derivation=derivation,
    prediction={"top eigenvalue": 0.0, "other eigenvalues": 0.0, "NTK": 0.0, "top minus NTK where f = 0": 0.0,
                "lr times top at the end": Between(high=2.0)},
    simulation=simulation,
    resolution={"top eigenvalue": RESOLUTION, "other eigenvalues": RESOLUTION, "NTK": RESOLUTION,
                "top minus NTK where f = 0": RESOLUTION, "lr times top at the end": RESOLUTION},
    negative_control=Control(r"the two parts of the Hessian added up, $\lambda+|f|/\sqrt n$", simulation=sum_of_parts),
    figure=figure,
)
