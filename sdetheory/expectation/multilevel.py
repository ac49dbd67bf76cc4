r"""Multilevel Monte Carlo over step sizes (Giles 2008).

.. math:: E f(Y^{(n_L)}) = E f(Y^{(n_0)}) + \sum_{l=1}^L E\big[f(Y^{(n_l)}) - f(Y^{(n_{l-1})})\big], \qquad n_l = 2^l n_0

Each difference is on one Brownian path, so its variance V_l falls as :math:`h^{2\gamma}` with the strong order γ, and the paths
:math:`N_l \propto \sqrt{V_l/C_l}` of the cheapest sum are few where steps are many. With weak order α what is left beyond L is

.. math:: |E f - E f(Y^{(n_L)})| \le \frac{S}{2^\alpha - 1}\max\big(|\bar\Delta_L|,\; 2^{-\alpha}|\bar\Delta_{L-1}|\big),
          \qquad S = 2

with each mean difference enlarged by two of its standard errors. Variances, levels and sample sizes come from a pilot run; the
answer is made of fresh paths.

An explicit scheme may explode at large steps although the SDE does not, and stay finite on the way (1e80 is finite). Such
levels betray themselves: the variance of the differences does not fall from level to level, or the fresh paths have another
variance than the pilot run. The ladder then begins at finer steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from .goal import Goal, Outcome, Watch, part, refuse_not_finite
from .sampling import PER_PATH, Moments, Sampler, Work

__all__ = ["multilevel_mean"]

SAFETY, Z_BIAS, SPARE, SHARE = 2.0, 2.0, 1.1, 0.25
COARSEST, LEVELS, PATHS, FEWEST, PROBE, ROUNDS = 2, 4, 4096, 512, 256, 8
WILD = 16.0  # times the variance of the pilot run: the fresh paths met what it did not
NEAR_ZERO = 1e8  # path-steps after which a value that is still not distinguished from 0 is given up for rtol


@dataclass
class _Ladder:
    """Level 0 at `coarsest` steps, then differences; `moments` is what is known of each."""

    single: Sampler
    pair: Sampler
    order: float
    seeds: np.random.SeedSequence
    work: Work
    coarsest: int = COARSEST
    moments: list[Moments] = field(default_factory=list)
    watch: Watch = field(default_factory=lambda: Watch(0))

    def steps(self, level: int) -> int:
        return self.coarsest * 2**level

    def cost(self, level: int) -> float:
        """Path-steps of one path of the level."""
        return self.steps(level) * (1.5 if level else 1.0) + PER_PATH

    def sample(self, level: int, paths: int) -> Moments:
        child = self.seeds.spawn(1)[0]
        if level == 0:
            return self.single.moments(self.steps(0), paths, child, self.work)
        return self.pair.moments(self.steps(level - 1), paths, child, self.work)  # its steps are the coarse ones

    def bias(self, moments: list[Moments], noise: float = Z_BIAS) -> float:
        """The bound at the last level."""
        size = [abs(m.mean) + noise * m.stderr for m in moments[1:]]
        largest = max(size[-1], *(s / 2.0 ** (self.order * k) for k, s in enumerate(size[-2:-1], start=1)), 0.0)
        return SAFETY * largest / (2.0**self.order - 1.0)

    def paths(self, variances: list[float], target: float) -> list[int]:
        """The cheapest numbers of paths for a variance `target` of the sum."""
        roots = [math.sqrt(v * self.cost(j)) for j, v in enumerate(variances)]
        return [max(FEWEST, math.ceil(SPARE * math.sqrt(v / self.cost(j)) * sum(roots) / target))
                for j, v in enumerate(variances)]

    def spent(self, paths: list[int]) -> float:
        return sum(n * self.cost(j) for j, n in enumerate(paths))


def multilevel_mean(single: Sampler, pair: Sampler, order: float, goal: Goal, seeds: np.random.SeedSequence,
                    work: Work) -> Outcome:
    """The mean by as many levels as the bias takes."""
    ladder = _Ladder(single, pair, order, seeds, work, watch=Watch(goal.max_steps))
    outcome = None
    for attempt in range(ROUNDS):
        message = _climb(ladder, goal)
        variances = [m.var for m in ladder.moments]
        bias = ladder.bias(ladder.moments)
        tolerance = goal.tolerance(_sum(ladder.moments))
        # with the bias out of reach the statistical error is not made smaller than it: the interval is wide either way
        room = tolerance - bias if bias < SHARE * tolerance else max(tolerance, bias)
        left = max(goal.max_path_steps - work.path_steps, 0.0)
        left = min(left, work.path_steps) if message else left  # out of reach: as much again as the pilot run, for fresh paths
        paths = ladder.paths(variances, (max(room, 1e-300) / goal.z) ** 2)
        if attempt:  # the last differences bound the bias: with fewer paths than decided it the bound would be wider again
            paths[-2:] = [max(n, m.n) for n, m in zip(paths[-2:], ladder.moments[-2:], strict=True)]
        if ladder.spent(paths) > left:
            scale = left / ladder.spent(paths)
            message = message or (
                f"the tolerance {tolerance:.2g} takes about {ladder.spent(paths):.1g} path-steps, max_path_steps = "
                f"{goal.max_path_steps:.1g} allows no more; raise it, or the tolerance")
            paths = [max(FEWEST, int(n * scale)) for n in paths]
        found = [ladder.sample(j, n) for j, n in enumerate(paths)]
        if any(m.bad for m in found):
            _refine(ladder, found, goal)
            continue
        if any(m.var > WILD * known for m, known in zip(found, variances, strict=True)):
            if _begin_finer(ladder, goal):
                continue
            message = message or _UNSTABLE.format(goal.max_steps)
        outcome = _outcome(ladder, found, message)
        if message or goal.z * outcome.stderr + outcome.bias_bound <= goal.tolerance(outcome.value):
            break
        ladder.moments = found  # they decide the next round, whose paths are fresh
    if outcome is None:
        raise refuse_not_finite(found[-1], ladder.steps(len(found) - 1))
    return outcome


def _sum(moments: list[Moments]) -> float:
    return sum(m.mean for m in moments)


def _stderr(moments: list[Moments]) -> float:
    return math.sqrt(sum(m.variance_of_mean for m in moments))


def _outcome(ladder: _Ladder, found: list[Moments], message: str) -> Outcome:
    stderr = math.sqrt(sum(m.variance_of_mean for m in found))
    parts = tuple(part(ladder.steps(j), ladder.single.dt(ladder.steps(j)), 1.0, m, coupled=j > 0) for j, m in enumerate(found))
    return Outcome(_sum(found), stderr, ladder.bias(found), parts, message, "multilevel")


def _climb(ladder: _Ladder, goal: Goal) -> str:
    """Add levels until the bias takes no more than its share; say why where it cannot."""
    paths = PATHS
    while True:
        while len(ladder.moments) < LEVELS:
            _extend(ladder, goal, paths)
        if any(map(_grows, ladder.moments, ladder.moments[1:], range(1, len(ladder.moments)))):
            if _begin_finer(ladder, goal):
                continue
            return _UNSTABLE.format(goal.max_steps)
        tolerance = goal.tolerance(max(0.0, abs(_sum(ladder.moments)) - Z_BIAS * _stderr(ladder.moments)))
        if tolerance <= 0:
            if ladder.work.path_steps > min(NEAR_ZERO, goal.max_path_steps / 4):
                return "the value is not distinguished from 0, so that rtol asks for no error at all; give atol"
            known = ladder.moments[0]
            ladder.moments[0] = known.merged(ladder.sample(0, 3 * known.n))
            if ladder.moments[0].var > WILD * known.var and not _begin_finer(ladder, goal):
                return _UNSTABLE.format(goal.max_steps)
            continue
        if ladder.bias(ladder.moments) <= SHARE * tolerance:
            return ""
        if ladder.work.path_steps > goal.max_path_steps / 4:
            return (f"the bias at {ladder.steps(len(ladder.moments) - 1)} steps is bounded by "
                    f"{ladder.bias(ladder.moments):.2g} only, the tolerance is {tolerance:.2g}, and a quarter of "
                    f"max_path_steps = {goal.max_path_steps:.1g} is spent; raise it, or the tolerance")
        if ladder.bias(ladder.moments, noise=0.0) <= 0.5 * SHARE * tolerance:
            paths *= 4  # the noise of the last differences is what is large
            for level in range(max(1, len(ladder.moments) - 2), len(ladder.moments)):
                known = ladder.moments[level]
                ladder.moments[level] = known.merged(ladder.sample(level, paths - min(paths - FEWEST, known.n)))
        elif ladder.steps(len(ladder.moments)) > goal.max_steps:
            return (f"the bias at {ladder.steps(len(ladder.moments) - 1)} steps is bounded by "
                    f"{ladder.bias(ladder.moments):.2g} only, the tolerance is {tolerance:.2g}; "
                    f"raise max_steps = {goal.max_steps}")
        else:
            _extend(ladder, goal, paths)


def _extend(ladder: _Ladder, goal: Goal, paths: int) -> None:
    """One level more; where f is not finite there, or the coarsest level does not pay, begin at finer steps."""
    level = len(ladder.moments)
    ladder.moments.append(ladder.sample(level, max(FEWEST, int(paths * 2.0 ** (-level / 2)))))
    if ladder.moments[-1].bad:
        _refine(ladder, ladder.moments, goal)
    elif level and _grows(ladder.moments[-2], ladder.moments[-1], level) and _begin_finer(ladder, goal):
        return
    elif level == 1:
        v0, v1 = ladder.moments[0].var, ladder.moments[1].var
        apart = math.sqrt(v0 * ladder.cost(0)) + math.sqrt(v1 * ladder.cost(1))
        few = v1 < 0.5 * v0 and v0 * (2 * goal.z) ** 2 < FEWEST * goal.tolerance(_sum(ladder.moments)) ** 2
        saves = apart > math.sqrt(v0 * (ladder.steps(1) + PER_PATH))
        if saves and not few:
            _begin_finer(ladder, goal)


_UNSTABLE = ("the differences between step sizes do not fall, as where the scheme is unstable, and max_steps = {} allows no finer "
             "steps; raise it, or take a scheme that is stable at larger steps")


def _grows(coarser: Moments, finer: Moments, level: int) -> bool:
    """Whether the variance of a level is no smaller than that before; the first must be half of what it corrects."""
    return finer.var > (0.5 if level == 1 else 1.0) * coarser.var


def _begin_finer(ladder: _Ladder, goal: Goal) -> bool:
    """Begin anew at twice the steps, where max_steps allows the levels that this takes."""
    if ladder.steps(LEVELS + 1) > goal.max_steps:
        return False
    ladder.coarsest *= 2
    ladder.moments = []
    return True


def _refine(ladder: _Ladder, found: list[Moments], goal: Goal) -> None:
    """Begin at steps finer than the finest at which f was not finite."""
    worst = max(j for j, m in enumerate(found) if m.bad)
    ladder.watch.check(found[worst], ladder.steps(worst))
    ladder.coarsest, ladder.moments = ladder.steps(worst + 1), []
    while (probe := ladder.sample(0, PROBE)).bad:
        ladder.watch.check(probe, ladder.coarsest)
        ladder.coarsest *= 2
