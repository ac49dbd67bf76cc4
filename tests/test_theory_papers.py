"""Papers offer what their files hold: a formula is written in a file, and nowhere else."""

import ast
import importlib
from pathlib import Path

import pytest

import sdetheory.theory
from sdetheory.theory import Formula, catapult, exp_lr, intrinsic_lr, svag

PAPERS = {"catapult": catapult, "exp_lr": exp_lr, "intrinsic_lr": intrinsic_lr, "svag": svag}
HEADER = """
from sdetheory.symbolic import Derivation
from sdetheory.theory import closed_form


def derive(claimed):
    return Derivation("itself").residual("nothing", claimed - claimed)
"""
FORMULA = """

@closed_form({claim!r}, derive)
def {name}(lr):
    "Twice the learning rate."
    return 2 * lr
"""


@pytest.fixture
def paper(tmp_path, monkeypatch):
    """A paper of one's own: a function of its files, each from names of formulas to claims."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, init="", **files):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text(
            "from sdetheory.theory.paper import collect\n"
            + init
            + "FORMULAS, by_claim, __all__ = collect(__name__)\n"
        )
        for file, formulas in files.items():
            (folder / f"{file}.py").write_text(
                HEADER + "".join(FORMULA.format(name=n, claim=c) for n, c in formulas.items())
            )
        return importlib.import_module(name)

    return write


def test_a_formula_is_offered_in_the_order_of_the_claims(paper):
    own = paper(
        "own_paper",
        first={"late": "ADA-10", "early": "ADA-2"},
        second={"_hidden": "ADA-1", "b": "ZL-1", "a": "ZL-1"},
    )
    assert list(own.FORMULAS) == ["early", "late", "a", "b"]
    assert own.__all__ == ["FORMULAS", "a", "b", "by_claim", "early", "late"]
    assert set(own.__all__) <= set(dir(own))
    assert [f.name for f in own.by_claim("ZL-1")] == ["a", "b"]
    assert own.late(lr=0.5) == 1.0 and own.late is own.first.late
    with pytest.raises(ValueError, match="claim: expected one of ADA-2, ADA-10, ZL-1, got 'ADA-1'"):
        own.by_claim("ADA-1")


def test_a_formula_of_another_paper_stays_there(paper):
    own = paper(
        "borrowing_paper", "from sdetheory.theory.svag import first_weight\n", first={"a": "MD-1"}
    )
    own.first.first_weight = own.first_weight
    assert list(
        importlib.import_module("sdetheory.theory.paper").collect("borrowing_paper")[0]
    ) == ["a"]


def test_a_function_that_is_no_formula_is_offered_where_the_package_imports_it(paper):
    assert paper("with_function", "from .first import derive\n", first={"a": "FM-1"}).__all__ == [
        "FORMULAS",
        "a",
        "by_claim",
        "derive",
    ]
    assert "derive" not in paper("without_function", first={"a": "FM-1"}).__all__


@pytest.mark.parametrize(
    "files, message",
    [
        (
            {"first": {"a": "SHP-1"}, "second": {"a": "SHP-1"}},
            "got a, which is the name of another formula",
        ),
        (
            {"first": {"second": "SHP-1"}, "second": {}},
            "got second, which is the name of the file second.py",
        ),
        (
            {"first": {"a": "SHP1"}},
            "claim: expected capitals, a hyphen and a number, such as 'CAT-2', got 'SHP1'",
        ),
    ],
)
def test_names_that_clash_and_ids_that_have_no_order_are_refused(paper, request, files, message):
    with pytest.raises(ValueError, match=message):
        paper(f"refused_{request.node.callspec.indices['files']}", **files)


@pytest.mark.parametrize("name", PAPERS)
def test_editors_see_the_files_that_hold_formulas(name):
    package = PAPERS[name]
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    shown = {node.module for node in block.body if node.names[0].name == "*"}
    assert shown == {
        f.__module__.removeprefix(f"{package.__name__}.") for f in package.FORMULAS.values()
    }


@pytest.mark.parametrize("name", PAPERS)
def test_a_paper_offers_all_its_formulas_by_their_names(name):
    package = PAPERS[name]
    assert all(
        getattr(package, key) is f and f.name == key and isinstance(f, Formula)
        for key, f in package.FORMULAS.items()
    )
    assert set(package.__all__) <= set(dir(package))
    assert {f for n in package.FORMULAS.values() for f in package.by_claim(n.claim)} == set(
        package.FORMULAS.values()
    )


def test_the_folders_of_the_theory_wing_are_the_papers_that_it_offers():
    folders = {
        path.parent.name for path in Path(sdetheory.theory.__file__).parent.glob("*/__init__.py")
    }
    assert folders == set(PAPERS)
    assert folders <= set(sdetheory.theory.__all__) and folders <= set(dir(sdetheory.theory))
