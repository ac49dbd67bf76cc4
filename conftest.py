"""Doctests of the torch bridge are collected where torch is installed."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") else ["sdetheory/torch/*"]
