"""SymPy's drawing of expressions in Unicode, in the letters of the papers."""

from __future__ import annotations

import sympy
from sympy.printing.pretty.pretty import PrettyPrinter
from sympy.printing.pretty.pretty_symbology import pretty_symbol
from sympy.printing.pretty.stringpict import prettyForm

from sdetheory.symbolic.notation import NOTATION

__all__ = ["PaperPrinter"]


class PaperPrinter(PrettyPrinter):
    """Draws a symbol by the paper's letter."""

    def _print_Symbol(self, e: sympy.Symbol, bold_name: bool = False) -> prettyForm:
        name = NOTATION[e.name][0] if e.name in NOTATION else e.name
        return prettyForm("ŵ" if name == "what" else pretty_symbol(name))
