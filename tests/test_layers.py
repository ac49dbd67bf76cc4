"""A file imports only from rows above its own: the table in CONTRIBUTING.md is the rule, this is what keeps it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = "sdetheory"
SIMULATION_WING = {"random", "engine", "sphere", "starts", "process", "processes", "noises", "losses", "schemes", "dynamics",
                   "simulation", "expectation", "kernels", "exact", "studies"}
THEORY_WING = {"symbolic", "theory"}
ON_TOP = {"plot", "torch"}  # the only rooms that may load matplotlib or torch as they are imported


def read_table(text: str) -> dict[str, tuple[int, int]]:
    """Room -> (row, line of the table), from the lines `| 1 | `random.py`, `sphere.py` | ... |`."""
    rows = re.findall(r"^\| (\d+) \| ([^|]*) \|", text, flags=re.MULTILINE)
    return {name.removesuffix(".py").removesuffix("/"): (int(row), line)
            for line, (row, cell) in enumerate(rows) for name in re.findall(r"`([^`]+)`", cell)}


def imported_modules(path: Path, library: Path, for_types: bool = True) -> Iterator[tuple[str, bool]]:
    """Absolute dotted names of what a file imports, wherever in it, and whether at the top level of the module.

    With `for_types=False` without what stands under `if TYPE_CHECKING:`.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    unread = {id(inner) for node in ast.walk(tree) if not for_types and isinstance(node, ast.If)
              and ast.unparse(node.test).endswith("TYPE_CHECKING") for part in node.body for inner in ast.walk(part)}
    top = {id(node) for node in tree.body}
    package = (library.name, *path.relative_to(library).parts[:-1])
    for node in ast.walk(tree):
        if id(node) in unread:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = [*package[:len(package) - node.level + 1]] if node.level else []
            origin += [node.module] if node.module else []
            yield from ((".".join([*origin, alias.name]), id(node) in top) for alias in node.names)


def room_of(path: Path, library: Path) -> str:
    return path.relative_to(library).parts[0].removesuffix(".py")


def broken_rules(library: Path, rooms: dict[str, tuple[int, int]]) -> list[str]:
    """Every import that goes against the table, as `file imports module: rule`."""
    found = []
    for path in sorted(library.rglob("*.py")):
        room, name = room_of(path, library), path.relative_to(library.parent).as_posix()
        if room == "__init__":
            continue
        if room not in rooms:
            found.append(f"{name}: no row of the table in CONTRIBUTING.md names `{room}`; give it one")
            continue
        for module, at_top in imported_modules(path, library):
            if rule := _broken_rule(module, at_top, room, rooms):
                found.append(f"{name} imports {module}: {rule}")
    return found


def _broken_rule(module: str, at_top: bool, room: str, rooms: dict[str, tuple[int, int]]) -> str | None:
    outside, *inside = module.split(".")
    if outside in {"torch", "matplotlib"} and at_top and room not in ON_TOP:
        return f"only {' and '.join(sorted(ON_TOP))} may load {outside} on import"
    if outside == "paper_checks":
        return "paper_checks stands on top; the library never imports it"
    if outside != LIBRARY or not inside or inside[0] == "__version__":
        return None if outside != LIBRARY or inside else "a file imports rooms, not the library's front door"
    other = inside[0]
    if other == room:
        return None
    if other not in rooms:
        return f"no row of the table in CONTRIBUTING.md names `{other}`"
    if room in THEORY_WING and other in SIMULATION_WING:
        return "the theory wing knows no simulation"
    if room in SIMULATION_WING and other == "theory":
        return "the simulation wing knows no theory"
    (row, line), (other_row, other_line) = rooms[room], rooms[other]
    if other_row < row or other_line == line:
        return None
    return f"`{room}` is in row {row}, `{other}` in row {other_row}: a file imports only from rows above its own"


def test_every_import_goes_up_the_table():
    rooms = read_table((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert len({row for row, _ in rooms.values()}) >= 7, f"the table in CONTRIBUTING.md could not be read: {rooms}"
    broken = broken_rules(ROOT / LIBRARY, rooms)
    assert not broken, "\n".join(broken)


def dependencies(library: Path) -> dict[str, set[str]]:
    """Which files each file of the library imports, at its top or inside its functions, by dotted name.

    A name of another room's front is an import of that front. What only a type checker imports is no dependency.
    """
    files = {".".join((library.name, *path.relative_to(library).with_suffix("").parts)).removesuffix(".__init__"): path
             for path in library.rglob("*.py")}
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        found[name] = set()
        for module, _ in imported_modules(path, library, for_types=False):
            there = module if module in files else module.rpartition(".")[0]
            if there in files and there not in (name, library.name):
                found[name].add(there)
    return found


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one file (Tarjan 1972)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in number:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], number[other])
        if lowest[name] == number[name]:
            component = stack[stack.index(name):]
            del stack[stack.index(name):]
            if len(component) > 1:
                found.append(sorted(component))

    for name in sorted(graph):
        if name not in number:
            visit(name)
    return found


def test_no_files_import_each_other_in_a_circle():
    graph = dependencies(ROOT / LIBRARY)
    assert len(graph) > 150 and "sdetheory.engine.rows" in graph["sdetheory.losses.own"]
    assert circles(graph) == []


@pytest.mark.parametrize("files, found", [
    ({"a.py": "from .b import x", "b.py": "def f():\n    from .c import y", "c.py": "from . import a"}, [["a", "b", "c"]]),
    ({"a.py": "from .b import x", "b.py": "def f():\n    from .a import y"}, [["a", "b"]]),
    ({"a.py": "from .b import x", "b.py": "if TYPE_CHECKING:\n    from .a import y"}, []),
    ({"a.py": "from .b import x", "b.py": "import math", "c.py": "from .a import x\nfrom .b import x"}, []),
    ({"r/__init__.py": "from .a import x", "r/a.py": "from ..s import y", "s.py": "def f():\n    from .r import x"},
     [["r", "r.a", "s"]]),
])
def test_a_circle_is_found_also_through_functions(tmp_path, files, found):
    for name, text in {"__init__.py": "", **files}.items():
        path = tmp_path / LIBRARY / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert circles(dependencies(tmp_path / LIBRARY)) == [[f"{LIBRARY}.{name}" for name in circle] for circle in found]


TABLE = """| row | room | what |
|---|---|---|
| 0 | `validation.py` | |
| 1 | `random.py`, `sphere.py` | |
| 1 | `symbolic/` | |
| 2 | `losses/` | |
| 4 | `theory/` | |
| 5 | `claims.py` | |
| 6 | `plot.py`, `torch/` | |
"""


@pytest.mark.parametrize("file, text, expected", [
    ("losses/toy.py", "from ..claims import Claim", "only from rows above"),
    ("losses/toy.py", "def f():\n    from sdetheory.claims import Claim", "only from rows above"),
    ("losses/toy.py", "from .. import claims", "only from rows above"),
    ("losses/deep/toy.py", "from ...theory.formula import Formula", "simulation wing knows no theory"),
    ("symbolic/ito.py", "import sdetheory.random", "theory wing knows no simulation"),
    ("random.py", "from .symbolic import latex", "only from rows above"),
    ("theory/ilr.py", "from ..losses import toy", "theory wing knows no simulation"),
    ("claims.py", "import paper_checks.cli", "never imports it"),
    ("claims.py", "import matplotlib.pyplot as plt", "may load matplotlib"),
    ("claims.py", "from torch import nn", "may load torch"),
    ("claims.py", "import sdetheory as sdt", "front door"),
    ("claims.py", "from . import gossip", "names `gossip`"),
    ("gossip.py", "import math", "names `gossip`"),
])
def test_a_forbidden_import_is_found_and_named(tmp_path, file, text, expected):
    path = tmp_path / LIBRARY / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    (broken,) = broken_rules(tmp_path / LIBRARY, read_table(TABLE))
    assert broken.startswith(f"{LIBRARY}/{file}")
    assert expected in broken


@pytest.mark.parametrize("file, text", [
    ("__init__.py", "from .claims import Claim"),
    ("losses/toy.py", "from ..random import normals\nfrom .other import x\nfrom ..validation import number"),
    ("sphere.py", "from .random import normals"),
    ("claims.py", "from .theory.formula import Formula\nfrom . import __version__\nimport numpy"),
    ("claims.py", "def figure():\n    import matplotlib.pyplot"),
    ("plot.py", "import matplotlib.pyplot"),
])
def test_an_allowed_import_passes(tmp_path, file, text):
    path = tmp_path / LIBRARY / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert broken_rules(tmp_path / LIBRARY, read_table(TABLE)) == []


def test_importing_the_library_loads_neither_torch_nor_matplotlib():
    code = ("import sys, sdetheory as sdt; sdt.simulate, sdt.Claim, sdt.losses, sdt.theory; "
            "print(sorted({'torch', 'matplotlib', 'jax'} & set(sys.modules)))")
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
