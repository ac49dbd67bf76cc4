"""`paper-checks`: finds claims, verifies them apart from each other, and always leaves whole files behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from paper_checks.cli import main
from paper_checks.console import Progress
from paper_checks.registry import HERE, SelectionError, discover, select
from paper_checks.report import render
from paper_checks.results import Asked, FolderError, Results
from paper_checks.source import stated
from sdetheory.papers import PAPERS

ROOT = Path(__file__).resolve().parent.parent
KEYS = {"id", "paper", "title", "status", "derivation", "evidence", "negative_control", "setup", "calls", "seed", "seconds",
        "versions"}
ROW_KEYS = {"name", "predicted", "measured", "stderr", "bias_bound", "z", "resolution"}

SOURCE = r'''
import os, time
import numpy as np
import sympy
from sdetheory.claims import Claim, Quantity
from sdetheory.stats import mean_estimate
from sdetheory.symbolic import Derivation
{head}

def derivation():
    x = sympy.Symbol("x")
    return Derivation("A square").step(r"Expand $(x+1)^2$.", (x + 1)**2).residual("it is", (x + 1)**2 - x**2 - 2*x - 1)

def measure(trial):
    {before}
    trial.data["x"] = {truth} + np.random.default_rng(trial.rng).normal(size=trial.paths({paths}))
    return {{"mean": mean_estimate(trial.data["x"])}}

def figure(trial, ax):
    {drawing}
    ax.hist(trial.data["x"], bins=20)
    ax.set_title("a histogram")

claim = Claim("{id}", "The mean <b>is</b> $\\mu$", statement=r"$\mathbb{{E}}X = \mu$ & more", proof=derivation,
              quantities={{"mean": Quantity(1.0, 0.1, wrong=1.3)}}, measure=measure, figure=figure,
              control="the mean is 1.3")
'''
FAKE = {  # file: (what is put into the source, the status it must come to)
    "toy_01_true": ({}, "confirmed"),
    "toy_02_wrong": ({"truth": "1.2"}, "refuted"),
    "toy_03_few": ({"paths": "300"}, "inconclusive"),
    "toy_04_raises": ({"before": "raise RuntimeError('boom')"}, "error"),
    "toy_05_broken": ({"head": "import no_such_package"}, "error"),
    "toy_06_no_figure": ({"drawing": "raise ValueError('no ink')"}, "confirmed"),
    "toy_07_needs_more": ({"head": "requires = ('no_such_package',)"}, "skipped"),
    "toy_08_dies": ({"before": "os._exit(3)"}, "error"),
    "toy_09_leaves_at_import": ({"head": "import sys; sys.exit(0)"}, "error"),
    "toy_10_dies_at_import": ({"head": "os._exit(0)"}, "error"),
    "toy_11_dies_drawing": ({"drawing": "os.kill(os.getpid(), 11)"}, "confirmed"),
    "toy_12_leaves_a_child": ({"before": "if os.fork(): os._exit(4)\n    time.sleep(300)"}, "error"),
    "toy_13_eats_memory": ({"before": "np.ones(10**12)"}, "error"),
    "toy_14_says_what_is_no_text": ({"before": "raise ValueError(chr(0xd800))"}, "error"),
    "net_toy_10_real": ({}, "confirmed"),
}


def write_claims(folder: Path, files: dict[str, dict[str, str]]) -> Path:
    paper = folder / "papers" / "toys"
    paper.mkdir(parents=True)
    for name, changes in files.items():
        *prefix, number = re.fullmatch(r"(.+?)_(\d+)_.*", name).groups()
        given = {"head": "", "before": "pass", "truth": "1.0", "paths": "20_000", "drawing": "pass",
                 "id": f"{prefix[0].upper().replace('_', '-')}-{int(number)}"}
        (paper / f"{name}.py").write_text(SOURCE.format(**given | changes))
    (paper / "notes.py").write_text("raise RuntimeError('no claim, and not to be imported')")
    return folder / "papers"


def toy_result(id: str) -> dict[str, object]:
    return {"id": id, "paper": "toys", "title": "t", "status": "confirmed", "seed": 0, "mode": "default", "seconds": 1.0,
            "versions": {}, "derivation": {"status": "proved", "seconds": 0.0, "residuals": {}}, "evidence": [],
            "negative_control": {"status": "refuted", "statement": "s", "power": 1.0, "evidence": [], "unstated": [], "without": {}}}


def started(folder: Path, *ids: str) -> Results:
    """The results of a run that has just been started."""
    return Results(folder, Asked(ids, 0, "default", "cpu", ""), ids)


def command(*arguments: object, **options) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "COLUMNS": "100"}
    return subprocess.Popen([sys.executable, "-m", "paper_checks", *map(str, arguments)], text=True, env=environment,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """One run over every kind of claim: (exit status, output, folder of the results, folder of the claims)."""
    folder = tmp_path_factory.mktemp("run")
    papers = write_claims(folder, {name: changes for name, (changes, _) in FAKE.items()})
    process = command("run", "--papers", papers, "--output", folder / "out", "--seed", 3, "--jobs", 2)
    out, err = process.communicate(timeout=180)
    assert err == ""
    return process.returncode, out, folder / "out", papers


def test_each_claim_comes_to_its_own_verdict_whatever_happens_to_the_others(whole_run):
    status, out, folder, _ = whole_run
    results = json.loads((folder / "results.json").read_text())
    assert [r["id"] for r in results] == [f"TOY-{k}" for k in range(1, 15)] + ["NET-TOY-10"]
    assert [r["status"] for r in results] == [wanted for _, wanted in FAKE.values()]
    assert status == 1
    assert all(f"{r['id']} " in out for r in results)
    assert "4 confirmed, 1 refuted, 1 inconclusive, 8 error, 1 skipped" in out


def test_results_have_the_stated_shape(whole_run):
    for result in json.loads((whole_run[2] / "results.json").read_text()):
        assert set(result) >= KEYS
        assert (result["seed"], result["paper"]) == (3, "toys")
        assert set(result["derivation"]) >= {"status", "seconds"}
        assert result["versions"]["sdetheory"]
        assert "status" in result["negative_control"]
        assert all(set(row) >= ROW_KEYS for row in result["evidence"])
        assert len(result["evidence"]) == (result["status"] in {"confirmed", "refuted", "inconclusive"})


def test_an_exception_leaves_its_traceback_and_a_skip_its_reason(whole_run):
    results = {r["id"]: r for r in json.loads((whole_run[2] / "results.json").read_text())}
    assert "RuntimeError: boom" in results["TOY-4"]["traceback"]
    assert "no_such_package" in results["TOY-5"]["traceback"]
    assert "ValueError: no ink" in results["TOY-6"]["figure_error"]
    assert "no_such_package" in results["TOY-7"]["reason"]
    assert results["TOY-8"]["reason"] == "the process that worked on it died (exit status 3)"
    assert "SystemExit" in results["TOY-9"]["reason"]
    assert results["TOY-10"]["reason"] == "its file could not be read: the process that worked on it died (exit status 0)"
    assert results["TOY-11"]["figure_error"] == "the process that worked on it died (SIGSEGV)"
    assert "exit status 4" in results["TOY-12"]["reason"]
    assert "MemoryError" in results["TOY-13"]["traceback"]
    assert "\ud800" in results["TOY-14"]["reason"]


def test_what_hangs_is_given_up_and_leaves_no_process(tmp_path, capsys):
    pids = tmp_path / "pids"
    note = f"open({str(pids)!r}, 'a').write(f'{{os.getpid()}} ')"
    papers = write_claims(tmp_path, {"toy_01_hangs": {"before": f"{note}\n    os.fork(); {note}\n    time.sleep(300)"},
                                     "toy_02_hangs_at_import": {"head": f"{note}\ntime.sleep(300)"}})
    assert main(["run", "--papers", str(papers), "--output", str(tmp_path / "out"), "--jobs", "2", "--timeout", "8"]) == 1
    reasons = [r["reason"] for r in Results(tmp_path / "out")]
    assert reasons == ["it took longer than 8 s (--timeout)", "its file could not be read: it took longer than 8 s (--timeout)"]
    for pid in set(pids.read_text().split()):
        assert not running(int(pid))


def test_a_claim_may_not_take_more_memory_than_it_is_given(tmp_path):
    papers = write_claims(tmp_path, {"toy_01_modest": {}, "toy_02_greedy": {"before": "np.ones(4 * 10**8)"}})  # 3 GiB
    asked = ["--papers", str(papers), "--output", str(tmp_path / "out"), "--jobs", "1"]
    assert main(["run", *asked, "--memory", "2"]) == 1
    modest, greedy = Results(tmp_path / "out")
    assert (modest["status"], greedy["status"]) == ("confirmed", "error")
    assert "MemoryError" in greedy["traceback"]
    assert main(["run", "toy-2", *asked, "--memory", "8"]) == 0, "it is the limit that refuses, not the machine"


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_run_and_it_can_be_resumed(tmp_path, number):
    pids = tmp_path / "pids"
    once = (f"if not os.path.exists({str(pids)!r}):\n        os.fork()\n        "
            f"open({str(pids)!r}, 'a').write(f'{{os.getpid()}} ')\n        time.sleep(600)")
    papers = write_claims(tmp_path, {"toy_01_quick": {}, "toy_02_slow_once": {"before": once}, "toy_03_later": {}})
    process = command("run", "--papers", papers, "--output", tmp_path / "out", "--jobs", 1, "--seed", 5)
    deadline = time.monotonic() + 60
    while not (pids.exists() and len(pids.read_text().split()) == 2) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == (130 if number == signal.SIGTERM else -9)
    assert "Traceback" not in err
    deadline = time.monotonic() + 10
    while any(running(int(pid)) for pid in pids.read_text().split()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(running(int(pid)) for pid in pids.read_text().split()), "a worker or its child stayed behind"
    first = {r["id"]: r for r in Results(tmp_path / "out")}
    assert first["TOY-1"]["status"] == "confirmed"
    assert main(["run", "--resume", str(tmp_path / "out")]) == 0
    results = {r["id"]: r for r in Results(tmp_path / "out")}
    assert {id: (r["status"], r["seed"]) for id, r in results.items()} == dict.fromkeys(("TOY-1", "TOY-2", "TOY-3"), ("confirmed", 5))
    assert results["TOY-1"] == first["TOY-1"], "what had finished is not run again"
    assert main(["run", "--resume", str(tmp_path / "out"), "TOY-1"]) == 2


def test_the_budget_is_shared_by_all_comparisons_of_the_run(whole_run, tmp_path):
    _, _, folder, papers = whole_run
    together = {r["id"]: r for r in json.loads((folder / "results.json").read_text())}["TOY-1"]
    assert main(["run", "toy-01", "--papers", str(papers), "--output", str(tmp_path), "--seed", "3"]) == 0
    (alone,) = json.loads((tmp_path / "results.json").read_text())
    assert alone["evidence"][0]["measured"] == together["evidence"][0]["measured"]  # same seed, same numbers
    assert alone["evidence"][0]["z"] < together["evidence"][0]["z"]


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.links: set[str] = set()
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        if "id" in given:
            self.ids.append(given["id"])
        for name in ("src", "href", "xlink:href", "data", "srcset", "action"):
            value = given.get(name) or ""
            (self.links.add(value[1:]) if value.startswith("#") else self.addresses.append((tag, value)))


def test_the_report_is_one_page_that_asks_for_nothing(whole_run):
    text = (whole_run[2] / "report.html").read_text()
    page = _Page(text)
    assert [a for a in page.addresses if a[1] and a[0] != "a" and not a[1].startswith("data:")] == []
    assert not {"iframe", "object"} & set(page.tags)
    assert page.tags.count("script") == 1, "the page's own, which finds and orders rows"
    assert not re.search(r"@import|url\((?!#)", text)
    assert len(page.ids) == len(set(page.ids)), "two figures share an id"
    assert page.links <= set(page.ids), "a link or a reference inside a figure leads nowhere"
    assert {"TOY-1", "TOY-8", "NET-TOY-10"} <= page.links
    assert page.tags.count("svg") == 4  # of every claim that was judged, but those whose figures fail
    assert "prefers-color-scheme: dark" in text


def test_the_report_escapes_text_and_sets_mathematics(whole_run):
    text = (whole_run[2] / "report.html").read_text()
    assert "<b>is</b>" not in text
    assert "&lt;b&gt;is&lt;/b&gt;" in text
    assert "𝔼" in text
    assert "$" not in re.sub(r"<(pre|style|script)>.*?</\1>", "", text, flags=re.DOTALL)
    for formula in re.findall(r"<math.*?</math>", text, flags=re.DOTALL):
        ET.fromstring(formula)


def test_report_rebuilds_the_same_page_from_the_results(whole_run, capsys):
    page = whole_run[2] / "report.html"
    before = page.read_text()
    page.unlink()
    assert main(["report", str(whole_run[2])]) == 0
    assert capsys.readouterr().out.strip() == str(page)
    assert page.read_text() == before


def test_report_reads_results_of_a_version_that_named_no_unstated_effects(whole_run, tmp_path):
    folder = tmp_path / "older"
    shutil.copytree(whole_run[2], folder)
    results = json.loads((folder / "results.json").read_text())
    for result in results:
        result["negative_control"].pop("unstated", None)
    (folder / "results.json").write_text(json.dumps(results))
    assert main(["report", str(folder)]) == 0
    assert "at 2ρ" not in (folder / "report.html").read_text(encoding="utf-8")


def test_show_tells_the_statement_the_derivation_and_the_last_verdict(whole_run, capsys):
    _, _, folder, papers = whole_run
    assert main(["show", "toy-2", "--papers", str(papers), "--output", str(folder)]) == 0
    out = capsys.readouterr().out
    for part in ("EX = μ", "Expand (x+1)²", "Must be refuted: the mean is 1.3", "✗ refuted", "seed 3"):
        assert part in out
    assert "$" not in out


def test_list_imports_no_more_than_it_can(whole_run, capsys):
    assert main(["list", "--papers", str(whole_run[3])]) == 0
    out = capsys.readouterr().out
    assert re.search(r"TOY-1 +The mean <b>is</b> μ", out)
    assert re.search(r"TOY-5 +\(cannot be loaded: ModuleNotFoundError", out)


@pytest.mark.parametrize("file", discover(), ids=lambda file: file.id)
def test_what_a_file_states_is_what_its_claim_has(file):
    told, claim = stated(file.path), file.load()
    assert told.title is not None and told.requires is not None, "list would have to import this file"
    assert told.title == claim.title == file.title
    assert told.requires == getattr(sys.modules[file.module], "requires", ()) == file.requires


@pytest.mark.parametrize("end, title", [
    ('claim = Claim("A-1", title="One " "title")', "One title"), ('claim: Claim = claims.Claim("A-1", title="T")', "T"),
    ('claim = Claim("A-1")', ""), ('claim = Claim("A-1", "T", paper="p")', "T"), ('claim = Claim("A-1", f"{1} title")', None),
    ('claim = Claim("A-1", title=f"{1} title")', None), ("claim = Claim(**given)", None),
    ('claim = Claim("A-1", title="T")\nclaim = other(claim)', None), ('if True:\n    claim = Claim("A-1", title="T")', None),
    ("from .shared import claim", None), ("claim, other = two()", None), ("x = 1", None),
    ('def f():\n    claim = 1\nclaim = Claim("A-1", title="T")', "T"),
])
def test_a_title_is_read_where_it_is_a_string_and_nothing_else_sets_the_claim(tmp_path, end, title):
    (tmp_path / "a_01_x.py").write_text(end + "\n")
    assert stated(tmp_path / "a_01_x.py").title == title


@pytest.mark.parametrize("line, requires", [
    ('requires = ("torch",)', ("torch",)), ("", ()), ('requires = ["a", "b"]', ("a", "b")), ("requires = needed()", None),
    ('try:\n    import torch\nexcept ImportError:\n    requires = ("torch",)', None)])
def test_what_a_file_requires_is_read_where_it_is_written_out(tmp_path, line, requires):
    (tmp_path / "a_01_x.py").write_text(line + "\n")
    assert stated(tmp_path / "a_01_x.py").requires == requires


def test_list_names_what_it_can_and_wraps_it(tmp_path, capsys, monkeypatch):
    papers = write_claims(tmp_path, dict.fromkeys(("toy_01_a", "toy_02_b", "net_toy_03_c"), {}))
    (papers / "toys" / "toy_02_b.py").write_text("claim = Claim(\n")
    long = papers / "toys" / "net_toy_03_c.py"
    long.write_text(long.read_text().replace('"The mean', f'"A title {"of many words " * 9}'))
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["list", "--papers", str(papers)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"  TOY-2      +\(cannot be loaded: SyntaxError", lines[2])
    at = lines[1].index("The mean")
    (start,) = (i for i, line in enumerate(lines) if "NET-TOY-3" in line)
    assert lines[start].index("A title") == at and lines[start + 1].startswith(" " * at + "many")
    assert max(map(len, lines)) <= 80
    assert "papers.toys.toy_01_a" not in sys.modules, "it was imported, although its title is a string"


@pytest.mark.parametrize("columns", [50, 80, 200])
def test_progress_lines_wrap_to_the_terminal(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    progress = Progress(64, id_width=11)
    for reason in ("", "a reason of " + "several words " * 8):
        progress.finished({"id": "NET-SVAG-12", "title": "A title", "status": "confirmed", "reason": reason, "seconds": 12.34})
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    assert " ".join(" ".join(lines).split()).endswith("several words " * 7 + "several words")
    assert all(line.startswith(("[", "    ")) for line in lines)


@pytest.mark.parametrize("arguments, message", [
    (["run", "toy-17"], "nearest are .*TOY-1"),
    (["run", "toi"], "nearest are TOY"),
    (["show", "toys"], "expected the id of one claim"),
    (["run", "--papers", "/no/such/folder"], "--papers: expected a folder"),
    (["report", "/no/such/folder"], "expected the results of a run"),
])
def test_a_wrong_call_says_what_would_be_right(whole_run, capsys, arguments, message):
    arguments += [] if "--papers" in arguments or arguments[0] == "report" else ["--papers", str(whole_run[3])]
    assert main(arguments) == 2
    assert re.search(message, capsys.readouterr().err)


def test_no_arguments_are_a_request_for_help(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(part in out for part in ("run", "list", "show", "report", "paper-checks show ILR-4"))
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("arguments", [["run", "--seed", "-1"], ["run", "--jobs", "0"], ["run", "--quick", "--thorough"]])
def test_a_call_that_cannot_be_read_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as found:
        main(arguments)
    assert found.value.code == 2
    assert "expected" in capsys.readouterr().err or len(arguments) != 3 or "--quick" in arguments


def test_an_output_folder_that_cannot_be_written_is_found_before_the_work_starts(whole_run, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    started = time.perf_counter()
    assert main(["run", "--papers", str(whole_run[3]), "--output", str(tmp_path / "file" / "out")]) == 2
    assert time.perf_counter() - started < 1
    assert re.search(r"--output: expected a folder that can be written, .*--output DIR", capsys.readouterr().err)


def test_ctrl_c_leaves_the_finished_claims_written(tmp_path):
    started = tmp_path / "started"
    waiting = {"before": f"with open({str(started)!r}, 'w') as f: f.write(str(os.getpid()))\n    time.sleep(600)"}
    papers = write_claims(tmp_path, {"toy_01_quick": {}, "toy_02_slow": waiting, "toy_03_later": {}})
    process = command("run", "--papers", papers, "--output", tmp_path / "out", "--jobs", 1, start_new_session=True,
                      preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # tests in the background ignore it
    deadline = time.monotonic() + 60
    while not (started.exists() and started.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the whole group gets it
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    results = {r["id"]: r for r in json.loads((tmp_path / "out" / "results.json").read_text())}
    assert {id: r["status"] for id, r in results.items()} == {"TOY-1": "confirmed", "TOY-2": "skipped", "TOY-3": "skipped"}
    assert results["TOY-2"]["reason"] == "interrupted"
    assert "TOY-1" in out
    assert "Traceback" not in err
    with pytest.raises(ProcessLookupError):  # the worker did not stay behind
        os.kill(int(started.read_text()), 0)


def test_ids_prefixes_and_papers_select_in_any_case_and_once(tmp_path):
    files = discover(write_claims(tmp_path, dict.fromkeys(("toy_10_b", "toy_02_a", "net_toy_03_c"), {})))
    ids = [file.id for file in files]
    assert ids == ["TOY-2", "TOY-10", "NET-TOY-3"]  # by number, not by letter
    for wanted, expected in ((["toy-02", "TOY-2"], ["TOY-2"]), (["Toy"], ids[:2]), (["toys"], ids), (["net_toy"], ids[2:]),
                             (["TOY-10", "TOY-2"], ids[:2]), ([], ids)):
        assert [file.id for file in select(wanted, files)] == expected


def test_two_files_of_one_id_are_refused(tmp_path):
    papers = write_claims(tmp_path, dict.fromkeys(("toy_1_a", "toy_01_b"), {}))
    with pytest.raises(SelectionError, match="TOY-1: expected one file a claim"):
        discover(papers)


@pytest.mark.parametrize("file", discover(), ids=lambda file: file.id)
def test_a_claim_of_the_box_stands_where_its_id_says(file):
    if file.paper == "real_nets":
        assert file.prefix in {f"NET-{paper.prefix}" for paper in PAPERS.values()}
    else:
        assert file.prefix == PAPERS[file.paper].prefix
    assert (HERE / file.paper / "__init__.py").exists(), "without it the paper is not installed"


def test_results_are_replaced_as_a_whole_and_in_order(tmp_path):
    results = started(tmp_path, "A-1", "A-2")
    results.add(toy_result("A-2"), {"figure": "<svg/>"})
    results.add(toy_result("A-1"), {})
    assert [r["id"] for r in Results(tmp_path)] == ["A-1", "A-2"]
    assert Results(tmp_path).display("A-2") == {"figure": "<svg/>"}
    with pytest.raises(ValueError, match="JSON"):
        results.add(toy_result("A-1") | {"seconds": float("nan")}, {})
    assert [r["id"] for r in Results(tmp_path)] == ["A-1", "A-2"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["claims", "results.json", "run.json"]


def test_a_run_leaves_the_results_of_other_claims_where_they_are(tmp_path):
    started(tmp_path, "A-1", "A-2").add(toy_result("A-2"), {"figure": "<svg/>"})
    again = started(tmp_path, "A-1", "A-2")
    assert [r["id"] for r in Results(tmp_path)] == ["A-2"], "nothing is emptied before there is something in its place"
    again.add(toy_result("A-1") | {"seed": 5}, {})
    assert [(r["id"], r["seed"]) for r in Results(tmp_path)] == [("A-1", 5), ("A-2", 0)]
    assert again.fresh == {"A-1"}


def test_a_folder_that_is_removed_is_made_again_with_all_that_was_found(tmp_path):
    results = started(tmp_path / "out", "A-1", "A-2")
    results.add(toy_result("A-1"), {"where": "here"})
    shutil.rmtree(tmp_path / "out")
    results.add(toy_result("A-2"), {})
    assert [r["id"] for r in Results(tmp_path / "out")] == ["A-1", "A-2"]
    assert Results(tmp_path / "out").display("A-1") == {"where": "here"}


def test_where_the_folder_cannot_be_written_any_more_everything_goes_to_another_that_is_named(tmp_path, monkeypatch):
    results = started(tmp_path / "out", "A-1", "A-2")
    results.add(toy_result("A-1"), {"where": "here"})
    write = Results._write

    def full(self, name, text):
        if self.folder == tmp_path / "out":
            raise OSError(28, "No space left on device")
        write(self, name, text)

    monkeypatch.setattr(Results, "_write", full)
    results.add(toy_result("A-2"), {})
    assert "No space left on device" in results.moved
    assert [r["id"] for r in Results(results.folder)] == ["A-1", "A-2"]
    assert Results(results.folder).display("A-1") == {"where": "here"}
    shutil.rmtree(results.folder)


@pytest.mark.parametrize("text", ['{"no": "list"}', "", "[", "[3]", '[{"id": "A-1"}]', "null", "[" * 100_000, "\x00\xff", "[1e999]"])
def test_a_damaged_folder_is_named_and_no_traceback(tmp_path, text, capsys):
    (tmp_path / "results.json").write_bytes(text.encode("latin-1"))
    assert main(["report", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "results.json: expected" in err
    assert "Traceback" not in err


def test_any_single_field_that_is_damaged_is_named_or_does_no_harm(tmp_path):
    whole = toy_result("A-1") | {"evidence": [dict.fromkeys(
        ("predicted", "measured", "stderr", "bias_bound", "z", "resolution", "smallest_detectable"), 1.0)
        | {"name": "x", "label": "", "bias_source": "", "status": "confirmed"}]}
    damaged = 0
    for wrong in (None, 3, "x", [None], {"a": 1}):
        for place in ("evidence", "negative_control", "derivation", None):
            for key in whole if place is None else (whole[place][0] if place == "evidence" else whole[place]):
                result = json.loads(json.dumps(whole))
                (result if place is None else result[place][0] if place == "evidence" else result[place])[key] = wrong
                (tmp_path / "results.json").write_text(json.dumps([result]))
                try:
                    render(Results(tmp_path))
                except FolderError as error:
                    damaged += 1
                    assert "results.json" in str(error)
    assert damaged > 80


def test_only_keeps_the_claims_of_a_folder(whole_run, tmp_path, capsys):
    asked = ["--papers", str(whole_run[3]), "--output", str(tmp_path)]
    assert main(["run", "toy-1", "net-toy", "--only", "toys", "--jobs", "1", *asked]) == 0
    assert [r["id"] for r in json.loads((tmp_path / "results.json").read_text())] == ["TOY-1", "NET-TOY-10"]
    assert main(["run", "--only", "toyz", *asked]) == 2
    assert "nearest are" in capsys.readouterr().err


def test_claims_on_real_nets_are_there_and_name_what_they_need():
    files = select(["real-nets"], discover())
    assert files, "paper-checks run --only real-nets runs nothing"
    assert all(file.id.startswith("NET-") and file.requires == ("torch",) for file in files)


def test_a_gpu_that_is_not_there_is_found_before_the_work_starts(whole_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PAPER_CHECKS_DEVICE", "cpu")
    assert main(["run", "--device", "cuda", "--papers", str(whole_run[3]), "--output", str(tmp_path / "out")]) == 2
    assert re.search(r"--device cuda: expected .*torch", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_results_of_a_gpu_stand_beside_those_of_the_cpu(whole_run, tmp_path):
    (tmp_path / "claims").mkdir()
    (result,) = [r for r in json.loads((whole_run[2] / "results.json").read_text()) if r["id"] == "NET-TOY-10"]
    assert result["device"] == "cpu"
    for device, name in (("cpu", "results.json"), ("cuda (NVIDIA A100)", "results-cuda.json")):
        (tmp_path / name).write_text(json.dumps([result | {"device": device}]))
    text = (render(Results(tmp_path)))
    assert {"NET-TOY-10", "NET-TOY-10-cuda"} <= set(_Page(text).ids)
    assert re.search(r"<td>cpu</td>.*<td>cuda \(NVIDIA A100\)</td>", text, flags=re.DOTALL)
    (tmp_path / "results.json").unlink()
    assert "NET-TOY-10-cuda" in render(Results(tmp_path)), "a folder with results of a GPU alone has a report too"
    started(tmp_path, "NET-TOY-10").add(result, {})
    assert json.loads((tmp_path / "results-cuda.json").read_text())[0]["device"] == "cuda (NVIDIA A100)", "kept by a run on the CPU"
