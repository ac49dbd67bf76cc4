r"""Convergence orders from errors at four or more step sizes, with an interval and a test for the asymptotic range.

    log e(h) = log C + p log h,    p_hat = a·y,    var p_hat = a' S a

with y = log e, S their covariance and a the weights of the least-squares slope. Errors on nested Brownian paths are
strongly dependent across step sizes; S carries that, so the interval is right while the weights only decide its width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from ..validation import finite_array, integer, number
from .estimates import Estimate, critical_value

__all__ = ["OrderFit", "fit_order", "order_from_samples"]


@dataclass(frozen=True, repr=False)
class OrderFit:
    """A measured convergence order.

    `drift` is the change of the local slope from the coarsest to the finest step. `asymptotic` is False where it is
    both significant and larger than `tolerated_drift`: the slope then depends on the range, and is no order.
    """

    order: float
    stderr: float
    constant: float
    chi_square: float
    dof: int
    p_value: float
    drift: float
    drift_stderr: float
    asymptotic: bool
    n: int | None = None

    def interval(self, alpha: float = 1e-3) -> tuple[float, float]:
        """Return the interval of the order that misses with probability alpha."""
        margin = float(critical_value(alpha, self.n)) * self.stderr
        return self.order - margin, self.order + margin

    def as_estimate(self) -> Estimate:
        """Return the order as evidence: the drift over the range bounds its distance from the asymptotic order."""
        return Estimate(self.order, self.stderr, abs(self.drift), self.n, self.drift_stderr)

    def __repr__(self) -> str:
        drift = f"; not yet asymptotic: the slope drifts by {self.drift:.2g} ± {self.drift_stderr:.1g}"
        note = "" if self.asymptotic else drift
        return (f"<order {self.order:.3f} ± {self.stderr:.2g}, chi2 = {self.chi_square:.3g} on {self.dof} "
                f"(p = {self.p_value:.2g}){note}>")


def fit_order(steps: ArrayLike, errors: ArrayLike, stderr: ArrayLike | None = None, *,
              covariance: ArrayLike | None = None, n: int | None = None, alpha: float = 1e-3,
              tolerated_drift: float = 0.05) -> OrderFit:
    """Return the slope of log error against log step.

    Parameters
    ----------
    steps, errors : array, shape (k,)
        At least four distinct step sizes and the errors there, all > 0.
    stderr : array, shape (k,), optional
        Standard errors of independent errors; with neither this nor `covariance`, the errors are exact and the
        scatter about the line stands for theirs.
    covariance : array, shape (k, k), optional
        The covariance of the errors, where they share their paths.
    n : int, optional
        Independent paths behind the standard errors.
    alpha : float
        The false-alarm probability of the test for curvature.
    tolerated_drift : float
        A drift of the local slope that is never called non-asymptotic.

    Raises
    ------
    ValueError
        For fewer than four steps, or an error that is not at least 3 standard errors above 0 (its logarithm says
        nothing).

    >>> h = np.array([0.1, 0.05, 0.025, 0.0125])
    >>> fit_order(h, 3 * h**1.5, 0.01 * 3 * h**1.5)  # doctest: +ELLIPSIS
    <order 1.500 ± 0.0065, chi2 = ... on 2 (p = 1)>
    """
    if n is not None:
        n = integer("n", n, at_least=2)
    tolerated_drift = number("tolerated_drift", tolerated_drift, at_least=0)
    if stderr is not None and covariance is not None:
        raise TypeError("stderr, covariance: expected one of them, got both; the covariance has the standard errors on its diagonal")
    h, e = finite_array("steps", steps, ndim=1), finite_array("errors", errors, ndim=1)
    if h.size != e.size or np.unique(h).size < 4 or (h <= 0).any() or (e <= 0).any():
        raise ValueError(f"steps, errors: expected at least 4 distinct steps > 0 with an error > 0 each, got {h!r}, "
                         f"{e!r}")
    exact = stderr is None and covariance is None
    if covariance is not None:
        cov = finite_array("covariance", covariance, shape=(h.size, h.size))
    else:  # equal relative errors stand for exact ones
        cov = np.diag((e if stderr is None else finite_array("stderr", stderr, shape=(h.size,))) ** 2)
    if (np.diag(cov) < 0).any() or (stderr is not None and (np.asarray(stderr) < 0).any()):
        raise ValueError("stderr, covariance: expected standard errors >= 0, and variances >= 0 on the diagonal, got negative ones")
    sigma = np.sqrt(np.diag(cov))
    if not exact and (e < 3 * sigma).any():
        i = int(np.argmax(sigma / e))
        raise ValueError(f"errors: expected each at least 3 standard errors above 0, "
                         f"got {e[i]:.3g} ± {sigma[i]:.2g} at step "
                         f"{h[i]:.3g}; use more paths, or leave that step out")
    y, x = np.log(e), np.log(h) - np.log(h).mean()
    cov_y = cov / np.outer(e, e)
    root = 1 / np.sqrt(np.diag(cov_y)) if (sigma > 0).all() else np.ones(h.size)
    line = np.stack([np.ones_like(x), x], axis=1)
    weights = np.linalg.pinv(root[:, None] * line) * root  # rows: the linear functionals that give intercept and slope
    residual = y - line @ (weights @ y)
    dof = h.size - 2
    parabola = np.concatenate([line, (x**2)[:, None]], axis=1)
    bend = (np.linalg.pinv(root[:, None] * parabola) * root)[2] * 2 * (x.min() - x.max())
    if exact:  # cov_y is the identity up to the scatter about the line, or about the parabola
        scatter = residual @ residual / dof
        bent = y - parabola @ (np.linalg.pinv(parabola) @ y)
        drift_scatter = bent @ bent / (dof - 1)
        chi2, p_value = float(dof), 1.0
        stderrs = np.sqrt(scatter * weights[1] @ weights[1]), np.sqrt(drift_scatter * bend @ bend)
        critical = float(critical_value(alpha, dof))  # Student's t with dof - 1 degrees of freedom
        n = dof + 1
    else:
        project = np.eye(h.size) - line @ weights
        chi2 = float(residual @ np.linalg.pinv(project @ cov_y @ project.T, rcond=1e-10, hermitian=True) @ residual)
        p_value = float(scipy.special.chdtrc(dof, chi2))
        stderrs = np.sqrt(weights[1] @ cov_y @ weights[1]), np.sqrt(bend @ cov_y @ bend)
        critical = float(critical_value(alpha, n))
    drift = float(bend @ y)
    asymptotic = not (abs(drift) > tolerated_drift and abs(drift) > critical * stderrs[1])
    constant = float(np.exp(weights[0] @ y - weights[1] @ y * np.log(h).mean()))
    return OrderFit(float(weights[1] @ y), float(stderrs[0]), constant, chi2, dof, p_value, drift, float(stderrs[1]),
                    asymptotic, n)


def order_from_samples(steps: ArrayLike, errors: ArrayLike, *, moment: float = 1.0, alpha: float = 1e-3,
                       tolerated_drift: float = 0.05) -> OrderFit:
    """Return the order of (E|error|^moment)^{1/moment} from errors on nested paths.

    Parameters
    ----------
    steps : array, shape (k,)
    errors : array, shape (paths, k)
        The error of each path at each step; columns share their Brownian paths.
    moment : float
        1 or 2 for strong orders. For a weak order pass the means and covariance to `fit_order`.

    >>> rng = np.random.default_rng(0)
    >>> h = 2.0 ** -np.arange(3, 8)
    >>> order_from_samples(h, rng.normal(size=(2000, 1)) * h**0.5 * (1 + 0.1 * rng.normal(size=(2000, 5))), moment=2)
    <order 0.501 ± 0.0018, chi2 = 0.051 on 3 (p = 1)>
    """
    moment = number("moment", moment, above=0)
    x: NDArray[np.float64] = np.abs(finite_array("errors", errors, ndim=2)) ** moment
    if x.shape[0] < 10 * x.shape[1]:
        raise ValueError(f"errors: expected at least {10 * x.shape[1]} paths for the covariance of {x.shape[1]} steps, "
                         f"got {x.shape[0]}; run more paths")
    mean = x.mean(axis=0)
    error = mean ** (1 / moment)
    slope = error / (moment * mean)  # derivative of mean^{1/moment}
    cov = np.cov(x, rowvar=False) / x.shape[0] * np.outer(slope, slope)
    return fit_order(steps, error, covariance=cov, n=x.shape[0], alpha=alpha, tolerated_drift=tolerated_drift)
