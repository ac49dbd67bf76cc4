r"""Sharpness, and the top of the neural tangent kernel, by Lanczos, with a bound on the error.

For a symmetric A, a unit vector v and any θ, an eigenvalue of A lies within :math:`\|Av - \theta v\|` of θ. A is not formed:

.. math:: Hv = \nabla_w\langle\nabla L, v\rangle, \qquad
          J^\top u = \nabla_w\langle f, u\rangle, \qquad Jv = \nabla_u\langle J^\top u, v\rangle,

with H the Hessian of the loss and J the Jacobian of the outputs f, in the trained parameters. The NTK is JJᵀ/n for n samples:
at outputs that fit, its top eigenvalue is that of the Hessian of :math:`\sum_i\|f_i-y_i\|^2/(2n)` (CAT-5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor, nn

from ..random import RNG, seed_sequence
from ..validation import integer, number
from .data import checked_batch
from .gradient_moments import undisturbed

__all__ = ["TopEigenvalue", "ntk", "ntk_top_eigenvalue", "sharpness"]

_DENSE = 16


@dataclass(frozen=True, eq=False, repr=False)
class TopEigenvalue:
    """The largest eigenvalue: `value`, its unit `vector` (size,), and `residual`: an eigenvalue is no further from it.

    That no larger one was missed is likely (the start is random), and not bounded. `n_products` were made with the matrix.
    """

    value: float
    vector: NDArray[np.float64]
    residual: float
    n_products: int

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        return f"<TopEigenvalue {self.value:.6g} ± {self.residual:.2g} after {self.n_products} products>"


def _top(product: Callable[[NDArray[np.float64]], NDArray[np.float64]], size: int, tolerance: float, max_products: int,
         rng: RNG) -> TopEigenvalue:
    tolerance = number("tolerance", tolerance, above=0, below=1)
    max_products = integer("max_products", max_products, at_least=2)
    made = 0

    def counted(v: NDArray[np.float64]) -> NDArray[np.float64]:
        nonlocal made
        made += 1
        found = product(np.asarray(v, dtype=np.float64).ravel())
        if not np.isfinite(found).all():
            raise ValueError("model: expected finite curvature, got nan or inf; the run has diverged")
        return found

    if size <= _DENSE:
        matrix = np.stack([counted(e) for e in np.eye(size)])
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        value, vector = values[-1], vectors[:, -1]
    else:
        operator = LinearOperator((size, size), matvec=counted, dtype=np.float64)
        start = np.random.default_rng(seed_sequence(rng)).standard_normal(size)
        n_vectors = min(size - 1, 20)
        try:
            values, vectors = eigsh(operator, k=1, which="LA", v0=start, tol=tolerance, ncv=n_vectors,
                                    maxiter=max(1, max_products // (n_vectors - 1)))
        except ArpackNoConvergence as error:
            raise ValueError(f"max_products: expected enough to reach tolerance {tolerance:g}, got {max_products}; "
                             "allow more, or a larger tolerance (float32 nets reach about 1e-4)") from error
        value, vector = values[0], vectors[:, 0]
    vector = vector / np.linalg.norm(vector)
    return TopEigenvalue(float(value), vector, float(np.linalg.norm(counted(vector) - value * vector)), made)


def _trained(model: nn.Module) -> list[Tensor]:
    params = [p for p in model.parameters() if p.requires_grad]
    if not params:
        raise ValueError("model: expected trained parameters, got none with requires_grad")
    return params


def _vector(v: NDArray[np.float64], like: list[Tensor]) -> list[Tensor]:
    """A flat float64 vector, cut into pieces of the shapes, formats and devices of some tensors."""
    pieces = np.split(v, np.cumsum([p.numel() for p in like])[:-1])
    return [torch.from_numpy(piece.copy()).to(device=p.device, dtype=p.dtype).reshape(p.shape)
            for piece, p in zip(pieces, like, strict=True)]


def _flat(tensors: Any, like: list[Tensor]) -> NDArray[np.float64]:
    return np.concatenate([(torch.zeros_like(p) if t is None else t.detach()).double().cpu().numpy().ravel()
                           for t, p in zip(tensors, like, strict=True)])


def sharpness(model: nn.Module, loss: Callable[..., Tensor], inputs: Tensor, targets: Any = None, *, tolerance: float = 1e-5,
              max_products: int = 1000, rng: RNG = 0) -> TopEigenvalue:
    """The largest eigenvalue of the Hessian of the loss on a batch, in the trained parameters.

    Parameters
    ----------
    model, loss, inputs, targets : as in `scale_invariance`.
    tolerance : relative, of Lanczos; `residual` says what was reached.
    max_products : Hessian-vector products allowed, about.
    rng : draws the first vector of Lanczos.
    """
    checked_batch(inputs, targets)
    params = _trained(model)
    with undisturbed(model):
        value = loss(model(inputs)) if targets is None else loss(model(inputs), targets)
        gradient = torch.autograd.grad(value, params, create_graph=True, allow_unused=True)
    used = [(g, p) for g, p in zip(gradient, params, strict=True) if g is not None and g.requires_grad]

    def product(v: NDArray[np.float64]) -> NDArray[np.float64]:
        pieces = dict(zip(map(id, params), _vector(v, params), strict=True))
        return _flat(torch.autograd.grad([g for g, _ in used], params, [pieces[id(p)] for _, p in used], retain_graph=True,
                                         allow_unused=True), params)

    size = sum(p.numel() for p in params)
    return _top(product if used else np.zeros_like, size, tolerance, max_products, rng)


def ntk_top_eigenvalue(model: nn.Module, inputs: Tensor, *, tolerance: float = 1e-5, max_products: int = 1000,
                       rng: RNG = 0) -> TopEigenvalue:
    """The largest eigenvalue of JJᵀ/n at n inputs; its vector is over outputs, (n · outputs,). Parameters as `sharpness`."""
    checked_batch(inputs)
    params = _trained(model)
    with undisturbed(model):
        outputs = model(inputs)
    u = torch.zeros_like(outputs, requires_grad=True)
    pulled = torch.autograd.grad(outputs, params, u, create_graph=True, allow_unused=True)
    used = [(g, p) for g, p in zip(pulled, params, strict=True) if g is not None and g.requires_grad]

    def product(v: NDArray[np.float64]) -> NDArray[np.float64]:
        (cotangent,) = _vector(v, [outputs])
        back = torch.autograd.grad(outputs, [p for _, p in used], cotangent, retain_graph=True)
        return _flat(torch.autograd.grad([g for g, _ in used], u, back, retain_graph=True), [outputs]) / len(inputs)

    return _top(product, outputs.numel(), tolerance, max_products, rng)


def ntk(model: nn.Module, inputs: Tensor) -> NDArray[np.float64]:
    """The matrix JJᵀ/n itself, (n · outputs, n · outputs): for a few outputs and parameters."""
    checked_batch(inputs)
    params = _trained(model)
    with undisturbed(model):
        outputs = model(inputs).flatten()
    jacobian = np.stack([_flat(torch.autograd.grad(f, params, retain_graph=True, allow_unused=True), params) for f in outputs])
    return jacobian @ jacobian.T / len(inputs)
