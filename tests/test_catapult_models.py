"""The catapult models: full weights, their exact reductions and the phases they fall into."""

import numpy as np
import pytest

import sdetheory as sdt
from sdetheory.dynamics.uv_maps import OutputCurvatureMap, SumDifferenceMap, UniversalMap
from sdetheory.dynamics.uv_weights import UVDescent, UVProducts
from sdetheory.losses.uv_model import UVModel
from sdetheory.starts import NormalWeights, ReducedStart
from sdetheory.studies.phases import Phase, phases_of_ends, phases_of_losses
from sdetheory.theory import catapult

EPS = np.finfo(np.float64).eps
STEPS = 60


def rounding_bound(f, curvature, lr, width):
    """Bounds of the error of (f, λ) at each step, for any way of computing them in float64 from n weights each.

    A step leaves |J| times the error there was, J the Jacobian of the map, and adds rounding: the sum of n products in f is
    off by at most n eps Σ|u_i v_i| ≤ n eps nλ/2, weights rounded once in two operations shift f and λ by 4 eps of nλ/2 and of
    λ, and so does the arithmetic of a map itself. Two computations are compared: twice that.
    """
    errors = [np.zeros(2)]
    for x, size in zip(f, curvature, strict=True):
        jacobian = np.array([[1 - lr * size + 3 * lr**2 * x**2 / width, -lr * x],
                             [2 * lr * x / width * (lr * size - 4), 1 + lr**2 * x**2 / width]])
        local = 2 * EPS * (width + 16) * size * np.array([np.sqrt(width) / 2 * (1 + lr * size + lr**2 * x**2 / width),
                                                          1 + lr**2 * x**2 / width])
        errors.append(np.abs(jacobian) @ errors[-1] + local)
    return np.array(errors)[:len(f)] + 2 * EPS * (width + 16) * np.stack([np.sqrt(width) * curvature, curvature], axis=-1)


def trajectory(process, start, n_steps=STEPS, observe=("f", "curvature"), **options):
    run = sdt.simulate(process, start, n_steps=n_steps, save_every=1, observe=list(observe), rng=0, **options)
    return [run[name].values[0] for name in observe]


def start_weights(width, seed=0):
    return np.random.default_rng(seed).standard_normal(2 * width)


CASES = [(width, x) for width in (1, 2, 5, 64) for x in (0.7, 1.9, 2.6, 3.4)]


def ways(width, lr, w0):
    if width == 5:  # one kernel a width
        yield "sgd", sdt.SGD(UVModel(width), lr=lr), w0
    yield "weights", UVDescent(width=width, lr=lr), w0
    yield "products", UVProducts(width=width, lr=lr), w0
    yield "norms", SumDifferenceMap(width=width, lr=lr), SumDifferenceMap.reduce(w0)


@pytest.mark.parametrize(("width", "x"), CASES)
def test_full_weights_and_every_reduction_follow_the_map_of_two_numbers_to_rounding(width, x):
    w0 = start_weights(width)
    f0, curvature0 = OutputCurvatureMap.reduce(w0)
    lr = x / curvature0
    f, curvature = trajectory(OutputCurvatureMap(width=width, lr=lr), [f0, curvature0])
    bound = rounding_bound(f, curvature, lr, width)
    assert bound[-1, 1] < 1e-3  # and the bound says something at the end, too
    for name, process, start in ways(width, lr, w0):
        if name == "sgd":
            w = sdt.simulate(process, start, n_steps=STEPS, save_every=1, rng=0).w.values[0]
            found = OutputCurvatureMap.reduce(w).T
        else:
            found = trajectory(process, start)
        assert np.all(np.abs(found[0] - f) <= bound[:, 0]), name
        assert np.all(np.abs(found[1] - curvature) <= bound[:, 1]), name


@pytest.mark.parametrize("change", ["lr", "width"])
def test_a_map_that_is_slightly_wrong_leaves_the_bound(change):
    width, w0 = 64, start_weights(64)
    f0, curvature0 = OutputCurvatureMap.reduce(w0)
    lr = 2.6 / curvature0
    f, curvature = trajectory(UVDescent(width=width, lr=lr), w0)
    wrong = OutputCurvatureMap(width=width + (change == "width"), lr=lr * (1 + 1e-9 * (change == "lr")))
    f1, curvature1 = trajectory(wrong, [f0, curvature0])
    bound = rounding_bound(f, curvature, lr, width)
    assert np.any(np.abs(f1 - f) > bound[:, 0]) and np.any(np.abs(curvature1 - curvature) > bound[:, 1])


def test_the_universal_map_is_the_map_of_two_numbers_in_its_units():
    width, w0 = 16, start_weights(16)
    lr = 2.8 / OutputCurvatureMap.reduce(w0)[1]
    f, curvature = trajectory(OutputCurvatureMap(width=width, lr=lr), OutputCurvatureMap.reduce(w0))
    x, y = trajectory(UniversalMap(), UniversalMap.reduce(w0, lr), observe=("X", "Y"))
    bound = rounding_bound(f, curvature, lr, width)
    assert np.all(np.abs(x - lr * curvature) <= lr * bound[:, 1])
    assert np.all(np.abs(np.sqrt(y) - lr * np.abs(f) / np.sqrt(width)) <= lr / np.sqrt(width) * bound[:, 0])


@pytest.mark.parametrize("width", [3, 16])
def test_the_weights_by_two_products_are_the_weights(width):
    w0 = start_weights(width, seed=1)
    f0, curvature0 = OutputCurvatureMap.reduce(w0)
    lr = 2.6 / curvature0
    f, curvature = trajectory(OutputCurvatureMap(width=width, lr=lr), [f0, curvature0])
    bound = rounding_bound(f, curvature, lr, width)[:, 0]
    c = lr / np.sqrt(width)
    nearest = np.minimum(np.abs(1 - c * f), np.abs(1 + c * f)).clip(1e-2)
    # each factor 1 ∓ cf is off by c δf and two roundings; relatively by that over its size; the errors of the product add up
    relative = np.concatenate([[0.0], np.cumsum((c * bound + 4 * EPS) / nearest)[:-1]])
    full, products = (trajectory(process(width=width, lr=lr), w0, observe=["w"])[0] for process in (UVDescent, UVProducts))
    size = np.sqrt(2 * width * curvature)
    assert np.all(np.linalg.norm(full - products, axis=-1) <= 2 * size * (relative + 8 * EPS * (1 + np.arange(STEPS + 1))))


def test_balance_and_distance_to_the_edge_change_by_exact_factors():
    width, w0 = 32, start_weights(32, seed=2)
    f0, curvature0 = OutputCurvatureMap.reduce(w0)
    lr = 3.2 / curvature0
    f, curvature, balance = trajectory(UVDescent(width=width, lr=lr), w0, observe=("f", "curvature", "balance"))
    y = lr**2 * f**2 / width
    gap = 2 * np.cumsum(lr**2 / width * 2 * np.abs(f) * rounding_bound(f, curvature, lr, width)[:, 0]) + EPS * width * STEPS
    expected = balance[0] * np.cumprod(np.concatenate([[1], catapult.balance_factor(Y=y[:-1])]))
    assert np.all(np.abs(balance - expected) <= gap * width * curvature[0])
    lost = np.cumsum(np.concatenate([[0], np.log1p(y[:-1])]))
    assert np.all(np.abs(lost - catapult.output_budget(X=lr * curvature[0], X_end=lr * curvature)) <= gap + 8 * EPS * (4 / 0.8))


def test_saving_at_every_step_and_threads_change_no_bit_of_the_weights():
    process, start = UVDescent(width=7, lr=0.4), NormalWeights(14)
    options = dict(n_steps=70, n_paths=200, observe=["w"], rng=3)
    once = sdt.simulate(process, start, **options)
    often = sdt.simulate(process, start, save_every=1, n_threads=2, chunk_size=64, **options)
    np.testing.assert_array_equal(once.w.values[:, -1], often.w.values[:, -1])


def test_the_same_seed_and_path_start_the_same_net_in_weights_and_in_two_numbers():
    rule = OutputCurvatureMap(width=9, lr=0.5)
    reduced = sdt.simulate(rule, ReducedStart(rule, NormalWeights(18)), n_steps=0, n_paths=40, rng=5)
    full = sdt.simulate(UVDescent(width=9, lr=0.5), NormalWeights(18), n_steps=0, n_paths=40, rng=5)
    w = full.w.values[:, -1]
    atol = 18 * EPS * np.sum(w * w, axis=1).max()  # 18 products, which NumPy adds in another order where they lie otherwise
    found = np.stack([reduced.f, reduced.curvature], axis=-1)[:, -1]
    np.testing.assert_allclose(found, OutputCurvatureMap.reduce(w), rtol=0, atol=atol)


@pytest.mark.parametrize("width", [4, 64])
@pytest.mark.parametrize("way", ["weights", "two numbers"])
def test_no_cell_of_a_phase_map_is_on_the_wrong_side_of_the_exact_edges(width, way):
    lrs, n_paths = np.linspace(0.05, 3.0, 24), 20
    if way == "weights":
        process, start = UVDescent(width=width, lr=1.0), NormalWeights(2 * width)
    else:
        process = OutputCurvatureMap(width=width, lr=1.0)
        start = ReducedStart(process, NormalWeights(2 * width))
    options = dict(n_paths=n_paths, observe=["loss", "curvature", "f"], sweep={"lr": lrs}, rng=7)
    begin = sdt.simulate(process, start, n_steps=1, save_every=1, **options)
    end = sdt.simulate(process, start, n_steps=3000, **options)
    losses = np.concatenate([begin.loss.values, end.loss.values], axis=-1)
    found = phases_of_losses(losses, end.diverged_at.values)
    curvature, f = begin.curvature.values[..., 0], begin.f.values[..., 0]
    grows = catapult.first_growth(X=lrs[:, None] * curvature, Y=lrs[:, None] ** 2 * f**2 / width) > 0
    expected = np.where(lrs[:, None] > catapult.divergence_edge(curvature=curvature), Phase.DIVERGENT,
                        np.where(grows, Phase.CATAPULT, Phase.LAZY))
    assert np.unique(expected).size == 3
    assert np.count_nonzero(found != expected) == 0
    assert np.nanmax(end.loss.values) < 1e-2 * np.max(begin.loss.values[..., 0])  # what has not diverged has converged


def test_divergence_is_masked_and_counted_without_a_warning():
    run = sdt.simulate(OutputCurvatureMap(width=10, lr=1.0), [1.0, 2.0], n_steps=300, sweep={"lr": [0.5, 1.9, 2.1, 3.0]})
    assert (run.diverged_at.values[:, 0] >= 0).tolist() == [False, False, True, True]
    assert np.isnan(run.f.values[2:]).all() and np.isfinite(run.f.values[:2]).all()
    assert run.attrs["n_diverged"] == 2


def first_nonfinite(step, state, n_steps):
    with np.errstate(all="ignore"):
        for k in range(1, n_steps + 1):
            state = step(state)
            if not np.isfinite(state).all():
                return k
    return -1


@pytest.mark.parametrize("x", [1.9, 4.05, 4.5, 40.0])
def test_divergence_is_dated_to_the_step_at_which_a_state_is_no_longer_finite(x):
    width, w0 = 12, start_weights(12, seed=3)
    f0, curvature0 = OutputCurvatureMap.reduce(w0)
    lr = x / curvature0

    def descend(w):
        u, v = w[:width], w[width:]
        s = lr / width * (u @ v)
        return np.concatenate([u - s * v, v - s * u])

    def multiply(pq):
        cf = lr / (4 * width) * (pq[0] - pq[1])
        return np.array([pq[0] * (1 - cf) ** 2, pq[1] * (1 + cf) ** 2])

    oracles = [
        (UVDescent(width=width, lr=lr), w0, descend),
        (SumDifferenceMap(width=width, lr=lr), SumDifferenceMap.reduce(w0), multiply),
        (OutputCurvatureMap(width=width, lr=lr), [f0, curvature0],
         lambda z: np.array([z[0] * (1 - lr * z[1] + lr**2 * z[0]**2 / width), z[1] + lr * z[0]**2 / width * (lr * z[1] - 4)])),
        (UniversalMap(), [x, lr**2 * f0**2 / width], lambda z: np.array([z[0] + z[1] * (z[0] - 4), z[1] * (1 - z[0] + z[1]) ** 2]))]
    for process, start, step in oracles:
        run = sdt.simulate(process, start, n_steps=120, save_every=1)
        at = int(run.diverged_at[0])
        assert at == first_nonfinite(step, np.asarray(start, dtype=float), 120), process
        name = next(iter(run.data_vars))
        assert np.isfinite(run[name][0].values[:at if at >= 0 else None]).all() and (at < 0 or np.isnan(run[name][0].values[at:]).all())
    assert (at >= 0) == (x > 4)


def test_phases_of_the_ends_of_wide_nets_are_those_of_their_losses():
    width, lrs = 10_000, np.array([0.3, 0.6, 0.85, 1.2, 1.5, 1.9, 2.2, 3.0])
    rule = OutputCurvatureMap(width=width, lr=1.0)
    run = sdt.simulate(rule, [1.0, 2.0], n_steps=400, save_every=1, observe=["loss", "curvature"], sweep={"lr": lrs})
    found = phases_of_ends(run.curvature.values[..., 0], run.curvature.values[..., -1], width=width)
    np.testing.assert_array_equal(found, phases_of_losses(run.loss.values, run.diverged_at.values))
    np.testing.assert_array_equal(found[:, 0], [0, 0, 0, 1, 1, 1, 2, 2])


def test_a_loss_that_falls_first_and_grows_later_is_a_catapult_only_at_any_step():
    run = sdt.simulate(UniversalMap(), [3.8, 2.7], n_steps=200, save_every=1, observe=["Y"])
    y = run.Y.values
    assert phases_of_losses(y)[0] == Phase.LAZY and phases_of_losses(y, growth="any_step")[0] == Phase.CATAPULT


def test_rounding_at_the_floor_is_no_growth():
    process = UVDescent(width=8, lr=0.3)
    run = sdt.simulate(process, NormalWeights(16), n_steps=500, save_every=1, n_paths=50, observe=["loss"], rng=1)
    assert np.all(phases_of_losses(run.loss.values, growth="any_step") == Phase.LAZY)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: UVModel(0), "width: expected an integer >= 1, got 0"),
    (lambda: UVDescent(width=0, lr=1.0), "width: expected an integer >= 1, got 0"),
    (lambda: OutputCurvatureMap(width=3, lr=-1.0), "lr: expected a number > 0, got -1"),
    (lambda: UVDescent(width=3, lr=1.0).program(["losss"]), "observe: expected names among w, f"),
    (lambda: OutputCurvatureMap.reduce(np.zeros(3)), r"w: expected the weights \(u, v\)"),
    (lambda: ReducedStart(OutputCurvatureMap(width=3, lr=1.0), NormalWeights(4)), r"weights: expected a distribution on R\^6"),
    (lambda: phases_of_losses([1.0]), "loss: expected losses of two or more successive steps"),
    (lambda: phases_of_losses([[1.0, 2.0]], [1, 2]), "diverged_at: expected shape"),
    (lambda: phases_of_ends(0.0, 1.0, width=3), "curvature_start: expected numbers > 0"),
])
def test_bad_input_is_refused_with_its_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call()
