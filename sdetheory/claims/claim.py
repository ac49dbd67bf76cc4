"""A claim, and how it is verified: prove, measure, compare, and try a wrong statement by the same rule."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from typing import Any

from ..recording import recorded
from ..stats.estimates import Estimate
from ..stats.multiple import alpha_for
from ..validation import explain_construction, explained, integer
from .evidence import Comparison, Exact, compare, power_to_refute
from .quantity import FEWEST_RESOLUTIONS, ClaimError, Quantity, distances
from .trial import MODES, Mode, Trial, entropy_of, stream_of
from .verdict import ControlOutcome, Verdict, decide

__all__ = ["BUDGET", "Claim", "verdict_from_error", "verify_all"]

BUDGET = 1e-3

Measured = Mapping[str, Any]


@explain_construction
@dataclass(frozen=True, eq=False)
class Claim:
    r"""A statement that can be confirmed, refuted, or found to be beyond what was measured.

    Parameters
    ----------
    id : str
        A stable name, such as "ILR-4".
    title : str
        A line that says what is claimed.
    statement : str
        Text with LaTeX between dollars.
    quantities : mapping of str to Quantity
        Everything said of each number before any run: what theory predicts, the resolution, what the control says.
    measure : callable
        `measure(trial)` returns, for each quantity, an `Estimate`, `Exact` or `Distance`.
    control : str
        The wrong statement, broken in one stated, modest way; whatever it says must come out refuted.
    broken : callable, optional
        `broken(trial)` measures with the statement broken by the change that `control` names, on the same random
        numbers: exactly the quantities with an `effect`, or with `broken=True`. They are held against the right
        predictions.
    proof : Derivation, sequence of Formula or Derivation, or callable returning one of them
        None only where `empirical` is True: the claim is then a measurement.
    figure : callable, optional
        `figure(trial, ax)` draws into as many axes as it takes arguments after the trial (`left, right`: side by
        side); one whose argument is called `fig` is handed the empty figure instead.
    where : str
        The place in the paper, in words.
    setup : str
        What is simulated, in a sentence; the calls of `simulate` and `expect` are recorded besides.
    bias_source : str
        Where the bounds on systematic errors come from, for all quantities that do not say so themselves.
    paper : str, optional
        The key of the paper, as in `sdetheory.papers`.
    extension : bool
        The formula is from later work or follows from the definitions.
    empirical : bool
        There is no proof.

    Raises
    ------
    ClaimError
        Where the claim is not well posed.
    """

    id: str
    title: str = ""
    _: KW_ONLY
    statement: str
    quantities: Mapping[str, Quantity]
    measure: Callable[[Trial], Measured]
    control: str
    broken: Callable[[Trial], Measured] | None = None
    proof: Any = None
    figure: Callable[..., None] | None = None
    where: str = ""
    setup: str = ""
    bias_source: str = ""
    paper: str | None = None
    extension: bool = False
    empirical: bool = False

    def __post_init__(self) -> None:
        for name in ("id", "statement", "control", "title", "where", "setup", "bias_source"):
            value, may_be_empty = getattr(self, name), name not in {"id", "statement", "control"}
            if not isinstance(value, str) or not (value or may_be_empty):
                raise ClaimError(f"{self.id or 'claim'}: expected {name} to be a text"
                                 f"{'' if may_be_empty else ' that is not empty'}, got {value!r}")
        if (self.proof is None) != self.empirical:
            raise ClaimError(f"{self.id}: expected a proof, or empirical=True for a claim that is a measurement, "
                             f"got {'both' if self.empirical else 'neither'}")
        if not self.quantities or not all(isinstance(q, Quantity) for q in self.quantities.values()):
            raise ClaimError(f"{self.id}: expected a mapping of names to at least one Quantity, got {self.quantities!r}")
        if not any(q.has_control for q in self.quantities.values()):
            raise ClaimError(f"{self.id}: expected a control for at least one quantity (wrong=, effect= or broken=True)")
        if bool(self._names_in_broken_run) != (self.broken is not None):
            raise ClaimError(f"{self.id}: expected quantities with effect= or broken=True where there is a broken run, and "
                             f"nowhere else; got {self._names_in_broken_run} and broken={self.broken!r}")

    def __repr__(self) -> str:
        return f"<Claim {self.id}: {self.title or self.statement}>"

    def _repr_markdown_(self) -> str:
        return f"**{self.id}** {self.title}\n\n{self.statement}"

    @property
    def n_comparisons(self) -> int:
        """How many comparisons this claim takes out of the family-wise budget."""
        return sum(q.n_points for q in self.quantities.values())

    @property
    def without_control(self) -> dict[str, str]:
        """The quantities that no control touches, and why."""
        return {name: q.no_control for name, q in self.quantities.items() if q.no_control}

    @property
    def _names_in_broken_run(self) -> list[str]:
        return [name for name, q in self.quantities.items() if q.in_broken_run]

    @cached_property
    def derivation(self) -> Any:
        """The proof as one `Derivation`; None for an empirical claim."""
        proof = self.proof() if callable(self.proof) and not hasattr(self.proof, "derivation") else self.proof
        if isinstance(proof, Sequence):
            from ..symbolic.derivation import Derivation  # SymPy is imported where there is a proof to read

            parts: list[Any] = [getattr(part, "derivation", part) for part in proof]
            return Derivation(self.title or self.id).including(*parts)
        return getattr(proof, "derivation", proof)

    def draw(self, trial: Trial) -> Any:
        """Return the figure of a trial as a `matplotlib.figure.Figure`; None where the claim has none."""
        from matplotlib.figure import Figure

        if self.figure is None:
            return None
        _, *panels = inspect.signature(self.figure).parameters
        fig = Figure(figsize=(6.4 if len(panels) == 1 else 3.8 * len(panels), 3.8), layout="constrained")
        self.figure(trial, *([fig] if panels == ["fig"] else fig.subplots(1, len(panels), squeeze=False)[0]))
        return fig

    def verify(self, rng: Any = 0, mode: Mode = "default", *, n_comparisons: int | None = None, budget: float = BUDGET,
               progress: bool = False) -> Verdict:
        """Prove, measure, compare, and try the control; return the verdict.

        Parameters
        ----------
        rng : int, SeedSequence or Generator
            The root seed.
        mode : {"quick", "default", "thorough"}
            A quarter of the paths, all of them, or sixteen times as many.
        n_comparisons : int, optional
            All the comparisons that share the budget; those of this claim if it is verified alone.
        budget : float
            The probability to refute any of them although all statements are true.
        progress : bool
            Whether the measurement may show its progress.
        """
        if mode not in MODES:
            raise ValueError(f"mode: expected one of {', '.join(MODES)}, got {mode!r}")
        started = time.perf_counter()
        shared = integer("n_comparisons", self.n_comparisons if n_comparisons is None else n_comparisons,
                         at_least=self.n_comparisons)
        alpha = alpha_for(budget, shared)
        seed = entropy_of(rng)
        for name, quantity in self.quantities.items():
            self._of(name, quantity.check)
        proof, proof_seconds, residuals = self._proved

        trial = Trial(stream_of(seed, self.id), mode, progress)
        with recorded() as calls:
            measured = self._measured(self.measure, trial, list(self.quantities))
        comparisons = tuple(c for name in self.quantities for c in self._compare(name, measured[name], alpha))
        control = self._try_control(measured, alpha, Trial(stream_of(seed, self.id), mode, progress))
        status, reason = decide(proof, comparisons, control.status)
        return Verdict(self.id, self.title, self.paper, status, reason, proof, proof_seconds, residuals, comparisons,
                       control, seed, mode, time.perf_counter() - started, setup=self.setup, calls=tuple(calls),
                       without_control=self.without_control, trial=trial)

    @cached_property
    def _proved(self) -> tuple[str, float, dict[str, str]]:
        """Status, seconds and residuals: the same under every seed."""
        if self.empirical:
            return "empirical", 0.0, {}
        started = time.perf_counter()
        result = self.derivation.verify()
        if not result.residuals:
            raise ClaimError(f"{self.id}: expected a proof with at least one residual, got none: it shows nothing")
        residuals = {name: str(value) for name, value in result.residuals.items()}
        return result.status, time.perf_counter() - started, residuals

    def _measured(self, measure: Callable[[Trial], Measured], trial: Trial, names: list[str]) -> dict[str, Any]:
        measured = dict(measure(trial))
        if set(measured) != set(names):
            raise ClaimError(f"{self.id}: expected {measure.__name__} to return {sorted(names)}, got {sorted(measured)}")
        for name, evidence in measured.items():
            points, expected = _points(evidence), self.quantities[name].n_points
            if points is not None and points != expected:
                raise ClaimError(f"{self.id}, {name}: expected {expected} point(s) as the quantity declares, got {points}; "
                                 f"declare Quantity(…, points={points}), with a label for each")
            if isinstance(evidence, Estimate):
                measured[name] = evidence.with_bias(self.quantities[name].bias_bound)
        return measured

    def _compare(self, name: str, evidence: Any, alpha: float, *, wrong: bool = False) -> list[Comparison]:
        quantity = self.quantities[name]
        held_against = quantity.wrong_value if wrong else quantity.right
        source = quantity.bias_source or ("rounding" if isinstance(evidence, Exact) else self.bias_source)
        order = getattr(evidence, "order", None)
        if order is not None:
            measured = f"measured by halving the step (order {order:g})"
            source = f"{measured}; {source}" if quantity.bias_source else measured
        return [replace(c, label=quantity.label(i) if quantity.n_points > 1 else "", bias_source=source)
                for i, c in enumerate(compare(evidence, name, held_against, alpha, quantity.rho))]

    def _try_control(self, measured: Mapping[str, Any], alpha: float, trial: Trial) -> ControlOutcome:
        broken = {} if self.broken is None else self._measured(self.broken, trial, self._names_in_broken_run)
        comparisons: list[Comparison] = []
        misses = 0.0  # the chance that any of them is not refuted is at most the sum of their chances
        unstated: list[str] = []
        for name, quantity in self.quantities.items():
            if name in broken:
                judged, evidence = self._compare(name, broken[name], alpha), broken[name]
                comparisons += judged
                if quantity.effect is None:
                    unstated.append(name)
                    judged, evidence = self._compare(name, measured[name], alpha), measured[name]
                    shifts = [FEWEST_RESOLUTIONS * c.resolution for c in judged]
                else:
                    shifts = self._of(name, quantity.effects, len(judged))
            elif quantity.wrong is not None:
                judged, evidence = self._compare(name, measured[name], alpha, wrong=True), measured[name]
                comparisons += judged
                apart = distances(quantity.wrong_value, quantity.right).ravel()
                shifts = [float(a) for a in (apart if apart.size == len(judged) else [apart.max()] * len(judged))]
            else:
                continue
            misses += sum(1 - power_to_refute(c, evidence, shift) for c, shift in zip(judged, shifts, strict=True))
        status: Any = "refuted" if all(c.status == "refuted" for c in comparisons) else "not refuted"
        return ControlOutcome(status, self.control, max(1 - misses, 0.0), tuple(comparisons), tuple(unstated))

    def _of(self, name: str, asked: Callable[..., Any], *arguments: Any) -> Any:
        """Ask a quantity; an error says whose."""
        try:
            return asked(*arguments)
        except ClaimError as error:
            raise ClaimError(f"{self.id}, {name}: {error}") from None


def _points(evidence: Any) -> int | None:
    """How many comparisons a piece of evidence makes; None for what is no evidence, which `compare` refuses by name."""
    if isinstance(evidence, Estimate):
        return len(evidence)
    return None if hasattr(evidence, "__len__") else 1


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
    control = ControlOutcome("not run", claim.control, None)
    return Verdict(claim.id, claim.title, claim.paper, "error", f"{type(error).__name__}: {error}", control=control,
                   seed=entropy_of(rng), mode=mode, seconds=seconds, setup=claim.setup,
                   without_control=claim.without_control, error=error)
