r"""CAT-5: the NTK is the top curvature of the loss where f = 0; elsewhere the Hessian has its spectrum in closed form.

.. math:: \lambda = \|\nabla f\|^2 = \frac{\|u\|^2+\|v\|^2}{n}, \qquad
          h_\pm = \frac\lambda2 \pm \sqrt{\lambda^2/4+3f^2/n}, \qquad \pm\frac{|f|}{\sqrt n}\ (n-1 \text{ times each})

So the catapult ends in a flatter minimum: there f = 0 and the top eigenvalue is λ_∞ < 2/η < λ_0. The eigenvalues are
those of the matrix of differences of the gradient, along runs of all weights and at random ones, a single weight a
layer among them.
"""

import numpy as np

import sdetheory as sdt
from paper_checks.catapult.rounding import EPS, exact
from paper_checks.catapult.starts import normal_weights
from sdetheory import Between, Claim, Exact, Quantity
from sdetheory.losses import UVModel
from sdetheory.theory import catapult

CURVATURE = 2.0
LOSS = UVModel(16)  # run by the engine
WIDTHS, POINTS = (1, 2, 5), 50  # and random weights of these
SCALED = (0.7, 1.9, 2.6, 3.4, 3.9)  # ηλ_0
LRS = np.array(SCALED) / CURVATURE
JUMPED = slice(2, None)  # those that no net of this width follows lazily to the end: 2 < ηλ_0
STEPS, NETS = 80, 8
# Along one weight f is linear and the gradient quadratic: central differences of both are exact at every distance.
DISTANCE = 0.5
RESOLUTION = 1e-9  # far above rounding of sums of 32 terms

EVERYWHERE, AT_THE_END = ("top eigenvalue", "other eigenvalues", "NTK"), "lr times top at the end"
QUANTITIES = {name: Quantity(0.0, RESOLUTION, broken=True) for name in (*EVERYWHERE, "top minus NTK where f = 0")} | {
    AT_THE_END: Quantity(Between(high=2.0), RESOLUTION, wrong=SCALED[2])}  # wrong: as sharp as at the start, or sharper


def differences(function, w):
    """Central differences along each weight, shape (…, d, …)."""
    shifts = DISTANCE * np.eye(w.shape[-1])
    return (function(w[..., None, :] + shifts) - function(w[..., None, :] - shifts)) / (2 * DISTANCE)


def measured(loss, w):
    """(f, λ), the eigenvalues of the Hessian with their bound, and ‖∇f‖² with its own, at weights (…, d)."""
    n, d = loss.width, loss.dim
    f, curvature = loss.output(w), np.sum(w**2, axis=-1) / n
    matrix = differences(loss.gradient, w)
    eigenvalues = np.linalg.eigvalsh((matrix + np.swapaxes(matrix, -1, -2)) / 2)
    tangent = np.sum(differences(loss.output, w) ** 2, axis=-1)
    # f at a shifted point, of curvature c, is off by (n + 4)ε √n c/2 and the gradient by (n + 4)ε c/2 times its length
    # (nc)^(1/2); d of them over DISTANCE add up to this norm. To that the error of eigvalsh, and of theory's f and λ.
    c = (np.sqrt(curvature) + DISTANCE / np.sqrt(n)) ** 2
    column = (n + 4) * EPS * c / 2 * np.sqrt(n * c) / DISTANCE
    norm = curvature + 2 * np.abs(f) / np.sqrt(n)
    bound = np.sqrt(d) * column + (8 * d + 4 * (n + 4)) * EPS * norm
    slope = np.sqrt(d) * (n + 4) * EPS * np.sqrt(n) * c / 2 / DISTANCE
    return f, curvature, eigenvalues, bound, tangent, 2 * np.sqrt(curvature) * slope + slope**2 + 2 * d * EPS * curvature


def closed_forms(f, curvature, w, width):
    """Theory's (top eigenvalue, the others in increasing order, NTK)."""
    at = {"f": f, "curvature": curvature, "width": width}
    bulk = catapult.hessian_bulk(f=f, width=width)
    every = np.sort(np.stack([catapult.lowest_hessian_eigenvalue(**at), catapult.top_hessian_eigenvalue(**at),
                              *[bulk] * (width - 1), *[-bulk] * (width - 1)], axis=-1), axis=-1)
    return every[..., -1], every[..., :-1], curvature


def wrong_forms(f, curvature, w, width):
    """The two parts ∇f∇fᵀ and f∇²f added up; the first alone, of rank one; the kernel of one layer."""
    others = np.zeros((*f.shape, 2 * width - 1))
    return curvature + catapult.hessian_bulk(f=f, width=width), others, np.sum(w[..., width:] ** 2, axis=-1) / width


def compared(trial, forms, top_over_ntk=1):
    """Every step of the engine's runs, and random weights with f of the size of the curvature."""
    seeds = trial.rng.spawn(len(WIDTHS) + 1)
    w0 = normal_weights(LOSS.width, NETS, seeds[-1], CURVATURE)
    w = sdt.simulate(sdt.SGD(LOSS, lr=1.0), w0, n_steps=STEPS, save_every=1, n_paths=NETS, observe=["w"],
                     sweep={"lr": LRS}, rng=0).w.values
    pieces = {name: [] for name in EVERYWHERE}
    for loss, at in [(LOSS, w)] + [(UVModel(n), np.random.default_rng(seed).standard_normal((POINTS, 2 * n)))
                                   for n, seed in zip(WIDTHS, seeds, strict=False)]:
        f, curvature, found, bound, tangent, off = measured(loss, at)
        top, others, ntk = forms(f, curvature, at, loss.width)
        gaps = found[..., -1] - top, found[..., :-1] - others, tangent - ntk
        bounds = bound, np.repeat(bound[..., None], loss.dim - 1, axis=-1), off
        for name, gap, limit in zip(EVERYWHERE, gaps, bounds, strict=True):
            pieces[name].append((gap, limit))
        if loss is LOSS:
            trial.data.update(top=found[..., -1], curvature=curvature, f=f, bound=bound)
    f, curvature, sharpness, bound = (trial.data[name][..., -1] for name in ("f", "curvature", "top", "bound"))
    flat = np.abs(f) < 1e-6  # then h_+ − λ is below 3f²/(nλ)
    gap = sharpness - top_over_ntk * curvature
    return {name: exact(parts) for name, parts in pieces.items()} | {
        "top minus NTK where f = 0": Exact(gap[flat], (bound + 3e-12 / (LOSS.width * curvature))[flat])}


def measure(trial):
    """Spectra and NTK everywhere; at the ends of the runs the top eigenvalue alone."""
    found, lr = compared(trial, closed_forms), LRS[JUMPED, None]
    sharpness, bound = (lr * trial.data[name][JUMPED, :, -1] for name in ("top", "bound"))
    return found | {AT_THE_END: Exact(sharpness, bound)}


def broken(trial):
    """The wrong closed forms; and the Hessian of f² in place of f²/2."""
    return compared(trial, wrong_forms, top_over_ntk=2)


def figure(trial, left, right):
    """A catapult and a lazy run: top eigenvalue, theory, and NTK; the line below which gradient descent is stable."""
    shown = slice(26)
    for i, colour in ((0, "C0"), (2, "C2"), (3, "C1")):
        f, curvature, top = (trial.data[name][i, 0, shown] for name in ("f", "curvature", "top"))
        theory = catapult.top_hessian_eigenvalue(f=f, curvature=curvature, width=LOSS.width)
        left.plot(LRS[i] * top, "o", ms=4, mfc="none", color=colour,
                  label=rf"top of Hessian, $\eta\lambda_0={SCALED[i]:g}$")
        left.plot(LRS[i] * theory, color=colour, lw=1, label=r"theory, $h_+$" if i == 3 else None)
        left.plot(LRS[i] * curvature, color=colour, lw=1, ls="--", label=r"NTK $\lambda$" if i == 3 else None)
    left.axhline(2, color="0.5", lw=1, ls=":")
    left.set(xlabel=r"step $k$", ylabel=r"$\eta$ times curvature", title="Hessian and NTK meet at $f=0$")
    left.legend()
    for i, x in enumerate(SCALED):
        right.plot(np.full(NETS, x), LRS[i] * trial.data["top"][i, :, -1], "o", ms=4, mfc="none", color=f"C{i}")
    right.plot([0, 4], [0, 4], color="0.5", lw=1, ls="--", label="as flat as at the start")
    right.axhline(2, color="0.5", lw=1, ls=":", label="stable below")
    right.set(xlabel=r"$\eta\lambda_0$", ylabel=r"$\eta$ times top of Hessian at the end", xlim=(0, 4.2), ylim=(0, 4.2),
              title="Catapults end flatter")
    right.legend(loc="upper left")


claim = Claim(
    "CAT-5", "NTK, Hessian and flatter minima", paper="catapult",
    where="the warm-up model: curvature as the NTK and as the top eigenvalue of the Hessian",
    statement=r"$\lambda=(\|u\|^2+\|v\|^2)/n$ is the NTK $\|\nabla f\|^2$, and the top eigenvalue of the Hessian of $L$ "
              r"where $f=0$; elsewhere that is $\lambda/2+\sqrt{\lambda^2/4+3f^2/n}$, its partner has the minus sign, and "
              r"the others are $\pm f/\sqrt n$, at every width. After a catapult, for almost every start, $\eta$ times it "
              r"is below 2: the minimum is flatter.",
    setup=r"Gradient descent on 32 weights at $\eta\lambda_0$ from 0.7 to 3.9, 80 steps; 50 random weights each at widths "
          r"1, 2 and 5; eigenvalues of the matrix of differences of the gradient",
    proof=catapult.by_claim("CAT-5"), quantities=QUANTITIES, measure=measure, broken=broken, figure=figure,
    control=r"the two parts of the Hessian added up, $\lambda+|f|/\sqrt n$; the first part alone, with no other "
            r"eigenvalue; the kernel of one layer, $\|v\|^2/n$; twice the NTK where $f=0$, as of $L=f^2$; a minimum as "
            r"sharp as the start")
