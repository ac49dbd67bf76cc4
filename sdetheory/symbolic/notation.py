r"""Notation: one dictionary from the names used in code to the letters of the papers.

A SymPy symbol carries its code name (`weight_decay`), so that `subs`, keyword arguments and kernels agree on it; when
an expression is shown, the name is replaced by the paper's letter (:math:`\lambda`). What is computed never changes.
"""

from __future__ import annotations

import re
from html import escape, unescape
from typing import Any

import sympy
from sympy.printing.latex import LatexPrinter
from sympy.printing.mathml import MathMLPresentationPrinter

__all__ = ["NOTATION", "latex", "mathml", "symbol"]

_POSITIVE = {"positive": True}
_NONNEGATIVE = {"nonnegative": True}
_REAL = {"real": True}
_COUNT = {"positive": True, "integer": True}

#: code name -> (letter as SymPy writes it: `sigma^2`, `lambda_e`; what `symbol` assumes; meaning)
NOTATION: dict[str, tuple[str, dict[str, bool], str]] = {
    "lr": ("eta", _POSITIVE, "learning rate"),
    "weight_decay": ("lambda", _POSITIVE, "coupled L2 weight decay"),
    "momentum": ("mu", _NONNEGATIVE, "heavy-ball momentum, no dampening"),
    "intrinsic_lr": ("lambda_e", _POSITIVE, "intrinsic learning rate, lr * weight_decay"),
    "effective_lr": ("eta_e", _POSITIVE, "effective learning rate, lr / |w|^2"),
    "noise_trace": ("sigma^2", _POSITIVE, "trace of the noise covariance at unit norm"),
    "noise_scale": ("s", _POSITIVE, "standard deviation of isotropic noise in one direction"),
    "noise_covariance": ("Sigma", _REAL, "covariance of the stochastic gradient"),
    "direction": ("what", _REAL, "w / |w|, a point of the unit sphere"),
    "w": ("w", _REAL, "parameters"),
    "sq_norm": ("R", _POSITIVE, "E |w|^2"),
    "sq_grad": ("G", _NONNEGATIVE, "E |grad L|^2"),
    "sq_gradient": ("S", _NONNEGATIVE, "|g|^2 at unit norm, signal and noise"),
    "gamma": ("gamma", _POSITIVE, "|w|^4 / lr^2, so that effective_lr = gamma^(-1/2)"),
    "gamma0": ("gamma_0", _POSITIVE, "gamma at time 0"),
    "batch_factor": ("kappa", _POSITIVE, "factor on batch size and learning rate"),
    "drop_factor": ("kappa", _POSITIVE, "factor by which a hyper-parameter is divided"),
    "amplification": ("l", _COUNT, "SVAG's noise amplification"),
    "curvature": ("lambda", _NONNEGATIVE, "NTK value, top curvature"),
    "width": ("n", _COUNT, "width of the uv model"),
    "dim": ("d", _COUNT, "dimension of the parameters"),
    "t": ("t", _NONNEGATIVE, "time"),
    "step": ("k", {"nonnegative": True, "integer": True}, "number of the step"),
    "temperature": ("T", _POSITIVE, "effective_lr * noise_scale^2 / 2"),
    "sq_norm0": ("R_0", _POSITIVE, "|w|^2 at time 0"),
    "effective_lr0": ("eta_e0", _POSITIVE, "effective learning rate at time 0"),
    "gamma_gap": ("delta_0", _REAL, "difference of two gammas at time 0"),
    "noise_trace_min": ("sigma^2_min", _NONNEGATIVE, "lower bound of the noise power at unit norm"),
    "noise_trace_max": ("sigma^2_max", _POSITIVE, "upper bound of the noise power at unit norm"),
    "tolerance": ("epsilon", _POSITIVE, "relative error that counts as arrived"),
    "scale": ("c", _POSITIVE, "factor on the weights"),
    "batch_size": ("B", _COUNT, "samples a step"),
    "eigenvalue": ("a", _POSITIVE, "eigenvalue of a quadratic form"),
    "rank": ("k", _COUNT, "number of coordinates with that eigenvalue"),
    "loss": ("L", _NONNEGATIVE, "value of the loss"),
    "degree": ("ell", {"nonnegative": True, "integer": True}, "degree of a spherical harmonic"),
    "lag": ("Delta", _NONNEGATIVE, "time between two points of a path"),
    "barrier": ("b", _POSITIVE, "height of a barrier of the loss"),
    "min_curvature": ("h_min", _POSITIVE, "second derivative of the loss in a well"),
    "max_curvature": ("h_max", _POSITIVE, "|second derivative| of the loss on a barrier"),
    "other_curvature": ("h_2", _POSITIVE, "second derivative of the loss in another well"),
    "n_wells": ("m", _COUNT, "number of equal wells"),
    "ratio": ("q", _REAL, "x/y"),
    "ratio0": ("q_0", _REAL, "x/y at time 0"),
    "alpha": ("alpha", _POSITIVE, "factor of the rescaled weights per step"),
    "previous_alpha": ("alpha_prev", _POSITIVE, "alpha of the phase before"),
    "previous_lr": ("eta_prev", _POSITIVE, "learning rate of the step or phase before"),
    "shrinkage": ("rho", _POSITIVE, "factor of the decay on the weights"),
    "top_curvature": ("h", _POSITIVE, "top Hessian eigenvalue on the unit sphere at the minimum"),
    "overlap": ("b", _REAL, "<w, v> of weights and momentum buffer"),
    "sq_buffer": ("q", _NONNEGATIVE, "|v|^2 of the momentum buffer after the step"),
    "curvature_bound": ("h", _POSITIVE, "bound of the norm of the Hessian on the unit sphere"),
    "loss_gap": ("Delta_L", _NONNEGATIVE, "loss less its minimum"),
    "sq_norm_end": ("R_T", _POSITIVE, "|w|^2 at the end"),
    "total_decay": ("kappa", _REAL, "what weight decay and buffer take from the weights, (1 - alpha)/lr"),
    "n_steps": ("n", {"nonnegative": True, "integer": True}, "number of steps"),
    "growth_rate": ("g", _NONNEGATIVE, "growth rate of the learning rate per step"),
    "flow_time": ("S", _NONNEGATIVE, "gradient-flow time, the sum of the learning rates so far"),
    "loss0": ("L_0", _REAL, "loss at the start"),
    "loss_integral": ("I", _REAL, "integral of the loss over the flow time"),
    "loss_drop": ("D", _NONNEGATIVE, "fall of the loss over the flow time"),
    "loss_excess": ("E", _NONNEGATIVE, "integral of the loss less its last value over the flow time"),
    "other_eigenvalue": ("b", _NONNEGATIVE, "another eigenvalue"),
}


def symbol(name: str, **assumptions: Any) -> sympy.Symbol:
    """Return the symbol `name`, with the assumptions the notation gives it unless others are stated.

    SymPy holds two symbols of one name and different assumptions for different symbols: take every symbol from here.

    Parameters
    ----------
    name : the name in code, `weight_decay`; names outside the notation are real unless stated otherwise.
    **assumptions : SymPy assumptions; they replace those of the notation altogether.

    >>> symbol("weight_decay").is_positive, latex(symbol("lr") * symbol("weight_decay"))
    (True, '\\\\eta \\\\lambda')
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"name: expected an identifier such as 'weight_decay', got {name!r}")
    default = NOTATION[name][1] if name in NOTATION else _REAL
    return sympy.Symbol(name, **(assumptions or default))


def _letter(name: str) -> str:
    return NOTATION[name][0] if name in NOTATION else name


def _letters(expr: Any) -> dict[str, str]:
    """Letters for the names in `expr`; where two names would share a letter, each keeps its own as an index."""
    applied = expr.atoms(sympy.core.function.AppliedUndef)
    names = {s.name for s in expr.atoms(sympy.Symbol)} | {f.func.__name__ for f in applied}
    letters = {name: _letter(name) for name in names}
    shared = {name for name in names if sum(letters[name] == letter for letter in letters.values()) > 1}
    return {name: f"{letter}_{name.replace('_', '')}" if name in shared and name != letter else letter
            for name, letter in letters.items()}


class _Latex(LatexPrinter):
    def __init__(self, letters: dict[str, str]) -> None:
        super().__init__({"ln_notation": True})
        self.letters = letters

    def _print_Symbol(self, expr: sympy.Symbol, style: str = "plain") -> str:
        letter = self.letters.get(expr.name, expr.name)
        return r"\hat{w}" if letter == "what" else self._deal_with_super_sub(letter, style=style)

    _print_RandomSymbol = _print_Symbol

    def _hprint_Function(self, func: str) -> str:
        letter = self.letters.get(func, func)
        return r"\hat{w}" if letter == "what" else super()._hprint_Function(letter)


class _MathML(MathMLPresentationPrinter):
    def __init__(self, letters: dict[str, str]) -> None:
        super().__init__({"ln_notation": True})
        self.letters = letters

    def _print_Symbol(self, sym: sympy.Symbol, style: str = "plain") -> Any:
        letter = self.letters.get(sym.name, sym.name)
        return super()._print_Symbol(sympy.Symbol("ŵ" if letter == "what" else letter), style)

    _print_MatrixSymbol = _print_Symbol
    _print_RandomSymbol = _print_Symbol

    def _print_AppliedUndef(self, e: sympy.Expr) -> Any:
        row = self.dom.createElement("mrow")
        row.appendChild(self._print_Symbol(sympy.Symbol(e.func.__name__)))
        row.appendChild(self._paren_comma_separated(*e.args))
        return row

    def _print_Subs(self, e: sympy.Subs) -> Any:
        """The expression and a bar, with variable = point at its foot; several are told apart by commas."""
        whole, foot, evaluated = (self.dom.createElement(tag) for tag in ("mrow", "mrow", "msub"))
        bar = self._operator("|")
        bar.setAttribute("stretchy", "true")
        sides = [[self._operator(","), self._print(variable), self._operator("="), self._print(point)]
                 for variable, point in zip(e.variables, e.point, strict=True)]
        for part in (self._print(e.expr), bar):
            whole.appendChild(part)
        for part in sum(sides, [])[1:]:
            foot.appendChild(part)
        for part in (whole, foot):
            evaluated.appendChild(part)
        return evaluated

    def _operator(self, text: str) -> Any:
        operator = self.dom.createElement("mo")
        operator.appendChild(self.dom.createTextNode(text))
        return operator

    def parenthesize(self, item: Any, level: int, strict: bool = False) -> Any:
        # (sigma^2)^2, not sigma^2^2
        if isinstance(item, sympy.Symbol) and "^" in self.letters.get(item.name, item.name):
            row = self.dom.createElement("mrow")
            for part in (self._l_paren(), self._print(item), self._r_paren()):
                row.appendChild(part)
            return row
        return super().parenthesize(item, level, strict)


def latex(expr: Any) -> str:
    r"""Return `expr` (a SymPy expression, equation or matrix) as LaTeX in the papers' letters.

    >>> latex(symbol("noise_trace")**2 / symbol("intrinsic_lr"))
    '\\frac{\\left(\\sigma^{2}\\right)^{2}}{\\lambda_{e}}'
    """
    expr = sympy.sympify(expr)
    return str(_Latex(_letters(expr)).doprint(expr))


def mathml(expr: Any, *, block: bool = False) -> str:
    """Return `expr` as a `<math>` element (presentation MathML, no entities) in the papers' letters.

    >>> mathml(symbol("lr"))
    '<math xmlns="http://www.w3.org/1998/Math/MathML"><mi>η</mi></math>'
    """
    expr = sympy.sympify(expr)
    printer = _MathML(_letters(expr))
    # SymPy writes operators as HTML entities and `<` bare; characters are also well-formed XML
    text = printer._print(expr).toxml().replace("<mo><</mo>", "<mo>&lt;</mo>")
    text = re.sub(r"&#?\w+;", lambda found: escape(unescape(found[0])), text)
    display = ' display="block"' if block else ""
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML"{display}>{text}</math>'
