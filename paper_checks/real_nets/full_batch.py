r"""Full-batch gradient descent on the squared error of many small nets at once, and their neural tangent kernels.

.. math:: L = \frac1{2m}\sum_\alpha (f(x_\alpha)-y_\alpha)^2, \qquad w \leftarrow w - \eta\nabla L, \qquad
          \lambda = \text{top eigenvalue of } \frac1m JJ^\top, \quad J = \partial f/\partial w

Nets of one output in NTK parametrisation, all layers trained, no normalisation. The learning rate of member p is c_p/λ_0 with
λ_0 its own curvature at the start. In float64. Clock: steps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from paper_checks.real_nets.machine import device

__all__ = ["ACTIVATIONS", "BY_DEPTH", "DEAD", "DIVERGED", "LOST", "Descent", "Nets", "descend", "fates", "few_samples"]

ACTIVATIONS = ("tanh", "relu")
#: name -> (activation, hidden layers)
BY_DEPTH = {"tanh": ("tanh", 1), "relu": ("relu", 1), "tanh, three layers": ("tanh", 2), "relu, three layers": ("relu", 2)}
AT_ONCE = 64  # members whose Jacobians are held together

DIVERGED = 1e6  # times the initial loss: no net has come back from there but as one with all its ReLUs dead
DEAD, LOST = 1, 2  # fates of nets


class Descent(NamedTuple):
    """One row a member: losses (R, steps + 1), inf once diverged; curvature at start and end, inf if diverged; lr; weights (R, P)."""

    losses: NDArray[np.float64]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    lr: NDArray[np.float64]
    weights: Any


class Nets:
    """R nets with flat weights (R, P) and one set of samples, shared: inputs (m, d), targets (m,)."""

    def __init__(self, inputs: Any, targets: Any, seeds: Any, *, activation: str, width: int, depth: int = 1) -> None:
        import torch
        from torch.func import functional_call, grad_and_value, jacrev, vmap

        from sdetheory.torch.nets import mlp

        self.inputs, self.targets = inputs.to(device()), targets.to(device()).reshape(-1)
        nets = [mlp(inputs[0].numel(), 1, width=width, depth=depth, norm="none", activation=activation, last_layer="trained",
                    parametrization="ntk", dtype=torch.float64, device=device(), rng=seed) for seed in seeds]
        names, shapes = zip(*((name, p.shape) for name, p in nets[0].named_parameters()), strict=True)
        sizes = [shape.numel() for shape in shapes]
        self.weights = torch.stack([torch.cat([p.detach().flatten() for p in net.parameters()]) for net in nets])

        def outputs(w: Any, inputs: Any) -> Any:
            parts = (part.view(shape) for part, shape in zip(w.split(sizes), shapes, strict=True))
            return functional_call(nets[0], dict(zip(names, parts, strict=True)), (inputs,)).flatten()

        def loss(w: Any) -> Any:
            return (outputs(w, self.inputs) - self.targets).square().mean() / 2

        self._net, self._graded = nets[0], vmap(grad_and_value(loss))
        self._jacobian, self._outputs = vmap(jacrev(outputs), in_dims=(0, None)), vmap(outputs, in_dims=(0, None))

    def curvature(self, weights: Any) -> NDArray[np.float64]:
        """λ of each member, (R,)."""
        import torch

        def top(part: Any) -> Any:
            jacobian = self._jacobian(part, self.inputs)
            return torch.linalg.eigvalsh(jacobian @ jacobian.mT / len(self.targets))[:, -1]

        return torch.cat([top(part) for part in weights.split(AT_ONCE)]).cpu().numpy()

    def sharpness(self, weights: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Top of the Hessian of each member by Lanczos, (R,), and the distance within which an eigenvalue is, (R,)."""
        import torch

        from sdetheory.torch.curvature import sharpness

        found = []
        for w in weights:
            torch.nn.utils.vector_to_parameters(w, self._net.parameters())
            found.append(sharpness(self._net, lambda f, y: (f.flatten() - y).square().mean() / 2, self.inputs, self.targets,
                                   tolerance=1e-8))  # of Lanczos; what is reached is returned, and enters the margin
        return np.array([top.value for top in found]), np.array([top.residual for top in found])

    def outputs(self, weights: Any, inputs: Any) -> NDArray[np.float64]:
        """Outputs of each member at other inputs, (R, n)."""
        import torch

        with torch.no_grad():
            return self._outputs(weights, inputs.to(device())).cpu().numpy()


def few_samples(n: int = 16) -> Any:
    """Values of a random tanh net at n inputs of dimension 4, the same for every seed: the initialisations are the samples."""
    import torch

    from sdetheory.torch.data import teacher_student

    return teacher_student(n, 256, n_inputs=4, n_outputs=1, targets="values", dtype=torch.float64, rng=2003)


def descend(nets: Nets, multiples: Any, n_steps: int) -> Descent:
    """Descend from the initial weights at lr = multiples/λ_0, (R,) or a number."""
    import torch

    w, start = nets.weights.clone(), nets.curvature(nets.weights)
    lr = np.broadcast_to(multiples, start.shape) / start
    rate, losses = torch.from_numpy(lr).to(w)[:, None], []
    alive = torch.ones_like(rate, dtype=torch.bool)
    for _ in range(n_steps + 1):
        gradient, value = nets._graded(w)
        losses.append(value.detach())
        alive = alive & (value < DIVERGED * losses[0])[:, None]  # nan is not less
        w = torch.where(alive, w - rate * gradient, w)
    found = torch.stack(losses, 1)
    found = torch.where(torch.cummax((~(found < DIVERGED * found[:, :1])).int(), 1).values > 0, torch.inf, found).cpu().numpy()
    end = np.where(np.isfinite(found[:, -1]), nets.curvature(w), np.inf)
    return Descent(found, start, end, lr, w)


def fates(nets: Nets, multiples: Any, n_steps: int) -> NDArray[np.int64]:
    """Descend from the initial weights at each of the lr = multiples/λ_0, and say what became of it, (multiples, R).

    0: the net still trains, `DEAD`: its gradient is exactly 0, as all its ReLUs are off on all samples; `LOST`: its loss was
    beyond `DIVERGED` times the initial one. Nets of the last two are followed no further.
    """
    import torch

    rates = np.outer(multiples, 1 / nets.curvature(nets.weights))
    w, rate = nets.weights.repeat(len(multiples), 1), torch.from_numpy(rates.reshape(-1, 1)).to(nets.weights)
    found, left, first = np.zeros(len(w), dtype=np.int64), np.arange(len(w)), None
    for _ in range(n_steps + 1):
        gradient, value = (x.detach() for x in nets._graded(w))
        first = value if first is None else first
        lost, dead = ~(value < DIVERGED * first), gradient.norm(dim=1) == 0
        for fate, members in ((DEAD, dead), (LOST, lost)):
            found[left[members.cpu().numpy()]] = fate
        stay = ~(lost | dead)
        w, rate, left, first = (w - rate * gradient)[stay], rate[stay], left[stay.cpu().numpy()], first[stay]
        if not len(left):
            break
    return found.reshape(rates.shape)
