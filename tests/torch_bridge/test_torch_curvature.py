"""Sharpness and NTK against matrices written out, with residuals that bound the error."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sdetheory.torch.curvature import _top, ntk, ntk_top_eigenvalue, sharpness
from sdetheory.torch.data import teacher_student
from sdetheory.torch.nets import mlp

DATA = teacher_student(24, 8, n_inputs=5, n_outputs=3, dtype=torch.float64)
X, Y = DATA.train_inputs, DATA.train_targets


def net(**changes):
    return mlp(5, 3, **{**dict(width=6, depth=1, activation="tanh", dtype=torch.float64, rng=0), **changes})


def hessian(model, loss):
    """Row by row, the plain way."""
    params = [p for p in model.parameters() if p.requires_grad]
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss(model(X), Y), params, create_graph=True)])
    return np.stack([torch.cat([h.flatten() for h in torch.autograd.grad(g, params, retain_graph=True)]).numpy()
                     for g in gradient])


@pytest.mark.parametrize("changes", [dict(norm="batch"), dict(norm="layer"), dict(norm="weight"),
                                     dict(norm="none", last_layer="trained")])
def test_sharpness_is_the_top_eigenvalue_of_the_hessian_within_its_residual(changes):
    model = net(**changes)
    found = sharpness(model, cross_entropy, X, Y, tolerance=1e-9)
    values = np.linalg.eigvalsh(hessian(model, cross_entropy))
    assert abs(found.value - values[-1]) <= found.residual + 1e3 * np.finfo(float).eps * np.abs(values).max()
    assert found.residual < 1e-6 * values[-1]
    assert np.linalg.norm(found.vector) == pytest.approx(1)


def test_a_loose_tolerance_is_told_by_the_residual():
    values = np.linspace(-1, 1, 500)  # crowded at the top: Lanczos is slow there

    def product(v):
        return values * v

    loose, tight = (_top(product, 500, tolerance, 10_000, 0) for tolerance in (0.1, 1e-6))
    assert loose.n_products < tight.n_products and 1e-4 < loose.residual and tight.residual < 1e-5
    for found in (loose, tight):
        assert np.abs(values - found.value).min() <= found.residual
    assert abs(loose.value - 1) > 1e-9 > abs(tight.value - 1)


def test_the_sharpness_of_a_scale_invariant_net_falls_with_the_square_of_the_norm():
    model = net(norm="layer")
    before = float(sharpness(model, cross_entropy, X, Y, tolerance=1e-9))
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p *= 3
    assert float(sharpness(model, cross_entropy, X, Y, tolerance=1e-9)) * 9 == pytest.approx(before, rel=1e-8)


def test_the_top_of_the_ntk_is_that_of_the_matrix_and_of_the_hessian_where_the_net_fits():
    model = net(norm="none", last_layer="trained", parametrization="ntk")
    matrix = ntk(model, X)
    found = ntk_top_eigenvalue(model, X, tolerance=1e-9)
    assert matrix.shape == (72, 72) and abs(found.value - np.linalg.eigvalsh(matrix)[-1]) <= found.residual + 1e-12
    fitted = model(X).detach()
    top = sharpness(model, lambda f, _: (f - fitted).square().sum() / (2 * len(X)), X, Y, tolerance=1e-9)
    assert top.value == pytest.approx(found.value, rel=1e-7)


def test_a_small_matrix_is_written_out_and_a_flat_loss_has_no_sharpness():
    with torch.random.fork_rng(devices=[]):
        line = nn.Linear(5, 1, bias=False, dtype=torch.float64)
    found = sharpness(line, lambda f, _: f.square().sum() / (2 * len(X)), X, Y)
    assert found.value == pytest.approx(np.linalg.eigvalsh((X.T @ X).numpy() / len(X))[-1], rel=1e-12)
    assert sharpness(line, lambda f, _: f.sum(), X, Y).value == 0


def test_too_few_products_and_a_run_that_diverged_are_refused():
    model = net()
    with pytest.raises(ValueError, match="max_products: expected enough to reach tolerance 1e-14, got 20"):
        sharpness(net(width=20), cross_entropy, X, Y, tolerance=1e-14, max_products=20)
    with torch.no_grad():
        model.get_parameter("1.weight")[0, 0] = float("nan")
    with pytest.raises(ValueError, match="expected finite curvature"):
        sharpness(model, cross_entropy, X, Y)
