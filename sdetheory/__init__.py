"""sdetheory: a numerical laboratory for the theory of SGD."""

__version__ = "0.1.0.dev0"
