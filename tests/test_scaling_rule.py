"""The linear scaling rule (SVAG-7): what measured R, G, N allow, and runs that part no later than they must."""

from __future__ import annotations

import numpy as np
import pytest

from sdetheory.losses import FiniteSum, Quadratic, RayleighQuotient
from sdetheory.noises import Isotropic, Tangent
from sdetheory.scaling_rule import scaling_limit, scaling_sweep
from sdetheory.stats.estimates import Estimate
from sdetheory.theory import svag

LR, DECAY = 0.2, 0.1
KNOWN = {"lr": LR, "weight_decay": DECAY}


def test_the_limit_is_the_formula_with_the_error_of_its_arguments():
    R = svag.svag_equilibrium_sq_norm(amplification=1, sq_grad=0.5, noise_trace=2.0, **KNOWN)
    found = scaling_limit(R, Estimate(0.5, 0.01), Estimate(2.0, 0.03), **KNOWN)
    formula = svag.largest_batch_factor

    def slope(name, h=1e-6):
        at = {"sq_grad": 0.5, "noise_trace": 2.0}
        up, down = ({**at, name: at[name] + sign * h} for sign in (1, -1))
        return (formula(similarity=np.sqrt(2), **KNOWN, **up) - formula(similarity=np.sqrt(2), **KNOWN, **down)) / (2 * h)

    assert found.batch_factor.value == formula(similarity=np.sqrt(2), sq_grad=0.5, noise_trace=2.0, **KNOWN)
    expected = np.hypot(0.01 * slope("sq_grad"), 0.03 * slope("noise_trace"))
    assert found.batch_factor.stderr == pytest.approx(expected, rel=1e-3)  # third derivatives times (relative error)^2
    assert found.balance.value == pytest.approx(1.0, rel=1e-14)
    assert found.noise_to_signal.value == 4.0
    assert found.batch_factor.value < found.simple_bound.value == pytest.approx(10.0)


def gaussian(k):
    return RayleighQuotient([1.0, 1.0, 0.0, 0.0], Tangent(1.5 / np.sqrt(k)))


@pytest.fixture(scope="module")
def swept():
    return scaling_sweep(gaussian, [0.5, 0.0, 0.5, 0.0], batch_factors=[1, 2, 8, 32], n_steps=1600, n_paths=256, rng=3, **KNOWN)


def test_a_run_at_rest_is_balanced_and_its_ratios_are_those_of_its_means(swept):
    assert np.all(np.abs(swept.balance - 1) < 4.5 * swept.balance_stderr + 1e-3)
    assert np.all(swept.balance_stderr < 0.02)
    np.testing.assert_allclose(swept.noise_trace_ratio, swept.batch_factor * swept.noise_trace / swept.noise_trace[0])
    ratios = np.stack([swept[f"{name}_ratio"] for name in ("sq_norm", "sq_grad", "noise_trace")])
    np.testing.assert_allclose(swept.apart, np.maximum(ratios, 1 / ratios).max(axis=0), rtol=1e-14)
    assert set(swept.n_finite.values) == {256}


def test_runs_are_never_closer_than_theory_allows_and_part_within_the_predicted_factor(swept):
    errors = sum(swept[f"{name}_ratio_stderr"] / swept[f"{name}_ratio"] for name in ("sq_norm", "sq_grad", "noise_trace"))
    assert np.all(swept.apart * (1 + 4.5 * errors) >= swept.least_similarity)
    beyond = swept.batch_factor > swept.attrs["largest_batch_factor"]
    assert beyond.any() and (swept.apart[beyond] > swept.attrs["similarity"]).all()
    assert swept.apart[1] < np.sqrt(2)  # at a small factor the rule still works


def test_a_sweep_takes_minibatches():
    losses = [RayleighQuotient(a) for a in ([3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 2.5])]
    runs = scaling_sweep(lambda k: FiniteSum(losses, batch_size=int(k)), [1.0, 0.5, 0.25], batch_factors=[1, 4], n_steps=600,
                         n_paths=32, rng=0, **KNOWN)
    assert np.isfinite(runs.apart).all() and runs.noise_trace[1] < runs.noise_trace[0]
    again = scaling_sweep(lambda k: FiniteSum(losses, batch_size=int(k)), [1.0, 0.5, 0.25], batch_factors=[1, 4], n_steps=600,
                          n_paths=32, rng=0, **KNOWN)
    assert runs.identical(again)


RUN = {"n_steps": 10, "n_paths": 4, "rng": 0, "batch_factors": [1, 2], **KNOWN}


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: scaling_limit(1.0, 0.0, 1.0, **KNOWN), ValueError, "sq_grad: expected a number > 0"),
    (lambda: scaling_limit("R", 1.0, 1.0, **KNOWN), TypeError, "sq_norm: expected a number"),
    (lambda: scaling_limit(1.0, 1.0, 1.0, similarity=1.0, **KNOWN), ValueError, "similarity: expected a number > 1"),
    (lambda: scaling_limit(1.0, 1.0, 1.0, lr=2.0, weight_decay=1.0), ValueError, "lr, weight_decay: expected a product < 2"),
    (lambda: scaling_sweep(gaussian, [1.0] * 4, **RUN | {"batch_factors": [2, 4]}), ValueError, "expected rising factors"),
    (lambda: scaling_sweep(gaussian, [1.0] * 4, **RUN | {"batch_factors": [1, 200]}), ValueError, "lr . weight_decay < 2"),
    (lambda: scaling_sweep(gaussian, [1.0] * 4, **RUN | {"n_paths": 1}), ValueError, "n_paths: expected an integer >= 2"),
    (lambda: scaling_sweep(lambda k: RayleighQuotient([1.0, 0.0]), [1.0, 1.0], **RUN), ValueError, "with gradient noise"),
    (lambda: scaling_sweep(lambda k: Quadratic([1.0], Isotropic(1.0)), [1.0], **RUN), ValueError, "scale-invariant"),
])
def test_bad_input_is_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()
