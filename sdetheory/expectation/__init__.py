"""Expectations to a tolerance: `expect`, its result, and one file a method."""

from .result import Expectation, Level
from .to_tolerance import expect

__all__ = ["Expectation", "Level", "expect"]
