"""Something that grows, kept in sight: a table that a notebook brings up to date, lines on stderr anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["in_sight"]


def in_sight(shown: Any) -> Callable[[], None]:
    """Show an object, and return a function that shows it as it then is.

    In a notebook there is one output, the rich one, replaced at each call; without IPython, or outside of it, a call prints the
    repr as a line on stderr.
    """
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        handle = None
    else:
        handle = None if get_ipython() is None else display(shown, display_id=True)
    if handle is None:
        return lambda: print(repr(shown), file=sys.stderr, flush=True)
    return lambda: handle.update(shown)
