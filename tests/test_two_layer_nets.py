"""Two-layer nets on many samples: the recursion of outputs and NTK, momentum, decay, minibatches."""

import numpy as np
import pytest

import sdetheory as sdt
from sdetheory.dynamics.kernel_recursion import KernelRecursion
from sdetheory.losses.two_layer_net import TwoLayerLinear, TwoLayerReLU
from sdetheory.losses.uv_model import UVModel
from sdetheory.theory import catapult

EPS = np.finfo(np.float64).eps
DATA = np.array([[1.0, 0.5], [-0.5, 1.0], [0.25, -1.5]]), np.array([0.5, -1.0, 0.25])


@pytest.mark.parametrize("share", [0.5, 1.3])
def test_the_linear_net_follows_the_recursion_of_kernel_and_outputs(share):
    loss = TwoLayerLinear(*DATA, width=12)
    w0 = np.random.default_rng(8).standard_normal(loss.dim)
    x, y = DATA
    lr = share * 2 / float(loss.curvature(w0))
    w = sdt.simulate(sdt.SGD(loss, lr=lr), w0, n_steps=20, save_every=1).w.values[0]
    run = catapult.kernel_recursion(x, y, loss.output(w0) - y, loss.kernel(w0), w0[24:] @ w0[24:], lr=lr, width=12, n_steps=20)
    # sums of n(d + 1) terms round by eps each; an error can double at a step while the loss grows, for some 8 steps
    size = max(1.0, np.abs(run["kernel"]).max()) * max(1.0, np.abs(run["residual"]).max())
    bound = 256 * loss.dim * EPS * np.arange(1, 22) * size
    assert np.all(np.abs(loss.output(w) - y - run["residual"]).max(axis=-1) <= bound)
    assert np.all(np.abs(loss.kernel(w) - run["kernel"]).max(axis=(-1, -2)) <= bound)


def test_the_recursion_as_a_process_takes_the_step_of_the_formulas_at_every_rate():
    loss = TwoLayerLinear(*DATA, width=12)
    rule = KernelRecursion(loss, lr=1.0)
    start = rule.reduce(np.random.default_rng(8).standard_normal((2, loss.dim)))
    lrs = np.array([0.5, 1.3, 9.0]) * 2 / loss.curvature(np.random.default_rng(8).standard_normal((2, loss.dim)))[0]
    runs = sdt.simulate(rule, start, n_steps=20, save_every=1, n_paths=2, sweep={"lr": lrs},
                        observe=["residual", "kernel", "sq_readout", "loss"])
    x, y = DATA
    gram, n = x @ x.T, loss.width
    for (i, path), at in np.ndenumerate(runs.diverged_at.values):
        lr, end = lrs[i], at if at >= 0 else 21
        r, kernel, norm = (runs[name].values[i, path, :end] for name in ("residual", "kernel", "sq_readout"))
        for k in range(end - 1):
            expected = catapult.kernel_step(r[k], kernel[k].reshape(3, 3), norm[k], gram, y, lr, n)
            # four sums over 3 samples and some 20 products and sums: fewer than 64 roundings of the largest terms
            R, A, G, q = np.abs(r[k]).max() + np.abs(y).max(), np.abs(kernel[k]).max(), np.abs(gram).max(), norm[k]
            s = R**2 * (n * A + q * G)
            sizes = (R + lr * A * R + lr**2 / n * G * R**3, A + 4 * lr / n * G * R**2 + (lr / n) ** 2 * (G * s + q * (G * R) ** 2),
                     q + 2 * lr * R**2 + lr**2 / n * s)
            for found, value, size in zip((r, kernel, norm), expected, sizes, strict=True):
                assert np.abs(found[k + 1] - np.ravel(value)).max() <= 64 * EPS * size
        with np.errstate(over="ignore"):
            np.testing.assert_allclose(runs.loss.values[i, path, :end], (r**2).mean(-1) / 2, rtol=8 * EPS)
    assert (runs.diverged_at.values >= 0).any(axis=1).tolist() == [False, False, True]


def test_one_input_that_is_one_makes_the_linear_net_the_uv_model():
    linear, uv = TwoLayerLinear([[1.0]], [0.0], width=5), UVModel(5)
    w = np.random.default_rng(9).standard_normal((4, 10))
    for name in ("value", "gradient", "curvature"):
        np.testing.assert_allclose(getattr(linear, name)(w), getattr(uv, name)(w), rtol=64 * EPS, atol=64 * EPS)


@pytest.mark.parametrize("loss", [UVModel(4), TwoLayerLinear(*DATA, width=3), TwoLayerReLU(*DATA, width=3)], ids=repr)
def test_momentum_and_decay_act_as_on_any_loss(loss):
    w = w0 = np.random.default_rng(10).standard_normal(loss.dim)
    v = np.zeros_like(w)
    for _ in range(15):
        v = 0.8 * v + loss.gradient(w) + 0.1 * w
        w = w - 0.05 * v
    found = sdt.simulate(sdt.SGD(loss, lr=0.05, momentum=0.8, weight_decay=0.1), w0, n_steps=15).w.values[0, -1]
    np.testing.assert_allclose(found, w, rtol=0, atol=15 * 64 * loss.dim * EPS * np.abs(w0).max())


@pytest.mark.parametrize("kind", [TwoLayerLinear, TwoLayerReLU])
def test_minibatches_of_a_fixed_draw_average_to_the_gradient(kind):
    loss = kind(*DATA, width=4, batch_size=1)
    w = np.random.default_rng(11).standard_normal(loss.dim)
    block, out, scratch = np.repeat(w[:, None], 3, axis=1), np.empty((loss.dim, 3)), np.empty((4, 3))
    kernel = loss.stochastic_gradient_kernel
    kernel.function(block, np.array([[1, 3, 5]]) / 6, out, scratch, *kernel.constants)
    np.testing.assert_allclose(out.mean(axis=1), loss.gradient(w), atol=64 * loss.dim * EPS * np.abs(out).max())


def test_the_lazy_phase_of_minibatch_descent_converges_to_zero_loss():
    loss = TwoLayerLinear(np.eye(2, 3), [0.5, -0.5], width=64, batch_size=1)
    runs = sdt.simulate(sdt.SGD(loss, lr=0.2), loss.sample_weights(), n_steps=400, n_paths=30, observe=["loss"], rng=2)
    assert np.all(runs.loss.values < 1e-8)  # the noise vanishes with the loss


@pytest.mark.parametrize(("call", "message"), [
    (lambda: TwoLayerLinear([[1.0], [2.0]], [1.0], width=3), r"targets: expected shape \(2,\), got \(1,\)"),
    (lambda: TwoLayerReLU(np.zeros((0, 2)), [], width=3), "inputs: expected at least one sample"),
    (lambda: KernelRecursion(TwoLayerLinear(*DATA, width=3, batch_size=1), lr=0.1), "loss: expected exact gradients"),
    (lambda: KernelRecursion(TwoLayerLinear(*DATA, width=3), lr=0.1).reduce(np.zeros(3)), r"w: expected weights of shape"),
    (lambda: KernelRecursion(TwoLayerLinear(*DATA, width=3), lr=0.1).program("theta"), "observe: expected names among residual"),
])
def test_bad_input_is_refused_with_its_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call()
