"""Negative controls: each comparison they name must come out refuted, and their power is that for the shift they imply."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sdetheory.claims import Between, Claim, ClaimError, Exact, Quantity, Relative
from sdetheory.stats import Estimate, coverage, mean_estimate

NOT_TOUCHED = "the other quantity is the one in question"


def two_means(trial, shift=0.0, names="ab"):
    """Means of 1600 normals: z·se is 0.09 at three to four standard errors."""
    x = np.random.default_rng(trial.rng).normal(shift, 1.0, (trial.paths(1600), 2))
    return {name: mean_estimate(x[:, i]) for i, name in enumerate(names)}


def shifted(trial):
    return two_means(trial, 0.5)


def claim(a, b, **changes):
    """Two normal means that are 0; `a` and `b` are what is said of them besides."""
    quantities = {name: Quantity(said.pop("predicted", 0.0), said.pop("resolution", 0.15), **said)
                  for name, said in (("a", dict(a)), ("b", dict(b)))}
    given = {"statement": "two normal means are 0", "empirical": True, "quantities": quantities, "measure": two_means,
             "control": "something is changed"}
    return Claim("N-2", **(given | changes))


def test_a_control_that_is_not_refuted_leaves_the_claim_inconclusive():
    verdict = claim({"effect": 0.0}, {"effect": 0.0}, broken=two_means).verify()
    assert verdict.status == "inconclusive"
    assert "cannot tell" in verdict.reason
    assert verdict.control.power < 0.01


def test_false_alarms_and_the_power_of_the_control_are_as_stated():
    def five(trial):
        x = np.random.default_rng(trial.rng).normal(size=(30, 5))
        return {"a": mean_estimate(x[:, :3]), "b": mean_estimate(x[:, 3]), "c": mean_estimate(x[:, 4])}

    claim = Claim("N", statement="five normal means are 0", empirical=True, measure=five, control="the mean of b is 0.6",
                  quantities={"a": Quantity(0, 0.3, points=3, no_control=NOT_TOUCHED), "b": Quantity(0, 0.3, wrong=0.6),
                              "c": Quantity(0, 0.3, no_control=NOT_TOUCHED)})
    assert claim.n_comparisons == 5
    assert claim.without_control == {"a": NOT_TOUCHED, "c": NOT_TOUCHED}
    verdicts = [claim.verify(seed, budget=0.05) for seed in range(600)]
    assert coverage(np.array([v.status == "refuted" for v in verdicts])).consistent_with(1 - 0.99**5)
    caught = np.array([v.control.status == "refuted" for v in verdicts])
    # the stated power takes the measured stderr for the true one and the normal for Student's noncentral law
    assert np.mean([v.control.power for v in verdicts]) == pytest.approx(caught.mean(), abs=0.05)
    assert 0.5 < caught.mean() < 0.98
    assert all(v.status != "confirmed" for v in verdicts if v.control.status != "refuted")


def test_the_power_of_a_control_with_several_points_is_that_of_all_of_them():
    """All must be refuted: with independent points of power p each, the stated bound 1 − k(1 − p) is below p^k."""
    def four(trial):
        return {"x": mean_estimate(np.random.default_rng(trial.rng).normal(0.0, 1.0, (400, 4)))}

    claim = Claim("N-4", statement="four means are 0", empirical=True, measure=four, control="they are 0.23",
                  quantities={"x": Quantity(0.0, 0.115, wrong=0.23, points=4)})
    verdicts = [claim.verify(seed, budget=0.05) for seed in range(400)]
    caught = np.mean([v.control.status == "refuted" for v in verdicts])
    stated = np.mean([v.control.power for v in verdicts])
    assert caught - 0.1 < stated < caught + 0.03
    assert stated < 0.97


def test_some_quantities_may_have_a_wrong_value_and_others_a_broken_measurement():
    outcome = claim({"wrong": 1.0}, {"broken": True}, broken=lambda trial: {"b": shifted(trial)["b"]}).verify().control
    assert [(c.name, c.predicted, c.status) for c in outcome.comparisons] == [("a", 1.0, "refuted"), ("b", 0.0, "refuted")]
    half = claim({"wrong": 1.0}, {"broken": True}, broken=lambda trial: {"b": two_means(trial)["b"]})
    assert half.verify().control.status == "not refuted"


def test_without_a_stated_effect_the_power_is_that_to_see_two_resolutions():
    stated = claim({"effect": lambda: 0.3}, {"effect": 0.3}, broken=shifted).verify().control
    unstated = claim({"broken": True}, {"broken": True}, broken=shifted).verify().control
    assert (stated.unstated, unstated.unstated) == ((), ("a", "b"))
    assert stated.power == pytest.approx(unstated.power)
    weak = claim({"broken": True, "resolution": 0.03}, {"broken": True}, broken=shifted).verify().control
    assert weak.power < 0.2  # 0.06 is less than the margin: refuted here, but not for what the claim promised to see

    def wider(trial):
        return {name: Estimate(e.value, 4 * e.stderr, n=e.n) for name, e in two_means(trial, 2.0).items()}

    wide = claim({"broken": True}, {"broken": True}, broken=wider).verify().control
    assert (wide.status, wide.power) == ("refuted", unstated.power)  # it is the claim's measurement that the promise is about
    partly = claim({"effect": 0.5}, {"broken": True}, broken=shifted).verify()
    assert partly.control.unstated == ("b",)
    assert partly.to_dict()["negative_control"]["unstated"] == ["b"]
    assert "to see two resolutions" in repr(partly)
    assert "to see" not in repr(claim({"wrong": 1.0}, {"no_control": NOT_TOUCHED}).verify())
    json.dumps(partly.to_dict(), allow_nan=False)


def test_an_effect_may_be_stated_point_by_point():
    def three(trial, shift=0.0):
        return {"x": mean_estimate(np.random.default_rng(trial.rng).normal(shift, 1.0, (trial.paths(1600), 3)))}

    def verdict(effect):
        return Claim("N-3", statement="three means are 0", empirical=True, measure=three, control="a shift",
                     broken=lambda trial: three(trial, 0.5),
                     quantities={"x": Quantity(0.0, 0.15, effect=effect, points=3)}).verify()

    assert verdict([0.5, 0.5, 0.01]).control.power < 0.01 < 0.99 < verdict([0.5, 0.5, 0.4]).control.power
    for effect, match in (([0.5, 0.5], "finite effect, one or one for each of 3"), (np.nan, "finite effect")):
        with pytest.raises(ClaimError, match=match):
            verdict(effect)


def test_a_one_sided_statement_is_refuted_from_its_other_side():
    verdict = claim({"predicted": Between(low=0.0), "effect": 0.5}, {"no_control": NOT_TOUCHED},
                    broken=lambda trial: {"a": two_means(trial, -0.5)["a"]}).verify()
    assert (verdict.status, verdict.control.status, verdict.control.power > 0.99) == ("confirmed", "refuted", True)


def test_an_exact_array_may_have_its_control_stated_entry_by_entry():
    exact = claim({"wrong": [1.0, 3.0], "predicted": [1.0, 2.0], "resolution": Relative(1e-9)}, {"no_control": NOT_TOUCHED},
                  measure=lambda trial: {"a": Exact(np.array([1.0, 2.0]), 1e-15), "b": two_means(trial)["b"]})
    assert exact.verify().status == "confirmed"


@pytest.mark.parametrize("returned", ["ab", "", "c"])
def test_a_broken_run_measures_what_the_quantities_say_it_does(returned):
    def broken(trial):
        return two_means(trial, 0.5, returned)

    with pytest.raises(ClaimError, match=r"expected broken to return \['b'\]"):
        claim({"wrong": 1.0}, {"broken": True}, broken=broken).verify()
