"""`paper-checks calibrate`: what is promised of false alarms and of controls is counted, and a broken promise is seen."""

from __future__ import annotations

import json

import pytest
from test_paper_checks_cli import write_claims

from paper_checks.calibration import Calibration, table
from paper_checks.cli import main


def test_true_claims_are_refuted_no_more_often_than_promised_and_a_wrong_one_is_seen(tmp_path, capsys):
    papers = write_claims(tmp_path, {"toy_01_true": {}, "toy_02_wrong": {"truth": "1.03"}, "toy_03_raises": {"before": "1 / 0"}})
    asked = ["--papers", str(papers), "--output", str(tmp_path / "out"), "--seeds", "60", "--jobs", "2"]
    assert main(["calibrate", "toy-1", *asked]) == 0
    (count,) = json.loads((tmp_path / "out" / "calibration.json").read_text())["claims"]
    assert (count["runs"], count["missed"], count["error"]) == (60, 0, "")
    assert count["refuted"] <= 10  # binomial with 60 and 0.05: more than 10 happens once in 10^4
    assert (tmp_path / "out" / "calibration.png").stat().st_size > 1000
    assert "60 runs refuted a true statement" in capsys.readouterr().out
    assert main(["calibrate", "toy-2", *asked]) == 1
    assert "refuted too often" in capsys.readouterr().out
    assert main(["calibrate", "toy-3", *asked]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out


@pytest.mark.parametrize("refuted, missed, power, said", [
    (10, 0, 1.0, ""), (30, 0, 1.0, "refuted too often"), (0, 1, 1.0, "missed too often"), (0, 10, 0.9, ""),
    (0, 40, 0.9, "missed too often")])
def test_an_excess_is_what_the_promise_does_not_explain(refuted, missed, power, said):
    counts = Calibration("A-1", 200, refuted, 0, missed, power)
    assert counts.excess(0.05) == said
    assert said in table([counts], 0.05)


def test_counts_of_several_blocks_of_seeds_add_up():
    counts = Calibration("A-1")
    for power, runs in ((0.9, 10), (0.6, 20)):
        counts.add(Calibration("A-1", runs, 1, 2, 3, power))
    assert (counts.runs, counts.refuted, counts.inconclusive, counts.missed) == (30, 2, 4, 6)
    assert counts.power == pytest.approx(0.7)
