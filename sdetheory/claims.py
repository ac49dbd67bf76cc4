r"""Claims: a statement, its derivation, a prediction, a measurement, and a wrong statement that must be told apart.

A claim is confirmed when its derivation closes, every comparison of prediction and measurement is confirmed (the rule
is in `evidence`), and its negative control is refuted by the same rule. What the check promises to see, the
resolution, is written into the claim before any run, and so is the list of comparisons that share the budget of false
alarms.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Protocol

import numpy as np

from .evidence import Between, ClaimError, Comparison, Relative, Resolution, compare, gap, power_to_refute
from .stats.multiple import alpha_for
from .trials import SCALE, Mode, Run, entropy_of, stream_of
from .validation import explain_construction, explained, integer
from .verdicts import ControlOutcome, Verdict, decide

__all__ = ["Claim", "ClaimError", "Control", "Relative", "Resolution", "Run", "verdict_from_error", "verify_all"]

BUDGET = 1e-3


class _Derivation(Protocol):
    def verify(self) -> Any: ...


Predictions = Mapping[str, Any] | Callable[[], Mapping[str, Any]]
Simulation = Callable[[Run], Mapping[str, Any]]


@explain_construction
@dataclass(frozen=True)
class Control:
    """A statement that is wrong in one stated, modest way; every comparison it names must come out refuted.

    Give `prediction`, wrong values at least twice the resolution away, judged by the claim's own numbers; or
    `simulation`, the same measurement with the statement broken by one named change (same random numbers), judged
    against the right prediction; or both, each for comparisons of its own. `effect` (a mapping or a callable that returns
    one) states by how much the change should move what `simulation` measures, one number or one a point, where theory
    says so; the power follows from it. Where none is stated, the power is that of the claim's own measurement to see a
    shift of two resolutions, the least that a wrong prediction must be off.
    """

    statement: str
    _: KW_ONLY
    prediction: Predictions | None = None
    simulation: Simulation | None = None
    effect: Predictions = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.prediction is None and self.simulation is None:
            raise ClaimError(f"control {self.statement!r}: expected a prediction, a simulation or both, got neither")


@explain_construction
@dataclass(frozen=True, eq=False)
class Claim:
    r"""A statement that can be confirmed, refuted, or found to be beyond what was measured.

    Parameters
    ----------
    id : str
        A stable name, such as "ILR-4".
    statement : str
        Text with LaTeX between dollars.
    prediction : mapping or callable without arguments returning one
        Name -> number, array of shape (points,), or `Between(low, high)`. It sees nothing of the simulation.
    simulation : callable
        `simulation(run)` returns name -> `Estimate`, `Exact` or `Distance`.
    resolution : mapping
        Name -> float, `Relative(fraction)`, or `Resolution(rho, points=k)` where k points are compared.
    negative_control : Control
        What must come out refuted.
    derivation : Derivation, or callable returning one
        The proof. None only where `empirical` is True: the claim is then a measurement.
    figure : callable, optional
        `figure(run)` returns a matplotlib figure; called only when asked for.
    extension : bool
        The formula is from later work or follows from the definitions.

    Raises
    ------
    ClaimError
        Where the claim is not well posed.
    """

    id: str
    _: KW_ONLY
    statement: str
    prediction: Predictions
    simulation: Simulation
    resolution: Mapping[str, float | Relative | Resolution]
    negative_control: Control
    derivation: _Derivation | Callable[[], Any] | None = None
    title: str = ""
    paper: str | None = None
    figure: Callable[[Run], Any] | None = None
    extension: bool = False
    empirical: bool = False

    def __post_init__(self) -> None:
        if not self.id or not self.statement:
            raise ClaimError(f"claim {self.id!r}: expected an id and a statement that are not empty")
        if (self.derivation is None) != self.empirical:
            raise ClaimError(f"{self.id}: expected a derivation, or empirical=True for a claim that is a measurement, "
                             f"got {'both' if self.empirical else 'neither'}")
        if not self.resolution:
            raise ClaimError(f"{self.id}: expected the resolution of at least one comparison, got none")
        object.__setattr__(self, "resolution", {
            name: rho if isinstance(rho, Resolution) else Resolution(rho) for name, rho in self.resolution.items()})

    def __repr__(self) -> str:
        return f"<Claim {self.id}: {self.title or self.statement}>"

    def _repr_markdown_(self) -> str:
        return f"**{self.id}** {self.title}\n\n{self.statement}"

    def proof(self) -> Any:
        """Return the derivation, built if it was given as a callable; None for an empirical claim."""
        if self.derivation is None or hasattr(self.derivation, "verify"):
            return self.derivation
        return self.derivation()  # type: ignore[operator]

    @property
    def n_comparisons(self) -> int:
        """How many comparisons this claim takes out of the family-wise budget."""
        return sum(r.points for r in self._resolutions.values())

    @property
    def _resolutions(self) -> Mapping[str, Resolution]:
        return self.resolution  # type: ignore[return-value]

    def verify(self, rng: Any = 0, mode: Mode = "default", *, n_comparisons: int | None = None, budget: float = BUDGET,
               progress: bool = False) -> Verdict:
        """Derive, simulate, compare, and try the negative control; return the verdict.

        Parameters
        ----------
        rng : int, SeedSequence or Generator
            The root seed.
        n_comparisons : int, optional
            All the comparisons that share the budget; those of this claim if it is verified alone.
        budget : float
            The probability to refute any of them although all statements are true.
        """
        if mode not in SCALE:
            raise ValueError(f"mode: expected one of {', '.join(SCALE)}, got {mode!r}")
        started = time.perf_counter()
        shared = integer("n_comparisons", self.n_comparisons if n_comparisons is None else n_comparisons,
                         at_least=self.n_comparisons)
        alpha = alpha_for(budget, shared)
        seed = entropy_of(rng)
        right = self._predictions(self.prediction, "prediction")
        rho = {name: r.absolute(f"{self.id}, {name}", right[name]) for name, r in self._resolutions.items()}
        wrong = self._wrong_predictions(right, rho)
        proof, proof_seconds, residuals = self._derive()

        run = Run(stream_of(seed, self.id), mode, progress)
        measured = self._measure(self.simulation, run, set(rho))
        comparisons = [c for name in rho for c in compare(measured[name], name, right[name], alpha, rho[name])]
        control = self._control(wrong, right, rho, measured, alpha, Run(stream_of(seed, self.id), mode, progress))
        status, reason = decide(proof, comparisons, control.status)
        return Verdict(self.id, self.title, self.paper, status, reason, proof, proof_seconds, residuals,
                       tuple(comparisons), control, seed, mode, time.perf_counter() - started, run=run)

    def _predictions(self, given: Predictions, what: str) -> dict[str, Any]:
        values = dict(given() if callable(given) else given)
        unknown = set(values) - set(self.resolution)
        if unknown or (what == "prediction" and set(values) != set(self.resolution)):
            raise ClaimError(f"{self.id}: expected {what}s for the comparisons {sorted(self.resolution)}, "
                             f"got {sorted(values)}")
        if not values:
            raise ClaimError(f"{self.id}: expected at least one {what}, got none")
        for name, value in values.items():
            if isinstance(value, Between):
                continue
            array, points = np.asarray(value, dtype=float), self._resolutions[name].points
            if not np.isfinite(array).all() or (points > 1 and array.shape not in ((), (points,))):
                raise ClaimError(f"{self.id}, {name}: expected a finite {what}, one or one for each of {points} "
                                 f"point(s), got {value!r}")
        return values

    def _wrong_predictions(self, right: Mapping[str, Any], rho: Mapping[str, Any]) -> dict[str, Any]:
        if self.negative_control.prediction is None:
            return {}
        wrong = self._predictions(self.negative_control.prediction, "control prediction")
        for name, value in wrong.items():
            # every point is a comparison; an array that counts as one (Exact) is refuted by one entry
            nearest = np.min if self._resolutions[name].points > 1 else np.max
            apart = nearest(_gaps(value, right[name]) / np.asarray(rho[name]))
            if apart < 2 * (1 - 1e-9):  # a ratio of products of floats
                raise ClaimError(f"{self.id}, {name}: expected a control at least 2 resolutions away from the "
                                 f"statement, got {apart:.3g}; state a coarser wrong value, or a finer resolution")
        return wrong

    def _derive(self) -> tuple[str, float, dict[str, str]]:
        if self.empirical:
            return "empirical", 0.0, {}
        started = time.perf_counter()
        result = self.proof().verify()
        if not result.residuals:
            raise ClaimError(f"{self.id}: expected a derivation with at least one residual, got none: it shows nothing")
        residuals = {name: str(value) for name, value in result.residuals.items()}
        return result.status, time.perf_counter() - started, residuals

    def _measure(self, simulation: Simulation, run: Run, names: set[str]) -> Mapping[str, Any]:
        measured = simulation(run)
        if set(measured) != names:
            raise ClaimError(f"{self.id}: expected the simulation to measure {sorted(names)}, got {sorted(measured)}")
        for name, evidence in measured.items():
            points = len(evidence) if hasattr(evidence, "__len__") else 1
            if points != self._resolutions[name].points:
                raise ClaimError(f"{self.id}, {name}: expected {self._resolutions[name].points} point(s) as the "
                                 f"resolution declares, got {points}; declare Resolution(rho, points={points}) first")
        return measured

    def _control(self, wrong: Mapping[str, Any], right: Mapping[str, Any], rho: Mapping[str, Any],
                 measured: Mapping[str, Any], alpha: float, run: Run) -> ControlOutcome:
        control = self.negative_control
        found = {} if control.simulation is None else control.simulation(run)
        if control.simulation is not None and (not found or set(found) - (set(rho) - set(wrong))):
            raise ClaimError(f"{self.id}: expected the control to measure some of {sorted(set(rho) - set(wrong))}, "
                             f"got {sorted(found)}")
        effects = control.effect() if callable(control.effect) else control.effect
        if set(effects) - set(found):
            raise ClaimError(f"{self.id}: expected the effects of the control on some of {sorted(found)}, got {sorted(effects)}")
        unstated = tuple(name for name in rho if name in found and name not in effects)
        comparisons: list[Comparison] = []
        powers: list[float] = []
        for name in (name for name in rho if name in wrong or name in found):
            evidence = found[name] if name in found else measured[name]
            judged = compare(evidence, name, right[name] if name in found else wrong[name], alpha, rho[name])
            comparisons += judged
            if name in unstated:
                judged, evidence = compare(measured[name], name, right[name], alpha, rho[name]), measured[name]
                shifts = [2 * c.resolution for c in judged]
            elif name in wrong:
                gaps = _gaps(wrong[name], right[name]).ravel()
                shifts = [float(g) for g in np.broadcast_to(gaps if gaps.size == len(judged) else gaps.max(), (len(judged),))]
            else:
                shifts = self._stated(name, effects[name], len(judged))
            powers += [power_to_refute(c, evidence, shift) for c, shift in zip(judged, shifts, strict=True)]
        status: Any = "refuted" if all(c.status == "refuted" for c in comparisons) else "not refuted"
        return ControlOutcome(status, control.statement, min(powers), tuple(comparisons), unstated)

    def _stated(self, name: str, effect: Any, points: int) -> list[float]:
        array = np.abs(np.asarray(effect, dtype=float))
        if not np.isfinite(array).all() or array.shape not in ((), (1,), (points,)):
            raise ClaimError(f"{self.id}, {name}: expected a finite effect of the control, one or one for each of {points} "
                             f"point(s), got {effect!r}")
        return [float(e) for e in np.broadcast_to(array, (points,))]


def _gaps(a: Any, b: Any) -> np.ndarray:
    if isinstance(a, Between) or isinstance(b, Between):
        return np.asarray(gap(a, b))
    return np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float))


@explained
def verify_all(claims: Iterable[Claim], rng: Any = 0, mode: Mode = "default", *, budget: float = BUDGET,
               progress: bool = False) -> list[Verdict]:
    """Verify claims under one family-wise budget shared by all their comparisons; an exception in a claim is raised."""
    claims = list(claims)
    ids = [claim.id for claim in claims]
    if len(set(ids)) < len(ids):
        raise ClaimError(f"claims: expected distinct ids, got {ids}")
    total = sum(claim.n_comparisons for claim in claims)
    seed = entropy_of(rng)
    return [claim.verify(seed, mode, n_comparisons=total, budget=budget, progress=progress) for claim in claims]


def verdict_from_error(claim: Claim, error: BaseException, *, rng: Any = 0, mode: Mode = "default",
                       seconds: float = 0.0) -> Verdict:
    """Return the verdict "error" for a claim whose verification raised."""
    control = ControlOutcome("not run", claim.negative_control.statement, None)
    return Verdict(claim.id, claim.title, claim.paper, "error", f"{type(error).__name__}: {error}", control=control,
                   seed=entropy_of(rng), mode=mode, seconds=seconds, error=error)
