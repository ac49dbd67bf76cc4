"""What is installed, and what the files around the code say about it, agree."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import sdetheory

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {name.lower().replace("_", "-"): version for name, version in pins}


def requirement_name(requirement: str) -> str:
    return re.match(r"[A-Za-z0-9_.-]+", requirement)[0].lower().replace("_", "-")


def test_every_package_that_may_be_installed_has_a_pinned_version():
    wanted = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
    assert {requirement_name(r) for r in wanted} <= set(constraints())
    assert constraints()["torch"] == "2.13.0"


def test_the_readme_holds_the_two_commands_that_ci_runs():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^(?:\$ )?(python3 -m venv .*)$", readme, flags=re.MULTILINE)
    assert len(commands) == 2
    assert commands[0].endswith("paper-checks run")
    assert commands[1].endswith("-m pytest -n auto")
    assert all("-c constraints.txt" in command for command in commands)
    assert "python3 -m venv" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_version_is_one_number_everywhere():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    assert setup["metadata"]["version"] == "attr: sdetheory.__version__"
    assert PROJECT["dynamic"] == ["version"]
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert cited[1] == sdetheory.__version__


def test_every_folder_of_code_is_a_package_and_so_is_installed():
    folders = {path.parent for top in ("sdetheory", "paper_checks") for path in (ROOT / top).rglob("*.py")}
    assert [str(f.relative_to(ROOT)) for f in sorted(folders) if not (f / "__init__.py").exists()] == []


def test_python_dash_m_runs_the_command_line():
    found = subprocess.run([sys.executable, "-m", "paper_checks", "--help"], cwd=ROOT, capture_output=True, text=True,
                           check=True)
    assert all(command in found.stdout for command in ("run", "list", "show", "report"))


HEAVY = {"numpy", "scipy", "numba", "llvmlite", "sympy", "xarray", "pandas", "matplotlib", "torch", "jinja2", "latex2mathml"}


@pytest.mark.parametrize("statement, may_load", [
    ("import sdetheory", ""),
    ("import sdetheory as sdt; dir(sdt); sdt.papers", ""),
    ("import paper_checks.cli; paper_checks.cli._parser().format_help()", ""),
    ("from paper_checks.cli import main; main(['list'])", ""),
    ("import sdetheory as sdt; sdt.Claim, sdt.Estimate, sdt.stats, sdt.schedules", "numpy scipy"),
    ("import sdetheory as sdt; sdt.symbolic, sdt.Derivation, sdt.theory, sdt.Formula", "numpy scipy sympy"),
    ("from sdetheory.theory import catapult, exp_lr, intrinsic_lr, svag", "numpy scipy sympy"),
])
def test_an_import_loads_no_more_than_is_used(statement, may_load):
    code = f"import sys\n{statement}\nprint('\\n', *sorted(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(found.stdout.splitlines()[-1].split())
    assert HEAVY & loaded <= set(may_load.split())
    assert not {"scipy.special", "scipy.linalg", "scipy.integrate", "scipy.optimize", "scipy.stats"} & loaded


def test_claims_are_imported_without_what_draws_and_trains():
    code = ("import sys; from paper_checks.registry import discover; print(len([file.load() for file in discover()]), "
            "*sorted({'matplotlib', 'torch', 'jinja2', 'latex2mathml'} & set(sys.modules)))")
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    count, *loaded = found.stdout.split()
    assert int(count) > 0 and loaded == []


def test_type_checkers_see_the_names_that_the_library_offers():
    tree = ast.parse((ROOT / "sdetheory" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {(node.module or alias.name, alias.name) for node in block.body for alias in node.names}
    assert seen | {("", "__version__")} == {
        (sdetheory._WHERE.get(name, name), name) if name != "__version__" else ("", name) for name in sdetheory.__all__}
    assert len(sdetheory.__all__) == len(set(sdetheory.__all__)), "a name stands twice"
    for name in set(sdetheory.__all__) - {"torch"}:
        assert getattr(sdetheory, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'simulat'; it has .*simulate"):
        sdetheory.simulat  # noqa: B018
    assert dir(sdetheory) == sorted(sdetheory.__all__)


def unannotated(source: str, offered: frozenset[str] = frozenset()) -> list[str]:
    """Public functions, and methods of public classes, whose signature is not typed throughout.

    Public is what `__all__` names and what is `offered` elsewhere. What a decorator turns
    into something else (a kernel, a formula) is called through that, and is left out.
    """
    tree = ast.parse(source)
    exported = {constant.value for node in tree.body if isinstance(node, ast.Assign)
                and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
                for constant in ast.walk(node.value) if isinstance(constant, ast.Constant)} | offered
    plain = {"property", "classmethod", "staticmethod", "abstractmethod", "cached_property", "contextmanager", "override"}
    found = []
    for top in tree.body:
        if getattr(top, "name", None) not in exported:
            continue
        for node in [top, *(top.body if isinstance(top, ast.ClassDef) else [])]:
            if not isinstance(node, ast.FunctionDef) or (node is not top and node.name.startswith("_")):
                continue
            if any(ast.unparse(d) not in plain for d in node.decorator_list):
                continue
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            given = [a for a in given if a.arg not in {"self", "cls"}]
            if node.returns is None or any(a.annotation is None for a in given):
                found.append(node.name if node is top else f"{top.name}.{node.name}")
    return found


def offered_by_the_package(path: Path) -> frozenset[str]:
    """What the `__init__` beside a file imports from it by name."""
    tree = ast.parse((path.parent / "__init__.py").read_text(encoding="utf-8"))
    return frozenset(alias.name for node in tree.body if isinstance(node, ast.ImportFrom) and node.level == 1
                     and node.module == path.stem for alias in node.names)


def test_the_public_api_is_typed():
    missing = {str(path.relative_to(ROOT)): names for path in sorted((ROOT / "sdetheory").rglob("*.py"))
               if (names := unannotated(path.read_text(encoding="utf-8"), offered_by_the_package(path)))}
    assert missing == {}
    assert "kernel_step" in offered_by_the_package(ROOT / "sdetheory" / "theory" / "catapult" / "many_samples.py")


def test_a_signature_without_types_is_found():
    source = '__all__ = ["f", "g", "C"]\ndef f(x): ...\ndef g(x: int) -> int: ...\ndef h(x): ...\n' \
             "class C:\n    @property\n    def p(self): ...\n    def q(self, *, a: int = 0) -> None: ...\n" \
             "@kernel\ndef k(x): ...\n"
    assert unannotated(source) == ["f", "C.p"]
    assert unannotated(source, frozenset({"h"})) == ["f", "h", "C.p"]
