"""Samplers of an SDE: its programs, made once for each scheme and functional, its starts, its control.

SymPy takes a tenth of a second to write a program; an SDE that compares equal to an earlier one takes the one made then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from ..callable_sde import CallableSDE
from ..engine import fingerprint
from ..process import Process, start_states
from ..random import stream_key
from ..schemes import Scheme
from ..schemes import get as get_scheme
from ..schemes.nested_pair import nested_pair
from ..schemes.process import SDEProcess
from ..sde import SDE
from ..starts import Start, as_start
from ..validation import finite_array
from .control import best_coefficients, controlled
from .sampling import Sampler, Widths, Work

__all__ = ["Starts", "check_start", "nestable_scheme", "pair_sampler", "sampler_of", "with_control"]

PILOT, STEPS = 2048, 8  # paths on which a control is judged, and their steps
WORTH = 0.3  # of the variance, at most, that a control must leave to pay for its row


def _program(sde: SDE | CallableSDE, scheme: Scheme, functional: Any, swept: tuple[str, ...] = ()) -> Widths:
    return _written(sde, scheme, functional, swept, False, _identity(sde, functional))


def _pair_program(sde: SDE | CallableSDE, scheme: Scheme, functional: Any) -> Widths:
    return _written(sde, scheme, functional, (), True, _identity(sde, functional))


@lru_cache(maxsize=128)
def _written(sde: SDE | CallableSDE, scheme: Scheme, functional: Any, swept: tuple[str, ...], pair: bool, identity: str) -> Widths:
    """A program, as long as what its Python functions compute stays the same: a closure may change, the function be the same."""
    if pair:
        return Widths(nested_pair(sde, scheme, functional))
    return Widths(SDEProcess(sde, scheme).write({"functional": functional}, swept))


def _identity(sde: SDE | CallableSDE, functional: Any) -> str:
    functions = [functional] if callable(functional) and not isinstance(functional, sympy.Basic) else []
    if isinstance(sde, CallableSDE):
        functions += [sde.drift_function, sde.diffusion_function]
    return fingerprint(functions) if functions else ""


@dataclass(frozen=True)
class Starts:
    """Starts of fresh paths: the state, repeated for the fine and the coarse path of a pair, then `zeros` rows of 0."""

    process: Process
    start: Start
    copies: int = 1
    zeros: int = 0

    def __call__(self, seeds: np.random.SeedSequence) -> Callable[[int, int], NDArray[np.float64]]:
        """The function of (first path, count) that a `Plan` takes."""
        start = start_states(self.process, self.start, (), int(stream_key(seeds, "initial")))
        return start if self.copies == 1 and not self.zeros else _Widened(start, self.copies, self.zeros)


@dataclass(frozen=True)
class _Widened:
    start: Callable[[int, int], NDArray[np.float64]]
    copies: int
    zeros: int

    def __call__(self, first: int, n: int) -> NDArray[np.float64]:
        states = self.start(first, n)
        states = np.broadcast_to(states, (len(states), n))
        return np.concatenate([*[states] * self.copies, np.zeros((self.zeros, n))])


def check_start(process: Process, x0: Any) -> Start:
    """The start of every path; refuse what is none of this process, or one start a path."""
    if not isinstance(x0, Start):
        finite_array("x0", np.atleast_1d(x0), shape=(process.dim,), remedy="give one start for all paths, or a distribution")
    start = as_start(x0, process.dim, 1)
    start_states(process, start, (), 0)
    return start


def sampler_of(sde: SDE | CallableSDE, scheme: Scheme, functional: Any, x0: Start, t0: float, t1: float) -> Sampler:
    """The functional at one step size."""
    return Sampler(_program(sde, scheme, functional), Starts(SDEProcess(sde, scheme), x0), t0, t1)


def pair_sampler(sde: SDE | CallableSDE, scheme: Scheme, functional: Any, x0: Start, t0: float, t1: float) -> Sampler:
    """The difference of the functional between n and 2n steps on one Brownian path; it is asked for by n."""
    return Sampler(_pair_program(sde, scheme, functional), Starts(SDEProcess(sde, scheme), x0, copies=2), t0, t1, normals_per_step=2,
                   work_per_step=3.0)


def nestable_scheme(sde: SDE | CallableSDE) -> Scheme:
    """The best scheme whose increments are Brownian: weak order 2 and strong order 1 where the noise commutes."""
    second = get_scheme("weak_order_2")
    smooth = isinstance(sde, SDE) and not sde.is_rough
    return second if smooth and not second.increments_shape(sde).get("dV") else get_scheme("euler_maruyama")


def with_control(sde: SDE | CallableSDE, functional: Any, scheme: Scheme, plain: Sampler, x0: Start, seeds: np.random.SeedSequence,
                 work: Work) -> tuple[Sampler, float]:
    """The sampler of f − M if M takes enough of the variance away, and the share of it that is left; else `plain` and 1."""
    symbolic = isinstance(sde, SDE) and isinstance(functional, sympy.Expr)
    made = controlled(sde, functional, plain.t0, plain.t1) if symbolic else None
    if made is None:
        return plain, 1.0
    extended, observable, names = made
    sampler = replace(plain, program=_program(extended, scheme, observable, names), start=Starts(SDEProcess(sde, scheme), x0, zeros=1),
                      parameters=(0.0,) * len(names))
    (child,) = seeds.spawn(1)

    def run(beta: NDArray[np.float64]) -> NDArray[np.float64]:
        return replace(sampler, parameters=tuple(float(b) for b in beta)).values(STEPS, PILOT, child, work)

    f = run(np.zeros(len(names)))
    if not np.isfinite(f).all():
        return plain, 1.0
    with_units = np.stack([run(unit) for unit in np.eye(len(names))])  # on the same paths
    if not np.isfinite(with_units).all():
        return plain, 1.0
    martingales = f - with_units
    beta, left = best_coefficients(f, martingales)
    return (replace(sampler, parameters=tuple(float(b) for b in beta)), left) if left < WORTH else (plain, 1.0)
