r"""One or two step sizes of a scheme of weak order p, with the bias measured from differences between step sizes.

With :math:`m_n = E f(Y^{(n)})` at n steps and the error expansion :math:`m_n = E f + c_p n^{-p} + c_{p+1} n^{-p-1} + \dots`
(Talay & Tubaro 1990):

.. math:: R_n = m_n, \quad q = p \qquad\text{or}\qquad R_n = \frac{2^p m_n - m_{n/2}}{2^p - 1}, \quad q = p + 1

.. math:: |R_n - E f| \le \frac{S}{2^q - 1}\Big(\frac{k}{n}\Big)^q\max\big(|R_k - R_{k/2}|,\; 2^{-q}|R_{k/2} - R_{k/4}|\big)

with S = 2, k a step number of the pilot run and each difference enlarged by two of its standard errors. Where the last
difference is significantly larger than order q allows, the step is not yet in the asymptotic range and q = 1 stands in.
The pilot decides steps and sample sizes; the answer is made of fresh paths.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .goal import Goal, Outcome, Watch, part, refuse_not_finite
from .sampling import PER_PATH, Moments, Sampler, Work

__all__ = ["extrapolated_mean"]

SAFETY, Z_BIAS = 2.0, 2.0
COARSEST, LEVELS, PATHS = 2, 4, 4096  # of the first pilot run
PROBE = 256  # paths that find out whether f is finite at a step size
FEWEST = 1024  # paths behind any standard error that is reported
SPARE = 1.1  # more paths than the pilot's variances ask for: they are estimates
SHARE = 0.6  # of the tolerance that the bias may take
AHEAD = 2  # levels beyond the pilot's last to which the measured bias is carried
ROUNDS = 4
NEAR_ZERO = 1e8  # path-steps after which a value that is still not distinguished from 0 is given up for rtol


@dataclass(frozen=True)
class _Design:
    """Weights of levels (of the pilot, or beyond), the bias bound there, and the paths a level takes."""

    levels: tuple[int, ...]
    weights: tuple[float, ...]
    bias: float
    paths: tuple[int, ...]
    cost: float
    margin: float


@dataclass
class _Pilot:
    """Moments at coarsest · 2^j steps."""

    sampler: Sampler
    order: int
    seeds: np.random.SeedSequence
    work: Work
    max_steps: int
    coarsest: int = COARSEST
    paths: int = PATHS
    moments: list[Moments] = field(default_factory=list)
    excess: float = 1.0

    def __post_init__(self) -> None:
        self.watch = Watch(self.max_steps)

    def steps(self, level: int) -> int:
        return self.coarsest * 2**level

    def sample(self, level: int, paths: int) -> Moments:
        return self.sampler.moments(self.steps(level), paths, self.seeds.spawn(1)[0], self.work)

    def complete(self, levels: int, paths: int) -> None:
        """Bring every level to its share of `paths` and add levels; where f is not finite, start at finer steps."""
        self.paths, level = paths, 0
        while level < levels:
            if level == len(self.moments):
                self.moments.append(Moments(0, 0.0, 0.0))
            wanted = max(FEWEST, self.paths >> level)
            missing = wanted - self.moments[level].n
            if missing > 0:
                self.moments[level] = self.moments[level].merged(self.sample(level, missing))
            if self.moments[level].bad:
                self.refine(level)
                level = -1
            level += 1

    def refine(self, level: int) -> None:
        """Forget this level and the coarser ones."""
        self.watch.check(self.moments[level], self.steps(level))
        self.coarsest = self.steps(level + 1)
        del self.moments[:level + 1]
        while not self.moments and (probe := self.sample(0, PROBE)).bad:
            self.watch.check(probe, self.coarsest)
            self.coarsest *= 2

    @property
    def cost(self) -> float:
        return float(sum(m.n * (self.steps(j) + PER_PATH) for j, m in enumerate(self.moments)))

    def variance(self, level: int) -> float:
        """Of one path; beyond the pilot's levels that of its last two. A round that met more scatter says how much more."""
        last = self.moments[-2:] if level >= len(self.moments) - 1 else self.moments[level:level + 1]
        return self.excess * sum(m.n * m.var for m in last) / max(1, sum(m.n for m in last))

    @property
    def settled(self) -> bool:
        """Whether the variance is about the same at the last two levels; where a scheme is barely stable it is not."""
        before, last = self.moments[-2].var, self.moments[-1].var
        return 0.5 * before <= last <= 2.0 * before

    def rows(self, extrapolate: bool) -> NDArray[np.float64]:
        """R_n as weights of the m_n, one row a level from the first that has one."""
        unit = np.eye(len(self.moments))
        factor = 2.0**self.order
        return (factor * unit[1:] - unit[:-1]) / (factor - 1.0) if extrapolate else unit

    def bias(self, extrapolate: bool, noise: float) -> dict[int, float]:
        """The bound at each level; `noise` standard errors are added to every difference."""
        q, last = self.order + extrapolate, len(self.moments) - 1
        means = np.array([m.mean for m in self.moments])
        variances = np.array([m.variance_of_mean for m in self.moments])
        rows = self.rows(extrapolate)
        gaps = rows[1:] - rows[:-1]
        gap, error = np.abs(gaps @ means), np.sqrt(gaps**2 @ variances)
        size = gap + noise * error
        if len(size) < 2:
            return {}
        if gap[-1] - Z_BIAS * error[-1] > SAFETY * (gap[-2] + Z_BIAS * error[-2]) / 2**q:
            return {last: SAFETY * float(size[-1])}
        found: dict[int, float] = {}
        for back in range(2):  # measured at the last level, or, with less noise, at the one before
            before = size[-2 - back] / 2**q if len(size) > 1 + back else 0.0
            known = SAFETY * max(float(size[-1 - back]), before) / (2**q - 1)
            for level in range(last - back, last + AHEAD + 1):
                if self.steps(level) <= self.max_steps:
                    found[level] = min(found.get(level, math.inf), known * 2.0 ** (-q * (level - last + back)))
        return found

    def designs(self, kinds: tuple[bool, ...], tolerance: float, z: float, noise: float = Z_BIAS,
                budget: float | None = None) -> Iterator[_Design]:
        """Every estimator that meets the tolerance; with a `budget`, every one at that cost."""
        factor = 2.0**self.order
        for extrapolate in kinds:
            for level, bias in self.bias(extrapolate, noise).items():
                levels = (level - 1, level) if extrapolate else (level,)
                weights = (-1 / (factor - 1), factor / (factor - 1)) if extrapolate else (1.0,)
                steps = np.array([self.steps(j) + PER_PATH for j in levels])
                spread = np.abs(weights) * np.sqrt([self.variance(j) for j in levels])
                one = float(np.sum(spread * np.sqrt(steps))) * spread / np.sqrt(steps)  # paths for a variance of 1
                if budget is None:
                    if bias > SHARE * tolerance or tolerance <= 0:
                        continue
                    paths = SPARE * one * (z / (tolerance - bias)) ** 2
                else:
                    paths = one * budget / max(float(one @ steps), 1e-300)
                counts = np.maximum(FEWEST, np.ceil(paths)).astype(np.int64)
                margin = z * math.sqrt(float(np.sum(spread**2 / counts))) + bias
                yield _Design(levels, weights, bias, tuple(int(n) for n in counts), float(counts @ steps), margin)

    def value(self) -> tuple[float, float]:
        """A rough value and its standard error."""
        row = self.rows(True)[-1]
        return (float(sum(w * m.mean for w, m in zip(row, self.moments, strict=True))),
                math.sqrt(sum(w**2 * m.variance_of_mean for w, m in zip(row, self.moments, strict=True))))

    def tolerance(self, goal: Goal) -> float:
        """The tolerance that is sure to be enough."""
        value, stderr = self.value()
        return goal.tolerance(max(0.0, abs(value) - Z_BIAS * stderr))


def extrapolated_mean(sampler: Sampler, order: int, kinds: tuple[bool, ...], goal: Goal, seeds: np.random.SeedSequence,
                      work: Work) -> Outcome:
    """The mean by the cheapest of the `kinds` (one step size: False; two, extrapolated: True) that meets the goal."""
    pilot = _Pilot(sampler, order, seeds, work, goal.max_steps)
    pilot.complete(LEVELS, PATHS)
    outcome = None
    for _ in range(ROUNDS):
        design, message = _decide(pilot, kinds, goal)
        outcome = _measure(pilot, design, message, goal)
        if outcome is None:
            continue
        enough = goal.z * outcome.stderr + outcome.bias_bound <= goal.tolerance(outcome.value)
        if enough or message or work.path_steps > goal.max_path_steps / 2:
            break
    if outcome is None:
        raise refuse_not_finite(pilot.moments[0], pilot.steps(0))
    return outcome


def _decide(pilot: _Pilot, kinds: tuple[bool, ...], goal: Goal) -> tuple[_Design, str]:
    """Enlarge the pilot run until it is worth no more; then the cheapest design, or the best within the limits and why."""
    while True:
        tolerance = pilot.tolerance(goal)
        left = goal.max_path_steps - pilot.work.path_steps
        best = min(pilot.designs(kinds, tolerance, goal.z), key=lambda d: d.cost, default=None)
        sure = min(pilot.designs(kinds, tolerance, goal.z, noise=0.0), key=lambda d: d.cost, default=None)
        if best is not None and best.cost <= left and (best.cost < 4 * pilot.cost or (
                sure is not None and sure.cost > 0.8 * best.cost)):
            return best, ""
        if (best is not None and best.cost > 4 * left) or (tolerance <= 0 and pilot.cost > NEAR_ZERO):
            break
        finer = pilot.steps(len(pilot.moments)) <= pilot.max_steps
        wanting = (best is None and sure is None and tolerance > 0) or not pilot.settled
        levels = len(pilot.moments) + (1 if wanting and finer else 0)
        paths = pilot.paths if levels > len(pilot.moments) else 4 * pilot.paths
        if pilot.cost * (2 if levels > len(pilot.moments) else 3) > left:
            break
        pilot.complete(levels, paths)
    left = pilot.cost if tolerance <= 0 else max(left, pilot.cost)
    best = min(pilot.designs(kinds, tolerance, goal.z, budget=left), key=lambda d: d.margin, default=None)
    if best is None:
        best = _Design((len(pilot.moments) - 1,), (1.0,), math.inf, (FEWEST,), 0.0, math.inf)
    return best, _why(pilot, best, tolerance, goal)


def _why(pilot: _Pilot, design: _Design, tolerance: float, goal: Goal) -> str:
    if tolerance <= 0:
        return "the value is not distinguished from 0, so that rtol asks for no error at all; give atol"
    if design.bias > SHARE * tolerance:
        return (f"the bias at {pilot.steps(design.levels[-1])} steps is bounded by {design.bias:.2g} only, the tolerance is "
                f"{tolerance:.2g}; allow more steps (max_steps = {goal.max_steps}) or path-steps (max_path_steps = "
                f"{goal.max_path_steps:.1g}), or use method='multilevel'")
    needed = design.cost * ((design.margin - design.bias) / (tolerance - design.bias)) ** 2
    return (f"the tolerance {tolerance:.2g} takes about {needed:.1g} path-steps, max_path_steps = {goal.max_path_steps:.1g} "
            "allows no more; raise it, or the tolerance")


def _measure(pilot: _Pilot, design: _Design, message: str, goal: Goal) -> Outcome | None:
    """The design on fresh paths; None where the functional was not finite, and the pilot moved to finer steps."""
    found = [pilot.sample(level, paths) for level, paths in zip(design.levels, design.paths, strict=True)]
    for level, moments in zip(design.levels, found, strict=True):
        if moments.bad:
            if level >= len(pilot.moments):
                raise refuse_not_finite(moments, pilot.steps(level))
            pilot.moments[level] = moments
            pilot.refine(level)
            pilot.complete(LEVELS, pilot.paths)
            return None
    value = sum(w * m.mean for w, m in zip(design.weights, found, strict=True))
    stderr = math.sqrt(sum(w**2 * m.variance_of_mean for w, m in zip(design.weights, found, strict=True)))
    parts = tuple(part(pilot.steps(j), pilot.sampler.dt(pilot.steps(j)), w, m)
                  for j, w, m in zip(design.levels, design.weights, found, strict=True))
    planned = sum(w**2 * pilot.variance(j) / m.n for j, w, m in zip(design.levels, design.weights, found, strict=True))
    pilot.excess *= max(1.0, stderr**2 / planned) if planned > 0 else 1.0  # for a next round, whose paths are fresh
    return Outcome(float(value), stderr, design.bias, parts, message, "richardson" if len(parts) == 2 else "weak2")
