"""What the file of a claim says of itself, read from its text: no import, none of what that costs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Stated", "stated"]


@dataclass(frozen=True)
class Stated:
    """What stands in a claim's file; None where only running the file can tell.

    Attributes
    ----------
    title : the second argument, or `title=`, of `claim = Claim(...)`, "" where there is none.
    requires : the tuple `requires`, () where there is none.
    imports : the packages that it imports first thing, without condition.
    """

    title: str | None
    requires: tuple[str, ...] | None
    imports: tuple[str, ...]


@cache
def stated(path: Path) -> Stated:
    """Read a file.

    Raises
    ------
    SyntaxError
        Where it is no Python.
    """
    tree = ast.parse(path.read_bytes(), filename=str(path))
    return Stated(_title(tree), _requires(tree), tuple(_imports(tree)))


def _title(tree: ast.Module) -> str | None:
    claim = _set_once(tree, "claim")
    if not isinstance(claim, ast.Call) or ast.unparse(claim.func).rpartition(".")[2] != "Claim":
        return None
    given = {keyword.arg: keyword.value for keyword in claim.keywords} | dict(zip(("id", "title"), claim.args, strict=False))
    title = ast.Constant("") if not {"title", None} & set(given) else given.get("title")  # None: **more
    return title.value if isinstance(title, ast.Constant) and isinstance(title.value, str) else None


def _requires(tree: ast.Module) -> tuple[str, ...] | None:
    if not _settings(tree, "requires"):
        return ()
    value = _set_once(tree, "requires")
    try:
        return None if value is None else tuple(ast.literal_eval(value))
    except ValueError:
        return None


def _set_once(tree: ast.Module, name: str) -> ast.expr | None:
    """What a name is set to, if that is done once, and without condition."""
    match _settings(tree, name):
        case [ast.Assign() | ast.AnnAssign() as only] if only in tree.body:
            return only.value
    return None


def _settings(tree: ast.Module, name: str) -> list[ast.stmt]:
    return [node for node in _statements(tree.body) if name in _names(node)]


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, also those under an `if`, `for`, `try` or `with`."""
    for node in body:
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for part in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(node, part, []))
            for handler in getattr(node, "handlers", []):
                yield from _statements(handler.body)


def _names(node: ast.stmt) -> set[str]:
    """The names that a statement sets by itself."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {part.id for target in targets if target is not None for part in ast.walk(target) if isinstance(part, ast.Name)}


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).partition(".")[0]
