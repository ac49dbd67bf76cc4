r"""Where paths start: points, or draws of a distribution on :math:`\mathbb R^d`, one a path.

.. math:: X_0^{(p)} = x^{(p)} \qquad\text{or}\qquad X_0^{(p)} = F(N_0(p), N_1(p), \dots)

The random numbers of a start depend on (seed, path) alone: the same path of the same seed starts alike in every ensemble.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .random import fill_normals, seed_sequence, stream_key
from .sphere import normalise
from .validation import explain_construction, finite_array, integer, number

__all__ = ["NormalWeights", "Points", "ReducedStart", "Reduction", "Start", "UniformSphere", "as_start"]


class Start(ABC):
    """A distribution of starts: what `simulate` and `expect` take as `x0` beside points."""

    #: dimension d of the points
    dim: int

    @abstractmethod
    def sample_block(self, out: NDArray[np.float64], first_path: int, key: np.uint64) -> None:
        """Fill `out` (d, lanes) with the starts of paths first_path, first_path + 1, …, functions of (key, path)."""

    def sample(self, n: int, rng: Any = None) -> NDArray[np.float64]:
        """Starts of paths 0 … n − 1, shape (n, d), as `simulate` draws them from the same seed."""
        block = np.empty((self.dim, integer("n", n, at_least=0)))
        self.sample_block(block, 0, stream_key(seed_sequence(rng), "initial"))
        return np.ascontiguousarray(block.T)


@explain_construction
class Points(Start):
    """Given points: the same for every path, or one a path, again from the first on where they come to an end.

    Parameters
    ----------
    points : array_like (d,) or (n, d)
        Finite numbers.

    Examples
    --------
    >>> Points([[1.0], [2.0]]).sample(3)
    array([[1.],
           [2.],
           [1.]])
    """

    def __init__(self, points: ArrayLike) -> None:
        array = np.atleast_1d(finite_array("x0", points))
        if array.ndim > 2:
            raise ValueError(f"x0: expected one point (d,) or one a path (n_paths, d), got shape {array.shape}")
        self.points = array.reshape(-1, array.shape[-1])
        self.dim = self.points.shape[1]

    def sample_block(self, out: NDArray[np.float64], first_path: int, key: np.uint64) -> None:
        """Fill `out` (d, lanes) with the points of paths first_path, first_path + 1, …"""
        out[:] = self.points.take(np.arange(first_path, first_path + out.shape[1]), axis=0, mode="wrap").T

    def sample(self, n: int, rng: Any = None) -> NDArray[np.float64]:
        """The points of paths 0 … n − 1, shape (n, d); nothing is drawn."""
        return self.points.take(np.arange(integer("n", n, at_least=0)), axis=0, mode="wrap")


@explain_construction
@dataclass(frozen=True)
class UniformSphere(Start):
    """The uniform distribution on the sphere of a radius.

    Parameters
    ----------
    dim : int
        Dimension d ≥ 2 of the surrounding space.
    radius : float
        Radius > 0.

    Examples
    --------
    >>> UniformSphere(3, radius=2.0).sample(5, rng=0).shape
    (5, 3)
    """

    dim: int
    radius: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "dim", integer("dim", self.dim, at_least=2))
        object.__setattr__(self, "radius", number("radius", self.radius, above=0))

    def sample_block(self, out: NDArray[np.float64], first_path: int, key: Any) -> None:
        """Fill `out` (d, lanes) with the points of paths first_path, first_path + 1, …, functions of (key, path)."""
        fill_normals(out, first_path, 0, key, 1.0)
        square = np.zeros(out.shape[1])
        for row in out:  # in this order for any number of lanes: the bits are the same
            square += row * row
        out *= self.radius / np.sqrt(square)

    def sample(self, n: int, rng: Any = None) -> NDArray[np.float64]:
        """`n` independent points, shape (n, d), from a NumPy generator or its seed."""
        normals = np.random.default_rng(rng).standard_normal((integer("n", n, at_least=0), self.dim))
        return normalise(normals, self.radius)


@explain_construction
@dataclass(frozen=True)
class NormalWeights(Start):
    """Independent normal weights w ~ N(0, scale² I), the start of the nets of the catapult paper.

    Weight i of a path is noise number i of that path.

    Parameters
    ----------
    dim : int
        Number of weights, at least 1.
    scale : float
        Standard deviation > 0.

    Examples
    --------
    >>> NormalWeights(6).sample(5, rng=0).shape
    (5, 6)
    """

    dim: int
    scale: float = 1.0

    def __post_init__(self) -> None:
        integer("dim", self.dim, at_least=1)
        number("scale", self.scale, above=0)

    def sample_block(self, out: NDArray[np.float64], first_path: int, key: np.uint64) -> None:
        """Fill out (dim, lanes) with the weights of paths first_path, first_path + 1, …"""
        fill_normals(out, first_path, 0, key, float(self.scale))


class Reduction(ABC):
    """A process whose state is a function of the weights of a net that it stands for."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Numbers in a state."""

    @property
    @abstractmethod
    def n_weights(self) -> int:
        """Number of weights of the net."""

    @abstractmethod
    def reduce(self, w: ArrayLike) -> NDArray[np.float64]:
        """The states, shape (..., dim), of the weights w (..., n_weights)."""


@explain_construction
@dataclass(frozen=True)
class ReducedStart(Start):
    """The start of a reduced process that weights drawn from a distribution have: same seed and path, same net.

    Parameters
    ----------
    process : Reduction
        The process that starts there: an OutputCurvatureMap, a SumDifferenceMap or a KernelRecursion.
    weights : Start
        Of the weights, such as `starts.NormalWeights(2 * width)`.

    Examples
    --------
    >>> import sdetheory as sdt
    >>> rule = sdt.dynamics.OutputCurvatureMap(width=64, lr=1.0)
    >>> start = ReducedStart(rule, NormalWeights(128))
    >>> sdt.simulate(rule, start, n_steps=10, n_paths=4, rng=0).f.shape
    (4, 1)
    """

    process: Reduction
    weights: Start

    def __post_init__(self) -> None:
        if not isinstance(self.process, Reduction):
            raise TypeError(f"process: expected a process that is a reduction of a net (OutputCurvatureMap, SumDifferenceMap, "
                            f"KernelRecursion), got {self.process!r}; UniversalMap.reduce(w, lr) gives starts of the universal map")
        if self.weights.dim != self.process.n_weights:
            raise ValueError(f"weights: expected a distribution on R^{self.process.n_weights}, got one on R^{self.weights.dim}")

    @property
    def dim(self) -> int:  # type: ignore[override]
        """Numbers in a state."""
        return self.process.dim

    def sample_block(self, out: NDArray[np.float64], first_path: int, key: np.uint64) -> None:
        """Fill out (dim, lanes) with the reduced starts of paths first_path, first_path + 1, …"""
        block = np.empty((self.weights.dim, out.shape[1]))
        self.weights.sample_block(block, first_path, key)
        out[:] = self.process.reduce(block.T).T

    def sample(self, n: int, rng: Any = None) -> NDArray[np.float64]:
        """Reduced starts of paths 0 … n − 1, shape (n, dim)."""
        return self.process.reduce(self.weights.sample(n, rng))


def as_start(x0: Start | ArrayLike, dim: int, n_paths: int) -> Start:
    """A distribution as it is, or points of R^dim: one for all paths, or `n_paths` of them."""
    if isinstance(x0, Start):
        if x0.dim != dim:
            raise ValueError(f"x0: expected a distribution on R^{dim}, got one on R^{x0.dim}")
        return x0
    points = Points(x0)
    if points.dim != dim or (np.ndim(x0) == 2 and len(points.points) != n_paths):
        raise ValueError(f"x0: expected shape ({dim},) or (n_paths, {dim}) = ({n_paths}, {dim}), got {np.shape(x0)}")
    return points
