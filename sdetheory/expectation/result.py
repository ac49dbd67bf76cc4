r"""What an expectation to a tolerance comes back as: a number and both of its errors.

.. math:: |\hat\mu - E f| \le z_c\,\mathrm{stderr} + \mathrm{bias\_bound} \quad\text{with probability } c
"""

from __future__ import annotations

from dataclasses import dataclass

from ..stats import Estimate

__all__ = ["Expectation", "Level"]


@dataclass(frozen=True)
class Level:
    """One part of the estimator, `value = Σ weight · mean`: paths at one number of steps, or differences of two.

    `n_steps` and `dt` are those of the (finer) path; `coupled` says that `mean` is of f(fine) − f(coarse) with half the
    steps on the same Brownian path; `stderr` is that of `mean`, before the weight; `variance` that of one path.
    """

    n_steps: int
    dt: float
    weight: float
    n_paths: int
    mean: float
    stderr: float
    variance: float
    coupled: bool = False


@dataclass(frozen=True, repr=False)
class Expectation:
    """An expectation with a confidence interval, what it cost, and whether it is as exact as was asked.

    Attributes
    ----------
    value, stderr : float
        The estimate and its standard error, from paths that had no part in the choice of their number.
    bias_bound : float
        Bound on the discretisation error, measured from differences between step sizes; 0 for an update rule.
    interval : (low, high)
        value ± margin; it covers the expectation with probability `confidence`.
    confidence, tolerance : float
        As asked for; the tolerance is max(atol, rtol |value|).
    converged, message : bool, str
        Whether margin ≤ tolerance, and if not, why and what to do.
    method, scheme : str
        How it was made. `control` is the factor by which a martingale control lowered the variance (1: none was used).
    levels : tuple of Level
        The parts of the estimator.
    path_steps, seconds : int, float
        The whole cost, pilot runs included.
    entropy : str
        The seed.
    """

    value: float
    stderr: float
    bias_bound: float
    interval: tuple[float, float]
    confidence: float
    tolerance: float
    converged: bool
    message: str
    method: str
    scheme: str
    levels: tuple[Level, ...]
    path_steps: int
    seconds: float
    entropy: str
    control: float = 1.0

    @property
    def margin(self) -> float:
        """Half the width of the interval."""
        return 0.5 * (self.interval[1] - self.interval[0])

    @property
    def cost(self) -> tuple[int, float]:
        """(path-steps, seconds)."""
        return self.path_steps, self.seconds

    def as_estimate(self) -> Estimate:
        """The same as evidence for a claim."""
        paths = min((level.n_paths for level in self.levels), default=0)
        return Estimate(self.value, self.stderr, self.bias_bound, paths if paths > 1 else None)

    def __repr__(self) -> str:
        state = "" if self.converged else f"; not converged: {self.message}"
        return (f"<{self.value:.8g} ± {self.margin:.2g} at {100 * self.confidence:g} %: stderr {self.stderr:.2g}, "
                f"bias <= {self.bias_bound:.2g}; {self.method}, {self.scheme}, {self.path_steps:.2g} path-steps, "
                f"{self.seconds:.2g} s{state}>")

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{x.n_steps}{' − ' + str(x.n_steps // 2) if x.coupled else ''}</td><td>{x.dt:.4g}</td>"
                       f"<td>{x.weight:.4g}</td><td>{x.n_paths}</td><td>{x.mean:.6g} ± {x.stderr:.2g}</td></tr>"
                       for x in self.levels)
        text = repr(self)[1:-1].replace("<", "&lt;")
        return (f"<p>{text}</p><table><tr><th>steps</th><th>dt</th><th>weight</th><th>paths</th><th>mean</th></tr>"
                f"{rows}</table>")
