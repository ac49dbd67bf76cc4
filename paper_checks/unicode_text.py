r"""Mathematics for a terminal: LaTeX between dollars as Unicode (`$\sigma^2/\lambda_e$` is σ²/λₑ), expressions drawn.

What has no Unicode form stays as it was written; nothing is dropped.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Callable
from typing import Any

__all__ = ["pretty_lines", "readable"]

_LETTERS = ("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho varsigma sigma tau "
            "upsilon phi chi psi omega").split()  # in the order of Unicode, α to ω and Α to Ω
_SIGNS: dict[str, str] = {name: chr(0x3B1 + i) for i, name in enumerate(_LETTERS)} | {
    name.capitalize(): chr(0x391 + i) for i, name in enumerate(_LETTERS) if name != "varsigma"} | {
    "vartheta": "ϑ", "varphi": "φ", "varpi": "ϖ", "varrho": "ϱ", "varkappa": "ϰ",
    "to": "→", "rightarrow": "→", "mapsto": "↦", "leftarrow": "←", "Rightarrow": "⇒", "infty": "∞", "le": "≤", "leq": "≤",
    "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠", "approx": "≈", "equiv": "≡", "propto": "∝", "sim": "∼", "in": "∈",
    "nabla": "∇", "partial": "∂", "int": "∫", "sum": "∑", "prod": "∏", "cdot": "·", "times": "×", "pm": "±",
    "langle": "⟨", "rangle": "⟩", "lVert": "‖", "rVert": "‖", "Vert": "‖", "|": "‖", "lvert": "|", "rvert": "|",
    "top": "ᵀ", "perp": "⊥", "circ": "∘", "dots": "…", "ldots": "…", "cdots": "⋯", "ell": "ℓ", "prime": "′", "forall": "∀",
    "quad": "  ", "qquad": "    ", ",": " ", ";": " ", ":": " ", "!": "", " ": " ", "{": "{", "}": "}", "%": "%", "_": "_",
    "ll": "≪", "gg": "≫", "subset": "⊂", "setminus": "∖", "mid": "|", "otimes": "⊗", "varepsilon": "ε", "epsilon": "ε",
    "left": "", "right": "", "big": "", "Big": "", "bigl": "", "bigr": "", "Bigl": "", "Bigr": "",
}
_MARKS = {"hat": "\u0302", "widehat": "\u0302", "bar": "\u0304", "overline": "\u0304", "tilde": "\u0303", "dot": "\u0307",
          "ddot": "\u0308", "vec": "\u20d7"}
_SUPER = str.maketrans("0123456789+-−=()nitTdk", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿⁱᵗᵀᵈᵏ")
_SUB = str.maketrans("0123456789+-−=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ")
_GROUP = r"(\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}|\\[A-Za-z]+|[^\s\\{}])"


def readable(text: str) -> str:
    r"""Return `text` with the LaTeX between dollars in Unicode.

    >>> readable(r"$\gamma_t \to \frac{\sigma^2}{2\lambda_e}$ for $\|\hat w\| = 1$")
    'γₜ → σ²/(2λₑ) for ‖ŵ‖ = 1'
    """
    return re.sub(r"\$\$?(.+?)\$\$?", lambda m: _unicode(m[1]), text, flags=re.DOTALL)


def _unicode(tex: str) -> str:
    out = re.sub(r"\\(?:text|mathrm|operatorname|mathbb|mathbf|mathcal|mathsf|boldsymbol)\*?\s*\{([^{}]*)\}", r"\1", tex)
    rules: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
        (rf"\\[dt]?frac\s*{_GROUP}\s*{_GROUP}", _fraction),
        (rf"\\sqrt\s*{_GROUP}", lambda m: f"√{_wrapped(m[1])}"),
        (rf"\\({'|'.join(_MARKS)})\s*{_GROUP}", lambda m: _unicode(_bare(m[2])) + _MARKS[m[1]]),
        (rf"\s*\^\s*{_GROUP}", lambda m: _raised(_unicode(_bare(m[1])), _SUPER, "^")),
        (rf"_\s*{_GROUP}", lambda m: _raised(_unicode(_bare(m[1])), _SUB, "_")),
    )
    for pattern, write in rules:
        out = re.sub(pattern, write, out)
    out = re.sub(r"\\([A-Za-z]+) ?|\\(.)", lambda m: _SIGNS.get(m[1] or m[2], m[1] or m[2]), out)
    out = out.replace("{", "").replace("}", "").replace("'", "′").replace("-", "−")
    out = re.sub(r" *([=→↦←⇒≤≥≠≈≡∝∼∈≪≫]) *", r" \1 ", out)
    return re.sub(r" {3,}", "  ", unicodedata.normalize("NFC", out)).strip()


def _fraction(m: re.Match[str]) -> str:
    text = f"{_wrapped(m[1])}/{_wrapped(m[2])}"
    return f"({text})" if re.match(r"\s*[\w\\({]", m.string[m.end():]) and m.string[m.end():m.end() + 2] != "\\," \
        else text


def _bare(group: str) -> str:
    return group[1:-1] if group.startswith("{") else group


def _wrapped(group: str) -> str:
    inner = _unicode(_bare(group))
    return inner if len(_bare(group)) == 1 or re.fullmatch(r"\w[\w²³₀-ₜ̂]*", inner) and not _product(inner) else f"({inner})"


def _product(text: str) -> bool:
    return len(re.sub(r"[⁰¹²³⁴-⁹₀-ₜᵢᵣᵤᵥⱼ]", "", text)) > 1 and not text.isdecimal()


def _raised(text: str, letters: dict[int, int], sign: str) -> str:
    if text == "′":
        return text
    if sign == "_" and len(text) > 1 and text.isalpha():
        return f"{sign}{text}"
    small = text.translate(letters)
    plain = any(c == d and c not in " ′ᵀ⊥" for c, d in zip(text, small, strict=True))
    return small if not plain else f"{sign}{text}" if len(text) == 1 else f"{sign}({text})"


def pretty_lines(expression: Any, width: int, indent: str = "", after: str = "") -> list[str]:
    """Return an expression drawn in Unicode, its lines indented, `after` beside the line of its axis."""
    from .pretty_printer import PaperPrinter

    printer = PaperPrinter({"use_unicode": True, "wrap_line": False, "num_columns": width - len(indent)})
    form = printer._print(expression)
    if form.width() > width - len(indent):
        return [indent + line for line in _one_line(expression, width - len(indent) - len(after), after)]
    lines = str(form.render(wrap_line=False)).splitlines()
    lines[min(form.baseline, len(lines) - 1)] += after
    return [indent + line for line in lines]


def _one_line(expression: Any, width: int, after: str) -> list[str]:
    return textwrap.wrap(str(expression) + after, width)
