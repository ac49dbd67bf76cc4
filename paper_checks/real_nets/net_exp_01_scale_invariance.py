r"""NET-EXP-1: gradient and Hessian of a net with normalisation, by kind of normalisation.

.. math:: \langle\nabla L(w),w\rangle = 0, \quad \nabla L(cw) = c^{-1}\nabla L(w), \quad \nabla^2L(cw)u = c^{-2}\,\nabla^2L(w)u,
          \quad \nabla^2L(w)\,w = -\nabla L(w)

for L the cross-entropy of a minibatch of digits, w all trained weights of an MLP, a CNN or a PreResNet with its last layer fixed.
With the last layer trained, and without normalisation, none of the four holds. No clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from paper_checks.real_nets.machine import device, on_device
from sdetheory.claims import Claim, Control, Run
from sdetheory.theory import exp_lr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

requires = ("torch",)

NORMS = {"batch": ("mlp", "cnn", "preresnet"), "layer": ("mlp", "cnn", "preresnet"), "group": ("mlp", "cnn", "preresnet"),
         "instance": ("cnn", "preresnet"), "weight": ("mlp", "cnn")}
STARTS, BATCH = on_device(4, 16), 16  # initialisations a net; the statements are about each
FACTORS = (0.3, 3.0)  # no powers of 2, for which floating point is exact
NAMES = ("<gradient, w>", "gradient at cw", "Hessian at cw", "Hessian times w")
RESOLUTION = 1e-4  # relative to the largest gradient or curvature met; rounding may reach 2e-5 in the worst conditioned of 300 nets
UNIT = np.finfo(np.float64).eps / 2
PROBE = 1e-8
# roundings in series of an entry: sums over at most 64 inputs and 16 samples of 64 positions, forward, backward and again for
# the Hessian, in 9 layers with their normalisations (3 sums each)
ROUNDINGS = 2 * (2 * 9 * 4 * (64 + BATCH * 64))


def _net(kind: str, norm: str, last_layer: str, rng: Any) -> Any:
    import torch

    from sdetheory.torch.nets import cnn, mlp, preresnet

    given: dict[str, Any] = {"norm": norm, "last_layer": last_layer, "dtype": torch.float64, "device": device(), "rng": rng}
    if kind == "mlp":
        return mlp(64, width=32, **given)
    return cnn(widths=(8, 16), **given) if kind == "cnn" else preresnet(on_device(8, 32), n_channels=1, width=8, **given)


class _Loss:
    """L as a function of the trained weights as one vector, on one batch."""

    def __init__(self, net: Any, inputs: Any, targets: Any) -> None:
        self.net, self.inputs, self.targets = net, inputs, targets
        self.names = [name for name, p in net.named_parameters() if p.requires_grad]
        self.shapes = [p.shape for p in net.parameters() if p.requires_grad]

    def start(self) -> Any:
        import torch

        return torch.cat([p.detach().flatten() for p in self.net.parameters() if p.requires_grad])

    def gradient(self, w: Any, direction: Any = None) -> Any:
        """∇L(w), or (∇L(w), ∇²L(w) direction)."""
        import torch
        from torch.func import functional_call

        w = w.clone().requires_grad_()
        parts = dict(zip(self.names, (part.view(shape) for part, shape in
                                      zip(w.split([s.numel() for s in self.shapes]), self.shapes, strict=True)), strict=True))
        value = torch.nn.functional.cross_entropy(functional_call(self.net, parts, (self.inputs,)), self.targets)
        (gradient,) = torch.autograd.grad(value, w, create_graph=direction is not None)
        if direction is None:
            return gradient
        return gradient.detach(), torch.autograd.grad(gradient @ direction, w)[0]


def residuals(net: Any, inputs: Any, targets: Any, seed: Any) -> tuple[np.ndarray, np.ndarray]:
    """What is left of each of the four statements, and the bounds on rounding, (4,) each."""
    import torch

    loss, draw = _Loss(net, inputs, targets), np.random.default_rng(seed)

    def signs(x: Any) -> Any:
        return torch.from_numpy(draw.choice([-1.0, 1.0], tuple(x.shape))).to(x.device)

    w = loss.start()
    length = w.norm()
    u = torch.from_numpy(draw.standard_normal(len(w))).to(w.device)
    u *= length / u.norm()
    (g, along), (_, across) = loss.gradient(w, w), loss.gradient(w, u)
    near = _Loss(net, inputs * (1 + PROBE * signs(inputs)), targets)
    moved = [0.0, 0.0]  # what a relative error 1 in every weight and pixel makes of ∇L and of ∇²L u; the larger of two draws
    for _ in range(2):
        gradient, curved = near.gradient(w * (1 + PROBE * signs(w)), u)
        moved = [max(moved[0], float((gradient - g).norm()) / PROBE), max(moved[1], float((curved - across).norm()) / PROBE)]
    size = max(float(g.norm()), float(across.norm()), float(along.norm()))
    found = [float(abs(g @ w) / length), 0.0, 0.0, float((along + g).norm())]
    for c in FACTORS:
        scaled, curved = loss.gradient(c * w, u)
        found[1] = max(found[1], float((c * scaled - g).norm()))
        found[2] = max(found[2], float((c**2 * curved - across).norm()))
    of_gradient, of_hessian = (UNIT * ROUNDINGS * (2 * m / size + 1) for m in moved)
    return np.array(found) / size, np.array([of_gradient, of_gradient, of_hessian, of_gradient + of_hessian])


def _measured(run: Run, norm: str, *, last_layer: str = "fixed", shown: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Residuals and bounds (nets, 4) of every kind of net with `norm`; `shown` decides which kinds."""
    import torch

    from sdetheory.torch.data import digits

    data, residue, bound = digits(dtype=torch.float64).to(device()), [], []
    root = np.random.SeedSequence(run.rng.entropy, spawn_key=(*run.rng.spawn_key, *(shown or norm).encode()))
    for seed in root.spawn(run.paths(STARTS)):
        for kind in NORMS[shown or norm]:
            for_net, for_batch, for_signs = np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key).spawn(3)
            found = residuals(_net(kind, norm, last_layer, for_net), *data.minibatches(BATCH, rng=for_batch)[0], for_signs)
            residue.append(found[0])
            bound.append(found[1])
    return np.array(residue), np.array(bound)


def simulation(run: Run) -> dict[str, Exact]:
    """Every kind of net with every normalisation it can have."""
    run.data["found"] = {norm: _measured(run, norm) for norm in NORMS}
    return {norm: Exact(*found) for norm, found in run.data["found"].items()}


def broken(run: Run) -> dict[str, Exact]:
    """The control, by kind of normalisation: its last layer trained; and no normalisation.

    The statement that is nearest to holding counts, in the median net: of a single one, ⟨∇L, w⟩ may vanish by chance.
    """
    evidence = {}
    for norm in NORMS:
        pairs = (_measured(run, norm, last_layer="trained"), _measured(run, "none", shown=norm))
        run.data[norm] = pairs
        evidence[norm] = Exact(min(float(np.median(found, axis=0).min()) for found, _ in pairs),
                               max(float(bound.max()) for _, bound in pairs))
    return evidence


def figure(run: Run) -> Figure:
    """What is left of the four statements, by normalisation."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(6.8, 4.2), layout="constrained")
    ax = fig.subplots()
    control = Run(run.rng, run.mode)
    broken(control)
    for row, (norm, (found, bound)) in enumerate(run.data["found"].items()):
        trained, none = (pair[0] for pair in control.data[norm])
        for place, (marker, name) in enumerate(zip("o^sx", NAMES, strict=True)):
            for values, colour in ((found, "tab:blue"), (trained, "tab:red"), (none, "tab:orange")):
                ax.plot(np.maximum(values[:, place], 1e-17), np.full(len(values), row + 0.12 * (place - 1.5)), marker, ms=3.5,
                        mfc="none", color=colour, label=name if row == 0 and colour == "tab:blue" else None)
        ax.plot([bound.max()] * 2, [row - 0.35, row + 0.35], color="0.4", ls=":", label="bound on rounding" if row == 0 else None)
    for colour, label in (("tab:red", "last layer trained"), ("tab:orange", "no normalisation")):
        ax.plot([], [], "o", color=colour, mfc="none", ms=4, label=label)
    ax.set(xscale="log", yticks=range(len(NORMS)), xlim=(3e-18, 10),
           xlabel="what is left, relative to the largest gradient or curvature")
    ax.set_yticklabels([f"{norm} norm" for norm in NORMS])
    ax.set_title("Scale invariance holds to rounding with a fixed last layer, and only so", fontsize=10.5)
    ax.legend(frameon=False, fontsize=8, loc="center", bbox_to_anchor=(0.62, 0.5))
    return fig


claim = Claim(
    "NET-EXP-1",
    title="Real nets with normalisation are scale-invariant, by kind",
    paper="exp_lr",
    statement=r"MLPs, CNNs and PreResNets with batch, layer, group, instance or weight normalisation and a fixed last layer, "
              r"cross-entropy of digits: $\langle\nabla L(w),w\rangle=0$, $\nabla L(cw)=c^{-1}\nabla L(w)$, $\nabla^2L(cw)="
              r"c^{-2}\nabla^2L(w)$, $\nabla^2L(w)\,w=-\nabla L(w)$ for $w$ all trained weights.",
    derivation=lambda: exp_lr.curvature_at_norm.derivation,
    prediction=dict.fromkeys(NORMS, 0.0),
    simulation=simulation,
    resolution=dict.fromkeys(NORMS, RESOLUTION),
    negative_control=Control("the same nets with their last layer trained, and without normalisation: each, in the median net",
                             simulation=broken),
    figure=figure,
)
