r"""Update rules, one file each."""
from .sgd import SGD

__all__ = ["SGD"]
