r"""`expect`: :math:`E f(X_T)` of an SDE, or :math:`E f(w_k)` of an update rule, to a tolerance.

A pilot run measures bias and variance at a few step sizes and decides steps and sample sizes; the answer comes from fresh
paths, so that its interval covers as often as it says.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

import numpy as np
import sympy

from ..callable_sde import CallableSDE
from ..process import Observed, Process, named_observables, shown
from ..random import seed_sequence
from ..recording import note
from ..schemes import Scheme, SDEProcess, process_of
from ..schemes import get as get_scheme
from ..sde import SDE
from ..starts import Start
from ..symbolic.regularity import is_rough
from ..validation import explained, integer, number
from .extrapolation import extrapolated_mean
from .goal import Goal, Outcome, part, refuse_not_finite
from .multilevel import multilevel_mean
from .result import Expectation
from .sampling import Sampler, Widths, Work
from .sde_samplers import Starts, check_start, nestable_scheme, pair_sampler, sampler_of, with_control

__all__ = ["expect"]

METHODS = ("auto", "weak2", "richardson", "multilevel")
WIDER = 8.0  # the tolerance of the check by another method, which costs a few per cent
DECISIVE = 0.05  # a control that leaves less of the variance beats multilevel differences
PILOT = 2048  # paths of the first pilot run of an update rule


@explained
def expect(process: Any, functional: Any, x0: Any, *, t1: float | None = None, n_steps: int | None = None, t0: float = 0.0,
           rtol: float | None = None, atol: float | None = None, confidence: float = 0.95, scheme: Any = None,
           method: str = "auto", rng: Any = None, control: bool = True, max_path_steps: float = 2e10, max_steps: int = 2**20,
           executor: Executor | None = None, n_threads: int | None = None) -> Expectation:
    """Estimate the expectation of a functional to a tolerance, with an interval that holds at the stated confidence.

    Parameters
    ----------
    process : SDE or update rule
        An update rule is anything of `sdetheory.dynamics`.
    functional : SymPy expression, name or callable
        Of the state at `t1`. For an SDE: an expression in its states, the name of a state, or a function of the state (a
        number where d = 1, else a tuple of d) that Numba can compile. For an update rule: the name of an observable, or a
        function of w.
    x0 : array_like (d,), or a distribution
        Start.
    t1, t0 : float
        Time span of an SDE, in the clock of its drift.
    n_steps : int
        Steps of an update rule; nothing else needs it.
    rtol, atol : float > 0
        The margin (half the interval: statistical error and bias bound together) shall be ≤ max(atol, rtol |value|).
    confidence : float in (0, 1)
        How often the interval shall cover the expectation.
    scheme : str or Scheme, optional
        Integrator; by default Euler–Maruyama where a coefficient has kinks (Max, Abs, …) or is a Python function; elsewhere
        three-point weak order 2, for "multilevel" weak order 2 or Milstein where the noise commutes and
        Euler–Maruyama elsewhere.
    method : {"auto", "weak2", "richardson", "multilevel"}
        One step size; two step sizes and extrapolation; a telescope of step sizes on nested Brownian paths. "auto" takes the
        cheaper of the first two, and the last for functionals with kinks or jumps and SDEs of plain functions.
    rng : int, SeedSequence or Generator, optional
        Seed; the entropy used is in the result.
    control : bool
        Whether a martingale may be subtracted that has mean 0 at every step size (see `sdetheory.expectation.control`).
    max_path_steps, max_steps : float, int
        Limits of the whole cost, and of the steps of one path.
    executor, n_threads : as for `simulate`

    Returns
    -------
    Expectation
        With `converged=False`, an honest wide interval and a message where the tolerance cannot be had within the limits.

    Raises
    ------
    ValueError, TypeError
        For tolerances that are not > 0, unknown symbols, a functional that is not finite on some path.

    Examples
    --------
    >>> import sympy, sdetheory as sdt
    >>> x = sympy.Symbol("x")
    >>> gbm = sdt.SDE([x], drift=[0.5 * x], diffusion=[[0.5 * x]])
    >>> e = sdt.expect(gbm, x**2, [1.0], t1=1.0, rtol=1e-2, rng=0)
    >>> e.converged, bool(abs(e.value - sympy.exp(1.25)) < 2 * e.margin)
    (True, True)
    """
    goal = _goal(rtol, atol, confidence, max_path_steps, max_steps)
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    seeds = seed_sequence(rng)
    work = Work(executor, None if n_threads is None else integer("n_threads", n_threads, at_least=1))
    # children are counted by the sequence itself; a copy keeps the caller's from moving on
    fresh = np.random.SeedSequence(seeds.entropy, spawn_key=(*seeds.spawn_key, 0xE), pool_size=seeds.pool_size)
    left = 1.0
    runs = process_of(process, scheme)
    what, start = functional_of(runs, functional), check_start(runs, x0)
    if isinstance(runs, SDEProcess):
        t0, t1 = _span(t0, t1, n_steps)
        outcome, name, left = _of_sde(runs.sde, what, start, t0, t1, scheme, method, goal, fresh, work, control)
    else:
        outcome, name = _of_rule(runs, what, start, t0, t1, n_steps, method, goal, fresh, work)
    note(lambda: {"process": shown(runs), "scheme": name, "t0": t0, "t1": t1, "steps": n_steps, "functional": shown(functional)})
    margin = goal.z * outcome.stderr + outcome.bias_bound
    tolerance = goal.tolerance(outcome.value)
    converged = margin <= tolerance
    message = "" if converged else outcome.message or (
        f"the margin {margin:.2g} (statistical error {goal.z * outcome.stderr:.2g}, bias bound {outcome.bias_bound:.2g}) is larger "
        f"than the tolerance {tolerance:.2g}, and than the pilot runs foretold; run again with another seed, or ask for less")
    return Expectation(outcome.value, outcome.stderr, outcome.bias_bound, (outcome.value - margin, outcome.value + margin),
                       confidence, tolerance, converged, message, outcome.method, name, outcome.levels, work.path_steps,
                       work.seconds, f"{seeds.entropy}, spawn_key={seeds.spawn_key}", left)


def _goal(rtol: Any, atol: Any, confidence: Any, max_path_steps: Any, max_steps: Any) -> Goal:
    if rtol is None and atol is None:
        raise ValueError("rtol, atol: expected at least one tolerance, got none; try rtol=1e-2")
    return Goal(0.0 if rtol is None else number("rtol", rtol, above=0), 0.0 if atol is None else number("atol", atol, above=0),
                number("confidence", confidence, above=0, below=1), number("max_path_steps", max_path_steps, above=0),
                integer("max_steps", max_steps, at_least=64))


def _span(t0: Any, t1: Any, n_steps: Any) -> tuple[float, float]:
    if n_steps is not None:
        raise ValueError(f"n_steps: expected none for a process in time, got {n_steps!r}; the tolerance decides the steps")
    if t1 is None:
        raise ValueError("t1: expected the time at which the expectation is wanted, got None; give e.g. t1=1.0")
    t0 = number("t0", t0)
    return t0, number("t1", t1, above=t0)


def functional_of(process: Process, functional: Any) -> Observed:
    """What the functional is: a state, an expression in states alone, a name that the process knows, or a function of its state."""
    found = named_observables(process, {"functional": functional}, "functional")["functional"]
    if isinstance(process, SDEProcess):
        if isinstance(found, str):
            return process.sde.states[process.observables.index(found)]
        unknown = sorted(s.name for s in found.free_symbols - set(process.sde.states)) if isinstance(found, sympy.Basic) else []
        if unknown:
            raise ValueError(f"functional: expected an expression in {', '.join(process.observables)}, got {', '.join(unknown)} in "
                             f"{found}; use .subs for parameters and the time t1")
    return found


def _promise(scheme: Scheme, sde: SDE | CallableSDE) -> float:
    order = scheme.promised(sde, "weak")
    if order is None:
        raise ValueError(f"scheme: expected one with a weak order for this SDE, got {scheme.name!r} without; "
                         "use 'weak_order_2_three_point' or 'euler_maruyama'")
    return float(order)


def _of_sde(sde: SDE | CallableSDE, functional: Any, x0: Start, t0: float, t1: float, scheme: Any, method: str, goal: Goal,
            seeds: np.random.SeedSequence, work: Work, control: bool) -> tuple[Outcome, str, float]:
    """Outcome, name of the scheme, and the share of the variance that a control left.

    What "auto" takes: a control and extrapolation; where there is none, multilevel if its differences have variance O(h²) or
    extrapolation has no foundation, because the functional has kinks; else extrapolation.
    """
    span = (x0, t0, t1)
    nested = nestable_scheme(sde) if scheme is None else get_scheme(scheme)
    if method != "multilevel":
        default = "weak_order_2_three_point" if isinstance(sde, SDE) and not sde.is_rough else "euler_maruyama"
        chosen = get_scheme(default if scheme is None else scheme)
        order = int(_promise(chosen, sde))
        plain = sampler_of(sde, chosen, functional, *span)
        sampler, left = with_control(sde, functional, chosen, plain, x0, seeds, work) if control else (plain, 1.0)
        smooth = isinstance(functional, sympy.Expr) and not is_rough(functional)
        nests = all(noise.kind == "normal" for noise in nested.noise if nested.increments_shape(sde).get(noise.role))
        kinds = {"weak2": (False,), "richardson": (True,)}.get(method, (False, True))
        if method != "auto" or left < DECISIVE or not nests or (smooth and (nested.promised(sde, "strong") or 0) < 1):
            return extrapolated_mean(sampler, order, kinds, goal, seeds, work), chosen.name, left
    order_nested = _promise(nested, sde)
    pair = pair_sampler(sde, nested, functional, *span)
    single = sampler_of(sde, nested, functional, *span)
    left = 1.0
    if control:
        single, left = with_control(sde, functional, nested, single, x0, seeds, work)
    outcome = multilevel_mean(single, pair, order_nested, goal, seeds, work)
    if method == "auto" and smooth:
        outcome = _unless_contradicted(outcome, lambda wide: extrapolated_mean(sampler, order, kinds, wide, seeds, work), goal)
    return outcome, nested.name, left


def _unless_contradicted(outcome: Outcome, other: Callable[[Goal], Outcome], goal: Goal) -> Outcome:
    """The outcome, if another method at a wider tolerance agrees with it; else the other's, with a message if that fails too."""
    check = other(replace(goal, rtol=WIDER * goal.rtol, atol=WIDER * goal.atol))
    apart = abs(outcome.value - check.value)
    if check.message or apart <= goal.z * (outcome.stderr + check.stderr) + outcome.bias_bound + check.bias_bound:
        return outcome
    exact = other(goal)
    return exact if not exact.message else replace(
        exact, message=f"{exact.message}; and by {outcome.method} it is {outcome.value:.4g}, which contradicts this one")


def _of_rule(process: Process, functional: Observed, x0: Start, t0: float, t1: Any, n_steps: Any, method: str, goal: Goal,
             seeds: np.random.SeedSequence, work: Work) -> tuple[Outcome, str]:
    """An update rule has no step size and so no bias; a process in time of `dynamics` is extrapolated from weak order 1."""
    program, name = process.write({"functional": functional}, ()), process.label
    if program.width != 1:
        raise ValueError(f"functional: expected one number a path, got {functional!r} with {program.width}; "
                         "use e.g. 'sq_norm' or a function of w")
    if process.clock == "time":
        t0, t1 = _span(t0, t1, n_steps)
        if method == "multilevel":
            raise ValueError(f"method: expected 'auto' or 'richardson' for {type(process).__name__}, got 'multilevel', "
                             "which needs an SDE; use method='richardson'")
        sampler = Sampler(Widths(program), Starts(process, x0), t0, t1, schedules=process.schedule_table)
        kinds = (False,) if method == "weak2" else (True,) if method == "richardson" else (False, True)
        return extrapolated_mean(sampler, 1, kinds, goal, seeds, work), name
    if t1 is not None or n_steps is None:
        raise ValueError(f"n_steps: expected a number of steps for an update rule, got n_steps={n_steps!r}, t1={t1!r}")
    if method != "auto":
        raise ValueError(f"method: expected 'auto' for an update rule, which has no step size to refine, got {method!r}")
    sampler = Sampler(Widths(program), Starts(process, x0), schedules=process.schedule_table)
    return _plain_mean(sampler, integer("n_steps", n_steps, at_least=1), goal, seeds, work), name


def _plain_mean(sampler: Sampler, n_steps: int, goal: Goal, seeds: np.random.SeedSequence, work: Work) -> Outcome:
    """Two stages: the variance of a pilot run decides how many fresh paths are enough."""
    known = sampler.moments(n_steps, PILOT, seeds.spawn(1)[0], work)
    while True:
        if known.bad:
            raise refuse_not_finite(known, n_steps)
        tolerance = goal.tolerance(max(0.0, abs(known.mean) - 2 * known.stderr))
        most = max(PILOT, int((goal.max_path_steps - work.path_steps) / n_steps))
        wanted = math.ceil(1.1 * known.var * (goal.z / tolerance) ** 2) if tolerance > 0 else most + 1
        if wanted > most or wanted <= 16 * known.n:
            break
        known = known.merged(sampler.moments(n_steps, 3 * known.n, seeds.spawn(1)[0], work))
    message = "" if wanted <= most else (
        f"the tolerance {tolerance:.2g} takes about {wanted:.1g} paths of {n_steps} steps, max_path_steps = "
        f"{goal.max_path_steps:.1g} allows no more; raise it, or the tolerance (give atol where the value may be 0)")
    found = sampler.moments(n_steps, min(most, max(PILOT, wanted)), seeds.spawn(1)[0], work)
    if found.bad:
        raise refuse_not_finite(found, n_steps)
    return Outcome(found.mean, found.stderr, 0.0, (part(n_steps, 1.0, 1.0, found),), message, "sample")
