r"""Many copies of one net trained at once: the trained weights of copy r are the row r of a matrix (R, P).

Each copy has its own initialisation, minibatches and hyper-parameters, and takes steps of SGD with coupled weight decay and
momentum, as torch.optim.SGD does:

.. math:: v \leftarrow \mu v + g + \lambda w, \qquad w \leftarrow w - \eta v

Row r sees the minibatches of path r of `sdetheory.torch.data.Minibatches`, so copies with one path see the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["NetsAtOnce"]


class NetsAtOnce:
    """R nets of one architecture.

    Parameters
    ----------
    nets : freshly drawn nets; copies of one architecture.
    loss : loss(outputs, targets), a scalar.

    Attributes
    ----------
    weights : (R, P) trained weights.
    """

    def __init__(self, nets: Sequence[Any], loss: Callable[..., Any]) -> None:
        import torch
        from torch.func import functional_call, grad_and_value, vmap

        self.like, self._loss = nets[0], loss
        trained = {name: p for name, p in self.like.named_parameters() if p.requires_grad}
        fixed = [name for name, p in self.like.named_parameters() if not p.requires_grad]
        shapes, sizes = [p.shape for p in trained.values()], [p.numel() for p in trained.values()]
        params = [dict(net.named_parameters()) for net in nets]
        self.weights = torch.stack([torch.cat([p[name].detach().flatten() for name in trained]) for p in params])
        self.fixed = {name: torch.stack([p[name].detach() for p in params]) for name in fixed}

        def outputs(w: Any, fixed: Any, inputs: Any) -> Any:
            parts = (part.view(shape) for part, shape in zip(w.split(sizes), shapes, strict=True))
            return functional_call(self.like, dict(zip(trained, parts, strict=True)) | fixed, (inputs,))

        def value(w: Any, fixed: Any, inputs: Any, targets: Any) -> Any:
            return loss(outputs(w, fixed, inputs), targets)

        self.single_outputs, self.single_value = outputs, value
        self._own = vmap(grad_and_value(value))
        self._shared = vmap(grad_and_value(value), in_dims=(0, 0, None, None))
        self._outputs = vmap(outputs, in_dims=(0, 0, None))

    def gradient(self, weights: Any, inputs: Any, targets: Any, *, shared: bool = False) -> tuple[Any, Any]:
        """Gradients (R, P) and losses (R,); batches are (R, B, …), or (B, …) where all share one."""
        return (self._shared if shared else self._own)(weights, self.fixed, inputs, targets)

    def outputs(self, weights: Any, inputs: Any) -> Any:
        """Outputs (R, B, classes) of all on one batch."""
        import torch

        with torch.no_grad():
            return self._outputs(weights, self.fixed, inputs)

    def train(self, batches: Any, n_steps: int, *, lr: Any, weight_decay: Any = 0.0, momentum: float = 0.0, paths: Any = None,
              svag: int | None = None, on_step: Callable[[int, Any], None] | None = None) -> Any:
        """Take n_steps steps from `weights` and return the last ones, (R, P); on_step(k, weights) is called before each.

        Parameters
        ----------
        lr, weight_decay : functions of the step, numbers or arrays (R,) or (R, 1).
        paths : (R,) which path of the minibatches each row sees; 0 … R − 1 unless told.
        svag : l of SVAG(l): l steps for one of SGD, each with two independent minibatches, at the rate lr/l; n_steps counts them.
        """
        import torch

        w, v = self.weights.clone(), torch.zeros_like(self.weights)
        paths = np.arange(len(w)) if paths is None else np.asarray(paths)

        def now(value: Any, k: int) -> Any:
            value = np.asarray(value(k) if callable(value) else value, dtype=float)
            return torch.from_numpy(value.reshape(-1, 1)).to(w)

        draws, amplified = (1, 0.0) if svag is None else (2, (2 * svag - 1) ** 0.5)
        for k in range(n_steps):
            if on_step is not None:
                on_step(k, w)
            found = [self.gradient(w, *batches.take(batches.indices(draws * k + j, paths)))[0] for j in range(draws)]
            g = found[0] if svag is None else (1 + amplified) / 2 * found[0] + (1 - amplified) / 2 * found[1]
            v = momentum * v + g + now(weight_decay, k) * w
            w = w - now(lr, k) / (svag or 1) * v
        if on_step is not None:
            on_step(n_steps, w)
        return w
