"""A record of what was simulated: `simulate` and `expect` note their calls, whoever listens reads them afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["note", "recorded"]

_LISTENERS: ContextVar[tuple[list[dict[str, Any]], ...]] = ContextVar("listeners", default=())


@contextmanager
def recorded() -> Iterator[list[dict[str, Any]]]:
    """Collect the calls of `simulate` and `expect` that this block makes, in their order.

    >>> with recorded() as calls:
    ...     note(lambda: {"process": "SGD(…)", "paths": 100, "steps": 10})
    >>> calls
    [{'process': 'SGD(…)', 'paths': 100, 'steps': 10}]
    """
    calls: list[dict[str, Any]] = []
    token = _LISTENERS.set((*_LISTENERS.get(), calls))
    try:
        yield calls
    finally:
        _LISTENERS.reset(token)


def note(describe: Callable[[], dict[str, Any]]) -> None:
    """Note a call for everyone who listens; it is described only where somebody does."""
    if listeners := _LISTENERS.get():
        call = describe()
        for calls in listeners:
            calls.append(call)
