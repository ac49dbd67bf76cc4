"""What ends a command with one line on stderr and status 2."""

from __future__ import annotations

__all__ = ["UsageError"]


class UsageError(ValueError):
    """What was asked for cannot be done; the message says what would be right."""
