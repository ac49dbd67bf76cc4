r"""Ready processes, with the laws that are known of them.

.. math:: dX = \theta(\mu - X)dt + \sigma dW, \quad dX = \mu X dt + \sigma X dW, \quad dX = \theta(\mu - X)dt + \sigma\sqrt X dW,
          \quad dX = -V'(X)dt + \sigma dW, \quad dX = -\tfrac{d-1}2\sigma^2 X dt + \sigma(I - XX^\top)dW

Each is an `SDE` like any other. Its parameters are numbers or symbols; where all are numbers, and the time and the start too, what
is exact comes as numbers, else as SymPy expressions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy
import sympy
from numpy.typing import ArrayLike, NDArray

from .sde import SDE
from .sphere import laplace_beltrami_eigenvalue
from .symbolic.notation import symbol
from .validation import finite_array, integer, number

__all__ = ["CIR", "DoubleWell", "GeometricBrownianMotion", "OrnsteinUhlenbeck", "SphereBrownianMotion"]

_START, _TIME = sympy.Dummy("x_0", real=True), sympy.Dummy("t", nonnegative=True)


def _parameter(name: str, value: Any, **bounds: Any) -> sympy.Expr:
    if isinstance(value, sympy.Expr) and not value.is_number:
        return value
    number(name, float(value) if isinstance(value, sympy.Expr) else value, **bounds)
    return sympy.sympify(value)


def _at(formula: sympy.Expr, x0: Any, t: Any) -> Any:
    """The formula in `_START` and `_TIME` at a start and a time: an array of numbers, or an expression where there are symbols."""
    if any(isinstance(v, sympy.Basic) for v in (x0, t)) or formula.free_symbols - {_START, _TIME}:
        return formula.subs({_START: x0, _TIME: t}, simultaneous=True)
    start, time = np.asarray(x0, dtype=np.float64), np.asarray(t, dtype=np.float64)
    if (time < 0).any():
        raise ValueError(f"t: expected times >= 0, got {time.min():g}; the process starts at time 0")
    found = sympy.lambdify([_START, _TIME], formula, "numpy")(start, time)
    return np.broadcast_to(found, np.broadcast_shapes(start.shape, time.shape))[()]


class _KnownMoments(SDE):
    """A process on the line whose mean and variance are known."""

    _mean: sympy.Expr
    _variance: sympy.Expr

    def exact_mean(self, x0: Any, t: Any) -> Any:
        """E X_t from the start x0, of the shape that x0 and t have together, or an expression."""
        return _at(self._mean, x0, t)

    def exact_variance(self, x0: Any, t: Any) -> Any:
        """Var X_t from the start x0, of the shape that x0 and t have together, or an expression."""
        return _at(self._variance, x0, t)

    def _numbers(self, what: str, *values: sympy.Expr) -> list[float]:
        if any(value.free_symbols for value in values):
            raise ValueError(f"{what}: expected parameters that are numbers, got {', '.join(map(str, values))}; put them in when the "
                             "process is made")
        return [float(value) for value in values]


class OrnsteinUhlenbeck(_KnownMoments):
    """dX = θ(μ − X)dt + σ dW.

    Parameters
    ----------
    rate : float or expression
        θ > 0.
    mean : float or expression
        μ.
    noise : float or expression
        σ ≥ 0.
    state : symbol, optional
        The name of X; x unless told.

    Examples
    --------
    >>> process = OrnsteinUhlenbeck(rate=2, noise=0.5)
    >>> process.exact_variance(1.0, [0.0, np.inf])
    array([0.    , 0.0625])
    >>> process.exact_law(1.0, 0.5).mean().round(6)
    np.float64(0.367879)
    """

    def __init__(self, rate: Any = 1, mean: Any = 0, noise: Any = 1, *, state: sympy.Symbol | None = None) -> None:
        x = symbol("x") if state is None else state
        theta, mu, sigma = _parameter("rate", rate, above=0), _parameter("mean", mean), _parameter("noise", noise, at_least=0)
        super().__init__([x], drift=[theta * (mu - x)], diffusion=[[sigma]])
        self.rate, self.mean, self.noise = theta, mu, sigma
        self._mean = mu + (_START - mu) * sympy.exp(-theta * _TIME)
        self._variance = sigma**2 * (1 - sympy.exp(-2 * theta * _TIME)) / (2 * theta)

    def exact_law(self, x0: float, t: float) -> Any:
        """The normal law of X_t, a frozen distribution of scipy.stats; t > 0."""
        self._numbers("exact_law", self.rate, self.mean, self.noise)
        return scipy.stats.norm(self.exact_mean(x0, t), np.sqrt(self.exact_variance(x0, number("t", t, above=0))))

    def stationary_law(self) -> Any:
        """N(μ, σ²/(2θ)), a frozen distribution of scipy.stats."""
        rate, mean, noise = self._numbers("stationary_law", self.rate, self.mean, self.noise)
        return scipy.stats.norm(mean, noise / np.sqrt(2 * rate))


class GeometricBrownianMotion(_KnownMoments):
    """dX = μX dt + σX dW.

    Parameters
    ----------
    growth : float or expression
        μ.
    noise : float or expression
        σ ≥ 0.
    state : symbol, optional
        The name of X; x unless told.

    Examples
    --------
    >>> float(GeometricBrownianMotion(growth=0.5, noise=0.5).exact_mean(1.0, 2.0).round(6))
    2.718282
    """

    def __init__(self, growth: Any = 0, noise: Any = 1, *, state: sympy.Symbol | None = None) -> None:
        x = symbol("x") if state is None else state
        mu, sigma = _parameter("growth", growth), _parameter("noise", noise, at_least=0)
        super().__init__([x], drift=[mu * x], diffusion=[[sigma * x]])
        self.growth, self.noise = mu, sigma
        self._mean = _START * sympy.exp(mu * _TIME)
        self._variance = _START**2 * sympy.exp(2 * mu * _TIME) * (sympy.exp(sigma**2 * _TIME) - 1)

    def exact_law(self, x0: float, t: float) -> Any:
        """The log-normal law of X_t, a frozen distribution of scipy.stats; x0 > 0 and t > 0."""
        growth, noise = self._numbers("exact_law", self.growth, self.noise)
        start, time = number("x0", x0, above=0), number("t", t, above=0)
        return scipy.stats.lognorm(noise * np.sqrt(time), scale=start * np.exp((growth - noise**2 / 2) * time))


class CIR(_KnownMoments):
    """dX = θ(μ − X)dt + σ√X dW, Cox, Ingersoll and Ross: X ≥ 0, and X > 0 for 2θμ ≥ σ².

    Parameters
    ----------
    rate, mean, noise : float or expression
        θ > 0, μ > 0 and σ > 0.
    truncated : bool
        With max(X, 0) in place of X in the coefficients: the same process, whose steps may fall below 0 and come back. Without it
        such a step has no square root, and its path is marked as diverged.
    state : symbol, optional
        The name of X; x unless told.

    Examples
    --------
    >>> process = CIR(rate=1, mean=2, noise=0.5)
    >>> process.stationary_law().mean(), process.stationary_law().var()
    (np.float64(2.0), np.float64(0.25))
    """

    def __init__(self, rate: Any = 1, mean: Any = 1, noise: Any = 1, *, truncated: bool = False,
                 state: sympy.Symbol | None = None) -> None:
        x = symbol("x") if state is None else state
        theta, mu, sigma = (_parameter(name, value, above=0) for name, value in (("rate", rate), ("mean", mean), ("noise", noise)))
        held = sympy.Max(x, 0) if truncated else x
        super().__init__([x], drift=[theta * (mu - held)], diffusion=[[sigma * sympy.sqrt(held)]])
        self.rate, self.mean, self.noise = theta, mu, sigma
        decay = sympy.exp(-theta * _TIME)
        self._mean = mu + (_START - mu) * decay
        self._variance = sigma**2 / theta * (1 - decay) * (_START * decay + mu * (1 - decay) / 2)

    def exact_law(self, x0: float, t: float) -> Any:
        """The law of X_t, c times a noncentral χ², a frozen distribution of scipy.stats; x0 ≥ 0 and t > 0."""
        rate, mean, noise = self._numbers("exact_law", self.rate, self.mean, self.noise)
        start, time = number("x0", x0, at_least=0), number("t", t, above=0)
        scale = -noise**2 * np.expm1(-rate * time) / (4 * rate)
        return scipy.stats.ncx2(4 * rate * mean / noise**2, start * np.exp(-rate * time) / scale, scale=scale)

    def stationary_law(self) -> Any:
        """The Γ law of shape 2θμ/σ² and scale σ²/(2θ), a frozen distribution of scipy.stats."""
        rate, mean, noise = self._numbers("stationary_law", self.rate, self.mean, self.noise)
        return scipy.stats.gamma(2 * rate * mean / noise**2, scale=noise**2 / (2 * rate))


class DoubleWell(SDE):
    """dX = −V'(X)dt + σ dW with V = D(x² − 1)²: wells at ±1, a top of height D at 0.

    Parameters
    ----------
    depth : float or expression
        D > 0.
    noise : float or expression
        σ > 0.
    state : symbol, optional
        The name of X; x unless told.

    Examples
    --------
    >>> process = DoubleWell(depth=1, noise=1)
    >>> bool(process.is_stationary(process.stationary_density()).residual == 0)
    True
    """

    def __init__(self, depth: Any = 1, noise: Any = 1, *, state: sympy.Symbol | None = None) -> None:
        x = symbol("x") if state is None else state
        D, sigma = _parameter("depth", depth, above=0), _parameter("noise", noise, above=0)
        self.potential = D * (x**2 - 1) ** 2
        super().__init__([x], drift=[-self.potential.diff(x)], diffusion=[[sigma]])
        self.depth, self.noise = D, sigma

    def stationary_density(self) -> sympy.Expr:
        """exp(−2V/σ²), up to its integral."""
        return sympy.exp(-2 * self.potential / self.noise**2)

    def stationary_moment(self, power: int) -> float:
        """E X^power at rest, by quadrature."""
        x = self.states[0]
        if self.parameters:
            raise ValueError(f"stationary_moment: expected parameters that are numbers, got {', '.join(map(str, self.parameters))}; "
                             "put them in when the process is made")
        exponent, n = integer("power", power, at_least=0), sympy.lambdify([x], self.stationary_density(), "numpy")
        width = 1.0 + float(sympy.sqrt(20 * self.noise**2 / self.depth) ** sympy.Rational(1, 2))
        grid = {"limit": 200, "points": [-1.0, 0.0, 1.0]}
        whole = scipy.integrate.quad(n, -1.0 - width, 1.0 + width, **grid)[0]
        return float(scipy.integrate.quad(lambda v: v**exponent * n(v), -1.0 - width, 1.0 + width, **grid)[0] / whole)


class SphereBrownianMotion(SDE):
    """Brownian motion on S^{d−1}, of generator σ²Δ/2, as an SDE in R^d; use a scheme that keeps to the sphere.

    Parameters
    ----------
    dim : int
        d ≥ 2.
    noise : float or expression
        σ ≥ 0.
    states : d symbols, optional
        Their names; x_0 … x_{d−1} unless told.

    Examples
    --------
    >>> process = SphereBrownianMotion(3)
    >>> process.exact_mean([0.0, 0.0, 1.0], np.log(2.0)).round(12)
    array([0. , 0. , 0.5])
    """

    def __init__(self, dim: int, noise: Any = 1, *, states: Sequence[sympy.Symbol] | None = None) -> None:
        d = integer("dim", dim, at_least=2, at_most=1000, remedy="the SDE is d² expressions")
        sigma = _parameter("noise", noise, at_least=0)
        x = sympy.Matrix([symbol(f"x_{i}") for i in range(d)] if states is None else list(states))
        if len(x) != d:
            raise ValueError(f"states: expected {d} symbols, one a dimension, got {len(x)}")
        super().__init__(list(x), drift=list(-sigma**2 * sympy.Rational(d - 1, 2) * x),
                         diffusion=(sigma * (sympy.eye(d) - x * x.T)).tolist())
        self.noise = sigma

    def exact_mean(self, x0: ArrayLike, t: ArrayLike) -> NDArray[np.float64]:
        """E X_t = e^{−σ²(d−1)t/2} x0, shape t.shape + (d,): the harmonics of degree 1 decay so."""
        return self._decay(1, t)[..., None] * self._start(x0)

    def exact_covariance(self, x0: ArrayLike, t: ArrayLike) -> NDArray[np.float64]:
        """Cov X_t, shape t.shape + (d, d): E XXᵀ = I/d + e^{−σ²dt}(x0 x0ᵀ − I/d), the harmonics of degree 2."""
        start, mean = self._start(x0), self.exact_mean(x0, t)
        even = np.eye(self.dim) / self.dim
        second = even + self._decay(2, t)[..., None, None] * (np.outer(start, start) - even)
        return second - mean[..., :, None] * mean[..., None, :]

    def exact_variance(self, x0: ArrayLike, t: ArrayLike) -> NDArray[np.float64]:
        """Var of each component of X_t, shape t.shape + (d,)."""
        return np.diagonal(self.exact_covariance(x0, t), axis1=-2, axis2=-1)

    def _decay(self, degree: int, t: ArrayLike) -> NDArray[np.float64]:
        """e^{−σ²ℓ(ℓ+d−2)t/2}."""
        if self.noise.free_symbols:
            raise ValueError(f"noise: expected a number, got {self.noise}; put it in when the process is made")
        return np.exp(-float(self.noise) ** 2 * laplace_beltrami_eigenvalue(degree, self.dim) * np.asarray(t, dtype=np.float64) / 2)

    def _start(self, x0: ArrayLike) -> NDArray[np.float64]:
        start = finite_array("x0", x0, shape=(self.dim,))
        if abs(np.linalg.norm(start) - 1.0) > 1e-9:
            raise ValueError(f"x0: expected a point of the unit sphere, got one of norm {np.linalg.norm(start):g}; use "
                             "sphere.normalise(x0)")
        return start
