"""One claim, from its file to plain data: the verdict for `results.json`, and what the report shows beside it.

This runs in a worker process, so nothing but strings, numbers, lists and dicts leaves it.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sdetheory.claims import Claim, Mode, Verdict, verdict_from_error
from sdetheory.symbolic.derivation import Step
from sdetheory.symbolic.notation import mathml

from .devices import torch_version
from .figures import figure_markup
from .registry import ClaimFile

__all__ = ["Order", "Stated", "check", "failed", "read", "skipped"]

_STOPS = (Exception, SystemExit)  # what ends a claim; Ctrl-C is the parent's


@dataclass(frozen=True)
class Order:
    """What a worker is asked: which claim, and how.

    `n_comparisons` counts those of the whole run; `device` is where claims on real nets run, "cpu" or "cuda (its name)".
    """

    file: ClaimFile
    seed: int
    mode: Mode
    n_comparisons: int
    title: str = ""
    device: str = "cpu"


@dataclass(frozen=True)
class Stated:
    """What a claim's file says before it is verified."""

    title: str
    n_comparisons: int


def read(file: ClaimFile) -> Iterator[Stated | None]:
    """Import a claim's file and say what is in it; None where that fails, as `check` meets it again."""
    try:
        claim = file.load()
        yield Stated(claim.title, claim.n_comparisons)
    except _STOPS:
        yield None


def check(order: Order) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Verify one claim; yield its result and its display, and again with the figure. An exception is a result, not a crash."""
    started = time.perf_counter()
    claim: Claim | None = None
    try:
        claim = order.file.load()
        if package := order.file.missing():
            yield skipped(order, f"needs {package}, which is not installed") | {"statement": claim.statement}, {}
            return
        verdict = claim.verify(order.seed, order.mode, n_comparisons=max(order.n_comparisons, claim.n_comparisons))
    except _STOPS as error:
        seconds = time.perf_counter() - started
        if claim is None:
            yield failed(order, f"{type(error).__name__}: {error}", traceback.format_exc(), seconds), {}
            return
        verdict = verdict_from_error(claim, error, rng=order.seed, mode=order.mode, seconds=seconds)
        yield _result(order, verdict, claim.statement) | {"traceback": traceback.format_exc()}, _shown(claim, order.file)
        return
    result, display = _result(order, verdict, claim.statement), _shown(claim, order.file)
    yield result, display  # whatever drawing does, the numbers stand
    if claim.figure is not None:
        try:
            yield result, display | {"figure": figure_markup(claim.draw, verdict.trial, f"{claim.id} {order.device}")}
        except _STOPS:  # the report and the table say that the picture is missing
            yield result | {"figure_error": traceback.format_exc()}, display


def failed(order: Order, reason: str, trace: str = "", seconds: float = 0.0) -> dict[str, Any]:
    """Return the result "error" of a claim that could not even be loaded, or whose worker died."""
    return _unchecked(order, "error", reason, seconds) | {"traceback": trace}


def skipped(order: Order, reason: str) -> dict[str, Any]:
    """Return the result "skipped"."""
    return _unchecked(order, "skipped", reason, 0.0)


def _unchecked(order: Order, status: Any, reason: str, seconds: float) -> dict[str, Any]:
    file = order.file
    verdict = Verdict(file.id, order.title or file.slug, file.paper, status, reason, seed=order.seed, mode=order.mode,
                      seconds=seconds)
    return _result(order, verdict, "")


def _result(order: Order, verdict: Verdict, statement: str) -> dict[str, Any]:
    found = verdict.to_dict()
    found["paper"] = order.file.paper
    found["title"] = found["title"] or order.title or order.file.slug
    on_nets = "torch" in order.file.requires
    if on_nets and (version := torch_version()):
        found["versions"] = found["versions"] | {"torch": version}
    found["device"] = order.device if on_nets else "cpu"
    return found | {"statement": statement, "reason": verdict.reason, "mode": verdict.mode,
                    "n_comparisons_in_run": order.n_comparisons}


def _shown(claim: Claim, file: ClaimFile) -> dict[str, Any]:
    """The statement's kind, its place in the paper, and the derivation in sentences and MathML."""
    display: dict[str, Any] = {"extension": claim.extension, "empirical": claim.empirical, "where": claim.where,
                               "file": "/".join(file.path.parts[-3:])}
    try:
        proof = claim.derivation
    except _STOPS:  # verify has met the same exception and made it the result
        return display
    if proof is not None and hasattr(proof, "steps"):
        display["derivation"] = {
            "title": proof.title, "assumptions": [_step(s) for s in proof.assumptions],
            "steps": [_step(s) for s in proof.steps],
            "residuals": [_step(Step(name, None if expr == 0 else expr)) for name, expr in proof.residuals.items()],
        }
    return display


def _step(step: Step) -> dict[str, Any]:
    return {"text": step.text, "mathml": None if step.expression is None else mathml(step.expression, block=True)}
