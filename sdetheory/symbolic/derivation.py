"""Derivations: definitions, steps, and residuals that must be exactly 0.

A derivation starts from definitions (an update rule, an SDE), goes on in steps a reader can follow, and ends in
*residuals*: expressions r_i for which SymPy is to show r_i = 0. It is proved when every one of them is, symbolically.
"""

from __future__ import annotations

import html
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import sympy

from .notation import latex, mathml

__all__ = ["Derivation", "DerivationResult", "Step", "simplified_residual"]


@dataclass(frozen=True)
class Step:
    """A sentence of a derivation (`$...$` holds LaTeX) and the expression it arrives at, if any."""

    text: str
    expression: sympy.Basic | None = None


@dataclass(frozen=True)
class DerivationResult:
    """What `Derivation.verify` found: `status`, each residual simplified as far as it went, seconds taken."""

    status: Literal["proved", "failed"]
    residuals: Mapping[str, sympy.Basic]
    seconds: float

    def __bool__(self) -> bool:
        return self.status == "proved"

    def __repr__(self) -> str:
        wrong = ", ".join(f"{name}: {value}" for name, value in self.residuals.items() if not _is_zero(value))
        wrong = f"; not 0: {wrong}" if wrong else ""
        return f"<{self.status}: {len(self.residuals)} residual(s), {self.seconds:.2f} s{wrong}>"


def _is_zero(expr: sympy.Basic) -> bool:
    return all(e == 0 for e in expr) if isinstance(expr, sympy.MatrixBase) else expr == 0


#: what SymPy raises from inside where it does not get on ("Invalid NaN comparison" is a TypeError)
_FAILURES = (sympy.PolynomialError, NotImplementedError, RecursionError, TypeError, ValueError, ArithmeticError,
             AttributeError, LookupError)


def _reduce(expr: sympy.Expr) -> sympy.Expr:
    """Return 0 if one of the exact strategies shows expr = 0, else the shortest form met."""
    best = expr
    for strategy in (sympy.expand, lambda e: sympy.cancel(sympy.together(e)), sympy.simplify, sympy.trigsimp,
                     lambda e: sympy.simplify(sympy.expand_func(sympy.expand_log(e.doit(), force=False)))):
        try:
            form = strategy(expr)
        except _FAILURES:  # a strategy that does not apply
            continue
        if form == 0:
            return sympy.S.Zero
        best = min(best, form, key=sympy.count_ops)
    try:  # `equals` answers True only on a symbolic proof (its numbers serve to say False)
        return sympy.S.Zero if best.equals(0) else best
    except _FAILURES:  # what SymPy cannot decide is not proved, and "failed" is an answer where a crash is none
        return best


def simplified_residual(residual: Any) -> sympy.Basic:
    """Return `residual` (expression, equation or matrix) reduced entry by entry; exactly 0 where that is proved.

    >>> x = sympy.Symbol("x")
    >>> simplified_residual(sympy.sin(x)**2 + sympy.cos(x)**2 - 1)
    0
    """
    if isinstance(residual, sympy.MatrixBase):
        return sympy.ImmutableMatrix(residual).applyfunc(_reduce)
    return _reduce(residual)


def _as_residual(name: str, value: Any) -> sympy.Basic:
    if isinstance(value, sympy.Eq):
        value = value.lhs - value.rhs
    if value is sympy.true:  # Eq(a, a) as SymPy evaluates it
        return sympy.S.Zero
    if value is sympy.false:
        raise ValueError(f"residual {name!r}: expected an expression, got an equation SymPy holds to be false; "
                         "pass the difference of its sides")
    value = sympy.sympify(value)
    if isinstance(value, sympy.MatrixBase):
        value = sympy.ImmutableMatrix(value)
    elif not isinstance(value, sympy.Expr):
        raise TypeError(f"residual {name!r}: expected a SymPy expression, equation or matrix, got {value!r}")
    if value.has(sympy.Float):
        raise ValueError(f"residual {name!r}: expected exact numbers, got {sorted(value.atoms(sympy.Float))}; "
                         "use sympy.Rational or sympy.S('1/2')")
    return value


@dataclass(eq=False, repr=False)
class Derivation:
    r"""An ordered list of steps and the residuals that prove it; steps and residuals are only ever added.

    >>> from sdetheory.symbolic import symbol
    >>> lr, decay, r = symbol("lr"), symbol("weight_decay"), symbol("sq_norm")
    >>> d = Derivation("Norm without gradient").assume("the gradient is 0")
    >>> d = d.step(r"One step multiplies $w$ by $1-\eta\lambda$.", (1 - lr * decay)**2 * r)
    >>> d.residual("change of R", (1 - lr * decay)**2 * r - r - lr * decay * (lr * decay - 2) * r).verify().status
    'proved'
    """

    title: str
    _steps: list[Step] = field(default_factory=list, init=False)
    _assumptions: list[Step] = field(default_factory=list, init=False)
    _residuals: dict[str, sympy.Basic] = field(default_factory=dict, init=False)
    _included: dict[str, tuple[Any, ...]] = field(default_factory=dict, init=False)  # by the title it is shown under

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in order."""
        return tuple(self._steps)

    @property
    def assumptions(self) -> tuple[Step, ...]:
        """What is assumed, in order."""
        return tuple(self._assumptions)

    @property
    def residuals(self) -> Mapping[str, sympy.Basic]:
        """The residuals by name, as stated."""
        return MappingProxyType(self._residuals)

    def assume(self, text: str, expression: Any = None) -> Derivation:
        """Add an assumption (shown before the steps; SymPy uses only what its symbols say) and return self."""
        self._assumptions.append(Step(text, _shown(expression)))
        return self

    def step(self, text: str, expression: Any = None) -> Derivation:
        """Add a step and return self."""
        self._steps.append(Step(text, _shown(expression)))
        return self

    def residual(self, name: str, expression: Any) -> Derivation:
        """Add an expression (or an equation, or a matrix) whose value, or lhs - rhs, must be exactly 0; return self."""
        if name in self._residuals:
            raise ValueError(f"residual {name!r}: expected a new name, got one that is in use in {self.title!r}")
        self._residuals[name] = _as_residual(name, expression)
        return self

    def including(self, *others: Derivation) -> Derivation:
        """Add the assumptions, steps and residuals of other derivations, each under its title, and return self.

        An assumption or a step that stands already is not said again.

        A title in use is numbered, and a derivation that was included before, word by word, adds nothing.

        >>> one, other, again = (Derivation(title).residual("r", 0) for title in ("One", "Other", "One"))
        >>> sorted(Derivation("All").including(one, other, one, again.residual("s", 0)).residuals)
        ['One (2): r', 'One (2): s', 'One: r', 'Other: r']
        """
        for other in others:
            self._include(other)
        return self

    def _include(self, other: Derivation) -> None:
        content = other.assumptions, other.steps, tuple(other.residuals.items())
        title, number = other.title, 1
        while title in self._included or any(f"{title}: {name}" in self._residuals for name in other.residuals):
            if self._included.get(title) == content:
                return
            number += 1
            title = f"{other.title} ({number})"
        self._included[title] = content
        known = {assumption.text for assumption in self._assumptions}
        self._assumptions += [assumption for assumption in other.assumptions if assumption.text not in known]
        self.step(f"{title}.")
        self._steps += [step for step in other.steps if step not in self._steps]
        for name, expression in other.residuals.items():
            self.residual(f"{title}: {name}", expression)

    def verify(self) -> DerivationResult:
        """Try to show that every residual is 0, exactly and symbolically; numbers are never compared."""
        if not self._residuals:
            raise ValueError(f"derivation {self.title!r}: expected at least one residual, got none; "
                             "state with .residual(name, expression) what must come out as 0")
        start = time.perf_counter()
        found = {name: simplified_residual(expr) for name, expr in self._residuals.items()}
        proved = all(_is_zero(value) for value in found.values())
        return DerivationResult("proved" if proved else "failed", MappingProxyType(found), time.perf_counter() - start)

    def __iter__(self) -> Iterator[Step]:
        return iter(self._steps)

    def __len__(self) -> int:
        return len(self._steps)

    def __repr__(self) -> str:
        return f"<Derivation {self.title!r}: {len(self._steps)} step(s), {len(self._residuals)} residual(s)>"

    def _repr_html_(self) -> str:
        """Return the derivation as HTML; expressions as MathML, sentences with their `$...$` as they are."""
        def item(step: Step) -> str:
            formula = "" if step.expression is None else mathml(step.expression, block=True)
            return f"<li>{html.escape(step.text, quote=False)}{formula}</li>"

        parts = [f'<section class="derivation"><h4>{html.escape(self.title, quote=False)}</h4>']
        if self._assumptions:
            parts.append('<ul class="assumptions">' + "".join(map(item, self._assumptions)) + "</ul>")
        parts.append('<ol class="steps">' + "".join(map(item, self._steps)) + "</ol>")
        if self._residuals:
            rows = "".join(f"<li>{html.escape(name, quote=False)}: {mathml(expr)} = 0</li>"
                           for name, expr in self._residuals.items())
            parts.append(f'<p>To be shown:</p><ul class="residuals">{rows}</ul>')
        return "".join(parts) + "</section>"

    def _repr_latex_(self) -> str:
        r"""Return the expressions of the steps as one aligned display."""
        lines = [f"&{latex(step.expression)}" for step in self._steps if step.expression is not None]
        return "$$\\begin{aligned}" + r"\\".join(lines) + "\\end{aligned}$$" if lines else ""


def _shown(expression: Any) -> sympy.Basic | None:
    if expression is None:
        return None
    expression = sympy.sympify(expression)
    return sympy.ImmutableMatrix(expression) if isinstance(expression, sympy.MatrixBase) else expression
