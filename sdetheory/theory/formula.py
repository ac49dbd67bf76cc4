r"""A closed form of a theorem: one SymPy expression, read as a number, as LaTeX and as the end of a derivation.

A `Formula` holds :math:`f(p_1, \dots, p_n)` with named parameters, the claim it belongs to, the clock it runs on and
the function that derives it. The derivation is given the expression and compares it with what it found: what is
computed, what is shown and what is proved are the same object.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

import numpy as np
import scipy
import sympy
from sympy.codegen.cfunctions import expm1

from ..hypotheses import HypothesisError
from ..symbolic.derivation import Derivation, DerivationResult
from ..symbolic.notation import NOTATION, latex, symbol
from ..validation import finite_array

__all__ = ["CLOCKS", "Formula", "closed_form", "joint_derivation"]

#: The two clocks of the papers, and formulas that have none.
CLOCKS = {"step": "step time: one unit is one SGD step",
          "flow": "gradient-flow time: one SGD step takes lr units",
          "none": "no time in it"}
_DOMAINS = (("positive", "> 0", lambda x: x > 0), ("nonnegative", ">= 0", lambda x: x >= 0),
            ("integer", "an integer", lambda x: x == np.floor(x)))


def _without_cancellation(expr: sympy.Expr) -> sympy.Expr:
    """Write c - c exp(u) as -c expm1(u): as it stands it loses all its digits for small u."""
    def in_sum(total: sympy.Add) -> sympy.Expr:
        constant, rest = total.as_coeff_Add()
        for term in sympy.Add.make_args(rest):
            coefficient, factor = term.as_coeff_Mul()
            if constant != 0 and coefficient == -constant and isinstance(factor, sympy.exp):
                return rest - term + coefficient * expm1(factor.exp)
        return total

    return expr.replace(lambda e: isinstance(e, sympy.Add), in_sum)


def _without_overflow(expr: sympy.Expr) -> sympy.Expr:
    """Write a product of Gamma functions as exp of a sum of logarithms: Gamma overflows at 172, quotients don't."""
    def in_product(product: sympy.Mul) -> sympy.Expr:
        log, rest = sympy.S.Zero, []
        for factor in product.args:
            base, exponent = factor.as_base_exp()
            if isinstance(base, sympy.gamma):
                log += exponent * sympy.Function("gammaln")(base.args[0])  # sympy.loggamma turns back into Gammas
            else:
                rest.append(factor)
        return product if log == 0 else sympy.Mul(*rest, sympy.exp(log))

    return expr.replace(lambda e: isinstance(e, sympy.Mul), in_product)


#: functions SciPy has and SymPy's printers do not know
_SPECIAL = ("gammaln", "hyp0f1", "hyp1f1", "hyp2f1")


def _hypergeometric(upper: sympy.Tuple, lower: sympy.Tuple, argument: sympy.Expr) -> sympy.Expr:
    return sympy.Function(f"hyp{len(upper)}f{len(lower)}")(*upper, *lower, argument)


class _OwnDocumentation:
    """The `__doc__` of a class, and for each of its instances what that writes about itself, when it is first read."""

    def __init__(self, of_class: str) -> None:
        self.of_class = of_class

    def __get__(self, instance: Formula | None, owner: type) -> str:
        return self.of_class if instance is None else instance._documentation


class Formula:
    r"""A closed form with named parameters.

    Called with numbers or arrays (float64, they broadcast) it gives numbers; called with SymPy expressions it gives the
    expression with these put in. Parameters are passed by name. Outside the hypotheses the call raises.

    Parameters
    ----------
    name : the name it is called by.
    expr : the expression; its free symbols are the parameters. A function without arguments is called for it, once, when it is
        first needed.
    claim : id of the claim, `ILR-4`.
    derivation : a function of an expression that derives the formula and ends in residuals "derived - expression".
    parameters : the symbols in the order of the signature; what SymPy assumes of them is checked.
    doc : first a sentence; formula, claim, clock and parameters are added to it.
    clock : `"step"`, `"flow"` or `"none"` (see `CLOCKS`).
    needs : further hypotheses, SymPy relations between the parameters, or a function that returns them.
    meanings : what a parameter is, where the notation doesn't say it or says something else.

    Examples
    --------
    >>> from sdetheory.symbolic import symbol
    >>> lr, decay = symbol("lr"), symbol("weight_decay")
    >>> def derivation(claimed):
    ...     w = symbol("w")
    ...     return Derivation("One step of decay").residual("shrinkage", ((1 - lr*decay)*w - w) / w + claimed)
    >>> loss_of_norm = Formula("loss_of_norm", lr*decay, claim="ILR-6", derivation=derivation, parameters=[lr, decay])
    >>> loss_of_norm(lr=0.1, weight_decay=0.5), loss_of_norm.verify().status
    (0.05, 'proved')
    """

    __doc__ = _OwnDocumentation(__doc__)  # type: ignore[assignment]

    def __init__(self, name: str, expr: sympy.Expr | Callable[[], sympy.Expr], *, claim: str,
                 derivation: Callable[[sympy.Expr], Derivation], parameters: Sequence[sympy.Symbol], doc: str = "",
                 clock: str = "none", needs: Sequence[sympy.Basic] | Callable[[], Sequence[sympy.Basic]] = (),
                 meanings: Mapping[str, str] | None = None) -> None:
        if clock not in CLOCKS:
            raise ValueError(f"clock: expected one of {sorted(CLOCKS)}, got {clock!r}")
        self.name, self.claim, self.parameters, self.clock = name, claim, tuple(parameters), clock
        self._given, self._given_needs = expr, needs
        if not isinstance(expr, FunctionType):
            _ = self.expr  # a wrong one is found now
        self._build, self._sentence = derivation, textwrap.dedent(doc).strip()
        self._meanings = dict(meanings or {})
        self.__name__ = self.__qualname__ = name
        self.__signature__ = inspect.Signature(
            [inspect.Parameter(p.name, inspect.Parameter.KEYWORD_ONLY) for p in parameters])

    @functools.cached_property
    def expr(self) -> sympy.Expr:
        """The expression."""
        given: Any = self._given
        expr = sympy.sympify(given() if isinstance(given, FunctionType) else given)
        unknown = expr.free_symbols - set(self.parameters)
        if unknown:
            raise ValueError(f"expr: expected symbols among the parameters {self.parameters}, got "
                             f"{sorted(map(str, unknown))} besides; take every symbol from sdetheory.symbolic.symbol")
        return expr

    @functools.cached_property
    def needs(self) -> tuple[sympy.Basic, ...]:
        """The further hypotheses."""
        given: Any = self._given_needs
        return tuple(need for need in map(sympy.sympify, given() if isinstance(given, FunctionType) else given)
                     if need != sympy.true)

    # ---- the number

    def __call__(self, /, *by_position: Any, **values: Any) -> Any:
        """Return the value: float64 of the broadcast shape, or a SymPy expression if one is put in."""
        if by_position:
            names = ", ".join(f"{p.name}=..." for p in self.parameters)
            raise TypeError(f"{self.name}: expected its parameters by name, got {', '.join(map(repr, by_position))} by position; "
                            f"call {self.name}({names})")
        self._check_names(values)
        if any(isinstance(v, sympy.Basic) for v in values.values()):
            return self.expr.subs({p: sympy.sympify(values[p.name]) for p in self.parameters}, simultaneous=True)
        arrays = [finite_array(p.name, values[p.name]) for p in self.parameters]
        try:
            shape = np.broadcast_shapes(*(a.shape for a in arrays))
        except ValueError:
            shapes = ", ".join(f"{p.name} {a.shape}" for p, a in zip(self.parameters, arrays, strict=True))
            raise ValueError(f"{self.name}: expected arguments that broadcast, got shapes {shapes}") from None
        self._check_hypotheses(arrays)
        with np.errstate(all="ignore"):
            value = np.broadcast_to(np.asarray(self._numeric(*arrays), dtype=np.float64), shape)
        if np.isnan(value).any():  # inside the hypotheses there is a value, so an intermediate result overflowed
            at = np.argwhere(np.isnan(value))[0]
            where = ", ".join(f"{p.name} = {np.broadcast_to(a, shape)[tuple(at)]:g}"
                              for p, a in zip(self.parameters, arrays, strict=True))
            raise OverflowError(f"{self.name}: expected arguments whose intermediate results fit in float64, got "
                                f"{where}; evaluate .expr with SymPy's arbitrary precision instead")
        return float(value) if shape == () else np.array(value)

    @functools.cached_property
    def _numeric(self) -> Callable[..., Any]:
        form = _without_overflow(_without_cancellation(self.expr)).replace(sympy.hyper, _hypergeometric)
        special = {name: getattr(scipy.special, name) for name in _SPECIAL}
        return sympy.lambdify(self.parameters, form, modules=[special, "scipy", "numpy"])

    def _check_names(self, values: Mapping[str, Any]) -> None:
        names = [p.name for p in self.parameters]
        for given in values:
            if given not in names:
                near = difflib.get_close_matches(given, names, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise TypeError(f"{self.name}: expected the parameters {', '.join(names)}, got {given!r}{hint}")
        missing = [n for n in names if n not in values]
        if missing:
            raise TypeError(f"{self.name}: expected the parameters {', '.join(names)}, got no {', '.join(missing)}")

    def _check_hypotheses(self, arrays: list[np.ndarray]) -> None:
        for parameter, array in zip(self.parameters, arrays, strict=True):
            for assumption, text, holds in _DOMAINS:
                if getattr(parameter, f"is_{assumption}") and not np.all(holds(array)):
                    raise HypothesisError(self.claim, f"{parameter.name} {text}",
                                          f"{parameter.name} = {array[~holds(array)].flat[0]:g}")
        for need, holds in zip(self.needs, self._numeric_needs, strict=True):
            where = np.broadcast_arrays(*arrays)
            bad = ~np.broadcast_to(holds(*arrays), where[0].shape)
            if np.any(bad):
                received = ", ".join(f"{p.name} = {a[bad].flat[0]:g}"
                                     for p, a in zip(self.parameters, where, strict=True) if p in need.free_symbols)
                raise HypothesisError(self.claim, str(need), received)

    @functools.cached_property
    def _numeric_needs(self) -> list[Callable[..., Any]]:
        return [sympy.lambdify(self.parameters, need, modules="numpy") for need in self.needs]

    # ---- the proof

    @functools.cached_property
    def derivation(self) -> Derivation:
        """The derivation, from the definitions to residuals "derived - expr"."""
        return self._build(self.expr)

    @functools.cached_property
    def _result(self) -> DerivationResult:
        return self.derivation.verify()

    def verify(self) -> DerivationResult:
        """Return whether the derivation closes; found once, then remembered."""
        return self._result

    def replaced(self, expr: sympy.Expr) -> Formula:
        """Return a formula that claims `expr` under the same derivation: a negative control, whose proof must fail."""
        return Formula(self.name, expr, claim=self.claim, derivation=self._build, parameters=self.parameters,
                       doc=self._sentence, clock=self.clock, needs=self.needs, meanings=self._meanings)

    # ---- what is shown

    @property
    def latex(self) -> str:
        """The expression in the paper's letters."""
        return latex(self.expr)

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex}$"

    def __repr__(self) -> str:
        return f"<Formula {self.name}{self.__signature__} of {self.claim}: {self.expr}>"

    @functools.cached_property
    def _documentation(self) -> str:
        def line(parameter: sympy.Symbol) -> str:
            name = parameter.name
            meaning = self._meanings.get(name, NOTATION[name][2] if name in NOTATION else "")
            domain = [text for assumption, text, _ in _DOMAINS if getattr(parameter, f"is_{assumption}")]
            domain = [text for text in domain if not (text == ">= 0" and "> 0" in domain)]
            return f"{name} : {latex(parameter)}, {meaning or 'a number'} ({', '.join(domain) or 'real'})"

        sentence, _, rest = self._sentence.partition("\n")
        parts = [sentence, f".. math:: {self.latex}", f"Claim {self.claim}; {CLOCKS[self.clock]}."]
        if self.needs:
            parts.append("Needs " + " and ".join(map(str, self.needs)) + ".")
        if rest.strip():
            parts.append(rest.strip("\n"))
        parts.append("Parameters\n----------\n" + "\n".join(map(line, self.parameters)))
        return "\n\n".join(parts)


def closed_form(claim: str, derivation: Callable[[sympy.Expr], Derivation], *, clock: str = "none",
                needs: Callable[..., Sequence[sympy.Basic]] | None = None,
                meanings: Mapping[str, str] | None = None,
                assumptions: Mapping[str, Mapping[str, bool]] | None = None,
                ) -> Callable[[Callable[..., sympy.Expr]], Formula]:
    """Make a `Formula` of a function that returns the expression: its name, parameters and docstring are the formula's.

    `needs` is a function of some of the parameters, by name; `assumptions` are SymPy's, for parameters that the
    notation does not know or where the formula asks for more. The other arguments are those of `Formula`.

    >>> from sdetheory.symbolic import symbol
    >>> def from_update(claimed):
    ...     return Derivation("decay").residual("share", claimed - symbol("lr")*symbol("weight_decay"))
    >>> @closed_form("ILR-6", from_update, needs=lambda lr, weight_decay: [lr * weight_decay < 1])
    ... def shrinkage(lr, weight_decay):
    ...     "The share of w that one step of decay takes away."
    ...     return lr * weight_decay
    >>> shrinkage(lr=2.0, weight_decay=1.0)
    Traceback (most recent call last):
    sdetheory.hypotheses.HypothesisError: ILR-6: needs lr*weight_decay < 1, got lr = 2, weight_decay = 1
    """
    def make(function: Callable[..., sympy.Expr]) -> Formula:
        symbols = [symbol(name, **(assumptions or {}).get(name, {})) for name in inspect.signature(function).parameters]
        by_name = {s.name: s for s in symbols}

        def hypotheses() -> Sequence[sympy.Basic]:
            return needs(**{name: by_name[name] for name in inspect.signature(needs).parameters}) if needs else ()

        made = Formula(function.__name__, lambda: function(*symbols), claim=claim, derivation=derivation, parameters=symbols,
                       doc=inspect.getdoc(function) or "", clock=clock, needs=hypotheses, meanings=meanings)
        made.__module__ = function.__module__
        return made
    return make


def joint_derivation(title: str, *formulas: Formula) -> Derivation:
    """Return one derivation out of those of several formulas, in order.

    >>> from sdetheory.theory import svag
    >>> joint_derivation("Both weights", svag.first_weight, svag.second_weight).verify().status
    'proved'
    """
    return Derivation(title).including(*(formula.derivation for formula in formulas))
