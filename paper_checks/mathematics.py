r"""Text with LaTeX between dollars as HTML with MathML, which browsers draw by themselves, offline.

`$...$` stands in the line, `$$...$$` on a line of its own, and backticks mark code. What cannot be converted is shown as
it was written.
"""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

from latex2mathml.converter import convert

from .safe_markup import UnsafeMarkupError, element_of, safe_mathml, text_of

__all__ = ["breakable", "prose", "tidied"]

_LONGEST_PIECE = 48  # characters of a formula that stay on one line
_BREAKS = {"=", "+", "-", "−", "≤", "≥", "<", ">", "→", "∼", "≈"}
_PIECES = re.compile(r"\$\$(?P<display>.+?)\$\$|\$(?P<inline>.+?)\$|`(?P<code>[^`]+)`|\n\s*\n(?P<end>)", re.DOTALL)


def prose(text: str) -> str:
    r"""Return `text` as HTML; anything but mathematics and code is escaped.

    >>> prose("a < b where $x=1$")
    'a &lt; b where <math display="inline"><mrow><mi>x</mi><mo>=</mo><mn>1</mn></mrow></math>'
    """
    parts, position = [], 0
    for piece in _PIECES.finditer(text):
        parts.append(html.escape(text[position:piece.start()], quote=False))
        position = piece.end()
        if piece["code"] is not None:
            parts.append(f"<code>{html.escape(piece['code'], quote=False)}</code>")
        elif piece["end"] is not None:
            parts.append("<br>")
        else:
            shown = piece["display"] is not None
            parts.append(_formula(piece["display"] if shown else piece["inline"], "block" if shown else "inline"))
    return "".join(parts) + html.escape(text[position:], quote=False)


def tidied(mathml: str) -> str:
    """Return SymPy's MathML as a printer would set it: e and d upright, minus signs, no parentheses round σ² in 2(σ²).

    >>> tidied("<mrow><mo>-</mo><mi>ⅇ</mi></mrow>")
    '<mrow><mo>−</mo><mi mathvariant="normal">e</mi></mrow>'
    """
    times, square = "<mo>\u2062</mo>", r"<mrow><mo>\(</mo>(<msup><mi>[^<]</mi><m[in]>\d</m[in]></msup>)<mo>\)</mo></mrow>"
    mathml = re.sub(f"(?<={times}){square}|{square}(?={times})", lambda m: m[1] or m[2], mathml)
    for found, shown in (("<mo>-</mo>", "<mo>−</mo>"), ("<mn>-", "<mn>−"),
                         ("<mi>ⅇ</mi>", '<mi mathvariant="normal">e</mi>'),
                         ("<mo>ⅆ</mo>", '<mi mathvariant="normal">d</mi>'),
                         (' xmlns="http://www.w3.org/1998/Math/MathML"', "")):
        mathml = mathml.replace(found, shown)
    return mathml


def breakable(mathml: str) -> str:
    """Return a long formula as pieces between which a line may break, before = and the signs of its sums.

    >>> breakable("<math><mrow><mi>a</mi><mo>=</mo><mi>b</mi></mrow></math>")
    '<math><mrow><mi>a</mi><mo>=</mo><mi>b</mi></mrow></math>'
    """
    math = element_of(mathml, "math")
    if len("".join(math.itertext())) <= _LONGEST_PIECE:
        return mathml
    pieces: list[list[ET.Element]] = [[]]
    length = 0
    for atom in _atoms(math):
        breaks = atom.tag == "mo" and (atom.text or "").strip() in _BREAKS
        if breaks and length > _LONGEST_PIECE // 3:
            pieces.append([])
            length = 0
        pieces[-1].append(atom)
        length += len("".join(atom.itertext()))
    if len(pieces) == 1:
        return mathml
    parts = []
    for piece in pieces:
        part = ET.Element("math", {"displaystyle": "true"})
        ET.SubElement(part, "mrow").extend(piece)
        parts.append(text_of(part))
    return '<span class="pieces">' + "<wbr>".join(parts) + "</span>"


def _atoms(element: ET.Element) -> Iterator[ET.Element]:
    """What stands side by side in a formula: rows that only group are opened, those in parentheses are not."""
    for child in element:
        if child.tag == "mrow" and not any(c.tag == "mo" and (c.text or "") in "([{" for c in child[:1]):
            yield from _atoms(child)
        else:
            yield child


def _formula(tex: str, display: str) -> str:
    try:
        markup = convert(tex.strip(), display=display)
    except Exception:  # latex2mathml has no common exception; whatever it is, the source is still readable
        markup = ""
    if not markup or re.search(r">\s*\\[A-Za-z]", markup):  # an unknown command comes through as an identifier
        return f'<code class="tex">{html.escape(tex, quote=False)}</code>'
    try:
        markup = safe_mathml(markup)
    except UnsafeMarkupError:
        return f'<code class="tex">{html.escape(tex, quote=False)}</code>'
    markup = markup.replace("<mo>/</mo>", '<mo lspace="0" rspace="0">/</mo>')
    markup = re.sub(r"<mo>([A-Za-z]{2,})</mo>", r"<mi>\1</mi>", markup)  # \operatorname{Tr} binds to what follows
    markup = re.sub(r"<m[io]>([⟨⟩])</m[io]>", r'<mo stretchy="false">\1</mo>', markup)
    markup = re.sub(r"(<mi>(?:log|ln|exp|sin|cos|tan|max|min|Tr)</mi>)(?=<m(?:i|n|row|frac|sup|sub)\b)",
                    r'\1<mspace width="0.17em"/>', markup)
    return re.sub(r"<mover>(<mi>.</mi>|<mrow><mi>.</mi></mrow>)<mo[^>]*>([¯~˙^])</mo></mover>",
                    r'<mover accent="true">\1<mo stretchy="false">\2</mo></mover>', markup)
